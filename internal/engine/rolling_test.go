package engine_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kubewright/internal/engine"
	"kubewright/internal/fault"
	"kubewright/internal/plan"
	"kubewright/internal/report"
	"kubewright/internal/resource"
	"kubewright/inventory"
)

// What a running cluster depends on is changed on one control plane at a time: each is back before
// the next one is touched.
func TestRollingChange(t *testing.T) {
	for _, n := range []int{1, 2, 3} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			e := newEtcdLab(t, n)
			e.bringUp()
			e.podArgs["etcd"], e.podArgs["api"], e.slow = []string{"--new=1"}, []string{"--new=1"}, 2
			var want []string
			for i := range n {
				want = append(want, fmt.Sprintf("cp%d ~etcd ~api", i+1))
			}
			e.onEntry = func(entry string) {
				for i := range n {
					if name := fmt.Sprintf("cp%d", i+1); !strings.HasPrefix(entry, name) && !e.apiReady(name) {
						t.Errorf("%s, while %s is not back", entry, name)
					}
				}
			}
			e.mustApply()
			e.onEntry = nil
			slices.Sort(e.log)
			e.requireLog(want...)
		})
	}
}

// requireUntouched requires that nothing was done on a host.
func (e *etcdLab) requireUntouched(names ...string) {
	e.t.Helper()
	e.guard.Lock()
	defer e.guard.Unlock()
	for _, name := range names {
		if slices.ContainsFunc(e.log, func(entry string) bool { return strings.HasPrefix(entry, name+" ") }) {
			e.t.Errorf("%s was touched: %q", name, e.log)
		}
	}
}

// others are the control planes of three but for one.
func others(name string) []string {
	return slices.DeleteFunc([]string{"cp1", "cp2", "cp3"}, func(n string) bool { return n == name })
}

// failing is a rolling phase whose unit does not start on any control plane.
func (e *etcdLab) failing() plan.Phase {
	p := phase("extra", []plan.Edge{plan.SameHost("kubelet")}, func(plan.Target) []resource.Resource {
		const unit = "/etc/systemd/system/extra.service"
		return []resource.Resource{resource.File{Path: unit, Content: []byte("[Service]\n")}, resource.Unit{Name: "extra.service", On: []resource.ID{resource.FileID(unit)}}}
	})
	p.On, p.Rolling = inventory.ControlPlanes, true
	for _, r := range e.roots {
		r.Command("journalctl", "#!/bin/sh\n")
		r.Write("/fake.state/units/extra.service/breaks", "")
	}
	return p
}

// A change that does a control plane no good is taken back there, and no other is given it.
func TestChangeThatFails(t *testing.T) {
	for name, tc := range map[string]struct {
		pod, path string
		arg       string
		fails     bool // on the way, after the pod was changed
		kind      fault.Kind
		says      string
	}{
		"an API server that does not become ready": {pod: "api", path: apiManifest, arg: "--broken=yes", kind: fault.Unhealthy, says: "waited"},
		"a member that does not come back":         {pod: "etcd", path: etcdManifest, arg: "--broken=yes", kind: fault.Unhealthy, says: "the member of etcd on"},
		"a step that fails after the pod's":        {pod: "api", path: apiManifest, arg: "--fine=yes", fails: true, kind: fault.ChangeFailed, says: "extra.service"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEtcdLab(t, 3)
			e.bringUp()
			before, whole := e.roots["cp1"].Read(tc.path), e.phases
			e.podArgs[tc.pod] = []string{tc.arg}
			if tc.fails {
				e.phases = slices.Insert(slices.Clone(whole), len(whole)-1, e.failing()) // before the barrier
			}
			e.with(func(o *engine.Options) { o.ReadyTimeout = 8 * time.Second })
			err := e.apply()
			requireFault(t, err, tc.kind, tc.says, "did not come back from the same change")
			if len(e.log) == 0 {
				t.Fatal("nothing was changed")
			}
			first, _, _ := strings.Cut(e.log[0], " ")
			e.requireUntouched(others(first)...)
			e.requireLog(first+" ~"+tc.pod, first+" ~"+tc.pod)
			if after := e.roots[first].Read(tc.path); after != before {
				t.Errorf("what ran before was not put back: %s", after)
			}
			if !slices.ContainsFunc(e.events.of(report.Warning), func(w report.Event) bool {
				return w.Host == first && strings.Contains(w.Message, "what ran before is back, and works")
			}) {
				t.Error("it is not said that what ran before is back")
			}
			p, err := e.plan()
			if err != nil {
				t.Fatal(err)
			}
			if due := due(p, resource.StaticPodID(tc.path)); len(due) != 3 {
				t.Errorf("the change is due on %v, want all three", due)
			}
			e.podArgs[tc.pod], e.phases = nil, whole
			e.mustApply()
			e.requireLog()
		})
	}
}

