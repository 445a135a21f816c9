package spec

import (
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"kubewright/spec/strict"
)

// How Calico has packets travel between nodes.
const (
	CalicoVXLAN = "vxlan"
	CalicoBGP   = "bgp"
)

// CalicoDefaultPool is what Calico calls the pool of podCIDR.
const CalicoDefaultPool = "default-ipv4-ippool"

// smallestPool is the piece of a pool that Calico gives each node.
const smallestPool = 26

// calico checks the settings of Calico.
func (v *validator) calico() {
	cni := v.spec.Network.CNI
	c := cni.Calico
	where := func(key string) strict.Path { return at("network", "cni", "calico", key) }
	mesh := c.NodeMesh == nil || *c.NodeMesh
	for _, key := range []struct {
		name  string
		given bool
		bgp   bool // of use with BGP only
	}{{"mode", c.Mode == CalicoBGP, false}, {"nodeMesh", !mesh, true}, {"peers", len(c.Peers) > 0, true}, {"pools", len(c.Pools) > 0, false}} {
		switch {
		case !key.given:
		case cni.Name != "calico":
			v.Refuse(where(key.name), "it is Calico's, but the pod network is %s", cni.Name)
		case key.bgp && c.Mode != CalicoBGP:
			v.Refuse(where(key.name), "it is of use with mode: bgp only, and the mode is %s", c.Mode)
		}
	}
	if c.Mode == CalicoBGP && !mesh && len(c.Peers) == 0 {
		v.Refuse(where("nodeMesh"), "without it and without peers no node would learn of the pods of another; name the routers that tell them as peers")
	}
	v.calicoASN(where("asn"), c.ASN)
	var names []string
	for i, peer := range c.Peers {
		v.calicoPeer(where("peers").Index(i), peer, names)
		names = append(names, peer.Name)
	}
	names = []string{CalicoDefaultPool}
	for i, pool := range c.Pools {
		at := where("pools").Index(i)
		v.objectName(at.Key("name"), pool.Name, names)
		names = append(names, pool.Name)
		if prefix, ok := v.prefix(at.Key("cidr"), pool.CIDR); ok && prefix.Bits() > smallestPool {
			v.Refuse(at.Key("cidr"), "%s is smaller than the /%d that each node takes", prefix, smallestPool)
		}
		v.nodeSelector(at.Key("nodeSelector"), pool.NodeSelector)
	}
}

// largestCalicoASN is that of the definitions of Calico 3.28, which are of 32 bits with a sign.
const largestCalicoASN = 1<<31 - 1

func (v *validator) calicoASN(where strict.Path, asn int) {
	if asn > largestCalicoASN && asn < 1<<32 { // more is refused as out of range
		v.Refuse(where, "%d is more than Calico takes; write a number up to %d, such as a private one from 64512 to 65534", asn, largestCalicoASN)
	}
}

func (v *validator) calicoPeer(at strict.Path, peer BGPPeer, taken []string) {
	v.objectName(at.Key("name"), peer.Name, taken)
	v.router(at.Key("address"), peer.Address)
	if m := v.spec.Addons.MetalLB; m.Enabled && peer.Address != "" && slices.ContainsFunc(m.BGP.Peers, func(p BGPPeer) bool { return p.Address == peer.Address }) {
		v.Refuse(at.Key("address"), "MetalLB has the peer %s as well, and a router has one session with a node: leave one of them out", peer.Address)
	}
	v.calicoASN(at.Key("asn"), peer.ASN)
	if peer.MyASN != 0 && peer.MyASN != v.spec.Network.CNI.Calico.ASN {
		v.Refuse(at.Key("myASN"), "Calico has one number for all peers, spec.network.cni.calico.asn; leave this out")
	}
	v.nodeSelector(at.Key("nodeSelector"), peer.NodeSelector)
}

// objectName checks the name of an object that none of those taken has; an empty one is refused as missing.
func (v *validator) objectName(where strict.Path, name string, taken []string) {
	switch {
	case name == "":
	case len(validation.IsDNS1123Subdomain(name)) > 0:
		v.Suggest(where, asLabel(name), "%q is no name of an object: it is of lower-case letters, digits, - and ., and begins and ends with a letter or digit", name)
	case slices.Contains(taken, name):
		v.Refuse(where, "%s is taken already; give it a name of its own", name)
	}
}

// nodeLocalDNS checks the address of the DNS cache on every node.
func (v *validator) nodeLocalDNS() {
	d := v.spec.Addons.NodeLocalDNS
	where := at("addons", "nodeLocalDNS", "address")
	ip, err := netip.ParseAddr(d.Address)
	switch {
	case err != nil || !ip.Is4() || !ip.IsLinkLocalUnicast():
		v.Suggest(where, "169.254.20.10", "%q is no link-local address of IPv4 (169.254.0.0/16)", d.Address)
	case strings.HasPrefix(d.Address, "169.254.169."):
		v.Suggest(where, "169.254.20.10", "%s is among the addresses at which clouds tell machines about themselves", ip)
	case d.Enabled:
		isCache := func(s netip.AddrPort) bool { return s.Addr() == ip }
		refuse := func(where strict.Path, servers []netip.AddrPort) {
			if slices.ContainsFunc(servers, isCache) {
				v.Refuse(where.Key("forward"), "%s is the cache on every node, which asks CoreDNS itself", ip)
			}
		}
		dns := v.spec.Addons.CoreDNS
		refuse(at("addons", "coredns"), dns.Servers())
		for i, zone := range dns.Zones {
			refuse(at("addons", "coredns", "zones").Index(i), zone.Servers())
		}
	}
}
