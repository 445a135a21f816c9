package spec

// Addons are what is installed into the cluster beside kube-proxy, the pod network and its DNS. One that is
// enabled no more is taken away, with all of its objects and nothing else.
type Addons struct {
	// CoreDNS configures the cluster's DNS, which every cluster has.
	CoreDNS CoreDNS `yaml:"coredns"`
	// NodeLocalDNS is a cache of DNS on every node.
	NodeLocalDNS NodeLocalDNS `yaml:"nodeLocalDNS"`
	// MetricsServer measures nodes and pods, for kubectl top and HorizontalPodAutoscalers.
	MetricsServer MetricsServer `yaml:"metricsServer"`
	// MetalLB gives services of type LoadBalancer their addresses.
	MetalLB MetalLB `yaml:"metallb"`
	// Ingress is the controller that routes HTTP from outside to services.
	Ingress Ingress `yaml:"ingress"`
	// LocalPath provides volumes in folders of the nodes.
	LocalPath LocalPath `yaml:"localPath"`
	// NFS provides volumes of an NFS server.
	NFS NFS `yaml:"nfs"`
	// Registry is a registry of container images inside the cluster, which every node trusts.
	Registry Registry `yaml:"registry"`
	// Custom are addons of yours, installed side by side, each as soon as those that it comes after are ready.
	Custom []CustomAddon `yaml:"custom"`
}

// CoreDNS configures the cluster's DNS.
type CoreDNS struct {
	// Replicas is the number of its pods; 0 follows the size of the cluster, with two at least: one for
	// every 16 nodes.
	Replicas int `yaml:"replicas" rule:"min=0,max=100,default=0"`
	// Forward are the DNS servers that are asked for names outside of the cluster, as IP or IP:port; if
	// none is given, those of the nodes.
	Forward []string `yaml:"forward"`
	// Zones are domains that other servers answer for.
	Zones []DNSZone `yaml:"zones"`
	// Hosts are names that CoreDNS itself answers for.
	Hosts []DNSHost `yaml:"hosts"`
}

// DNSZone is a domain with servers of its own.
type DNSZone struct {
	// Name is the domain, such as corp.example.com.
	Name string `yaml:"name" rule:"required"`
	// Forward are its servers, as IP or IP:port.
	Forward []string `yaml:"forward" rule:"required"`
}

// DNSHost is an address with its names.
type DNSHost struct {
	// Address is an IPv4 or IPv6 address.
	Address string `yaml:"address" rule:"required"`
	// Names are the names that lead there, in full.
	Names []string `yaml:"names" rule:"required"`
}

// NodeLocalDNS is a cache of DNS on every node.
type NodeLocalDNS struct {
	// Enabled installs it.
	Enabled bool `yaml:"enabled"`
	// Address is a link-local address, on which the cache listens on every node.
	Address string `yaml:"address" rule:"default=169.254.20.10"`
}

// MetricsServer measures nodes and pods.
type MetricsServer struct {
	// Enabled installs it.
	Enabled bool `yaml:"enabled"`
	// Replicas is the number of its pods; 0 takes two where two nodes or more run pods of users, else
	// one.
	Replicas int `yaml:"replicas" rule:"min=0,max=10,default=0"`
}

// MetalLB gives services of type LoadBalancer their addresses, and announces them in the network.
type MetalLB struct {
	// Enabled installs it.
	Enabled bool `yaml:"enabled"`
	// Pools are the addresses that services get.
	Pools []AddressPool `yaml:"pools"`
	// L2 says which pools are announced by ARP, and from where. With neither this nor bgp, all pools are, from all
	// nodes.
	L2 []L2Advertisement `yaml:"l2"`
	// BGP announces pools to routers.
	BGP MetalLBBGP `yaml:"bgp"`
}

// AddressPool is a set of addresses for services.
type AddressPool struct {
	// Name is what advertisements call the pool: a DNS label.
	Name string `yaml:"name" rule:"required"`
	// Addresses are ranges such as 192.168.1.240-192.168.1.250, or CIDRs. They must be in no use, neither by
	// hosts nor by the networks of pods and services.
	Addresses []string `yaml:"addresses" rule:"required"`
	// OnRequest gives its addresses to services only that ask for the pool.
	OnRequest bool `yaml:"onRequest"`
	// AvoidBuggyIPs leaves out addresses that end in .0 or .255.
	AvoidBuggyIPs bool `yaml:"avoidBuggyIPs"`
}

// L2Advertisement announces pools by ARP.
type L2Advertisement struct {
	// Pools are the names of the pools; none means all.
	Pools []string `yaml:"pools"`
	// Interfaces are the network interfaces to announce from; none means all.
	Interfaces []string `yaml:"interfaces"`
	// NodeSelector are labels of the nodes that announce; none means all nodes.
	NodeSelector map[string]string `yaml:"nodeSelector"`
}

