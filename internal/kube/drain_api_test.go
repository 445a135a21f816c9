package kube

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"
)

// drainAPI plays an API server with nodes, pods, DaemonSets and PodDisruptionBudgets, and the
// kubelets that end pods; TestDrainOnRealAPIServer compares it with a real one. Like leaseAPI it
// needs no network, and fails the test at what it does not know.
type drainAPI struct {
	t *testing.T

	mu      sync.Mutex
	objects map[string]Object // by path
	version int
	// ends is how long a pod takes to end once it is told to, by name; one second if it is not here.
	ends   map[string]time.Duration
	writes []string      // every request that changes something, with what it asks for
	fault  fault         // answers in place of the server, if set
	since  time.Time     // when the fault begins
	lasts  time.Duration // and how long it lasts
	before map[string]func()
}

// never is the time that a pod takes to end when its kubelet is dead.
const never = 1000 * time.Hour

func newDrainAPI(t *testing.T, manifests ...string) *drainAPI {
	t.Helper()
	api := &drainAPI{t: t, objects: map[string]Object{}, ends: map[string]time.Duration{}, before: map[string]func(){}}
	for _, manifest := range manifests {
		api.add(manifest)
	}
	return api
}

// add creates an object, or replaces it.
func (a *drainAPI) add(manifest string) {
	a.t.Helper()
	data, err := yaml.YAMLToJSONStrict([]byte(manifest))
	if err != nil {
		a.t.Fatal(err)
	}
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(data); err != nil {
		a.t.Fatal(err)
	}
	prefix, plural := "/api/v1", strings.ToLower(object.GetKind())+"s"
	if group := object.GroupVersionKind().Group; group != "" {
		prefix = "/apis/" + group + "/v1"
	}
	if namespace := object.GetNamespace(); namespace != "" {
		prefix += "/namespaces/" + namespace
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.store(prefix+"/"+plural+"/"+object.GetName(), object)
}

func (a *drainAPI) store(path string, object Object) {
	a.version++
	object.SetResourceVersion(strconv.Itoa(a.version))
	a.objects[path] = object
}

// node returns the node as it is stored.
func (a *drainAPI) node(name string) corev1.Node {
	a.t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	var node corev1.Node
	if detail := typed(a.objects["/api/v1/nodes/"+name], &node); detail != "" {
		a.t.Fatal(detail)
	}
	return node
}

// breaks lets a fault begin later and last for a while.
func (a *drainAPI) breaks(after, lasts time.Duration, f fault) {
	a.fault, a.since, a.lasts = f, time.Now().Add(after), lasts
}

// client returns a client that New would return for this server.
func (a *drainAPI) client() *Client {
	a.t.Helper()
	server := &url.URL{Scheme: "https", Host: "127.0.0.1:1"}
	web := &http.Client{Transport: a}
	dynamicClient, err := dynamic.NewForConfigAndClient(restConfig(server), web)
	if err != nil {
		a.t.Fatal(err)
	}
	client := &Client{server: server, http: web, dynamic: dynamicClient}
	client.kinds = &kinds{get: client.getJSON}
	return client
}

// RoundTrip implements http.RoundTripper.
func (a *drainAPI) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	serve := func() (*http.Response, error) { return a.serve(r, body) }
	if now := time.Now(); a.fault != nil && !now.Before(a.since) && now.Before(a.since.Add(a.lasts)) {
		return a.fault(r, serve)
	}
	return serve()
}

