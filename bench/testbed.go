package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"kubewright/e2e/lab"
	"kubewright/internal/report"
)

// topology is how many nodes of which kind a cluster has.
type topology struct{ controlPlanes, workers int }

func (t topology) String() string { return fmt.Sprintf("%d+%d", t.controlPlanes, t.workers) }

// testbed is a lab while it is there.
type testbed struct {
	*bench
	dir   string
	state lab.State
	// id names the files of what is run on it.
	id string
}

// labSpec is the lab that a contender gets.
type labSpec struct {
	name, subnet string
	topology
	// whole gives the cluster a pod network, and addons every one that labs can have; without, there is nothing that
	// kubeadm does not bring either.
	whole, addons bool
}

// downTimeout is for removing a lab when the run is being ended.
const downTimeout = 2 * time.Minute

// makeLab makes a lab. down removes it, and returns what else went wrong too.
func (b *bench) makeLab(ctx context.Context, spec labSpec, id string) (t *testbed, down func(error) error, err error) {
	dir, err := os.MkdirTemp("", spec.name+"-")
	if err != nil {
		return nil, nil, err
	}
	t = &testbed{bench: b, dir: dir, id: id}
	down = func(err error) error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), downTimeout)
		defer cancel()
		return errors.Join(err, t.down(ctx, spec), os.RemoveAll(dir))
	}
	argv := []string{b.kubewright, "lab", "up", "--name", spec.name, "--dir", dir, "--subnet", spec.subnet,
		"--control-planes", fmt.Sprint(spec.controlPlanes), "--workers", fmt.Sprint(spec.workers),
		"--kubernetes-version", b.kubernetes, "--artifacts", b.artifacts, fmt.Sprintf("--addons=%t", spec.addons)}
	err = t.down(ctx, spec) // what a run has left behind
	if err == nil {
		_, err = b.run.Run(ctx, argv, nil)
	}
	if err == nil {
		t.state, err = lab.ReadState(dir)
	}
	if err == nil && !spec.whole {
		err = withoutNetwork(filepath.Join(dir, "cluster.yaml"))
	}
	if err != nil {
		return nil, nil, down(err)
	}
	return t, down, nil
}

func (t *testbed) down(ctx context.Context, spec labSpec) error {
	_, err := t.run.Run(ctx, []string{t.kubewright, "lab", "down", "--name", spec.name, "--dir", t.dir}, nil)
	return err
}

// withoutNetwork leaves the network plugin out of a cluster: kubeadm brings none either.
func withoutNetwork(clusterFile string) error {
	const network = "\n  network:\n"
	content, err := os.ReadFile(clusterFile)
	if err != nil {
		return err
	}
	before, after, found := strings.Cut(string(content), network)
	if !found {
		return fmt.Errorf("%s has no network", clusterFile)
	}
	return os.WriteFile(clusterFile, []byte(before+network+"    cni:\n      name: none\n"+after), 0o644)
}

// tool runs a command of kubewright on the lab's cluster, and keeps what it says.
func (t *testbed) tool(ctx context.Context, what, command string, args ...string) error {
	_, err := t.kept(ctx, what, t.toolArgs(`exec "$@" 2>&1`, what, command, args), "")
	return err
}

// events is tool, and returns what was told on the way and what the run cost on each host.
func (t *testbed) events(ctx context.Context, what, command string, args ...string) ([]report.Event, error) {
	out, err := t.kept(ctx, what, t.toolArgs(`exec "$@" 2>&1 >/dev/null`, what, command, append(args, "--output", "json", "--stats")), "")
	if err != nil {
		return nil, err
	}
	events, _, err := report.ReadRecord(strings.NewReader(out))
	return events, err
}

// toolArgs has a shell run a command of kubewright on the lab's cluster.
func (t *testbed) toolArgs(shell, what, command string, args []string) []string {
	argv := append([]string{"sh", "-c", shell, "sh", t.kubewright}, strings.Fields(command)...)
	argv = append(argv, "-f", filepath.Join(t.dir, "cluster.yaml"), "--log", filepath.Join(t.logs, t.id+"-"+what+".debug.log"))
	return append(argv, args...)
}

// hostCost is what a run cost on one host.
type hostCost struct {
	sessions int64 // opened
	sent     int64 // bytes
}

// costsOf are the costs by host that a run with --stats ends with.
func costsOf(events []report.Event) map[string]hostCost {
	costs := map[string]hostCost{}
	number := func(text string) int64 { n, _ := strconv.ParseInt(text, 10, 64); return n }
	for _, e := range events {
		if e.Kind == report.Notice && e.Message == "cost" {
			costs[e.Host] = hostCost{sessions: number(e.Attrs["sessions"]), sent: number(e.Attrs["sent"])}
		}
	}
	return costs
}

// on runs a script as root on a node over SSH, keeps what it says and returns it.
func (t *testbed) on(ctx context.Context, node, what, script string) (out string, err error) {
	argv, err := t.ssh(node)
	if err != nil {
		return "", err
	}
	if out, err = t.kept(ctx, what+"-"+node, argv, "set -eu\nexec 2>&1\n"+script); err != nil {
		return out, fmt.Errorf("%s on %s: %w", what, node, err)
	}
	return out, nil
}

// ssh is the command that has a shell on a node read a script.
func (t *testbed) ssh(node string) ([]string, error) {
	return lab.SSH(t.dir, t.state, node, []string{"sh -s"})
}

// onAll runs a script on nodes side by side.
func (t *testbed) onAll(ctx context.Context, nodes []lab.Node, what, script string) error {
	return sideBySide(nodes, func(n lab.Node) error { _, err := t.on(ctx, n.Name, what, script); return err })
}

// keepJournals keeps what explains a failure on nodes, as far as it can be had.
func (t *testbed) keepJournals(ctx context.Context, nodes []lab.Node) {
	const script = "journalctl --no-pager -n 500; tail -n 50 /var/log/pods/*/*/*.log || true\n"
	if err := t.onAll(ctx, nodes, "journal", script); err != nil {
		t.say("the journals were not kept: %v", err)
	}
}

// kept runs a command, keeps what it says, of one that fails too, and returns it.
func (t *testbed) kept(ctx context.Context, what string, argv []string, stdin string) (string, error) {
	out, err := t.run.Run(ctx, argv, strings.NewReader(stdin))
	var failed *lab.CommandError
	if errors.As(err, &failed) {
		out = []byte(failed.Stderr)
	}
	return string(out), errors.Join(err, t.keep(t.id+"-"+what+".log", out))
}

func sideBySide(nodes []lab.Node, do func(lab.Node) error) error {
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() { errs[i] = do(n) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// nodes are those of a role.
func (t *testbed) nodes(role lab.Role) []lab.Node {
	var nodes []lab.Node
	for _, n := range t.state.Nodes {
		if n.Role == role {
			nodes = append(nodes, n)
		}
	}
	return nodes
}
