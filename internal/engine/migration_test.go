package engine_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kubewright/certs"
	"kubewright/cluster"
	"kubewright/internal/engine"
	"kubewright/internal/fault"
	"kubewright/internal/host"
	"kubewright/internal/plan"
	"kubewright/internal/report"
	"kubewright/internal/resource"
	"kubewright/internal/secret"
	"kubewright/inventory"
	"kubewright/phases"
	"kubewright/templates"
)

const (
	haproxyManifest    = "/etc/kubernetes/manifests/kubewright-haproxy.yaml"
	kubeVIPManifest    = "/etc/kubernetes/manifests/kubewright-kube-vip.yaml"
	keepalivedManifest = "/etc/kubernetes/manifests/kubewright-keepalived.yaml"
	kubeletConf        = "/etc/kubernetes/kubelet.conf"
	apiCertificate     = engine.PKIDir + "/apiserver.crt"
)

// wayLab is an etcdLab with the real ways to the API servers: each serves the certificate that its host
// has, and is reached through the load balancer of a host, or at the virtual IP, where these are.
type wayLab struct {
	*etcdLab
	servers map[string]*httptest.Server // by control plane

	watch sync.Mutex // of all that follows
	// watched is set when each kubelet must have a way at every moment; went is where it was told to go
	// when it was started last.
	watched bool
	went    map[string]string
	starts  map[string]int
	// steps has what was opened, moved and closed, in order.
	steps []string
	// rights are the objects by which kube-vip may do what it does, by path.
	rights map[string][]byte
	// stuck keeps the virtual IP from being taken; balanced is set when a load balancer of the user's
	// leads to all API servers.
	stuck, balanced bool
	// acts counts scripts that change a host; the one of that number is cut, 0 for none.
	acts, cut int
}

func newWayLab(t *testing.T, controlPlanes int) *wayLab {
	t.Helper()
	l := &wayLab{etcdLab: newEtcdLab(t, controlPlanes), servers: map[string]*httptest.Server{}, went: map[string]string{}, starts: map[string]int{}, rights: map[string][]byte{}}
	l.phases = l.realWays()
	for _, h := range l.cluster.Hosts {
		if h.Has(inventory.RoleControlPlane) {
			l.servers[h.Name] = l.serve(h)
		}
	}
	l.ended = func() {
		for _, s := range l.servers {
			s.CloseClientConnections()
		}
		l.quiet()
	}
	l.defaultsWith(nil)
	l.local()
	l.bringUp()
	l.watched = true
	return l
}

// defaultsWith are the options of runs from now on.
func (l *wayLab) defaultsWith(change func(*engine.Options)) {
	l.with(func(o *engine.Options) {
		o.Dial = l.dial
		if change != nil {
			change(o)
		}
	})
}

// local has nodes go through their own load balancers, atVIP to the virtual IP.
func (l *wayLab) local() {
	c := l.cluster
	c.VIP, c.LocalBalancer, c.SharedEndpoint = cluster.VIP{}, true, false
	c.Endpoint = cluster.Endpoint{Host: c.ControlPlanes()[0].NodeIP.String(), Port: 6443}
	c.NodeEndpoint = cluster.Endpoint{Host: "127.0.0.1", Port: cluster.LocalBalancerPort}
}

func (l *wayLab) atVIP() {
	c := l.cluster
	c.VIP = cluster.VIP{Address: netip.MustParseAddr("10.111.0.5"), Interface: "eth0", RouterID: 51}
	c.LocalBalancer, c.SharedEndpoint = false, true
	c.Endpoint = cluster.Endpoint{Host: "10.111.0.5", Port: 6443}
	c.NodeEndpoint = c.Endpoint
}

// atKubeVIP has nodes go to the virtual IP, which kube-vip has.
func (l *wayLab) atKubeVIP() {
	l.atVIP()
	l.cluster.VIP.Provider = cluster.KubeVIP
}

