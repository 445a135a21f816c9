package kube_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kubewright/internal/kube"
)

// everything has an object of each wave, kinds whose plural cannot be guessed, and fields that the
// API server fills in or rewrites.
const everything = `
apiVersion: gateway.test/v1
kind: Gateway
metadata: {name: first, namespace: law}
spec: {address: 10.0.0.1}
---
apiVersion: gateway.test/v1
kind: Zone
metadata: {name: cluster-wide}
spec: {address: 10.0.0.2}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: law}
webhooks:
- name: law.test.example.org
  admissionReviewVersions: [v1]
  sideEffects: None
  failurePolicy: Fail
  clientConfig: {service: {name: nobody, namespace: law}}
  rules: [{apiGroups: [law.example.org], apiVersions: [v1], operations: [CREATE], resources: [things]}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: law, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      serviceAccountName: web
      containers:
      - name: web
        image: registry.example.org/web:1
        ports: [{containerPort: 80}, {containerPort: 443}]
        resources: {requests: {cpu: 1000m, memory: 1024Mi}, limits: {cpu: "1"}}
        env: [{name: A, value: "1"}, {name: B, value: ""}]
      - name: side
        image: registry.example.org/side:1
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, namespace: law, creationTimestamp: null}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}, creationTimestamp: null}
    spec:
      hostNetwork: true
      tolerations: [{operator: Exists}]
      containers: [{name: agent, image: "registry.example.org/agent:1"}]
status: {currentNumberScheduled: 0, desiredNumberScheduled: 0, numberMisscheduled: 0, numberReady: 0}
---
apiVersion: v1
kind: Service
metadata: {name: dns, namespace: law}
spec:
  clusterIP: 10.96.0.10
  selector: {app: web}
  ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: "law:web"}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects: [{kind: ServiceAccount, name: web, namespace: law}, {kind: User, name: somebody}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: web, namespace: law}
---
apiVersion: v1
kind: Secret
metadata: {name: token, namespace: law}
stringData: {password: hunter2}
data: {other: aHVudGVyMw==}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: config, namespace: law}
data: {Corefile: ".:53 {\n}\n", empty: ""}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny, namespace: law}
spec: {podSelector: {}, policyTypes: [Ingress]}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gateways.gateway.test}
spec:
  group: gateway.test
  scope: Namespaced
  names: {kind: Gateway, plural: gateways, singular: gateway}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {address: {type: string}}}}}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: zonen.gateway.test}
spec:
  group: gateway.test
  scope: Cluster
  names: {kind: Zone, plural: zonen, singular: zone}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, x-kubernetes-preserve-unknown-fields: true}}}}
---
apiVersion: v1
kind: Namespace
metadata: {name: law}
`

// testApplyIsALaw: apply(plan(world)); plan(world') is empty. The objects come in the worst order,
// and the second client knows nothing of what the first has learned.
func testApplyIsALaw(t *testing.T, w *world) {
	client := w.client
	objects := decode(t, everything)
	before := diff(t, client, objects)
	assertActions(t, before, kube.Create)
	assertActions(t, diff(t, client, objects), kube.Create) // looking changes nothing
	if err := client.Apply(within(t, time.Minute), before); err != nil {
		t.Fatal(err)
	}
	assertActions(t, diff(t, newClient(t, w.server, w.server.PKI.SuperAdmin(t)), objects), kube.Keep)
	versions := resourceVersions(t, client, objects)
	apply(t, client, objects)
	if after := resourceVersions(t, client, objects); !slices.Equal(versions, after) {
		t.Error("applying an empty plan has changed an object")
	}
	// A change computed before the objects existed may be applied when they do: it was interrupted.
	if err := client.Apply(within(t, time.Minute), before); err != nil {
		t.Error(err)
	}
	assertActions(t, diff(t, client, objects), kube.Keep)
}

