package check

import (
	"testing"

	"kubewright/cluster"
)

// What listens beside the API server is not given to the API server by a cluster file.
func TestPortsOfOthersAreRefusedForTheAPIServer(t *testing.T) {
	others := 0
	for _, p := range ports(World{APIServerPort: 8443, VXLANPort: 4789, BalancerPorts: []int{cluster.LocalBalancerPort, cluster.LocalBalancerHealthPort}}) {
		if p.number == 8443 || p.proto != "tcp" {
			continue
		}
		others++
		if cluster.PortOwner(p.number) == "" {
			t.Errorf("cluster.PortOwner does not know that %d is the port of %s", p.number, p.what)
		}
	}
	if others < 5 {
		t.Errorf("only %d ports were looked at", others)
	}
}
