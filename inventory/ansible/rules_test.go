package ansible_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kubewright/inventory"
	"kubewright/inventory/ansible"
)

const twoHosts = "[kube_control_plane]\na ansible_host=10.0.0.1\n[kube_node]\nb ansible_host=10.0.0.2\n"

// What becomes of variables that are about the cluster.
func TestClusterVariables(t *testing.T) {
	const hosts = "a 10.0.0.1 [control-plane] [k8s_cluster kube_control_plane]\nb 10.0.0.2 [worker] [k8s_cluster kube_node]\n"
	for vars, want := range map[string]string{
		"kube_version: v1.36.1":                           "spec:\n    kubernetesVersion: 1.36.1\n",
		"kube_version: 1.36.1":                            "spec:\n    kubernetesVersion: 1.36.1\n",
		"cluster_name: prod.example.com":                  "metadata:\n    name: prod-example-com\nspec:\n    network:\n        dnsDomain: prod.example.com\n",
		"cluster_name: x\ndns_domain: cluster.local":      "metadata:\n    name: x\nspec:\n    network:\n        dnsDomain: cluster.local\n",
		"dns_domain: \"{{ zone }}.local\"\nzone: east":    "spec:\n    network:\n        dnsDomain: east.local\n",
		"kube_pods_subnet: 10.1.0.0/16":                   "spec:\n    network:\n        podCIDR: 10.1.0.0/16\n",
		"kube_service_addresses: 10.2.0.0/16":             "spec:\n    network:\n        serviceCIDR: 10.2.0.0/16\n",
		"kube_network_node_prefix: 25":                    "spec:\n    controlPlane:\n        controllerManager:\n            extraArgs:\n                node-cidr-mask-size: \"25\"\n",
		"kube_network_node_prefix: 24":                    "",
		"kube_proxy_mode: nftables":                       "spec:\n    network:\n        proxyMode: nftables\n",
		"kube_proxy_strict_arp: true":                     "spec:\n    kubeProxy:\n        config:\n            ipvs:\n                strictARP: true\n",
		"kube_network_plugin: calico\ncalico_mtu: '1440'": "spec:\n    network:\n        cni:\n            name: calico\n            mtu: 1440\n",
		"kube_network_plugin: flannel":                    "spec:\n    network:\n        cni:\n            name: flannel\n",
		"kube_network_plugin: custom_cni":                 "spec:\n    network:\n        cni:\n            name: none\n",
		"kube_apiserver_port: 8443":                       "spec:\n    controlPlane:\n        port: 8443\n",
		"loadbalancer_apiserver: {address: 192.0.2.9, port: 8383}\napiserver_loadbalancer_domain_name: lb.example.com":                                                                                    "spec:\n    controlPlane:\n        endpoint: 192.0.2.9:8383\n        certSANs:\n            - lb.example.com\n",
		"loadbalancer_apiserver:\n  address: \"{{ kube_vip_address }}\"\n  port: 6443\nkube_vip_enabled: true\nkube_vip_controlplane_enabled: true\nkube_vip_address: 10.0.0.9\nkube_vip_interface: eth1": "spec:\n    controlPlane:\n        endpoint: 10.0.0.9:6443\n        vip:\n            address: 10.0.0.9\n            provider: kube-vip\n            interface: eth1\n",
		"kube_vip_enabled: false\nkube_vip_address: 10.0.0.9":                                                                                "",
		"supplementary_addresses_in_ssl_keys: [10.0.0.7, api.example.com]":                                                                   "spec:\n    controlPlane:\n        certSANs:\n            - 10.0.0.7\n            - api.example.com\n",
		"loadbalancer_apiserver_localhost: true":                                                                                             "spec:\n    controlPlane:\n        nodeEndpoint: local\n",
		"loadbalancer_apiserver: {address: \"2001:db8::1\", port: 1}\nloadbalancer_apiserver_localhost: False":                               "spec:\n    controlPlane:\n        endpoint: '[2001:db8::1]:1'\n        nodeEndpoint: endpoint\n",
		"kube_kubeadm_apiserver_extra_args: {audit-log-maxage: 30}":                                                                          "spec:\n    controlPlane:\n        apiServer:\n            extraArgs:\n                audit-log-maxage: \"30\"\n",
		"kube_kubeadm_apiserver_extra_args: {oidc-issuer-url: \"https://{{ idp }}\"}\nidp: id.example.com":                                   "spec:\n    controlPlane:\n        apiServer:\n            extraArgs:\n                oidc-issuer-url: https://id.example.com\n",
		"containerd_registries_mirrors:\n- prefix: \"{{ hub }}\"\n  mirrors:\n  - {host: \"https://{{ hub }}.example.com\"}\nhub: docker.io": "spec:\n    artifacts:\n        registryMirrors:\n            docker.io:\n                - https://docker.io.example.com\n",
		"kubelet_max_pods: 200\nkubelet_config_extra_args: {imageGCHighThresholdPercent: 70}":                                                "spec:\n    kubelet:\n        config:\n            maxPods: 200\n            imageGCHighThresholdPercent: 70\n",
		"containerd_registries_mirrors:\n- prefix: docker.io\n  mirrors:\n  - {host: https://m.example.com, capabilities: [pull]}":           "spec:\n    artifacts:\n        registryMirrors:\n            docker.io:\n                - https://m.example.com\n",
	} {
		memory{"i": twoHosts, "group_vars/k8s_cluster/x.yml": vars + "\n"}.want(t, "i", hosts+want)
	}
}

