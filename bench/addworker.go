package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"gopkg.in/yaml.v3"

	"kubewright/e2e/lab"
	"kubewright/internal/report"
)

// addWorker compares adding one worker to many with adding one to few: what a user does who has written a bare
// host into the inventory, until its node is registered. All other workers are frozen meanwhile: who asks one of
// them something gets no answer. A measurement fails when the run had to do with any other host than the new
// one and the control plane. All comparisons are made on the same two clusters, of which one grows.
func (b *bench) addWorker() []comparison {
	const few, middle, many = 2, 10, 20
	var small, large *growing
	remove := func(err error) error {
		err = large.remove(small.remove(err))
		small, large = nil, nil
		return err
	}
	have := func(ctx context.Context, size int) (err error) {
		if small == nil {
			b.atEnd = append(b.atEnd, func() error { return remove(nil) })
			if small, err = b.newGrowing(ctx, "bench-add-few", "10.160.0.0/24", few); err != nil {
				return err
			}
			if large, err = b.newGrowing(ctx, "bench-add-many", "10.161.0.0/24", many); err != nil {
				return err
			}
		}
		return errors.Join(small.grow(ctx, few), large.grow(ctx, size))
	}
	adds := func(size int, to func() *growing) contender {
		return contender{fmt.Sprintf("to-%d", size), func(ctx context.Context, id string) (Sample, error) {
			sample, err := to().add(ctx, id)
			if err != nil {
				err = remove(err) // who knows what was added
			}
			return sample, err
		}}
	}
	to := func(size int, tearDown func() error) comparison {
		const limit, often = 1.2, 5
		return comparison{
			name: fmt.Sprintf("add-worker-%d", size), shares: "add-worker", limit: limit, repetitions: often,
			what:      fmt.Sprintf("a bare host becomes a worker of a cluster of one control plane and %d workers, and of %d: an apply limited to it, until its node is registered; no session is opened to another worker", size, few),
			subject:   adds(size, func() *growing { return large }),
			yardstick: adds(few, func() *growing { return small }),
			setUp: func(ctx context.Context) (func() error, error) {
				if err := have(ctx, size); err != nil {
					return nil, remove(err)
				}
				return tearDown, nil
			},
		}
	}
	return []comparison{
		to(middle, func() error { return nil }), // the next goes on from there
		to(many, func() error { return remove(nil) }),
	}
}

// growing is a cluster to which workers are added. All of its nodes are frozen but while something is done.
type growing struct {
	*testbed
	down func(error) error

	inventory    []byte // of all hosts
	plane, spare lab.Node
	workers      []lab.Node // those that become nodes
	nodes        int        // how many of them are
}

// newGrowing makes a lab for a cluster of up to so many workers, and one host more.
func (b *bench) newGrowing(ctx context.Context, name, subnet string, workers int) (*growing, error) {
	t, down, err := b.makeLab(ctx, labSpec{name: name, subnet: subnet, topology: topology{controlPlanes: 1, workers: workers + 1}}, name)
	if err != nil {
		return nil, err
	}
	hosts := t.nodes(lab.RoleWorker)
	g := &growing{testbed: t, down: down, plane: t.nodes(lab.RoleControlPlane)[0], spare: hosts[workers], workers: hosts[:workers]}
	if g.inventory, err = os.ReadFile(g.inventoryFile()); err != nil {
		return nil, down(err)
	}
	return g, nil
}

func (g *growing) inventoryFile() string { return filepath.Join(g.dir, "inventory.yaml") }

// remove removes the lab, where there is one.
func (g *growing) remove(err error) error {
	if g == nil {
		return err
	}
	return g.down(err)
}

// grow makes nodes of hosts until there are so many workers: a few at a time, for the machine's sake.
func (g *growing) grow(ctx context.Context, workers int) error {
	const atOnce = 10
	for g.nodes < workers {
		joining := g.workers[g.nodes:min(workers, g.nodes+atOnce)]
		args := []string{"--yes"}
		if g.nodes > 0 {
			args = append(args, "--limit", names(joining))
		}
		known := append([]lab.Node{g.plane}, g.workers[:g.nodes+len(joining)]...)
		if err := g.list(known); err != nil {
			return err
		}
		g.say("%s: %d workers, and %d more join", g.id, g.nodes, len(joining))
		if err := g.awake(ctx, append([]lab.Node{g.plane}, joining...), func() error {
			return g.tool(ctx, fmt.Sprintf("grow-%d", len(known)-1), "apply", args...)
		}); err != nil {
			return err
		}
		g.nodes += len(joining)
	}
	return g.list(append([]lab.Node{g.plane, g.spare}, g.workers[:g.nodes]...))
}

