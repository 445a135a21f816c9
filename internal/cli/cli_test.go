package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"kubewright/inventory"
	"kubewright/phases"
)

// walk calls f for every command that a user can call.
func walk(cmd *cobra.Command, f func(*cobra.Command)) {
	f(cmd)
	for _, sub := range cmd.Commands() {
		walk(sub, f)
	}
}

func TestEveryCommandHasHelp(t *testing.T) {
	walk(newRootCommand("v1.2.3"), func(cmd *cobra.Command) {
		path := strings.Fields(cmd.CommandPath())[1:]
		t.Run(strings.Join(path, " "), func(t *testing.T) {
			o := kubewright(t, append(path, "--help")...).want(t, 0)
			if o.err != "" {
				t.Errorf("stderr: %s", o.err)
			}
			for _, text := range []string{"Usage:", cmd.CommandPath()} {
				if !strings.Contains(o.out, text) {
					t.Errorf("help does not say %q:\n%s", text, o.out)
				}
			}
			if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
				t.Errorf("the short description is %q", cmd.Short)
			}
			if cmd.Flags().Lookup("file") != nil && cmd.Example == "" {
				t.Error("there is no example")
			}
		})
	})
}

// The table of the commands in README.md is what a newcomer reads first.
func TestReadmeNamesEveryCommand(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(readme), "## Commands")
	table, _, _ = strings.Cut(table, "\n## ")
	for _, cmd := range newRootCommand("").Commands() {
		if cmd.Name() != "help" && cmd.Name() != "completion" && !strings.Contains(table, "| `"+cmd.Name()) {
			t.Errorf("README.md has no row for %s", cmd.Name())
		}
	}
}

func TestUsageErrors(t *testing.T) {
	cluster := write(t, "cluster.yaml", clusterYAML("name: cp1, address: 127.0.0.1, nodeIP: 192.0.2.1, roles: [control-plane]"))
	for _, tt := range []struct {
		args string
		want []string
	}{
		{"nonsense", []string{`unknown command "nonsense"`, "hint: kubewright --help"}},
		{"aply -f " + cluster, []string{`unknown command "aply"`, "hint: did you mean kubewright apply?"}},
		{"phases lst", []string{`unknown command "lst" for "kubewright phases"`, "did you mean kubewright phases list?"}},
		{"lab node nonsense", []string{`unknown command "nonsense" for "kubewright lab node"`}},
		{"help nonsense", []string{`unknown command "nonsense"`}},
		{"help phases nonsense", []string{"unknown command"}},
		{"--nonsense", []string{"unknown flag: --nonsense"}},
		{"plan --nonsense", []string{"unknown flag: --nonsense", "hint: kubewright plan --help"}},
		{"plan extra", []string{`unknown command "extra" for "kubewright plan"`}},
		{"version extra", []string{"extra"}},
		{"phases list extra", []string{"extra"}},
		{"plan -o xml", []string{`"xml"`, "text or json"}},
		{"status -o xml", []string{"text or json"}},
		{"images list -o xml", []string{"text or json"}},
		{"version -o xml", []string{"text or json"}},
		{"kubeconfig -o json", []string{"unknown shorthand flag: 'o'"}},
		{"verify --phase pki", []string{"unknown flag: --phase"}},
		{"verify --patience soon", []string{"soon"}},
		{"plan -f " + cluster + " --phase nonsense", append([]string{`--phase: there is no phase "nonsense"`}, phases.Names(phases.All())...)},
		{"plan -f " + cluster + " --limit worker*", []string{"--limit:", `"worker*"`, "cp1"}},
		{"plan -f " + cluster + " --limit !cp1", []string{"--limit:"}},
		{"plan -f " + cluster + " --log /nowhere/at/all", []string{"--log:", "/nowhere/at/all"}},
		{"apply -f " + cluster + " --join-timeout 0s", []string{"--join-timeout 0s: it has to be more than nothing"}},
		{"apply -f " + cluster + " --ready-timeout -1s", []string{"--ready-timeout -1s: it has to be more than nothing"}},
		{"reset -f " + cluster + " --reconnect-timeout -1s", []string{"--reconnect-timeout -1s: it has to be more than nothing"}},
		{"reset -o json -f " + cluster, nil},
	} {
		t.Run(tt.args, func(t *testing.T) {
			kubewright(t, strings.Fields(tt.args)...).want(t, 10, tt.want...).nothing(t)
		})
	}
}

func TestUsageErrorsInJSON(t *testing.T) {
	o := kubewright(t, "plan", "-o", "json", "--nonsense").want(t, 10).nothing(t)
	events := o.events(t)
	if len(events) != 1 || events[0].ErrorKind != "bad-input" || !strings.Contains(events[0].Error, "--nonsense") || len(events[0].Hints) != 1 {
		t.Errorf("events: %+v", events)
	}
}

// dialling are the commands that would connect to hosts.
func dialling() [][]string {
	return [][]string{{"plan"}, {"apply", "--yes"}, {"status"}, {"verify"}, {"reset", "--yes"}, {"doctor"}, {"kubeconfig"}}
}

