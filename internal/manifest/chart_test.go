package manifest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// pack makes an archive of files.
func pack(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	archive := tar.NewWriter(zipped)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write([]byte(files[name])); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zipped.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// web is the chart of testdata as an archive.
func web(t *testing.T) []byte {
	t.Helper()
	files := map[string]string{}
	if err := fs.WalkDir(os.DirFS("testdata"), "web", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join("testdata", path))
		files[path] = string(data)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return pack(t, files)
}

func webObjects() []string {
	return []string{
		"CustomResourceDefinition /widgets.example.com",
		"ServiceAccount apps/first", "Job apps/second",
		"ServiceAccount elsewhere/demo-web", "ConfigMap apps/demo-cache", "Deployment apps/demo-web", "Widget /demo-web",
		"ConfigMap apps/upgrades", "Job apps/last",
	}
}

func TestChart(t *testing.T) {
	values := write(t, map[string]string{
		"a.yaml": "replicas: 2\nimage: a:1\nsettings: {c: x}\n",
		"b.yaml": "---\nimage: b:1\ndrop: null\n",
	})
	got := render(t, Source{Namespace: "apps", Chart: Chart{
		Path: "testdata/web", Version: "v1.2.3",
		ValuesFiles: []string{filepath.Join(values, "a.yaml"), filepath.Join(values, "b.yaml")},
		Values:      map[string]any{"replicas": int64(3), "cache": map[string]any{"size": "large"}},
	}}, Env{Kubernetes: "1.37.2", APIVersions: []string{"monitoring.coreos.com/v1"}})
	if diff := cmp.Diff(webObjects(), ids(got)); diff != "" {
		t.Fatal(diff)
	}
	wantDeployment := map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": map[string]any{"name": "demo-web", "namespace": "apps", "annotations": map[string]any{
			"order": "a,b,c", "release": "apps true false 1 Helm", "kubernetes": "v1.37.2 37", "drop": "null",
			"versions": "policy/v1 policy/v1beta1 apps/v1/Deployment example.com/v1/Widget example.com/v1alpha1 monitoring.coreos.com/v1",
			"has":      "true false true true false true", "found": "true",
		}},
		"spec": map[string]any{"replicas": int64(3), "template": map[string]any{"spec": map[string]any{"containers": []any{map[string]any{"name": "web", "image": "b:1"}}}}},
	}
	if diff := cmp.Diff(wantDeployment, got[5].Object); diff != "" {
		t.Error(diff)
	}
	if size, _, err := unstructured.NestedString(got[4].Object, "data", "size"); size != "large" || err != nil {
		t.Errorf("size %q, %v", size, err)
	}
	if spec, _, err := unstructured.NestedMap(got[2].Object, "spec"); len(spec) != 0 || err != nil {
		t.Errorf("the job of a hook has the spec %v, %v", spec, err)
	}
}

func TestChartArchive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "web-1.2.3.tgz")
	if err := os.WriteFile(path, web(t), 0o644); err != nil {
		t.Fatal(err)
	}
	s := Source{Namespace: "apps", Chart: Chart{Path: path}}
	if diff := cmp.Diff(webObjects(), ids(render(t, s, env()))); diff != "" {
		t.Error(diff)
	}
	s.Chart.ReleaseName = "other"
	s.Chart.Values = map[string]any{"cache": map[string]any{"enabled": false}}
	got := ids(render(t, s, env()))
	if !slices.Contains(got, "Deployment apps/other-web") || slices.Contains(got, "ConfigMap apps/other-cache") {
		t.Errorf("objects %v", got)
	}
}

