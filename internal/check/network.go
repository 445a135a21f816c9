package check

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"kubewright/internal/facts"
)

const defaultAPIServerPort = 6443

// port is a port that a node listens on.
type port struct {
	number int
	proto  string
	what   string
	on     func(World, Host) bool
	local  bool // on loopback only: a firewall need not open it
	// from are the nodes that connect to it; nil when no node does.
	from func(World, Host) bool
	// mesh is set where all nodes connect to all others.
	mesh bool
	// runs tells whether what is to listen was put on a host of ours already; nil: it was. It is not
	// where something is added to a cluster that runs.
	runs func(Traces) bool
}

func everyNode(_ World, h Host) bool    { return !h.etcdOnly() }
func controlPlane(_ World, h Host) bool { return h.ControlPlane }
func etcdMember(_ World, h Host) bool   { return h.Etcd }

// ports lists what Kubernetes listens on.
func ports(w World) []port {
	api := w.APIServerPort
	if api == 0 {
		api = defaultAPIServerPort
	}
	all := []port{
		{number: api, proto: "tcp", what: "kube-apiserver", on: controlPlane, from: everyNode},
		{number: 2379, proto: "tcp", what: "etcd clients", on: etcdMember, from: controlPlane},
		{number: 2380, proto: "tcp", what: "etcd peers", on: etcdMember, from: etcdMember},
		{number: 2381, proto: "tcp", what: "etcd metrics", on: etcdMember, local: true},
		{number: w.VXLANPort, proto: "udp", what: "VXLAN", on: func(w World, h Host) bool { return w.VXLANPort != 0 && everyNode(w, h) }, from: everyNode, mesh: true},
		{number: 179, proto: "tcp", what: "BGP", on: func(w World, h Host) bool { return w.BGP && everyNode(w, h) }, from: everyNode, mesh: true},
		{number: 10248, proto: "tcp", what: "kubelet health", on: everyNode, local: true},
		{number: 10249, proto: "tcp", what: "kube-proxy metrics", on: everyNode, local: true},
		{number: 10250, proto: "tcp", what: "kubelet", on: everyNode, from: controlPlane},
		{number: 10256, proto: "tcp", what: "kube-proxy health", on: everyNode}, // load balancers ask it
		{number: 10257, proto: "tcp", what: "kube-controller-manager", on: controlPlane, local: true},
		{number: 10259, proto: "tcp", what: "kube-scheduler", on: controlPlane, local: true},
	}
	for _, number := range w.BalancerPorts {
		all = append(all, port{number: number, proto: "tcp", what: "the node's own load balancer", on: everyNode, local: true, runs: func(on Traces) bool { return on.Balancer }})
	}
	return all
}

// checkPorts refuses taken ports, but not on a host that is ours: there it is our
// own components that listen.
func checkPorts(t *T, h Host, f facts.Facts) {
	for _, p := range ports(t.World) {
		if !p.on(t.World, h) {
			continue
		}
		i := slices.IndexFunc(f.Listening, func(l facts.Listener) bool { return l.Port == p.number && l.Proto == p.proto })
		if i < 0 {
			continue
		}
		l := f.Listening[i]
		if t.ours(h.Name) && (p.runs == nil || p.runs(t.Traces[h.Name])) {
			continue
		}
		by, remedy := "by another program", fmt.Sprintf("find it with ss -lnp 'sport = :%d' and stop it", p.number)
		if l.Process != "" {
			by, remedy = "by "+l.Process, "stop "+l.Process+" or move it to another port"
			if l.Process == "systemd-socket-" { // as much as the kernel keeps of systemd-socket-activate
				remedy = "if another run of kubewright is trying connections there, run again in a minute; else " + remedy
			}
		}
		t.Requiref(false, remedy, "%d/%s is taken %s (on %s) and is needed by %s", p.number, p.proto, by, l.Addr, p.what)
	}
}

// checkFirewall lists what must be open, since a closed port shows only later, as
// a node that is not ready or names that do not resolve.
func checkFirewall(t *T, h Host, f facts.Facts) {
	if f.Firewall == "" {
		return
	}
	var open []string
	for _, p := range ports(t.World) {
		if p.on(t.World, h) && !p.local {
			open = append(open, fmt.Sprintf("%d/%s (%s)", p.number, p.proto, p.what))
		}
	}
	remedy := "open them among the nodes, together with the pod and service CIDRs and the NodePorts 30000-32767"
	if h.etcdOnly() {
		remedy = "open them to the control planes and the other members of etcd"
	}
	t.Assertf(false, remedy,
		"%s is active and is left as it is; these ports must be open: %s", f.Firewall, strings.Join(open, ", "))
}

func checkSELinux(t *T, _ Host, f facts.Facts) {
	t.Assertf(f.SELinux != "enforcing", "if pods are denied access (ausearch -m avc), set it to permissive",
		"SELinux is enforcing, and containers are started without labels of their own")
}

// madeByCluster knows the interfaces that a cluster's network makes on its nodes.
// Their addresses and routes lie in the pod and service CIDRs, as they should.
func madeByCluster(iface string) bool {
	exact := []string{
		"vxlan.calico", "vxlan-v6.calico", "wireguard.cali", "wg-v6.cali", "tunl0",
		"cni0", "flannel.1", "flannel-v6.1", "flannel-wg", "kube-ipvs0", "nodelocaldns",
	}
	// Open vSwitch names its end of every Geneve tunnel so, Antrea's and those of others alike.
	const geneve = "genev_sys_"
	return strings.HasPrefix(iface, "cali") || strings.HasPrefix(iface, geneve) ||
		slices.Contains(exact, iface) || otherNetwork(iface) != ""
}

