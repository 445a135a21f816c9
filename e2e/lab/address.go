package lab

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"kubewright/internal/fault"
)

// Places in a lab's subnet, counted from its network address. What lies above the nodes is left
// for virtual IPs and load balancers of the cluster.
const (
	gatewayOffset   = 1
	mirrorOffset    = 2
	firstNodeOffset = 10
)

// at returns the address that many places above the network address of an IPv4 subnet.
func at(subnet netip.Prefix, offset uint32) netip.Addr {
	base := subnet.Masked().Addr().As4()
	var out [4]byte
	binary.BigEndian.PutUint32(out[:], binary.BigEndian.Uint32(base[:])+offset)
	return netip.AddrFrom4(out)
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

// plan returns every node that the lab must have: those that exist, as they are, and the wanted
// ones that are missing, each with the lowest free address. Nodes are sorted by address.
func plan(cfg Config, existing []Node) ([]Node, error) {
	nodes := slices.Clone(existing)
	used := make(map[netip.Addr]bool, len(nodes))
	for _, n := range nodes {
		used[n.Address] = true
	}
	free := uint32(firstNodeOffset)
	for _, want := range wanted(cfg) {
		if slices.ContainsFunc(nodes, func(n Node) bool { return n.Name == want.Name }) {
			continue
		}
		if len(nodes) >= capacity(cfg.Subnet) {
			return nil, fault.New(fault.BadInput, "the lab would have more than %d nodes, the most that --subnet %s has room for",
				capacity(cfg.Subnet), cfg.Subnet)
		}
		for used[at(cfg.Subnet, free)] {
			free++
		}
		want.Address = at(cfg.Subnet, free)
		used[want.Address] = true
		nodes = append(nodes, want)
	}
	slices.SortFunc(nodes, func(a, b Node) int { return a.Address.Compare(b.Address) })
	return nodes, nil
}

// wanted names the nodes asked for: cp1, cp2, ..., worker1, worker2, ...
func wanted(cfg Config) []Node {
	var nodes []Node
	for i := range cfg.ControlPlanes {
		nodes = append(nodes, Node{Name: "cp" + strconv.Itoa(i+1), Role: RoleControlPlane})
	}
	for i := range cfg.Workers {
		nodes = append(nodes, Node{Name: "worker" + strconv.Itoa(i+1), Role: RoleWorker})
	}
	return nodes
}
