//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/user"
	"strings"
	"testing"
	"time"
)

// Of two runs that begin in the same moment, on two machines, one gets the hosts and works to the end;
// the other is told who has them.
func TestTwoRuns(t *testing.T) {
	l := faults.bareAgain(t)
	elsewhere := l.copied(t)
	runs := []*process{l.begin(t, "apply", "--yes"), elsewhere.begin(t, "apply", "--yes")}
	results := []result{runs[0].wait(t), runs[1].wait(t)}
	winner := 0
	if results[0].code == exitLocked {
		winner = 1
	}
	results[winner].want(t, exitDone)
	r := results[1-winner].want(t, exitLocked)
	machine, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	operator, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if holder := fmt.Sprintf("%s@%s pid %d", operator.Username, machine, runs[winner].cmd.Process.Pid); !said(r.stderr, fault{"another run holds the lock", holder}) {
		t.Errorf("the message does not name the holder, %q\n%s", holder, r)
	}
	l.wantEmptyPlan(t)

	t.Run("KilledHolder", func(t *testing.T) { l.killedHolder(t, elsewhere) })
}

// killedHolder: a lock does not outlive a run that was killed in the middle of its work.
func (l *lab) killedHolder(t *testing.T, elsewhere *lab) {
	l.on(t, "worker1", "systemctl stop containerd; echo '# edited by hand' >>/etc/containerd/config.toml")
	holder := l.begin(t, "apply", "--yes")
	holder.reaches(t, "msg=resource-changed")
	if r := holder.kill(); r.code == exitDone {
		t.Fatalf("it ended before it was killed\n%s", r)
	}
	killed := time.Now()
	next := elsewhere.begin(t, "apply", "--yes")
	next.reaches(t, "msg=(resource-changed|phase-started)")
	if took := time.Since(killed); took > 30*time.Second {
		t.Errorf("the next run began to work %s after the holder of the lock was killed", took)
	}
	next.wait(t).want(t, exitDone)
	l.wantEmptyPlan(t)
}

// An interrupt ends a run in order: what is at work on the hosts is finished and nothing else is
// begun, nothing half done stays, and the same command goes on from there. A second one ends it at once.
func TestInterrupt(t *testing.T) {
	l := faults.bareAgain(t)
	const fetching = "msg=(phase-started|resource-changed) host=worker1 phase=artifacts"
	t.Run("Twice", func(t *testing.T) {
		p := l.begin(t, "apply", "--yes")
		p.reaches(t, fetching)
		p.interrupt(t)
		select { // two signals at once might be taken for one
		case <-p.ended:
		case <-time.After(300 * time.Millisecond):
			p.interrupt(t)
		}
		p.endsWithin(t, 2*time.Second)
	})
	for _, tc := range []struct{ name, event string }{
		{"Artifacts", fetching},
		{"ControlPlane", "msg=(phase-started|resource-changed) host=cp1 phase=control-plane"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := l.begin(t, "apply", "--yes")
			p.reaches(t, tc.event)
			p.interrupt(t)
			r := p.endsWithin(t, 30*time.Second).want(t, exitInterrupted)
			if !strings.Contains(r.stderr, "finish") {
				t.Errorf("it does not say that it finishes the step first\n%s", r)
			}
			// The tests' own shells there are started in another way.
			l.wantSilence(t, "after an interrupt", `
				for lock in act lock; do
					[ ! -e /run/kubewright/$lock ] || flock -n /run/kubewright/$lock true || echo "somebody holds $lock"
				done
				pgrep -ax sh | grep -E ' sh -s$| kubewright-ready-' || true
				find / -xdev -name '*.kw-tmp*'`)
		})
	}
	l.tool(t, "apply", "--yes").want(t, exitDone)
	l.wantEmptyPlan(t)
}

// interrupt sends the run, and not its group, an interrupt.
func (p *process) interrupt(t testing.TB) {
	t.Helper()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
}

// endsWithin waits for the end of a run that was told to end.
func (p *process) endsWithin(t testing.TB, limit time.Duration) result {
	t.Helper()
	begun := time.Now()
	<-p.ended
	took := time.Since(begun).Round(time.Millisecond)
	t.Logf("it ended %s after the interrupt: %s", took, p.cmd.ProcessState)
	if took > limit || p.result.code == exitDone {
		t.Errorf("it ended %s after the interrupt, not within %s as one that was interrupted\n%s", took, limit, p.result)
	}
	return p.result
}
