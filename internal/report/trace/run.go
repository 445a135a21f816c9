// Package trace tells from the events of a run, once it is over, where its time went: spans, the critical
// path, a trace for the viewers of browsers, and a page for people.
//
// It is pure: events in, values and documents out. What comes from hosts may be anything; it is data, and
// shown as such.
package trace

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"kubewright/internal/fault"
	"kubewright/internal/report"
)

// Cluster is the lane of what concerns no single host.
const Cluster = ""

// Attributes of the notice that begins the record of a run.
const (
	AttrCluster    = "cluster"    // the cluster's name
	AttrVersion    = "version"    // kubewright's
	AttrKubernetes = "kubernetes" // the version that is wanted
)

// Kind says what a [Span] is.
type Kind string

// The kinds of spans. Where several are under way on a lane, the later in this list says more of what the
// lane is at.
const (
	Command  Kind = "command"  // a command on a host, or work of kubewright itself
	Phase    Kind = "phase"    // a phase
	Wait     Kind = "wait"     // waiting for something, or for others
	Resource Kind = "resource" // one thing that was changed, within a phase
)

// Place is a lane, and where it matters the phase.
type Place struct{ Host, Phase string }

// Span is something that took time. Start and End are counted from the beginning of the run.
type Span struct {
	Kind  Kind
	Place        // the host is "" for the cluster, the phase is "" outside of phases
	Name  string // the phase, the command, the resource, or what was waited for
	Start time.Duration
	End   time.Duration
	// After is whom a wait was for: it ended when that was done. It is nil for what no lane of the run does,
	// such as the start of an API server.
	After *Place
	// Detail is what was known last of what was waited for.
	Detail string
	// Changes counts the resources that a phase has changed.
	Changes int
	// Open is set where the run ended first.
	Open  bool
	Err   error
	Attrs map[string]string
}

// Took is the length of the span.
func (s Span) Took() time.Duration { return s.End - s.Start }

// Lane is a host, or the cluster: what happened there, in the order of the beginnings.
type Lane struct {
	Host    string
	Roles   []string
	Spans   []Span
	Changes []Change
	Failed  bool
}

// Change is a resource that was made true.
type Change struct {
	Place
	Resource string
	How      string // "" where there is only one way
	At       time.Duration
	Took     time.Duration // 0 where it was not measured
}

// Note is a warning or another message.
type Note struct {
	Place
	At      time.Duration
	Text    string
	Warning bool
}

// Failure is an error, with what to do about it.
type Failure struct {
	Place
	At    time.Duration
	Err   error
	Hints []string
}

// Run is what is known of a run afterwards.
type Run struct {
	// What is the work, such as "apply"; Line the command line, where it was recorded.
	What, Line                   string
	Cluster, Version, Kubernetes string
	Started                      time.Time
	// Took is the time from the first event to the last.
	Took time.Duration
	// Ended is false when the record stops before the run did: it was killed, or is still at work.
	Ended bool
	// Err is why the run failed.
	Err error
	// Lanes begin with the cluster, where it has any; then come control planes, hosts of etcd, workers, each by
	// name.
	Lanes    []Lane
	Phases   []report.PhaseTime // in the order in which they began
	Notes    []Note
	Failures []Failure
}

// Outcome says in a word how the run ended: done, failed, interrupted or cut, which is not known to have ended.
func (r *Run) Outcome() string {
	switch {
	case !r.Ended:
		return "cut"
	case r.Err == nil:
		return "done"
	case fault.KindOf(r.Err) == fault.Interrupted:
		return "interrupted"
	default:
		return "failed"
	}
}

// Changes counts what was changed.
func (r *Run) Changes() int {
	n := 0
	for _, l := range r.Lanes {
		n += len(l.Changes)
	}
	return n
}

// Hosts counts the hosts that the run had to do with.
func (r *Run) Hosts() int {
	return len(slices.DeleteFunc(slices.Clone(r.Lanes), func(l Lane) bool { return l.Host == Cluster }))
}

// New reads the events of a run, in the order in which they were emitted. There may be anything in them, in
// any order; what does not fit together is cut to the length of the run.
func New(events []report.Event) *Run {
	b := builder{run: &Run{}, lanes: map[string]*Lane{}, open: map[Place]Span{}, waits: map[Place][]Span{}, changes: map[Place]int{}, failing: map[string]string{}}
	if len(events) == 0 {
		return b.run
	}
	b.run.Started = slices.MinFunc(events, func(x, y report.Event) int { return x.Time.Compare(y.Time) }).Time
	for _, e := range events {
		b.run.Took = max(b.run.Took, b.at(e))
	}
	var times report.PhaseTimes
	for _, e := range events {
		b.take(e)
		times.Emit(e)
	}
	b.finish()
	b.run.Phases = times.Times()
	return b.run
}

