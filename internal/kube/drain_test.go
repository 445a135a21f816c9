package kube

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

const (
	replicated = `ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web, uid: u, controller: true}]`
	onDaemon   = `ownerReferences: [{apiVersion: apps/v1, kind: DaemonSet, name: agent, uid: u, controller: true}]`
	static     = `annotations: {kubernetes.io/config.mirror: x}`
	appWeb     = `labels: {app: web}, ` + replicated
	emptyDir   = `volumes: [{name: data, emptyDir: {}}]`

	agents = `{apiVersion: apps/v1, kind: DaemonSet, metadata: {namespace: kube-system, name: agent}}`
)

// pod is a Pod on the node w1 in YAML, with what is said of it in its metadata and its spec.
func pod(namespace, name, metadata, spec string) string {
	fields := strings.TrimSuffix("namespace: "+namespace+", name: "+name+", uid: "+namespace+"-"+name+", "+metadata, ", ")
	return "{apiVersion: v1, kind: Pod, metadata: {" + fields + "}, spec: {" + strings.TrimSuffix("nodeName: w1, "+spec, ", ") + "}}"
}

// budget is a PodDisruptionBudget for the pods with the label app: web.
func budget(name, allowed string) string {
	return `{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {namespace: default, name: ` + name + `}, ` +
		`spec: {minAvailable: 2, selector: {matchLabels: {app: web}}}, ` +
		`status: {disruptionsAllowed: ` + allowed + `, currentHealthy: 2, desiredHealthy: 2, expectedPods: 2}}`
}

// webBudget is the budget above as it is reported.
func webBudget(name string) DisruptionBudget {
	return DisruptionBudget{Name: "default/" + name, CurrentHealthy: 2, DesiredHealthy: 2}
}

// drainTest is a drain in a world.
type drainTest struct {
	name    string
	node    string // freeNode unless set
	world   []string
	prepare func(*drainAPI)
	in      DrainInput
	cancel  time.Duration // when the run is interrupted, if it is
	// The drain ends between these times.
	after, before time.Duration
	report        DrainReport
	writes        []string // in any order, without the patch of the node
	is            error
	fails         []string // what the error says; empty for success
	told          []string // of the progress, each once
}

func TestDrain(t *testing.T) {
	done := strings.Replace(pod("default", "done", "", ""), "spec:", "status: {phase: Succeeded}, spec:", 1)
	tests := []drainTest{
		{name: "nothing to do", report: DrainReport{Cordoned: true}},
		{name: "cordoned already", node: theirsNode},
		{name: "what goes and what stays",
			world: []string{agents, pod("default", "web", replicated, ""), done, pod("kube-system", "agent-1", onDaemon, emptyDir),
				pod("kube-system", "proxy-w1", static, emptyDir), strings.Replace(pod("default", "elsewhere", "", ""), "w1", "w2", 1)},
			after: time.Second, before: 3 * time.Second,
			report: DrainReport{Cordoned: true, Evicted: []string{"default/done", "default/web"}, Kept: []string{"kube-system/agent-1", "kube-system/proxy-w1"}},
			writes: []string{"evict default/web", "evict default/done"},
			told:   []string{"evicting pod default/web", "pod default/web is gone"}},
		{name: "allowed", world: []string{pod("default", "bare", "", ""), pod("default", "cache", replicated, emptyDir)},
			in:     DrainInput{Force: true, DeleteEmptyDir: true},
			report: DrainReport{Cordoned: true, Evicted: []string{"default/bare", "default/cache"}},
			writes: []string{"evict default/bare", "evict default/cache"}, after: time.Second, before: 3 * time.Second},
		{name: "grace period", world: []string{pod("default", "web", replicated, "")}, in: DrainInput{GracePeriod: 1500 * time.Millisecond},
			report: DrainReport{Cordoned: true, Evicted: []string{"default/web"}}, writes: []string{"evict default/web in 2s"}, before: 3 * time.Second},
		{name: "without eviction", world: []string{pod("default", "web", appWeb, ""), budget("web", "0")}, in: DrainInput{DisableEviction: true},
			report: DrainReport{Cordoned: true, Evicted: []string{"default/web"}}, writes: []string{"delete default/web"}, before: 3 * time.Second,
			told: []string{"deleting pod default/web", "pod default/web is gone"}},
		{name: "one after the other", world: []string{pod("default", "web-1", appWeb, ""), pod("default", "web-2", appWeb, ""), budget("web", "1")},
			prepare: func(a *drainAPI) { time.AfterFunc(20*time.Second, func() { a.add(budget("web", "1")) }) },
			report:  DrainReport{Cordoned: true, Evicted: []string{"default/web-1", "default/web-2"}},
			writes:  []string{"evict default/web-1", "evict default/web-2"}, after: 20 * time.Second, before: 25 * time.Second},
		{name: "is ending already", world: []string{pod("default", "web", `deletionTimestamp: "1999-12-31T23:59:59Z", `+appWeb, ""), budget("web", "0")},
			report: DrainReport{Cordoned: true, Evicted: []string{"default/web"}}, before: 3 * time.Second, writes: []string{"evict default/web"}},
		{name: "API away", world: []string{pod("default", "web", replicated, "")}, prepare: func(a *drainAPI) {
			a.ends["web"] = 4 * time.Second
			a.breaks(time.Second, 20*time.Second, refuse)
		}, report: DrainReport{Cordoned: true, Evicted: []string{"default/web"}}, writes: []string{"evict default/web"},
			after: 20 * time.Second, before: 25 * time.Second},
		{name: "API busy", world: []string{pod("default", "web", replicated, "")}, prepare: func(a *drainAPI) {
			a.breaks(0, 100*time.Millisecond, only("/eviction", busy))
		}, report: DrainReport{Cordoned: true, Evicted: []string{"default/web"}}, writes: []string{"evict default/web"}, before: 4 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { synctest.Test(t, test.run) })
	}
}

