//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// longestInterruption is how long clients of the API may be without it when a control plane dies; seconds are
// counted on a machine with nothing else to do only, where deaths are asked for.
const longestInterruption = 10 * time.Second

// Three control planes, of which any one may die, be replaced or be removed.
func TestHighAvailability(t *testing.T) {
	besideOthers(t)
	l := newLab(t, labSpec{name: "e2e-ha", subnet: "10.129.0.0/24", controlPlanes: 3, workers: 2, vip: true})
	for _, step := range []struct {
		name string
		run  func(*testing.T, *lab)
		long bool
	}{
		{name: "BringUp", run: broughtUp},
		{name: "ControlPlaneDies", run: controlPlaneDies},
		{name: "Replaced", run: replaced},
		{name: "Removed", run: removed, long: true},
		{name: "RestartedTogether", run: restartedTogether, long: true},
		{name: "QuorumLost", run: quorumLost, long: true},
		{name: "SnapshotRestored", run: restored, long: true},
	} {
		happens := func(t *testing.T) {
			if step.long {
				long(t)
			}
			step.run(t, l)
		}
		if !t.Run(step.name, happens) {
			return // what comes after it needs what it was to leave
		}
	}
}

// broughtUp: all nodes are Ready, all members vote, and the API answers at every way to it.
func broughtUp(t *testing.T, l *lab) {
	l.tool(t, "apply", "--yes").want(t, exitDone)
	t.Run("Report", func(t *testing.T) { reported(t, l) })
	l.wantWhole(t, 5, "cp1", "cp2", "cp3")
	for _, n := range l.nodes(t) {
		if answer := l.on(t, n.Name, "curl -sS --cacert /etc/kubernetes/pki/ca.crt https://127.0.0.1:7443/readyz"); answer != "ok" {
			t.Errorf("the API at the local endpoint of %s says %q", n.Name, answer)
		}
	}
	if c := l.connect(t); !strings.Contains(c.config.Host, l.vip(t)) {
		t.Errorf("the kubeconfig is for %s, not for the virtual IP %s", c.config.Host, l.vip(t))
	}
	if holders := l.holders(t, l.nodes(t)); len(holders) != 1 {
		t.Errorf("nodes that have the virtual IP: %v", holders)
	}
}

// holders are those of some nodes that have the virtual IP.
func (l *lab) holders(t testing.TB, nodes []node) []string {
	t.Helper()
	vip := l.vip(t)
	var names []string
	for _, n := range nodes {
		if l.on(t, n.Name, "ip -o address show | grep -cF ' "+vip+"/' || true") != "0" {
			names = append(names, n.Name)
		}
	}
	return names
}

// vip is the virtual IP of the lab's cluster.
func (l *lab) vip(t testing.TB) string {
	t.Helper()
	address, _, _ := strings.Cut(l.nodes(t)[0].Address, ".0.")
	return address + ".0.5"
}

// wantWhole checks that the cluster has so many Ready nodes, that just these members of etcd vote, and
// that nothing is left to do.
func (l *lab) wantWhole(t testing.TB, nodes int, members ...string) {
	t.Helper()
	c := l.connect(t)
	c.wantReadyNodes(t, nodes)
	if got := c.voters(t, members[len(members)-1]); !slices.Equal(got, members) {
		t.Errorf("the members of etcd that vote are %v, want %v", got, members)
	}
	l.wantNothingToDo(t, len(members))
}

// wantNothingToDo checks that the cluster works, so many members of etcd included, and that nothing
// is left to do.
func (l *lab) wantNothingToDo(t testing.TB, members int) {
	t.Helper()
	l.wantEmptyPlan(t)
	l.tool(t, "verify", "--quick", "--patience", "1m").want(t, exitDone).says(t, fmt.Sprintf("%d voters", members))
}

