package kube

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

func object(t *testing.T, text string) Object {
	t.Helper()
	content := map[string]any{}
	if err := yaml.Unmarshal([]byte(text), &content); err != nil {
		t.Fatal(err)
	}
	return &unstructured.Unstructured{Object: content}
}

func TestCompare(t *testing.T) {
	tests := []struct {
		name, live, wanted string
		want               []string
	}{
		{"equal", "{kind: A, spec: {x: 1}}", "{kind: A, spec: {x: 1}}", nil},
		{"noise", `{metadata: {name: a, uid: u, resourceVersion: "1", generation: 1, creationTimestamp: x, selfLink: y, managedFields: [1]}, status: {a: 1}}`,
			`{metadata: {name: a, uid: v, resourceVersion: "2", generation: 2, managedFields: []}, status: {a: 2}}`, nil},
		{"counters", `{metadata: {annotations: {deployment.kubernetes.io/revision: "1", deprecated.daemonset.template.generation: "1"}}}`,
			`{metadata: {}}`, nil},
		{"counters beside another", `{metadata: {annotations: {deployment.kubernetes.io/revision: "1", a: b}}}`, `{metadata: {annotations: {a: c}}}`,
			[]string{`metadata.annotations.a: "b" -> "c"`}},
		{"added and removed", "{spec: {a: 1}}", "{spec: {b: true}}", []string{"spec.a: 1 -> (none)", "spec.b: (none) -> true"}},
		{"empty string is not absent", `{spec: {}}`, `{spec: {a: ""}}`, []string{`spec.a: (none) -> ""`}},
		{"type", `{spec: {a: "1"}}`, `{spec: {a: 1}}`, []string{`spec.a: "1" -> 1`}},
		{"subtree", "{spec: {}}", "{spec: {a: {b: [1]}}}", []string{`spec.a: (none) -> {"b":[1]}`}},
		{"list by position", "{spec: {a: [1, 2, 3]}}", "{spec: {a: [1, 5, 3]}}", []string{"spec.a[1]: 2 -> 5"}},
		{"list of another length", "{spec: {a: [1, 2]}}", "{spec: {a: [1]}}", []string{"spec.a: [1,2] -> [1]"}},
		{"list by name", "{spec: {c: [{name: a, v: 1}, {name: b, v: 1}]}}", "{spec: {c: [{name: b, v: 2}, {name: z}]}}", []string{
			`spec.c[name=a]: {"name":"a","v":1} -> (none)`, "spec.c[name=b].v: 1 -> 2", `spec.c[name=z]: (none) -> {"name":"z"}`}},
		{"order of named", "{spec: {c: [{name: a}, {name: b}]}}", "{spec: {c: [{name: b}, {name: a}]}}",
			[]string{`spec.c: [{"name":"a"},{"name":"b"}] -> [{"name":"b"},{"name":"a"}]`}},
		{"same name twice", "{spec: {c: [{name: a, v: 1}, {name: a, v: 2}]}}", "{spec: {c: [{name: a, v: 1}, {name: a, v: 3}]}}",
			[]string{"spec.c[1].v: 2 -> 3"}},
		{"keys that need quotes", `{data: {"a.b": "1", "c/d": "1", "": "1"}}`, `{data: {"a.b": "2", "c/d": "2", "": "2"}}`,
			[]string{`data[""]: "1" -> "2"`, `data["a.b"]: "1" -> "2"`, `data["c/d"]: "1" -> "2"`}},
		{"empty list to named", "{spec: {c: []}}", "{spec: {c: [{name: a}]}}", []string{`spec.c[name=a]: (none) -> {"name":"a"}`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			live, wanted := object(t, test.live), object(t, test.wanted)
			before := live.DeepCopy()
			var got []string
			for _, change := range (digester{}).compare(live, wanted) {
				got = append(got, change.String())
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before.Object, live.Object); diff != "" {
				t.Errorf("comparing has changed the object:\n%s", diff)
			}
		})
	}
}

