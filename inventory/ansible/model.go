package ansible

import (
	"cmp"
	"maps"
	"slices"

	"gopkg.in/yaml.v3"

	"kubewright/spec/strict"
)

// The groups that Ansible has in every inventory.
const (
	groupAll       = "all"
	groupUngrouped = "ungrouped"
)

// world is what the sources of an inventory say: groups and hosts with their own variables.
type world struct {
	groups map[string]*group
	hosts  map[string]*host
	order  []string // hosts as they were first named

	faults   strict.Faults
	warnings strict.Faults
	budget   int // of nodes that YAML may still expand to
}

// group is a group of hosts and groups.
type group struct {
	name     string
	origin   strict.Origin
	children []string
	hosts    map[string]strict.Origin // where each was put into the group
	vars     variables
	priority int // ansible_group_priority; of groups at the same depth the higher one wins
	depth    int // the longest way from all
}

// host is a machine that the inventory names.
type host struct {
	name   string
	origin strict.Origin
	vars   variables
}

// variable is a value with the place where it was set.
type variable struct {
	name  string
	scope string // name of the host or group
	file  string
	value *yaml.Node
}

// key tells the settings of variables from each other.
func (v variable) key() [3]string {
	return [3]string{v.scope, v.name, v.origin().String()}
}

// variables are those of a host or a group by name.
type variables map[string]variable

func (vs variables) set(v variable) { vs[v.name] = v }

// origin is where the variable was set; its messages are about the name that stands there.
func (v variable) origin() strict.Origin { return v.at(v.value) }

// at is the origin of a node within the variable.
func (v variable) at(n *yaml.Node) strict.Origin {
	return strict.Origin{File: v.file, Line: n.Line, Column: n.Column, Name: v.name}
}

// largestInventory bounds the nodes that YAML may expand to, and the hosts.
const (
	largestInventory = 500_000
	mostHosts        = 10_000
)

func newWorld() *world {
	w := &world{groups: map[string]*group{}, hosts: map[string]*host{}, budget: largestInventory}
	w.group(groupAll, strict.Origin{})
	return w
}

// group returns the group of that name, which is made if it is new.
func (w *world) group(name string, o strict.Origin) *group {
	g, ok := w.groups[name]
	if !ok {
		o.Name = name
		g = &group{name: name, origin: o, hosts: map[string]strict.Origin{}, vars: variables{}, priority: 1}
		w.groups[name] = g
	}
	return g
}

// host puts a host into a group, and returns it.
func (w *world) host(name string, into *group, o strict.Origin) *host {
	o.Name = name
	h, ok := w.hosts[name]
	if !ok {
		h = &host{name: name, origin: o, vars: variables{}}
		w.hosts[name] = h
		w.order = append(w.order, name)
	}
	if _, ok := into.hosts[name]; !ok {
		into.hosts[name] = o
	}
	return h
}

// child puts a group into another.
func (w *world) child(parent *group, name string) {
	if !slices.Contains(parent.children, name) {
		parent.children = append(parent.children, name)
	}
}

func (w *world) refuse(o strict.Origin, message, suggestion string) {
	w.faults = append(w.faults, o.Fault(message, suggestion))
}

func (w *world) warn(o strict.Origin, message string) {
	w.warnings = append(w.warnings, o.Fault(message, ""))
}

// dynamicGroups puts hosts into the groups that Kubespray makes while it runs (its role
// dynamic_groups): those that have had other names, and k8s_cluster.
func (w *world) dynamicGroups() {
	for _, d := range []struct {
		name string
		of   []string
	}{
		{groupControlPlane, []string{"kube-master"}},
		{groupNode, []string{"kube-node"}},
		{"calico_rr", []string{"calico-rr"}},
		{groupCluster, []string{groupNode, groupControlPlane, "calico_rr"}},
	} {
		for _, name := range d.of {
			from, ok := w.groups[name]
			if !ok {
				continue
			}
			members := w.members(from)
			if len(members) == 0 {
				continue
			}
			into := w.group(d.name, from.origin)
			for _, h := range slices.Sorted(maps.Keys(members)) {
				if _, ok := w.members(into)[h]; !ok {
					into.hosts[h] = members[h]
				}
			}
		}
	}
}

// members are the hosts of a group and of the groups below it, with the place where each was put there.
func (w *world) members(g *group) map[string]strict.Origin {
	members := map[string]strict.Origin{}
	w.below(g, map[string]bool{}, func(g *group) {
		for name, o := range g.hosts {
			if _, ok := members[name]; !ok {
				members[name] = o
			}
		}
	})
	return members
}

// below visits a group and each of those below it once.
func (w *world) below(g *group, seen map[string]bool, visit func(*group)) {
	if seen[g.name] {
		return
	}
	seen[g.name] = true
	visit(g)
	for _, name := range g.children {
		w.below(w.groups[name], seen, visit)
	}
}

// settle refuses groups that contain themselves, and says how deep each group is.
func (w *world) settle() {
	const visiting, done = 1, 2
	state := map[string]int{}
	var order []*group // parents after their children
	var visit func(g *group) bool
	visit = func(g *group) bool {
		switch state[g.name] {
		case visiting:
			w.refuse(g.origin, "the group "+g.name+" is below itself: its children lead back to it", "")
			return false
		case done:
			return true
		}
		state[g.name] = visiting
		for _, name := range g.children {
			if !visit(w.groups[name]) {
				return false
			}
		}
		state[g.name] = done
		order = append(order, g)
		return true
	}
	for _, name := range slices.Sorted(maps.Keys(w.groups)) {
		if !visit(w.groups[name]) {
			return
		}
	}
	for _, g := range slices.Backward(order) {
		if g.name != groupAll {
			g.depth = max(g.depth, 1)
		}
		for _, name := range g.children {
			w.groups[name].depth = max(w.groups[name].depth, g.depth+1)
		}
	}
}

// groupsOf lists the groups of every host without all, in the order in which their variables are
// laid over each other: by depth, priority and name. A host that is in another group is not in
// ungrouped, wherever it was first named.
func (w *world) groupsOf() map[string][]*group {
	of := map[string][]*group{}
	sorted := slices.SortedFunc(maps.Values(w.groups), func(a, b *group) int {
		return cmp.Or(cmp.Compare(a.depth, b.depth), cmp.Compare(a.priority, b.priority), cmp.Compare(a.name, b.name))
	})
	for _, g := range sorted {
		if g.name == groupAll {
			continue
		}
		for name := range w.members(g) {
			of[name] = append(of[name], g)
		}
	}
	for name, groups := range of {
		if len(groups) > 1 {
			of[name] = slices.DeleteFunc(groups, func(g *group) bool { return g.name == groupUngrouped })
		}
	}
	return of
}
