package terraform_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kubewright/inventory"
	"kubewright/inventory/terraform"
	"kubewright/spec"
	"kubewright/spec/strict"
)

// name is how the outputs are called in faults.
const name = "infra/terraform output -json"

// wrap makes an output of a value as terraform output -json does.
func wrap(output, value string) string {
	return `{"` + output + `": {"sensitive": false, "type": "dynamic", "value": ` + value + `}}`
}

// contract is the value of the output kubewright with some hosts.
func contract(hosts string) string {
	return `{"apiVersion": "kubewright.io/v1alpha1", "kind": "Inventory", "hosts": ` + hosts + `}`
}

const (
	cp1 = `{"name": "cp1", "address": "192.0.2.10", "roles": ["control-plane"]}`
	w1  = `{"name": "w1", "address": "192.0.2.11", "roles": ["worker"]}`
)

// resolve parses outputs and resolves their hosts, and returns all faults as text.
func resolve(t *testing.T, outputs string) ([]inventory.Placed, terraform.Hosts, string) {
	t.Helper()
	parsed, faults := terraform.Parse(name, []byte(outputs))
	var placed []inventory.Placed
	if parsed.Source.Doc != nil {
		var more strict.Faults
		placed, more = inventory.Resolve(parsed.Source)
		faults = append(faults, more...)
		file, _ := spec.Parse("c.yaml", []byte("apiVersion: kubewright.io/v1alpha1\nkind: Cluster\nmetadata: {name: a}\nspec: {kubernetesVersion: 1.37.2}\n"))
		unfit, _ := file.TakeAccess(parsed.Access, parsed.Source.Doc, parsed.AccessAt)
		faults = append(faults, unfit...)
	}
	for _, f := range faults {
		if f.Line != 0 || f.File != name {
			t.Errorf("a fault names line %d of %s, which nobody has: %v", f.Line, f.File, f)
		}
	}
	if err := faults.Err(); err != nil {
		return placed, parsed, err.Error()
	}
	return placed, parsed, ""
}

func TestContract(t *testing.T) {
	outputs := wrap("kubewright", `{
	  "apiVersion": "kubewright.io/v1alpha1", "kind": "Inventory",
	  "controlPlane": {"endpoint": "lb.example.com:6443", "certSANs": ["api.example.com"]},
	  "defaults": {"ssh": {"user": "ops", "keyFile": "keys/id"}},
	  "groups": {"storage": {"labels": {"disk": "ssd"}}},
	  "hosts": [
	    {"name": "w1", "address": "192.0.2.11", "nodeIP": "10.0.0.11", "roles": ["worker"], "groups": ["storage"],
	     "labels": null, "ssh": {"port": 2222, "user": null}},
	    `+cp1+`]}`)
	placed, parsed, faults := resolve(t, outputs)
	if faults != "" {
		t.Fatal(faults)
	}
	if diff := cmp.Diff(spec.Access{Endpoint: "lb.example.com:6443", CertSANs: []string{"api.example.com"}}, parsed.Access); diff != "" {
		t.Errorf("access (-want +got):\n%s", diff)
	}
	var got []string
	for _, p := range placed {
		got = append(got, strings.Join([]string{p.Name, p.Address, p.NodeIP.String(), string(p.Roles[0]), p.SSH.User, p.SSH.KeyFile, p.Labels["disk"]}, " "))
	}
	want := []string{
		"cp1 192.0.2.10 192.0.2.10 control-plane ops infra/keys/id ",
		"w1 192.0.2.11 10.0.0.11 worker ops infra/keys/id ssd",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("hosts (-want +got):\n%s", diff)
	}
}

