package memhost

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"

	"kubewright/internal/plan"
	"kubewright/internal/resource"
	"kubewright/internal/sh"
)

// Fixture is a host and what is wanted of it.
type Fixture struct {
	// Host makes the world before.
	Host func(testing.TB) *Host
	// Groups lists what is wanted. It is asked for each plan, with the host as it is then.
	Groups func(testing.TB, *Host) []plan.Group
	// Loose names what has other content each time it is made, such as a certificate: its
	// content is compared by the plan only. nil means nothing.
	Loose func(path string) bool
	// Every is how many micro-operations lie between two cuts; 0 means 1.
	Every int
	// Again, when not 0, has the second run cut too, each so many micro-operations.
	Again int
}

// Want is a fixture's Groups for a list that depends on nothing.
func Want(resources ...resource.Resource) func(testing.TB, *Host) []plan.Group {
	return func(testing.TB, *Host) []plan.Group { return []plan.Group{{Phase: "test", Resources: resources}} }
}

// Plan looks at the host, compares, and checks that this changed nothing.
func (f Fixture) Plan(t testing.TB, h *Host) plan.Host {
	t.Helper()
	before := h.Clone()
	groups := f.Groups(t, h)
	var probes []sh.Probe
	for _, g := range groups {
		for _, r := range g.Resources {
			probes = append(probes, r.Probes()...)
		}
	}
	p, err := plan.ForHost("host", groups, h.Answer(probes))
	if err != nil {
		t.Fatalf("plan: %v", err)
	}
	if d := h.Differences(before, nil); len(d) > 0 || h.clock != before.clock {
		t.Fatalf("planning changed the host:\n%s", strings.Join(d, "\n"))
	}
	return p
}

// Tasks are what a run does for a plan: files into the cache, the tasks, the cache emptied.
func Tasks(p plan.Host) []sh.Task {
	var before []sh.Task
	for _, a := range p.Artifacts(nil) {
		steps := []sh.Step{sh.Fetch{URL: a.URL, SHA256: a.SHA256}}
		if a.Archive {
			steps = append(steps, sh.Unpack{SHA256: a.SHA256})
		}
		before = append(before, sh.Task{ID: "fetch:" + a.Name, Steps: steps})
	}
	tasks := slices.Concat(before, p.Tasks(nil))
	if len(before) > 0 || p.Cached {
		tasks = append(tasks, sh.Task{ID: "cache", Steps: []sh.Step{sh.RemoveDir{Path: sh.CacheDir, Tree: true}}})
	}
	return tasks
}

// Converge plans, applies and requires that nothing is left to do, and that each unit runs
// with what its inputs are now.
func (f Fixture) Converge(t testing.TB, h *Host) {
	t.Helper()
	if _, err := h.Run(Tasks(f.Plan(t, h)), -1); err != nil {
		t.Fatalf("apply: %v", err)
	}
	for _, it := range f.Plan(t, h).Changes() {
		t.Fatalf("after an apply %s is not as wanted (%s): %v", it.Change.ID, it.Status, it.Change.Fields)
	}
	if tasks := f.Plan(t, h).Tasks(nil); len(tasks) > 0 {
		t.Fatalf("after an apply there is still something to record: %v", tasks)
	}
	for _, stale := range h.Stale(f.Groups(t, h)) {
		t.Fatal(stale)
	}
}

// Law holds the fixture to the law and returns the host as it is in the end: what was
// applied is as wanted; and a run that is cut after any micro-operation is completed by
// the next, which reaches the same world.
func (f Fixture) Law(t testing.TB) *Host {
	t.Helper()
	want := f.Host(t)
	f.Converge(t, want)
	for limit := 0; ; limit += max(1, f.Every) {
		h := f.Host(t)
		if !f.cut(t, h, limit) {
			break
		}
		if f.Again > 0 && limit%f.Again == 0 {
			f.cutAgain(t, h, want, limit)
		}
		f.Converge(t, h)
		f.requireSame(t, h, want, fmt.Sprintf("a cut after %d operations", limit))
	}
	return want
}

// cut plans and applies up to limit micro-operations; it tells whether there were more.
func (f Fixture) cut(t testing.TB, h *Host, limit int) bool {
	t.Helper()
	cut, err := h.Run(Tasks(f.Plan(t, h)), limit)
	if err != nil {
		t.Fatalf("apply, to be cut after %d operations: %v", limit, err)
	}
	return cut
}

func (f Fixture) cutAgain(t testing.TB, h, want *Host, first int) {
	t.Helper()
	for limit := 0; ; limit += f.Again {
		again := h.Clone()
		if !f.cut(t, again, limit) {
			return
		}
		f.Converge(t, again)
		f.requireSame(t, again, want, fmt.Sprintf("cuts after %d and then %d operations", first, limit))
	}
}

