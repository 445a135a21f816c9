package engine_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"kubewright/cluster"
	"kubewright/internal/catalog"
	"kubewright/internal/check"
	"kubewright/internal/engine"
	"kubewright/internal/host"
	"kubewright/internal/plan"
	"kubewright/internal/report"
	"kubewright/internal/resource"
	"kubewright/internal/sh/shtest"
	"kubewright/inventory"
)

// lab is a few hosts, each a scratch root in which scripts are run for real.
type lab struct {
	t       *testing.T
	roots   map[string]*shtest.Root
	conns   map[string]*conn // of the newest run
	cluster *cluster.Cluster
	phases  []plan.Phase
	files   *files
	events  *recorder
	options func(*engine.Options)
	// ended, when set, is called after each run.
	ended func()
	mu    sync.Mutex
	// refuse makes hosts unreachable; hook is called before each script.
	refuse map[string]bool
	hook   func(hostName string, exec int64, script []byte) error
	// uploadErr fails uploads.
	uploadErr error
	// network, when set, answers the scripts that try connections in place of the host.
	network *network
}

// newLab makes hosts named cp1 (a control plane), w1, w2, and so on.
func newLab(t *testing.T, hosts int, phases ...plan.Phase) *lab {
	t.Helper()
	versions, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	release, err := versions.Release("1.37.2")
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, roots: map[string]*shtest.Root{}, conns: map[string]*conn{}, events: &recorder{}, refuse: map[string]bool{}}
	l.files = newFiles(t)
	l.phases = append([]plan.Phase{{Name: "preflight", Short: "checks", Checks: true}}, phases...)
	l.cluster = &cluster.Cluster{
		Name: "lab", Version: release.Kubernetes, Release: release, KeyAlgorithm: "ECDSA-P256",
		Network: cluster.Network{
			PodCIDR: netip.MustParsePrefix("10.244.0.0/16"), ServiceCIDR: netip.MustParsePrefix("10.96.0.0/16"),
			APIServiceIP: netip.MustParseAddr("10.96.0.1"), DNSServiceIP: netip.MustParseAddr("10.96.0.10"),
			DNSDomain: "cluster.local", ProxyMode: "auto", CNI: "calico",
		},
		// Behind the endpoint is a load balancer, whose port is not that of the API servers.
		APIPort: 6443, Endpoint: cluster.Endpoint{Host: "api.example.com", Port: 443}, SharedEndpoint: true,
		NodeEndpoint: cluster.Endpoint{Host: "api.example.com", Port: 443}, Artifacts: cluster.Artifacts{Source: "upstream", Delivery: "auto"},
		// The roots are no machines; where files come from is tested.
		IgnoreChecks: slices.DeleteFunc(check.Names(), func(name string) bool { return name == check.Artifacts }),
	}
	for i := range hosts {
		h := inventory.Host{Name: fmt.Sprintf("w%d", i), NodeIP: netip.AddrFrom4([4]byte{10, 111, 0, byte(10 + i)}), Roles: []inventory.Role{inventory.RoleWorker}}
		if i == 0 {
			h.Name, h.Roles = "cp1", []inventory.Role{inventory.RoleControlPlane, inventory.RoleEtcd}
		}
		h.Address = h.NodeIP.String()
		l.cluster.Hosts = append(l.cluster.Hosts, h)
		l.roots[h.Name] = newRoot(t, h.Name)
	}
	return l
}

// newRoot is a root whose facts can be read.
func newRoot(t *testing.T, name string) *shtest.Root {
	t.Helper()
	r := shtest.New(t, shtest.Dash)
	for p, content := range map[string]string{
		"/proc/sys/kernel/hostname": name + "\n", "/proc/sys/kernel/osrelease": "6.1.0-18-amd64\n", "/etc/machine-id": name + "\n",
		"/proc/self/status": "Uid:\t0\t0\t0\t0\nCapEff:\t000001ffffffffff\nCpus_allowed_list:\t0-1\n",
		"/proc/meminfo":     "MemTotal:        8000000 kB\n", "/proc/self/mounts": "/dev/vda / ext4 rw 0 0\n",
		"/sys/devices/system/cpu/online": "0-1\n", "/sys/fs/cgroup/cgroup.controllers": "cpu memory pids\n",
		"/etc/os-release": "ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian\"\n", "/etc/resolv.conf": "nameserver 10.0.0.1\n",
		"/proc/net/tcp": "  sl  local_address\n", "/proc/net/udp": "  sl  local_address\n", "/proc/net/tcp6": "  sl\n", "/proc/net/udp6": "  sl\n",
		"/etc/systemd/system/sshd.service": "[Service]\n", "/fake.state/units/sshd.service/active": "active\n",
	} {
		r.Write(p, content)
	}
	return r
}

