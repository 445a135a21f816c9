package engine_test

import (
	"context"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kubewright/internal/engine"
	"kubewright/internal/fault"
	"kubewright/internal/host"
	"kubewright/internal/plan"
	"kubewright/internal/report"
	"kubewright/internal/resource"
	"kubewright/internal/sh"
	"kubewright/inventory"
)

// product is a phase with every kind of thing that is left on a host.
func product(name string) plan.Phase {
	return phase(name, nil, func(t plan.Target) []resource.Resource {
		return []resource.Resource{
			resource.File{Path: "/var/lib/kubewright/cluster", Content: []byte("lab sha256:x\n")},
			resource.Dir{Path: "/etc/product", Owned: true},
			resource.Dir{Path: "/opt/theirs"},
			resource.File{Path: "/etc/product/config", Content: []byte("ours")},
			resource.File{Path: "/etc/theirs.conf", Content: []byte("ours")},
			resource.File{Path: "/etc/same.conf", Content: []byte("same")},
			resource.File{Path: "/etc/deep/er/new.conf", Content: []byte("ours")},
			resource.Link{Path: "/etc/link", Target: "/dev/null"},
			resource.Binary{Path: "/usr/local/bin/tool", Artifact: t.Artifacts["tool"]},
			resource.Byproduct{Path: "/var/lib/product", Tree: true},
			resource.Byproduct{Path: "/etc/leaf"},
			resource.Address{IP: netip.MustParseAddr("10.111.0.5")},
			resource.SwapOff{},
			resource.File{Path: "/etc/systemd/system/product.service", Content: []byte("[Service]\n")},
			resource.Unit{Name: "product.service", On: []resource.ID{resource.FileID("/etc/systemd/system/product.service")}},
			resource.File{Path: "/etc/systemd/system/kubelet.service", Content: []byte("[Service]\n")},
			resource.Unit{Name: "kubelet.service", On: []resource.ID{resource.FileID("/etc/systemd/system/kubelet.service")}},
		}
	})
}

// resetLab is hosts with things of others on them, before and after an apply.
func resetLab(t *testing.T, hosts int) (l *lab, before map[string]map[string]string) {
	t.Helper()
	l = newLab(t, hosts, product("product"))
	l.files.add(t, "tool", "TOOL")
	before = map[string]map[string]string{}
	for name, r := range l.roots {
		for p, content := range map[string]string{
			"/etc/theirs.conf": "theirs", "/etc/same.conf": "same", "/opt/theirs/file": "theirs", "/usr/local/bin/tool": "their tool", "/etc/foreign": "foreign",
		} {
			r.Write(p, content)
		}
		if err := os.Chmod(r.Path("/etc/theirs.conf"), 0o604); err != nil {
			t.Fatal(err)
		}
		r.Write("/var/lib/product/theirs/file", "was there before") // in a folder that reset removes
		if err := os.Symlink("somewhere else", r.Path("/etc/link")); err != nil {
			t.Fatal(err)
		}
		before[name] = r.Tree()
	}
	l.mustApply()
	for _, r := range l.roots {
		for _, p := range []string{"/var/lib/product/a/b", "/etc/leaf", "/etc/product/written-later", "/sys/class/net/cali123/mtu", "/sys/class/net/eth0/mtu"} {
			r.Write(p, "by our pods")
		}
		r.Write("/fake.state/pods", "pod-1\npod-2\n")
		r.Write("/fake.state/addresses", r.Read("/fake.state/addresses")+"2: eth0    inet 10.111.0.5/32 scope global eth0\n")
		r.Write("/proc/mounts", "/dev/vda / ext4 rw 0 0\nproc /proc proc rw 0 0\ntmpfs /var/lib/kubelet/pods/x tmpfs rw 0 0\n")
	}
	return l, before
}

func (l *lab) reset() error {
	l.t.Helper()
	_, stats, err := l.engine().Reset(l.t.Context(), engine.ResetOptions{}, accept)
	l.requireStats(stats)
	return err
}

