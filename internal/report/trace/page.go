package trace

import (
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"

	"kubewright/internal/report"
)

//go:embed page.html
var pageTemplate string

//go:embed page.css
var pageStyle string

// How much a page shows of what there may be thousands of; all of it is in the record.
const (
	mostSteps   = 12
	mostNotes   = 200
	mostChanges = 5000
	leastShare  = 0.01 // of the run; what is shorter on the critical path is told together
	leastStep   = 50 * time.Millisecond
)

// WritePage writes the run as one HTML page that needs nothing else: no script, no network. name is what the
// run is called, such as the name of its record.
func (r *Run) WritePage(w io.Writer, name string) error {
	page, err := template.New("page").Funcs(template.FuncMap{"took": report.Elapsed, "line": report.OneLine}).Parse(pageTemplate)
	if err != nil {
		return fmt.Errorf("the template of the page: %w", err)
	}
	if err := page.Execute(w, r.view(name)); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	return nil
}

// view is what the template shows.
type view struct {
	// Policy lets the browser use the one style of the page, and nothing else from anywhere.
	Policy               string
	Style                template.CSS
	Title, Line          string
	Outcome, OutcomeText string
	Tiles                []tile
	Failures             []failureView
	Path                 *pathView
	Chart                *chart
	Phases               []report.PhaseTime
	Steps, Waits         []stepView
	Hosts                []hostView
	Changes              []changesView
	ChangesHidden        int
	Warnings, Notices    notes
	Footer               string
}

// notes are as many as there is room for.
type notes struct {
	Shown  []Note
	Hidden int
}

func (n *notes) add(note Note) {
	if len(n.Shown) < mostNotes {
		n.Shown = append(n.Shown, note)
	} else {
		n.Hidden++
	}
}

type tile struct{ Name, Value string }

type failureView struct {
	Where, Text string
	At          time.Duration
	Hints       []string
}

type stepView struct {
	Where, Phase, What, Detail string
	At, Took                   time.Duration
}

type hostView struct {
	Name, Roles   string
	Failed        bool
	Busy, Waiting time.Duration
	Changes       int
	Phases        []Span
}

type changesView struct {
	Name   string
	Count  int
	Phases []phaseChanges
}

type phaseChanges struct {
	Name      string
	Resources []string
}

// pathView is the critical path in words.
type pathView struct {
	Longest legView
	Shares  string
	Rows    []legView
}

type legView struct {
	Where, What, Percent string
	At, Took             time.Duration
	X, W                 px
	Minor                bool
}

func (r *Run) view(name string) view {
	digest := sha256.Sum256([]byte(pageStyle))
	v := view{
		Policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(digest[:]) + "'; base-uri 'none'; form-action 'none'",
		Style:  template.CSS(pageStyle),
		Title:  report.OneLine(strings.TrimSpace(r.What + " of " + cmp.Or(r.Cluster, "a cluster"))),
		Line:   r.Line, Outcome: r.Outcome(), Phases: r.Phases,
		Footer: "Made by kubewright of the record " + report.OneLine(name) + ". A trace of it for Perfetto: kubewright report RUN --trace FILE",
	}
	if v.OutcomeText = v.Outcome; !r.Ended {
		v.OutcomeText = "the record ends early"
	}
	for _, n := range r.Notes {
		if n.Warning {
			v.Warnings.add(n)
		} else {
			v.Notices.add(n)
		}
	}
	v.Tiles = []tile{
		{"Took", report.Elapsed(r.Took)},
		{"Began", r.Started.UTC().Format("2006-01-02 15:04:05") + " UTC"},
		{"Hosts", fmt.Sprint(r.Hosts())},
		{"Changes", fmt.Sprint(r.Changes())},
		{"Warnings", fmt.Sprint(len(v.Warnings.Shown) + v.Warnings.Hidden)},
	}
	for _, t := range []tile{{"Kubernetes", r.Kubernetes}, {"kubewright", r.Version}} {
		if t.Value != "" {
			v.Tiles = append(v.Tiles, t)
		}
	}
	for _, f := range r.Failures {
		v.Failures = append(v.Failures, failureView{Where: where(f.Place), Text: paragraphs(f.Err.Error()), At: f.At, Hints: f.Hints})
	}
	legs := r.CriticalPath()
	v.Path, v.Chart = r.pathView(legs), r.chart(legs)
	v.Steps, v.Waits = r.slowest()
	for _, l := range r.Lanes {
		v.Hosts = append(v.Hosts, l.view())
	}
	v.Changes, v.ChangesHidden = r.changes()
	return v
}

// where names a lane and the phase on it.
func where(p Place) string {
	if p.Phase == "" {
		return laneName(p.Host)
	}
	return laneName(p.Host) + " · " + p.Phase
}

// paragraphs is text of several lines, each of which only prints.
func paragraphs(s string) string {
	var out []string
	for line := range strings.Lines(s) {
		out = append(out, report.OneLine(line))
	}
	return strings.Join(out, "\n")
}

func percent(part, whole time.Duration) string {
	switch {
	case whole <= 0 || part <= 0:
		return "0%"
	case part < whole/200:
		return "<1%"
	}
	return fmt.Sprintf("%.0f%%", 100*float64(part)/float64(whole))
}

// what says what a leg is.
func (l Leg) what() string {
	switch l.Kind {
	case "":
		return l.Name
	case Phase:
		return "the phase itself"
	default:
		return spanText(l.Kind, l.Name)
	}
}

