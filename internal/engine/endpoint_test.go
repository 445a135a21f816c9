package engine_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"kubewright/certs"
	"kubewright/cluster"
	"kubewright/internal/check"
	"kubewright/internal/engine"
	"kubewright/internal/fault"
	"kubewright/internal/host"
	"kubewright/inventory"
)

// wiredConn is a connection to a host that reaches servers of the test at addresses.
type wiredConn struct {
	*conn
	wires map[string]string // an address to that of a listener
}

// unresolved is what a name leads to that has no address.
const unresolved = "unresolved"

func (c *wiredConn) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	switch to := c.wires[addr]; to {
	case "":
		return c.conn.Dial(ctx, network, addr)
	case unresolved:
		return nil, &host.DialError{Host: c.name, Address: addr, Err: &net.DNSError{Err: "Name or service not known", Name: addr}}
	default:
		return (&net.Dialer{}).DialContext(ctx, network, to)
	}
}

// foreignAPI is an API server of another cluster, and the fingerprint of that one's authority. A shy one
// tells nobody which that is.
func foreignAPI(t *testing.T, shy bool) (address, authority string) {
	t.Helper()
	env := certs.Env{Now: time.Now(), Rand: rand.Reader}
	bundle, err := certs.GenerateBundle(certs.ECDSAP256, env)
	if err != nil {
		t.Fatal(err)
	}
	issued, err := bundle.Kubernetes.Issue(certs.Request{CommonName: "kube-apiserver", DNSNames: []string{"kubernetes"}, Server: true}, env)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(issued.CertPEM, issued.KeyPEM.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if shy || r.URL.Path != "/api/v1/namespaces/kube-public/configmaps/cluster-info" {
			refuse(w, http.StatusForbidden, "Forbidden", "configmaps", "cluster-info")
			return
		}
		kubeconfig := "clusters: [{cluster: {certificate-authority-data: " + base64.StdEncoding.EncodeToString(bundle.Kubernetes.CertPEM()) + "}}]"
		answerJSON(w, http.StatusOK, map[string]any{"data": map[string]any{"kubeconfig": kubeconfig}})
	}))
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String(), bundle.Kubernetes.Fingerprint()
}

// plain is a server that does not speak TLS.
func plain(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// closing takes connections and ends them, as a load balancer does that has nobody behind it.
func closing(t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	return listener.Addr().String()
}

// Before there is a cluster, its endpoint must not be that of somebody else, and its virtual IP must be
// free. That nobody answers yet is as it should be.
func TestEndpointBeforeTheCluster(t *testing.T) {
	theirs, authority := foreignAPI(t, false)
	shy, _ := foreignAPI(t, true)
	const external, vip = "api.example.com:443", "10.111.0.5"
	for name, tc := range map[string]struct {
		wires map[string]string
		says  []string // nothing: it is not refused
	}{
		"nobody":                         {nil, nil},
		"a load balancer without a back": {map[string]string{external: closing(t)}, nil},
		"a name without an address":      {map[string]string{external: unresolved}, []string{"cp1, w1: endpoint: the endpoint api.example.com:443 has no address here: ", "Name or service not known"}},
		"another cluster":                {map[string]string{external: theirs}, []string{"an API server of another cluster, whose authority is " + authority}},
		"another server":                 {map[string]string{external: shy}, []string{"a server with the certificate sha256:", `issued by "kubernetes"`}},
		"no TLS":                         {map[string]string{external: plain(t)}, []string{"a server that does not speak TLS"}},
		"somebody at the virtual IP":     {map[string]string{vip + ":22": plain(t)}, []string{"cp1: endpoint: the virtual IP 10.111.0.5 is taken", "at 10.111.0.5:22"}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, 2)
			l.cluster.IgnoreChecks = slices.DeleteFunc(check.Names(), func(n string) bool { return n == check.Endpoint })
			if strings.Contains(name, "virtual IP") {
				l.cluster.VIP = cluster.VIP{Address: netip.MustParseAddr(vip), RouterID: 51}
			}
			l.options = func(o *engine.Options) {
				o.Dial = func(ctx context.Context, h inventory.Host) (host.Conn, error) {
					if _, err := l.dial(ctx, h); err != nil {
						return nil, err
					}
					return &wiredConn{conn: l.conn(h.Name), wires: tc.wires}, nil
				}
			}
			if err := l.apply(); tc.says != nil {
				requireFault(t, err, fault.Preflight, tc.says...)
			} else if err != nil {
				t.Error(err)
			}
			l.cluster.IgnoreChecks = check.Names()
			if err := l.apply(); err != nil {
				t.Errorf("although the check is ignored: %v", err)
			}
		})
	}
}

// A cluster that runs gets a load balancer of the user's: it has to pass connections on before anybody is
// sent there, and its name comes into the certificates first.
func TestEndpointOfACluster(t *testing.T) {
	l := newWayLab(t, 3)
	l.steps = nil
	l.cluster.IgnoreChecks = slices.DeleteFunc(check.Names(), func(n string) bool { return n == check.Endpoint })
	c := l.cluster
	c.LocalBalancer, c.SharedEndpoint = false, true
	c.Endpoint = cluster.Endpoint{Host: "lb.example.com", Port: 6443}
	c.NodeEndpoint = c.Endpoint
	requireFault(t, l.apply(), fault.Preflight, "the endpoint lb.example.com:6443 does not answer: connection refused")
	l.balanced = true
	p, err := l.plan()
	if err != nil || !slices.ContainsFunc(p.Checks, func(r check.Result) bool {
		return strings.Contains(r.Message, "get its name in their certificates yet")
	}) {
		t.Errorf("it is not said that the certificates lack the name: %v, %v", p.Checks, err)
	}
	l.mustApply()
	l.requireOrder(map[string]int{"+ named lb.example.com": 3, "+ goes to https://lb.example.com:6443": 4, "- haproxy": 4, "- named 127.0.0.1": 3},
		"+ named lb.example.com", "+ goes to https://lb.example.com:6443", "- haproxy|- named 127.0.0.1")
	if p, err := l.plan(); err != nil || slices.ContainsFunc(p.Checks, func(r check.Result) bool { return r.Check == check.Endpoint }) {
		t.Errorf("what is said of an endpoint that is well: %v, %v", fmt.Sprint(p.Checks), err)
	}
}
