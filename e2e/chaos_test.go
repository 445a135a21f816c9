//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
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
	kills, seed := chaosNumber(t, "KUBEWRIGHT_E2E_KILLS", chaosKills), chaosNumber(t, "KUBEWRIGHT_E2E_SEED", int(time.Now().UnixNano()))
	t.Logf("KUBEWRIGHT_E2E_KILLS=%d KUBEWRIGHT_E2E_SEED=%d", kills, seed)
	c := &chaos{
		lab:    newLab(t, labSpec{name: "e2e-chaos", subnet: "10.126.0.0/24", controlPlanes: 1, workers: 2}),
		random: rand.New(rand.NewPCG(uint64(seed), 0)), phases: applyPhases(t), hits: map[string]int{},
	}
	for c.killed < kills {
		before := c.killed
		c.bringUp(t, min(killsPerBringUp, kills-c.killed))
		if t.Failed() || c.killed == before {
			t.Fatalf("%d of %d kills were made; this bring-up added %d", c.killed, kills, c.killed-before)
		}
	}
	t.Logf("%d kills, by phase: %v", c.killed, c.hits)
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

// applyPhases are the phases that do something on hosts or in the API, in order.
func applyPhases(t testing.TB) []string {
	t.Helper()
	var names []string
	for line := range strings.Lines(kubewright(t, "phases", "list").want(t, exitDone).stdout) {
		if name, _, ok := strings.Cut(line, " "); ok && name != "preflight" {
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
	hits   map[string]int // kills by phase
}

// bringUp makes a cluster from bare hosts with some kills on the way, checks it, and leaves the
// hosts bare.
func (c *chaos) bringUp(t *testing.T, kills int) {
	t.Helper()
	ca := ""
	for _, phase := range c.targets(kills) {
		done := c.kill(t, phase)
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
	c.tool(t, "verify", "--patience", "1m").want(t, exitDone)
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

// event finds in the debug log which phase is at work.
var event = regexp.MustCompile(`msg=(?:phase-started|resource-changed|waiting)\b.*? phase=([a-z-]+)`)

// kill runs apply and kills it some time after it came to a phase, or one after that. It tells
// whether the run got to its end all the same.
func (c *chaos) kill(t *testing.T, phase string) (done bool) {
	t.Helper()
	delay := time.Duration(c.random.Int64N(int64(longestDelay)))
	remote := c.random.IntN(4) == 0
	nodes := c.nodes(t)
	victim := nodes[c.random.IntN(len(nodes))].Name

	log := debugLog(t)
	from := size(log)
	ctx, cancel := context.WithTimeout(t.Context(), toolTimeout)
	defer cancel()
	cmd, err := command(ctx, c.args("apply", "--yes", "--log", log)...)
	if err != nil {
		t.Fatal(err)
	}
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	over, err := c.reached(ctx, log, from, phase, ended)
	if err != nil {
		_ = cmd.Cancel() // its end is what is waited for next
		t.Fatalf("waiting for phase %s: %v, %v\n%s", phase, err, <-ended, output.String())
	}
	struck := false
	if !over {
		select {
		case err := <-ended:
			ended <- err
		case <-time.After(delay):
			c.strike(t, cmd.Process.Pid, remote, victim)
			struck = true
		}
	}
	at := lastPhase(log, from)
	err = <-ended
	switch {
	case err == nil && !struck:
		return true
	case err == nil: // nothing of the run was at work there, or it took it up again
	case cmd.ProcessState.Exited() && !(remote && struck):
		t.Fatalf("the run failed before it was killed: %v\n%s", err, output.String())
	case remote && cmd.ProcessState.ExitCode() != exitUnreachable && cmd.ProcessState.ExitCode() != exitChangeFailed:
		t.Fatalf("the shells of the run on %s were killed, and it ends with %v\n%s", victim, err, output.String())
	}
	what := "the run"
	if remote {
		what = "the shells on " + victim
	}
	t.Logf("killed %s in phase %s, %s after it came to %s", what, at, delay.Round(time.Millisecond), phase)
	c.killed++
	c.hits[at]++
	return err == nil
}

// strike kills the run with all its processes, or all shells on a host.
func (c *chaos) strike(t testing.TB, pid int, remote bool, victim string) {
	t.Helper()
	if remote {
		// The shell that runs this is one of them, so there is no answer to look at.
		_, _ = c.ssh(t.Context(), victim, nil, "pkill", "-KILL", "-x", "sh")
		return
	}
	if err := syscall.Kill(-pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Fatal(err)
	}
}

// reached waits until the log tells that the run is in a phase or a later one, or is over.
func (c *chaos) reached(ctx context.Context, log string, from int64, phase string, ended chan error) (over bool, err error) {
	later := c.phases[slices.Index(c.phases, phase):]
	err = wait.PollUntilContextCancel(ctx, 5*time.Millisecond, true, func(context.Context) (bool, error) {
		select {
		case err := <-ended:
			ended <- err
			over = true
			return true, nil
		default:
		}
		return slices.ContainsFunc(phasesIn(log, from), func(p string) bool { return slices.Contains(later, p) }), nil
	})
	return over, err
}

// phasesIn lists the phases in the log of a run, as they come.
func phasesIn(log string, from int64) []string {
	data, err := os.ReadFile(log)
	if err != nil || int64(len(data)) <= from {
		return nil
	}
	var names []string
	for _, m := range event.FindAllSubmatch(data[from:], -1) {
		names = append(names, string(m[1]))
	}
	return names
}

// lastPhase is the phase that was at work when the log ended.
func lastPhase(log string, from int64) string {
	all := phasesIn(log, from)
	if len(all) == 0 {
		return "none"
	}
	return all[len(all)-1]
}
