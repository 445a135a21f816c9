//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	// growsTo is how many control planes TestGrowth comes to where KUBEWRIGHT_E2E_GROWTH says nothing.
	growsTo = 3
	// joinLimit is within which a run gives up on a member that cannot join: the half minute that it
	// gives one, and what comes before and after it.
	joinLimit = 2 * time.Minute
	// peerPort is where members of etcd talk to each other.
	peerPort = "2380"
)

// A cluster grows from one control plane to several and shrinks to one again, which is not the one that
// it began with, under a client that writes. Nothing that was acknowledged is lost. A host that the
// others cannot reach leaves the members as they were.
func TestGrowth(t *testing.T) {
	long(t)
	besideOthers(t)
	size := chaosNumber(t, "KUBEWRIGHT_E2E_GROWTH", growsTo)
	if size != 3 && size != 5 {
		t.Fatalf("KUBEWRIGHT_E2E_GROWTH=%d: want 3 or 5", size)
	}
	l := newLab(t, labSpec{name: "e2e-grow", subnet: "10.132.0.0/24", controlPlanes: 1, workers: 1, vip: true})
	l.tool(t, "apply", "--yes").want(t, exitDone)
	l.wantWhole(t, 2, "cp1")
	c := l.connect(t)
	g := growth{cluster: c, writer: c.writes(t, c.namespace(t), "growth", c.config)}
	g.step(t, "Blocked", g.blocked)
	g.step(t, "1to3", func(t *testing.T) { g.growsTo(t, "cp1", "cp2", "cp3") })
	if size == 5 {
		g.step(t, "3to5", func(t *testing.T) { g.growsTo(t, "cp1", "cp2", "cp3", "cp4", "cp5") })
		g.step(t, "5to3", func(t *testing.T) { g.shrinksTo(t, []string{"cp5", "cp4"}, "cp1", "cp2", "cp3") })
	}
	g.step(t, "3to1", func(t *testing.T) { g.shrinksTo(t, []string{"cp1", "cp3"}, "cp2") })
	longest := g.writer.stop(t)
	t.Logf("%d objects were written; the longest interruption was %s", len(g.writer.names), longest.Round(10*time.Millisecond))
	g.writer.wantAll(t)
}

// growth is a cluster with a client that writes, at its virtual IP.
type growth struct {
	*cluster
	writer *writer
}

// step does something under the client, which goes on afterwards and has lost nothing. The first that
// fails ends the test.
func (g growth) step(t *testing.T, name string, do func(*testing.T)) {
	t.Helper()
	if t.Failed() {
		return // what comes after a step needs what it was to leave
	}
	t.Run(name, func(t *testing.T) {
		const some = 100 // five seconds' worth
		g.writer.acknowledged(t, some)
		begun := time.Now()
		do(t)
		g.writer.acknowledged(t, some)
		t.Logf("%s took %s; the longest interruption was %s", name, time.Since(begun).Round(time.Second), g.writer.longest(begun).Round(10*time.Millisecond))
		g.writer.wantAll(t)
	})
}

// blocked: new control planes, of which one drops what comes to the port of etcd's peers. That is
// refused; where the refusal is ignored, the run gives up in time and says why, and the member that it
// has tried is not there any more. The run after that, with the port open, is the step after this one.
func (g growth) blocked(t *testing.T) {
	before := g.members(t, "cp1")
	kubewright(t, "lab", "--dir", g.dir, "up", "--control-planes", "3").want(t, exitDone)
	const rule = "INPUT ! -i lo -p tcp --dport " + peerPort + " -j DROP"
	open := g.undone(t, "cp2", "iptables -D "+rule)
	g.on(t, "cp2", "iptables -I "+rule)

	hosts := g.snapshots(t)
	const remedy = "open the ports in the firewalls"
	wantRefused(t, g.tool(t, "apply", "--yes"), fault{"cp1", "cannot reach cp2", peerPort + "/tcp (etcd peers)"}, remedy)
	g.wantUnchanged(t, hosts)

	careless := g.copied(t, "  inventory: inventory.yaml\n", "  inventory: inventory.yaml\n  preflight:\n    ignore: [reach]\n")
	r := careless.tool(t, "apply", "--yes", "--join-timeout", "30s").want(t, exitChangeFailed).says(t, remedy)
	if !said(r.stderr, fault{"cp2", "it has not become a member of etcd", "cp1 cannot reach cp2", peerPort + "/tcp (etcd peers)"}) {
		t.Errorf("no line has the host, and why it has not joined\n%s", r)
	}
	if r.took > joinLimit {
		t.Errorf("it took %s to give up\n%s", r.took, r)
	}
	if after := g.members(t, "cp1"); !slices.Equal(after, before) {
		t.Errorf("the members of etcd are\n%s\nand were\n%s", strings.Join(after, "\n"), strings.Join(before, "\n"))
	}
	open()
}

// growsTo makes the control planes that are missing, and one apply has all of them be members.
func (g growth) growsTo(t *testing.T, names ...string) {
	kubewright(t, "lab", "--dir", g.dir, "up", "--control-planes", strconv.Itoa(len(names))).want(t, exitDone)
	g.tool(t, "apply", "--yes").want(t, exitDone)
	g.whole(t, names...)
}

// shrinksTo takes control planes out one after the other, in order while they run, destroys them, and
// tells the others. Each time the virtual IP is on one node only, and none that has left.
func (g growth) shrinksTo(t *testing.T, leaving []string, names ...string) {
	nodes := g.nodes(t)
	for _, name := range leaving {
		g.tool(t, "node", "remove", name, "--yes").want(t, exitDone)
		eventually(t, answerTimeout, "the virtual IP to be on one other node", func(context.Context) error {
			if holders := g.holders(t, nodes); len(holders) != 1 || holders[0] == name {
				return fmt.Errorf("it is on %v", holders)
			}
			return nil
		})
	}
	g.node(t, "remove", leaving...)
	g.tool(t, "apply", "--yes").want(t, exitDone)
	g.whole(t, names...)
}

// whole checks that just these control planes are the cluster's, and that the nodes take the way to the
// API servers that there is for so many.
func (g growth) whole(t *testing.T, names ...string) {
	t.Helper()
	nodes := append(slices.Clone(names), "worker1")
	g.wantWhole(t, len(nodes), names...)
	way := "https://127.0.0.1:7443"
	if len(names) == 1 {
		way = "https://" + g.vip(t) + ":6443"
	}
	for _, name := range nodes {
		if got := g.on(t, name, "sed -n 's/^ *server: *//p' /etc/kubernetes/kubelet.conf"); got != way {
			t.Errorf("the kubelet of %s asks %s, want %s", name, got, way)
		}
		if answer := g.on(t, name, "curl -sS --cacert /etc/kubernetes/pki/ca.crt "+way+"/readyz"); answer != "ok" {
			t.Errorf("the API at %s says %q on %s", way, answer, name)
		}
	}
}
