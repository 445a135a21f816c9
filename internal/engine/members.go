package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"kubewright/certs"
	"kubewright/cluster"
	"kubewright/internal/etcd"
	"kubewright/internal/fault"
	"kubewright/internal/membership"
	"kubewright/internal/plan"
	"kubewright/internal/report"
	"kubewright/internal/resource"
	"kubewright/internal/sh"
	"kubewright/inventory"
	"kubewright/templates"
)

// EtcdMember is what is asked of a member of etcd, and how the others change who is one.
type EtcdMember interface {
	View(ctx context.Context) (etcd.View, error)
	AddLearner(ctx context.Context, peerURL string) (etcd.Member, []etcd.Member, error)
	Promote(ctx context.Context, id uint64) error
	Remove(ctx context.Context, id uint64) error
	Close() error
}

// etcdState is what this run knows of etcd. But for data it stays as it was when the plan was made.
type etcdState struct {
	// phase is the one in which hosts become members, "" where these phases have none.
	phase string
	// running is set when there are members, whether they answer or not; quorum, when most of them
	// answered while the plan was made; settled, when this run changes no membership.
	running, quorum, settled bool
	// hosts are those that the inventory wants as members, as they were seen when the plan was made.
	hosts []membership.Host
	// data is what this run has changed of that.
	data *memberData
	// planes are the hosts that were control planes when the plan was made: those on which a run that
	// was cut had come as far as the kubelet, without which nothing is there to be waited for.
	planes map[string]bool
	// foreseen are the changes of the membership, in the order in which they will be made.
	foreseen []membership.Action
	// pair is what the run authenticates to members with, made when it is first needed.
	pair func() (certs.Pair, error)
}

// memberData says which hosts have got data of a member in this run, or have it no more.
type memberData struct {
	mu      sync.Mutex
	changed map[string]bool
}

func (d *memberData) set(host string, there bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.changed[host] = there
}

// now are hosts as they are by now.
func (d *memberData) now(hosts []membership.Host) []membership.Host {
	d.mu.Lock()
	defer d.mu.Unlock()
	hosts = slices.Clone(hosts)
	for i, h := range hosts {
		if there, changed := d.changed[h.Name]; changed {
			hosts[i].Data = there
		}
	}
	return hosts
}

// newEtcdState begins a run's knowledge of etcd.
func (s *Session) newEtcdState() etcdState {
	return etcdState{phase: s.membersPhase(), data: &memberData{changed: map[string]bool{}}, pair: sync.OnceValues(func() (certs.Pair, error) {
		return s.pki.Etcd.Issue(certs.Request{CommonName: "kube-etcd-healthcheck-client", Client: true, Lifetime: operatorLifetime}, s.env())
	})}
}

