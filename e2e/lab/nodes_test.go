package lab

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kubewright/internal/fault"
)

// haLab is a lab of three control planes and two workers that is up.
func haLab(t *testing.T) (*Lab, *fakeEngine, Config) {
	t.Helper()
	l, engine, _ := testLab(t)
	cfg := testConfig(t)
	cfg.ControlPlanes, cfg.VIP = 3, true
	up(t, l, cfg)
	engine.changes()
	return l, engine, cfg
}

// wantFiles compares the nodes in the inventory, in known_hosts and in state.json with those
// there must be, as "name address role".
func wantFiles(t *testing.T, dir string, want ...string) State {
	t.Helper()
	state, err := ReadState(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, n := range state.Nodes {
		got = append(got, n.Name+" "+n.Address.String()+" "+string(n.Role))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("nodes in %s (-want +got):\n%s", fileState, diff)
	}
	inventory, err := renderInventory(state)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{fileInventory: string(inventory), fileKnownHosts: string(knownHosts(state.Nodes))} {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(content)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	return state
}

func TestRemoveDestroysANodeWithItsDisks(t *testing.T) {
	for _, status := range []string{"running", "exited", "paused", "created"} {
		t.Run(status, func(t *testing.T) {
			l, engine, cfg := haLab(t)
			engine.containers["kubewright-lab-cp1"].status = status
			edited := []byte("# edited by its user\n")
			if err := writeFile(cfg.Dir, fileCluster, 0o644, edited); err != nil {
				t.Fatal(err)
			}
			if err := l.Remove(t.Context(), "lab", cfg.Dir, []string{"cp1"}); err != nil {
				t.Fatal(err)
			}
			want := []string{"rm kubewright-lab-cp1", "volume rm kubewright-lab-cp1-containerd",
				"volume rm kubewright-lab-cp1-etcd", "volume rm kubewright-lab-cp1-kubelet"}
			if diff := cmp.Diff(want, engine.changes()); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
			state := wantFiles(t, cfg.Dir, "cp2 10.111.0.11 control-plane", "cp3 10.111.0.12 control-plane",
				"worker1 10.111.0.13 worker", "worker2 10.111.0.14 worker")
			if len(state.Gone) != 1 || state.Gone[0].Name != "cp1" || state.VIP == nil {
				t.Errorf("gone are %v, the virtual IP is %v; want cp1, and one", state.Gone, state.VIP)
			}
			if cluster, err := os.ReadFile(filepath.Join(cfg.Dir, fileCluster)); err != nil || !bytes.Equal(cluster, edited) {
				t.Errorf("cluster.yaml, which says nothing of nodes, is now %q, %v", cluster, err)
			}
		})
	}
}

// A control plane is destroyed, and a new machine comes in its place: same name and address, all
// else its own.
func TestANodeComesBackUnderItsNameAndAddress(t *testing.T) {
	const cp1 = "cp1 10.111.0.10 control-plane"
	ways := map[string]func(*Lab, Config) error{
		"by add": func(l *Lab, cfg Config) error {
			_, err := l.Add(t.Context(), cfg, Node{Name: "cp1"})
			return err
		},
		"by up": func(l *Lab, cfg Config) error {
			_, err := l.Up(t.Context(), cfg)
			return err
		},
	}
	for name, remake := range ways {
		t.Run(name, func(t *testing.T) {
			l, engine, cfg := haLab(t)
			was := engine.containers["kubewright-lab-cp1"].files
			// Another is gone too, and the lab grew in between: the lowest address is not cp2's.
			if err := l.Remove(t.Context(), "lab", cfg.Dir, []string{"cp1", "worker2"}); err != nil {
				t.Fatal(err)
			}
			if _, err := l.Add(t.Context(), cfg, Node{Role: RoleWorker}); err != nil {
				t.Fatal(err)
			}
			wantFiles(t, cfg.Dir, "cp2 10.111.0.11 control-plane", "cp3 10.111.0.12 control-plane",
				"worker1 10.111.0.13 worker", "worker3 10.111.0.15 worker")
			if err := remake(l, cfg); err != nil {
				t.Fatal(err)
			}
			state := wantFiles(t, cfg.Dir, cp1, "cp2 10.111.0.11 control-plane", "cp3 10.111.0.12 control-plane",
				"worker1 10.111.0.13 worker", "worker3 10.111.0.15 worker")
			is := engine.containers["kubewright-lab-cp1"]
			if is.status != "running" || is.labels[labelAddress] != "10.111.0.10" {
				t.Errorf("cp1 is %s at %s", is.status, is.labels[labelAddress])
			}
			for _, file := range []string{"etc/machine-id", "etc/ssh/ssh_host_ed25519_key"} {
				if is.files[file] == "" || is.files[file] == was[file] {
					t.Errorf("%s of the machine that is gone: %q", file, was[file])
				}
			}
			if len(state.Gone) != 1 || state.Gone[0].Name != "worker2" {
				t.Errorf("gone are %v, want worker2", state.Gone)
			}
		})
	}
}

// What `make lab-ha` does with the lab of `make lab`, and that with the lab of `make lab-ha`.
func TestALabGrowsToThreeControlPlanesAndAVirtualIP(t *testing.T) {
	l, engine, _ := testLab(t)
	cfg := testConfig(t)
	before := up(t, l, cfg)
	engine.changes()
	cfg.ControlPlanes, cfg.VIP = 3, true
	after := up(t, l, cfg)
	wantFiles(t, cfg.Dir, "cp1 10.111.0.10 control-plane", "worker1 10.111.0.11 worker", "worker2 10.111.0.12 worker",
		"cp2 10.111.0.13 control-plane", "cp3 10.111.0.14 control-plane")
	if diff := cmp.Diff(before.Nodes[0].HostKey, after.Nodes[0].HostKey); diff != "" {
		t.Errorf("cp1 is another (-was +is):\n%s", diff)
	}
	if before.VIP != nil || after.VIP == nil || after.VIP.String() != "10.111.0.5" {
		t.Errorf("the virtual IP was %v and is %v", before.VIP, after.VIP)
	}
	cluster, err := os.ReadFile(filepath.Join(cfg.Dir, fileCluster))
	if err != nil || !strings.Contains(string(cluster), "address: 10.111.0.5\n") {
		t.Errorf("cluster.yaml, %v:\n%s", err, cluster)
	}
	cfg.ControlPlanes = 1
	if smaller := up(t, l, cfg); len(smaller.Nodes) != 5 || smaller.VIP == nil {
		t.Errorf("asked for fewer, the lab has %v and %v", smaller.Nodes, smaller.VIP)
	}
}

func TestUpLeavesRemovedNodesRemoved(t *testing.T) {
	l, _, cfg := haLab(t)
	if err := l.Remove(t.Context(), "lab", cfg.Dir, []string{"cp1", "worker1"}); err != nil {
		t.Fatal(err)
	}
	cfg.ControlPlanes, cfg.Workers = 1, 0 // what is not said
	state := up(t, l, cfg)
	wantFiles(t, cfg.Dir, "cp2 10.111.0.11 control-plane", "cp3 10.111.0.12 control-plane", "worker2 10.111.0.14 worker")
	if len(state.Gone) != 2 {
		t.Errorf("gone are %v, want cp1 and worker1", state.Gone)
	}
}

// Who removes a container by hand, or all nodes, has the names and addresses back all the same.
func TestUpRemembersNodesThatNobodyRemovedThroughIt(t *testing.T) {
	l, engine, cfg := haLab(t)
	if err := l.Remove(t.Context(), "lab", cfg.Dir, []string{"cp1", "cp2", "cp3", "worker1"}); err != nil {
		t.Fatal(err)
	}
	delete(engine.containers, "kubewright-lab-worker2")
	cfg.ControlPlanes, cfg.Workers = 1, 2
	up(t, l, cfg)
	wantFiles(t, cfg.Dir, "cp1 10.111.0.10 control-plane", "worker1 10.111.0.13 worker", "worker2 10.111.0.14 worker")
}

func TestAddMakesOneNodeAndTouchesNoOther(t *testing.T) {
	tests := map[string]struct {
		want     Node
		name, at string
	}{
		"a control plane that never was":     {Node{Role: RoleControlPlane}, "cp4", "10.111.0.15"},
		"a host of etcd that never was":      {Node{Role: RoleEtcd}, "etcd1", "10.111.0.15"},
		"a worker that never was":            {Node{Role: RoleWorker}, "worker3", "10.111.0.15"},
		"a name of one's own":                {Node{Name: "db", Role: RoleWorker}, "db", "10.111.0.15"},
		"one that is gone":                   {Node{Name: "cp3"}, "cp3", "10.111.0.12"},
		"one that is gone, in another role":  {Node{Name: "cp3", Role: RoleWorker}, "cp3", "10.111.0.12"},
		"a number that was left out, by now": {Node{Name: "cp9", Role: RoleControlPlane}, "cp9", "10.111.0.15"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			l, engine, cfg := haLab(t)
			if err := l.Remove(t.Context(), "lab", cfg.Dir, []string{"cp3"}); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(l.Stop(t.Context(), "lab", []string{"cp2"}), l.Pause(t.Context(), "lab", []string{"worker1"})); err != nil {
				t.Fatal(err)
			}
			engine.changes()
			node, err := l.Add(t.Context(), cfg, tc.want)
			if err != nil {
				t.Fatal(err)
			}
			if node.Name != tc.name || node.Address.String() != tc.at || tc.want.Role != "" && node.Role != tc.want.Role || node.HostKey == "" {
				t.Errorf("added %+v, want %s at %s as a %s", node, tc.name, tc.at, tc.want.Role)
			}
			for _, change := range engine.changes() {
				if strings.Contains(change, "kubewright-lab-") && !strings.Contains(change, "kubewright-lab-"+tc.name) {
					t.Errorf("%q was done", change)
				}
			}
			for other, want := range map[string]string{"cp2": "exited", "worker1": "paused"} {
				if got := engine.containers["kubewright-lab-"+other].status; got != want {
					t.Errorf("%s is %s, was %s", other, got, want)
				}
			}
			state, err := ReadState(cfg.Dir)
			if err != nil || !slices.Contains(state.Nodes, node) || len(state.Nodes) != 5 {
				t.Errorf("nodes in the state are %v, %v", state.Nodes, err)
			}
		})
	}
}

func TestAddRefuses(t *testing.T) {
	tests := map[string]struct {
		arrange func(*testing.T, *fakeEngine, *Config)
		node    Node
		want    string
	}{
		"no role":              {nil, Node{Name: "cp4"}, `--role ""`},
		"an unknown role":      {nil, Node{Role: "db"}, `--role "db": want control-plane, etcd or worker`},
		"the role of the lab":  {nil, Node{Role: RoleMirror}, `--role "mirror"`},
		"a bad name":           {nil, Node{Name: "cp-4", Role: RoleWorker}, `"cp-4": want a lower-case letter`},
		"the name of the lab":  {nil, Node{Name: "mirror", Role: RoleWorker}, "the lab's own container"},
		"a node that is there": {nil, Node{Name: "cp1", Role: RoleWorker}, "has a node cp1 already"},
		"no lab": {func(t *testing.T, _ *fakeEngine, c *Config) { c.Dir = t.TempDir() },
			Node{Role: RoleWorker}, "no lab here: run `kubewright lab up`"},
		"another lab": {func(_ *testing.T, _ *fakeEngine, c *Config) { c.Name = "other" },
			Node{Role: RoleWorker}, "is the folder of lab lab"},
		"a bad configuration": {func(_ *testing.T, _ *fakeEngine, c *Config) { c.Login = "su" },
			Node{Role: RoleWorker}, `--login "su"`},
		"a full subnet": {func(_ *testing.T, f *fakeEngine, c *Config) {
			c.Subnet = netip.MustParsePrefix("10.111.0.0/28")
			f.containers["kubewright-lab-worker2"].labels[labelAddress] = "10.111.0.14"
		}, Node{Role: RoleWorker}, "more than 5 nodes"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			l, engine, cfg := haLab(t)
			if tc.arrange != nil {
				tc.arrange(t, engine, &cfg)
			}
			_, err := l.Add(t.Context(), cfg, tc.node)
			if err == nil || !strings.Contains(err.Error(), tc.want) || fault.KindOf(err) != fault.BadInput {
				t.Errorf("error = %v, want a bad input with %q in it", err, tc.want)
			}
			if changes := engine.changes(); len(changes) > 0 {
				t.Errorf("changed: %v", changes)
			}
		})
	}
}

