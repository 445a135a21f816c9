package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"kubewright/internal/plan"
	"kubewright/internal/report"
	"kubewright/internal/sh"
)

// tracker turns the progress lines of one act into events by phase and resource.
type tracker struct {
	session *Session
	member  *member
	tasks   []sh.Task

	phase   string
	begun   time.Time
	task    time.Time
	current int
	bad     int
}

func (t *tracker) on(p sh.Progress) {
	if p.Index < 0 || p.Index >= len(t.tasks) {
		return
	}
	id := t.tasks[p.Index].ID
	now := t.session.Now()
	switch p.State {
	case "start":
		t.current, t.task = p.Index+1, now
		if phase := t.tasks[p.Index].Phase; phase != t.phase {
			t.finish(nil)
			t.phase, t.begun = phase, now
			t.session.emit(report.Event{Kind: report.PhaseStarted, Host: t.member.Name, Phase: phase})
		}
	case "done":
		t.session.emit(report.Event{Kind: report.ResourceChanged, Host: t.member.Name, Phase: t.phase, Resource: id, Duration: now.Sub(t.task)})
	case "fail":
		t.bad = p.Index + 1
	}
}

// finish ends the phase that is under way, done or failed.
func (t *tracker) finish(err error) {
	if t.phase == "" {
		return
	}
	t.session.emit(report.Event{Kind: report.PhaseDone, Host: t.member.Name, Phase: t.phase, Duration: t.session.Now().Sub(t.begun), Err: err})
	t.phase = ""
}

// failed is the task at which the act stopped.
func (t *tracker) failed() sh.Task {
	for _, i := range []int{t.bad, t.current} {
		if i > 0 {
			return t.tasks[i-1]
		}
	}
	return sh.Task{ID: "act", Phase: "begin"}
}

// latches say which phase is done on which host, and let others wait for it.
type latches struct {
	mu     sync.Mutex
	phases map[string]map[string]*latch // phase, host
}

type latch struct {
	ch  chan struct{}
	err error
	set bool
}

// clusterHost is the place of phases that are about the API only.
const clusterHost = ""

func newLatches(phases []plan.Phase, members []*member) *latches {
	l := &latches{phases: map[string]map[string]*latch{}}
	for _, p := range phases {
		hosts := map[string]*latch{}
		if p.Desire == nil {
			hosts[clusterHost] = &latch{ch: make(chan struct{})}
		} else {
			for _, m := range members {
				if p.On(m.Host) {
					hosts[m.Name] = &latch{ch: make(chan struct{})}
				}
			}
		}
		l.phases[p.Name] = hosts
	}
	return l
}

func (l *latches) set(phase, host string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if x := l.phases[phase][host]; x != nil && !x.set {
		x.set, x.err = true, err
		close(x.ch)
	}
}

// abandon marks every phase of a host that was not done, with the reason.
func (l *latches) abandon(host string, err error) {
	if err == nil {
		err = fmt.Errorf("%s: not run", host)
	}
	for phase := range l.phases {
		l.set(phase, host, err)
	}
}

// place names a host of a latch; phases without hosts are about the cluster.
func place(host string) string {
	if host == clusterHost {
		return "the cluster"
	}
	return host
}

// what says what an edge between hosts waits for.
func (l *latches) what(e plan.Edge) string {
	_, cluster := l.phases[e.Phase][clusterHost]
	switch {
	case cluster:
		return "phase " + e.Phase
	case e.Any:
		return "phase " + e.Phase + " on any host"
	}
	return "phase " + e.Phase + " on all hosts"
}

// await waits for an edge between hosts. Where that took any waiting, by is the host that ended it.
func (l *latches) await(ctx context.Context, e plan.Edge, all bool) (by string, waited bool, err error) {
	if e.Any {
		return l.awaitAny(ctx, e.Phase)
	}
	return l.awaitAll(ctx, e.Phase, all)
}

// awaitAll waits for a phase on all its hosts, or until it failed on one unless it is to wait for all.
func (l *latches) awaitAll(ctx context.Context, phase string, all bool) (by string, waited bool, err error) {
	var undone []string
	for host, x := range l.phases[phase] {
		select {
		case <-x.ch:
		default:
			by, waited = host, true // of those that were waited for, the last in line is the last in time
			select {
			case <-x.ch:
			case <-ctx.Done():
				return "", false, ctx.Err()
			}
		}
		if x.err == nil {
			continue
		}
		undone = append(undone, place(host))
		if !all {
			break
		}
	}
	if len(undone) == 0 {
		return by, waited, nil
	}
	// The cause is an error of its own, of the host where it happened.
	slices.Sort(undone)
	return by, waited, fmt.Errorf("phase %s was not done on %s", phase, strings.Join(undone, ", "))
}

// awaitAny waits until a phase is done on one of its hosts, or has failed on all.
func (l *latches) awaitAny(ctx context.Context, phase string) (by string, waited bool, err error) {
	hosts := l.phases[phase]
	if len(hosts) == 0 {
		return "", false, nil
	}
	for _, x := range hosts {
		select {
		case <-x.ch:
			if x.err == nil {
				return "", false, nil
			}
		default:
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends those that still wait
	ended := make(chan string, len(hosts))
	for host, x := range hosts {
		go func() {
			select {
			case <-x.ch:
				ended <- host
			case <-ctx.Done():
			}
		}()
	}
	for range hosts {
		select {
		case by = <-ended:
			if hosts[by].err == nil {
				return by, true, nil
			}
		case <-ctx.Done():
			return "", false, ctx.Err()
		}
	}
	return by, true, fmt.Errorf("phase %s was not done on any of its hosts", phase)
}

// failed tells whether something that a phase comes after was not done on a host. It is asked once
// all of that has ended.
func (l *latches) failed(p plan.Phase, host string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(p.After, func(e plan.Edge) bool {
		x := l.phases[e.Phase][host]
		return x != nil && x.err != nil
	})
}