// MetalLBBGP announces pools to routers.
type MetalLBBGP struct {
	// ASN is the number of the nodes' autonomous system.
	ASN int `yaml:"asn" rule:"min=1,max=4294967295,default=64512"`
	// Peers are the routers.
	Peers []BGPPeer `yaml:"peers"`
	// Advertisements say which pools they are told of; none means all pools, to all peers.
	Advertisements []BGPAdvertisement `yaml:"advertisements"`
}

// BGPPeer is a router that speaks BGP with the nodes.
type BGPPeer struct {
	// Name is what it is called here: a DNS label.
	Name string `yaml:"name" rule:"required"`
	// Address is that of the router.
	Address string `yaml:"address" rule:"required"`
	// Port is the one on which the router listens.
	Port int `yaml:"port" rule:"min=0,max=65535"`
	// ASN is the number of the router's autonomous system.
	ASN int `yaml:"asn" rule:"required,min=1,max=4294967295"`
	// MyASN is that of the nodes for this peer; 0 means the one for all peers.
	MyASN int `yaml:"myASN" rule:"min=0,max=4294967295"`
	// NodeSelector are labels of the nodes that have this peer; none means all nodes.
	NodeSelector map[string]string `yaml:"nodeSelector"`
	// PasswordFile is the path of a file with the password of the session (RFC 2385), relative to this
	// file.
	PasswordFile string `yaml:"passwordFile"`
}

// BGPAdvertisement says which pools routers are told of.
type BGPAdvertisement struct {
	// Pools are the names of the pools; none means all.
	Pools []string `yaml:"pools"`
	// Peers are the names of the peers; none means all.
	Peers []string `yaml:"peers"`
	// AggregationLength is the number of bits of the routes that are announced; 0 means one route an address.
	AggregationLength int `yaml:"aggregationLength" rule:"min=0,max=32"`
	// Communities are BGP communities, as 65535:65282.
	Communities []string `yaml:"communities"`
	// LocalPref is the preference among routers of the same autonomous system.
	LocalPref int `yaml:"localPref" rule:"min=0,max=4294967295"`
	// NodeSelector are labels of the nodes that are announced as next hops; none means all nodes.
	NodeSelector map[string]string `yaml:"nodeSelector"`
}

// Ingress is the controller that routes HTTP from outside to services.
type Ingress struct {
	// Controller is which one: nginx is the NGINX Ingress Controller of F5, ingress-nginx that of the
	// Kubernetes community, which is archived since March 2026 and gets no fixes any more.
	Controller string `yaml:"controller" rule:"enum=none|nginx|ingress-nginx,default=none"`
	// Expose is how it is reached: auto is a service of type LoadBalancer where MetalLB is enabled, else
	// ports of the nodes.
	Expose string `yaml:"expose" rule:"enum=auto|load-balancer|node-port,default=auto"`
	// Workload is what runs it: a DaemonSet has a pod on every node.
	Workload string `yaml:"workload" rule:"enum=deployment|daemonset,default=deployment"`
	// Replicas is the number of pods of a Deployment.
	Replicas int `yaml:"replicas" rule:"min=1,max=100,default=2"`
	// HTTPPort is the port of the nodes for HTTP; 0 leaves the choice to Kubernetes.
	HTTPPort int `yaml:"httpPort" rule:"min=0,max=65535"`
	// HTTPSPort is the port of the nodes for HTTPS; 0 leaves the choice to Kubernetes.
	HTTPSPort int `yaml:"httpsPort" rule:"min=0,max=65535"`
	// Address is the address of the LoadBalancer service, out of a pool of MetalLB.
	Address string `yaml:"address"`
	// ClassName is the name of the IngressClass.
	ClassName string `yaml:"className" rule:"default=nginx"`
	// DefaultClass makes it the class of ingresses that name none.
	DefaultClass *bool `yaml:"defaultClass" rule:"default=true"`
	// CertFile is the path, relative to this file, of the certificate (PEM, with its chain) that TLS is served
	// with where an ingress names no secret; keyFile is its key. Without them nginx refuses TLS
	// for such names, and ingress-nginx serves it with a certificate that nobody trusts.
	CertFile string `yaml:"certFile"`
	// KeyFile is the path of the private key of certFile (PEM).
	KeyFile string `yaml:"keyFile"`
	// PreserveSourceAddress has backends see the address of the client, and leads traffic to nodes only that
	// run a pod of the controller.
	PreserveSourceAddress bool `yaml:"preserveSourceAddress"`
	// Metrics serves metrics for Prometheus.
	Metrics bool `yaml:"metrics"`
	// Config are keys of the controller's ConfigMap, in its own words.
	Config map[string]string `yaml:"config" rule:"multiline"`
	// NodeSelector are labels of the nodes that run it; none means all nodes that run pods of users.
	NodeSelector map[string]string `yaml:"nodeSelector"`
}

