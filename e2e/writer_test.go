//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/pager"
)

const (
	// writeEvery is how often a writer makes an object.
	writeEvery = time.Second / 20
	// writeTimeout is how long it waits for an answer before it asks again.
	writeTimeout = 2 * time.Second
	// writesTimeout is how long the API may take to acknowledge some more objects.
	writesTimeout = 2 * time.Minute
)

// writer is a client that makes objects one after the other, as fast as writeEvery, and notes which of
// them were acknowledged, and when.
type writer struct {
	prefix, namespace string
	client            *kubernetes.Clientset
	cancel            context.CancelFunc
	done              chan struct{}

	mu    sync.Mutex
	more  chan struct{} // closed, and replaced, with each object
	names []string
	times []time.Time
	last  error
}

// writes starts a writer.
func (c *cluster) writes(t testing.TB, namespace, prefix string, config *rest.Config) *writer {
	t.Helper()
	config = rest.CopyConfig(config)
	config.Timeout = writeTimeout
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	w := &writer{prefix: prefix, namespace: namespace, client: client, cancel: cancel, done: make(chan struct{}), more: make(chan struct{})}
	t.Cleanup(func() { cancel(); <-w.done })
	go w.run(ctx)
	return w
}

func (w *writer) run(ctx context.Context) {
	defer close(w.done)
	ticker := time.NewTicker(writeEvery)
	defer ticker.Stop()
	for n := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		name := fmt.Sprintf("%s-%d", w.prefix, n)
		_, err := w.client.CoreV1().ConfigMaps(w.namespace).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		if err == nil || apierrors.IsAlreadyExists(err) { // an answer that was lost
			n++
		}
		w.note(name, err)
	}
}

func (w *writer) note(name string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil && !apierrors.IsAlreadyExists(err) {
		w.last = err
		return
	}
	w.names, w.times = append(w.names, name), append(w.times, time.Now())
	close(w.more)
	w.more = make(chan struct{})
}

// acknowledged waits for some more objects.
func (w *writer) acknowledged(t testing.TB, more int) {
	t.Helper()
	deadline := time.After(writesTimeout)
	w.mu.Lock()
	want := len(w.names) + more
	w.mu.Unlock()
	for {
		w.mu.Lock()
		got, next, last := len(w.names), w.more, w.last
		w.mu.Unlock()
		if got >= want {
			return
		}
		select {
		case <-next:
		case <-deadline:
			t.Fatalf("%s: %d of %d objects were acknowledged within %s; the last error is: %v", w.prefix, got, want, writesTimeout, last)
		}
	}
}

// stop ends the writer, and returns the longest time between two acknowledgements.
func (w *writer) stop(t testing.TB) time.Duration {
	t.Helper()
	w.cancel()
	<-w.done
	return w.longest(time.Time{})
}

// longest is the longest time between two acknowledgements of which the second came after a time.
func (w *writer) longest(since time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	var longest time.Duration
	for i := len(w.times) - 1; i > 0 && w.times[i].After(since); i-- {
		longest = max(longest, w.times[i].Sub(w.times[i-1]))
	}
	return longest
}

// wantAll checks that everything that was acknowledged is there. It asks for a page at a time, each of
// which has to come within writeTimeout.
func (w *writer) wantAll(t testing.TB) {
	t.Helper()
	w.mu.Lock()
	names := slices.Clone(w.names)
	w.mu.Unlock()
	there := map[string]bool{}
	pages := pager.New(pager.SimplePageFunc(func(options metav1.ListOptions) (runtime.Object, error) {
		return w.client.CoreV1().ConfigMaps(w.namespace).List(t.Context(), options)
	}))
	err := pages.EachListItem(t.Context(), metav1.ListOptions{}, func(o runtime.Object) error {
		there[o.(*corev1.ConfigMap).Name] = true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !there[name] {
			t.Errorf("%s was acknowledged and is lost", name)
		}
	}
}

// localEndpoint is the way to the API that what runs on a node takes, through a login to it.
func (l *lab) localEndpoint(t testing.TB, node string, config *rest.Config) *rest.Config {
	t.Helper()
	key, err := os.ReadFile(filepath.Join(l.dir, "id_ed25519"))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.ParsePrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	verify, err := knownhosts.New(filepath.Join(l.dir, "known_hosts"))
	if err != nil {
		t.Fatal(err)
	}
	login, err := ssh.Dial("tcp", net.JoinHostPort(l.addressOf(t, node), "22"), &ssh.ClientConfig{
		User: "root", Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: verify,
		HostKeyAlgorithms: []string{ssh.KeyAlgoED25519}, Timeout: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = login.Close() }) // also closed by the host when it goes
	config = rest.CopyConfig(config)
	config.Host = "https://127.0.0.1:7443"
	config.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		return login.DialContext(ctx, network, address)
	}
	return config
}