func TestAddThatFailsIsCompletedByUp(t *testing.T) {
	l, engine, cfg := haLab(t)
	engine.fail["start kubewright-lab-cp4"] = errors.New("no space left")
	_, err := l.Add(t.Context(), cfg, Node{Role: RoleControlPlane})
	if err == nil || !strings.Contains(err.Error(), "cp4: podman start kubewright-lab-cp4: no space left") {
		t.Fatalf("error = %v", err)
	}
	delete(engine.fail, "start kubewright-lab-cp4")
	if _, err := l.Add(t.Context(), cfg, Node{Name: "cp4", Role: RoleControlPlane}); err == nil || !strings.Contains(err.Error(), "`kubewright lab up`") {
		t.Errorf("once more: error = %v", err)
	}
	state := up(t, l, cfg)
	if !named(state.Nodes, "cp4") || engine.containers["kubewright-lab-cp4"].status != "running" {
		t.Errorf("after up the nodes are %v", state.Nodes)
	}
}

func TestAddThatIsStoppedSaysHowToGoOn(t *testing.T) {
	l, _, cfg := haLab(t)
	ctx, cancel := context.WithCancel(t.Context())
	l.login = func(context.Context, target) error { cancel(); return context.Canceled }
	_, err := l.Add(ctx, cfg, Node{Role: RoleWorker})
	if err == nil || !strings.Contains(err.Error(), "`kubewright lab up` goes on with it") || fault.KindOf(err) != fault.Interrupted {
		t.Errorf("error = %v", err)
	}
}

