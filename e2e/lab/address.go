package lab

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"kubewright/internal/fault"
)

// Places in a lab's subnet, counted from its network address. The virtual IP is below the nodes,
// where the smallest subnet has room for it; what lies above them is left to load balancers of the
// cluster.
const (
	gatewayOffset   = 1
	mirrorOffset    = 2
	vipOffset       = 5
	firstNodeOffset = 10
)

// at returns the address that many places above the network address of an IPv4 subnet.
func at(subnet netip.Prefix, offset uint32) netip.Addr {
	base := subnet.Masked().Addr().As4()
	var out [4]byte
	binary.BigEndian.PutUint32(out[:], binary.BigEndian.Uint32(base[:])+offset)
	return netip.AddrFrom4(out)
}

// balancers are the first and the last address that the cluster may give to load balancers.
func balancers(subnet netip.Prefix) (first, last netip.Addr) {
	const most = 50
	if !subnet.IsValid() || !subnet.Addr().Is4() || subnet.Bits() > 30 {
		return netip.Addr{}, netip.Addr{}
	}
	begin := uint32(firstNodeOffset + MaxNodes)
	end := min(uint64(begin)+most-1, uint64(1)<<(32-subnet.Bits())-2)
	return at(subnet, begin), at(subnet, uint32(end))
}

// capacity is how many nodes have room in the subnet; its last address is the broadcast.
func capacity(subnet netip.Prefix) int {
	if !subnet.IsValid() || !subnet.Addr().Is4() || subnet.Bits() > 30 {
		return 0
	}
	last := uint64(1)<<(32-subnet.Bits()) - 2
	if last < firstNodeOffset {
		return 0
	}
	return int(min(last-firstNodeOffset+1, MaxNodes))
}

// checkSubnet refuses a network that a lab cannot be on.
func checkSubnet(subnet netip.Prefix) error {
	if !subnet.IsValid() || !subnet.Addr().Is4() {
		return fmt.Errorf("--subnet %s: want an IPv4 network, such as %s", subnet, DefaultSubnet)
	}
	if subnet != subnet.Masked() {
		return fmt.Errorf("--subnet %s: host bits are set; did you mean %s?", subnet, subnet.Masked())
	}
	if capacity(subnet) == 0 {
		return fmt.Errorf("--subnet %s has no room for a node: nodes begin at the %dth address", subnet, firstNodeOffset)
	}
	for _, cidr := range []string{podCIDR, serviceCIDR} {
		if subnet.Overlaps(netip.MustParsePrefix(cidr)) {
			return fmt.Errorf("--subnet %s overlaps %s, where the lab's cluster has its pods or services: choose another", subnet, cidr)
		}
	}
	return nil
}

// plan returns every node that the lab must have: those that exist, as they are, and what is
// missing of the wanted ones. gone are nodes that were there once. Nodes are sorted by address.
func plan(cfg Config, existing, gone []Node) ([]Node, error) {
	nodes := slices.Clone(existing)
	for _, want := range missing(cfg, existing) {
		var err error
		if nodes, err = place(cfg.Subnet, want, nodes, gone); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(nodes, byAddress)
	return nodes, nil
}

func byAddress(a, b Node) int { return a.Address.Compare(b.Address) }

// missing names the nodes that a lab has too few of: cp1, cp2, ..., etcd1, ..., worker1, ..., the
// lowest numbers first that no node has.
func missing(cfg Config, existing []Node) []Node {
	var out []Node
	for _, of := range []struct {
		role Role
		want int
	}{{RoleControlPlane, cfg.ControlPlanes}, {RoleEtcd, cfg.Etcd}, {RoleWorker, cfg.Workers}} {
		have := 0
		for _, n := range existing {
			if n.Role == of.role {
				have++
			}
		}
		for number := 1; have < of.want; number++ {
			if name := of.role.nodeName(number); !named(existing, name) {
				out = append(out, Node{Name: name, Role: of.role})
				have++
			}
		}
	}
	return out
}

// place adds a node: at the address that it had, if it is one of those that are gone and nobody
// took that, else at the lowest that no other ever had, else at the lowest that is free.
func place(subnet netip.Prefix, node Node, nodes, gone []Node) ([]Node, error) {
	room := capacity(subnet)
	was := make(map[netip.Addr]string, len(gone)) // who had an address
	for _, n := range gone {
		was[n.Address] = n.Name
	}
	taken := func(a netip.Addr) bool {
		return slices.ContainsFunc(nodes, func(n Node) bool { return n.Address == a })
	}
	for _, fits := range []func(netip.Addr) bool{
		func(a netip.Addr) bool { return was[a] == node.Name },
		func(a netip.Addr) bool { return was[a] == "" },
		func(netip.Addr) bool { return true },
	} {
		for i := range room {
			if a := at(subnet, uint32(firstNodeOffset+i)); fits(a) && !taken(a) {
				node.Address = a
				return append(nodes, node), nil
			}
		}
	}
	return nil, fault.New(fault.BadInput, "the lab would have more than %d nodes, the most that --subnet %s has room for: remove nodes with `kubewright lab node remove`", room, subnet)
}

// named reports whether one of the nodes has that name.
func named(nodes []Node, name string) bool {
	return slices.ContainsFunc(nodes, func(n Node) bool { return n.Name == name })
}
