package engine_test

import (
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"net"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kubewright/cluster"
	"kubewright/internal/engine"
	"kubewright/internal/etcd"
	"kubewright/internal/host"
	"kubewright/internal/plan"
	"kubewright/internal/resource"
	"kubewright/internal/sh/shtest"
	"kubewright/inventory"
	"kubewright/phases"
	"kubewright/templates"
)

// Where the pods of the lab are, and what they keep.
const (
	etcdManifest = "/etc/kubernetes/manifests/etcd.yaml"
	etcdService  = "/etc/systemd/system/etcd.service"
	apiManifest  = "/etc/kubernetes/manifests/kube-apiserver.yaml"
	etcdData     = "/var/lib/etcd/member"
	kubeletState = "/fake.state/units/kubelet.service/"
	serviceState = "/fake.state/units/etcd.service/"
)

// etcdLab is a lab in which an etcd and API servers run: on each host whose kubelet runs and has
// their manifests, or whose etcd.service runs, as far as they would with the data that is there.
type etcdLab struct {
	*lab
	server *httptest.Server // of all API servers

	answering sync.RWMutex // held by those who answer a request
	resting   bool         // no run is under way, and what comes late from the last is not answered

	guard   sync.Mutex // of all that follows
	members []etcd.Member
	began   map[uint64]bool
	nextID  uint64
	// down are hosts on which nothing runs, silent those whose members do not answer in time.
	down, silent map[string]bool
	// closed are hosts whose members no other host reaches, and pulling how often nothing listens on a
	// host yet because its image is pulled.
	closed  map[string]bool
	pulling map[string]int
	// unanswered is set when promotions are made, and not answered.
	unanswered bool
	// notInSync and unhealthy are how often etcd refuses a promotion, and a change; away is how
	// often a member that is asked finds no quorum.
	notInSync, unhealthy, away int
	// slow is how often an API server says that it is not ready after its host was changed, and
	// restarting how often it still will.
	slow       int
	restarting map[string]int
	// ready, when set, tells in place of etcd whether an API server is.
	ready func(name string) bool
	// log has what was done, in order.
	log []string
	// onEntry is told of each line of the log, while nothing else can happen.
	onEntry func(string)
	// nodes are the Node objects, and whether they are Ready; podArgs the flags that pods are wanted with.
	nodes   map[string]bool
	podArgs map[string][]string
	lease   []byte
	// document is what the cluster tells machines that join, "" for nothing.
	document string
	version  int
}

// newEtcdLab has control planes named cp1, cp2, and so on, and a worker w1.
func newEtcdLab(t *testing.T, controlPlanes int) *etcdLab {
	t.Helper()
	e := &etcdLab{
		began: map[uint64]bool{}, nextID: 0x100, down: map[string]bool{}, silent: map[string]bool{},
		closed: map[string]bool{}, pulling: map[string]int{},
		restarting: map[string]int{}, nodes: map[string]bool{}, podArgs: map[string][]string{},
	}
	e.lab = newLab(t, 2, e.smallPhases()...)
	e.controlPlanes(controlPlanes)
	e.server = e.serveAPI()
	e.ended = e.quiet
	e.options = e.defaults
	return e
}

func (e *etcdLab) defaults(o *engine.Options) {
	e.rest(false)
	o.Dial, o.Etcd = e.dial, e.client
	o.ReadyTimeout, o.JoinTimeout = 30*time.Second, 20*time.Second
}

// with changes the options of the runs from now on.
func (e *etcdLab) with(change func(*engine.Options)) {
	e.options = func(o *engine.Options) {
		e.defaults(o)
		change(o)
	}
}

// controlPlanes sets how many control planes there are, beside the worker.
func (e *etcdLab) controlPlanes(n int) {
	e.guard.Lock()
	defer e.guard.Unlock()
	var hosts []inventory.Host
	for i := range n {
		h := inventory.Host{
			Name: fmt.Sprintf("cp%d", i+1), NodeIP: netip.AddrFrom4([4]byte{10, 111, 0, byte(21 + i)}),
			Roles: []inventory.Role{inventory.RoleControlPlane, inventory.RoleEtcd},
		}
		h.Address = h.NodeIP.String()
		hosts = append(hosts, h)
		if e.roots[h.Name] == nil {
			e.roots[h.Name] = newRoot(e.t, h.Name)
		}
	}
	e.cluster.Hosts = slices.Concat(hosts, e.cluster.Hosts[len(e.cluster.Hosts)-1:])
}

