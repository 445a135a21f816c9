package membership

// noteMembers tells what a running etcd is left with, whatever is done next.
func (s *situation) noteMembers() {
	for _, m := range s.members {
		switch {
		case m.host != "":
			s.noteHost(m)
		case m.started():
			s.note("member %s (%s) at %s is that of no host of the inventory, and is left alone (%s)", hex(m.ID), m.Name, m.peerURL(), health(m))
		default:
			s.note("member %s at %s has never started, and is that of no host of the inventory; if nobody is adding it: %s", hex(m.ID), m.peerURL(), byHand(m))
		}
	}
	for _, name := range s.leaving {
		s.noteLeaving(name)
	}
	for _, h := range s.hosts {
		if _, is := s.memberOf(h.Name); !is && !h.Seen && s.stays(h.Name) {
			s.note("%s was not reached, and is to join etcd: it does in a later run", h.Name)
		}
	}
	if n, _, _ := s.voters(); n%2 == 0 && n > 0 {
		s.note("etcd has %s at the moment, an even number, which survives the loss of no more of them than %d would", count(n, "voter"), n-1)
	}
}

// noteHost tells of a member of the inventory that does not do its part, and of which nothing can
// be decided here.
func (s *situation) noteHost(m member) {
	h, _ := s.host(m.host)
	switch {
	case !s.stays(h.Name) || m.healthy():
	case !h.Seen && !m.started():
		s.note("%s was not reached, and its member %s has not started yet", h.Name, hex(m.ID))
	case !h.Seen && m.Learner:
		s.note("%s was not reached, and its member %s does not vote yet", h.Name, hex(m.ID))
	case m.started() && !m.Learner && m.Healthy == No:
		s.note("the member %s on %s does not answer", hex(m.ID), h.Name)
	}
}

// noteLeaving tells when there is nothing to remove, and when what is removed is still wanted.
func (s *situation) noteLeaving(name string) {
	if found, err := s.named(name); err == nil && len(found) == 0 {
		s.note("the removal of %s was asked for, and etcd has no such member: nothing to do", name)
	}
	if _, wanted := s.host(name); wanted {
		s.note("%s is in the inventory still: a later run lets it join again, unless it is taken out", name)
	}
}

func health(m member) string {
	switch {
	case m.healthy():
		return "healthy"
	case m.Healthy == No:
		return "does not answer"
	default:
		return "health unknown"
	}
}
