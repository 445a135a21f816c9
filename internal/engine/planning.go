package engine

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"kubewright/cluster"
	"kubewright/internal/catalog"
	"kubewright/internal/check"
	"kubewright/internal/facts"
	"kubewright/internal/fault"
	"kubewright/internal/kube"
	"kubewright/internal/plan"
	"kubewright/internal/report"
	"kubewright/internal/resource"
	"kubewright/internal/sh"
	"kubewright/inventory"
	"kubewright/templates"
)

// plan turns what was seen into what would be done, for the hosts in scope and the API.
func (s *Session) plan(ctx context.Context) (*plan.Plan, error) {
	start := s.Now()
	defer func() {
		s.emit(report.Event{Kind: report.Exec, Message: "plan", Duration: s.Now().Sub(start)})
	}()
	adopted := s.adopt()
	p := &plan.Plan{Cluster: s.Cluster.Name, NewPKI: s.newPKI, Unreached: map[string]error{}}
	p.CA, p.Absent = s.knownID(), s.absent
	for _, m := range s.hosts {
		if m.err != nil {
			p.Unreached[m.Name] = m.err
			continue
		}
	}
	var err error
	p.Checks, err = s.preflight()
	if err := errors.Join(adopted, err); err != nil {
		return p, err
	}
	if err := s.beginsWhole(); err != nil {
		return p, err
	}
	w := s.checkWorld()
	p.States = w.States()
	var tried sync.WaitGroup
	tried.Go(func() { s.tryLinks(ctx, w, false) })
	endpoints := s.tryEndpoints()
	tried.Go(func() { endpoints(ctx) })
	if err = s.target(ctx); err == nil {
		err = s.foresee(ctx)
	}
	if err == nil {
		err = s.planHosts(ctx)
	}
	tried.Wait()
	found, refused := s.preflight(check.Artifacts, check.Reach, check.Endpoint, check.ExternalEtcd, check.ExternalEtcdData)
	p.Checks = append(p.Checks, found...)
	switch {
	case refused != nil:
		return p, refused
	case err != nil:
		return p, err
	}
	if err := s.leaveWays(p.States); err != nil {
		return p, err
	}
	for _, m := range s.wanted() {
		p.Hosts = append(p.Hosts, s.limited(m.plan))
	}
	p.Actions = s.memberActions()
	if p.Objects, err = s.planObjects(ctx); err != nil {
		return p, err
	}
	var nodes []kube.NodeSummary
	if s.apiThere {
		if nodes, err = s.nodes(ctx); err != nil {
			return p, err
		}
	}
	p.Orphans = s.orphans(nodes)
	s.tellLeftOut(nodes)
	return p, nil
}

func (s *Session) nodes(ctx context.Context) ([]kube.NodeSummary, error) {
	client, err := s.client("")
	if err != nil {
		return nil, err
	}
	return client.Nodes(ctx)
}

// orphans are the nodes of the cluster that are no hosts of the inventory.
func (s *Session) orphans(nodes []kube.NodeSummary) []string {
	if s.joins {
		return nil // not all hosts are known
	}
	var names []string
	for _, n := range nodes {
		if !slices.ContainsFunc(s.Cluster.Hosts, func(h inventory.Host) bool { return h.Name == n.Name }) {
			names = append(names, n.Name)
		}
	}
	return names
}

// tellLeftOut says which hosts the run has not looked at, and what the API says of them.
func (s *Session) tellLeftOut(nodes []kube.NodeSummary) {
	if s.joins {
		return
	}
	var out, away []string
	for _, h := range s.Cluster.Hosts {
		if slices.ContainsFunc(s.hosts, func(m *member) bool { return m.Name == h.Name }) {
			continue
		}
		out = append(out, h.Name)
		if slices.ContainsFunc(nodes, func(n kube.NodeSummary) bool { return n.Name == h.Name && !n.Ready }) {
			away = append(away, h.Name)
		}
	}
	if len(out) == 0 {
		return
	}
	said := "not looked at, as --limit leaves them out: " + strings.Join(out, ", ")
	if len(away) > 0 {
		said += "; their nodes are not Ready: " + strings.Join(away, ", ")
	}
	s.emit(report.Event{Kind: report.Notice, Message: said})
}

