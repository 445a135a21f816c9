package engine_test

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"kubewright/internal/engine"
	"kubewright/internal/plan"
	"kubewright/internal/report"
	"kubewright/internal/report/trace"
)

// emitted is a sink that does something with each event.
type emitted func(report.Event)

func (f emitted) Emit(e report.Event) { f(e) }

// Whoever waits for others says for whom; what is said to be waited for ends; and the critical path leads over
// the host that held the others up.
func TestTraceOfARun(t *testing.T) {
	l := newLab(t, 3, service("first", "1"), service("second", "1", plan.AllHosts("first")))
	ahead, spoken := make(chan struct{}), make(chan struct{})
	var atBarrier atomic.Int32
	l.options = func(o *engine.Options) {
		o.Sink = emitted(func(e report.Event) {
			l.events.Emit(e)
			if e.Kind == report.Waiting && e.Attrs[report.AfterPhase] == "first" && atBarrier.Add(1) == 2 {
				close(ahead)
			}
			if e.Kind == report.Waiting && e.Host == "w2" && strings.HasPrefix(e.Message, "the lock") {
				close(spoken)
			}
		})
	}
	l.hook = func(name string, exec int64, script []byte) error {
		switch {
		case name == "w1" && isAct(script):
			<-ahead
		case name == "w2" && exec == 1: // its lock takes so long that it is spoken of
			<-spoken
		}
		return nil
	}
	l.mustApply()

	waits := l.events.of(report.WaitDone)
	after := func(host, what string) (by string) {
		for _, e := range waits {
			if e.Host == host && e.Message == what && e.Duration > 0 {
				by = e.Attrs[report.AfterHost]
			}
		}
		return by
	}
	for _, host := range []string{"cp1", "w2"} {
		if by := after(host, "phase first on all hosts"); by != "w1" {
			t.Errorf("%s waited at the barrier for %q", host, by)
		}
	}
	if after("w1", "phase first on all hosts") != "" {
		t.Error("the last at the barrier waited there as well")
	}
	if by := after("", "all hosts to be looked at"); !slices.Contains([]string{"cp1", "w1", "w2"}, by) {
		t.Errorf("the plan waited for %q", by)
	}
	for _, said := range l.events.of(report.Waiting) {
		if !slices.ContainsFunc(waits, func(e report.Event) bool { return e.Host == said.Host && strings.HasPrefix(said.Message, e.Message) }) {
			t.Errorf("it does not say when this ended: %+v", said)
		}
	}

	run := trace.New(l.events.events)
	var path []string
	var at time.Duration
	for _, leg := range run.CriticalPath() {
		if leg.Start != at {
			t.Errorf("the critical path has a gap before %+v", leg)
		}
		at = leg.End
		path = append(path, leg.Host+" "+leg.Name)
	}
	if at != run.Took {
		t.Errorf("the critical path ends at %s, the run at %s", at, run.Took)
	}
	slow, planned := slices.Index(path, "w1 first"), slices.Index(path, " plan")
	if planned < 0 || slow < planned {
		t.Errorf("w1 held the others up, and the critical path is %s", strings.Join(path, ", "))
	}
}
