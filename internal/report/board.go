package report

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// clusterLine names the line of what concerns no single host.
const clusterLine = "cluster"

// waitingFor begins what is said of a wait.
const waitingFor = "waiting for "

// board is what a run looks like at one moment.
type board struct {
	lines   []*hostLine // sorted by name, the cluster first
	started time.Time
	over    bool
	closing string // said when the run is over
}

type hostState int

const (
	idle hostState = iota
	running
	finished
	stopped
	failed
)

type hostLine struct {
	host    string
	state   hostState
	phase   string
	detail  string
	since   time.Time // when the phase began
	ended   time.Time // when the host was done, or failed
	changes int
}

// take brings the board up to date with an event and returns text that is to stay on the screen.
func (b *board) take(e Event) string {
	if b.started.IsZero() {
		b.started = e.Time
	}
	message := OneLine(e.Message)
	switch e.Kind {
	case RunStarted:
		return message
	case RunDone:
		b.end(e)
		b.closing = summary(e)
	case Notice:
		return join(": ", e.Host, e.Phase, message)
	case Warning:
		return join(": ", "warning", e.Host, e.Phase, e.Resource, reason(e))
	case HostConnected:
		b.line(e).detail = join(": ", "connected", message)
	case HostFailed:
		b.line(e).fail(e)
	case PhaseStarted:
		b.line(e).begin(e)
	case PhaseDone:
		b.line(e).phaseDone(e)
	case ResourceChanged:
		l := b.line(e)
		l.changes++
		l.detail = join(": ", e.Resource, message)
	case Waiting:
		b.line(e).detail = waitingFor + message
	case WaitDone:
		if i, found := b.find(e.Host); found { // else nothing was said of it
			if _, same := WaitDetail(b.lines[i].detail, waitingFor+message); same {
				b.lines[i].detail = ""
			}
		}
	case Exec:
	}
	return ""
}

// line returns the line of the event's host, which appears with its first event.
func (b *board) line(e Event) *hostLine {
	i, found := b.find(e.Host)
	if !found {
		b.lines = slices.Insert(b.lines, i, &hostLine{host: e.Host, since: e.Time})
	}
	return b.lines[i]
}

// find returns where the line of a host is, or belongs.
func (b *board) find(host string) (int, bool) {
	return slices.BinarySearchFunc(b.lines, host, func(l *hostLine, host string) int {
		return strings.Compare(l.host, host)
	})
}

func (l *hostLine) begin(e Event) {
	if l.state == failed {
		return
	}
	l.state, l.phase, l.since, l.detail = running, e.Phase, e.Time, ""
}

func (l *hostLine) phaseDone(e Event) {
	switch {
	case e.Err != nil:
		l.fail(e)
	case l.phase == e.Phase && l.state == running:
		l.state, l.since, l.detail = idle, e.Time, ""
	}
}

func (l *hostLine) fail(e Event) {
	l.state, l.ended = failed, e.Time
	l.detail = join(": ", e.Phase, reason(e))
}

// end gives every host its last state. Where the run failed, what was still at work was stopped.
func (b *board) end(e Event) {
	for _, l := range b.lines {
		if l.state == failed {
			continue
		}
		l.ended = e.Time
		if l.state == running && (e.Err != nil || e.Kind != RunDone) {
			l.state = stopped
			l.detail = l.phase
			continue
		}
		l.state = finished
		l.detail = changes(l.changes)
	}
	b.over = true
}

// render returns the lines of at most rows hosts: when there are more, those with something to
// tell, and a count of the others.
func (b *board) render(now time.Time, rows int) []string {
	shown := b.lines
	var rest string
	switch {
	case rows <= 0:
		return nil
	case len(shown) > rows:
		shown, rest = b.pick(rows - 1)
	}
	hostWidth, phaseWidth := 0, len("finished")
	for _, l := range shown {
		hostWidth = max(hostWidth, len(l.name()))
		phaseWidth = max(phaseWidth, len(l.phase))
	}
	out := make([]string, 0, len(shown)+1)
	for _, l := range shown {
		word, took := l.word(b.started, now)
		line := fmt.Sprintf("%-*s  %-*s  %7s  %s", hostWidth, l.name(), phaseWidth, word, Elapsed(took), l.detail)
		out = append(out, strings.TrimRight(line, " "))
	}
	if rest != "" {
		out = append(out, rest)
	}
	return out
}

// pick chooses the lines worth a row: failed ones, then those at work, in the order of the board.
func (b *board) pick(rows int) (shown []*hostLine, rest string) {
	worth := slices.Clone(b.lines)
	slices.SortStableFunc(worth, func(x, y *hostLine) int { return y.state.weight() - x.state.weight() })
	shown, hidden := worth[:rows], worth[rows:]
	slices.SortFunc(shown, func(x, y *hostLine) int { return strings.Compare(x.host, y.host) })
	count := make(map[hostState]int)
	for _, l := range hidden {
		count[l.state]++
	}
	var parts []string
	for _, s := range []hostState{failed, running, idle, stopped, finished} {
		if n := count[s]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
	}
	return shown, fmt.Sprintf("and %d more: %s", len(hidden), strings.Join(parts, ", "))
}

func (s hostState) weight() int {
	switch s {
	case failed:
		return 3
	case running:
		return 2
	case idle, stopped:
		return 1
	case finished:
		return 0
	default:
		return 0
	}
}

func (s hostState) String() string {
	switch s {
	case running:
		return "running"
	case finished:
		return "done"
	case stopped:
		return "stopped"
	case failed:
		return "failed"
	case idle:
		return "ready"
	default:
		return "unknown"
	}
}

func (l *hostLine) name() string {
	if l.host == "" {
		return clusterLine
	}
	return l.host
}

// word returns what the host is at, and for how long: in a phase since the phase began, at the
// end since the run began.
func (l *hostLine) word(started, now time.Time) (string, time.Duration) {
	switch l.state {
	case running:
		return l.phase, now.Sub(l.since)
	case idle:
		return l.state.String(), now.Sub(l.since)
	case finished, stopped, failed:
		return l.state.String(), l.ended.Sub(started)
	default:
		return l.state.String(), 0
	}
}
