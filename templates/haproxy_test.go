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
	"sync"
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
	a := unstartedAPIServer(t, name)
	a.StartTLS()
	return a
}

func unstartedAPIServer(t *testing.T, name string) *apiServer {
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
	t.Cleanup(func() {
		close(stop)
		a.CloseClientConnections()
		a.Close()
	})
	return a
}

// proxy is HAProxy while it runs.
type proxy struct {
	url, health string // where it listens, and where it tells its own health
	said        *said
}

// said is what a program says, while it does.
type said struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// await returns once something was said.
func (s *said) await(t *testing.T, within time.Duration, text string) {
	t.Helper()
	deadline := time.After(within)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(s.String(), text) {
		select {
		case <-deadline:
			t.Fatalf("after %s it has not said %q", within, text)
		case <-tick.C:
		}
	}
}

// startHAProxy runs it in front of the servers, whose certificates ca must have signed.
func startHAProxy(t *testing.T, ca string, servers map[string]*apiServer) proxy {
	t.Helper()
	binary := haproxy(t)
	d := HAProxyData{Port: freePort(t), HealthPort: freePort(t), CAPath: ca}
	for name, s := range servers {
		at := netip.MustParseAddrPort(s.Listener.Addr().String())
		d.Servers = append(d.Servers, HAProxyServer{name, at.Addr(), int(at.Port())})
	}
	p := proxy{"https://127.0.0.1:" + strconv.Itoa(d.Port), "http://127.0.0.1:" + strconv.Itoa(d.HealthPort) + "/healthz", &said{}}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, binary, "-db", "-f", writeTemp(t, "haproxy.cfg", mustRender(t)(HAProxyConfig(d))))
	cmd.Stdout, cmd.Stderr = p.said, p.said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("haproxy said:\n%s", p.said)
		}
	})
	return p
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
			p := startHAProxy(t, writeCA(t, a.Certificate().Raw), map[string]*apiServer{"a": a, "b": b})
			eventually(t, 10*time.Second, a.Server, p.url, "a b")
			cut := watch(t, a, p.url)
			start := time.Now()
			test.ail(a)
			select {
			case <-cut:
			case <-time.After(5 * time.Second):
				t.Fatal("five seconds later the connection to it is still there")
			}
			t.Logf("out after %s", time.Since(start))
			eventually(t, time.Second, a.Server, p.url, "b")
			if got := answers(t, a.Server, p.health); got == "" {
				t.Error("HAProxy does not say that it works")
			}
			if test.heal != nil {
				test.heal(a)
				eventually(t, 5*time.Second, a.Server, p.url, "a b")
			}
		})
	}
}

// watch opens a connection to the server through HAProxy that ends only when it is cut.
func watch(t *testing.T, want *apiServer, url string) <-chan struct{} {
	t.Helper()
	for range 20 {
		lines, err := openWatch(t, want, url)
		if err != nil {
			t.Fatal(err)
		}
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

// openWatch asks for what does not end, over a connection of its own, and returns the lines of the answer.
func openWatch(t *testing.T, server *apiServer, url string) (*bufio.Reader, error) {
	t.Helper()
	transport, _ := server.Client().Transport.(*http.Transport)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/watch", nil)
	if err != nil {
		return nil, err
	}
	resp, err := (&http.Client{Transport: transport.Clone()}).Do(req)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { resp.Body.Close() })
	return bufio.NewReader(resp.Body), nil
}

// TestHAProxyTrustsTheClusterOnly: who answers at the address of an API server without a
// certificate of the cluster gets no connection while one of the cluster's is well.
func TestHAProxyTrustsTheClusterOnly(t *testing.T) {
	t.Parallel()
	a, stranger := newAPIServer(t, "a"), unstartedAPIServer(t, "stranger")
	stranger.TLS.Certificates = []tls.Certificate{foreign(t)}
	stranger.StartTLS()
	p := startHAProxy(t, writeCA(t, a.Certificate().Raw), map[string]*apiServer{"a": a, "stranger": stranger})
	p.said.await(t, 10*time.Second, "apiservers/stranger is DOWN")
	eventually(t, 5*time.Second, a.Server, p.url, "a")
}

// gate is a listener that takes no connection before it is opened. The system does: that is how an API server
// is while it starts.
type gate struct {
	net.Listener
	opened chan struct{}
}

func (g gate) Accept() (net.Conn, error) {
	<-g.opened
	return g.Listener.Accept()
}

// TestHAProxyWaitsForTheFirstServer: where no API server is well yet, a client is let in as soon as one answers,
// and sent to those that are well once there are any.
func TestHAProxyWaitsForTheFirstServer(t *testing.T) {
	t.Parallel()
	a, absent := unstartedAPIServer(t, "a"), unstartedAPIServer(t, "absent")
	door := gate{a.Listener, make(chan struct{})}
	open := sync.OnceFunc(func() { close(door.opened) })
	t.Cleanup(open) // before it is closed
	a.Listener = door
	a.StartTLS()
	if err := absent.Listener.Close(); err != nil {
		t.Fatal(err)
	}
	p := startHAProxy(t, writeCA(t, a.Certificate().Raw), map[string]*apiServer{"a": a, "absent": absent})
	for name := range strings.FieldsSeq("a absent") {
		p.said.await(t, 10*time.Second, "apiservers/"+name+" is DOWN")
	}
	in, out := make(chan string, 1), make(chan error, 1)
	go func() {
		lines, err := openWatch(t, a, p.url)
		if err != nil {
			out <- err
			return
		}
		line, _ := lines.ReadString('\n')
		in <- line
		_, err = lines.ReadString('\n')
		out <- err
	}()
	select {
	case err := <-out:
		t.Fatal("a client that came before any server was sent away: ", err)
	case <-time.After(2 * time.Second):
	}
	open()
	for range 2 {
		select {
		case <-in:
			in = nil // then it is sent on
		case err := <-out:
			if in != nil {
				t.Fatal("the client was not let in: ", err)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("ten seconds later nothing has happened; let in: %t", in == nil)
		}
	}
	eventually(t, 5*time.Second, a.Server, p.url, "a")
}

// foreignCA is a certificate that has signed none of the servers'.
func foreignCA(t *testing.T) string {
	t.Helper()
	return writeCA(t, foreign(t).Certificate[0])
}

// foreign is a certificate, and its key, that nobody knows.
func foreign(t *testing.T) tls.Certificate {
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
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
