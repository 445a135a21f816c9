package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"kubewright/internal/etcd"
	"kubewright/internal/fault"
	"kubewright/internal/membership"
	"kubewright/internal/plan"
	"kubewright/internal/report"
	"kubewright/internal/resource"
	"kubewright/internal/sh"
)

const (
	// etcdMemberDir is what a member keeps in its data folder.
	etcdMemberDir = "/var/lib/etcd/member"
	// memberInterval is how often etcd is asked again whether a change can be made: a learner of a
	// small cluster is in sync within a second.
	memberInterval = time.Second / 2
)

// admit makes the changes to etcd that have to be made before the member on the host starts. It
// returns the ID under which the others know that member, or 0 for one that is a voter already, or
// the hosts whose membership has to change first.
func (s *Session) admit(ctx context.Context, m *member) (id uint64, others []string, err error) {
	if s.etcdIndex(m) < 0 || s.etcd.settled {
		return 0, nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.ReadyTimeout)
	defer cancel()
	var wait *pending
	defer func() { wait.done(err) }()
	for {
		w := s.etcdWorld(ctx)
		decision, err := membership.Decide(w)
		if err != nil {
			return 0, nil, refusal(err)
		}
		// What is on no host of the inventory is done by whoever has the turn, and a quorum is waited
		// for by everybody.
		i := slices.IndexFunc(decision.Actions, func(a membership.Action) bool {
			return a.Host == m.Name || a.Host == "" || a.Kind == membership.Wait
		})
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
		case membership.Wait:
			if wait == nil {
				wait = s.waitFor(m.Name, s.etcd.phase, "etcd")
			}
			wait.say(a.Reason)
			pause(ctx, memberInterval)
			err = ctx.Err()
		default:
			wait.done(nil)
			wait = nil
			err = s.changeHost(ctx, m, a)
		}
		if err != nil {
			return 0, nil, &fault.Error{Kind: fault.ChangeFailed, Host: m.Name, Op: s.etcd.phase, Err: err}
		}
	}
}

// votes tells whether the member on a host is in the list that a quorum has confirmed.
func votes(w membership.World, host string) bool {
	i := slices.IndexFunc(w.Hosts, func(h membership.Host) bool { return h.Name == host })
	return slices.ContainsFunc(w.Voters(), func(m membership.Member) bool { return m.Name != "" && m.At(w.Hosts[i].PeerURL) })
}

func actionHosts(actions []membership.Action) []string {
	hosts := map[string]bool{}
	for _, a := range actions {
		hosts[a.Host] = true
	}
	return slices.Sorted(maps.Keys(hosts))
}

// changeHost makes one change to etcd for a host that is no voter. What may still run there, on data or
// flags of before, is stopped first.
func (s *Session) changeHost(ctx context.Context, m *member, a membership.Action) error {
	if a.Host == m.Name {
		if err := s.stopMember(ctx, m); err != nil {
			return err
		}
	}
	if a.Kind == membership.SetAside {
		s.announce(m, a)
		return s.setAside(ctx, m)
	}
	return s.change(ctx, m, a)
}

func (s *Session) announce(m *member, a membership.Action) {
	s.emit(report.Event{Kind: report.Notice, Host: m.Name, Phase: s.etcd.phase, Message: "etcd: " + string(a.Kind) + ": " + a.Reason})
}

// change makes one change to the list of members, and waits for what may pass by itself. Each may be
// asked for again: what is done already is left.
func (s *Session) change(ctx context.Context, m *member, a membership.Action) (err error) {
	s.announce(m, a)
	var wait *pending
	defer func() { wait.done(err) }()
	for {
		err := s.changeOnce(ctx, m, a)
		passing := errors.Is(err, etcd.ErrUnhealthy) || errors.Is(err, etcd.ErrNoQuorum) || errors.Is(err, etcd.ErrNotInSync) || errors.Is(err, etcd.ErrUnanswered)
		if !passing {
			return err
		}
		if wait == nil {
			wait = s.waitFor(m.Name, s.etcd.phase, "etcd")
		}
		wait.say(err.Error())
		pause(ctx, memberInterval)
		if ctx.Err() != nil {
			return err
		}
	}
}

