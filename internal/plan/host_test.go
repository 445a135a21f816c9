package plan_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kubewright/cluster"
	"kubewright/internal/plan"
	"kubewright/internal/resource"
	"kubewright/internal/resource/memhost"
	"kubewright/internal/sh"
	"kubewright/inventory"
)

func config() resource.File {
	return resource.File{Path: "/etc/app/config", Content: []byte("wanted")}
}

// How a thing stands is told from three truths: what is wanted, what was applied last, and
// what is there.
func TestStatus(t *testing.T) {
	applied := func(content string) string {
		return fmt.Sprintf("file:/etc/app/config\t%s\n", resource.DigestOf([]byte(content)))
	}
	tests := map[string]struct {
		there    string // "" is nothing
		manifest string
		want     plan.Status
		steps    []string // what is done, in order
	}{
		"never applied, nothing there":      {"", "", plan.New, []string{"Intend", "WriteFile", "Record"}},
		"never applied, another is there":   {"theirs", "", plan.Adopted, []string{"KeepOriginal", "Intend", "WriteFile", "Record"}},
		"never applied, the same is there":  {"wanted", "", plan.InSync, []string{"KeepOriginal", "Record"}},
		"applied and there":                 {"wanted", applied("wanted"), plan.InSync, nil},
		"applied and changed":               {"edited", applied("wanted"), plan.Drift, []string{"Intend", "WriteFile", "Record"}},
		"applied and gone":                  {"", applied("wanted"), plan.Drift, []string{"Intend", "WriteFile", "Record"}},
		"another was applied":               {"before", applied("before"), plan.Pending, []string{"Intend", "WriteFile", "Record"}},
		"another was applied, and edited":   {"edited", applied("before"), plan.Pending, []string{"Intend", "WriteFile", "Record"}},
		"begun and not there":               {"", "file:/etc/app/config\t-\n", plan.Unfinished, []string{"Intend", "WriteFile", "Record"}},
		"begun, the old is still there":     {"theirs", "file:/etc/app/config\t-\n", plan.Unfinished, []string{"Intend", "WriteFile", "Record"}},
		"begun and done, but not recorded":  {"wanted", "file:/etc/app/config\t-\n", plan.InSync, []string{"Record"}},
		"there, but another digest is told": {"wanted", applied("before"), plan.InSync, []string{"Record"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			h := memhost.New(t)
			if tc.there != "" {
				h.File("/etc/app/config", 0o644, tc.there)
			}
			if tc.manifest != "" {
				h.File(sh.ManifestPath, 0o600, tc.manifest)
			}
			f := memhost.Fixture{Groups: memhost.Want(config())}
			p := f.Plan(t, h)
			if len(p.Items) != 1 || p.Items[0].Status != tc.want {
				t.Errorf("%+v, want it %s", p.Items, tc.want)
			}
			var steps []string
			for _, task := range p.Tasks(nil) {
				for _, s := range task.Steps {
					steps = append(steps, strings.TrimPrefix(fmt.Sprintf("%T", s), "sh."))
				}
			}
			if diff := cmp.Diff(tc.steps, steps); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
			if changes := len(p.Changes()); changes != 0 && tc.want == plan.InSync || changes != 1 && tc.want != plan.InSync {
				t.Errorf("%d changes", changes)
			}
		})
	}
}

// A folder that was there before us and is as wanted is never ours, so it is not removed.
func TestFoldersOfOthersAreNotRecorded(t *testing.T) {
	h := memhost.New(t)
	h.Dir("/opt/theirs", 0o755)
	f := memhost.Fixture{Groups: memhost.Want(resource.Dir{Path: "/opt/theirs"}, resource.Dir{Path: "/opt/ours"})}
	f.Converge(t, h)
	if diff := cmp.Diff(1, len(h.Manifest())); diff != "" || h.Manifest()["dir:/opt/ours"] == "" {
		t.Errorf("the manifest lists %v", h.Manifest())
	}
}

// The restart of a unit follows from what is on the host: nothing that is held in memory
// could be lost with the run.
func TestRestartIsDueAfterACut(t *testing.T) {
	unit := resource.Unit{Name: "app.service", On: []resource.ID{"file:/etc/app/config"}}
	h := memhost.New(t)
	h.Unit("app.service", memhost.Unit{})
	wants := func(content string) memhost.Fixture {
		return memhost.Fixture{Groups: memhost.Want(resource.File{Path: "/etc/app/config", Content: []byte(content)}, unit)}
	}
	wants("1").Converge(t, h)
	p := wants("2").Plan(t, h)
	if got := p.Changes()[1].Change; got.Restarts != "app.service" {
		t.Fatalf("a new configuration does not restart the unit: %+v", got)
	}
	if _, err := h.Run(p.Tasks(nil)[:1], -1); err != nil { // the file, and no more
		t.Fatal(err)
	}
	for _, content := range []string{"2", "1"} { // also when the configuration goes back
		again := h.Clone()
		changes := wants(content).Plan(t, again).Changes()
		if last := changes[len(changes)-1].Change; last.Restarts != "app.service" {
			t.Errorf("after a cut, with %q wanted, no restart is due: %+v", content, last)
		}
		starts := again.Units["app.service"].Starts
		wants(content).Converge(t, again)
		if n := again.Units["app.service"].Starts - starts; n != 1 {
			t.Errorf("with %q wanted the unit was started %d times", content, n)
		}
	}
}

