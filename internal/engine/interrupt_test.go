package engine_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"kubewright/internal/engine"
	"kubewright/internal/fault"
	"kubewright/internal/host"
	"kubewright/internal/plan"
	"kubewright/internal/sh"
	"kubewright/internal/sh/shtest"
)

// onRestart has a host run a command before it starts a unit, the first time.
func onRestart(r *shtest.Root, unit, command string) {
	systemctl := r.Read("/bin.fake/systemctl")
	r.Command("systemctl", strings.Replace(systemctl, "#!/bin/sh\n", `#!/bin/sh
if [ "$1 $2" = "restart `+unit+`" ] && [ ! -e /fake.state/struck ]; then touch /fake.state/struck; `+command+`; fi
`, 1))
}

// dropWhen breaks a connection as soon as a file is there.
func dropWhen(t *testing.T, l *lab, name, file string) {
	t.Helper()
	path := l.roots[name].Path(file)
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	go func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
				if _, err := os.Stat(path); err == nil {
					l.conn(name).drop()
					return
				}
			}
		}
	}()
}

// A script that the host ends, as when it shuts down, is taken up again like one that was lost:
// what it had begun is done, and is not done again.
func TestEndedWhileActing(t *testing.T) {
	l := newLab(t, 1, service("a", "1"), service("b", "1"), service("c", "1"))
	l.roots["cp1"].Command("journalctl", "#!/bin/sh\n")
	onRestart(l.roots["cp1"], "b.service", "kill -TERM $(cat "+sh.ActPath+")")
	if err := l.apply(); err != nil {
		t.Fatal(err)
	}
	for _, unit := range []string{"a.service", "b.service", "c.service"} {
		if n := l.starts("cp1", unit); n != 1 {
			t.Errorf("%s was started %d times, want once", unit, n)
		}
	}
	if n := l.execs()["cp1"]; n != 5 { // lock, look, act; look, act
		t.Errorf("%d execs, want 5", n)
	}
	l.requireEmpty()
}

// A host that ends every script is given up in time, as one on which a change failed.
func TestEndedForGood(t *testing.T) {
	l := newLab(t, 1, service("a", "1"))
	l.roots["cp1"].Command("journalctl", "#!/bin/sh\n")
	l.options = func(o *engine.Options) { o.ReconnectTimeout = 100 * time.Millisecond }
	acts := 0
	l.hook = func(_ string, _ int64, script []byte) error {
		if isAct(script) {
			acts++
			return &host.ExitError{Host: "cp1", Code: 137, Signal: "KILL"}
		}
		return nil
	}
	err := l.apply()
	if code := fault.ExitCode(err); code != int(fault.ChangeFailed) || !strings.Contains(err.Error(), "signal KILL") || acts != 2 {
		t.Errorf("%d acts, exit code %d: %v", acts, code, err)
	}
}

// A reset whose connection is lost goes on when it is back.
func TestLostWhileResetting(t *testing.T) {
	l, before := resetLab(t, 1)
	systemctl := l.roots["cp1"].Read("/bin.fake/systemctl")
	l.roots["cp1"].Command("systemctl", strings.Replace(systemctl, "#!/bin/sh\n", `#!/bin/sh
case "$*" in *disable*product.service*) [ -e /fake.state/struck ] || { touch /fake.state/struck; sleep 60; } ;; esac
`, 1))
	dropWhen(t, l, "cp1", "/fake.state/struck")
	err := l.reset()
	l.roots["cp1"].Command("systemctl", systemctl)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(l.roots["cp1"].Path("/fake.state/struck")); err != nil {
		t.Errorf("the reset was not cut: %v", err)
	}
	l.requireAsBefore(before)
}

// A lock that was lost, with a connection that somebody else made again, is taken anew before a host
// is changed, and the host is looked at once more: another run may have been there.
func TestLockLostBeforeActing(t *testing.T) {
	l := newLab(t, 1, service("a", "1"))
	l.roots["cp1"].Command("journalctl", "#!/bin/sh\n")
	_, _, err := l.engine().Apply(t.Context(), func(*plan.Plan) error {
		l.conn("cp1").drop()
		return l.conn("cp1").Redial(t.Context())
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := l.execs()["cp1"]; n != 5 { // lock, look; lock, look, act
		t.Errorf("%d execs, want 5", n)
	}
	l.requireEmpty()
}

// Only what is about the way to a host counts as unreachable; time that is up and an upload that
// failed there are changes that failed.
func TestKindsOfFailure(t *testing.T) {
	for name, arrange := range map[string]func(l *lab){
		"time is up": func(l *lab) {
			l.options = func(o *engine.Options) { o.ActTimeout = 500 * time.Millisecond }
			onRestart(l.roots["cp1"], "a.service", "sleep 3")
		},
		"upload": func(l *lab) {
			l.uploadErr = errors.New("no space left on device")
			l.cluster.Artifacts.Delivery = "push"
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, 1, service("a", "1"), tool())
			l.files.add(t, "tool", "TOOL")
			l.roots["cp1"].Command("journalctl", "#!/bin/sh\n")
			arrange(l)
			err := l.apply()
			if code := fault.ExitCode(err); code != int(fault.ChangeFailed) || !strings.Contains(err.Error(), "cp1") {
				t.Errorf("exit code %d: %v", code, err)
			}
		})
	}
}

// An interrupt ends a run as interrupted, and its locks with it.
func TestInterruptedWhileActing(t *testing.T) {
	l := newLab(t, 1, service("a", "1"))
	l.roots["cp1"].Command("journalctl", "#!/bin/sh\n")
	ctx, cancel := context.WithCancel(t.Context())
	onRestart(l.roots["cp1"], "a.service", "sleep 1")
	l.hook = func(_ string, _ int64, script []byte) error {
		if isAct(script) {
			time.AfterFunc(300*time.Millisecond, cancel)
		}
		return nil
	}
	_, _, err := l.engine().Apply(ctx, accept)
	if fault.KindOf(err) != fault.Interrupted {
		t.Errorf("%v", err)
	}
	l.hook = nil
	l.mustApply()
}
