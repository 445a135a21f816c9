package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"
)

// leaseAPI plays an API server that has one Lease, with the optimistic locking of a real one, which
// TestLeaseOnRealAPIServer compares it with. It answers without a network, so that the clock of a
// synctest bubble runs; what it does not know is a failure of the test.
type leaseAPI struct {
	t       *testing.T
	latency func() time.Duration // of the way there, and of the way back
	trouble func() fault

	mu       sync.Mutex
	object   Object // replaced, never changed
	version  int
	from, to time.Time // when broken is in force
	broken   fault
	onWrite  func()
	onCreate func()
}

// fault answers in place of the server, or after it.
type fault func(r *http.Request, serve func() (*http.Response, error)) (*http.Response, error)

// newLeaseAPI returns a server that has a Lease with this spec, or none.
func newLeaseAPI(t *testing.T, spec string) *leaseAPI {
	t.Helper()
	api := &leaseAPI{t: t}
	if spec == "" {
		return api
	}
	var fields map[string]any
	if err := yaml.Unmarshal([]byte(spec), &fields); err != nil {
		t.Fatal(err)
	}
	api.set(func(object Object) { object.Object["spec"] = fields })
	return api
}

// heldBy is the spec of a lease that somebody has.
func heldBy(holder string) string {
	return `{holderIdentity: '` + holder + `', acquireTime: "2026-01-02T03:04:05.000000Z", renewTime: "2026-01-02T03:10:00.000000Z", leaseDurationSeconds: 15, leaseTransitions: 3}`
}

func (a *leaseAPI) client() *Client {
	a.t.Helper()
	client, err := dynamic.NewForConfigAndClient(&rest.Config{Host: "https://127.0.0.1:1", QPS: -1}, &http.Client{Transport: a})
	if err != nil {
		a.t.Fatal(err)
	}
	return &Client{dynamic: client, kinds: &kinds{get: func(context.Context, string, any) error { return errors.New("no list of resources") }}}
}

func (a *leaseAPI) hold(t *testing.T, o LeaseOptions) *Lease {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	lease, err := a.client().HoldLease(ctx, me, o)
	if err != nil {
		t.Fatal(err)
	}
	return lease
}

// present is the Lease as it is stored.
func (a *leaseAPI) present() Object {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.object
}

func (a *leaseAPI) record() leaseRecord {
	a.t.Helper()
	record, err := recordOf(a.present())
	if err != nil {
		a.t.Error(err)
	}
	return record
}

// set writes the Lease as somebody else.
func (a *leaseAPI) set(change func(Object)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	object := reference(coordinationv1.SchemeGroupVersion.WithKind("Lease"), leaseNamespace, leaseName)
	if a.object != nil {
		object = a.object.DeepCopy()
	}
	change(object)
	a.store(object)
}

func (a *leaseAPI) store(object Object) {
	a.version++
	object.SetResourceVersion(strconv.Itoa(a.version))
	a.object = object
}

// touch changes nothing but the version.
func (a *leaseAPI) touch() { a.set(func(Object) {}) }

// takeAs writes another holder, as a run that takes the lease by force, or renews it.
func (a *leaseAPI) takeAs(holder string) {
	a.set(func(object Object) {
		var spec map[string]any
		if err := yaml.Unmarshal([]byte(heldBy(holder)), &spec); err != nil {
			a.t.Error(err)
		}
		object.Object["spec"] = spec
	})
}

func (a *leaseAPI) remove() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.object = nil
}

// at lets something happen later.
func (a *leaseAPI) at(d time.Duration, do func()) { time.AfterFunc(d, do) }

// beforeWrite lets something happen once, between the first read and the write that follows it.
func (a *leaseAPI) beforeWrite(do func())  { a.once(&a.onWrite, do) }
func (a *leaseAPI) beforeCreate(do func()) { a.once(&a.onCreate, do) }

func (a *leaseAPI) once(hook *func(), do func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	*hook = do
}

// run calls a hook, if there is one, for the last time.
func (a *leaseAPI) run(hook *func()) {
	a.mu.Lock()
	do := *hook
	*hook = nil
	a.mu.Unlock()
	if do != nil {
		do()
	}
}

// fault breaks the API for a while.
func (a *leaseAPI) fault(from, to time.Duration, f fault) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	a.from, a.to, a.broken = now.Add(from), now.Add(to), f
}

func refuse(*http.Request, func() (*http.Response, error)) (*http.Response, error) {
	return nil, syscall.ECONNREFUSED
}

func hang(r *http.Request, _ func() (*http.Response, error)) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// loseAnswer carries a write out and does not say so.
func loseAnswer(r *http.Request, serve func() (*http.Response, error)) (*http.Response, error) {
	response, err := serve()
	if r.Method == http.MethodGet {
		return response, err
	}
	return nil, io.EOF
}