// foresee finds out who the members of etcd are, and how they become those that the inventory
// wants. What would cost the quorum is refused here, before anything is changed.
func (s *Session) foresee(ctx context.Context) error {
	if s.etcd.phase == "" || !slices.ContainsFunc(s.wanted(), func(m *member) bool { return m.Has(inventory.RoleEtcd) || m.Has(inventory.RoleControlPlane) }) {
		return nil
	}
	s.etcd.planes = map[string]bool{}
	for _, m := range s.hosts {
		s.etcd.planes[m.Name] = m.seen && m.Has(inventory.RoleControlPlane) && m.isNode()
	}
	if s.Cluster.ExternalEtcd.Used() {
		s.foreseeExternal(ctx)
		return nil
	}
	s.etcd.hosts = s.etcdHosts()
	s.etcd.running = slices.ContainsFunc(s.etcd.hosts, func(h membership.Host) bool { return h.Data })
	s.etcd.settled = s.Only != nil && !s.Only[s.etcd.phase]
	w := s.etcdWorld(ctx)
	s.etcd.quorum = slices.ContainsFunc(w.Views, func(v membership.View) bool { return v.Quorum })
	if s.joins && !s.etcd.quorum {
		return s.unjoinable()
	}
	if s.etcd.settled {
		s.tellVoters(w, nil)
		return s.votersOnly(w)
	}
	decision, err := membership.Decide(w)
	if err != nil {
		return refusal(err)
	}
	for _, notice := range decision.Notices {
		s.emit(report.Event{Kind: report.Notice, Message: "etcd: " + notice})
	}
	if s.etcd.foreseen, err = membership.Foresee(w); err != nil {
		return refusal(err)
	}
	s.etcd.foreseen = slices.DeleteFunc(s.etcd.foreseen, func(a membership.Action) bool {
		return a.Host != "" && !s.member(a.Host).wanted
	})
	for _, a := range s.etcd.foreseen {
		if a.Kind == membership.Bootstrap {
			s.etcd.running = false // its members start together
			s.member(a.Host).target.Etcd = plan.EtcdStart{InitialCluster: a.InitialCluster}
		}
		if a.Kind != membership.Start {
			continue
		}
		if s.Only != nil {
			return fault.New(fault.BadInput, "%s joins etcd, which takes all phases of the host, and --phase leaves some out", a.Host).WithHint("run without --phase")
		}
		s.member(a.Host).target.Etcd = plan.EtcdStart{InitialCluster: a.InitialCluster, Existing: true}
	}
	s.tellVoters(w, s.etcd.foreseen)
	return nil
}

// votersOnly refuses to give a host what needs a voter beside it, in a run that makes none of it.
func (s *Session) votersOnly(w membership.World) error {
	if !s.etcd.quorum {
		return nil // who votes is not known, and nothing new is begun
	}
	for _, p := range s.Phases {
		for _, m := range s.wanted() {
			if p.Voter && s.Only[p.Name] && s.etcdIndex(m) >= 0 && !votes(w, m.Name) {
				return fault.New(fault.BadInput, "the phase %s needs a member of etcd that votes, and --phase leaves out %s", p.Name, s.etcd.phase).
					On(m.Name).WithHint("run without --phase")
			}
		}
	}
	return nil
}

// tellVoters tells all hosts who votes in etcd when this run is through. While no majority answers
// that is not known, and what was noted last holds.
func (s *Session) tellVoters(w membership.World, foreseen []membership.Action) {
	voters := map[string]string{} // name by peer URL
	for _, v := range w.Voters() {
		if len(v.PeerURLs) > 0 {
			voters[v.PeerURLs[0]] = v.Name
		}
	}
	if len(voters) == 0 {
		foreseen = nil // what changes is known, but not of what: the next run tells
	}
	for _, a := range foreseen {
		if a.Kind == membership.Remove {
			delete(voters, a.PeerURL)
		}
		if a.Kind == membership.Promote {
			voters[s.peerURL(a.Host)] = a.Host
		}
	}
	var list []string
	for url, name := range voters {
		list = append(list, name+"="+url)
	}
	slices.Sort(list)
	for _, m := range s.hosts {
		m.target.Voters = strings.Join(list, ",")
		if noted := m.noted(); len(list) == 0 && s.etcd.running && noted != "" {
			m.target.Voters = noted
		}
	}
}

func (s *Session) peerURL(host string) string { return cluster.PeerURL(s.member(host).Host) }

// noted is what the host was told of the members last, "" for nothing.
func (m *member) noted() string {
	if m.observed == nil {
		return ""
	}
	return strings.TrimSpace(string(m.observed.Files[sh.MembersPath].Content))
}

// notedPeers are the peer URLs of the members that the host was told of last.
func (m *member) notedPeers() []string {
	var urls []string
	if mark := m.noted(); mark != "" {
		for _, member := range strings.Split(mark, ",") {
			_, url, _ := strings.Cut(member, "=")
			urls = append(urls, url)
		}
	}
	return urls
}

