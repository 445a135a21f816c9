package membership

import (
	"cmp"
	"slices"
)

// readMembers takes the list of members from the views that have a quorum.
func (s *situation) readMembers() error {
	var first string
	for _, v := range s.views {
		if !v.Quorum {
			continue
		}
		found := slices.Clone(v.Members)
		slices.SortFunc(found, func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })
		knowsItself := v.MemberID == 0 || slices.ContainsFunc(found, func(m Member) bool { return m.ID == v.MemberID })
		if len(found) == 0 || !knowsItself {
			return refuse("etcd on %s answers through a quorum, but its list of members does not have itself (member %s)", v.Host, hex(v.MemberID)).
				remedy("look at the list with etcdctl member list, then run again")
		}
		if !s.quorum {
			s.quorum, first = true, v.Host
			for _, m := range found {
				s.members = append(s.members, member{Member: m})
			}
			continue
		}
		if !s.merge(found) {
			return refuse("etcd on %s and on %s list different members: the list is being changed at this moment", first, v.Host).
				remedy("let whoever changes it finish, then run again")
		}
	}
	for i, m := range s.members {
		for _, v := range s.views {
			if v.Host != "" && v.MemberID == m.ID {
				s.members[i].answers = true
				s.members[i].proven = v.Quorum || m.Learner
			}
		}
	}
	return nil
}

// merge adds what another list knows of the same members, and reports whether they are the same.
// A name may have been published in between; of two verdicts on the health the worse holds.
func (s *situation) merge(found []Member) bool {
	if len(found) != len(s.members) {
		return false
	}
	for i, m := range found {
		known := &s.members[i]
		if m.ID != known.ID || m.Learner != known.Learner || !slices.Equal(peerSet(m.PeerURLs), peerSet(known.PeerURLs)) ||
			(m.Name != known.Name && m.Name != "" && known.Name != "") {
			return false
		}
		known.Name = cmp.Or(m.Name, known.Name)
		known.Healthy = max(known.Healthy, m.Healthy)
	}
	return true
}

// matchHosts finds the member of each host: the one whose ID its own member answers with, else the
// one with its peer URL. Names prove nothing here: etcd lets two members share one.
func (s *situation) matchHosts() error {
	if !s.quorum {
		return nil
	}
	for _, h := range s.hosts {
		own, at := -1, -1
		view, answered := s.view(h.Name)
		for i, m := range s.members {
			if answered && view.MemberID == m.ID {
				own = i
			}
			if m.At(h.PeerURL) {
				at = i
			}
		}
		switch {
		case own >= 0 && at >= 0 && own != at:
			return refuse("%s answers as member %s, but its peer URL %s is that of member %s", h.Name, hex(s.members[own].ID), h.PeerURL, hex(s.members[at].ID)).
				remedy("give %s the address that its member was made with, or reset it", h.Name)
		case own >= 0 && at < 0 && s.stays(h.Name):
			return addressChanged(h, s.members[own])
		}
		found := max(own, at)
		if found < 0 {
			continue
		}
		if other := s.members[found].host; other != "" {
			return refuse("member %s has the peer URLs of both %s and %s", hex(s.members[found].ID), other, h.Name).
				remedy("give each host a member of its own: etcdctl member update %s", hex(s.members[found].ID))
		}
		s.members[found].host = h.Name
	}
	return nil
}

// addressChanged refuses a host whose member has another peer URL than the inventory gives it: the
// others would look for it where it is no more.
func addressChanged(h Host, m member) error {
	return refuse("%s has data of etcd and is now at %s, but the member %s is at %s: its address has changed", h.Name, h.PeerURL, hex(m.ID), m.peerURL()).
		remedy("give %s its old address again, or join it anew: kubewright node replace %s", h.Name, h.Name)
}
