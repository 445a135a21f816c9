package report

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"kubewright/internal/fault"
)

// Record is a sink that writes every event, commands included, in the lines of [NewJSON]: what a run
// leaves behind so that it can be looked at afterwards. [ReadRecord] reads it.
type Record struct {
	mu  sync.Mutex
	enc *json.Encoder
	err error
}

// NewRecord returns a record that is written to w, a line at a time.
func NewRecord(w io.Writer) *Record {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return &Record{enc: enc}
}

// Emit writes an event. After a line that could not be written, none is: what has a hole is no record.
func (r *Record) Emit(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = r.enc.Encode(lineOf(e))
	}
}

// Err is why the record is incomplete, nil when it is not.
func (r *Record) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// ReadRecord reads the events of a record, in the order in which they were written. lost counts the lines
// that are no event: the last one of a run that was killed may be half of one. It is an error that there
// is no event at all, or that r cannot be read.
func ReadRecord(r io.Reader) (events []Event, lost int, err error) {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			if e, ok := parseEvent(line); ok {
				events = append(events, e)
			} else {
				lost++
			}
		}
		switch {
		case errors.Is(err, io.EOF) && len(events) == 0:
			return nil, lost, errors.New("it is no record of a run: no line of it is an event")
		case errors.Is(err, io.EOF):
			return events, lost, nil
		case err != nil:
			return events, lost, fmt.Errorf("read the record of a run: %w", err)
		}
	}
}

func parseEvent(line []byte) (Event, bool) {
	var l jsonEvent
	if json.Unmarshal(line, &l) != nil || l.Kind == "" {
		return Event{}, false
	}
	at, err := time.Parse(time.RFC3339Nano, l.Time)
	if err != nil {
		return Event{}, false
	}
	e := Event{
		Time: at, Kind: l.Kind, Host: l.Host, Phase: l.Phase, Resource: l.Resource, Message: l.Message,
		Duration: time.Duration(l.Seconds * float64(time.Second)), Attrs: l.Attrs,
	}
	if l.Error != "" {
		cause := errors.New(l.Error)
		for _, hint := range slices.Backward(l.Hints) {
			cause = &fault.Error{Hint: hint, Err: cause}
		}
		e.Err = &fault.Error{Kind: kindNamed(l.ErrorKind), Err: cause}
	}
	return e, true
}

// kindNamed is the kind of failure of that name, Other where there is none.
func kindNamed(name string) fault.Kind {
	for k := fault.Other; k <= fault.Interrupted; k++ {
		if k.String() == name {
			return k
		}
	}
	return fault.Other
}

// Memory is a sink that keeps events. Its zero value is ready for use.
type Memory struct {
	mu     sync.Mutex
	events []Event
}

// Emit keeps an event.
func (m *Memory) Emit(e Event) {
	e.Attrs = maps.Clone(e.Attrs)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events = append(m.events, e)
}

// Events returns what was kept so far.
func (m *Memory) Events() []Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.events)
}