func (s *Session) changeOnce(ctx context.Context, m *member, a membership.Action) (err error) {
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

// setAside moves the data of a member that the others do not know any more out of the way.
func (s *Session) setAside(ctx context.Context, m *member) error {
	err := s.amend(ctx, m, []sh.Task{{ID: "etcd", Phase: s.etcd.phase, Steps: []sh.Step{sh.SetAside{Path: etcdMemberDir}}}})
	if err == nil {
		s.etcd.data.set(m.Name, false)
	}
	return err
}

// stopMember stops the member on a host, and returns when it has ended. Where a kubelet does that, it
// starts anew before it starts another: it would wait minutes to try a pod again that has failed.
func (s *Session) stopMember(ctx context.Context, m *member) error {
	if err := s.look(ctx, m); err != nil {
		return err
	}
	var tasks []sh.Task
	for _, r := range s.memberParts(m) {
		id := r.ID()
		if _, ours := m.observed.Manifest[string(id)]; !ours {
			continue
		}
		steps := append(resource.Removal(id), sh.Forget{ID: string(id)})
		if id.Kind() == "pod" {
			steps = append(steps, sh.ForgetStart{Name: kubeletUnit})
		}
		tasks = append(tasks, sh.Task{ID: string(id), Phase: s.etcd.phase, Steps: steps})
	}
	if len(tasks) == 0 {
		return nil
	}
	if err := s.amend(ctx, m, tasks); err != nil {
		return err
	}
	return s.awaitCondition(ctx, s.etcd.phase, m.Name, memberStopped{m})
}

// memberStopped is the condition that nothing listens on a host where its member would.
type memberStopped struct{ member *member }

// String implements kube.Condition.
func (c memberStopped) String() string { return "the member of etcd on " + c.member.Name + " to stop" }

// Check implements kube.Condition.
func (c memberStopped) Check(ctx context.Context) (done bool, detail string, err error) {
	switch err := (peerWay{c.member, c.member}).try(ctx); {
	case err == nil:
		return false, "it still listens", nil
	case lost(err):
		return false, "", err
	}
	return true, "", nil
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
	err := s.startMember(ctx, m, before)
	if err == nil {
		err = s.promote(ctx, m, id)
	}
	if err != nil && ctx.Err() == nil {
		err = s.takeBack(ctx, m, id, err)
	}
	switch {
	case err != nil && ctx.Err() != nil: // the next run goes on with it
		return fmt.Errorf("%s: %s: %w", m.Name, s.etcd.phase, context.Cause(ctx))
	case err != nil:
		return &fault.Error{Kind: fault.ChangeFailed, Host: m.Name, Op: s.etcd.phase, Err: fmt.Errorf("it has not become a member of etcd: %w", err)}
	}
	s.etcd.data.set(m.Name, true)
	in.phases = after
	if err := s.act(ctx, m, in); err != nil {
		return err
	}
	return s.serves(ctx, m)
}

// startMember starts a member that the others expect. Until it listens its image is pulled, which takes
// what the line takes, and is no part of the time that it has to join.
func (s *Session) startMember(ctx context.Context, m *member, phases map[string]bool) error {
	err := s.act(ctx, m, part{phases: phases})
	if err == nil {
		err = s.watch(ctx, s.etcd.phase, m.Name, memberListens{m})
	}
	if err == nil || ctx.Err() != nil {
		return err
	}
	// A member that cannot ask any of the others who they are ends at once.
	ways := peerWays{s, m}.ways(s.etcdWorld(ctx))
	return withClosed(err, tryWays(ctx, slices.DeleteFunc(ways, func(w peerWay) bool { return w.from != m })))
}

// promote has a member that was started vote, once it and the others reach each other, and it is in sync.
func (s *Session) promote(ctx context.Context, m *member, id uint64) error {
	ctx, cancel := context.WithTimeout(ctx, s.JoinTimeout)
	defer cancel()
	if err := s.watch(ctx, s.etcd.phase, m.Name, peerWays{s, m}); err != nil {
		return (&fault.Error{Err: err}).WithHint(openPorts)
	}
	return s.change(ctx, m, membership.Action{Kind: membership.Promote, Host: m.Name, MemberID: id, Reason: "it has to be in sync first"})
}

// takeBack removes a learner that has not become a voter, so that the members are as before, and
// stops it: the next run adds it again. One that turns out to vote is left, and no error.
func (s *Session) takeBack(ctx context.Context, m *member, id uint64, why error) error {
	ctx, cancel := context.WithTimeout(ctx, s.ReadyTimeout)
	defer cancel()
	for {
		client, err := s.voter(ctx, m)
		if err == nil {
			var view etcd.View
			view, err = client.View(ctx)
			err = errors.Join(err, client.Close())
			if i := slices.IndexFunc(view.Members, func(e etcd.Member) bool { return e.ID == id }); err == nil && view.Quorum {
				if i >= 0 && !view.Members[i].Learner {
					return nil // the answer to its promotion was lost
				}
				break
			}
		}
		pause(ctx, memberInterval)
		if ctx.Err() != nil {
			return errors.Join(why, fmt.Errorf("and whether it votes is not known, so it was left: %w", err))
		}
	}
	err := s.change(ctx, m, membership.Action{Kind: membership.Remove, Host: m.Name, MemberID: id, Reason: "it has not become a voter"})
	if stopping := s.stopMember(ctx, m); stopping != nil {
		s.emit(report.Event{Kind: report.Warning, Host: m.Name, Phase: s.etcd.phase, Message: "its member was not stopped: " + stopping.Error()})
	}
	return errors.Join(why, err)
}

// afterFirstMembers has a host whose member would be new wait for those that have data already, where a
// cluster is still being begun: they tell etcd of a member that was there before and has lost its data.
func (s *Session) afterFirstMembers(ctx context.Context, m *member, segment []plan.Phase) error {
	begins := slices.ContainsFunc(segment, func(p plan.Phase) bool { return p.Members })
	if !begins || s.etcd.running || s.etcdIndex(m) < 0 || s.serving(m) {
		return nil
	}
	for _, h := range s.etcd.hosts {
		if !h.Data {
			continue
		}
		if err := s.awaitCondition(ctx, s.etcd.phase, m.Name, memberListens{s.member(h.Name)}); err != nil {
			return err
		}
	}
	return nil
}

// memberListens is the condition that the member on a host has been started.
type memberListens struct{ member *member }

// String implements kube.Condition.
func (c memberListens) String() string { return "the member of etcd on " + c.member.Name + " to start" }

// Check implements kube.Condition.
func (c memberListens) Check(ctx context.Context) (done bool, detail string, err error) {
	stopped, _, err := memberStopped(c).Check(ctx)
	return err == nil && !stopped, "nothing listens", err
}
