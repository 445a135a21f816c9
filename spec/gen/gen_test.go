package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kubewright/inventory"
	"kubewright/inventory/terraform"
	"kubewright/spec"
	"kubewright/spec/strict"
)

const root = "../.."

func TestReferenceIsUpToDate(t *testing.T) {
	files, err := generate(root)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s is out of date; run go generate ./spec (-want +got):\n%s", name, diff)
		}
	}
}

// Every key of the files, however deep, is in the schemas and on the page.
func TestNothingIsLeftOut(t *testing.T) {
	files, err := generate(root)
	if err != nil {
		t.Fatal(err)
	}
	page := string(files["docs/reference/cluster.md"])
	for name, typ := range map[string]reflect.Type{
		"docs/reference/cluster.schema.json":   reflect.TypeFor[spec.File](),
		"docs/reference/inventory.schema.json": reflect.TypeFor[inventory.File](),
		"docs/reference/terraform.schema.json": reflect.TypeFor[terraform.Contract](),
	} {
		var s struct {
			Defs map[string]struct{ Properties map[string]any } `json:"$defs"`
		}
		if err := json.Unmarshal(files[name], &s); err != nil {
			t.Fatalf("%s is not JSON: %v", name, err)
		}
		keys := 0
		walk(typ, func(owner reflect.Type, f strict.Field) {
			keys++
			if _, ok := s.Defs[publicName(owner)].Properties[f.Name]; !ok && owner != typ {
				t.Errorf("%s: $defs.%s lacks %s", name, publicName(owner), f.Name)
			}
			if !strings.Contains(page, "| `"+f.Name+"` |") {
				t.Errorf("the page lacks %s of %s", f.Name, owner)
			}
			if _, err := strict.ParseRule(owner.FieldByIndex(f.Index).Tag.Get("rule")); err != nil {
				t.Errorf("%s of %s: %v", f.Name, owner, err)
			}
		})
		if keys < 20 {
			t.Errorf("%s: only %d keys were looked at", name, keys)
		}
	}
}

func walk(t reflect.Type, visit func(reflect.Type, strict.Field)) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return
	}
	for _, f := range strict.Fields(t) {
		visit(t, f)
		walk(f.Type, visit)
	}
}

// Links on the page lead somewhere.
func TestLinks(t *testing.T) {
	files, err := generate(root)
	if err != nil {
		t.Fatal(err)
	}
	page := string(files["docs/reference/cluster.md"])
	anchors := map[string]bool{}
	for line := range strings.Lines(page) {
		if heading, ok := strings.CutPrefix(line, "### "); ok {
			anchors[anchorOf(strings.Trim(heading, "`\n"))] = true
		}
	}
	links := strings.Split(page, "](#")[1:]
	for _, link := range links {
		anchor, _, _ := strings.Cut(link, ")")
		if !anchors[anchor] {
			t.Errorf("there is no section #%s", anchor)
		}
	}
	if len(links) < 10 {
		t.Errorf("only %d links were looked at", len(links))
	}
}

func TestTypesWithoutCommentsAreRefused(t *testing.T) {
	type bare struct {
		Name string `yaml:"name"`
	}
	if _, err := schema(reflect.TypeFor[bare](), comments{}, "x"); err == nil || !strings.Contains(err.Error(), "no comment") {
		t.Errorf("error: %v", err)
	}
	docs := comments{"main.bare.Name": "The name of it."}
	if _, err := schema(reflect.TypeFor[bare](), docs, "x"); err == nil || !strings.Contains(err.Error(), "does not begin with its name") {
		t.Errorf("error: %v", err)
	}
}
