package phases_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kubewright/certs"
	"kubewright/internal/plan"
	"kubewright/internal/resource"
	"kubewright/internal/resource/memhost"
	"kubewright/internal/sh"
	"kubewright/inventory"
	"kubewright/phases"
	"kubewright/spec"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// each runs a test for every role on every kind of machine.
func each(t *testing.T, test func(t *testing.T, m machine)) {
	for _, role := range []string{"cp1", "cp2", "w1", "etcd1"} {
		for kind := range machines() {
			t.Run(role+"/"+kind, func(t *testing.T) {
				t.Parallel()
				test(t, newMachine(t, role, kind))
			})
		}
	}
}

// The law (docs/testing.md) for the whole product: a bare machine that was applied to is as
// wanted, and a run that is cut anywhere is completed by the next.
func TestLaw(t *testing.T) {
	each(t, func(t *testing.T, m machine) {
		f := m.fixture()
		f.Every, f.Again = 13, 13*37
		if testing.Short() {
			f.Every, f.Again = 61, 0
		}
		h := f.Law(t)
		if sshd := h.Units["sshd.service"]; sshd.Starts != 0 || !sshd.Enabled {
			t.Errorf("a unit that is none of ours was touched: %+v", sshd)
		}
	})
}

// An upgrade, a wider certificate or another setting is made true from any point as well.
func TestLawOfChanges(t *testing.T) {
	changes := map[string]func(m *machine){
		"settings": func(m *machine) {
			m.cluster.APIServer.ExtraArgs = map[string]string{"v": "4"}
			m.cluster.KubeletExtraArgs = map[string]string{"v": "4"}
			m.cluster.CertSANs = []string{"api.example.com"}
		},
		"new binaries": func(m *machine) {
			for name, a := range m.artifacts {
				if !a.Archive {
					a.URL += "?newer"
					m.web[a.URL] = []byte(name + " newer")
					a.SHA256 = resource.DigestOf(m.web[a.URL])
					m.artifacts[name] = a
				}
			}
		},
		"a registry": func(m *machine) { m.cluster.Addons.Registry = spec.Registry{Enabled: true, Host: "registry.internal"} },
		"serves NFS": func(m *machine) {
			m.cluster.Addons.NFS = spec.NFS{Enabled: true, Server: "10.111.0.11", Path: "/srv/nfs"}
			m.cluster.Addons.NFSHost = "cp1"
		},
		"no mirror":     func(m *machine) { m.cluster.Artifacts.RegistryMirrors = nil },
		"no more a cp":  func(m *machine) { m.host.Roles = m.host.Roles[:0]; m.host.Roles = append(m.host.Roles, "worker") },
		"other cluster": func(m *machine) { m.cluster.Endpoint.Host, m.cluster.NodeEndpoint.Host = "10.111.0.6", "10.111.0.6" },
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before, after := newMachine(t, "cp1", "vm"), newMachine(t, "cp1", "vm")
			change(&after)
			applied := before.bare(t)
			before.fixture().Converge(t, applied)
			f := after.fixture()
			f.Host = func(testing.TB) *memhost.Host {
				h := applied.Clone()
				h.Web = after.web
				return h
			}
			f.Every = 11
			if len(f.Plan(t, applied).Changes()) == 0 {
				t.Fatal("the change changes nothing")
			}
			f.Law(t)
		})
	}
}

// What the first look asks, knowing only the inventory, covers what is compared once the
// host is known: no host is looked at twice. And it never brings a secret home that the
// comparison does not need.
func TestOneLookIsEnough(t *testing.T) {
	each(t, func(t *testing.T, m machine) {
		first, second := probes(m.desired(t, false)), probes(m.desired(t, true))
		if !sh.NewLook(first).Covers(second) {
			t.Error("the first look does not ask all that is needed")
		}
		secret := map[string]bool{}
		for _, p := range second {
			if f, ok := p.(sh.FileProbe); ok && f.Secret && !f.Content {
				secret[f.Path] = true
			}
		}
		for _, p := range first {
			if f, ok := p.(sh.FileProbe); ok && secret[f.Path] && (!f.Secret || f.Content) {
				t.Errorf("the first look fetches the content of %s", f.Path)
			}
		}
	})
}

// A second run asks nothing and does nothing, whichever look it compares with.
func TestPlansAgreeWhateverWasAsked(t *testing.T) {
	each(t, func(t *testing.T, m machine) {
		h := m.bare(t)
		m.fixture().Converge(t, h)
		p, err := plan.ForHost(m.host.Name, m.desired(t, true), h.Answer(probes(m.desired(t, false))))
		if err != nil {
			t.Fatal(err)
		}
		if changes := p.Changes(); len(changes) > 0 {
			t.Errorf("%d changes on an applied host, the first: %+v", len(changes), changes[0].Change)
		}
	})
}

