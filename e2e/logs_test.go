//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// logDirs are the folders that logDir made in this run, by test.
var logDirs sync.Map

// logDir is the folder for what explains a failure of the test. It goes when the test passes.
func logDir(t testing.TB) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("_logs", strings.NewReplacer("/", "_", " ", "_").Replace(t.Name())))
	if err != nil {
		t.Fatal(err)
	}
	if _, made := logDirs.LoadOrStore(t.Name(), dir); made {
		return dir
	}
	// An earlier run may have left one.
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("what explains it is in %s", dir)
		} else if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// debugLog is the file that all runs of kubewright of a test write their debug log to.
func debugLog(t testing.TB) string {
	t.Helper()
	return filepath.Join(logDir(t), "kubewright.log")
}

// hostReport is what a host says about itself.
const hostReport = `
for u in containerd kubelet; do
	echo "== $u"; systemctl status --no-pager -n0 $u || true
	journalctl --no-pager -n 1500 -u $u || true
done
echo "== failed units"; systemctl --no-pager --failed || true
echo "== journal"; journalctl --no-pager -n 500 || true
echo "== network"; ip addr; ip route; iptables-save | head -n 400 || true
echo "== resources"; df -h / /var/lib/containerd || true; free -m || true
echo "== pods"; tail -n 200 /var/log/pods/*/*/*.log || true
`

// explainFailure collects what explains a failure, should the test fail from here on: what every
// host logged, and the objects of the API.
func explainFailure(t testing.TB, c *cluster) {
	t.Helper()
	dir := logDir(t)
	afterwards(t, func(t testing.TB) {
		if !t.Failed() {
			return
		}
		ctx := t.Context()
		for _, n := range c.nodes(t) {
			out, err := c.shell(ctx, n.Name, hostReport)
			save(t, filepath.Join(dir, n.Name+".log"), []byte(out+errText(err)))
		}
		all := metav1.ListOptions{}
		core := c.client.CoreV1()
		objects := map[string]func() (any, error){
			"nodes":     func() (any, error) { return core.Nodes().List(ctx, all) },
			"pods":      func() (any, error) { return core.Pods("").List(ctx, all) },
			"events":    func() (any, error) { return core.Events("").List(ctx, all) },
			"services":  func() (any, error) { return core.Services("").List(ctx, all) },
			"endpoints": func() (any, error) { return c.client.DiscoveryV1().EndpointSlices("").List(ctx, all) },
			"policies":  func() (any, error) { return c.client.NetworkingV1().NetworkPolicies("").List(ctx, all) },
		}
		for name, list := range objects {
			found, err := list()
			data, _ := json.MarshalIndent(found, "", " ")
			save(t, filepath.Join(dir, name+".json"), append(data, errText(err)...))
		}
	})
}

// afterwards does something when the test ends, with a context that is not over by then.
func afterwards(t testing.TB, do func(testing.TB)) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), podTimeout)
		defer cancel()
		do(detached{t, ctx})
	})
}

// detached is a test with a context of its own.
type detached struct {
	testing.TB
	ctx context.Context
}

func (d detached) Context() context.Context { return d.ctx }

func errText(err error) string {
	if err == nil {
		return ""
	}
	return fmt.Sprintf("\nerror: %v\n", err)
}

// save writes a file of the logs; a log that cannot be written must not hide why the test failed.
func save(t testing.TB, path string, data []byte) {
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Log(err)
	}
}