func TestChartRefuses(t *testing.T) {
	values := write(t, map[string]string{"twice.yaml": "a: 1\nb:\n  c: 1\n  c: 2\n", "list.yaml": "- a\n", "bad.yaml": "a: [\n"})
	file := func(name string) []string { return []string{filepath.Join(values, name)} }
	for name, test := range map[string]struct {
		chart Chart
		env   Env
		want  []string
	}{
		"schema":               {chart: Chart{Values: map[string]any{"replicas": 0}}, want: []string{"testdata/web: value replicas: minimum: got 0, want 1", "web/values.schema.json"}},
		"schema, all faults":   {chart: Chart{Values: map[string]any{"replicas": "x", "password": "hunter2", "cache": map[string]any{"size": "odd"}}}, want: []string{"value replicas: got string, want integer", "value password: it does not match the pattern ^[a-z]+$", "value cache.size: value must be one of"}},
		"values of a subchart": {chart: Chart{Values: map[string]any{"cache": "x"}}, want: []string{"cache"}},
		"old Kubernetes":       {env: Env{Kubernetes: "1.29.0"}, want: []string{"the chart is for Kubernetes >=1.30.0-0, and this is v1.29.0"}},
		"no Kubernetes":        {env: Env{Kubernetes: "latest"}, want: []string{`release of Kubernetes "latest"`}},
		"other version":        {chart: Chart{Version: "1.2.4"}, want: []string{"the chart there has version 1.2.3, and not 1.2.4"}},
		"release name":         {chart: Chart{ReleaseName: "My_Release"}, want: []string{`"My_Release" is not one for a release`}},
		"values not there":     {chart: Chart{ValuesFiles: []string{"gone.yaml"}}, want: []string{"gone.yaml: no such file or directory: create it"}},
		"values twice":         {chart: Chart{ValuesFiles: file("twice.yaml")}, want: []string{`twice.yaml:4: key "c" already set in map`}},
		"values are a list":    {chart: Chart{ValuesFiles: file("list.yaml")}, want: []string{"list.yaml:1: the document is a list"}},
		"values do not parse":  {chart: Chart{ValuesFiles: file("bad.yaml")}, want: []string{"bad.yaml:"}},
		"values of a program":  {chart: Chart{Values: map[string]any{"f": func() {}}}, want: []string{"values of the chart"}},
		"not there":            {chart: Chart{Path: "testdata/gone"}, want: []string{"testdata/gone: there is no chart: name a folder"}},
		"repository":           {chart: Chart{Path: "https://charts.example.com/web-1.0.0.tgz"}, want: []string{"download it with helm pull"}},
		"no chart":             {chart: Chart{Path: "testdata/kustomization"}, want: []string{"Chart.yaml file is missing"}},
		"no archive":           {chart: Chart{Path: "testdata/web/values.yaml"}, want: []string{"seems to be a YAML file"}},
	} {
		t.Run(name, func(t *testing.T) {
			if test.chart.Path == "" {
				test.chart.Path = "testdata/web"
			}
			if test.env.Kubernetes == "" {
				test.env = env()
			}
			refused(t, Source{Chart: test.chart}, test.env, test.want...)
		})
	}
	t.Run("secret value", func(t *testing.T) {
		_, err := Render(t.Context(), Source{Name: "demo", Chart: Chart{Path: "testdata/web", Values: map[string]any{"password": "hunter2"}}}, env())
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("error %v", err)
		}
	})
}