// requireAsBefore compares the hosts with what they were before kubewright.
func (l *lab) requireAsBefore(before map[string]map[string]string) {
	l.t.Helper()
	for name, r := range l.roots {
		after := r.Tree()
		for _, tree := range []map[string]string{after, before[name]} {
			delete(tree, "links") // eth0 came later
			for p, was := range tree {
				// The folders above a file of ours may hold things of others by now.
				if strings.HasPrefix(p, "unit ") && strings.HasPrefix(was, "inactive enabled=false") || p == "/etc/deep" || p == "/etc/deep/er" {
					delete(tree, p)
				}
			}
		}
		if diff := cmp.Diff(before[name], after); diff != "" {
			l.t.Errorf("%s (-before kubewright +after a reset):\n%s", name, diff)
		}
		if links := r.Read("/sys/class/net/cali123/mtu") + r.Read("/sys/class/net/eth0/mtu"); links != "by our pods" {
			l.t.Errorf("%s: network interfaces were not deleted as they should: %q", name, links)
		}
	}
}

// A reset removes what the manifest lists, puts back what was there, and leaves alone
// what is somebody else's.
func TestReset(t *testing.T) {
	l, before := resetLab(t, 2)
	if err := l.reset(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(everyHost(l, 4), l.execs()); diff != "" {
		t.Errorf("execs: lock, look, act, and the state folder (-want +got):\n%s", diff)
	}
	l.requireAsBefore(before)
	if err := l.reset(); err != nil { // nothing is left to do
		t.Fatal(err)
	}
	for name, r := range l.roots {
		if _, err := os.Stat(r.Path(sh.StateDir)); err == nil {
			t.Errorf("a reset of %s, on which nothing was, left %s", name, sh.StateDir)
		}
	}
	l.mustApply() // and the hosts can be used again
}

// A reset that is killed at any task is completed by the next one.
func TestResetCut(t *testing.T) {
	for _, at := range []string{"start 0", "start 1", "start 3", "start 6", "start 9", "start 12", "start 14"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			l, before := resetLab(t, 1)
			l.hook = func(_ string, _ int64, script []byte) error {
				if !isAct(script) {
					return nil
				}
				marker, _, _ := strings.Cut(strings.SplitN(string(script), "M=", 2)[1], "\n")
				killed := strings.Replace(string(script), "kw_go "+at+" ", "kill -9 $$ ", 1)
				if killed == string(script) {
					t.Errorf("there is no %s", at)
				}
				code, _, err := l.roots["cp1"].Run(t.Context(), []byte(killed), nil)
				if err != nil || code == 0 {
					t.Errorf("%s: status %d, %v", marker, code, err)
				}
				return &host.ExitError{Host: "cp1", Code: 1} // of a signal the run would get over
			}
			if err := l.reset(); fault.ExitCode(err) != int(fault.ChangeFailed) {
				t.Errorf("killed: %v", err)
			}
			l.hook = nil
			if err := l.reset(); err != nil {
				t.Fatal(err)
			}
			l.requireAsBefore(before)
		})
	}
}

// A reset that is cut at its very end, with an empty manifest, still leaves nothing.
func TestResetCutBeforeTheStateFolder(t *testing.T) {
	l, before := resetLab(t, 1)
	acts := 0
	l.hook = func(_ string, _ int64, script []byte) error {
		if isAct(script) {
			acts++
		}
		if acts == 2 {
			return &host.ExitError{Host: "cp1", Code: 1} // of a signal the run would get over
		}
		return nil
	}
	if err := l.reset(); err == nil {
		t.Fatal("the reset was cut")
	}
	l.hook = nil
	if err := l.reset(); err != nil {
		t.Fatal(err)
	}
	l.requireAsBefore(before)
}

// A mount below a folder of ours is somebody's data: it stops the removal.
func TestResetStopsAtMounts(t *testing.T) {
	l, _ := resetLab(t, 1)
	r := l.roots["cp1"]
	r.Write("/proc/mounts", "/dev/vda / ext4 rw 0 0\nnfs /etc/product/data nfs rw 0 0\n")
	r.Write("/etc/product/data/file", "precious")
	// What is mounted below a tree of ours is unmounted first; when that fails, it stays.
	r.Command("umount", "#!/bin/sh\necho target is busy >&2; exit 32\n")
	err := l.reset()
	if code := fault.ExitCode(err); code != int(fault.ChangeFailed) || !strings.Contains(fmt.Sprint(err), "/etc/product/data") {
		t.Errorf("exit code %d: %v", code, err)
	}
	if r.Read("/etc/product/data/file") != "precious" {
		t.Error("data on a mounted file system was deleted")
	}
}