// TestDrainFails: the error says why, and the report what was done all the same.
func TestDrainFails(t *testing.T) {
	tests := []drainTest{
		{name: "refused, all at once", world: []string{pod("default", "web", replicated, ""),
			pod("default", "bare", "", ""), pod("apps", "bare", "", ""), pod("default", "cache", replicated, emptyDir), pod("apps", "cache", replicated, emptyDir)},
			is: ErrDrainRefused, fails: []string{"drain node w1: it has pods that would be lost: ", "default/bare", "apps/bare", "default/cache", "apps/cache",
				"move them elsewhere or delete them"}},
		{name: "emptyDir allowed, no controller", world: []string{pod("default", "bare", "", emptyDir)}, in: DrainInput{DeleteEmptyDir: true},
			is: ErrDrainRefused, fails: []string{"default/bare"}},
		{name: "arrives before the cordon", prepare: func(a *drainAPI) {
			a.before[http.MethodPatch] = func() { a.add(pod("default", "bare", "", "")) }
		}, report: DrainReport{Cordoned: true}, is: ErrDrainRefused, fails: []string{"default/bare"}},
		{name: "blocked, others are not", world: []string{pod("default", "web", appWeb, ""), pod("default", "free", replicated, ""), budget("web", "0")},
			report: DrainReport{Cordoned: true, Evicted: []string{"default/free"}, Left: []LeftPod{{Pod: "default/web", Budgets: []DisruptionBudget{webBudget("web")}}}},
			writes: []string{"evict default/free"}, after: time.Minute, before: 63 * time.Second, is: context.DeadlineExceeded,
			fails: []string{"node w1 was not drained in 1m", "; left: default/web, blocked by PodDisruptionBudget default/web (allows 0 disruptions, 2 pods healthy, 2 must be) (",
				"once more pods of its budget are healthy elsewhere"}},
		{name: "two budgets", world: []string{pod("default", "web", appWeb, ""), budget("a", "0"), budget("b", "0")},
			report: DrainReport{Cordoned: true, Left: []LeftPod{{Pod: "default/web", Budgets: []DisruptionBudget{webBudget("a"), webBudget("b")}}}},
			before: 20 * time.Second, fails: []string{"more than one PodDisruptionBudget", "default/a (", "default/b ("}},
		{name: "does not end", world: []string{pod("default", "web", appWeb, ""), budget("web", "1")}, prepare: func(a *drainAPI) { a.ends["web"] = never },
			report: DrainReport{Cordoned: true, Left: []LeftPod{{Pod: "default/web", Terminating: true}}}, writes: []string{"evict default/web"},
			after: time.Minute, before: 63 * time.Second, is: context.DeadlineExceeded, fails: []string{"left: default/web, terminating (a pod that does not end has"}},
		{name: "cancelled", world: []string{pod("default", "web", appWeb, ""), budget("web", "0")}, cancel: 5 * time.Second,
			report: DrainReport{Cordoned: true, Left: []LeftPod{{Pod: "default/web", Budgets: []DisruptionBudget{webBudget("web")}}}},
			after:  5 * time.Second, before: 8 * time.Second, is: context.Canceled, fails: []string{"drain node w1: context canceled; left: default/web, blocked"}},
		{name: "cancelled before", world: []string{pod("default", "web", replicated, "")}, cancel: -1, is: context.Canceled, fails: []string{"drain node w1"}},
		{name: "API away to the end", world: []string{pod("default", "web", replicated, "")}, prepare: func(a *drainAPI) {
			a.ends["web"] = 4 * time.Second
			a.breaks(time.Second, time.Hour, refuse)
		}, report: DrainReport{Cordoned: true, Left: []LeftPod{{Pod: "default/web"}}}, writes: []string{"evict default/web"},
			after: time.Minute, before: 70 * time.Second, is: context.DeadlineExceeded, fails: []string{"it is not known which pods are left", "left: default/web (drain again"}},
		{name: "eviction forbidden", world: []string{pod("default", "web", appWeb, ""), pod("default", "free", replicated, ""), budget("web", "1")},
			prepare: func(a *drainAPI) { a.breaks(0, time.Hour, only("/web/eviction", forbid)) },
			report:  DrainReport{Cordoned: true, Evicted: []string{"default/free"}, Left: []LeftPod{{Pod: "default/web"}}}, writes: []string{"evict default/free"},
			before: 10 * time.Second, fails: []string{"drain node w1: ", "forbidden", "left: default/web"}},
		{name: "deletion forbidden", world: []string{pod("default", "web", appWeb, ""), budget("web", "0")}, in: DrainInput{DisableEviction: true},
			prepare: func(a *drainAPI) { a.breaks(0, time.Hour, only("/pods/web", onWrites(forbid))) },
			report:  DrainReport{Cordoned: true, Left: []LeftPod{{Pod: "default/web"}}}, before: 10 * time.Second, fails: []string{"forbidden", "left: default/web"}},
		{name: "budgets cannot be read", world: []string{pod("default", "web", appWeb, ""), budget("web", "0")},
			prepare: func(a *drainAPI) { a.breaks(0, time.Hour, only("/poddisruptionbudgets", forbid)) },
			report:  DrainReport{Cordoned: true, Left: []LeftPod{{Pod: "default/web"}}},
			after:   time.Minute, before: 63 * time.Second, is: context.DeadlineExceeded, fails: []string{"it is not known what blocks the pods in default: ", "forbidden"}},
		{name: "node cannot be written", world: []string{pod("default", "web", replicated, "")},
			prepare: func(a *drainAPI) { a.breaks(0, time.Hour, onWrites(forbid)) }, fails: []string{"cordon node w1: patch Node w1: "}},
		{name: "pods cannot be read", prepare: func(a *drainAPI) { a.breaks(0, time.Hour, only("/pods", forbid)) },
			fails: []string{"drain node w1: ", "forbidden"}},
		{name: "no time limit", in: DrainInput{Timeout: -1}, fails: []string{"the time limit is -1ns, it must be positive"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { synctest.Test(t, test.run) })
	}
}

func (test drainTest) run(t *testing.T) {
	api := newDrainAPI(t, test.world...)
	if test.node == "" {
		test.node = freeNode
	}
	api.add(test.node)
	if test.prepare != nil {
		test.prepare(api)
	}
	if test.in.Timeout == 0 {
		test.in.Timeout = time.Minute
	}
	if test.in.GracePeriod == 0 {
		test.in.GracePeriod = -1
	}
	var told []string
	test.in.Node, test.in.Progress = "w1", func(line string) { told = append(told, line) }
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if test.cancel < 0 {
		cancel()
	} else if test.cancel > 0 {
		time.AfterFunc(test.cancel, cancel)
	}
	begun := time.Now()
	report, err := api.client().Drain(ctx, test.in)
	if took := time.Since(begun); took < test.after || took > test.before {
		t.Errorf("it took %s, want %s to %s", took, test.after, test.before)
	}
	if diff := cmp.Diff(test.report, report); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	writes := slices.DeleteFunc(api.log(), func(line string) bool { return line == "patch w1" })
	slices.Sort(writes)
	slices.Sort(test.writes)
	if !slices.Equal(writes, test.writes) {
		t.Errorf("writes %q, want %q", writes, test.writes)
	}
	if cordoned := api.node("w1").Spec.Unschedulable; cordoned != (report.Cordoned || test.node == theirsNode) {
		t.Errorf("the node is cordoned: %v", cordoned)
	}
	assertDrainError(t, err, test)
	for _, line := range test.told {
		if !slices.Contains(told, line) {
			t.Errorf("told %q, not %q", told, line)
		}
	}
	slices.Sort(told)
	if once := slices.Compact(slices.Clone(told)); len(once) != len(told) {
		t.Errorf("told more than once: %q", told)
	}
}

func assertDrainError(t *testing.T, err error, test drainTest) {
	t.Helper()
	if len(test.fails) == 0 {
		if err != nil {
			t.Errorf("error is %v", err)
		}
		return
	}
	if err == nil {
		t.Fatal("no error")
	}
	for _, text := range test.fails {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error is %v, want %q", err, text)
		}
	}
	if test.is != nil && !errors.Is(err, test.is) {
		t.Errorf("error %v is no %v", err, test.is)
	}
}

// busy is an API server that cannot reach etcd for the moment.
func busy(r *http.Request, _ func() (*http.Response, error)) (*http.Response, error) {
	return failure(r, &apierrors.StatusError{ErrStatus: unreasoned("etcdserver: leader changed")})
}

func TestDrainOfNoNode(t *testing.T) {
	_, err := newDrainAPI(t).client().Drain(t.Context(), DrainInput{Node: "w9", Timeout: time.Minute})
	if !apierrors.IsNotFound(err) || !strings.Contains(err.Error(), "cordon node w9: get Node w9: ") {
		t.Errorf("error is %v", err)
	}
}

func TestSeconds(t *testing.T) {
	for d, want := range map[time.Duration]int{-time.Hour: -1, -1: -1, 0: 0, 1: 1, time.Second: 1, time.Second + 1: 2} {
		if got := seconds(d); got != want {
			t.Errorf("%s is %d seconds, want %d", d, got, want)
		}
	}
}