// Every wrong shape is named with its JSON path.
func TestWrongShapes(t *testing.T) {
	for about, tt := range map[string]struct{ outputs, want string }{
		"not JSON":       {`<html>`, "this is not what terraform output -json prints: invalid character '<'"},
		"a list":         {`[]`, "this is not what terraform output -json prints"},
		"two documents":  {`{} {}`, "something follows the JSON object"},
		"nothing":        {``, "this is not what terraform output -json prints: EOF"},
		"no outputs":     {`{}`, "there are no outputs: apply the Terraform configuration first, or run kubewright apply with --terraform-apply"},
		"others only":    {wrap("vpc", `"x"`), `there is no output named kubewright (nor kubeone_hosts); there is "vpc". If it was added to the configuration since, apply that first`},
		"misspelt":       {wrap("kubewrigth", `{}`), `is "kubewrigth" meant to be it?`},
		"bare value":     {`{"kubewright": [1]}`, "kubewright: expected the object that terraform output -json wraps around a value"},
		"bare object":    {`{"kubewright": ` + contract("["+cp1+"]") + `}`, "kubewright: the output has no value: apply the Terraform configuration first"},
		"null":           {wrap("kubewright", `null`), "kubewright: the output has no value: apply the Terraform configuration first"},
		"sensitive":      {`{"kubewright": {"sensitive": true, "type": "string", "value": "hunter2"}}`, "kubewright: the output is sensitive, but plans and logs show the hosts: remove sensitive = true"},
		"text":           {wrap("kubewright", `"hosts: []"`), "kubewright.value: expected a mapping, found text"},
		"list":           {wrap("kubewright", `[`+cp1+`]`), "kubewright.value: expected a mapping, found a list"},
		"number":         {wrap("kubewright", `7`), "kubewright.value: expected a mapping, found a number"},
		"unknown key":    {wrap("kubewright", contract("["+cp1+`], "region": "x"`)), "kubewright.value.region: unknown key"},
		"no version":     {wrap("kubewright", `{"kind": "Inventory", "hosts": [`+cp1+`]}`), "kubewright.value.apiVersion: this key is required: write kubewright.io/v1alpha1"},
		"other version":  {wrap("kubewright", `{"apiVersion": "kubewright.io/v2", "kind": "Inventory", "hosts": [`+cp1+`]}`), `kubewright.value.apiVersion: unknown value "kubewright.io/v2"; did you mean kubewright.io/v1alpha1?`},
		"no hosts":       {wrap("kubewright", contract("[]")), "kubewright.value.hosts: must not be empty"},
		"null hosts":     {wrap("kubewright", contract("null")), "kubewright.value.hosts: a value is required"},
		"hosts by name":  {wrap("kubewright", contract(`{"cp1": `+cp1+`}`)), "kubewright.value.hosts: expected a list, found a mapping"},
		"null host":      {wrap("kubewright", contract("["+cp1+", null]")), "kubewright.value.hosts[1]: this item is empty"},
		"host as text":   {wrap("kubewright", contract(`["192.0.2.10"]`)), "kubewright.value.hosts[0]: expected a mapping, found text"},
		"snake case":     {wrap("kubewright", contract(`[{"name": "a", "address": "192.0.2.1", "roles": ["worker"], "node_ip": "10.0.0.1"}]`)), "kubewright.value.hosts[0].node_ip: unknown key; did you mean nodeIP?"},
		"null address":   {wrap("kubewright", contract(`[{"name": "a", "address": null, "roles": ["worker"]}]`)), "kubewright.value.hosts[0].address: a value is required"},
		"port as text":   {wrap("kubewright", contract(`[{"name": "a", "address": "192.0.2.1", "roles": ["worker"], "ssh": {"port": "22"}}]`)), `kubewright.value.hosts[0].ssh.port: expected a whole number, found the text "22"; did you mean 22 without quotes?`},
		"role":           {wrap("kubewright", contract(`[{"name": "a", "address": "192.0.2.1", "roles": ["master"]}]`)), `kubewright.value.hosts[0].roles[0]: unknown value "master"`},
		"label":          {wrap("kubewright", contract(`[{"name": "a", "address": "192.0.2.1", "roles": ["worker"], "labels": {"x/y z": "1"}}]`)), `kubewright.value.hosts[0].labels["x/y z"]: the key of a label`},
		"taken":          {wrap("kubewright", contract("["+cp1+`, {"name": "cp1", "address": "192.0.2.12", "roles": ["worker"]}]`)), "kubewright.value.hosts[1].name: the name cp1 is taken by kubewright.value.hosts[0].name"},
		"secret":         {wrap("kubewright", contract(`[{"name": "a", "address": "192.0.2.1", "roles": ["worker"], "ssh": {"password": "hunter2"}}]`)), "kubewright.value.hosts[0].ssh.password: a secret in plain text is refused"},
		"endpoint":       {wrap("kubewright", contract("["+cp1+`], "controlPlane": {"endpoint": "https://lb:6443"}`)), "kubewright.value.controlPlane.endpoint: the endpoint is host or host:port, not a URL; did you mean lb:6443?"},
		"certSANs":       {wrap("kubewright", contract("["+cp1+`], "controlPlane": {"certSANs": ["a", "B b"]}`)), `kubewright.value.controlPlane.certSANs[1]: "B b" is neither an IP address nor a DNS name`},
		"wrapper's keys": {`{"kubewright": {"sensitive": false, "type": "x", "value": ` + contract("["+cp1+"]") + `, "more": 1}}`, "kubewright.more: unknown key"},
	} {
		t.Run(about, func(t *testing.T) {
			_, _, faults := resolve(t, tt.outputs)
			if !strings.Contains(faults, tt.want) {
				t.Errorf("got\n%s\nwant\n%s", faults, tt.want)
			}
			if strings.Contains(faults, "hunter2") {
				t.Errorf("a secret is shown:\n%s", faults)
			}
		})
	}
}

