package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kubewright/internal/engine"
	"kubewright/internal/fault"
	"kubewright/internal/host"
	"kubewright/internal/plan"
	"kubewright/internal/report"
	"kubewright/internal/resource"
	"kubewright/internal/sh"
	"kubewright/inventory"
)

// everyHost is the same number for each host of the lab.
func everyHost(l *lab, n int64) map[string]int64 {
	all := map[string]int64{}
	for name := range l.roots {
		all[name] = n
	}
	return all
}

// A plan changes nothing; an apply makes it true; and each costs the same number of
// execs on a host, however many hosts and resources there are.
func TestExecsAreConstant(t *testing.T) {
	for _, hosts := range []int{1, 2, 20} {
		t.Run(fmt.Sprint(hosts), func(t *testing.T) {
			t.Parallel()
			l := newLab(t, hosts, service("a", "1\n"), service("b", "1\n"), phase("many", nil, func(plan.Target) []resource.Resource {
				var want []resource.Resource
				for i := range 5 * hosts {
					want = append(want, resource.File{Path: fmt.Sprintf("/etc/many/%d", i), Content: []byte("x")})
				}
				return want
			}))
			before := l.roots["cp1"].Times()
			p, err := l.plan()
			if err != nil {
				t.Fatal(err)
			}
			if want := hosts * (8 + 5*hosts); p.Count() != want || !p.NewPKI {
				t.Errorf("%d changes are planned, want %d; a new cluster: %v", p.Count(), want, p.NewPKI)
			}
			if diff := cmp.Diff(before, l.roots["cp1"].Times()); diff != "" {
				t.Errorf("a plan changed the host (-before +after):\n%s", diff)
			}
			if diff := cmp.Diff(everyHost(l, 1), l.execs()); diff != "" {
				t.Errorf("execs of a plan (-want +got):\n%s", diff)
			}
			if err := l.apply(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(everyHost(l, 3), l.execs()); diff != "" {
				t.Errorf("execs of a first apply: lock, look and act (-want +got):\n%s", diff)
			}
			if err := l.apply(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(everyHost(l, 2), l.execs()); diff != "" {
				t.Errorf("execs of an apply without changes: lock and look (-want +got):\n%s", diff)
			}
			l.requireEmpty()
			if diff := cmp.Diff(everyHost(l, 1), l.execs()); diff != "" {
				t.Errorf("execs of a plan without changes (-want +got):\n%s", diff)
			}
			for name := range l.roots {
				if l.starts(name, "a.service") != 1 || l.starts(name, "sshd.service") != 0 {
					t.Errorf("%s: a.service was started %d times, sshd.service %d times", name, l.starts(name, "a.service"), l.starts(name, "sshd.service"))
				}
			}
		})
	}
}

// A barrier splits a host's work in two acts, and is kept: nobody passes it before all
// have come to it.
func TestBarrier(t *testing.T) {
	l := newLab(t, 3, service("first", "1"), service("second", "1", plan.AllHosts("first")), service("third", "1", plan.SameHost("second")))
	var order []string
	l.hook = func(name string, _ int64, script []byte) error {
		if isAct(script) {
			l.mu.Lock()
			defer l.mu.Unlock()
			if bytes.Contains(script, []byte("kw_name /etc/second/.config.kw-tmp")) {
				for other, r := range l.roots {
					if r.Read("/etc/first/config") != "1" {
						t.Errorf("%s goes past the barrier before %s is done", name, other)
					}
				}
			}
			order = append(order, name)
		}
		return nil
	}
	l.mustApply()
	if len(order) != 6 {
		t.Errorf("there were %d acts, want two on each of three hosts: %v", len(order), order)
	}
}

// A step that fails is an error that names host, phase and resource, with what the host
// said; what does not depend on it is done all the same.
func TestFailingStep(t *testing.T) {
	l := newLab(t, 3, service("a", "1"), service("b", "1", plan.SameHost("a")), service("all", "1", plan.AllHosts("a")))
	l.roots["w1"].Write("/fake.state/units/a.service/breaks", "")
	err := l.apply()
	if code := fault.ExitCode(err); code != int(fault.ChangeFailed) {
		t.Errorf("exit code %d, want %d: %v", code, fault.ChangeFailed, err)
	}
	text := fmt.Sprint(err)
	for _, want := range []string{"w1", "unit:a.service", "Job for a.service failed", "journal: -n 20"} {
		if !strings.Contains(text, want) {
			t.Errorf("the error does not say %q: %s", want, text)
		}
	}
	if !strings.Contains(text, "w1: a: unit:a.service") {
		t.Errorf("the error does not name the phase: %s", text)
	}
	for _, name := range []string{"cp1", "w2"} {
		r := l.roots[name]
		if r.Read("/etc/a/config") != "1" || r.Read("/etc/b/config") != "1" {
			t.Errorf("%s, on which nothing failed, was not finished", name)
		}
		if r.Read("/etc/all/config") != "" {
			t.Errorf("%s went past the barrier that w1 did not reach", name)
		}
		if !strings.Contains(text, name+": all: not begun: phase a was not done on w1") {
			t.Errorf("the error does not say why %s stopped: %s", name, text)
		}
	}
	if l.roots["w1"].Read("/etc/b/config") != "" {
		t.Error("w1 went on after a failure")
	}
	var failed []string
	for _, e := range l.events.of(report.HostFailed) {
		failed = append(failed, e.Host)
	}
	slices.Sort(failed)
	if diff := cmp.Diff([]string{"cp1", "w1", "w2"}, failed); diff != "" {
		t.Errorf("hosts reported as failed (-want +got):\n%s", diff)
	}
	if err := os.Remove(l.roots["w1"].Path("/fake.state/units/a.service/breaks")); err != nil {
		t.Fatal(err)
	}
	l.mustApply() // and the next run goes on from there
	if n := l.starts("cp1", "a.service"); n != 1 {
		t.Errorf("a unit that was as wanted was started %d times", n)
	}
}

// A host that cannot be reached stops a run before anything changes.
func TestUnreachable(t *testing.T) {
	l := newLab(t, 3, service("a", "1"))
	l.refuse["w1"] = true
	err := l.apply()
	if code := fault.ExitCode(err); code != int(fault.Unreachable) || !strings.Contains(fmt.Sprint(err), "w1") || strings.Contains(fmt.Sprint(err), "w2") {
		t.Errorf("exit code %d: %v", code, err)
	}
	if l.roots["cp1"].Read("/etc/a/config") != "" {
		t.Error("a host was changed although another was not seen")
	}
	// It is none of a run's business when it is not in its scope.
	only, err := inventory.ParseSelector("w2")
	if err != nil {
		t.Fatal(err)
	}
	l.options = func(o *engine.Options) { o.Limit = only }
	if err := l.apply(); err != nil {
		t.Fatal(err)
	}
	if l.roots["w2"].Read("/etc/a/config") != "1" || l.roots["cp1"].Read("/etc/a/config") != "" {
		t.Error("--limit w2 has to change w2, and only w2")
	}
	if _, dialled := l.conns["w1"]; dialled {
		t.Error("w1 was dialled")
	}
	if n := l.execs()["cp1"]; n != 1 {
		t.Errorf("the control plane, the source of the authorities, took %d execs; want one look and no lock", n)
	}
	l.requireEmpty()
	// Without any source of the authorities nothing can be planned.
	l.refuse["cp1"] = true
	if _, err := l.plan(); fault.ExitCode(err) != int(fault.Unreachable) {
		t.Errorf("no control plane was reached: %v", err)
	}
}

// A host on which somebody else works is left alone, and is named with its holder.
func TestLocked(t *testing.T) {
	l := newLab(t, 2, service("a", "1"))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	confirmed := make(chan struct{})
	ended := make(chan error)
	go func() {
		_, _, err := l.engine().Apply(ctx, func(*plan.Plan) error {
			close(confirmed)
			<-ctx.Done()
			return ctx.Err()
		})
		ended <- err
	}()
	select {
	case <-confirmed:
	case err := <-ended:
		t.Fatalf("the first run ends with %v", err)
	}
	other := newLabOn(l)
	other.options = func(o *engine.Options) { o.Holder = "bob" }
	err := other.apply()
	if code := fault.ExitCode(err); code != int(fault.Locked) || !strings.Contains(fmt.Sprint(err), "cp1: another run holds the lock: alice@laptop, apply") {
		t.Errorf("exit code %d: %v", code, err)
	}
	if len(fault.Hints(err)) == 0 {
		t.Error("there is no hint what to do about it")
	}
	if _, err := other.plan(); err != nil {
		t.Errorf("a plan needs no lock: %v", err)
	}
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) || fault.ExitCode(err) != int(fault.Interrupted) {
		t.Errorf("the interrupted run ends with %v", err)
	}
	other.mustApply()
}

// newLabOn is another operator with the same hosts.
func newLabOn(l *lab) *lab {
	return &lab{t: l.t, roots: l.roots, conns: map[string]*conn{}, cluster: l.cluster, phases: l.phases, files: l.files, events: &recorder{}, refuse: map[string]bool{}}
}

// A lock is taken from a holder that does not let go, when this is asked for.
func TestForceUnlock(t *testing.T) {
	l := newLab(t, 1, service("a", "1"))
	confirmed, go1 := make(chan struct{}), make(chan struct{})
	ended := make(chan error)
	go func() {
		_, _, err := l.engine().Apply(t.Context(), func(*plan.Plan) error {
			close(confirmed)
			<-go1
			return errBoom
		})
		ended <- err
	}()
	select {
	case <-confirmed:
	case err := <-ended:
		t.Fatalf("the first run ends with %v", err)
	}
	other := newLabOn(l)
	other.options = func(o *engine.Options) { o.Holder, o.ForceUnlock = "bob", true }
	other.mustApply()
	close(go1)
	if err := <-ended; !errors.Is(err, errBoom) || fault.ExitCode(err) != int(fault.Locked) || !strings.Contains(fmt.Sprint(err), "cp1: another run holds the lock: bob") {
		t.Errorf("the first run: %v", err)
	}
}

// Of two runs that begin in the same moment one gets all locks and works, the other none.
func TestTwoRunsAtOnce(t *testing.T) {
	l := newLab(t, 3, service("a", "1"))
	labs := []*lab{l, newLabOn(l)}
	over := []chan struct{}{make(chan struct{}), make(chan struct{})}
	errs := make([]error, 2)
	var wg sync.WaitGroup
	for i, it := range labs {
		wg.Go(func() {
			defer close(over[i])
			// Who may go on does so when the other has given up.
			_, _, errs[i] = it.engine().Apply(t.Context(), func(*plan.Plan) error { <-over[1-i]; return nil })
		})
	}
	wg.Wait()
	codes := []int{fault.ExitCode(errs[0]), fault.ExitCode(errs[1])}
	slices.Sort(codes)
	if !slices.Equal(codes, []int{0, int(fault.Locked)}) {
		t.Fatalf("the runs end with %v and %v", errs[0], errs[1])
	}
	l.requireEmpty()
}

// A connection that is lost while looking is made again once, and the host looked at anew.
func TestLostWhileLooking(t *testing.T) {
	l := newLab(t, 2, service("a", "1"))
	lost := 0
	l.hook = func(name string, _ int64, _ []byte) error {
		if name == "w1" && lost == 0 {
			lost++
			l.conns["w1"].drop()
		}
		return nil
	}
	p, err := l.plan()
	if err != nil || p.Count() != 8 {
		t.Fatalf("%v", err)
	}
	if diff := cmp.Diff(map[string]int64{"cp1": 1, "w1": 2}, l.execs()); diff != "" {
		t.Errorf("execs (-want +got):\n%s", diff)
	}
	l.hook = func(name string, _ int64, _ []byte) error {
		if name == "w1" {
			l.conns["w1"].drop()
		}
		return nil
	}
	if _, err := l.plan(); fault.ExitCode(err) != int(fault.Unreachable) {
		t.Errorf("lost each time: %v", err)
	}
	if n := l.execs()["w1"]; n != 2 {
		t.Errorf("%d looks were tried, want 2", n)
	}
}

// A connection that is lost while acting is made again, the host is looked at, and what is
// left is done: nothing that was done is done again, and a restart that is due is not lost.
func TestLostWhileActing(t *testing.T) {
	l := newLab(t, 1, service("a", "1"), service("b", "1"))
	l.roots["cp1"].Command("journalctl", "#!/bin/sh\n")
	// The connection dies when b's unit is about to be started.
	systemctl := l.roots["cp1"].Read("/bin.fake/systemctl")
	l.roots["cp1"].Command("systemctl", strings.Replace(systemctl, "#!/bin/sh\n", `#!/bin/sh
if [ "$1 $2" = "restart b.service" ] && [ ! -e /fake.state/died ]; then touch /fake.state/died; sleep 60; fi
`, 1))
	died := l.roots["cp1"].Path("/fake.state/died")
	stop := make(chan struct{})
	go func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				if _, err := os.Stat(died); err == nil {
					l.conn("cp1").drop()
					return
				}
			}
		}
	}()
	defer close(stop)
	if err := l.apply(); err != nil {
		t.Fatal(err)
	}
	if a, b := l.starts("cp1", "a.service"), l.starts("cp1", "b.service"); a != 1 || b != 1 {
		t.Errorf("a was started %d times, b %d times; want each once", a, b)
	}
	if n := l.execs()["cp1"]; n != 6 { // lock, look, act; lock, look, act
		t.Errorf("%d execs, want 6", n)
	}
	l.requireEmpty()
}

