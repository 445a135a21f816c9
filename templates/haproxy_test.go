package templates

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func haproxyData() HAProxyData {
	return HAProxyData{
		Port: 7443, HealthPort: 7444, CAPath: "/etc/kubernetes/pki/ca.crt",
		Servers: []HAProxyServer{
			{"cp2", addr("10.111.0.11"), 6443}, {"cp1", addr("10.111.0.10"), 6443}, {"cp3", addr("fd00::1"), 8443},
		},
	}
}

func TestHAProxyConfigIgnoresTheOrder(t *testing.T) {
	must := mustRender(t)
	d := haproxyData()
	want := must(HAProxyConfig(d))
	given := d.Servers[0]
	slices.Reverse(d.Servers)
	if got := must(HAProxyConfig(d)); !bytes.Equal(got, want) {
		t.Errorf("another order is another configuration:\n%s", got)
	}
	if d.Servers[2] != given {
		t.Error("the caller's servers were sorted")
	}
}

func TestHAProxyRefuses(t *testing.T) {
	for want, change := range map[string]func(*HAProxyData){
		"no API server":                    func(d *HAProxyData) { d.Servers = nil },
		"0 is not a port":                  func(d *HAProxyData) { d.Port = 0 },
		"that of the probes":               func(d *HAProxyData) { d.Port = d.HealthPort },
		"-1 is not a port":                 func(d *HAProxyData) { d.HealthPort = -1 },
		"65536 is not a port":              func(d *HAProxyData) { d.Servers[1].Port = 65536 },
		"the server cp2 is there twice":    func(d *HAProxyData) { d.Servers[1].Name = "cp2" },
		`"cp1 check" is not the name`:      func(d *HAProxyData) { d.Servers[0].Name = "cp1 check" },
		`"" is not the name of a node`:     func(d *HAProxyData) { d.Servers[0].Name = "" },
		"not an address a node":            func(d *HAProxyData) { d.Servers[0].Address = netip.Addr{} },
		"not an absolute path":             func(d *HAProxyData) { d.CAPath = "ca.crt" },
		"not an absolute path of plain ch": func(d *HAProxyData) { d.CAPath = "/ca.crt\n    server evil 10.0.0.1:1" },
	} {
		d := haproxyData()
		change(&d)
		if _, err := HAProxyConfig(d); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "haproxy: ") {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// haproxy is the binary, without which the test is skipped.
func haproxy(t *testing.T) string {
	t.Helper()
	binary, err := exec.LookPath("haproxy")
	if err != nil {
		t.Skip("no haproxy on this machine: the configuration is not read by the program it is for (apt-get install haproxy)")
	}
	return binary
}

func TestHAProxyReadsItsConfig(t *testing.T) {
	binary := haproxy(t)
	d := haproxyData()
	d.CAPath = foreignCA(t)
	file := writeTemp(t, "haproxy.cfg", mustRender(t)(HAProxyConfig(d)))
	// -dW makes an error of a warning, of which a newer version may have more.
	if out, err := exec.CommandContext(t.Context(), binary, "-c", "-dW", "-f", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func writeCA(t *testing.T, der []byte) string {
	t.Helper()
	return writeTemp(t, "ca.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func writeTemp(t *testing.T, name string, data []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// apiServer answers with its name, and its readiness as told. Frozen, it takes connections and
// says nothing, as a stopped process does.
type apiServer struct {
	*httptest.Server
	status atomic.Int32
	frozen atomic.Bool
}

func newAPIServer(t *testing.T, name string) *apiServer {
	t.Helper()
	a := &apiServer{}
	a.status.Store(http.StatusOK)
	stop := make(chan struct{})
	a.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/readyz":
			w.WriteHeader(int(a.status.Load()))
		case "/watch":
			_, _ = w.Write([]byte(name + "\n"))
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		default:
			_, _ = w.Write([]byte(name + "\n"))
		}
	}))
	a.TLS = &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		if a.frozen.Load() {
			<-stop
			return nil, errors.New("frozen")
		}
		return nil, nil //nolint:nilnil // that is how crypto/tls wants it said: as configured
	}}
	a.Config.ErrorLog = log.New(io.Discard, "", 0)
	a.StartTLS()
	t.Cleanup(func() {
		close(stop)
		a.CloseClientConnections()
		a.Close()
	})
	return a
}

