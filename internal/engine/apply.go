package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"kubewright/internal/fault"
	"kubewright/internal/host"
	"kubewright/internal/plan"
	"kubewright/internal/report"
	"kubewright/internal/resource"
	"kubewright/internal/sh"
	"kubewright/inventory"
)

// apply makes the plan true: in one walk, or where clients of a cluster that runs are given another way
// to its API servers, in three.
func (s *Session) apply(ctx context.Context) error {
	if err := s.openWays(ctx); err != nil {
		return err
	}
	s.rollout = newRollout(s.wanted())
	err := s.walk(ctx, walk{only: s.Only, hosts: s.wanted(), prunes: s.prunes(), pace: s.newWorkers(ctx)})
	if err != nil {
		return err
	}
	return s.closeWays(ctx)
}

// walk is one way through the graph of phases and hosts.
type walk struct {
	// only names the phases that are run, nil for all.
	only  map[string]bool
	hosts []*member
	// prunes is set where what is wanted no more is taken away.
	prunes bool
	// pace has workers take turns; nil where their pods notice nothing.
	pace *workers
	done *latches
}

// walk takes the graph of (phase, host): each host runs ahead through its segments and
// stops at barriers only; API objects are made as soon as what they come after is ready.
// A failure blocks what depends on it and nothing else.
func (s *Session) walk(ctx context.Context, w walk) error {
	w.done = newLatches(s.Phases, w.hosts)
	var mu sync.Mutex
	var errs []error
	var last string
	through := func(host string, err error) {
		mu.Lock()
		defer mu.Unlock()
		last = host
		if err != nil {
			errs = append(errs, err)
		}
	}
	var wg sync.WaitGroup
	var hosts *pending
	wg.Go(func() {
		err := s.applyCluster(ctx, w)
		hosts = s.waitFor(clusterHost, "", "all hosts to be through")
		through(clusterHost, err)
	})
	for _, m := range w.hosts {
		wg.Go(func() {
			m.err = s.applyHost(ctx, m, w)
			if m.err != nil {
				s.emit(report.Event{Kind: report.HostFailed, Host: m.Name, Err: m.err})
			}
			through(m.Name, m.err)
		})
	}
	wg.Wait()
	hosts.doneAfter(last, "")
	if len(errs) > 0 {
		s.emit(report.Event{Kind: report.Notice, Message: outcome(w.hosts)})
	}
	return errors.Join(errs...)
}

// outcome says which hosts of a walk are through when not all are.
func outcome(hosts []*member) string {
	var through, not []string
	for _, m := range hosts {
		if m.err == nil {
			through = append(through, m.Name)
		} else {
			not = append(not, m.Name)
		}
	}
	var parts []string
	if len(through) > 0 {
		parts = append(parts, "done on "+strings.Join(through, ", "))
	}
	if len(not) > 0 {
		parts = append(parts, "not done on "+strings.Join(not, ", "))
	}
	return strings.Join(parts, "; ")
}

// applyHost runs the segments of one host. When one fails, its later phases count as
// failed too, so that nobody waits for them.
func (s *Session) applyHost(ctx context.Context, m *member, w walk) (err error) {
	defer func() { w.done.abandon(m.Name, err) }()
	segments := plan.Segments(s.Phases, m.Host, s.rolls(m))
	defer func() {
		if err != nil && s.rolls(m) {
			s.rollout.undo(m.Name)
		}
		s.rollout.end(m.Name)
	}()
	for i, segment := range segments {
		if !slices.ContainsFunc(segments[i:], func(left []plan.Phase) bool { return left[0].Rolling }) {
			s.rollout.end(m.Name) // nothing is left for which others might wait
		}
		if err := s.awaitBarriers(ctx, m.Name, segment, w.done); err != nil {
			return &fault.Error{Kind: fault.ChangeFailed, Host: m.Name, Op: segment[0].Name, Err: fmt.Errorf("not begun: %w", err)}
		}
		names := w.phasesToRun(segment)
		last := i == len(segments)-1
		if last && w.prunes {
			names["prune"] = true // when nothing leads to what is wanted no more
		}
		in, act := part{phases: names, last: last}, s.act
		if segment[0].Rolling && s.rolls(m) {
			act = func(ctx context.Context, m *member, in part) error { return s.roll(ctx, m, segment, in) }
		}
		if err := s.afterFirstMembers(ctx, m, segment); err != nil {
			return err
		}
		if err := w.pace.act(ctx, m, in, act); err != nil {
			return err
		}
		for _, p := range segment {
			if err := s.awaitReady(ctx, m, p, names); err != nil {
				return err
			}
			w.done.set(p.Name, m.Name, nil)
		}
	}
	return w.pace.release(ctx, m)
}