// add adds the host that is left, and takes it out again.
func (g *growing) add(ctx context.Context, id string) (sample Sample, err error) {
	awake := []lab.Node{g.plane, g.spare}
	err = g.awake(ctx, awake, func() error {
		if err := g.awaitHealthy(ctx, append([]lab.Node{g.plane}, g.workers[:g.nodes]...)); err != nil {
			return err
		}
		clock, err := startClock()
		if err != nil {
			return err
		}
		events, err := g.events(ctx, id, "apply", "--yes", "--limit", g.spare.Name)
		if err != nil {
			return err
		}
		clock.lap("apply")
		if sample, err = clock.stop(); err != nil {
			return err
		}
		costs := costsOf(events)
		if err := aboutOnly(events, costs, g.plane.Name, g.spare.Name); err != nil {
			return err
		}
		g.say("%s: sessions: %d with the new worker, %d with the control plane, none with others", id, costs[g.spare.Name].sessions, costs[g.plane.Name].sessions)
		return g.tool(ctx, id+"-remove", "node remove", g.spare.Name, "--yes")
	})
	return sample, err
}

// awake has some nodes go on while something is done, and freezes all afterwards.
func (g *growing) awake(ctx context.Context, nodes []lab.Node, do func() error) error {
	if err := g.power(ctx, "resume", strings.Split(names(nodes), ",")...); err != nil {
		return err
	}
	if err := do(); err != nil {
		g.keepJournals(ctx, nodes)
		return err
	}
	return g.power(ctx, "pause", "--all")
}

// power switches nodes as `kubewright lab node` does.
func (g *growing) power(ctx context.Context, verb string, nodes ...string) error {
	_, err := g.run.Run(ctx, append([]string{g.kubewright, "lab", "node", verb, "--dir", g.dir}, nodes...), nil)
	return err
}

// list has the inventory list these hosts of the lab.
func (g *growing) list(nodes []lab.Node) error {
	wanted := map[string]bool{}
	for _, n := range nodes {
		wanted[n.Name] = true
	}
	content, err := onlyHosts(g.inventory, wanted)
	if err != nil {
		return fmt.Errorf("%s: %w", g.inventoryFile(), err)
	}
	return os.WriteFile(g.inventoryFile(), content, 0o644)
}

// onlyHosts leaves all other hosts out of an inventory.
func onlyHosts(inventory []byte, names map[string]bool) ([]byte, error) {
	var all map[string]any
	if err := yaml.Unmarshal(inventory, &all); err != nil {
		return nil, err
	}
	hosts, ok := all["hosts"].([]any)
	if !ok {
		return nil, errors.New("it lists no hosts")
	}
	var kept []any
	for _, h := range hosts {
		if host, ok := h.(map[string]any); ok && names[fmt.Sprint(host["name"])] {
			kept = append(kept, host)
		}
	}
	if len(kept) != len(names) {
		return nil, fmt.Errorf("it has %d of %d hosts", len(kept), len(names))
	}
	all["hosts"] = kept
	return yaml.Marshal(all)
}

// aboutOnly fails when a run had to do with any other hosts than these, or opened no session to one of them.
func aboutOnly(events []report.Event, costs map[string]hostCost, hosts ...string) error {
	wanted := map[string]bool{}
	for _, name := range hosts {
		wanted[name] = true
		if costs[name].sessions == 0 {
			return fmt.Errorf("the run says of no session with %s", name)
		}
	}
	for _, e := range events {
		for _, name := range strings.Split(e.Host, ", ") { // a warning may be about several
			if name != "" && !wanted[name] {
				return fmt.Errorf("a run that is about %s alone had to do with %s: %s %s", strings.Join(hosts, " and "), name, e.Kind, e.Message)
			}
		}
	}
	return nil
}
