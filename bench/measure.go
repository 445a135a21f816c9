package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// comparison is two things that do the same, of which one is to be faster than the other.
type comparison struct {
	name, what string
	// subject is kubewright's way, yardstick the one that it is held against.
	subject, yardstick contender
	// limit is what the ratio is meant to be at most.
	limit       float64
	repetitions int
	quick       bool // one that is worth its time in a quick run too
	// other, in place of all else, measures what is no comparison of two, and adds it to the report.
	other func(ctx context.Context, repetitions int, report *Report) error
	// shares names what it shares with the comparisons beside it, which is removed when the last of them is made; ""
	// for nothing. A lab of many nodes takes their disk from what comes after it, and their idle from its time.
	shares string
	// setUp makes what all repetitions share, and returns what removes it; nil for nothing.
	setUp func(ctx context.Context) (tearDown func() error, err error)
}

// contender does something, and says how long that took. What it needs first and leaves behind is its
// own affair, and not in the time. id tells its repetitions apart.
type contender struct {
	name string
	once func(ctx context.Context, id string) (Sample, error)
}

// compare measures both sides by turns. Who begins changes with each repetition, so that a machine that
// gets slower or faster on the way is to nobody's advantage.
func (b *bench) compare(ctx context.Context, c comparison) (r Result, err error) {
	if c.setUp != nil {
		tearDown, failed := c.setUp(ctx)
		if failed != nil {
			return r, failed
		}
		defer func() { err = errors.Join(err, tearDown()) }()
	}
	r = Result{
		Name: c.name, What: c.what, Limit: c.limit,
		Subject: Series{Name: c.subject.name}, Yardstick: Series{Name: c.yardstick.name},
	}
	begun := time.Now()
	for i := range c.repetitions {
		if i > 0 && !b.affords(time.Since(begun)/time.Duration(i)) {
			b.say("%s: the budget of %s is used up after %d of %d repetitions", c.name, b.budget, i, c.repetitions)
			break
		}
		turns := []struct {
			contender
			series *Series
		}{{c.subject, &r.Subject}, {c.yardstick, &r.Yardstick}}
		if i%2 == 1 {
			slices.Reverse(turns)
		}
		for _, turn := range turns {
			load, err := loadAverage()
			if err != nil {
				return r, err
			}
			sample, err := turn.once(ctx, fmt.Sprintf("%s-%s-%d", c.name, turn.name, i+1))
			if err != nil {
				return r, fmt.Errorf("%s, repetition %d: %w", turn.name, i+1, err)
			}
			sample.Load = load
			b.say("%s %d/%d: %s %.*f s (%.0f%% of the machine's CPUs at work)",
				c.name, i+1, c.repetitions, turn.name, digits(sample.Seconds), sample.Seconds, 100*sample.Busy)
			turn.series.Samples = append(turn.series.Samples, sample)
		}
	}
	r.summarize()
	return r, nil
}

// affords tells whether there is time for another repetition that takes so long.
func (b *bench) affords(repetition time.Duration) bool {
	return b.budget == 0 || time.Since(b.started)+repetition <= b.budget
}

// clock measures one sample: the time, what it is made of, and how busy the machine was.
type clock struct {
	start, last time.Time
	parts       []Part
	cpu         cpuTimes
}

func startClock() (*clock, error) {
	cpu, err := readCPUTimes()
	now := time.Now()
	return &clock{start: now, last: now, cpu: cpu}, err
}

// lap ends a part, and begins the next.
func (c *clock) lap(name string) {
	now := time.Now()
	c.parts = append(c.parts, Part{Name: name, Seconds: now.Sub(c.last).Seconds()})
	c.last = now
}

// stop returns the sample of what there was until the end of the last part.
func (c *clock) stop() (Sample, error) {
	cpu, err := readCPUTimes()
	return Sample{Seconds: c.last.Sub(c.start).Seconds(), Parts: c.parts, Busy: cpu.busySince(c.cpu)}, err
}