func TestFaultsOfTheFilesComeAllAtOnceAndNothingIsDialled(t *testing.T) {
	port, accepted := deaf(t)
	file := write(t, "cluster.yaml", `apiVersion: kubewright.io/v1alpha1
kind: Cluster
metadata: {name: lab}
spec:
  kubernetesVersion: 1.2.3
  netwrk: {}
  inventory: inventory.yaml
`, "inventory.yaml", fmt.Sprintf(`apiVersion: kubewright.io/v1alpha1
kind: Inventory
hosts:
  - {name: cp1, address: 127.0.0.1, nodeIP: 192.0.2.1, roles: [control-plane], ssh: {port: %d, usr: root}}
`, port))
	for _, args := range append(dialling(), []string{"images", "list"}, []string{"inventory", "show"}) {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			o := kubewright(t, append(args, "-f", file)...).want(t, 10,
				"cluster.yaml:5:22: spec.kubernetesVersion: ", "cluster.yaml:6:3: spec.netwrk: ", "inventory.yaml:4:", "usr").nothing(t)
			for line := range strings.Lines(o.err) {
				_, warned, _ := strings.Cut(line, " warning: ") // after the time
				if !strings.HasPrefix(line, "error: "+filepath.Dir(file)) && !strings.HasPrefix(warned, filepath.Dir(file)) {
					t.Errorf("a line without a place: %s", line)
				}
			}
		})
	}
	if len(accepted) > 0 {
		t.Error("a host was dialled")
	}
}

func TestMissingSecretIsFoundBeforeAnythingIsDialled(t *testing.T) {
	port, accepted := deaf(t)
	host := "name: %s, address: %s, nodeIP: %s, roles: [%s], ssh: {port: %d, trustOnFirstUse: true, password: 'env:KW_TEST_UNSET'}"
	file := write(t, "cluster.yaml", clusterYAML(
		fmt.Sprintf(host, "cp1", "127.0.0.1", "192.0.2.1", "control-plane", port),
		fmt.Sprintf(host, "worker1", "127.0.0.2", "192.0.2.2", "worker", port)))
	for _, args := range dialling() {
		if args[0] == "kubeconfig" {
			continue // it asks each control plane for itself
		}
		o := kubewright(t, append(args, "-f", file)...).want(t, 10, "env:KW_TEST_UNSET", "not set").nothing(t)
		if strings.Count(o.err, "KW_TEST_UNSET") != 1 {
			t.Errorf("one missing variable is told more than once:\n%s", o.err)
		}
	}
	if len(accepted) > 0 {
		t.Error("a host was dialled")
	}
}

func TestVersion(t *testing.T) {
	o := kubewright(t, "version").want(t, 0)
	if !regexp.MustCompile(`(?s)^kubewright v1\.2\.3\nbuilt with go1\S* for \w+/\w+\nKubernetes 1\.\d+(, 1\.\d+)+\n$`).MatchString(o.out) {
		t.Errorf("text:\n%s", o.out)
	}
	var d versionDocument
	kubewright(t, "version", "-o", "json").want(t, 0).decode(t, &d)
	if d.Version != "v1.2.3" || !strings.HasPrefix(d.GoVersion, "go1") || len(d.Kubernetes) < 2 || !strings.Contains(d.Platform, "/") {
		t.Errorf("JSON: %+v", d)
	}
	if o := kubewright(t, "--version"); o.out != "kubewright version v1.2.3\n" {
		t.Errorf("--version: %q", o.out)
	}
}

func TestBareCommandShowsHelp(t *testing.T) {
	for _, args := range [][]string{{}, {"phases"}, {"lab", "node"}} {
		if o := kubewright(t, args...).want(t, 0); !strings.Contains(o.out, "Usage:") {
			t.Errorf("%v: %s", args, o.out)
		}
	}
}

func TestPhases(t *testing.T) {
	var text, document []string
	for line := range strings.Lines(kubewright(t, "phases", "list").want(t, 0).out) {
		text = append(text, strings.Fields(line)[0])
	}
	var list []phaseDocument
	kubewright(t, "phases", "list", "-o", "json").want(t, 0).decode(t, &list)
	edges := 0
	for _, p := range list {
		document = append(document, p.Name)
		edges += len(p.After)
	}
	want := phases.Names(phases.All())
	if diff := cmp.Diff([][]string{want, want}, [][]string{text, document}); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	graph := kubewright(t, "phases", "graph").want(t, 0).out
	if !strings.HasPrefix(graph, "digraph phases {\n") || !strings.HasSuffix(graph, "\n}\n") {
		t.Errorf("this is no digraph:\n%s", graph)
	}
	node := regexp.MustCompile(`^  "([^"]+)" \[label="[^"]+"\];$`)
	edge := regexp.MustCompile(`^  "([^"]+)" -> "([^"]+)" \[style=(solid|dashed)\];$`)
	nodes, seen := map[string]bool{}, 0
	body := strings.Split(strings.TrimSpace(graph), "\n")
	for _, line := range body[1 : len(body)-1] {
		if m := node.FindStringSubmatch(line); len(m) == 2 {
			nodes[m[1]] = true
			continue
		}
		if m := edge.FindStringSubmatch(line); len(m) != 4 || !nodes[m[1]] || !nodes[m[2]] {
			t.Errorf("neither a node nor an edge between declared nodes: %s", line)
		}
		seen++
	}
	if len(nodes) != len(want) || seen != edges || edges == 0 {
		t.Errorf("%d nodes of %d, %d edges of %d", len(nodes), len(want), seen, edges)
	}
}