// What becomes of variables that are about a host, written in its line of an INI file.
func TestHostVariables(t *testing.T) {
	for vars, want := range map[string]string{
		"ansible_ssh_private_key_file=~/.ssh/id ansible_private_key_passphrase=env:P":                    "key=~/.ssh/id passphrase=env:P",
		`ansible_password="{{ lookup('env', 'PW') }}"`:                                                   "password=env:PW",
		`ansible_become_password="{{ lookup('ansible.builtin.file', 'secret/sudo') }}"`:                  "sudo=file:secret/sudo",
		"ansible_become_pass=file:~/sudo":                                                                "sudo=file:~/sudo",
		"ansible_host_key_checking=False":                                                                "trust=true",
		"ansible_ssh_common_args='-o StrictHostKeyChecking=no'":                                          "trust=true",
		"ansible_ssh_common_args='-o StrictHostKeyChecking=accept-new -o UserKnownHostsFile=/dev/null'":  "trust=true",
		"ansible_ssh_common_args='-J ops@gate-JP.example.com'":                                           "bastion=ops@gate-JP.example.com:0",
		"ansible_ssh_common_args='-Jgate-o -C -o ControlMaster=auto'":                                    "bastion=@gate-o:0",
		"ansible_ssh_common_args='-oProxyJump=a-J.example.com:2022'":                                     "bastion=@a-J.example.com:2022",
		`ansible_ssh_common_args="-o 'ProxyJump=x-Jy' -o StrictHostKeyChecking=no"`:                      "trust=true bastion=@x-Jy:0",
		`node_labels='{"a":"b"}'`:                                                                        "map[a:b]",
		`node_labels="{'example.com/x': True}"`:                                                          "map[example.com/x:true]",
		`node_labels="{'rack': '{{ rack }}'}" rack=r7`:                                                   "map[rack:r7]",
		`node_taints="['k={{ rack }}:NoExecute']" rack=r7`:                                               "[k=r7:NoExecute]",
		"node_taints=k:NoExecute":                                                                        "[k:NoExecute]",
		"ansible_user='{{ inventory_hostname_short }}'":                                                  "user=a",
		"ansible_port='{{ base }}2' base=22":                                                             "port=222",
		"ansible_user=\"{{ who.name }}\" who=\"{'name':'u'}\"":                                           "user=u",
		"ansible_user=\"{{ who['name'] }}\" who=\"{'name':'u'}\"":                                        "user=u",
		"ip=10.0.0.1 access_ip=10.0.0.1":                                                                 "",
		"ansible_become=true ansible_become_method=sudo ansible_become_user=root ansible_connection=ssh": "",
	} {
		want = strings.TrimSpace("a 10.0.0.1 [control-plane] [k8s_cluster kube_control_plane] "+want) + "\n"
		memory{"i": "[kube_control_plane]\na ansible_host=10.0.0.1 " + vars + "\n"}.want(t, "i", want)
	}
}

