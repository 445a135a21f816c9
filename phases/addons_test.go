package phases_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubewright/internal/fault"
	"kubewright/internal/plan"
	"kubewright/inventory"
	"kubewright/phases"
	"kubewright/spec"
)

// What the pods of a cluster that runs have their addresses from, and how their packets travel, stays.
func TestPoolOfPodsThatRun(t *testing.T) {
	m := newMachine(t, "cp1", "vm")
	w := plan.World{Scope: m.cluster.Hosts, Targets: map[string]plan.Target{m.host.Name: m.target(t, true)}}
	for name, test := range map[string]struct {
		mode string
		pool map[string]any // of the cluster; nil for none
		want string         // a part of the refusal; "" where there is none
	}{
		"a new cluster":   {mode: "vxlan"},
		"the same":        {mode: "vxlan", pool: map[string]any{"cidr": "10.244.0.0/16", "vxlanMode": "Always"}},
		"changed by hand": {mode: "vxlan", pool: map[string]any{"cidr": "10.244.0.0/16", "vxlanMode": "CrossSubnet"}},
		"the same of BGP": {mode: "bgp", pool: map[string]any{"cidr": "10.244.0.0/16", "vxlanMode": "Never"}},
		"other addresses": {mode: "vxlan", pool: map[string]any{"cidr": "10.200.0.0/16", "vxlanMode": "Always"}, want: "have addresses of 10.200.0.0/16, and the cluster file wants 10.244.0.0/16"},
		"to BGP":          {mode: "bgp", pool: map[string]any{"cidr": "10.244.0.0/16", "vxlanMode": "Always"}, want: "Calico's mode is vxlan in this cluster, and the cluster file wants bgp"},
		"from BGP":        {mode: "vxlan", pool: map[string]any{"cidr": "10.244.0.0/16"}, want: "Calico's mode is bgp in this cluster, and the cluster file wants vxlan"},
	} {
		t.Run(name, func(t *testing.T) {
			c := *m.cluster
			c.Network.Calico.Mode = test.mode
			for _, p := range phases.All() {
				if p.Name != "network" {
					continue
				}
				sets, err := p.Sets(&c)
				if err != nil || len(sets) != 1 || len(sets[0].Reads) != 1 {
					t.Fatalf("%d sets, %v", len(sets), err)
				}
				w.Live = map[plan.Ref]*unstructured.Unstructured{}
				if test.pool != nil {
					w.Live[sets[0].Reads[0]] = &unstructured.Unstructured{Object: map[string]any{"spec": test.pool}}
				}
				_, err = sets[0].Objects(&c, w)
				if test.want == "" { // there is no manifest here
					test.want = "the manifest is empty"
				} else if fault.KindOf(err) != fault.Preflight {
					t.Errorf("it is of kind %v", fault.KindOf(err))
				}
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("%v, want %q", err, test.want)
				}
			}
		})
	}
}

// Addons are waited for where something runs pods of users: the first machine of init has nobody to run them yet, and
// must not wait for those that are to join it.
func TestAddonsAreAwaitedWhereTheyRun(t *testing.T) {
	for _, test := range []struct {
		roles   []inventory.Role
		awaited bool
	}{
		{[]inventory.Role{inventory.RoleControlPlane}, false},
		{[]inventory.Role{inventory.RoleControlPlane, inventory.RoleWorker}, true},
	} {
		c := testCluster(t)
		c.Hosts = c.Hosts[:1]
		c.Hosts[0].Roles = test.roles
		c.Addons.MetricsServer.Enabled = true
		c.Addons.Custom = []spec.CustomAddon{{Name: "mine", Manifests: "mine.yaml"}}
		var sets []plan.Set
		for _, p := range phases.All() {
			if p.Name == "addons" {
				var err error
				if sets, err = p.Sets(c); err != nil {
					t.Fatal(err)
				}
			}
		}
		if len(sets) != 2 {
			t.Fatalf("%d addons", len(sets))
		}
		if (len(sets[0].Ready) > 0) != test.awaited || sets[1].Workloads != test.awaited {
			t.Errorf("%v: %s is waited for by %v, %s: %t", test.roles, sets[0].Name, sets[0].Ready, sets[1].Name, sets[1].Workloads)
		}
	}
}
