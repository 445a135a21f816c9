package addons

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// A manifest that can be read is objects that are whole, and the same objects when they were
// written and read again: no value changes on the way.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {k: \"1\"}\n",
		"---\n# nothing\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: a, creationTimestamp: null}\nspec: {priority: 9007199254740993, f: 1.5, t: 1e3, o: 0o17, y: yes}\nstatus: {phase: x}\n---\n",
		"apiVersion: v1\nkind: A\nmetadata: {name: a}\n---\napiVersion: v1\nkind: A\nmetadata: {name: a}\n",
		"apiVersion: v1\r\nkind: A\r\nmetadata: {name: a}\r\n---\r\napiVersion: v1\r\nkind: B\r\nmetadata: {name: a}\r\nx: |\r\n  ---\r\n",
		"apiVersion: v1\nkind: List\nitems: []\n", "kind: A\nmetadata: {name: a}\n", "apiVersion: v1\nkind: A\nmetadata: {name: a, name: b}\n", "", "---", "null", "[]", "\xff",
		"apiVersion: v1\nkind: A\nmetadata: {name: 1}\n", "apiVersion: v1\nkind: A\nmetadata: {name: a}\nx: &x {y: *x}\n", "{\"apiVersion\": \"v1\", \"kind\": \"A\", \"metadata\": {\"name\": \"a\"}}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		objects, err := Decode(stream)
		if err != nil {
			if objects != nil {
				t.Errorf("refused, with %d objects: %v", len(objects), err)
			}
			return
		}
		var written bytes.Buffer
		seen := map[string]bool{}
		for _, o := range objects {
			id := o.GroupVersionKind().GroupKind().String() + " " + o.GetNamespace() + "/" + o.GetName()
			if o.GetKind() == "" || o.GetName() == "" || seen[id] {
				t.Fatalf("%q is no object, or is there twice", id)
			}
			seen[id] = true
			if _, ok := o.Object["status"]; ok {
				t.Errorf("%s has what only a server sets", id)
			}
			data, err := yaml.Marshal(o.Object)
			if err != nil {
				t.Fatal(err)
			}
			written.WriteString("---\n" + string(data))
		}
		again, err := Decode(written.Bytes())
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, written.Bytes())
		}
		if diff := cmp.Diff(objects, again); diff != "" {
			t.Errorf("what was written is read as something else (-written +read):\n%s", diff)
		}
	})
}
