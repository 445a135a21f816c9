package trace

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"kubewright/internal/report"
)

// px is a length on the page, in pixels of the chart.
type px float64

// String renders it for an attribute.
func (p px) String() string { return strconv.FormatFloat(float64(p), 'f', 1, 64) }

// chart is the timeline: a lane per host, with the critical path marked on it.
type chart struct {
	Width, Height, NameWidth, Top px
	Ticks                         []tick
	Lanes                         []laneChart
	Marks                         []bar
	Hops                          []hop
	Legend                        []legend
	// Hidden counts the hosts that have no lane, where there are very many.
	Hidden int
}

type tick struct {
	X     px
	Label string
}

type laneChart struct {
	Name                          string
	Y, H, TextY                   px
	Bars                          []bar
	Band, Failed, Critical, Small bool
}

// bar is a span; without a Class it is a text alone.
type bar struct {
	X, Y, W, H     px
	Class, Title   string
	Striped, Error bool
	Label          string
	LabelClass     string
	LabelX, LabelY px
}

// hop is where the critical path goes from one lane to another.
type hop struct{ X, Y1, Y2 px }

type legend struct{ Class, Name string }

const (
	nameWidth  px = 150
	plotWidth  px = 1050
	marginEnd  px = 16
	axisHeight px = 22
	waitHeight px = 15
	letter     px = 6.6 // about as wide as a letter of a label is
	hues          = 12  // of phases, in page.css

	mostLanes = 100
	mostWaits = 12 // of the cluster that have a row of their own
)

// chart draws the timeline; nil for a run that took no time, or did nothing.
func (r *Run) chart(legs []Leg) *chart {
	lanes := r.shownLanes(legs)
	if r.Took <= 0 || len(lanes) == 0 {
		return nil
	}
	d := drawing{run: r, classes: map[string]string{}, chart: &chart{
		Width: nameWidth + plotWidth + marginEnd, NameWidth: nameWidth - 10, Top: axisHeight - 4, Hidden: len(r.Lanes) - len(lanes),
	}}
	for _, p := range r.Phases {
		class := "p" + strconv.Itoa(len(d.classes)%hues)
		d.classes[p.Phase] = class
		d.chart.Legend = append(d.chart.Legend, legend{class, p.Phase})
	}
	d.size(len(lanes))
	onPath := map[string]bool{}
	for _, l := range legs {
		onPath[l.Host] = true
	}
	middle := map[string]px{}
	y := axisHeight
	for i, l := range lanes {
		lane := d.lane(l, y)
		lane.Band, lane.Critical = i%2 == 0, onPath[l.Host]
		d.chart.Lanes = append(d.chart.Lanes, lane)
		middle[l.Host] = y + d.gap + d.bar + 1
		y += lane.H
	}
	d.chart.Height = y + 4
	d.ticks()
	d.path(legs, middle)
	return d.chart
}

// shownLanes are all lanes; of very many, those that are on the critical path or have failed come before others.
func (r *Run) shownLanes(legs []Leg) []Lane {
	if len(r.Lanes) <= mostLanes {
		return r.Lanes
	}
	matters := func(l Lane) bool {
		return l.Failed || l.Host == Cluster || slices.ContainsFunc(legs, func(leg Leg) bool { return leg.Host == l.Host })
	}
	left := mostLanes
	for _, l := range r.Lanes {
		if matters(l) {
			left--
		}
	}
	var shown []Lane
	for _, l := range r.Lanes {
		switch {
		case matters(l):
			if len(shown) < mostLanes {
				shown = append(shown, l)
			}
		case left > 0:
			left--
			shown = append(shown, l)
		}
	}
	return shown
}

// drawing is a chart that is being made.
type drawing struct {
	run      *Run
	chart    *chart
	classes  map[string]string // of phases
	bar, gap px                // height of a bar, and what is above it
}

// size makes lanes lower where there are many.
func (d *drawing) size(lanes int) {
	switch {
	case lanes <= 14:
		d.bar, d.gap = 20, 7
	case lanes <= 40:
		d.bar, d.gap = 15, 4
	default:
		d.bar, d.gap = 10, 2
	}
}

func (d *drawing) x(at time.Duration) px {
	return nameWidth + plotWidth*px(float64(at)/float64(d.run.Took))
}

