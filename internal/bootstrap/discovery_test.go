package bootstrap_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/cluster-bootstrap/token/jws"

	"kubewright/certs"
	"kubewright/internal/bootstrap"
	"kubewright/internal/fault"
	"kubewright/templates"

	"sigs.k8s.io/yaml"
)

// server is an API server, as far as it is asked by machines that join.
type server struct {
	endpoint  string
	authority *certs.Authority
	// info is what it says, which tests spoil; requests counts how often.
	info     corev1.ConfigMap
	status   int
	requests atomic.Int32
	// second is what it says from the second time on, if not nil.
	second *corev1.ConfigMap
}

func newServer(t *testing.T, authority *certs.Authority, name string) *server {
	t.Helper()
	s := &server{authority: authority, status: http.StatusOK}
	request := certs.Request{CommonName: "kube-apiserver", Server: true, Algorithm: "ECDSA-P256"}
	if ip, err := netip.ParseAddr(name); err == nil {
		request.IPs = []netip.Addr{ip}
	} else {
		request.DNSNames = []string{name}
	}
	issued, err := authority.Issue(request, env())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(issued.CertPEM, issued.KeyPEM.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewUnstartedServer(s)
	web.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	web.StartTLS()
	t.Cleanup(web.Close)
	s.endpoint = web.Listener.Addr().String()
	s.info = clusterInfo(t, authority.CertPEM(), "https://cluster.test:6443")
	return s
}

// clusterInfo is the ConfigMap that phases make, with the signature that the controller manager adds.
func clusterInfo(t *testing.T, caPEM []byte, address string) corev1.ConfigMap {
	t.Helper()
	manifest, err := templates.ClusterInfo(templates.ClusterInfoData{Server: address, CAPEM: caPEM})
	if err != nil {
		t.Fatal(err)
	}
	var info corev1.ConfigMap
	if err := yaml.Unmarshal(manifest, &info); err != nil {
		t.Fatal(err)
	}
	sign(t, &info)
	return info
}

func sign(t *testing.T, info *corev1.ConfigMap) {
	t.Helper()
	signature, err := jws.ComputeDetachedSignature(info.Data["kubeconfig"], "abcdef", "0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	info.Data["jws-kubeconfig-abcdef"] = signature
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	info := s.info
	if s.requests.Add(1) > 1 && s.second != nil {
		info = *s.second
	}
	if r.URL.Path != "/api/v1/namespaces/kube-public/configmaps/cluster-info" {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.WriteHeader(s.status)
	_ = json.NewEncoder(w).Encode(info)
}

func (s *server) discovery(t *testing.T) bootstrap.Discovery {
	return bootstrap.Discovery{Endpoint: s.endpoint, Token: token(t, someToken), Pins: []string{s.authority.PublicKeyHash()}}
}

func TestDiscover(t *testing.T) {
	s := newServer(t, bundle(t).Kubernetes, "127.0.0.1")
	d := s.discovery(t)
	d.Pins = append([]string{"sha256:" + strings.Repeat("0", 64)}, strings.ToUpper(d.Pins[0][:0])+d.Pins[0])
	info, err := d.Discover(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if info.Server != "https://cluster.test:6443" || !bytes.Equal(info.CAPEM, s.authority.CertPEM()) {
		t.Errorf("found %+v", info)
	}
	if n := s.requests.Load(); n != 2 {
		t.Errorf("it was asked %d times", n)
	}
}

// While an authority is replaced there are two, both of which are given.
func TestDiscoverTwoAuthorities(t *testing.T) {
	next := bundle(t).Kubernetes
	s := newServer(t, bundle(t).Kubernetes, "127.0.0.1")
	s.info = clusterInfo(t, slices.Concat(s.authority.CertPEM(), next.CertPEM()), "https://cluster.test:6443")
	d := s.discovery(t)
	d.Pins = append(d.Pins, next.PublicKeyHash())
	if _, err := d.Discover(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestDiscoverRefuses(t *testing.T) {
	authority, other := bundle(t).Kubernetes, bundle(t).Kubernetes
	for name, test := range map[string]struct {
		certificate string // the name in the server's
		spoil       func(*server, *bootstrap.Discovery)
		kind        fault.Kind
		says        string
	}{
		"no hash": {
			spoil: func(_ *server, d *bootstrap.Discovery) { d.Pins = nil }, kind: fault.BadInput, says: "without the hash",
		},
		"a hash that is none": {
			spoil: func(_ *server, d *bootstrap.Discovery) { d.Pins = []string{"sha256:12"} }, kind: fault.BadInput, says: "is no hash of a public key",
		},
		"another authority": {
			spoil: func(_ *server, d *bootstrap.Discovery) { d.Pins = []string{other.PublicKeyHash()} },
			kind:  fault.Preflight, says: authority.PublicKeyHash() + ", which is none that was given",
		},
		"an authority beside the one that is known": {
			spoil: func(s *server, _ *bootstrap.Discovery) {
				s.info = clusterInfo(t, slices.Concat(authority.CertPEM(), other.CertPEM()), "https://cluster.test:6443")
			}, kind: fault.Preflight, says: "an authority of its cluster is " + other.PublicKeyHash() + ", which is none that was given",
		},
		"another token": {
			spoil: func(_ *server, d *bootstrap.Discovery) { d.Token = token(t, "zzzzzz.0123456789abcdef") },
			kind:  fault.BadInput, says: "knows no token zzzzzz",
		},
		"a wrong secret": {
			spoil: func(_ *server, d *bootstrap.Discovery) { d.Token = token(t, "abcdef.ffffffffffffffff") },
			kind:  fault.BadInput, says: "not signed with this token",
		},
		"changed on the way": {
			spoil: func(s *server, _ *bootstrap.Discovery) { s.info.Data["kubeconfig"] += "\n" }, kind: fault.BadInput, says: "not signed with this token",
		},
		"another answer the second time": {
			spoil: func(s *server, _ *bootstrap.Discovery) {
				second := clusterInfo(t, authority.CertPEM(), "https://elsewhere.test:6443")
				s.second = &second
			}, kind: fault.Preflight, says: "something else than was signed",
		},
		"a server of somebody else": {
			spoil: func(s *server, d *bootstrap.Discovery) {
				s.info = clusterInfo(t, other.CertPEM(), "https://cluster.test:6443")
				d.Pins = []string{other.PublicKeyHash()}
			}, kind: fault.Preflight, says: "certificate signed by unknown authority",
		},
		"a name that is not in the certificate": {
			certificate: "api.test", spoil: func(*server, *bootstrap.Discovery) {}, kind: fault.Preflight, says: "127.0.0.1",
		},
		"no cluster-info": {
			spoil: func(s *server, _ *bootstrap.Discovery) { s.status = http.StatusNotFound }, kind: fault.Unhealthy, says: "404 Not Found",
		},
		"no kubeconfig": {
			spoil: func(s *server, _ *bootstrap.Discovery) { s.info.Data["kubeconfig"] = "\t"; sign(t, &s.info) }, kind: fault.Unhealthy, says: "no kubeconfig",
		},
		"no cluster": {
			spoil: func(s *server, _ *bootstrap.Discovery) { s.info.Data["kubeconfig"] = "{}"; sign(t, &s.info) }, kind: fault.Unhealthy, says: "has 0 clusters",
		},
		"no URL": {
			spoil: func(s *server, _ *bootstrap.Discovery) {
				s.info.Data["kubeconfig"] = strings.ReplaceAll(s.info.Data["kubeconfig"], "https://", "http://")
				sign(t, &s.info)
			}, kind: fault.Unhealthy, says: "is no URL of the form",
		},
		"no authority": {
			spoil: func(s *server, _ *bootstrap.Discovery) {
				s.info.Data["kubeconfig"] = `{"clusters": [{"cluster": {"server": "https://cluster.test:6443"}}]}`
				sign(t, &s.info)
			}, kind: fault.Unhealthy, says: "no PEM encoded certificate",
		},
		"nobody there": {
			spoil: func(_ *server, d *bootstrap.Discovery) { d.Endpoint = closedPort(t) }, kind: fault.Unreachable, says: "no API server answers",
		},
		"no endpoint": {
			spoil: func(_ *server, d *bootstrap.Discovery) { d.Endpoint = "a b" }, kind: fault.BadInput, says: "no endpoint",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if test.certificate == "" {
				test.certificate = "127.0.0.1"
			}
			s := newServer(t, authority, test.certificate)
			d := s.discovery(t)
			test.spoil(s, &d)
			_, err := d.Discover(t.Context())
			if err == nil || fault.KindOf(err) != test.kind || !strings.Contains(err.Error(), test.says) {
				t.Fatalf("%v (%v), want %v: %s", err, fault.KindOf(err), test.kind, test.says)
			}
			if strings.Contains(err.Error(), "0123456789") {
				t.Errorf("it gives the token away: %v", err)
			}
		})
	}
}

// An endpoint that is no API server at all, and one that talks too long.
func TestDiscoverOtherServers(t *testing.T) {
	web := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }))
	defer web.Close()
	d := bootstrap.Discovery{Endpoint: web.Listener.Addr().String(), Token: token(t, someToken), Pins: []string{"sha256:" + strings.Repeat("a", 64)}}
	if _, err := d.Discover(t.Context()); err == nil || !strings.Contains(err.Error(), "this is no API server") {
		t.Errorf("%v", err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Discover(cancelled); err == nil {
		t.Error("a run that was cancelled went on")
	}
}

func closedPort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

func TestJoinCommand(t *testing.T) {
	d := bootstrap.Discovery{Endpoint: "10.0.0.1:6443", Token: token(t, someToken), Pins: []string{"sha256:aa"}}
	worker := "kubewright join 10.0.0.1:6443 --token " + someToken + " --discovery-token-ca-cert-hash sha256:aa"
	if got := d.JoinCommand(""); got != worker {
		t.Errorf("a worker joins with %s", got)
	}
	if got := d.JoinCommand("00ff"); got != worker+" --control-plane --certificate-key 00ff" {
		t.Errorf("a control plane joins with %s", got)
	}
}
