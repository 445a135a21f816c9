//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// An inventory of Ansible as Kubespray has it makes a cluster: hosts, login and network come from
// there, and the cluster file only says what Kubespray has no word for. The inventory of kubewright's
// own form that is made of it means the same.
func TestInventoryOfAnsible(t *testing.T) {
	long(t)
	besideOthers(t)
	l := newLab(t, labSpec{name: "e2e-inv", subnet: "10.139.0.0/24", controlPlanes: 1, workers: 1, login: "sudo-password"})
	file := l.ansible(t)
	onCluster := func(command string, args ...string) result {
		return kubewright(t, append([]string{command, "-f", file, "--log", debugLog(t)}, args...)...)
	}
	onCluster("apply", "-y").want(t, exitDone)
	onCluster("plan", "--detailed-exitcode").want(t, exitDone)
	onCluster("verify", "--quick").want(t, exitDone)

	c := l.connect(t)
	node, err := c.client.CoreV1().Nodes().Get(t.Context(), "worker1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if node.Labels["example.com/pool"] != "general" || !strings.HasPrefix(node.Spec.PodCIDR, "10.77.") {
		t.Errorf("labels %v, pod CIDR %s", node.Labels, node.Spec.PodCIDR)
	}

	var d struct{ Hosts []struct{ Name string } }
	if err := json.Unmarshal([]byte(onCluster("status", "--limit", "k8s_cluster:!kube_control_plane", "-o", "json").want(t, exitDone).stdout), &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Hosts) != 1 || d.Hosts[0].Name != "worker1" {
		t.Errorf("the pattern picks %v", d.Hosts)
	}

	shown := kubewright(t, "inventory", "show", "-f", file, "-o", "yaml").want(t, exitDone)
	own := filepath.Join(l.dir, "shown.yaml")
	if err := os.WriteFile(own, []byte(shown.stdout), 0o600); err != nil {
		t.Fatal(err)
	}
	// The network is not an inventory's to say: without it, the cluster would be another one.
	network := regexp.MustCompile(`(?m)^spec:\n`).ReplaceAllString(textOf(t, file), "spec:\n  network: {podCIDR: 10.77.0.0/16}\n")
	if err := os.WriteFile(file, []byte(network), 0o600); err != nil {
		t.Fatal(err)
	}
	onCluster("plan", "-i", own, "--detailed-exitcode").want(t, exitDone)
}

// ansible writes an inventory of Ansible for the hosts of the lab, and a cluster file beside it that
// says what the lab needs. It returns the path of the latter.
func (l *lab) ansible(t *testing.T) string {
	t.Helper()
	var shown struct {
		Hosts []struct {
			Name, Address, User string
			Roles               []string
		}
	}
	if err := json.Unmarshal([]byte(kubewright(t, "inventory", "show", "-f", l.file(), "-o", "json").want(t, exitDone).stdout), &shown); err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.Abs(l.dir)
	if err != nil {
		t.Fatal(err)
	}
	var hosts strings.Builder
	for _, h := range shown.Hosts {
		fmt.Fprintf(&hosts, "%s ansible_host=%s ip=%s\n", h.Name, h.Address, netip.MustParseAddr(h.Address))
	}
	clusterFile := regexp.MustCompile(`(?m)^  network:\n(    .*\n)*`).ReplaceAllString(textOf(t, l.file()), "")
	clusterFile = strings.Replace(clusterFile, "inventory: inventory.yaml", "inventory: ansible/inventory.ini\n  ssh: {knownHosts: [known_hosts]}", 1)
	for name, text := range map[string]string{
		"ansible/inventory.ini": hosts.String() + `
[kube_control_plane]
cp1

[etcd:children]
kube_control_plane

[kube_node]
worker[1:1]
`,
		"ansible/group_vars/all/login.yml":               fmt.Sprintf("ansible_user: %s\nansible_become: true\nansible_ssh_private_key_file: %s/id_ed25519\nansible_become_password: \"{{ lookup('file', '%s/sudo_password') }}\"\n", shown.Hosts[0].User, dir, dir),
		"ansible/group_vars/k8s_cluster/k8s-cluster.yml": "kube_network_plugin: calico\nkube_pods_subnet: 10.77.0.0/16\nhelm_enabled: false\n",
		"ansible/group_vars/kube_node.yml":               "node_labels:\n  example.com/pool: general\n",
		"ansible.yaml":                                   clusterFile,
	} {
		path := filepath.Join(l.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(l.dir, "ansible.yaml")
}

func textOf(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
