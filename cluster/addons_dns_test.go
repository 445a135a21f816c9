package cluster_test

import (
	"fmt"
	"strings"
	"testing"

	"kubewright/cluster"
	"kubewright/inventory"
	"kubewright/spec"
)

func TestDNSReplicas(t *testing.T) {
	for _, tt := range []struct{ nodes, given, want int }{
		{1, 0, 2}, {32, 0, 2}, {33, 0, 3}, {48, 0, 3}, {49, 0, 4}, {49, 1, 1}, {1, 7, 7},
	} {
		c := &cluster.Cluster{Addons: cluster.Addons{Addons: spec.Addons{CoreDNS: spec.CoreDNS{Replicas: tt.given}}}}
		c.Hosts = append(c.Hosts, inventory.Host{Name: "etcd1", Roles: []inventory.Role{inventory.RoleEtcd}}) // is no node
		for i := range tt.nodes {
			c.Hosts = append(c.Hosts, inventory.Host{Name: fmt.Sprint("w", i), Roles: []inventory.Role{inventory.RoleWorker}})
		}
		if got := c.DNSReplicas(); got != tt.want {
			t.Errorf("%d nodes, %d wanted: %d, want %d", tt.nodes, tt.given, got, tt.want)
		}
	}
}

func TestDNSThatAsksItself(t *testing.T) {
	m := memory{"cluster.yaml": strings.Replace(clusterOf(ingressHost), "  hosts:\n",
		"  addons: {coredns: {forward: [10.0.0.1, 10.96.0.10], zones: [{name: a.example.com, forward: [\"10.96.0.10:5353\"]}]}}\n  hosts:\n", 1)}
	_, _, err := m.loadAt(t, now())
	for _, want := range []string{
		"spec.addons.coredns.forward[1]: 10.96.0.10 is the address of the cluster's own DNS", "spec.addons.coredns.zones[0].forward[0]: 10.96.0.10 is",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}
