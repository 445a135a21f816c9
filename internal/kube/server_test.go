package kube_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"kubewright/certs"
	"kubewright/internal/kube"
	"kubewright/internal/kube/apitest"
)

// TestRealAPIServer runs everything against a real API server. It is one test because the server
// takes seconds to start; the parts build on each other only where they say so.
func TestRealAPIServer(t *testing.T) {
	server := apitest.StartServer(t)
	w := newWorld(t, server)
	client := w.client

	// The server has just been started: this is the wait that every cluster begins with.
	var heard []string
	err := kube.Wait(within(t, time.Minute), client.APIReady(), func(detail string) { heard = append(heard, detail) })
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(heard, "connection refused") {
		t.Errorf("the wait did not tell that nobody listened yet: %q", heard)
	}
	for i := 1; i < len(heard); i++ {
		if heard[i] == heard[i-1] {
			t.Errorf("%q was told twice in a row", heard[i])
		}
	}
	if err := kube.Wait(within(t, time.Minute), client.APIHealthy(), nil); err != nil {
		t.Error(err)
	}

	t.Run("Authentication", func(t *testing.T) { testAuthentication(t, server) })
	t.Run("ApplyIsALaw", func(t *testing.T) { testApplyIsALaw(t, w) })
	t.Run("Drift", func(t *testing.T) { testDrift(t, w) })
	t.Run("Pruning", func(t *testing.T) { testPruning(t, w) })
	t.Run("Taints", func(t *testing.T) { testTaints(t, w) })
	t.Run("TaintsRace", func(t *testing.T) { testTaintsRace(t, w) })
	t.Run("Refused", func(t *testing.T) { testRefused(t, w) })
	t.Run("Scopes", func(t *testing.T) { testScopes(t, w) })
	t.Run("Definitions", func(t *testing.T) { testDefinitions(t, w) })
	t.Run("Calico", func(t *testing.T) { testCalico(t, w) })
	t.Run("Objects", func(t *testing.T) { testObjects(t, w) })
	t.Run("Records", func(t *testing.T) { testRecords(t, w) })
	t.Run("Remove", func(t *testing.T) { testRemove(t, w) })
	t.Run("Conditions", func(t *testing.T) { testConditions(t, w) })
	t.Run("Verify", func(t *testing.T) { testVerify(t, w) })
	t.Run("Try", func(t *testing.T) { testTry(t, w) })
	t.Run("Restart", func(t *testing.T) { testRestart(t, w) })
}

// testAuthentication waits with credentials that are wrong in one way each. Every wait must go on
// to its deadline, because such errors pass while a cluster comes up, and then name the cause.
func testAuthentication(t *testing.T, server *apitest.Server) {
	pki := server.PKI
	stranger := apitest.NewPKI(t)
	admin := pki.Issue(t, certs.KubernetesCA, certs.KubeconfigRequests(certs.ControlPlane{})[0].Request)
	super := pki.SuperAdmin(t)
	ca := pki.Bundle.Kubernetes.CertPEM()
	otherName := strings.Replace(server.URL, "127.0.0.1", "127.0.0.2", 1)
	tests := []struct {
		name   string
		config kube.Config
		check  func(error) bool
		want   string
	}{
		{"certificate of another authority", kube.Config{Server: server.URL, CAPEM: ca, Client: stranger.SuperAdmin(t)},
			apierrors.IsUnauthorized, "unauthorized: the API server does not accept our client certificate"},
		{"admin before its binding exists", kube.Config{Server: server.URL, CAPEM: ca, Client: admin}, apierrors.IsForbidden,
			`forbidden: nodes "cp1" is forbidden: User "kubernetes-admin"`},
		{"no certificate", kube.Config{Server: server.URL, CAPEM: ca}, apierrors.IsForbidden, `User "system:anonymous"`},
		{"other authority trusted", kube.Config{Server: server.URL, CAPEM: stranger.Bundle.Kubernetes.CertPEM(), Client: super},
			nil, "the server's certificate is not signed by the cluster's authority"},
		{"other address", kube.Config{Server: otherName, CAPEM: ca, Client: super, Dial: redirect(server)},
			nil, "the server's certificate is for another name: x509: certificate is valid for 10.96.0.1, 127.0.0.1, not 127.0.0.2"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			client, err := kube.New(test.config)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			begun := time.Now()
			err = kube.Wait(within(t, 400*time.Millisecond), client.NodeRegistered("cp1"), nil)
			var late *kube.WaitError
			if !errors.As(err, &late) || !errors.Is(err, context.DeadlineExceeded) || late.Condition != "node cp1 to register" {
				t.Fatalf("error is %v", err)
			}
			if time.Since(begun) < 350*time.Millisecond {
				t.Error("the wait gave up early")
			}
			if !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "waited 400ms for node cp1 to register: ") {
				t.Errorf("error is %v, want %q", err, test.want)
			}
			if test.check != nil && !test.check(err) {
				t.Errorf("the cause is lost: %v", err)
			}
		})
	}
}

// testRestart kills the API server under a wait and starts it again.
func testRestart(t *testing.T, w *world) {
	server, client := w.server, w.client
	node := "restarted"
	var mu sync.Mutex
	var heard []string
	seen := make(chan string, 100)
	done := make(chan error, 1)
	go func() {
		done <- kube.Wait(within(t, 2*time.Minute), client.NodeRegistered(node), func(detail string) {
			mu.Lock()
			defer mu.Unlock()
			heard = append(heard, detail)
			seen <- detail
		})
	}()
	await(t, seen, "it does not exist")
	server.Stop()
	await(t, seen, "connection refused")
	server.Start()
	await(t, seen, "it does not exist")
	apply(t, client, decode(t, "{apiVersion: v1, kind: Node, metadata: {name: "+node+"}}"))
	if err := <-done; err != nil {
		t.Error(err)
	}
	// The same client plans and applies as before.
	assertActions(t, diff(t, client, decode(t, everything)), kube.Keep)
}

// await reads details until one is as wanted.
func await(t *testing.T, seen <-chan string, want string) {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		select {
		case got := <-seen:
			if got == want {
				return
			}
		case <-deadline:
			t.Fatalf("never heard %q", want)
		}
	}
}
