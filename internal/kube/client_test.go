package kube_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kubewright/certs"
	"kubewright/internal/kube"
	"kubewright/internal/kube/apitest"
)

func TestNewErrors(t *testing.T) {
	pki := apitest.NewPKI(t)
	good := kube.Config{Server: "https://10.0.0.1:6443", CAPEM: pki.Bundle.Kubernetes.CertPEM(), Client: pki.SuperAdmin(t)}
	other := pki.SuperAdmin(t)
	tests := []struct {
		name   string
		change func(*kube.Config)
		want   string
	}{
		{"no TLS", func(c *kube.Config) { c.Server = "http://10.0.0.1:6443" }, "of the form https://host:port"},
		{"no scheme", func(c *kube.Config) { c.Server = "10.0.0.1:6443" }, "of the form https://host:port"},
		{"no host", func(c *kube.Config) { c.Server = "https://" }, "of the form https://host:port"},
		{"no authority", func(c *kube.Config) { c.CAPEM = nil }, "no certificate authority given"},
		{"authority garbage", func(c *kube.Config) { c.CAPEM = []byte("x") }, "no certificate authority given"},
		{"key of another", func(c *kube.Config) { c.Client.KeyPEM = other.KeyPEM }, "client certificate: "},
		{"no key", func(c *kube.Config) { c.Client.KeyPEM = nil }, "client certificate: "},
	}
	if _, err := kube.New(good); err != nil {
		t.Fatal(err)
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			config := good
			test.change(&config)
			if _, err := kube.New(config); err == nil || !strings.Contains(err.Error(), test.want) ||
				!strings.Contains(err.Error(), "client for "+config.Server) {
				t.Errorf("error is %v, want %q", err, test.want)
			}
		})
	}
}

// fakeAPI is a TLS server with the certificate of an API server.
func fakeAPI(t *testing.T, pki *apitest.PKI, config *tls.Config, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	pair := pki.Pair(certs.APIServer)
	certificate, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pki.Bundle.Kubernetes.CertPEM())
	config.Certificates, config.ClientCAs = []tls.Certificate{certificate}, roots
	server := httptest.NewUnstartedServer(handler)
	server.TLS, server.EnableHTTP2 = config, true
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

// TestTransport: everything goes through the dialer, over one HTTP/2 connection, with our client
// certificate, and whatever the environment says about proxies.
func TestTransport(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	t.Setenv("KUBECONFIG", "/nonexistent")
	pki := apitest.NewPKI(t)
	var arrived sync.WaitGroup
	arrived.Add(8)
	var protocol, user atomic.Value
	server := fakeAPI(t, pki, &tls.Config{MinVersion: tls.VersionTLS12, ClientAuth: tls.RequireAndVerifyClientCert},
		func(_ http.ResponseWriter, r *http.Request) {
			protocol.Store(r.Proto)
			user.Store(r.TLS.PeerCertificates[0].Subject.CommonName)
			arrived.Done()
			arrived.Wait() // all requests are under way at once
		})
	var dials atomic.Int32
	client, err := kube.New(kube.Config{
		Server: "https://127.0.0.1:6443", CAPEM: pki.Bundle.Kubernetes.CertPEM(), Client: pki.SuperAdmin(t),
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr != "127.0.0.1:6443" {
				t.Errorf("dialled %s", addr)
			}
			dials.Add(1)
			return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if done, detail, err := client.APIHealthy().Check(within(t, 10*time.Second)); !done {
				t.Errorf("%s %v", detail, err)
			}
		})
	}
	all.Wait()
	if protocol.Load() != "HTTP/2.0" || user.Load() != "kubernetes-super-admin" {
		t.Errorf("protocol %v, user %v", protocol.Load(), user.Load())
	}
	if n := dials.Load(); n != 1 {
		t.Errorf("%d connections for 8 requests at once", n)
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	pki := apitest.NewPKI(t)
	server := fakeAPI(t, pki, &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}, func(http.ResponseWriter, *http.Request) {})
	client, err := kube.New(kube.Config{Server: server.URL, CAPEM: pki.Bundle.Kubernetes.CertPEM()})
	if err != nil {
		t.Fatal(err)
	}
	if done, _, err := client.APIHealthy().Check(within(t, 5*time.Second)); done || err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("done %v, error %v", done, err)
	}
}

