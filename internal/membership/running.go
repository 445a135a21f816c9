package membership

import (
	"cmp"
	"slices"
)

// running decides while etcd has a quorum. The order is: what was asked, then repair, then finish
// what was begun, then grow. One change of the list at a time, since each is weighed against the
// list as it is.
func (s *situation) running() ([]Action, error) {
	s.noteMembers()
	steps := []func() ([]Action, error){
		s.removeAsked, s.removeLost, s.removeReplaced, s.removeUnusable, s.startAdded, s.promoteLearner, s.joinNext,
	}
	for _, step := range steps {
		if actions, err := step(); err != nil || len(actions) > 0 {
			return actions, err
		}
	}
	return nil, nil
}

// removal is the action, if the arithmetic allows it.
func (s *situation) removal(m member, reason string) ([]Action, error) {
	if err := s.mayRemove(m); err != nil {
		return nil, err
	}
	return []Action{{Kind: Remove, Host: m.host, PeerURL: m.peerURL(), MemberID: m.ID, Reason: reason}}, nil
}

// removeAsked removes what was asked for. What does no harm by going goes first, since each
// removal of a dead voter makes the quorum smaller and the next removal safer.
func (s *situation) removeAsked() ([]Action, error) {
	var targets []member
	for _, name := range s.leaving {
		found, err := s.named(name)
		if err != nil {
			return nil, err
		}
		targets = append(targets, found...)
	}
	if len(targets) == 0 {
		return nil, nil
	}
	harm := func(m member) int {
		if m.Learner || !m.healthy() {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(targets, func(a, b member) int { return cmp.Compare(harm(a), harm(b)) })
	return s.removal(targets[0], "its removal was asked for")
}

// named finds the member that is meant by a name: that of the host of the inventory, or one of that
// name that no host of the inventory stands for.
func (s *situation) named(name string) ([]member, error) {
	var found []member
	for _, m := range s.members {
		if m.host == name || (m.host == "" && m.Name == name) {
			found = append(found, m)
		}
	}
	if len(found) > 1 {
		return nil, refuse("the removal of %s was asked for, and etcd has %s of that name: %s at %s, and %s at %s",
			name, count(len(found), "member"), hex(found[0].ID), found[0].peerURL(), hex(found[1].ID), found[1].peerURL()).
			remedy("remove the one that is meant by its ID: etcdctl member remove %s, or %s", hex(found[0].ID), hex(found[1].ID))
	}
	return found, nil
}

// removeLost removes members that have run and whose hosts have no data any more. They must not
// come back under the same ID: a voter that forgot what it agreed to breaks what the others rely
// on. So the host joins anew, as another member.
func (s *situation) removeLost() ([]Action, error) {
	for _, h := range s.hosts {
		m, is := s.memberOf(h.Name)
		if !is || !m.started() || !h.Seen || h.Data || !s.stays(h.Name) {
			continue
		}
		if m.alive() {
			return nil, refuse("%s has no data of etcd, but its member %s at %s is alive: it runs somewhere else, or on a folder that is not looked at",
				h.Name, hex(m.ID), m.peerURL()).
				remedy("find out which machine has the address %s; run again when %s is the one, or when the member is stopped", m.peerURL(), h.Name)
		}
		return s.removal(m, "the host has lost the data of its member, and joins anew")
	}
	return nil, nil
}

// removeReplaced removes the member of a machine whose place a host without data has taken: the
// same name, another address. It has to be known to be dead, since it was not seen to be.
func (s *situation) removeReplaced() ([]Action, error) {
	for _, h := range s.hosts {
		if _, is := s.memberOf(h.Name); is || !h.Seen || !s.stays(h.Name) {
			continue
		}
		for _, m := range s.members {
			if m.host != "" || m.Name != h.Name {
				continue
			}
			switch {
			case m.alive():
				return nil, refuse("the inventory has %s at %s, but a member of that name (%s) is alive at %s", h.Name, h.PeerURL, hex(m.ID), m.peerURL()).
					remedy("give the new host another name, or stop etcd on the old machine; to remove the old member while it runs: kubewright node remove %s", h.Name)
			case h.Data:
				return nil, addressChanged(h, m)
			case m.Healthy == Unknown:
				return nil, refuse("the inventory has %s at %s, and etcd a member of that name (%s) at %s, of which nobody knows whether it is alive", h.Name, h.PeerURL, hex(m.ID), m.peerURL()).
					remedy("run again when the other members can be asked; if the old machine is gone: kubewright node remove %s", h.Name)
			}
			return s.removal(m, "its machine was replaced: "+h.Name+" is now at "+h.PeerURL)
		}
	}
	return nil, nil
}

// removeUnusable removes members that were added for a host and have never started, where the host
// has the data of something else: that would be started in its place.
func (s *situation) removeUnusable() ([]Action, error) {
	for _, h := range s.hosts {
		m, is := s.memberOf(h.Name)
		if !is || m.started() || !h.Seen || !h.Data || !s.stays(h.Name) || s.isItsOwn(h, m) {
			continue
		}
		return s.removal(m, "it has never started, and the data on the host is not known to be its own; the host joins anew")
	}
	return nil, nil
}

// isItsOwn reports whether the data on a host is that of a member which has not told its name yet,
// as it is in the moments after a start: it answers, or the host was given just this list.
func (s *situation) isItsOwn(h Host, m member) bool {
	if m.answers {
		return true
	}
	_, answered := s.view(h.Name)
	return !answered && h.Initial != "" && slices.Equal(initialPeers(h.Initial), initialPeers(s.existingInitial()))
}

// startAdded starts members that are in the list and do not run: those that were added, and
// learners, which nobody misses. Voters of old are started like everything else on their hosts.
func (s *situation) startAdded() ([]Action, error) {
	var actions []Action
	for _, h := range s.hosts {
		m, is := s.memberOf(h.Name)
		if !is || !h.Seen || !s.stays(h.Name) || (m.started() && (!m.Learner || m.healthy())) {
			continue
		}
		reason := "it was added and has not started yet"
		if m.started() {
			reason = "it is a learner and does not answer"
		}
		actions = append(actions, Action{
			Kind: Start, Host: h.Name, PeerURL: h.PeerURL, MemberID: m.ID, InitialCluster: s.existingInitial(), Reason: reason,
		})
	}
	return actions, nil
}

// promoteLearner makes a voter of the learner of a host.
func (s *situation) promoteLearner() ([]Action, error) {
	for _, h := range s.hosts {
		m, is := s.memberOf(h.Name)
		if !is || !m.Learner || !m.started() || !m.healthy() || !s.stays(h.Name) {
			continue
		}
		if err := s.mayPromote(m); err != nil {
			return nil, err
		}
		return []Action{{Kind: Promote, Host: h.Name, PeerURL: h.PeerURL, MemberID: m.ID, Reason: "it is a learner, and is to vote"}}, nil
	}
	return nil, nil
}

// joinNext lets the first host join that is in nobody's list. What a former member left there is
// moved aside before, and only when nothing stands in the way of joining.
func (s *situation) joinNext() ([]Action, error) {
	for _, h := range s.hosts {
		if _, is := s.memberOf(h.Name); is || !h.Seen || !s.stays(h.Name) {
			continue
		}
		if err := s.noLearner(h); err != nil {
			return nil, err
		}
		if err := s.mayGrow(h); err != nil {
			return nil, err
		}
		if !h.Data {
			return []Action{{Kind: Add, Host: h.Name, PeerURL: h.PeerURL, Reason: "the inventory wants it as a member"}}, nil
		}
		if err := s.isFormer(h); err != nil {
			return nil, err
		}
		return []Action{{Kind: SetAside, Host: h.Name, PeerURL: h.PeerURL, Reason: "its data is that of a former member, which etcd does not list any more"}}, nil
	}
	return nil, nil
}

// noLearner refuses to add a second learner: etcd has one at most (--max-learners). Those that
// could become voters are voters by now.
func (s *situation) noLearner(joining Host) error {
	for _, m := range s.members {
		if !m.Learner {
			continue
		}
		r := refuse("%s cannot join: etcd takes one learner at a time, and has %s at %s already", joining.Name, m, m.peerURL())
		if m.host == "" && s.joining {
			return r.remedy("another control plane may be joining: wait until it has, or run kubewright join there again; only if that machine is gone for good: %s", byHand(m))
		}
		if m.host == "" {
			return r.remedy("no host of the inventory is at that address; remove it: %s", byHand(m))
		}
		return r.remedy("bring %s back, so that it can become a voter, or remove it: kubewright node remove %s", m.host, m.host)
	}
	return nil
}

// isFormer refuses to move data aside that may be that of another cluster, or of this one as it
// ought to be.
func (s *situation) isFormer(h Host) error {
	if v, answered := s.view(h.Name); answered && v.ClusterID == 0 {
		return refuse("%s runs an etcd that is none of the members, and does not say of which cluster it is", h.Name).
			remedy("look at it by hand; if it is not needed, reset %s and run again", h.Name)
	}
	if h.Mark == nil {
		return nil
	}
	marked := peerSet(h.Mark)
	if !slices.ContainsFunc(s.members, func(m member) bool {
		return slices.ContainsFunc(marked, m.At)
	}) {
		return refuse("%s has data of etcd, and its mark names the members %s, none of which is a member of this cluster: it is the data of another one",
			h.Name, list(marked)).
			remedy("take %s out of the inventory; if its data is not needed, reset it and run again", h.Name)
	}
	outside := s.atPeers(marked, func(h Host) bool {
		_, is := s.memberOf(h.Name)
		return !is && s.hasData(h)
	})
	if len(outside) >= majority(len(marked)) {
		return refuse("%s have data of etcd and are no members, but by the mark on %s they are %d of %s, a quorum of their own: which of the two is the cluster is not for a program to decide",
			list(names(outside)), h.Name, len(outside), count(len(marked), "member")).
			remedy("if etcd as it runs now is the right one, reset %s and run again", list(names(outside)))
	}
	return nil
}
