package engine_test

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"

	"kubewright/cluster"
	"kubewright/internal/check"
	"kubewright/internal/engine"
	"kubewright/internal/etcd"
	"kubewright/internal/fault"
	"kubewright/internal/plan"
	"kubewright/internal/report"
	"kubewright/internal/resource"
	"kubewright/internal/sh"
	"kubewright/inventory"
)

// externalLab is a lab whose API servers use an etcd that somebody else runs.
type externalLab struct {
	*etcdLab
	// id identifies the etcd; data is the authority, as PEM, of the cluster whose data it has, "" for
	// none.
	id   uint64
	data string
	// away are endpoints that do not answer.
	away map[string]bool
}

const endpointA, endpointB = "https://10.111.9.1:2379", "https://10.111.9.2:2379"

func newExternalLab(t *testing.T, controlPlanes int) *externalLab {
	t.Helper()
	x := &externalLab{etcdLab: newEtcdLab(t, controlPlanes), id: 0xcafe, away: map[string]bool{}}
	for i, h := range x.cluster.Hosts {
		x.cluster.Hosts[i].Roles = slices.DeleteFunc(slices.Clone(h.Roles), func(r inventory.Role) bool { return r == inventory.RoleEtcd })
	}
	x.cluster.ExternalEtcd = cluster.ExternalEtcd{Endpoints: []string{endpointA, endpointB}}
	note := phase("pki", []plan.Edge{plan.AllHosts("authorities")}, func(t plan.Target) []resource.Resource {
		return []resource.Resource{resource.File{Path: sh.MembersPath, Content: []byte(plan.ExternalEtcdNote(t.ExternalEtcd) + "\n"), Read: true}}
	})
	note.On = inventory.ControlPlanes
	var list []plan.Phase
	for _, p := range x.phases {
		switch p.Name {
		case "etcd":
			p.On, p.After = inventory.EtcdMembers, []plan.Edge{plan.SameHost("pki")}
			list = append(list, note, p)
		case "control-plane":
			p.After = append(p.After, plan.SameHost("pki"))
			list = append(list, p)
		default:
			list = append(list, p)
		}
	}
	x.phases = list
	x.ready = func(name string) bool { return x.listens(name) && x.restarting[name] == 0 }
	x.with(func(o *engine.Options) {
		o.Etcd = func(etcd.Config) (engine.EtcdMember, error) {
			return nil, errors.New("the cluster has no members of its own")
		}
		o.ExternalEtcd = func(c etcd.Config) (engine.EtcdReader, error) { return reader{x, c}, nil }
	})
	return x
}

// fill has the API server of a host write what it tells those who join.
func (x *externalLab) fill(host string) { x.data = x.roots[host].Read(engine.PKIDir + "/ca.crt") }

// reader asks an endpoint.
type reader struct {
	lab    *externalLab
	config etcd.Config
}

func (r reader) View(context.Context) (etcd.View, error) {
	if r.lab.away[r.config.Endpoint] {
		return etcd.View{}, errors.New("connection refused")
	}
	return etcd.View{ClusterID: r.lab.id, Version: "3.6.1", Quorum: true}, nil
}

func (r reader) Count(_ context.Context, prefix string) (int64, error) {
	if prefix != "/registry/" {
		r.lab.t.Errorf("the keys below %s are counted", prefix)
	}
	return int64(len(r.lab.data)), nil
}

func (r reader) Get(_ context.Context, key string) ([]byte, error) {
	if key != "/registry/configmaps/kube-public/cluster-info" {
		r.lab.t.Errorf("the key %s is read", key)
	}
	return []byte("k8s\x00 certificate-authority-data: " + base64.StdEncoding.EncodeToString([]byte(r.lab.data)) + "\n"), nil
}

func (reader) Close() error { return nil }

// requireRefused requires that an apply is refused by preflight for a reason, and that it changes nothing.
func (x *externalLab) requireRefused(want string) {
	x.t.Helper()
	x.clear()
	err := x.apply()
	if fault.KindOf(err) != fault.Preflight || !strings.Contains(err.Error(), want) {
		x.t.Errorf("error is %v, want a refusal with %q", err, want)
	}
	x.requireLog()
}

func TestExternalEtcd(t *testing.T) {
	x := newExternalLab(t, 2)
	x.mustApply()
	x.fill("cp1")
	slices.Sort(x.log)
	x.requireLog("cp1 api kubelet", "cp2 api kubelet", "w1 kubelet")
	for _, host := range []string{"cp1", "cp2"} {
		if note := x.roots[host].Read(sh.MembersPath); note != "external cafe/registry\n" {
			t.Errorf("the note on %s is %q", host, note)
		}
		if x.roots[host].Read(engine.PKIDir+"/etcd/ca.key") != "" {
			t.Errorf("%s has an authority for etcd", host)
		}
	}
	x.requireEmpty()

	// One after the other, each of which the others wait for.
	x.podArgs["api"], x.slow = []string{"--new=1"}, 2
	x.onEntry = func(entry string) {
		for _, name := range []string{"cp1", "cp2"} {
			if !strings.HasPrefix(entry, name) && !x.apiReady(name) {
				t.Errorf("%s, while %s is not back", entry, name)
			}
		}
	}
	x.mustApply()
	x.onEntry = nil
	slices.Sort(x.log)
	x.requireLog("cp1 ~api", "cp2 ~api")

	// A snapshot of it was restored elsewhere.
	x.id, x.cluster.ExternalEtcd.Endpoints = 0xbeef, []string{"https://10.111.9.3:2379"}
	x.mustApply()
	if note := x.roots["cp2"].Read(sh.MembersPath); note != "external beef/registry\n" {
		t.Errorf("the note on cp2 is %q", note)
	}
}

