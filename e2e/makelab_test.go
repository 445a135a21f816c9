//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// The first thing that anybody tries: `make lab` ends with a cluster that can be used from this
// machine, and `make lab-down` leaves nothing of it.
func TestMakeLab(t *testing.T) {
	source := artifactsForMake(t)
	l := &lab{name: "e2e-make", dir: ownDir("make")}
	root, err := filepath.Abs("..")
	if err == nil {
		root, err = filepath.EvalSymlinks(root) // which make prints
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := l.down(t.Context()); err != nil { // an earlier run may have left one
		t.Fatal(err)
	}
	afterwards(t, func(t testing.TB) {
		if keepLabs() && t.Failed() {
			return
		}
		if err := l.down(t.Context()); err != nil {
			t.Error(err)
		}
	})

	folder := "LAB=" + filepath.ToSlash(filepath.Join("e2e", l.dir))
	r := runMake(t, "lab", folder, "LAB_FLAGS=--name "+l.name+" --subnet 10.125.0.0/24",
		"ARTIFACTS="+source, "APPLY_FLAGS=--log "+debugLog(t)).want(t, exitDone)
	kubeconfig := filepath.Join(root, "e2e", l.dir, "kubeconfig")
	r.says(t, "export KUBECONFIG="+kubeconfig)
	wantTables(t, r)
	wantPhaseTimes(t, r)
	l.wantUsable(t, kubeconfig)

	engine := l.engine(t)
	runMake(t, "lab-down", folder).want(t, exitDone)
	l.wantGone(t, engine)
}

// artifactsForMake is where `make lab` is to take files and images from: where the other labs do.
func artifactsForMake(t testing.TB) string {
	t.Helper()
	dir := artifacts()
	if dir == "" {
		return "upstream"
	}
	cache := os.Getenv("KUBEWRIGHT_CACHE")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			t.Fatal(err)
		}
		cache = filepath.Join(home, ".cache", "kubewright")
	}
	if dir != filepath.Join(cache, "artifacts") {
		t.Skipf("make lab serves the artifacts in %s, and these tests are about those in %s", cache, dir)
	}
	return "build"
}

// runMake runs make at the root of the repository as its users do: what the make around the tests
// was told is not for it.
func runMake(t testing.TB, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), toolTimeout)
	defer cancel()
	cmd := inGroup(exec.CommandContext(ctx, "make", args...))
	cmd.Dir = ".."
	cmd.Env = slices.DeleteFunc(os.Environ(), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return slices.Contains([]string{"MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "MAKEFILES",
			"CONTROL_PLANES", "WORKERS", "LAB_FLAGS", "APPLY_FLAGS"}, name)
	})
	r, err := finish(ctx, cmd, result{program: "make", args: args})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(r)
	return r
}

// wantTables checks kubectl's tables in what `make lab` printed: three nodes, all Ready, and pods,
// all Running with each of their containers ready.
func wantTables(t testing.TB, r result) {
	t.Helper()
	ready := map[string]bool{}
	for _, row := range table(r.stdout, "NAME", "STATUS", "ROLES") {
		ready[row[0]] = row[1] == "Ready"
	}
	if len(ready) != 3 || !ready["cp1"] || !ready["worker1"] || !ready["worker2"] {
		t.Errorf("the nodes that are printed, and whether they are Ready: %v", ready)
	}
	pods := table(r.stdout, "NAMESPACE", "NAME", "READY", "STATUS")
	if len(pods) < 10 {
		t.Errorf("only %d pods are printed", len(pods))
	}
	for _, p := range pods {
		if have, want, _ := strings.Cut(p[2], "/"); have != want || p[3] != "Running" {
			t.Errorf("pod %s is printed as %s and %s", p[1], p[2], p[3])
		}
	}
}

// table reads the rows below the header that begins with the columns, up to a line with fewer
// fields than that.
func table(text string, columns ...string) [][]string {
	var rows [][]string
	width := 0 // of the header, while below it
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		switch {
		case len(fields) >= len(columns) && slices.Equal(fields[:len(columns)], columns):
			width = len(fields)
		case len(fields) < width:
			width = 0
		case width > 0:
			rows = append(rows, fields)
		}
	}
	return rows
}

// clientOf opens the cluster of the kubeconfig in a file.
func clientOf(t testing.TB, kubeconfig string) (*kubernetes.Clientset, *rest.Config) {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client, config
}

// wantUsable checks that the kubeconfig in a file opens the cluster from this machine.
func (l *lab) wantUsable(t testing.TB, kubeconfig string) {
	t.Helper()
	client, config := clientOf(t, kubeconfig)
	explainFailure(t, &cluster{lab: l, client: client, config: config})
	nodes, err := client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(nodes.Items) != 3 {
		t.Errorf("%d nodes, want 3", len(nodes.Items))
	}
	for _, n := range nodes.Items {
		if why := notReady(&n); why != "" {
			t.Error(why)
		}
	}
	pods, err := client.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pods.Items {
		if p.Status.Phase != corev1.PodRunning || !isReady(&p) {
			t.Error(describe(&p))
		}
	}
}

// engine is the container engine that the lab says it is made with.
func (l *lab) engine(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(l.dir, "state.json"))
	if err != nil {
		t.Fatal(err)
	}
	var state struct{ Name, Engine string }
	if err := json.Unmarshal(data, &state); err != nil || state.Name != l.name || state.Engine == "" {
		t.Fatalf("the state of lab %s: %v\n%s", l.name, err, data)
	}
	return state.Engine
}

// wantGone checks that the engine has nothing of the lab, and that its folder is gone.
func (l *lab) wantGone(t testing.TB, engine string) {
	t.Helper()
	for _, kind := range []string{"container", "volume", "network"} {
		args := []string{kind, "ls", "--quiet", "--filter", "label=kubewright.lab=" + l.name}
		if kind == "container" {
			args = append(args, "--all")
		}
		left, err := exec.CommandContext(t.Context(), engine, args...).CombinedOutput()
		if err != nil || len(left) > 0 {
			t.Errorf("%ss that are left: %v\n%s", kind, err, left)
		}
	}
	if _, err := os.Stat(l.dir); !os.IsNotExist(err) {
		entries, _ := os.ReadDir(l.dir)
		t.Errorf("the lab's folder: %v; in it are %v", err, entries)
	}
}
