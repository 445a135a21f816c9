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
// host outside its scope unless it takes data of etcd: the members that are left are asked then, or
// the notes on control planes. confirm is shown the plan first.
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
// itself says that they are none any more. The roles in the inventory may be others by now: what counts is
// what is on the hosts. It returns what it cost to ask the hosts that are left.
func (e *Engine) mayDiscard(ctx context.Context, s *Session, o ResetOptions) ([]Stats, error) {
	var leaving []membership.Host
	others := *e.Cluster
	others.Hosts = slices.DeleteFunc(slices.Clone(e.Cluster.Hosts), e.Limit)
	for _, m := range s.hosts {
		if m.Has(inventory.RoleEtcd) && m.facts.Foreign.EtcdData || m.hasMemberData() {
			leaving = append(leaving, membership.Host{Name: m.Name, PeerURL: cluster.PeerURL(m.Host), Seen: true, Data: true})
		}
	}
	if len(leaving) == 0 || len(others.Hosts) == 0 {
		return nil, nil
	}
	look := *e
	look.Cluster, look.Limit = &others, func(inventory.Host) bool { return false }
	left := look.survey(ctx, nil)
	defer left.Close()
	var err error
	if len(others.EtcdMembers()) > 0 {
		err = left.spares(ctx, leaving)
	} else {
		err = unlisted(slices.Concat(s.hosts, left.hosts), others.Hosts, leaving)
	}
	if err != nil && o.Force {
		s.emit(report.Event{Kind: report.Warning, Message: err.Error()})
		err = nil
	}
	return left.stats(), err
}

// spares asks the members that are left whether they do without those on hosts that leave.
func (s *Session) spares(ctx context.Context, leaving []membership.Host) error {
	var w membership.World
	unasked := s.adopt()
	if unasked == nil && !s.newPKI { // else no member can be asked
		s.etcd.hosts = s.etcdHosts()
		w = s.etcdWorld(ctx)
	}
	w.Hosts = append(w.Hosts, leaving...)
	err := refusal(membership.MayDiscard(w, leaving))
	if err != nil && unasked != nil {
		err = &fault.Error{Kind: fault.KindOf(err), Err: fmt.Errorf("%w; the others were not asked: %w", err, unasked)}
	}
	return err
}

// unlisted refuses a reset of data of etcd where no host that stays is to have a member, but the notes on
// hosts name members there: the inventory says that etcd is elsewhere, and it is not.
func unlisted(notes []*member, staying []inventory.Host, leaving []membership.Host) error {
	var members, wiped []string
	for _, h := range staying {
		if slices.ContainsFunc(notes, func(m *member) bool { return slices.Contains(m.notedPeers(), cluster.PeerURL(h)) }) {
			members = append(members, h.Name)
		}
	}
	if len(members) == 0 {
		return nil
	}
	for _, h := range leaving {
		wiped = append(wiped, h.Name)
	}
	names := strings.Join(wiped, ", ")
	return refusal(&membership.Refused{
		Reason: fmt.Sprintf("data of etcd is on %s, and by the notes on hosts there are members on %s too, which have to be none by the inventory and the spec: whether that data is needed is not known",
			names, strings.Join(members, ", ")),
		Remedy: fmt.Sprintf("give hosts back the role etcd, take out spec.controlPlane.etcd.external, and take hosts out of the cluster with kubewright node remove; "+
			"to give up the cluster, reset all hosts at once; --force cleans %s whatever comes of it", names),
	})
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
	answers, err := s.ask(ctx, m, sh.NewLook(nil))
	if err == nil {
		m.plan = plan.Reset(m.Name, answers.Manifest)
	}
	return err
}

// reset empties the host's manifest, and then removes what holds it: the last thing of
// ours, also where an earlier reset was cut before it.
func (s *Session) reset(ctx context.Context, m *member) error {
	m.asked = sh.NewLook(nil)
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