// startHAProxy runs it in front of the servers, whose certificates ca must have signed, and returns
// the URL that it listens at and that of its own health.
func startHAProxy(t *testing.T, ca string, servers map[string]*apiServer) (url, health string) {
	t.Helper()
	binary := haproxy(t)
	d := HAProxyData{Port: freePort(t), HealthPort: freePort(t), CAPath: ca}
	for name, s := range servers {
		at := netip.MustParseAddrPort(s.Listener.Addr().String())
		d.Servers = append(d.Servers, HAProxyServer{name, at.Addr(), int(at.Port())})
	}
	var said strings.Builder
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, binary, "-db", "-f", writeTemp(t, "haproxy.cfg", mustRender(t)(HAProxyConfig(d))))
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("haproxy said:\n%s", said.String())
		}
	})
	return "https://127.0.0.1:" + strconv.Itoa(d.Port), "http://127.0.0.1:" + strconv.Itoa(d.HealthPort) + "/healthz"
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return int(netip.MustParseAddrPort(l.Addr().String()).Port())
}

// answers asks over a connection of its own, as every client of ours does; "" is no answer.
func answers(t *testing.T, server *httptest.Server, url string) string {
	t.Helper()
	transport, _ := server.Client().Transport.(*http.Transport)
	transport = transport.Clone()
	transport.DisableKeepAlives = true
	client := http.Client{Transport: transport, Timeout: 5 * time.Second}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	line, _ := bufio.NewReader(resp.Body).ReadString('\n')
	return strings.TrimSpace(line)
}

// eventually asks until the answers of four connections are, without repetition, those wanted.
func eventually(t *testing.T, within time.Duration, server *httptest.Server, url, want string) {
	t.Helper()
	deadline := time.After(within)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		var got []string
		for range 4 {
			got = append(got, answers(t, server, url))
		}
		slices.Sort(got)
		if strings.Join(slices.Compact(got), " ") == want {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("after %s the answers are %q, want %q", within, got, want)
		case <-tick.C:
		}
	}
}

// TestHAProxyLeavesServers: whatever is wrong with an API server, five seconds later no new
// connection goes there, the old ones are cut, and it is used again when it is well.
func TestHAProxyLeavesServers(t *testing.T) {
	for name, test := range map[string]struct{ ail, heal func(*apiServer) }{
		"not ready": {
			func(a *apiServer) { a.status.Store(http.StatusInternalServerError) },
			func(a *apiServer) { a.status.Store(http.StatusUnauthorized) },
		},
		"frozen": {
			func(a *apiServer) { a.frozen.Store(true) },
			nil, // its connections wait for the end of the test
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := newAPIServer(t, "a"), newAPIServer(t, "b")
			url, health := startHAProxy(t, writeCA(t, a.Certificate().Raw), map[string]*apiServer{"a": a, "b": b})
			eventually(t, 10*time.Second, a.Server, url, "a b")
			cut := watch(t, a, url)
			start := time.Now()
			test.ail(a)
			select {
			case <-cut:
			case <-time.After(5 * time.Second):
				t.Fatal("five seconds later the connection to it is still there")
			}
			t.Logf("out after %s", time.Since(start))
			eventually(t, time.Second, a.Server, url, "b")
			if got := answers(t, a.Server, health); got == "" {
				t.Error("HAProxy does not say that it works")
			}
			if test.heal != nil {
				test.heal(a)
				eventually(t, 5*time.Second, a.Server, url, "a b")
			}
		})
	}
}

// watch opens a connection to the server through HAProxy that ends only when it is cut.
func watch(t *testing.T, want *apiServer, url string) <-chan struct{} {
	t.Helper()
	transport, _ := want.Client().Transport.(*http.Transport)
	for range 20 {
		transport := transport.Clone() // for a connection of its own
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/watch", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := (&http.Client{Transport: transport}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		lines := bufio.NewReader(resp.Body)
		if line, _ := lines.ReadString('\n'); line != "a\n" {
			continue
		}
		cut := make(chan struct{})
		go func() {
			_, _ = lines.ReadString('\n')
			close(cut)
		}()
		return cut
	}
	t.Fatal("twenty connections, and none to a")
	return nil
}

// TestHAProxyTrustsTheClusterOnly: who answers at the address of an API server without a
// certificate of the cluster gets no connection.
func TestHAProxyTrustsTheClusterOnly(t *testing.T) {
	a := newAPIServer(t, "a")
	url, _ := startHAProxy(t, foreignCA(t), map[string]*apiServer{"a": a})
	eventually(t, 10*time.Second, a.Server, url, "")
}

// foreignCA is a certificate that has signed none of the servers'.
func foreignCA(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return writeCA(t, der)
}
