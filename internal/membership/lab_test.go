package membership

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
)

// lab is a cluster as it really is, of which a World tells a part. It has the rules of etcd 3.7,
// and fails the test when an action breaks one, or would lose data or the quorum.
type lab struct {
	t     *testing.T
	r     *rand.Rand
	seed  uint64
	hosts []*labHost
	list  []*labMember
	asked []string
	next  uint64
}

type labHost struct {
	Host
	dataOf uint64 // the member whose data it has, 0 for none
}

type labMember struct {
	Member
	up bool
	// telling says that its health can be found out in this run.
	telling bool
}

// newLab makes a cluster of any kind, in any shape in which one may be met.
func newLab(t *testing.T, seed uint64) *lab {
	l := &lab{t: t, r: rand.New(rand.NewPCG(seed, 1)), seed: seed, next: 0x100}
	for i := 1; i <= 1+l.r.IntN(6); i++ {
		n := strconv.Itoa(i)
		l.hosts = append(l.hosts, &labHost{Host: Host{Name: "cp" + n, PeerURL: url(n), Seen: l.one(12) != 0}})
	}
	switch l.one(6) {
	case 0:
		return l // nothing was ever here
	case 1:
		l.bringUp()
		return l
	}
	for _, h := range l.hosts {
		if l.one(3) != 0 {
			l.voter(h.Name, h.PeerURL, h)
		}
	}
	for i := range l.one(3) {
		n := strconv.Itoa(7 + i)
		name := "old" + n
		if l.one(3) == 0 {
			name = l.hosts[l.one(len(l.hosts))].Name // a machine that was replaced
		}
		l.voter(name, url(n), nil)
	}
	l.learner()
	l.leftovers()
	for _, h := range l.hosts {
		if l.one(10) == 0 {
			l.asked = append(l.asked, h.Name)
		}
	}
	if l.one(4) == 0 {
		l.asked = append(l.asked, "old7")
	}
	return l
}

// bringUp is a first start that was interrupted: every host was to be a voter, and some have begun.
func (l *lab) bringUp() {
	for _, h := range l.hosts {
		m := &labMember{Member: Member{ID: l.id(), Name: h.Name, PeerURLs: []string{h.PeerURL}}, telling: true}
		l.list = append(l.list, m)
		if l.one(2) == 0 {
			m.up, h.dataOf, h.Initial = l.one(3) != 0, m.ID, wantedInitial(l.world().Hosts)
		}
	}
}

func (l *lab) one(of int) int { return l.r.IntN(of) }

func (l *lab) id() uint64 {
	l.next += 1 + uint64(l.one(9))
	return l.next
}

// voter adds a voter that was there from the beginning; mostly it is well.
func (l *lab) voter(name, peer string, h *labHost) {
	m := &labMember{Member: Member{ID: l.id(), Name: name, PeerURLs: []string{peer}}, up: l.one(6) != 0, telling: l.one(8) != 0}
	l.list = append(l.list, m)
	if h != nil && (m.up || l.one(2) == 0) {
		h.dataOf = m.ID
	}
}

// learner adds what an interrupted run may leave.
func (l *lab) learner() {
	for _, h := range l.hosts {
		if l.member(h.PeerURL) != nil || l.one(4) != 0 || len(l.list) == 0 {
			continue
		}
		m := &labMember{Member: Member{ID: l.id(), PeerURLs: []string{h.PeerURL}, Learner: true}}
		if l.one(2) == 0 {
			m.Name, m.up, m.telling, h.dataOf = h.Name, l.one(3) != 0, true, m.ID
		}
		l.list = append(l.list, m)
		return
	}
}

// leftovers are data of former members, and marks.
func (l *lab) leftovers() {
	for _, h := range l.hosts {
		if h.dataOf == 0 && l.member(h.PeerURL) == nil && l.one(4) == 0 {
			h.dataOf = l.id()
		}
		if l.member(h.PeerURL) != nil && l.one(3) != 0 {
			h.Mark = l.mark()
		}
	}
	// A cluster that left neither data nor a mark on any host of the inventory is not to be known
	// of by anybody.
	if !slices.ContainsFunc(l.hosts, func(h *labHost) bool { return h.dataOf != 0 || h.Mark != nil }) {
		l.hosts[0].Mark = l.mark()
	}
}

// mark has the voters.
func (l *lab) mark() []string {
	var mark []string
	for _, m := range l.list {
		if !m.Learner {
			mark = append(mark, m.PeerURLs[0])
		}
	}
	return mark
}

func (l *lab) member(peer string) *labMember {
	i := slices.IndexFunc(l.list, func(m *labMember) bool { return m.PeerURLs[0] == peer })
	if i < 0 {
		return nil
	}
	return l.list[i]
}

func (l *lab) byID(id uint64) *labMember {
	i := slices.IndexFunc(l.list, func(m *labMember) bool { return m.ID == id })
	if i < 0 {
		return nil
	}
	return l.list[i]
}

func (l *lab) byName(host string) *labHost {
	i := slices.IndexFunc(l.hosts, func(h *labHost) bool { return h.Name == host })
	if i < 0 {
		return nil
	}
	return l.hosts[i]
}

// voters counts those of the list, and those that are up.
func (l *lab) voters() (n, up int) {
	for _, m := range l.list {
		if !m.Learner {
			n++
			if m.up && m.Name != "" {
				up++
			}
		}
	}
	return n, up
}

func (l *lab) quorum() bool {
	n, up := l.voters()
	return n > 0 && 2*up > n
}