// What cannot be compared stops the plan, and names host, phase and resource.
func TestForHostRefuses(t *testing.T) {
	tests := map[string]struct {
		want []resource.Resource
		says string
	}{
		"wanted twice":      {[]resource.Resource{config(), config()}, "wanted twice"},
		"an unknown input":  {[]resource.Resource{resource.Unit{Name: "a.service", On: []resource.ID{"file:/none"}}}, "file:/none"},
		"a later input":     {[]resource.Resource{resource.Unit{Name: "a.service", On: []resource.ID{"file:/etc/app/config"}}, config()}, "comes later"},
		"a file for a dir":  {[]resource.Resource{resource.Dir{Path: "/etc/passwd"}}, "move it away"},
		"a dir for a link":  {[]resource.Resource{resource.Link{Path: "/etc", Target: "x"}}, "move it away"},
		"a pod that breaks": {[]resource.Resource{resource.StaticPod{Path: "/p", Render: func(string, map[string]string) ([]byte, error) { return nil, errors.New("boom") }}}, "boom"},
	}
	for name, tc := range tests {
		h := memhost.New(t)
		var probes []sh.Probe
		for _, r := range tc.want {
			probes = append(probes, r.Probes()...)
		}
		_, err := plan.ForHost("w1", []plan.Group{{Phase: "p", Resources: tc.want}}, h.Answer(probes))
		if err == nil || !strings.Contains(err.Error(), "w1: phase p: ") || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := plan.ForHost("w1", []plan.Group{{Phase: "p", Resources: tc.want}}, &sh.Answers{}); err == nil {
			t.Errorf("%s: without an answer there is a plan", name)
		}
	}
}

// Removal goes from what runs to what it runs on, from the inside out.
func TestRemovalOrder(t *testing.T) {
	manifest := map[string]string{}
	for _, id := range []string{
		"tree:/var/lib/kubelet", "dir:/etc", "dir:/etc/deep", "file:/etc/deep/b", "file:/etc/a", "unit:containerd.service", "unit:kubelet.service",
		"pod:/etc/kubernetes/manifests/etcd.yaml", "binary:/usr/local/bin/kubelet", "sysctl:net.x", "cert:/etc/pki/a.crt", "link:/etc/l", "byproduct:/etc/z", "address:10.111.0.5",
	} {
		manifest[id] = "d"
	}
	var got []string
	for _, task := range plan.ResetTasks(plan.Reset("w1", manifest)) {
		got = append(got, task.ID)
	}
	want := []string{
		"unit:kubelet.service", "workloads", "pod:/etc/kubernetes/manifests/etcd.yaml", "unit:containerd.service",
		"address:10.111.0.5", "binary:/usr/local/bin/kubelet", "byproduct:/etc/z", "cert:/etc/pki/a.crt", "file:/etc/a", "file:/etc/deep/b", "link:/etc/l", "sysctl:net.x",
		"tree:/var/lib/kubelet", "dir:/etc/deep", "dir:/etc",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Each file that hosts fetch is named once, whatever number of binaries come from it, and
// only for the phases that are run.
func TestArtifactsAndTasksOfPhases(t *testing.T) {
	h := memhost.New(t)
	a, b := resource.Artifact{Name: "a", SHA256: strings.Repeat("a", 64)}, resource.Artifact{Name: "b", SHA256: strings.Repeat("b", 64)}
	groups := []plan.Group{
		{Phase: "one", Resources: []resource.Resource{resource.Binary{Path: "/a1", Artifact: a, Member: "1"}, resource.Binary{Path: "/a2", Artifact: a, Member: "2"}}},
		{Phase: "two", Resources: []resource.Resource{resource.Binary{Path: "/b", Artifact: b}, config()}},
	}
	var probes []sh.Probe
	for _, g := range groups {
		for _, r := range g.Resources {
			probes = append(probes, r.Probes()...)
		}
	}
	p, err := plan.ForHost("w1", groups, h.Answer(probes))
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Artifacts(nil); len(got) != 2 {
		t.Errorf("artifacts of all phases: %v", got)
	}
	if got := p.Artifacts(map[string]bool{"two": true}); len(got) != 1 || got[0].Name != "b" {
		t.Errorf("artifacts of phase two: %v", got)
	}
	if got := p.Tasks(map[string]bool{"two": true}); len(got) != 2 || got[0].ID != "binary:/b" || got[0].Phase != "two" {
		t.Errorf("tasks of phase two: %v", got)
	}
	if got := p.Tasks(map[string]bool{}); len(got) != 0 {
		t.Errorf("tasks of no phase: %v", got)
	}
}

// A barrier begins a new act; phases that are not about the host have no part in it.
func TestSegments(t *testing.T) {
	want := func(name string, on inventory.Selector, after ...plan.Edge) plan.Phase {
		return plan.Phase{Name: name, Short: name, On: on, After: after, Desire: func(*cluster.Cluster, plan.Target) ([]resource.Resource, error) { return nil, nil }}
	}
	phases := []plan.Phase{
		{Name: "preflight", Short: "x", Checks: true},
		want("a", inventory.Everyone), want("b", inventory.ControlPlanes, plan.SameHost("a")),
		{Name: "api", Short: "x", After: []plan.Edge{plan.AllHosts("b")}},
		want("c", inventory.Everyone, plan.AllHosts("b")), want("d", inventory.Everyone, plan.SameHost("c")), want("e", inventory.Workers, plan.AllHosts("d")),
	}
	for role, want := range map[inventory.Role]string{
		inventory.RoleControlPlane: "[a b] [c d]", inventory.RoleWorker: "[a] [c d] [e]",
	} {
		var got []string
		for _, segment := range plan.Segments(phases, inventory.Host{Roles: []inventory.Role{role}}, false) {
			var names []string
			for _, p := range segment {
				names = append(names, p.Name)
			}
			got = append(got, fmt.Sprint(names))
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%s: %s, want %s", role, s, want)
		}
	}
}
