package report

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

// Elapsed renders a duration for a column that people glance at: tenths of a second below a
// minute, then minutes and seconds, then hours and minutes.
func Elapsed(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < 59950*time.Millisecond:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d.Round(time.Second) < time.Hour:
		d = d.Round(time.Second)
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	default:
		d = d.Round(time.Minute)
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
}

// OneLine makes text that came from a host fit for one line of somebody's terminal: it is Printable,
// and what space is in it, line breaks included, is one space each.
func OneLine(s string) string { return strings.Join(strings.Fields(Printable(s)), " ") }

// Printable makes text that came from a host fit for somebody's terminal: escape sequences and other
// control characters are dropped, so that what a host prints cannot move the cursor. Line breaks stay,
// tabs and the like become spaces.
func Printable(s string) string {
	var b strings.Builder
	sequence := notEscaped
	for _, r := range s {
		switch {
		case r == '\n': // also within a sequence that nobody ends
			sequence = notEscaped
			b.WriteByte('\n')
		case sequence.swallows(r):
			sequence = sequence.after(r)
		case unicode.IsSpace(r):
			b.WriteByte(' ')
		case unicode.IsControl(r), !unicode.IsPrint(r):
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// escape is how far into an ANSI control sequence ("ESC [ parameters letter") a scan is.
type escape int

const (
	notEscaped escape = iota
	escaped           // after ESC
	parameters        // after ESC [
)

// swallows says whether r is part of a sequence.
func (s escape) swallows(r rune) bool { return s != notEscaped || r == '\x1b' }

func (s escape) after(r rune) escape {
	switch {
	case r == '\x1b':
		return escaped
	case s == escaped && r == '[':
		return parameters
	case s == parameters && (r < '@' || r > '~'):
		return parameters
	default:
		return notEscaped
	}
}

// truncate shortens s to at most width columns, counting one column a rune, and shows that it did.
func truncate(s string, width int) string {
	const mark = "..."
	runes := []rune(s)
	if len(runes) <= width {
		return s
	}
	if width <= len(mark) {
		return string(runes[:max(width, 0)])
	}
	return strings.TrimRight(string(runes[:width-len(mark)]), " ") + mark
}

// join puts the parts that are not empty after one another.
func join(sep string, parts ...string) string {
	kept := make([]string, 0, len(parts))
	for _, p := range parts {
		if p != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, sep)
}

// changes renders a count of changed resources, or "" for none.
func changes(n int) string {
	switch n {
	case 0:
		return ""
	case 1:
		return "1 change"
	default:
		return fmt.Sprintf("%d changes", n)
	}
}

// reason is what an event has to say for itself: its message, its error, or both. The host is
// left out of the error, since every line begins with it.
func reason(e Event) string {
	message := OneLine(e.Message)
	if e.Err == nil {
		return message
	}
	text := OneLine(e.Err.Error())
	if e.Host != "" {
		text = strings.TrimPrefix(text, e.Host+": ")
	}
	return join(": ", message, text)
}

// WaitDetail tells whether what a [Waiting] says is about what a [WaitDone] says has ended, and what it knew
// of it. Many waits may share a host and a phase.
func WaitDetail(said, ended string) (detail string, same bool) {
	if detail, more := strings.CutPrefix(said, ended+": "); more {
		return detail, true
	}
	return "", said == ended
}

// summary is the last line of a run.
func summary(e Event) string {
	what := OneLine(e.Message)
	if e.Err != nil {
		return join(" ", join(": ", what, "failed after"), Elapsed(e.Duration))
	}
	return join(" ", join(": ", what, "done in"), Elapsed(e.Duration))
}
