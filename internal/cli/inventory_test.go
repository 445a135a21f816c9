package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"kubewright/inventory"
)

// folder makes an inventory of Ansible, changes into its folder, and returns the folder.
func folder(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		path := filepath.Join(dir, files[i])
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		mode := os.FileMode(0o600)
		if strings.HasPrefix(files[i+1], "#!") {
			mode = 0o700
		}
		if err := os.WriteFile(path, []byte(files[i+1]), mode); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	return dir
}

const inventoryINI = `cp1 ansible_host=192.0.2.1 ip=10.0.0.1
node1 ansible_host=192.0.2.11 ip=10.0.0.11 node_taints="['gpu=:NoSchedule']"

[kube_control_plane]
cp1

[kube_node]
node1

[gpu]
node1

[all:vars]
ansible_user=ops
ansible_become_password="{{ lookup('env', 'SUDO') }}"
kube_version=1.37.2
`

const groupVars = `cluster_name: prod.local
kube_pods_subnet: 10.50.0.0/16
helm_enabled: true
node_labels: {"example.com/pool": "yes"}
`

func TestInventoryShowOfAnsible(t *testing.T) {
	home, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	folder(t, "inventory.ini", inventoryINI, "group_vars/all.yml", groupVars)
	text := kubewright(t, "inventory", "show", "-i", "inventory.ini").want(t, 0, "kubewright does not do what these variables ask for: helm_enabled;").out
	shown := kubewright(t, "inventory", "show", "-i", "inventory.ini", "-o", "yaml").want(t, 0).out
	var d inventoryDocument
	kubewright(t, "inventory", "show", "-i", "inventory.ini", "-o", "json").want(t, 0).decode(t, &d)
	if len(d.Hosts) != 2 || d.Hosts[1].From["taints[0]"] != "inventory.ini:2:58" || d.Hosts[0].From["labels[\"example.com/pool\"]"] != "group_vars/all.yml:4:35" {
		t.Errorf("hosts: %+v", d.Hosts)
	}
	wantSetting := settingDocument{Path: "spec.network.podCIDR", Value: "10.50.0.0/16", From: "group_vars/all.yml:2:19"}
	if len(d.Cluster) != 4 || d.Cluster[2] != wantSetting {
		t.Errorf("cluster: %+v", d.Cluster)
	}
	wantVariable := variableDocument{Name: "helm_enabled", Scope: "all", From: "group_vars/all.yml:3:15", Verdict: inventory.Unsupported, Reason: "it is of an add-on: spec.addons says what is installed"}
	if len(d.Variables) != 12 || d.Variables[2] != wantVariable {
		t.Errorf("variables: %+v", d.Variables)
	}
	kubewright(t, "inventory", "show", "-i", "inventory.ini", "-o", "xml").nothing(t)
	t.Chdir(home)
	golden(t, "inventory-ansible.txt", text)
	golden(t, "inventory-ansible.yaml", shown)
}

