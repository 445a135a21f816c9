package report

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// screen is as much of a terminal as the sink uses: it shows what a person would see, so that a
// line drawn twice or left over is seen by the test too. Anything else it is sent is a failure.
type screen struct {
	t     *testing.T
	width int
	rows  []string
	row   int
	col   int
}

func (s *screen) Write(p []byte) (int, error) {
	text := string(p)
	for text != "" {
		switch {
		case strings.HasPrefix(text, "\x1b["):
			text = s.escape(text[2:])
		case text[0] == '\n':
			s.row, s.col, text = s.row+1, 0, text[1:]
			s.reach()
		case text[0] == '\r':
			s.col, text = 0, text[1:]
		default:
			r, size := utf8.DecodeRuneInString(text)
			text = text[size:]
			s.put(r)
		}
	}
	return len(p), nil
}

func (s *screen) escape(rest string) string {
	end := strings.IndexAny(rest, "AJ")
	if end < 0 {
		s.t.Fatalf("unknown escape sequence %q", rest)
	}
	switch rest[end] {
	case 'A':
		n, err := strconv.Atoi(rest[:end])
		if err != nil || n > s.row {
			s.t.Fatalf("cursor up %q at row %d", rest[:end], s.row)
		}
		s.row -= n
	case 'J':
		s.rows = s.rows[:s.row]
		s.reach()
	}
	return rest[end+1:]
}

func (s *screen) put(r rune) {
	if r < ' ' {
		s.t.Errorf("control character %q", r)
	}
	s.reach()
	line := []rune(s.rows[s.row])
	if s.col != len(line) {
		s.t.Fatalf("overwrites column %d of %q", s.col, s.rows[s.row])
	}
	s.rows[s.row] = string(append(line, r))
	s.col++
}

func (s *screen) reach() {
	for len(s.rows) <= s.row {
		s.rows = append(s.rows, "")
	}
}

func (s *screen) String() string { return strings.Join(s.rows, "\n") }

// play shows what is on the screen at the given moments of a run, and after Close.
func play(t *testing.T, width int, events []Event, moments ...float64) string {
	t.Helper()
	s := &screen{t: t, width: width}
	term := newTerminal(s, func() int { return width })
	var out strings.Builder
	show := func(when string) { fmt.Fprintf(&out, "== %s\n%s\n", when, s) }
	for _, e := range events {
		for len(moments) > 0 && e.Time.After(at(moments[0])) {
			term.redraw(at(moments[0]))
			show(fmt.Sprintf("after %gs", moments[0]))
			moments = moments[1:]
		}
		term.Emit(e)
	}
	term.Close()
	show("closed")
	for _, row := range s.rows {
		if n := len([]rune(row)); n >= width && !strings.HasPrefix(row, "warning") {
			t.Errorf("a row of %d columns on a terminal of %d: %q", n, width, row)
		}
	}
	return out.String()
}

func TestTerminal(t *testing.T) {
	golden(t, "terminal.golden", play(t, 90, aRun(), 0.65, 1.9, 12, 17.5, 30))
}

func TestTerminalNarrow(t *testing.T) {
	golden(t, "terminal-narrow.golden", play(t, 40, aRun(), 12))
}

// More hosts than rows: the failed and the busy ones are shown while the run goes on, all of
// them at the end.
func TestTerminalManyHosts(t *testing.T) {
	events := []Event{{Time: at(0), Kind: RunStarted, Message: "apply lab: 30 hosts"}}
	for i := range 30 {
		host := fmt.Sprintf("worker%02d", i)
		events = append(events, Event{Time: at(1), Kind: PhaseStarted, Host: host, Phase: "kubelets"})
		switch {
		case i < 15:
			events = append(events, Event{Time: at(2), Kind: PhaseDone, Host: host, Phase: "kubelets"})
		case i == 29:
			events = append(events, Event{Time: at(2), Kind: HostFailed, Host: host, Err: context.DeadlineExceeded})
		}
	}
	events = append(events, Event{Time: at(5), Kind: RunDone, Duration: seconds(5), Err: context.DeadlineExceeded})
	golden(t, "terminal-many.golden", play(t, 80, events, 3))
}

