package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Lab changes and looks at labs of one engine on one machine.
type Lab struct {
	run      Runner
	engine   Engine
	machine  Machine
	features []kernelFeature
	settings machineSettings
	rand     io.Reader
	now      func() time.Time
	notify   func(string)
	// login waits until somebody can log in to a node, and mirror until the mirror answers.
	login  func(context.Context, target) error
	mirror func(context.Context, netip.Addr) error
}

// Options is what a Lab gets from its caller.
type Options struct {
	// Engine to use; empty chooses podman, or a Docker that answers where there is no podman.
	Engine Engine
	// Runner runs the programs of the machine.
	Runner Runner
	// Rand is where keys come from: crypto/rand.Reader.
	Rand io.Reader
	// Now is the clock: time.Now.
	Now func() time.Time
	// Notify is told, a line at a time and from several goroutines, what is being done.
	Notify func(line string)
}

// Open looks at the machine and at its engine. Without root, as whom an engine shows nothing of
// the labs there are, or without an engine that works, it fails with all that a lab misses on
// this machine in one message.
func Open(ctx context.Context, o Options) (*Lab, error) {
	machine, err := ProbeMachine()
	if err != nil {
		return nil, err
	}
	engine, needs := chooseEngine(ctx, o.Runner, o.Engine)
	l := &Lab{
		run: o.Runner, engine: engine, machine: machine, features: kernelFeatures(), settings: newMachineSettings(),
		rand: o.Rand, now: o.Now, notify: o.Notify, login: waitForLogin, mirror: waitForMirror,
	}
	if len(needs) > 0 || !machine.Root {
		return nil, missingNeeds(append(needs, l.needs(ctx, false)...))
	}
	return l, nil
}

// Power is whether a container runs.
type Power string

// The states of power. A container that was made and never started is new: it may lack files.
const (
	PowerOn     Power = "running"
	PowerOff    Power = "stopped"
	PowerPaused Power = "paused"
	PowerNew    Power = "new"
)

// NodeStatus is a container of a lab, as the engine has it.
type NodeStatus struct {
	Node
	Power Power `json:"state"`
}

// inspected is the part of an engine's description of a container that podman and Docker share.
type inspected struct {
	Name   string
	State  struct{ Status string }
	Config struct{ Labels map[string]string }
}

// power translates the words of podman and Docker.
func power(status string) (Power, error) {
	switch status {
	case "running":
		return PowerOn, nil
	case "exited", "stopped", "stopping", "dead":
		return PowerOff, nil
	case "paused":
		return PowerPaused, nil
	case "created", "configured", "initialized", "restarting":
		return PowerNew, nil
	}
	return "", fmt.Errorf("unknown state %q", status)
}

// containers returns the lab's containers sorted by address, the mirror included.
func (l *Lab) containers(ctx context.Context, name string) ([]NodeStatus, error) {
	ids, err := l.listed(ctx, "container", labelLab, name)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	out, err := l.run.Run(ctx, l.engine.inspect("container", ids...), nil)
	if err != nil {
		return nil, fmt.Errorf("looking at the containers of lab %s: %w", name, err)
	}
	var found []inspected
	if err := json.Unmarshal(out, &found); err != nil {
		return nil, fmt.Errorf("reading what %s says about the containers of lab %s: %w", l.engine, name, err)
	}
	var all []NodeStatus
	for _, c := range found {
		status, err := c.status()
		if err != nil {
			return nil, fmt.Errorf("container %s of lab %s: %w", c.Name, name, err)
		}
		all = append(all, status)
	}
	slices.SortFunc(all, func(a, b NodeStatus) int { return a.Address.Compare(b.Address) })
	return all, nil
}

// status reads a container back from its labels.
func (c inspected) status() (NodeStatus, error) {
	labels := c.Config.Labels
	address, err := netip.ParseAddr(labels[labelAddress])
	if err != nil {
		return NodeStatus{}, fmt.Errorf("label %s: %w", labelAddress, err)
	}
	p, err := power(c.State.Status)
	return NodeStatus{Power: p, Node: Node{
		Name: labels[labelNode], Role: Role(labels[labelRole]), Address: address, HostKey: labels[labelHostKey],
	}}, err
}

// listed returns the names (of containers: the IDs) of the objects of a kind with a label.
func (l *Lab) listed(ctx context.Context, kind, label, value string) ([]string, error) {
	out, err := l.run.Run(ctx, l.engine.list(kind, label, value), nil)
	if err != nil {
		return nil, fmt.Errorf("listing the %ss of lab %s: %w", kind, value, err)
	}
	return strings.Fields(string(out)), nil
}

// Status returns the nodes of the lab, sorted by address. A lab that does not exist has none.
func (l *Lab) Status(ctx context.Context, name string) ([]NodeStatus, error) {
	all, err := l.containers(ctx, name)
	return slices.DeleteFunc(all, func(n NodeStatus) bool { return !n.Role.IsNode() }), err
}

// Down removes everything that Up made but the caches: containers, disks, network, and the
// files in dir when they are those of this lab. It is no error when there is nothing.
func (l *Lab) Down(ctx context.Context, name, dir string) error {
	containers, err := l.listed(ctx, "container", labelLab, name)
	if err != nil {
		return err
	}
	if len(containers) > 0 {
		if _, err := l.run.Run(ctx, l.engine.removeContainers(containers...), nil); err != nil {
			return fmt.Errorf("removing the containers of lab %s: %w", name, err)
		}
	}
	for _, kind := range []string{"volume", "network"} {
		objects, err := l.listed(ctx, kind, labelLab, name)
		if err != nil {
			return err
		}
		if len(objects) == 0 {
			continue
		}
		if _, err := l.run.Run(ctx, l.engine.remove(kind, objects...), nil); err != nil {
			return fmt.Errorf("removing the %ss of lab %s: %w", kind, name, err)
		}
	}
	others, err := l.listed(ctx, "container", labelLab, "")
	if err != nil {
		return err
	}
	if len(others) == 0 {
		if err := l.settings.restore(); err != nil {
			return err
		}
	}
	return l.removeFolder(name, dir)
}

// removeFolder removes the files of the lab from dir, unless dir is another lab's or nobody's.
func (l *Lab) removeFolder(name, dir string) error {
	state, err := ReadState(dir)
	if errors.Is(err, ErrNoLab) {
		return nil
	}
	if err != nil {
		return err
	}
	if state.Name != name {
		l.notify(fmt.Sprintf("%s belongs to lab %s: left alone", dir, state.Name))
		return nil
	}
	kept, err := removeFiles(dir)
	if kept {
		l.notify(fmt.Sprintf("%s has files that are not the lab's: left there", dir))
	}
	return err
}

// RemoveImages removes the node images from the engine. It fails while a lab uses one.
func (l *Lab) RemoveImages(ctx context.Context) error {
	images, err := l.listed(ctx, "image", labelImage, "")
	if err != nil || len(images) == 0 {
		return err
	}
	if _, err := l.run.Run(ctx, l.engine.remove("image", images...), nil); err != nil {
		return fmt.Errorf("removing the node images: %w", err)
	}
	return nil
}
