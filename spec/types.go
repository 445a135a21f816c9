package spec

import (
	"kubewright/inventory"
	"kubewright/spec/strict"
)

// APIVersion and Kind stand at the top of every cluster file.
const (
	APIVersion = "kubewright.io/v1alpha1"
	Kind       = "Cluster"
)

// File is a cluster as the user writes it: what it is called, and what it is to be.
type File struct {
	// APIVersion is the version of this format.
	APIVersion string `yaml:"apiVersion" rule:"required,enum=kubewright.io/v1alpha1"`
	// Kind says that this file describes a cluster.
	Kind string `yaml:"kind" rule:"required,enum=Cluster"`
	// Metadata names the cluster.
	Metadata Metadata `yaml:"metadata" rule:"required"`
	// Spec is what the cluster is to be.
	Spec Spec `yaml:"spec" rule:"required"`

	doc *strict.Document
}

// Metadata names the cluster.
type Metadata struct {
	// Name is the name of the cluster: lower-case letters, digits and -, at most 63 characters.
	// It ends up in kubeconfig files and in the kubeadm-config ConfigMap.
	Name string `yaml:"name" rule:"required"`
}

// Spec is what the cluster is to be.
type Spec struct {
	// KubernetesVersion is the version of Kubernetes, such as 1.37.2. What goes with it (etcd,
	// containerd, CoreDNS, Calico, ...) follows from the catalogue of kubewright.
	KubernetesVersion string `yaml:"kubernetesVersion" rule:"required"`
	// Network is the network inside the cluster.
	Network Network `yaml:"network"`
	// ControlPlane configures the API server, the controller manager, the scheduler and etcd.
	ControlPlane ControlPlane `yaml:"controlPlane"`
	// PKI configures the cluster's certificates.
	PKI PKI `yaml:"pki"`
	// Kubelet configures the kubelet of every node.
	Kubelet Kubelet `yaml:"kubelet"`
	// KubeProxy configures kube-proxy on every node.
	KubeProxy KubeProxy `yaml:"kubeProxy"`
	// Addons are what is installed into the cluster.
	Addons Addons `yaml:"addons"`
	// Artifacts says where binaries and images come from.
	Artifacts Artifacts `yaml:"artifacts"`
	// Preflight configures the checks that run before anything is changed.
	Preflight Preflight `yaml:"preflight"`
	// Rollout says how a change is taken through the nodes of a cluster that runs.
	Rollout Rollout `yaml:"rollout"`
	// SSH is how to log in to the hosts, unless the inventory, a group or a host says otherwise.
	SSH inventory.SSHSpec `yaml:"ssh"`
	// Inventory says where the hosts stand. Text is the path of an inventory, relative to this
	// file: one of kubewright's form, of Ansible's, or a table. Give either this or hosts.
	Inventory InventorySource `yaml:"inventory"`
	// Groups are settings that several of the hosts below share.
	Groups map[string]inventory.GroupSpec `yaml:"groups"`
	// Hosts are the machines of the cluster, when there is no inventory file. Their order has
	// no meaning.
	Hosts []inventory.HostSpec `yaml:"hosts"`
}

// Network is the network inside the cluster.
type Network struct {
	// PodCIDR is what pods get their addresses from. Every node takes a /24 of it.
	PodCIDR string `yaml:"podCIDR" rule:"default=10.244.0.0/16"`
	// ServiceCIDR is what services get their addresses from: its first address is the API
	// server's, its tenth that of the cluster's DNS.
	ServiceCIDR string `yaml:"serviceCIDR" rule:"default=10.96.0.0/16"`
	// DNSDomain is the domain of the names of services.
	DNSDomain string `yaml:"dnsDomain" rule:"default=cluster.local"`
	// ProxyMode is how kube-proxy programs the kernel. auto takes nftables where the kernel of
	// every host (5.13 or newer) and the CNI plugin can work with it, else iptables. ipvs is
	// deprecated by Kubernetes since 1.35.
	ProxyMode string `yaml:"proxyMode" rule:"enum=auto|nftables|iptables|ipvs,default=auto"`
	// CNI is the network plugin.
	CNI CNI `yaml:"cni"`
}

// CNI is the network plugin.
type CNI struct {
	// Name is the plugin. With none you install one yourself, and nodes are not Ready before.
	Name string `yaml:"name" rule:"enum=calico|flannel|none,default=calico"`
	// MTU is the largest packet of the pod network in bytes; 0 works it out from the hosts'
	// interfaces.
	MTU int `yaml:"mtu" rule:"min=0,max=65535,default=0"`
	// Calico configures Calico.
	Calico Calico `yaml:"calico"`
}