// builder makes a run of events.
type builder struct {
	run     *Run
	lanes   map[string]*Lane
	open    map[Place]Span    // phases that have begun
	waits   map[Place][]Span  // waits that were spoken of
	changes map[Place]int     // of the phases that have begun
	failing map[string]string // by host, the phase that failed
	begun   int
	ended   int
}

// longestRun is what a run may take. Where it seems to have taken more, a clock was set meanwhile.
const longestRun = 90 * 24 * time.Hour

// at is when an event was, in the time of the run.
func (b *builder) at(e report.Event) time.Duration {
	return min(max(e.Time.Sub(b.run.Started), 0), longestRun)
}

func (b *builder) lane(host string) *Lane {
	l := b.lanes[host]
	if l == nil {
		l = &Lane{Host: host}
		b.lanes[host] = l
	}
	return l
}

// add puts what ended with an event onto its lane.
func (b *builder) add(kind Kind, e report.Event, name string) *Span {
	end := b.at(e)
	l := b.lane(e.Host)
	l.Spans = append(l.Spans, Span{
		Kind: kind, Place: Place{e.Host, e.Phase}, Name: name, Start: max(end-max(e.Duration, 0), 0), End: end, Err: e.Err, Attrs: e.Attrs,
	})
	return &l.Spans[len(l.Spans)-1]
}

func (b *builder) take(e report.Event) {
	at := Place{e.Host, e.Phase}
	switch e.Kind {
	case report.RunStarted:
		b.begun++
		b.run.What = cmp.Or(b.run.What, e.Message)
	case report.RunDone:
		b.ended++
		b.run.Err = cmp.Or(e.Err, b.run.Err)
	case report.HostConnected:
		b.lane(e.Host).Roles = strings.Split(e.Attrs["roles"], ",")
		b.add(Command, e, "connect")
	case report.HostFailed:
		b.lane(e.Host).Failed = true
		b.fail(e)
		b.close(e.Host, b.at(e))
	case report.PhaseStarted:
		b.lane(e.Host)
		b.open[at] = Span{Kind: Phase, Place: at, Name: e.Phase, Start: b.at(e)}
		b.changes[at] = 0
	case report.PhaseDone:
		b.phaseDone(at, e)
	case report.ResourceChanged:
		b.changed(at, e)
	case report.Waiting:
		b.lane(e.Host)
		b.waits[at] = append(b.waits[at], Span{Kind: Wait, Place: at, Name: e.Message, Start: b.at(e)})
	case report.WaitDone:
		b.waitDone(at, e)
	case report.Exec:
		b.add(Command, e, e.Message)
	case report.Notice, report.Warning:
		b.note(at, e)
	}
}

func (b *builder) phaseDone(at Place, e report.Event) {
	began, known := b.open[at]
	s := b.add(Phase, e, e.Phase)
	if known && e.Duration <= 0 {
		s.Start = min(began.Start, s.End)
	}
	s.Changes = b.changes[at]
	delete(b.open, at)
	delete(b.changes, at)
	switch {
	case e.Err == nil:
	case e.Host == Cluster:
		b.lane(Cluster).Failed = true
		b.fail(e)
	default: // why, is told when the host is given up
		b.failing[e.Host] = e.Phase
	}
}

func (b *builder) changed(at Place, e report.Event) {
	b.changes[at]++
	l := b.lane(e.Host)
	l.Changes = append(l.Changes, Change{Place: at, Resource: e.Resource, How: e.Message, At: b.at(e), Took: max(e.Duration, 0)})
	if e.Duration > 0 {
		b.add(Resource, e, e.Resource)
	}
}

// waitDone ends a wait, and all that was said of it meanwhile: that begins with what is waited for.
func (b *builder) waitDone(at Place, e report.Event) {
	s := b.add(Wait, e, e.Message)
	if host, ok := e.Attrs[report.AfterHost]; ok {
		s.After = &Place{host, e.Attrs[report.AfterPhase]}
	}
	b.waits[at] = slices.DeleteFunc(b.waits[at], func(said Span) bool {
		detail, of := report.WaitDetail(said.Name, e.Message)
		s.Detail = cmp.Or(detail, s.Detail)
		return of
	})
}