// An endpoint that is away is borne, all of them are not.
func TestExternalEtcdAway(t *testing.T) {
	x := newExternalLab(t, 1)
	x.cluster.IgnoreChecks = slices.DeleteFunc(check.Names(), func(name string) bool { return name == check.ExternalEtcd })
	x.away[endpointA] = true
	x.mustApply()
	x.fill("cp1")
	x.away[endpointB] = true
	x.requireRefused("no endpoint of the external etcd answers: " + endpointA + ": connection refused; " + endpointB + ": connection refused")
	x.cluster.IgnoreChecks = check.Names()
	x.requireRefused("whether the external etcd holds the data of this cluster, or of another, is not known")
	d, _, err := x.engine().Doctor(t.Context())
	x.ended()
	if err != nil || !slices.ContainsFunc(d.Results, func(r check.Result) bool { return r.Check == check.ExternalEtcd && r.Ignored }) {
		t.Errorf("doctor: %v, %v", d, err)
	}
}

func TestExternalEtcdOfAnotherCluster(t *testing.T) {
	x := newExternalLab(t, 2)
	x.data = "somebody's"
	x.requireRefused("the external etcd has the data of another cluster below /registry")
	x.data = ""
	x.mustApply()
	x.fill("cp1")

	x.id, x.data = 0xbeef, ""
	x.requireRefused("the data of the cluster is in the etcd cafe/registry, and there is none in the one at the endpoints, beef/registry")
	x.data = "somebody's"
	x.requireRefused("the external etcd has the data of another cluster below /registry")
	x.id = 0xcafe
	x.requireRefused("the external etcd has the data of another cluster below /registry")
	// A run that leaves the control planes alone asks nobody.
	x.with(func(o *engine.Options) { o.Limit = inventory.Workers })
	if _, err := x.plan(); err != nil {
		t.Error(err)
	}
}

// The data of a cluster does not get lost between members of its own and those of somebody else.
func TestExternalEtcdAndOwnMembers(t *testing.T) {
	x := newExternalLab(t, 1)
	x.mustApply()
	x.fill("cp1")
	external := x.cluster.ExternalEtcd
	x.cluster.ExternalEtcd = cluster.ExternalEtcd{}
	x.cluster.Hosts[0].Roles = []inventory.Role{inventory.RoleControlPlane, inventory.RoleEtcd}
	err := x.apply()
	if fault.KindOf(err) != fault.Preflight || !strings.Contains(err.Error(), "in the external etcd cafe/registry") {
		t.Errorf("error is %v", err)
	}

	e := newEtcdLab(t, 1)
	e.bringUp()
	e.cluster.ExternalEtcd = external
	e.cluster.Hosts[0].Roles = []inventory.Role{inventory.RoleControlPlane}
	err = e.apply()
	if fault.KindOf(err) != fault.Preflight || !strings.Contains(err.Error(), "has the role etcd no more, but the data of a member") {
		t.Errorf("error is %v", err)
	}
}

// A first run that was cut where one API server runs, and the other does not yet, is completed, whatever
// changes on the one: it does not wait for the other.
func TestExternalEtcdBegun(t *testing.T) {
	x := newExternalLab(t, 2)
	x.hook = func(host string, _ int64, script []byte) error {
		if host == "cp2" && isAct(script) && strings.Contains(string(script), "unit:kubelet.service") {
			return errors.New("cut")
		}
		return nil
	}
	if err := x.apply(); err == nil {
		t.Fatal("the run was not cut")
	}
	x.fill("cp1")
	x.hook = nil
	x.clear()
	x.podArgs["api"] = []string{"--new=1"}
	x.mustApply()
	slices.Sort(x.log)
	x.requireLog("cp1 ~api", "cp2 api kubelet")
}

func TestExternalEtcdRemoveAndReset(t *testing.T) {
	x := newExternalLab(t, 2)
	x.mustApply()
	x.fill("cp1")
	x.nodes["cp2"] = true
	x.clear()
	shown, err := x.remove(t.Context(), "cp2")
	if err != nil || len(shown.Actions) > 0 {
		t.Fatalf("%+v, %v", shown, err)
	}
	x.requireLog("cordon cp2", "cp2 -api", "delete cp2")
	x.requireClean("cp2")

	if _, _, err := x.engine().Reset(t.Context(), engine.ResetOptions{}, accept); err != nil {
		t.Fatal(err)
	}
	x.ended()
	x.requireClean("cp1")
	const kept = "the data of the cluster stays in the external etcd at " + endpointA + ", " + endpointB + ", below /registry;"
	if !slices.ContainsFunc(x.events.of(report.Warning), func(e report.Event) bool { return strings.HasPrefix(e.Message, kept) }) {
		t.Error("nothing is said of what a reset leaves")
	}
}
