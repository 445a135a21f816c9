package engine_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"

	"kubewright/certs"
	"kubewright/internal/engine"
	"kubewright/internal/etcd"
	"kubewright/internal/fault"
	"kubewright/internal/host"
	"kubewright/internal/kube"
	"kubewright/internal/plan"
	"kubewright/internal/resource"
	"kubewright/internal/secret"
	"kubewright/internal/sh"
	"kubewright/inventory"
)

// planeLab is a lab in which the last control plane joins by itself.
type planeLab struct {
	*etcdLab
	name string
	// shut are hosts on which nothing answers to the machine that joins; told is how often the cluster was told.
	shut map[string]bool
	told int
	// still is what the cluster being what it was said to be comes to.
	still error
}

// newPlaneLab has control planes that run, and one more host, which is to be one.
func newPlaneLab(t *testing.T, running int) *planeLab {
	t.Helper()
	p := &planeLab{etcdLab: newEtcdLab(t, running), name: "cp" + string(rune('1'+running)), shut: map[string]bool{}}
	p.phases = append(p.phases, phase("kubeconfigs", nil, func(t plan.Target) []resource.Resource {
		return []resource.Resource{kubeletConfig(t)}
	}))
	p.bringUp()
	p.controlPlanes(running + 1)
	p.with(func(o *engine.Options) {
		o.Limit = func(h inventory.Host) bool { return h.Name == p.name }
		o.Dial = func(ctx context.Context, h inventory.Host) (host.Conn, error) {
			conn, err := p.dial(ctx, h)
			if h.Name != p.name {
				return neighbour{conn, p, h.Name}, err
			}
			return conn, err
		}
	})
	// The kubelet of the machine registers its node.
	p.onEntry = func(entry string) {
		if strings.HasPrefix(entry, p.name+" ") {
			p.nodes[p.name] = true
		}
	}
	return p
}

// neighbour is a host that can only be connected to.
type neighbour struct {
	host.Conn
	lab  *planeLab
	name string
}

func (n neighbour) Run(context.Context, host.Script, io.Writer) error {
	n.lab.t.Errorf("a script is run on %s", n.name)
	return host.ErrNeighbour
}

func (n neighbour) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if n.lab.shut[n.name] {
		return nil, &host.DialError{Host: n.name, Address: addr, Err: syscall.ECONNREFUSED}
	}
	return n.Conn.Dial(ctx, network, addr)
}

func (p *planeLab) joining() engine.Joining {
	p.t.Helper()
	files := certs.HostFiles{}
	for _, name := range certs.BundleFiles() {
		files[name] = secret.Bytes(p.roots["cp1"].Read(engine.PKIDir + "/" + name))
	}
	bundle, err := certs.Adopt(map[string]certs.HostFiles{"upload": files})
	if err != nil {
		p.t.Fatal(err)
	}
	conn, err := p.dial(p.t.Context(), p.cluster.Hosts[0])
	if err != nil {
		p.t.Fatal(err)
	}
	client, err := kube.New(kube.Config{Server: "https://10.111.0.21:6443", CAPEM: bundle.Kubernetes.CertPEM(), Token: "abcdef.0123456789abcdef", Dial: conn.Dial})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(client.Close)
	return engine.Joining{Authority: bundle.Kubernetes, API: client, Bundle: bundle, Still: func(context.Context, *kube.Client) error {
		p.requireLease("when it is asked what has changed")
		return p.still
	}, Tell: func(context.Context, *kube.Client) error {
		p.requireLease("when the cluster is told")
		p.told++
		return nil
	}}
}

// addLearner has etcd list a member of a machine that joins too.
func (p *planeLab) addLearner() {
	p.guard.Lock()
	defer p.guard.Unlock()
	p.members = append(p.members, etcd.Member{ID: 0x999, Learner: true, PeerURLs: []string{"https://10.111.0.99:2380"}})
}

