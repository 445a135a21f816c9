package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"kubewright/internal/etcd"
	"kubewright/internal/fault"
	"kubewright/internal/membership"
	"kubewright/internal/plan"
	"kubewright/internal/report"
	"kubewright/internal/resource"
	"kubewright/internal/sh"
	"kubewright/inventory"
)

// rollout has the control planes of a running cluster changed one at a time.
type rollout struct {
	turn turn
	mu   sync.Mutex
	// changed is closed, and replaced, whenever a host is through.
	changed chan struct{}
	// working are the hosts that are not through yet.
	working map[string]bool
}

func newRollout(hosts []*member) *rollout {
	r := &rollout{turn: make(turn, 1), changed: make(chan struct{}), working: map[string]bool{}}
	for _, m := range hosts {
		r.working[m.Name] = true
	}
	return r
}

// end notes that a host is through, well or not, and tells those who wait for it.
func (r *rollout) end(host string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.working[host] = false
	close(r.changed)
	r.changed = make(chan struct{})
}

// watch returns what is closed when the next host is through.
func (r *rollout) watch() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

// await returns when changed is closed. It is an error that no host is left at work among those that
// have to be through first: then nothing will change any more.
func (r *rollout) await(ctx context.Context, changed <-chan struct{}, hosts []string) error {
	r.mu.Lock()
	idle := true
	for _, h := range hosts {
		idle = idle && !r.working[h]
	}
	r.mu.Unlock()
	select {
	case <-changed:
		return nil
	default:
	}
	if idle {
		return fmt.Errorf("the membership of %s in etcd has to change first, and did not", strings.Join(hosts, ", "))
	}
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// rolls tells whether a host is one that others depend on while the cluster runs.
func (s *Session) rolls(m *member) bool {
	return s.etcd.running && (m.Has(inventory.RoleControlPlane) || m.Has(inventory.RoleEtcd))
}

// roll takes a control plane of a running cluster through phases that interrupt what it serves:
// alone, while the others are well. A host that is no member of etcd yet joins on the way.
func (s *Session) roll(ctx context.Context, m *member, segment []plan.Phase, in part) (err error) {
	if len(m.plan.Tasks(in.phases)) == 0 && !s.changes(m) {
		return nil
	}
	if i := s.etcdIndex(m); i >= 0 && s.etcd.hosts[i].Data && !s.etcd.quorum {
		// What is stopped has to start together: one alone would wait for the others for ever.
		return errors.Join(s.act(ctx, m, in), s.serves(ctx, m))
	}
	for {
		changed := s.rollout.watch()
		if err := s.rollout.turn.take(ctx); err != nil {
			return err
		}
		others, err := s.rollAlone(ctx, m, segment, in)
		s.rollout.turn.give()
		if err != nil || len(others) == 0 {
			return err
		}
		if err := s.rollout.await(ctx, changed, others); err != nil {
			return &fault.Error{Kind: fault.ChangeFailed, Host: m.Name, Op: s.etcd.phase, Err: err}
		}
	}
}

// changes tells whether the membership of a host has to change.
func (s *Session) changes(m *member) bool {
	return slices.ContainsFunc(s.etcd.foreseen, func(a membership.Action) bool { return a.Host == m.Name && a.Kind != membership.Wait })
}

func (s *Session) etcdIndex(m *member) int {
	return slices.IndexFunc(s.etcd.hosts, func(h membership.Host) bool { return h.Name == m.Name })
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
	if err := s.othersWell(ctx, m); err != nil {
		return nil, err
	}
	was := m.observed
	err = s.act(ctx, m, in)
	if err == nil {
		err = s.serves(ctx, m)
	}
	if err != nil && ctx.Err() == nil {
		err = errors.Join(err, s.restore(ctx, m, was, in))
	}
	return nil, err
}

// admit makes the changes to etcd that have to be made before the member on the host starts. It
// returns the ID under which the others know that member, or 0 for one that is a voter already, or
// the hosts whose membership has to change first.
func (s *Session) admit(ctx context.Context, m *member) (id uint64, others []string, err error) {
	if s.etcdIndex(m) < 0 {
		return 0, nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.ReadyTimeout)
	defer cancel()
	for {
		w := s.etcdWorld(ctx)
		decision, err := membership.Decide(w)
		if err != nil {
			return 0, nil, refusal(err)
		}
		i := slices.IndexFunc(decision.Actions, func(a membership.Action) bool { return a.Host == m.Name })
		if i < 0 {
			if votes(w, m.Name) {
				return 0, nil, nil
			}
			return 0, actionHosts(decision.Actions), nil
		}
		a := decision.Actions[i]
		switch a.Kind {
		case membership.Start:
			m.target.Etcd = plan.EtcdStart{InitialCluster: a.InitialCluster, Existing: true}
			return a.MemberID, nil, s.replan(ctx, m)
		case membership.Promote:
			return a.MemberID, nil, nil
		default:
			if err := s.change(ctx, m, a); err != nil {
				return 0, nil, &fault.Error{Kind: fault.ChangeFailed, Host: m.Name, Op: s.etcd.phase, Err: err}
			}
		}
	}
}

// votes tells whether the member on a host is in the list that a quorum has confirmed.
func votes(w membership.World, host string) bool {
	i := slices.IndexFunc(w.Hosts, func(h membership.Host) bool { return h.Name == host })
	for _, v := range w.Views {
		for _, m := range v.Members {
			if v.Quorum && !m.Learner && m.Name != "" && slices.Contains(m.PeerURLs, w.Hosts[i].PeerURL) {
				return true
			}
		}
	}
	return false
}

func actionHosts(actions []membership.Action) []string {
	hosts := map[string]bool{}
	for _, a := range actions {
		hosts[a.Host] = true
	}
	return slices.Sorted(maps.Keys(hosts))
}

// change makes one change to etcd, and waits for what may pass by itself.
func (s *Session) change(ctx context.Context, m *member, a membership.Action) error {
	s.emit(report.Event{Kind: report.Notice, Host: m.Name, Phase: s.etcd.phase, Message: "etcd: " + string(a.Kind) + ": " + a.Reason})
	if a.Kind == membership.SetAside {
		return s.setAside(ctx, m)
	}
	for {
		err := s.changeOnce(ctx, m, a)
		if !errors.Is(err, etcd.ErrUnhealthy) && !errors.Is(err, etcd.ErrNoQuorum) && !errors.Is(err, etcd.ErrNotInSync) {
			return err
		}
		s.emit(report.Event{Kind: report.Waiting, Host: m.Name, Phase: s.etcd.phase, Message: "etcd: " + err.Error()})
		pause(ctx, memberInterval)
		if ctx.Err() != nil {
			return err
		}
	}
}

// memberInterval is how often etcd is asked again whether a change can be made: a learner of a
// small cluster is in sync within a second.
const memberInterval = time.Second / 2

func (s *Session) changeOnce(ctx context.Context, m *member, a membership.Action) (err error) {
	if a.Kind == membership.Wait {
		return fmt.Errorf("%w: %s", etcd.ErrNoQuorum, a.Reason)
	}
	client, err := s.voter(ctx, m)
	if err != nil {
		return fmt.Errorf("%w: %w", etcd.ErrNoQuorum, err)
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	switch a.Kind {
	case membership.Add:
		_, _, err = client.AddLearner(ctx, a.PeerURL)
	case membership.Remove:
		err = client.Remove(ctx, a.MemberID)
	case membership.Promote:
		err = client.Promote(ctx, a.MemberID)
	default:
		err = fmt.Errorf("%s is not a change to the members", a.Kind)
	}
	return err
}

// setAside moves the data of a member that the others do not know any more out of the way, once
// nothing runs on it.
func (s *Session) setAside(ctx context.Context, m *member) error {
	tasks := append(s.stopMember(m), sh.Task{ID: "etcd", Phase: s.etcd.phase, Steps: []sh.Step{sh.SetAside{Path: etcdMemberDir}}})
	if err := s.amend(ctx, m, tasks); err != nil {
		return err
	}
	s.etcd.hosts[s.etcdIndex(m)].Data = false
	return nil
}

// etcdMemberDir is what a member keeps in its data folder.
const etcdMemberDir = "/var/lib/etcd/member"

// stopMember has the kubelet stop the member on a host, and start anew before it starts another: it
// would wait minutes to try a pod again that has failed.
func (s *Session) stopMember(m *member) []sh.Task {
	var tasks []sh.Task
	for _, id := range s.memberPods(m) {
		if _, ours := m.observed.Manifest[string(id)]; ours {
			steps := append(resource.Removal(id), sh.Forget{ID: string(id)}, sh.ForgetStart{Name: "kubelet.service"})
			tasks = append(tasks, sh.Task{ID: string(id), Phase: s.etcd.phase, Steps: steps})
		}
	}
	return tasks
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
		answers, err := s.perform(ctx, m, tasks)
		if err != nil {
			return err
		}
		m.observed = answers
		return s.replan(ctx, m)
	})
}