// A password is where the operator keeps it, or is refused; whatever is written, no message has it.
func TestSecretsAreNotShown(t *testing.T) {
	const vault = "$ANSIBLE_VAULT;1.1;AES256\n      6162hunter2\n"
	for name, files := range map[string]memory{
		"in a line":     {"i": "[kube_control_plane]\na ansible_host=10.0.0.1 ansible_password=hunter2\n"},
		"with a blank":  {"i": "[kube_control_plane]\na ansible_host=10.0.0.1 ansible_password=x hunter2\n"},
		"in a section":  {"i": "[kube_control_plane]\na ansible_host=10.0.0.1\n[all:vars]\nansible_become_pass=hunter2 # x\n"},
		"a number":      {"i": "[kube_control_plane]\na ansible_host=10.0.0.1\n", "host_vars/a": "ansible_ssh_pass: 42\n"},
		"a mapping":     {"i": "[kube_control_plane]\na ansible_host=10.0.0.1\n", "host_vars/a": "ansible_ssh_pass: {hunter2: hunter2}\n"},
		"a vault":       {"i": "[kube_control_plane]\na ansible_host=10.0.0.1\n", "host_vars/a": "ansible_password: !vault |\n      " + vault},
		"a vault, afar": {"i": "[kube_control_plane]\na ansible_host=10.0.0.1\n", "host_vars/a": "pw: !vault |\n      " + vault + "ansible_password: '{{ pw }}'\n"},
		"a filter":      {"i": "[kube_control_plane]\na ansible_host=10.0.0.1\n", "host_vars/a": "ansible_password: \"{{ 'hunter2' | string }}\"\n"},
		"a lookup":      {"i": "[kube_control_plane]\na ansible_host=10.0.0.1\n", "host_vars/a": "ansible_password: \"{{ lookup('pipe', 'echo hunter2') }}\"\n"},
	} {
		t.Run(name, func(t *testing.T) {
			got := files.load(t, "i")
			if !strings.Contains(got, "fault: ") || strings.Contains(got, "hunter2") {
				t.Errorf("got %s", got)
			}
			if name != "with a blank" && !strings.Contains(got, "env:NAME") {
				t.Errorf("there is no remedy in %s", got)
			}
		})
	}
	unneeded := memory{"i": twoHosts, "group_vars/all/vault.yml": vault, "group_vars/all/x.yml": "my_password: !vault |\n  " + vault}
	if got := unneeded.load(t, "i"); strings.Contains(got, "fault: ") || !strings.Contains(got, "warning: group_vars/all/vault.yml:1:1: is encrypted by ansible-vault and was not read") {
		t.Errorf("what nobody needs is refused, or not told: %s", got)
	}
}

