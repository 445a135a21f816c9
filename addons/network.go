package addons

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"kubewright/spec"
)

// Calico is what the overlay of Calico is made of.
type Calico struct {
	Mode     string // vxlan or bgp
	VXLAN    string // whether packets between nodes are wrapped, in Calico's words
	Pools    []CalicoPool
	ASN      int
	NodeMesh bool
	Peers    []CalicoPeer
	// Passwords are those of the peers that have one, by the names of these, for their Secret.
	Passwords map[string][]byte
}

// CalicoPool is an IPPool.
type CalicoPool struct {
	Name, CIDR   string
	BlockSize    int // bits of the pieces that nodes take
	NATOutgoing  bool
	NodeSelector string
}

// CalicoPeer is a BGPPeer.
type CalicoPeer struct {
	Name, Address, NodeSelector string
	ASN                         int
	Password                    bool // it is among Passwords
}

// calicoBlock is the size of the pieces of a pool that nodes take, as Calico has it.
const calicoBlock = 26

// Calico is how Calico is to be.
func (p Params) Calico() Calico {
	given := p.CalicoSettings
	c := Calico{
		Mode: cmp.Or(given.Mode, spec.CalicoVXLAN), VXLAN: "Always", ASN: given.ASN,
		NodeMesh: given.NodeMesh == nil || *given.NodeMesh, Passwords: map[string][]byte{},
	}
	if c.Mode == spec.CalicoBGP {
		c.VXLAN = "Never"
	}
	c.Pools = append(c.Pools, CalicoPool{
		Name: spec.CalicoDefaultPool, CIDR: p.PodCIDR.String(), BlockSize: max(calicoBlock, p.PodCIDR.Bits()), NATOutgoing: true, NodeSelector: "all()",
	})
	for _, pool := range given.Pools {
		c.Pools = append(c.Pools, CalicoPool{
			Name: pool.Name, CIDR: pool.CIDR, BlockSize: calicoBlock, NATOutgoing: !pool.KeepSourceAddress, NodeSelector: calicoSelector(pool.NodeSelector),
		})
	}
	for _, peer := range given.Peers {
		password, ok := p.CalicoPasswords[peer.Name]
		if ok {
			c.Passwords[peer.Name] = password.Reveal()
		}
		address := peer.Address
		if peer.Port != 0 {
			address += ":" + strconv.Itoa(peer.Port)
		}
		c.Peers = append(c.Peers, CalicoPeer{Name: peer.Name, Address: address, ASN: peer.ASN, NodeSelector: calicoSelector(peer.NodeSelector), Password: ok})
	}
	return c
}

// calicoSelector writes labels as Calico does.
func calicoSelector(labels map[string]string) string {
	var terms []string
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		terms = append(terms, fmt.Sprintf("%s == '%s'", key, labels[key])) // neither can have a quote
	}
	return cmp.Or(strings.Join(terms, " && "), "all()")
}

// Flannel is the configuration of flannel's daemons.
func (p Params) Flannel() (string, error) {
	backend := map[string]any{"Type": "vxlan"}
	if p.MTU != 0 {
		backend["MTU"] = p.MTU + VXLANOverhead // that of what wraps the pods' packets
	}
	config, err := json.MarshalIndent(map[string]any{
		"Network": p.PodCIDR.String(), "Backend": backend,
		// As kube-proxy does, so that all rules of a host are in one place.
		"EnableNFTables": p.ProxyMode == "nftables",
	}, "", "  ")
	return string(config) + "\n", err
}

// VXLANOverhead is what an IPv4 VXLAN header takes of each packet, in bytes.
const VXLANOverhead = 50

// Digest identifies a text: a pod with another one in its annotations is replaced, and reads its configuration
// anew.
func (Params) Digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// NodeDNS is what the overlay of the DNS cache on every node is made of.
type NodeDNS struct {
	Address  string
	Listen   string // all addresses that it listens on, separated by commas
	Corefile string
}

// NodeDNS is how the DNS cache on every node is to be.
func (p Params) NodeDNS() NodeDNS {
	d := NodeDNS{Address: p.Addons.NodeLocalDNS.Address}
	addresses := []string{d.Address}
	if p.ProxyMode == "iptables" {
		// Pods go on asking the service, and reach the cache of their node, or the service while there is none.
		addresses = append(addresses, p.DNSServiceIP.String())
	}
	d.Listen = strings.Join(addresses, ",")
	zone := func(name, cache, more string) string {
		return fmt.Sprintf(`%s:53 {
    errors
    cache %s
    reload
    loop
    bind %s
    forward . __PILLAR__CLUSTER__DNS__ {
        force_tcp
    }
    prometheus :9253
%s}
`, name, cache, strings.Join(addresses, " "), more)
	}
	// What is not there may be there in a moment, in the domain of the cluster.
	d.Corefile = zone(p.DNSDomain, "30 {\n        denial 9984 5\n    }", "    health "+d.Address+":8080\n") +
		// All that is not the cluster's goes to CoreDNS as well, which has the settings of the site.
		zone(".", "30", "")
	return d
}