func TestRemoveRefuses(t *testing.T) {
	l, engine, cfg := haLab(t)
	for _, tc := range []struct {
		lab, dir, want string
		names          []string
	}{
		{"lab", cfg.Dir, `no node "cp9"; it has cp1, cp2, cp3, worker1, worker2`, []string{"cp1", "cp9"}},
		{"lab", cfg.Dir, `no node "mirror"`, []string{"mirror"}},
		{"lab", cfg.Dir, "no node is named: `kubewright lab down`", nil},
		{"lab", t.TempDir(), "no lab here", []string{"cp1"}},
		{"other", cfg.Dir, "is the folder of lab lab", []string{"cp1"}},
	} {
		err := l.Remove(t.Context(), tc.lab, tc.dir, tc.names)
		if err == nil || !strings.Contains(err.Error(), tc.want) || fault.KindOf(err) != fault.BadInput {
			t.Errorf("%s of %s: error = %v, want a bad input with %q in it", tc.names, tc.lab, err, tc.want)
		}
	}
	if changes := engine.changes(); len(changes) > 0 {
		t.Errorf("changed: %v", changes)
	}
}

func TestRemoveThatFailsSaysWhatIsLeft(t *testing.T) {
	for _, change := range []string{"rm kubewright-lab-cp1", "volume rm kubewright-lab-cp1-etcd"} {
		t.Run(change, func(t *testing.T) {
			l, engine, cfg := haLab(t)
			engine.fail[change] = errors.New("device busy")
			err := l.Remove(t.Context(), "lab", cfg.Dir, []string{"cp1", "worker1"})
			if err == nil || !strings.Contains(err.Error(), "cp1: podman ") || !strings.Contains(err.Error(), "device busy") {
				t.Errorf("error = %v", err)
			}
			state, err := ReadState(cfg.Dir)
			if err != nil {
				t.Fatal(err)
			}
			left := engine.containers["kubewright-lab-cp1"] != nil
			if named(state.Nodes, "cp1") != left || named(state.Nodes, "worker1") {
				t.Errorf("nodes in the state are %v; cp1 is left: %v", state.Nodes, left)
			}
			delete(engine.fail, change)
			if left {
				return
			}
			// The disk that stayed is not that of the new node.
			if _, err := l.Add(t.Context(), cfg, Node{Name: "cp1"}); err != nil {
				t.Error(err)
			}
		})
	}
}
