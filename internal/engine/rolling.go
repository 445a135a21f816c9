package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"kubewright/internal/fault"
	"kubewright/internal/membership"
	"kubewright/internal/plan"
	"kubewright/internal/report"
	"kubewright/internal/resource"
	"kubewright/internal/sh"
	"kubewright/inventory"
)

// rolls tells whether a host is one that others depend on while the cluster runs.
func (s *Session) rolls(m *member) bool {
	return s.etcd.running && (m.Has(inventory.RoleControlPlane) || m.Has(inventory.RoleEtcd))
}

// roll takes a control plane of a running cluster through phases that interrupt what it serves:
// alone, while the others are well. A host that is no member of etcd yet joins on the way.
func (s *Session) roll(ctx context.Context, m *member, segment []plan.Phase, in part) error {
	if len(m.plan.Tasks(in.phases)) == 0 && !s.changes(m) {
		return nil
	}
	if s.serving(m) && !s.etcd.quorum {
		// What is stopped has to start together: one alone would wait for the others for ever.
		if err := s.act(ctx, m, in); err != nil {
			return err
		}
		return s.serves(ctx, m)
	}
	for {
		changed := s.rollout.watch()
		turn := s.waitFor(m.Name, segment[0].Name, "its turn: one control plane after the other").patiently()
		if err := s.rollout.turn.take(ctx); err != nil {
			turn.done(err)
			return err
		}
		if s.rollout.before == "" {
			turn.drop()
		} else {
			turn.doneAfter(s.rollout.before, "")
		}
		others, err := s.rollAlone(ctx, m, segment, in)
		s.rollout.before = m.Name
		s.rollout.turn.give()
		if err != nil || len(others) == 0 {
			return err
		}
		membership := s.waitFor(m.Name, segment[0].Name, "the membership in etcd of "+strings.Join(others, ", ")).patiently()
		err = s.rollout.await(ctx, changed, others)
		membership.done(err)
		if err != nil {
			return &fault.Error{Kind: fault.ChangeFailed, Host: m.Name, Op: s.etcd.phase, Err: err}
		}
	}
}

// rollAlone is roll for whoever has the turn. It names the hosts that have to be through first, if any.
func (s *Session) rollAlone(ctx context.Context, m *member, segment []plan.Phase, in part) (others []string, err error) {
	admitted, others, err := s.admit(ctx, m)
	switch {
	case err != nil || len(others) > 0:
		return others, err
	case admitted != 0:
		return nil, s.join(ctx, m, admitted, segment, in)
	}
	w := s.etcdWorld(ctx)
	if err := errors.Join(s.rollout.blocked(), s.mayStop(w, m)); err != nil {
		return nil, &fault.Error{Kind: fault.Unhealthy, Host: m.Name, Op: segment[0].Name, Err: err}
	}
	if err := s.othersWell(ctx, w, m); err != nil {
		return nil, err
	}
	was := m.observed
	err = s.act(ctx, m, in)
	if err == nil {
		err = s.serves(ctx, m)
	}
	if err != nil && ctx.Err() == nil {
		s.rollout.fail(m.Name)
		err = errors.Join(err, s.restore(ctx, m, was, in))
	}
	return nil, err
}

// mayStop refuses to interrupt a member without which the others are no majority.
func (s *Session) mayStop(w membership.World, m *member) error {
	if s.etcdIndex(m) < 0 {
		return nil
	}
	var voters, others int
	own := false
	for _, v := range w.Voters() {
		voters++
		switch {
		case v.At(s.etcd.hosts[s.etcdIndex(m)].PeerURL):
			own = v.Healthy == membership.Yes
		case v.Healthy == membership.Yes:
			others++
		}
	}
	const pair = 2 // of one or two members each is needed, and may be interrupted all the same
	if majority := voters/2 + 1; own && voters > pair && others < majority {
		return fmt.Errorf("not interrupted: of the %d members of etcd only %d others are healthy, and %d are needed", voters, others, majority)
	}
	return nil
}

