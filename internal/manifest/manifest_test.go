package manifest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubewright/internal/fault"
)

// env is that of the tests.
func env() Env { return Env{Kubernetes: "1.37.2"} }

// write makes files below a new folder, which it returns.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	folder := t.TempDir()
	for name, content := range files {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func render(t *testing.T, s Source, e Env) []*unstructured.Unstructured {
	t.Helper()
	s.Name = "demo"
	got, err := Render(t.Context(), s, e)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// ids are the kinds, namespaces and names of objects.
func ids(all []*unstructured.Unstructured) []string {
	var names []string
	for _, o := range all {
		names = append(names, o.GetKind()+" "+o.GetNamespace()+"/"+o.GetName())
	}
	return names
}

// refused renders what has to be refused as bad input, for a reason that has all of the texts.
func refused(t *testing.T, s Source, e Env, want ...string) {
	t.Helper()
	s.Name = "demo"
	got, err := Render(t.Context(), s, e)
	if err == nil {
		t.Fatalf("not refused: %v", ids(got))
	}
	for _, text := range append(want, "addon demo: ") {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %v\nhas no %q", err, text)
		}
	}
	if fault.KindOf(err) != fault.BadInput {
		t.Errorf("%v is %v", err, fault.KindOf(err))
	}
}

const pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n"

func TestManifests(t *testing.T) {
	folder := write(t, map[string]string{
		"b.yaml":          pod + "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: extra, namespace: wrong}\n",
		"a/deep/c.json":   `{"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "c", "namespace": "own"}}]}`,
		"a/d.yml":         "apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: t}\n---\napiVersion: example.com/v1\nkind: Wide\nmetadata: {name: w}\n---\napiVersion: example.org/v1\nkind: Wide\nmetadata: {name: w}\n",
		"a/e.yaml":        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: wides}\nspec: {group: example.com, scope: Cluster, names: {kind: Wide}}\n",
		"README.md":       "# not read",
		".git/config.yml": "not: read",
		".hidden.yaml":    "not: read",
	})
	if err := os.Symlink(filepath.Join(folder, "README.md"), filepath.Join(folder, "link.yaml")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "README.md"), []byte("apiVersion: resource.k8s.io/v1beta2\nkind: DeviceTaintRule\nmetadata: {name: r}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"Thing apps/t", "Wide /w", "Wide apps/w", "Secret own/c", "CustomResourceDefinition /wides",
		"Pod apps/a", "Namespace /extra", "DeviceTaintRule /r",
	}
	if diff := cmp.Diff(want, ids(render(t, Source{Manifests: folder, Namespace: "apps"}, env()))); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"Pod /a", "Namespace /extra"}, ids(render(t, Source{Manifests: filepath.Join(folder, "b.yaml")}, env()))); diff != "" {
		t.Error(diff)
	}
}

func TestManifestsRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		files map[string]string
		path  string
		want  []string
	}{
		"all faults":    {files: map[string]string{"a.yaml": "x: [\n", "b.yaml": "\nkind: A\n"}, want: []string{"a.yaml:", "b.yaml:2: the A has no apiVersion"}},
		"twice":         {files: map[string]string{"a.yaml": pod, "b.yaml": "\n" + pod}, want: []string{"b.yaml:2: Pod apps/a is there twice, first at ", "a.yaml:1: remove one"}},
		"namespace":     {files: map[string]string{"a.yaml": pod, "b.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: apps}\n"}, want: []string{"is there twice"}},
		"no files":      {files: map[string]string{"a.txt": pod}, want: []string{"ends with .yaml, .yml or .json"}},
		"no objects":    {files: map[string]string{"a.yaml": "# nothing\n"}, want: []string{"it has no objects"}},
		"not there":     {path: "gone.yaml", want: []string{"gone.yaml: no such file or directory: create it"}},
		"kustomization": {files: map[string]string{"x/kustomization.yaml": "resources: []"}, want: []string{"x/kustomization.yaml: the folder is a kustomization"}},
		"chart":         {files: map[string]string{"x/Chart.yaml": "name: x"}, want: []string{"x/Chart.yaml: the folder is a chart"}},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, Source{Manifests: filepath.Join(write(t, test.files), test.path), Namespace: "apps"}, env(), test.want...)
		})
	}
	t.Run("link to a folder", func(t *testing.T) {
		folder := write(t, map[string]string{"x/a.yaml": pod})
		if err := os.Symlink("x", filepath.Join(folder, "y.yaml")); err != nil {
			t.Fatal(err)
		}
		refused(t, Source{Manifests: folder}, env(), "y.yaml: it is no file: links to folders are not followed")
	})
	t.Run("link to nothing", func(t *testing.T) {
		folder := t.TempDir()
		if err := os.Symlink("gone", filepath.Join(folder, "y.yaml")); err != nil {
			t.Fatal(err)
		}
		refused(t, Source{Manifests: folder}, env(), "y.yaml")
	})
}

