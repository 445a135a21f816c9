package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"kubewright/cluster"
	"kubewright/internal/fault"
	"kubewright/internal/plan"
	"kubewright/internal/report"
	"kubewright/internal/resource"
)

// workers takes the workers of a cluster that runs through what their pods notice, a few at a time; nil
// holds nobody up.
type workers struct {
	*Session
	// nodes are those that were nodes before this run, and marked those whose nodes an earlier run has
	// cordoned and left so. Neither changes afterwards.
	nodes, marked map[string]bool

	mu sync.Mutex
	// away are the workers that are being changed.
	away map[string]bool
	// back is the last that was, "" for none.
	back string
	// failed is the first worker that was not brought back, "" for none.
	failed string
	// changed is closed, and replaced, whenever one of these two is another.
	changed chan struct{}
}

// newWorkers looks who the workers are. The marks of earlier runs take one request for all nodes, so a
// run that finds nothing to do tidies up as well.
func (s *Session) newWorkers(ctx context.Context) *workers {
	w := &workers{Session: s, nodes: map[string]bool{}, marked: map[string]bool{}, away: map[string]bool{}, changed: make(chan struct{})}
	for _, m := range s.wanted() {
		if m.isNode() && cluster.RollsAsWorker(m.Host) {
			w.nodes[m.Name] = true
		}
	}
	if len(w.nodes) == 0 || !s.apiThere {
		return w
	}
	client, err := s.chooseAPI(ctx)
	if err == nil {
		var names []string
		names, err = client.Cordoned(ctx)
		for _, name := range names {
			w.marked[name] = true
		}
	}
	if err != nil {
		s.emit(report.Event{Kind: report.Warning, Message: "not known whether an earlier run has left nodes cordoned: " + err.Error()})
	}
	return w
}

// isNode tells whether a kubelet of ours runs on the host.
func (m *member) isNode() bool {
	if m.neighbour {
		return m.seen
	}
	_, node := m.observed.Manifest[string(resource.UnitID(kubeletUnit))]
	return node
}

// The units without which the pods of a node are not looked after.
const (
	containerdUnit = "containerd.service"
	kubeletUnit    = "kubelet.service"
)

// disruption is what an act does to the pods of a worker.
type disruption struct {
	phase string // the first that restarts something
	// upgrade is set when binaries change, and not only how they are configured.
	upgrade bool
}

// disruptionOf tells what an act will do to the pods of a host; false is nothing.
func disruptionOf(m *member, phases map[string]bool) (d disruption, found bool) {
	rewritten, restarted := map[resource.ID]bool{}, map[string]bool{}
	for _, it := range m.plan.Changes() {
		c := it.Change
		if !phases[it.Phase] {
			continue
		}
		rewritten[c.ID] = c.Rewrites
		if c.Restarts != containerdUnit && c.Restarts != kubeletUnit {
			continue
		}
		if !found {
			d.phase, found = it.Phase, true
		}
		restarted[c.Restarts] = true
	}
	for _, g := range m.groups {
		for _, r := range g.Resources {
			if unit, ok := r.(resource.Unit); ok && restarted[unit.Name] {
				d.upgrade = d.upgrade || slices.ContainsFunc(unit.On, func(id resource.ID) bool { return id.Kind() == "binary" && rewritten[id] })
			}
		}
	}
	return d, found
}

// act is what act does, for a worker in its turn.
func (w *workers) act(ctx context.Context, m *member, in part, act func(context.Context, *member, part) error) error {
	if w == nil {
		return act(ctx, m, in)
	}
	d, found := disruptionOf(m, in.phases)
	if !found || !w.nodes[m.Name] {
		return act(ctx, m, in)
	}
	err := w.afterControlPlanes(ctx, m, d)
	if err == nil {
		err = w.take(ctx, m, d)
	}
	if err != nil {
		return &fault.Error{Kind: fault.ChangeFailed, Host: m.Name, Op: d.phase, Err: err}
	}
	err = w.change(ctx, m, d, func() error { return act(ctx, m, in) })
	w.give(m, err != nil && ctx.Err() == nil)
	return err
}

