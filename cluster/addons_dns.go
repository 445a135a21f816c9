package cluster

import (
	"net/netip"

	"kubewright/inventory"
	"kubewright/spec/strict"
)

// nodesPerDNS is how many nodes there are for each pod of CoreDNS, where nobody says how many pods there are
// to be; leastDNS is how many there are at least.
const (
	nodesPerDNS = 16
	leastDNS    = 2
)

// DNSReplicas is the number of pods of CoreDNS.
func (c *Cluster) DNSReplicas() int {
	if n := c.Addons.CoreDNS.Replicas; n > 0 {
		return n
	}
	return max(leastDNS, (len(c.Select(inventory.Nodes))+nodesPerDNS-1)/nodesPerDNS)
}

// dns refuses servers that are the cluster's own DNS.
func (r *resolver) dns() {
	refuse := func(where strict.Path, servers []netip.AddrPort) {
		for i, server := range servers {
			if server.Addr() == r.net.DNSServiceIP {
				r.check.Refuse(where.Index(i), "%s is the address of the cluster's own DNS, which would ask itself for ever", server.Addr())
			}
		}
	}
	d := r.written.Addons.CoreDNS
	refuse(at("addons", "coredns", "forward"), d.Servers())
	for i, zone := range d.Zones {
		refuse(at("addons", "coredns", "zones").Index(i).Key("forward"), zone.Servers())
	}
}
