package engine_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kubewright/internal/engine"
	"kubewright/internal/fault"
	"kubewright/internal/plan"
	"kubewright/internal/report"
	"kubewright/internal/resource"
	"kubewright/inventory"
)

// An upgrade takes the workers along a few at a time, each from pods that were evicted to a node that
// is Ready again, and the control plane before all of them.
func TestWorkersRollInBatches(t *testing.T) {
	for _, most := range []int{1, 2, 9} {
		t.Run(fmt.Sprint(most), func(t *testing.T) {
			l := newWorkerLab(t, 4)
			l.cluster.Rollout.Workers.MaxUnavailable = most
			l.upgrade("2")
			if err := l.apply(); err != nil {
				t.Fatal(err)
			}
			if l.log[0] != "cp1 kubelet" {
				t.Errorf("a worker was begun before the control plane was through: %v", l.log)
			}
			for _, name := range []string{"w1", "w2", "w3", "w4"} {
				want := []string{"cordon " + name, "evict " + name + "-web", name + " kubelet", "ready " + name, "uncordon " + name}
				if diff := cmp.Diff(want, l.of(name)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", name, diff)
				}
				if !l.said(report.Notice, name, "drained: 1 pods") {
					t.Errorf("nothing says that %s was drained", name)
				}
			}
			if want := min(most, 4); l.peak > want || most == 1 && l.peak != 1 {
				t.Errorf("%d workers were changed at once, %d may be", l.peak, want)
			}
			waiting := slices.ContainsFunc(l.events.of(report.Waiting), func(e report.Event) bool {
				return strings.HasPrefix(e.Message, fmt.Sprintf("its turn: %d at once, now w", most))
			})
			if waiting != (most < 4) {
				t.Errorf("a worker waits for its turn: %v", waiting)
			}
			l.requireEmpty()
		})
	}
}

// Two workers are changed at once where two may be: each act waits for another.
func TestWorkersRollTogether(t *testing.T) {
	l := newWorkerLab(t, 4)
	l.cluster.Rollout.Workers.MaxUnavailable = 2
	meet := make(chan struct{})
	l.hook = func(name string, _ int64, script []byte) error {
		if !isAct(script) || !strings.HasPrefix(name, "w") {
			return nil
		}
		l.begun(name)
		select {
		case meet <- struct{}{}:
		case <-meet:
		case <-time.After(20 * time.Second):
			t.Errorf("%s is changed alone", name)
		}
		return nil
	}
	l.upgrade("2")
	if err := l.apply(); err != nil || l.peak != 2 {
		t.Errorf("%d at once, error %v", l.peak, err)
	}
}

