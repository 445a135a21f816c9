package phases_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os/exec"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"sigs.k8s.io/yaml"

	"kubewright/cluster"
	"kubewright/internal/catalog"
	"kubewright/internal/sh"
	"kubewright/inventory"
	"kubewright/inventory/ansible"
	"kubewright/inventory/csv"
	"kubewright/inventory/terraform"
	"kubewright/spec"
)

// inventoryFiles are an inventory that is not of our own form, and a cluster file if there has to be one.
type inventoryFiles struct {
	files     map[string]string
	inventory string // given on the command line, or "" where the cluster file names Terraform
	outputs   string // of Terraform
}

// wayIn is a place for a text in such an inventory.
type wayIn struct {
	name  string
	write func(text string) inventoryFiles
	// variable is the variable of Ansible that it is of, if it is of one.
	variable string
	// pieces is what the form makes of the text: several where it is a list. nil: the text as it is.
	pieces func(text string) []string
}

// outputName is what Terraform's outputs are called in faults.
const outputName = "infra/terraform output -json"

// load reads the cluster of an inventory; asked is what Terraform was asked for.
func (f inventoryFiles) load(versions *catalog.Catalog) (d *cluster.Description, asked spec.TerraformSource, err error) {
	d, _, err = cluster.Describe(cluster.Files{
		Cluster: "cluster.yaml", Optional: true, Inventory: f.inventory,
		Read: func(name string) ([]byte, error) {
			text, ok := f.files[name]
			if !ok {
				return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
			}
			return []byte(text), nil
		},
		Terraform: func(s spec.TerraformSource) (string, []byte, error) {
			asked = s
			return path.Base(outputName), []byte(f.outputs), nil
		},
	}, versions)
	return d, asked, err
}

// csvWays puts texts into every column there can be, and into the headings of those that have a key in them.
func csvWays() []wayIn {
	cell := func(text string) string { return `"` + strings.ReplaceAll(text, `"`, `""`) + `"` }
	table := func(columns, cells []string) inventoryFiles {
		for i := range columns {
			columns[i], cells[i] = cell(columns[i]), cell(cells[i])
		}
		return inventoryFiles{inventory: "i.csv", files: map[string]string{
			"i.csv": "# a comment\n" + strings.Join(columns, ",") + "\n" + strings.Join(cells, ",") + "\n",
		}}
	}
	list := func(text string) []string {
		return strings.FieldsFunc(strings.ReplaceAll(text, "\r\n", "\n"), func(r rune) bool { return strings.ContainsRune(" ,;|\t\n", r) })
	}
	// In quotes a line ends with \n, however it does in the file.
	trimmed := func(text string) []string { return []string{strings.TrimSpace(strings.ReplaceAll(text, "\r\n", "\n"))} }
	// What a column needs beside it.
	needs := map[string]string{"ssh.passphrase": "ssh.keyFile", "ssh.bastion.passphrase": "ssh.bastion.keyFile"}
	var all []wayIn
	for _, column := range csv.Columns() {
		base := map[string]string{"name": "cp1", "address": "cp1.example.com", "nodeIP": "10.111.0.11", "roles": "control-plane"}
		if needs[column] != "" {
			base[needs[column]] = "id"
		}
		if strings.HasPrefix(column, "ssh.bastion.") {
			base["ssh.bastion.address"] = "gate"
		}
		with := func(column, text string) inventoryFiles {
			var columns, cells []string
			for _, name := range append(slices.DeleteFunc([]string{"name", "address", "nodeIP", "roles", "ssh.keyFile", "ssh.bastion.keyFile", "ssh.bastion.address"},
				func(name string) bool { return base[name] == "" || name == column }), column) {
				columns = append(columns, name)
				cells = append(cells, base[name])
			}
			cells[len(cells)-1] = text
			return table(columns, cells)
		}
		pieces := trimmed
		switch column {
		case "roles", "groups", "taints", "ssh.knownHosts":
			pieces = list
		case "labels":
			all = append(all, wayIn{"CSV labels", func(s string) inventoryFiles { return with(column, "k="+s) }, "", func(s string) []string {
				items := list("k=" + s)
				items[0] = strings.TrimPrefix(items[0], "k=")
				return items
			}})
			continue
		}
		if above, ok := strings.CutSuffix(column, ".KEY"); ok {
			all = append(all, wayIn{"CSV " + above + ".KEY", func(s string) inventoryFiles { return with(above+"."+s, "v") }, "", trimmed},
				wayIn{"CSV value of " + above, func(s string) inventoryFiles { return with(above+".k", s) }, "", trimmed})
			continue
		}
		if strings.HasSuffix(column, "password") || strings.HasSuffix(column, "passphrase") {
			all = append(all, wayIn{"CSV file of " + column, func(s string) inventoryFiles { return with(column, "file:"+s) }, "", func(s string) []string {
				return []string{strings.TrimPrefix(strings.TrimSpace("file:"+s), "file:")}
			}})
		}
		all = append(all, wayIn{"CSV " + column, func(s string) inventoryFiles { return with(column, s) }, "", pieces})
	}
	return all
}