// broken are charts of one template, and what is said of them.
func TestBrokenCharts(t *testing.T) {
	const meta, template = "apiVersion: v2\nname: x\nversion: 1.0.0\n", "templates/a.yaml"
	configMap := func(value string) string {
		return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  k: " + value + "\n"
	}
	hook := func(kind, annotations string) string {
		return "apiVersion: v1\nkind: " + kind + "\nmetadata:\n  name: a\n  annotations: {" + annotations + "}\n"
	}
	for name, test := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"library":           {map[string]string{"Chart.yaml": meta + "type: library\n"}, []string{"x is a library for other charts"}},
		"API version":       {map[string]string{"Chart.yaml": "apiVersion: v3\nname: x\nversion: 1.0.0\n"}, []string{`the apiVersion "v3" in Chart.yaml is not known here`}},
		"Chart.yaml":        {map[string]string{"Chart.yaml": "name: [\n"}, []string{"Chart.yaml"}},
		"dependency":        {map[string]string{"Chart.yaml": meta + "dependencies: [{name: part, version: 1.x}]\n", template: configMap("v")}, []string{"the chart x needs part 1.x, which is not in its charts/ folder: run helm dependency build"}},
		"other dependency":  {map[string]string{"Chart.yaml": meta + "dependencies: [{name: part, version: 1.x}]\n", "charts/part/Chart.yaml": "apiVersion: v2\nname: part\nversion: 2.0.0\n"}, []string{"the chart x needs part 1.x, and has 2.0.0"}},
		"deep dependency":   {map[string]string{"charts/part/Chart.yaml": "apiVersion: v2\nname: part\nversion: 2.0.0\ndependencies: [{name: z, version: '1'}]\n"}, []string{"the chart part needs z 1"}},
		"template":          {map[string]string{template: "{{ if }}"}, []string{"x/templates/a.yaml:1"}},
		"execution":         {map[string]string{template: "\n{{ .Values.a.b.c }}"}, []string{"x/templates/a.yaml:2"}},
		"required":          {map[string]string{template: `{{ required "set .Values.x" .Values.x }}`}, []string{"set .Values.x"}},
		"duplicate key":     {map[string]string{template: configMap("v") + "  k: w\n"}, []string{`x/templates/a.yaml (as rendered):6: key "k" already set`}},
		"not an object":     {map[string]string{template: "hello\n"}, []string{"the document is a text"}},
		"nothing":           {map[string]string{template: "{{ if .Values.x }}" + configMap("v") + "{{ end }}", "templates/NOTES.txt": "hello"}, []string{"it has no objects"}},
		"bad definition":    {map[string]string{"crds/a.yaml": "kind: A\n"}, []string{"x/crds/a.yaml:1: the A has no apiVersion"}},
		"twice":             {map[string]string{template: configMap("v"), "templates/b.yaml": configMap("v")}, []string{"b.yaml (as rendered):1: ConfigMap a is there twice"}},
		"schema is no JSON": {map[string]string{"values.schema.json": "{", template: configMap("v")}, []string{"x/values.schema.json: it is not JSON"}},
		"schema is wrong":   {map[string]string{"values.schema.json": `{"type": 1}`, template: configMap("v")}, []string{"x/values.schema.json"}},
		"remote schema":     {map[string]string{"values.schema.json": `{"$ref": "http://127.0.0.1:1/s.json"}`, template: configMap("v")}, []string{"http://127.0.0.1:1/s.json is not in the chart, and nothing is fetched"}},
		"file schema":       {map[string]string{"values.schema.json": `{"$ref": "file:///etc/passwd"}`, template: configMap("v")}, []string{"file:///etc/passwd is not in the chart"}},
		"upgrade hook":      {map[string]string{template: hook("Job", "helm.sh/hook: pre-upgrade")}, []string{"a.yaml (as rendered):1: Job a is a hook of upgrades (pre-upgrade)", "switch it off"}},
		"upgrade pod":       {map[string]string{template: hook("Pod", "helm.sh/hook: 'post-upgrade,test'")}, []string{"Pod a is a hook of upgrades"}},
		"weight":            {map[string]string{template: hook("Job", "helm.sh/hook: pre-install, helm.sh/hook-weight: x")}, []string{`helm.sh/hook-weight: "x" is not a number`}},
		"only tests":        {map[string]string{template: hook("Pod", "helm.sh/hook: test")}, []string{"it has no objects"}},
		"random letters":    {map[string]string{template: configMap("{{ randAlphaNum 1 }}")}, []string{"a.yaml (as rendered):1: ConfigMap a: data.k is something else each time", "set the value of the chart"}},
		"random digits":     {map[string]string{template: configMap("'{{ randNumeric 1 }}{{ randInt 0 2 }}'")}, []string{"data.k is something else each time"}},
		"random number":     {map[string]string{template: configMap("'{{ randInt 0 2 }}'")}, []string{"data.k is something else each time"}},
		"random bytes":      {map[string]string{template: configMap("{{ randBytes 4 | b64enc }}")}, []string{"data.k is something else each time"}},
		"order":             {map[string]string{template: configMap("{{ shuffle \"ab\" }}")}, []string{"data.k is something else each time"}},
		"identifier":        {map[string]string{template: configMap("{{ uuidv4 }}")}, []string{"data.k is something else each time"}},
		"key":               {map[string]string{template: configMap("{{ genPrivateKey \"ecdsa\" | b64enc }}")}, []string{"data.k is something else each time"}},
		"hash":              {map[string]string{template: configMap("{{ htpasswd \"a\" \"b\" | quote }}")}, []string{"data.k is something else each time"}},
		"time":              {map[string]string{template: configMap("{{ now | date \"2006\" | quote }}")}, []string{"data.k is something else each time"}},
		"no date":           {map[string]string{template: configMap("{{ date \"2006-01-02T15:04:05\" .Values.unset | quote }}")}, []string{"data.k is something else each time"}},
		"no date in a zone": {map[string]string{template: configMap("{{ dateInZone \"15\" .Values.unset \"UTC\" | quote }}")}, []string{"data.k is something else each time"}},
		"in its old name":   {map[string]string{template: configMap("{{ date_in_zone \"15\" .Values.unset \"UTC\" | quote }}")}, []string{"data.k is something else each time"}},
		"no date for HTML":  {map[string]string{template: configMap("{{ htmlDate .Values.unset | quote }}")}, []string{"data.k is something else each time"}},
		"and in a zone":     {map[string]string{template: configMap("{{ htmlDateInZone .Values.unset \"UTC\" | quote }}")}, []string{"data.k is something else each time"}},
		"age":               {map[string]string{template: configMap("{{ ago 0 }}")}, []string{"data.k is something else each time"}},
		"rounded age":       {map[string]string{template: configMap("{{ toDate \"2006\" \"2020\" | durationRound }}")}, []string{"data.k is something else each time"}},
		"in a list":         {map[string]string{template: configMap("v") + "items2: [a, {b: {{ uuidv4 }}}]\n"}, []string{"items2.1.b is something else each time"}},
		"another length":    {map[string]string{template: configMap("v") + "list: [{{ if eq (randInt 0 2) 1 }}a{{ end }}]\n"}, []string{"ConfigMap a: list is something else each time"}},
		"another kind":      {map[string]string{template: configMap("v") + "x: {{ if eq (randInt 0 2) 1 }}[a]{{ else }}{a: b}{{ end }}\n"}, []string{"ConfigMap a: x is something else each time"}},
		"random name":       {map[string]string{template: "apiVersion: v1\nkind: Pod\nmetadata: {name: a-{{ uuidv4 }}}\n"}, []string{"is another object each time the chart is rendered"}},
		"sometimes":         {map[string]string{template: configMap("v"), "templates/b.yaml": "{{ if eq (randInt 0 2) 1 }}" + pod + "{{ end }}"}, []string{"Pod a is there only sometimes"}},
	} {
		t.Run(name, func(t *testing.T) {
			if test.files["Chart.yaml"] == "" {
				test.files["Chart.yaml"] = meta
			}
			refused(t, Source{Chart: Chart{Path: write(t, test.files)}}, env(), test.want...)
		})
	}
}

