package cluster

import (
	"net/netip"
	"strconv"
	"strings"

	"kubewright/internal/catalog"
	"kubewright/internal/secret"
	"kubewright/inventory"
	"kubewright/spec"
)

// Cluster is the whole cluster as it is to be. It is made by Load and not changed afterwards.
type Cluster struct {
	// Name is metadata.name.
	Name string
	// Version is the version of Kubernetes without a leading v, such as 1.37.2.
	Version string
	// Release is what goes with that version.
	Release Release
	// Network is the network inside the cluster.
	Network Network
	// APIPort is the port on which every API server listens.
	APIPort int
	// Endpoint is where clients outside reach the API servers: what the user gives, else the
	// virtual IP, else the node IP of the first control plane by name.
	Endpoint Endpoint
	// SharedEndpoint says that Endpoint leads to all control planes; it is false where Endpoint
	// is the node IP of one of them.
	SharedEndpoint bool
	// NodeEndpoint is where the nodes reach the API servers: the loopback address of the
	// balancer on each of them with LocalBalancer, else Endpoint.
	NodeEndpoint Endpoint
	// LocalBalancer says that every node has a load balancer of its own.
	LocalBalancer bool
	// VIP is the virtual IP of the control planes.
	VIP VIP
	// CertSANs are the names and addresses the user adds to the API server's certificate.
	CertSANs []string
	// KeyAlgorithm is ECDSA-P256, RSA-2048, RSA-3072 or RSA-4096.
	KeyAlgorithm string
	// APIServer, ControllerManager, Scheduler and Etcd carry the user's settings of each.
	APIServer, ControllerManager, Scheduler, Etcd Component
	// ExternalEtcd is the etcd that somebody else runs; the zero value where etcd has its members on
	// Hosts.
	ExternalEtcd ExternalEtcd
	// KubeletConfig and KubeProxyConfig are merged into the configuration of each; the numbers
	// in them are int64 or float64.
	KubeletConfig, KubeProxyConfig map[string]any
	// KubeletExtraArgs are further flags of the kubelet, by name without dashes.
	KubeletExtraArgs map[string]string
	// Addons are configured like this.
	Addons Addons
	// Artifacts says where files and images come from.
	Artifacts Artifacts
	// Rollout says how a change is taken through the nodes of a cluster that runs.
	Rollout Rollout
	// IgnoreChecks names the preflight checks whose refusal is a warning only.
	IgnoreChecks []string
	// Hosts is sorted by name; every host has its NodeIP and at least one role.
	Hosts []inventory.Host
}

// Network is the network inside the cluster.
type Network struct {
	// PodCIDR and ServiceCIDR are what pods and services get their addresses from.
	PodCIDR, ServiceCIDR netip.Prefix
	// DNSDomain is the domain of the names of services, such as cluster.local.
	DNSDomain string
	// APIServiceIP is the first address of ServiceCIDR, DNSServiceIP the tenth.
	APIServiceIP, DNSServiceIP netip.Addr
	// ProxyMode is auto, nftables, iptables or ipvs; Cluster.ProxyMode decides auto.
	ProxyMode string
	// CNI is calico, flannel or none.
	CNI string
	// Calico configures Calico, where that is the CNI.
	Calico spec.Calico
	// CalicoPasswords are those of the peers of Calico that have one, by their names.
	CalicoPasswords map[string]secret.Bytes
	// MTU is that of the pod network in bytes; 0 means that it follows from the hosts.
	MTU int
}

// Component carries the user's settings of one component of the control plane.
type Component struct {
	// ExtraArgs are flags by name without dashes.
	ExtraArgs map[string]string
}

// Artifacts says where files and images come from.
type Artifacts struct {
	// Source is upstream, mirror or directory.
	Source string
	// MirrorURL, without a trailing slash, is set when Source is mirror; Directory when it is
	// directory. DigestsFile is empty or the path of a lock file. A leading ~/ is left as it is.
	MirrorURL, Directory, DigestsFile string
	// Digests are those of DigestsFile: a site's that builds the files itself.
	Digests catalog.Lock
	// Delivery is auto, fetch or push.
	Delivery string
	// RegistryMirrors lists by registry the URLs to pull from instead.
	RegistryMirrors map[string][]string
}

// What moves a virtual IP.
const (
	Keepalived = "keepalived"
	KubeVIP    = "kube-vip"
)

// VIP is a virtual IP that moves among the control planes. The zero VIP is none.
type VIP struct {
	// Address is of IPv4; it is the zero Addr where there is no virtual IP.
	Address netip.Addr
	// Provider is Keepalived or KubeVIP.
	Provider string
	// Interface is the network interface that takes the address; "" is the one with the node IP.
	Interface string
	// RouterID is keepalived's virtual router ID of VRRP, from 1 to 255.
	RouterID int
}

// Endpoint is where an API server is reached.
type Endpoint struct {
	// Host is an IP address without brackets, or a DNS name.
	Host string
	Port int
}

// String returns host:port, with an IPv6 address in brackets.
func (e Endpoint) String() string {
	host := e.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + strconv.Itoa(e.Port)
}

// URL returns https://host:port.
func (e Endpoint) URL() string { return "https://" + e.String() }

// ControlPlanes returns the hosts with the role control-plane, by name.
func (c *Cluster) ControlPlanes() []inventory.Host { return c.Select(inventory.ControlPlanes) }

// Workers returns the hosts with the role worker, by name.
func (c *Cluster) Workers() []inventory.Host { return c.Select(inventory.Workers) }

// EtcdMembers returns the hosts that run a member of etcd, by name.
func (c *Cluster) EtcdMembers() []inventory.Host { return c.Select(inventory.EtcdMembers) }

// Select returns the hosts the selector picks, by name.
func (c *Cluster) Select(pick inventory.Selector) []inventory.Host {
	var picked []inventory.Host
	for _, h := range c.Hosts {
		if pick(h) {
			picked = append(picked, h.Clone())
		}
	}
	return picked
}

// InitialCluster is etcd's --initial-cluster for a new cluster: name=peer URL for every member,
// by name.
func (c *Cluster) InitialCluster() string {
	var members []string
	for _, h := range c.EtcdMembers() {
		members = append(members, h.Name+"="+PeerURL(h))
	}
	return strings.Join(members, ",")
}

// PeerURL is where the other members of etcd reach the one on a host.
func PeerURL(h inventory.Host) string {
	return "https://" + netip.AddrPortFrom(h.NodeIP, etcdPeerPort).String()
}