// world is what a run sees of it.
func (l *lab) world() World {
	w := World{Remove: slices.Clone(l.asked)}
	var members []Member
	for _, m := range l.list {
		seen := m.Member
		if m.telling {
			seen.Healthy = No
			if m.up {
				seen.Healthy = Yes
			}
		}
		members = append(members, seen)
	}
	for _, h := range l.hosts {
		host := h.Host
		host.Data = h.dataOf != 0 && h.Seen
		w.Hosts = append(w.Hosts, host)
		if m := l.byID(h.dataOf); m != nil && m.up && h.Seen {
			v := View{Host: h.Name, ClusterID: 7, MemberID: m.ID, Quorum: l.quorum() && !m.Learner}
			if v.Quorum {
				v.Members = slices.Clone(members)
			}
			w.Views = append(w.Views, v)
		}
	}
	return w
}

func (l *lab) fail(format string, args ...any) {
	l.t.Helper()
	l.t.Fatalf("seed %d: %s", l.seed, fmt.Sprintf(format, args...))
}

// actAll does what a decision says.
func (l *lab) actAll(actions []Action) {
	l.t.Helper()
	if actions[0].Kind == Bootstrap {
		l.bootstrap(actions)
		return
	}
	for i, a := range actions {
		if i > 0 && a.Kind != Start && a.Kind != Wait {
			l.fail("more than one change at a time: %s", spell(actions, true))
		}
		l.act(a)
	}
}

// act does what an action says, by the rules.
func (l *lab) act(a Action) {
	l.t.Helper()
	h, m := l.byName(a.Host), l.byID(a.MemberID)
	quorum := l.quorum()
	n, up := l.voters()
	switch a.Kind {
	case Bootstrap:
		l.fail("bootstraps %s by itself", a.Host)
	case Wait:
		if m := l.byID(h.dataOf); m != nil {
			m.up = true
		}
		return
	case SetAside:
		if !quorum || h.dataOf == 0 || l.byID(h.dataOf) != nil || !h.Seen {
			l.fail("sets aside on %s: quorum %v, data of %x", a.Host, quorum, h.dataOf)
		}
		h.dataOf = 0
		return
	case Add:
		if n > 1 && up < (n+1)/2+1 {
			l.fail("etcd refuses to add %s: %d voters, %d up", a.Host, n, up)
		}
		if l.member(a.PeerURL) != nil || slices.ContainsFunc(l.list, func(m *labMember) bool { return m.Learner }) || h.dataOf != 0 || !h.Seen {
			l.fail("etcd refuses to add %s at %s", a.Host, a.PeerURL)
		}
		l.list = append(l.list, &labMember{Member: Member{ID: l.id(), PeerURLs: []string{a.PeerURL}, Learner: true}})
	case Start:
		l.start(h, m, a)
	case Promote:
		if !m.Learner || !m.up {
			l.fail("promotes %s: learner %v, up %v", a.Host, m.Learner, m.up)
		}
		m.Learner = false
	case Remove:
		l.remove(m, a)
	}
	if !quorum || !l.quorum() {
		n, up = l.voters()
		l.fail("%s %s: quorum before %v, afterwards %d of %d voters are up", a.Kind, a.Host, quorum, up, n)
	}
}

// bootstrap starts hosts from one initial cluster, together with those that have begun. Nothing but
// a cluster that never had a quorum may be there.
func (l *lab) bootstrap(actions []Action) {
	l.t.Helper()
	if l.quorum() || slices.ContainsFunc(l.hosts, func(h *labHost) bool { return h.Mark != nil || !h.Seen }) {
		l.fail("bootstraps %s over something", spell(actions, true))
	}
	for _, a := range actions {
		h, m := l.byName(a.Host), l.member(a.PeerURL)
		if want := wantedInitial(l.world().Hosts); a.Kind != Bootstrap || h.dataOf != 0 || a.InitialCluster != want {
			l.fail("%s %s from %s, want %s; its data is of %x", a.Kind, h.Name, a.InitialCluster, want, h.dataOf)
		}
		if m == nil {
			m = &labMember{Member: Member{ID: l.id(), Name: h.Name, PeerURLs: []string{h.PeerURL}}, telling: true}
			l.list = append(l.list, m)
		}
		h.dataOf, h.Initial = m.ID, a.InitialCluster
	}
	for _, m := range l.list {
		m.up = true
	}
}

// start has etcd's check of --initial-cluster against the list of members.
func (l *lab) start(h *labHost, m *labMember, a Action) {
	l.t.Helper()
	if !h.Seen || (h.dataOf != 0 && h.dataOf != m.ID) {
		l.fail("starts %s on data of %x", a.Host, h.dataOf)
	}
	var have []string
	for _, m := range l.list {
		have = append(have, m.PeerURLs...)
	}
	if got := initialPeers(a.InitialCluster); !slices.Equal(got, peerSet(have)) {
		l.fail("starts %s with %s, and the members are %v", a.Host, a.InitialCluster, have)
	}
	m.Name, m.up, m.telling, h.dataOf = h.Name, true, true, m.ID
}

func (l *lab) remove(m *labMember, a Action) {
	l.t.Helper()
	asked := slices.Contains(l.asked, a.Host) || slices.Contains(l.asked, m.Name)
	if m.up && !asked {
		l.fail("removes %s (%x), which is up, and nobody asked", a.Host, m.ID)
	}
	if n, _ := l.voters(); n == 1 && !m.Learner {
		l.fail("removes the last voter %s", a.Host)
	}
	if h := l.byName(a.Host); !asked && h != nil && h.dataOf == m.ID {
		l.fail("removes %s, whose data is there", a.Host)
	}
	l.list = slices.DeleteFunc(l.list, func(other *labMember) bool { return other == m })
}
