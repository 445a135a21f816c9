package strict_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"kubewright/spec/strict"
)

type leaf struct {
	Name string            `yaml:"name" rule:"required"`
	Size int               `yaml:"size" rule:"max=9"`
	Tags map[string]string `yaml:"tags"`
	List []string          `yaml:"list"`
	Deep struct {
		On bool `yaml:"on"`
	} `yaml:"deep"`
}

// A document that was put together is checked like a file, and its faults are about the places where
// its values come from.
func TestDecodeTree(t *testing.T) {
	at := func(line int, name string) strict.Origin {
		return strict.Origin{File: "hosts.ini", Line: line, Column: 3, Name: name}
	}
	tree := strict.NewTree(at(1, "node1"))
	tree.Set(tree.Root, "size", tree.Text("ten", at(2, "ansible_size")))
	tree.SetBelow(tree.Root, tree.Text("a\nb", at(3, "tags")), "tags", "x")
	tree.SetBelow(tree.Root, tree.Text("good", at(4, "tags")), "tags", "y")
	tree.Set(tree.Root, "unknown", tree.Text("v", at(5, "")))
	var got leaf
	doc, faults := strict.DecodeTree("made.yaml", tree, &got)
	want := `hosts.ini:1:3: node1.name: this key is required
hosts.ini:2:3: ansible_size: expected a whole number, found the text "ten"
hosts.ini:3:3: tags: line breaks are not allowed here; write it on one line
hosts.ini:5:3: unknown: unknown key; the top of the file can have deep, list, name, size, tags`
	if diff := cmp.Diff(want, faults.Err().Error()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if o, ok := doc.Origin(strict.At("tags", "y")); !ok || o != at(4, "tags") || o.String() != "hosts.ini:4:3" {
		t.Errorf("origin %+v, %v", o, ok)
	}
	if o, ok := doc.Origin(strict.At("list")); ok {
		t.Errorf("a value that is not there comes from %v", o)
	}
	if got.Tags["y"] != "good" {
		t.Errorf("%+v", got)
	}
}

// What a file says wins over the tree below it, through anchors and merges too.
func TestUnderlay(t *testing.T) {
	below := strict.NewTree(strict.Origin{File: "vars.yml", Line: 1, Column: 1})
	for i, v := range []struct {
		value string
		keys  []string
	}{{"below", []string{"name"}}, {"b1", []string{"tags", "one"}}, {"b2", []string{"tags", "two"}}, {"b3", []string{"tags", "three"}}} {
		below.SetBelow(below.Root, below.Text(v.value, strict.Origin{File: "vars.yml", Line: i + 2, Column: 1, Name: v.keys[len(v.keys)-1]}), v.keys...)
	}
	for _, tt := range []struct {
		name, file string
		want       leaf
		overrides  []string
	}{
		{"the file says nothing of it", "size: 3\n", leaf{Name: "below", Size: 3, Tags: map[string]string{"one": "b1", "two": "b2", "three": "b3"}}, nil},
		{"null says nothing", "name:\ntags:\n", leaf{Name: "below", Tags: map[string]string{"one": "b1", "two": "b2", "three": "b3"}}, nil},
		{"the file wins", "name: top\ntags: {one: b1, two: t2}\n", leaf{Name: "top", Tags: map[string]string{"one": "b1", "two": "t2", "three": "b3"}}, []string{"name vars.yml:2:1", "tags.two vars.yml:4:1"}},
		{"through a merge", "name: top\ntags:\n  <<: {one: m1}\n", leaf{Name: "top", Tags: map[string]string{"one": "m1", "two": "b2", "three": "b3"}}, []string{"name vars.yml:2:1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got leaf
			doc, overrides, faults := strict.Underlay("c.yaml", []byte(tt.file), below, &got)
			if faults != nil {
				t.Fatal(faults)
			}
			var lost []string
			for _, o := range overrides {
				lost = append(lost, o.Path.String()+" "+o.Origin.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.overrides, lost); diff != "" {
				t.Errorf("overrides (-want +got):\n%s", diff)
			}
			if o, ok := doc.Origin(strict.At("tags", "three")); !ok || o.String() != "vars.yml:5:1" {
				t.Errorf("what was taken from below comes from %v, %v", o, ok)
			}
		})
	}
}

// An anchor that stands elsewhere too is not changed by what is put below one of its aliases.
func TestUnderlayCopiesAnchors(t *testing.T) {
	below := strict.NewTree(strict.Origin{File: "vars.yml"})
	below.SetBelow(below.Root, below.Text("b", strict.Origin{File: "vars.yml"}), "second", "two")
	var got struct {
		First  map[string]string `yaml:"first"`
		Second map[string]string `yaml:"second"`
	}
	_, _, faults := strict.Underlay("c.yaml", []byte("first: &f {one: a}\nsecond: *f\n"), below, &got)
	if faults != nil || len(got.First) != 1 || len(got.Second) != 2 {
		t.Errorf("%+v, %v", got, faults)
	}
	if _, _, faults := strict.Underlay("c.yaml", []byte("first: [\n"), below, &got); len(faults) != 1 || faults[0].File != "c.yaml" {
		t.Errorf("%v", faults)
	}
}
