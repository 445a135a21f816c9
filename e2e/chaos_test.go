//go:build e2e

package e2e

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	// chaosKills is how many kills a run of the tests makes where KUBEWRIGHT_E2E_KILLS says nothing.
	chaosKills = 10
	// killsPerBringUp is after how many kills a cluster is let come up.
	killsPerBringUp = 5
	// longestDelay is the most that a kill comes after the event that it waits for.
	longestDelay = 400 * time.Millisecond
)

// Whenever a run is killed, or the shells of its scripts on a host, another one ends in the cluster
// that an undisturbed run would have made: one authority, nothing left to plan, no half-written file.
// The moments are random, and made again by KUBEWRIGHT_E2E_SEED.
func TestChaos(t *testing.T) {
	long(t)
	besideOthers(t)
	kills, seed := chaosNumber(t, "KUBEWRIGHT_E2E_KILLS", chaosKills), chaosNumber(t, "KUBEWRIGHT_E2E_SEED", int(time.Now().UnixNano()))
	t.Logf("KUBEWRIGHT_E2E_KILLS=%d KUBEWRIGHT_E2E_SEED=%d", kills, seed)
	l := newLab(t, labSpec{name: "e2e-chaos", subnet: "10.126.0.0/24", controlPlanes: 1, workers: 2})
	c := &chaos{lab: l, random: rand.New(rand.NewPCG(uint64(seed), 0)), hits: map[string]int{}, aims: map[string]aim{}}
	c.phases, c.hosts = l.phasesToRun(t)
	for c.killed < kills {
		before := c.killed
		c.bringUp(t, min(killsPerBringUp, kills-c.killed))
		if t.Failed() || c.killed == before {
			t.Fatalf("%d of %d kills were made; this bring-up added %d", c.killed, kills, c.killed-before)
		}
	}
	t.Logf("%d kills, by phases at work on any host: %v", c.killed, c.hits)
	if kills < 5*len(c.phases) {
		return // too few for all of them
	}
	for _, p := range c.phases {
		if c.hits[p] == 0 {
			t.Errorf("no run was killed in phase %s", p)
		}
	}
}

