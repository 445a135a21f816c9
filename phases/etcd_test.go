package phases_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kubewright/cluster"
	"kubewright/internal/plan"
	"kubewright/internal/resource"
	"kubewright/internal/resource/memhost"
	"kubewright/inventory"
	"kubewright/phases"
	"kubewright/templates"
)

// Whatever changes on a host of etcd, a run that is cut is completed by the next, and the member runs
// with what is wanted.
func TestLawOfChangesOfEtcd(t *testing.T) {
	changes := map[string]func(m *machine){
		"settings": func(m *machine) { m.cluster.Etcd.ExtraArgs = map[string]string{"log-level": "warn"} },
		"new release": func(m *machine) {
			a := m.artifacts["etcd"]
			a.URL += "?newer"
			m.web[a.URL] = archive(t, []string{"etcd-v3.7.3-linux-amd64/etcd", "etcd-v3.7.3-linux-amd64/etcdctl", "etcd-v3.7.3-linux-amd64/etcdutl", "newer"})
			a.SHA256 = resource.DigestOf(m.web[a.URL])
			m.artifacts["etcd"] = a
		},
		"no more a member": func(m *machine) { m.host.Roles = []inventory.Role{inventory.RoleWorker} },
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before, after := newMachine(t, "etcd1", "vm"), newMachine(t, "etcd1", "vm")
			change(&after)
			applied := before.bare(t)
			before.fixture().Converge(t, applied)
			f := after.fixture()
			f.Host = func(testing.TB) *memhost.Host {
				h := applied.Clone()
				h.Web = after.web
				return h
			}
			if name == "no more a member" {
				f.Every = 23
			}
			if len(f.Plan(t, applied).Changes()) == 0 {
				t.Fatal("the change changes nothing")
			}
			f.Law(t)
		})
	}
}

// What a member was told at its first start stays, however the cluster grows: a change would restart
// it for nothing. Only a run that has decided how it starts says otherwise.
func TestFirstStartIsKept(t *testing.T) {
	for host, path := range map[string]string{"cp1": "/etc/kubernetes/manifests/etcd.yaml", "etcd1": "/etc/systemd/system/etcd.service"} {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, host, "vm")
			told := m.cluster.InitialCluster()
			h := m.bare(t)
			m.fixture().Converge(t, h)
			requireStart(t, h, path, told, "new")

			joined := m.host.Clone()
			joined.Name, joined.NodeIP = "etcd9", netip.MustParseAddr("10.111.0.39")
			m.cluster.Hosts = append(m.cluster.Hosts, joined)
			if ids := changed(m.fixture().Plan(t, h)); !slices.Equal(ids, []string{"file:/var/lib/kubewright/etcd"}) {
				t.Errorf("a member that is added changes %v", ids)
			}
			m.cluster.Etcd.ExtraArgs = map[string]string{"log-level": "warn"}
			m.fixture().Converge(t, h)
			requireStart(t, h, path, told, "new")

			all := m.cluster.InitialCluster()
			m.start = plan.EtcdStart{InitialCluster: all, Existing: true}
			m.fixture().Converge(t, h)
			m.start = plan.EtcdStart{}
			m.fixture().Converge(t, h)
			requireStart(t, h, path, all, "existing")

			delete(h.Nodes, path)
			m.fixture().Converge(t, h)
			requireStart(t, h, path, all, "new")
		})
	}
}

func requireStart(t *testing.T, h *memhost.Host, path, initial, state string) {
	t.Helper()
	text := file(t, h, path)
	if !strings.Contains(text, `"--initial-cluster=`+initial+`"`) || !strings.Contains(text, `"--initial-cluster-state=`+state+`"`) {
		t.Errorf("want the start %s %s in:\n%s", initial, state, text)
	}
}

func changed(p plan.Host) []string {
	var ids []string
	for _, it := range p.Changes() {
		ids = append(ids, string(it.Change.ID))
	}
	return ids
}