// hangAnswer carries the request out and never answers.
func hangAnswer(r *http.Request, serve func() (*http.Response, error)) (*http.Response, error) {
	_, _ = serve()
	return hang(r, nil)
}

// arriveLate gives the client no answer, and the server the request a while after.
func arriveLate(_ *http.Request, serve func() (*http.Response, error)) (*http.Response, error) {
	time.AfterFunc(3*time.Second, func() {
		if response, err := serve(); err == nil {
			_ = response.Body.Close() // nobody reads it
		}
	})
	return nil, syscall.ECONNRESET
}

// slowThenDown carries one write out and answers three seconds late, and nothing after that.
func slowThenDown() fault {
	var down atomic.Bool
	return func(r *http.Request, serve func() (*http.Response, error)) (*http.Response, error) {
		if down.Swap(true) {
			return refuse(r, nil)
		}
		response, err := serve()
		<-time.After(3 * time.Second)
		return response, err
	}
}

func forbid(r *http.Request, _ func() (*http.Response, error)) (*http.Response, error) {
	return failure(r, apierrors.NewForbidden(leases(), leaseName, errors.New("no")))
}

func conflict(r *http.Request, serve func() (*http.Response, error)) (*http.Response, error) {
	if r.Method == http.MethodGet {
		return serve()
	}
	return failure(r, apierrors.NewConflict(leases(), leaseName, errors.New("modified")))
}

func noNamespace(r *http.Request, serve func() (*http.Response, error)) (*http.Response, error) {
	if r.Method == http.MethodGet {
		return serve()
	}
	return failure(r, apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, leaseNamespace))
}

func leases() schema.GroupResource {
	return schema.GroupResource{Group: "coordination.k8s.io", Resource: "leases"}
}

// RoundTrip implements http.RoundTripper.
func (a *leaseAPI) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	if err := a.travel(r); err != nil {
		return nil, err
	}
	serve := func() (*http.Response, error) { return a.serve(r, body) }
	response, err := a.presentFault()(r, serve)
	if late := a.travel(r); late != nil {
		return nil, late
	}
	return response, err
}

// travel lets the time of one way pass.
func (a *leaseAPI) travel(r *http.Request) error {
	if a.latency == nil {
		return r.Context().Err()
	}
	a.mu.Lock()
	d := a.latency()
	a.mu.Unlock()
	select {
	case <-time.After(d):
		return nil
	case <-r.Context().Done():
		return r.Context().Err()
	}
}

func (a *leaseAPI) presentFault() fault {
	a.mu.Lock()
	defer a.mu.Unlock()
	now, f := time.Now(), fault(nil)
	if a.trouble != nil {
		f = a.trouble()
	}
	if !now.Before(a.from) && now.Before(a.to) {
		f = a.broken
	}
	if f == nil {
		return func(_ *http.Request, serve func() (*http.Response, error)) (*http.Response, error) { return serve() }
	}
	return f
}

// serve carries a request out.
func (a *leaseAPI) serve(r *http.Request, body []byte) (*http.Response, error) {
	const all = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
	if r.Method != http.MethodGet {
		a.run(&a.onWrite)
	}
	if r.Method == http.MethodPost {
		a.run(&a.onCreate)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch r.Method + " " + r.URL.Path {
	case "GET " + all + "/kubewright":
		if a.object == nil {
			return failure(r, apierrors.NewNotFound(leases(), leaseName))
		}
		return answer(r, http.StatusOK, a.object)
	case "POST " + all:
		if a.object != nil {
			return failure(r, apierrors.NewAlreadyExists(leases(), leaseName))
		}
	case "PUT " + all + "/kubewright":
		if a.object == nil {
			return failure(r, apierrors.NewNotFound(leases(), leaseName))
		}
	default:
		a.t.Errorf("unexpected request %s %s", r.Method, r.URL)
		return nil, errors.New("unexpected request")
	}
	sent := &unstructured.Unstructured{}
	if err := sent.UnmarshalJSON(body); err != nil {
		a.t.Errorf("%s: %v", r.Method, err)
	}
	if a.object != nil && sent.GetResourceVersion() != a.object.GetResourceVersion() {
		return failure(r, apierrors.NewConflict(leases(), leaseName, errors.New("modified")))
	}
	a.store(sent)
	return answer(r, http.StatusOK, a.object)
}

func failure(r *http.Request, err *apierrors.StatusError) (*http.Response, error) {
	status := err.ErrStatus
	status.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
	return answer(r, int(status.Code), status)
}

func answer(r *http.Request, code int, value any) (*http.Response, error) {
	body, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: code, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(body)),
	}, nil
}