// What -o yaml prints is an inventory of the same hosts, and the cluster file at its top fits to it.
func TestInventoryShowIsAnInventory(t *testing.T) {
	dir := folder(t, "inventory.ini", inventoryINI+"ansible_ssh_private_key_file=id\nansible_host_key_checking=False\n", "group_vars/all.yml", groupVars, "id", "key")
	shown := kubewright(t, "inventory", "show", "-i", "inventory.ini", "-o", "yaml").want(t, 0).out
	var cluster []string
	for line := range strings.Lines(shown) {
		if text, ok := strings.CutPrefix(line, "#     "); ok {
			cluster = append(cluster, text)
		}
	}
	other := t.TempDir()
	for name, text := range map[string]string{"inventory.yaml": shown, "cluster.yaml": strings.Join(cluster, "")} {
		if err := os.WriteFile(filepath.Join(other, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	hosts := func(args ...string) any {
		var d inventoryDocument
		kubewright(t, append([]string{"inventory", "show", "-o", "json"}, args...)...).want(t, 0).decode(t, &d)
		for i := range d.Hosts {
			d.Hosts[i].From = nil
		}
		return d.Hosts
	}
	before := hosts("-i", filepath.Join(dir, "inventory.ini"))
	after := hosts("-f", filepath.Join(other, "cluster.yaml"), "-i", filepath.Join(other, "inventory.yaml"))
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
	again := kubewright(t, "inventory", "show", "-f", filepath.Join(other, "cluster.yaml"), "-i", filepath.Join(other, "inventory.yaml"), "-o", "yaml").want(t, 0).out
	var first, second map[string]any
	if yaml.Unmarshal([]byte(shown), &first) != nil || yaml.Unmarshal([]byte(again), &second) != nil {
		t.Fatal("this is no YAML")
	}
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("shown of what was shown is something else:\n%s", diff)
	}
}

func TestDynamicInventory(t *testing.T) {
	const list = `{"kube_control_plane": {"hosts": ["a"]}, "_meta": {"hostvars": {"a": {"ansible_host": "192.0.2.1"}}}}`
	folder(t, "good", "#!/bin/sh\necho counted >&2\n[ \"$1\" = --list ] && echo '"+list+"'\n",
		"bad", "#!/bin/sh\necho no credentials >&2\nexit 3\n",
		"endless", "#!/bin/sh\nexec yes\n",
		"cluster.yaml", "x")
	kubewright(t, "inventory", "show", "-f", "cluster.yaml", "-i", "good").want(t, 10, "cluster.yaml:1:1: ")
	if err := os.Remove("cluster.yaml"); err != nil {
		t.Fatal(err)
	}
	o := kubewright(t, "inventory", "show", "-i", "good").want(t, 0, "good: counted")
	if !strings.Contains(o.out, "a     192.0.2.1") {
		t.Errorf("stdout:\n%s", o.out)
	}
	kubewright(t, "inventory", "show", "-i", "bad").want(t, 10, "bad: the dynamic inventory failed: exit status 3; it said:", "no credentials").nothing(t)
	kubewright(t, "inventory", "show", "-i", "endless").want(t, 10, "endless: the dynamic inventory failed: it prints more than 32 MiB").nothing(t)
	// Without the bit it is no program, and no inventory either.
	if err := os.Chmod("good", 0o600); err != nil {
		t.Fatal(err)
	}
	kubewright(t, "inventory", "show", "-i", "good").want(t, 10, "good:").nothing(t)
}

// What is worth a second look is told where there are faults too, for it may say why.
func TestWarningsComeWithFaults(t *testing.T) {
	const list = `{"kube_control_plane": {"hosts": ["a"]}, "_meta": {"hostvars": {"a": {"ansible_host": "192.0.2.1", "ansible_port": 0}, "b": {}}}}`
	folder(t, "program", "#!/bin/sh\necho nobody is b >&2\necho '"+list+"'\n")
	const stray, fault = `there are variables of "b", which is a host of no group`, "ansible_port: 0 is out of range"
	for _, command := range []string{"inventory show", "plan", "verify", "images list"} {
		args := append(strings.Fields(command), "-i", "program")
		kubewright(t, args...).want(t, 10, "program: nobody is b", stray, fault).nothing(t)
		all := kubewright(t, append(args, "-o", "json")...).want(t, 10).events(t)
		last := len(all) - 1
		told := slices.ContainsFunc(all[:last], func(e event) bool { return e.Kind == "warning" && strings.Contains(e.Message, stray) })
		if !told || !strings.Contains(all[last].Error, fault) {
			t.Errorf("%s: %+v", command, all)
		}
	}
}

// Without a cluster file, one that was named is missed, and the default is not.
func TestClusterFileIsOptional(t *testing.T) {
	folder(t, "inventory.ini", inventoryINI, "ours.yaml", "apiVersion: kubewright.io/v1alpha1\nkind: Inventory\nhosts: [{name: a, address: 192.0.2.1, roles: [control-plane]}]\n")
	kubewright(t, "images", "list", "-i", "inventory.ini").want(t, 0)
	kubewright(t, "images", "list", "-i", "inventory.ini", "-f", "cluster.yaml").want(t, 10, "cluster.yaml: the cluster file cannot be read")
	kubewright(t, "images", "list", "-i", "ours.yaml").want(t, 10, "cluster.yaml: the cluster file cannot be read")
	kubewright(t, "images", "list").want(t, 10, "cluster.yaml: the cluster file cannot be read")
}
