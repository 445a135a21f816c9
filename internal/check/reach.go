package check

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Reach is the name of the check that looks at connections between hosts. Trying them costs
// scripts on all hosts, which is spared where the check is ignored.
const Reach = "reach"

// Link is a connection that a node opens to another. From and To are names of hosts; it goes to
// To's node IP.
type Link struct {
	From, To string
	Port     int
	Proto    string // "tcp" or "udp"
	What     string // what listens there, for example "kube-apiserver"
}

// Closed is a link that was tried and did not come about.
type Closed struct {
	Link
	Reason string // for example "timed out"
}

// meshLinks is to how many others a node is tried to connect where every node connects to every other: to
// those that follow it by name, and after the last to the first. So every node is tried from both sides, and
// hosts and links grow alike. A firewall of a host keeps off any of them; see docs/adr/0023.
const meshLinks = 16

// Links lists the connections that the nodes open to each other, sorted by From and To and then
// in the order of [ports]. What a node says to itself passes no firewall and is left out, and so is most of
// what all nodes say to all others where there are many; see meshLinks.
func Links(w World) []Link {
	hosts := slices.SortedFunc(slices.Values(w.Hosts), func(a, b Host) int { return strings.Compare(a.Name, b.Name) })
	var links []Link
	for _, p := range ports(w) {
		if p.from == nil || p.local {
			continue
		}
		var from, to []string
		for _, h := range hosts {
			if p.from(w, h) {
				from = append(from, h.Name)
			}
			if p.on(w, h) {
				to = append(to, h.Name)
			}
		}
		for _, f := range from {
			others := to
			if i, ok := slices.BinarySearch(to, f); ok {
				others = slices.Concat(to[i+1:], to[:i])
			}
			if p.mesh {
				others = others[:min(len(others), meshLinks)]
			}
			for _, t := range others {
				links = append(links, Link{From: f, To: t, Port: p.number, Proto: p.proto, What: p.what})
			}
		}
	}
	slices.SortStableFunc(links, func(a, b Link) int {
		return cmp.Or(strings.Compare(a.From, b.From), strings.Compare(a.To, b.To))
	})
	return links
}

// checkReach refuses connections that were tried in vain, those from a host to another together.
// What was not tried, and not said to be untried, is taken as open.
func checkReach(t *T) {
	type pair struct{ from, to string }
	closed := map[pair][]Closed{}
	for _, c := range t.Closed {
		closed[pair{c.From, c.To}] = append(closed[pair{c.From, c.To}], c)
	}
	pairs := slices.SortedFunc(maps.Keys(closed), func(a, b pair) int {
		return cmp.Or(strings.Compare(a.from, b.from), strings.Compare(a.to, b.to))
	})
	for _, p := range pairs {
		t.On(p.from).Requiref(false, "open the ports in the firewalls between them, on both hosts",
			"cannot reach %s on %s", withNodeIP(t.World, p.to), closedPorts(closed[p]))
	}
	for _, host := range slices.Sorted(maps.Keys(t.Unprobed)) {
		t.On(host).Assertf(false, "see that no firewall keeps it from the other nodes",
			"whether it reaches the other nodes could not be tried: %s", t.Unprobed[host])
	}
}

// closedPorts tells ports by number, those that fail alike in one go:
// "2379/tcp (etcd clients), 6443/tcp (kube-apiserver): timed out".
func closedPorts(closed []Closed) string {
	slices.SortFunc(closed, func(a, b Closed) int {
		return cmp.Or(cmp.Compare(a.Port, b.Port), strings.Compare(a.Proto, b.Proto), strings.Compare(a.Reason, b.Reason))
	})
	var reasons []string
	ports := map[string][]string{}
	for _, c := range slices.Compact(closed) {
		if len(ports[c.Reason]) == 0 {
			reasons = append(reasons, c.Reason)
		}
		ports[c.Reason] = append(ports[c.Reason], fmt.Sprintf("%d/%s (%s)", c.Port, c.Proto, c.What))
	}
	var parts []string
	for _, reason := range reasons {
		parts = append(parts, strings.Join(ports[reason], ", ")+": "+reason)
	}
	return strings.Join(parts, ", and on ")
}

// withNodeIP is the name of a host and, where it is known, its node IP.
func withNodeIP(w World, name string) string {
	for _, h := range w.Hosts {
		if h.Name == name && h.NodeIP.IsValid() {
			return fmt.Sprintf("%s (%s)", name, h.NodeIP.Unmap())
		}
	}
	return name
}