// realWays are the small phases, with those that lead to the API servers as they are.
func (l *wayLab) realWays() []plan.Phase {
	ours := map[string]plan.Phase{}
	for _, p := range phases.All() {
		if slices.Contains([]string{"pki", "kubeconfigs", "load-balancer", "vip", "vip-rights"}, p.Name) {
			if p.Desire != nil {
				p.After = nil
			}
			ours[p.Name] = p
		}
	}
	pki := ours["pki"]
	pki.After = []plan.Edge{plan.AllHosts("authorities")}
	var list []plan.Phase
	for _, p := range l.phases {
		switch p.Name {
		case "etcd":
			list = append(list, pki, ours["kubeconfigs"], ours["load-balancer"], ours["vip"])
		case "members":
			p.After = append(p.After, plan.AllHosts("vip-rights"))
			list = append(list, ours["vip-rights"])
		case "kubelet":
			desire := p.Desire
			p.Desire = func(c *cluster.Cluster, t plan.Target) ([]resource.Resource, error) {
				want, err := desire(c, t)
				for i, r := range want {
					if u, ok := r.(resource.Unit); ok {
						u.On = append(u.On, resource.KubeconfigID(kubeletConf))
						want[i] = u
					}
				}
				return want, err
			}
		}
		list = append(list, p)
	}
	return list
}

// serve is the API server of a control plane, with the certificate that is there.
func (l *wayLab) serve(h inventory.Host) *httptest.Server {
	server := httptest.NewUnstartedServer(l.unlessResting(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system/") {
			l.answerRights(w, r)
			return
		}
		r.Host = net.JoinHostPort(h.NodeIP.String(), "6443")
		l.answer(w, r)
	}))
	server.EnableHTTP2 = true
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		root := l.roots[h.Name]
		pair, err := tls.X509KeyPair([]byte(root.Read(apiCertificate)), []byte(root.Read(strings.TrimSuffix(apiCertificate, ".crt")+".key")))
		return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, Certificates: []tls.Certificate{pair}}, err
	}}
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	l.t.Cleanup(server.Close)
	return server
}

// answerRights keeps the objects that are applied.
func (l *wayLab) answerRights(w http.ResponseWriter, r *http.Request) {
	l.watch.Lock()
	defer l.watch.Unlock()
	object := l.rights[r.URL.Path]
	if r.Method == http.MethodPatch {
		var err error
		if object, err = io.ReadAll(r.Body); err != nil {
			l.t.Error(err)
		}
		if r.URL.Query().Get("dryRun") == "" {
			l.rights[r.URL.Path] = object
		}
	}
	if object == nil {
		refuse(w, http.StatusNotFound, "NotFound", path.Base(path.Dir(r.URL.Path)), path.Base(r.URL.Path))
		return
	}
	answerJSON(w, http.StatusOK, json.RawMessage(object))
}

// mayHold tells whether kube-vip may take the virtual IP.
func (l *wayLab) mayHold() bool {
	l.watch.Lock()
	defer l.watch.Unlock()
	const roleAndBinding = 2
	return len(l.rights) == roleAndBinding
}

func (l *wayLab) dial(ctx context.Context, h inventory.Host) (host.Conn, error) {
	c, err := l.etcdLab.dial(ctx, h)
	if err != nil {
		return nil, err
	}
	return &wayConn{etcdConn: c.(*etcdConn), lab: l, host: h}, nil
}

// wayConn leads to API servers by the ways that there are.
type wayConn struct {
	*etcdConn
	lab  *wayLab
	host inventory.Host
}

func (c *wayConn) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if _, port, _ := net.SplitHostPort(addr); port != "6443" && port != "7443" {
		return c.etcdConn.Dial(ctx, network, addr)
	}
	leave, err := c.lab.attend()
	if err != nil {
		return nil, err
	}
	defer leave()
	for _, name := range c.lab.reached(c.host.Name, addr) {
		return (&net.Dialer{}).DialContext(ctx, network, c.lab.servers[name].Listener.Addr().String())
	}
	return nil, &host.DialError{Host: c.host.Name, Address: addr, Err: syscall.ECONNREFUSED}
}

func (c *wayConn) Run(ctx context.Context, script host.Script, out io.Writer) error {
	if !isAct(script.Text()) {
		return c.etcdConn.Run(ctx, script, out)
	}
	c.lab.watch.Lock()
	c.lab.acts++
	cut := c.lab.acts == c.lab.cut
	c.lab.watch.Unlock()
	if cut {
		return &host.ExitError{Host: c.host.Name, Code: 1, Stderr: []byte(errBoom.Error())}
	}
	before := c.lab.waysOf(c.host.Name)
	err := c.etcdConn.Run(ctx, script, out)
	c.lab.noteWays(c.host.Name, before)
	return err
}

