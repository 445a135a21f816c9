package arch_test

import (
	"os/exec"
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