// memberActions are the changes of the membership as a plan shows them. That a member is started is
// seen from what changes on its host.
func (s *Session) memberActions() []plan.Action {
	shown := []membership.Kind{membership.Add, membership.Promote, membership.Remove, membership.SetAside}
	var actions []plan.Action
	for _, a := range s.etcd.foreseen {
		if slices.Contains(shown, a.Kind) {
			actions = append(actions, plan.Action{Host: a.Host, What: string(a.Kind), Reason: a.Reason})
		}
	}
	return actions
}

// refusal is the error of a change of the membership that is not made.
func refusal(err error) error {
	var refused *membership.Refused
	if errors.As(err, &refused) {
		return fault.New(fault.Unhealthy, "%s", refused.Reason).During("etcd").WithHint("%s", refused.Remedy)
	}
	return err
}

func (s *Session) membersPhase() string {
	i := slices.IndexFunc(s.Phases, func(p plan.Phase) bool { return p.Members })
	if i < 0 {
		return ""
	}
	return s.Phases[i].Name
}

// etcdHosts are the hosts that the inventory wants as members, as the look has shown them.
func (s *Session) etcdHosts() []membership.Host {
	var hosts []membership.Host
	for _, h := range s.Cluster.EtcdMembers() {
		host := membership.Host{Name: h.Name, PeerURL: cluster.PeerURL(h)}
		i := slices.IndexFunc(s.hosts, func(m *member) bool { return m.Name == h.Name })
		switch {
		case i < 0:
		case s.hosts[i].neighbour:
			host.Data = s.hosts[i].facts.Foreign.EtcdData
			host.Seen = host.Data
		case s.hosts[i].observed != nil:
			host = s.etcdHost(s.hosts[i])
			// One that this run leaves alone is not to join, as if it had not been looked at.
			host.Seen = host.Data || s.hosts[i].wanted
		}
		hosts = append(hosts, host)
	}
	return hosts
}

func (s *Session) etcdHost(m *member) membership.Host {
	host := membership.Host{Name: m.Name, PeerURL: cluster.PeerURL(m.Host), Seen: true, Data: m.facts.Foreign.EtcdData}
	host.Mark = m.notedPeers()
	for _, r := range s.memberParts(m) {
		if starter, ok := r.(resource.Starter); ok {
			host.Initial = starter.Flags(m.observed.Files[r.ID().Name()].Content)[templates.EtcdInitialCluster]
		}
	}
	return host
}

// memberParts are what makes a host a member, in the order in which it is taken away: the static pod,
// or the service and then its file.
func (s *Session) memberParts(m *member) []resource.Resource {
	var parts []resource.Resource
	groups, err := plan.Desired(s.Phases, s.Cluster, plan.Target{Host: m.Host})
	if err != nil {
		return nil // the look that was made with the same groups has failed before
	}
	for _, g := range groups {
		for _, r := range g.Resources {
			_, starts := r.(resource.Starter)
			if g.Phase == s.etcd.phase && (starts || r.ID().Kind() == "unit") {
				parts = append([]resource.Resource{r}, parts...)
			}
		}
	}
	return parts
}

// etcdWorld asks all members at once, each through its own host, and those that do not answer
// there once more through another.
func (s *Session) etcdWorld(ctx context.Context) membership.World {
	w := membership.World{Hosts: s.etcd.data.now(s.etcd.hosts), Joining: s.joins}
	views := make([]*etcd.View, len(s.etcd.hosts))
	var wg sync.WaitGroup
	for i, h := range w.Hosts {
		if !h.Seen || !h.Data {
			continue
		}
		wg.Go(func() {
			if view, err := s.etcdView(ctx, s.member(h.Name)); err == nil {
				views[i] = &view
			}
		})
	}
	wg.Wait()
	for i, v := range views {
		if v != nil {
			w.Views = append(w.Views, membership.View{Host: s.etcd.hosts[i].Name, ClusterID: v.ClusterID, MemberID: v.MemberID, Quorum: v.Quorum, Members: toMembers(v.Members)})
		}
	}
	s.probeMembers(ctx, &w, views)
	return w
}