// What a shell would take for its own is refused where it cannot be a name, and else stays as it is.
func TestHostileValues(t *testing.T) {
	for _, hostile := range []string{"$(reboot)", "`reboot`", "a; reboot", "a'b", `a"b`, "a\nb", "a\x00b", "a\u202eb", "-oProxyCommand=x", "a b", "../a", "*"} {
		quoted, err := json.Marshal(hostile)
		if err != nil {
			t.Fatal(err)
		}
		q := string(quoted)
		for field, host := range map[string]string{
			"name":    `{"name": ` + q + `, "address": "192.0.2.1", "roles": ["worker"]}`,
			"address": `{"name": "a", "address": ` + q + `, "roles": ["worker"]}`,
			"nodeIP":  `{"name": "a", "address": "192.0.2.1", "nodeIP": ` + q + `, "roles": ["worker"]}`,
			"roles":   `{"name": "a", "address": "192.0.2.1", "roles": [` + q + `]}`,
			"labels":  `{"name": "a", "address": "192.0.2.1", "roles": ["worker"], "labels": {"k": ` + q + `}}`,
			"taints":  `{"name": "a", "address": "192.0.2.1", "roles": ["worker"], "taints": [` + q + `]}`,
		} {
			_, _, faults := resolve(t, wrap("kubewright", contract("["+host+"]")))
			if !strings.Contains(faults, "kubewright.value.hosts[0]."+field) {
				t.Errorf("%s %q is accepted: %s", field, hostile, faults)
			}
			if strings.ContainsAny(faults, "\x00\u202e") {
				t.Errorf("%s %q: the fault has characters that do not show: %q", field, hostile, faults)
			}
		}
	}
	// Annotations hold any text, literally.
	const text = "$(reboot) `x` 'y' \"z\"\n;"
	quoted, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	placed, _, faults := resolve(t, wrap("kubewright", contract(`[{"name": "a", "address": "192.0.2.1", "roles": ["worker"], "annotations": {"k": `+string(quoted)+`}}]`)))
	if faults != "" || placed[0].Annotations["k"] != text {
		t.Errorf("faults %q, hosts %+v", faults, placed)
	}
}

