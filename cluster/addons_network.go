package cluster

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"kubewright/internal/secret"
	"kubewright/inventory"
	"kubewright/spec"
)

// Where pods' packets between nodes go to: ports of UDP.
const (
	calicoVXLANPort  = 4789
	flannelVXLANPort = 8472
)

// VXLANPort is the port of UDP by which nodes reach the pods of one another; 0 where there is none, or nobody
// knows.
func (c *Cluster) VXLANPort() int {
	switch {
	case c.Network.CNI == cniFlannel:
		return flannelVXLANPort
	case c.Network.CNI == cniCalico && !c.BGP():
		return calicoVXLANPort
	}
	return 0
}

// BGP tells whether the nodes tell each other, or routers, where pods are by BGP.
func (c *Cluster) BGP() bool {
	return c.Network.CNI == cniCalico && c.Network.Calico.Mode == spec.CalicoBGP
}

// PodNetworks are all networks of pods, PodCIDR first.
func (c *Cluster) PodNetworks() []netip.Prefix {
	all := []netip.Prefix{c.Network.PodCIDR}
	for _, pool := range c.Network.Calico.Pools {
		if prefix, err := netip.ParsePrefix(pool.CIDR); err == nil {
			all = append(all, prefix)
		}
	}
	return all
}

// NodeDNS is the server that kubelets tell pods to ask.
func (c *Cluster) NodeDNS() netip.Addr {
	local := c.Addons.NodeLocalDNS
	address, err := netip.ParseAddr(local.Address)
	if local.Enabled && err == nil && (c.Network.ProxyMode == proxyIPVS || c.Network.ProxyMode == proxyNftables) {
		// With these, no other program can have the address of a service. Pods that were told of the cache stay
		// without DNS while there is none.
		return address
	}
	return c.Network.DNSServiceIP
}

// podNetwork takes over the settings of Calico, and refuses networks that overlap.
func (r *resolver) podNetwork() {
	if r.net.CNI == cniFlannel {
		r.warn.Refuse(at("network", "cni", "name"), "flannel enforces no NetworkPolicy: what they forbid is allowed; calico enforces them")
	}
	if r.net.CNI != cniCalico {
		return
	}
	r.net.Calico = r.written.Network.CNI.Calico
	taken := map[string]netip.Prefix{"spec.network.podCIDR": r.net.PodCIDR, "spec.network.serviceCIDR": r.net.ServiceCIDR}
	for i, pool := range r.net.Calico.Pools {
		where := at("network", "cni", "calico", "pools").Index(i).Key("cidr")
		prefix, err := netip.ParsePrefix(pool.CIDR)
		if err != nil || !prefix.Addr().Is4() {
			continue // the spec has refused it
		}
		for _, key := range slices.Sorted(maps.Keys(taken)) {
			if other := taken[key]; other.IsValid() && other.Overlaps(prefix) {
				r.check.Refuse(where, "%s overlaps %s, %s; take a network that nothing else uses", prefix, key, other)
			}
		}
		taken[strings.TrimSuffix(where.String(), ".cidr")] = prefix
		var inside []inventory.Placed
		for _, p := range r.placed {
			if p.NodeIP.IsValid() && prefix.Contains(p.NodeIP) {
				inside = append(inside, p)
			}
		}
		if len(inside) > 0 {
			r.check.Refuse(where, "%s holds the node IPs of hosts: %s", prefix, names(inside))
		}
	}
	r.net.CalicoPasswords = map[string]secret.Bytes{}
	for i, peer := range r.net.Calico.Peers {
		if peer.PasswordFile != "" {
			where := at("network", "cni", "calico", "peers").Index(i).Key("passwordFile")
			r.net.CalicoPasswords[peer.Name] = r.bgpPassword(where, peer.PasswordFile)
		}
	}
}
