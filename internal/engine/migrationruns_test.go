package engine_test

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"kubewright/internal/engine"
	"kubewright/internal/etcd"
	"kubewright/internal/fault"
	"kubewright/internal/host"
	"kubewright/internal/plan"
	"kubewright/internal/report"
	"kubewright/internal/resource"
	"kubewright/inventory"
)

// While ways are kept nothing is removed, so no plan says that it will be; the run that takes them away
// shows all that goes.
func TestPlanWhileWaysAreKept(t *testing.T) {
	const extra = "/etc/extra"
	l := newWayLab(t, 1)
	wanted := l.phases
	l.phases = append(slices.Clone(wanted), phase("extra", nil, func(plan.Target) []resource.Resource {
		return []resource.Resource{resource.File{Path: extra, Content: []byte("ours")}}
	}))
	l.mustApply()
	l.phases = wanted
	l.atVIP()
	pruned := func(p *plan.Plan) (ids []string) {
		for _, h := range p.Hosts {
			for _, it := range h.Changes() {
				if it.Status == plan.Orphan {
					ids = append(ids, h.Name+" "+string(it.Change.ID))
				}
			}
		}
		slices.Sort(ids)
		return ids
	}
	var shown, done []string
	apply := func() {
		_, stats, err := l.engine().Apply(t.Context(), func(p *plan.Plan) error {
			shown = pruned(p)
			return nil
		})
		l.requireStats(stats)
		if err != nil {
			t.Fatal(err)
		}
		done = nil
		for name, root := range l.roots {
			if root.Read(extra) == "" {
				done = append(done, name+" file:"+extra)
			}
		}
		slices.Sort(done)
	}
	l.defaultsWith(func(o *engine.Options) { o.Limit = inventory.ControlPlanes })
	apply()
	if len(shown) > 0 || len(done) > 0 {
		t.Errorf("while ways are kept, the plan removes %q, and the run %q", shown, done)
	}
	l.requireEmpty()
	l.defaultsWith(nil)
	apply()
	for _, id := range append(done, "cp1 pod:"+haproxyManifest) {
		if !slices.Contains(shown, id) {
			t.Errorf("%s goes, and the plan does not say so: %q", id, shown)
		}
	}
	if len(done) != len(l.roots) {
		t.Errorf("removed in the end: %q", done)
	}
	l.requireEmpty()
}

// Who joins in a run that moves the clients is a member like all others when the old way is closed: it
// is not taken through its turn where nothing is left to do.
func TestJoinWhileMigrating(t *testing.T) {
	l := newWayLab(t, 2)
	l.controlPlanes(3)
	cp3 := l.cluster.Hosts[2]
	l.servers[cp3.Name] = l.serve(cp3)
	l.atVIP()
	var mu sync.Mutex
	last, asked := "", map[string]bool{} // the control plane that was changed last, and the members that were asked since
	l.hook = func(name string, _ int64, script []byte) error {
		if isAct(script) && name != "w1" {
			mu.Lock()
			defer mu.Unlock()
			last, asked = name, map[string]bool{}
		}
		return nil
	}
	l.defaultsWith(func(o *engine.Options) {
		client := o.Etcd
		o.Etcd = func(c etcd.Config) (engine.EtcdMember, error) {
			mu.Lock()
			defer mu.Unlock()
			u, err := url.Parse(c.Endpoint)
			if err != nil {
				t.Error(err)
			}
			asked[l.nameAt(u.Hostname())] = true
			return client(c)
		}
	})
	if err := l.apply(); err != nil {
		t.Fatal(err)
	}
	l.requireMembers("cp1", "cp2", "cp3")
	delete(asked, last)
	if last == "" || len(asked) > 0 {
		t.Errorf("after the last change, to %q, members were asked for another turn: %v", last, asked)
	}
	l.defaultsWith(nil)
	l.requireEmpty()
}

// A host that is no node yet has no part in opening the ways: a failure there does not say that it is done.
func TestOutcomeOfOpeningWays(t *testing.T) {
	l := newWayLab(t, 1)
	w2 := inventory.Host{Name: "w2", Address: "10.111.0.42", NodeIP: netip.MustParseAddr("10.111.0.42"), Roles: []inventory.Role{inventory.RoleWorker}}
	l.cluster.Hosts, l.roots["w2"] = append(l.cluster.Hosts, w2), newRoot(t, "w2")
	l.atVIP()
	l.stuck = true // nothing goes further than to open the ways
	l.hook = func(name string, _ int64, script []byte) error {
		if name == "cp1" && isAct(script) {
			return &host.ExitError{Host: name, Code: 1, Stderr: []byte(errBoom.Error())}
		}
		return nil
	}
	if err := l.apply(); err == nil {
		t.Fatal("an act has failed")
	}
	var said []string
	for _, e := range l.events.of(report.Notice) {
		if strings.Contains(e.Message, "done on") {
			said = append(said, e.Message)
		}
	}
	if !slices.Equal(said, []string{"done on w1; not done on cp1"}) {
		t.Errorf("said: %q", said)
	}
}

// A host that the run leaves out, and whose API server has the name but does not answer, is no fault of
// --limit: it is given some seconds, and nobody is sent elsewhere when it needs more.
func TestWayThatIsNotLimited(t *testing.T) {
	l := newWayLab(t, 3)
	l.atVIP()
	l.defaultsWith(func(o *engine.Options) { o.Only = map[string]bool{"pki": true, "load-balancer": true, "vip": true} })
	if err := l.apply(); err != nil {
		t.Fatal(err)
	}
	only, err := inventory.ParseSelector("w1")
	if err != nil {
		t.Fatal(err)
	}
	l.defaultsWith(func(o *engine.Options) { o.Limit = only })
	refused := -1 // how often the API server of cp3 says that it is not ready, -1 for always
	l.ready = func(name string) bool {
		if name != "cp3" || refused == 0 {
			return true
		}
		refused--
		return false
	}
	requireFault(t, l.apply(), fault.Unhealthy, "cp3 to have a certificate for 10.111.0.5", "nobody was sent there")
	if to := serverOf(l.roots["w1"].Read(kubeletConf)); to != "https://127.0.0.1:7443" {
		t.Errorf("w1 goes to %s", to)
	}
	refused = 3
	if err := l.apply(); err != nil {
		t.Fatal(err)
	}
	if to := serverOf(l.roots["w1"].Read(kubeletConf)); to != "https://10.111.0.5:6443" || refused != 0 {
		t.Errorf("w1 goes to %s, and cp3 would refuse %d times more", to, refused)
	}
}
