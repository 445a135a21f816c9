package membership

import (
	"net/netip"
	"slices"
	"strings"
)

// canonical spells a peer URL in one way: an IPv6 address has several spellings, and one that etcd
// was given by hand may have another than ours.
func canonical(peerURL string) string {
	scheme, address, _ := strings.Cut(strings.TrimSuffix(peerURL, "/"), "://")
	if parsed, err := netip.ParseAddrPort(address); err == nil {
		address = netip.AddrPortFrom(parsed.Addr().Unmap(), parsed.Port()).String()
	}
	return strings.ToLower(scheme + "://" + address)
}

// peerSet returns the URLs in their one spelling, sorted, each once.
func peerSet(peerURLs []string) []string {
	set := make([]string, len(peerURLs))
	for i, u := range peerURLs {
		set[i] = canonical(u)
	}
	slices.Sort(set)
	return slices.Compact(set)
}

// wantedInitial is --initial-cluster of a new cluster of all hosts: name=URL, by name.
func wantedInitial(hosts []Host) string {
	entries := make([]string, len(hosts))
	for i, h := range hosts {
		entries[i] = h.Name + "=" + h.PeerURL
	}
	slices.Sort(entries)
	return strings.Join(entries, ",")
}

// initialPeers returns the peer URLs of an --initial-cluster.
func initialPeers(initial string) []string {
	var peers []string
	for entry := range strings.SplitSeq(initial, ",") {
		if _, peer, found := strings.Cut(entry, "="); found {
			peers = append(peers, peer)
		}
	}
	return peerSet(peers)
}

// sameInitial compares two --initial-cluster: names and URLs, whatever their order.
func sameInitial(a, b string) bool {
	entries := func(initial string) []string {
		all := strings.Split(initial, ",")
		for i, entry := range all {
			name, peer, _ := strings.Cut(entry, "=")
			all[i] = name + "=" + canonical(peer)
		}
		slices.Sort(all)
		return all
	}
	return slices.Equal(entries(a), entries(b))
}

// existingInitial is --initial-cluster of a host that joins. etcd compares it with the list of
// members (ValidateClusterAndAssignIDs): as many entries, each with the peer URLs of one member,
// learners and those that have never started included. The names are keys only: two entries of one
// name would be taken for one member with two URLs. So a member goes by its host, others by their
// own name if that is free, else by their ID.
func (s *situation) existingInitial() string {
	taken := make(map[string]bool)
	for _, h := range s.hosts {
		taken[h.Name] = true
	}
	var entries []string
	for _, m := range s.members {
		name := m.host
		if name == "" {
			name = m.Name
			if name == "" || taken[name] {
				name = hex(m.ID)
			}
			taken[name] = true
		}
		for _, peer := range m.PeerURLs {
			entries = append(entries, name+"="+peer)
		}
	}
	slices.Sort(entries)
	return strings.Join(entries, ",")
}
