package membership

import (
	"cmp"
	"slices"
)

// stopped decides while etcd has no quorum. It was never started, or is down: the difference is
// everything, and is told from what is on the hosts.
func (s *situation) stopped() ([]Action, error) {
	if len(s.leaving) > 0 {
		return nil, refuse("the removal of %s was asked for, but no member of etcd answers through a quorum, and only a quorum can remove a member", list(s.leaving)).
			remedy("bring etcd back first: start the hosts that have its data and run again without the removal")
	}
	if len(s.hosts) == 0 {
		return nil, refuse("no host of the inventory is to be a member of etcd, and none answers").
			remedy("give at least one host the role control-plane")
	}
	known, marked := s.lastKnown()
	switch {
	case marked:
		return s.await(known)
	case len(s.where(s.hasData)) > 0:
		return s.resume()
	case len(s.views) > 0:
		return nil, refuse("a new etcd would be made, but an etcd without a quorum answers on %s, which the inventory does not want as a member", s.views[0].Host).
			remedy("take %s into the inventory; if its data is not needed, reset it", s.views[0].Host)
	}
	if unseen := s.where(func(h Host) bool { return !h.Seen }); len(unseen) > 0 {
		return nil, refuse("a new etcd would be made, but %s not reached: %s; a member with data could be there", wasWere(len(unseen)), list(names(unseen))).
			remedy("bring %s back, or take them out of the inventory if they never were members", list(names(unseen)))
	}
	return s.bootstrap(s.hosts, "no host has data of etcd: it is a new cluster"), nil
}

func wasWere(n int) string {
	if n == 1 {
		return "1 host was"
	}
	return count(n, "host") + " were"
}

// where returns the hosts that match.
func (s *situation) where(match func(Host) bool) []Host {
	var found []Host
	for _, h := range s.hosts {
		if match(h) {
			found = append(found, h)
		}
	}
	return found
}

// hasData says that a host is known to have data: it was seen, or its member answered.
func (s *situation) hasData(h Host) bool {
	_, answered := s.view(h.Name)
	return answered || (h.Seen && h.Data)
}

// marks are the marks of the hosts that were seen.
func (s *situation) marks() [][]string {
	var marks [][]string
	for _, h := range s.hosts {
		if h.Seen && h.Mark != nil {
			marks = append(marks, peerSet(h.Mark))
		}
	}
	return marks
}

// lastKnown returns the peer URLs of the voters that etcd had at last, from the marks, and whether
// there is a mark at all. A mark is as old as the last whole look, so they may differ; what the
// members that run without a quorum remember is held beside them. The largest holds, since it asks
// for the most: too many lead to a refusal, too few to a wait that never ends. Of equal ones the
// one that most hosts have does.
func (s *situation) lastKnown() (known []string, marked bool) {
	candidates := s.marks()
	if len(candidates) == 0 {
		return nil, false
	}
	for _, v := range s.views {
		if voters := remembered(v); len(voters) > 0 {
			candidates = append(candidates, voters)
		}
	}
	share := func(of []string) int {
		n := 0
		for _, c := range candidates {
			if slices.Equal(c, of) {
				n++
			}
		}
		return n
	}
	best := slices.MaxFunc(candidates, func(a, b []string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(share(a), share(b)), slices.Compare(b, a))
	})
	if share(best) < len(candidates) {
		s.note("the hosts remember different members of etcd; the largest list counts: %s", list(best))
	}
	return best, true
}

// remembered returns the voters that a member without a quorum remembers.
func remembered(v View) []string {
	var voters []string
	for _, m := range v.Members {
		if !m.Learner {
			voters = append(voters, m.PeerURLs...)
		}
	}
	return peerSet(voters)
}

