package membership

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// worlds is how many clusters each property is tried on; their seeds are 0 and up, so that a
// failure names the one to look at.
const worlds = 6000

// steps is more than any of them needs.
const steps = 80

// From wherever a cluster is, deciding and acting comes to an end without ever breaking a rule of
// the lab, and the plan that was shown is what was done.
func TestEveryWayEnds(t *testing.T) {
	kinds, ends := make(map[Kind]int), make(map[string]int)
	for seed := range uint64(worlds) {
		l := newLab(t, seed)
		foreseen, foreseenErr := Foresee(l.world())
		var done []Action
		for {
			if len(done) > steps {
				l.fail("no end: %s", spell(done, true))
			}
			decision, err := Decide(l.world())
			if err != nil {
				l.refused(err)
			}
			if err != nil || len(decision.Actions) == 0 {
				l.compare(done, foreseen, err, foreseenErr)
				ends[l.ended(err)]++
				break
			}
			for _, a := range decision.Actions {
				kinds[a.Kind]++
			}
			l.actAll(decision.Actions)
			done = append(done, decision.Actions...)
			if decision.Actions[0].Kind == Wait && !slices.ContainsFunc(l.world().Views, func(v View) bool { return v.Quorum }) {
				// A run fails here, when its patience ends; all that can be has been started.
				l.compare(done, foreseen, nil, nil)
				ends["in vain"]++
				break
			}
		}
	}
	t.Logf("actions %v, ends %v", kinds, ends)
	for _, kind := range []Kind{Bootstrap, Start, Add, Promote, Remove, SetAside, Wait} {
		if kinds[kind] < worlds/100 {
			t.Errorf("%s was decided %d times only: the worlds are too plain", kind, kinds[kind])
		}
	}
	if ends["refused"] < worlds/20 || ends["complete"] < worlds/4 {
		t.Errorf("the worlds ended as %v: they are too much alike", ends)
	}
}

func (l *lab) refused(err error) {
	l.t.Helper()
	var r *Refused
	if !errors.As(err, &r) || r.Reason == "" || r.Remedy == "" {
		l.fail("no refusal with a remedy: %#v", err)
	}
}

// ended checks that nothing was left undone where nothing was refused.
func (l *lab) ended(err error) string {
	l.t.Helper()
	if err != nil {
		return "refused"
	}
	if !l.quorum() {
		l.fail("came to an end without quorum and without a word")
	}
	for _, h := range l.hosts {
		asked, m := slices.Contains(l.asked, h.Name), l.member(h.PeerURL)
		switch {
		case asked && m != nil:
			l.fail("%s was to be removed and is a member", h.Name)
		case asked || !h.Seen:
		case m == nil || m.Learner || m.Name == "" || h.dataOf != m.ID:
			l.fail("%s was seen and is no voter: %+v", h.Name, m)
		}
	}
	return "complete"
}

// compare holds the plan against what was done. After a wait the plan is a guess, since the
// members are known from marks only.
func (l *lab) compare(done, foreseen []Action, err, foreseenErr error) {
	l.t.Helper()
	if i := slices.IndexFunc(done, func(a Action) bool { return a.Kind == Wait }); i >= 0 {
		waits := 0
		for _, a := range done {
			if a.Kind == Wait {
				waits++
			}
		}
		done, foreseen = done[:i+waits], foreseen[:min(i+waits, len(foreseen))]
		err, foreseenErr = nil, nil
	}
	if got, want := spell(foreseen, true), spell(done, true); got != want {
		l.fail("foreseen\n%s\ndone\n%s", got, want)
	}
	if (err == nil) != (foreseenErr == nil) {
		l.fail("foreseen to end with %v, ended with %v", foreseenErr, err)
	}
}

// What is decided depends on what is known, not on the order in which it came.
func TestOrderDoesNotMatter(t *testing.T) {
	for seed := range uint64(worlds / 4) {
		w := newLab(t, seed).world()
		other := shuffled(w, rand.New(rand.NewPCG(seed, 2)))
		decision, err := Decide(w)
		decision2, err2 := Decide(other)
		if diff := cmp.Diff(decision, decision2); diff != "" || !same(err, err2) {
			t.Fatalf("seed %d: another order, another decision: %s\n%v\n%v", seed, diff, err, err2)
		}
		foreseen, err := Foresee(w)
		foreseen2, err2 := Foresee(other)
		if diff := cmp.Diff(foreseen, foreseen2); diff != "" || !same(err, err2) {
			t.Fatalf("seed %d: another order, another plan: %s\n%v\n%v", seed, diff, err, err2)
		}
		if diff := cmp.Diff(newLab(t, seed).world(), w); diff != "" {
			t.Fatalf("seed %d: the world was changed: %s", seed, diff)
		}
	}
}