// requireLease requires that the run has the Lease of the cluster.
func (p *planeLab) requireLease(when string) {
	p.guard.Lock()
	defer p.guard.Unlock()
	var lease coordinationv1.Lease
	if err := json.Unmarshal(p.lease, &lease); err != nil || lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "" {
		p.t.Errorf("nobody has the Lease %s: %v, %s", when, err, p.lease)
	}
}

func (p *planeLab) join() (*plan.Plan, error) {
	e, j := p.engine(), p.joining()
	planned, stats, err := e.Join(p.t.Context(), j, accept)
	p.requireStats(stats)
	return planned, err
}

// A control plane joins by itself: as a learner that is promoted before it gets an API server, while the others
// are reached over the network only. A second time there is nothing to do; and apply finds it one of its own.
func TestJoinControlPlane(t *testing.T) {
	for _, running := range []int{1, 2} {
		p := newPlaneLab(t, running)
		planned, err := p.join()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"add " + p.name, "promote " + p.name}, actions(planned)); diff != "" {
			t.Errorf("changes of the membership (-want +got):\n%s", diff)
		}
		p.requireLog("add "+p.name, p.name+" etcd kubelet", "promote "+p.name, p.name+" api")
		p.requireMembers([]string{"cp1", "cp2", "cp3"}[:running+1]...)
		if p.told != 1 || len(planned.Orphans) > 0 {
			t.Errorf("the cluster was told %d times; orphans: %v", p.told, planned.Orphans)
		}
		// These phases leave no mark of the cluster.
		p.roots[p.name].Write(sh.ClusterPath, "lab "+p.joining().Authority.Fingerprint()+"\n")
		if planned, err = p.join(); err != nil || !planned.Empty() || p.told != 2 {
			t.Errorf("a second time: %v, told %d times", err, p.told)
		}
		p.requireLog()
		p.with(func(*engine.Options) {})
		changed, err := p.plan()
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range changed.Hosts {
			for _, it := range h.Changes() {
				if string(it.Change.ID) != "file:"+sh.MembersPath || h.Name == p.name {
					t.Errorf("%s: apply would change %s", h.Name, it.Change.ID)
				}
			}
		}
	}
}

// Without a majority of the members no control plane joins, and nothing is changed.
func TestJoinControlPlaneIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		prepare func(*planeLab)
		kind    fault.Kind
		says    []string
	}{
		"one does not answer": {func(p *planeLab) { p.shut["cp1"], p.shut["cp2"] = true, true }, fault.Unhealthy,
			[]string{"a control plane joins etcd, of which no majority of members answers here", "cp1 (10.111.0.21): nothing answers on 2379/tcp"}},
		"no quorum": {func(p *planeLab) { p.down["cp2"] = true }, fault.Unhealthy, []string{"cp3: join: "}},
		"a worker": {func(p *planeLab) {
			p.roots["cp3"].Write(sh.ManifestPath, "unit:kubelet.service\t0\n")
			p.roots["cp3"].Write(sh.ClusterPath, "lab sha256:0\n")
		}, fault.Preflight, []string{"cp3: the machine is a worker, and cannot join as a control plane"}},
		"another has joined meanwhile": {func(p *planeLab) { // which is said before etcd is looked at
			p.still = fault.New(fault.Locked, "it has changed")
			p.addLearner()
		}, fault.Locked, []string{"it has changed"}},
		"another has begun to join":    {(*planeLab).addLearner, fault.Unhealthy, []string{"cp3 cannot join: etcd takes one learner at a time"}},
		"another machine of that name": {func(p *planeLab) { p.nodes["cp3"] = true }, fault.Preflight, []string{"the cluster has a node cp3 already"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlaneLab(t, 2)
			e, j := p.engine(), p.joining()
			test.prepare(p)
			_, _, err := e.Join(t.Context(), j, accept)
			requireFault(t, err, test.kind, test.says...)
			p.requireLog()
			if p.roots["cp3"].Read(engine.PKIDir+"/ca.key") != "" || p.told != 0 {
				t.Error("something was changed")
			}
		})
	}
}
