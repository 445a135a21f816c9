package report

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// quiet is how long a host may be silent about something it waits for between two plain lines.
const quiet = 10 * time.Second

// NewPlain returns a sink that writes a line for each event that matters to somebody who reads
// a log afterwards: hosts, phases that changed something or took their time, what is waited for,
// warnings and failures. A log of a converged cluster is short.
func NewPlain(w io.Writer) Sink {
	return &plain{w: w, changed: make(map[place]int), waiting: make(map[place]wait), failed: make(map[string]string)}
}

// place is a phase on a host; the host is empty for what concerns the whole cluster.
type place struct{ host, phase string }

type wait struct {
	message string
	said    time.Time
}

type plain struct {
	mu      sync.Mutex
	w       io.Writer
	changed map[place]int
	waiting map[place]wait
	failed  map[string]string // by host, why a phase of it failed
}

func (p *plain) Emit(e Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	line, ok := p.line(e)
	if !ok {
		return
	}
	_, _ = fmt.Fprintln(p.w, e.Time.Format(time.TimeOnly), line)
}

// line returns what to write about an event, and whether to write anything.
func (p *plain) line(e Event) (string, bool) {
	at := place{e.Host, e.Phase}
	message := OneLine(e.Message)
	if _, ofOthers := e.Attrs[AfterPhase]; ofOthers { // many hosts wait for it: they are one line
		e.Host, at = "", place{phase: message}
	}
	switch e.Kind {
	case RunStarted, Notice:
		return join(": ", e.Host, e.Phase, message), true
	case RunDone:
		return summary(e), true
	case HostConnected:
		return join(": ", e.Host, "connected", message), true
	case HostFailed:
		if why := reason(e); why != p.failed[e.Host] {
			return join(": ", e.Host, e.Phase, "failed", why), true
		}
		return "", false // its phase has said so
	case ResourceChanged:
		p.changed[at]++
		return "", false
	case PhaseDone:
		return p.phaseDone(at, e)
	case Waiting:
		last := p.waiting[at]
		if message == last.message || e.Time.Sub(last.said) < quiet {
			return "", false
		}
		p.waiting[at] = wait{message, e.Time}
		return join(": ", e.Host, e.Phase, waitingFor+message), true
	case WaitDone:
		if _, same := WaitDetail(p.waiting[at].message, message); same {
			delete(p.waiting, at) // what is waited for next is said at once
		}
		if e.Err != nil {
			return join(": ", e.Host, e.Phase, "gave up waiting after "+Elapsed(e.Duration), reason(e)), true
		}
		return "", false
	case Warning:
		return join(": ", "warning", e.Host, e.Phase, e.Resource, reason(e)), true
	case PhaseStarted, Exec:
		return "", false
	default:
		return join(": ", string(e.Kind), e.Host, e.Phase, message), true
	}
}

func (p *plain) phaseDone(at place, e Event) (string, bool) {
	n := p.changed[at]
	delete(p.changed, at)
	switch {
	case e.Err != nil:
		p.failed[e.Host] = reason(e)
		return join(": ", e.Host, e.Phase, "failed after "+Elapsed(e.Duration), reason(e)), true
	case n > 0:
		return join(": ", e.Host, e.Phase, changes(n)+" in "+Elapsed(e.Duration)), true
	case e.Duration >= time.Second:
		return join(": ", e.Host, e.Phase, "done in "+Elapsed(e.Duration)), true
	default:
		return "", false
	}
}