// apart gives etcd three hosts for itself, etcd1 to etcd3. There is one control plane then.
func (e *etcdLab) apart() {
	e.controlPlanes(1)
	e.cluster.Hosts[0].Roles = []inventory.Role{inventory.RoleControlPlane}
	for i := range 3 {
		h := inventory.Host{Name: fmt.Sprintf("etcd%d", i+1), NodeIP: netip.AddrFrom4([4]byte{10, 111, 0, byte(31 + i)}), Roles: []inventory.Role{inventory.RoleEtcd}}
		h.Address = h.NodeIP.String()
		e.cluster.Hosts = append(e.cluster.Hosts, h)
		e.roots[h.Name] = newRoot(e.t, h.Name)
	}
}

// smallPhases are what a control plane is made of, as small as can be: authorities, a member of etcd, an
// API server, the kubelet that runs both, and the mark of the members.
func (e *etcdLab) smallPhases() []plan.Phase {
	var list []plan.Phase
	var mark plan.Phase
	for _, p := range phases.All() {
		switch p.Name {
		case "authorities":
			p.After = nil
			list = append(list, p)
		case "members":
			p.After = []plan.Edge{plan.AllHosts("control-plane")}
			mark = p
		}
	}
	member := phase("etcd", nil, func(t plan.Target) []resource.Resource {
		dir := resource.Dir{Path: "/var/lib/etcd", Mode: 0o700, Owned: true}
		if !t.Has(inventory.RoleControlPlane) {
			return []resource.Resource{
				dir,
				resource.UnitFile{Path: etcdService, Keep: []string{templates.EtcdInitialCluster, templates.EtcdInitialClusterState},
					Render: func(kept map[string]string) ([]byte, error) {
						return []byte("[Service]\nExecStart=etcd \\\n  " + strings.Join(e.etcdArgs(t, kept), " \\\n  ") + "\n"), nil
					}},
				resource.Unit{Name: "etcd.service", On: []resource.ID{resource.FileID(etcdService)}},
			}
		}
		return []resource.Resource{
			dir,
			resource.StaticPod{Path: etcdManifest, Keep: []string{templates.EtcdInitialCluster, templates.EtcdInitialClusterState},
				Render: func(_ string, kept map[string]string) ([]byte, error) {
					return []byte("spec:\n  containers:\n  - command: [\"run\", " + strings.Join(e.etcdArgs(t, kept), ", ") + "]\n"), nil
				}},
		}
	})
	member.On, member.Members, member.Rolling = inventory.EtcdMembers, true, true
	server := phase("control-plane", []plan.Edge{plan.SameHost("etcd")}, func(plan.Target) []resource.Resource {
		return []resource.Resource{resource.StaticPod{Path: apiManifest,
			Render: func(string, map[string]string) ([]byte, error) { return podManifest(e.podArgs["api"]...), nil }}}
	})
	server.On, server.Voter, server.Rolling = inventory.ControlPlanes, true, true
	kubelet := service("kubelet", "1", plan.SameHost("control-plane"))
	kubelet.Rolling = true
	kubelet.On = func(h inventory.Host) bool { return h.Has(inventory.RoleControlPlane) || h.Has(inventory.RoleWorker) }
	return append(list, member, server, kubelet, mark)
}

func podManifest(args ...string) []byte {
	return []byte("spec:\n  containers:\n  - command: [\"" + strings.Join(append([]string{"run"}, args...), `", "`) + "\"]\n")
}

// podFlags are the flags of a manifest of the lab.
func podFlags(manifest string) map[string]string {
	flags := map[string]string{}
	for word := range strings.SplitSeq(manifest, `"`) {
		if name, value, ok := strings.Cut(strings.TrimPrefix(word, "--"), "="); ok {
			flags[name] = value
		}
	}
	return flags
}

// etcdArgs are how a member starts, quoted: as was decided, else as it was started, else for a new cluster.
func (e *etcdLab) etcdArgs(t plan.Target, kept map[string]string) []string {
	initial, state := e.cluster.InitialCluster(), "new"
	if told := kept[templates.EtcdInitialCluster]; told != "" {
		initial, state = told, kept[templates.EtcdInitialClusterState]
	}
	if t.Etcd.InitialCluster != "" {
		initial, state = t.Etcd.InitialCluster, "new"
		if t.Etcd.Existing {
			state = templates.EtcdExisting
		}
	}
	args := append([]string{"--initial-cluster=" + initial, "--initial-cluster-state=" + state}, e.podArgs["etcd"]...)
	for i, arg := range args {
		args[i] = strconv.Quote(arg)
	}
	return args
}

func (e *etcdLab) dial(ctx context.Context, h inventory.Host) (host.Conn, error) {
	c, err := e.lab.dial(ctx, h)
	if err != nil {
		return nil, err
	}
	return &etcdConn{conn: e.conn(h.Name), Conn: c, lab: e}, nil
}

