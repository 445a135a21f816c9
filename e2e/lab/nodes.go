package lab

import (
	"cmp"
	"context"
	"errors"
	"regexp"
	"slices"

	"kubewright/internal/fault"
)

// Add makes one node more in the lab that cfg describes, and leaves all others as they are. A
// node without a name gets the next that no node of its role ever had. One with the name of a
// node that is gone gets the address of that, and, if it has no role, its role. The folder's
// inventory then has it.
func (l *Lab) Add(ctx context.Context, cfg Config, want Node) (Node, error) {
	if err := cfg.Validate(); err != nil {
		return Node{}, err
	}
	node, err := l.add(ctx, cfg, want)
	return node, stopped(ctx, cfg.Name, err)
}

func (l *Lab) add(ctx context.Context, cfg Config, want Node) (Node, error) {
	state, err := readOwnState(cfg.Dir, cfg.Name)
	if err != nil {
		return Node{}, err
	}
	existing, err := l.prepare(ctx, cfg)
	if err != nil {
		return Node{}, err
	}
	nodes, _ := onlyNodes(existing)
	known := state.known()
	if want, err = complete(want, nodes, known); err != nil {
		return Node{}, err
	}
	if nodes, err = place(cfg.Subnet, want, nodes, known); err != nil {
		return Node{}, err
	}
	boot, err := l.boot(ctx, cfg)
	if err != nil {
		return Node{}, err
	}
	added := nodes[len(nodes)-1:]
	if err := boot.nodesUp(ctx, added, nil); err != nil {
		return Node{}, err
	}
	node := added[0]
	slices.SortFunc(nodes, byAddress)
	_, err = writeNodes(cfg.Dir, state, nodes)
	return node, err
}

// complete fills the name or the role that a new node was not given, and refuses what cannot be.
func complete(want Node, nodes, known []Node) (Node, error) {
	if i := slices.IndexFunc(known, func(n Node) bool { return n.Name == want.Name }); i >= 0 {
		want.Role = cmp.Or(want.Role, known[i].Role)
	}
	if !want.Role.IsNode() {
		return want, fault.New(fault.BadInput, "--role %q: want %s, %s or %s", want.Role, RoleControlPlane, RoleEtcd, RoleWorker)
	}
	for number := 1; want.Name == ""; number++ {
		if name := want.Role.nodeName(number); !named(nodes, name) && !named(known, name) {
			want.Name = name
		}
	}
	// Without dashes, so that no node's objects are named like those of another lab.
	if !regexp.MustCompile(`^[a-z][a-z0-9]{0,19}$`).MatchString(want.Name) {
		return want, fault.New(fault.BadInput, "the node's name %q: want a lower-case letter, and up to 19 more or digits", want.Name)
	}
	if want.Name == string(RoleMirror) {
		return want, fault.New(fault.BadInput, "%s is the name of the lab's own container: choose another", want.Name)
	}
	if named(nodes, want.Name) {
		return want, fault.New(fault.BadInput, "the lab has a node %s already; `kubewright lab up` switches on, or completes, what it has", want.Name)
	}
	return want, nil
}

// Remove destroys nodes with their disks, at once and whatever state they are in. The inventory
// in dir then has them no more; their names and addresses are kept for nodes that Add or Up make
// in their place.
func (l *Lab) Remove(ctx context.Context, lab, dir string, names []string) error {
	state, err := readOwnState(dir, lab)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return fault.New(fault.BadInput, "no node is named: `kubewright lab down` removes them all")
	}
	chosen, err := l.choose(ctx, lab, names)
	if err != nil {
		return err
	}
	failed := each(chosen, func(i int) error {
		name := chosen[i].Name
		if _, err := l.run.Run(ctx, l.engine.removeContainers(objectName(lab, name)), nil); err != nil {
			return &fault.Error{Host: name, Err: err}
		}
		if err := l.removeDisks(ctx, lab, name); err != nil {
			return &fault.Error{Host: name, Err: err}
		}
		return nil
	})
	// Some may be gone when others could not be removed: the files say what is there.
	left, err := l.Status(ctx, lab)
	if err != nil {
		return errors.Join(failed, err)
	}
	nodes, _ := onlyNodes(left)
	_, err = writeNodes(dir, state, nodes)
	return errors.Join(failed, err)
}

// removeDisks removes the disks that there are of a node without a container.
func (l *Lab) removeDisks(ctx context.Context, lab, node string) error {
	volumes, err := l.listed(ctx, "volume", labelLab, lab)
	if err != nil {
		return err
	}
	for _, path := range nodeDisks() {
		if disk := diskName(lab, node, path); slices.Contains(volumes, disk) {
			if _, err := l.run.Run(ctx, l.engine.remove("volume", disk), nil); err != nil {
				return err
			}
		}
	}
	return nil
}