// resume decides where there is data and no mark: etcd was never seen whole. That is a bring-up
// that was interrupted, or a cluster that was made by something else.
func (s *situation) resume() ([]Action, error) {
	if unseen := s.where(func(h Host) bool { return !h.Seen }); len(unseen) > 0 {
		return nil, refuse("etcd has no quorum, %s data, and was never seen whole; not reached: %s, where more of it may be",
			hasHave(names(s.where(s.hasData))), list(names(unseen))).
			remedy("bring %s back first", list(names(unseen)))
	}
	empty := s.where(func(h Host) bool { return !s.hasData(h) })
	if len(empty) == 0 {
		return s.start("every host has its data; etcd is started and its quorum awaited", nil), nil
	}
	if s.unfinished() {
		s.note("the first start of etcd was interrupted; %s data and is started before the others", hasHave(names(s.where(s.hasData))))
		return s.bootstrap(empty, "the first start of etcd was interrupted before it came to this host"), nil
	}
	known, silent := s.told()
	if silent != "" {
		return nil, refuse("%s has data of etcd, but neither a mark nor a manifest says which members etcd had; without data: %s", silent, list(names(empty))).
			remedy("restore the manifest of etcd on %s; if its data is not needed, reset it and run again", silent)
	}
	if len(s.atPeers(known, s.hasData)) >= majority(len(known)) {
		return s.await(known)
	}
	return nil, refuse("etcd was begun on %s with other members than the inventory has now: then %s, now %s",
		list(names(s.where(s.hasData))), list(known), wantedInitial(s.hosts)).
		remedy("restore the inventory that it was begun with, or reset %s to begin anew", list(names(s.where(s.hasData))))
}

// told returns the peer URLs that hosts with data were started with, or remember, and a host of
// which neither is known.
func (s *situation) told() (known []string, silent string) {
	for _, h := range s.where(s.hasData) {
		v, _ := s.view(h.Name)
		its := slices.Concat(initialPeers(h.Initial), remembered(v))
		if len(its) == 0 {
			silent = h.Name
		}
		known = append(known, its...)
	}
	return peerSet(known), silent
}

func hasHave(hosts []string) string {
	if len(hosts) == 1 {
		return hosts[0] + " has"
	}
	return list(hosts) + " have"
}

// unfinished reports whether all that there is comes from the very initial cluster that is wanted
// now. Members of it have the same IDs wherever and whenever they start, so those that are missing
// can still be started from it.
func (s *situation) unfinished() bool {
	want := wantedInitial(s.hosts)
	for _, h := range s.hosts {
		if (h.Initial == "" && s.hasData(h)) || (h.Initial != "" && !sameInitial(h.Initial, want)) {
			return false
		}
	}
	for _, v := range s.views {
		if _, wanted := s.host(v.Host); !wanted {
			return false
		}
		if voters := remembered(v); len(voters) > 0 && !slices.Equal(voters, initialPeers(want)) {
			return false
		}
	}
	return true
}

// bootstrap starts hosts from the one initial cluster of all.
func (s *situation) bootstrap(hosts []Host, reason string) []Action {
	var actions []Action
	for _, h := range hosts {
		actions = append(actions, Action{Kind: Bootstrap, Host: h.Name, PeerURL: h.PeerURL, InitialCluster: wantedInitial(s.hosts), Reason: reason})
	}
	return actions
}

// start starts the hosts that have data of the known members, or of one that came to them since.
// nil are all.
func (s *situation) start(reason string, known []string) []Action {
	var actions []Action
	for _, h := range s.where(s.hasData) {
		if known != nil && !s.belongs(h, known) {
			s.note("%s has data of etcd that is not known to be of this cluster, and is not started", h.Name)
			continue
		}
		actions = append(actions, Action{Kind: Wait, Host: h.Name, PeerURL: h.PeerURL, Reason: reason})
	}
	return actions
}

// belongs reports whether the data on a host is of the cluster of the known members: it is one of
// them, or was told of one.
func (s *situation) belongs(h Host, known []string) bool {
	_, answered := s.view(h.Name)
	told := slices.Concat([]string{h.PeerURL}, h.Mark, initialPeers(h.Initial))
	return answered || slices.ContainsFunc(peerSet(told), func(peer string) bool { return slices.Contains(known, peer) })
}

// atPeers returns the hosts at the peer URLs that match.
func (s *situation) atPeers(peers []string, match func(Host) bool) []Host {
	return s.where(func(h Host) bool { return slices.Contains(peers, canonical(h.PeerURL)) && match(h) })
}