// Keys and the bundle's secrets are for root alone, and never part of what a plan shows.
func TestSecretsStaySecret(t *testing.T) {
	each(t, func(t *testing.T, m machine) {
		h := m.bare(t)
		m.fixture().Converge(t, h)
		pki, err := bundle()
		if err != nil {
			t.Fatal(err)
		}
		for path, n := range h.Nodes {
			private := strings.Contains(string(n.Content), "PRIVATE KEY") || strings.Contains(string(n.Content), "client-key-data")
			if private && n.Mode.Perm()&0o077 != 0 {
				t.Errorf("%s holds a private key and has mode %v", path, n.Mode)
			}
			if !m.host.Has("control-plane") && strings.Contains(string(n.Content), string(pki.Kubernetes.KeyPEM().Reveal())) {
				t.Errorf("%s: a worker has the key of the authority", path)
			}
			if !m.host.Has("control-plane") && strings.Contains(string(n.Content), string(pki.Etcd.KeyPEM().Reveal())) {
				t.Errorf("%s: it has the key of etcd's authority", path)
			}
			if strings.Contains(path, ".kw-tmp") {
				t.Errorf("%s was left behind", path)
			}
		}
		for path := range h.Nodes { // everything of ours drifts: nothing of it may show
			if n := h.Nodes[path]; n.Mode.IsRegular() && path != sh.ManifestPath {
				n.Content = slices.Concat(n.Content, []byte("\n")) // fixtures share what they hold
			}
		}
		var shown strings.Builder
		p := plan.Plan{Hosts: []plan.Host{m.fixture().Plan(t, h)}}
		if err := p.Text(&shown); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(shown.String(), "PRIVATE KEY") || strings.Contains(shown.String(), "key-data") {
			t.Error("a plan shows a private key")
		}
	})
}

// What is wanted of each role, resource by resource: the review of a change is the diff
// of these files.
func TestGoldenResources(t *testing.T) {
	files := map[string]machine{
		"control-plane-vm": newMachine(t, "cp1", "vm"), "control-plane-container": newMachine(t, "cp1", "container"),
		"worker-vm": newMachine(t, "w1", "vm"), "etcd-vm": newMachine(t, "etcd1", "vm"),
		"control-plane-apart-vm": machineOf(t, apartCluster(t), "cp1", "vm"), "control-plane-external-vm": machineOf(t, externalCluster(t), "cp1", "vm"),
	}
	for name, m := range files {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			for _, g := range m.desired(t, true) {
				fmt.Fprintf(&b, "%s\n", g.Phase)
				for _, r := range g.Resources {
					fmt.Fprintf(&b, "  %s%s\n", r.ID(), modeOf(r))
					if d, ok := r.(resource.Dependent); ok {
						for _, input := range d.Inputs() {
							fmt.Fprintf(&b, "    on %s\n", input)
						}
					}
				}
			}
			golden(t, name+".txt", b.String())
		})
	}
}

// modeOf shows modes that are not the usual ones.
func modeOf(r resource.Resource) string {
	switch r := r.(type) {
	case resource.File:
		if r.Mode != 0 && r.Mode != 0o644 {
			return fmt.Sprintf(" %04o", r.Mode)
		}
	case resource.Dir:
		if r.Mode != 0 && r.Mode != 0o755 {
			return fmt.Sprintf(" %04o", r.Mode)
		}
	}
	return ""
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (run the test with -update)", err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s (-want +got; -update when this is meant):\n%s", path, diff)
	}
}

func TestPhases(t *testing.T) {
	all := phases.All()
	if err := plan.CheckPhases(all); err != nil {
		t.Fatal(err)
	}
	for _, h := range slices.Concat(testCluster(t).Hosts, apartCluster(t).Hosts) {
		want := 1
		switch {
		case h.Has(inventory.RoleControlPlane):
			want = 3 // the authorities before anything else, on all of them; and in the end who the members are
		case h.Has(inventory.RoleEtcd):
			want = 2
		}
		if n := len(plan.Segments(all, h, false)); n != want {
			t.Errorf("%s is acted on in %d execs, want %d", h.Name, n, want)
		}
	}
	if found, err := phases.Find([]string{"pki", "etcd"}); err != nil || !found["pki"] || !found["etcd"] || len(found) != 2 {
		t.Errorf("Find = %v, %v", found, err)
	}
	if _, err := phases.Find([]string{"pki", "nonsense"}); err == nil || !strings.Contains(err.Error(), `"nonsense"`) || !strings.Contains(err.Error(), "kubelet") {
		t.Errorf("an unknown phase: %v; the error has to name it, and those there are", err)
	}
}

