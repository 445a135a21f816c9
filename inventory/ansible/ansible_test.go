package ansible_test

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"kubewright/inventory"
	"kubewright/inventory/ansible"
)

// memory is a set of files by path; what begins with #! can be run.
type memory map[string]string

func (m memory) files() inventory.Files {
	return inventory.Files{
		Read: func(name string) ([]byte, error) {
			if text, ok := m[name]; ok {
				return []byte(text), nil
			}
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		},
		List: func(folder string) ([]string, error) {
			var names []string
			for name := range m {
				rest, ok := strings.CutPrefix(path.Join("/", name), path.Join("/", folder)+"/")
				if first, _, deeper := strings.Cut(rest, "/"); ok && deeper {
					names = append(names, first+"/")
				} else if ok {
					names = append(names, first)
				}
			}
			slices.Sort(names)
			if names = slices.Compact(names); len(names) == 0 {
				return nil, &fs.PathError{Op: "open", Path: folder, Err: fs.ErrNotExist}
			}
			return names, nil
		},
		Executable: func(name string) bool { return strings.HasPrefix(m[name], "#!") },
		Run: func(name string, args ...string) ([]byte, error) {
			out, ok := m[name+" "+strings.Join(args, " ")]
			if !ok {
				return nil, errors.New("exit status 1")
			}
			return []byte(out), nil
		},
	}
}

// load reads an inventory, and shows the hosts, the cluster, the warnings and the faults.
func (m memory) load(t *testing.T, file string) string {
	t.Helper()
	imported, faults := ansible.Format{}.Load(file, m.files())
	var b strings.Builder
	if len(faults) == 0 {
		f, more := inventory.ParseTree(imported.Name, imported.Hosts)
		hosts, evenMore := inventory.Resolve(f.Source())
		faults = slices.Concat(faults, more, evenMore)
		for _, h := range hosts {
			b.WriteString(show(h) + "\n")
		}
		if len(imported.Cluster.Root.Content) > 0 {
			text, err := yaml.Marshal(imported.Cluster.Root)
			if err != nil {
				t.Fatal(err)
			}
			b.Write(text)
		}
	}
	for _, w := range imported.Warnings.Sorted() {
		fmt.Fprintf(&b, "warning: %s\n", w)
	}
	for _, f := range faults.Sorted() {
		fmt.Fprintf(&b, "fault: %s\n", f)
	}
	return b.String()
}

// show is a host in a line, without what is as by default.
func show(h inventory.Placed) string {
	s := h.SSH
	words := []string{h.Name, h.Address, "ip=" + h.NodeIP.String(), fmt.Sprint(h.Roles), fmt.Sprint(h.Groups), fmt.Sprint(h.Labels), fmt.Sprint(h.Taints),
		"user=" + s.User, fmt.Sprintf("port=%d", s.Port), "key=" + s.KeyFile, "password=" + s.Password.String(), "passphrase=" + s.Passphrase.String(),
		"sudo=" + s.Sudo.Password.String(), fmt.Sprintf("trust=%v", s.TrustOnFirstUse)}
	if b := s.Bastion; b.Address != "" {
		words = append(words, strings.TrimSpace(fmt.Sprintf("bastion=%s@%s:%d %s%s", b.User, b.Address, b.Port, b.KeyFile, b.Password)))
	}
	return strings.Join(slices.DeleteFunc(words, func(w string) bool {
		return strings.HasSuffix(w, "=") || slices.Contains([]string{"ip=" + h.Address, "map[]", "[]", "user=root", "port=22", "trust=false"}, w)
	}), " ")
}

