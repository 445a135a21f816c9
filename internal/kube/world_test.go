package kube_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"kubewright/certs"
	"kubewright/internal/kube"
	"kubewright/internal/kube/apitest"
)

// world is a running API server, the client under test, and a client that plays everybody else.
type world struct {
	server *apitest.Server
	client *kube.Client
	others dynamic.Interface
}

func newWorld(t *testing.T, server *apitest.Server) *world {
	t.Helper()
	pair := server.PKI.SuperAdmin(t)
	others, err := dynamic.NewForConfig(&rest.Config{Host: server.URL, QPS: -1, TLSClientConfig: rest.TLSClientConfig{
		CAData: server.PKI.Bundle.Kubernetes.CertPEM(), CertData: pair.CertPEM, KeyData: pair.KeyPEM.Reveal(),
	}})
	if err != nil {
		t.Fatal(err)
	}
	return &world{server: server, client: newClient(t, server, pair), others: others}
}

// of returns the resource of an object whose plural can be guessed.
func (w *world) of(object kube.Object) dynamic.ResourceInterface {
	gvr, _ := meta.UnsafeGuessKindToResource(object.GroupVersionKind())
	if object.GetNamespace() == "" {
		return w.others.Resource(gvr)
	}
	return w.others.Resource(gvr).Namespace(object.GetNamespace())
}

// forceApply applies an object under another name, as another tool would.
func (w *world) forceApply(t *testing.T, object kube.Object, manager string) {
	t.Helper()
	_, err := w.of(object).Apply(within(t, 10*time.Second), object.GetName(), object, metav1.ApplyOptions{FieldManager: manager, Force: true})
	if err != nil {
		t.Fatal(err)
	}
}

// setStatus plays the controller of an object.
func (w *world) setStatus(t *testing.T, manifest string) {
	t.Helper()
	object := decode(t, manifest)[0]
	_, err := w.of(object).ApplyStatus(within(t, 10*time.Second), object.GetName(), object, metav1.ApplyOptions{FieldManager: "controller", Force: true})
	if err != nil {
		t.Fatal(err)
	}
}

// redirect returns a dialer that reaches the API server whatever the address.
func redirect(server *apitest.Server) kube.DialFunc {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, server.URL[len("https://"):])
	}
}

func newClient(t *testing.T, server *apitest.Server, pair certs.Pair) *kube.Client {
	t.Helper()
	client, err := kube.New(kube.Config{Server: server.URL, CAPEM: server.PKI.Bundle.Kubernetes.CertPEM(), Client: pair})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// decode reads the documents of a manifest with their status, which only a server sets.
func decode(t *testing.T, manifest string) []kube.Object {
	t.Helper()
	var objects []kube.Object
	for document := range strings.SplitSeq("\n"+manifest, "\n---") {
		data, err := yaml.YAMLToJSONStrict([]byte(document))
		if err != nil {
			t.Fatal(err)
		}
		if string(data) == "null" {
			continue
		}
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(data); err != nil {
			t.Fatal(err)
		}
		objects = append(objects, object)
	}
	return objects
}

// diff returns the changes, by name of the object.
func diff(t *testing.T, client *kube.Client, objects []kube.Object) []kube.ObjectChange {
	t.Helper()
	changes, err := client.Diff(within(t, time.Minute), objects)
	if err != nil {
		t.Fatal(err)
	}
	if len(changes) != len(objects) {
		t.Fatalf("%d changes for %d objects", len(changes), len(objects))
	}
	for i := range changes {
		if changes[i].Object != objects[i] {
			t.Fatalf("change %d is for another object", i)
		}
	}
	return changes
}

func apply(t *testing.T, client *kube.Client, objects []kube.Object) {
	t.Helper()
	if err := client.Apply(within(t, time.Minute), diff(t, client, objects)); err != nil {
		t.Fatal(err)
	}
}

// assertActions expects the same action for all objects.
func assertActions(t *testing.T, changes []kube.ObjectChange, want kube.Action) {
	t.Helper()
	for _, change := range changes {
		if change.Action != want {
			t.Errorf("%s: %s %v, want %s", kube.Name(change.Object), change.Action, change.Fields, want)
		}
	}
}