// Every variable is in the report, at its place, with what became of it.
func TestReport(t *testing.T) {
	files := memory{"i": twoHosts + "[b_only]\nb\n[b_only:vars]\nkube_version=1.35.0\n[bastion]\nj ansible_user=x\n", "group_vars/all.yml": `kube_version: 1.36.1
kube_apiserver_port: 6443
helm_enabled: true
ingress_enabled: "{{ helm_off }}"
helm_off: no
bin_dir: /usr/local/bin
container_manager: docker
kube_feature_gates: [X=true]
ansible_python_interpreter: /usr/bin/python3
http_proxy: http://proxy:3128
my_own: 1
access_ip:
ansible_become: false
`, "host_vars/a.yml": "ip: 10.0.0.1\naccess_ip: 10.0.0.9\nansible_ssh_common_args: -o ProxyJump=j,k\n", "group_vars/nobody.yml": "x: 1\n", "host_vars/b.yml": "kube_apiserver_port: 443\n"}
	imported, faults := ansible.Format{}.Load("i", files.files())
	if faults != nil {
		t.Fatal(faults)
	}
	var got []string
	for _, v := range imported.Report {
		got = append(got, fmt.Sprintf("%s %s (%s) %s: %s", v.Origin, v.Name, v.Scope, v.Verdict, v.Reason))
	}
	want := strings.Split(`group_vars/all.yml:1:15 kube_version (all) understood: spec.kubernetesVersion
group_vars/all.yml:2:22 kube_apiserver_port (all) understood: spec.controlPlane.port
group_vars/all.yml:3:15 helm_enabled (all) unsupported: it is of an add-on: spec.addons says what is installed
group_vars/all.yml:4:18 ingress_enabled (all) ignored: it is switched off, or empty
group_vars/all.yml:5:11 helm_off (all) ignored: it is switched off, or empty
group_vars/all.yml:6:10 bin_dir (all) ignored: the layout on the hosts is kubeadm's
group_vars/all.yml:7:20 container_manager (all) unsupported: kubewright has no equivalent
group_vars/all.yml:8:21 kube_feature_gates (all) unsupported: kubewright has no equivalent
group_vars/all.yml:9:29 ansible_python_interpreter (all) ignored: it is about Ansible
group_vars/all.yml:10:13 http_proxy (all) unsupported: hosts download through no proxy; give spec.artifacts a mirror, or have files pushed
group_vars/all.yml:11:9 my_own (all) ignored: kubewright knows no such variable
group_vars/all.yml:12:11 access_ip (all) ignored: another value wins, or no host of the cluster has this one
group_vars/all.yml:13:17 ansible_become (all) ignored: a user other than root becomes root with sudo in any case
group_vars/nobody.yml:1:4 x (nobody) ignored: the inventory has no group or host called nobody
host_vars/a.yml:1:5 ip (a) understood: hosts[].nodeIP
host_vars/a.yml:2:12 access_ip (a) unsupported: differs from ip (10.0.0.1), by which the nodes reach each other here
host_vars/a.yml:3:26 ansible_ssh_common_args (a) unsupported: one jump host is understood, as [user@]host[:port]; give an ssh_config file with the others as ssh.configFile
host_vars/b.yml:1:22 kube_apiserver_port (b) ignored: the value of a counts for the cluster
i:2:16 ansible_host (a) understood: hosts[].address
i:4:16 ansible_host (b) understood: hosts[].address
i:8:14 kube_version (b_only) ignored: another value wins, or no host of the cluster has this one
i:10:16 ansible_user (j) understood: defaults.ssh.bastion.user`, "\n")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var warnings []string
	for _, w := range imported.Warnings.Sorted() {
		warnings = append(warnings, w.Error())
	}
	wantWarnings := []string{
		"host_vars/b.yml:1:22: kube_apiserver_port: b has another value than a, which counts for the cluster",
		`i: kubewright does not do what these variables ask for: access_ip, ansible_ssh_common_args, container_manager, helm_enabled, http_proxy, kube_feature_gates; "kubewright inventory show" says of each why`,
	}
	if diff := cmp.Diff(wantWarnings, warnings); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Kubespray's virtual IP is of kube-vip, which announces it by ARP here too.
func TestVariablesOfKubeVIP(t *testing.T) {
	const on = "kube_vip_enabled: true\nkube_vip_controlplane_enabled: true\nkube_vip_address: 10.0.0.9\n"
	const noMore = "kube-vip has the virtual IP of the control planes, which it announces by ARP, and nothing else"
	for vars, want := range map[string]string{
		on + "kube_vip_arp_enabled: true\n":       "understood: kube-vip announces the virtual IP by ARP",
		on + "kube_vip_arp_enabled: false\n":      "unsupported: kube-vip announces the virtual IP by ARP",
		"kube_vip_arp_enabled: true\n":            "ignored: there is a virtual IP with both kube_vip_enabled and kube_vip_controlplane_enabled",
		on + "kube_vip_bgp_enabled: true\n":       "unsupported: " + noMore,
		on + "kube_vip_services_enabled: false\n": "ignored: it is switched off, or empty",
		on + "kube_vip_cp_detect: true\n":         "ignored: " + noMore,
	} {
		imported, faults := ansible.Format{}.Load("i", memory{"i": twoHosts, "group_vars/all.yml": vars}.files())
		if faults != nil {
			t.Fatal(faults)
		}
		lines := strings.Split(strings.TrimSpace(vars), "\n")
		name, _, _ := strings.Cut(lines[len(lines)-1], ":")
		at := slices.IndexFunc(imported.Report, func(v inventory.Variable) bool { return v.Name == name })
		if got := fmt.Sprintf("%s: %s", imported.Report[at].Verdict, imported.Report[at].Reason); got != want {
			t.Errorf("%s\ngot  %s\nwant %s", vars, got, want)
		}
	}
	bad := memory{"i": twoHosts, "group_vars/all.yml": on + "kube_vip_arp_enabled: maybe\n"}
	if got := bad.load(t, "i"); !strings.Contains(got, "fault: group_vars/all.yml:4:23: kube_vip_arp_enabled: expected true or false") {
		t.Error(got)
	}
}

// The tables of the reference are made of the rules: each variable has one, and says something.
func TestRules(t *testing.T) {
	var names []string
	for _, r := range ansible.Rules() {
		names = append(names, r.Names...)
		if len(r.Names) == 0 || r.To == "" && r.Note == "" {
			t.Errorf("this rule says nothing: %+v", r.Names)
		}
	}
	slices.Sort(names)
	if once := slices.Compact(slices.Clone(names)); len(once) != len(names) {
		t.Errorf("a variable has two rules: %v", names)
	}
}

func TestRecognizes(t *testing.T) {
	for name, tt := range map[string]struct {
		inventory.Candidate
		want bool
	}{
		"INI":                    {inventory.Candidate{Path: "hosts", Data: []byte("# x\n[all]\n")}, true},
		"a list of hosts":        {inventory.Candidate{Path: "hosts", Data: []byte("node1 ansible_host=x\n")}, true},
		"an empty INI file":      {inventory.Candidate{Path: "x.ini"}, true},
		"YAML":                   {inventory.Candidate{Path: "x.yml", Data: []byte("all:\n  children: {}\n")}, true},
		"YAML without extension": {inventory.Candidate{Path: "hosts", Data: []byte("---\nkube_node:\n  hosts: {}\n")}, true},
		"JSON":                   {inventory.Candidate{Path: "x.json", Data: []byte(`{"_meta": {}, "g": ["a"]}`)}, true},
		"a program":              {inventory.Candidate{Path: "x.py", Executable: true, Data: []byte("#!/usr/bin/python3\n")}, true},
		"a folder":               {inventory.Candidate{Path: "inventory", Folder: true}, true},
		"ours":                   {inventory.Candidate{Path: "x.yaml", Data: []byte("apiVersion: kubewright.io/v1alpha1\nkind: Inventory\nhosts: []\n")}, false},
		"ours, misspelt":         {inventory.Candidate{Path: "x.yaml", Data: []byte("apiVersoin: kubewright.io/v1alpha1\nhosts: []\n")}, false},
		"ours, without head":     {inventory.Candidate{Path: "x.yaml", Data: []byte("hosts:\n- name: a\n")}, false},
		"broken YAML":            {inventory.Candidate{Path: "x.yaml", Data: []byte("all: [\n")}, false},
		"a plugin of Ansible":    {inventory.Candidate{Path: "x.yaml", Data: []byte("plugin: amazon.aws.aws_ec2\n")}, true},
		"all YAML can be run":    {inventory.Candidate{Path: "x.yaml", Executable: true, Data: []byte("kind: Inventory\n")}, false},
		"outputs of Terraform":   {inventory.Candidate{Path: "x.json", Data: []byte(`{"hosts": {"sensitive": false, "value": []}}`)}, false},
	} {
		if got := (ansible.Format{}).Recognizes(tt.Candidate); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