// pathView tells the critical path; nil for a run that took no time.
func (r *Run) pathView(legs []Leg) *pathView {
	if len(legs) == 0 {
		return nil
	}
	const width = 150 // pixels of the bar in each row
	scale := func(d time.Duration) px { return px(width * float64(d) / float64(r.Took)) }
	p := &pathView{}
	shares := map[Kind]time.Duration{}
	short := func(l Leg) bool { return float64(l.Took()) < leastShare*float64(r.Took) }
	for i := 0; i < len(legs); {
		n := 1
		for short(legs[i]) && i+n < len(legs) && short(legs[i+n]) {
			n++
		}
		row := rowOf(legs[i : i+n])
		row.Minor = short(legs[i])
		for _, l := range legs[i : i+n] {
			shares[l.Kind] += l.Took()
		}
		i += n
		if row.Minor && row.Took < r.Took/1000 {
			continue // a blink between two others
		}
		row.Percent, row.X, row.W = percent(row.Took, r.Took), scale(row.At), max(scale(row.Took), 1)
		if !row.Minor && row.Took > p.Longest.Took {
			p.Longest = row
		}
		p.Rows = append(p.Rows, row)
	}
	p.Shares = fmt.Sprintf("Of it, %s are phases, %s waiting for what is no step of the run, %s looks and other commands, and %s kubewright itself.",
		percent(shares[Phase], r.Took), percent(shares[Wait], r.Took), percent(shares[Command], r.Took), percent(shares[""], r.Took))
	return p
}

// rowOf tells of legs that follow each other, which are one, or several short ones.
func rowOf(legs []Leg) legView {
	first := legs[0]
	row := legView{At: first.Start, Took: legs[len(legs)-1].End - first.Start}
	if len(legs) == 1 {
		row.Where, row.What = where(first.Place), first.what()
		return row
	}
	var hosts, phases []string
	for _, l := range legs {
		if host := laneName(l.Host); !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
		if l.Phase != "" && !slices.Contains(phases, l.Phase) {
			phases = append(phases, l.Phase)
		}
	}
	row.Where, row.What = strings.Join(hosts, ", "), fmt.Sprintf("%d short steps", len(legs))
	if len(phases) > 0 {
		row.What += ": " + strings.Join(phases, ", ")
	}
	return row
}

// slowest lists what took longest: steps, and waits for what no lane of the run does.
func (r *Run) slowest() (steps, waits []stepView) {
	var work, waiting []Span
	for _, l := range r.Lanes {
		for _, s := range l.Spans {
			switch {
			case s.Took() < leastStep:
			case s.Kind == Wait && s.After == nil:
				waiting = append(waiting, s)
			case s.Kind == Resource, s.Kind == Command && s.tells() && l.Host != Cluster:
				work = append(work, s)
			}
		}
	}
	return longest(work), longest(waiting)
}

// tells says of a command whether its time is its own: that of an act is the sum of its steps, and to listen
// lasts as long as others connect.
func (s Span) tells() bool { return !strings.HasPrefix(s.Name, "act ") && s.Name != "listen" }

func longest(spans []Span) []stepView {
	slices.SortStableFunc(spans, func(x, y Span) int { return cmp.Compare(y.Took(), x.Took()) })
	var out []stepView
	for _, s := range spans[:min(len(spans), mostSteps)] {
		out = append(out, stepView{Where: laneName(s.Host), Phase: s.Phase, What: spanText(s.Kind, s.Name), Detail: s.Detail, At: s.Start, Took: s.Took()})
	}
	return out
}

// view sums a host up.
func (l Lane) view() hostView {
	v := hostView{Name: laneName(l.Host), Roles: strings.Join(l.Roles, ", "), Failed: l.Failed, Changes: len(l.Changes)}
	var busy, waiting []Span
	for _, s := range l.Spans {
		switch s.Kind {
		case Wait:
			waiting = append(waiting, s)
		case Phase:
			v.Phases = append(v.Phases, s)
			busy = append(busy, s)
		default:
			busy = append(busy, s)
		}
	}
	v.Busy, v.Waiting = covered(busy), covered(waiting)
	return v
}

// covered is the time in which at least one of the spans, which are in the order of their beginnings, is under way.
func covered(spans []Span) time.Duration {
	var sum, end time.Duration
	for _, s := range spans {
		if s.End > end {
			sum += s.End - max(s.Start, end)
			end = s.End
		}
	}
	return sum
}

// changes lists what was changed, and counts what there is no room for.
func (r *Run) changes() (views []changesView, hidden int) {
	left := mostChanges
	for _, l := range r.Lanes {
		shown := l.Changes[:min(len(l.Changes), left)]
		left -= len(shown)
		hidden += len(l.Changes) - len(shown)
		if len(l.Changes) == 0 {
			continue
		}
		v := changesView{Name: laneName(l.Host), Count: len(l.Changes)}
		for _, c := range shown {
			i := slices.IndexFunc(v.Phases, func(p phaseChanges) bool { return p.Name == c.Phase })
			if i < 0 {
				i = len(v.Phases)
				v.Phases = append(v.Phases, phaseChanges{Name: c.Phase})
			}
			text := c.Resource
			if c.How != "" {
				text += " (" + c.How + ")"
			}
			v.Phases[i].Resources = append(v.Phases[i].Resources, text)
		}
		views = append(views, v)
	}
	return views, hidden
}

// Summary is the critical path in rows of text: where, what, how long, and the share of the run. What is short is
// told together.
func (r *Run) Summary() [][]string {
	p := r.pathView(r.CriticalPath())
	if p == nil {
		return nil
	}
	var rows [][]string
	for _, row := range p.Rows {
		rows = append(rows, []string{report.OneLine(row.Where), report.OneLine(row.What), report.Elapsed(row.Took), row.Percent})
	}
	return rows
}
