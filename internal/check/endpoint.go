package check

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"kubewright/internal/facts"
)

// Endpoint is the name of the check that looks at what answers where the API servers are to be reached.
const Endpoint = "endpoint"

// Endpoints says where the API servers are to be reached that no host alone stands for.
type Endpoints struct {
	// External is the host:port of a load balancer, or of a name, that is the user's own; "" for none.
	External string
	// NodesUse says that the nodes themselves go by External.
	NodesUse bool
	// VIP is the virtual IP, the zero Addr for none; VIPInterface is the interface that takes it, "" for
	// the one with the node IP.
	VIP          netip.Addr
	VIPInterface string
	// Serving says that an API server of the cluster answers at its own address.
	Serving bool
	// Met is what hosts met at External, and at VIP where none of ours has it.
	Met []Met
}

// Met is what a host met at an address.
type Met struct {
	// From is the host, At a host:port.
	From, At string
	// Unresolved says that the host knows no address for the name, and Failed why it came to no
	// conversation with a server; "" where it did.
	Unresolved bool
	Failed     string
	// Somebody says that a machine has the address: it took the connection, or refused it.
	Somebody bool
	// Other describes the server that answered when it is none of the cluster's: "a server that ...".
	Other string
	// Unnamed says that one of the cluster's API servers answered, with a certificate that is not for
	// the name.
	Unnamed bool
}

// checkEndpoint refuses an endpoint that leads to somebody else, or, in a cluster that runs, nowhere;
// and a virtual IP that somebody has already. A load balancer in front of a cluster that is yet to be
// has nobody to pass connections on to, and a virtual IP may be yet to be taken.
func checkEndpoint(t *T) {
	// Where an API server of ours answers, the virtual IP is on one of our hosts by now.
	ours := slices.ContainsFunc(t.Met, func(m Met) bool { return m.At != t.External && m.Failed == "" && m.Other == "" })
	for _, m := range t.Met {
		t.On(m.From)
		if m.At != t.External {
			t.Requiref(!m.Somebody || ours, "give spec.controlPlane.vip an address that no machine has, or free this one",
				"the virtual IP %s is taken: %s answers at %s", t.VIP, cmp.Or(m.Other, "a machine"), m.At)
			continue
		}
		said := t.Assertf
		if t.NodesUse {
			said = t.Requiref
		}
		switch {
		case m.Unresolved:
			said(false, "have the name resolved on the hosts, in DNS or in /etc/hosts, or put an address in spec.controlPlane.endpoint",
				"the endpoint %s has no address here: %s", m.At, m.Failed)
		case m.Failed != "":
			said(!t.Serving || t.VIP.IsValid(), "have the load balancer pass TCP connections on to "+controlPlanes(t.World)+", and see that no firewall is between",
				"the endpoint %s does not answer: %s", m.At, m.Failed)
		case m.Other != "":
			t.Requiref(false, "have the load balancer pass connections on to "+controlPlanes(t.World)+", or name another endpoint in spec.controlPlane.endpoint",
				"at the endpoint %s there is %s", m.At, m.Other)
		case m.Unnamed:
			t.Notef("", "the API servers behind the endpoint %s get its name in their certificates yet", m.At)
		}
	}
}

// controlPlanes lists where the API servers listen.
func controlPlanes(w World) string {
	port := w.APIServerPort
	if port == 0 {
		port = defaultAPIServerPort
	}
	var list []string
	for _, h := range w.Hosts {
		if h.ControlPlane {
			list = append(list, fmt.Sprintf("%s (%s)", h.Name, netip.AddrPortFrom(h.NodeIP.Unmap(), uint16(port))))
		}
	}
	return strings.Join(list, ", ")
}

// checkVIP refuses a virtual IP that the machines around a control plane would not look for there.
func checkVIP(t *T, h Host, f facts.Facts) {
	if !t.VIP.IsValid() || !h.ControlPlane {
		return
	}
	iface, found := f.Interface(h.NodeIP)
	if t.VIPInterface != "" {
		iface, found = f.Named(t.VIPInterface)
		if !t.Requiref(found, "write another name into spec.controlPlane.vip.interface, or leave it out",
			"there is no interface %s, which is to take the virtual IP %s", t.VIPInterface, t.VIP) {
			return
		}
	}
	if !found {
		return // the check of node IPs says so
	}
	var networks []string
	for _, p := range iface.Addrs {
		if p.Addr().Unmap() == t.VIP {
			continue // where it is taken
		}
		if p.Contains(t.VIP) {
			return
		}
		networks = append(networks, p.Masked().String())
	}
	t.Requiref(false, "take an address of that network that no machine has, or name the interface in spec.controlPlane.vip.interface",
		"the virtual IP %s is not in the network of interface %s (%s)", t.VIP, iface.Name, strings.Join(networks, ", "))
}