// afterControlPlanes waits until the control planes of the run are through: a kubelet must not be newer
// than an API server, and pods are not evicted through one that is about to restart. No phase of a
// control plane that rolls comes after one of the workers.
func (w *workers) afterControlPlanes(ctx context.Context, m *member, d disruption) error {
	var said []string
	var wait *pending
	for {
		changed := w.rollout.watch()
		first := w.rollout.atWork(slices.DeleteFunc(w.wanted(), func(other *member) bool { return !w.rolls(other) }))
		if len(first) == 0 {
			if wait != nil {
				wait.doneAfter(said[len(said)-1], "")
			}
			return cmp.Or(w.rollout.blocked(), w.rollout.unfinished())
		}
		if !slices.Equal(first, said) {
			if wait == nil {
				wait = w.waitFor(m.Name, d.phase, "its turn")
			}
			said = first
			wait.say("first come " + strings.Join(first, ", "))
		}
		select {
		case <-changed:
		case <-ctx.Done():
			wait.done(ctx.Err())
			return ctx.Err()
		}
	}
}

// atWork names those hosts that are not through yet.
func (r *rollout) atWork(hosts []*member) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for _, m := range hosts {
		if r.working[m.Name] {
			names = append(names, m.Name)
		}
	}
	return names
}

// take waits until one more worker may be changed. It is an error that none may any more.
func (w *workers) take(ctx context.Context, m *member, d disruption) error {
	most := max(w.Cluster.Rollout.Workers.MaxUnavailable, 1)
	var wait *pending
	for {
		if ctx.Err() != nil {
			wait.done(ctx.Err())
			return ctx.Err()
		}
		w.mu.Lock()
		failed, away, back, changed := w.failed, slices.Sorted(maps.Keys(w.away)), w.back, w.changed
		free := failed == "" && len(away) < most
		if free {
			w.away[m.Name] = true
		}
		w.mu.Unlock()
		if wait != nil && (free || failed != "") {
			wait.doneAfter(back, "")
		}
		switch {
		case free:
			return nil
		case failed != "":
			return fmt.Errorf("not begun: %s failed", failed)
		case wait == nil:
			wait = w.waitFor(m.Name, d.phase, "its turn")
			wait.say(fmt.Sprintf("%d at once, now %s (spec.rollout.workers.maxUnavailable)", most, strings.Join(away, ", ")))
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// give lets another worker have its turn, unless this one has failed.
func (w *workers) give(m *member, failed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.away, m.Name)
	w.back = m.Name
	if failed && w.failed == "" {
		w.failed = m.Name
	}
	close(w.changed)
	w.changed = make(chan struct{})
}

// change takes a worker that has its turn from pods that run to pods that run.
func (w *workers) change(ctx context.Context, m *member, d disruption, act func() error) error {
	node, err := w.lookAtNode(ctx, m, d)
	if err != nil {
		return err
	}
	cordoned := w.marked[m.Name]
	if w.drains(m, node, d) {
		ours, err := w.drain(ctx, m, d)
		cordoned = cordoned || ours
		if err != nil {
			return staysCordoned(m, cordoned, err)
		}
	}
	if err := act(); err != nil {
		return staysCordoned(m, cordoned, err)
	}
	if !w.awaitsReady(node) {
		return nil
	}
	err = w.awaitCondition(ctx, d.phase, m.Name, &heartbeat{session: w.Session, node: m.Name})
	if err == nil {
		err = w.awaitAll(ctx, d.phase, m.Name, []plan.Condition{{Kind: plan.NodeReady, Name: m.Name}})
	}
	if err == nil {
		err = w.uncordon(ctx, m)
	}
	return staysCordoned(m, cordoned, err)
}

// staysCordoned adds to the error of a worker that its node takes no pods.
func staysCordoned(m *member, cordoned bool, err error) error {
	if err == nil || !cordoned {
		return err
	}
	note := fmt.Errorf("its node stays cordoned: the next run that brings it back lets pods onto it again, and so does kubectl uncordon %s", m.Name)
	return errors.Join(err, &fault.Error{Host: m.Name, Op: "drain", Err: note})
}
