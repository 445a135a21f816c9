package membership

import (
	"slices"
	"strings"
)

// majority is how many of n voters have to agree.
func majority(n int) int { return n/2 + 1 }

// voters returns how many voters there are, the names of those known to be healthy, and of the rest.
func (s *situation) voters() (n int, healthy, rest []string) {
	for _, m := range s.members {
		switch {
		case m.Learner:
		case m.healthy():
			healthy = append(healthy, m.String())
		default:
			rest = append(rest, m.String())
		}
	}
	slices.Sort(healthy)
	slices.Sort(rest)
	return len(healthy) + len(rest), healthy, rest
}

// agreed refuses a change for which no majority is known to be there.
func (s *situation) agreed(change string) error {
	n, healthy, rest := s.voters()
	if len(healthy) >= majority(n) {
		return nil
	}
	return refuse("%s needs the consent of %d of the %s of etcd; known to be healthy: %d (%s); not known to be: %s",
		change, majority(n), count(n, "voter"), len(healthy), list(healthy), list(rest)).
		remedy("bring %s back first", list(rest))
}

// mayRemove refuses a removal after which the healthy voters would not be a majority.
func (s *situation) mayRemove(m member) error {
	if m.Learner {
		return nil
	}
	n, healthy, rest := s.voters()
	if n == 1 {
		return refuse("%s is the only voter of etcd: without it there is no cluster and no data", m).
			remedy("let another host join first; to give up the cluster, reset all hosts")
	}
	if err := s.agreed("removing " + m.String()); err != nil {
		return err
	}
	left := slices.DeleteFunc(healthy, func(name string) bool { return name == m.String() })
	if len(left) >= majority(n-1) {
		return s.mayLose(m)
	}
	return refuse("removing %s would lose the quorum: of the %s that are left %d have to be healthy, and %d would be (%s)",
		m, count(n-1, "voter"), majority(n-1), len(left), list(left)).
		remedy("bring %s back first, or remove what is dead before what is alive", strings.Join(rest, ", "))
}

// MayDiscard refuses to wipe hosts whose members the others go on to count, since they are not told. A
// host that is no member any more may be wiped; where no quorum says that, the data may be the last
// there is. Those hosts are among the world's. The error is a *Refused.
func MayDiscard(w World, hosts []Host) error {
	s, err := assess(w)
	if err != nil {
		return err
	}
	leaving := names(hosts)
	slices.Sort(leaving)
	if !s.quorum {
		return refuse("%s data of etcd, and no member elsewhere answers with a majority behind it: whether that data is needed is not known", hasHave(leaving)).
			remedy("bring etcd back first, and take hosts out of the cluster with kubewright node remove; to give up the cluster, reset all hosts at once; --force cleans %s whatever comes of it", list(leaving))
	}
	var gone []string
	for _, m := range s.members {
		if slices.Contains(leaving, m.host) {
			gone = append(gone, m.String())
		}
	}
	if len(gone) == 0 {
		return nil
	}
	n, healthy, _ := s.voters()
	left := slices.DeleteFunc(healthy, func(name string) bool { return slices.Contains(gone, name) })
	return refuse("a reset does not take %s out of etcd: it would go on to count %s, of which %d have to be healthy, and %d would be (%s)",
		list(gone), count(n, "voter"), majority(n), len(left), list(left)).
		remedy("kubewright node remove takes a host out of etcd first, and then cleans it; to give up the cluster, reset all hosts at once; --force cleans %s whatever comes of it", list(leaving))
}

// mayLose refuses to remove the one member through which etcd can be asked: it would go on without
// it, but nobody could see or change it any more.
func (s *situation) mayLose(m member) error {
	if slices.ContainsFunc(s.views, func(v View) bool { return v.Quorum && v.MemberID != m.ID }) {
		return nil
	}
	return refuse("%s is the only member of etcd that answers through its host; without it, etcd could not be asked any more", m).
		remedy("bring another host with a member back first, or let one join")
}

// mayGrow refuses a new member as etcd does: it adds one, learners included, only when it would
// keep its quorum if the new one voted and never came. Only the first one is free of that.
func (s *situation) mayGrow(h Host) error {
	if err := s.agreed("letting " + h.Name + " join"); err != nil {
		return err
	}
	n, healthy, rest := s.voters()
	if n == 1 || len(healthy) >= majority(n+1) {
		return nil
	}
	return refuse("%s cannot join: %d of %s of etcd are known to be healthy (%s). With %s there would be %d, "+
		"%d of which have to be healthy; etcd adds none before they are, without counting on the new one",
		h.Name, len(healthy), count(n, "voter"), list(healthy), h.Name, n+1, majority(n+1)).
		remedy("bring %s back, or remove what is lost for good (kubewright node remove): then etcd has %s, all healthy, and %s can join",
			list(rest), count(len(healthy), "voter"), h.Name)
}

// mayPromote refuses a new voter with which the healthy ones would be no majority. The learner
// itself answers, and counts.
func (s *situation) mayPromote(m member) error {
	// A majority before is one after: a healthy voter more on both sides. That one is there is
	// what has to be known.
	return s.agreed("making " + m.String() + " a voter")
}
