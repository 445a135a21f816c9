package lab

import (
	"fmt"
	"net/netip"
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
	tests := map[string]struct {
		controlPlanes, workers int
		existing, want         []Node
	}{
		"a new lab": {1, 2, nil,
			[]Node{node("cp1", RoleControlPlane, 10), node("worker1", RoleWorker, 11), node("worker2", RoleWorker, 12)}},
		"more nodes of both roles, after those there are": {2, 2,
			[]Node{node("cp1", RoleControlPlane, 10), node("worker1", RoleWorker, 11)},
			[]Node{node("cp1", RoleControlPlane, 10), node("worker1", RoleWorker, 11), node("cp2", RoleControlPlane, 12), node("worker2", RoleWorker, 13)}},
		"a node that was removed by hand gets its address back": {1, 2,
			[]Node{node("cp1", RoleControlPlane, 10), node("worker2", RoleWorker, 12)},
			[]Node{node("cp1", RoleControlPlane, 10), node("worker1", RoleWorker, 11), node("worker2", RoleWorker, 12)}},
		"nodes beyond those asked for stay": {1, 0,
			[]Node{node("cp1", RoleControlPlane, 10), node("worker1", RoleWorker, 11)},
			[]Node{node("cp1", RoleControlPlane, 10), node("worker1", RoleWorker, 11)}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(t)
			cfg.ControlPlanes, cfg.Workers = tc.controlPlanes, tc.workers
			got, err := plan(cfg, tc.existing)
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
	nodes, err := plan(cfg, nil)
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
	if _, err := plan(cfg, nodes); err == nil || !strings.Contains(err.Error(), "more than 50 nodes") {
		t.Errorf("the 51st node: error = %v", err)
	}
}

func TestPlanRefusesMoreThanTheSubnetHolds(t *testing.T) {
	cfg := testConfig(t)
	cfg.Subnet = netip.MustParsePrefix("10.111.0.0/28")
	cfg.ControlPlanes, cfg.Workers = 1, 4
	if nodes, err := plan(cfg, nil); err != nil || nodes[4].Address.String() != "10.111.0.14" {
		t.Fatalf("five nodes in a /28: %v, %v", nodes, err)
	}
	cfg.Workers = 5
	if _, err := plan(cfg, nil); err == nil || !strings.Contains(err.Error(), "more than 5 nodes") {
		t.Errorf("six nodes in a /28: error = %v", err)
	}
}
