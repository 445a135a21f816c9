//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/remotecommand"
)

// Deadlines of what a working cluster does. They are generous: the machine of a test run has few
// cores, and a deadline is met only when something is broken.
const (
	podTimeout    = 2 * time.Minute // a pod is scheduled, pulled and started
	answerTimeout = time.Minute     // what was changed in the API works on the network
	rebootTimeout = 4 * time.Minute // a host that was switched on is a node again
)

// watched says which objects to watch.
type watched struct {
	getter              cache.Getter
	resource, namespace string
	options             metav1.ListOptions
}

func (c *cluster) pods(namespace string) watched {
	return watched{getter: c.client.CoreV1().RESTClient(), resource: "pods", namespace: namespace}
}

func (c *cluster) nodeObjects() watched {
	return watched{getter: c.client.CoreV1().RESTClient(), resource: "nodes"}
}

// labelled narrows to objects with the labels of a selector.
func (w watched) labelled(selector string) watched {
	w.options.LabelSelector = selector
	return w
}

// named narrows to one object.
func (w watched) named(name string) watched {
	w.options.FieldSelector = "metadata.name=" + name
	return w
}

// await watches objects until done accepts them all together, and returns them. done says what
// it still waits for, "" for nothing; what it said last is in the failure.
func await[T any, P interface {
	*T
	runtime.Object
}](t testing.TB, w watched, timeout time.Duration, done func([]P) string) []P {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	changed := make(chan struct{}, 1)
	signal := func() {
		select {
		case changed <- struct{}{}:
		default: // the reader is about to look anyway
		}
	}
	store, controller := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: cache.NewFilteredListWatchFromClient(w.getter, w.resource, w.namespace, func(o *metav1.ListOptions) {
			o.LabelSelector, o.FieldSelector = w.options.LabelSelector, w.options.FieldSelector
		}),
		ObjectType: P(new(T)),
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc: func(any) { signal() }, UpdateFunc: func(any, any) { signal() }, DeleteFunc: func(any) { signal() },
		},
	})
	go controller.RunWithContext(ctx)
	cache.WaitForCacheSync(ctx.Done(), controller.HasSynced)
	missing := "the API to answer"
	for {
		if controller.HasSynced() {
			var objects []P
			for _, o := range store.List() {
				objects = append(objects, o.(P))
			}
			if missing = done(objects); missing == "" {
				return objects
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("after %s, %s still wait for: %s", timeout, w.resource, missing)
		}
	}
}

// eventually repeats what can only be asked for, until it succeeds.
func eventually(t testing.TB, timeout time.Duration, what string, try func(context.Context) error) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 250*time.Millisecond, timeout, true, func(ctx context.Context) (bool, error) {
		err := try(ctx)
		if ctx.Err() == nil { // else the error says no more than that
			last = err
		}
		return err == nil, nil
	})
	if err != nil {
		t.Fatalf("%s: not within %s: %v", what, timeout, last)
	}
}

// namespace makes a namespace for the test, and removes it when the test ends.
func (c *cluster) namespace(t testing.TB) string {
	t.Helper()
	name := strings.ReplaceAll(strings.ToLower(t.Name()[strings.LastIndex(t.Name(), "/")+1:]), "_", "-")
	ns, err := c.client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "e2e-" + strings.TrimPrefix(name, "test") + "-"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := c.client.CoreV1().Namespaces().Delete(ctx, ns.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	})
	explainFailure(t, c)
	eventually(t, answerTimeout, "the service account of "+ns.Name, func(ctx context.Context) error {
		_, err := c.client.CoreV1().ServiceAccounts(ns.Name).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	return ns.Name
}

// waitHealthy waits until the API answers.
func (c *cluster) waitHealthy(t testing.TB) {
	t.Helper()
	eventually(t, rebootTimeout, "the API", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		return c.client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
}

// exec runs a command in a pod, as kubectl exec does.
func (c *cluster) exec(ctx context.Context, pod *corev1.Pod, argv ...string) (string, error) {
	request := c.client.CoreV1().RESTClient().Post().Resource("pods").Namespace(pod.Namespace).Name(pod.Name).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Command: argv, Stdout: true, Stderr: true}, scheme.ParameterCodec)
	executor, err := remotecommand.NewWebSocketExecutor(c.config, http.MethodGet, request.URL().String())
	if err != nil {
		return "", err
	}
	var stdout, stderr bytes.Buffer
	err = executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: &stdout, Stderr: &stderr})
	if err != nil {
		err = fmt.Errorf("%s in %s: %w: %s", strings.Join(argv, " "), pod.Name, err, stderr.String())
	}
	return stdout.String(), err
}

// fetch gets a URL from inside a pod.
func (c *cluster) fetch(ctx context.Context, from *corev1.Pod, url string) (string, error) {
	return c.exec(ctx, from, testserver, "get", "-timeout", "3s", url)
}

// wantAnswer waits until a URL, asked from inside a pod, answers as wanted.
func (c *cluster) wantAnswer(t testing.TB, from *corev1.Pod, url, want string) {
	t.Helper()
	eventually(t, answerTimeout, "GET "+url+" from "+from.Name, func(ctx context.Context) error {
		got, err := c.fetch(ctx, from, url)
		if err == nil && strings.TrimSpace(got) != want {
			err = fmt.Errorf("the answer is %.200q, want %q", got, want)
		}
		return err
	})
}

// get asks for a URL from this machine, outside the cluster, on a connection of its own.
func get(ctx context.Context, url string) (string, error) {
	client := &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = errors.New(response.Status)
	}
	return strings.TrimSpace(string(body)), err
}
