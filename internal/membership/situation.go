package membership

import (
	"cmp"
	"slices"
	"strings"
)

// situation is the world put in order: everything sorted, members and hosts matched.
type situation struct {
	hosts   []Host // by name
	views   []View // by host
	leaving []string
	joining bool
	quorum  bool
	members []member // those of the views with a quorum, by ID
	notices []string
}

// member is an entry of etcd's list with what is known besides.
type member struct {
	Member
	// host is the host of the inventory whose member it is, "" for none.
	host string
	// answers says that a host's member answered and has this ID.
	answers bool
	// proven says that it answered in the way that proves its health.
	proven bool
}

// started says that the member has run at some time.
func (m member) started() bool { return m.Name != "" }

// healthy says that the member is known to do its part.
func (m member) healthy() bool {
	return m.started() && (m.Healthy == Yes || (m.Healthy == Unknown && m.proven))
}

// alive says that there is any sign of life.
func (m member) alive() bool { return m.Healthy == Yes || m.answers }

// String returns a name for sentences.
func (m member) String() string {
	name := cmp.Or(m.host, m.Name, "unnamed")
	return name + " (member " + hex(m.ID) + ")"
}

// peerURL is where it is for sentences; etcd lists none without.
func (m member) peerURL() string { return strings.Join(m.PeerURLs, ",") }

// assess puts the world in order, or refuses one that contradicts itself.
func assess(w World) (*situation, error) {
	s := &situation{hosts: slices.Clone(w.Hosts), views: slices.Clone(w.Views), leaving: slices.Clone(w.Remove), joining: w.Joining}
	slices.SortFunc(s.hosts, func(a, b Host) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(s.views, func(a, b View) int { return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.MemberID, b.MemberID)) })
	slices.Sort(s.leaving)
	s.leaving = slices.Compact(s.leaving)
	for _, sound := range []func() error{s.checkHosts, s.checkClusters, s.checkViews, s.readMembers, s.matchHosts} {
		if err := sound(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// host returns a host by its name.
func (s *situation) host(name string) (Host, bool) {
	i := slices.IndexFunc(s.hosts, func(h Host) bool { return h.Name == name })
	if i < 0 {
		return Host{}, false
	}
	return s.hosts[i], true
}

// hostAt returns a host by its peer URL.
func (s *situation) hostAt(peerURL string) (Host, bool) {
	i := slices.IndexFunc(s.hosts, func(h Host) bool { return canonical(h.PeerURL) == canonical(peerURL) })
	if i < 0 {
		return Host{}, false
	}
	return s.hosts[i], true
}

// view returns what the member on a host answered.
func (s *situation) view(host string) (View, bool) {
	i := slices.IndexFunc(s.views, func(v View) bool { return v.Host == host })
	if i < 0 {
		return View{}, false
	}
	return s.views[i], true
}

// stays says that a host is not asked to be removed.
func (s *situation) stays(host string) bool { return !slices.Contains(s.leaving, host) }

// memberOf returns the member of a host.
func (s *situation) memberOf(host string) (member, bool) {
	i := slices.IndexFunc(s.members, func(m member) bool { return m.host == host })
	if i < 0 {
		return member{}, false
	}
	return s.members[i], true
}

func (s *situation) checkHosts() error {
	named, at := make(map[string]bool), make(map[string]string)
	for _, h := range s.hosts {
		peer := canonical(h.PeerURL)
		switch other, twice := at[peer]; {
		case h.Name == "" || h.PeerURL == "":
			return refuse("a host that is to be a member of etcd has no name or no peer URL: name %q, peer URL %q", h.Name, h.PeerURL).
				remedy("give it both in the inventory")
		case named[h.Name]:
			return refuse("two hosts that are to be members of etcd are called %s", h.Name).
				remedy("give each a name of its own")
		case twice:
			return refuse("%s and %s have the same peer URL %s", other, h.Name, h.PeerURL).
				remedy("give each an address of its own in the inventory")
		}
		named[h.Name], at[peer] = true, h.Name
	}
	return nil
}

// checkClusters refuses members of different clusters: whichever would be chosen, the data of the
// other would be taken for spare.
func (s *situation) checkClusters() error {
	clusters := make(map[uint64][]string)
	var ids []uint64
	for _, v := range s.views {
		if v.ClusterID == 0 {
			continue
		}
		if clusters[v.ClusterID] == nil {
			ids = append(ids, v.ClusterID)
		}
		clusters[v.ClusterID] = append(clusters[v.ClusterID], v.Host)
	}
	if len(ids) < 2 {
		return nil
	}
	slices.SortFunc(ids, func(a, b uint64) int { return cmp.Compare(clusters[a][0], clusters[b][0]) })
	parts := make([]string, len(ids))
	for i, id := range ids {
		parts[i] = "cluster " + hex(id) + " on " + list(clusters[id])
	}
	return refuse("the members of etcd belong to %d different clusters: %s", len(ids), strings.Join(parts, "; ")).
		remedy("decide which one is meant, and take the hosts of the other out of the inventory, or reset them")
}

// checkViews refuses answers that cannot come from where they seem to come from.
func (s *situation) checkViews() error {
	asked, owner := make(map[string]bool), make(map[uint64]string)
	for _, v := range s.views {
		if v.Host == "" {
			continue
		}
		if asked[v.Host] {
			return refuse("%s gave two answers on the members of etcd", v.Host).remedy("run again")
		}
		asked[v.Host] = true
		if h, known := s.host(v.Host); known && h.Seen && !h.Data {
			return refuse("the member of etcd on %s answers, but its data folder is empty: it runs on a folder that was deleted under it, or on another one", v.Host).
				remedy("look at the etcd of %s by hand; to join it anew, stop it and run again", v.Host)
		}
		if v.MemberID == 0 {
			continue
		}
		if other, twice := owner[v.MemberID]; twice {
			return refuse("%s and %s both answer as member %s: one has a copy of the data of the other, or both lead to one address", other, v.Host, hex(v.MemberID)).
				remedy("stop the copy and reset its host")
		}
		owner[v.MemberID] = v.Host
	}
	return nil
}