// etcdConn notes what scripts have changed, and leads to what runs on the hosts.
type etcdConn struct {
	host.Conn
	conn *conn
	lab  *etcdLab
}

var _ host.Redialer = (*etcdConn)(nil)

func (c *etcdConn) Redial(ctx context.Context) error { return c.conn.Redial(ctx) }

func (c *etcdConn) Run(ctx context.Context, script host.Script, out io.Writer) error {
	if !isAct(script.Text()) {
		return c.conn.Run(ctx, script, out)
	}
	before := stateOf(c.conn.root)
	err := c.conn.Run(ctx, script, out)
	c.lab.noteAct(c.conn.name, before, stateOf(c.conn.root))
	return err
}

func (c *etcdConn) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	ip, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	select {
	case <-c.conn.connection():
		return nil, &host.LostError{Host: c.conn.name, Op: "dial", Err: net.ErrClosed}
	default:
	}
	leave, err := c.lab.attend()
	if err != nil {
		return nil, err
	}
	defer leave()
	name := c.lab.nameAt(ip)
	switch {
	case port == "6443" && c.lab.hasAPI(name):
		return (&net.Dialer{}).DialContext(ctx, network, c.lab.server.Listener.Addr().String())
	case port == "2380" && c.lab.closed[name] && name != c.conn.name:
		return nil, &host.DialError{Host: c.conn.name, Address: addr, Err: syscall.ETIMEDOUT}
	case port == "2379", port == "2380" && c.lab.hasMember(name):
		here, there := net.Pipe()
		return here, there.Close()
	}
	return nil, &host.DialError{Host: c.conn.name, Address: addr, Err: syscall.ECONNREFUSED}
}

// parts of what is on a control plane, for the log.
type parts struct{ etcd, api, kubelet, data, aside string }

func stateOf(r *shtest.Root) parts {
	p := parts{etcd: r.Read(etcdManifest) + r.Read(etcdService), api: r.Read(apiManifest), kubelet: r.Read(kubeletState + "starts"), data: r.Read(etcdData + "/id")}
	p.aside = r.Read(etcdData + ".removed/id")
	return p
}

// noteAct writes down what an act has changed on a host.
func (e *etcdLab) noteAct(name string, before, after parts) {
	var did []string
	for _, it := range []struct{ what, before, after string }{
		{"etcd", before.etcd, after.etcd}, {"api", before.api, after.api}, {"kubelet", before.kubelet, after.kubelet}, {"aside", before.aside, after.aside},
	} {
		switch {
		case it.before == it.after:
		case it.after == "":
			did = append(did, "-"+it.what)
		case it.before != "" && it.what != "kubelet":
			did = append(did, "~"+it.what)
		default:
			did = append(did, it.what)
		}
	}
	e.guard.Lock()
	defer e.guard.Unlock()
	if len(did) > 0 {
		e.restarting[name] = max(e.slow, e.restarting[name])
		e.note(name + " " + strings.Join(did, " "))
	}
	e.settle()
}

func (e *etcdLab) note(entry string) {
	e.log = append(e.log, entry)
	if e.onEntry != nil {
		e.onEntry(entry)
	}
}

// requireLog compares what was done since the last time.
func (e *etcdLab) requireLog(want ...string) {
	e.t.Helper()
	e.guard.Lock()
	defer e.guard.Unlock()
	if diff := cmp.Diff(want, e.log); diff != "" {
		e.t.Errorf("what was done, in order (-want +got):\n%s", diff)
	}
	e.log = nil
}

// clear forgets the log.
func (e *etcdLab) clear() {
	e.guard.Lock()
	defer e.guard.Unlock()
	e.log = nil
}

// bringUp makes the cluster.
func (e *etcdLab) bringUp() {
	e.t.Helper()
	e.mustApply()
	e.clear()
}

func (e *etcdLab) nameAt(ip string) string {
	for _, h := range e.cluster.Hosts {
		if h.NodeIP.String() == ip {
			return h.Name
		}
	}
	return ""
}

func (e *etcdLab) peerURL(name string) string {
	for _, h := range e.cluster.Hosts {
		if h.Name == name {
			return cluster.PeerURL(h)
		}
	}
	return ""
}

// settle starts what is to run and does not yet.
func (e *etcdLab) settle() {
	for _, h := range e.cluster.Hosts {
		r := e.roots[h.Name]
		if e.started(h.Name) == "" || r.Read(etcdData+"/id") != "" {
			continue
		}
		flags := podFlags(e.started(h.Name))
		if id := e.first(h, flags[templates.EtcdInitialCluster], flags[templates.EtcdInitialClusterState]); id != 0 {
			e.began[id] = true
			r.Write(etcdData+"/id", strconv.FormatUint(id, 16))
		}
	}
}

