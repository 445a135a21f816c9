// Package apitest runs a real etcd and a real kube-apiserver on loopback for tests, with
// certificates from package certs. Nothing behaves like an API server but an API server.
package apitest

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kubewright/certs"
)

// Binary returns the path of a binary, or skips the test with the reason. It looks in the directory
// named by KUBEWRIGHT_TEST_BIN, then among the lab's artifacts.
func Binary(t testing.TB, name string) string {
	t.Helper()
	if testing.Short() {
		t.Skipf("starting %s takes too long for -short", name)
	}
	var patterns []string
	if dir := os.Getenv("KUBEWRIGHT_TEST_BIN"); dir != "" {
		patterns = append(patterns, filepath.Join(dir, name))
	}
	cache := os.Getenv("KUBEWRIGHT_CACHE")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			t.Skipf("no home directory to look for %s in: %v", name, err)
		}
		cache = filepath.Join(home, ".cache", "kubewright")
	}
	patterns = append(patterns, filepath.Join(cache, "artifacts", "build", "*", name))
	for _, pattern := range patterns {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatalf("look for %s: %v", pattern, err)
		}
		if len(found) > 0 {
			return found[len(found)-1] // the highest version
		}
	}
	t.Skipf("%s not found in %s; build it with `go run ./e2e/artifacts build` or set KUBEWRIGHT_TEST_BIN",
		name, strings.Join(patterns, ", "))
	return ""
}

// Env returns the environment in which the test's certificates are issued.
func Env() certs.Env { return certs.Env{Now: time.Now(), Rand: rand.Reader} }

// Process is a program that runs until the test ends, or until Stop.
type Process struct {
	t    testing.TB
	path string
	args []string
	log  *bytes.Buffer
	stop context.CancelFunc
	done chan struct{}
}

// StartProcess starts a program. When the test fails, the end of its output is logged.
func StartProcess(t testing.TB, path string, args ...string) *Process {
	t.Helper()
	p := &Process{t: t, path: path, args: args}
	p.Start()
	t.Cleanup(func() {
		p.Stop()
		if t.Failed() {
			t.Logf("%s:\n%s", filepath.Base(path), tail(p.log.Bytes(), 4000))
		}
	})
	return p
}

// Start starts the program again after Stop.
func (p *Process) Start() {
	p.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	command := exec.CommandContext(ctx, p.path, p.args...)
	p.log = &bytes.Buffer{}
	command.Stdout, command.Stderr = p.log, p.log
	if err := command.Start(); err != nil {
		stop()
		p.t.Fatalf("start %s: %v", p.path, err)
	}
	done := make(chan struct{})
	p.stop, p.done = stop, done
	go func() {
		defer close(done)
		_ = command.Wait()
	}()
}

// Stop kills the program and waits for its end.
func (p *Process) Stop() {
	p.stop()
	<-p.done
}

func tail(data []byte, n int) []byte {
	if len(data) <= n {
		return data
	}
	return data[len(data)-n:]
}

// FreePort returns a loopback port that nothing listens on at the moment.
func FreePort(t testing.TB) int {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	addr, ok := listener.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatalf("%s is no TCP address", listener.Addr())
	}
	return addr.Port
}

// PKI is the certificates of a control plane on loopback, in files as on a host.
type PKI struct {
	// Dir is laid out like /etc/kubernetes/pki.
	Dir    string
	Bundle *certs.Bundle
	pairs  map[string]certs.Pair
}

// NewPKI issues everything that one control-plane host has.
func NewPKI(t testing.TB) *PKI {
	t.Helper()
	bundle, err := certs.GenerateBundle(certs.ECDSAP256, Env())
	if err != nil {
		t.Fatal(err)
	}
	pki := &PKI{Dir: t.TempDir(), Bundle: bundle, pairs: map[string]certs.Pair{}}
	for _, file := range bundle.Files() {
		pki.write(t, file.Name, file.Content.Reveal())
	}
	requests, err := certs.ControlPlaneRequests(certs.ControlPlane{
		NodeName: "cp1", NodeIP: Loopback(), DNSDomain: "cluster.local", APIServiceIP: netip.MustParseAddr("10.96.0.1"),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, named := range requests {
		pair := pki.Issue(t, named.Authority, named.Request)
		pki.pairs[named.Name] = pair
		pki.write(t, named.Name+".crt", pair.CertPEM)
		pki.write(t, named.Name+".key", pair.KeyPEM.Reveal())
	}
	return pki
}

// Loopback is the address on which everything listens.
func Loopback() netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, 1}) }

