package engine_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"kubewright/internal/etcd"
)

// etcdClient asks one member.
type etcdClient struct {
	lab    *etcdLab
	config etcd.Config
}

var (
	errRefused = errors.New("connection refused")
	errLearner = errors.New("it is a learner")
)

// ask calls f with the member that was asked while it runs, and whether there is a quorum.
func (c *etcdClient) ask(ctx context.Context, f func(self *etcd.Member, quorum bool) error) error {
	addr := strings.TrimPrefix(c.config.Endpoint, "https://")
	conn, err := c.config.Dial(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	_ = conn.Close()
	ip, _, _ := net.SplitHostPort(addr)
	e := c.lab
	e.guard.Lock()
	defer e.guard.Unlock()
	e.settle()
	name := e.nameAt(ip)
	self := e.running(name)
	switch {
	case e.silent[name]:
		return context.DeadlineExceeded
	case self == nil:
		return errRefused
	}
	quorum := e.quorum()
	if e.away > 0 && !self.Learner {
		e.away--
		quorum = false
	}
	return f(self, quorum)
}

func (c *etcdClient) View(ctx context.Context) (etcd.View, error) {
	var view etcd.View
	err := c.ask(ctx, func(self *etcd.Member, quorum bool) error {
		view = etcd.View{ClusterID: 7, MemberID: self.ID, Learner: self.Learner}
		if !self.Learner {
			view.Quorum, view.Members = quorum, slices.Clone(c.lab.members)
		}
		return nil
	})
	return view, err
}

// change is ask for what only a voter does, with a quorum, and while etcd takes itself for healthy.
func (c *etcdClient) change(ctx context.Context, f func(self *etcd.Member) error) error {
	return c.ask(ctx, func(self *etcd.Member, quorum bool) error {
		switch {
		case self.Learner:
			return errLearner
		case !quorum:
			return etcd.ErrNoQuorum
		case c.lab.unhealthy > 0:
			c.lab.unhealthy--
			return fmt.Errorf("not now: %w", etcd.ErrUnhealthy)
		}
		return f(self)
	})
}

func (e *etcdLab) index(id uint64) int {
	return slices.IndexFunc(e.members, func(m etcd.Member) bool { return m.ID == id })
}

func (c *etcdClient) AddLearner(ctx context.Context, peerURL string) (added etcd.Member, all []etcd.Member, err error) {
	e := c.lab
	err = c.change(ctx, func(*etcd.Member) error {
		if i := slices.IndexFunc(e.members, func(m etcd.Member) bool { return slices.Contains(m.PeerURLs, peerURL) }); i >= 0 {
			added, all = e.members[i], slices.Clone(e.members)
			return nil
		}
		voters, up := e.voters()
		switch {
		case slices.ContainsFunc(e.members, func(m etcd.Member) bool { return m.Learner }):
			return etcd.ErrTooManyLearners
		case voters > 1 && up <= (voters+1)/2:
			return etcd.ErrUnhealthy
		}
		e.nextID++
		added = etcd.Member{ID: e.nextID, PeerURLs: []string{peerURL}, Learner: true}
		e.members = append(e.members, added)
		all = slices.Clone(e.members)
		ip, _, _ := net.SplitHostPort(strings.TrimPrefix(peerURL, "https://"))
		e.note("add " + e.nameAt(ip))
		return nil
	})
	return added, all, err
}

func (c *etcdClient) Promote(ctx context.Context, id uint64) error {
	e, lost := c.lab, false
	err := c.change(ctx, func(*etcd.Member) error {
		i := e.index(id)
		switch {
		case i < 0:
			return etcd.ErrMemberGone
		case !e.members[i].Learner:
			return nil
		case e.notInSync != 0 || e.running(e.members[i].Name) == nil:
			e.notInSync = max(e.notInSync-1, -1)
			return etcd.ErrNotInSync
		}
		e.members[i].Learner, lost = false, e.unanswered
		e.note("promote " + e.members[i].Name)
		return nil
	})
	if lost {
		<-ctx.Done()
		return etcd.ErrUnanswered
	}
	return err
}

func (c *etcdClient) Remove(ctx context.Context, id uint64) error {
	e := c.lab
	return c.change(ctx, func(self *etcd.Member) error {
		i := e.index(id)
		switch {
		case i < 0:
			return nil
		case self.ID == id:
			e.t.Errorf("%s was asked to remove itself", self.Name)
		}
		gone := e.members[i]
		e.members = slices.Delete(e.members, i, i+1)
		if !e.quorum() {
			e.t.Errorf("without %s there is no quorum any more", gone.Name)
		}
		ip, _, _ := net.SplitHostPort(strings.TrimPrefix(gone.PeerURLs[0], "https://"))
		e.note("remove " + cmp.Or(gone.Name, e.nameAt(ip)))
		return nil
	})
}

func (c *etcdClient) Close() error { return nil }