func resourceVersions(t *testing.T, client *kube.Client, objects []kube.Object) []string {
	t.Helper()
	var versions []string
	for _, object := range objects {
		live, err := client.Get(within(t, 10*time.Second), object.GroupVersionKind(), object.GetNamespace(), object.GetName())
		if err != nil {
			t.Fatal(err)
		}
		versions = append(versions, live.GetResourceVersion())
	}
	return versions
}

// testDrift lets somebody else change what was applied, one field of each kind of value.
func testDrift(t *testing.T, w *world) {
	client := w.client
	const manifest = `
apiVersion: v1
kind: Namespace
metadata: {name: drift}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: drift, annotations: {example.org/note: kept}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: "web:1", args: [--one, --two]}
      - {name: side, image: "side:1"}
---
apiVersion: v1
kind: Secret
metadata: {name: token, namespace: drift}
data: {password: aHVudGVyMg==}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: config, namespace: drift}
data: {a.conf: one, b: two}
`
	objects := decode(t, manifest)
	apply(t, client, objects)
	changed := strings.NewReplacer("replicas: 2", "replicas: 5", "web:1", "web:9", "--two", "--three", "note: kept", "note: changed",
		"aHVudGVyMg==", "b3RoZXI=", "a.conf: one", `a.conf: "1.0"`).Replace(manifest)
	for _, object := range decode(t, changed) {
		w.forceApply(t, object, "somebody-else")
	}

	changes := diff(t, client, objects)
	var got []string
	for _, change := range changes {
		for _, field := range change.Fields {
			got = append(got, change.Object.GetKind()+" "+field.String())
		}
	}
	want := []string{
		`Deployment metadata.annotations["example.org/note"]: "changed" -> "kept"`,
		`Deployment spec.replicas: 5 -> 2`,
		`Deployment spec.template.spec.containers[name=web].args[1]: "--three" -> "--two"`,
		`Deployment spec.template.spec.containers[name=web].image: "web:9" -> "web:1"`,
		`Secret data.password: (secret x) -> (secret x)`,
		`ConfigMap data["a.conf"]: "1.0" -> "one"`,
	}
	for i, line := range got {
		if strings.HasPrefix(line, "Secret ") {
			if strings.Contains(line, "aHVudGVy") || strings.Contains(line, "b3RoZXI") || strings.Contains(line, "hunter") {
				t.Errorf("the change shows the secret: %s", line)
			}
			if field := changes[2].Fields[0]; field.Old == field.New {
				t.Error("different secrets have the same fingerprint")
			}
			got[i] = want[4]
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	if changes[0].Action != kube.Keep {
		t.Errorf("the namespace is to %s", changes[0].Action)
	}
	if err := client.Apply(within(t, time.Minute), changes); err != nil {
		t.Fatal(err)
	}
	assertActions(t, diff(t, client, objects), kube.Keep)
}

// testPruning: a field that is no longer wanted goes away; one that somebody else added stays.
func testPruning(t *testing.T, w *world) {
	client := w.client
	const manifest = `
apiVersion: v1
kind: ConfigMap
metadata: {name: pruning, namespace: default, labels: {a: "1", b: "2"}}
data: {one: "1", two: "2"}
`
	apply(t, client, decode(t, manifest))
	w.forceApply(t, decode(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: pruning, namespace: default}, data: {three: "3"}}`)[0], "somebody-else")
	assertActions(t, diff(t, client, decode(t, manifest)), kube.Keep)

	fewer := decode(t, strings.NewReplacer(`, two: "2"`, "", `, b: "2"`, "").Replace(manifest))
	changes := diff(t, client, fewer)
	want := []kube.FieldChange{{Path: "data.two", Old: `"2"`}, {Path: "metadata.labels.b", Old: `"2"`}}
	if diff := cmp.Diff(want, changes[0].Fields); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	apply(t, client, fewer)
	live, err := client.Get(within(t, 10*time.Second), fewer[0].GroupVersionKind(), "default", "pruning")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"one": "1", "three": "3"}, live.Object["data"]); diff != "" {
		t.Errorf("data (-want +got):\n%s", diff)
	}
}