// A run that ends without saying so leaves no host that seems to be at work.
func TestTerminalCloseWithoutEnd(t *testing.T) {
	s := &screen{t: t}
	term := newTerminal(s, func() int { return 80 })
	term.Emit(Event{Time: at(0), Kind: PhaseStarted, Host: "a", Phase: "pki"})
	term.Emit(Event{Time: at(0), Kind: PhaseStarted, Host: "b", Phase: "pki"})
	term.Emit(Event{Time: at(3), Kind: PhaseDone, Host: "a", Phase: "pki"})
	term.Close()
	want := "a  done         3.0s\nb  stopped      3.0s  pki"
	if got := strings.TrimSpace(s.String()); got != want {
		t.Errorf("on the screen after Close: %q, want %q", got, want)
	}
}

func TestTerminalUnknownWidth(t *testing.T) {
	s := &screen{t: t}
	term := newTerminal(s, func() int { return 0 })
	term.Emit(Event{Time: at(0), Kind: Waiting, Host: "a", Message: strings.Repeat("x", 200)})
	if got := len(s.rows[0]); got != defaultWidth-1 {
		t.Errorf("a row of %d columns, want %d", got, defaultWidth-1)
	}
}

func TestTerminalAfterClose(t *testing.T) {
	var out bytes.Buffer
	term := NewTerminal(&out, func() int { return 80 })
	term.Emit(Event{Time: at(0), Kind: PhaseStarted, Host: "a", Phase: "pki"})
	term.Close()
	before := out.Len()
	term.Close()
	term.Emit(Event{Time: at(9), Kind: PhaseDone, Host: "a", Phase: "pki"})
	if out.Len() != before {
		t.Errorf("wrote %q after Close", out.String()[before:])
	}
}

// While a plan is shown and somebody is asked about it, nothing is drawn over it.
func TestTerminalPause(t *testing.T) {
	s := &screen{t: t}
	term := newTerminal(s, func() int { return 80 })
	term.Emit(Event{Time: at(0), Kind: PhaseStarted, Host: "a", Phase: "look"})
	term.Pause()
	term.Pause()
	if got := strings.TrimSpace(s.String()); got != "" {
		t.Errorf("on the screen after Pause: %q, want nothing", got)
	}
	fmt.Fprintln(s, "plan: 3 changes")
	term.Emit(Event{Time: at(1), Kind: Warning, Host: "a", Message: "slow"})
	term.Emit(Event{Time: at(2), Kind: PhaseDone, Host: "a", Phase: "look"})
	term.redraw(at(3))
	if got := strings.TrimSpace(s.String()); got != "plan: 3 changes" {
		t.Errorf("on the screen while paused: %q, want the plan alone", got)
	}
	term.Resume()
	term.Resume()
	term.redraw(at(4))
	want := "plan: 3 changes\nwarning: a: slow\na  ready        2.0s"
	if got := strings.TrimSpace(s.String()); got != want {
		t.Errorf("on the screen after Resume: %q, want %q", got, want)
	}
}

// A wait of which nothing was said, as that of a plan for all hosts, does not bring up a line of its own.
func TestBoardOfWaitsThatWereShort(t *testing.T) {
	var b board
	b.take(Event{Time: at(0), Kind: HostConnected, Host: "cp1"})
	b.take(Event{Time: at(1), Kind: WaitDone, Message: "all hosts to be looked at"})
	if lines := b.render(at(2), 10); len(lines) != 1 {
		t.Errorf("it shows %q", lines)
	}
	b.take(Event{Time: at(2), Kind: Waiting, Message: "phase kubelet on any host"})
	b.take(Event{Time: at(3), Kind: WaitDone, Message: "phase kubelet on any host"})
	if lines := b.render(at(4), 10); len(lines) != 2 || strings.Contains(lines[0], "kubelet") {
		t.Errorf("it shows %q", lines)
	}
}

// The first of several waits that ends leaves the others on the screen.
func TestBoardOfManyWaits(t *testing.T) {
	var b board
	b.take(Event{Time: at(1), Kind: Waiting, Message: "node a to be ready: no network"})
	for _, ended := range []string{"node b to be ready", "node a"} {
		b.take(Event{Time: at(2), Kind: WaitDone, Message: ended})
		if lines := b.render(at(3), 10); !strings.HasSuffix(lines[0], "waiting for node a to be ready: no network") {
			t.Errorf("with %s it shows %q", ended, lines)
		}
	}
	b.take(Event{Time: at(4), Kind: WaitDone, Message: "node a to be ready"})
	if lines := b.render(at(5), 10); strings.Contains(lines[0], "waiting") {
		t.Errorf("at the end it shows %q", lines)
	}
}