// ansibleWays puts texts into every variable that is understood, on the line of a host in INI and in YAML, as
// it is, in a list, and as the value and the key of a mapping; and into the names of hosts and groups.
func ansibleWays() []wayIn {
	ini := func(host, more, vars string) inventoryFiles {
		return inventoryFiles{inventory: "i.ini", files: map[string]string{"i.ini": "[kube_control_plane]\n" + host + " ip=10.111.0.11 " + more + "\n" + vars}}
	}
	yamlFile := func(tree any) inventoryFiles {
		data, err := json.MarshalIndent(tree, "", " ")
		if err != nil {
			panic(err) // maps and texts
		}
		return inventoryFiles{inventory: "i.yml", files: map[string]string{"i.yml": string(data)}}
	}
	hosts := func(vars map[string]any) map[string]any {
		all := map[string]any{"ansible_host": "cp1.example.com", "ip": "10.111.0.11"}
		for name, value := range vars {
			all[name] = value
		}
		return map[string]any{"kube_control_plane": map[string]any{"hosts": map[string]any{"cp1": all}}}
	}
	// In shlex's double quotes a backslash takes the meaning away of itself and of the quote.
	quoted := func(s string) string { return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"` }
	trimmed := func(s string) []string { return []string{strings.TrimSpace(s)} }
	all := []wayIn{
		{"INI name of a host", func(s string) inventoryFiles { return ini(quoted(s), "ansible_host=cp1.example.com", "") }, "", nil},
		{"INI name of a group", func(s string) inventoryFiles { return ini("cp1", "ansible_host=10.111.0.11", "["+s+"]\ncp1\n") }, "", trimmed},
		{"INI name of a group of groups", func(s string) inventoryFiles {
			return ini("cp1", "ansible_host=10.111.0.11", "["+s+":children]\nkube_control_plane\n")
		}, "", trimmed},
		{"INI name of a variable", func(s string) inventoryFiles { return ini("cp1", "ansible_host=10.111.0.11 "+quoted(s)+"=1", "") }, "", nothing},
		{"YAML name of a host", func(s string) inventoryFiles {
			return yamlFile(map[string]any{"kube_control_plane": map[string]any{"hosts": map[string]any{s: map[string]any{"ansible_host": "10.111.0.11"}}}})
		}, "", nil},
		{"YAML name of a group", func(s string) inventoryFiles {
			tree := hosts(nil)
			tree[s] = map[string]any{"hosts": map[string]any{"cp1": nil}}
			return yamlFile(tree)
		}, "", nil},
		{"YAML address of a bastion", func(s string) inventoryFiles {
			tree := hosts(nil)
			tree["bastion"] = map[string]any{"hosts": map[string]any{"j": map[string]any{"ansible_host": s}}}
			return yamlFile(tree)
		}, "", nil},
		{"YAML jump host", func(s string) inventoryFiles {
			return yamlFile(hosts(map[string]any{"ansible_ssh_common_args": "-o ProxyJump=" + s}))
		}, "ansible_ssh_common_args", nil},
	}
	for _, rule := range ansible.Rules() {
		names := rule.Names
		if rule.To == "" {
			names = names[:1] // without effect, as the others
		}
		for k, name := range names {
			if k > 0 || rule.To == "" { // another name of the same, or one that is only looked at
				all = append(all, wayIn{"YAML text of " + name, func(s string) inventoryFiles { return yamlFile(hosts(map[string]any{name: s})) }, name, nil})
				continue
			}
			host := "ansible_host=10.111.0.11 "
			if name == "ansible_host" {
				host = ""
			}
			all = append(all, wayIn{"INI " + name, func(s string) inventoryFiles { return ini("cp1", host+name+"="+quoted(s), "") }, name, nil})
			if name != "ip" { // that of the host would win
				all = append(all, wayIn{"INI " + name + " of a group", func(s string) inventoryFiles { return ini("cp1", host, "[all:vars]\n"+name+"="+s+"\n") }, name, trimmed})
			}
			for shape, of := range map[string]func(s string) any{
				"text of ":  func(s string) any { return s },
				"item of ":  func(s string) any { return []string{s} },
				"value of ": func(s string) any { return map[string]any{"k": s} },
				"key of ":   func(s string) any { return map[string]any{s: "v"} },
				"prefix of ": func(s string) any {
					return []any{map[string]any{"prefix": s, "mirrors": []any{map[string]any{"host": "http://10.111.0.2"}}}}
				},
				"mirror of ": func(s string) any {
					return []any{map[string]any{"prefix": "docker.io", "mirrors": []any{map[string]any{"host": s}}}}
				},
				"address of ": func(s string) any { return map[string]any{"address": s, "port": 6443} },
			} {
				all = append(all, wayIn{"YAML " + shape + name, func(s string) inventoryFiles { return yamlFile(hosts(map[string]any{name: of(s)})) }, name, nil})
			}
		}
	}
	return all
}

// nothing is what is made of a text that nobody looks at.
func nothing(string) []string { return nil }

const ofTerraform = `apiVersion: kubewright.io/v1alpha1
kind: Cluster
metadata: {name: lab}
spec:
  kubernetesVersion: 1.37.2
  inventory: {terraform: {dir: infra, workspace: prod, varFiles: [prod.tfvars], binary: bin/tofu}}
`

// terraformWays puts texts into every value and every key of the output kubewright, of KubeOne's outputs, and of
// what says where the outputs are.
func terraformWays(t *testing.T) []wayIn {
	t.Helper()
	outputs := func(name string, value any) inventoryFiles {
		data, err := json.Marshal(map[string]any{name: map[string]any{"sensitive": false, "type": "dynamic", "value": value}})
		if err != nil {
			t.Fatal(err)
		}
		return inventoryFiles{files: map[string]string{"cluster.yaml": ofTerraform}, outputs: string(data)}
	}
	decoded := func(text string) any {
		var tree any
		if err := yaml.Unmarshal([]byte(filled(text)), &tree); err != nil {
			t.Fatal(err)
		}
		return tree
	}
	contract := decoded(`{apiVersion: kubewright.io/v1alpha1, kind: Inventory, controlPlane: {endpoint: api.example.com, certSANs: [api2.example.com]},
 defaults: {ssh: LOGIN}, groups: {g: GROUP}, hosts: HOSTS}`)
	kubeOne := decoded(`{control_plane: {hostnames: [cp1], public_address: [cp1.example.com], private_address: [10.111.0.11], ssh_user: root, ssh_private_key_file: id,
 ssh_cert_file: id-cert.pub, labels: {a: b}, annotations: {a: b}, bastion: gate, bastion_user: u, bastion_private_key_file: gate, bastion_host_key: "ssh-ed25519 AAAA"}}`)
	var all []wayIn
	wanted := map[string]bool{}
	for _, p := range textPaths("output", reflect.TypeFor[terraform.Contract]()) {
		wanted[p] = true
	}
	for _, p := range places("output", contract, reflect.TypeFor[terraform.Contract]()) {
		delete(wanted, p.path)
		all = append(all, wayIn{"Terraform " + p.path, func(s string) inventoryFiles { return outputs(terraform.OutputName, p.with(s)) }, "", nil})
	}
	if len(wanted) > 0 {
		t.Errorf("the output of this test lacks %v", slices.Sorted(maps.Keys(wanted)))
	}
	for _, p := range places("KubeOne", kubeOne, reflect.TypeFor[any]()) {
		all = append(all, wayIn{"Terraform " + p.path, func(s string) inventoryFiles { return outputs("kubeone_hosts", p.with(s)) }, "", nil})
	}
	for _, key := range []string{"dir: infra", "workspace: prod", "[prod.tfvars", "binary: bin/tofu"} {
		all = append(all, wayIn{"Terraform itself, " + key, func(s string) inventoryFiles {
			f := outputs(terraform.OutputName, contract)
			at := strings.LastIndexAny(key, " [") + 1
			f.files = map[string]string{"cluster.yaml": strings.Replace(ofTerraform, key, key[:at]+asciiQuoted(s), 1)}
			return f
		}, "", nil})
	}
	return all
}

// Whatever stands in any place of an inventory of another form, it is refused with its place, or it is that
// very text in the cluster, and what is made of it is that text to a shell.
func TestHostileWaysIn(t *testing.T) {
	t.Parallel()
	versions, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	s := &script{m: newMachine(t, "cp1", "vm")}
	const benign = "kwbenign"
	taken := map[string]bool{}
	tried := 0
	for i, way := range slices.Concat(csvWays(), ansibleWays(), terraformWays(t)) {
		files := way.write(benign)
		if way.variable != "" && !strings.HasPrefix(way.name, "INI") {
			if d, _, err := files.load(versions); err != nil || !understood(d, way.variable) {
				if !strings.HasPrefix(way.name, "YAML text") {
					continue // the variable is of another shape
				}
			}
		}
		for j, hostile := range append(hostileTexts(), "", " a", "a&&b", "$HOME", "[a", "{a,b}", "~root", "{% x %}", "../../etc/passwd", "/etc/passwd", "a\u202eb", "a@b:c") {
			if !utf8.ValidString(hostile) && files.inventory != "i.csv" && files.inventory != "i.ini" {
				continue // JSON has no form for it
			}
			name := fmt.Sprintf("%s: %q", way.name, hostile)
			tried++
			files := way.write(hostile)
			d, asked, err := files.load(versions)
			if err != nil {
				checkPlaced(t, name, err, files)
				continue
			}
			if way.variable != "" && !understood(d, way.variable) {
				continue // and the report says so
			}
			for _, piece := range way.piecesOf(hostile) {
				if piece == "null" && way.variable != "" {
					continue // a mapping may be written as YAML in a text, and this one is empty
				}
				if !arrived(d.Cluster, asked, piece) {
					t.Errorf("%s was accepted, and %q is lost", name, piece)
				}
				taken[piece] = true
			}
			if (i+j)%11 == 0 && len(d.ControlPlanes()) > 0 {
				s.plan(t, d.Cluster, name)
			}
		}
	}
	t.Logf("%d texts were tried", tried)
	s.check(t)
	checkQuoting(t, slices.Sorted(maps.Keys(taken)))
}

func (w wayIn) piecesOf(text string) []string {
	if w.pieces == nil {
		return []string{text}
	}
	return w.pieces(text)
}

// understood reports whether a variable of the inventory was taken over.
func understood(d *cluster.Description, variable string) bool {
	return slices.ContainsFunc(d.Import.Report, func(v inventory.Variable) bool { return v.Name == variable && v.Verdict == inventory.Understood })
}

// arrived reports whether a text is in the cluster, or in what Terraform is asked for: as it is, as a path
// below the folder it is relative to, or as a name of a host, which is in lower case.
func arrived(c *cluster.Cluster, asked spec.TerraformSource, text string) bool {
	for _, form := range []string{text, path.Join(".", text), path.Join(path.Dir(outputName), text), strings.ToLower(text)} {
		if text == "" || holds(reflect.ValueOf(c), form) || holds(reflect.ValueOf(asked), form) {
			return true
		}
	}
	return false
}

// checkPlaced checks that every fault has a place, and is one line.
func checkPlaced(t *testing.T, name string, err error, files inventoryFiles) {
	t.Helper()
	var faults spec.Faults
	if !errors.As(err, &faults) || len(faults) == 0 {
		t.Errorf("%s: the error is no list of faults: %v", name, err)
	}
	faults = slices.DeleteFunc(faults, func(f spec.Fault) bool {
		// That there is none is told beside what keeps the inventory from being one of another form.
		return f.File == "cluster.yaml" && len(faults) > 1 && files.files[f.File] == ""
	})
	for _, f := range faults {
		text, ok := files.files[f.File]
		placed := ok && f.Line >= 1 && f.Line <= strings.Count(text, "\n")+strings.Count(text, "\r")+1
		if strings.HasSuffix(f.File, path.Base(outputName)) {
			placed = f.Path != ""
		}
		if !placed || strings.ContainsFunc(f.Error(), unicode.IsControl) {
			t.Errorf("%s: a fault without a place, or of several lines: %q", name, f.Error())
		}
	}
}

// checkQuoting has a shell print the texts that were accepted, as scripts quote them.
func checkQuoting(t *testing.T, texts []string) {
	t.Helper()
	if len(texts) < 20 {
		t.Errorf("only %d texts were accepted: %q", len(texts), texts)
	}
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no sh on this machine to read the texts")
	}
	var b, want strings.Builder
	for _, text := range texts {
		if strings.Contains(text, "\x00") {
			t.Errorf("a NUL was accepted: %q", text)
			continue
		}
		b.WriteString("printf '%s\\0' " + sh.Quote(text) + "\n")
		want.WriteString(text + "\x00")
	}
	cmd := exec.CommandContext(t.Context(), shell)
	cmd.Dir, cmd.Stdin = t.TempDir(), strings.NewReader(b.String())
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != want.String() {
		t.Errorf("sh printed %q, want %q (%v)", out, want.String(), err)
	}
}