func same(a, b error) bool {
	return (a == nil && b == nil) || (a != nil && b != nil && a.Error() == b.Error())
}

func shuffled(w World, r *rand.Rand) World {
	w = World{Hosts: slices.Clone(w.Hosts), Views: slices.Clone(w.Views), Remove: slices.Clone(w.Remove)}
	r.Shuffle(len(w.Hosts), func(i, j int) { w.Hosts[i], w.Hosts[j] = w.Hosts[j], w.Hosts[i] })
	r.Shuffle(len(w.Remove), func(i, j int) { w.Remove[i], w.Remove[j] = w.Remove[j], w.Remove[i] })
	r.Shuffle(len(w.Views), func(i, j int) { w.Views[i], w.Views[j] = w.Views[j], w.Views[i] })
	for i, v := range w.Views {
		members := slices.Clone(v.Members)
		r.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
		w.Views[i].Members = members
	}
	for i, h := range w.Hosts {
		mark := slices.Clone(h.Mark)
		r.Shuffle(len(mark), func(i, j int) { mark[i], mark[j] = mark[j], mark[i] })
		w.Hosts[i].Mark = mark
	}
	return w
}

// Knowing less never leads to more: with a host not seen, with an answer or a verdict missing, no
// new cluster is made and nothing is removed that was not to be removed before.
func TestIgnoranceIsNoLicence(t *testing.T) {
	for seed := range uint64(worlds) {
		w := newLab(t, seed).world()
		before, _ := Decide(w)
		r := rand.New(rand.NewPCG(seed, 3))
		i := r.IntN(len(w.Hosts))
		blind := shuffled(w, r)
		host := blind.Hosts[i].Name
		blind.Hosts[i] = Host{Name: host, PeerURL: blind.Hosts[i].PeerURL}
		blind.Views = slices.DeleteFunc(blind.Views, func(v View) bool { return v.Host == host })
		for _, v := range blind.Views {
			for j, m := range v.Members {
				if slices.Contains(m.PeerURLs, blind.Hosts[i].PeerURL) {
					v.Members[j].Healthy = Unknown
				}
			}
		}
		after, _ := Decide(blind)
		for _, a := range after.Actions {
			switch {
			case a.Kind == Bootstrap:
				t.Fatalf("seed %d: without %s a new cluster is made on %s", seed, host, a.Host)
			case a.Kind == SetAside && a.Host == host, a.Kind == Start && a.Host == host, a.Kind == Add && a.Host == host:
				t.Fatalf("seed %d: %s was not seen, and is to %s", seed, host, a.Kind)
			case a.Kind == Remove && a.Host == host && len(w.Remove) == 0:
				t.Fatalf("seed %d: %s was not seen and is removed (before: %s)", seed, host, spell(before.Actions, true))
			}
		}
	}
}

// The arithmetic, against one that is written down here: every list of up to six voters, each
// healthy, dead or unknown, and the removal of each of them, and one more host.
func TestArithmetic(t *testing.T) {
	for n := 1; n <= 6; n++ {
		for code := range pow(3, n) {
			members := make([]Member, n)
			healthy, rest := 0, code
			for i := range members {
				digit := string(rune('1' + i))
				members[i] = Member{ID: id(digit), Name: "old" + digit, PeerURLs: []string{url(digit)}, Healthy: Tri(rest % 3)}
				rest /= 3
				if members[i].Healthy == Yes {
					healthy++
				}
			}
			view := []View{{Quorum: true, Members: members}}
			for i := range members {
				left := healthy
				if members[i].Healthy == Yes {
					left--
				}
				may := n > 1 && 2*healthy > n && 2*left >= n
				_, err := Decide(World{Views: view, Remove: []string{members[i].Name}})
				if (err == nil) != may {
					t.Errorf("%d voters, %d healthy, removing one that is %v of them: %v", n, healthy, members[i].Healthy == Yes, err)
				}
			}
			may := 2*healthy > n && (n == 1 || 2*healthy > n+1)
			_, err := Decide(World{Hosts: hostsOf("cp9"), Views: view})
			if (err == nil) != may {
				t.Errorf("%d voters, %d healthy, one more: %v", n, healthy, err)
			}
		}
	}
}

func pow(base, exponent int) int {
	result := 1
	for range exponent {
		result *= base
	}
	return result
}