// When pods are evicted first, and when they stay.
func TestWorkersDrain(t *testing.T) {
	all := []string{"cordon w1", "evict w1-web", "w1 kubelet", "ready w1", "uncordon w1"}
	inPlace := []string{"w1 kubelet", "ready w1"}
	for _, tc := range []struct {
		drain   string
		upgrade bool
		want    []string
	}{
		{"auto", true, all}, {"auto", false, inPlace}, {"always", true, all}, {"always", false, all}, {"never", true, inPlace}, {"never", false, inPlace},
	} {
		t.Run(fmt.Sprintf("%s upgrade=%v", tc.drain, tc.upgrade), func(t *testing.T) {
			t.Parallel()
			l := newWorkerLab(t, 1)
			l.cluster.Rollout.Workers.Drain = tc.drain
			if l.config = "2"; tc.upgrade {
				l.upgrade("2")
			}
			if err := l.apply(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, l.of("w1")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// requireStopped requires that one worker was begun and failed, and that no other was begun. It
// returns that one.
func (l *workerLab) requireStopped(err error, workers ...string) (failed string) {
	l.t.Helper()
	for _, name := range workers {
		if strings.Contains(fmt.Sprint(err), "not begun: "+name+" failed") {
			failed = name
		}
	}
	for _, name := range workers {
		switch {
		case name == failed:
		case !strings.Contains(fmt.Sprint(err), name+": kubelet: not begun: "+failed+" failed"):
			l.t.Errorf("nothing says that %s was not begun: %v", name, err)
		case len(l.of(name)) > 0:
			l.t.Errorf("%s was begun: %v", name, l.of(name))
		}
	}
	return failed
}

// A worker that fails stops those after it, and stays cordoned until a run brings it back.
func TestWorkerFails(t *testing.T) {
	workers := []string{"w1", "w2", "w3"}
	const breaks = "/fake.state/units/kubelet.service/breaks"
	for name, tc := range map[string]struct {
		spoil, mend func(*workerLab, string)
		says        string
	}{
		"the act fails": {
			func(l *workerLab, w string) { l.roots[w].Write(breaks, "") },
			func(l *workerLab, w string) { _ = os.Remove(l.roots[w].Path(breaks)) },
			"Job for kubelet.service failed",
		},
		"the kubelet does not come back": {
			func(l *workerLab, w string) { l.node[w].dead = true },
			func(l *workerLab, w string) { l.node[w].dead = false },
			"no heartbeat since its restart",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newWorkerLab(t, 3)
			l.patience(6 * time.Second)
			for _, w := range workers {
				tc.spoil(l, w)
			}
			l.upgrade("2")
			err := l.apply()
			failed := l.requireStopped(err, workers...)
			if failed == "" || !strings.Contains(fmt.Sprint(err), tc.says) || !strings.Contains(fmt.Sprint(err), "kubectl uncordon "+failed) {
				t.Errorf("%q failed: %v", failed, err)
			}
			if diff := cmp.Diff([]string{failed}, l.cordoned()); diff != "" {
				t.Errorf("cordoned (-want +got):\n%s", diff)
			}
			for _, w := range workers {
				tc.mend(l, w)
			}
			if err := l.apply(); err != nil {
				t.Fatal(err)
			}
			if left := l.cordoned(); len(left) > 0 {
				t.Errorf("%v stay cordoned", left)
			}
			l.requireEmpty()
		})
	}
}

// What is under way when another worker fails is finished.
func TestWorkersUnderWayFinish(t *testing.T) {
	l := newWorkerLab(t, 4)
	l.cluster.Rollout.Workers.MaxUnavailable = 2
	second, failing := make(chan string, 1), make(chan struct{})
	first := make(chan string, 1)
	l.hook = func(name string, _ int64, script []byte) error {
		if !isAct(script) || !strings.HasPrefix(name, "w") {
			return nil
		}
		select {
		case first <- name:
			second <- <-second
			close(failing)
			return errBoom
		default:
		}
		second <- name
		<-failing
		return nil
	}
	l.upgrade("2")
	err := l.apply()
	broken, good := <-first, <-second
	rest := slices.DeleteFunc([]string{"w1", "w2", "w3", "w4"}, func(w string) bool { return w == good })
	if failed := l.requireStopped(err, rest...); failed != broken {
		t.Errorf("%s failed, and is told as %q: %v", broken, failed, err)
	}
	if got := l.of(good); len(got) == 0 || got[len(got)-1] != "uncordon "+good {
		t.Errorf("%s was not finished: %v", good, got)
	}
}

// What blocks a drain is named, the worker is not changed, and no other is begun.
func TestWorkerNotDrained(t *testing.T) {
	for name, tc := range map[string]struct {
		pod  labPod
		says []string
		left int // cordoned
	}{
		"a budget": {labPod{blocked: true}, []string{
			"was not drained in", "-web, blocked by PodDisruptionBudget default/web (allows 0 disruptions", "stays cordoned",
		}, 1},
		"an unmanaged pod": {labPod{bare: true}, []string{"without a controller that makes them anew: default/w"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newWorkerLab(t, 2)
			l.cluster.Rollout.Workers.DrainTimeout = 2 * time.Second
			for pod, p := range l.pods {
				*p = tc.pod
				p.node = strings.TrimSuffix(pod, "-web")
			}
			l.upgrade("2")
			err := l.apply()
			failed := l.requireStopped(err, "w1", "w2")
			requireFault(t, err, fault.ChangeFailed, append(tc.says, failed+": drain: not changed")...)
			if hints := fmt.Sprint(fault.Hints(err)); !strings.Contains(hints, "spec.rollout.workers.drain: never") {
				t.Errorf("hints: %s", hints)
			}
			if slices.Contains(l.of(failed), failed+" kubelet") || len(l.cordoned()) != tc.left {
				t.Errorf("%s was changed, or %v are cordoned: %v", failed, l.cordoned(), l.of(failed))
			}
		})
	}
}

// A host that joins waits for no worker: it gets through while another has the only turn.
func TestNewWorkerDoesNotWait(t *testing.T) {
	l := newWorkerLab(t, 2)
	l.cluster.Rollout.Workers.DrainTimeout = 2 * time.Second
	for _, p := range l.pods {
		p.blocked = true
	}
	taken := make(chan struct{})
	once := sync.OnceFunc(func() { close(taken) })
	l.onEntry = func(entry string) {
		if strings.HasPrefix(entry, "blocked") {
			once()
		}
		l.restarted(entry)
	}
	l.hook = func(name string, _ int64, script []byte) error {
		if !isAct(script) || name == "cp1" {
			return nil
		}
		select {
		case <-taken:
		case <-time.After(20 * time.Second):
			t.Errorf("no other worker has its turn while %s is changed", name)
		}
		return nil
	}
	l.setWorkers(4)
	l.upgrade("2")
	err := l.apply()
	if failed := l.requireStopped(err, "w1", "w2"); failed == "" {
		t.Errorf("none of the old workers failed: %v", err)
	}
	for _, name := range []string{"w3", "w4"} {
		if got := l.of(name); len(got) == 0 || got[0] != name+" kubelet" || strings.Contains(fmt.Sprint(err), name+":") {
			t.Errorf("%s: %v, error %v", name, got, err)
		}
	}
}

// A node that a run has cordoned and left is uncordoned by the next, if it is Ready: also by one that
// has nothing else to do there. What somebody else has cordoned stays so.
func TestWorkerLeftCordoned(t *testing.T) {
	for name, tc := range map[string]struct {
		node    labNode
		upgrade bool
		stays   bool
		kind    report.Kind
		says    string
	}{
		"nothing to do":              {node: labNode{cordoned: true, ours: true}, kind: report.Notice, says: "uncordoned: an earlier run"},
		"to be changed":              {node: labNode{cordoned: true, ours: true}, upgrade: true, kind: report.Notice, says: "uncordoned: an earlier run"},
		"not Ready":                  {node: labNode{cordoned: true, ours: true, unready: -1}, stays: true, kind: report.Warning, says: "stays so while it is not Ready: KubeletNotReady"},
		"somebody else's":            {node: labNode{cordoned: true}, stays: true},
		"somebody else's, to change": {node: labNode{cordoned: true}, upgrade: true, stays: true, kind: report.Notice, says: "drained: 1 pods"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newWorkerLab(t, 1)
			*l.node["w1"] = tc.node
			if tc.upgrade {
				l.upgrade("2")
			}
			if err := l.apply(); err != nil {
				t.Fatal(err)
			}
			if stays := len(l.cordoned()) > 0; stays != tc.stays {
				t.Errorf("cordoned: %v, want %v", stays, tc.stays)
			}
			if tc.says != "" && !l.said(tc.kind, "w1", tc.says) {
				t.Errorf("nothing says %q", tc.says)
			}
		})
	}
}

// Without an API server, or on a node that is down, there is nobody to evict pods: the worker is
// changed all the same.
func TestWorkerOfClusterThatIsDown(t *testing.T) {
	for name, tc := range map[string]struct {
		breakIt func(*workerLab)
		kind    report.Kind
		says    string
		want    []string
	}{
		"no API server": {func(l *workerLab) { l.down["cp1"] = true }, report.Warning, "no API server answers", []string{"w1 kubelet"}},
		"not Ready":     {func(l *workerLab) { l.node["w1"].unready = -1 }, report.Notice, "not drained: the node is not Ready", []string{"w1 kubelet", "ready w1"}},
		"no node":       {func(l *workerLab) { delete(l.node, "w1") }, report.Waiting, "", []string{"w1 kubelet"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newWorkerLab(t, 1)
			l.with(func(o *engine.Options) { o.Limit = inventory.Workers })
			tc.breakIt(l)
			l.upgrade("2")
			if err := l.apply(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, l.of("w1")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if tc.says != "" && !l.said(tc.kind, "w1", tc.says) {
				t.Errorf("nothing says %q", tc.says)
			}
		})
	}
}

// A control plane that does not come back from a change keeps the workers from it.
func TestWorkersAfterControlPlaneThatFails(t *testing.T) {
	l := newWorkerLab(t, 2)
	l.patience(4 * time.Second)
	l.podArgs["api"] = []string{"--broken"}
	l.upgrade("2")
	err := l.apply()
	for _, name := range []string{"w1", "w2"} {
		if !strings.Contains(fmt.Sprint(err), name+": kubelet: not begun: cp1 did not come back") || len(l.of(name)) > 0 {
			t.Errorf("%s: %v, error %v", name, l.of(name), err)
		}
	}
}

// A control plane that is not changed at all, for what comes before its turn has failed, keeps the workers
// from it too: their kubelets would be newer than its API server.
func TestWorkersAfterControlPlaneThatIsNotChanged(t *testing.T) {
	l := newWorkerLab(t, 2)
	early := phase("early", nil, func(plan.Target) []resource.Resource {
		return []resource.Resource{resource.File{Path: etcdManifest + "/below", Content: []byte("x")}} // which is no folder
	})
	early.On = inventory.ControlPlanes
	l.phases = slices.Insert(l.phases, slices.IndexFunc(l.phases, func(p plan.Phase) bool { return p.Members }), early)
	l.upgrade("2")
	err := l.apply()
	for _, name := range []string{"w1", "w2"} {
		if !strings.Contains(fmt.Sprint(err), name+": kubelet: not begun: cp1 comes first, and is not done") || len(l.of(name)) > 0 {
			t.Errorf("%s: %v, error %v", name, l.of(name), err)
		}
	}
}

// A run that is interrupted ends those that wait for their turn too, and the next goes on.
func TestWorkersInterrupted(t *testing.T) {
	l := newWorkerLab(t, 3)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, p := range l.pods {
		p.blocked = true
	}
	l.onEntry = func(entry string) {
		if strings.HasPrefix(entry, "blocked") {
			cancel()
		}
		l.restarted(entry)
	}
	l.upgrade("2")
	_, _, err := l.engine().Apply(ctx, accept)
	requireFault(t, err, fault.Interrupted, "stays cordoned")
	for _, e := range l.events.of(report.WaitDone) {
		if e.Err != nil {
			t.Errorf("an interrupt ends every wait, and one says that it was in vain: %s: %s: %v", e.Host, e.Message, e.Err)
		}
	}
	if left := l.cordoned(); len(left) != 1 {
		t.Errorf("%v are cordoned, want the one that was begun", left)
	}
	for _, p := range l.pods {
		p.blocked = false
	}
	if err := l.apply(); err != nil || len(l.cordoned()) > 0 {
		t.Errorf("the next run: %v, %v are cordoned", err, l.cordoned())
	}
}