// Issue issues one more certificate.
func (p *PKI) Issue(t testing.TB, authority certs.AuthorityName, request certs.Request) certs.Pair {
	t.Helper()
	pair, err := p.Bundle.Authority(authority).Issue(request, Env())
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// Pair returns one of the certificates of certs.ControlPlaneRequests.
func (p *PKI) Pair(name string) certs.Pair { return p.pairs[name] }

// SuperAdmin issues a client certificate with all rights.
func (p *PKI) SuperAdmin(t testing.TB) certs.Pair {
	t.Helper()
	return p.Issue(t, certs.KubernetesCA, certs.SuperAdminRequest(time.Hour))
}

func (p *PKI) path(name string) string { return filepath.Join(p.Dir, filepath.FromSlash(name)) }

func (p *PKI) write(t testing.TB, name string, content []byte) {
	t.Helper()
	path := p.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Etcd is an etcd member on loopback.
type Etcd struct {
	*Process
	// Endpoint is its client URL, PeerURL the one for other members.
	Endpoint, PeerURL string
}

// StartEtcd starts a single member called cp1; it does not wait until it serves.
func StartEtcd(t testing.TB, pki *PKI) *Etcd {
	t.Helper()
	binary := Binary(t, "etcd")
	etcd := &Etcd{
		Endpoint: fmt.Sprintf("https://127.0.0.1:%d", FreePort(t)),
		PeerURL:  fmt.Sprintf("https://127.0.0.1:%d", FreePort(t)),
	}
	etcd.Process = StartProcess(t, binary,
		"--name=cp1", "--data-dir="+t.TempDir(), "--log-level=warn", "--unsafe-no-fsync",
		"--listen-client-urls="+etcd.Endpoint, "--advertise-client-urls="+etcd.Endpoint,
		"--listen-peer-urls="+etcd.PeerURL, "--initial-advertise-peer-urls="+etcd.PeerURL,
		"--initial-cluster=cp1="+etcd.PeerURL,
		"--client-cert-auth", "--trusted-ca-file="+pki.path("etcd/ca.crt"),
		"--cert-file="+pki.path("etcd/server.crt"), "--key-file="+pki.path("etcd/server.key"),
		"--peer-client-cert-auth", "--peer-trusted-ca-file="+pki.path("etcd/ca.crt"),
		"--peer-cert-file="+pki.path("etcd/peer.crt"), "--peer-key-file="+pki.path("etcd/peer.key"))
	return etcd
}

// Server is an API server on loopback.
type Server struct {
	*Process
	PKI  *PKI
	Etcd *Etcd
	URL  string
}

// StartServer starts etcd and an API server with the flags of a control plane. It does not wait
// until they serve: waiting is what the tests are about.
func StartServer(t testing.TB) *Server {
	t.Helper()
	binary := Binary(t, "kube-apiserver")
	pki := NewPKI(t)
	server := &Server{PKI: pki, Etcd: StartEtcd(t, pki)}
	port := FreePort(t)
	server.URL = fmt.Sprintf("https://127.0.0.1:%d", port)
	server.Process = StartProcess(t, binary,
		"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", port), "--endpoint-reconciler-type=none", "--allow-privileged",
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		"--service-cluster-ip-range=10.96.0.0/16", "--enable-bootstrap-token-auth",
		"--client-ca-file="+pki.path("ca.crt"),
		"--tls-cert-file="+pki.path("apiserver.crt"), "--tls-private-key-file="+pki.path("apiserver.key"),
		"--etcd-servers="+server.Etcd.Endpoint, "--etcd-cafile="+pki.path("etcd/ca.crt"),
		"--etcd-certfile="+pki.path("apiserver-etcd-client.crt"), "--etcd-keyfile="+pki.path("apiserver-etcd-client.key"),
		"--kubelet-client-certificate="+pki.path("apiserver-kubelet-client.crt"),
		"--kubelet-client-key="+pki.path("apiserver-kubelet-client.key"),
		"--kubelet-certificate-authority="+pki.path("ca.crt"),
		"--proxy-client-cert-file="+pki.path("front-proxy-client.crt"),
		"--proxy-client-key-file="+pki.path("front-proxy-client.key"),
		"--requestheader-client-ca-file="+pki.path("front-proxy-ca.crt"),
		"--requestheader-allowed-names=front-proxy-client",
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file="+pki.path("sa.pub"), "--service-account-signing-key-file="+pki.path("sa.key"))
	return server
}