// Calico configures Calico.
type Calico struct {
	// Mode is how packets get from node to node: vxlan wraps them, which every network lets through; bgp
	// routes them as they are, and tells the routes to the other nodes and to the peers.
	Mode string `yaml:"mode" rule:"enum=vxlan|bgp,default=vxlan"`
	// ASN is the number of the nodes' autonomous system, for bgp.
	ASN int `yaml:"asn" rule:"min=1,max=4294967295,default=64512"`
	// NodeMesh has every node peer with every other; without it routes are learned from the peers.
	NodeMesh *bool `yaml:"nodeMesh" rule:"default=true"`
	// Peers are the routers, for bgp.
	Peers []BGPPeer `yaml:"peers"`
	// Pools are further networks for pods, beside podCIDR.
	Pools []PodPool `yaml:"pools"`
}

// PodPool is a further network for pods.
type PodPool struct {
	// Name is the name of the IPPool.
	Name string `yaml:"name" rule:"required"`
	// CIDR overlaps neither podCIDR nor any other network of the cluster.
	CIDR string `yaml:"cidr" rule:"required"`
	// NodeSelector are labels of the nodes that take addresses from it; none means all nodes.
	NodeSelector map[string]string `yaml:"nodeSelector"`
	// KeepSourceAddress has packets that leave the pod networks keep the address of their pod.
	KeepSourceAddress bool `yaml:"keepSourceAddress"`
}

// ControlPlane configures what runs on the control-plane hosts.
type ControlPlane struct {
	// Endpoint is where clients outside of the cluster reach the API servers: host or
	// host:port, the port being that of the API servers if not given. It is the address or
	// DNS name of a load balancer of yours, or a DNS name of the virtual IP. Without it
	// clients get the virtual IP or, where there is none either, the node IP of a control
	// plane.
	Endpoint string `yaml:"endpoint"`
	// Port is the port on which every API server listens.
	Port int `yaml:"port" rule:"min=1,max=65535,default=6443"`
	// VIP is a virtual IP that moves among the control planes, so that clients outside reach
	// one that works.
	VIP VIP `yaml:"vip"`
	// NodeEndpoint is how the nodes themselves reach the API servers: local is a load balancer
	// of their own on the loopback of every node, endpoint goes through the endpoint or the
	// virtual IP. auto takes local with more than one control plane, else endpoint.
	NodeEndpoint string `yaml:"nodeEndpoint" rule:"enum=auto|local|endpoint,default=auto"`
	// CertSANs are further DNS names and IP addresses in the API server's certificate.
	CertSANs []string `yaml:"certSANs"`
	// APIServer configures kube-apiserver.
	APIServer Component `yaml:"apiServer"`
	// ControllerManager configures kube-controller-manager.
	ControllerManager Component `yaml:"controllerManager"`
	// Scheduler configures kube-scheduler.
	Scheduler Component `yaml:"scheduler"`
	// Etcd configures etcd.
	Etcd Etcd `yaml:"etcd"`
}

// VIP is a virtual IP of the control planes.
type VIP struct {
	// Address is the virtual IP: an IPv4 address in the network of the control planes that no
	// host has.
	Address string `yaml:"address" rule:"required"`
	// Provider is what moves the address: keepalived does by VRRP, which a cloud's network
	// seldom lets through; kube-vip by a Lease in the cluster, and needs no protocol of its own
	// between the control planes. Both announce it by ARP.
	Provider string `yaml:"provider" rule:"enum=keepalived|kube-vip,default=keepalived"`
	// Interface is the network interface that takes the address, the same on every control
	// plane; if not given, on each of them the one with the node IP.
	Interface string `yaml:"interface"`
	// RouterID is the virtual router ID of VRRP, for keepalived; no other virtual IP in the same
	// network may have it.
	RouterID int `yaml:"routerID" rule:"min=1,max=255,default=51"`
}

// Etcd configures etcd.
type Etcd struct {
	// ExtraArgs are further flags, by name without the leading dashes. They win over those that
	// kubewright sets itself; flags that follow from the rest of the cluster are refused.
	ExtraArgs map[string]string `yaml:"extraArgs"`
	// External is an etcd that you run yourself. The cluster then has no members of its own, and no
	// host has the role etcd.
	External ExternalEtcd `yaml:"external"`
}

// ExternalEtcd is an etcd that is there already, and goes on to be somebody else's: kubewright uses
// it as the API servers do, renews no certificate of it, and leaves its data when the cluster is
// reset. One cluster cannot be moved from etcd of its own to an external one, or back.
type ExternalEtcd struct {
	// Endpoints are the client URLs of its members: https://host:port, the port being 2379 if not
	// given. Every control plane has to reach one of them at least. A change is taken through one
	// control plane after the other, and refused where the data of the cluster is not to be found
	// at the new endpoints.
	Endpoints []string `yaml:"endpoints" rule:"required"`
	// CAFile is the path of the certificates, as PEM, of the authorities that have issued what the
	// members serve with. Like the other two it is relative to this file.
	CAFile string `yaml:"caFile" rule:"required"`
	// CertFile is the path of a client certificate, as PEM, that etcd accepts. It is copied to the
	// control planes, as is the key; put a new one there before it expires, and apply.
	CertFile string `yaml:"certFile" rule:"required"`
	// KeyFile is the path of the private key of that certificate, as PEM without a passphrase.
	KeyFile string `yaml:"keyFile" rule:"required"`
}