// lane draws what a lane was at: commands, on top of them phases, and on top of these waits. Below the lane of the
// cluster its longest waits have rows of their own: they are many at once.
func (d *drawing) lane(l Lane, y px) laneChart {
	lane := laneChart{Name: laneName(l.Host), Y: y, H: d.gap + d.bar + 7, TextY: y + d.gap + d.bar - max((d.bar-10)/2, 1), Failed: l.Failed, Small: d.bar < 12}
	spans := slices.SortedStableFunc(slices.Values(l.Spans), func(x, y Span) int { return cmp.Compare(x.Kind.rank(), y.Kind.rank()) })
	for _, s := range spans {
		if s.Kind == Resource {
			continue
		}
		b := d.span(s, y+d.gap, d.bar)
		if b.W < 0.3 && !b.Error {
			continue // nobody could see it
		}
		if text := report.OneLine(s.Name); s.Kind == Phase && d.bar >= 12 && letter*px(utf8.RuneCountInString(text))+8 <= b.W {
			b.Label, b.LabelX, b.LabelY, b.LabelClass = text, b.X+4, lane.TextY, "in"
		}
		lane.Bars = append(lane.Bars, b)
	}
	if l.Host == Cluster {
		for _, s := range d.longestWaits(l.Spans) {
			lane.Bars = append(lane.Bars, d.waitRow(s, y+lane.H))
			lane.H += waitHeight
		}
	}
	// What is written stands above what is painted.
	var texts []bar
	for i, b := range lane.Bars {
		if b.Class != "" && b.Label != "" {
			texts = append(texts, bar{Label: b.Label, LabelX: b.LabelX, LabelY: b.LabelY, LabelClass: b.LabelClass})
			lane.Bars[i].Label = ""
		}
	}
	lane.Bars = append(lane.Bars, texts...)
	return lane
}

// span draws one.
func (d *drawing) span(s Span, y, height px) bar {
	b := bar{X: d.x(s.Start), Y: y, W: d.x(s.End) - d.x(s.Start), H: height, Error: s.Err != nil}
	switch s.Kind {
	case Phase:
		b.Class = cmp.Or(d.classes[s.Phase], "command")
	case Wait:
		b.Class, b.Striped = "wait", true
	default:
		b.Class = "command"
	}
	b.Title = report.OneLine(fmt.Sprintf("%s: %s, %s, from %s to %s", where(s.Place), spanText(s.Kind, s.Name), report.Elapsed(s.Took()), report.Elapsed(s.Start), report.Elapsed(s.End)))
	if s.Changes > 0 {
		b.Title += fmt.Sprintf(", %d changes", s.Changes)
	}
	if s.Err != nil {
		b.Title += ": " + report.OneLine(s.Err.Error())
	}
	return b
}

// longestWaits are those of the cluster that are worth a row, in the order of their beginnings.
func (d *drawing) longestWaits(spans []Span) []Span {
	waits := slices.DeleteFunc(slices.Clone(spans), func(s Span) bool {
		return s.Kind != Wait || s.After != nil || float64(s.Took()) < 2*leastShare*float64(d.run.Took)
	})
	slices.SortStableFunc(waits, func(x, y Span) int { return cmp.Compare(y.Took(), x.Took()) })
	waits = waits[:min(len(waits), mostWaits)]
	blink := max(d.run.Took/100, 1) // what begins within it begins at once
	slices.SortStableFunc(waits, func(x, y Span) int {
		return cmp.Or(cmp.Compare(x.Start/blink, y.Start/blink), cmp.Compare(x.End, y.End))
	})
	return waits
}

// waitRow is a wait with its name: in its bar, beside it, or before it, where there is room.
func (d *drawing) waitRow(s Span, y px) bar {
	b := d.span(s, y+1, waitHeight-4)
	text := report.OneLine(s.Name)
	room := max(b.X-nameWidth, nameWidth+plotWidth-b.X-b.W) // beside the bar
	if most := int(room/letter) - 1; utf8.RuneCountInString(text) > most && most > 0 {
		text = string([]rune(text)[:most-1]) + "…"
	}
	b.Label, b.LabelY, b.LabelClass = text, y+waitHeight-5, "small"
	if width := letter * px(utf8.RuneCountInString(text)); b.X+b.W+width+4 <= nameWidth+plotWidth {
		b.LabelX = b.X + b.W + 4
	} else {
		b.LabelX, b.LabelClass = b.X-4, "small end"
	}
	return b
}

// ticks are at round times, some five to twelve of them.
func (d *drawing) ticks() {
	const most = 12
	step := d.run.Took
	for _, s := range []time.Duration{
		time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond,
		time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 20 * time.Second, 30 * time.Second,
		time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour,
	} {
		if d.run.Took/s <= most {
			step = s
			break
		}
	}
	for at := time.Duration(0); at <= d.run.Took; at += max(step, 1) {
		label := at.String()
		for _, nothing := range []string{"m0s", "h0m"} {
			if strings.HasSuffix(label, nothing) {
				label = label[:len(label)-2]
			}
		}
		d.chart.Ticks = append(d.chart.Ticks, tick{d.x(at), label})
	}
}

// path marks the critical path below the bars, and where it goes from lane to lane.
func (d *drawing) path(legs []Leg, middle map[string]px) {
	var last *Leg
	for _, l := range legs {
		y, shown := middle[l.Host]
		if !shown {
			last = nil
			continue
		}
		if last != nil && last.Host != l.Host {
			d.chart.Hops = append(d.chart.Hops, hop{d.x(l.Start), min(middle[last.Host], y), max(middle[last.Host], y) + 3})
		}
		d.chart.Marks = append(d.chart.Marks, bar{
			X: d.x(l.Start), Y: y, W: max(d.x(l.End)-d.x(l.Start), 0.6),
			Title: report.OneLine(fmt.Sprintf("critical path: %s, %s, %s", where(l.Place), l.what(), report.Elapsed(l.Took()))),
		})
		last = &l
	}
}
