package ansible_test

import (
	"slices"
	"strings"
	"testing"
	"unicode"

	"kubewright/inventory"
	"kubewright/inventory/ansible"
)

// checkImport checks what holds for an inventory of any bytes: it is hosts that are whole, or faults
// that name a file, on one line each.
func checkImport(t *testing.T, files memory, file string) {
	t.Helper()
	imported, faults := ansible.Format{}.Load(file, files.files())
	if imported == nil {
		t.Fatal("no import")
	}
	if len(faults) == 0 {
		f, more := inventory.ParseTree(imported.Name, imported.Hosts)
		hosts, evenMore := inventory.Resolve(f.Source())
		faults = slices.Concat(more, evenMore)
		for _, h := range hosts {
			if len(faults) > 0 {
				break
			}
			texts := append([]string{h.Name, h.Address, h.SSH.User, h.SSH.KeyFile, h.SSH.Password.Name}, h.Groups...)
			for key, value := range h.Labels {
				texts = append(texts, key, value)
			}
			if h.Name == "" || h.Name != strings.ToLower(h.Name) || !h.NodeIP.Is4() || len(h.Roles) == 0 {
				t.Errorf("this is no host: %+v", h.Host)
			}
			if strings.ContainsFunc(strings.Join(texts, ""), unicode.IsControl) {
				t.Errorf("%+v has a control character", h.Host)
			}
		}
		for _, v := range imported.Report {
			if v.Verdict == "" || v.Reason == "" || v.Origin.File == "" {
				t.Errorf("nothing is said of %+v", v)
			}
		}
	}
	for _, f := range faults {
		if f.File == "" || f.Message == "" || f.Line > 0 && f.Column < 1 {
			t.Errorf("%#v has no place", f)
		}
	}
	if again, _ := (ansible.Format{}).Load(file, files.files()); again == nil || len(again.Report) != len(imported.Report) {
		t.Error("a second time it is something else")
	}
}

func FuzzINI(f *testing.F) {
	for _, seed := range []string{
		twoHosts, "[kube_control_plane]\na[01:03] ansible_host='10.0.0.1' # c\n[x:children]\nkube_control_plane\n[x:vars]\ny={'a': [1, (2, 3)], \"b\": None}\n",
		"[::1]:22\n[a:b]\nc\n", "a x=\"\\\"\\\\\" y='", "\ufeff[etcd]\r\nb\r\n", "[kube_node]\nb[a:f:2]-[1:3] ip=10.0.0.1\n", "[x:children]\nx\n", "[x", "a:b:c", "[kube_node]\na ansible_port={{ x }} x={{ ansible_port }} ip=1.2.3.4\n",
		"[kube_node]\na ip=1.2.3.4 ansible_password=\"{{ lookup('env', 'X') }}\" node_taints=\"['a:NoSchedule']\"\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		checkImport(t, memory{"i.ini": text}, "i.ini")
	})
}

func FuzzYAML(f *testing.F) {
	for _, seed := range []string{
		"all:\n  hosts:\n    a: {ansible_host: 10.0.0.1}\n  children:\n    kube_control_plane: {hosts: {a: }}\n",
		"kube_node: {hosts: {\"b[1:2]\": {ip: 10.0.0.1, node_labels: {x: y}}}, vars: {ansible_user: \"{{ u.v }}\", u: {v: w}}}\n",
		"all: &a {children: {b: {vars: {<<: *a}}}}\n", "all: &a\n  children: {x: *a}\n", "all: {hosts: x}\n", "all: {vars: {ansible_password: !vault x, kube_pods_subnet: [1]}}\n", "a: {hosts: [b]}\n", "? {a: b}\n: c\nall: {}\n",
		"kube_control_plane: {hosts: {a: {ip: 10.0.0.1}}, vars: {loadbalancer_apiserver: {address: x}, containerd_registries_mirrors: [{prefix: p, mirrors: [{host: h}]}], kubelet_config_extra_args: {a: [b, {c: d}]}}}\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		checkImport(t, memory{"i.yml": text, "group_vars/all.yml": text}, "i.yml")
	})
}

func FuzzList(f *testing.F) {
	for _, seed := range []string{
		`{"kube_control_plane": {"hosts": ["a"]}, "_meta": {"hostvars": {"a": {"ip": "10.0.0.1", "ansible_host": "10.0.0.1"}}}}`,
		`{"a": {"children": ["a"]}, "b": [1, null, {}], "c": {}, "d": {"x": 1.5e3}}`, "[", `{"all": {"vars": null, "hosts": "x"}}`, "{} {}", `{"\ud800": []}`, "{\"_meta\": 1}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		checkImport(t, memory{"i": "#!x", "i --list": text}, "i")
	})
}
