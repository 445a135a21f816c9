package objects_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kubewright/internal/objects"
)

func TestDecode(t *testing.T) {
	const stream = "\xef\xbb\xbf# a comment\n---\n# another\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, uid: x, resourceVersion: \"1\", managedFields: [], creationTimestamp: null, labels: {k: }}\n" +
		"data:\n  pem: |\n    -----BEGIN\n    ---\n    ...\nstatus: {x: y}\n" +
		"--- # a document that says nothing\n" +
		"--- {\"apiVersion\": \"v1\", \"kind\": \"Namespace\", \"metadata\": {\"name\": \"b\"}}\n" +
		"...\n" +
		"apiVersion: v1\r\nkind: List\r\nitems:\r\n- {apiVersion: apps/v1, kind: Deployment, metadata: {name: c, namespace: prod}, spec: {replicas: 9007199254740993}}\r\n" +
		"---\napiVersion: v1\nkind: ConfigMapList\nitems:\n- metadata: {name: d}\n" +
		"---\napiVersion: v1\nkind: PodList\n"
	got, err := objects.Decode("f.yaml", []byte(stream))
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	for _, o := range got {
		seen = append(seen, o.At+" "+o.ID())
	}
	want := []string{"f.yaml:4 ConfigMap a", "f.yaml:14 Namespace b", "f.yaml:16 Deployment.apps prod/c", "f.yaml:21 ConfigMap d"}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Fatal(diff)
	}
	wantFirst := map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "a", "labels": map[string]any{"k": ""}},
		"data": map[string]any{"pem": "-----BEGIN\n---\n...\n"},
	}
	if diff := cmp.Diff(wantFirst, got[0].Object); diff != "" {
		t.Error(diff)
	}
	if replicas := got[2].Object["spec"].(map[string]any)["replicas"]; replicas != int64(9007199254740993) {
		t.Errorf("replicas %v (%T)", replicas, replicas)
	}
}

func TestDecodeRefuses(t *testing.T) {
	const head = "apiVersion: v1\nkind: A\n"
	for name, test := range map[string]struct{ stream, want string }{
		"duplicate key":        {"---\n# x\n---\n" + head + "metadata:\n  name: a\n  name: b\n", `f:8: key "name" already set in map`},
		"tab":                  {head + "metadata:\n\tname: a\n", "f:4: found character that cannot start any token (a tab: YAML is indented with spaces)"},
		"syntax":               {head + "metadata: {name: a}\n---\nkind: [\n", "f:"},
		"list":                 {"\n- 1\n", "f:2: the document is a list, not a mapping"},
		"text":                 {"hello\n", "f:1: the document is a text, not a mapping"},
		"number":               {"1\n", "the document is a number"},
		"true":                 {"true\n", "the document is true or false"},
		"no kind":              {"a: b\n", "f:1: the document has no kind"},
		"no apiVersion":        {"kind: A\nmetadata: {name: a}\n", "f:1: the A has no apiVersion"},
		"apiVersion":           {"apiVersion: a/b/c\nkind: A\nmetadata: {name: a}\n", `apiVersion "a/b/c" of the A is none`},
		"no name":              {head, "f:1: the A has no name: give it metadata.name"},
		"empty name":           {head + "metadata: {name: ''}\n", "the A has no name: give it"},
		"number for a name":    {head + "metadata: {name: 1}\n", "metadata.name is a number, so quote it"},
		"generateName":         {head + "metadata: {generateName: a-}\n", "generateName, which makes another object each time"},
		"metadata":             {head + "metadata: [a]\n", "metadata of the A is a list, not a mapping"},
		"namespace":            {head + "metadata: {name: a, namespace: 1}\n", "A a: metadata.namespace is a number, so quote it"},
		"label":                {head + "metadata: {name: a, labels: {x: yes}}\n", `the value of "x" in metadata.labels is true or false, so quote it`},
		"annotations":          {head + "metadata: {name: a, annotations: x}\n", "metadata.annotations is a text, not a mapping"},
		"number in a Secret":   {"apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {b: c, d: 1, e: 2}\n", `f:1: Secret a: the value of "d" in stringData is a number, so quote it`},
		"list in a Secret":     {"apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: [a]\n", "f:1: Secret a: data is a list, not a mapping"},
		"item":                 {"apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: A, metadata: {name: a}}, {kind: A}]\n", "f:1: the A has no apiVersion (item 2 of the list)"},
		"item is nothing":      {"apiVersion: v1\nkind: List\nitems: [null]\n", "f:1: item 1 of the list is nothing, not an object"},
		"item is a mapping":    {"apiVersion: v1\nkind: List\nitems: [[{}]]\n", "item 1 of the list is a list"},
		"directive":            {"%YAML 9.9\n---\n" + head, "f:1"},
		"not UTF-8":            {"a: \xff\n", "f:1: "},
		"anchor in itself":     {head + "metadata: {name: a}\nx: &x {y: *x}\n", "f:1: anchor 'x' value contains itself"},
		"key that is a list":   {"? [a]\n: b\n", "f:1: "},
		"document after a bad": {"a: [\n---\nkind: A\n", "f:3: the A has no apiVersion"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := objects.Decode("f", []byte(test.stream))
			if err == nil || !strings.Contains(err.Error(), test.want) || got != nil {
				t.Errorf("%v, error %v, want %q", got, err, test.want)
			}
		})
	}
}

// A secret that is written in the wrong place is not repeated in an error.
func TestErrorsKeepSecrets(t *testing.T) {
	for _, stream := range []string{
		"apiVersion: v1\nkind: Secret\nmetadata: {name: a, labels: {x: [hunter2]}}\n", "hunter2\n", "[hunter2]\n",
		"apiVersion: v1\nkind: Secret\nmetadata: hunter2\n", "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {x: {hunter2: 1}}\n",
	} {
		if _, err := objects.Decode("f", []byte(stream)); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", stream, err)
		}
	}
}

func TestDistinct(t *testing.T) {
	decode := func(file, stream string) []objects.Located {
		all, err := objects.Decode(file, []byte(stream))
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	a := decode("a", "apiVersion: apps/v1\nkind: A\nmetadata: {name: x}\n")
	b := decode("b", "apiVersion: v1\nkind: A\nmetadata: {name: x}\n---\napiVersion: apps/v1\nkind: A\nmetadata: {name: x, namespace: prod}\n")
	if err := objects.Distinct(append(a, b...)); err != nil {
		t.Error(err)
	}
	c := decode("c", "\n\napiVersion: apps/v1beta1\nkind: A\nmetadata: {name: x}\n")
	err := objects.Distinct(append(a, c...))
	if err == nil || err.Error() != "c:3: A.apps x is there twice, first at a:1: remove one of them" {
		t.Error(err)
	}
}

func TestMappings(t *testing.T) {
	got, err := objects.Mappings("v", []byte("a: 1\n---\n# nothing\n---\nb: {c: 2}\n---\n"))
	if diff := cmp.Diff([]map[string]any{{"a": int64(1)}, {"b": map[string]any{"c": int64(2)}}}, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
	got, err = objects.Mappings("v", []byte("a: 1\na: 2\n---\n- b\n"))
	if want := "v:2: key \"a\" already set in map\nv:4: the document is a list, not a mapping"; err == nil || err.Error() != want || got != nil {
		t.Errorf("%v, want %s", err, want)
	}
}
