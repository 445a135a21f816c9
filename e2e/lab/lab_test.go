package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kubewright/internal/fault"
)

func up(t *testing.T, l *Lab, cfg Config) State {
	t.Helper()
	state, err := l.Up(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

func TestUpMakesTheLab(t *testing.T) {
	l, engine, logins := testLab(t)
	cfg := testConfig(t)
	cfg.Workers = 1
	state := up(t, l, cfg)

	digest, err := rootfsDigest("amd64")
	if err != nil {
		t.Fatal(err)
	}
	image := imageName(digest)
	want := []string{"mmdebstrap", "import " + filepath.Join(cfg.CacheDir, "lab", "node-"+digest[:12]+".tar") + " " + image, "network create kubewright-lab"}
	for _, node := range []string{"cp1", "worker1"} {
		name := "kubewright-lab-" + node
		want = append(want, "volume create "+name+"-containerd", "volume create "+name+"-etcd", "volume create "+name+"-kubelet",
			"create "+image, "cp - "+name+":/", "start "+name)
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, engine.changes()); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	if len(*logins) != 2 || (*logins)[0].command != bootedCommand || (*logins)[0].port != 22 || (*logins)[0].user != "root" {
		t.Errorf("logins = %+v, want two of root that wait for the boot", *logins)
	}
	onDisk, err := ReadState(cfg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(onDisk) != fmt.Sprint(state) || len(state.Nodes) != 2 {
		t.Errorf("state on disk is %v, returned was %v", onDisk, state)
	}

	// Every node is its own, and known_hosts has the key that it was given.
	cp, worker := engine.containers["kubewright-lab-cp1"], engine.containers["kubewright-lab-worker1"]
	for _, file := range []string{"etc/machine-id", "etc/ssh/ssh_host_ed25519_key", "etc/hostname"} {
		if cp.files[file] == "" || cp.files[file] == worker.files[file] {
			t.Errorf("%s is %q on cp1 and %q on worker1", file, cp.files[file], worker.files[file])
		}
	}
	known, err := os.ReadFile(filepath.Join(cfg.Dir, fileKnownHosts))
	if err != nil {
		t.Fatal(err)
	}
	wantKnown := "10.111.0.10,cp1 " + cp.files["etc/ssh/ssh_host_ed25519_key.pub"] + "10.111.0.11,worker1 " + worker.files["etc/ssh/ssh_host_ed25519_key.pub"]
	if string(known) != wantKnown {
		t.Errorf("known_hosts:\n%s\nwant:\n%s", known, wantKnown)
	}
	for _, name := range []string{fileKey, fileCluster, fileInventory} {
		if _, err := os.Stat(filepath.Join(cfg.Dir, name)); err != nil {
			t.Error(err)
		}
	}
	if diff := cmp.Diff(8192, values(t, l.settings)["fs/inotify/max_user_instances"]); diff != "" {
		t.Errorf("inotify limit (-want +got):\n%s", diff)
	}
}

func TestUpAgainChangesNothing(t *testing.T) {
	l, engine, logins := testLab(t)
	cfg := testConfig(t)
	before := up(t, l, cfg)
	engine.changes()
	*logins = nil
	after := up(t, l, cfg)
	if diff := cmp.Diff(fmt.Sprint(before), fmt.Sprint(after)); diff != "" {
		t.Errorf("state (-before +after):\n%s", diff)
	}
	want := []string{"cp - kubewright-lab-cp1:/", "cp - kubewright-lab-worker1:/", "cp - kubewright-lab-worker2:/"} // the login key
	if diff := cmp.Diff(want, engine.changes()); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	for _, to := range *logins {
		if to.command != loginCommand {
			t.Errorf("%s: the login runs %q: what runs on a node in use may have failed", to.node.Name, to.command)
		}
	}
}

func TestUpCompletesWhatIsThere(t *testing.T) {
	l, engine, _ := testLab(t)
	cfg := testConfig(t)
	cfg.Workers = 3
	before := up(t, l, cfg)
	engine.containers["kubewright-lab-cp1"].status = "exited"
	engine.containers["kubewright-lab-worker1"].status = "paused"
	engine.containers["kubewright-lab-worker2"].status = "created" // Up was stopped before its start
	engine.containers["kubewright-lab-worker2"].files = nil
	delete(engine.containers, "kubewright-lab-worker3")
	if err := os.RemoveAll(cfg.Dir); err != nil { // and its key with it
		t.Fatal(err)
	}
	engine.changes()

	cfg.Workers = 4
	after := up(t, l, cfg)
	if len(after.Nodes) != 5 {
		t.Fatalf("nodes = %v, want 5", after.Nodes)
	}
	for i, n := range before.Nodes {
		same := n.HostKey == after.Nodes[i].HostKey
		remade := n.Name == "worker2" || n.Name == "worker3"
		if n.Address != after.Nodes[i].Address || same == remade {
			t.Errorf("%s was at %s, is at %s; same host key: %v", n.Name, n.Address, after.Nodes[i].Address, same)
		}
	}
	changes := engine.changes()
	for _, want := range []string{
		"start kubewright-lab-cp1", "unpause kubewright-lab-worker1",
		"rm kubewright-lab-worker2", "volume rm kubewright-lab-worker2-etcd", "start kubewright-lab-worker2",
		"volume rm kubewright-lab-worker3-etcd", "start kubewright-lab-worker3", "start kubewright-lab-worker4",
	} {
		if !slices.Contains(changes, want) {
			t.Errorf("%q was not done; done was:\n%s", want, strings.Join(changes, "\n"))
		}
	}
	for _, other := range []string{"rm kubewright-lab-cp1", "volume rm kubewright-lab-cp1-etcd", "mmdebstrap"} {
		if slices.Contains(changes, other) {
			t.Errorf("%q was done", other)
		}
	}
}

func TestUpSetsThePasswordOfSudo(t *testing.T) {
	l, _, logins := testLab(t)
	cfg := testConfig(t)
	cfg.Login = LoginSudoPassword
	up(t, l, cfg)
	password, err := os.ReadFile(filepath.Join(cfg.Dir, fileSudoPassword))
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range *logins {
		if to.stdin != "admin:"+string(password) || !strings.HasSuffix(to.command, "&& chpasswd") || strings.Contains(to.command, string(password)) {
			t.Errorf("%s: %q with stdin %q, want the password %q in stdin only", to.node.Name, to.command, to.stdin, password)
		}
	}
	up(t, l, cfg)
	if again, err := os.ReadFile(filepath.Join(cfg.Dir, fileSudoPassword)); err != nil || !bytes.Equal(again, password) {
		t.Errorf("the password was %q and is %q, %v", password, again, err)
	}
}

func TestUpServesArtifacts(t *testing.T) {
	l, engine, _ := testLab(t)
	cfg := testConfig(t)
	cfg.Artifacts = artifacts(t)
	var asked netip.Addr
	l.mirror = func(_ context.Context, address netip.Addr) error { asked = address; return nil }
	state := up(t, l, cfg)
	if state.Mirror == nil || asked.String() != "10.111.0.2" || *state.Mirror != asked || len(state.Nodes) != 3 {
		t.Errorf("mirror %v, waited for %v, nodes %v", state.Mirror, asked, state.Nodes)
	}
	if c := engine.containers["kubewright-lab-mirror"]; c == nil || c.status != "running" {
		t.Fatalf("the mirror is %+v", c)
	}
	if nodes, err := l.Status(t.Context(), "lab"); err != nil || len(nodes) != 3 {
		t.Errorf("nodes = %v, %v: the mirror is none", nodes, err)
	}
	up(t, l, cfg) // replaces it

	cfg.Artifacts = ""
	if state := up(t, l, cfg); state.Mirror != nil || engine.containers["kubewright-lab-mirror"] != nil {
		t.Errorf("without artifacts there is still a mirror: %v", state.Mirror)
	}
}

func TestUpFailsOnNodesThatFail(t *testing.T) {
	l, engine, _ := testLab(t)
	cfg := testConfig(t)
	engine.fail["start kubewright-lab-worker1"] = errors.New("no space left")
	_, err := l.Up(t.Context(), cfg)
	if err == nil || !strings.Contains(err.Error(), "worker1: podman start kubewright-lab-worker1: no space left") {
		t.Fatalf("error = %v", err)
	}
	if n := engine.containers["kubewright-lab-worker2"]; n == nil || n.status != "running" {
		t.Error("worker2 did not finish because worker1 failed")
	}
	delete(engine.fail, "start kubewright-lab-worker1")
	up(t, l, cfg)
}

func TestUpThatIsStoppedSaysHowToGoOn(t *testing.T) {
	l, _, _ := testLab(t)
	ctx, cancel := context.WithCancel(t.Context())
	l.login = func(context.Context, target) error { cancel(); return context.Canceled }
	_, err := l.Up(ctx, testConfig(t))
	if err == nil || !strings.Contains(err.Error(), "`kubewright lab up` goes on with it") {
		t.Errorf("error = %v", err)
	}
	if kind := fault.KindOf(err); kind != fault.Interrupted {
		t.Errorf("kind = %v, want %v", kind, fault.Interrupted)
	}
}

func TestUpRefusesBeforeItChangesAnything(t *testing.T) {
	tests := map[string]struct {
		arrange func(*testing.T, *Lab, *fakeEngine, *Config)
		want    string
		kind    fault.Kind
	}{
		"a bad configuration": {func(_ *testing.T, _ *Lab, _ *fakeEngine, c *Config) { c.ControlPlanes = 0 },
			"--control-planes 0", fault.BadInput},
		"a machine that lacks something": {func(_ *testing.T, l *Lab, _ *fakeEngine, _ *Config) { l.machine.Root = false },
			"root: ", fault.Preflight},
		"a folder of another lab": {func(t *testing.T, _ *Lab, _ *fakeEngine, c *Config) {
			if err := writeState(c.Dir, State{Name: "other", Subnet: c.Subnet}); err != nil {
				t.Fatal(err)
			}
		}, "is the folder of lab other", fault.BadInput},
		"a subnet that the machine is on": {func(_ *testing.T, l *Lab, _ *fakeEngine, _ *Config) {
			l.machine.Networks = []netip.Prefix{netip.MustParsePrefix("10.111.0.0/16")}
		}, "overlaps 10.111.0.0/16", fault.BadInput},
		"another subnet than the lab has": {func(_ *testing.T, _ *Lab, f *fakeEngine, _ *Config) {
			f.containers["kubewright-lab-cp1"] = &fakeContainer{status: "running", labels: map[string]string{
				labelLab: "lab", labelNode: "cp1", labelRole: "control-plane", labelAddress: "10.99.0.10"}}
		}, "lab lab exists with cp1 at 10.99.0.10", fault.BadInput},
		"artifacts that were not built": {func(t *testing.T, _ *Lab, _ *fakeEngine, c *Config) { c.Artifacts = t.TempDir() },
			"is not complete", fault.BadInput},
		"a container with a state nobody knows": {func(_ *testing.T, _ *Lab, f *fakeEngine, _ *Config) {
			f.containers["x"] = &fakeContainer{status: "melting", labels: map[string]string{labelLab: "lab", labelAddress: "10.111.0.10"}}
		}, `unknown state "melting"`, fault.Other},
		"a container without its address": {func(_ *testing.T, _ *Lab, f *fakeEngine, _ *Config) {
			f.containers["x"] = &fakeContainer{status: "running", labels: map[string]string{labelLab: "lab"}}
		}, "label kubewright.address", fault.Other},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			l, engine, _ := testLab(t)
			cfg := testConfig(t)
			tc.arrange(t, l, engine, &cfg)
			_, err := l.Up(t.Context(), cfg)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("error = %v, want %q in it", err, tc.want)
			}
			if kind := fault.KindOf(err); kind != tc.kind {
				t.Errorf("kind = %v, want %v", kind, tc.kind)
			}
			if changes := engine.changes(); len(changes) > 0 {
				t.Errorf("changed: %v", changes)
			}
			if diff := cmp.Diff(low(), values(t, l.settings)); diff != "" {
				t.Errorf("changed sysctls (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUpOnItsOwnNetwork(t *testing.T) {
	l, _, _ := testLab(t)
	cfg := testConfig(t)
	up(t, l, cfg)
	l.machine.Networks = []netip.Prefix{cfg.Subnet} // the bridge is an interface of the machine
	up(t, l, cfg)
}

func TestDownLeavesNothingOfTheLabAndAllOfOthers(t *testing.T) {
	l, engine, _ := testLab(t)
	cfg := testConfig(t)
	cfg.Artifacts = artifacts(t)
	other := testConfig(t)
	other.Name, other.Subnet, other.CacheDir = "other", netip.MustParsePrefix("10.112.0.0/24"), cfg.CacheDir
	up(t, l, cfg)
	up(t, l, other)
	engine.containers["not-ours"] = &fakeContainer{status: "running"}
	engine.labels["volume"]["not-ours"] = ""

	for range 2 { // the second time there is nothing to do
		if err := l.Down(t.Context(), "lab", cfg.Dir); err != nil {
			t.Fatal(err)
		}
	}
	for name := range engine.containers {
		if strings.HasPrefix(name, "kubewright-lab-") {
			t.Errorf("container %s is still there", name)
		}
	}
	if len(engine.containers) != 4 || len(engine.labels["volume"]) != 10 || len(engine.labels["network"]) != 1 {
		t.Errorf("of the other lab and others there are %d containers, %d volumes, %d networks; want 4, 10, 1",
			len(engine.containers), len(engine.labels["volume"]), len(engine.labels["network"]))
	}
	if _, err := os.Stat(cfg.Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the lab's folder: %v", err)
	}
	if _, err := ReadState(other.Dir); err != nil {
		t.Error(err)
	}
	if got := values(t, l.settings)["fs/inotify/max_user_instances"]; got != 8192 {
		t.Errorf("max_user_instances = %d while there is another lab", got)
	}

	if err := l.RemoveImages(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := l.Down(t.Context(), "other", other.Dir); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(low(), values(t, l.settings)); diff != "" {
		t.Errorf("sysctls after the last lab (-want +got):\n%s", diff)
	}
	if len(engine.labels["image"]) != 0 || engine.containers["not-ours"] == nil || len(engine.labels["volume"]) != 1 {
		t.Errorf("left: images %v, volumes %v", engine.labels["image"], engine.labels["volume"])
	}
}

func TestDownLeavesTheFolderOfAnotherLab(t *testing.T) {
	l, _, _ := testLab(t)
	cfg := testConfig(t)
	up(t, l, cfg)
	if err := l.Down(t.Context(), "other", cfg.Dir); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadState(cfg.Dir); err != nil {
		t.Error(err)
	}
}

func TestDownReportsWhatItCannotRemove(t *testing.T) {
	for _, change := range []string{"rm ", "volume rm", "network rm"} {
		l, engine, _ := testLab(t)
		cfg := testConfig(t)
		up(t, l, cfg)
		engine.fail[change] = errors.New("device busy")
		if err := l.Down(t.Context(), "lab", cfg.Dir); err == nil || !strings.Contains(err.Error(), "device busy") {
			t.Errorf("%s: error = %v", change, err)
		}
		if _, err := ReadState(cfg.Dir); err != nil {
			t.Errorf("%s: the folder, by which the lab is found again, is gone: %v", change, err)
		}
	}
}

// powers says in which state the nodes are.
func powers(t *testing.T, l *Lab, lab string) string {
	t.Helper()
	nodes, err := l.Status(t.Context(), lab)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, n := range nodes {
		out = append(out, n.Name+":"+string(n.Power))
	}
	return strings.Join(out, " ")
}

func TestPower(t *testing.T) {
	l, engine, logins := testLab(t)
	cfg := testConfig(t)
	cfg.Artifacts = artifacts(t)
	up(t, l, cfg)
	ctx, dir := t.Context(), cfg.Dir
	steps := []struct {
		do   string
		run  func() error
		want string
	}{
		{"stop one", func() error { return l.Stop(ctx, "lab", []string{"worker1"}) }, "cp1:running worker1:stopped worker2:running"},
		{"stop it again", func() error { return l.Stop(ctx, "lab", []string{"worker1"}) }, "cp1:running worker1:stopped worker2:running"},
		{"pause all", func() error { return l.Pause(ctx, "lab", nil) }, "cp1:paused worker1:stopped worker2:paused"},
		{"pause all again", func() error { return l.Pause(ctx, "lab", nil) }, "cp1:paused worker1:stopped worker2:paused"},
		{"resume one", func() error { return l.Resume(ctx, "lab", []string{"cp1"}) }, "cp1:running worker1:stopped worker2:paused"},
		{"start a paused one", func() error { return l.Start(ctx, "lab", dir, []string{"worker2"}) }, "cp1:running worker1:stopped worker2:running"},
		{"pause it again", func() error { return l.Pause(ctx, "lab", []string{"worker2"}) }, "cp1:running worker1:stopped worker2:paused"},
		{"stop a paused one", func() error { return l.Stop(ctx, "lab", []string{"worker2"}) }, "cp1:running worker1:stopped worker2:stopped"},
		{"resume starts nothing", func() error { return l.Resume(ctx, "lab", nil) }, "cp1:running worker1:stopped worker2:stopped"},
		{"start all", func() error { *logins = nil; return l.Start(ctx, "lab", dir, nil) }, "cp1:running worker1:running worker2:running"},
	}
	for _, s := range steps {
		if err := s.run(); err != nil {
			t.Fatalf("%s: %v", s.do, err)
		}
		if got := powers(t, l, "lab"); got != s.want {
			t.Fatalf("after %s: %s, want %s", s.do, got, s.want)
		}
	}
	if len(*logins) != 3 {
		t.Errorf("start waited for %d logins, want 3", len(*logins))
	}
	if engine.containers["kubewright-lab-mirror"].status != "running" {
		t.Error("the mirror was switched with the nodes")
	}
}

// A node that cannot be frozen at once is tried again, and not for ever.
func TestPauseAgain(t *testing.T) {
	l, engine, _ := testLab(t)
	up(t, l, testConfig(t))
	engine.busy["pause kubewright-lab-worker1"] = 3
	if err := l.Pause(t.Context(), "lab", nil); err != nil {
		t.Error(err)
	}
	if got, want := powers(t, l, "lab"), "cp1:paused worker1:paused worker2:paused"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if err := l.Resume(t.Context(), "lab", nil); err != nil {
		t.Fatal(err)
	}
	engine.busy["pause kubewright-lab-worker1"] = 99
	if err := l.Pause(t.Context(), "lab", nil); err == nil || !strings.Contains(err.Error(), "worker1: podman pause") {
		t.Errorf("a node that cannot be frozen: error = %v", err)
	}
	if got, want := powers(t, l, "lab"), "cp1:paused worker1:running worker2:paused"; got != want {
		t.Errorf("the others: %s, want %s", got, want)
	}
}

func TestPowerRefuses(t *testing.T) {
	l, engine, _ := testLab(t)
	if err := l.Stop(t.Context(), "lab", nil); err == nil || err.Error() != "lab lab has no nodes: run `kubewright lab up`" {
		t.Errorf("without a lab: error = %v", err)
	}
	cfg := testConfig(t)
	up(t, l, cfg)
	engine.changes()
	err := l.Stop(t.Context(), "lab", []string{"worker1", "worker9"})
	if err == nil || !strings.Contains(err.Error(), `no node "worker9"; it has cp1, worker1, worker2`) || fault.KindOf(err) != fault.BadInput {
		t.Errorf("an unknown node: error = %v", err)
	}
	if err := l.Stop(t.Context(), "lab", []string{"mirror"}); err == nil {
		t.Error("the mirror can be stopped like a node")
	}
	if changes := engine.changes(); len(changes) > 0 {
		t.Errorf("changed: %v", changes)
	}
	engine.fail["kill kubewright-lab-cp1"] = errors.New("no such process")
	if err := l.Stop(t.Context(), "lab", nil); err == nil || !strings.Contains(err.Error(), "cp1: podman kill") {
		t.Errorf("a node that cannot be stopped: error = %v", err)
	}
	if got, want := powers(t, l, "lab"), "cp1:running worker1:stopped worker2:stopped"; got != want {
		t.Errorf("the others: %s, want %s", got, want)
	}
	engine.containers["kubewright-lab-worker2"].status = "created"
	if err := l.Start(t.Context(), "lab", cfg.Dir, nil); err == nil || !strings.Contains(err.Error(), "worker2: was made and never finished: `kubewright lab up`") {
		t.Errorf("a node that was never finished: error = %v", err)
	}
	if err := l.Start(t.Context(), "lab", t.TempDir(), nil); err == nil || !strings.Contains(err.Error(), fileKey) {
		t.Errorf("without the lab's key: error = %v", err)
	}
}

func TestPowerOfEveryStatus(t *testing.T) {
	for status, want := range map[string]Power{
		"running": PowerOn, "exited": PowerOff, "stopped": PowerOff, "dead": PowerOff, "paused": PowerPaused,
		"created": PowerNew, "configured": PowerNew,
	} {
		if got, err := power(status); got != want || err != nil {
			t.Errorf("power(%s) = %s, %v, want %s", status, got, err, want)
		}
	}
	if _, err := power(""); err == nil {
		t.Error("an unknown status is a state")
	}
}

func TestStatusAsJSON(t *testing.T) {
	data, err := json.Marshal(NodeStatus{Node: Node{Name: "cp1", Role: RoleControlPlane, Address: netip.MustParseAddr("10.111.0.10")}, Power: PowerOn})
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"name":"cp1","role":"control-plane","address":"10.111.0.10","state":"running"}`; string(data) != want {
		t.Errorf("JSON = %s, want %s", data, want)
	}
}

func TestImageIsBuiltOnce(t *testing.T) {
	l, engine, _ := testLab(t)
	cfg := testConfig(t)
	up(t, l, cfg)
	clear(engine.labels["image"]) // another engine, or a cleaned one; the cache has it
	engine.changes()
	up(t, l, cfg)
	if changes := engine.changes(); slices.Contains(changes, "mmdebstrap") || !slices.ContainsFunc(changes, func(s string) bool { return strings.HasPrefix(s, "import ") }) {
		t.Errorf("changes = %v, want an import from the cache", changes)
	}
	entries, err := os.ReadDir(filepath.Join(cfg.CacheDir, "lab"))
	if err != nil || len(entries) != 1 {
		t.Errorf("the cache has %v, %v, want only the image", entries, err)
	}
}
