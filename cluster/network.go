package cluster

import (
	"fmt"
	"math/bits"
	"net/netip"
	"regexp"
	"strconv"

	"kubewright/inventory"
)

// The words of spec.network.
const (
	proxyAuto     = "auto"
	proxyNftables = "nftables"
	proxyIptables = "iptables"
	proxyIPVS     = "ipvs"
	cniCalico     = "calico"
	cniFlannel    = "flannel"
)

// defaultNodeMask is the size of the piece of the pod CIDR that the controller manager gives each
// node unless told otherwise.
const defaultNodeMask = 24

// network parses the CIDRs, which the spec has checked one by one, derives the service addresses,
// and checks the CIDRs against each other and the nodes.
func (r *resolver) network() {
	n := r.written.Network
	r.net = Network{DNSDomain: n.DNSDomain, ProxyMode: n.ProxyMode, CNI: n.CNI.Name, MTU: n.CNI.MTU}
	if prefix, err := netip.ParsePrefix(n.PodCIDR); err == nil && prefix.Addr().Is4() {
		r.net.PodCIDR = prefix.Masked()
	}
	if prefix, err := netip.ParsePrefix(n.ServiceCIDR); err == nil && prefix.Addr().Is4() {
		r.net.ServiceCIDR = prefix.Masked()
		r.net.APIServiceIP = nth(r.net.ServiceCIDR, 1)
		r.net.DNSServiceIP = nth(r.net.ServiceCIDR, 10)
	}
	pods, services := r.net.PodCIDR, r.net.ServiceCIDR
	if pods.IsValid() && services.IsValid() && pods.Overlaps(services) {
		r.check.Suggest(at("network", "serviceCIDR"), r.free(services.Bits()), "%s overlaps spec.network.podCIDR, %s", services, pods)
	}
	for key, prefix := range r.cidrs() {
		var inside []inventory.Placed
		for _, p := range r.placed {
			if p.NodeIP.IsValid() && prefix.Contains(p.NodeIP) {
				inside = append(inside, p)
			}
		}
		if len(inside) > 0 {
			r.check.Suggest(at("network", key), r.free(prefix.Bits()), "%s holds the node IPs of hosts: %s", prefix, names(inside))
		}
	}
	if pods.IsValid() {
		r.podsOfNodes(pods)
	}
	r.podNetwork()
}

// cidrs lists the CIDRs that are valid by their key in spec.network.
func (r *resolver) cidrs() map[string]netip.Prefix {
	valid := map[string]netip.Prefix{}
	for key, prefix := range map[string]netip.Prefix{"podCIDR": r.net.PodCIDR, "serviceCIDR": r.net.ServiceCIDR} {
		if prefix.IsValid() {
			valid[key] = prefix
		}
	}
	return valid
}

// podsOfNodes refuses a pod CIDR that has no piece for every node, or too many pieces to count.
func (r *resolver) podsOfNodes(pods netip.Prefix) {
	mask := defaultNodeMask
	for _, arg := range []string{"node-cidr-mask-size", "node-cidr-mask-size-ipv4"} {
		if given, ok := r.written.ControlPlane.ControllerManager.ExtraArgs[arg]; ok {
			where := at("controlPlane", "controllerManager", "extraArgs", arg)
			size, err := strconv.Atoi(given)
			if err != nil || size < 1 || size > 32 {
				r.check.Refuse(where, "%q is no number of bits from 1 to 32", given)
				return
			}
			mask = size
		}
	}
	nodes := len(r.placed)
	if nodes == 0 || mask >= pods.Bits() && nodes <= 1<<(mask-pods.Bits()) {
		return
	}
	enough := max(mask-bits.Len(uint(nodes-1)), 0)
	r.check.Suggest(at("network", "podCIDR"), netip.PrefixFrom(pods.Addr(), enough).Masked().String(),
		"%s has no /%d for each of %d nodes", pods, mask, nodes)
}

// free suggests a private network of that many bits that neither the other networks nor the nodes
// use; "" when the few that are tried are all in use.
func (r *resolver) free(size int) string {
	for _, candidate := range []string{"10.96.0.0", "10.244.0.0", "10.112.0.0", "10.208.0.0", "172.20.0.0", "172.28.0.0"} {
		prefix, err := netip.MustParseAddr(candidate).Prefix(size)
		if err == nil && prefix.Addr().IsPrivate() && !r.used(prefix) {
			return prefix.String()
		}
	}
	return ""
}

func (r *resolver) used(prefix netip.Prefix) bool {
	for _, other := range r.cidrs() {
		if other.Overlaps(prefix) {
			return true
		}
	}
	for _, p := range r.placed {
		if p.NodeIP.IsValid() && prefix.Contains(p.NodeIP) {
			return true
		}
	}
	return false
}

// nth returns the n-th address of a network, its own address being the 0th; the zero Addr if the
// network has none.
func nth(prefix netip.Prefix, n int) netip.Addr {
	ip := prefix.Addr()
	for range n {
		ip = ip.Next()
	}
	if !prefix.Contains(ip) {
		return netip.Addr{}
	}
	return ip
}

// ProxyMode decides what kube-proxy programs the kernel with, given the kernel release of every
// host as uname -r prints it: as the user says, and for auto nftables where every kernel is 5.13
// or newer and the CNI plugin of the cluster works beside it, else iptables. A kernel that cannot
// be read, no kernel at all, and a CNI plugin of the user's own count as too old; and a DNS cache on
// every node can have the address of the DNS service beside iptables only.
func (c *Cluster) ProxyMode(kernels []string) string {
	if c.Network.ProxyMode != proxyAuto {
		return c.Network.ProxyMode
	}
	beside := c.Network.CNI == cniFlannel || c.Network.CNI == cniCalico && c.Release.CalicoNftables
	if !beside || len(kernels) == 0 || c.Addons.NodeLocalDNS.Enabled {
		return proxyIptables
	}
	for _, kernel := range kernels {
		if !hasNftables(kernel) {
			return proxyIptables
		}
	}
	return proxyNftables
}

// hasNftables reports whether a kernel has what kube-proxy's nftables mode needs, by Kubernetes'
// documentation of the mode: 5.13 or newer.
func hasNftables(kernel string) bool {
	m := regexp.MustCompile(`^(\d{1,3})\.(\d{1,4})(\D|$)`).FindStringSubmatch(kernel)
	if m == nil {
		return false
	}
	var major, minor int
	if _, err := fmt.Sscan(m[1]+" "+m[2], &major, &minor); err != nil {
		return false
	}
	return major > 5 || major == 5 && minor >= 13
}