// TestCompareHidesSecrets looks at every place in a Secret that can hold its data.
func TestCompareHidesSecrets(t *testing.T) {
	digests, err := newDigester()
	if err != nil {
		t.Fatal(err)
	}
	other, err := newDigester()
	if err != nil {
		t.Fatal(err)
	}
	live := object(t, `{apiVersion: v1, kind: Secret, type: Opaque, metadata: {name: a, labels: {l: open1},
		annotations: {kubectl.kubernetes.io/last-applied-configuration: '{"data":{"a":"hunter1"}}'}}, data: {a: hunter1, "b.c": hunter1, same: hunter1}, stringData: {a: hunter1}}`)
	wanted := object(t, `{apiVersion: v1, kind: Secret, type: Opaque, metadata: {name: a, labels: {l: open2}}, data: {a: hunter2, "b.c": hunter2, same: hunter1, new: hunter1}}`)
	changes := digests.compare(live, wanted)
	var all []string
	for _, change := range changes {
		all = append(all, change.String())
	}
	text := strings.Join(all, "\n")
	if strings.Contains(text, "hunter") {
		t.Errorf("the changes show the secret:\n%s", text)
	}
	if !strings.Contains(text, `metadata.labels.l: "open1" -> "open2"`) {
		t.Errorf("a label is hidden:\n%s", text)
	}
	if len(changes) != 6 {
		t.Errorf("%d changes, want 6:\n%s", len(changes), text)
	}
	again := digests.compare(live, wanted)
	if diff := cmp.Diff(changes, again); diff != "" {
		t.Errorf("fingerprints change within a run:\n%s", diff)
	}
	if cmp.Equal(changes, other.compare(live, wanted)) {
		t.Error("fingerprints are the same in every run: they can be used for guessing")
	}
	// Data that is there as a whole or not at all.
	bare := object(t, `{apiVersion: v1, kind: Secret, metadata: {name: a}}`)
	for _, change := range digests.compare(bare, object(t, `{apiVersion: v1, kind: Secret, metadata: {name: a}, data: {x: hunter2}}`)) {
		if strings.Contains(change.String(), "hunter") {
			t.Errorf("the changes show the secret: %s", change)
		}
	}
}

func TestWaves(t *testing.T) {
	tests := map[string]wave{
		"v1 Namespace": waveNamespaces,
		"apiextensions.k8s.io/v1 CustomResourceDefinition": waveDefinitions,
		"v1 ConfigMap": waveReferenced, "v1 Secret": waveReferenced, "v1 ServiceAccount": waveReferenced,
		"rbac.authorization.k8s.io/v1 ClusterRole": waveReferenced, "scheduling.k8s.io/v1 PriorityClass": waveReferenced,
		"v1 Service": waveRest, "apps/v1 Deployment": waveRest, "example.org/v1 Namespace": waveRest, "example.org/v1 Secret": waveRest,
		"admissionregistration.k8s.io/v1 MutatingWebhookConfiguration": waveIntercepting, "apiregistration.k8s.io/v1 APIService": waveIntercepting,
	}
	for name, want := range tests {
		version, kind, _ := strings.Cut(name, " ")
		it := object(t, "{apiVersion: "+version+", kind: "+kind+"}")
		if got := waveOf(it.GroupVersionKind()); got != want {
			t.Errorf("%s is in wave %d, want %d", name, got, want)
		}
	}
}

// TestSendable: what the API server alone writes is not sent, whatever a manifest carries.
func TestSendable(t *testing.T) {
	it := object(t, `{apiVersion: v1, kind: A, spec: {x: 1}, status: {y: 1}, metadata: {name: a, namespace: b, labels: {l: v},
		uid: u, resourceVersion: "1", generation: 1, creationTimestamp: null, selfLink: s, managedFields: [{manager: m}]}}`)
	before := it.DeepCopy()
	want := object(t, `{apiVersion: v1, kind: A, spec: {x: 1}, metadata: {name: a, namespace: b, labels: {l: v}}}`)
	if diff := cmp.Diff(want.Object, sendable(it).Object); diff != "" {
		t.Errorf("sent (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before.Object, it.Object); diff != "" {
		t.Errorf("the object itself has changed:\n%s", diff)
	}
}