// engine makes an engine for one run.
func (l *lab) engine() *engine.Engine {
	l.t.Helper()
	o := engine.Options{
		Cluster: l.cluster, Phases: l.phases, Dial: l.dial, Files: l.files, Sink: l.events, Now: time.Now, Rand: rand.Reader,
		Holder: "alice@laptop, apply", ConnectTimeout: 20 * time.Second, ReconnectTimeout: 5 * time.Second, ActTimeout: time.Minute, ReadyTimeout: 5 * time.Second,
	}
	if l.options != nil {
		l.options(&o)
	}
	e, err := engine.New(o)
	if err != nil {
		l.t.Fatal(err)
	}
	return e
}

func accept(*plan.Plan) error { return nil }

func (l *lab) plan() (*plan.Plan, error) {
	p, stats, err := l.engine().Plan(l.t.Context())
	l.requireStats(stats)
	return p, err
}

func (l *lab) apply() error {
	_, stats, err := l.engine().Apply(l.t.Context(), accept)
	l.requireStats(stats)
	return err
}

// mustApply applies, and requires that nothing is left to do.
func (l *lab) mustApply() {
	l.t.Helper()
	if err := l.apply(); err != nil {
		l.t.Fatalf("apply: %v", err)
	}
	l.requireEmpty()
}

func (l *lab) requireEmpty() {
	l.t.Helper()
	p, err := l.plan()
	if err != nil {
		l.t.Fatalf("plan: %v", err)
	}
	if !p.Empty() {
		var b strings.Builder
		_ = p.Text(&b)
		l.t.Fatalf("there is something left to do:\n%s", b.String())
	}
}

// requireStats compares what the engine reports with what was really run.
func (l *lab) requireStats(stats []engine.Stats) {
	l.t.Helper()
	if l.ended != nil {
		l.ended()
	}
	for _, s := range stats {
		if got := l.conns[s.Host].execs.Load(); got != s.Execs {
			l.t.Errorf("%s: the run reports %d execs, there were %d", s.Host, s.Execs, got)
		}
	}
}

// execs is how many scripts the newest run took on each host.
func (l *lab) execs() map[string]int64 {
	n := map[string]int64{}
	for name, c := range l.conns {
		n[name] = c.execs.Load()
	}
	return n
}

func (l *lab) dial(_ context.Context, h inventory.Host) (host.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refuse[h.Name] {
		return nil, &host.UnreachableError{Host: h.Name, Address: h.Address + ":22", Err: syscall.ECONNREFUSED, Remedy: "is it on?"}
	}
	c := &conn{lab: l, name: h.Name, root: l.roots[h.Name], alive: make(chan struct{})}
	l.conns[h.Name] = c
	return c, nil
}

// conn is the newest connection to a host.
func (l *lab) conn(name string) *conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conns[name]
}

// conn runs scripts in a root, as a connection over SSH does on a host.
type conn struct {
	lab      *lab
	name     string
	root     *shtest.Root
	execs    atomic.Int64
	uploads  atomic.Int64
	connects atomic.Int64

	mu    sync.Mutex
	alive chan struct{} // closed with the connection, which ends its scripts
}

var (
	_ host.Conn     = (*conn)(nil)
	_ host.Redialer = (*conn)(nil)
)

func (c *conn) connection() chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.alive
}

// drop breaks the connection: every script that runs through it is lost.
func (c *conn) drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.alive:
	default:
		close(c.alive)
	}
}

func (c *conn) Run(ctx context.Context, what host.Script, stdout io.Writer) error {
	script := what.Text()
	alive := c.connection()
	n := c.execs.Add(1)
	if hook := c.lab.hook; hook != nil {
		if err := hook(c.name, n, script); err != nil {
			return err
		}
	}
	select {
	case <-alive:
		return &host.LostError{Host: c.name, Op: "run", Err: net.ErrClosed}
	default:
	}
	if c.lab.network != nil && bytes.Contains(script, []byte("kw_connect()")) {
		return c.lab.network.run(ctx, c.name, script, stdout)
	}
	run, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-alive:
			cancel()
		case <-run.Done():
		}
	}()
	code, stderr, err := c.root.Run(run, script, stdout)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case run.Err() != nil:
		return &host.LostError{Host: c.name, Op: "run", Started: true, Err: io.EOF}
	case err != nil:
		return err
	case code != 0:
		return &host.ExitError{Host: c.name, Code: code, Stderr: stderr}
	}
	return nil
}

