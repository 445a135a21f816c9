package trace

import (
	"cmp"
	"slices"
	"time"
)

// Own is the name of a leg in which no span is under way: kubewright computes, or closes its connections.
const Own = "kubewright itself"

// Leg is a stretch of the critical path: what a lane was at. Start and End are counted from the beginning of
// the run.
type Leg struct {
	Kind Kind // "" for Own
	Place
	Name       string
	Start, End time.Duration
}

// Took is the length of the leg.
func (l Leg) Took() time.Duration { return l.End - l.Start }

// CriticalPath is the chain of what each waited for the one before: had one of its legs been shorter, the run
// would have been, until another chain is the longest. Its legs follow each other in time, without gaps, from the
// beginning of the run to its end.
//
// It is found backwards. From the end of what ended last, the lane is followed into the past:
//
//   - Where a wait is met that others of the run ended, the path goes on with the lane that did, at what had
//     ended there by then: the wait had no part in how long it took.
//   - Any other wait is a leg: what is waited for, such as the start of an API server, no lane does.
//   - Within a phase, waits come before the phase, and a phase before the command that it is a part of: the
//     innermost tells most. Of several waits at once, the last to end held up the lane, and it alone is a leg.
//   - Where nothing is under way, the lane had nothing to do, or kubewright computed. All lanes begin after steps of
//     the whole run, such as the plan: if one of these ended later than what the lane did before, the path goes on
//     there.
func (r *Run) CriticalPath() []Leg {
	p := path{run: r, lanes: map[string][]Span{}, followed: map[int]bool{}}
	for _, l := range r.Lanes {
		if l.Host == Cluster {
			p.steps = runSteps(l.Spans)
		}
		p.lanes[l.Host] = slices.DeleteFunc(slices.Clone(l.Spans), func(s Span) bool { return s.Kind == Resource || s.Took() == 0 })
	}
	at := r.Took
	host := p.last(at).Host
	for at > 0 {
		host, at = p.back(host, at)
	}
	slices.Reverse(p.legs)
	return p.merged()
}

// path is a critical path that is being found.
type path struct {
	run   *Run
	lanes map[string][]Span // without resources, and what took no time
	steps []Span            // of the whole run
	legs  []Leg             // the last first
	// followed are the waits that have led to another lane, by their place in the lane of their host: none does
	// so twice, whatever the record says.
	followed map[int]bool
}

// back is one step into the past.
func (p *path) back(host string, at time.Duration) (string, time.Duration) {
	spans := p.lanes[host]
	i, found := underWay(spans, at)
	if !found {
		before := p.before(host, at)
		p.leg(Leg{Place: Place{Host: host}, Name: Own, Start: before.End, End: at})
		return before.Host, before.End
	}
	s := spans[i]
	if key := p.key(host, i); s.After != nil && !p.followed[key] {
		p.followed[key] = true
		if by, ok := endedLast(p.lanes[s.After.Host], at); ok && by.End > s.Start {
			p.leg(Leg{Kind: s.Kind, Place: s.Place, Name: s.Name, Start: by.End, End: at})
			return s.After.Host, by.End
		}
	}
	from := s.Start
	for _, inner := range spans {
		if inner.Kind.rank() > s.Kind.rank() && inner.End < at {
			from = max(from, inner.End)
		}
	}
	p.leg(Leg{Kind: s.Kind, Place: s.Place, Name: s.Name, Start: from, End: at})
	return host, from
}

// key tells spans of all lanes apart.
func (p *path) key(host string, i int) int {
	for j, l := range p.run.Lanes {
		if l.Host == host {
			return j + i*len(p.run.Lanes)
		}
	}
	return -1
}

func (p *path) leg(l Leg) {
	if l.End > l.Start {
		p.legs = append(p.legs, l)
	}
}

// rank orders kinds by how much they say of what a lane is at.
func (k Kind) rank() int {
	switch k {
	case Wait:
		return 2
	case Phase:
		return 1
	default:
		return 0
	}
}

// underWay finds the span that tells best what goes on right before a moment.
func underWay(spans []Span, at time.Duration) (best int, found bool) {
	for i, s := range spans {
		if s.Start >= at || s.End < at {
			continue
		}
		b := spans[best]
		if !found || cmp.Or(cmp.Compare(b.Kind.rank(), s.Kind.rank()), cmp.Compare(s.End, b.End), cmp.Compare(s.Start, b.Start)) < 0 {
			best, found = i, true
		}
	}
	return best, found
}

// endedLast is the span that ended last by some moment.
func endedLast(spans []Span, at time.Duration) (last Span, found bool) {
	for _, s := range spans {
		if s.End <= at && (!found || s.End > last.End) {
			last, found = s, true
		}
	}
	return last, found
}

// last is what ended last on any lane by some moment; of those that ended together, on the first lane. The zero
// span is the beginning of the run.
func (p *path) last(at time.Duration) Span {
	var last Span
	for _, l := range p.run.Lanes {
		if s, ok := endedLast(p.lanes[l.Host], at); ok && s.End > last.End {
			last = s
		}
	}
	return last
}

// before is what a lane comes after that has nothing under way.
func (p *path) before(host string, at time.Duration) Span {
	own, known := endedLast(p.lanes[host], at)
	if step, ok := endedLast(p.steps, at); ok && host != Cluster && (!known || step.End > own.End) {
		return step
	}
	if known {
		return own
	}
	return p.last(at)
}

// runSteps are the steps of the whole run: what is on the lane of the cluster and no part of a phase, nor a
// wait for one.
func runSteps(cluster []Span) []Span {
	return slices.DeleteFunc(slices.Clone(cluster), func(s Span) bool {
		return s.Phase != "" || (s.After != nil && s.After.Phase != "") || slices.ContainsFunc(cluster, func(outer Span) bool {
			return outer.Kind == Phase && outer.Start < s.End && s.End <= outer.End
		})
	})
}

// merged joins legs that follow each other and are the same.
func (p *path) merged() []Leg {
	var out []Leg
	for _, l := range p.legs {
		if n := len(out) - 1; n >= 0 && out[n].Kind == l.Kind && out[n].Place == l.Place && out[n].Name == l.Name {
			out[n].End = l.End
			continue
		}
		out = append(out, l)
	}
	return out
}
