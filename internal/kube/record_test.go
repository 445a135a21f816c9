package kube_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"kubewright/internal/kube"
)

const recorded = `
apiVersion: v1
kind: ConfigMap
metadata: {name: recorded, namespace: default, labels: {of: x}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: recorded, labels: {of: x}}
rules: []
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: recorded, namespace: default, labels: {of: x}}
spec:
  replicas: 0
  selector: {matchLabels: {a: b}}
  template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}
`

func TestRecords(t *testing.T) {
	objects := decode(t, recorded)
	all := kube.NewRecord("x", "addons", []string{"b", "a"}, objects)
	some := kube.NewRecord("x", "addons", []string{"a", "b"}, objects[1:])
	var lacking []string
	for _, ref := range all.Lacking(some) {
		lacking = append(lacking, ref.String())
	}
	if diff := cmp.Diff([]string{"ConfigMap default/recorded"}, lacking); diff != "" {
		t.Error(diff)
	}
	if !some.With(all.Lacking(some)).Equal(all) || some.Equal(all) || len(some.Lacking(all)) > 0 {
		t.Errorf("%v with what it lacks is not %v", some, all)
	}
	older := decode(t, strings.ReplaceAll(recorded, "apps/v1", "apps/v1beta2"))
	if lacking := kube.NewRecord("x", "addons", nil, older).Lacking(all); len(lacking) > 0 {
		t.Errorf("another version of a kind is another object: %v", lacking)
	}
}

// testRecords: what a cluster has recorded is read as it was written, and what cannot be read is an error.
func testRecords(t *testing.T, w *world) {
	client := w.client
	want := map[string]kube.Record{
		"x": kube.NewRecord("x", "addons", []string{"b", "a"}, decode(t, recorded)),
		"y": kube.NewRecord("y", "network", nil, nil),
	}
	for _, r := range want {
		apply(t, client, []kube.Object{r.Object()})
	}
	got, err := client.Records(within(t, time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for name, objects := range map[string]string{"three words": "v1 ConfigMap default", "no version": "a/b/c ConfigMap - x"} {
		bad := want["y"].Object()
		bad.Object["data"] = map[string]any{"objects": "v1 Namespace - fine\n" + objects}
		apply(t, client, []kube.Object{bad})
		if _, err := client.Records(within(t, time.Minute)); err == nil || !strings.Contains(err.Error(), "kubewright-addon-y") {
			t.Errorf("%s: %v", name, err)
		}
	}
	apply(t, client, []kube.Object{want["y"].Object()})
}

// testRemove: what is ours goes, in a call that returns when it is gone; what is somebody else's stays, and
// what is not there, or of a kind that nobody knows, is as good as gone.
func testRemove(t *testing.T, w *world) {
	client := w.client
	objects := decode(t, recorded+`
---
apiVersion: v1
kind: ConfigMap
metadata: {name: theirs, namespace: default, labels: {of: them}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: never, namespace: default, labels: {of: x}}
---
apiVersion: gone.example.com/v1
kind: Thing
metadata: {name: never}
`)
	apply(t, client, append(objects[:2:2], objects[3]))
	for want, some := range map[string][]kube.Object{"all": objects[:2], "one missing": objects[:3], "nobody knows the kind": {objects[0], objects[5]}} {
		got, err := client.Complete(within(t, time.Minute), kube.NewRecord("x", "addons", nil, some))
		if err != nil || got != (want == "all") {
			t.Errorf("%s: complete %t, %v", want, got, err)
		}
	}
	var refs []kube.Ref
	for i, object := range objects {
		if i != 2 { // nobody collects the Deployment here
			refs = append(refs, kube.RefOf(object))
		}
	}
	var removed []string
	ours := func(object kube.Object) bool { return object.GetLabels()["of"] == "x" }
	found, err := client.Removable(within(t, time.Minute), refs, ours)
	if err != nil || len(found) != 2 || found[0].String() != "ConfigMap default/recorded" || found[1].String() != "ClusterRole recorded" {
		t.Errorf("removable: %v, %v", found, err)
	}
	done := make(chan kube.Ref, len(refs))
	for range 2 { // a run that is cut removes some, and the next one the rest
		if err := client.Remove(within(t, time.Minute), refs, ours, func(ref kube.Ref) { done <- ref }); err != nil {
			t.Fatal(err)
		}
	}
	close(done)
	for ref := range done {
		removed = append(removed, ref.String())
	}
	slices.Sort(removed)
	if diff := cmp.Diff([]string{"ClusterRole recorded", "ConfigMap default/recorded"}, removed); diff != "" {
		t.Errorf("removed (-want +got):\n%s", diff)
	}
	if _, err := client.Get(within(t, time.Minute), schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}, "default", "theirs"); err != nil {
		t.Error(err)
	}
	_, err = client.Get(within(t, time.Minute), schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}, "default", "recorded")
	if !apierrors.IsNotFound(err) {
		t.Errorf("it is still there: %v", err)
	}

	held := decode(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: held, namespace: default, labels: {of: x}, finalizers: [example.com/holder]}}`)
	apply(t, client, held)
	err = client.Remove(within(t, time.Second), []kube.Ref{kube.RefOf(held[0])}, ours, func(kube.Ref) { t.Error("it is held") })
	if err == nil || !strings.Contains(err.Error(), "ConfigMap default/held to be gone: it is held by example.com/holder") {
		t.Errorf("%v", err)
	}
}