// Other outputs are nobody's business here, whatever they hold.
func TestOtherOutputsAreLeftAlone(t *testing.T) {
	outputs := strings.TrimSuffix(wrap("kubewright", contract("["+cp1+","+w1+"]")), "}") +
		`, "db_password": {"sensitive": true, "type": "string", "value": "hunter2"}, "odd": 7}`
	placed, parsed, faults := resolve(t, outputs)
	if faults != "" || len(placed) != 2 || len(parsed.Warnings) > 0 {
		t.Errorf("faults %q, hosts %v, warnings %v", faults, placed, parsed.Warnings)
	}
}

// JSON can say things that YAML cannot read as they are.
func TestEveryJSONIsUnderstood(t *testing.T) {
	long := strings.Repeat("x", 5000)
	outputs := wrap("kubewright", contract(`[{"name":"a","address":"192.0.2.1","roles":["worker"],"annotations":{"k":"\ud83d\ude00\u2028\/ <&>","l":"`+long+`"}}]`))
	placed, _, faults := resolve(t, outputs)
	// A line separator is a character that does not show.
	if !strings.Contains(faults, "kubewright.value.hosts[0].annotations.k") {
		t.Errorf("faults %q, hosts %+v", faults, placed)
	}
	placed, _, faults = resolve(t, strings.ReplaceAll(outputs, `\u2028`, ""))
	if faults != "" || placed[0].Annotations["k"] != "\U0001F600/ <&>" || placed[0].Annotations["l"] != long {
		t.Errorf("faults %q, hosts %+v", faults, placed)
	}
}

// The outputs of KubeOne's examples, in the form in which Terraform prints them.
func TestKubeOne(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "kubeone.json"))
	if err != nil {
		t.Fatal(err)
	}
	placed, parsed, faults := resolve(t, string(data))
	if faults != "" {
		t.Fatal(faults)
	}
	var got []string
	for _, p := range placed {
		var roles []string
		for _, r := range p.Roles {
			roles = append(roles, string(r))
		}
		got = append(got, strings.Join([]string{p.Name, p.Address, p.NodeIP.String(), strings.Join(roles, "+"), strings.Join(p.Groups, "+"), p.SSH.User, p.SSH.KeyFile, p.Labels["zone"]}, " "))
	}
	want := []string{
		"lab-cp-0 198.51.100.10 192.168.0.10 control-plane  root  a",
		"lab-cp-1 198.51.100.11 192.168.0.11 control-plane  root  a",
		"lab-cp-2 198.51.100.12 192.168.0.12 control-plane  root  a",
		"lab-w-0 192.168.0.20 192.168.0.20 worker pool1 ubuntu infra/keys/id ",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("hosts (-want +got):\n%s", diff)
	}
	if !placed[0].SSH.Agent || placed[3].SSH.Agent {
		t.Errorf("agents: %v, %v", placed[0].SSH.Agent, placed[3].SSH.Agent)
	}
	if diff := cmp.Diff(spec.Access{Endpoint: "203.0.113.5", CertSANs: []string{"api.example.com"}}, parsed.Access); diff != "" {
		t.Errorf("access (-want +got):\n%s", diff)
	}
	if len(parsed.Warnings) != 1 || !strings.Contains(parsed.Warnings[0].Error(), name+": kubeone_workers: describes machines that KubeOne's machine-controller would make") {
		t.Errorf("warnings: %v", parsed.Warnings)
	}
}