// awaitReady waits for what a phase that was run on a host brings about there.
func (s *Session) awaitReady(ctx context.Context, m *member, p plan.Phase, ran map[string]bool) error {
	if p.Ready == nil || !ran[p.Name] {
		return nil
	}
	return s.awaitAll(ctx, p.Name, m.Name, p.Ready(s.Cluster, []inventory.Host{m.Host}))
}

func (w walk) phasesToRun(segment []plan.Phase) map[string]bool {
	names := map[string]bool{}
	for _, p := range segment {
		if w.only == nil || w.only[p.Name] {
			names[p.Name] = true
		}
	}
	return names
}

// act changes a host, and goes on where it was when that is cut short on the way.
func (s *Session) act(ctx context.Context, m *member, in part) error {
	return s.persist(ctx, m, s.resume, func(ctx context.Context, m *member) error { return s.actOnce(ctx, m, in) })
}

// persist does something that changes a host, until it was done or failed. When its connection is
// lost, or its script was ended by somebody else (the host shuts down), resume connects and looks
// again first, so that only what is left is done. A host that goes on ending scripts gets as long as
// one that does not come back; waiting for either does not count towards the deadline.
func (s *Session) persist(ctx context.Context, m *member, resume, do func(context.Context, *member) error) error {
	left, interval := s.ActTimeout, reconnectInterval
	try := func() error {
		start := s.Now()
		limited, cancel := context.WithTimeout(ctx, left)
		defer cancel()
		err := do(limited, m)
		left -= s.Now().Sub(start)
		if err != nil && limited.Err() != nil && ctx.Err() == nil {
			return &fault.Error{Kind: fault.ChangeFailed, Host: m.Name, Op: "act", Err: fmt.Errorf("not done within %s: %s", s.ActTimeout, err.Error())}
		}
		return err
	}
	var firstEnd time.Time
	err := try()
	for ctx.Err() == nil {
		switch {
		case lost(err):
			s.emit(report.Event{Kind: report.Warning, Host: m.Name, Message: "connection lost, connecting again: " + err.Error()})
		case !ended(err) || (!firstEnd.IsZero() && s.Now().Sub(firstEnd) > s.ReconnectTimeout):
			return err
		default:
			if firstEnd.IsZero() {
				firstEnd = s.Now()
			}
			s.emit(report.Event{Kind: report.Warning, Host: m.Name, Message: "the script was ended on the host, looking again: " + err.Error()})
		}
		pause(ctx, interval) // a host that shuts down ends scripts before it ends connections
		interval = min(2*interval, longestInterval)
		if err = resume(ctx, m); err == nil {
			err = try()
		}
	}
	return err
}

// lost tells whether something failed because the connection did.
func lost(err error) bool {
	var lost *host.LostError
	return errors.As(err, &lost)
}

// ended tells whether a script was ended by a signal, or told to end, before it was through.
func ended(err error) bool {
	var exit *host.ExitError
	const bySignal = 128 // what shells, and sudo, add to the number of the signal
	return errors.As(err, &exit) && (exit.Signal != "" || exit.Code == sh.StoppedStatus || exit.Code > bySignal)
}