// wanted are the members in the scope of this run.
func (s *Session) wanted() []*member {
	var out []*member
	for _, m := range s.hosts {
		if m.wanted {
			out = append(out, m)
		}
	}
	return out
}

// planned are those of them that were seen.
func (s *Session) planned() []*member {
	return slices.DeleteFunc(s.wanted(), func(m *member) bool { return !m.seen })
}

// limited leaves out the items of phases that were not asked for, and what is not pruned.
func (s *Session) limited(h plan.Host) plan.Host {
	leftOut := func(it plan.Item) bool { return it.Phase == "prune" || s.Only != nil && !s.Only[it.Phase] }
	if s.prunes() || !slices.ContainsFunc(h.Items, leftOut) {
		return h
	}
	return plan.Host{Name: h.Name, Items: slices.DeleteFunc(slices.Clone(h.Items), leftOut)}
}

// prunes tells whether what is wanted no more is taken from hosts.
func (s *Session) prunes() bool { return s.Only == nil && !s.keeps }

// preflight judges all hosts together, from facts that the look brought, with all checks or
// those that are named. The error is of what refuses.
func (s *Session) preflight(only ...string) ([]check.Result, error) {
	results, err := check.Preflight(s.checkWorld(), only...)
	if err != nil {
		return results, fault.Wrap(fault.BadInput, err)
	}
	var refusals []error
	for _, r := range check.Grouped(results) {
		if r.Severity == check.Refuse && !r.Ignored {
			refusals = append(refusals, &fault.Error{Kind: fault.Preflight, Host: r.Host, Op: r.Check, Err: errors.New(r.Message), Hint: r.Remedy})
		}
	}
	return results, errors.Join(refusals...)
}

// checkWorld is what the checks look at: all hosts that were seen.
func (s *Session) checkWorld() check.World {
	w := check.World{
		ClusterName: s.Cluster.Name, Version: s.Cluster.Version, PodCIDR: s.Cluster.Network.PodCIDR, ServiceCIDR: s.Cluster.Network.ServiceCIDR,
		Unfetchable: map[string][]string{}, SourceFailure: s.sourceFailure,
		MustFetch: s.Cluster.Artifacts.Delivery == "fetch", Pushed: s.Cluster.Artifacts.Delivery == "push",
		Facts: map[string]facts.Facts{}, ClockSkew: map[string]time.Duration{}, Traces: map[string]check.Traces{}, Ignore: s.ignored(),
		ProxyMode: s.Cluster.Network.ProxyMode, VXLANPort: s.Cluster.VXLANPort(), BGP: s.Cluster.BGP(), PodPools: s.Cluster.PodNetworks()[1:], APIServerPort: s.Cluster.APIPort,
		DNSForward: len(s.Cluster.Addons.CoreDNS.Forward) > 0,
	}
	w.NFS, w.NFSHost = s.Cluster.Addons.NFS.Enabled, s.Cluster.Addons.NFSHost
	if s.Cluster.LocalBalancer {
		w.BalancerPorts = []int{cluster.LocalBalancerPort, cluster.LocalBalancerHealthPort}
	}
	_, w.EvictionSet = s.Cluster.KubeletConfig["evictionHard"]
	w.ClusterID, w.CAFingerprint = s.knownID(), s.knownID()
	w.Endpoints = s.endpoints()
	w.Closed, w.Unprobed = s.links.closed, s.links.unprobed
	w.Etcd = s.externalEtcd
	for _, m := range s.hosts {
		if m.observed == nil {
			continue
		}
		w.Hosts = append(w.Hosts, check.Host{
			Name: m.Name, NodeIP: m.NodeIP, ControlPlane: m.Has(inventory.RoleControlPlane),
			Etcd: m.Has(inventory.RoleEtcd), Worker: m.Has(inventory.RoleWorker),
			InScope: m.wanted,
		})
		w.Facts[m.Name], w.ClockSkew[m.Name] = m.facts, m.skew
		w.Traces[m.Name], w.Unfetchable[m.Name] = s.traces(m), m.unfetchable
	}
	return w
}