func (a *drainAPI) serve(r *http.Request, body []byte) (*http.Response, error) {
	a.mu.Lock()
	if do := a.before[r.Method]; do != nil {
		delete(a.before, r.Method)
		a.mu.Unlock() // it writes too
		do()
		a.mu.Lock()
	}
	defer a.mu.Unlock()
	path, eviction := strings.CutSuffix(r.URL.Path, "/eviction")
	object := a.objects[path]
	switch {
	case path == "/readyz":
		return answer(r, http.StatusOK, "ok")
	case path == "/api/v1":
		return answer(r, http.StatusOK, metav1.APIResourceList{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "APIResourceList"}, GroupVersion: "v1",
			APIResources: []metav1.APIResource{{Name: "pods/eviction", Namespaced: true, Group: "policy", Version: "v1", Kind: "Eviction"}},
		})
	case r.Method == http.MethodGet && collection(path):
		return answer(r, http.StatusOK, a.list(path, r.URL.Query().Get("fieldSelector")))
	case object == nil:
		parts := strings.Split(path, "/")
		return failure(r, apierrors.NewNotFound(schema.GroupResource{Resource: parts[len(parts)-2]}, parts[len(parts)-1]))
	case !meant(object, eviction, body):
		return failure(r, apierrors.NewConflict(schema.GroupResource{Resource: "pods"}, object.GetName(), errors.New("the UID in the precondition differs")))
	case eviction && r.Method == http.MethodPost:
		return a.evict(r, path, body)
	case r.Method == http.MethodGet:
		return answer(r, http.StatusOK, object)
	case r.Method == http.MethodPatch:
		return a.patch(r, body)
	case r.Method == http.MethodDelete:
		return a.remove(r, path, body)
	}
	a.t.Errorf("unexpected request %s %s", r.Method, r.URL)
	return nil, errors.New("unexpected request")
}

// meant tells whether a request to end an object is for this one, and not for another of its name.
func meant(object Object, eviction bool, body []byte) bool {
	var options metav1.DeleteOptions
	var asked policyv1.Eviction
	if err := json.Unmarshal(body, &options); err != nil {
		return true // it has no body, or none of that kind
	}
	if eviction && json.Unmarshal(body, &asked) == nil && asked.DeleteOptions != nil {
		options = *asked.DeleteOptions
	}
	return options.Preconditions == nil || options.Preconditions.UID == nil || *options.Preconditions.UID == object.GetUID()
}

// collection tells whether a path is that of all objects of a kind.
func collection(path string) bool {
	return slices.Contains([]string{"pods", "nodes", "poddisruptionbudgets"}, path[strings.LastIndex(path, "/")+1:])
}

func (a *drainAPI) list(path, selector string) any {
	namespaced, plural := path[:strings.LastIndex(path, "/")], path[strings.LastIndex(path, "/"):]
	items := []any{}
	for _, key := range slices.Sorted(maps.Keys(a.objects)) {
		object := a.objects[key]
		node, _, _ := unstructured.NestedString(object.Object, "spec", "nodeName")
		selected := fields.ParseSelectorOrDie(selector).Matches(fields.Set{"spec.nodeName": node})
		if selected && strings.HasPrefix(key, namespaced+"/") && strings.Contains(key, plural+"/") {
			items = append(items, object)
		}
	}
	kind := map[string]string{"/pods": "PodList", "/nodes": "NodeList", "/poddisruptionbudgets": "PodDisruptionBudgetList"}[plural]
	version := strings.TrimPrefix(strings.TrimPrefix(strings.Split(namespaced, "/namespaces/")[0], "/api/"), "/apis/")
	return map[string]any{"apiVersion": version, "kind": kind, "metadata": map[string]any{"resourceVersion": "1"}, "items": items}
}

// patch merges as RFC 7386 says, and heeds the version.
func (a *drainAPI) patch(r *http.Request, body []byte) (*http.Response, error) {
	object := a.objects[r.URL.Path].DeepCopy()
	patch := map[string]any{}
	if err := json.Unmarshal(body, &patch); err != nil || r.Header.Get("Content-Type") != "application/merge-patch+json" {
		a.t.Errorf("patch %s: %s, error %v", r.Header.Get("Content-Type"), body, err)
	}
	if version, ok, _ := unstructured.NestedString(patch, "metadata", "resourceVersion"); ok && version != object.GetResourceVersion() {
		return failure(r, apierrors.NewConflict(schema.GroupResource{Resource: "nodes"}, object.GetName(), errors.New("modified")))
	}
	a.writes = append(a.writes, "patch "+object.GetName())
	merge(object.Object, patch)
	a.store(r.URL.Path, object)
	return answer(r, http.StatusOK, object)
}

