package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"kubewright/cluster"
	"kubewright/internal/fault"
	"kubewright/internal/membership"
	"kubewright/internal/plan"
	"kubewright/internal/report"
	"kubewright/internal/sh"
	"kubewright/inventory"
)

// ResetOptions say what a reset may cost.
type ResetOptions struct {
	// Force cleans members of etcd that the others go on to count, and data that may be the last.
	Force bool
}

// Reset removes from the hosts in scope what their manifests list, and the containers,
// interfaces and packet filter rules that ran on top of it. It needs no API and no CA, and no
// host outside its scope unless it leaves a part of the members of etcd: those that are left are
// asked then. confirm is shown the plan first.
func (e *Engine) Reset(ctx context.Context, o ResetOptions, confirm func(*plan.Plan) error) (_ *plan.Plan, _ []Stats, err error) {
	defer e.begin("reset")(&err)
	ctx, locks := holdLocks(ctx)
	defer func() { err = taken(ctx, err) }()
	s, err := e.openForReset(ctx, locks)
	if err != nil {
		return nil, nil, err
	}
	defer s.Close()
	p := &plan.Plan{Cluster: e.Cluster.Name}
	if err := s.ours(); err != nil {
		return p, s.stats(), err
	}
	for _, m := range s.hosts {
		if len(m.observed.Manifest) > 0 {
			m.plan = plan.Reset(m.Name, m.observed.Manifest)
			p.Hosts = append(p.Hosts, m.plan)
		}
	}
	asked, err := e.mayDiscard(ctx, s, o)
	if err != nil {
		return p, append(s.stats(), asked...), err
	}
	s.warnOfKept(e.Cluster)
	if err := confirm(p); err != nil {
		return p, append(s.stats(), asked...), err
	}
	s.each(s.hosts, func(m *member) { m.err = s.persist(ctx, m, s.resumeReset, s.reset) })
	var errs []error
	for _, m := range s.hosts {
		errs = append(errs, m.err)
	}
	return p, append(s.stats(), asked...), errors.Join(errs...)
}

// mayDiscard refuses a reset of hosts with data of etcd, but not of all of its members, unless etcd
// itself says that they are none any more. It returns what it cost to ask the members that are left.
func (e *Engine) mayDiscard(ctx context.Context, s *Session, o ResetOptions) ([]Stats, error) {
	var leaving []membership.Host
	others := *e.Cluster
	others.Hosts = slices.DeleteFunc(slices.Clone(e.Cluster.Hosts), e.Limit)
	for _, m := range s.hosts {
		if m.Has(inventory.RoleEtcd) && m.facts.Foreign.EtcdData {
			leaving = append(leaving, membership.Host{Name: m.Name, PeerURL: cluster.PeerURL(m.Host), Seen: true, Data: true})
		}
	}
	if len(leaving) == 0 || len(others.EtcdMembers()) == 0 {
		return nil, nil
	}
	look := *e
	look.Cluster, look.Limit = &others, func(inventory.Host) bool { return false }
	left := look.survey(ctx, nil)
	defer left.Close()
	var w membership.World
	if err := left.adopt(); err == nil && !left.newPKI { // else no member can be asked
		left.etcd.hosts = left.etcdHosts()
		w = left.etcdWorld(ctx)
	}
	w.Hosts = append(w.Hosts, leaving...)
	err := membership.MayDiscard(w, leaving)
	if err != nil && o.Force {
		s.emit(report.Event{Kind: report.Warning, Message: "etcd: " + err.Error()})
		err = nil
	}
	if err != nil {
		err = refusal(err)
	}
	return left.stats(), err
}

// warnOfKept says that a reset of control planes leaves the data in an etcd that somebody else runs.
func (s *Session) warnOfKept(whole *cluster.Cluster) {
	planes := slices.ContainsFunc(s.hosts, func(m *member) bool { return m.Has(inventory.RoleControlPlane) && len(m.plan.Items) > 0 })
	if kept := whole.KeptInEtcd(); planes && kept != "" {
		s.emit(report.Event{Kind: report.Warning, Message: kept})
	}
}

// openForReset connects to the hosts in scope only: a cluster whose control plane is gone
// can still be cleaned up.
func (e *Engine) openForReset(ctx context.Context, locks *locks) (*Session, error) {
	scoped := *e
	c := *e.Cluster
	c.Hosts = e.Cluster.Select(e.Limit)
	scoped.Cluster = &c
	return scoped.open(ctx, locks)
}

// ours refuses hosts that carry the mark of another cluster: one of another name, or of several that
// have the same.
func (s *Session) ours() error {
	var errs []error
	hosts := map[string][]string{} // by the cluster's ID
	for _, m := range s.hosts {
		name, id, ok := m.facts.Marker()
		switch {
		case !ok:
		case name != s.Cluster.Name:
			errs = append(errs, fault.New(fault.Preflight, "the host belongs to the cluster %q (%s), not to %q", name, id, s.Cluster.Name).On(m.Name))
		default:
			hosts[id] = append(hosts[id], m.Name)
		}
	}
	if len(hosts) > 1 {
		var parts []string
		for _, id := range slices.Sorted(maps.Keys(hosts)) {
			parts = append(parts, strings.Join(hosts[id], ", ")+" to "+id)
		}
		errs = append(errs, fault.New(fault.Preflight, "the hosts belong to different clusters that are all named %q: %s", s.Cluster.Name, strings.Join(parts, "; ")).
			WithHint("take out of the inventory what is not of this cluster, or pick hosts with --limit"))
	}
	return errors.Join(errs...)
}

// resumeReset finds out what is left on a host whose reset was cut short.
func (s *Session) resumeReset(ctx context.Context, m *member) error {
	if err := s.reconnect(ctx, m); err != nil {
		return err
	}
	if _, err := s.keepLock(ctx, m); err != nil {
		return err
	}
	answers, err := s.ask(ctx, m, nil)
	if err == nil {
		m.plan = plan.Reset(m.Name, answers.Manifest)
	}
	return err
}

// reset empties the host's manifest, and then removes what holds it: the last thing of
// ours, also where an earlier reset was cut before it.
func (s *Session) reset(ctx context.Context, m *member) error {
	m.asked = nil
	if _, err := s.keepLock(ctx, m); err != nil {
		return err
	}
	if err := s.removeAll(ctx, m); err != nil {
		return err
	}
	return s.forgetAll(ctx, m)
}

func (s *Session) removeAll(ctx context.Context, m *member) error {
	if len(m.plan.Items) == 0 {
		return nil
	}
	answers, err := s.perform(ctx, m, plan.ResetTasks(m.plan))
	if err != nil {
		return err
	}
	if left := len(answers.Manifest); left > 0 {
		var ids []string
		for id := range answers.Manifest {
			ids = append(ids, id)
		}
		return &fault.Error{Kind: fault.ChangeFailed, Host: m.Name, Op: "reset", Err: fmt.Errorf("%d things are left: %s", left, strings.Join(ids, ", "))}
	}
	return nil
}

func (s *Session) forgetAll(ctx context.Context, m *member) error {
	_, err := s.perform(ctx, m, []sh.Task{{ID: "state", Phase: "prune", Steps: []sh.Step{sh.DaemonReload{}, sh.RemoveDir{Path: sh.StateDir, Tree: true}}}})
	return err
}