func (b *builder) note(at Place, e report.Event) {
	if cluster, first := e.Attrs[AttrCluster]; first && b.begun == 0 && b.run.Line == "" {
		b.run.Line, b.run.Cluster, b.run.Version, b.run.Kubernetes = e.Message, cluster, e.Attrs[AttrVersion], e.Attrs[AttrKubernetes]
		return
	}
	text := e.Message
	if e.Err != nil {
		text = strings.TrimPrefix(text+": "+e.Err.Error(), ": ")
	}
	b.run.Notes = append(b.run.Notes, Note{Place: at, At: b.at(e), Text: text, Warning: e.Kind == report.Warning})
}

// fail notes a failure once, however often it is told.
func (b *builder) fail(e report.Event) {
	if e.Err == nil || slices.ContainsFunc(b.run.Failures, func(f Failure) bool { return f.Host == e.Host && f.Err.Error() == e.Err.Error() }) {
		return
	}
	b.run.Failures = append(b.run.Failures, Failure{Place{e.Host, cmp.Or(e.Phase, b.failing[e.Host])}, b.at(e), e.Err, fault.Hints(e.Err)})
}

// close ends what is open on a host, which goes on no more.
func (b *builder) close(host string, end time.Duration) {
	for at, s := range b.open {
		if at.Host == host {
			s.End, s.Open, s.Changes = max(end, s.Start), true, b.changes[at]
			b.lanes[host].Spans = append(b.lanes[host].Spans, s)
			delete(b.open, at)
		}
	}
	for at, all := range b.waits {
		if at.Host != host {
			continue
		}
		seen := map[string]bool{}
		for _, s := range all {
			name, detail, _ := strings.Cut(s.Name, ": ") // all that was said of one thing is one wait
			if seen[name] {
				continue
			}
			seen[name] = true
			s.Name, s.Detail, s.End, s.Open = name, detail, max(end, s.Start), true
			b.lanes[host].Spans = append(b.lanes[host].Spans, s)
		}
		delete(b.waits, at)
	}
}

func (b *builder) finish() {
	r := b.run
	r.Ended = b.ended > 0 && b.ended >= b.begun
	for host, l := range b.lanes {
		b.close(host, r.Took)
		slices.SortStableFunc(l.Spans, func(x, y Span) int {
			return cmp.Or(cmp.Compare(x.Start, y.Start), cmp.Compare(y.End, x.End), strings.Compare(x.Name, y.Name),
				cmp.Compare(x.Kind, y.Kind), strings.Compare(x.Phase, y.Phase))
		})
		r.Lanes = append(r.Lanes, *l)
	}
	slices.SortFunc(r.Lanes, func(x, y Lane) int {
		return cmp.Or(cmp.Compare(x.rank(), y.rank()), natural(x.Host, y.Host))
	})
	if r.Err != nil && len(r.Failures) == 0 {
		r.Failures = []Failure{{At: r.Took, Err: r.Err, Hints: fault.Hints(r.Err)}}
	}
}

// rank is the place of a lane among the others.
func (l Lane) rank() int {
	if l.Host == Cluster {
		return 0
	}
	for i, role := range []string{"control-plane", "etcd", "worker"} {
		if slices.Contains(l.Roles, role) {
			return i + 1
		}
	}
	return 9
}

// natural compares names so that node2 comes before node10.
func natural(a, b string) int {
	for x, y := a, b; ; {
		textX, digitsX, restX := cutNumber(x)
		textY, digitsY, restY := cutNumber(y)
		c := cmp.Or(strings.Compare(textX, textY), cmp.Compare(len(digitsX), len(digitsY)), strings.Compare(digitsX, digitsY))
		if c != 0 {
			return c
		}
		if digitsX == "" {
			return strings.Compare(a, b)
		}
		x, y = restX, restY
	}
}

// cutNumber cuts a name after its first number.
func cutNumber(s string) (text, digits, rest string) {
	const numerals = "0123456789"
	i := strings.IndexAny(s, numerals)
	if i < 0 {
		return s, "", ""
	}
	digits = s[i:]
	if end := strings.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' }); end >= 0 {
		digits, rest = digits[:end], digits[end:]
	}
	return s[:i], digits, rest
}
