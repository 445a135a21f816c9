package kube

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

const (
	freeNode   = `{apiVersion: v1, kind: Node, metadata: {name: w1, annotations: {a: b}}, spec: {podCIDR: 10.0.0.0/24}}`
	oursNode   = `{apiVersion: v1, kind: Node, metadata: {name: w1, annotations: {a: b, kubewright.io/cordoned-by: "true"}}, spec: {podCIDR: 10.0.0.0/24, unschedulable: true}}`
	theirsNode = `{apiVersion: v1, kind: Node, metadata: {name: w1, annotations: {a: b}}, spec: {podCIDR: 10.0.0.0/24, unschedulable: true}}`
	staleNode  = `{apiVersion: v1, kind: Node, metadata: {name: w1, annotations: {a: b, kubewright.io/cordoned-by: "true"}}, spec: {podCIDR: 10.0.0.0/24}}`
)

func TestCordon(t *testing.T) {
	tests := []struct {
		name, node string
		uncordon   bool
		prepare    func(*drainAPI)
		changed    bool
		cordoned   bool
		ours       bool
		writes     int
	}{
		{name: "free", node: freeNode, changed: true, cordoned: true, ours: true, writes: 1},
		{name: "ours already", node: oursNode, cordoned: true, ours: true},
		{name: "somebody else's", node: theirsNode, cordoned: true},
		{name: "our mark, uncordoned by hand", node: staleNode, changed: true, cordoned: true, ours: true, writes: 1},
		{name: "cordoned by somebody at the same time", node: freeNode, cordoned: true,
			prepare: func(a *drainAPI) { a.before[http.MethodPatch] = func() { a.add(theirsNode) } }},
		{name: "changed otherwise at the same time", node: freeNode, changed: true, cordoned: true, ours: true, writes: 1,
			prepare: func(a *drainAPI) { a.before[http.MethodPatch] = func() { a.add(freeNode) } }},
		{name: "API away for a moment", node: freeNode, changed: true, cordoned: true, ours: true, writes: 1,
			prepare: func(a *drainAPI) { a.breaks(0, 200*time.Millisecond, refuse) }},
		{name: "uncordon ours", node: oursNode, uncordon: true, changed: true, writes: 1},
		{name: "uncordon somebody else's", node: theirsNode, uncordon: true, cordoned: true},
		{name: "uncordon what is free", node: freeNode, uncordon: true},
		{name: "uncordon what was uncordoned by hand", node: staleNode, uncordon: true, writes: 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := newDrainAPI(t, test.node)
				if test.prepare != nil {
					test.prepare(api)
				}
				act := api.client().Cordon
				if test.uncordon {
					act = api.client().Uncordon
				}
				changed, err := act(minute(t), "w1")
				if err != nil || changed != test.changed {
					t.Errorf("changed %v, error %v", changed, err)
				}
				node := api.node("w1")
				_, ours := node.Annotations[CordonAnnotation]
				if node.Spec.Unschedulable != test.cordoned || ours != test.ours {
					t.Errorf("cordoned %v, ours %v", node.Spec.Unschedulable, ours)
				}
				if node.Annotations["a"] != "b" || node.Spec.PodCIDR != "10.0.0.0/24" {
					t.Errorf("more was changed: %v", node)
				}
				if len(api.log()) != test.writes {
					t.Errorf("writes %q", api.log())
				}
			})
		})
	}
}

func TestCordonErrors(t *testing.T) {
	tests := []struct {
		name    string
		prepare func(*drainAPI)
		want    string
	}{
		{"no such node", func(*drainAPI) {}, `get Node w1: nodes "w1" not found`},
		{"unreadable", func(a *drainAPI) {
			a.add(`{apiVersion: v1, kind: Node, metadata: {name: w1}, spec: {unschedulable: maybe}}`)
		}, "get Node w1: the API server's answer cannot be read"},
		{"forbidden", func(a *drainAPI) { a.add(freeNode); a.breaks(0, time.Hour, onWrites(forbid)) }, "patch Node w1: "},
		{"API down", func(a *drainAPI) { a.breaks(0, time.Hour, refuse) }, "connection refused"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := newDrainAPI(t)
				test.prepare(api)
				if changed, err := api.client().Cordon(minute(t), "w1"); changed || err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("changed %v, error %v, want %q", changed, err, test.want)
				}
			})
		})
	}
}

// onWrites lets a fault meet what is not a GET.
func onWrites(f fault) fault {
	return func(r *http.Request, serve func() (*http.Response, error)) (*http.Response, error) {
		if r.Method == http.MethodGet {
			return serve()
		}
		return f(r, serve)
	}
}

func TestDeleteNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newDrainAPI(t, freeNode)
		api.breaks(0, 100*time.Millisecond, loseAnswer)
		client := api.client()
		for range 2 { // the first one hears of its own deletion as of one by somebody else
			if err := client.DeleteNode(minute(t), "w1"); err != nil {
				t.Error(err)
			}
		}
		if len(api.objects) > 0 {
			t.Errorf("still there: %v", api.objects)
		}
		api.breaks(0, time.Hour, forbid)
		if err := client.DeleteNode(minute(t), "w1"); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "delete Node w1: ") {
			t.Errorf("error is %v", err)
		}
	})
}

func TestNodes(t *testing.T) {
	const ready, silent = `conditions: [{type: MemoryPressure, status: "False"}, {type: Ready, status: "True"}]`,
		`conditions: [{type: Ready, status: Unknown}]`
	api := newDrainAPI(t,
		`{apiVersion: v1, kind: Node, metadata: {name: w2}, status: {`+silent+`, addresses: [{type: Hostname, address: w2}, {type: InternalIP, address: "fd00::2"}, {type: InternalIP, address: 10.0.0.2}]}}`,
		`{apiVersion: v1, kind: Node, metadata: {name: cp1, labels: {node-role.kubernetes.io/control-plane: ""}}, status: {`+ready+`, addresses: [{type: ExternalIP, address: 1.2.3.4}, {type: InternalIP, address: 10.0.0.1}]}}`,
		`{apiVersion: v1, kind: Node, metadata: {name: new}, status: {addresses: [{type: InternalIP, address: somewhere}]}}`)
	got, err := api.client().Nodes(minute(t))
	if err != nil {
		t.Fatal(err)
	}
	want := []NodeSummary{
		{Name: "cp1", InternalIP: netip.MustParseAddr("10.0.0.1"), Ready: true, ControlPlane: true},
		{Name: "new"},
		{Name: "w2", InternalIP: netip.MustParseAddr("fd00::2")},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("nodes (-want +got):\n%s", diff)
	}
	api.add(`{apiVersion: v1, kind: Node, metadata: {name: odd}, status: {conditions: 7}}`)
	if _, err := api.client().Nodes(minute(t)); err == nil || !strings.Contains(err.Error(), "list nodes: odd: ") {
		t.Errorf("error is %v", err)
	}
	api.breaks(0, time.Hour, forbid)
	if _, err := api.client().Nodes(minute(t)); !apierrors.IsForbidden(err) {
		t.Errorf("error is %v", err)
	}
}
