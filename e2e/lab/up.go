package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"kubewright/internal/fault"
)

// bootAtOnce is how many nodes are made and started side by side. More do not get there sooner:
// the engine takes turns by itself.
const bootAtOnce = 8

// Up makes the lab that cfg describes, or completes it: missing nodes are made, those that are
// off or paused run again, and the files in cfg.Dir are written anew. Nodes beyond the numbers
// asked for stay. When Up returns without error, every node can be logged in to.
func (l *Lab) Up(ctx context.Context, cfg Config) (State, error) {
	if err := cfg.Validate(); err != nil {
		return State{}, err
	}
	state, err := l.up(ctx, cfg)
	return state, stopped(ctx, cfg.Name, err)
}

// stopped is the error of making nodes; where that was interrupted, it says how to go on.
func stopped(ctx context.Context, lab string, err error) error {
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("stopped before lab %s was complete; `kubewright lab up` goes on with it, `kubewright lab down` removes it: %w",
			lab, context.Cause(ctx))
	}
	return err
}

func (l *Lab) up(ctx context.Context, cfg Config) (State, error) {
	existing, err := l.prepare(ctx, cfg)
	if err != nil {
		return State{}, err
	}
	boot, err := l.boot(ctx, cfg)
	if err != nil {
		return State{}, err
	}
	old, err := ReadState(cfg.Dir) // which is there by now
	if err != nil {
		return State{}, err
	}
	nodes, have := onlyNodes(existing)
	known := old.known()
	if nodes, err = plan(cfg, nodes, known); err != nil {
		return State{}, err
	}
	if err := boot.mirrorUp(ctx, existing); err != nil {
		return State{}, err
	}
	if err := boot.nodesUp(ctx, nodes, have); err != nil {
		return State{}, err
	}
	return l.writeFiles(cfg, nodes, known)
}

// onlyNodes returns the nodes among a lab's containers, and the power of each by name.
func onlyNodes(containers []NodeStatus) ([]Node, map[string]Power) {
	var nodes []Node
	have := make(map[string]Power)
	for _, c := range containers {
		if c.Role.IsNode() {
			nodes = append(nodes, c.Node)
			have[c.Name] = c.Power
		}
	}
	return nodes, have
}

// prepare refuses what cannot work, before anything is changed, and returns the lab's
// containers.
func (l *Lab) prepare(ctx context.Context, cfg Config) ([]NodeStatus, error) {
	_, imported, cached, err := l.findImage(ctx, cfg.CacheDir)
	if err != nil {
		return nil, err
	}
	if err := missingNeeds(l.needs(ctx, imported || cached)); err != nil {
		return nil, err
	}
	if state, err := ReadState(cfg.Dir); err == nil {
		if err := state.mustBe(cfg.Dir, cfg.Name); err != nil {
			return nil, err
		}
	}
	if cfg.Artifacts != "" {
		for _, name := range []string{"bin/mirror", fileDigests} {
			if _, err := os.Stat(filepath.Join(cfg.Artifacts, name)); err != nil {
				return nil, fault.New(fault.BadInput, "--artifacts %s is not complete: %w: run `go run ./e2e/artifacts build`", cfg.Artifacts, err)
			}
		}
	}
	networks, err := l.listed(ctx, "network", labelLab, cfg.Name)
	if err != nil {
		return nil, err
	}
	if overlapping := l.machine.overlapping(cfg.Subnet); len(overlapping) > 0 && len(networks) == 0 {
		return nil, fault.New(fault.BadInput, "--subnet %s overlaps %s, which this machine is on: choose another, or take down the lab that has it",
			cfg.Subnet, overlapping[0])
	}
	existing, err := l.containers(ctx, cfg.Name)
	if err != nil {
		return nil, err
	}
	for _, c := range existing {
		if !cfg.Subnet.Contains(c.Address) {
			return nil, fault.New(fault.BadInput, "lab %s exists with %s at %s, which is not in --subnet %s: take it down first, or keep its subnet",
				cfg.Name, c.Name, c.Address, cfg.Subnet)
		}
	}
	return existing, nil
}

// ensureNetwork makes the bridge.
func (l *Lab) ensureNetwork(ctx context.Context, cfg Config) error {
	networks, err := l.listed(ctx, "network", labelLab, cfg.Name)
	if err != nil || len(networks) > 0 {
		return err
	}
	if _, err := l.run.Run(ctx, l.engine.createNetwork(cfg.Name, cfg.Subnet), nil); err != nil {
		return fmt.Errorf("making the network of lab %s: %w", cfg.Name, err)
	}
	return nil
}

// boot is one run that makes nodes.
type boot struct {
	*Lab
	cfg   Config
	image string
	access
}

// boot makes what nodes need before there is one: image, folder, sysctls of the machine, network.
func (l *Lab) boot(ctx context.Context, cfg Config) (boot, error) {
	image, err := l.ensureImage(ctx, cfg.CacheDir)
	if err != nil {
		return boot{}, err
	}
	access, err := l.ensureFolder(cfg)
	if err != nil {
		return boot{}, err
	}
	if err := l.settings.raise(); err != nil {
		return boot{}, err
	}
	return boot{Lab: l, cfg: cfg, image: image, access: access}, l.ensureNetwork(ctx, cfg)
}

// nodesUp makes and starts the nodes side by side, and waits until all can be logged in to. have
// is the power of those that exist. What it makes gets its host key in nodes.
func (b boot) nodesUp(ctx context.Context, nodes []Node, have map[string]Power) error {
	timeout := b.cfg.BootTimeout
	if timeout == 0 {
		timeout = DefaultBootTimeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("not all nodes were up after %s", timeout))
	defer cancel()
	return each(nodes, func(i int) error {
		if err := b.nodeUp(ctx, &nodes[i], have[nodes[i].Name]); err != nil {
			return &fault.Error{Host: nodes[i].Name, Err: err}
		}
		return nil
	})
}