// Component configures one component of the control plane.
type Component struct {
	// ExtraArgs are further flags, by name without the leading dashes. They win over those that
	// kubewright sets itself; flags that follow from the rest of the cluster are refused.
	ExtraArgs map[string]string `yaml:"extraArgs"`
}

// PKI configures the cluster's certificates.
type PKI struct {
	// KeyAlgorithm is the kind of the private keys of a new cluster.
	KeyAlgorithm string `yaml:"keyAlgorithm" rule:"enum=ECDSA-P256|RSA-2048|RSA-3072|RSA-4096,default=ECDSA-P256"`
}

// Kubelet configures the kubelet of every node.
type Kubelet struct {
	// Config is merged into the KubeletConfiguration (kubelet.config.k8s.io/v1beta1); null
	// removes a field. Fields that follow from the rest of the cluster are refused.
	Config map[string]any `yaml:"config"`
	// ExtraArgs are further flags of the kubelet, by name without the leading dashes.
	ExtraArgs map[string]string `yaml:"extraArgs"`
}

// KubeProxy configures kube-proxy on every node.
type KubeProxy struct {
	// Config is merged into the KubeProxyConfiguration (kubeproxy.config.k8s.io/v1alpha1); null
	// removes a field. Fields that follow from the rest of the cluster are refused.
	Config map[string]any `yaml:"config"`
}

// Artifacts says where binaries and images come from. Whatever the source, every file is
// checked against its digest.
type Artifacts struct {
	// Source is where files come from: upstream is where each project publishes them, mirror a
	// web server with the same paths under the upstream host's name, directory the same layout
	// on this machine.
	Source string `yaml:"source" rule:"enum=upstream|mirror|directory,default=upstream"`
	// Mirror is the web server of source: mirror.
	Mirror Mirror `yaml:"mirror"`
	// Directory is the folder of source: directory, relative to this file.
	Directory string `yaml:"directory"`
	// Digests is the path of a file in the form of kubewright.lock, relative to this file, whose digests replace those of
	// the catalogue; for sites that build the files themselves.
	Digests string `yaml:"digests"`
	// Delivery is how a file gets to a host: fetch has the host download it, push sends it over
	// SSH, auto fetches where the host can reach the source and pushes where it cannot.
	Delivery string `yaml:"delivery" rule:"enum=auto|fetch|push,default=auto"`
	// RegistryMirrors name a registry of container images, such as registry.k8s.io, and the URLs
	// to pull from instead, in order of preference.
	RegistryMirrors map[string][]string `yaml:"registryMirrors"`
}

// Mirror is a web server that has upstream's files.
type Mirror struct {
	// URL is the base under which the files are found: the upstream URL of a file, without
	// https://, is appended to it.
	URL string `yaml:"url"`
}

// Preflight configures the checks that run before anything is changed.
type Preflight struct {
	// Ignore names checks whose refusal becomes a warning; authority and
	// external-etcd-data cannot be ignored.
	Ignore []string `yaml:"ignore"`
}

// Rollout says how a change is taken through the nodes of a cluster that runs. Control planes are
// always changed one at a time.
type Rollout struct {
	// Workers is for the workers that are no control planes.
	Workers WorkerRollout `yaml:"workers"`
}

// WorkerRollout says how the workers are taken through a change that restarts their containerd or
// their kubelet. New workers, and changes that restart neither, wait for nobody.
type WorkerRollout struct {
	// MaxUnavailable is how many workers are changed at once: a count such as "2", or a percentage
	// of all workers of the inventory that are no control planes, rounded down but never to 0. The
	// next one begins when the node of one before is Ready again; when one fails, none begins.
	MaxUnavailable string `yaml:"maxUnavailable" rule:"default=25%"`
	// Drain says when a worker's pods are evicted before it is changed: auto does when a binary of
	// containerd, runc or the kubelet changes, always for every such restart. PodDisruptionBudgets
	// are heeded. What pods keep in an emptyDir is lost with them; a pod that no controller makes
	// anew elsewhere is not evicted: it is named, and the worker is not changed.
	Drain string `yaml:"drain" rule:"enum=auto|always|never,default=auto"`
	// DrainTimeout is how long the eviction of the pods of one worker may take, such as 90s, 5m or
	// 1h. A worker whose pods are not gone by then is not changed, and no other is begun.
	DrainTimeout string `yaml:"drainTimeout" rule:"default=5m"`
}