// reached are the control planes that an address may lead a host to.
func (l *wayLab) reached(from, addr string) []string {
	ip, _, err := net.SplitHostPort(addr)
	if err != nil {
		l.t.Error(err)
	}
	var names []string
	for _, h := range l.cluster.ControlPlanes() {
		way := h.NodeIP.String() == ip
		switch {
		case addr == "127.0.0.1:7443":
			way = l.roots[from].Read(haproxyManifest) != "" && strings.Contains(l.roots[from].Read(templates.HAProxyConfigPath), h.NodeIP.String()+":6443")
		case ip == "10.111.0.5":
			way = (l.roots[h.Name].Read(keepalivedManifest) != "" || l.roots[h.Name].Read(kubeVIPManifest) != "" && l.mayHold()) && !l.isStuck()
		case ip == "lb.example.com":
			way = l.balanced
		}
		if way && l.hasAPI(h.Name) {
			names = append(names, h.Name)
		}
	}
	return names
}

func (l *wayLab) isStuck() bool {
	l.watch.Lock()
	defer l.watch.Unlock()
	return l.stuck
}

// waysOf are the ways that a host has, and where it goes, a word each.
func (l *wayLab) waysOf(name string) map[string]bool {
	root := l.roots[name]
	words := map[string]bool{"haproxy": root.Read(haproxyManifest) != "", "keepalived": root.Read(keepalivedManifest) != "", "kube-vip": root.Read(kubeVIPManifest) != ""}
	for _, way := range []string{"127.0.0.1", "10.111.0.5", "lb.example.com"} {
		words["named "+way] = named(root.Read(apiCertificate), way)
	}
	words["goes to "+serverOf(root.Read(kubeletConf))] = true
	return words
}

func named(certificate, name string) bool {
	block, _ := pem.Decode([]byte(certificate))
	if block == nil {
		return false
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	return err == nil && cert.VerifyHostname(name) == nil
}

func serverOf(kubeconfig string) string {
	file, err := certs.ParseKubeconfig(secret.Bytes(kubeconfig))
	if err != nil {
		return ""
	}
	return file.Server
}

// noteWays writes down what an act has changed, and requires that every kubelet has a way still: to where
// it was told to go when it was started, and to where it will go when it is started again.
func (l *wayLab) noteWays(name string, before map[string]bool) {
	after := l.waysOf(name)
	l.watch.Lock()
	watched := l.watched
	for _, word := range slices.Sorted(maps.Keys(after)) {
		if after[word] && !before[word] {
			l.steps = append(l.steps, name+" + "+word)
		}
	}
	for word := range before {
		if before[word] && !after[word] && !strings.HasPrefix(word, "goes") {
			l.steps = append(l.steps, name+" - "+word)
		}
	}
	if n := l.lab.starts(name, "kubelet.service"); n != l.starts[name] {
		l.starts[name], l.went[name] = n, serverOf(l.roots[name].Read(kubeletConf))
	}
	went := maps.Clone(l.went)
	l.watch.Unlock()
	if !watched {
		return
	}
	for name, server := range went {
		for _, s := range []string{server, serverOf(l.roots[name].Read(kubeletConf))} {
			if err := l.open(name, s); err != nil {
				l.t.Errorf("after %v: the kubelet of %s has no way to %s: %v", l.taken(), name, s, err)
			}
		}
	}
}

// open tells why a server is not reached from a host, or not under its name everywhere that leads.
func (l *wayLab) open(from, server string) error {
	u, err := url.Parse(server)
	if err != nil {
		return err
	}
	names := l.reached(from, u.Host)
	if len(names) == 0 {
		return errors.New("nothing answers")
	}
	for _, name := range names {
		if !named(l.roots[name].Read(apiCertificate), u.Hostname()) {
			return fmt.Errorf("the certificate of %s is not for it", name)
		}
	}
	return nil
}

// taken are the steps so far.
func (l *wayLab) taken() []string {
	l.watch.Lock()
	defer l.watch.Unlock()
	return slices.Clone(l.steps)
}

// requireOrder requires that all steps that are to be first were taken before any that is to be last,
// and so many of each.
func (l *wayLab) requireOrder(counts map[string]int, order ...string) {
	l.t.Helper()
	steps := l.taken()
	rank := func(step string) int {
		return slices.IndexFunc(order, func(words string) bool {
			return slices.ContainsFunc(strings.Split(words, "|"), func(w string) bool { return strings.HasSuffix(step, w) })
		})
	}
	got := map[string]int{}
	reached := 0
	for _, step := range steps {
		_, word, _ := strings.Cut(step, " ")
		got[word]++
		if r := rank(step); r < reached {
			l.t.Errorf("%q came too late, or is none of what was to happen: %q", step, steps)
		} else {
			reached = r
		}
	}
	for word, n := range counts {
		if got[word] != n {
			l.t.Errorf("%q %d times, want %d: %q", word, got[word], n, steps)
		}
	}
	l.watch.Lock()
	defer l.watch.Unlock()
	l.steps = nil
}

// A cluster that runs is given another way to its API servers, and back: the new way is opened
// everywhere, with the names of both in the certificates; then everybody is moved; then the old one goes.
func TestEndpointMigration(t *testing.T) {
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			l := newWayLab(t, n)
			l.steps = nil
			l.atVIP()
			l.mustApply()
			l.requireOrder(
				map[string]int{"+ keepalived": n, "+ named 10.111.0.5": n, "+ goes to https://10.111.0.5:6443": n + 1, "- haproxy": n + 1, "- named 127.0.0.1": n},
				"+ keepalived|+ named 10.111.0.5", "+ goes to https://10.111.0.5:6443", "- haproxy|- named 127.0.0.1")
			l.local()
			l.mustApply()
			l.requireOrder(
				map[string]int{"+ haproxy": n + 1, "+ named 127.0.0.1": n, "+ goes to https://127.0.0.1:7443": n + 1, "- keepalived": n, "- named 10.111.0.5": n},
				"+ haproxy|+ named 127.0.0.1", "+ goes to https://127.0.0.1:7443", "- keepalived|- named 10.111.0.5")
			if n := len(l.events.of(report.Notice)); n != 4 {
				t.Errorf("%d notices, want two of each run", n)
			}
		})
	}
}