func toMembers(found []etcd.Member) []membership.Member {
	members := make([]membership.Member, len(found))
	for i, m := range found {
		members[i] = membership.Member{ID: m.ID, Name: m.Name, PeerURLs: m.PeerURLs, Learner: m.Learner}
	}
	return members
}

// probeMembers finds out which members of a quorum's list are well: those that have answered, and
// those that do when they are asked through the hosts of the others.
func (s *Session) probeMembers(ctx context.Context, w *membership.World, views []*etcd.View) {
	answered := map[uint64]bool{}
	var through []*member
	var list []etcd.Member
	for i, v := range views {
		if v == nil {
			continue
		}
		answered[v.MemberID] = v.Quorum || v.Learner
		if v.Quorum {
			through, list = append(through, s.member(s.etcd.hosts[i].Name)), v.Members
		}
	}
	health := make([]membership.Tri, len(list))
	var wg sync.WaitGroup
	for i, m := range list {
		switch {
		case answered[m.ID]:
			health[i] = membership.Yes
		case len(m.ClientURLs) > 0:
			wg.Go(func() { health[i] = s.probeMember(ctx, through, m.ClientURLs[0]) })
		}
	}
	wg.Wait()
	byID := map[uint64]membership.Tri{}
	for i, m := range list {
		byID[m.ID] = health[i]
	}
	for _, v := range w.Views {
		for i := range v.Members {
			v.Members[i].Healthy = byID[v.Members[i].ID]
		}
	}
}

// probeMember asks a member through several hosts at once. One way to it is enough; that none is there
// is not said when a tunnel is what failed.
func (s *Session) probeMember(ctx context.Context, through []*member, clientURL string) membership.Tri {
	answers := make([]membership.Tri, len(through))
	var wg sync.WaitGroup
	for i, m := range through {
		wg.Go(func() {
			config, err := s.etcdConfig(m)
			if err != nil {
				return
			}
			config.Endpoint = clientURL
			view, err := s.viewAt(ctx, config)
			switch {
			case err == nil && (view.Quorum || view.Learner):
				answers[i] = membership.Yes
			case !lost(err):
				answers[i] = membership.No
			}
		})
	}
	wg.Wait()
	for _, verdict := range []membership.Tri{membership.Yes, membership.Unknown} {
		if slices.Contains(answers, verdict) {
			return verdict
		}
	}
	return membership.No
}

// etcdView asks the member on a host.
func (s *Session) etcdView(ctx context.Context, m *member) (etcd.View, error) {
	config, err := s.etcdConfig(m)
	if err != nil {
		return etcd.View{}, err
	}
	return s.viewAt(ctx, config)
}

func (s *Session) viewAt(ctx context.Context, config etcd.Config) (view etcd.View, err error) {
	client, err := s.Etcd(config)
	if err != nil {
		return etcd.View{}, err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	return client.View(ctx)
}

// voter is a client of a member other than the one on m that has a quorum behind it.
func (s *Session) voter(ctx context.Context, m *member) (EtcdMember, error) {
	err := errors.New("no other member was seen")
	for _, h := range s.etcd.data.now(s.etcd.hosts) {
		if h.Name == m.Name || !h.Seen || !h.Data {
			continue
		}
		var config etcd.Config
		if config, err = s.etcdConfig(s.member(h.Name)); err != nil {
			return nil, err
		}
		var client EtcdMember
		if client, err = s.Etcd(config); err != nil {
			return nil, err
		}
		var view etcd.View
		if view, err = client.View(ctx); err == nil && view.Quorum {
			return client, nil
		}
		err = errors.Join(err, client.Close())
	}
	return nil, fmt.Errorf("no member of etcd answers with a majority behind it: %w", err)
}