func chaosNumber(t testing.TB, variable string, otherwise int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

// phasesToRun are the phases that have something to do in the lab, in order, with the hosts on which;
// none for those that are about the API.
func (l *lab) phasesToRun(t testing.TB) (names []string, hosts map[string][]string) {
	t.Helper()
	p := l.tool(t, "plan", "-o", "json").want(t, exitDone).plan(t)
	hosts = map[string][]string{"verify": nil}
	for _, h := range p.Hosts {
		for _, c := range h.Changes {
			if !slices.Contains(hosts[c.Phase], h.Name) {
				hosts[c.Phase] = append(hosts[c.Phase], h.Name)
			}
		}
	}
	for _, o := range p.Objects {
		hosts[o.Phase] = nil
	}
	names = slices.DeleteFunc(allPhases(t), func(name string) bool { _, busy := hosts[name]; return !busy })
	return names, hosts
}

// allPhases are the phases of every cluster, in order.
func allPhases(t testing.TB) []string {
	t.Helper()
	var names []string
	for line := range strings.Lines(kubewright(t, "phases", "list").want(t, exitDone).stdout) {
		if name, _, ok := strings.Cut(line, " "); ok {
			names = append(names, name)
		}
	}
	return names
}

type chaos struct {
	*lab
	random *rand.Rand
	phases []string
	killed int
	hosts  map[string][]string // on which a phase has something to do
	hits   map[string]int      // kills by phase that was at work on a host
	aims   map[string]aim
}

// aim is how a phase is hit, learned from the kills that missed it.
type aim struct {
	// early waits for the phase before it: the phase itself is over before it is seen.
	early bool
	// longest is the most that a kill comes after what it waits for; 0 is longestDelay.
	longest time.Duration
}

// missed aims anew: sooner, and when that is no use any more, from the phase before on, or this one again.
func (a aim) missed(delay time.Duration, tooEarly bool) aim {
	const shortest = 10 * time.Millisecond
	switch {
	case tooEarly && a.early:
		return aim{early: true, longest: min(2*a.longest, longestDelay/4)}
	case delay/2 < shortest: // once more from the other side
		return aim{early: !a.early, longest: longestDelay / 4}
	}
	return aim{early: a.early, longest: delay / 2}
}

// bringUp makes a cluster from bare hosts with some kills on the way, checks it, and leaves the
// hosts bare.
func (c *chaos) bringUp(t *testing.T, kills int) {
	t.Helper()
	ca := ""
	targets := c.targets(kills)
	for i, phase := range targets {
		// A run often survives that its shells are killed, and then nothing is left to cut.
		done := c.kill(t, phase, i == len(targets)-1 && c.random.IntN(2) == 0)
		if now := c.authority(t); ca == "" {
			ca = now
		} else if now != ca {
			t.Fatalf("the authority was %s, and is %s after a kill", ca, now)
		}
		if done {
			break // nothing is left to cut
		}
	}
	c.tool(t, "apply", "--yes").want(t, exitDone)
	c.wantEmptyPlan(t)
	c.tool(t, "verify", "--quick", "--patience", "1m").want(t, exitDone)
	for _, n := range c.nodes(t) {
		if now := c.on(t, n.Name, "sha256sum </etc/kubernetes/pki/ca.crt"); ca != "" && now != ca {
			t.Errorf("%s has the authority %s, not %s", n.Name, now, ca)
		}
		if left := c.on(t, n.Name, `find / -xdev \( -name '*.kw-tmp*' -o -path '/tmp/kubewright-*' -o -path '/var/lib/kubewright/cache/*' \) -print`); left != "" {
			t.Errorf("left on %s:\n%s", n.Name, left)
		}
	}
	c.tool(t, "reset", "--yes").want(t, exitDone)
}

// targets picks phases to kill runs in: those that were hit least, in the order in which a cluster
// goes through them, so that later kills find something to cut.
func (c *chaos) targets(n int) []string {
	order := c.random.Perm(len(c.phases))
	slices.SortStableFunc(order, func(a, b int) int { return c.hits[c.phases[a]] - c.hits[c.phases[b]] })
	picked := order[:min(n, len(order))]
	slices.Sort(picked)
	var names []string
	for _, i := range picked {
		names = append(names, c.phases[i])
	}
	return names
}

// authority is the digest of the authority on the first control plane, "" while it is not whole.
func (c *chaos) authority(t testing.TB) string {
	t.Helper()
	return c.on(t, "cp1", "cd /etc/kubernetes/pki 2>/dev/null && [ -e sa.pub ] && sha256sum <ca.crt || true")
}

// kill runs apply and kills it, or with remote the shells of a host, some time after it came to a phase, or one after that. It tells
// whether the run got to its end all the same.
func (c *chaos) kill(t *testing.T, phase string, remote bool) (done bool) {
	t.Helper()
	a := c.aims[phase]
	delay := time.Duration(c.random.Int64N(int64(cmp.Or(a.longest, longestDelay))))
	remote = remote && a == aim{} // a phase that is short leaves no time to log in
	from := slices.Index(c.phases, phase)
	if a.early {
		from = max(from-1, 0)
	}
	nodes := c.nodes(t)
	victim := nodes[c.random.IntN(len(nodes))].Name

	p := c.begin(t, "apply", "--yes")
	struck := false
	if p.meets(t, c.comesTo(from, phase)) != "" {
		select {
		case <-p.ended:
		case <-time.After(delay):
			c.strike(t, p, remote, victim)
			struck = true
		}
	}
	at := p.phasesAtWork(t)
	<-p.ended
	r, exited := p.result, p.cmd.ProcessState.Exited()
	switch {
	case r.code == exitDone && !struck:
		return true
	case r.code == exitDone: // nothing of the run was at work there, or it took it up again
	case exited && !(remote && struck):
		t.Fatalf("the run failed before it was killed\n%s", r)
	case remote && r.code != exitUnreachable && r.code != exitChangeFailed:
		t.Fatalf("the shells of the run on %s were killed\n%s", victim, r)
	}
	what := "the run"
	if remote {
		what = "the shells on " + victim
	}
	t.Logf("killed %s in %v, %s after it came to %s, to hit %s", what, at, delay.Round(time.Millisecond), c.phases[from], phase)
	c.killed++
	for _, name := range at {
		c.hits[name]++
	}
	if !slices.Contains(at, phase) {
		tooEarly := !slices.ContainsFunc(at, func(name string) bool { return slices.Index(c.phases, name) > slices.Index(c.phases, phase) })
		c.aims[phase] = a.missed(delay, tooEarly)
	}
	return r.code == exitDone
}

// strike kills the run with all its processes, or all shells on a host.
func (c *chaos) strike(t testing.TB, p *process, remote bool, victim string) {
	t.Helper()
	if remote {
		// The shell that runs this is one of them, so there is no answer to look at.
		_, _ = c.ssh(t.Context(), victim, nil, "pkill", "-KILL", "-x", "sh")
		return
	}
	p.kill()
}

// comesTo is how the debug log tells that a phase, or a later one, is at work on a host that has
// something to do in the phase to be hit.
func (c *chaos) comesTo(from int, target string) string {
	host := ""
	if on := c.hosts[target]; len(on) > 0 {
		host = ` host=(?:` + strings.Join(on, "|") + `)`
	}
	return `msg=(?:phase-started|resource-changed|waiting)\b[^"]*?` + host + ` phase=(?:` + strings.Join(c.phases[from:], "|") + `)\b`
}

// phasesAtWork are the phases that had begun on some host, or in the API, and not ended when the log
// did; between two phases, the one that was begun last.
func (p *process) phasesAtWork(t testing.TB) []string {
	t.Helper()
	data, err := os.ReadFile(p.log)
	if err != nil {
		t.Fatal(err)
	}
	atWork := map[string]string{} // by host; "" is the API
	last := "none"
	for line := range strings.Lines(string(data)) {
		m := regexp.MustCompile(`msg=phase-(started|done)\b.*? phase=([a-z-]+)`).FindStringSubmatch(line)
		if m == nil {
			continue
		}
		host := ""
		if h := regexp.MustCompile(` host=([a-z0-9-]+)`).FindStringSubmatch(line); h != nil {
			host = h[1]
		}
		delete(atWork, host)
		if m[1] == "started" {
			atWork[host], last = m[2], m[2]
		}
	}
	if len(atWork) == 0 {
		return []string{last}
	}
	return slices.Compact(slices.Sorted(maps.Values(atWork)))
}