// kube-vip is such a way too: it has its certificate and its rights before anybody goes by it, and it goes
// last, even where its address stays a name of the API servers.
func TestMigrationToKubeVIP(t *testing.T) {
	l := newWayLab(t, 3)
	l.steps = nil
	l.atKubeVIP()
	l.defaultsWith(func(o *engine.Options) {
		o.Only = map[string]bool{"pki": true, "kubeconfigs": true, "load-balancer": true, "vip": true, "kubelet": true}
	})
	requireFault(t, l.apply(), fault.BadInput, "and --phase leaves out vip-rights")
	if steps := l.taken(); len(steps) > 0 {
		t.Errorf("done all the same: %q", steps)
	}
	l.defaultsWith(nil)
	l.mustApply()
	l.requireOrder(
		map[string]int{"+ kube-vip": 3, "+ named 10.111.0.5": 3, "+ goes to https://10.111.0.5:6443": 4, "- haproxy": 4, "- named 127.0.0.1": 3},
		"+ kube-vip|+ named 10.111.0.5", "+ goes to https://10.111.0.5:6443", "- haproxy|- named 127.0.0.1")
	l.local()
	l.cluster.CertSANs = []string{"10.111.0.5"}
	l.mustApply()
	l.requireOrder(
		map[string]int{"+ haproxy": 4, "+ named 127.0.0.1": 3, "+ goes to https://127.0.0.1:7443": 4, "- kube-vip": 3},
		"+ haproxy|+ named 127.0.0.1", "+ goes to https://127.0.0.1:7443", "- kube-vip")
}

// A run that leaves a worker out gives kube-vip its rights all the same, before keepalived goes; and it leaves
// kube-vip and its address when that is wanted no more.
func TestKubeVIPInPart(t *testing.T) {
	l := newWayLab(t, 1)
	l.atVIP()
	l.mustApply()
	l.steps = nil
	l.defaultsWith(func(o *engine.Options) { o.Limit = inventory.ControlPlanes })
	l.cluster.VIP.Provider = cluster.KubeVIP
	l.mustApply() // all the while the kubelets have a way
	l.requireOrder(map[string]int{"+ kube-vip": 1, "- keepalived": 1}, "+ kube-vip", "- keepalived")
	l.local()
	l.cluster.CertSANs = []string{"10.111.0.5"}
	l.mustApply() // and its plan is empty
	if l.roots["cp1"].Read(kubeVIPManifest) == "" {
		t.Error("kube-vip is gone, although w1 goes by it")
	}
}

