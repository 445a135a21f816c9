package facts

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Facts is what one host looked like at one moment.
type Facts struct {
	// Hostname is the kernel's host name as it is written there: it may be
	// upper case or fully qualified. The node name comes from the inventory.
	Hostname string
	// MachineID is the content of /etc/machine-id; "" when the file is missing
	// or empty.
	MachineID string
	// ProductUUID is the firmware's identity of the machine; "" where there is
	// none. All containers of one machine show the same one.
	ProductUUID string

	// OSID, OSVersion and OSName are ID, VERSION_ID and PRETTY_NAME of
	// os-release, for example "debian", "12" and "Debian GNU/Linux 12
	// (bookworm)". OSLike holds the words of ID_LIKE.
	OSID, OSVersion, OSName string
	OSLike                  []string

	// Arch is the architecture by its Go name: "amd64" or "arm64"; any other
	// machine keeps the name that uname gives it.
	Arch string
	// Kernel is the kernel release, for example "6.1.0-18-amd64".
	Kernel string
	// Virt is the innermost virtualisation or container technology by the name
	// systemd-detect-virt gives it ("kvm", "podman"); "none" on bare metal.
	Virt string
	// Container says that the kernel belongs to somebody else: swap, modules,
	// most sysctls and the clock are then not this host's to change.
	Container bool

	// CgroupVersion is 2 on the unified hierarchy and 1 on the legacy or hybrid
	// one. CgroupControllers lists the controllers that are switched on, sorted.
	CgroupVersion     int
	CgroupControllers []string

	// CapSysResource and CapSysAdmin say whether the effective capability set of
	// root on this host has them. Containers often lack the first.
	CapSysResource, CapSysAdmin bool

	UID         int   // of the user that ran the script; 0 is root
	CPUs        int   // online, and allowed to this process
	MemoryBytes int64 // MemTotal
	Time        time.Time

	// SystemdVersion is the version of systemd; 0 when the host was not booted
	// by systemd.
	SystemdVersion int

	Interfaces []Interface // sorted by name
	Routes     []Route     // of the main table, without the default routes
	Mounts     []Mount     // one for each path of interest, in the script's order
	Listening  []Listener
	Swaps      []string // active swap devices and files

	// Nameservers are those of ResolvConf, the file the kubelet should hand to
	// pods: /etc/resolv.conf, or, when that names a loopback address and the
	// real list is kept elsewhere (systemd-resolved, NetworkManager), the file
	// with the real list.
	Nameservers []string
	ResolvConf  string

	// Commands says which of the commands asked for were found in PATH.
	Commands map[string]bool
	// Modules says which kernel modules are loaded, built in or otherwise
	// working. Loadable says which are on disk, ready for modprobe.
	Modules, Loadable map[string]bool

	Foreign Foreign
	// OursMarker is the line in /var/lib/kubewright/cluster, "name id"; "" when
	// there is none. OursManifest says that the manifest of what we installed
	// is there.
	OursMarker   string
	OursManifest bool
	// APIServerVersion is the version of Kubernetes of the API server whose static pod is on the host, by the tag
	// of its image and without a leading v; "" where there is none, or no tag.
	APIServerVersion string

	// Firewall names the active firewall manager ("firewalld", "ufw",
	// "nftables", "iptables"); "" when none was seen.
	Firewall string
	// SELinux is "enforcing", "permissive" or "disabled".
	SELinux string

	// Unknown holds the optional keys that could not be found out, with the
	// reason.
	Unknown map[string]string
}

// Interface is a network interface and its addresses.
type Interface struct {
	Name  string
	MTU   int
	Addrs []netip.Prefix // address and prefix length, host bits kept
}

// Route is one route of the main table.
type Route struct {
	Dst netip.Prefix
	Dev string // "" for blackhole, unreachable and prohibit routes
}

// Mount is the file system that a path is on, or will be on once it exists.
type Mount struct {
	Path       string // the path asked about, for example /var/lib/containerd
	MountPoint string
	FSType     string
	SizeBytes  int64
	FreeBytes  int64 // available to an ordinary user
	// Inodes and InodesFree are 0 on file systems that have no fixed number of
	// inodes (btrfs, some overlays): see HasInodes.
	Inodes, InodesFree int64
	ReadOnly, NoExec   bool
}

// HasInodes says whether the file system has a fixed number of inodes, so that
// InodesFree means something.
func (m Mount) HasInodes() bool { return m.Inodes > 0 }

// Listener is a socket that waits for connections or datagrams.
type Listener struct {
	Proto   string // tcp or udp
	Addr    netip.Addr
	Port    int
	Process string // "" when it was not asked for or could not be told
}

// Unreadable stands for the fingerprint of a certificate that is there but cannot
// be read. It equals no fingerprint.
const Unreadable = "unreadable"

// Foreign lists the signs of a Kubernetes cluster or a container engine on the
// host, whoever made it. A host of our own shows many of them too: OursMarker
// tells them apart.
type Foreign struct {
	KubeletConf bool // /etc/kubernetes/kubelet.conf
	// KubeletServer and KubeletCA are the API server and the fingerprint of the
	// certificate authority ("sha256:hex", or Unreadable) that kubelet.conf names.
	KubeletServer, KubeletCA string
	AdminConf                bool
	// CA and CAKey: /etc/kubernetes/pki/ca.crt and ca.key; CAFingerprint is
	// "sha256:hex" of the first certificate, or Unreadable.
	CA, CAKey     bool
	CAFingerprint string
	// Manifests are the names of static pods in /etc/kubernetes/manifests.
	Manifests []string
	EtcdData  bool // /var/lib/etcd/member
	// Kubeadm: traces of an earlier kubeadm init or join. KubeadmUnit: the drop-in
	// of kubeadm's package, which would change any kubelet unit, ours too.
	Kubeadm, KubeadmUnit bool
	KubeletRunning       bool
	K3s, K0s, RKE2       bool
	Microk8s             bool
	Docker               bool // installed; DockerRunning: its daemon is up
	DockerRunning        bool
	// Containerd: running; ContainerdConfig: /etc/containerd/config.toml exists.
	Containerd, ContainerdConfig bool
	CRIO                         bool     // running
	CNIConfigs                   []string // files in /etc/cni/net.d
}

// Interface returns the interface that has the address.
func (f Facts) Interface(addr netip.Addr) (Interface, bool) {
	for _, iface := range f.Interfaces {
		for _, prefix := range iface.Addrs {
			if prefix.Addr() == addr.Unmap() {
				return iface, true
			}
		}
	}
	return Interface{}, false
}

// Named returns the interface of a name, and whether there is one.
func (f Facts) Named(name string) (Interface, bool) {
	i := slices.IndexFunc(f.Interfaces, func(iface Interface) bool { return iface.Name == name })
	if i < 0 {
		return Interface{}, false
	}
	return f.Interfaces[i], true
}

// Mount returns the file system that a path asked about by the script is on.
func (f Facts) Mount(path string) (Mount, bool) {
	for _, m := range f.Mounts {
		if m.Path == path {
			return m, true
		}
	}
	return Mount{}, false
}

// Marker splits OursMarker into the cluster's name and id.
func (f Facts) Marker() (name, id string, ok bool) {
	words := strings.Fields(f.OursMarker)
	if len(words) != 2 {
		return "", "", false
	}
	return words[0], words[1], true
}