// otherNetwork names the pod network that makes interfaces of this name; "" where we know none, or
// cannot tell it from one of our own. On a host of ours it is what the user installed with
// spec.network.cni none; on any other it is a sign of another cluster, which says more than that
// its addresses are in our CIDRs. The interfaces of Calico and flannel are left out: they also
// outlive a reset of ours, until the next boot, and do no harm.
func otherNetwork(iface string) string {
	for _, n := range []struct{ prefix, name string }{
		{"cilium_", "Cilium"}, {"antrea-", "Antrea"}, {"kube-bridge", "kube-router"}, {"kube-dummy-if", "kube-router"},
		{"vethwe-", "Weave Net"}, {"ovn-k8s-", "OVN-Kubernetes"},
	} {
		if strings.HasPrefix(iface, n.prefix) {
			return n.name
		}
	}
	if iface == "weave" { // a short word, which may begin the name of anything
		return "Weave Net"
	}
	return ""
}

// cidr is a range of addresses that the cluster takes for itself.
type cidr struct {
	netip.Prefix
	name, remedy string
}

// checkCIDRs refuses pod and service CIDRs in which the host already has something
// else: it would not be reachable any more, or pods would not.
func checkCIDRs(t *T, h Host, f facts.Facts) {
	all := []cidr{{Prefix: t.PodCIDR, name: "pod CIDR"}, {Prefix: t.ServiceCIDR, name: "service CIDR"}}
	for _, pool := range t.PodPools {
		all = append(all, cidr{Prefix: pool, name: "pool of pods"})
	}
	for _, c := range all {
		if !c.IsValid() {
			continue
		}
		c.remedy = "choose another " + c.name + " in spec.network"
		t.Requiref(!c.Contains(h.NodeIP.Unmap()), c.remedy, "the %s %s holds the host's node IP %s", c.name, c.Prefix, h.NodeIP)
		if h.etcdOnly() {
			continue // what it reaches itself stays as it is
		}
		connected := overlapInterfaces(t, f, c)
		overlapRoutes(t, f, c, connected)
		for _, server := range f.Nameservers {
			addr, err := netip.ParseAddr(server)
			t.Requiref(err != nil || !c.Contains(addr.Unmap()), c.remedy,
				"the %s %s holds the host's name server %s", c.name, c.Prefix, server)
		}
	}
}

// overlapInterfaces refuses networks that the host is on, and returns them.
func overlapInterfaces(t *T, f facts.Facts, c cidr) []netip.Prefix {
	var connected []netip.Prefix
	for _, iface := range f.Interfaces {
		if madeByCluster(iface.Name) {
			continue
		}
		for _, p := range iface.Addrs {
			if p.Addr().IsLinkLocalUnicast() || !p.Overlaps(c.Prefix) {
				continue
			}
			connected = append(connected, p.Masked())
			t.Requiref(false, c.remedy, "the %s %s overlaps with the network %s of interface %s", c.name, c.Prefix, p.Masked(), iface.Name)
		}
	}
	return connected
}

// overlapRoutes refuses routes into the CIDR, but for the networks reported
// already. A wider route only loses what the CIDR takes out of it, which is common
// (10.0.0.0/8 into a company's network) and worth a warning. On a host of ours the
// routes to parts of the CIDR are those of the pod network.
func overlapRoutes(t *T, f facts.Facts, c cidr, connected []netip.Prefix) {
	for _, r := range f.Routes {
		if madeByCluster(r.Dev) || slices.Contains(connected, r.Dst) || !r.Dst.Overlaps(c.Prefix) {
			continue
		}
		via := "via " + r.Dev
		if r.Dev == "" {
			via = "to nowhere"
		}
		switch {
		case r.Dst.Bits() < c.Bits():
			t.Assertf(false, c.remedy+" if something in it must be reached",
				"the %s %s hides a part of the route to %s %s", c.name, c.Prefix, r.Dst, via)
		case r.Dst.Bits() > c.Bits() && t.ours(t.host):
		default:
			t.Requiref(false, c.remedy, "the %s %s overlaps with the route to %s %s", c.name, c.Prefix, r.Dst, via)
		}
	}
}

func checkResolvers(t *T, _ Host, f facts.Facts) {
	if t.DNSForward {
		return // CoreDNS does not ask the servers of the host, and pods ask CoreDNS
	}
	if !t.Assertf(len(f.Nameservers) > 0, "add a name server to /etc/resolv.conf if pods shall resolve names outside of the cluster",
		"the host has no name server") {
		return
	}
	// One is enough to do harm: CoreDNS takes them all, finds that it asks itself, and stops.
	var loopback []string
	for _, server := range f.Nameservers {
		if addr, err := netip.ParseAddr(server); err == nil && (addr.Unmap().IsLoopback() || addr.IsUnspecified()) {
			loopback = append(loopback, server)
		}
	}
	t.Requiref(len(loopback) == 0, "name only servers that are not on loopback, in /etc/resolv.conf or in the resolver's own list (/run/systemd/resolve/resolv.conf)",
		"%s would be handed to pods and names %s: inside a pod that is the pod itself, and CoreDNS would ask itself for ever", f.ResolvConf, strings.Join(loopback, ", "))
}