func (m memory) want(t *testing.T, file, want string) {
	t.Helper()
	if diff := cmp.Diff(strings.TrimLeft(want, "\n"), m.load(t, file)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestINI(t *testing.T) {
	memory{"inv/hosts.ini": `# three control planes, and workers in two racks
[all]
cp[1:3]	ansible_user=ops
node[01:02] ansible_host=192.0.2.5 # reached elsewhere
node01 ip=10.0.0.21
node02 ip=10.0.0.22 ansible_port=2222
cp1 ip=10.0.0.1 ansible_host=cp1.example.com
cp2:2200 ip=10.0.0.2
cp3 access_ip=10.0.0.3

[kube_control_plane]
cp[1:3]

[etcd:children]
kube_control_plane

[rack-a]
node01 node_labels="{'rack': 'a', 'zone': 1}"

[rack-b]
node02 node_taints="['gpu=:NoSchedule', \"a=b:NoExecute\"]"

[kube_node:children]
rack-a
rack-b   # a comment

[k8s_cluster:children]
kube_control_plane
kube_node

[all:vars]
ansible_user = deploy
ansible_ssh_private_key_file=keys/id

[kube_control_plane:vars]
ansible_become=True
`}.want(t, "inv/hosts.ini", `
cp1 cp1.example.com ip=10.0.0.1 [control-plane etcd] [etcd k8s_cluster kube_control_plane] user=ops key=keys/id
cp2 cp2 ip=10.0.0.2 [control-plane etcd] [etcd k8s_cluster kube_control_plane] user=ops port=2200 key=keys/id
cp3 cp3 ip=10.0.0.3 [control-plane etcd] [etcd k8s_cluster kube_control_plane] user=ops key=keys/id
node01 192.0.2.5 ip=10.0.0.21 [worker] [k8s_cluster kube_node rack-a] map[rack:a zone:1] user=deploy key=keys/id
node02 192.0.2.5 ip=10.0.0.22 [worker] [k8s_cluster kube_node rack-b] [a=b:NoExecute gpu:NoSchedule] user=deploy port=2222 key=keys/id
`)
}

// The shapes of Kubespray's documentation and samples, and of the inventories that its Terraform
// templates write.
func TestShapes(t *testing.T) {
	for name, tt := range map[string]struct {
		files memory
		file  string
		want  string
	}{
		"hosts first, then groups": {memory{"i.ini": `node1 ansible_host=192.0.2.1 ip=10.3.0.1
node2 ansible_host=192.0.2.2 ip=10.3.0.2

[kube_control_plane]
node1

[etcd]
node1

[kube_node]
node1
node2
`}, "i.ini", `
node1 192.0.2.1 ip=10.3.0.1 [control-plane etcd worker] [etcd k8s_cluster kube_control_plane kube_node]
node2 192.0.2.2 ip=10.3.0.2 [worker] [k8s_cluster kube_node]
`},
		"old names, with their variables": {memory{"i.ini": `[kube-master]
m1 ansible_ssh_host=10.0.0.1 ansible_ssh_user=core
[kube-node]
n1 ansible_ssh_host=10.0.0.2 ansible_ssh_port=24
[etcd]
m1
[k8s-cluster:children]
kube-master
kube-node
[calico-rr]
`, "group_vars/k8s-cluster.yml": "kube_version: v1.37.2\n", "group_vars/kube-node.yml": "ansible_user: w\n"}, "i.ini", `
m1 10.0.0.1 [control-plane etcd] [etcd k8s-cluster k8s_cluster kube_control_plane kube-master] user=core
n1 10.0.0.2 [worker] [k8s-cluster k8s_cluster kube_node kube-node] user=w port=24
spec:
    kubernetesVersion: 1.37.2
`},
		"YAML": {memory{"inv/hosts.yaml": `all:
  hosts:
    node1:
      ansible_host: 10.0.0.1
      ip: 10.0.0.1
      access_ip: 10.0.0.1
    node2: {ansible_host: 10.0.0.2, ansible_become: yes}
    node[3:4]:
  children:
    kube_control_plane:
      hosts:
        node1:
    kube_node:
      hosts:
        node[2:4]:
      vars:
        node_labels: {pool: general}
    etcd: {hosts: {node1: }}
    k8s_cluster:
      children:
        kube_control_plane:
        kube_node:
    calico_rr:
      hosts: {}
`, "inv/host_vars/node3.yml": "ansible_host: 10.0.0.3\nnode_labels: {pool: big}\n", "inv/host_vars/node4/net": "ansible_host: 10.0.0.4\n"}, "inv/hosts.yaml", `
node1 10.0.0.1 [control-plane etcd] [etcd k8s_cluster kube_control_plane]
node2 10.0.0.2 [worker] [k8s_cluster kube_node] map[pool:general]
node3 10.0.0.3 [worker] [k8s_cluster kube_node] map[pool:big]
node4 10.0.0.4 [worker] [k8s_cluster kube_node] map[pool:general]
`},
		"a bastion, and hosts of no group": {memory{"i.ini": `[all]
cp1 ansible_user=ubuntu ansible_host=192.0.2.1 ip=10.0.0.1
spare ansible_host=192.0.2.9
[kube_control_plane]
cp1
[bastion]
bastion ansible_host=192.0.2.100 ansible_user=jumper ansible_port=2022 ansible_password="{{ lookup('env', 'GATE') }}"
`}, "i.ini", `
cp1 192.0.2.1 ip=10.0.0.1 [control-plane] [k8s_cluster kube_control_plane] user=ubuntu bastion=jumper@192.0.2.100:2022 env:GATE
`},
		"two bastions, of which one is in the cluster": {memory{"i.ini": "[kube_control_plane]\na ansible_host=10.0.0.1\n[kube_node]\nb ansible_host=10.0.0.2\n[bastion]\na\nc\n[all:vars]\nansible_ssh_private_key_file=/k\n"}, "i.ini", `
a 10.0.0.1 [control-plane] [bastion k8s_cluster kube_control_plane] key=/k bastion=@none:0
b 10.0.0.2 [worker] [k8s_cluster kube_node] key=/k bastion=@10.0.0.1:0 /k
warning: i.ini:5:1: bastion: of several bastions the first is used, which is a
`},
		"jump hosts": {memory{"i.ini": "[kube_control_plane]\na ansible_host=10.0.0.1 ansible_ssh_common_args='-o ProxyJump=ops@gate.example.com:2022 -o StrictHostKeyChecking=no'\n[kube_node]\nb ansible_host=10.0.0.2 ansible_ssh_common_args='-J gate'\n"}, "i.ini", `
a 10.0.0.1 [control-plane] [k8s_cluster kube_control_plane] trust=true bastion=ops@gate.example.com:2022
b 10.0.0.2 [worker] [k8s_cluster kube_node] bastion=@gate:0
`},
		"etcd on hosts of its own": {memory{"i.ini": "[kube_control_plane]\na ansible_host=10.0.0.1\n[etcd]\ne[1:3] ansible_host=10.0.1.1\ne2 ansible_host=10.0.1.2\ne3 ansible_host=10.0.1.3\n[all:vars]\nnode_labels={'x': 'y'}\nnode_taints=['k:NoSchedule']\n"}, "i.ini", `
a 10.0.0.1 [control-plane] [k8s_cluster kube_control_plane] map[x:y] [k:NoSchedule]
e1 10.0.1.1 [etcd] [etcd]
e2 10.0.1.2 [etcd] [etcd]
e3 10.0.1.3 [etcd] [etcd]
`},
		"a program": {memory{"inv/aws.py": "#!/usr/bin/env python3\n", "inv/aws.py --list": `{
	"kube_control_plane": {"hosts": ["a"], "vars": {"ansible_user": "ec2-user"}},
	"kube_node": ["b"],
	"etcd": {"children": ["kube_control_plane"]},
	"all": {},
	"_meta": {"hostvars": {"a": {"ansible_host": "10.0.0.1"}, "b": {"ansible_host": "10.0.0.2", "ansible_port": 2222}}}}
`, "inv/group_vars/kube_node.json": `{"node_labels": {"from": "file"}}`}, "inv/aws.py", `
a 10.0.0.1 [control-plane etcd] [etcd k8s_cluster kube_control_plane] user=ec2-user
b 10.0.0.2 [worker] [k8s_cluster kube_node] map[from:file] port=2222
`},
		"a program that is asked for each host": {memory{"p": "#!x", "p --list": `{"kube_control_plane": ["a"], "b": {"ansible_host": "10.0.0.9"}}`, "p --host a": `{"ansible_host": "10.0.0.1"}`, "p --host b": "{}"}, "p", `
a 10.0.0.1 [control-plane] [k8s_cluster kube_control_plane]
`},
		"what a program has printed": {memory{"list.json": `{"_meta": {"hostvars": {"a": {"ansible_host": "10.0.0.1"}}}, "kube_control_plane": {"hosts": ["a"]}}`}, "list.json", `
a 10.0.0.1 [control-plane] [k8s_cluster kube_control_plane]
`},
		"a folder": {memory{"inv/a.yml": "kube_control_plane: {hosts: {a: {ansible_host: 10.0.0.1}}}\n", "inv/b": "[kube_node]\nb ansible_host=10.0.0.2\n",
			"inv/c.ini": "[kube_node]\nc ansible_host=10.0.0.3\n", "inv/more/d.ini": "[kube_node]\nd\n", "inv/old.bak/e": "[kube_node]\ne\n", "inv/README.md": "# x", "inv/none.yml": "# nobody yet\n", "inv/.hidden": "[x", "inv/group_vars/all.yml": "ansible_user: u\n", "inv/artifacts/admin.conf": "x"}, "inv", `
a 10.0.0.1 [control-plane] [k8s_cluster kube_control_plane] user=u
b 10.0.0.2 [worker] [k8s_cluster kube_node] user=u
c 10.0.0.3 [worker] [k8s_cluster kube_node] user=u
warning: inv/more: the folder is not read: inventories are looked for in inv itself
`},
		"a folder of nothing but INI": {memory{"inv/inventory.ini": "[kube_control_plane]\na ansible_host=10.0.0.1\n"}, "inv", `
a 10.0.0.1 [control-plane] [k8s_cluster kube_control_plane]
`},
		"an IPv6 address with a port": {memory{"i": "[kube_control_plane]\n[2001:db8::1]:2222 ip=10.0.0.1 kube_override_hostname=a\n"}, "i", `
a 2001:db8::1 ip=10.0.0.1 [control-plane] [k8s_cluster kube_control_plane] port=2222
`},
	} {
		t.Run(name, func(t *testing.T) { tt.files.want(t, tt.file, tt.want) })
	}
}

// Of a variable that is set in several places, Ansible's order decides.
func TestPrecedence(t *testing.T) {
	all := memory{}
	order := []struct{ file, text string }{
		{"i.ini", "[all:vars]\nansible_user=L0\n"},
		{"i.ini", "[zz:vars]\nansible_user=L1\n"},               // at the depth of kube_control_plane, by name
		{"i.ini", "[deep:vars]\nansible_user=L2\n"},             // below zz
		{"group_vars/all/10-x.yml", "ansible_user: L3\n"},       // files of all beat groups of the inventory
		{"group_vars/all/20-y.yml", "ansible_user: L4\n"},       // by name
		{"group_vars/kube_control_plane", "ansible_user: L5\n"}, // without extension
		{"group_vars/zz.yml", "ansible_user: L6\n"},
		{"group_vars/deep.yaml", "ansible_user: L7\n"},
		{"i.ini", "[ungrouped]\na ansible_user=L8\n"},
		{"host_vars/a.yml", "ansible_user: L9\n"},
	}
	all["i.ini"] = "[kube_control_plane]\na ansible_host=10.0.0.1\n[zz:children]\ndeep\n[deep]\na\n"
	for i, o := range order {
		all[o.file] += o.text
		want := fmt.Sprintf("user=L%d", i)
		if got := all.load(t, "i.ini"); !strings.Contains(got, want) {
			t.Errorf("with %s: %q is not in\n%s", o.file, want, got)
		}
	}
	for file, text := range map[string]string{
		"group_vars/deep/old.bak/x.yml": "ansible_user: L10\n", // a folder with an extension
		"group_vars/deep/old.yml/x":     "ansible_user: L10\n",
		"group_vars/deep/old~/x":        "ansible_user: L10\n",
		"group_vars/deep/new/x":         "ansible_user: L11\n",
	} {
		files := memory{"i.ini": "[kube_control_plane]\na ansible_host=10.0.0.1\n[deep]\na\n", "group_vars/deep/x.yml": "{}", file: text}
		if got, read := files.load(t, "i.ini"), strings.Contains(file, "new"); strings.Contains(got, "user=L") != read {
			t.Errorf("%s is read: %v, want %v:\n%s", file, !read, read, got)
		}
	}
	for vars, want := range map[string]bool{"group_vars/ungrouped.yml": false, "group_vars/all.yml": true} {
		files := memory{"i.ini": "a ansible_host=10.0.0.1\n[kube_control_plane]\na\n", vars: "ansible_user: L12\n"}
		if got := files.load(t, "i.ini"); strings.Contains(got, "user=L12") != want {
			t.Errorf("of a host in a group, %s counts: %v, want %v:\n%s", vars, !want, want, got)
		}
	}
	priority := memory{"i.ini": "[kube_control_plane]\na ansible_host=10.0.0.1\n[aa]\na\n[aa:vars]\nansible_group_priority=9\nansible_user=first\n[zz]\na\n[zz:vars]\nansible_user=last\n"}
	if got := priority.load(t, "i.ini"); !strings.Contains(got, "user=first") {
		t.Errorf("ansible_group_priority is not heeded:\n%s", got)
	}
}

func TestFaults(t *testing.T) {
	const good = "[kube_control_plane]\na ansible_host=10.0.0.1\n"
	for name, tt := range map[string]struct {
		files memory
		want  string
	}{
		"a group that is misspelt": {memory{"i": good + "[kube_node:children]\nworkrs\n[workers]\n"}, `i:4:1: there is no group "workrs"; declare it as [workrs], were it empty; did you mean workers?`},
		"variables of no group":    {memory{"i": good + "[kube_nodes:vars]\nx=1\n"}, `i:3:1: the section sets variables of the group "kube_nodes", which is declared nowhere; declare it as [kube_nodes]`},
		"a kind of section":        {memory{"i": good + "[kube_node:chilren]\nx\n"}, "i:3:1: a section is [group], [group:children] or [group:vars], not of the kind chilren; did you mean [kube_node:children]?"},
		"a heading with blanks":    {memory{"i": good + "[ kube_node ]\nx\n"}, "i:3:1: this is no heading of a section"},
		"a quote that is open":     {memory{"i": good + "b x='1\n"}, "i:3:1: a quote that opens in this line is not closed"},
		"a word without =":         {memory{"i": good + "b ansible_user=x hunter2\n"}, "i:3:18: expected variable=value after the name of a host"},
		"a line of variables":      {memory{"i": good + "[all:vars]\nx\n"}, "i:4:1: expected variable=value in the section [all:vars]"},
		"a range backwards":        {memory{"i": good + "b[3:1]\n"}, "i:3:1: the range ends before it begins; a range is written as in node[01:20], node[1:9:2] or node[a:f]"},
		"a range of two lengths":   {memory{"i": good + "b[01:100]\n"}, "both must have the same number of digits"},
		"a range without end":      {memory{"i": good + "b[1:2\n"}, "the range that begins with [ is not closed"},
		"too many hosts":           {memory{"i": good + "b[0:99999]\n"}, "there are too many hosts"},
		"a circle of groups":       {memory{"i": good + "[x:children]\ny\n[y:children]\nx\n"}, "is below itself: its children lead back to it"},
		"no role":                  {memory{"i": "[kube_contrl_plane]\na\n"}, "i:1:1: kube_contrl_plane: no host is in one of the groups kube_control_plane, kube_node, etcd; did you mean kube_control_plane?"},
		"no host":                  {memory{"i": ""}, "i: no host is in one of the groups"},
		"an invisible character":   {memory{"i": good + "b\u200b\n"}, "i:3:2: the invisible character U+200B is not allowed"},
		"other encodings":          {memory{"i": good + "b\xff\n"}, "i:3:2: this is not UTF-8"},
		"no address":               {memory{"i": "[kube_control_plane]\na.example.com\n"}, `i:2:1: a.example.com: has neither ip nor access_ip, and its address "a.example.com" is a name: set ip to the address by which the other nodes reach it`},
		"a name that is none":      {memory{"i": "[kube_control_plane]\nnode_1 ansible_host=10.0.0.1\n"}, `i:2:1: node_1: the name "node_1" must be lower-case letters, digits, - and ., and begin and end with a letter or digit (RFC 1123); did you mean node-1?`},
		"an address with a port":   {memory{"i": "[kube_control_plane]\na ansible_host=10.0.0.1:22 ip=10.0.0.1\n"}, `i:2:16: ansible_host: the address "10.0.0.1:22" has a port`},
		"a port that is none":      {memory{"i": "[kube_control_plane]\na ansible_host=10.0.0.1 ansible_port=ssh\n"}, "i:2:38: ansible_port: expected a whole number"},
		"a port out of range":      {memory{"i": "[kube_control_plane]\na ansible_host=10.0.0.1 ansible_port=70000\n"}, "i:2:38: ansible_port: 70000 is out of range"},
		"this machine":             {memory{"i": "[kube_control_plane]\na ansible_connection=local ip=10.0.0.1\n"}, `ansible_connection: the connection "local" is not supported: every host is reached over SSH`},
		"another plugin":           {memory{"i": good, "group_vars/all.yml": "kube_network_plugin: cilium\n"}, `group_vars/all.yml:1:22: kube_network_plugin: the network plugin "cilium" is not supported: set calico or flannel, or none and install the plugin yourself`},
		"a list of hosts":          {memory{"i": "all:\n  hosts:\n    - a\n"}, "i:2:3: all.hosts: expected a mapping: each name with a colon after it, not with a - before it"},
		"a section misspelt":       {memory{"i": "all:\n  hosts: {a: }\n  childrn: {}\n"}, "i:3:3: all.childrn: a group has hosts, vars and children; Ansible skips any other key; did you mean children?"},
		"no YAML":                  {memory{"i": good, "host_vars/a.yml": "x: [\n"}, "host_vars/a.yml:1:1: this is not YAML"},
		"no mapping":               {memory{"i": good, "group_vars/all.yml": "- x\n"}, "group_vars/all.yml:1:1: expected a mapping of variables to values"},
		"an unquoted template":     {memory{"i": good, "group_vars/all.yml": "kube_pods_subnet: {{ x }}\n"}, "kube_pods_subnet: expected text"},
		"a template of facts":      {memory{"i": good, "group_vars/all.yml": "ip: \"{{ ansible_default_ipv4.address }}\"\n"}, "group_vars/all.yml:1:5: ip: the template refers to ansible_default_ipv4, which the inventory does not set for a; write the value itself"},
		"a template with filters":  {memory{"i": good, "group_vars/all.yml": "dns_domain: \"{{ x | lower }}\"\nx: A\n"}, "dns_domain: of templates only {{ variable }} and {{ variable.key }} are understood"},
		"a template of itself":     {memory{"i": good, "group_vars/all.yml": "dns_domain: \"{{ cluster_name }}\"\ncluster_name: \"{{ dns_domain }}\"\n"}, "the template refers to itself"},
		"a flag of a template":     {memory{"i": good, "group_vars/all.yml": "kube_kubeadm_apiserver_extra_args: {oidc-issuer-url: \"{{ idp }}\"}\n"}, "kube_kubeadm_apiserver_extra_args: the template refers to idp, which the inventory does not set for a"},
		"a flag of a list":         {memory{"i": good, "group_vars/all.yml": "kube_kubeadm_apiserver_extra_args: {v: [1]}\n"}, "kube_kubeadm_apiserver_extra_args: the value of the flag v is not text"},
		"a flag in a vault":        {memory{"i": good, "group_vars/all.yml": "kube_kubeadm_apiserver_extra_args: {v: !vault x}\n"}, "kube_kubeadm_apiserver_extra_args: the value is encrypted by ansible-vault"},
		"a label of a template":    {memory{"i": good, "group_vars/all.yml": "node_labels: {rack: \"{{ rack | lower }}\"}\n"}, "node_labels: of templates only {{ variable }} and {{ variable.key }} are understood"},
		"a label of a list":        {memory{"i": good, "group_vars/all.yml": "node_labels: {rack: [a]}\n"}, "node_labels: the value of the label rack is not text"},
		"a taint of a template":    {memory{"i": good, "group_vars/all.yml": "node_taints: [\"{{ t }}\"]\n"}, "node_taints: the template refers to t, which the inventory does not set for a"},
		"a taint of a mapping":     {memory{"i": good, "group_vars/all.yml": "node_taints: [{key: k}]\n"}, "node_taints: a taint is written as text: key=value:Effect"},
		"a mirror of a template":   {memory{"i": good, "group_vars/all.yml": "containerd_registries_mirrors: [{prefix: \"{{ hub }}\", mirrors: [{host: \"https://m\"}]}]\n"}, "containerd_registries_mirrors: the template refers to hub, which the inventory does not set for a"},
		"a mirror of a list":       {memory{"i": good, "group_vars/all.yml": "containerd_registries_mirrors: [{prefix: [a], mirrors: [{host: \"https://m\"}]}]\n"}, "containerd_registries_mirrors: a prefix is not text"},
		"a mirror of no host":      {memory{"i": good, "group_vars/all.yml": "containerd_registries_mirrors: [{prefix: a, mirrors: [{}]}]\n"}, "containerd_registries_mirrors: a mirror has no host that is a URL"},
		"a program that fails":     {memory{"i": "#!x"}, "i: the dynamic inventory failed: exit status 1"},
		"a program without JSON":   {memory{"i": "#!x", "i --list": "{\n \"a\": x}"}, "i --list:2:7: the dynamic inventory does not print JSON: invalid character 'x'"},
		"a program of half a word": {memory{"i": "#!x", "i --list": "{"}, "i --list:1:2: the dynamic inventory does not print JSON: it ends too early"},
		"a program of a list":      {memory{"i": "#!x", "i --list": "[]"}, "i --list:1:1: the dynamic inventory prints no JSON object"},
		"a program of a text":      {memory{"i": "#!x", "i --list": `{"kube_node": "a"}`}, "i --list:1:2: kube_node: a group is an object with hosts, vars and children, or a list of hosts"},
		"labels of a list":         {memory{"i": good, "group_vars/all.yml": "node_labels: [a]\n"}, "group_vars/all.yml:1:14: node_labels: expected a mapping"},
		"a label that is none":     {memory{"i": good, "group_vars/all.yml": "node_labels: {x: 'a b'}\n"}, "group_vars/all.yml:1:18: node_labels: the value of a label must be empty or of letters"},
		"a taint that is none":     {memory{"i": good, "group_vars/all.yml": "node_taints: [x]\n"}, "group_vars/all.yml:1:15: node_taints: the taint has no effect; did you mean x:NoSchedule?"},
		"two hosts at one address": {memory{"i": good + "b ansible_host=10.0.0.1\n"}, "i:3:16: ansible_host: the address 10.0.0.1 is taken by ansible_host in line 2"},
		"a load balancer":          {memory{"i": good, "group_vars/all.yml": "loadbalancer_apiserver: {port: 443}\n"}, "loadbalancer_apiserver: has no address"},
		"a folder without any":     {memory{"i/README.md": ""}, "i: the folder holds no inventory"},
		"a folder of folders":      {memory{"i/x/hosts": good}, "i: the folder holds no inventory"},
		"a folder with no YAML":    {memory{"i/a.ini": good, "i/b.yml": "kube_node: [\n"}, "i/b.yml:1:1: this is not YAML"},
		"a folder with no groups":  {memory{"i/a.ini": good, "i/b.json": `{"kind": "x"}`}, "i/b.json:1:1: the file holds no groups of Ansible, which have hosts, vars or children"},
		"a folder with a plugin":   {memory{"i/a.ini": good, "i/b.aws_ec2.yml": "---\nplugin: amazon.aws.aws_ec2\nregions: [x]\n"}, "i/b.aws_ec2.yml:2:9: plugin: inventory plugins are not run; use the output of ansible-inventory --list"},
		"no such file":             {memory{}, "i: cannot be read: open i: file does not exist"},
	} {
		t.Run(name, func(t *testing.T) {
			got := tt.files.load(t, "i")
			if !strings.Contains(got, "fault: "+tt.want) && !strings.Contains(got, tt.want) || !strings.Contains(got, "fault: ") {
				t.Errorf("want %s\ngot  %s", tt.want, got)
			}
			if strings.Contains(got, "hunter2") {
				t.Errorf("a word that may be a password is shown:\n%s", got)
			}
		})
	}
}