// wantReadyNodes waits until the cluster has so many nodes, and all of them are Ready.
func (c *cluster) wantReadyNodes(t testing.TB, nodes int) {
	t.Helper()
	await(t, c.nodeObjects(), answerTimeout, func(all []*corev1.Node) string {
		var missing []string
		for _, n := range all {
			if reason := notReady(n); reason != "" {
				missing = append(missing, reason)
			}
		}
		if len(all) != nodes {
			missing = append(missing, fmt.Sprintf("%d nodes, of which there are %d", nodes, len(all)))
		}
		return strings.Join(missing, "; ")
	})
}

// voters are the names of the members of etcd that vote, as the one on a host says.
func (c *cluster) voters(t testing.TB, host string) []string {
	t.Helper()
	return votersIn(c.members(t, host))
}

// members are the lines of `etcdctl member list`, as the member on a host says, sorted.
func (c *cluster) members(t testing.TB, host string) []string {
	t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "etcd-" + host}}
	var list []string
	eventually(t, answerTimeout, "the members of etcd", func(ctx context.Context) error {
		out, err := c.exec(ctx, pod, etcdctl("member", "list")...)
		list = strings.Split(strings.TrimSpace(out), "\n")
		return err
	})
	slices.Sort(list)
	return list
}

// etcdctl is a command that asks the member of etcd on a host, on that host or in the member's pod.
func etcdctl(args ...string) []string {
	const pki = "/etc/kubernetes/pki/etcd/"
	return append([]string{"etcdctl", "--endpoints", "https://127.0.0.1:2379",
		"--cacert", pki + "ca.crt", "--cert", pki + "server.crt", "--key", pki + "server.key"}, args...)
}

// votersIn are the names of the members that vote, by the lines of `etcdctl member list`.
func votersIn(list []string) []string {
	var names []string
	for _, m := range list { // ID, status, name, peer URLs, client URLs, learner
		fields := strings.Split(m, ", ")
		if len(fields) == 6 && fields[1] == "started" && fields[5] == "false" {
			names = append(names, fields[2])
		}
	}
	slices.Sort(names)
	return names
}

// controlPlaneDies: each control plane in turn is switched off hard, and paused. Clients at the
// virtual IP and at a worker's local endpoint are interrupted for a moment, and lose nothing that was
// acknowledged. The node comes back by itself.
func controlPlaneDies(t *testing.T, l *lab) {
	c := l.connect(t)
	ns := c.namespace(t)
	deaths := []death{
		{"stop", "start", "cp1"}, {"pause", "resume", "cp2"},
		{"stop", "start", "cp3"}, {"pause", "resume", "cp1"}, {"stop", "start", "cp2"}, {"pause", "resume", "cp3"},
	}
	for _, d := range deaths[:min(len(deaths), chaosNumber(t, "KUBEWRIGHT_E2E_DEATHS", 1))] {
		t.Run(d.away+"/"+d.victim, func(t *testing.T) { d.happens(t, c, ns) })
	}
	l.wantWhole(t, 5, "cp1", "cp2", "cp3")
}

// death is a control plane that goes away, and comes back.
type death struct{ away, back, victim string }

func (d death) happens(t *testing.T, c *cluster, namespace string) {
	name := d.away + "-" + d.victim
	writers := []*writer{
		c.writes(t, namespace, "vip-"+name, c.config),
		c.writes(t, namespace, "local-"+name, c.localEndpoint(t, "worker1", c.config)),
	}
	const some = 100 // five seconds' worth
	for _, w := range writers {
		w.acknowledged(t, some)
	}
	c.power(t, d.away, d.victim)
	afterwards(t, func(t testing.TB) { c.power(t, d.back, d.victim) }) // no harm if it is on
	for _, w := range writers {
		w.acknowledged(t, some)
	}
	begun := time.Now()
	c.power(t, d.back, d.victim)
	c.alive(t, begun, d.victim)
	for _, w := range writers {
		w.acknowledged(t, some)
		longest := w.stop(t)
		t.Logf("%s: longest interruption %s while %d objects were written", w.prefix, longest.Round(10*time.Millisecond), len(w.names))
		if os.Getenv("KUBEWRIGHT_E2E_DEATHS") != "" && longest > longestInterruption {
			t.Errorf("%s was interrupted for %s", w.prefix, longest)
		}
		w.wantAll(t)
	}
	c.tool(t, "verify", "--quick", "--patience", "2m").want(t, exitDone)
}

