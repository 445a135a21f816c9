package check

import (
	"net/netip"
	"time"

	"kubewright/internal/facts"
)

// World is all that the preflight checks look at.
type World struct {
	ClusterName string
	// Version is the version of Kubernetes that is wanted, without a leading v.
	Version string
	// ClusterID is the id in the marker of the hosts that are ours already; ""
	// for a new cluster.
	ClusterID string
	// CAFingerprint ("sha256:hex") is that of the cluster's certificate
	// authority; "" while there is none.
	CAFingerprint string

	PodCIDR, ServiceCIDR netip.Prefix
	// PodPools are further networks of pods.
	PodPools []netip.Prefix
	// ProxyMode is that of kube-proxy: nftables and ipvs need more of the kernel.
	ProxyMode string
	// VXLANPort is the port of UDP over which the pod network runs as VXLAN; 0 where it does not.
	VXLANPort int
	// BGP says that nodes tell each other by BGP where pods are.
	BGP bool
	// DNSForward says that the cluster's DNS has servers of its own to ask, in place of those of the hosts.
	DNSForward bool
	// APIServerPort is the port of the API server; 0 means 6443.
	APIServerPort int
	// BalancerPorts are the ports, on loopback, of the load balancer that every node has; nil where
	// it has none.
	BalancerPorts []int
	// NFS says that pods mount volumes of NFS, and NFSHost which host serves them; "": none of them.
	NFS     bool
	NFSHost string
	// EvictionSet says that the kubelet configuration sets evictionHard, so that
	// the default of 10 and 15 % of the disk does not apply.
	EvictionSet bool

	// Hosts are the hosts of this run. All of them need facts.
	Hosts []Host
	Facts map[string]facts.Facts
	// ClockSkew is the clock of the host minus the clock of the operator's
	// machine.
	ClockSkew map[string]time.Duration
	// Traces is what our manifest on each host lists. With the marker it tells [World.State]:
	// on hosts that are ours the ports, files and running services are our own.
	Traces map[string]Traces
	// Closed are the connections between nodes that were tried and did not come about, and
	// Unprobed says of hosts why they could try none.
	Closed   []Closed
	Unprobed map[string]string

	// Etcd is what was heard of an etcd that somebody else runs; nil where there is none, or nobody
	// was asked yet.
	Etcd *EtcdWorld

	// Endpoints is where the API servers are to be reached, and what was met there.
	Endpoints

	// Pushed says that files are always given to the hosts over the connection: they are
	// uploaded to /tmp, all that a host needs before the first is put in its place.
	Pushed bool
	// Unfetchable lists for each host the URLs of files that it needs and cannot get, and
	// MustFetch says that it is not to be given them. Which files a host needs is known once it
	// was compared with what is wanted.
	Unfetchable map[string][]string
	MustFetch   bool
	// ArtifactsUnknown is why it is not known which files the hosts need; "": it is.
	ArtifactsUnknown string
	// SourceFailure is why the operator cannot learn the digests of files; nil: they are known.
	SourceFailure error

	// Ignore names the checks whose refusals do not stop the run.
	Ignore []string
}

// Host is what the inventory says about a host.
type Host struct {
	Name   string // also the node's name
	NodeIP netip.Addr

	ControlPlane, Etcd, Worker bool
	// InScope is not set for hosts that are looked at, and stay as they are: those that --limit leaves out.
	InScope bool
}

// etcdOnly tells whether the host has a member of etcd and nothing else: no kubelet, no containers.
func (h Host) etcdOnly() bool { return h.Etcd && !h.ControlPlane && !h.Worker }