// hasMember tells whether a member runs on a host, to somebody who connects.
func (e *etcdLab) hasMember(name string) bool {
	e.guard.Lock()
	defer e.guard.Unlock()
	if e.pulling[name] > 0 {
		e.pulling[name]--
		return false
	}
	e.settle()
	return e.running(name) != nil
}

func (e *etcdLab) kubelet(name string) bool {
	return !e.down[name] && e.roots[name].Read(kubeletState+"active") == "active\n"
}

// started is with what the member on a host was started, "" while it is not.
func (e *etcdLab) started(name string) string {
	r := e.roots[name]
	switch {
	case e.pulling[name] > 0:
		return ""
	case e.kubelet(name):
		return r.Read(etcdManifest)
	case !e.down[name] && r.Read(serviceState+"active") == "active\n":
		return r.Read(serviceState + "running")
	}
	return ""
}

// first is the first start of a member: its ID, or 0 where etcd refuses to start, as it does with
// other members in its initial cluster than there are, or after its data was lost.
func (e *etcdLab) first(h inventory.Host, initial, state string) uint64 {
	var made []etcd.Member
	var peers []string
	var own uint64
	for entry := range strings.SplitSeq(initial, ",") {
		name, url, _ := strings.Cut(entry, "=")
		sum := fnv.New32a()
		_, _ = sum.Write([]byte(url))
		peers = append(peers, url)
		if url == cluster.PeerURL(h) {
			own = uint64(sum.Sum32())
		}
		made = append(made, etcd.Member{ID: uint64(sum.Sum32()), Name: name, PeerURLs: []string{url}, ClientURLs: []string{strings.Replace(url, ":2380", ":2379", 1)}})
	}
	if state != templates.EtcdExisting && len(e.members) == 0 {
		e.members = made
	}
	var known []string
	for _, m := range e.members {
		known = append(known, m.PeerURLs[0])
	}
	slices.Sort(peers)
	slices.Sort(known)
	i := slices.IndexFunc(e.members, func(m etcd.Member) bool { return m.PeerURLs[0] == cluster.PeerURL(h) })
	switch joins := state == templates.EtcdExisting; {
	case i < 0, !slices.Equal(peers, known), e.began[e.members[i].ID], joins && !e.quorum(), !joins && e.members[i].ID != own:
		return 0
	}
	e.members[i].Name, e.members[i].ClientURLs = h.Name, []string{"https://" + h.NodeIP.String() + ":2379"}
	return e.members[i].ID
}

// running is the member that runs on a host, or nil.
func (e *etcdLab) running(name string) *etcd.Member {
	if name == "" || e.started(name) == "" || strings.Contains(e.started(name), "--broken") {
		return nil
	}
	id, err := strconv.ParseUint(e.roots[name].Read(etcdData+"/id"), 16, 64)
	i := slices.IndexFunc(e.members, func(m etcd.Member) bool { return m.ID == id })
	if err != nil || i < 0 {
		return nil
	}
	return &e.members[i]
}

// voters counts those there are, and those that run.
func (e *etcdLab) voters() (all, up int) {
	for _, m := range e.members {
		if m.Learner {
			continue
		}
		all++
		ip, _, _ := net.SplitHostPort(strings.TrimPrefix(m.PeerURLs[0], "https://"))
		if at := e.running(e.nameAt(ip)); at != nil && at.ID == m.ID {
			up++
		}
	}
	return all, up
}

func (e *etcdLab) quorum() bool {
	all, up := e.voters()
	return 2*up > all
}

// requireMembers compares the list of members: names in order of peer URLs, learners with a ~.
func (e *etcdLab) requireMembers(want ...string) {
	e.t.Helper()
	e.guard.Lock()
	defer e.guard.Unlock()
	var got []string
	for _, m := range e.members {
		name := m.Name
		if m.Learner {
			name = "~" + name
		}
		got = append(got, name)
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		e.t.Errorf("members of etcd (-want +got):\n%s", diff)
	}
}

// loseData removes what a member keeps, and stops it.
func (e *etcdLab) loseData(name string) {
	e.t.Helper()
	if err := os.RemoveAll(e.roots[name].Path(etcdData)); err != nil {
		e.t.Fatal(err)
	}
}

// client is engine.Options.Etcd.
func (e *etcdLab) client(config etcd.Config) (engine.EtcdMember, error) {
	return &etcdClient{lab: e, config: config}, nil
}
