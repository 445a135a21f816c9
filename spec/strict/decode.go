package strict

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// largestDocument bounds the values a document may expand to through its aliases; a file written
// by hand, for a thousand hosts, stays far below it.
const largestDocument = 200_000

// Decode reads the YAML document in data into the struct that into points to, and returns every
// fault it finds. Keys are those of the yaml tags, or else of the json tags, rules those of the
// rule tags (see Rule). Text is decoded through encoding.TextUnmarshaler where a type has it, a
// mapping into the keys of such a type if it has any; any other value is decoded into strings, integers, booleans, slices, maps with string keys, structs,
// pointers to these, and any (map[string]any, []any, string, int64, float64, bool, nil).
//
// The Document is never nil, and what was understood is in the struct even if there are faults,
// so that further checks can add theirs; see Document.Broken. Defaults are not filled in.
func Decode(file string, data []byte, into any) (*Document, Faults) {
	root, faults := Parse(file, data)
	if faults != nil {
		return &Document{file: file, places: map[string]place{}, broken: map[string]bool{"": true}}, faults
	}
	return DecodeTree(file, Tree{Root: root}, into)
}

// decoder is the state of one Decode.
type decoder struct {
	doc       *Document
	root      reflect.Type
	origins   map[*yaml.Node]Origin
	faults    Faults
	budget    int
	expanding map[*yaml.Node]bool // anchors that are being decoded, to refuse cycles
}

// at is where a node stands, in the document or in the file that it was taken from.
func (d *decoder) at(n *yaml.Node) position {
	if o, ok := d.origins[n]; ok {
		return position{line: o.Line, column: o.Column, file: o.File, name: o.shownName()}
	}
	return position{line: n.Line, column: n.Column}
}

// refuse records a fault of the node and marks the path as not understood.
func (d *decoder) refuse(n *yaml.Node, path Path, message, suggestion string) {
	d.doc.broken[path.String()] = true
	f := Fault{File: d.doc.file, Path: path.shown(), Message: message, Suggestion: suggestion}
	d.faults = append(d.faults, d.at(n).mark(f, ""))
}

// spend takes from the budget of values; false says, and once records, that it is exhausted.
func (d *decoder) spend(values int, n *yaml.Node, path Path) bool {
	if d.budget < 0 {
		return false
	}
	if d.budget -= values; d.budget < 0 {
		d.refuse(n, path, "the document is too large; are aliases multiplying it?", "")
		return false
	}
	return true
}

// enter follows an alias to the node it stands for, and refuses one that leads back to a node
// which is being decoded already. The caller calls leave when it is done with the node.
func (d *decoder) enter(n *yaml.Node, path Path) (target *yaml.Node, leave func(), ok bool) {
	if n.Kind == yaml.AliasNode {
		if d.expanding[n.Alias] {
			d.refuse(n, path, "the alias *"+n.Value+" stands within its own anchor", "")
			return nil, nil, false
		}
		n = n.Alias
	}
	if n.Anchor == "" {
		return n, func() {}, true
	}
	d.expanding[n] = true
	return n, func() { delete(d.expanding, n) }, true
}

// value decodes a node of any kind.
func (d *decoder) value(n *yaml.Node, v reflect.Value, path Path, rule Rule) {
	if !d.spend(1, n, path) {
		return
	}
	n, leave, ok := d.enter(n, path)
	if !ok {
		return
	}
	defer leave()
	if isNull(n) {
		d.null(n, path, rule)
		return
	}
	if text, ok := textTarget(v); ok && !(n.Kind == yaml.MappingNode && EitherWay(v.Type())) {
		d.text(n, text, path, rule)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), path, rule)
	case reflect.Struct:
		d.structure(n, v, path)
	case reflect.Map:
		d.mapping(n, v, path, rule)
	case reflect.Slice:
		d.list(n, v, path, rule)
	case reflect.Interface:
		if decoded, ok := d.free(n, path); ok {
			v.Set(reflect.ValueOf(decoded))
		}
	default:
		d.scalar(n, v, path, rule)
	}
}

func textTarget(v reflect.Value) (encoding.TextUnmarshaler, bool) {
	if !v.CanAddr() {
		return nil, false
	}
	target, ok := v.Addr().Interface().(encoding.TextUnmarshaler)
	return target, ok
}