// What is in place of a function gives what that gives, where this is the same each time.
func TestFunctionsOfDates(t *testing.T) {
	var text strings.Builder
	for _, date := range []string{`0`, `1700000000`, `(int64 1700000000)`, `(toDate "2006-01-02" "2020-02-29")`} {
		for _, call := range []string{`date "2006-01-02T15:04:05Z07:00" %s`, `htmlDate %s`, `dateInZone "Mon 15:04 MST" %s "Europe/Paris"`, `date_in_zone "15:04" %s "no/such"`, `htmlDateInZone %s "Asia/Tokyo"`} {
			fmt.Fprintf(&text, "{{ "+call+" }}\n", date)
		}
	}
	for _, length := range []string{`"0s"`, `"1s"`, `"61s"`, `"-61m"`, `"25h"`, `"800h"`, `"9000h"`, `"nothing"`, `.Values.unset`, `(int64 3700000000000)`, `5`} {
		fmt.Fprintf(&text, "{{ durationRound %s }}\n", length)
	}
	loaded, err := loader.Load(write(t, map[string]string{"Chart.yaml": "apiVersion: v2\nname: x\nversion: 1.0.0\n", "templates/a.yaml": text.String()}))
	if err != nil {
		t.Fatal(err)
	}
	render := func(functions map[string]any) map[string]string {
		files, err := engine.Engine{CustomTemplateFuncs: functions}.RenderWithContext(t.Context(), loaded, common.Values{"Values": map[string]any{}})
		if err != nil {
			t.Fatal(err)
		}
		return files
	}
	if diff := cmp.Diff(render(nil), render(functions(1))); diff != "" {
		t.Errorf("(-Helm +ours):\n%s", diff)
	}
}

// Archives are refused that would lead out of their folder, or that unpack to more than a chart is.
func TestHostileArchives(t *testing.T) {
	const meta = "apiVersion: v2\nname: x\nversion: 1.0.0\n"
	for name, test := range map[string]struct {
		data []byte
		want string
	}{
		"out of the folder": {pack(t, map[string]string{"x/Chart.yaml": meta, "x/../../etc/passwd": "x"}), "illegally references parent directory"},
		"absolute":          {pack(t, map[string]string{"x/Chart.yaml": meta, "x//etc/passwd": "x"}), "absolute paths"},
		"no folder":         {pack(t, map[string]string{"Chart.yaml": meta}), "chart"},
		"bomb":              {pack(t, map[string]string{"x/Chart.yaml": meta, "x/zeros": strings.Repeat("\x00", 101<<20)}), "larger than the maximum size"},
		"cut":               {pack(t, map[string]string{"x/Chart.yaml": meta})[:60], "the chart cannot be read"},
		"empty":             {pack(t, nil), "no files in chart archive"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.tgz")
			if err := os.WriteFile(path, test.data, 0o644); err != nil {
				t.Fatal(err)
			}
			refused(t, Source{Chart: Chart{Path: path}}, env(), "x.tgz", test.want)
		})
	}
}
