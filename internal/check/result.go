package check

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// Severity says what a result means for the run.
type Severity int

// The severities, in rising order.
const (
	Info   Severity = iota + 1 // nothing is wrong
	Warn                       // worth looking at; the run goes on
	Refuse                     // the run stops before it changes anything
)

// String returns "info", "warn" or "refuse"; "ok" for the zero value.
func (s Severity) String() string {
	switch s {
	case Info:
		return "info"
	case Warn:
		return "warn"
	case Refuse:
		return "refuse"
	default:
		return "ok"
	}
}

// Result is one thing that a check found.
type Result struct {
	Check    string
	Host     string // "" when it concerns the cluster as a whole
	Severity Severity
	Message  string // what was found
	Remedy   string // what to do about it; may be ""
	// Ignored results come from a check that the user chose to ignore. They are
	// shown, and do not count.
	Ignored bool
}

// String returns the result as one line, for example
// "refuse worker1: ports: 6443/tcp is taken by haproxy; stop it".
func (r Result) String() string {
	severity, text := r.columns()
	return severity + " " + text
}

func (r Result) columns() (severity, text string) {
	severity = r.Severity.String()
	if r.Ignored {
		severity += " (ignored)"
	}
	text = r.Check + ": " + r.Message
	if r.Host != "" {
		text = r.Host + ": " + text
	}
	if r.Remedy != "" {
		text += "; " + r.Remedy
	}
	return severity, text
}

// Text returns the results one on a line, those that say the same about several hosts on one
// line together; "" when there are none.
func Text(results []Result) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, r := range Grouped(results) {
		severity, text := r.columns()
		fmt.Fprintln(w, severity+"\t"+text)
	}
	w.Flush() // a strings.Builder does not fail
	return b.String()
}

// Worst returns the highest severity among the results that are not ignored; 0
// when there is none.
func Worst(results []Result) Severity {
	var worst Severity
	for _, r := range results {
		if !r.Ignored {
			worst = max(worst, r.Severity)
		}
	}
	return worst
}
