//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// The most that a run may execute on a host. The numbers do not depend on how many resources or
// hosts there are.
const (
	planExecs  = 1 // a look
	bareExecs  = 5 // a look, whether the host can fetch the files it lacks, and three to try connections
	applyExecs = 2 // the lock and a look
	joinExecs  = 9 // a bare host becomes a node
)

// wantExecs checks what a run cost on each host; hosts that are not named have the limit "".
func wantExecs(t testing.TB, r result, hosts int, limits map[string]int) {
	t.Helper()
	costs := r.stats(t)
	if len(costs) != hosts {
		t.Errorf("--stats knows %d hosts of %d\n%s", len(costs), hosts, r)
	}
	for host, c := range costs {
		limit, ok := limits[host]
		if !ok {
			limit = limits[""]
		}
		if c.execs < 1 || c.execs > limit {
			t.Errorf("%d executions on %s, want at most %d\n%s", c.execs, host, limit, r)
		}
	}
}

// A run that changes nothing costs the same few round trips whatever there is to look at.
func TestRoundTrips(t *testing.T) {
	c := shared.cluster(t)
	hosts := len(c.nodes(t))
	wantExecs(t, c.tool(t, "plan", "--stats").want(t, exitDone), hosts, map[string]int{"": planExecs})
	wantExecs(t, c.tool(t, "apply", "--yes", "--stats").want(t, exitDone), hosts, map[string]int{"": applyExecs})
}

// A worker more, for a cluster that runs: few round trips on the new host, and a look at the
// others.
func TestNewWorker(t *testing.T) {
	c := side.cluster(t)
	c.wantEmptyPlan(t)
	workers := len(c.workers(t))
	name := fmt.Sprintf("worker%d", workers+1)
	grown := side.spec
	grown.workers = workers + 1
	kubewright(t, grown.upArgs(c.dir)...).want(t, exitDone)

	r := c.tool(t, "apply", "--yes", "--stats").want(t, exitDone)
	wantExecs(t, r, len(c.nodes(t)), map[string]int{name: joinExecs, "": applyExecs + 1}) // they connect to it
	await(t, c.nodeObjects().named(name), answerTimeout, func(nodes []*corev1.Node) string {
		if len(nodes) == 0 {
			return "the new node"
		}
		return notReady(nodes[0])
	})
	c.provideImage(t)
	ns := c.namespace(t)
	c.serverOnEach(t, ns)
	c.wantMesh(t, ns)
	c.wantEmptyPlan(t)
}

// Twenty hosts cost each what one costs, and little time.
func TestTwentyHosts(t *testing.T) {
	besideOthers(t)
	l := newLab(t, labSpec{name: "e2e-many", subnet: "10.123.0.0/24", controlPlanes: 1, workers: 19})
	r := l.tool(t, "plan", "--stats", "--detailed-exitcode").want(t, exitPending)
	wantExecs(t, r, 20, map[string]int{"": bareExecs})
	// A second and a half when nothing else runs; what is kept out is one host after another.
	if r.took > 30*time.Second {
		t.Errorf("a plan of 20 hosts took %s", r.took)
	}

	t.Run("MaxStartups", func(t *testing.T) { l.busyServers(t) })
}

// busyServers: hosts that drop most connections before a login, since others wait for theirs there,
// are tried again until they let us in.
func (l *lab) busyServers(t *testing.T) {
	t.Helper()
	if err := l.each(t, func(host string) error {
		_, err := l.shell(t.Context(), host, "echo MaxStartups 2:50:4 >/etc/ssh/sshd_config.d/busy.conf; systemctl reload ssh")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for _, n := range l.nodes(t) {
		for range 3 {
			conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", net.JoinHostPort(n.Address, "22"))
			if err != nil {
				t.Fatal(err)
			}
			time.AfterFunc(4*time.Second, func() { _ = conn.Close() })
		}
	}
	r := l.tool(t, "plan", "--detailed-exitcode").want(t, exitPending)
	if strings.Contains(r.stderr, "error") {
		t.Errorf("a host failed\n%s", r)
	}
}
