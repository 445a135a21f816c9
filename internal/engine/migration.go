package engine

import (
	"context"
	"crypto/x509"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"kubewright/cluster"
	"kubewright/internal/check"
	"kubewright/internal/fault"
	"kubewright/internal/kube"
	"kubewright/internal/plan"
	"kubewright/internal/report"
	"kubewright/internal/resource"
	"kubewright/internal/sh"
)

// The clients of a cluster that runs are given another way to its API servers in three walks, each of
// which is through on all hosts before the next begins: the new way is opened, and seen to be open from
// every host; the clients are moved; what nobody goes by any more is taken away. A run that is cut on
// the way has left at least one way open for everybody. See ADR 17.

// leaveWays finds out whether the plan takes a way to the API servers away. A run that does not take
// all hosts through all phases leaves all ways: it cannot know who goes by them.
func (s *Session) leaveWays(states map[string]check.State) error {
	type compared struct {
		target plan.Target
		groups []plan.Group
		plan   plan.Host
	}
	planned := map[*member]compared{}
	for _, m := range s.planned() {
		planned[m] = compared{m.target, m.groups, m.plan}
	}
	if err := s.keepWays(true, states); err != nil || s.joins {
		return err // who goes by them a machine that joins cannot know
	}
	for m, all := range planned {
		s.closes = s.closes || !slices.Equal(summary(all.plan), summary(m.plan))
	}
	if !s.closes || s.Only == nil && len(planned) == len(s.Cluster.Hosts) {
		s.keeps = false
		for m, all := range planned {
			m.target, m.groups, m.plan = all.target, all.groups, all.plan
		}
		return nil
	}
	s.closes = false
	s.emit(report.Event{Kind: report.Notice, Message: "the ways to the API servers that are wanted no more stay until a run takes all hosts through all phases: " +
		"hosts that this one leaves out may go by them; nothing else is removed from hosts meanwhile"})
	return nil
}

// summary is what a plan changes, and why, without what is random in it.
func summary(h plan.Host) []string {
	var lines []string
	for _, it := range h.Changes() {
		lines = append(lines, string(it.Change.ID)+" "+it.Change.Reason)
	}
	return lines
}

