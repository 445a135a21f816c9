package lab

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCapacity(t *testing.T) {
	for subnet, want := range map[string]int{
		"10.111.0.0/24": 50,
		"10.0.0.0/8":    50,
		"10.111.0.0/26": 50, // .10 to .62 would be 53
		"10.111.0.0/27": 21, // .10 to .30
		"10.111.0.0/28": 5,  // .10 to .14
		"10.111.0.0/29": 0,
		"10.111.0.0/31": 0,
		"10.111.0.0/32": 0,
		"fd00::/64":     0,
	} {
		if got := capacity(netip.MustParsePrefix(subnet)); got != want {
			t.Errorf("capacity(%s) = %d, want %d", subnet, got, want)
		}
	}
}

func TestPlanAddresses(t *testing.T) {
	node := func(name string, role Role, last int) Node {
		return Node{Name: name, Role: role, Address: netip.MustParseAddr(fmt.Sprintf("10.111.0.%d", last))}
	}
	cp := func(number, last int) Node { return node(fmt.Sprintf("cp%d", number), RoleControlPlane, last) }
	etcd := func(number, last int) Node { return node(fmt.Sprintf("etcd%d", number), RoleEtcd, last) }
	worker := func(number, last int) Node { return node(fmt.Sprintf("worker%d", number), RoleWorker, last) }
	tests := map[string]struct {
		controlPlanes, etcd, workers int
		existing, want, gone         []Node
	}{
		"a new lab": {controlPlanes: 1, workers: 2,
			want: []Node{cp(1, 10), worker(1, 11), worker(2, 12)}},
		"a new lab with hosts of etcd's own": {controlPlanes: 1, etcd: 3, workers: 1,
			want: []Node{cp(1, 10), etcd(1, 11), etcd(2, 12), etcd(3, 13), worker(1, 14)}},
		"a host of etcd is no other node": {controlPlanes: 2, etcd: 3, workers: 1,
			existing: []Node{cp(1, 10), worker(1, 11), etcd(2, 12)}, gone: []Node{etcd(3, 13)},
			want: []Node{cp(1, 10), worker(1, 11), etcd(2, 12), etcd(3, 13), cp(2, 14), etcd(1, 15)}},
		"more nodes of both roles, after those there are": {controlPlanes: 2, workers: 2,
			existing: []Node{cp(1, 10), worker(1, 11)},
			want:     []Node{cp(1, 10), worker(1, 11), cp(2, 12), worker(2, 13)}},
		"a node that was removed by hand gets its address back": {controlPlanes: 1, workers: 2,
			existing: []Node{cp(1, 10), worker(2, 12)},
			want:     []Node{cp(1, 10), worker(1, 11), worker(2, 12)}},
		"nodes beyond those asked for stay": {controlPlanes: 1,
			existing: []Node{cp(1, 10), worker(1, 11)},
			want:     []Node{cp(1, 10), worker(1, 11)}},
		"a node that is gone comes back as it was named, where it was": {controlPlanes: 3,
			existing: []Node{cp(1, 10), worker(1, 12), cp(3, 14)}, gone: []Node{cp(2, 13), worker(2, 11)},
			want: []Node{cp(1, 10), worker(1, 12), cp(2, 13), cp(3, 14)}},
		"one more than there ever were, without the first": {controlPlanes: 4,
			existing: []Node{cp(2, 11), cp(3, 12)}, gone: []Node{cp(1, 10)},
			want: []Node{cp(1, 10), cp(2, 11), cp(3, 12), cp(4, 13)}},
		"as many as are asked for, under other numbers": {controlPlanes: 3, workers: 1,
			existing: []Node{cp(2, 11), cp(3, 12), node("db", RoleWorker, 13), cp(4, 14)}, gone: []Node{cp(1, 10)},
			want: []Node{cp(2, 11), cp(3, 12), node("db", RoleWorker, 13), cp(4, 14)}},
		"the address of a node that is gone is kept for it": {controlPlanes: 1, workers: 1,
			existing: []Node{cp(1, 10)}, gone: []Node{cp(2, 11)},
			want: []Node{cp(1, 10), worker(1, 12)}},
		"the address of a node that is gone and that another has": {controlPlanes: 2, workers: 0,
			existing: []Node{cp(1, 10), worker(1, 11)}, gone: []Node{cp(2, 11)},
			want: []Node{cp(1, 10), worker(1, 11), cp(2, 12)}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(t)
			cfg.ControlPlanes, cfg.Etcd, cfg.Workers = tc.controlPlanes, tc.etcd, tc.workers
			got, err := plan(cfg, tc.existing, tc.gone)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestPlanFiftyNodes(t *testing.T) {
	cfg := testConfig(t)
	cfg.ControlPlanes, cfg.Workers = 3, 47
	nodes, err := plan(cfg, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[netip.Addr]bool)
	for _, n := range nodes {
		if seen[n.Address] || !cfg.Subnet.Contains(n.Address) {
			t.Errorf("%s has %s, which is taken or not in %s", n.Name, n.Address, cfg.Subnet)
		}
		seen[n.Address] = true
	}
	if first, last := nodes[0].Address.String(), nodes[49].Address.String(); first != "10.111.0.10" || last != "10.111.0.59" {
		t.Errorf("nodes are from %s to %s, want 10.111.0.10 to 10.111.0.59", first, last)
	}

	// One more does not fit, even when it comes to a lab that is full.
	cfg.ControlPlanes = 4
	if _, err := plan(cfg, nodes, nil); err == nil || !strings.Contains(err.Error(), "more than 50 nodes") {
		t.Errorf("the 51st node: error = %v", err)
	}
}

func TestPlanRefusesMoreThanTheSubnetHolds(t *testing.T) {
	cfg := testConfig(t)
	cfg.Subnet = netip.MustParsePrefix("10.111.0.0/28")
	cfg.ControlPlanes, cfg.Workers = 1, 4
	if nodes, err := plan(cfg, nil, nil); err != nil || nodes[4].Address.String() != "10.111.0.14" {
		t.Fatalf("five nodes in a /28: %v, %v", nodes, err)
	}
	cfg.Workers = 5
	if _, err := plan(cfg, nil, nil); err == nil || !strings.Contains(err.Error(), "more than 5 nodes") {
		t.Errorf("six nodes in a /28: error = %v", err)
	}
}

func TestPlanTakesTheAddressOfANodeThatIsGoneBeforeItGivesUp(t *testing.T) {
	cfg := testConfig(t)
	cfg.Subnet = netip.MustParsePrefix("10.111.0.0/28")
	cfg.ControlPlanes, cfg.Workers = 1, 4
	nodes, err := plan(cfg, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	cfg.ControlPlanes, cfg.Workers = 2, 3
	got, err := plan(cfg, nodes[:4], nodes[4:])
	if err != nil || len(got) != 5 || got[4].Name != "cp2" || got[4].Address.String() != "10.111.0.14" {
		t.Errorf("in place of worker4 at 10.111.0.14: %v, %v", got, err)
	}
}

// The virtual IP answers for the cluster: no node and no part of the lab may have it, however
// small the subnet.
func TestVirtualIPIsNobodyElses(t *testing.T) {
	cfg := testConfig(t)
	cfg.Subnet = netip.MustParsePrefix("10.111.0.0/28")
	cfg.ControlPlanes, cfg.Workers = 1, 4
	taken := []netip.Addr{cfg.Subnet.Addr(), at(cfg.Subnet, gatewayOffset), at(cfg.Subnet, mirrorOffset), netip.MustParseAddr("10.111.0.15")}
	for _, n := range testNodes(t, cfg) {
		taken = append(taken, n.Address)
	}
	vip := at(cfg.Subnet, vipOffset)
	if slices.Contains(taken, vip) || !cfg.Subnet.Contains(vip) {
		t.Errorf("the virtual IP is %s; taken in %s are %v", vip, cfg.Subnet, taken)
	}
}
