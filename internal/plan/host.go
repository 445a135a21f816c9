// Package plan compares what is wanted with what was observed and says what would be
// done: for one host, and for the whole cluster. It is pure; plan, apply, status, the
// resumption of an interrupted run and reset are all this one comparison.
package plan

import (
	"fmt"
	"slices"

	"kubewright/internal/resource"
	"kubewright/internal/sh"
)

// Status says how a resource stands between three truths: what is wanted, what was
// applied last, and what is there.
type Status string

const (
	// InSync is a resource that is as wanted.
	InSync Status = "in-sync"
	// New was never applied and is not there.
	New Status = "new"
	// Pending is as it was applied, but something else is wanted now.
	Pending Status = "pending"
	// Drift is wanted as it was applied, and has changed since.
	Drift Status = "drift"
	// Unfinished was begun by a run that did not end.
	Unfinished Status = "unfinished"
	// Adopted was there before kubewright and is not as wanted.
	Adopted Status = "adopted"
	// Orphan was applied and is wanted no more.
	Orphan Status = "orphan"
)

// Item is one resource of a host in a plan.
type Item struct {
	Phase  string
	Status Status
	Change resource.Change
	// Unrecorded is set when the resource is as wanted, but the host's manifest does not
	// say so yet: an interrupted run got that far. It is recorded, nothing is changed.
	Unrecorded bool
	// keep saves what was there before, when it becomes ours.
	keep []sh.Step
}

// Host is the plan for one host: every resource that should be there, in the order in
// which it is made true.
type Host struct {
	Name  string
	Items []Item
	// Cached says that the host has files in its cache, which a run that was cut has left.
	Cached bool
}

// Group is the resources of one phase on a host.
type Group struct {
	Phase     string
	Resources []resource.Resource
}

// ForHost compares the resources of a host with what was observed there.
func ForHost(name string, groups []Group, observed *sh.Answers) (Host, error) {
	wanted := 0
	for _, g := range groups {
		wanted += len(g.Resources)
	}
	items, places := make([]Item, 0, wanted), make(map[resource.ID]int, wanted)
	restarts := dependents(groups)
	view := resource.View{
		Observed: observed,
		Digest: func(input resource.ID) (string, bool) {
			i, ok := places[input]
			if !ok {
				return "", false
			}
			return items[i].Change.Digest, true
		},
		Rewritten: func(input resource.ID) bool {
			i, ok := places[input]
			return ok && items[i].Change.Rewrites
		},
	}
	for _, g := range groups {
		for _, r := range g.Resources {
			id := r.ID()
			if _, twice := places[id]; twice {
				return Host{}, fmt.Errorf("%s: phase %s: %s is wanted twice", name, g.Phase, id)
			}
			change, err := r.Diff(view)
			if err != nil {
				return Host{}, fmt.Errorf("%s: phase %s: %s: %w", name, g.Phase, id, err)
			}
			places[id] = len(items)
			items = append(items, item(g.Phase, announceRestart(change, restarts[id]), observed.Manifest))
		}
	}
	if left := orphans(places, observed.Manifest); len(left) > 0 {
		items = append(left, items...)
	}
	return Host{Name: name, Items: items, Cached: observed.Cached}, nil
}

// dependents maps a resource to the units that run with it.
func dependents(groups []Group) map[resource.ID][]string {
	units := map[resource.ID][]string{}
	for _, g := range groups {
		for _, r := range g.Resources {
			if u, ok := r.(resource.Unit); ok {
				for _, input := range u.On {
					units[input] = append(units[input], u.Name)
				}
			}
		}
	}
	return units
}

// announceRestart has the host forget, before an input changes, that the unit was started
// with it: a run that is cut between the change and the restart leaves a restart due.
func announceRestart(c resource.Change, units []string) resource.Change {
	if !c.Rewrites {
		return c
	}
	var steps []sh.Step
	for _, u := range units {
		steps = append(steps, sh.ForgetStart{Name: u})
	}
	c.Steps = append(steps, c.Steps...)
	return c
}

