package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"kubewright/internal/fault"
)

// Stop switches nodes off at once, as pulling the plug does: nothing on them gets to stop
// cleanly. No names are all nodes; nodes that are off stay off.
func (l *Lab) Stop(ctx context.Context, lab string, names []string) error {
	return l.switchPower(ctx, lab, names, map[Power]string{PowerOn: "kill", PowerPaused: "kill"})
}

// Pause freezes nodes: they answer nothing, keep their memory, and notice nothing but the time. runc gives up on a
// node that makes processes faster than they are frozen, so it is asked again; the others are frozen by then, and
// leave that one the less time.
func (l *Lab) Pause(ctx context.Context, lab string, names []string) (err error) {
	const attempts = 5
	for range attempts {
		if err = l.switchPower(ctx, lab, names, map[Power]string{PowerOn: "pause"}); err == nil || fault.KindOf(err) == fault.BadInput || ctx.Err() != nil {
			return err
		}
	}
	return err
}

// Resume lets paused nodes go on.
func (l *Lab) Resume(ctx context.Context, lab string, names []string) error {
	return l.switchPower(ctx, lab, names, map[Power]string{PowerPaused: "unpause"})
}

// Start switches nodes on, with the disks and the address they had, and waits until they can be
// logged in to with the key in dir. Paused nodes go on. ctx bounds the wait.
func (l *Lab) Start(ctx context.Context, lab, dir string, names []string) error {
	key, err := os.ReadFile(filepath.Join(dir, fileKey))
	if err != nil {
		return fmt.Errorf("reading the lab's SSH key: %w", err)
	}
	if err := l.switchPower(ctx, lab, names, map[Power]string{PowerOff: "start", PowerPaused: "unpause"}); err != nil {
		return err
	}
	nodes, err := l.choose(ctx, lab, names)
	if err != nil {
		return err
	}
	return each(nodes, func(i int) error {
		if nodes[i].Power == PowerNew {
			return fault.New(fault.BadInput, "was made and never finished: `kubewright lab up` does that").On(nodes[i].Name)
		}
		if err := l.login(ctx, target{node: nodes[i].Node, port: sshPort, user: LoginRoot.User(), key: key, command: loginCommand}); err != nil {
			return &fault.Error{Host: nodes[i].Name, Err: err}
		}
		return nil
	})
}

// switchPower runs, for each of the nodes side by side, the engine's verb for the state it is in.
func (l *Lab) switchPower(ctx context.Context, lab string, names []string, verbs map[Power]string) error {
	nodes, err := l.choose(ctx, lab, names)
	if err != nil {
		return err
	}
	return each(nodes, func(i int) error {
		verb := verbs[nodes[i].Power]
		if verb == "" {
			return nil
		}
		if _, err := l.run.Run(ctx, l.engine.power(verb, objectName(lab, nodes[i].Name)), nil); err != nil {
			return &fault.Error{Host: nodes[i].Name, Err: err}
		}
		return nil
	})
}

// choose returns the named nodes of the lab; no names are all of them.
func (l *Lab) choose(ctx context.Context, lab string, names []string) ([]NodeStatus, error) {
	nodes, err := l.Status(ctx, lab)
	if err != nil {
		return nil, err
	}
	if len(nodes) == 0 {
		return nil, noNodes(lab)
	}
	if len(names) == 0 {
		return nodes, nil
	}
	all := make([]Node, len(nodes))
	for i, n := range nodes {
		all[i] = n.Node
	}
	var chosen []NodeStatus
	for _, name := range names {
		i, err := find(lab, all, name)
		if err != nil {
			return nil, err
		}
		chosen = append(chosen, nodes[i])
	}
	return chosen, nil
}

// find returns the place of the named node, or an error that lists the names there are.
func find(lab string, nodes []Node, name string) (int, error) {
	var names []string
	for i, n := range nodes {
		if n.Name == name {
			return i, nil
		}
		names = append(names, n.Name)
	}
	if len(names) == 0 {
		return 0, noNodes(lab)
	}
	return 0, fault.New(fault.BadInput, "lab %s has no node %q; it has %s", lab, name, strings.Join(names, ", "))
}

func noNodes(lab string) error {
	return fault.New(fault.BadInput, "lab %s has no nodes: run `kubewright lab up`", lab)
}

// SSH is the command line that logs in to a node of the lab in dir, as the user of its
// inventory, and runs a command there; with no command it is a shell. Host keys are verified,
// and the user's own configuration of SSH is left out of it.
func SSH(dir string, state State, node string, command []string) ([]string, error) {
	i, err := find(state.Name, state.Nodes, node)
	if err != nil {
		return nil, err
	}
	argv := []string{"ssh", "-F", "none", "-i", filepath.Join(dir, fileKey), "-o", "IdentitiesOnly=yes",
		"-o", "StrictHostKeyChecking=yes", "-o", "UserKnownHostsFile=" + filepath.Join(dir, fileKnownHosts),
		"-o", "GlobalKnownHostsFile=none", "-l", state.Login.User(), state.Nodes[i].Address.String()}
	if len(command) > 0 {
		argv = append(append(argv, "--"), command...)
	}
	return argv, nil
}