// alive waits until a node is Ready, and its kubelet has said so after a time.
func (c *cluster) alive(t testing.TB, begun time.Time, name string) {
	t.Helper()
	eventually(t, rebootTimeout, name+" to be Ready", func(ctx context.Context) error {
		lease, err := c.client.CoordinationV1().Leases(corev1.NamespaceNodeLease).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		n, err := c.client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		switch {
		case err != nil:
			return err
		case lease.Spec.RenewTime == nil || lease.Spec.RenewTime.Time.Before(begun):
			return fmt.Errorf("its kubelet was last heard of at %v", lease.Spec.RenewTime)
		case notReady(n) != "":
			return errors.New(notReady(n))
		}
		return nil
	})
}

// replaced: a control plane that is destroyed with its disk and made again under its own name and
// address is recognised; one apply makes it a member again.
func replaced(t *testing.T, l *lab) {
	l.node(t, "remove", "cp1")
	l.node(t, "add", "cp1")
	l.tool(t, "apply", "--yes").want(t, exitDone).says(t, "the host has lost the data of its member")
	l.wantWhole(t, 5, "cp1", "cp2", "cp3")
}

// removed: the first control plane in the file is destroyed, taken out of the cluster while it is
// dead, and another machine comes in its place. Nothing refers to the old one afterwards.
func removed(t *testing.T, l *lab) {
	address := l.addressOf(t, "cp1")
	l.power(t, "stop", "cp1")
	l.tool(t, "node", "remove", "cp1", "--yes").want(t, exitDone)
	c := l.connect(t)
	if got := c.voters(t, "cp2"); !slices.Equal(got, []string{"cp2", "cp3"}) {
		t.Errorf("the members of etcd that vote are %v", got)
	}
	if nodes, err := c.client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{}); err != nil || len(nodes.Items) != 4 {
		t.Errorf("%d nodes, %v", len(nodes.Items), err)
	}
	l.node(t, "remove", "cp1")
	l.node(t, "add", "cp4", "--role", "control-plane")
	l.tool(t, "apply", "--yes").want(t, exitDone)
	l.wantWhole(t, 5, "cp2", "cp3", "cp4")
	for _, n := range l.nodes(t) {
		if found := l.on(t, n.Name, "grep -rlF '"+address+"' /etc/kubernetes /var/lib/kubelet/config.yaml /var/lib/kubewright 2>/dev/null || true"); found != "" {
			t.Errorf("%s refers to the address of cp1, %s, in %s", n.Name, address, found)
		}
	}
	maps, err := l.connect(t).client.CoreV1().ConfigMaps("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range maps.Items {
		for key, value := range m.Data {
			if strings.Contains(value, address) {
				t.Errorf("ConfigMap %s/%s refers to the address of cp1 in %s", m.Namespace, m.Name, key)
			}
		}
	}
}

// addressOf is the address of a host.
func (l *lab) addressOf(t testing.TB, name string) string {
	t.Helper()
	nodes := l.nodes(t)
	i := slices.IndexFunc(nodes, func(n node) bool { return n.Name == name })
	if i < 0 {
		t.Fatalf("the lab has no host %s", name)
	}
	return nodes[i].Address
}

// node makes or destroys a host: verb is add or remove.
func (l *lab) node(t testing.TB, verb string, args ...string) {
	t.Helper()
	kubewright(t, append([]string{"lab", "--dir", l.dir, "node", verb}, args...)...).want(t, exitDone)
}
