package membership

import (
	"fmt"
	"slices"
)

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
	return nil, s.lostForGood(known, there, missing)
}

// lostForGood refuses where too little data is left for a majority, whatever is brought back besides.
func (s *situation) lostForGood(known []string, there []Host, missing []string) error {
	lost := names(s.atPeers(known, func(h Host) bool { return h.Seen && !s.hasData(h) }))
	gone := "nothing is left of it on " + list(lost)
	if len(missing) > 0 {
		gone += "; not reached: " + list(missing)
	}
	const anew = "restore a snapshot; or, to begin anew without the data, reset all hosts and run apply"
	back := "if the disks of " + list(lost) + " can be brought back (is one not mounted at /var/lib/etcd?), do that and run again; else " + anew
	what := fmt.Sprintf("etcd has lost its quorum for good: data of %d of %s is left (%s), %d are needed; %s", len(there), count(len(known), "member"), list(names(there)), majority(len(known)), gone)
	switch {
	case len(there) == 0 && len(missing) == 0:
		what = fmt.Sprintf("all data of etcd is lost: its members were %s, and %s", list(known), gone)
	case len(there) == 1:
		back += "; or go on with the data of " + there[0].Name + byForce
	case len(there) > 1:
		back += "; or go on with the data of one of " + list(names(there)) + byForce
	}
	return refuse("%s. Nothing is changed: a new cluster is never made in place of an old one", what).remedy("%s", back)
}

// byForce is how a member that is left becomes a cluster of its own.
const byForce = ", which may lack what was written last: start etcd there once with --force-new-cluster, and run apply, with which the others join anew (docs/recovery.md)"

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
