// Package membership decides what to do about the members of etcd, the one part of a cluster in
// which a wrong step loses data. It computes only: it is given what was seen, and returns the next
// actions, each with its reason, or a refusal that says what to do instead.
//
// Two things are never done. A new cluster is never made where an old one may be left: not beside
// a host that was not looked at, not beside data, not beside a mark. And a member is never removed
// or added when those that are known to be healthy would not be a majority afterwards. What is not
// known is never taken for absent: a host that was not reached may have data, a member that was
// not asked may be alive, and neither counts as healthy.
//
// What etcd accepts is that of etcd 3.7, which refuses more than the arithmetic of Raft does.
package membership

import "slices"

// Tri is an answer that may be missing.
type Tri int

// The answers. The zero value is the one that proves nothing.
const (
	Unknown Tri = iota
	Yes
	No
)

// Host is a host that the inventory wants to be a member.
type Host struct {
	Name string
	// PeerURL is where its member is reached by the others, for example https://10.0.0.1:2380.
	PeerURL string
	// Seen says that the host was looked at in this run. Of a host that was not, nothing below is
	// believed.
	Seen bool
	// Data says that etcd's data folder on the host has a member.
	Data bool
	// Mark has the peer URLs of the voters that etcd had when kubewright last saw it whole. It is
	// nil on a host without a mark.
	Mark []string
	// Initial is --initial-cluster of the manifest on the host, "" without one.
	Initial string
}

// Member is an entry of etcd's list of members.
type Member struct {
	ID uint64
	// Name is empty for a member that was added and has never started.
	Name     string
	PeerURLs []string
	Learner  bool
	// Healthy is Yes for a voter that answers a linearizable read, and for a learner that answers
	// at all, since learners serve no such reads. No is for one that was asked and did not answer,
	// Unknown for one that nobody could ask.
	Healthy Tri
}

// View is what the member on a host answered.
type View struct {
	// Host is the host that was asked; "" is a list of members that came from elsewhere.
	Host string
	// ClusterID and MemberID are those of the member itself, 0 where it did not say.
	ClusterID, MemberID uint64
	// Quorum says that it answered a linearizable read. Only then Members is the truth; without
	// it, Members is the list as that one member remembers it, and may be empty.
	Quorum  bool
	Members []Member
}

// World is what is known when a decision is made. No order in it matters.
type World struct {
	// Hosts are those that the inventory wants as members.
	Hosts []Host
	// Views has one entry for each host whose member answered.
	Views []View
	// Remove names hosts or members that were asked to be removed. A host of the inventory that is
	// named here is removed and does not join again as long as it is named.
	Remove []string
	// Joining says that a machine joins by itself: there may be others that do, and that are not among Hosts.
	Joining bool
}

// At tells whether the other members reach the member at a peer URL, however that is written.
func (m Member) At(peerURL string) bool {
	return slices.Contains(peerSet(m.PeerURLs), canonical(peerURL))
}

// Voters are the members that vote, in a list that a quorum has confirmed; none without such a list.
func (w World) Voters() []Member {
	i := slices.IndexFunc(w.Views, func(v View) bool { return v.Quorum })
	if i < 0 {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(w.Views[i].Members), func(m Member) bool { return m.Learner })
}

// Kind is what an action does.
type Kind string

// The kinds.
const (
	// Bootstrap starts the first member of a host from the one initial cluster of all hosts. All
	// such actions of a decision belong together, and run in parallel. Hosts with data are started
	// before, so that etcd can notice a member that has existed already.
	Bootstrap Kind = "bootstrap"
	// Start starts, on its host, a member that etcd has in its list: state "existing", with
	// InitialCluster. It is done when the member has its name in the list and answers.
	Start Kind = "start"
	// Add adds the host to the list of members, as a learner with PeerURL.
	Add Kind = "add"
	// Promote makes a voter of a learner, when it is in sync.
	Promote Kind = "promote"
	// Remove takes a member out of the list.
	Remove Kind = "remove"
	// SetAside moves the data of a former member on a host aside, before the host joins anew.
	SetAside Kind = "set-aside"
	// Wait starts what is on a host, and waits for the quorum. Nothing is decided before.
	Wait Kind = "wait"
)

// Action is one step.
type Action struct {
	Kind Kind
	// Host is the host that the action is about; "" if the member is on none of the inventory.
	Host string
	// PeerURL is that of the host, or of the member to be removed.
	PeerURL string
	// MemberID is the member of a Start, Promote or Remove. It is 0 in what Foresee returns for
	// members that do not exist yet, or whose number is not known yet.
	MemberID uint64
	// InitialCluster is --initial-cluster of a Bootstrap or Start.
	InitialCluster string
	// Reason says why, for a person.
	Reason string
}

// Decision is what may be done now.
type Decision struct {
	// Actions may be taken now, at most one of them a change of the list of members. When they are
	// done, the world is looked at again. None are left when etcd has all members that can be had.
	Actions []Action
	// Notices are sentences on what is left as it is, and should be known.
	Notices []string
}

// Refused is a decision not to touch anything.
type Refused struct {
	// Reason names the hosts, the numbers and the arithmetic.
	Reason string
	// Remedy is what to do.
	Remedy string
}

// Error returns the reason. The remedy is a hint, and is shown apart.
func (r *Refused) Error() string { return r.Reason }

// Decide returns the next actions that may be taken now. The error is a *Refused.
func Decide(w World) (Decision, error) {
	s, err := assess(w)
	if err != nil {
		return Decision{}, err
	}
	return s.decide()
}

func (s *situation) decide() (Decision, error) {
	next := s.stopped
	if s.quorum {
		next = s.running
	}
	actions, err := next()
	if err != nil {
		return Decision{}, err
	}
	return Decision{Actions: actions, Notices: s.notices}, nil
}