func merge(into, patch map[string]any) {
	for key, value := range patch {
		fields, nested := value.(map[string]any)
		switch {
		case value == nil:
			delete(into, key)
		case nested:
			below, ok := into[key].(map[string]any)
			if !ok {
				below = map[string]any{}
				into[key] = below
			}
			merge(below, fields)
		default:
			into[key] = value
		}
	}
}

// evict answers as the API server does: see EvictionREST in kubernetes/pkg/registry/core/pod/storage.
func (a *drainAPI) evict(r *http.Request, path string, body []byte) (*http.Response, error) {
	var eviction policyv1.Eviction
	if err := json.Unmarshal(body, &eviction); err != nil || eviction.APIVersion != "policy/v1" || eviction.Name != a.objects[path].GetName() {
		a.t.Errorf("eviction %s, error %v", body, err)
	}
	var pod corev1.Pod
	if detail := typed(a.objects[path], &pod); detail != "" {
		a.t.Error(detail)
	}
	found := []string{}
	for key, object := range a.objects {
		var budget policyv1.PodDisruptionBudget
		if object.GetKind() != "PodDisruptionBudget" || object.GetNamespace() != pod.Namespace || typed(object, &budget) != "" {
			continue
		}
		if budget.Spec.Selector.MatchLabels["app"] == pod.Labels["app"] {
			found = append(found, key)
		}
	}
	allowed := int64(1)
	if len(found) == 1 {
		allowed, _, _ = unstructured.NestedInt64(a.objects[found[0]].Object, "status", "disruptionsAllowed")
	}
	switch {
	case pod.DeletionTimestamp != nil:
	case len(found) > 1:
		return failure(r, &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: 500,
			Message: "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."}})
	case allowed < 1:
		return failure(r, apierrors.NewTooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", 0))
	case len(found) == 1:
		_ = unstructured.SetNestedField(a.objects[found[0]].Object, allowed-1, "status", "disruptionsAllowed")
	}
	a.end(path, "evict", eviction.DeleteOptions)
	return answer(r, http.StatusCreated, metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusSuccess})
}

func (a *drainAPI) remove(r *http.Request, path string, body []byte) (*http.Response, error) {
	var options metav1.DeleteOptions
	if err := json.Unmarshal(body, &options); err != nil {
		a.t.Errorf("delete %s: %s, error %v", path, body, err)
	}
	object := a.objects[path]
	if object.GetKind() == "Pod" {
		a.end(path, "delete", &options)
		return answer(r, http.StatusOK, object)
	}
	a.writes = append(a.writes, "delete "+object.GetName())
	delete(a.objects, path)
	return answer(r, http.StatusOK, object)
}

// end tells a pod to end, and lets it end a while later.
func (a *drainAPI) end(path, how string, options *metav1.DeleteOptions) {
	pod := a.objects[path].DeepCopy()
	uid := pod.GetUID()
	line := how + " " + pod.GetNamespace() + "/" + pod.GetName()
	if options != nil && options.GracePeriodSeconds != nil {
		line += fmt.Sprintf(" in %ds", *options.GracePeriodSeconds)
	}
	a.writes = append(a.writes, line)
	if pod.GetDeletionTimestamp() == nil {
		pod.SetDeletionTimestamp(&metav1.Time{Time: time.Now()})
		a.store(path, pod)
	}
	time.AfterFunc(cmp.Or(a.ends[pod.GetName()], time.Second), func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if now := a.objects[path]; now != nil && now.GetUID() == uid {
			delete(a.objects, path)
		}
	})
}

// log returns what was changed so far.
func (a *drainAPI) log() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.writes)
}

// only lets a fault meet the requests whose path ends so.
func only(suffix string, f fault) fault {
	return func(r *http.Request, serve func() (*http.Response, error)) (*http.Response, error) {
		if strings.HasSuffix(r.URL.Path, suffix) {
			return f(r, serve)
		}
		return serve()
	}
}

// minute is a context that ends in time for any test.
func minute(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}
