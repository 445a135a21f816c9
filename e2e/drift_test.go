//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Whatever somebody changes on a host, plan names it, apply mends it, and nothing else moves.
func TestClosedLoop(t *testing.T) {
	c := shared.cluster(t)
	ns := c.namespace(t)
	c.serverOnEach(t, ns)
	c.wantEmptyPlan(t)
	workers := c.workers(t)
	victim := workers[0]
	for _, tc := range []struct {
		name, damage string
		changes      []string // what plan lists, and nothing else, on that host only
		restarts     []string // units that apply starts again, and no others
	}{
		{
			name: "settings",
			damage: `
				sysctl -qw net.ipv4.ip_forward=0
				chmod 0644 /var/lib/kubelet/pki/kubelet.key`,
			changes: []string{"sysctl:net.ipv4.ip_forward", "cert:/var/lib/kubelet/pki/kubelet.crt"},
		}, {
			name: "everything at once",
			damage: `
				systemctl stop containerd
				echo '# edited by hand' >>/etc/containerd/config.toml
				sysctl -qw net.ipv4.ip_forward=0
				chmod 0644 /var/lib/kubelet/pki/kubelet.key
				rm /etc/systemd/system/kubelet.service`,
			changes: []string{
				"file:/etc/containerd/config.toml", "unit:containerd.service",
				"sysctl:net.ipv4.ip_forward", "cert:/var/lib/kubelet/pki/kubelet.crt",
				"file:/etc/systemd/system/kubelet.service", "unit:kubelet.service",
			},
			restarts: []string{"containerd", "kubelet"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			units, containers := c.unitStarts(t), c.containers(t, ns)
			c.on(t, victim, tc.damage)

			r := c.tool(t, "plan", "--detailed-exitcode", "-o", "json").want(t, exitPending)
			found := r.plan(t)
			slices.Sort(tc.changes)
			if diff := cmp.Diff(map[string][]string{victim: tc.changes}, changedOn(found)); diff != "" || len(found.Objects) > 0 {
				t.Errorf("what plan lists (-want +got):\n%s%s", diff, r)
			}
			c.tool(t, "status").want(t, exitDone).says(t, "drift  "+victim+"  "+tc.changes[0])

			c.tool(t, "apply", "--yes").want(t, exitDone)
			c.wantEmptyPlan(t)
			after := c.unitStarts(t)
			for unit, start := range units {
				restarted := after[unit] != start
				if want := unitIn(victim, tc.restarts, unit); restarted != want {
					t.Errorf("%s was started anew: %v, want %v", unit, restarted, want)
				}
			}
			if diff := cmp.Diff(containers, c.containers(t, ns)); diff != "" {
				t.Errorf("containers were replaced (-before +after):\n%s", diff)
			}
			c.wantMesh(t, ns)
		})
	}
}

func unitIn(host string, units []string, unit string) bool {
	return slices.ContainsFunc(units, func(u string) bool { return unit == host+" "+u+".service" })
}

// changedOn lists what a plan changes by host, sorted.
func changedOn(p planDocument) map[string][]string {
	changed := map[string][]string{}
	for _, h := range p.Hosts {
		for _, change := range h.Changes {
			changed[h.Name] = append(changed[h.Name], change.ID)
		}
		slices.Sort(changed[h.Name])
	}
	return changed
}

// unitStarts says when the units of every host were started, by "HOST UNIT".
func (c *cluster) unitStarts(t testing.TB) map[string]string {
	t.Helper()
	starts := map[string]string{}
	for _, n := range c.nodes(t) {
		out := c.on(t, n.Name, `
			for unit in containerd kubelet ssh dbus systemd-journald; do
				echo "$unit.service $(systemctl show -P ActiveEnterTimestampMonotonic $unit)"
			done`)
		for _, line := range strings.Split(out, "\n") {
			unit, start, _ := strings.Cut(line, " ")
			starts[n.Name+" "+unit] = start
		}
	}
	if len(starts) < 10 {
		t.Fatalf("the hosts say too little of their units: %v", starts)
	}
	return starts
}

// containers lists the containers of the system's pods and of a namespace's.
func (c *cluster) containers(t testing.TB, namespace string) map[string]string {
	t.Helper()
	ids := map[string]string{}
	for _, ns := range []string{"kube-system", namespace} {
		pods, err := c.client.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range pods.Items {
			for _, s := range p.Status.ContainerStatuses {
				ids[fmt.Sprintf("%s/%s/%s", ns, p.Name, s.Name)] = s.ContainerID
			}
		}
	}
	return ids
}
