package phases_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kubelet "k8s.io/kubelet/config/v1beta1"
	"sigs.k8s.io/yaml"

	"kubewright/internal/plan"
	"kubewright/internal/resource"
	"kubewright/inventory"
	"kubewright/phases"
)

// A node registers with the taints that the nodes phase then keeps: if the two differed, a new
// node would run pods that it should not, or be changed by the first run after its making.
func TestTaintsOfNodes(t *testing.T) {
	const controlPlane, worker = inventory.RoleControlPlane, inventory.RoleWorker
	gpu := inventory.Taint{Key: "gpu", Value: "yes", Effect: "NoSchedule"}
	tests := []struct {
		name   string
		roles  []inventory.Role
		taints []inventory.Taint
		want   []string
	}{
		{"worker", []inventory.Role{worker}, nil, nil},
		{"tainted worker", []inventory.Role{worker}, []inventory.Taint{gpu}, []string{"gpu=yes:NoSchedule"}},
		{"control plane", []inventory.Role{controlPlane}, nil, []string{"node-role.kubernetes.io/control-plane=:NoSchedule"}},
		{"tainted control plane", []inventory.Role{controlPlane}, []inventory.Taint{gpu},
			[]string{"gpu=yes:NoSchedule", "node-role.kubernetes.io/control-plane=:NoSchedule"}},
		{"control plane that is a worker", []inventory.Role{controlPlane, worker}, []inventory.Taint{gpu}, []string{"gpu=yes:NoSchedule"}},
		{"another value for the taint of a control plane", []inventory.Role{controlPlane},
			[]inventory.Taint{{Key: "node-role.kubernetes.io/control-plane", Value: "mine", Effect: "NoSchedule"}},
			[]string{"node-role.kubernetes.io/control-plane=mine:NoSchedule"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := newMachine(t, "w1", "vm")
			m.host.Roles, m.host.Taints = test.roles, test.taints
			if diff := cmp.Diff(test.want, taintsInAPI(t, m)); diff != "" {
				t.Errorf("taints of the Node (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.want, taintsAtRegistration(t, m)); diff != "" {
				t.Errorf("taints the kubelet registers with (-want +got):\n%s", diff)
			}
		})
	}
}

// A control plane takes no part in load balancing, as kubeadm has it, but where it runs pods of users: of a
// single node a service for load balancers would get no traffic at all.
func TestExclusionFromLoadBalancers(t *testing.T) {
	const label = "node.kubernetes.io/exclude-from-external-load-balancers"
	for _, test := range []struct {
		roles    []inventory.Role
		excluded bool
	}{
		{[]inventory.Role{inventory.RoleControlPlane}, true},
		{[]inventory.Role{inventory.RoleControlPlane, inventory.RoleEtcd, inventory.RoleWorker}, false},
		{[]inventory.Role{inventory.RoleWorker}, false},
	} {
		m := newMachine(t, "w1", "vm")
		m.host.Roles = test.roles
		labels := nodeInAPI(t, m).GetLabels()
		if _, excluded := labels[label]; excluded != test.excluded {
			t.Errorf("%v: labels %v", test.roles, labels)
		}
		if _, plane := labels["node-role.kubernetes.io/control-plane"]; plane != m.host.Has(inventory.RoleControlPlane) {
			t.Errorf("%v: labels %v", test.roles, labels)
		}
	}
}

// nodeInAPI is the Node that the nodes phase wants.
func nodeInAPI(t *testing.T, m machine) *unstructured.Unstructured {
	t.Helper()
	for _, p := range phases.All() {
		if p.Name != "nodes" {
			continue
		}
		objects, err := p.Objects(m.cluster, plan.World{Scope: []inventory.Host{m.host}})
		if err != nil || len(objects) != 1 {
			t.Fatalf("%d objects, error %v", len(objects), err)
		}
		return objects[0]
	}
	t.Fatal("there is no phase nodes")
	return nil
}

// taintsInAPI are the taints of the Node that the nodes phase wants.
func taintsInAPI(t *testing.T, m machine) []string {
	t.Helper()
	var taints []string
	entries, _, err := unstructured.NestedSlice(nodeInAPI(t, m).Object, "spec", "taints")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		fields := entry.(map[string]any)
		value, _ := fields["value"].(string)
		taints = append(taints, fmt.Sprintf("%s=%s:%s", fields["key"], value, fields["effect"]))
	}
	return taints
}

// taintsAtRegistration are the taints in the configuration of the host's kubelet.
func taintsAtRegistration(t *testing.T, m machine) []string {
	t.Helper()
	for _, group := range m.desired(t, true) {
		for _, r := range group.Resources {
			file, ok := r.(resource.File)
			if !ok || file.Path != "/var/lib/kubelet/config.yaml" {
				continue
			}
			var config kubelet.KubeletConfiguration
			if err := yaml.UnmarshalStrict(file.Content, &config); err != nil {
				t.Fatal(err)
			}
			var taints []string
			for _, taint := range config.RegisterWithTaints {
				taints = append(taints, fmt.Sprintf("%s=%s:%s", taint.Key, taint.Value, taint.Effect))
			}
			return taints
		}
	}
	t.Fatal("the host has no configuration of a kubelet")
	return nil
}
