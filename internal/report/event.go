// Package report carries what happens in a run to whoever shows it. Libraries emit an [Event]
// and print nothing; a [Sink] turns events into a live terminal, plain lines, JSON lines or a log.
package report

import "time"

// Kind says what an [Event] is about. The values are the names used in JSON output and are stable.
type Kind string

// The kinds of event.
const (
	// RunStarted is the first event of a run; Message says what runs, Attrs what on.
	RunStarted Kind = "run-started"
	// RunDone is the last event of a run, with its Duration, and Err when it failed.
	RunDone Kind = "run-done"
	// HostConnected is a host that answered, after the Duration that it took; Attrs has its roles.
	HostConnected Kind = "host-connected"
	// HostFailed is a host on which the run stops, with Err saying why.
	HostFailed Kind = "host-failed"
	// PhaseStarted is a phase that begins on a host, or on the cluster when Host is empty.
	PhaseStarted Kind = "phase-started"
	// PhaseDone is a phase that ended, with its Duration, and Err when it failed.
	PhaseDone Kind = "phase-done"
	// ResourceChanged is a resource that was made true; Message says how.
	ResourceChanged Kind = "resource-changed"
	// Waiting says what is waited for, and in Message the last detail known of it.
	Waiting Kind = "waiting"
	// WaitDone is a wait that ended, with its Duration, and Err when it did so in vain.
	WaitDone Kind = "wait-done"
	// Exec is a command that ran on a host, with its Duration, or without a host, work of kubewright
	// itself. Only logs show it.
	Exec Kind = "exec"
	// Notice is something the user will want to know.
	Notice Kind = "notice"
	// Warning is something the user should look at, though the run goes on.
	Warning Kind = "warning"
)

// Attributes of [WaitDone], where the wait was for others of the same run: it ended when this host
// ("" is the cluster) was done, with this phase where it is about one. AfterPhase is also one of [Waiting]
// for a phase of others: all that come to it say the same.
const (
	AfterHost  = "afterHost"
	AfterPhase = "afterPhase"
)

// Event is one thing that happened. Kind and Time are always set, the rest as the kind needs it.
// Everything in it may be shown: secrets are of types that redact themselves before they get here.
type Event struct {
	Time     time.Time
	Kind     Kind
	Host     string
	Phase    string
	Resource string
	Message  string
	Duration time.Duration
	Err      error
	Attrs    map[string]string
}

// Sink takes events. Emit is safe for concurrent use, does not keep the event's Attrs, and does
// not fail: a sink that cannot write drops what it cannot write, because the run matters more
// than its report.
type Sink interface {
	Emit(e Event)
}

// Multi returns a sink that hands each event to all sinks in turn; nil ones are left out.
func Multi(sinks ...Sink) Sink {
	m := make(multi, 0, len(sinks))
	for _, s := range sinks {
		if s != nil {
			m = append(m, s)
		}
	}
	return m
}

type multi []Sink

func (m multi) Emit(e Event) {
	for _, s := range m {
		s.Emit(e)
	}
}