// Where API servers find etcd, and what kubeadm is told of it.
func TestWaysToEtcd(t *testing.T) {
	const all = "https://10.111.0.31:2379,https://10.111.0.32:2379,https://10.111.0.33:2379"
	for name, tt := range map[string]struct {
		cluster *cluster.Cluster
		servers string
		kubeadm string
	}{
		"on control planes": {testCluster(t), "https://127.0.0.1:2379", "local:"},
		"on its own hosts":  {apartCluster(t), all, "external:"},
		"somebody else's":   {externalCluster(t), "https://etcd.example.com:2379,https://10.111.9.2:2379", "external:"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := machineOf(t, tt.cluster, "cp1", "vm")
			h := m.bare(t)
			m.fixture().Converge(t, h)
			pod := file(t, h, "/etc/kubernetes/manifests/kube-apiserver.yaml")
			if got := match(t, pod, `--etcd-servers=([^"\s]+)`); got != tt.servers {
				t.Errorf("the API server asks %s, want %s", got, tt.servers)
			}
			config := m.objects(t)["kubeadm-config"]
			got := match(t, config, `(?s)etcd:\n  (\S+).*imageRepository`)
			for url := range strings.SplitSeq(tt.servers, ",") {
				if strings.Contains(config, url) != (tt.kubeadm == "external:") {
					t.Errorf("whether kubeadm is told of %s, in:\n%s", url, config)
				}
			}
			if got != tt.kubeadm {
				t.Errorf("kubeadm is told %s, want %s, in:\n%s", got, tt.kubeadm, config)
			}
		})
	}
}

// A host of etcd runs no pods: few phases are about it, and nothing inside the cluster follows from it.
func TestHostsOfEtcdAreNoNodes(t *testing.T) {
	var runs []string
	for _, p := range phases.All() {
		if p.On != nil && p.On(newMachine(t, "etcd1", "vm").host) {
			runs = append(runs, p.Name)
		}
	}
	if diff := cmp.Diff([]string{"host", "binaries", "pki", "etcd", "members"}, runs); diff != "" {
		t.Errorf("phases on a host of etcd (-want +got):\n%s", diff)
	}
	for host, follows := range map[string]bool{"etcd1": false, "w1": true} {
		vm, container := newMachine(t, host, "vm").objects(t)["kube-proxy"], newMachine(t, host, "container").objects(t)["kube-proxy"]
		if vm == "" || (vm != container) != follows {
			t.Errorf("whether kube-proxy's configuration follows from %s: %v", host, vm != container)
		}
	}
}

// Nothing is verified before all is there that works on some host, be it a node or not: the last phase
// of each is waited for. The note of the members is no such thing.
func TestVerifyWaitsForEveryHost(t *testing.T) {
	awaited := map[string]bool{}
	for _, p := range slices.Backward(phases.All()) {
		if p.Verify || awaited[p.Name] && p.Desire == nil {
			for _, e := range p.After {
				awaited[e.Phase] = true
			}
		}
	}
	for _, name := range []string{"cp1", "w1", "etcd1"} {
		var last string
		for _, p := range phases.All() {
			if p.Desire != nil && p.On(newMachine(t, name, "vm").host) && p.Name != "members" {
				last = p.Name
			}
		}
		if !awaited[last] {
			t.Errorf("verify does not wait for %s on %s, but for %v", last, name, awaited)
		}
	}
}

// What a unit is written with is read back from it, whatever signs are in it.
func TestFlagsOfAUnitAreReadBack(t *testing.T) {
	args := map[string]string{"a": "", "b": `"quoted" \ $HOME 50%`, "c": "x=y --d=z", "log-level": "warn"}
	unit, err := templates.EtcdUnit(templates.EtcdData{
		StaticPod: templates.StaticPod{ExtraArgs: args}, NodeName: "etcd1", Address: netip.MustParseAddr("10.111.0.31"), InitialCluster: "etcd1=https://10.111.0.31:2380",
	})
	if err != nil {
		t.Fatal(err)
	}
	flags := resource.UnitFile{}.Flags(unit)
	args[templates.EtcdInitialCluster] = "etcd1=https://10.111.0.31:2380"
	for name, want := range args {
		if got, ok := flags[name]; got != want || !ok {
			t.Errorf("%s is %q, want %q, in:\n%s", name, got, want, unit)
		}
	}
}