// A host of another cluster is not touched, nor is one outside of the scope; a control
// plane that is gone is no hindrance.
func TestResetScope(t *testing.T) {
	l, before := resetLab(t, 2)
	limit, err := inventory.ParseSelector("w1")
	if err != nil {
		t.Fatal(err)
	}
	l.options = func(o *engine.Options) { o.Limit = limit }
	l.refuse["cp1"] = true
	l.roots["w1"].Write(sh.ClusterPath, "other sha256:y\n")
	if err := l.reset(); fault.ExitCode(err) != int(fault.Preflight) || !strings.Contains(fmt.Sprint(err), `"other"`) {
		t.Errorf("a host of another cluster: %v", err)
	}
	if l.roots["w1"].Read("/etc/product/config") != "ours" {
		t.Error("it was touched")
	}
	l.roots["w1"].Write(sh.ClusterPath, "lab sha256:x\n")
	l.conns = map[string]*conn{}
	if err := l.reset(); err != nil {
		t.Fatal(err)
	}
	if _, dialled := l.conns["cp1"]; dialled || l.roots["cp1"].Read("/etc/product/config") != "ours" {
		t.Error("cp1 is none of this run's business")
	}
	delete(l.roots, "cp1")
	l.requireAsBefore(before)
}

// Hosts of two clusters with one name are not reset together: one of them is there by mistake.
func TestResetOfTwoClusters(t *testing.T) {
	l, _ := resetLab(t, 3)
	l.roots["w1"].Write(sh.ClusterPath, "lab sha256:y\n")
	if err := l.reset(); fault.ExitCode(err) != int(fault.Preflight) || !strings.Contains(fmt.Sprint(err), "cp1, w2 to sha256:x; w1 to sha256:y") {
		t.Errorf("%v", err)
	}
	for name, r := range l.roots {
		if r.Read("/etc/product/config") != "ours" {
			t.Errorf("%s was touched", name)
		}
	}
}