func TestOneSource(t *testing.T) {
	refused(t, Source{}, env(), "it has 0 sources")
	refused(t, Source{Manifests: "a", Chart: Chart{Path: "b"}}, env(), "it has 2 sources: give it manifests, a kustomization or a chart, one of them")
}

func TestKustomization(t *testing.T) {
	got := render(t, Source{Kustomization: "testdata/kustomization/overlay", Namespace: "apps"}, env())
	names := ids(got)
	if len(names) != 3 || names[0] != "Deployment overlaid/my-web" || !strings.HasPrefix(names[1], "ConfigMap overlaid/my-settings-") || names[2] != "ClusterRole /my-web" {
		t.Fatalf("objects %v", names)
	}
	if replicas, _, err := unstructured.NestedInt64(got[0].Object, "spec", "replicas"); replicas != 3 || err != nil {
		t.Errorf("replicas %v, %v", replicas, err)
	}
	for _, o := range got {
		if o.GetLabels()["site"] != "here" {
			t.Errorf("%s has labels %v", o.GetName(), o.GetLabels())
		}
	}
	// The namespace is the addon's where the kustomization gives none.
	plain := ids(render(t, Source{Kustomization: "testdata/kustomization/base", Namespace: "apps"}, env()))
	if plain[0] != "Deployment apps/web" {
		t.Errorf("objects %v", plain)
	}
}

