package kube_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"kubewright/internal/kube"
)

// testRefused: what the API server would refuse is known before anything is applied, for all
// objects at once, and each error names its object.
func testRefused(t *testing.T, w *world) {
	client := w.client
	objects := decode(t, `
apiVersion: v1
kind: Service
metadata: {name: bad, namespace: default}
spec: {ports: [{port: 99999}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: good, namespace: default}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: typo, namespace: default}
spec: {replica: 1}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: homeless}
`)
	changes, err := client.Diff(within(t, time.Minute), objects)
	if err == nil || changes != nil {
		t.Fatalf("changes %v, error %v", changes, err)
	}
	for _, want := range []string{
		"compare Service default/bad: ", "spec.ports[0].port", "compare Deployment default/typo: ",
		"compare ConfigMap homeless: it has no namespace; set metadata.namespace",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "good") {
		t.Errorf("an object without fault is blamed: %v", err)
	}
	// Apply says the same, and still applies the good object of the same wave.
	err = client.Apply(within(t, time.Minute), []kube.ObjectChange{
		{Object: objects[0], Action: kube.Create}, {Object: objects[2], Action: kube.Create},
	})
	if err == nil || !strings.Contains(err.Error(), "apply Service default/bad: ") || !strings.Contains(err.Error(), "apply Deployment default/typo: ") {
		t.Errorf("error is %v", err)
	}
}

// testScopes: a namespace on a cluster-wide object means nothing; a missing namespace and a missing
// kind make an object one to create.
func testScopes(t *testing.T, w *world) {
	client := w.client
	objects := decode(t, `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: scoped, namespace: default}
rules: []
`)
	apply(t, client, objects)
	assertActions(t, diff(t, client, objects), kube.Keep)
	assertActions(t, diff(t, client, decode(t, `
apiVersion: v1
kind: ConfigMap
metadata: {name: a, namespace: not-there}
---
apiVersion: not.there/v1
kind: Thing
metadata: {name: a}
---
apiVersion: apps/v1
kind: NotThere
metadata: {name: a, namespace: default}
`)), kube.Create)
	err := client.Apply(within(t, 20*time.Second), []kube.ObjectChange{{
		Action: kube.Create, Object: decode(t, "{apiVersion: not.there/v1, kind: Thing, metadata: {name: a}}")[0],
	}})
	if err == nil || !strings.Contains(err.Error(), "apply Thing a: the API server does not know this kind") {
		t.Errorf("error is %v", err)
	}
}

// testDefinitions: Apply is done with a definition when its objects are served, and says why when
// they never will be.
func testDefinitions(t *testing.T, w *world) {
	definition := func(plural, kind string) []kube.Object {
		return decode(t, fmt.Sprintf(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: %[1]s.definitions.test}
spec:
  group: definitions.test
  scope: Namespaced
  names: {kind: %[2]s, listKind: %[1]sList, plural: %[1]s}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
`, plural, kind))
	}
	apply(t, w.client, definition("things", "Thing"))
	if done, detail, err := w.client.DefinitionEstablished("things.definitions.test").Check(t.Context()); !done {
		t.Errorf("apply returned before the definition was established: %s %v", detail, err)
	}
	err := w.client.Apply(within(t, time.Second), diff(t, w.client, definition("stuffs", "Thing")))
	want := `for CustomResourceDefinition stuffs.definitions.test to be established: KindConflict: "Thing" is already in use`
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error is %v, want %q", err, want)
	}
}

// testCalico is a manifest of the real world: 30-odd definitions, RBAC and workloads.
func testCalico(t *testing.T, w *world) {
	client := w.client
	cache := os.Getenv("KUBEWRIGHT_CACHE")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			t.Skip(err)
		}
		cache = filepath.Join(home, ".cache", "kubewright")
	}
	found, err := filepath.Glob(filepath.Join(cache, "artifacts/files/raw.githubusercontent.com/projectcalico/calico/*/manifests/calico-vxlan.yaml"))
	if err != nil || len(found) == 0 {
		t.Skip("the manifest is not among the lab's artifacts")
	}
	manifest, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	objects := decode(t, string(manifest))
	if len(objects) < 20 {
		t.Fatalf("only %d objects", len(objects))
	}
	begun := time.Now()
	changes := diff(t, client, objects)
	assertActions(t, changes, kube.Create)
	planned := time.Now()
	if err := client.Apply(within(t, time.Minute), changes); err != nil {
		t.Fatal(err)
	}
	applied := time.Now()
	assertActions(t, diff(t, client, objects), kube.Keep)
	t.Logf("%d objects: plan %s, apply %s, plan again %s", len(objects), planned.Sub(begun), applied.Sub(planned), time.Since(applied))
}

// testObjects reads, lists and deletes, also a kind whose plural cannot be guessed.
func testObjects(t *testing.T, w *world) {
	client := w.client
	ctx := within(t, 20*time.Second)
	zone := schema.GroupVersionKind{Group: "gateway.test", Version: "v1", Kind: "Zone"}
	for _, name := range []string{"b", "c"} {
		apply(t, client, decode(t, "{apiVersion: gateway.test/v1, kind: Zone, metadata: {name: "+name+", labels: {set: x}}}"))
	}
	fresh := newClient(t, w.server, w.server.PKI.SuperAdmin(t)) // has not learned the plural yet
	list, err := fresh.List(ctx, zone, "", "set=x")
	if err != nil || len(list) != 2 {
		t.Fatalf("%d objects, error %v", len(list), err)
	}
	if err := client.Delete(ctx, zone, "", "b"); err != nil {
		t.Error(err)
	}
	if _, err := client.Get(ctx, zone, "", "b"); !apierrors.IsNotFound(err) || !strings.Contains(err.Error(), "get Zone b: ") {
		t.Errorf("after deleting it: %v", err)
	}
	if err := client.Delete(ctx, zone, "", "b"); !apierrors.IsNotFound(err) {
		t.Errorf("deleting it again: %v", err)
	}
	if _, err := client.List(ctx, zone.GroupVersion().WithKind("Nothing"), "", ""); err == nil ||
		!strings.Contains(err.Error(), "list Nothing: the API server does not know this kind") {
		t.Errorf("error is %v", err)
	}
}
