package report

import (
	"io"
	"time"

	"kubewright/internal/fault"
)

// NewJSON returns a sink that writes every event but [Exec] as one JSON object a line. The names
// of the fields are stable; absent means empty. Times are RFC 3339 in UTC, durations are seconds.
func NewJSON(w io.Writer) Sink { return withoutCommands{NewRecord(w)} }

type withoutCommands struct{ Sink }

func (s withoutCommands) Emit(e Event) {
	if e.Kind != Exec {
		s.Sink.Emit(e)
	}
}

type jsonEvent struct {
	Time      string            `json:"time"`
	Kind      Kind              `json:"kind"`
	Host      string            `json:"host,omitempty"`
	Phase     string            `json:"phase,omitempty"`
	Resource  string            `json:"resource,omitempty"`
	Message   string            `json:"message,omitempty"`
	Seconds   float64           `json:"seconds,omitempty"`
	Error     string            `json:"error,omitempty"`
	ErrorKind string            `json:"errorKind,omitempty"`
	Hints     []string          `json:"hints,omitempty"`
	Attrs     map[string]string `json:"attrs,omitempty"`
}

// lineOf is an event as a line of JSON.
func lineOf(e Event) jsonEvent {
	line := jsonEvent{
		Time:     e.Time.UTC().Format(time.RFC3339Nano),
		Kind:     e.Kind,
		Host:     e.Host,
		Phase:    e.Phase,
		Resource: e.Resource,
		Message:  e.Message,
		Seconds:  e.Duration.Seconds(),
		Attrs:    e.Attrs,
	}
	if e.Err != nil {
		line.Error = e.Err.Error()
		line.ErrorKind = fault.KindOf(e.Err).String()
		line.Hints = fault.Hints(e.Err)
	}
	return line
}
