package trace

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"kubewright/internal/fault"
)

// chromeTrace is a document in the Trace Event Format, which Perfetto and chrome://tracing open.
type chromeTrace struct {
	TraceEvents     []chromeEvent     `json:"traceEvents"`
	DisplayTimeUnit string            `json:"displayTimeUnit"`
	OtherData       map[string]string `json:"otherData"`
}

// chromeEvent is a complete event (X), an instant (i), or metadata (M). Times are microseconds.
type chromeEvent struct {
	Name     string         `json:"name"`
	Category string         `json:"cat,omitempty"`
	Type     string         `json:"ph"`
	At       float64        `json:"ts"`
	Took     *float64       `json:"dur,omitempty"`
	Process  int            `json:"pid"`
	Thread   int            `json:"tid"`
	Scope    string         `json:"s,omitempty"`
	Args     map[string]any `json:"args,omitempty"`
}

// clusterProcess is the one process of a trace.
const clusterProcess = 1

// WriteChrome writes the run as JSON in the Trace Event Format: the cluster is the process, each host a thread.
// What overlaps on a host without being nested is on further threads of it. The critical path is the first thread.
func (r *Run) WriteChrome(w io.Writer) error {
	c := chromeTrace{DisplayTimeUnit: "ms", OtherData: map[string]string{
		"command": r.Line, "kubewright": r.Version, "kubernetes": r.Kubernetes,
		"started": r.Started.UTC().Format(time.RFC3339Nano), "outcome": r.Outcome(),
	}}
	c.name("process_name", 0, cmp.Or(r.Cluster, "cluster"))
	c.thread(0, "critical path")
	for _, l := range r.CriticalPath() {
		c.span(0, Span{Kind: l.Kind, Place: l.Place, Name: l.Name, Start: l.Start, End: l.End})
	}
	thread := 0
	first := map[string]int{}
	for _, l := range r.Lanes {
		for i, row := range nested(l.Spans) {
			thread++
			name := laneName(l.Host)
			if i > 0 {
				name += " (" + strconv.Itoa(i+1) + ")"
			} else {
				first[l.Host] = thread
			}
			c.thread(thread, name)
			for _, s := range row {
				c.span(thread, s)
			}
		}
	}
	for _, l := range r.Lanes {
		for _, change := range l.Changes {
			if change.Took == 0 {
				c.instant(first[l.Host], chromeEvent{Name: change.Resource, Category: "change", At: micros(change.At), Args: map[string]any{"how": change.How}})
			}
		}
	}
	for _, n := range r.Notes {
		category := "notice"
		if n.Warning {
			category = "warning"
		}
		c.instant(first[n.Host], chromeEvent{Name: n.Text, Category: category, At: micros(n.At)})
	}
	if err := json.NewEncoder(w).Encode(c); err != nil {
		return fmt.Errorf("write the trace: %w", err)
	}
	return nil
}

func (c *chromeTrace) name(what string, thread int, name string) {
	c.TraceEvents = append(c.TraceEvents, chromeEvent{
		Name: what, Type: "M", Process: clusterProcess, Thread: thread, Args: map[string]any{"name": name},
	})
}

// thread names a thread, and has it stand where its number says.
func (c *chromeTrace) thread(thread int, name string) {
	c.name("thread_name", thread, name)
	c.TraceEvents = append(c.TraceEvents, chromeEvent{
		Name: "thread_sort_index", Type: "M", Process: clusterProcess, Thread: thread, Args: map[string]any{"sort_index": thread},
	})
}

func (c *chromeTrace) span(thread int, s Span) {
	args := map[string]any{"host": laneName(s.Host)}
	for key, value := range s.Attrs {
		args[key] = value
	}
	add := func(key, value string) {
		if value != "" {
			args[key] = value
		}
	}
	add("phase", s.Phase)
	add("detail", s.Detail)
	if s.Changes > 0 {
		args["changes"] = s.Changes
	}
	if s.Err != nil {
		add("error", s.Err.Error())
		if hints := fault.Hints(s.Err); len(hints) > 0 {
			args["hints"] = hints
		}
	}
	if s.Open {
		args["cut"] = true
	}
	took := micros(s.Took())
	c.TraceEvents = append(c.TraceEvents, chromeEvent{
		Name: spanText(s.Kind, s.Name), Category: string(s.Kind), Type: "X", At: micros(s.Start), Took: &took,
		Process: clusterProcess, Thread: thread, Args: args,
	})
}

// instant adds what took no time.
func (c *chromeTrace) instant(thread int, e chromeEvent) {
	e.Type, e.Process, e.Thread, e.Scope = "i", clusterProcess, thread, "t"
	c.TraceEvents = append(c.TraceEvents, e)
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// laneName is what a lane is called.
func laneName(host string) string { return cmp.Or(host, "cluster") }

// spanText is the name of a span in words.
func spanText(kind Kind, name string) string {
	if kind == Wait {
		return "waiting for " + name
	}
	return name
}

// nested sorts spans into as few rows as it takes for those of a row to be nested, or apart.
func nested(spans []Span) [][]Span {
	var rows [][]Span
	var stacks [][]time.Duration // the ends of what is under way in each row
	for _, s := range slices.SortedStableFunc(slices.Values(spans), func(x, y Span) int {
		return cmp.Or(cmp.Compare(x.Start, y.Start), cmp.Compare(y.End, x.End), cmp.Compare(x.Kind.rank(), y.Kind.rank()))
	}) {
		row := 0
		for ; row < len(rows); row++ {
			stack := stacks[row]
			for len(stack) > 0 && stack[len(stack)-1] <= s.Start {
				stack = stack[:len(stack)-1]
			}
			stacks[row] = stack
			if len(stack) == 0 || s.End <= stack[len(stack)-1] {
				break
			}
		}
		if row == len(rows) {
			rows, stacks = append(rows, nil), append(stacks, nil)
		}
		rows[row], stacks[row] = append(rows[row], s), append(stacks[row], s.End)
	}
	return rows
}