// nodeUp gets one node from the power state it is in, empty for none, to a login.
func (b boot) nodeUp(ctx context.Context, node *Node, was Power) error {
	started := b.now()
	fresh := was == "" || was == PowerNew
	name := objectName(b.cfg.Name, node.Name)
	var err error
	switch was {
	case PowerOn:
	case PowerPaused:
		_, err = b.run.Run(ctx, b.engine.power("unpause", name), nil)
	case PowerOff:
		_, err = b.run.Run(ctx, b.engine.power("start", name), nil)
	default:
		err = b.makeNode(ctx, node, was == PowerNew)
	}
	if err != nil {
		return err
	}
	if !fresh {
		// The key may be newer than the node, when the lab's folder was lost.
		login, err := loginArchive(b.key.public, b.now())
		if err != nil {
			return err
		}
		if _, err := b.run.Run(ctx, b.engine.unpack(name), bytes.NewReader(login)); err != nil {
			return err
		}
	}
	if err := b.enter(ctx, *node, fresh); err != nil {
		return err
	}
	if was != PowerOn {
		b.notify(fmt.Sprintf("%-10s %-15s up after %.1fs", node.Name, node.Address, b.now().Sub(started).Seconds()))
	}
	return nil
}

// enter waits for the login, for the boot of a node that is new, and sets the password of sudo.
func (b boot) enter(ctx context.Context, node Node, fresh bool) error {
	t := target{node: node, port: sshPort, user: LoginRoot.User(), key: b.key.private, command: loginCommand}
	if fresh {
		t.command = bootedCommand
	}
	if b.password != "" {
		t.command += " && " + passwordCommand
		t.stdin = LoginSudoPassword.User() + ":" + b.password + "\n"
	}
	return b.login(ctx, t)
}

// makeNode makes a node with its disks and files and starts it. leftover says that an earlier
// run was stopped between the making and the start, so that nothing is known of what is there.
func (b boot) makeNode(ctx context.Context, node *Node, leftover bool) error {
	name := objectName(b.cfg.Name, node.Name)
	hostKey, err := newKeyPair(b.rand, node.Name)
	if err != nil {
		return err
	}
	machineID, err := newMachineID(b.rand)
	if err != nil {
		return err
	}
	node.HostKey = hostKey.public
	files, err := seed{node: *node, hostKey: hostKey, machineID: machineID, resolvers: b.machine.Resolvers,
		loginKey: b.key.public, now: b.now()}.archive()
	if err != nil {
		return err
	}
	if leftover {
		if _, err := b.run.Run(ctx, b.engine.removeContainers(name), nil); err != nil {
			return err
		}
	}
	// Disks of a container that is gone are not this node's data.
	if err := b.removeDisks(ctx, b.cfg.Name, node.Name); err != nil {
		return err
	}
	for _, path := range nodeDisks() {
		disk := diskName(b.cfg.Name, node.Name, path)
		if _, err := b.run.Run(ctx, b.engine.createVolume(b.cfg.Name, disk), nil); err != nil {
			return err
		}
	}
	c := container{Node: *node, lab: b.cfg.Name, image: b.image, limits: b.machine.limits(), modules: b.machine.Modules}
	if _, err := b.run.Run(ctx, b.engine.createNode(c), nil); err != nil {
		return err
	}
	if _, err := b.run.Run(ctx, b.engine.unpack(name), bytes.NewReader(files)); err != nil {
		return err
	}
	_, err = b.run.Run(ctx, b.engine.power("start", name), nil)
	return err
}

// mirrorUp makes the container that serves the artifacts, anew on every run, so that it serves
// the folder that was asked for; with none it is removed. No node notices: it holds no state.
func (b boot) mirrorUp(ctx context.Context, existing []NodeStatus) error {
	mirror := Node{Name: string(RoleMirror), Role: RoleMirror, Address: at(b.cfg.Subnet, mirrorOffset)}
	name := objectName(b.cfg.Name, mirror.Name)
	if slices.ContainsFunc(existing, func(n NodeStatus) bool { return n.Role == RoleMirror }) {
		if _, err := b.run.Run(ctx, b.engine.removeContainers(name), nil); err != nil {
			return fmt.Errorf("replacing the mirror: %w", err)
		}
	}
	if b.cfg.Artifacts == "" {
		return nil
	}
	c := container{Node: mirror, lab: b.cfg.Name, image: b.image, limits: b.machine.limits(), artifacts: b.cfg.Artifacts}
	if _, err := b.run.Run(ctx, b.engine.createMirror(c), nil); err != nil {
		return fmt.Errorf("making the mirror: %w", err)
	}
	if _, err := b.run.Run(ctx, b.engine.power("start", name), nil); err != nil {
		return fmt.Errorf("starting the mirror: %w", err)
	}
	const timeout = 30 * time.Second
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no answer after %s; see `%s logs %s`", timeout, b.engine, name))
	defer cancel()
	return b.mirror(ctx, mirror.Address)
}

// each calls f with every index, a few at a time, and joins the errors in order.
func each[T any](items []T, f func(int) error) error {
	errs := make([]error, len(items))
	slots := make(chan struct{}, bootAtOnce)
	var all sync.WaitGroup
	for i := range items {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			errs[i] = f(i)
		})
	}
	all.Wait()
	return errors.Join(errs...)
}