// ignored names the checks whose refusal stops nothing.
func (s *Session) ignored() []string { return slices.Concat(s.Cluster.IgnoreChecks, s.IgnoreChecks) }

// traces counts what our manifest on a host lists, and what is wanted there and not in it. A
// folder that was there before us is never in it, and not missed.
func (s *Session) traces(m *member) check.Traces {
	files, err := s.caFiles(m)
	t := check.Traces{Draft: err == nil && m.Has(inventory.RoleControlPlane) && s.unfinished(m, files)}
	_, t.Balancer = m.observed.Manifest[string(resource.FileID(templates.HAProxyConfigPath))]
	for _, digest := range m.observed.Manifest {
		if sh.Pending(digest) {
			t.Begun++
		} else {
			t.Applied++
		}
	}
	if m.lists == nil {
		m.lists = s.listed(m)
	}
	if m.lists.err != nil {
		t.Missing++ // what cannot be told is not complete; the plan says why
	}
	for _, id := range m.lists.ids {
		if _, listed := m.observed.Manifest[string(id)]; !listed {
			t.Missing++
		}
	}
	return t
}

// listing is what the manifest of a host that is complete lists.
type listing struct {
	ids []resource.ID
	err error
}

// listed names what the manifest of a host ought to list, by its facts.
func (s *Session) listed(m *member) *listing {
	groups, err := plan.Desired(s.Phases, s.Cluster, plan.Target{Host: m.Host, Looked: true, Facts: m.facts})
	l := &listing{err: err}
	for _, g := range groups {
		for _, r := range g.Resources {
			if id := r.ID(); id.Kind() != "dir" {
				l.ids = append(l.ids, id)
			}
		}
	}
	return l
}

// target completes what is known of each host: facts, authorities, artifacts.
func (s *Session) target(ctx context.Context) error {
	s.targets = map[string]plan.Target{}
	byArch := map[string]map[string]resource.Artifact{}
	for _, m := range s.hosts {
		if m.observed == nil {
			continue
		}
		arch := m.facts.Arch
		if _, ok := byArch[arch]; !ok {
			files := s.Cluster.Release.Files(arch)
			if len(files) == 0 {
				return fault.New(fault.Preflight, "architecture %s is not supported; supported: %v", arch, catalog.Arches()).On(m.Name)
			}
			resolved, err := s.Files.Resolve(ctx, files)
			if err != nil {
				if ctx.Err() == nil {
					s.sourceFailure = err
				}
				return err
			}
			byArch[arch] = resolved
		}
		m.target = plan.Target{Host: m.Host, Looked: true, Facts: m.facts, PKI: s.pki, Artifacts: byArch[arch], Env: s.env()}
		s.targets[m.Name] = m.target
	}
	return nil
}

// planHosts compares each host in scope that was seen. Where facts brought up a question that was not asked,
// the host is looked at once more.
func (s *Session) planHosts(ctx context.Context) error {
	members := s.planned()
	s.each(members, func(m *member) { m.err = s.planHost(ctx, m) })
	var errs []error
	for _, m := range members {
		errs = append(errs, m.err)
	}
	return errors.Join(errs...)
}

func (s *Session) planHost(ctx context.Context, m *member) error {
	var err error
	if m.groups, err = plan.Desired(s.Phases, s.Cluster, m.target); err != nil {
		return err
	}
	probes := probesOf(m.groups)
	if !m.asked.Covers(probes) {
		asked := s.looks.of(probes)
		if m.observed, err = s.ask(ctx, m, asked); err != nil {
			return err
		}
		m.asked = asked
	}
	if m.plan, err = plan.ForHost(m.Name, m.groups, m.observed); err != nil {
		return err
	}
	return s.decideDelivery(ctx, m)
}

// manifest reads an upstream manifest through the store.
func (s *Session) manifest(ctx context.Context, a resource.Artifact) ([]byte, error) {
	path, err := s.Files.Open(ctx, a)
	if err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}
