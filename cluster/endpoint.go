package cluster

import (
	"net/netip"
	"strconv"

	"kubewright/inventory"
	"kubewright/spec"
	"kubewright/spec/strict"
)

// The words of spec.controlPlane.nodeEndpoint.
const (
	nodesLocal    = "local"
	nodesAuto     = "auto"
	nodesEndpoint = "endpoint"
)

// access is how the API servers are reached.
type access struct {
	port     int // on which each of them listens
	vip      VIP
	endpoint Endpoint
	shared   bool // the endpoint leads to all of them
	local    bool // the nodes go through a load balancer of their own
}

// nodeEndpoint is where the nodes find the API servers.
func (a access) nodeEndpoint() Endpoint {
	if a.local {
		return Endpoint{Host: netip.AddrFrom4([4]byte{127, 0, 0, 1}).String(), Port: LocalBalancerPort}
	}
	return a.endpoint
}

// access decides where the API servers are reached by clients outside, and by the nodes.
func (r *resolver) access() {
	control := r.written.ControlPlane
	planes := r.having(inventory.RoleControlPlane)
	r.api.port = control.Port
	if owner := PortOwner(control.Port); owner != "" {
		r.check.Suggest(at("controlPlane", "port"), strconv.Itoa(apiServerPort), "%d is the port of %s", control.Port, owner)
	}
	r.vip()
	switch {
	case control.Endpoint != "":
		r.givenEndpoint(planes)
	case r.api.vip.Address.IsValid():
		r.api.endpoint, r.api.shared = Endpoint{Host: r.api.vip.Address.String(), Port: r.api.port}, true
	case len(planes) > 0: // any of them would do; the first stays the first as long as it is there
		r.api.endpoint = Endpoint{Host: planes[0].NodeIP.String(), Port: r.api.port}
	}
	r.nodeEndpoint(planes)
}

// vip takes over the virtual IP, which must be an address of its own.
func (r *resolver) vip() {
	given := r.written.ControlPlane.VIP
	ip, err := netip.ParseAddr(given.Address)
	if err != nil || !ip.Is4() { // none, or the spec has refused it
		return
	}
	r.api.vip = VIP{Address: ip, Provider: given.Provider, Interface: given.Interface, RouterID: given.RouterID}
	where := at("controlPlane", "vip", "address")
	r.outsideCIDRs(where, ip)
	for _, p := range r.placed {
		if p.NodeIP == ip || p.Address == ip.String() {
			r.check.Refuse(where, "%s is the address of %s; a virtual IP moves among the control planes, so take an address that no host has", ip, p.Name)
		}
	}
}

// givenEndpoint takes over the endpoint of the user. What is behind a DNS name, or an address
// that is not the cluster's, only the user knows; of the others it is known who listens there.
func (r *resolver) givenEndpoint(planes []inventory.Placed) {
	where := at("controlPlane", "endpoint")
	host, port, problem := spec.SplitEndpoint(r.written.ControlPlane.Endpoint, r.api.port)
	if problem != nil { // the spec has refused it
		return
	}
	r.api.endpoint, r.api.shared = Endpoint{Host: host, Port: port}, true
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return
	}
	r.outsideCIDRs(where, ip)
	vip := r.api.vip.Address
	direct := ip == vip
	for _, p := range planes {
		if p.NodeIP == ip {
			r.api.shared, direct = false, true
		}
	}
	switch {
	case vip.IsValid() && ip != vip:
		r.check.Suggest(where, vip.String(), "%s is another address than that of spec.controlPlane.vip; "+
			"with a virtual IP the endpoint is a DNS name of it, the same address, or not given", ip)
	case direct && port != r.api.port && !r.check.Doc.Broken(at("controlPlane", "port")):
		r.check.Refuse(where, "no API server listens on port %d of %s; all of them listen on spec.controlPlane.port, which is %d: "+
			"set that to %d, or leave the port out here", port, ip, r.api.port, port)
	}
}

// nodeEndpoint decides whether the nodes have a load balancer of their own. They do not hang on
// one control plane where there are several.
func (r *resolver) nodeEndpoint(planes []inventory.Placed) {
	control := r.written.ControlPlane
	several := len(planes) > 1
	r.api.local = control.NodeEndpoint == nodesLocal || control.NodeEndpoint == nodesAuto && several
	if control.NodeEndpoint == nodesEndpoint && several && control.Endpoint == "" && control.VIP.Address == "" &&
		!r.check.Doc.BrokenBelow(at("controlPlane")) {
		r.check.Suggest(at("controlPlane", "nodeEndpoint"), nodesLocal, "there are %d control planes (%s), and no address leads to all of them: "+
			"give the endpoint of a load balancer, or a vip, or choose another way for the nodes", len(planes), names(planes))
	}
}

// outsideCIDRs refuses an address that packets to it would never leave the cluster for.
func (r *resolver) outsideCIDRs(where strict.Path, ip netip.Addr) {
	for key, prefix := range r.cidrs() {
		if prefix.Contains(ip) {
			r.check.Refuse(where, "the address %s lies within spec.network.%s, %s", ip, key, prefix)
		}
	}
}