// TestHealthDetail: an unhealthy API server says which of its checks fail.
func TestHealthDetail(t *testing.T) {
	pki := apitest.NewPKI(t)
	var requests atomic.Int32
	server := fakeAPI(t, pki, &tls.Config{MinVersion: tls.VersionTLS12}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/livez" || requests.Add(1) > 3 {
			return
		}
		http.Error(w, "[+]ping ok\n[-]etcd failed: reason withheld\n[-]poststarthook/rbac/bootstrap-roles failed: reason withheld\nlivez check failed", http.StatusInternalServerError)
	})
	client, err := kube.New(kube.Config{Server: server.URL, CAPEM: pki.Bundle.Kubernetes.CertPEM()})
	if err != nil {
		t.Fatal(err)
	}
	var heard []string
	if err := kube.Wait(within(t, 10*time.Second), client.APIHealthy(), func(detail string) { heard = append(heard, detail) }); err != nil {
		t.Fatal(err)
	}
	if len(heard) != 1 || heard[0] != "etcd, poststarthook/rbac/bootstrap-roles" {
		t.Errorf("heard %q", heard)
	}
}

// TestAPIOpen: an administrator does not wait for the default roles of the API server, but for the namespaces that
// it makes.
func TestAPIOpen(t *testing.T) {
	const notReady = "[+]ping ok\n[-]poststarthook/rbac/bootstrap-roles failed: reason withheld\n"
	pki := apitest.NewPKI(t)
	for name, test := range map[string]struct {
		readyz, missing, detail string
		met                     bool
	}{
		"ready":                   {met: true},
		"default roles are left":  {readyz: notReady, met: true},
		"and something else":      {readyz: notReady + "[-]etcd failed: reason withheld\n", detail: "poststarthook/rbac/bootstrap-roles, etcd"},
		"something else":          {readyz: "[-]etcd failed: reason withheld\n", detail: "etcd"},
		"no kube-system yet":      {readyz: notReady, missing: "/api/v1/namespaces/kube-system", detail: "namespace kube-system"},
		"no kube-public yet":      {readyz: notReady, missing: "/api/v1/namespaces/kube-public", detail: "namespace kube-public"},
		"not ready without a why": {readyz: "no\n"},
	} {
		t.Run(name, func(t *testing.T) {
			server := fakeAPI(t, pki, &tls.Config{MinVersion: tls.VersionTLS12}, func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.URL.Path == "/readyz" && test.readyz != "":
					http.Error(w, test.readyz, http.StatusInternalServerError)
				case r.URL.Path == test.missing:
					http.NotFound(w, r)
				}
			})
			client, err := kube.New(kube.Config{Server: server.URL, CAPEM: pki.Bundle.Kubernetes.CertPEM()})
			if err != nil {
				t.Fatal(err)
			}
			met, detail, err := client.APIOpen().Check(within(t, 5*time.Second))
			if met != test.met || detail != test.detail || (err == nil) != test.met {
				t.Errorf("met %t, detail %q, error %v; want %t and %q", met, detail, err, test.met, test.detail)
			}
		})
	}
}

// TestServerThatHangs: one connection that never answers must not use up the whole wait, and must
// not outlive it.
func TestServerThatHangs(t *testing.T) {
	pki := apitest.NewPKI(t)
	client, err := kube.New(kube.Config{
		Server: "https://127.0.0.1:6443", CAPEM: pki.Bundle.Kubernetes.CertPEM(),
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() },
	})
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	err = kube.Wait(within(t, 200*time.Millisecond), client.NodeReady("a"), nil)
	if err == nil || time.Since(begun) > 2*time.Second {
		t.Errorf("error %v after %s", err, time.Since(begun))
	}
	if _, err := client.Diff(within(t, 200*time.Millisecond), decode(t, "{apiVersion: v1, kind: Node, metadata: {name: a}}")); err == nil ||
		!strings.Contains(err.Error(), "compare Node a: ") {
		t.Errorf("error is %v", err)
	}
}

// TestDialThatHangs: the connection that all requests share is given up and tried again.
func TestDialThatHangs(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for the time limit of a dial")
	}
	t.Parallel()
	pki := apitest.NewPKI(t)
	server := fakeAPI(t, pki, &tls.Config{MinVersion: tls.VersionTLS12}, func(http.ResponseWriter, *http.Request) {})
	var dials atomic.Int32
	client, err := kube.New(kube.Config{
		Server: server.URL, CAPEM: pki.Bundle.Kubernetes.CertPEM(),
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if dials.Add(1) == 1 {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if err := kube.Wait(within(t, 30*time.Second), client.APIHealthy(), nil); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took > 15*time.Second {
		t.Errorf("it took %s", took)
	}
}
