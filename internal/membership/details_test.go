package membership

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// What the notation of the tables cannot write.

func TestContradictions(t *testing.T) {
	members := membersOf("cp1+ cp2+")
	with := func(change func(m *Member)) []Member {
		changed := slices.Clone(members)
		change(&changed[1])
		return changed
	}
	both := func(other []Member) []View {
		return []View{{Host: "cp1", ClusterID: 1, MemberID: id("1"), Quorum: true, Members: members}, {Host: "cp2", ClusterID: 1, MemberID: id("2"), Quorum: true, Members: other}}
	}
	shared := with(func(m *Member) { m.PeerURLs = []string{url("2"), url("3")} })
	for name, tc := range map[string]struct {
		world   World
		refused string
	}{
		"a host without a name":        {World{Hosts: []Host{{PeerURL: url("1"), Seen: true}}}, "has no name or no peer URL"},
		"a host without a peer URL":    {World{Hosts: []Host{{Name: "cp1", Seen: true}}}, "has no name or no peer URL"},
		"lists of different length":    {World{Hosts: hostsOf("cp1+ cp2+"), Views: both(membersOf("cp1+ cp2+ cp3+"))}, "cp1 and on cp2 list different members"},
		"lists of different members":   {World{Hosts: hostsOf("cp1+ cp2+"), Views: both(append(membersOf("cp2+"), Member{ID: 1, Name: "cp1"}))}, "list different members"},
		"lists of different addresses": {World{Hosts: hostsOf("cp1+ cp2+"), Views: both(with(func(m *Member) { m.PeerURLs = []string{url("9")} }))}, "list different members"},
		"lists of different voters":    {World{Hosts: hostsOf("cp1+ cp2+"), Views: both(with(func(m *Member) { m.Learner = true }))}, "list different members"},
		"lists of different names":     {World{Hosts: hostsOf("cp1+ cp2+"), Views: both(with(func(m *Member) { m.Name = "x" }))}, "list different members"},
		"one member for two hosts":     {World{Hosts: hostsOf("cp1+ cp2+ cp3+"), Views: both(shared)[:1]}, ""},
		"an empty list":                {World{Hosts: hostsOf("cp1+"), Views: []View{{Host: "cp1", Quorum: true}}}, "does not have itself"},
	} {
		if name == "one member for two hosts" {
			tc.world.Views[0].Members = shared
			tc.refused = "member 12 has the peer URLs of both cp2 and cp3"
		}
		t.Run(name, func(t *testing.T) {
			_, err := Decide(tc.world)
			checkRefusal(t, "decided", err, tc.refused)
			_, err = Foresee(tc.world)
			checkRefusal(t, "foreseen", err, tc.refused)
		})
	}
}

// Two answers on the same members, a moment apart: what one of them knows counts, and a member is
// healthy if nobody says otherwise.
func TestListsAreMerged(t *testing.T) {
	first, second := membersOf("cp1+ cp2? ~_@3?"), membersOf("cp1? cp2+ ~cp3+")
	views := []View{
		{Host: "cp1", ClusterID: 1, MemberID: id("1"), Quorum: true, Members: first},
		{Host: "cp2", ClusterID: 1, MemberID: id("2"), Quorum: true, Members: second},
	}
	check(t, World{Hosts: hostsOf("cp1+ cp2+ cp3+"), Views: views}, testCase{want: "promote cp3 13", notices: evenVoters})
	second[1].Healthy, second[2].Healthy = No, No
	check(t, World{Hosts: hostsOf("cp1+ cp2+ cp3+"), Views: views},
		testCase{want: "start cp3 13 cp1=1,cp2=2,cp3=3", refusedThen: "making cp3 (member 13) a voter needs", notices: evenVoters})
	first[1].Healthy = Yes
	check(t, World{Hosts: hostsOf("cp1+ cp2+"), Views: views[:1], Remove: []string{"cp1"}},
		testCase{refused: "cp1 (member 11) is the only member of etcd that answers"})
	second[1].Healthy = No
	views[1].Host, views[1].MemberID = "", 0
	check(t, World{Hosts: hostsOf("cp1+ cp2+"), Views: views, Remove: []string{"cp1"}},
		testCase{refused: "removing cp1 (member 11) needs the consent of 2 of the 2 voters of etcd; known to be healthy: 1"})
}