// pause waits, unless ctx ends before.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// part is what one act is about.
type part struct {
	phases map[string]bool
	last   bool // no other act of this run follows on the host
}

// actOnce is one exec that runs every step of the segment and looks again, so that what
// it reports is what is there. No tasks, no exec.
func (s *Session) actOnce(ctx context.Context, m *member, in part) error {
	tasks := m.plan.Tasks(in.phases)
	needs := m.plan.Artifacts(in.phases)
	if len(needs) > 0 || (in.last && m.plan.Cached) {
		tasks = append(tasks, emptyCache()...)
	}
	if len(tasks) == 0 {
		return nil
	}
	switch again, err := s.keepLock(ctx, m); {
	case err != nil:
		return err
	case again: // somebody else may have been at work meanwhile
		if err := s.look(ctx, m); err != nil {
			return err
		}
		if err := s.replan(ctx, m); err != nil {
			return err
		}
		return s.actOnce(ctx, m, in)
	}
	delivery, err := s.delivery(ctx, m, needs)
	if err != nil {
		return err
	}
	answers, err := s.perform(ctx, m, slices.Concat(delivery, tasks))
	if fetchFailed(err) && s.Cluster.Artifacts.Delivery == "auto" {
		s.emit(report.Event{Kind: report.Notice, Host: m.Name, Message: "cannot fetch for itself, files are pushed: " + err.Error()})
		m.push = true
		return s.actOnce(ctx, m, in)
	}
	if err != nil {
		return err
	}
	return s.converged(m, in.phases, answers)
}

// perform runs tasks and returns what the host looks like afterwards.
func (s *Session) perform(ctx context.Context, m *member, tasks []sh.Task) (*sh.Answers, error) {
	marker, verify := newMarker(), m.asked
	script := func() []byte { return sh.RenderTasks(marker, tasks, verify) }
	m.acted = true
	progress := &tracker{session: s, member: m, tasks: tasks}
	out := sh.NewWatcher(marker, verify, progress.on)
	err := s.run(ctx, m, host.Script{Kind: host.Act, Text: script}, out, fmt.Sprintf("act (%d tasks)", len(tasks)))
	progress.finish(err)
	if err != nil {
		failed := progress.failed()
		var exit *host.ExitError
		fetching := errors.As(err, &exit) && !ended(err) && strings.HasPrefix(failed.ID, fetchPrefix)
		if err = s.hostError(m, failed.Phase+": "+failed.ID, fault.ChangeFailed, err); fetching {
			err = &fetchError{err}
		}
		return nil, err
	}
	answers, err := out.Answers()
	if err != nil {
		return nil, &fault.Error{Kind: fault.ChangeFailed, Host: m.Name, Op: "verify", Err: err}
	}
	return answers, nil
}

// converged compares again: a resource that is still not as wanted is an error, never a
// reason to try once more.
func (s *Session) converged(m *member, phases map[string]bool, answers *sh.Answers) error {
	after, err := plan.ForHost(m.Name, m.groups, answers)
	if err != nil {
		return &fault.Error{Kind: fault.ChangeFailed, Host: m.Name, Op: "verify", Err: err}
	}
	var errs []error
	for _, it := range after.Changes() {
		if phases[it.Phase] {
			errs = append(errs, fault.New(fault.ChangeFailed, "%s is not as wanted after it was changed: %s", it.Change.ID, fields(it.Change.Fields)).On(m.Name).During(it.Phase))
		}
	}
	m.observed, m.plan = answers, after
	return errors.Join(errs...)
}

func fields(fs []resource.Field) string {
	parts := make([]string, len(fs))
	for i, f := range fs {
		parts[i] = fmt.Sprintf("%s is %q, want %q", f.Name, f.Old, f.New)
	}
	return strings.Join(parts, "; ")
}
