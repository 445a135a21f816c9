//go:build e2e

package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// A worker can be added while another one is off: to a run that is limited to it the other is a notice, and
// to one that is not, a failure in the end, after all that does not need it was done.
func TestNewWorkerWhileAnotherIsOff(t *testing.T) {
	long(t)
	c := shared.cluster(t)
	c.wantEmptyPlan(t)
	victim := c.workers(t)[0]
	c.power(t, "stop", victim)
	afterwards(t, func(t testing.TB) { c.power(t, "start", victim) }) // no harm if it is on
	await(t, c.nodeObjects().named(victim), podTimeout, func(nodes []*corev1.Node) string {
		if len(nodes) == 1 && notReady(nodes[0]) != "" {
			return ""
		}
		return victim + " to be missed"
	})

	limited := c.added(t)
	c.tool(t, "apply", "--yes", "--limit", limited).want(t, exitDone).
		says(t, "not looked at, as --limit leaves them out: "+victim, "their nodes are not Ready: "+victim)
	c.wantReady(t, limited)

	other := c.added(t)
	r := c.tool(t, "apply", "--yes").want(t, exitUnreachable).says(t, victim+": not reached; this run does without")
	c.wantReady(t, other)
	for line := range strings.Lines(r.stderr) {
		if strings.HasPrefix(line, "error: ") && !strings.Contains(line, victim) {
			t.Errorf("a failure that is not that of %s: %s", victim, line)
		}
	}
	c.tool(t, "status").want(t, exitUnreachable).says(t, "not reached  "+victim, "Nothing to do on the hosts that were reached")

	begun := time.Now()
	c.power(t, "start", victim)
	c.alive(t, begun, victim)
	c.tool(t, "apply", "--yes").want(t, exitDone)
	c.wantEmptyPlan(t)
}

// added is the name of a new host, which is removed from the cluster and the lab when the test ends.
func (c *cluster) added(t testing.TB) string {
	t.Helper()
	before := c.workers(t)
	c.node(t, "add", "--role", "worker")
	names := slices.DeleteFunc(c.workers(t), func(name string) bool { return slices.Contains(before, name) })
	if len(names) != 1 {
		t.Fatalf("the new workers are %v", names)
	}
	afterwards(t, func(t testing.TB) {
		c.tool(t, "node", "remove", names[0], "--yes").want(t, exitDone)
		c.node(t, "remove", names[0])
	})
	return names[0]
}

// wantReady checks that a node is Ready.
func (c *cluster) wantReady(t testing.TB, name string) {
	t.Helper()
	await(t, c.nodeObjects().named(name), answerTimeout, func(nodes []*corev1.Node) string {
		if len(nodes) == 0 {
			return "the node " + name
		}
		return notReady(nodes[0])
	})
}