func (c *conn) Redial(context.Context) error {
	c.lab.mu.Lock()
	refused := c.lab.refuse[c.name]
	c.lab.mu.Unlock()
	if refused {
		return &host.UnreachableError{Host: c.name, Address: "10.0.0.1:22", Err: syscall.ECONNREFUSED}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.alive:
		c.connects.Add(1)
		c.alive = make(chan struct{})
	default:
	}
	return nil
}

func (c *conn) Upload(_ context.Context, path string, r io.Reader, size int64) error {
	c.uploads.Add(1)
	if c.lab.uploadErr != nil {
		return c.lab.uploadErr
	}
	content, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if int64(len(content)) != size {
		return fmt.Errorf("%d bytes came, %d were announced", len(content), size)
	}
	return os.WriteFile(c.root.Path(path), content, 0o600)
}

func (c *conn) Dial(_ context.Context, _, addr string) (net.Conn, error) {
	return nil, &host.DialError{Host: c.name, Address: addr, Err: syscall.ECONNREFUSED}
}

func (c *conn) Stats() host.Stats {
	return host.Stats{Execs: c.execs.Load(), Connects: c.connects.Load()}
}

func (c *conn) Close() error {
	c.drop()
	return nil
}

// files publishes artifacts over HTTP, and has local copies of them.
type files struct {
	server    *httptest.Server
	dir       string
	artifacts map[string]resource.Artifact
	requests  atomic.Int64
	// status has a request answered with another status than 200; nil or 0: the truth.
	status func(*http.Request) int
}

func newFiles(t *testing.T) *files {
	t.Helper()
	f := &files{dir: t.TempDir(), artifacts: map[string]resource.Artifact{}}
	f.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.requests.Add(1)
		if f.status != nil && f.status(r) != 0 {
			http.Error(w, "no", f.status(r))
			return
		}
		http.ServeFile(w, r, filepath.Join(f.dir, filepath.Base(r.URL.Path)))
	}))
	t.Cleanup(f.server.Close)
	return f
}

// add publishes a file.
func (f *files) add(t *testing.T, name, content string) resource.Artifact {
	t.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	a := resource.Artifact{Name: name, Version: "1", URL: f.server.URL + "/" + name, SHA256: resource.DigestOf([]byte(content))}
	a.Upstream = a.URL
	f.artifacts[name] = a
	return a
}

func (f *files) Resolve(context.Context, []catalog.File) (map[string]resource.Artifact, error) {
	return maps.Clone(f.artifacts), nil
}

func (f *files) Open(_ context.Context, a resource.Artifact) (string, error) {
	p := filepath.Join(f.dir, a.Name)
	if _, err := os.Stat(p); err != nil {
		return "", err
	}
	return p, nil
}

// recorder keeps the events of all runs.
type recorder struct {
	mu     sync.Mutex
	events []report.Event
}

func (r *recorder) Emit(e report.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// of returns the events of a kind, in order.
func (r *recorder) of(kind report.Kind) []report.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.events), func(e report.Event) bool { return e.Kind != kind })
}

// phase wants resources on every host.
func phase(name string, after []plan.Edge, want func(plan.Target) []resource.Resource) plan.Phase {
	return plan.Phase{
		Name: name, Short: name, On: inventory.Everyone, After: after,
		Desire: func(_ *cluster.Cluster, t plan.Target) ([]resource.Resource, error) { return want(t), nil },
	}
}

// service is a phase with a configuration and a unit that runs with it.
func service(name, config string, after ...plan.Edge) plan.Phase {
	return phase(name, after, func(plan.Target) []resource.Resource {
		unit := "/etc/systemd/system/" + name + ".service"
		return []resource.Resource{
			resource.Dir{Path: "/etc/" + name},
			resource.File{Path: "/etc/" + name + "/config", Content: []byte(config)},
			resource.File{Path: unit, Content: []byte("[Service]\nExecStart=" + name + "\n")},
			resource.Unit{Name: name + ".service", On: []resource.ID{resource.FileID("/etc/" + name + "/config"), resource.FileID(unit)}},
		}
	})
}

// starts counts how often a unit was started on a host.
func (l *lab) starts(hostName, unit string) int {
	return strings.Count(l.roots[hostName].Read("/fake.state/units/"+unit+"/starts"), "\n")
}

// isAct tells a script that acts from one that looks or locks.
func isAct(script []byte) bool { return bytes.Contains(script, []byte("kw_go start 0")) }

var errBoom = errors.New("boom")
