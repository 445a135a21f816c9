package arch_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// unlinked are packages that must not be in the program: every command waits for what they do before
// main, whether it needs them or not. What it was is in docs/performance.md.
var unlinked = []struct {
	packages []string
	why      string
}{
	{
		[]string{"k8s.io/kubectl/...", "k8s.io/cli-runtime/..."},
		"kubectl's helpers bring the client set: the drain is our own, see docs/adr/0015",
	},
	{
		[]string{"k8s.io/component-base/...", "k8s.io/kubelet/...", "k8s.io/kube-proxy/..."},
		"a registry of metrics is filled and collects from the runtime: the configurations are in spec/componentconfig",
	},
	{
		[]string{"github.com/google/go-containerregistry/...", "github.com/docker/..."},
		"a second library for registries, with the configuration of Docker's client and its compression: one is enough",
	},
}

// TestLinked holds what the go command would link against the list.
func TestLinked(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "./cmd/kubewright")
	cmd.Dir = root(t)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	linked := strings.Fields(string(out))
	if len(linked) < 100 { // with nothing linked, all would be well
		t.Fatalf("go list found %d packages in cmd/kubewright", len(linked))
	}
	for _, path := range linked {
		for _, u := range unlinked {
			if matches(path, u.packages) {
				t.Errorf("cmd/kubewright links %s: %s (`go list -deps -json` says through which)", path, u.why)
			}
		}
	}
}

// initialised is a line of GODEBUG=inittrace=1, for a package that has something to initialise; see the
// documentation of the package runtime.
var initialised = regexp.MustCompile(`(?m)^init (\S+) @.* clock, \d+ bytes, (\d+) allocs$`)

// TestInit holds what our own packages do before main against next to nothing: a few sentinel errors and
// small tables. That the libraries do more is decided in docs/adr/0022.
func TestInit(t *testing.T) {
	const most = 32 // allocations of a package
	program := filepath.Join(t.TempDir(), "kubewright")
	build := exec.Command("go", "build", "-o", program, "./cmd/kubewright")
	build.Dir = root(t)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	version := exec.Command(program, "version")
	version.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	var trace strings.Builder
	version.Stderr = &trace
	if err := version.Run(); err != nil {
		t.Fatalf("kubewright version: %v\n%s", err, trace.String())
	}
	lines := initialised.FindAllStringSubmatch(trace.String(), -1)
	if len(lines) < 20 { // a format that is not understood would find nothing
		t.Fatalf("found %d packages in the trace:\n%s", len(lines), trace.String())
	}
	for _, line := range lines {
		allocations, err := strconv.Atoi(line[2])
		if err != nil {
			t.Fatal(err)
		}
		ours := line[1] == "main" || strings.HasPrefix(line[1], "kubewright/")
		if ours && allocations > most {
			t.Errorf("%s allocates %d times before main, at most %d is fine: make what it needs when it is asked for", line[1], allocations, most)
		}
	}
}