// join starts a member that the others expect, has it vote when it is in sync, and only then starts
// what needs a voter beside it. A member that does not get there is taken back.
func (s *Session) join(ctx context.Context, m *member, id uint64, segment []plan.Phase, in part) error {
	before, after := maps.Clone(in.phases), map[string]bool{}
	for _, p := range segment {
		if p.Voter && before[p.Name] {
			delete(before, p.Name)
			after[p.Name] = true
		}
	}
	err := s.act(ctx, m, part{phases: before})
	if err == nil {
		limited, cancel := context.WithTimeout(ctx, s.JoinTimeout)
		defer cancel()
		err = s.change(limited, m, membership.Action{Kind: membership.Promote, Host: m.Name, MemberID: id, Reason: "it has to be in sync first"})
	}
	if err != nil {
		if ctx.Err() == nil {
			err = errors.Join(err, s.takeBack(ctx, m, id))
		}
		return &fault.Error{Kind: fault.ChangeFailed, Host: m.Name, Op: s.etcd.phase, Err: fmt.Errorf("it has not become a member of etcd: %w", err)}
	}
	s.etcd.hosts[s.etcdIndex(m)].Data = true
	in.phases = after
	return errors.Join(s.act(ctx, m, in), s.serves(ctx, m))
}

// takeBack removes a learner that has not become a voter, so that the members are as before, and
// stops it: the next run adds it again.
func (s *Session) takeBack(ctx context.Context, m *member, id uint64) error {
	ctx, cancel := context.WithTimeout(ctx, s.ReadyTimeout)
	defer cancel()
	err := s.change(ctx, m, membership.Action{Kind: membership.Remove, Host: m.Name, MemberID: id, Reason: "it has not become a voter"})
	if stopping := s.amend(ctx, m, s.stopMember(m)); stopping != nil {
		s.emit(report.Event{Kind: report.Warning, Host: m.Name, Phase: s.etcd.phase, Message: "its member was not stopped: " + stopping.Error()})
	}
	return err
}