// othersWell waits until everything that is left while a host is being changed is well: the control
// planes whose members vote, not those that are yet to join.
func (s *Session) othersWell(ctx context.Context, w membership.World, m *member) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for _, other := range s.hosts {
		if other == m || !s.inUse(w, other) {
			continue
		}
		wg.Go(func() {
			err := s.serves(ctx, other)
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return &fault.Error{Kind: fault.Unhealthy, Host: m.Name, Op: s.etcd.phase, Err: fmt.Errorf("not changed while others are not well: %w", err)}
	}
	return nil
}

// inUse tells whether the cluster depends on a host: its member votes, or it was a control plane before
// this run where etcd has hosts of its own.
func (s *Session) inUse(w membership.World, m *member) bool {
	switch {
	case !m.seen:
		return false
	case s.etcdIndex(m) >= 0:
		return votes(w, m.Name)
	}
	return s.etcd.planes[m.Name]
}

// serving tells whether a host was part of what serves the cluster before this run, or is by now.
func (s *Session) serving(m *member) bool {
	i := s.etcdIndex(m)
	return m.seen && i >= 0 && s.etcd.data.now(s.etcd.hosts)[i].Data
}

// serves waits until a control plane does its part again: its member has a majority with it, and its
// API server is ready.
func (s *Session) serves(ctx context.Context, m *member) error {
	if s.etcdIndex(m) >= 0 {
		if err := s.awaitCondition(ctx, s.etcd.phase, m.Name, memberWell{s, m}); err != nil {
			return err
		}
	}
	if !m.Has(inventory.RoleControlPlane) {
		return nil
	}
	return s.awaitAll(ctx, s.etcd.phase, m.Name, []plan.Condition{{Kind: plan.APIReady, Name: m.Name}})
}

// memberWell is the condition that the member on a host answers with a majority behind it.
type memberWell struct {
	session *Session
	member  *member
}

// String implements kube.Condition.
func (c memberWell) String() string { return "the member of etcd on " + c.member.Name }

// Check implements kube.Condition.
func (c memberWell) Check(ctx context.Context) (done bool, detail string, err error) {
	view, err := c.session.etcdView(ctx, c.member)
	switch {
	case err != nil:
		return false, "", err
	case view.Learner:
		return false, "it does not vote yet", nil
	case !view.Quorum:
		return false, "no majority of the members answers", nil
	}
	return true, "", nil
}

// restoreTries bounds the wait for the end of what was changed, before what ran before it is asked: half a
// minute, in fifths of a second.
const restoreTries = 150

// restore puts the static pods back that ran before a change after which they do not, and the service of
// a member that has its host for itself. The manifest is as before too, so that the change is due again.
// Binaries and certificates are none of it: nothing is left of what they were.
func (s *Session) restore(ctx context.Context, m *member, was *sh.Answers, in part) error {
	if err := s.look(ctx, m); err != nil { // what was reached of the change is not known
		return fmt.Errorf("and what ran before was not put back: %w", err)
	}
	var tasks []sh.Task
	add := func(id resource.ID, phase string, steps ...sh.Step) {
		recorded := sh.Step(sh.Forget{ID: string(id)})
		if applied, ours := was.Manifest[string(id)]; ours {
			recorded = sh.Record{ID: string(id), Digest: applied}
		}
		tasks = append(tasks, sh.Task{ID: string(id), Phase: phase, Steps: append(steps, recorded)})
	}
	unit, file := s.memberService(m)
	for _, it := range m.plan.Items {
		id := it.Change.ID
		before := was.Files[id.Name()]
		if id.Kind() != "pod" && id != file || !in.phases[it.Phase] || !before.HasContent || before.SHA256 == m.observed.Files[id.Name()].SHA256 {
			continue
		}
		add(id, it.Phase, append(resource.NoteRunning(m.observed.Files[id.Name()].Content),
			sh.WriteFile{Path: id.Name(), Mode: before.Mode.Perm(), Owner: "root:root", Content: before.Content})...)
		if id == file {
			add(unit, it.Phase, sh.DaemonReload{}, sh.StartUnit{Name: unit.Name(), Digest: was.Units[unit.Name()].Started})
		}
	}
	if len(tasks) == 0 {
		return nil
	}
	// The kubelet may be still about to start what failed, or never have begun: what serves in the end tells.
	last := &tasks[len(tasks)-1]
	last.Steps = append(last.Steps, sh.AwaitEnd{Tries: restoreTries, Anyway: true})
	if err := s.amend(ctx, m, tasks); err != nil {
		return fmt.Errorf("and what ran before was not put back: %w", err)
	}
	if err := s.serves(ctx, m); err != nil {
		return fmt.Errorf("what ran before was put back, and does not work any more either: %w", err)
	}
	s.emit(report.Event{Kind: report.Warning, Host: m.Name, Message: "what ran before is back, and works"})
	return nil
}

// memberService is the unit of a member that runs as a service, and its file; "" where it runs as a pod.
func (s *Session) memberService(m *member) (unit, file resource.ID) {
	for _, r := range s.memberParts(m) {
		switch r.ID().Kind() {
		case "unit":
			unit = r.ID()
		case "file":
			file = r.ID()
		}
	}
	return unit, file
}

// amend runs tasks that are in no plan, and compares the host anew.
func (s *Session) amend(ctx context.Context, m *member, tasks []sh.Task) error {
	if len(tasks) == 0 {
		return nil
	}
	return s.persist(ctx, m, s.resume, func(ctx context.Context, m *member) error {
		if _, err := s.keepLock(ctx, m); err != nil {
			return err
		}
		if _, err := s.perform(ctx, m, tasks); err != nil {
			return err
		}
		if err := s.look(ctx, m); err != nil {
			return err
		}
		return s.replan(ctx, m)
	})
}

// changes tells whether the membership of a host has to change.
func (s *Session) changes(m *member) bool {
	return slices.ContainsFunc(s.etcd.foreseen, func(a membership.Action) bool { return a.Host == m.Name && a.Kind != membership.Wait })
}

func (s *Session) etcdIndex(m *member) int {
	return slices.IndexFunc(s.etcd.hosts, func(h membership.Host) bool { return h.Name == m.Name })
}
