package report

import (
	"fmt"
	"io"
	"sync"
	"text/tabwriter"
	"time"
)

// PhaseTimes is a sink that measures phases. Its zero value is ready for use.
type PhaseTimes struct {
	mu     sync.Mutex
	order  []string
	phases map[string]*PhaseTime
	begun  map[place]time.Time
	total  time.Duration
	from   time.Time // the first event
	to     time.Time // the last one
}

// PhaseTime says how long one phase took over all hosts.
type PhaseTime struct {
	Phase string
	// Wall is the time from the first host that began it to the last that ended it. Hosts run
	// ahead of each other, so the walls of two phases may overlap and do not add up to the run.
	Wall time.Duration
	// Hosts is the number of hosts it ran on; 0 for a phase of the cluster as a whole.
	Hosts int
	// Slowest is the host that took longest, and SlowestTook how long that was.
	Slowest     string
	SlowestTook time.Duration
	// Changes is the number of resources changed.
	Changes int

	first, last time.Time
	took        map[string]time.Duration // by host; a phase may begin on a host more than once
}

// Emit takes the phases and changes out of the events of a run.
func (p *PhaseTimes) Emit(e Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.from.IsZero() {
		p.from = e.Time
	}
	p.to = e.Time
	switch e.Kind {
	case PhaseStarted:
		if p.begun == nil {
			p.begun = make(map[place]time.Time)
		}
		p.begun[place{e.Host, e.Phase}] = e.Time
		p.phase(e.Phase)
	case ResourceChanged:
		p.phase(e.Phase).Changes++
	case PhaseDone:
		p.done(e)
	case RunDone:
		p.total = e.Duration
	case RunStarted, HostConnected, HostFailed, Waiting, WaitDone, Exec, Notice, Warning:
	}
}

func (p *PhaseTimes) phase(name string) *PhaseTime {
	if t, ok := p.phases[name]; ok {
		return t
	}
	if p.phases == nil {
		p.phases = make(map[string]*PhaseTime)
	}
	t := &PhaseTime{Phase: name}
	p.phases[name] = t
	p.order = append(p.order, name)
	return t
}

func (p *PhaseTimes) done(e Event) {
	began, ok := p.begun[place{e.Host, e.Phase}]
	if !ok || e.Duration > 0 {
		began = e.Time.Add(-e.Duration)
	}
	took := e.Time.Sub(began)
	t := p.phase(e.Phase)
	if t.first.IsZero() || began.Before(t.first) {
		t.first = began
	}
	if e.Time.After(t.last) {
		t.last = e.Time
	}
	t.Wall = t.last.Sub(t.first)
	if e.Host == "" {
		return
	}
	if t.took == nil {
		t.took = make(map[string]time.Duration)
	}
	t.took[e.Host] += took
	t.Hosts = len(t.took)
	if t.took[e.Host] > t.SlowestTook || t.Slowest == "" {
		t.Slowest, t.SlowestTook = e.Host, t.took[e.Host]
	}
}

// Times returns the phases that ran, in the order in which they began.
func (p *PhaseTimes) Times() []PhaseTime {
	p.mu.Lock()
	defer p.mu.Unlock()
	times := make([]PhaseTime, 0, len(p.order))
	for _, name := range p.order {
		times = append(times, *p.phases[name])
	}
	return times
}

// Total returns how long the run took: what RunDone says, or the time from the first event to the
// last.
func (p *PhaseTimes) Total() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.total > 0 {
		return p.total
	}
	return p.to.Sub(p.from)
}

// Print writes a table of the phases, and the time of the whole run.
func (p *PhaseTimes) Print(w io.Writer) error {
	times := p.Times()
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(tw, "PHASE\tTIME\tHOSTS\tCHANGES\tSLOWEST")
	for _, t := range times {
		slowest := "-"
		if t.Slowest != "" {
			slowest = t.Slowest + " " + Elapsed(t.SlowestTook)
		}
		_, _ = fmt.Fprintf(tw, "%s\t%s\t%d\t%d\t%s\n", t.Phase, Elapsed(t.Wall), t.Hosts, t.Changes, slowest)
	}
	_, _ = fmt.Fprintf(tw, "total\t%s\n", Elapsed(p.Total()))
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("write the table of phases: %w", err)
	}
	return nil
}
