//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

const (
	// dropFor is how long the connections to a host are cut off: longer than it takes to notice.
	dropFor = time.Minute
	// dropsUntold is in how many phases that is tried where KUBEWRIGHT_E2E_DROPS says nothing.
	dropsUntold = 1
)

// Hosts whose connections drop, for a while or for good, or that reboot while they are changed.
func TestConnections(t *testing.T) {
	long(t)
	besideOthers(t)
	l := newLab(t, labSpec{name: "e2e-connections", subnet: "10.127.0.0/24", controlPlanes: 1, workers: 2})
	t.Run("Dropped", func(t *testing.T) { dropped(t, l) })
	t.Run("DroppedForGood", func(t *testing.T) { droppedForGood(t, l) })
	t.Run("Rebooted", func(t *testing.T) { rebooted(t, l) })
}

// dropped: a run whose connection is cut off in the middle of a phase goes on when it is back. The
// phases are picked at random; KUBEWRIGHT_E2E_DROPS says how many of them.
func dropped(t *testing.T, l *lab) {
	seed := chaosNumber(t, "KUBEWRIGHT_E2E_SEED", int(time.Now().UnixNano()))
	random := rand.New(rand.NewPCG(uint64(seed), 1))
	phases, _ := l.phasesToRun(t)
	drops := min(chaosNumber(t, "KUBEWRIGHT_E2E_DROPS", dropsUntold), len(phases))
	t.Logf("KUBEWRIGHT_E2E_DROPS=%d KUBEWRIGHT_E2E_SEED=%d", drops, seed)
	picked := random.Perm(len(phases))[:drops]
	slices.Sort(picked)
	for _, i := range picked {
		phase := phases[i]
		t.Run(phase, func(t *testing.T) {
			l.tool(t, "reset", "--yes").want(t, exitDone)
			p := l.begin(t, "apply", "--yes")
			started := p.meets(t, `msg=phase-started( host=\S+)? phase=`+phase+`\b`)
			if started == "" {
				t.Fatalf("it never came to the phase\n%s", p.wait(t))
			}
			victim := "cp1" // through which the API is reached
			if m := regexp.MustCompile(`host=(\S+)`).FindStringSubmatch(started); m != nil {
				victim = m[1]
			}
			l.cutOff(t, victim, "true", fmt.Sprint(int(dropFor.Seconds())))
			r := p.wait(t).want(t, exitDone)
			if !strings.Contains(r.stderr, "connection lost") && phase != "verify" {
				t.Logf("nothing was done through the connection to %s meanwhile\n%s", victim, r.stderr)
			}
			l.wantEmptyPlan(t)
		})
	}
}

// cutOff has a host drop what comes to its port 22 as soon as a test of the shell holds there, for a number of
// seconds or "infinity".
func (l *lab) cutOff(t testing.TB, host, when, seconds string) {
	t.Helper()
	l.on(t, host, `
		systemctl reset-failed cut-off 2>/dev/null || true
		systemd-run --quiet --unit=cut-off --property=ExecStopPost='iptables -D INPUT -p tcp --dport 22 -j DROP' \
			sh -c 'sleep 0.3; until `+when+`; do sleep 0.05; done; iptables -I INPUT -p tcp --dport 22 -j DROP; sleep `+seconds+`'`)
}

// droppedForGood: a host that does not come back is given up in time and named. What does not depend
// on it is done: the other nodes become Ready.
func droppedForGood(t *testing.T, l *lab) {
	l.tool(t, "reset", "--yes").want(t, exitDone)
	// The host itself sees how far it is: a login to it could come too late.
	l.cutOff(t, "worker2", "[ -e /usr/local/sbin/runc ]", "infinity")
	p := l.begin(t, "apply", "--yes", "--reconnect-timeout", "20s")
	p.reaches(t, "msg=phase-started host=worker2 phase=runtime")
	cut := time.Now()
	r := p.wait(t).want(t, exitUnreachable).says(t, "worker2", "gave up after 20s", "done on cp1, worker1; not done on worker2")
	// Noticing takes half a minute, giving up 20 s, and the rest of the bring-up is under way.
	if took := time.Since(cut); took > 3*time.Minute {
		t.Errorf("it took %s to give up\n%s", took, r)
	}
	c := l.connect(t)
	await(t, c.nodeObjects(), answerTimeout, func(nodes []*corev1.Node) string {
		var missing []string
		for _, name := range []string{"cp1", "worker1"} {
			i := slices.IndexFunc(nodes, func(n *corev1.Node) bool { return n.Name == name })
			if i < 0 {
				missing = append(missing, name)
			} else if reason := notReady(nodes[i]); reason != "" {
				missing = append(missing, reason)
			}
		}
		return strings.Join(missing, "; ")
	})

	l.power(t, "stop", "worker2") // its rules are gone with the next boot
	l.power(t, "start", "worker2")
	l.tool(t, "apply", "--yes").want(t, exitDone)
	l.wantEmptyPlan(t)
}

// rebooted: a host that shuts down in order while it is changed, and comes back, is gone on with. Of
// the hosts one allows one session on a connection only.
func rebooted(t *testing.T, l *lab) {
	l.tool(t, "reset", "--yes").want(t, exitDone)
	const oneSession = "/etc/ssh/sshd_config.d/one-session.conf"
	l.on(t, "cp1", "echo MaxSessions 1 >"+oneSession+"; systemctl reload ssh")
	l.undone(t, "cp1", "rm -f "+oneSession+"; systemctl reload ssh")

	p := l.begin(t, "apply", "--yes")
	p.reaches(t, "msg=phase-started host=worker1 phase=(artifacts|host|runtime)")
	if out, err := l.shell(t.Context(), "worker1", "systemctl poweroff"); err != nil {
		t.Logf("the shell that shuts worker1 down: %v %s", err, out) // it may be faster than its answer
	}
	eventually(t, answerTimeout, "worker1 to be down", func(ctx context.Context) error {
		if _, err := l.shell(ctx, "worker1", "true"); err == nil {
			return errors.New("it answers")
		}
		return nil
	})
	l.power(t, "start", "worker1")
	p.wait(t).want(t, exitDone).says(t, "worker1", "connecting again")
	l.wantEmptyPlan(t)
}