func item(phase string, c resource.Change, manifest map[string]string) Item {
	applied, known := manifest[string(c.ID)]
	it := Item{Phase: phase, Change: c, Unrecorded: c.Empty() && applied != c.Digest}
	if c.ID.Kind() == "dir" && !known {
		it.Unrecorded = false // a folder that was there before us is not ours to remove
	}
	if !known && !c.Create {
		it.keep = resource.Keeping(c.ID)
	}
	switch {
	case c.Empty():
		it.Status = InSync
	case sh.Pending(applied):
		it.Status = Unfinished
	case known && applied == c.Digest:
		it.Status = Drift
	case known:
		it.Status = Pending
	case c.Create:
		it.Status = New
	default:
		it.Status = Adopted
	}
	return it
}

// orphans are what the manifest lists and nobody wants any more, in the order in which
// they are removed.
func orphans(wanted map[resource.ID]int, manifest map[string]string) []Item {
	var ids []resource.ID
	for id := range manifest {
		if _, ok := wanted[resource.ID(id)]; !ok {
			ids = append(ids, resource.ID(id))
		}
	}
	var items []Item
	for _, id := range removalOrder(ids) {
		change := resource.Change{ID: id, Steps: append(resource.Removal(id), sh.Forget{ID: string(id)})}
		change.Steps = append(change.Steps, resource.Removed(id)...)
		change.Fields = []resource.Field{{Name: "wanted", Old: "yes", New: "no"}}
		items = append(items, Item{Phase: "prune", Status: Orphan, Change: change})
	}
	return items
}

// removalOrder puts units first and folders last, the deepest of them first, so that
// nothing is removed while something that runs still needs it.
func removalOrder(ids []resource.ID) []resource.ID {
	rank := func(id resource.ID) int {
		switch id.Kind() {
		case "pod":
			return 0
		case "unit":
			return 1
		case "dir", "tree":
			return 3
		}
		return 2
	}
	slices.SortFunc(ids, func(a, b resource.ID) int {
		if ra, rb := rank(a), rank(b); ra != rb {
			return ra - rb
		}
		if rank(a) == 3 && len(a.Name()) != len(b.Name()) {
			return len(b.Name()) - len(a.Name())
		}
		if a < b {
			return -1
		}
		return 1
	})
	return ids
}

// Changes are the items that are not as wanted.
func (h Host) Changes() []Item {
	out := make([]Item, 0, h.Count())
	for _, it := range h.Items {
		if !it.Change.Empty() {
			out = append(out, it)
		}
	}
	return out
}

// Count is the number of changes.
func (h Host) Count() int {
	n := 0
	for _, it := range h.Items {
		if !it.Change.Empty() {
			n++
		}
	}
	return n
}

// Tasks are what has to run on the host for the items of the given phases (nil: all):
// what is changed, and what only has to be recorded.
func (h Host) Tasks(phases map[string]bool) []sh.Task {
	var tasks []sh.Task
	for _, it := range h.Items {
		if phases != nil && !phases[it.Phase] {
			continue
		}
		id := string(it.Change.ID)
		record := sh.Record{ID: id, Digest: it.Change.Digest}
		switch {
		case it.Status == Orphan:
			tasks = append(tasks, sh.Task{ID: id, Phase: it.Phase, Steps: it.Change.Steps})
		case !it.Change.Empty():
			// Once the manifest has it, what is there may be ours: it is kept before.
			steps := slices.Concat(it.keep, []sh.Step{sh.Intend{ID: id}}, it.Change.Steps, []sh.Step{record})
			tasks = append(tasks, sh.Task{ID: id, Phase: it.Phase, Steps: steps})
		case it.Unrecorded:
			tasks = append(tasks, sh.Task{ID: id, Phase: it.Phase, Steps: append(slices.Clone(it.keep), record)})
		}
	}
	return sh.Replaced(tasks)
}

// Artifacts are the files that the host's cache needs before the tasks of the given
// phases (nil: all) can run, each once.
func (h Host) Artifacts(phases map[string]bool) []resource.Artifact {
	seen := map[string]bool{}
	var out []resource.Artifact
	for _, it := range h.Items {
		a := it.Change.Artifact
		if a == nil || seen[a.SHA256] || (phases != nil && !phases[it.Phase]) {
			continue
		}
		seen[a.SHA256] = true
		out = append(out, *a)
	}
	return out
}