func TestPeerURLsAreSpelledInManyWays(t *testing.T) {
	hosts := []Host{
		{Name: "cp1", PeerURL: "https://[fd00::1]:2380", Seen: true, Data: true},
		{Name: "cp2", PeerURL: "https://[fd00::2]:2380", Seen: true},
	}
	members := []Member{
		{ID: 1, Name: "a", PeerURLs: []string{"https://[FD00:0:0:0::1]:2380/"}, Healthy: Yes},
		{ID: 2, PeerURLs: []string{"https://etcd.Example:2380", "https://[fd00:0::2]:2380"}, Learner: true},
	}
	decision, err := Decide(World{Hosts: hosts, Views: []View{{Host: "cp1", MemberID: 1, Quorum: true, Members: members}}})
	// The list's own spelling goes into the initial cluster, and both addresses of a member do.
	const want = "cp1=https://[FD00:0:0:0::1]:2380/,cp2=https://[fd00:0::2]:2380,cp2=https://etcd.Example:2380"
	if err != nil || len(decision.Actions) != 1 || decision.Actions[0].Kind != Start || decision.Actions[0].InitialCluster != want {
		t.Errorf("got %+v, %v, want a start with %s", decision.Actions, err, want)
	}
	for a, b := range map[string]string{
		"https://10.0.0.1:2380":      "https://10.0.0.1:2380/",
		"https://[::1]:2380":         "HTTPS://[0:0::1]:2380",
		"https://Etcd.example:1":     "https://etcd.EXAMPLE:1",
		"https://[::ffff:1.2.3.4]:1": "https://1.2.3.4:1",
	} {
		if canonical(a) != canonical(b) {
			t.Errorf("%s and %s are not the same", a, b)
		}
	}
	for _, other := range []string{"http://10.0.0.1:2380", "https://10.0.0.1:2381", "https://10.0.0.10:2380", "10.0.0.1:2380", ""} {
		if canonical(other) == canonical("https://10.0.0.1:2380") {
			t.Errorf("%q is taken for https://10.0.0.1:2380", other)
		}
	}
}

// A way without an end is cut off, not walked for ever.
func TestForeseeIsBounded(t *testing.T) {
	f := future{world: testCase{hosts: "cp1+ cp2", members: "cp1+", views: "cp1"}.world(), made: make(map[uint64]bool)}
	actions, err := f.follow(2)
	checkRefusal(t, "cut off", err, "come to no end: 2 actions were foreseen")
	if got := spell(actions, true); got != "add cp2; start cp2" {
		t.Errorf("foreseen: %s", got)
	}
}

// Foresee shows the IDs that exist and none that it made up.
func TestForeseenIDs(t *testing.T) {
	actions, err := Foresee(testCase{hosts: "cp1+ cp2+ cp3", members: "cp1+ cp2+ cp3-", views: "cp1"}.world())
	if got, want := spell(actions, false), "remove cp3 13; add cp3; start cp3 cp1=1,cp2=2,cp3=3; promote cp3"; err != nil || got != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
}

// Worlds without any sense, contradictions and all: whatever is answered, no new cluster is made
// where there is a sign of an old one, a change comes alone, and every refusal has its remedy.
func TestNonsense(t *testing.T) {
	bootstraps := 0
	for seed := range uint64(worlds * 5) {
		w := nonsense(rand.New(rand.NewPCG(seed, 4)))
		decision, err := Decide(w)
		if err != nil {
			(&lab{t: t, seed: seed}).refused(err)
		}
		if _, err := Foresee(w); err != nil && strings.Contains(err.Error(), "no end") {
			t.Fatalf("seed %d: %v", seed, err)
		}
		for _, a := range decision.Actions {
			if a.Kind != Bootstrap && a.Kind != Wait && a.Kind != Start && len(decision.Actions) > 1 {
				t.Fatalf("seed %d: more than one change at a time: %s", seed, spell(decision.Actions, false))
			}
			if a.Kind != Bootstrap {
				continue
			}
			bootstraps++
			old := slices.ContainsFunc(w.Hosts, func(h Host) bool {
				return !h.Seen || h.Mark != nil || (h.Data && !sameInitial(h.Initial, wantedInitial(w.Hosts))) || (h.Data && h.Name == a.Host)
			})
			if old || slices.ContainsFunc(w.Views, func(v View) bool { return v.Quorum }) || len(w.Remove) > 0 {
				t.Fatalf("seed %d: a new cluster beside a sign of an old one: %s, of %+v", seed, spell(decision.Actions, false), w)
			}
		}
	}
	if bootstraps < 100 {
		t.Errorf("%d bootstraps only: the worlds prove nothing", bootstraps)
	}
}

func nonsense(r *rand.Rand) World {
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	var hosts, members, views []string
	for i := range 1 + r.IntN(4) {
		n := string(rune('1' + i))
		hosts = append(hosts, "cp"+n+pick("", "", "", "+")+pick("", "", "", "", "", "/m123", "/m14", "/m-")+pick("", "", "/i1", "/i12", "/i123", "/i1234"))
		if r.IntN(8) == 0 {
			hosts[i] = "cp" + n + "?"
		}
		if r.IntN(3) == 0 {
			views = append(views, "cp"+pick("1", "2", "3", "4")+pick("", "/n", "/n/id99", "/r123", "/n/c2", "/n/c0", "/id12"))
		}
	}
	for _, n := range strings.Split(pick("1", "12", "123", "1234", "13", "24"), "") {
		members = append(members, pick("", "", "", "~")+pick("cp"+n, "cp"+n, "cp"+n, "_@"+n, "cp1@"+n, "cp4@"+n)+pick("+", "+", "-", "?"))
	}
	tc := testCase{hosts: strings.Join(hosts, " "), members: strings.Join(members, " "), views: strings.Join(views, " "), remove: pick("", "", "", "cp1", "cp2 cp3")}
	return tc.world()
}
