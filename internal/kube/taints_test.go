package kube_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"kubewright/internal/kube"
)

const (
	// newTaint is set by the API server itself when a Node is created.
	newTaint    = `{key: node.kubernetes.io/not-ready, effect: NoSchedule}`
	cordonTaint = `{key: node.kubernetes.io/unschedulable, effect: NoSchedule}`
	lostTaint   = `{key: node.kubernetes.io/unreachable, effect: NoExecute, timeAdded: "2026-01-02T03:04:05Z"}`
)

// node is a Node with taints in YAML.
func node(name string, taints ...string) string {
	return fmt.Sprintf("{apiVersion: v1, kind: Node, metadata: {name: %s}, spec: {taints: [%s]}}", name, strings.Join(taints, ", "))
}

// register creates a Node as its kubelet does.
func (w *world) register(t *testing.T, manifest string) {
	t.Helper()
	object := decode(t, manifest)[0]
	if _, err := w.of(object).Create(within(t, 10*time.Second), object, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// patch changes a Node as kubectl does.
func (w *world) patch(t *testing.T, manifest string) {
	t.Helper()
	object := decode(t, manifest)[0]
	data, err := object.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.of(object).Patch(within(t, 10*time.Second), object.GetName(), types.MergePatchType, data, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

// assertTaints expects the taints of a Node as YAML, in order, and the record of ours.
func assertTaints(t *testing.T, w *world, want kube.Object, record string) {
	t.Helper()
	live, err := w.client.Get(within(t, 10*time.Second), want.GroupVersionKind(), "", want.GetName())
	if err != nil {
		t.Fatal(err)
	}
	got, _, _ := unstructured.NestedSlice(live.Object, "spec", "taints")
	wanted, _, _ := unstructured.NestedSlice(want.Object, "spec", "taints")
	if diff := cmp.Diff(wanted, got); diff != "" && len(wanted)+len(got) > 0 {
		t.Errorf("taints (-want +got):\n%s", diff)
	}
	if got, ok := live.GetAnnotations()["kubewright.io/taints"]; got != record || !ok {
		t.Errorf("the record of taints is %q (%v), want %q", got, ok, record)
	}
}

// assertFields expects a single change of these fields.
func assertFields(t *testing.T, changes []kube.ObjectChange, want ...kube.FieldChange) {
	t.Helper()
	if diff := cmp.Diff(want, changes[0].Fields); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

// testTaints follows a node from its registration on, with others writing to the same list.
func testTaints(t *testing.T, w *world) {
	client := w.client
	const x1, x2, z = `{key: x, value: "1", effect: NoSchedule}`, `{key: x, value: "2", effect: NoSchedule}`, `{key: z, effect: NoExecute}`

	// The kubelet has set our taint; nothing has to change but the record.
	w.register(t, node("tainted", lostTaint, x1))
	wanted := decode(t, node("tainted", x1))
	changes := diff(t, client, wanted)
	assertFields(t, changes, kube.FieldChange{Path: "metadata.annotations", New: `{"kubewright.io/taints":"x=1:NoSchedule"}`})
	apply(t, client, wanted)
	assertActions(t, diff(t, client, wanted), kube.Keep)
	assertTaints(t, w, decode(t, node("tainted", lostTaint, x1, newTaint))[0], "x=1:NoSchedule")

	// A cordon is not our business.
	w.patch(t, fmt.Sprintf("{apiVersion: v1, kind: Node, metadata: {name: tainted}, spec: {unschedulable: true, taints: [%s, %s, %s]}}", lostTaint, x1, cordonTaint))
	assertActions(t, diff(t, client, wanted), kube.Keep)

	// A value changes and a taint is added, and every taint is recorded from the moment it is there.
	wanted = decode(t, node("tainted", z, x2))
	changes = diff(t, client, wanted)
	assertFields(t, changes, kube.FieldChange{
		Path: `metadata.annotations["kubewright.io/taints"]`, Old: `"x=1:NoSchedule"`, New: `"x=2:NoSchedule,z:NoExecute"`,
	}, kube.FieldChange{
		Path: "spec.taints",
		Old:  `["node.kubernetes.io/unreachable:NoExecute","x=1:NoSchedule","node.kubernetes.io/unschedulable:NoSchedule"]`,
		New:  `["node.kubernetes.io/unreachable:NoExecute","x=2:NoSchedule","node.kubernetes.io/unschedulable:NoSchedule","z:NoExecute"]`,
	})
	assertRecorded(t, w, wanted[0], func() {
		if err := client.Apply(within(t, time.Minute), changes); err != nil {
			t.Fatal(err)
		}
	})
	assertActions(t, diff(t, client, wanted), kube.Keep)
	assertTaints(t, w, decode(t, node("tainted", lostTaint, x2, cordonTaint, z))[0], "x=2:NoSchedule,z:NoExecute")

	// Drift: somebody takes one of ours away, and it comes back.
	w.patch(t, node("tainted", lostTaint, cordonTaint, z))
	assertFields(t, diff(t, client, wanted), kube.FieldChange{
		Path: "spec.taints",
		Old:  `["node.kubernetes.io/unreachable:NoExecute","node.kubernetes.io/unschedulable:NoSchedule","z:NoExecute"]`,
		New:  `["node.kubernetes.io/unreachable:NoExecute","node.kubernetes.io/unschedulable:NoSchedule","z:NoExecute","x=2:NoSchedule"]`,
	})
	apply(t, client, wanted)

	// None is wanted any more: ours go, and theirs stay.
	wanted = decode(t, "{apiVersion: v1, kind: Node, metadata: {name: tainted}}")
	apply(t, client, wanted)
	assertTaints(t, w, decode(t, node("tainted", lostTaint, cordonTaint))[0], "")
	assertActions(t, diff(t, client, wanted), kube.Keep)

	// A record that cannot be read decides nothing.
	w.patch(t, `{apiVersion: v1, kind: Node, metadata: {name: tainted, annotations: {kubewright.io/taints: "x:Never"}}}`)
	_, err := client.Diff(within(t, 10*time.Second), wanted)
	want := "compare Node tainted: annotation kubewright.io/taints cannot be read " +
		"(correct it, or disown the taints with `kubectl annotate node tainted kubewright.io/taints-`): \"x:Never\": "
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("error is %v, want %q", err, want)
	}
	if err := client.Apply(within(t, 10*time.Second), []kube.ObjectChange{{Object: wanted[0], Action: kube.Update}}); err == nil {
		t.Error("a record that cannot be read was overwritten")
	}

	// A Node that is not there is made with its taints.
	wanted = decode(t, node("unborn", z))
	assertActions(t, diff(t, client, wanted), kube.Create)
	apply(t, client, wanted)
	assertTaints(t, w, decode(t, node("unborn", newTaint, z))[0], "z:NoExecute")
	assertActions(t, diff(t, client, wanted), kube.Keep)
}

// assertRecorded watches a Node while do runs: an interruption at any moment must leave no wanted
// taint that is on the node and not in the record.
func assertRecorded(t *testing.T, w *world, wanted kube.Object, do func()) {
	t.Helper()
	ctx := within(t, time.Minute)
	events, err := w.of(wanted).Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + wanted.GetName()})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()
	do()
	last, err := w.client.Get(ctx, wanted.GroupVersionKind(), "", wanted.GetName())
	if err != nil {
		t.Fatal(err)
	}
	for event := range events.ResultChan() {
		state := event.Object.(kube.Object)
		content := fmt.Sprint(state.Object["spec"])
		if strings.Contains(content, "key:z") && !strings.Contains(state.GetAnnotations()["kubewright.io/taints"], "z:NoExecute") {
			t.Error("a taint is on the node before it is recorded")
		}
		if state.GetResourceVersion() == last.GetResourceVersion() {
			return
		}
	}
	t.Error("the watch has ended early")
}

// testTaintsRace has somebody else add taints as fast as the API server takes them, as a node
// lifecycle controller would, while ours change: none may be lost.
func testTaintsRace(t *testing.T, w *world) {
	const theirs, ours = 25, 10
	w.register(t, node("raced"))
	others := make(chan error, 1)
	go func() { others <- addTaints(t, w, "raced", theirs) }()
	for i := range ours {
		apply(t, w.client, decode(t, node("raced", fmt.Sprintf(`{key: ours, value: "%d", effect: NoSchedule}`, i))))
	}
	if err := <-others; err != nil {
		t.Fatal(err)
	}
	live, err := w.client.Get(within(t, 10*time.Second), decode(t, node("raced"))[0].GroupVersionKind(), "", "raced")
	if err != nil {
		t.Fatal(err)
	}
	entries, _, _ := unstructured.NestedSlice(live.Object, "spec", "taints")
	var keys []string
	for _, entry := range entries {
		keys = append(keys, entry.(map[string]any)["key"].(string))
	}
	for i := range theirs {
		if key := fmt.Sprintf("theirs-%d", i); !slices.Contains(keys, key) {
			t.Errorf("%s was lost: %v", key, keys)
		}
	}
	if !slices.Contains(keys, "ours") {
		t.Errorf("ours was lost: %v", keys)
	}
}

// addTaints adds taints one by one, guarded by the resource version as controllers do it.
func addTaints(t *testing.T, w *world, name string, count int) error {
	reference := decode(t, node(name))[0]
	for i := range count {
		for {
			live, err := w.of(reference).Get(t.Context(), name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			taints, _, _ := unstructured.NestedSlice(live.Object, "spec", "taints")
			taints = append(taints, map[string]any{"key": fmt.Sprintf("theirs-%d", i), "effect": "PreferNoSchedule"})
			if err := unstructured.SetNestedSlice(live.Object, taints, "spec", "taints"); err != nil {
				return err
			}
			_, err = w.of(reference).Update(t.Context(), live, metav1.UpdateOptions{})
			if err == nil {
				break
			}
			if !apierrors.IsConflict(err) {
				return err
			}
		}
	}
	return nil
}