// keepWays compares the hosts of the run anew, with what leads to the API servers and is wanted no more
// or without. Where nothing is to be changed, no way is taken away that could be kept, and nobody goes by one to a
// host that is clean.
func (s *Session) keepWays(keep bool, states map[string]check.State) error {
	s.keeps = keep
	var errs []error
	for _, m := range s.planned() {
		m.target.KeepsWays, m.target.VirtualIPs = keep, nil
		if keep {
			m.target.VirtualIPs = virtualIPs(m.observed)
		}
		if keep && (m.plan.Count() == 0 || states[m.Name] == check.Clean) {
			continue
		}
		var err error
		if m.groups, err = plan.Desired(s.Phases, s.Cluster, m.target); err == nil {
			m.plan, err = plan.ForHost(m.Name, m.groups, m.observed)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// virtualIPs are the addresses that the manifest of a host lists.
func virtualIPs(observed *sh.Answers) []resource.ID {
	var ids []resource.ID
	for _, name := range slices.Sorted(maps.Keys(observed.Manifest)) {
		if id := resource.ID(name); id.Kind() == "address" {
			ids = append(ids, id)
		}
	}
	return ids
}

// move is a node whose kubeconfigs are to lead to other servers.
type move struct {
	*member
	phase   string
	servers []string
}

// moves are the nodes that are to be moved. One that is to become a member of etcd serves nobody yet,
// and is moved with all that makes it a member.
func (s *Session) moves() []move {
	var moves []move
	for _, m := range s.wanted() {
		if !m.isNode() || s.changes(m) {
			continue
		}
		its := move{member: m}
		for _, g := range m.groups {
			for _, r := range g.Resources {
				k, ok := r.(resource.Kubeconfig)
				if ok && (s.Only == nil || s.Only[g.Phase]) && k.Moves(m.observed) && !slices.Contains(its.servers, k.Want.Server) {
					its.phase, its.servers = g.Phase, append(its.servers, k.Want.Server)
				}
			}
		}
		if len(its.servers) > 0 {
			moves = append(moves, its)
		}
	}
	return moves
}

// ways names the phases that lead clients to the API servers.
func (s *Session) ways() map[string]bool {
	names := map[string]bool{}
	for _, p := range s.Phases {
		if p.Way {
			names[p.Name] = true
		}
	}
	return names
}

// openWays opens the ways that clients are about to be sent on, and returns when they are open. Clients
// of a cluster that does not answer go nowhere.
func (s *Session) openWays(ctx context.Context) error {
	s.closes = s.closes && s.apiThere
	if s.closes {
		if err := s.keepWays(true, nil); err != nil {
			return err
		}
	}
	moves := s.moves()
	if len(moves) == 0 || !s.apiThere {
		return nil
	}
	ways := s.ways()
	hosts := slices.DeleteFunc(s.wanted(), func(m *member) bool { return !m.isNode() || s.changes(m) })
	switch left, on, err := s.wayLeftOut(ctx, hosts); {
	case err != nil:
		return err
	case left != "":
		return fault.New(fault.BadInput, "%s is sent to %s, which takes the phases %s first, and --phase leaves out %s", moves[0].Name,
			strings.Join(moves[0].servers, " and "), strings.Join(slices.Sorted(maps.Keys(ways)), ", "), left).On(on).WithHint("run without --phase")
	}
	s.emit(report.Event{Kind: report.Notice, Message: "clients get another way to the API servers: it is opened first, then they are moved, and what nobody goes by any more goes last"})
	s.rollout = newRollout(hosts)
	if err := s.walk(ctx, walk{only: ways, hosts: hosts}); err != nil {
		return err
	}
	return s.awaitWays(ctx, moves)
}

// wayLeftOut names a phase that has something to open and that --phase leaves out, and the host where;
// the host is "" where it is in the API.
func (s *Session) wayLeftOut(ctx context.Context, hosts []*member) (phase, on string, err error) {
	if s.Only == nil {
		return "", "", nil
	}
	ways := s.ways()
	for _, m := range hosts {
		for _, it := range m.plan.Changes() {
			if ways[it.Phase] && !s.Only[it.Phase] {
				return it.Phase, m.Name, nil
			}
		}
	}
	for _, p := range s.Phases {
		if !p.Way || p.Objects == nil || s.Only[p.Name] {
			continue
		}
		objects, err := s.objects(p, s.scope())
		if err != nil {
			return "", "", err
		}
		if changes, err := s.diffObjects(ctx, objects); err != nil || len(changes) > 0 {
			return p.Name, "", err
		}
	}
	return "", "", nil
}

// closeWays takes away what nobody goes by any more, once the cluster was seen to work without it.
func (s *Session) closeWays(ctx context.Context) error {
	if !s.closes {
		return nil
	}
	if err := s.keepWays(false, nil); err != nil {
		return err
	}
	s.etcd.foreseen = nil // it came about: who has joined does not join again
	s.emit(report.Event{Kind: report.Notice, Message: "all clients go by the ways to the API servers that are wanted: the others are taken away"})
	s.rollout = newRollout(s.wanted())
	if err := s.walk(ctx, walk{only: s.ways(), hosts: s.wanted(), prunes: true}); err != nil {
		return err
	}
	verifying := map[string]bool{}
	for _, p := range s.Phases {
		verifying[p.Name] = p.Verify
	}
	return s.walk(ctx, walk{only: verifying, hosts: s.wanted()})
}

// awaitWays returns when every API server has the names under which clients will ask for it, and every
// host reaches one where its kubeconfigs are about to lead.
func (s *Session) awaitWays(ctx context.Context, moves []move) error {
	var mu sync.Mutex
	var errs []error
	var wg sync.WaitGroup
	await := func(m *member, phase string, config kube.Config, what string) {
		wg.Go(func() {
			err := s.awaitWay(ctx, m, phase, config, what)
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
		})
	}
	for _, name := range s.sharedNames(moves) {
		for _, m := range s.controlPlanes() {
			if m.isNode() && !s.changes(m) {
				await(m, moves[0].phase, kube.Config{Server: s.apiOf(m), ServerName: name}, m.Name+" to have a certificate for "+name)
			}
		}
	}
	wg.Wait() // else it is not known of which server the answers are
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, its := range moves {
		for _, server := range its.servers {
			await(its.member, its.phase, kube.Config{Server: server}, "the API servers to answer at "+server)
		}
	}
	wg.Wait()
	return errors.Join(errs...)
}

// sharedNames are the names that all API servers must have, among those that clients are moved to.
func (s *Session) sharedNames(moves []move) []string {
	var names []string
	add := func(e cluster.Endpoint) {
		if slices.ContainsFunc(moves, func(its move) bool { return slices.Contains(its.servers, e.URL()) }) && !slices.Contains(names, e.Host) {
			names = append(names, e.Host)
		}
	}
	if s.Cluster.SharedEndpoint {
		add(s.Cluster.Endpoint)
	}
	if s.Cluster.LocalBalancer {
		add(s.Cluster.NodeEndpoint)
	}
	return names
}

// awaitWay waits for an API server to answer a host: for some seconds where this run leaves it out, and
// not at all for a certificate with another name, since it gives out none there.
func (s *Session) awaitWay(ctx context.Context, m *member, phase string, config kube.Config, what string) error {
	pair, err := s.operatorPair()
	if err != nil {
		return err
	}
	config.CAPEM, config.Client, config.Dial = s.pki.Kubernetes.CertPEM(), pair, s.dialVia(m)
	client, err := kube.New(config)
	if err != nil {
		return err
	}
	defer client.Close()
	condition := answer{client.APIReady(), what}
	if !m.wanted {
		probe, cancel := context.WithTimeout(ctx, apiProbeTimeout)
		_, _, err := condition.Check(probe)
		cancel()
		var named x509.HostnameError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &named):
			return fault.New(fault.BadInput, "clients are sent elsewhere, which takes %s first, and --limit leaves it out: %w", what, err).
				On(m.Name).WithHint("run without --limit")
		}
		limited, cancel := context.WithTimeout(ctx, apiProbeTimeout)
		defer cancel()
		ctx = limited
	}
	if err := s.awaitCondition(ctx, phase, m.Name, condition); err != nil {
		return errors.Join(err, fault.New(fault.Unhealthy, "nobody was sent there: clients go by the ways that there were before").On(m.Name).During(phase))
	}
	return nil
}

// answer is the condition that an API server answers, in other words.
type answer struct {
	kube.Condition
	what string
}

// String implements kube.Condition.
func (a answer) String() string { return a.what }