// The plan is shown first, and nothing is removed when it is not confirmed.
func TestResetNotConfirmed(t *testing.T) {
	l, _ := resetLab(t, 1)
	_, _, err := l.engine().Reset(context.Background(), engine.ResetOptions{}, func(p *plan.Plan) error {
		var b strings.Builder
		if err := p.Text(&b); err != nil {
			return err
		}
		for _, id := range []string{"unit:product.service", "file:/etc/theirs.conf", "tree:/etc/product", "binary:/usr/local/bin/tool"} {
			if !strings.Contains(b.String(), "- orphan      "+id) {
				t.Errorf("the plan does not say that %s goes:\n%s", id, b.String())
			}
		}
		return errBoom
	})
	if err == nil || l.roots["cp1"].Read("/etc/product/config") != "ours" {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(l.roots["cp1"].Path("/fake.state/pods")); errIsNotExist(err) {
		t.Error("pods were stopped")
	}
}

func errIsNotExist(err error) bool {
	return err != nil && strings.Contains(err.Error(), fs.ErrNotExist.Error())
}

// A host whose member the others go on to count is not reset: it would be a member without data. Nothing
// is changed then, and who insists is told what it costs.
func TestResetOfMembers(t *testing.T) {
	for name, tc := range map[string]struct {
		limit   string
		arrange func(e *etcdLab)
		force   bool
		refused []string
	}{
		"one of three":  {limit: "cp2", refused: []string{"cp2 (member", "count 3 voters, of which 2 have to be healthy, and 2 would be", "node remove"}},
		"most of three": {limit: "cp1,cp2", refused: []string{"count 3 voters, of which 2 have to be healthy, and 1 would be"}},
		"the others are down": {limit: "cp2", arrange: func(e *etcdLab) { e.down["cp1"], e.down["cp3"] = true, true },
			refused: []string{"cp2 has data of etcd, and no member elsewhere answers", "reset all hosts"}},
		"the others are not there":   {limit: "cp2", arrange: func(e *etcdLab) { e.refuse["cp1"], e.refuse["cp3"] = true, true }, refused: []string{"not known", "the others were not asked: ", "did not answer"}},
		"one that has lost its role": {limit: "cp3", arrange: func(e *etcdLab) { e.takeRole("cp3") }, refused: []string{"cp3 (member", "and 2 would be"}},
		"while another has lost it":  {limit: "cp2", arrange: func(e *etcdLab) { e.takeRole("cp3") }, refused: []string{"not known", "the others were not asked: ", "cp3: it has the role etcd no more"}},
		"all have lost their roles":  {limit: "cp3", arrange: func(e *etcdLab) { e.takeRole("cp1", "cp2", "cp3") }, refused: []string{"data of etcd is on cp3", "members on cp1, cp2 too"}},
		"all of them, without roles": {limit: "control-plane", arrange: func(e *etcdLab) { e.takeRole("cp1", "cp2", "cp3") }},
		"by force, without its role": {limit: "cp3", arrange: func(e *etcdLab) { e.takeRole("cp3") }, force: true},
		"the others neither, nor there": {limit: "cp3", arrange: func(e *etcdLab) {
			e.takeRole("cp1", "cp2", "cp3")
			e.refuse["cp1"], e.refuse["cp2"] = true, true
		}, refused: []string{"members on cp1, cp2 too"}},
		"one that was removed": {limit: "cp2", arrange: func(e *etcdLab) { e.members = slices.Delete(e.members, 1, 2) }},
		"one without data":     {limit: "cp2", arrange: func(e *etcdLab) { e.loseData("cp2") }},
		"by force":             {limit: "cp2", force: true},
		"all of them":          {limit: "control-plane"},
		"no member":            {limit: "worker", arrange: func(e *etcdLab) { e.refuse["cp1"], e.refuse["cp2"], e.refuse["cp3"] = true, true, true }},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEtcdLab(t, 3)
			e.bringUp()
			if tc.arrange != nil {
				tc.arrange(e)
			}
			limit, err := inventory.ParseSelector(tc.limit)
			if err != nil {
				t.Fatal(err)
			}
			e.with(func(o *engine.Options) { o.Limit = limit })
			asked := false
			_, stats, err := e.engine().Reset(t.Context(), engine.ResetOptions{Force: tc.force}, func(*plan.Plan) error {
				asked = true
				return nil
			})
			e.requireStats(stats)
			for _, h := range e.cluster.Hosts {
				if left := e.roots[h.Name].Read(sh.ManifestPath) != ""; left != (len(tc.refused) > 0 || !limit(h)) {
					t.Errorf("%s has things of ours: %v", h.Name, left)
				}
			}
			if len(tc.refused) == 0 {
				warned := slices.ContainsFunc(e.events.of(report.Warning), func(w report.Event) bool { return strings.Contains(w.Message, "count 3 voters") })
				if err != nil || warned != tc.force {
					t.Errorf("%v, and a warning: %v", err, warned)
				}
				return
			}
			requireFault(t, err, fault.Unhealthy)
			text := fmt.Sprint(err) + strings.Join(fault.Hints(err), "\n")
			for _, says := range append(tc.refused, "--force") {
				if !strings.Contains(text, says) {
					t.Errorf("it does not say %q: %s", says, text)
				}
			}
			if asked {
				t.Error("it was asked whether to go on")
			}
			e.requireLog()
		})
	}
}

// takeRole takes the role etcd from hosts, as a change of the inventory does, or an etcd that somebody else
// is to run.
func (e *etcdLab) takeRole(names ...string) {
	e.guard.Lock() // an answer that nobody waits for may be on its way
	defer e.guard.Unlock()
	for i, h := range e.cluster.Hosts {
		if slices.Contains(names, h.Name) {
			e.cluster.Hosts[i].Roles = []inventory.Role{inventory.RoleControlPlane}
		}
	}
}