func (f Fixture) requireSame(t testing.TB, got, want *Host, after string) {
	t.Helper()
	if d := got.Differences(want, f.Loose); len(d) > 0 {
		t.Fatalf("%s lead to another world:\n%s", after, strings.Join(d, "\n"))
	}
}

// Differences lists what is not the same on two hosts. What the manifest says counts, not
// how it came to say so. What is left in the cache does not count, since nothing but the
// next download looks there, nor does the saved original of what the manifest lists no more.
func (h *Host) Differences(want *Host, loose func(path string) bool) []string {
	if loose == nil {
		loose = func(string) bool { return false }
	}
	var d []string
	differ := func(what string, got, want any) {
		if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
			d = append(d, fmt.Sprintf("%s: %.200q, want %.200q", what, g, w))
		}
	}
	for _, p := range keys(h.Nodes, want.Nodes) {
		if p != sh.ManifestPath && !strings.HasPrefix(p, sh.CacheDir+"/") && !h.leftover(p) && !want.leftover(p) {
			differ(p, h.Nodes[p].describe(loose(p)), want.Nodes[p].describe(loose(p)))
		}
	}
	got, wanted := h.Manifest(), want.Manifest()
	for _, id := range keys(got, wanted) {
		a, b := got[id], wanted[id]
		if a != "" && b != "" && !sh.Pending(a) && loose(subject(resource.ID(id))) {
			b = a
		}
		differ("manifest: "+id, a, b)
	}
	for _, name := range keys(h.Units, want.Units) {
		differ("unit "+name, h.Units[name].describe(), want.Units[name].describe())
	}
	for _, p := range keys(h.stamps, want.stamps) {
		differ("stamp of "+p, h.stamps[p].installed+h.stamps[p].source, want.stamps[p].installed+want.stamps[p].source)
	}
	differ("sysctls", h.Sysctls, want.Sysctls)
	differ("modules", h.Modules, want.Modules)
	differ("system", [][]string{h.Swaps, h.Mounts, h.Links, h.Pods, h.Addresses, h.Rules, h.Tables, h.Sets},
		[][]string{want.Swaps, want.Mounts, want.Links, want.Pods, want.Addresses, want.Rules, want.Tables, want.Sets})
	differ("routes", h.Routes, want.Routes)
	return d
}

// leftover tells whether p is a saved original that no resource will be put back from.
func (h *Host) leftover(p string) bool {
	original, ok := strings.CutPrefix(p, sh.OriginalsDir+"/")
	if !ok || h.Nodes[p] == nil || h.Nodes[p].Mode.IsDir() {
		return false
	}
	for id := range h.Manifest() {
		if resource.ID(id).Name() == "/"+original {
			return false
		}
	}
	return true
}

// subject is the path of what the manifest's digest is about.
func subject(id resource.ID) string {
	if id.Kind() == "unit" {
		return startedPath(id.Name())
	}
	return id.Name()
}

func keys[V any](a, b map[string]V) []string {
	all := maps.Clone(a)
	if all == nil {
		all = map[string]V{}
	}
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}

func (n *Node) describe(loose bool) string {
	if n == nil {
		return "absent"
	}
	content := string(n.Content)
	if loose {
		content = ""
	}
	return fmt.Sprintf("%v %d:%d %s %s", n.Mode, n.UID, n.GID, n.Target, content)
}

func (u *Unit) describe() string {
	if u == nil {
		return "unknown"
	}
	return fmt.Sprintf("%s enabled=%v loaded=%q running=%q", u.Active, u.Enabled, u.loaded, u.running)
}

// Stale lists the units that run with something else than their inputs are now: started
// before one was last written, or from another unit file.
func (h *Host) Stale(groups []plan.Group) []string {
	var stale []string
	for _, g := range groups {
		for _, r := range g.Resources {
			if u, ok := r.(resource.Unit); ok {
				stale = append(stale, h.stale(u)...)
			}
		}
	}
	return stale
}

func (h *Host) stale(u resource.Unit) []string {
	running := h.Units[u.Name]
	if running == nil || running.Active != "active" {
		return []string{u.Name + " does not run"}
	}
	var stale []string
	if f := h.unitFile(u.Name); f == nil || !bytes.Equal(f.Content, running.running) {
		stale = append(stale, u.Name+" runs from another unit file")
	}
	for _, input := range u.On {
		n := h.Nodes[input.Name()]
		if n != nil && n.Mode&fs.ModeSymlink != 0 {
			n = h.follow(input.Name())
		}
		if n == nil {
			stale = append(stale, fmt.Sprintf("%s runs with %s, which is gone", u.Name, input))
		} else if n.written > running.begun {
			stale = append(stale, fmt.Sprintf("%s was started before %s was written", u.Name, input))
		}
	}
	return stale
}
