package engine_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kubewright/internal/engine"
	"kubewright/internal/fault"
	"kubewright/internal/plan"
	"kubewright/internal/report"
	"kubewright/internal/resource"
	"kubewright/inventory"
)

// A worker that is off keeps nobody from adding another: that one is made a node, and the run says in the
// end whom it did without.
func TestNewWorkerWhileAnotherIsOff(t *testing.T) {
	l := newWorkerLab(t, 2)
	l.setWorkers(3)
	l.refuse["w1"] = true
	p, err := l.plan()
	if err != nil || fault.KindOf(p.Absent) != fault.Unreachable || !strings.Contains(fmt.Sprint(p.Absent), "w1") {
		t.Fatalf("%v; absent: %v", err, p.Absent)
	}
	kubelet := resource.UnitID("kubelet.service")
	if diff := cmp.Diff([]string{"w3"}, due(p, kubelet)); diff != "" {
		t.Errorf("a kubelet is due on (-want +got):\n%s", diff)
	}
	done, stats, err := l.engine().Apply(t.Context(), accept)
	l.requireStats(stats)
	requireFault(t, err, fault.Unreachable, "w1")
	if !errors.Is(done.Absent, err) {
		t.Errorf("that all but w1 is done cannot be told from %v", err)
	}
	if l.starts("w3", "kubelet.service") != 1 {
		t.Error("w3 has no kubelet")
	}
	if !slices.ContainsFunc(l.events.of(report.Warning), func(e report.Event) bool { return strings.HasPrefix(e.Message, "w1: not reached") }) {
		t.Error("nobody is warned of w1")
	}
	if p, err = l.plan(); err != nil || !p.Empty() || p.Absent == nil || !strings.Contains(p.Summary(), "that were reached") {
		t.Errorf("%v, absent %v, %s", err, p.Absent, p.Summary())
	}
	delete(l.refuse, "w1")
	l.mustApply()
	l.requireEmpty()
}

// Only a worker that is not reached is done without: not a control plane, not a host on which somebody
// else works, and not all that a run is about. Nothing is changed then.
func TestHostsThatAreNotDoneWithout(t *testing.T) {
	for name, tc := range map[string]struct {
		limit   string
		arrange func(l *workerLab)
		kind    fault.Kind
		says    string
	}{
		"a control plane": {arrange: func(l *workerLab) {
			l.controlPlanes(2)
			l.refuse["cp2"] = true
		}, kind: fault.Unreachable, says: "cp2"},
		"all of the run":                {limit: "w1", arrange: func(l *workerLab) { l.refuse["w1"] = true }, kind: fault.Unreachable, says: "w1"},
		"the source of the authorities": {arrange: func(l *workerLab) { l.refuse["w1"], l.refuse["cp1"] = true, true }, kind: fault.Unreachable, says: "cp1"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newWorkerLab(t, 2)
			l.config = "2"
			tc.arrange(l)
			if tc.limit != "" {
				limit, err := inventory.ParseSelector(tc.limit)
				if err != nil {
					t.Fatal(err)
				}
				l.with(func(o *engine.Options) { o.Limit = limit })
			}
			requireFault(t, l.apply(), tc.kind, tc.says)
			if l.roots["w2"].Read("/etc/kubelet/config") != "1" {
				t.Error("w2 was changed")
			}
		})
	}
}

// Hosts are locked in turn by all runs alike, whoever is not there.
func TestTwoRunsWithoutTheFirstHost(t *testing.T) {
	l := pkiLab(t)
	l.cluster.Hosts[2].Name, l.roots["a1"] = "a1", l.roots["w2"] // the first by name
	delete(l.roots, "w2")
	l.mustApply()
	labs := []*lab{l, newLabOn(l)}
	over := []chan struct{}{make(chan struct{}), make(chan struct{})}
	errs := make([]error, 2)
	var wg sync.WaitGroup
	for i, it := range labs {
		it.refuse["a1"] = true
		wg.Go(func() {
			defer close(over[i])
			_, _, errs[i] = it.engine().Apply(t.Context(), func(*plan.Plan) error { <-over[1-i]; return nil })
		})
	}
	wg.Wait()
	kinds := []fault.Kind{fault.KindOf(errs[0]), fault.KindOf(errs[1])}
	slices.Sort(kinds)
	if !slices.Equal(kinds, []fault.Kind{fault.Unreachable, fault.Locked}) {
		t.Fatalf("the runs end with %v and %v", errs[0], errs[1])
	}
}

// A run that is limited says in one line whom it has not looked at, and what the API says of them.
func TestLimitSaysWhomItLeavesOut(t *testing.T) {
	l := newWorkerLab(t, 3)
	l.node["w2"].unready = -1
	limit, err := inventory.ParseSelector("w3")
	if err != nil {
		t.Fatal(err)
	}
	l.refuse["w2"] = true
	l.with(func(o *engine.Options) { o.Limit = limit })
	l.mustApply()
	said := func() (lines []string) {
		for _, e := range l.events.of(report.Notice) {
			if strings.Contains(e.Message, "--limit") {
				lines = append(lines, e.Message)
			}
		}
		return lines
	}
	if diff := cmp.Diff([]string{"not looked at, as --limit leaves them out: w1, w2; their nodes are not Ready: w2"}, slices.Compact(said())); diff != "" {
		t.Errorf("said (-want +got):\n%s", diff)
	}
	l.events.events, l.options = nil, l.defaults
	delete(l.refuse, "w2")
	l.requireEmpty()
	if len(said()) > 0 {
		t.Errorf("without --limit it says %q", said())
	}
}
