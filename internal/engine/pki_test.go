package engine_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"kubewright/certs"
	"kubewright/internal/engine"
	"kubewright/internal/fault"
	"kubewright/internal/plan"
	"kubewright/internal/sh"
	"kubewright/internal/sh/shtest"
	"kubewright/inventory"
	"kubewright/phases"
)

// pkiLab is two control planes and a worker, with the real phases that give them their
// authorities and certificates.
func pkiLab(t *testing.T) *lab {
	t.Helper()
	var list []plan.Phase
	for _, p := range phases.All() {
		switch p.Name {
		case "authorities":
			p.After = nil
			list = append(list, p)
		case "pki":
			p.After = []plan.Edge{plan.AllHosts("authorities")}
			list = append(list, p)
		}
	}
	l := newLab(t, 3, list...)
	l.cluster.Hosts[1].Roles = l.cluster.Hosts[0].Roles // w1 is a control plane too
	return l
}

func newBundle(t *testing.T) *certs.Bundle {
	t.Helper()
	b, err := certs.GenerateBundle(certs.ECDSAP256, certs.Env{Now: time.Now(), Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// give puts files of a bundle on a host, those whose names are given, or all.
func give(r *shtest.Root, b *certs.Bundle, names ...string) {
	for _, f := range b.Files() {
		if len(names) == 0 || contains(names, f.Name) {
			r.Write(engine.PKIDir+"/"+f.Name, string(f.Content.Reveal()))
		}
	}
}

func contains(names []string, name string) bool {
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}

// requireAuthorities wants these authorities on both control planes, and no key of theirs
// on the worker.
func (l *lab) requireAuthorities(b *certs.Bundle) {
	l.t.Helper()
	for _, name := range []string{"cp1", "w1"} {
		for _, f := range b.Files() {
			if l.roots[name].Read(engine.PKIDir+"/"+f.Name) != string(f.Content.Reveal()) {
				l.t.Errorf("%s has another %s", name, f.Name)
			}
		}
	}
	if l.roots["w2"].Read(engine.PKIDir+"/ca.crt") != string(b.Kubernetes.CertPEM()) || l.roots["w2"].Read(engine.PKIDir+"/ca.key") != "" {
		l.t.Error("the worker has to have the certificate of the authority, and no key")
	}
}

// A new cluster gets authorities once; every later run, on whatever machine, adopts them.
func TestAuthoritiesAreMadeOnce(t *testing.T) {
	l := pkiLab(t)
	p, err := l.plan()
	if err != nil || !p.NewPKI || p.CA != "" {
		t.Fatalf("a new cluster: %+v, %v", p, err)
	}
	l.mustApply()
	ca := l.roots["cp1"].Read(engine.PKIDir + "/ca.crt")
	if p, err = l.plan(); err != nil {
		t.Fatal(err)
	}
	if p.NewPKI || p.CA == "" || !p.Empty() {
		t.Fatalf("the next run: new %v, CA %q, %d changes", p.NewPKI, p.CA, p.Count())
	}
	if err := os.RemoveAll(l.roots["w1"].Path("/etc/kubernetes")); err != nil {
		t.Fatal(err)
	}
	l.mustApply() // w1 gets them back from cp1
	for _, name := range []string{"cp1", "w1", "w2"} {
		if l.roots[name].Read(engine.PKIDir+"/ca.crt") != ca {
			t.Errorf("%s has another authority", name)
		}
	}
}

// Authorities that were there, on one control plane, are taken over, as they are.
func TestAuthoritiesAreAdopted(t *testing.T) {
	l := pkiLab(t)
	b := newBundle(t)
	give(l.roots["w1"], b)
	p, err := l.plan()
	if err != nil {
		t.Fatal(err)
	}
	if p.NewPKI || p.CA != b.Kubernetes.Fingerprint() {
		t.Fatalf("CA %q, want %q", p.CA, b.Kubernetes.Fingerprint())
	}
	l.mustApply()
	l.requireAuthorities(b)
}

// refused requires that a run ends with a kind of error that says something, that it has
// a hint or a remedy, and that nothing was changed.
func (l *lab) refused(kind fault.Kind, says ...string) {
	l.t.Helper()
	before := map[string]map[string]string{}
	for name, r := range l.roots {
		before[name] = r.Tree()
	}
	err := l.apply()
	if code := fault.ExitCode(err); code != int(kind) {
		l.t.Errorf("exit code %d, want %d: %v", code, kind, err)
	}
	text := fmt.Sprint(err) + strings.Join(fault.Hints(err), "\n")
	for _, s := range says {
		if !strings.Contains(text, s) {
			l.t.Errorf("the error does not say %q: %s", s, text)
		}
	}
	for name, r := range l.roots {
		for p, was := range before[name] {
			if now := r.Tree()[p]; now != was && !strings.HasPrefix(p, sh.StateDir) {
				l.t.Errorf("%s: %s changed from %q to %q", name, p, was, now)
			}
		}
	}
}

func TestTwoAuthoritiesAreRefused(t *testing.T) {
	l := pkiLab(t)
	a, b := newBundle(t), newBundle(t)
	give(l.roots["cp1"], a)
	give(l.roots["w1"], b)
	l.refused(fault.Preflight, "cp1", "w1", "two different clusters", "ca.crt")
}

func TestAuthorityLostWithDataIsRefused(t *testing.T) {
	l := pkiLab(t)
	l.roots["cp1"].Write("/var/lib/etcd/member/snap/db", "data")
	l.refused(fault.Preflight, "cp1", "data of etcd", "backup")
}

// Half a set of files that somebody else left is not completed: its other half may sign
// for a running cluster.
func TestPartOfForeignAuthoritiesIsRefused(t *testing.T) {
	l := pkiLab(t)
	give(l.roots["cp1"], newBundle(t), "ca.crt", "ca.key")
	l.refused(fault.Preflight, "cp1", "front-proxy-ca.crt", "sa.key")
	l.roots["cp1"].Write(sh.ManifestPath, "file:"+engine.PKIDir+"/ca.crt\t-\n")
	l.roots["cp1"].Write("/var/lib/etcd/member/snap/db", "data") // ours, but in use
	l.refused(fault.Preflight, "cp1", "front-proxy-ca.crt")
}

// Whatever first runs that were cut have left of authorities, of one or of several, the
// next run makes a cluster with one: nothing was signed by them yet.
func TestAuthoritiesBegunByUs(t *testing.T) {
	whole := len(newBundle(t).Files())
	for name, tc := range map[string]struct{ cp1, w1 int }{
		"one file":                {1, 0},
		"all but one":             {whole - 1, 0},
		"two hosts, two attempts": {3, 5},
		"one has all":             {whole, 2},
	} {
		t.Run(name, func(t *testing.T) {
			l := pkiLab(t)
			first, second := newBundle(t), newBundle(t)
			begin(l.roots["cp1"], first, tc.cp1)
			begin(l.roots["w1"], second, tc.w1)
			p, err := l.plan()
			if err != nil || p.NewPKI != (tc.cp1 < whole) {
				t.Fatalf("the plan: %+v, %v", p, err)
			}
			l.mustApply()
			if tc.cp1 == whole {
				l.requireAuthorities(first)
			}
			for _, f := range first.Files() {
				if a, b := l.roots["cp1"].Read(engine.PKIDir+"/"+f.Name), l.roots["w1"].Read(engine.PKIDir+"/"+f.Name); a == "" || a != b {
					t.Errorf("the control planes have different %s", f.Name)
				}
			}
			if p, err = l.plan(); err != nil || p.NewPKI || !p.Empty() {
				t.Errorf("the next plan: %+v, %v", p, err)
			}
		})
	}
}

// begin leaves what a run leaves that is cut after it wrote some of a bundle's files.
func begin(r *shtest.Root, b *certs.Bundle, count int) {
	manifest := ""
	for _, f := range b.Files()[:count] {
		r.Write(engine.PKIDir+"/"+f.Name, string(f.Content.Reveal()))
		manifest += "file:" + engine.PKIDir + "/" + f.Name + "\tabc\n"
	}
	if count > 0 {
		r.Write(sh.ManifestPath, manifest)
	}
}

// A host that knows a cluster, of whatever name, is not given to a new one: its control
// plane was lost, or is not in the inventory.
func TestNoNewAuthorityBesideATrace(t *testing.T) {
	for name, tc := range map[string]struct{ path, content, says string }{
		"the mark of this cluster": {sh.ClusterPath, "lab sha256:x\n", "cluster lab (sha256:x)"},
		"a certificate":            {engine.PKIDir + "/ca.crt", string(newBundle(t).Kubernetes.CertPEM()), "certificate of the authority sha256:"},
		"data":                     {"/var/lib/etcd/member/snap/db", "data", "data of etcd"},
	} {
		t.Run(name, func(t *testing.T) {
			l := pkiLab(t)
			l.roots["w2"].Write(tc.path, tc.content)
			l.roots["w2"].Write(sh.ManifestPath, "file:"+tc.path+"\tabc\n") // it is ours
			l.refused(fault.Preflight, "w2", tc.says, "backup", "reset")
		})
	}
}

// A link that leads nowhere may be a key on a disk that is not mounted.
func TestUnreadableAuthorityIsNotAMissingOne(t *testing.T) {
	l := pkiLab(t)
	if err := errors.Join(
		os.MkdirAll(l.roots["cp1"].Path(engine.PKIDir), 0o755),
		os.Symlink("/secure/ca.key", l.roots["cp1"].Path(engine.PKIDir+"/ca.key")),
	); err != nil {
		t.Fatal(err)
	}
	l.refused(fault.Preflight, "cp1", "ca.key", "cannot be read")
}

// Authorities that no control plane would keep are not made.
func TestNewAuthoritiesNeedAllControlPlanes(t *testing.T) {
	l := pkiLab(t)
	limit, err := inventory.ParseSelector("w2")
	if err != nil {
		t.Fatal(err)
	}
	l.options = func(o *engine.Options) { o.Limit = limit }
	l.refused(fault.BadInput, "--limit leaves out cp1")
	l.options = func(o *engine.Options) { o.Only = map[string]bool{"pki": true} }
	l.refused(fault.BadInput, "--phase leaves out authorities")
	l.options = nil
	l.mustApply()
	l.options = func(o *engine.Options) { o.Limit = limit }
	l.mustApply()
}

// Whether there is a cluster is known only when every control plane was seen.
func TestUnseenControlPlane(t *testing.T) {
	l := pkiLab(t)
	limit, err := inventory.ParseSelector("cp1")
	if err != nil {
		t.Fatal(err)
	}
	l.options = func(o *engine.Options) { o.Limit = limit }
	l.refuse["w1"] = true
	l.refused(fault.Unreachable, "w1", "every control plane")
	give(l.roots["cp1"], newBundle(t))
	l.refused(fault.BadInput, "--limit leaves out w1")           // which may have nothing of it yet
	l.roots["cp1"].Write("/var/lib/etcd/member/snap/db", "data") // the cluster is there: w1 need not be seen
	if err := l.apply(); err != nil {
		t.Error(err)
	}
}

// A host that is a control plane no more keeps its data: pruning it would take a member
// from the others without asking them.
func TestLostRoleKeepsData(t *testing.T) {
	l := pkiLab(t)
	give(l.roots["cp1"], newBundle(t))
	l.roots["cp1"].Write("/var/lib/etcd/member/snap/db", "data")
	l.roots["w1"].Write("/var/lib/etcd/member/snap/db", "data")
	l.roots["w1"].Write(sh.ManifestPath, "tree:/var/lib/etcd\tdigest\n")
	l.cluster.Hosts[1].Roles = []inventory.Role{inventory.RoleWorker}
	l.refused(fault.Preflight, "w1", "the role etcd no more", "node remove")
	if l.roots["w1"].Read("/var/lib/etcd/member/snap/db") != "data" {
		t.Error("the data is gone")
	}
}

// etcdApart gives w2, which was a worker, etcd for itself.
func (l *lab) etcdApart() {
	for i, h := range l.cluster.Hosts {
		l.cluster.Hosts[i].Roles = []inventory.Role{inventory.RoleControlPlane}
		if h.Name == "w2" {
			l.cluster.Hosts[i].Roles = []inventory.Role{inventory.RoleEtcd}
		}
	}
}

// A member of etcd with a host of its own gets no authority, and trusts that of etcd only.
func TestHostsOfEtcdGetNoAuthority(t *testing.T) {
	l := pkiLab(t)
	l.etcdApart()
	l.mustApply()
	if l.roots["w2"].Read(engine.PKIDir+"/etcd/ca.crt") != l.roots["cp1"].Read(engine.PKIDir+"/etcd/ca.crt") {
		t.Error("it trusts another authority than the others")
	}
	for p := range l.roots["w2"].Tree() {
		name, ours := strings.CutPrefix(p, engine.PKIDir+"/")
		if certificate, _, _ := strings.Cut(strings.TrimPrefix(name, "etcd/"), "."); ours && !contains([]string{"etcd", "ca", "server", "peer", "healthcheck-client"}, certificate) || name == "etcd/ca.key" || name == "ca.crt" {
			t.Errorf("it has %s", p)
		}
	}
	if l.roots["cp1"].Read(engine.PKIDir+"/etcd/server.crt") != "" || l.roots["cp1"].Read(engine.PKIDir+"/apiserver-etcd-client.crt") == "" {
		t.Error("a control plane without a member has the certificate of one, or none to ask the members with")
	}
}

// A new cluster waits for no member that a run leaves out, and the first members are asked of all hosts.
func TestNewClustersNeedAllMembers(t *testing.T) {
	l := pkiLab(t)
	l.etcdApart()
	limit, err := inventory.ParseSelector("cp1,w1")
	if err != nil {
		t.Fatal(err)
	}
	l.options = func(o *engine.Options) { o.Limit = limit }
	l.refused(fault.BadInput, "all members of etcd", "--limit leaves out w2")
	give(l.roots["cp1"], newBundle(t))
	l.roots["w2"].Write("/var/lib/etcd/member/snap/db", "data") // the cluster is there
	if err := l.apply(); err != nil {
		t.Error(err)
	}
}

// Etcd does not move to other hosts by itself: it would begin anew there, without its data.
func TestMovedEtcdIsRefused(t *testing.T) {
	l := pkiLab(t)
	give(l.roots["cp1"], newBundle(t))
	l.roots["cp1"].Write("/var/lib/etcd/member/snap/db", "data")
	l.roots["cp1"].Write(sh.ManifestPath, "tree:/var/lib/etcd\tdigest\n")
	l.etcdApart()
	limit, err := inventory.ParseSelector("w2")
	if err != nil {
		t.Fatal(err)
	}
	for _, only := range []inventory.Selector{inventory.Everyone, limit} {
		l.options = func(o *engine.Options) { o.Limit = only }
		l.refused(fault.Preflight, "cp1", "moving etcd to other hosts", "roles back")
	}
}

// Preflight's refusals stop a run, all at once, unless they are ignored by name.
func TestPreflight(t *testing.T) {
	l := newLab(t, 2, service("a", "1"))
	l.cluster.IgnoreChecks = nil
	for name, r := range l.roots {
		r.Write("/proc/meminfo", "MemTotal:         100000 kB\n")
		r.Write("/var/lib/kubewright/cluster", map[string]string{"cp1": "lab sha256:x\n", "w1": "other sha256:y\n"}[name])
	}
	l.refused(fault.Preflight, "cp1", "w1", "memory", "belongs to the cluster other")
	p, err := l.plan()
	if err == nil || p == nil || len(p.Checks) == 0 {
		t.Errorf("a plan has to show the checks that refuse: %v", err)
	}
}
