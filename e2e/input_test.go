//go:build e2e

package e2e

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/ssh"
)

// The files of a cluster that would be fine. Hosts are the address of a listener of the test.
const (
	goodCluster = `apiVersion: kubewright.io/v1alpha1
kind: Cluster
metadata:
  name: input
spec:
  kubernetesVersion: 1.37.2
  inventory: inventory.yaml
  network:
    podCIDR: 10.244.0.0/16
    serviceCIDR: 10.96.0.0/16
`
	goodInventory = `apiVersion: kubewright.io/v1alpha1
kind: Inventory
defaults:
  ssh:
    user: root
    keyFile: id
    knownHosts: [known_hosts]
    port: PORT
hosts:
  - name: cp1
    address: 127.0.0.1
    nodeIP: 192.0.2.1
    roles: [control-plane]
  - name: worker1
    address: 127.0.0.2
    nodeIP: 192.0.2.2
    roles: [worker]
`
)

// fault is what one of the lines of the message has to say.
type fault []string

// A fault in the files is refused before any connection is made: all faults at once, each with
// its place and what to do.
func TestBadInput(t *testing.T) {
	for _, tc := range []struct {
		name string
		// edits replace text, alternating between old and new, in either file.
		edits []string
		want  []fault
	}{
		{"unknown key", []string{"kubernetesVersion:", "kubernetesVerison:"},
			[]fault{{"cluster.yaml:6:3", "kubernetesVerison", "did you mean kubernetesVersion?"}}},
		{"wrong type", []string{"port: PORT", "port: ssh"},
			[]fault{{"inventory.yaml:8:11", "port", "ssh"}}},
		{"duplicate key", []string{"    podCIDR:", "    podCIDR: 10.0.0.0/16\n    podCIDR:"},
			[]fault{{"cluster.yaml:10:5", "podCIDR", "line 9"}}},
		{"duplicate name", []string{"name: worker1", "name: cp1"},
			[]fault{{"inventory.yaml:14", "cp1"}}},
		{"names that differ in case only", []string{"name: worker1", "name: CP1"},
			[]fault{{"inventory.yaml:14", "cp1"}}},
		{"duplicate address", []string{"127.0.0.2", "127.0.0.1"},
			[]fault{{"inventory.yaml:15:14", "127.0.0.1", "line 11"}}},
		{"duplicate node IP", []string{"192.0.2.2", "192.0.2.1"},
			[]fault{{"inventory.yaml:16:13", "192.0.2.1", "line 12"}}},
		{"overlapping networks", []string{"10.96.0.0/16", "10.244.128.0/20"},
			[]fault{{"cluster.yaml:", "10.244.128.0/20", "10.244.0.0/16", "overlap"}}},
		{"host bits", []string{"10.244.0.0/16", "10.244.0.1/16"},
			[]fault{{"cluster.yaml:9:14", "10.244.0.1/16", "10.244.0.0/16"}}},
		{"bad version", []string{"1.37.2", "latest"},
			[]fault{{"cluster.yaml:6:22", "latest"}}},
		{"unsupported version", []string{"1.37.2", "1.21.0"},
			[]fault{{"cluster.yaml:6:22", "1.21.0", "1.34"}}},
		{"no control plane", []string{"roles: [control-plane]", "roles: [worker]"},
			[]fault{{"inventory.yaml:9", "control-plane"}}},
		{"missing key file", []string{"keyFile: id", "keyFile: id_none"},
			[]fault{{"inventory.yaml:6:14", "id_none", "no such file"}}},
		{"missing inventory", []string{"inventory: inventory.yaml", "inventory: hosts.yaml"},
			[]fault{{"cluster.yaml:7:14", "hosts.yaml", "no such file"}}},
		{"no YAML", []string{"metadata:", "metadata: {"},
			[]fault{{"cluster.yaml:"}}},
		{"all at once, in both files", []string{
			"kubernetesVersion:", "kubernetesVerison:",
			"10.244.0.0/16", "10.244.0.1/16",
			"keyFile: id", "keyFile: id_none",
			"127.0.0.2", "127.0.0.1",
			"roles: [worker]", "roles: [wroker]",
		}, []fault{
			{"cluster.yaml:6:3", "did you mean kubernetesVersion?"},
			{"cluster.yaml:9:14", "10.244.0.1/16"},
			{"inventory.yaml:6:14", "id_none"},
			{"inventory.yaml:15", "127.0.0.1"},
			{"inventory.yaml:17", "wroker", "did you mean worker?"},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			file, contacted := clusterFiles(t, strings.NewReplacer(tc.edits...))
			for _, command := range [][]string{{"plan"}, {"apply", "--yes"}, {"status"}, {"verify"}, {"reset", "--yes"}, {"kubeconfig"}} {
				r := kubewright(t, append(command, "-f", file)...).want(t, exitBadInput)
				for _, f := range tc.want {
					if !said(r.stderr, f) {
						t.Errorf("no line of the message has all of %q\n%s", []string(f), r)
					}
				}
			}
			if n := contacted.Load(); n > 0 {
				t.Errorf("hosts were connected to %d times", n)
			}
		})
	}

	// The listener hears of files without a fault: so its silence above means something.
	file, contacted := clusterFiles(t, strings.NewReplacer())
	cmd, err := command(t.Context(), "plan", "-f", file)
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, answerTimeout, "a connection to the hosts of files without fault", func(context.Context) error {
		if contacted.Load() == 0 {
			return errors.New("there is none")
		}
		return nil
	})
	_ = errors.Join(cmd.Cancel(), cmd.Wait()) // it was killed
}

func said(text string, f fault) bool {
	for _, line := range strings.Split(text, "\n") {
		all := true
		for _, part := range f {
			all = all && strings.Contains(line, part)
		}
		if all {
			return true
		}
	}
	return false
}

// clusterFiles writes the files, edited, and counts connections to their hosts.
func clusterFiles(t testing.TB, edit *strings.Replacer) (string, *atomic.Int64) {
	t.Helper()
	listener, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	contacted := &atomic.Int64{}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			contacted.Add(1)
			conn.Close()
		}
	}()
	dir := t.TempDir()
	port := fmt.Sprint(listener.Addr().(*net.TCPAddr).Port)
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"cluster.yaml":   edit.Replace(goodCluster),
		"inventory.yaml": strings.ReplaceAll(edit.Replace(goodInventory), "PORT", port),
		"id":             string(pem.EncodeToMemory(key)),
		"known_hosts":    "",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "cluster.yaml"), contacted
}