func TestImagesList(t *testing.T) {
	host := "name: cp1, address: 192.0.2.1, roles: [control-plane]"
	file := write(t, "cluster.yaml", clusterYAML(host))
	text := kubewright(t, "images", "list", "-f", file).want(t, 0).out
	var document []imageDocument
	kubewright(t, "images", "list", "-f", file, "-o", "json").want(t, 0).decode(t, &document)
	var names []string
	for _, i := range document {
		names = append(names, i.Name)
		if i.Component == "" {
			t.Errorf("%s is of no component", i.Name)
		}
	}
	if diff := cmp.Diff(strings.Fields(text), names); diff != "" {
		t.Errorf("text and JSON differ:\n%s", diff)
	}
	for _, want := range []string{"registry.k8s.io/kube-apiserver:v1.37.2", "docker.io/calico/node:v"} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is missing in\n%s", want, text)
		}
	}
	none := write(t, "cluster.yaml", strings.Replace(clusterYAML(host), "  hosts:", "  network: {cni: {name: none}}\n  hosts:", 1))
	if out := kubewright(t, "images", "list", "-f", none).want(t, 0).out; strings.Contains(out, "calico") || !strings.Contains(out, "kube-apiserver") {
		t.Errorf("without a network plugin:\n%s", out)
	}
	for vip, want := range map[string]string{
		"": "", "vip: {address: 192.0.2.5}": "keepalived", "vip: {address: 192.0.2.5, provider: kube-vip}": "kube-vip",
	} {
		given := write(t, "cluster.yaml", strings.Replace(clusterYAML(host), "  hosts:", "  controlPlane: {"+vip+"}\n  hosts:", 1))
		out := kubewright(t, "images", "list", "-f", given).want(t, 0).out
		for _, provider := range []string{"keepalived", "kube-vip"} {
			if strings.Contains(out, provider) != (provider == want) {
				t.Errorf("with {%s}:\n%s", vip, out)
			}
		}
	}
}

// standing are places in a file by the keys of what stands there.
func standing(file string, places ...string) map[string]string {
	all := map[string]string{}
	for _, p := range places {
		key, place, _ := strings.Cut(p, " ")
		all[key] = file + ":" + place
	}
	return all
}

func TestInventoryShow(t *testing.T) {
	file := write(t, "cluster.yaml", clusterYAML(
		"name: CP1, address: 192.0.2.1, roles: [control-plane], ssh: {user: ops, password: 'env:SECRET'}",
		"name: worker1, address: w1.example.com, nodeIP: 192.0.2.2, roles: [worker], labels: {disk: ssd}, annotations: {rack: r1}, taints: ['a=b:NoSchedule']"))
	want := `HOST     ADDRESS         NODE IP    ROLES               GROUPS
cp1      192.0.2.1       192.0.2.1  control-plane,etcd
worker1  w1.example.com  192.0.2.2  worker
`
	if diff := cmp.Diff(want, kubewright(t, "inventory", "show", "-f", file).want(t, 0).out); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	o := kubewright(t, "inventory", "show", "-f", file, "-o", "json").want(t, 0)
	var got inventoryDocument
	o.decode(t, &got)
	want1, want2 := hostDocument{Name: "cp1", Address: "192.0.2.1", NodeIP: "192.0.2.1", Roles: []inventory.Role{"control-plane", "etcd"},
		Groups: []string{}, Labels: map[string]string{}, Annotations: map[string]string{}, Taints: []string{}, User: "ops", Port: 22,
		From: standing(file, "name 7:14", "address 7:28", "roles 7:46", "ssh.user 7:75", "ssh.password 7:90")},
		hostDocument{Name: "worker1", Address: "w1.example.com", NodeIP: "192.0.2.2", Roles: []inventory.Role{"worker"},
			Groups: []string{}, Labels: map[string]string{"disk": "ssd"}, Annotations: map[string]string{"rack": "r1"}, Taints: []string{"a=b:NoSchedule"}, User: "root", Port: 22,
			From: standing(file, "name 8:14", "address 8:32", "nodeIP 8:56", "roles 8:74", "labels.disk 8:99", "annotations.rack 8:125", "taints[0] 8:139")}
	want3 := inventoryDocument{Hosts: []hostDocument{want1, want2}, Cluster: []settingDocument{}, Variables: []variableDocument{}}
	if diff := cmp.Diff(want3, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if strings.Contains(o.out, "SECRET") || strings.Contains(o.out, "null") {
		t.Errorf("JSON:\n%s", o.out)
	}
}