// A run that is cut on the way leaves everybody a way, and the next one ends what it began, or goes back.
func TestMigrationIsCut(t *testing.T) {
	const step, enough = 3, 40 // every third act
	l := newWayLab(t, 2)
	for cut := 1; ; cut += step {
		l.acts, l.cut = 0, cut
		l.atVIP()
		err := l.apply()
		l.cut = 0
		if err == nil {
			if cut < 10 {
				t.Errorf("it took %d acts only", l.acts)
			}
			return
		}
		if cut > enough {
			t.Fatal(err)
		}
		if back := cut%2 == 0; !back {
			l.mustApply()
		}
		l.local()
		l.mustApply()
	}
}

// A run that leaves hosts out sends nobody where they do not serve, and takes nothing away.
func TestMigrationInPart(t *testing.T) {
	limit := func(l *wayLab, hosts string) {
		only, err := inventory.ParseSelector(hosts)
		if err != nil {
			t.Fatal(err)
		}
		l.defaultsWith(func(o *engine.Options) { o.Limit = only })
	}
	l := newWayLab(t, 3)
	l.steps = nil
	l.atVIP()
	for _, hosts := range []string{"w1", "cp1", "cp1,cp2,w1"} {
		limit(l, hosts)
		requireFault(t, l.apply(), fault.BadInput, "which takes cp3 to have a certificate for 10.111.0.5 first, and --limit leaves it out")
		for _, step := range l.taken() {
			if strings.Contains(step, " - ") || strings.Contains(step, "goes to") {
				t.Errorf("limited to %s: %s", hosts, step)
			}
		}
	}
	limit(l, "cp1,cp2,cp3")
	l.mustApply() // and its plan is empty
	for _, step := range l.taken() {
		if strings.Contains(step, " - ") || strings.HasPrefix(step, "w1 + goes") {
			t.Errorf("limited to the control planes: %s", step)
		}
	}
	if !slices.ContainsFunc(l.events.of(report.Notice), func(e report.Event) bool {
		return strings.Contains(e.Message, "nothing else is removed from hosts meanwhile")
	}) {
		t.Error("it is not said that the old way stays")
	}
	limit(l, "w1")
	l.mustApply()
	if l.roots["w1"].Read(haproxyManifest) == "" {
		t.Error("the load balancer of w1 is gone, although kube-proxy may go by it")
	}
	l.defaultsWith(nil)
	l.mustApply()
	for name, root := range l.roots {
		if root.Read(haproxyManifest) != "" {
			t.Errorf("%s has its load balancer still", name)
		}
	}
}

// Phases that would send somebody where nobody answers are not run without those that open the way.
func TestMigrationTakesAllPhases(t *testing.T) {
	l := newWayLab(t, 3)
	l.steps = nil
	l.atVIP()
	l.defaultsWith(func(o *engine.Options) { o.Only = map[string]bool{"kubeconfigs": true, "kubelet": true} })
	requireFault(t, l.apply(), fault.BadInput, "is sent to https://10.111.0.5:6443, which takes the phases load-balancer, pki, vip, vip-rights first, and --phase leaves out pki")
	if steps := l.taken(); len(steps) > 0 {
		t.Errorf("done all the same: %q", steps)
	}
	l.defaultsWith(func(o *engine.Options) { o.Only = map[string]bool{"pki": true, "load-balancer": true, "vip": true} })
	if err := l.apply(); err != nil {
		t.Fatal(err)
	}
	l.requireOrder(map[string]int{"+ keepalived": 3, "+ named 10.111.0.5": 3}, "+ keepalived|+ named 10.111.0.5")
	l.defaultsWith(nil)
	l.mustApply()
}

// Nobody is moved to where nothing answers.
func TestWayThatDoesNotOpen(t *testing.T) {
	l := newWayLab(t, 3)
	l.steps = nil
	l.atVIP()
	l.stuck = true
	l.defaultsWith(func(o *engine.Options) { o.ReadyTimeout = 3 * time.Second })
	requireFault(t, l.apply(), fault.Unhealthy, "the API servers to answer at https://10.111.0.5:6443", "nobody was sent there")
	l.requireOrder(map[string]int{"+ keepalived": 3, "+ named 10.111.0.5": 3}, "+ keepalived|+ named 10.111.0.5")
	l.stuck = false
	l.defaultsWith(nil)
	l.mustApply()
}