// A host that etcd has for itself gets its service back, as a control plane gets its pods.
func TestChangeOfAServiceThatFails(t *testing.T) {
	e := newEtcdLab(t, 1)
	e.apart()
	e.bringUp()
	e.requireMembers("etcd1", "etcd2", "etcd3")
	before := e.roots["etcd1"].Read(etcdService)
	e.podArgs["etcd"] = []string{"--broken=yes"}
	e.with(func(o *engine.Options) { o.ReadyTimeout = 8 * time.Second })
	requireFault(t, e.apply(), fault.Unhealthy, "the member of etcd on", "did not come back from the same change")
	if len(e.log) == 0 {
		t.Fatal("nothing was changed")
	}
	first, _, _ := strings.Cut(e.log[0], " ")
	e.requireLog(first+" ~etcd", first+" ~etcd")
	if !slices.ContainsFunc(e.events.of(report.Warning), func(w report.Event) bool {
		return w.Host == first && strings.Contains(w.Message, "what ran before is back, and works")
	}) {
		t.Error("it is not said that what ran before is back")
	}
	for _, name := range []string{"etcd1", "etcd2", "etcd3"} {
		if after := e.started(name); e.running(name) == nil || after != before {
			t.Errorf("%s runs with %s", name, after)
		}
	}
	p, err := e.plan()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []resource.ID{resource.FileID(etcdService), resource.UnitID("etcd.service")} {
		if due := due(p, id); len(due) != 3 {
			t.Errorf("the change of %s is due on %v, want all three", id, due)
		}
	}
	e.podArgs["etcd"] = nil
	e.mustApply()
	e.requireLog()
	e.requireEmpty()
}

// due are the hosts on which a resource is to be changed.
func due(p *plan.Plan, id resource.ID) []string {
	var hosts []string
	for _, h := range p.Hosts {
		for _, it := range h.Changes() {
			if it.Change.ID == id {
				hosts = append(hosts, h.Name)
			}
		}
	}
	return hosts
}

// While one of the others is not well, no control plane is interrupted.
func TestOthersAreNotWell(t *testing.T) {
	for name, tc := range map[string]struct {
		arrange func(e *etcdLab)
		says    string
	}{
		"a member does not run":      {func(e *etcdLab) { e.down["cp3"] = true }, "2 are needed"},
		"a member does not answer":   {func(e *etcdLab) { e.silent["cp3"] = true }, "2 are needed"},
		"an API server is not ready": {func(e *etcdLab) { e.restarting["cp3"] = 1 << 30 }, "not changed while others are not well"},
		"a host is not there":        {func(e *etcdLab) { e.refuse["cp3"], e.down["cp3"] = true, true }, "2 are needed"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEtcdLab(t, 3)
			e.bringUp()
			e.podArgs["api"] = []string{"--new=1"}
			tc.arrange(e)
			only, err := inventory.ParseSelector("cp1,cp2")
			if err != nil {
				t.Fatal(err)
			}
			e.with(func(o *engine.Options) { o.Limit, o.ReadyTimeout = only, 8*time.Second })
			requireFault(t, e.apply(), fault.Unhealthy, tc.says)
			e.requireLog()
			clear(e.down)
			clear(e.silent)
			clear(e.refuse)
			clear(e.restarting)
			e.options = e.defaults
			e.mustApply()
		})
	}
}

// A host joins before others are changed or after, but never while they are.
func TestJoinWhileRolling(t *testing.T) {
	e := newEtcdLab(t, 2)
	e.bringUp()
	e.controlPlanes(3)
	e.podArgs["api"], e.slow = []string{"--new=1"}, 1
	e.mustApply()
	e.requireMembers("cp1", "cp2", "cp3")
	added := slices.Index(e.log, "add cp3")
	if added < 0 || len(e.log) < added+4 {
		t.Fatalf("cp3 did not join: %q", e.log)
	}
	if diff := cmp.Diff([]string{"add cp3", "cp3 etcd kubelet", "promote cp3", "cp3 api"}, e.log[added:added+4]); diff != "" {
		t.Errorf("joining was not done in one go (-want +got):\n%s", diff)
	}
	rest := slices.Delete(slices.Clone(e.log), added, added+4)
	slices.Sort(rest)
	if diff := cmp.Diff([]string{"cp1 ~api", "cp2 ~api"}, rest); diff != "" {
		t.Errorf("besides (-want +got):\n%s", diff)
	}
}

// A change that a running cluster does not notice waits for nobody's turn: workers, and phases
// that are not rolling.
func TestWorkersDoNotWait(t *testing.T) {
	e := newEtcdLab(t, 3)
	e.bringUp()
	e.podArgs["api"] = []string{"--broken=yes"}
	e.phases = append(e.phases, service("plain", "1"))
	e.with(func(o *engine.Options) { o.ReadyTimeout = 6 * time.Second })
	requireFault(t, e.apply(), fault.Unhealthy)
	if e.roots["w1"].Read("/etc/plain/config") != "1" {
		t.Error("the worker was not changed, although control planes are none of its business")
	}
}

// Joining is more than the phase of etcd, and is refused when the others are left out.
func TestJoinTakesAllPhases(t *testing.T) {
	e := newEtcdLab(t, 1)
	e.bringUp()
	e.controlPlanes(2)
	e.with(func(o *engine.Options) { o.Only = map[string]bool{"etcd": true} })
	requireFault(t, e.apply(), fault.BadInput, "cp2 joins etcd", "--phase")
	e.requireLog()
	e.requireMembers("cp1")
}
