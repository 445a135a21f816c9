package membership

import "slices"

// future is a world that is changed as actions would change it.
type future struct {
	world World
	// made has the IDs of members that do not exist yet.
	made map[uint64]bool
}

// Foresee returns all actions until the wanted state is reached, as far as it can be from here,
// assuming that each succeeds and that nothing else changes: for the plan that is shown. Members
// that are made on the way have no ID yet, so it is 0. A refusal that stands at the end of the way
// is returned with the actions that lead to it, so that nobody begins what cannot be finished.
func Foresee(w World) ([]Action, error) {
	f := future{world: w, made: make(map[uint64]bool)}
	f.world.Hosts, f.world.Views = slices.Clone(w.Hosts), slices.Clone(w.Views)
	// A host takes six actions at most (wait, remove, set aside, add, start, promote), a member
	// without a host one.
	return f.follow(8 * (2 + len(w.Hosts) + len(w.Remove) + f.listed()))
}

// follow decides and acts until nothing is left to do, at most so many times.
func (f *future) follow(times int) ([]Action, error) {
	var all []Action
	for range times {
		s, err := assess(f.world)
		if err != nil {
			return all, err
		}
		decision, err := s.decide()
		if err != nil || len(decision.Actions) == 0 {
			return all, err
		}
		all = append(all, f.shown(decision.Actions)...)
		f.act(s, decision.Actions)
	}
	return all, refuse("the changes of the members of etcd come to no end: %s were foreseen", count(len(all), "action")).
		remedy("report it as a fault of kubewright, with the output of etcdctl member list")
}

// listed is the largest number of members in a list.
func (f *future) listed() int {
	n := 0
	for _, v := range f.world.Views {
		n = max(n, len(v.Members))
	}
	for _, h := range f.world.Hosts {
		n = max(n, len(h.Mark))
	}
	return n
}

// shown are the actions without made up IDs.
func (f *future) shown(actions []Action) []Action {
	shown := slices.Clone(actions)
	for i := range shown {
		if f.made[shown[i].MemberID] {
			shown[i].MemberID = 0
		}
	}
	return shown
}

// act changes the world. The actions of a decision that make or bring back a cluster are one kind
// for all hosts; the others are about one list, which all views are given.
func (f *future) act(s *situation, actions []Action) {
	if kind := actions[0].Kind; kind == Bootstrap || kind == Wait {
		f.form(s, actions)
		return
	}
	members := make([]Member, 0, len(s.members))
	for _, m := range s.members {
		members = append(members, m.Member)
	}
	for _, a := range actions {
		switch a.Kind {
		case Add:
			members = append(members, Member{ID: f.newID(members), PeerURLs: []string{a.PeerURL}, Learner: true})
		case Remove:
			members = slices.DeleteFunc(members, func(m Member) bool { return m.ID == a.MemberID })
			f.silence(func(v View) bool { return v.MemberID == a.MemberID })
		case Start:
			change(members, a.MemberID, func(m *Member) { m.Name, m.Healthy = a.Host, Yes })
			f.data(a.Host, true)
		case Promote:
			change(members, a.MemberID, func(m *Member) { m.Learner = false })
		case SetAside:
			f.data(a.Host, false)
			f.silence(func(v View) bool { return v.Host == a.Host })
		case Bootstrap, Wait:
		}
	}
	f.list(members)
}

// form is the cluster that comes of a first start or of a wait: its members are the known ones, and
// whatever was started besides, as far as they can be told from here.
func (f *future) form(s *situation, actions []Action) {
	there := make(map[string]bool)
	var peers []string
	for _, a := range actions {
		there[a.Host] = true
		peers = append(peers, a.PeerURL)
		f.data(a.Host, true)
	}
	known, marked := s.lastKnown()
	if !marked {
		known, _ = s.told()
	}
	if initial := actions[0].InitialCluster; initial != "" {
		known = initialPeers(initial)
	}
	var members []Member
	for _, peer := range peerSet(append(known, peers...)) {
		m := Member{ID: f.newID(members), Name: peer, PeerURLs: []string{peer}}
		if h, listed := s.hostAt(peer); listed {
			m.Name, m.PeerURLs = h.Name, []string{h.PeerURL}
			switch {
			case there[h.Name] || s.hasData(h):
				m.Healthy = Yes
			case h.Seen:
				m.Healthy = No
			}
		}
		members = append(members, m)
	}
	// What answered without a quorum has other IDs than these, which are made up.
	f.world.Views = nil
	f.list(members)
}

// list gives the list to every view with a quorum; when the last of them was that of a removed
// member, another member would answer in its place.
func (f *future) list(members []Member) {
	quorum := false
	for i, v := range f.world.Views {
		if v.Quorum {
			f.world.Views[i].Members, quorum = members, true
		}
	}
	if !quorum {
		f.world.Views = append(f.world.Views, View{Quorum: true, Members: members})
	}
}

// silence drops the views that match.
func (f *future) silence(match func(View) bool) {
	f.world.Views = slices.DeleteFunc(f.world.Views, match)
}

func (f *future) newID(members []Member) uint64 {
	var last uint64
	for _, m := range members {
		last = max(last, m.ID)
	}
	for id := range f.made {
		last = max(last, id)
	}
	f.made[last+1] = true
	return last + 1
}

func (f *future) data(host string, is bool) {
	for i := range f.world.Hosts {
		if f.world.Hosts[i].Name == host {
			f.world.Hosts[i].Data = is
		}
	}
}

// change changes one member of a list.
func change(members []Member, id uint64, by func(*Member)) {
	if i := slices.IndexFunc(members, func(m Member) bool { return m.ID == id }); i >= 0 {
		by(&members[i])
	}
}
