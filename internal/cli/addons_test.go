package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// withAddons is a cluster of one host with addons of the user's, in the flow style, whose files are beside it.
func withAddons(t *testing.T, host, custom string, files map[string]string) (file string) {
	t.Helper()
	file = write(t, "cluster.yaml", strings.Replace(clusterYAML(host), "  hosts:", "  addons: {custom: ["+custom+"]}\n  hosts:", 1))
	for name, text := range files {
		path := filepath.Join(filepath.Dir(file), name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return file
}

const silentHost = "name: cp1, address: 192.0.2.1, roles: [control-plane, worker]"

// podOf is a manifest of a pod with an image.
func podOf(image string) string {
	return "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: \"" + image + "\"}]}\n"
}

func TestAddonsList(t *testing.T) {
	// What the user's addons consist of is not read: there are no files.
	file := withAddons(t, silentHost, "{name: mine, manifests: gone.yaml, after: [coredns]}", nil)
	text := kubewright(t, "addons", "list", "-f", file).want(t, 0).out
	var document []addonDocument
	kubewright(t, "addons", "list", "-f", file, "-o", "json").want(t, 0).decode(t, &document)
	rows := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(rows) != len(document)+1 || !strings.HasPrefix(rows[0], "ADDON") {
		t.Fatalf("%d addons:\n%s", len(document), text)
	}
	known := map[string]addonDocument{}
	for i, d := range document {
		known[d.Name] = d
		enabled := map[bool]string{true: "yes", false: "no"}[d.Enabled]
		if got, want := strings.Fields(rows[i+1]), slices.DeleteFunc([]string{d.Name, enabled, d.Version}, func(s string) bool { return s == "" }); !slices.Equal(got[:len(want)], want) {
			t.Errorf("the text has %q, and the JSON %+v", rows[i+1], d)
		}
	}
	if calico := known["calico"]; !calico.Enabled || calico.Version == "" || len(calico.Images) == 0 || calico.Custom || calico.Short == "" {
		t.Errorf("calico: %+v", calico)
	}
	want := addonDocument{Name: "mine", Short: "of the cluster file", Enabled: true, Custom: true, After: []string{"coredns"}, Images: []string{}}
	if diff := cmp.Diff(want, document[len(document)-1]); diff != "" {
		t.Error(diff)
	}
	without := write(t, "cluster.yaml", strings.Replace(clusterYAML(silentHost), "  hosts:", "  network: {cni: {name: none}}\n  hosts:", 1))
	kubewright(t, "addons", "list", "-f", without, "-o", "json").want(t, 0).decode(t, &document)
	for _, d := range document {
		if d.Enabled && d.Name == "calico" {
			t.Error("calico is enabled where there is no network plugin")
		}
	}
}

func TestImagesOfCustomAddons(t *testing.T) {
	file := withAddons(t, silentHost, `{name: flat, manifests: m}, {name: overlaid, namespace: k, kustomization: k},
    {name: charted, namespace: c, chart: {path: c, valuesFiles: [values.yaml], values: {tag: "3"}}}`, map[string]string{
		"m/a.yaml": podOf("registry.example.com/flat:1"), "m/b/c.yaml": strings.Replace(podOf("registry.example.com/deep:1"), "name: a}", "name: b}", 1),
		"k/kustomization.yaml": "resources: [a.yaml]\nimages: [{name: registry.example.com/old, newName: registry.example.com/new}]\n",
		"k/a.yaml":             podOf("registry.example.com/old:2"),
		"c/Chart.yaml":         "apiVersion: v2\nname: x\nversion: 1.0.0\n",
		"c/templates/a.yaml":   podOf("{{ .Values.repository }}:{{ .Values.tag }}"),
		"values.yaml":          "repository: registry.example.com/charted\ntag: \"1\"\n",
	})
	var document []imageDocument
	kubewright(t, "images", "list", "-f", file, "-o", "json").want(t, 0).decode(t, &document)
	want := []imageDocument{
		{"registry.example.com/flat:1", "flat"}, {"registry.example.com/deep:1", "flat"},
		{"registry.example.com/new:2", "overlaid"}, {"registry.example.com/charted:3", "charted"},
	}
	got := slices.DeleteFunc(document, func(i imageDocument) bool { return !strings.HasPrefix(i.Name, "registry.example.com/") })
	byName := func(a, b imageDocument) int { return strings.Compare(a.Name, b.Name) }
	slices.SortFunc(want, byName)
	slices.SortFunc(got, byName)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if text := kubewright(t, "images", "list", "-f", file).want(t, 0).out; !strings.Contains(text, "registry.example.com/charted:3\n") {
		t.Errorf("the text is\n%s", text)
	}
}

// What is wrong with the files of addons is said before any host is asked.
func TestBrokenAddonsAreToldAtOnceAndNothingIsDialled(t *testing.T) {
	port, accepted := deaf(t)
	host := fmt.Sprintf("name: cp1, address: 127.0.0.1, nodeIP: 192.0.2.1, roles: [control-plane, worker], ssh: {port: %d, trustOnFirstUse: true, password: 'env:KW_TEST_ADDONS'}", port)
	t.Setenv("KW_TEST_ADDONS", "x")
	file := withAddons(t, host, "{name: mine, manifests: m.yaml}, {name: yours, chart: {path: gone}}",
		map[string]string{"m.yaml": podOf("a:1") + "---\napiVersion: v1\nkind: Pod\n"})
	for _, args := range [][]string{{"images", "list"}, {"plan"}, {"apply", "--yes"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			kubewright(t, append(args, "-f", file)...).want(t, 10,
				"addon mine: "+filepath.Join(filepath.Dir(file), "m.yaml")+":6: the Pod has no name",
				"addon yours: "+filepath.Join(filepath.Dir(file), "gone")+": there is no chart").nothing(t)
		})
	}
	if len(accepted) > 0 {
		t.Error("a host was dialled")
	}
}

// That two addons have one object shows before any host is asked, too.
func TestObjectsOfTwoAddons(t *testing.T) {
	file := withAddons(t, silentHost, "{name: mine, manifests: m.yaml}, {name: yours, namespace: apps, manifests: m.yaml}, {name: theirs, namespace: apps, manifests: m.yaml}",
		map[string]string{"m.yaml": podOf("a:1")})
	for _, command := range []string{"plan", "apply"} {
		kubewright(t, command, "-f", file).want(t, 10, "addon theirs: Pod apps/a is an object of the addon yours too; take it out of one of them").nothing(t)
	}
}

func TestNamesOfAddons(t *testing.T) {
	for custom, want := range map[string]string{
		"{name: calico, manifests: m.yaml}":                       "calico is an addon of kubewright; give yours another name",
		"{name: mine, manifests: m.yaml, after: [calcio]}":        `there is no addon "calcio"`,
		"{name: mine, manifests: m.yaml, after: [core-dns, mie]}": "did you mean mine?",
	} {
		file := withAddons(t, silentHost, custom, map[string]string{"m.yaml": podOf("a:1")})
		kubewright(t, "addons", "list", "-f", file).want(t, 10, "cluster.yaml:6:", want).nothing(t)
	}
	file := withAddons(t, silentHost, "{name: mine, manifests: m.yaml, after: [calcio]}", nil)
	kubewright(t, "addons", "list", "-f", file).want(t, 10, "did you mean calico?")
}