// A bastion is that of every host of its kind; without one, the rest of it means nothing.
func TestKubeOneBastion(t *testing.T) {
	plane := func(bastion string) string {
		return wrap("kubeone_hosts", `{"control_plane": {"hostnames": ["a"], "public_address": ["192.0.2.1"], "ssh_cert_file": "id-cert.pub", "bastion_port": 2022, `+
			`"bastion_user": "jumper", "bastion_private_key_file": "gate", "bastion_host_key": "ssh-ed25519 AAAA", "bastion": `+bastion+`}}`)
	}
	for bastion, want := range map[string]inventory.Bastion{
		`"gate.example.com"`: {Address: "gate.example.com", Port: 2022, User: "jumper", KeyFile: "infra/gate", HostKey: "ssh-ed25519 AAAA"},
		`""`:                 {}, "null": {},
	} {
		placed, _, faults := resolve(t, plane(bastion))
		if faults != "" {
			t.Fatal(faults)
		}
		if diff := cmp.Diff(want, placed[0].SSH.Bastion); diff != "" || placed[0].SSH.CertificateFile != "infra/id-cert.pub" {
			t.Errorf("certificate %q, bastion (-want +got):\n%s", placed[0].SSH.CertificateFile, diff)
		}
	}
}

func TestKubeOneWrongShapes(t *testing.T) {
	plane := func(fields string) string {
		return wrap("kubeone_hosts", `{"control_plane": {`+fields+`}}`)
	}
	const good = `"hostnames": ["a"], "public_address": ["192.0.2.1"]`
	for about, tt := range map[string]struct{ outputs, want string }{
		"null":          {wrap("kubeone_hosts", "null"), "kubeone_hosts: the output has no value"},
		"sensitive":     {`{"kubeone_hosts": {"sensitive": true, "type": [], "value": {"control_plane": {"hostnames": ["hunter2"]}}}}`, "kubeone_hosts: the output is sensitive"},
		"list":          {wrap("kubeone_hosts", "[]"), "kubeone_hosts.value: expected a mapping, found a list"},
		"no planes":     {wrap("kubeone_hosts", "{}"), "kubeone_hosts.value.control_plane: this key is required"},
		"no addresses":  {plane(`"hostnames": []`), "kubeone_hosts.value.control_plane: has neither public_address nor private_address"},
		"no names":      {plane(`"public_address": ["192.0.2.1"]`), "kubeone_hosts.value.control_plane.hostnames: has 0 items, but public_address has 1: the lists belong together by index"},
		"lists":         {plane(`"hostnames": ["a"], "public_address": ["192.0.2.1"], "private_address": ["10.0.0.1", "10.0.0.2"]`), "kubeone_hosts.value.control_plane.private_address: has 2 items, but public_address has 1"},
		"not a list":    {plane(`"hostnames": ["a"], "public_address": "192.0.2.1"`), "kubeone_hosts.value.control_plane.public_address: expected a list, found text"},
		"null item":     {plane(`"hostnames": ["a"], "public_address": [null]`), "kubeone_hosts.value.control_plane.public_address[0]: this item is empty"},
		"unknown key":   {plane(good + `, "ssh_usr": "x"`), "kubeone_hosts.value.control_plane.ssh_usr: unknown key; did you mean ssh_user?"},
		"port":          {plane(good + `, "ssh_port": "22"`), `kubeone_hosts.value.control_plane.ssh_port: expected a whole number, found the text "22"`},
		"name":          {plane(`"hostnames": ["$(reboot)"], "public_address": ["192.0.2.1"]`), `kubeone_hosts.value.control_plane.hostnames[0]: the name "$(reboot)" must be`},
		"address":       {plane(`"hostnames": ["a"], "public_address": ["192.0.2.1:22"]`), "kubeone_hosts.value.control_plane.public_address[0]: the address \"192.0.2.1:22\" has a port"},
		"node IP":       {plane(good + `, "private_address": ["x"]`), "kubeone_hosts.value.control_plane.private_address[0]: the node IP x is not an IP address"},
		"user":          {plane(good + `, "ssh_user": "a b"`), `kubeone_hosts.value.control_plane.ssh_user: "a b" is no user name`},
		"label":         {plane(good + `, "labels": {"k": "a b"}`), "kubeone_hosts.value.control_plane.labels.k: the value of a label"},
		"bastion":       {plane(good + `, "bastion": "192.0.2.9:22"`), "kubeone_hosts.value.control_plane.bastion: the address \"192.0.2.9:22\" has a port"},
		"bastion user":  {plane(good + `, "bastion": "192.0.2.9", "bastion_user": "a b"`), `kubeone_hosts.value.control_plane.bastion_user: "a b" is no user name`},
		"bastion port":  {plane(good + `, "bastion": "192.0.2.9", "bastion_port": 0`), "kubeone_hosts.value.control_plane.bastion_port: "},
		"bastion key":   {plane(good + `, "bastion": "192.0.2.9", "bastion_host_key": "x"`), "kubeone_hosts.value.control_plane.bastion_host_key: this is no host key"},
		"certificate":   {plane(good + `, "ssh_cert_file": "~x"`), "kubeone_hosts.value.control_plane.ssh_cert_file: of the paths that begin with ~"},
		"kubelet":       {plane(good + `, "kubelet": {"max_pods": 250, "eviction_hard": null}`), "kubeone_hosts.value.control_plane.kubelet.max_pods: settings of the kubelet stand in the cluster file"},
		"static worker": {strings.TrimSuffix(plane(good), "}") + `, "kubeone_static_workers": {"value": {"w": {"hostnames": ["b"], "private_address": ["10.0.0.300"]}}}}`, `kubeone_static_workers.value.w.private_address[0]: the address "10.0.0.300" is not an IP address`},
		"group's name":  {strings.TrimSuffix(plane(good), "}") + `, "kubeone_static_workers": {"value": {"w 1": {"hostnames": ["b"], "private_address": ["10.0.0.3"]}}}}`, `kubeone_static_workers.value["w 1"]: a group's name must be of letters`},
		"endpoint":      {strings.TrimSuffix(plane(good), "}") + `, "kubeone_api": {"value": {"endpoint": "a b"}}}`, `kubeone_api.value.endpoint: "a b" is neither an IP address nor a DNS name`},
		"names":         {strings.TrimSuffix(plane(good), "}") + `, "kubeone_api": {"value": {"apiserver_alternative_names": ["*"]}}}`, `kubeone_api.value.apiserver_alternative_names[0]: "*" is neither`},
		"taken":         {plane(`"hostnames": ["a", "a"], "public_address": ["192.0.2.1", "192.0.2.2"]`), "kubeone_hosts.value.control_plane.hostnames[1]: the name a is taken by kubeone_hosts.value.control_plane.hostnames[0]"},
	} {
		t.Run(about, func(t *testing.T) {
			_, _, faults := resolve(t, tt.outputs)
			if !strings.Contains(faults, tt.want) {
				t.Errorf("got\n%s\nwant\n%s", faults, tt.want)
			}
			if strings.Contains(faults, "hunter2") {
				t.Errorf("a secret is shown:\n%s", faults)
			}
		})
	}
}

// Outputs of any bytes are hosts, or faults that each name the outputs and a line that can be shown.
func FuzzParse(f *testing.F) {
	f.Add([]byte(wrap("kubewright", contract("["+cp1+","+w1+"]"))))
	f.Add([]byte(`{"kubewright": {"sensitive": true, "value": 1}}`))
	f.Add([]byte(wrap("kubeone_hosts", `{"control_plane": {"hostnames": ["a"], "public_address": ["192.0.2.1"], "private_address": ["10.0.0.1"], "untaint": true}}`)))
	data, err := os.ReadFile(filepath.Join("testdata", "kubeone.json"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		parsed, faults := terraform.Parse(name, data)
		if parsed.Source.Doc == nil {
			if len(faults) == 0 {
				t.Error("neither hosts nor faults")
			}
		} else {
			_, more := inventory.Resolve(parsed.Source)
			faults = append(faults, more...)
		}
		for _, fault := range append(faults, parsed.Warnings...) {
			if fault.File != name || fault.Line != 0 || fault.Message == "" || strings.ContainsAny(fault.Error(), "\n\r") {
				t.Errorf("fault: %q", fault.Error())
			}
		}
	})
}
