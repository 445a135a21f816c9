package membership

import "slices"

// await decides where etcd is known to have existed: with data of a majority it comes back by
// being started; without, nothing that could be made from here would be the same cluster.
func (s *situation) await(known []string) ([]Action, error) {
	if len(known) == 0 {
		return nil, refuse("etcd has no quorum, and the marks on %s name no member: they are damaged", list(names(s.where(func(h Host) bool { return h.Seen && h.Mark != nil })))).
			remedy("find out which members etcd had; if the data is not needed, reset these hosts and run again")
	}
	if err := s.oneCluster(known); err != nil {
		return nil, err
	}
	there := s.atPeers(known, s.hasData)
	need := majority(len(known))
	if len(there) >= need {
		for _, h := range s.where(func(h Host) bool { return !s.hasData(h) }) {
			if h.Seen {
				s.note("%s has no data of etcd, and joins when etcd has its quorum back", h.Name)
			} else {
				s.note("%s was not reached", h.Name)
			}
		}
		return s.start("etcd has no quorum, but data of "+count(len(there), "member")+" of "+count(len(known), "member")+
			" is there, and "+count(need, "member")+" are enough", known), nil
	}
	missing := s.notReached(known, there)
	if len(there)+len(missing) >= need {
		return nil, refuse("etcd has no quorum: data of %d of %s was found (%s), %d are needed; not reached: %s",
			len(there), count(len(known), "member"), list(names(there)), need, list(missing)).
			remedy("bring %s back first; a new cluster is never made while they may have the data", list(missing))
	}
	if len(there) == 0 && len(missing) == 0 {
		return nil, refuse("all data of etcd is lost: its members were %s, and none of their hosts has data any more", list(known)).
			remedy("restore a snapshot; to begin anew without the data, reset all hosts")
	}
	return nil, refuse("etcd has lost its quorum for good: data of %d of %s is left (%s), %d are needed; a new cluster is never made from here",
		len(there), count(len(known), "member"), list(names(there)), need).
		remedy("restore a snapshot; if a lost disk can be brought back, do that and run again")
}

// notReached names the known members of which nothing is known: hosts that were not seen, and
// addresses that the inventory does not have.
func (s *situation) notReached(known []string, there []Host) []string {
	var missing []string
	for _, peer := range known {
		h, listed := s.hostAt(peer)
		switch {
		case !listed:
			missing = append(missing, peer+" (not in the inventory)")
		case !h.Seen && !slices.ContainsFunc(there, func(t Host) bool { return t.Name == h.Name }):
			missing = append(missing, h.Name)
		}
	}
	return missing
}

// oneCluster refuses data whose mark names none of the known members: there are two clusters, and
// which of them is meant is not to be guessed.
func (s *situation) oneCluster(known []string) error {
	for _, h := range s.where(s.hasData) {
		if !h.Seen || len(h.Mark) == 0 || slices.ContainsFunc(peerSet(h.Mark), func(peer string) bool { return slices.Contains(known, peer) }) {
			continue
		}
		return refuse("%s has data of etcd, and its mark names the members %s; by the marks of other hosts they are %s: these are two clusters",
			h.Name, list(peerSet(h.Mark)), list(known)).
			remedy("take the hosts of the one that is not meant out of the inventory, or reset them")
	}
	return nil
}