// LocalPath provides volumes in folders of the nodes: one stays on its node, and so does its pod.
type LocalPath struct {
	// Enabled installs it.
	Enabled bool `yaml:"enabled"`
	// Path is the folder on the nodes.
	Path string `yaml:"path" rule:"default=/var/lib/local-path-provisioner"`
	// ClassName is the name of the StorageClass.
	ClassName string `yaml:"className" rule:"default=local-path"`
	// DefaultClass makes it the class of claims that name none.
	DefaultClass *bool `yaml:"defaultClass" rule:"default=true"`
	// ReclaimPolicy is what becomes of a volume when its claim is deleted.
	ReclaimPolicy string `yaml:"reclaimPolicy" rule:"enum=Delete|Retain,default=Delete"`
}

// Default reports whether claims that name no class get volumes of this one.
func (l LocalPath) Default() bool { return l.Enabled && (l.DefaultClass == nil || *l.DefaultClass) }

// NFS provides volumes of an NFS server. Nodes need their system's package for mounting them.
type NFS struct {
	// Enabled installs it.
	Enabled bool `yaml:"enabled"`
	// Server is the NFS server: an address or a DNS name; or the name of a host of the inventory, which then
	// becomes one.
	Server string `yaml:"server"`
	// Path is the folder that the server exports.
	Path string `yaml:"path" rule:"default=/srv/nfs"`
	// ClassName is the name of the StorageClass.
	ClassName string `yaml:"className" rule:"default=nfs"`
	// DefaultClass makes it the class of claims that name none.
	DefaultClass bool `yaml:"defaultClass"`
	// ReclaimPolicy is what becomes of a volume when its claim is deleted.
	ReclaimPolicy string `yaml:"reclaimPolicy" rule:"enum=Delete|Retain,default=Delete"`
	// Volumes are PersistentVolumes for folders that are there.
	Volumes []NFSVolume `yaml:"volumes"`
}

// NFSVolume is a PersistentVolume for a folder of an NFS server.
type NFSVolume struct {
	// Name is the name of the PersistentVolume.
	Name string `yaml:"name" rule:"required"`
	// Path is the folder, which the server has to export.
	Path string `yaml:"path" rule:"required"`
	// Server is the NFS server, if another one than the addon's.
	Server string `yaml:"server"`
	// Capacity is what claims are matched by, such as 10Gi.
	Capacity string `yaml:"capacity" rule:"required"`
	// ReadOnly keeps pods from writing.
	ReadOnly bool `yaml:"readOnly"`
}

// Registry is a registry of container images inside the cluster. Whoever reaches it may push and pull.
type Registry struct {
	// Enabled installs it.
	Enabled bool `yaml:"enabled"`
	// Host is what names of its images begin with. Nodes are told what it means; no DNS needs to know it.
	Host string `yaml:"host" rule:"default=registry.internal"`
	// Size is that of its volume.
	Size string `yaml:"size" rule:"default=10Gi"`
	// StorageClass is the class of its volume; the default class if not given.
	StorageClass string `yaml:"storageClass"`
}

// CustomAddon is an addon of yours: exactly one of manifests, kustomization and chart.
type CustomAddon struct {
	// Name is what plans call it: a DNS label that no other addon has.
	Name string `yaml:"name" rule:"required"`
	// After are addons that are installed before it.
	After []string `yaml:"after"`
	// Namespace is for objects that name none. It is created where it is not there, and stays when the addon
	// goes.
	Namespace string `yaml:"namespace"`
	// Manifests is the path of a manifest, or of a folder of them, relative to this file.
	Manifests string `yaml:"manifests"`
	// Kustomization is the path of a folder with a kustomization.yaml.
	Kustomization string `yaml:"kustomization"`
	// Chart is a Helm chart.
	Chart HelmChart `yaml:"chart"`
}

// HelmChart is a Helm chart with its values. It is rendered here, and its objects are applied like all others:
// there is no release that Helm would know.
type HelmChart struct {
	// Path is a folder or an archive (.tgz), relative to this file, or oci://registry/repository, to which
	// @sha256:... pins what is there.
	Path string `yaml:"path"`
	// Version is that of a chart in a registry, where path has none and no digest. Any other chart has to have it.
	Version string `yaml:"version"`
	// ReleaseName is what templates call .Release.Name; the name of the addon if not given.
	ReleaseName string `yaml:"releaseName"`
	// ValuesFiles are the paths of files with values, relative to this file; later ones win.
	ValuesFiles []string `yaml:"valuesFiles"`
	// Values win over the files.
	Values map[string]any `yaml:"values"`
}
