//go:build e2e

package e2e

import (
	"regexp"
	"strings"
	"testing"
)

// A run that is killed anywhere leaves hosts that the next run takes from there to the same
// cluster: it is not refused, nothing is made twice, and no second CA appears.
func TestKilledRun(t *testing.T) {
	l := side.bareHosts(t)
	ca, hits := "", 0
	points := []string{
		"phase-started host=cp1 phase=artifacts",
		"resource-changed host=worker1 phase=runtime",
		"resource-changed host=cp1 phase=pki",
		"resource-changed host=cp1 phase=control-plane",
		"phase-started phase=bootstrap",
		"resource-changed phase=network",
	}
	for i := range points {
		// Hosts do not wait for each other, so an earlier run may have got past this point on its
		// host before it was killed. Then the next one does.
		if applyKilledAt(t, l, points[i:]) {
			hits++
		}
		out := l.on(t, "cp1", "cat /etc/kubernetes/pki/ca.crt 2>/dev/null | sha256sum; test -e /etc/kubernetes/pki/ca.crt && echo there || true")
		if !regexp.MustCompile(`there$`).MatchString(out) {
			continue
		}
		if now := l.caFingerprint(t); ca == "" {
			ca = now
		} else if now != ca {
			t.Fatalf("after a run killed at %q or later the cluster has another CA", points[i])
		}
	}
	// A run that has no such point before it any more ends by itself, which is no fault; but where
	// most do, nothing is proved.
	if hits < 4 {
		t.Errorf("only %d of %d runs were killed: the others ended before", hits, len(points))
	}
	c := side.cluster(t)
	if c.caFingerprint(t) != ca || ca == "" {
		t.Errorf("the CA is %s, and was %q when runs were killed", c.caFingerprint(t), ca)
	}
	c.wantEmptyPlan(t)
	c.tool(t, "verify", "--quick", "--patience", "1m").want(t, exitDone)
	ns := c.namespace(t)
	c.serverOnEach(t, ns)
	c.wantMesh(t, ns)
}

// applyKilledAt runs apply and kills it, with all its processes, when its debug log has a line
// like one of those. It tells whether it did: a run that has nothing of the kind left to do ends by
// itself, and then with success.
func applyKilledAt(t testing.TB, l *lab, events []string) bool {
	t.Helper()
	p := l.begin(t, "apply", "--yes")
	met := p.meets(t, "msg=("+strings.Join(events, "|")+")")
	r := p.kill()
	switch {
	case r.code == exitDone:
		t.Logf("done before it was killed at one of %q", events)
		return false
	case p.cmd.ProcessState.Exited():
		t.Fatalf("the run failed before it was killed at one of %q\n%s", events, r)
	}
	t.Logf("killed at %q", met)
	return true
}