// serves waits until a control plane does its part again: its member has a majority with it, and its
// API server is ready.
func (s *Session) serves(ctx context.Context, m *member) error {
	if i := s.etcdIndex(m); i >= 0 {
		if err := s.awaitCondition(ctx, s.etcd.phase, m.Name, memberWell{s, m}); err != nil {
			return err
		}
	}
	if !m.Has(inventory.RoleControlPlane) {
		return nil
	}
	return s.awaitAll(ctx, s.etcd.phase, m.Name, []plan.Condition{{Kind: plan.APIReady, Name: m.Name}})
}

// othersWell waits until everything that is left while a host is being changed is well.
func (s *Session) othersWell(ctx context.Context, m *member) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for _, other := range s.hosts {
		if other == m || !s.serving(other) {
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

// serving tells whether a host was part of what serves the cluster before this run.
func (s *Session) serving(m *member) bool {
	i := s.etcdIndex(m)
	return m.seen && i >= 0 && s.etcd.hosts[i].Data
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

// restore puts the static pods back that ran before a change after which they do not.
func (s *Session) restore(ctx context.Context, m *member, was *sh.Answers, in part) error {
	var tasks []sh.Task
	for _, it := range m.plan.Items {
		id := it.Change.ID
		before := was.Files[id.Name()]
		if id.Kind() != "pod" || !in.phases[it.Phase] || !before.HasContent || before.SHA256 == m.observed.Files[id.Name()].SHA256 {
			continue
		}
		tasks = append(tasks, sh.Task{ID: string(id), Phase: it.Phase, Steps: []sh.Step{
			sh.WriteFile{Path: id.Name(), Mode: before.Mode.Perm(), Owner: "root:root", Content: before.Content},
			sh.Record{ID: string(id), Digest: before.SHA256},
		}})
	}
	if len(tasks) == 0 {
		return nil
	}
	if err := s.amend(ctx, m, tasks); err != nil {
		return fmt.Errorf("and what ran before was not put back: %w", err)
	}
	s.emit(report.Event{Kind: report.Warning, Host: m.Name, Message: "the static pods that ran before are back"})
	return nil
}