// API objects are made of the same world, for every phase that has some.
func TestObjects(t *testing.T) {
	c := testCluster(t)
	pki, err := bundle()
	if err != nil {
		t.Fatal(err)
	}
	w := plan.World{PKI: pki, Scope: c.Hosts, Targets: map[string]plan.Target{}, Manifests: map[string][]byte{}}
	for _, h := range c.Hosts {
		w.Targets[h.Name] = newMachine(t, h.Name, "vm").target(t, true)
	}
	var names []string
	for _, p := range phases.All() {
		objects, err := objectsOf(p, c, w)
		if err != nil {
			t.Fatalf("phase %s: %v", p.Name, err)
		}
		for _, o := range objects {
			if o.GetKind() == "Secret" || strings.Contains(fmt.Sprint(o.Object), "PRIVATE KEY") {
				t.Errorf("phase %s: %s %s carries a secret", p.Name, o.GetKind(), o.GetName())
			}
			names = append(names, fmt.Sprintf("%s  %s %s/%s", p.Name, o.GetKind(), o.GetNamespace(), o.GetName()))
		}
	}
	slices.Sort(names)
	golden(t, "objects.txt", strings.Join(names, "\n")+"\n")
}

// The certificates of a host that is renamed are issued anew, with the reason.
func TestRenewalSaysWhy(t *testing.T) {
	m := newMachine(t, "cp1", "vm")
	h := m.bare(t)
	m.fixture().Converge(t, h)
	m.cluster.CertSANs = []string{"api.example.com"}
	for _, it := range m.fixture().Plan(t, h).Changes() {
		if it.Change.ID == resource.CertificateID("/etc/kubernetes/pki/"+certs.APIServer+".crt") {
			if !strings.Contains(it.Change.Reason, "api.example.com") {
				t.Errorf("the reason is %q, want the missing name", it.Change.Reason)
			}
			return
		}
	}
	t.Error("a new name changes no certificate")
}

// Everything that an apply puts on a host is removed by a reset, from the manifest alone;
// what was there before is back, and a reset that is cut is completed by the next.
func TestResetLeavesNothing(t *testing.T) {
	each(t, func(t *testing.T, m machine) {
		before := m.bare(t)
		before.File("/etc/containerd/config.toml", 0o600, "theirs")
		before.Symlink("/etc/systemd/system/kubelet.service", "/dev/null")
		before.File("/opt/cni/bin/theirs", 0o755, "theirs")
		applied := before.Clone()
		m.fixture().Converge(t, applied)
		if m.host.Has("etcd") {
			applied.File("/var/lib/etcd/member/wal", 0o600, "written by etcd")
		}
		if m.host.Has("control-plane") || m.host.Has("worker") {
			for _, p := range []string{"/var/lib/kubelet/pods/x", "/etc/cni/net.d/10-calico.conflist", "/var/lib/containerd/x/y", "/var/log/pods/x"} {
				applied.File(p, 0o600, "written by what ran")
			}
		}
		applied.Pods, applied.Links = []string{"pod"}, []string{"cali1", "eth0", "cni0", "flannel.1", "nodelocaldns"}
		applied.Rules = []string{
			`-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG`, `-A PREROUTING -d 10.96.0.10/32 -p udp -m udp --dport 53 -m comment --comment "NodeLocal DNS Cache: skip conntrack" -j NOTRACK`,
			`-A INPUT -m comment --comment "theirs" -j ACCEPT`,
		}
		applied.Tables = []string{"ip flannel-ipv4", "inet theirs"}
		want := before.Clone()
		want.Links, want.Rules, want.Tables = []string{"eth0"}, applied.Rules[2:], applied.Tables[1:]
		want.Swaps, want.Sysctls, want.Modules = applied.Swaps, applied.Sysctls, applied.Modules // may serve others by now
		for limit := 0; ; limit += 97 {
			h := applied.Clone()
			cut, err := h.Run(plan.ResetTasks(plan.Reset(m.host.Name, h.Manifest())), limit)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := h.Run(plan.ResetTasks(plan.Reset(m.host.Name, h.Manifest())), -1); err != nil {
				t.Fatal(err)
			}
			if left := h.Manifest(); len(left) > 0 {
				t.Fatalf("the manifest still lists %v", left)
			}
			if err := h.Apply(sh.RemoveDir{Path: sh.StateDir, Tree: true}); err != nil {
				t.Fatal(err)
			}
			for _, d := range h.Differences(want, nil) {
				if !regexp.MustCompile(`^unit (containerd|kubelet|etcd)\.service`).MatchString(d) && !emptyParent(d) {
					t.Errorf("cut after %d operations: %s", limit, d)
				}
			}
			for _, unit := range []string{"containerd.service", "kubelet.service", "etcd.service"} {
				if u := h.Units[unit]; u != nil && (u.Active == "active" || u.Enabled) {
					t.Errorf("cut after %d operations: %s still runs: %+v", limit, unit, u)
				}
			}
			if !cut || t.Failed() {
				return
			}
		}
	})
}

// emptyParent passes over folders that other software of a host makes as well.
func emptyParent(difference string) bool {
	for _, dir := range []string{"/etc/modules-load.d", "/etc/sysctl.d", "/run/containerd"} {
		if strings.HasPrefix(difference, dir+": ") {
			return true
		}
	}
	return false
}
