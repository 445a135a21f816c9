package inventory_test

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kubewright/inventory"
)

func hosts() []inventory.Host {
	return []inventory.Host{
		{Name: "cp1", Roles: []inventory.Role{"control-plane", "etcd"}, Groups: []string{"rack-a"}},
		{Name: "worker1", Roles: []inventory.Role{"worker"}, Groups: []string{"rack-a", "GPU"}},
		{Name: "worker2", Roles: []inventory.Role{"worker"}},
		{Name: "worker10.example.com", Roles: []inventory.Role{"worker"}, Groups: []string{"rack-b"}},
	}
}

func TestSelect(t *testing.T) {
	tests := []struct{ expression, want string }{
		{"all", "cp1 worker1 worker2 worker10.example.com"},
		{"*", "cp1 worker1 worker2 worker10.example.com"},
		{"worker1", "worker1"},
		{"WORKER1", "worker1"},
		{"worker?", "worker1 worker2"},
		{"worker[2-9]", "worker2"},
		{"worker1*", "worker1 worker10.example.com"},
		{"rack-a", "cp1 worker1"},
		{"gpu", "worker1"},
		{"worker", "worker1 worker2 worker10.example.com"},
		{"control-plane,worker2", "cp1 worker2"},
		{"control-plane:worker2", "cp1 worker2"},
		{" cp1 , worker2 ", "cp1 worker2"},
		{"!worker", "cp1"},
		{"all:!control-plane:!worker2", "worker1 worker10.example.com"},
		{"!worker2,worker", "worker1 worker10.example.com"},
		{"worker2,cp1,,cp1", "cp1 worker2"},
		{"workers:!gpu", "worker2 worker10.example.com"},
		{"control-planes", "cp1"},
		{"worker:&rack-a", "worker1"},
		{"&rack-a", "cp1 worker1"},
		{"worker,cp1:&rack-a:!gpu", "cp1"},
		{"worker[1:2]", "worker2 worker10.example.com"},
		{"worker?[1:2]", "worker2"},
		{"worker[0]", "worker1"},
		{"workers[-1]", "worker10.example.com"},
		{"workers[1:]", "worker2 worker10.example.com"},
		{"workers[0:1]", "worker1 worker2"},
		{"cp[1:3]", "cp1"},
		{"cp[1:3],worker[0]:!etcd", "worker1"},
		{"~worker\\d$", "worker1 worker2"},
		{"~(cp|worker1)", "cp1 worker1 worker10.example.com"},
		{"worker[1:20].example.com", "worker10.example.com"},
	}
	for _, tt := range tests {
		t.Run(tt.expression, func(t *testing.T) {
			picked, err := inventory.Select(hosts(), tt.expression)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, h := range picked {
				names = append(names, h.Name)
			}
			if got := strings.Join(names, " "); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestSelectRefuses(t *testing.T) {
	for expression, want := range map[string]string{
		"":               "the selector is empty",
		"  ":             "the selector is empty",
		",:":             "has no terms",
		"!":              "has an empty term",
		"cp1,!":          "has an empty term",
		"cp[":            "is not the name or the glob",
		"a b":            "is not the name or the glob",
		"!!cp1":          "is not the name or the glob",
		"a/b":            "is not the name or the glob",
		"wroker1":        `no host, group or role is called "wroker1"; did you mean worker1?`,
		"cp1,master":     `no host, group or role is called "master"; there is GPU, control-plane, cp1, etcd, rack-a`,
		"cp1:!nothing-x": `no host, group or role is called "nothing-x"`,
		"cp1:!cp*":       "leaves no host",
		"cp1:&worker":    "leaves no host",
		"&":              "has an empty term",
		"worker[3]":      "picks none of the 3 hosts of worker, which are counted from 0",
		"worker[-4]":     "picks none of the 3 hosts",
		"host[1:3]":      `no host, group or role is called "host[1:3]"`,
		"host[3:1]x":     "the range ends before it begins",
		"host[1:99999]x": "there are too many hosts",
		"~(":             "is no regular expression",
	} {
		if picked, err := inventory.Select(hosts(), expression); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: picked %v, error %v, want %q", expression, picked, err, want)
		}
	}
}

func TestSelectorsByRole(t *testing.T) {
	for name, tt := range map[string]struct {
		pick inventory.Selector
		want string
	}{
		"everyone":       {inventory.Everyone, "1111"},
		"control planes": {inventory.ControlPlanes, "1000"},
		"workers":        {inventory.Workers, "0111"},
		"etcd members":   {inventory.EtcdMembers, "1000"},
	} {
		got := ""
		for _, h := range hosts() {
			if tt.pick(h) {
				got += "1"
			} else {
				got += "0"
			}
		}
		if got != tt.want {
			t.Errorf("%s: got %s, want %s", name, got, tt.want)
		}
	}
}

func FuzzParseSelector(f *testing.F) {
	for _, seed := range []string{"all", "cp1,worker*", "!a:b", "[", "[]a]", "[^a-z]", "\\", "!!", ",", "a,!*", "ä,É", "\x00", "[a-", "w[1:3]:&x", "~^c.[0-9]", "worker[1:20].example.com", "a[1:2:0]", "cp[-1]"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, expression string) {
		pick, err := inventory.ParseSelector(expression)
		if err != nil {
			if err.Error() == "" || pick != nil {
				t.Errorf("an error without words, or with a selector: %v", err)
			}
			return
		}
		picked := 0
		for _, h := range hosts() {
			if pick(h) {
				picked++
			}
		}
		// Select picks the same hosts, or says why none.
		if selected, err := inventory.Select(hosts(), expression); err == nil && len(selected) != picked {
			t.Errorf("the selector picks %d hosts, Select %d", picked, len(selected))
		}
	})
}

func TestRef(t *testing.T) {
	for text, want := range map[string]inventory.Ref{
		"env:PASS_1":   {Source: "env", Name: "PASS_1"},
		"file:a b/c:d": {Source: "file", Name: "a b/c:d"},
		"file:~/x":     {Source: "file", Name: "~/x"},
	} {
		var got inventory.Ref
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want || got.String() != text || got.IsZero() {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "hunter2", "env:", "env:1X", "env:a b", "file:", "ENV:hunter2", "plain:hunter2", "env:${hunter-2}"} {
		var got inventory.Ref
		err := got.UnmarshalText([]byte(text))
		if err == nil || !got.IsZero() {
			t.Errorf("%q is accepted as %+v", text, got)
			continue
		}
		if strings.Contains(err.Error(), "hunter") {
			t.Errorf("%q: the error shows the secret: %v", text, err)
		}
	}
	if got := (inventory.Ref{}).String(); got != "" {
		t.Errorf("no reference is written %q", got)
	}
}

func TestTaint(t *testing.T) {
	for text, want := range map[string]inventory.Taint{
		"a=b:NoSchedule":                     {Key: "a", Value: "b", Effect: "NoSchedule"},
		"example.com/a:NoExecute":            {Key: "example.com/a", Effect: "NoExecute"},
		"example.com/a=b.c:PreferNoSchedule": {Key: "example.com/a", Value: "b.c", Effect: "PreferNoSchedule"},
	} {
		var got inventory.Taint
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want || got.String() != text {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"":                "the taint has no effect",
		"a=b":             "did you mean a=b:NoSchedule?",
		"a:noschedule":    "did you mean a:NoSchedule?",
		"a:Never":         "a taint ends in",
		"a:b:NoSchedule":  "did you mean a:NoSchedule?",
		"=b:NoSchedule":   "the key of a taint must be",
		"a b:NoSchedule":  "the key of a taint must be",
		"a=b c:NoExecute": "the value of a taint must be",
	} {
		var got inventory.Taint
		if err := got.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v, want %q", text, got, err, want)
		}
	}
}

func TestParseAndResolveInventory(t *testing.T) {
	f, faults := inventory.Parse("dir/hosts.yaml", []byte(`
apiVersion: kubewright.io/v1alpha1
kind: Inventory
defaults: {ssh: {keyFile: id, knownHosts: [/etc/known, known]}}
hosts:
- {name: b, address: 10.0.0.2, roles: [worker]}
- {name: A, address: 10.0.0.1, roles: [worker]}
`))
	if faults != nil {
		t.Fatal(faults)
	}
	var asked []string
	source := f.Source()
	source.Exists = func(path string) error {
		asked = append(asked, path)
		if path == "dir/known" {
			return errors.New("is a directory")
		}
		return nil
	}
	placed, faults := inventory.Resolve(source)
	if len(placed) != 2 || placed[0].Name != "a" || placed[0].SSH.KeyFile != "dir/id" || placed[1].At.String() != "hosts[0]" {
		t.Errorf("hosts: %+v", placed)
	}
	want := "dir/hosts.yaml:4:56: defaults.ssh.knownHosts[1]: the known hosts file cannot be used: is a directory; make it with ssh-keyscan, and compare the keys with those of the hosts"
	if got := faults.Sorted().Error(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	slices.Sort(asked)
	if diff := cmp.Diff([]string{"/etc/known", "dir/id", "dir/known"}, slices.Compact(asked)); diff != "" {
		t.Errorf("files asked for (-want +got):\n%s", diff)
	}

	yes := true
	for i := range source.Hosts {
		source.Hosts[i].SSH.TrustOnFirstUse = &yes
	}
	if _, faults := inventory.Resolve(source); faults != nil {
		t.Errorf("a known hosts file that the first use will create is asked for: %v", faults)
	}
}

// A missing file has a remedy; a file that cannot be used for another reason is not created anew.
func TestFilesOfSSH(t *testing.T) {
	f, faults := inventory.Parse("hosts.yaml", []byte(`
apiVersion: kubewright.io/v1alpha1
kind: Inventory
hosts:
- {name: a, address: 10.0.0.1, roles: [worker], ssh: {keyFile: id, password: "file:pw"}}
`))
	if faults != nil {
		t.Fatal(faults)
	}
	for name, tt := range map[string]struct {
		err             error
		keyFile, secret string
	}{
		"missing": {
			&fs.PathError{Op: "stat", Path: "x", Err: fs.ErrNotExist},
			"the key file cannot be used: stat x: file does not exist; create it with ssh-keygen, or name another file in ssh.keyFile",
			"the file of the secret cannot be used: stat x: file does not exist; write the secret into it, readable by you alone, or name another file",
		},
		"forbidden": {
			fs.ErrPermission,
			"the key file cannot be used: permission denied", "the file of the secret cannot be used: permission denied",
		},
	} {
		t.Run(name, func(t *testing.T) {
			source := f.Source()
			source.Exists = func(string) error { return tt.err }
			_, faults := inventory.Resolve(source)
			want := "hosts.yaml:5:64: hosts[0].ssh.keyFile: " + tt.keyFile + "\nhosts.yaml:5:78: hosts[0].ssh.password: " + tt.secret
			if got := faults.Sorted().Error(); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// A bastion replaces those of the layers below as a whole, and what an ssh_config file may say has no default.
func TestBastionAndConfigFile(t *testing.T) {
	const file = `
apiVersion: kubewright.io/v1alpha1
kind: Inventory
defaults: {ssh: {bastion: {address: gate.example.com, user: jumper, port: 2022, keyFile: gate, passphrase: "env:P", hostKey: "SHA256:YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXphYmNkZWY"}}}
groups:
  far: {ssh: {bastion: {address: 192.0.2.9}}}
  near: {ssh: {bastion: {address: none}, configFile: ~/.ssh/config, certificateFile: id-cert.pub}}
hosts:
- {name: a, address: 10.0.0.1, roles: [worker]}
- {name: b, address: 10.0.0.1, nodeIP: 10.1.0.1, roles: [worker], groups: [far]}
- {name: c, address: 10.0.0.3, roles: [worker], groups: [far, near], ssh: {port: 22}}
`
	f, faults := inventory.Parse("dir/hosts.yaml", []byte(file))
	if faults != nil {
		t.Fatal(faults)
	}
	placed, faults := inventory.Resolve(f.Source())
	if faults != nil {
		t.Fatal(faults) // the address of a and b is that of two hosts, behind two bastions
	}
	env := inventory.Ref{Source: "env", Name: "P"}
	want := []inventory.Bastion{
		{Address: "gate.example.com", User: "jumper", Port: 2022, KeyFile: "dir/gate", Passphrase: env, HostKey: "SHA256:YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXphYmNkZWY"},
		{Address: "192.0.2.9"}, {Address: inventory.NoBastion},
	}
	for i, p := range placed {
		if diff := cmp.Diff(want[i], p.SSH.Bastion); diff != "" {
			t.Errorf("%s (-want +got):\n%s", p.Name, diff)
		}
	}
	if a, c := placed[0].SSH, placed[2].SSH; a.User != "root" || a.Port != 22 || c.User != "" || c.Port != 22 || c.ConfigFile != "~/.ssh/config" || c.CertificateFile != "dir/id-cert.pub" {
		t.Errorf("%+v\n%+v", a, c)
	}
}

func TestBastionFaults(t *testing.T) {
	for bastion, want := range map[string]string{
		"{user: x}":                               "hosts[0].ssh.bastion.address: must be given: the bastion has no address",
		"{address: x@y}":                          "hosts[0].ssh.bastion.address: the address \"x@y\" has a user; write bastion: {user: x} and the host alone; did you mean y?",
		"{address: 192.0.2.1:22}":                 "write bastion: {port: 22} and the host alone",
		"{address: $(id)}":                        `the address "$(id)" is neither an IP address nor a DNS name`,
		"{address: x, user: a b}":                 `hosts[0].ssh.bastion.user: "a b" is no user name`,
		"{address: x, user: a:hunter2}":           "hosts[0].ssh.bastion.user: a user name has no colon",
		"{address: x, port: 0}":                   "hosts[0].ssh.bastion.port: ",
		"{address: x, keyFile: id.pub}":           "hosts[0].ssh.bastion.keyFile: this is the public key; name the private one",
		"{address: x, keyFile: gone}":             "hosts[0].ssh.bastion.keyFile: the key file cannot be used: file does not exist; create it with ssh-keygen",
		"{address: x, password: hunter2}":         "hosts[0].ssh.bastion.password: a secret in plain text is refused",
		"{address: x, passphrase: \"env:P\"}":     "hosts[0].ssh.bastion.passphrase: there is no keyFile that the passphrase could open",
		"{address: x, hostKey: abc}":              "hosts[0].ssh.bastion.hostKey: this is no host key",
		"{address: x}, configFile: gone":          "hosts[0].ssh.configFile: the ssh_config file cannot be used: file does not exist; name another file in ssh.configFile",
		"{address: x}, certificateFile: gone":     "hosts[0].ssh.certificateFile: the certificate file cannot be used: file does not exist; have the certificate authority sign the key",
		"{address: \"u:hunter2@gate\"}":           "has a user; write bastion: {user: u}",
		"{address: x, adress: y}":                 "hosts[0].ssh.bastion.adress: unknown key; did you mean address?",
		"{address: x, password: \"file:secret\"}": "hosts[0].ssh.bastion.password: the file of the secret cannot be used",
	} {
		f, faults := inventory.Parse("hosts.yaml", []byte("apiVersion: kubewright.io/v1alpha1\nkind: Inventory\nhosts:\n- {name: a, address: 10.0.0.1, roles: [worker], ssh: {bastion: "+bastion+"}}\n"))
		source := f.Source()
		source.Exists = func(string) error { return fs.ErrNotExist }
		_, more := inventory.Resolve(source)
		got := append(faults, more...).Sorted().Error()
		if !strings.Contains(got, "hosts.yaml:4:") || !strings.Contains(got, want) || strings.Contains(got, "hunter2") {
			t.Errorf("%s:\ngot  %s\nwant %s", bastion, got, want)
		}
	}
}

func TestJoin(t *testing.T) {
	for written, want := range map[string]string{
		"id": "conf/id", "../id": "id", "/etc/id": "/etc/id", "~/id": "~/id", "": "",
	} {
		if got := inventory.Join("conf/hosts.yaml", written); got != want {
			t.Errorf("Join(%q) = %q, want %q", written, got, want)
		}
	}
}