// A connection that does not come back is an error, in time.
func TestLostForGood(t *testing.T) {
	l := newLab(t, 1, service("a", "1"))
	l.options = func(o *engine.Options) { o.ReconnectTimeout = 100 * time.Millisecond }
	l.hook = func(_ string, _ int64, script []byte) error {
		if isAct(script) {
			l.mu.Lock()
			l.refuse["cp1"] = true
			l.mu.Unlock()
			l.conns["cp1"].drop()
		}
		return nil
	}
	err := l.apply()
	if code := fault.ExitCode(err); code != int(fault.Unreachable) || len(fault.Hints(err)) == 0 {
		t.Errorf("exit code %d, hints %v: %v", code, fault.Hints(err), err)
	}
}

// A resource that is not as wanted after it was changed is an error, and no reason to try
// again.
func TestDoesNotConverge(t *testing.T) {
	l := newLab(t, 1, service("a", "1"), phase("kernel", nil, func(plan.Target) []resource.Resource {
		return []resource.Resource{resource.KernelModule{Name: "dud"}}
	}))
	l.roots["cp1"].Command("modprobe", "#!/bin/sh\nexit 0\n") // says it worked
	err := l.apply()
	if code := fault.ExitCode(err); code != int(fault.ChangeFailed) {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{"cp1", "kernel", "module:dud", "not as wanted"} {
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
	if n := l.execs()["cp1"]; n != 3 {
		t.Errorf("%d execs, want 3: it is not tried again", n)
	}
}

// A script that ends without its last word is not believed.
func TestTruncatedAnswers(t *testing.T) {
	l := newLab(t, 1, service("a", "1"))
	l.roots["cp1"].Command("stat", "#!/bin/sh\nkill -9 $PPID\n")
	_, err := l.plan()
	if err == nil || fault.ExitCode(err) == 0 {
		t.Error("a look whose shell was killed has to fail")
	}
	l.roots["cp1"].Command("stat", "#!/bin/sh\nexit 0\n")
	if _, err := l.plan(); err == nil || !strings.Contains(err.Error(), "cp1") {
		t.Errorf("a look without answers has to fail and to name the host: %v", err)
	}
}

// Nothing is changed when the plan is not confirmed.
func TestNotConfirmed(t *testing.T) {
	l := newLab(t, 1, service("a", "1"))
	before := l.roots["cp1"].Read("/etc/a/config")
	p, _, err := l.engine().Apply(t.Context(), func(p *plan.Plan) error {
		if p.Count() != 4 {
			t.Errorf("%d changes were shown, want 4", p.Count())
		}
		return errBoom
	})
	if !errors.Is(err, errBoom) || p == nil {
		t.Errorf("%v", err)
	}
	if l.roots["cp1"].Read("/etc/a/config") != before {
		t.Error("something was changed")
	}
}

// Some phases only: they are made true, the others are planned but not touched.
func TestOnlySomePhases(t *testing.T) {
	l := newLab(t, 1, service("a", "1"), service("b", "1", plan.AllHosts("a")))
	l.options = func(o *engine.Options) { o.Only = map[string]bool{"b": true} }
	p, err := l.plan()
	if err != nil || p.Count() != 4 {
		t.Fatalf("%d changes, %v; want those of phase b", p.Count(), err)
	}
	if err := l.apply(); err != nil {
		t.Fatal(err)
	}
	if l.roots["cp1"].Read("/etc/a/config") != "" || l.roots["cp1"].Read("/etc/b/config") != "1" {
		t.Error("phase b alone was asked for")
	}
	l.options = nil
	l.mustApply()
	l.phases = l.phases[:2] // b is wanted no more: pruned by a whole run only
	l.options = func(o *engine.Options) { o.Only = map[string]bool{"a": true} }
	if err := l.apply(); err != nil {
		t.Fatal(err)
	}
	if l.roots["cp1"].Read("/etc/b/config") != "1" {
		t.Error("a run of phase a alone has removed what b left")
	}
	l.options = nil
	l.mustApply()
	if l.roots["cp1"].Read("/etc/b/config") != "" || l.roots["cp1"].Read("/fake.state/units/b.service/active") != "inactive\n" {
		t.Error("what is wanted no more was not removed")
	}
}

// What is reported: each phase begins and ends once on a host, each change is named once.
func TestEvents(t *testing.T) {
	l := newLab(t, 1, service("a", "1"), service("b", "1"))
	l.mustApply()
	var got []string
	for _, e := range l.events.events {
		switch e.Kind { //nolint:exhaustive // these three are what is looked for
		case report.PhaseStarted, report.PhaseDone, report.ResourceChanged:
			if e.Host == "cp1" {
				got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %s", e.Kind, e.Phase, e.Resource)))
			}
		}
	}
	var want []string
	for _, p := range []string{"a", "b"} {
		want = append(want, "phase-started "+p)
		for _, id := range []string{"dir:/etc/" + p, "file:/etc/" + p + "/config", "file:/etc/systemd/system/" + p + ".service", "unit:" + p + ".service"} {
			want = append(want, "resource-changed "+p+" "+id)
		}
		want = append(want, "phase-done "+p)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if started, done := l.events.of(report.RunStarted), l.events.of(report.RunDone); len(started) != 2 || len(done) != 2 || started[0].Message != "apply" {
		t.Errorf("runs started: %v, done: %v", started, done)
	}
	hosts := map[string]bool{}
	for _, e := range l.events.of(report.HostConnected) {
		hosts[e.Host] = true
	}
	if diff := cmp.Diff([]string{"cp1"}, slices.Sorted(maps.Keys(hosts))); diff != "" {
		t.Error(diff)
	}
}

// Phases that are not well formed are refused before anything is connected to.
func TestNewRefusesPhases(t *testing.T) {
	ok := service("a", "1")
	for name, phases := range map[string][]plan.Phase{
		"twice":         {ok, ok},
		"later edge":    {service("b", "1", plan.SameHost("c")), service("c", "1")},
		"nothing to do": {{Name: "x", Short: "x"}},
		"no hosts":      {{Name: "x", Short: "x", Desire: ok.Desire}},
		"no name":       {{Short: "x", Checks: true}},
	} {
		if _, err := engine.New(engine.Options{Phases: phases}); !errors.Is(err, plan.ErrPhases) {
			t.Errorf("%s: %v, want ErrPhases", name, err)
		}
	}
}

// An exec that the host refuses to run is an error of that host, of the right kind.
func TestExitKinds(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		want fault.Kind
		says string
	}{
		"login refused": {&host.AuthError{Host: "cp1", User: "root", Err: errBoom}, fault.Unreachable, "boom"},
		"sudo refused":  {&host.SudoError{Host: "cp1", User: "me", Reason: "it says no"}, fault.Unreachable, "it says no"},
		"script failed": {&host.ExitError{Host: "cp1", Code: 9, Stderr: []byte("no such tool")}, fault.Other, "no such tool"},
		"act elsewhere": {&host.ExitError{Host: "cp1", Code: sh.LockedStatus, Stderr: []byte("an earlier run")}, fault.Locked, "an earlier run"},
	} {
		l := newLab(t, 1, service("a", "1"))
		l.hook = func(string, int64, []byte) error { return tc.err }
		_, err := l.plan()
		if text := fmt.Sprint(err); fault.ExitCode(err) != int(tc.want) || !strings.Contains(text, tc.says) || !strings.Contains(text, "cp1") {
			t.Errorf("%s: exit code %d, want %d: %v", name, fault.ExitCode(err), tc.want, err)
		}
	}
}
