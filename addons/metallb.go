package addons

import (
	"cmp"
	"fmt"
	"reflect"

	"kubewright/internal/secret"
	"kubewright/spec"
)

// metalLBNamespace is where upstream's manifest has it.
const metalLBNamespace = "metallb-system"

// MetalLBObject is an object of a kind of MetalLB's.
type MetalLBObject struct {
	Name string
	Spec map[string]any
}

// L2Advertisements are as the user has them; one for all pools where neither they nor BGP announce any, for
// addresses that nobody announces are of no use.
func (p Params) L2Advertisements() []MetalLBObject {
	written := p.Addons.MetalLB.L2
	if len(written) == 0 && len(p.Addons.MetalLB.BGP.Peers) == 0 {
		written = []spec.L2Advertisement{{}}
	}
	var all []MetalLBObject
	for i, a := range written {
		all = append(all, MetalLBObject{fmt.Sprintf("l2-%d", i+1), given(map[string]any{
			"ipAddressPools": a.Pools, "interfaces": a.Interfaces, "nodeSelectors": selectors(a.NodeSelector),
		})})
	}
	return all
}

// BGPPeer is a router with the password of its session.
type BGPPeer struct {
	MetalLBObject
	// Password is empty where the session has none; Secret is the name of the object that it is kept in.
	Password secret.Bytes
	Secret   string
}

// BGPPeers are the routers as MetalLB is told of them.
func (p Params) BGPPeers() []BGPPeer {
	var all []BGPPeer
	for _, written := range p.Addons.MetalLB.BGP.Peers {
		peer := BGPPeer{Password: p.BGPPasswords[written.Name], Secret: "bgp-" + written.Name}
		peer.Name = written.Name
		peer.Spec = given(map[string]any{
			"myASN": cmp.Or(written.MyASN, p.Addons.MetalLB.BGP.ASN), "peerASN": written.ASN,
			"peerAddress": written.Address, "peerPort": written.Port, "nodeSelectors": selectors(written.NodeSelector),
		})
		if len(peer.Password) > 0 {
			peer.Spec["passwordSecret"] = map[string]any{"name": peer.Secret, "namespace": metalLBNamespace}
		}
		all = append(all, peer)
	}
	return all
}

// BGPAdvertisements are as the user has them, and one for all pools and all peers where there are none.
func (p Params) BGPAdvertisements() []MetalLBObject {
	written := p.Addons.MetalLB.BGP.Advertisements
	if len(written) == 0 {
		written = []spec.BGPAdvertisement{{}}
	}
	var all []MetalLBObject
	for i, a := range written {
		all = append(all, MetalLBObject{fmt.Sprintf("bgp-%d", i+1), given(map[string]any{
			"ipAddressPools": a.Pools, "peers": a.Peers, "aggregationLength": a.AggregationLength, "communities": a.Communities,
			"localPref": a.LocalPref, "nodeSelectors": selectors(a.NodeSelector),
		})})
	}
	return all
}

// selectors are labels in the form of MetalLB, which takes several sets of them.
func selectors(labels map[string]string) []any {
	if len(labels) == 0 {
		return nil
	}
	return []any{map[string]any{"matchLabels": labels}}
}

// given leaves out what was not written.
func given(fields map[string]any) map[string]any {
	for key, value := range fields {
		if v := reflect.ValueOf(value); v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0 {
			delete(fields, key)
		}
	}
	return fields
}