func TestKustomizationRefuses(t *testing.T) {
	const file = "k/kustomization.yaml"
	for name, test := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"none":                {map[string]string{"k/a.yaml": pod}, []string{"the folder has no kustomization.yaml"}},
		"syntax":              {map[string]string{file: "resources: [\n"}, []string{"kustomization.yaml:"}},
		"duplicate key":       {map[string]string{file: "namePrefix: a\nnamePrefix: b\n"}, []string{`kustomization.yaml:2: key "namePrefix" already set`}},
		"unknown field":       {map[string]string{file: "resource: [a.yaml]\n", "k/a.yaml": pod}, []string{"kustomization.yaml: ", "resource"}},
		"missing":             {map[string]string{file: "resources: [a.yaml]\n"}, []string{"resources: a.yaml is not there"}},
		"git":                 {map[string]string{file: "resources: ['https://github.com/a/b//c?ref=v1']\n"}, []string{"https://github.com/a/b//c?ref=v1 is remote", "copy it beside"}},
		"HTTP":                {map[string]string{file: "resources: ['https://127.0.0.1:1/a.yaml']\n"}, []string{"is remote"}},
		"GitHub":              {map[string]string{file: "resources: [github.com/a/b]\n", "k/github.com/a/b/kustomization.yaml": "resources: []"}, []string{"github.com/a/b is remote"}},
		"SSH":                 {map[string]string{file: "components: ['git@example.com:a/b.git']\n"}, []string{"is remote"}},
		"file":                {map[string]string{file: "bases: ['file:///srv/a.git']\n"}, []string{"is remote"}},
		"query":               {map[string]string{file: "resources: ['gitlab.example.com/a/b?ref=v1']\n"}, []string{"is remote"}},
		"deep":                {map[string]string{file: "resources: [../b]\n", "b/kustomization.yaml": "resources: ['https://127.0.0.1:1/x']\n"}, []string{"b/kustomization.yaml: resources: https://127.0.0.1:1/x is remote"}},
		"patch":               {map[string]string{file: "resources: [a.yaml]\npatches: [{path: 'https://127.0.0.1:1/p'}]\n", "k/a.yaml": pod}, []string{"path: https://127.0.0.1:1/p is remote"}},
		"file of a ConfigMap": {map[string]string{file: "configMapGenerator: [{name: a, files: ['x=HTTPS://127.0.0.1:1/p']}]\n"}, []string{"files: x=HTTPS://127.0.0.1:1/p is remote"}},
		"schema":              {map[string]string{file: "openapi: {path: 'http://127.0.0.1:1/p'}\n"}, []string{"is remote"}},
		"remote transformer":  {map[string]string{file: "transformers: ['https://127.0.0.1:1/t']\n"}, []string{"is remote"}},
		"inline generator": {map[string]string{file: "generators:\n- |\n  apiVersion: builtin\n  kind: ConfigMapGenerator\n  metadata: {name: x}\n  envs: ['http://127.0.0.1:1/e']\n"},
			[]string{"(in generators): envs: http://127.0.0.1:1/e is remote"}},
		"second document of a transformer": {map[string]string{file: "transformers: [t.yaml]\n", "k/t.yaml": "a: b\n---\napiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: x}\npath: http://127.0.0.1:1/e\n"},
			[]string{"t.yaml: path: http://127.0.0.1:1/e is remote"}},
		"outside":     {map[string]string{file: "resources: [../a.yaml]\n", "a.yaml": pod}, []string{"is not in or below", "move the file there"}},
		"chart":       {map[string]string{file: "helmCharts: [{name: a, repo: 'oci://127.0.0.1:1'}]\n"}, []string{"make the chart an addon of its own"}},
		"program":     {map[string]string{file: "generators: [g.yaml]\n", "k/g.yaml": "apiVersion: example.com/v1\nkind: Program\nmetadata: {name: x, annotations: {config.kubernetes.io/function: \"exec: {path: /bin/true}\"}}\n"}, []string{"runs no programs"}},
		"circle":      {map[string]string{file: "resources: [../b]\n", "b/kustomization.yaml": "resources: [../k]\n"}, []string{"cycle"}},
		"no objects":  {map[string]string{file: "namePrefix: a\n"}, nil},
		"bad objects": {map[string]string{file: "resources: [a.yaml]\n", "k/a.yaml": "kind: A\n"}, []string{"a.yaml"}},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, Source{Kustomization: filepath.Join(write(t, test.files), "k")}, env(), test.want...)
		})
	}
	refused(t, Source{Kustomization: "testdata/gone"}, env(), "testdata/gone: no such file or directory: name a folder")
	refused(t, Source{Kustomization: "https://github.com/a/b"}, env(), "name a folder with a kustomization.yaml on this machine")
	refused(t, Source{Kustomization: "testdata/kustomization/base/web.yaml"}, env(), "it is a file")
}

// The kinds of Kubernetes are as the table has them.
func TestServed(t *testing.T) {
	versions := servedVersions()
	for _, want := range []string{"v1", "v1/Pod", "apps/v1/Deployment", "networking.k8s.io/v1/IngressClass", "policy/v1"} {
		if !slices.Contains(versions, want) {
			t.Errorf("%s is not served", want)
		}
	}
	if slices.Contains(versions, "policy/v1beta1") {
		t.Error("policy/v1beta1 is served")
	}
}