// EitherWay reports whether a value of the type can be written as text as well as as a mapping: it
// is a struct that has keys, and decodes text itself.
func EitherWay(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && len(Fields(t)) > 0 &&
		reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// null leaves the value unset, as if its key were missing.
func (d *decoder) null(n *yaml.Node, path Path, rule Rule) {
	if rule.Required {
		d.refuse(n, path, "a value is required", "")
	}
}

// structure decodes a mapping into the fields of a struct.
func (d *decoder) structure(n *yaml.Node, v reflect.Value, path Path) {
	entries, ok := d.entries(n, path)
	if !ok {
		return
	}
	fields := Fields(v.Type())
	known := make(map[string]Field, len(fields))
	for _, f := range fields {
		known[f.Name] = f
	}
	given := map[string]bool{}
	for _, e := range entries {
		f, ok := known[e.name]
		if !ok {
			d.unknownKey(e, path, fields)
			continue
		}
		given[f.Name] = true
		d.value(e.value, v.FieldByIndex(f.Index), e.path, f.Rule)
	}
	for _, f := range fields {
		below := path.Key(f.Name)
		switch {
		case !f.Rule.Required:
		case !given[f.Name]:
			d.doc.broken[below.String()] = true
			d.faults = append(d.faults, d.doc.Fault(below, "this key is required"+choice(f.Rule.Enum), ""))
		case !d.doc.BrokenBelow(below) && isEmpty(v.FieldByIndex(f.Index)):
			d.doc.broken[below.String()] = true
			d.faults = append(d.faults, d.doc.Fault(below, "must not be empty", ""))
		}
	}
}

func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Map, reflect.String:
		return v.Len() == 0
	default:
		return false
	}
}

// unknownKey refuses a key that the struct does not have: it names the key that was likely
// meant, the place where the key belongs, or else the keys there are.
func (d *decoder) unknownKey(e entry, path Path, fields []Field) {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.Name
	}
	if near := Nearest(e.name, names); near != "" {
		d.refuse(e.key, e.path, "unknown key", near)
		return
	}
	if home := d.home(e.name); home != "" {
		d.refuse(e.key, e.path, "unknown key here", home)
		return
	}
	slices.Sort(names)
	where := "the top of the file"
	if p := path.shown(); p != "" {
		where = p
	}
	d.refuse(e.key, e.path, fmt.Sprintf("unknown key; %s can have %s", where, strings.Join(names, ", ")), "")
}

// home finds the one place where a key of that exact name belongs; "" when there is none or more
// than one.
func (d *decoder) home(name string) string {
	var homes []string
	var visit func(t reflect.Type, path Path)
	visit = func(t reflect.Type, path Path) {
		for _, f := range Fields(t) {
			below := path.Key(f.Name)
			if f.Name == name {
				homes = append(homes, below.String())
			}
			if f.Type.Kind() == reflect.Struct {
				visit(f.Type, below)
			}
		}
	}
	visit(d.root, Path{})
	if len(homes) != 1 {
		return ""
	}
	return homes[0]
}

// list decodes a sequence into a slice.
func (d *decoder) list(n *yaml.Node, v reflect.Value, path Path, rule Rule) {
	if n.Kind != yaml.SequenceNode {
		message, suggestion := "expected a list, found "+describe(n, Rule{Secret: true}), ""
		switch {
		case n.Kind != yaml.ScalarNode:
		case slices.Contains(rule.Enum, n.Value): // what the schema lists is no secret
			suggestion = "[" + n.Value + "]"
		case isScalar(v.Type().Elem()):
			message += "; put the items between [ and ]"
		}
		d.refuse(n, path, message, suggestion)
		return
	}
	items := rule.forItems()
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		below := path.Index(i)
		d.doc.places[below.String()] = place{key: d.at(item), value: d.at(item)}
		if isNull(item) {
			d.refuse(item, below, "this item is empty; remove it or write a value", "")
			continue
		}
		d.value(item, v.Index(i), below, items)
	}
}

// isScalar reports whether a value of the type is written without keys or items of its own.
func isScalar(t reflect.Type) bool {
	_, text := textTarget(reflect.New(t).Elem())
	return text || t.Kind() == reflect.String || t.Kind() == reflect.Int || t.Kind() == reflect.Bool
}

// forItems is the rule of the items of a list or mapping that has the rule r.
func (r Rule) forItems() Rule {
	r.Required, r.Default = false, ""
	return r
}

// free decodes a value of no declared type.
func (d *decoder) free(n *yaml.Node, path Path) (any, bool) {
	switch n.Kind {
	case yaml.MappingNode:
		decoded := map[string]any{}
		d.mapping(n, reflect.ValueOf(&decoded).Elem(), path, Rule{})
		return decoded, true
	case yaml.SequenceNode:
		return d.freeList(n, path), true
	default:
		return d.freeScalar(n, path)
	}
}

func (d *decoder) freeList(n *yaml.Node, path Path) []any {
	decoded := make([]any, len(n.Content))
	for i, item := range n.Content {
		below := path.Index(i)
		d.doc.places[below.String()] = place{key: d.at(item), value: d.at(item)}
		d.value(item, reflect.ValueOf(&decoded[i]).Elem(), below, Rule{})
	}
	return decoded
}
