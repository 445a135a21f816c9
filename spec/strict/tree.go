package strict

import (
	"fmt"
	"maps"
	"reflect"
	"strconv"
	"strings"
	"unicode"

	"gopkg.in/yaml.v3"
)

// Origin is where a value was taken from.
type Origin struct {
	// File is the path of the file.
	File string
	// Line and Column start at 1; 0 means that no place in the file can be named.
	Line, Column int
	// Name is what the value is called there, for messages; "" calls it by its path in the document.
	Name string
}

// String renders the place as file:line:column, or as file: name where there is no line.
func (o Origin) String() string {
	switch {
	case o.Line == 0 && o.Name != "":
		return o.File + ": " + o.Name
	case o.Line == 0:
		return o.File
	}
	return fmt.Sprintf("%s:%d:%d", o.File, o.Line, max(o.Column, 1))
}

// Fault returns a fault of the value.
func (o Origin) Fault(message, suggestion string) Fault {
	return Fault{File: o.File, Line: o.Line, Column: o.Column, Path: o.shownName(), Message: visible(message), Suggestion: visible(suggestion)}
}

// shownName is the name on one line, unlike a message.
func (o Origin) shownName() string { return strings.ReplaceAll(visible(o.Name), "\n", `\n`) }

// visible shows what does not print by its escape: names come from files that nobody has checked.
func visible(text string) string {
	if !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' }) {
		return text
	}
	quoted := strconv.Quote(text)
	return quoted[1 : len(quoted)-1]
}

// Tree is a document that was put together from what stands in files of another form, so that it
// is decoded, checked and reported on like a file of ours.
type Tree struct {
	// Root is the mapping at the top; nil is a document that says nothing.
	Root *yaml.Node
	// Origins are where nodes were taken from. A node that is not in it stands in the file that
	// the document is decoded under, at its own line and column. Where the map is nil, no
	// origins are recorded.
	Origins map[*yaml.Node]Origin
}

// NewTree returns an empty mapping.
func NewTree(o Origin) Tree {
	t := Tree{Origins: map[*yaml.Node]Origin{}}
	t.Root = t.Mapping(o)
	return t
}

// Text returns a node of a text.
func (t Tree) Text(text string, o Origin) *yaml.Node {
	return t.Add(&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}, o)
}

// Mapping returns a node of a mapping without keys.
func (t Tree) Mapping(o Origin) *yaml.Node {
	return t.Add(&yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}, o)
}

// List returns a node of a list.
func (t Tree) List(o Origin, items ...*yaml.Node) *yaml.Node {
	return t.Add(&yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Content: items}, o)
}

// Add records where a node, and what it holds, was taken from, and returns it.
func (t Tree) Add(n *yaml.Node, o Origin) *yaml.Node {
	n.Line, n.Column = o.Line, o.Column
	if t.Origins != nil {
		t.Origins[n] = o
	}
	return n
}

// Set gives a mapping a key, or the key another value.
func (t Tree) Set(mapping *yaml.Node, key string, value *yaml.Node) {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			mapping.Content[i+1] = value
			return
		}
	}
	mapping.Content = append(mapping.Content, t.Text(key, t.Origins[value]), value)
}

// SetBelow sets the value of the last of the keys, which are nested in each other.
func (t Tree) SetBelow(mapping, value *yaml.Node, keys ...string) {
	for _, key := range keys[:len(keys)-1] {
		next := Get(mapping, key)
		if next == nil || isNull(next) {
			next = t.Mapping(t.Origins[value])
			t.Set(mapping, key, next)
		}
		mapping = next
	}
	t.Set(mapping, keys[len(keys)-1], value)
}

// Get returns the value of a key that a mapping has itself, not through a merge (<<); nil is none.
func Get(mapping *yaml.Node, key string) *yaml.Node {
	for i := 0; mapping != nil && mapping.Kind == yaml.MappingNode && i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i+1]
		}
	}
	return nil
}

// DecodeTree is Decode for a document that was put together. file is the name that faults give it
// where a node has no origin, and relative paths in it are relative to its folder.
func DecodeTree(file string, t Tree, into any) (*Document, Faults) {
	doc := &Document{file: file, places: map[string]place{}, broken: map[string]bool{}}
	v := reflect.ValueOf(into).Elem()
	d := &decoder{doc: doc, root: v.Type(), origins: t.Origins, budget: largestDocument, expanding: map[*yaml.Node]bool{}}
	doc.places[""] = place{key: d.at(t.Root), value: d.at(t.Root)}
	d.value(t.Root, v, Path{}, Rule{})
	return doc, d.faults
}

// Override is a value of a tree that gave way to that of a file.
type Override struct {
	// Path is the place of both in the document.
	Path Path
	// Origin is where the value that gave way was taken from.
	Origin Origin
}

// Underlay decodes a file as Decode does, and takes from the tree what the file does not say. It
// also returns the values of both that differ, of which the file's is taken.
func Underlay(file string, data []byte, below Tree, into any) (*Document, []Override, Faults) {
	root, faults := Parse(file, data)
	if faults != nil || below.Root == nil || root.Kind != yaml.MappingNode {
		doc, faults := Decode(file, data, into)
		return doc, nil, faults
	}
	// What the file says through anchors and merges, only the decoder knows.
	probe := reflect.New(reflect.TypeOf(into).Elem()).Interface()
	doc, _ := Decode(file, data, probe)
	u := underlay{Tree: Tree{Origins: maps.Clone(below.Origins)}, doc: doc}
	u.fill(root, below.Root, Path{})
	doc, faults = DecodeTree(file, Tree{Root: root, Origins: u.Origins}, into)
	return doc, u.overrides, faults
}

// underlay is the state of one Underlay.
type underlay struct {
	Tree
	doc       *Document
	overrides []Override
}

// fill gives a mapping of the file the keys that it does not have.
func (u *underlay) fill(top, below *yaml.Node, path Path) {
	for i := 0; i+1 < len(below.Content); i += 2 {
		key, value := below.Content[i], below.Content[i+1]
		at := path.Key(key.Value)
		own := Get(top, key.Value)
		switch {
		case own == nil && u.doc.Has(at): // through a merge, which is taken whole
		case own == nil:
			top.Content = append(top.Content, key, value)
		case isNull(own): // as if the key were missing
			u.Set(top, key.Value, value)
		case u.doc.Broken(at): // a fault, which is told
		case own.Kind == yaml.AliasNode && own.Alias.Kind == yaml.MappingNode:
			// A copy, for other places that have the anchor are not to change.
			copied := &yaml.Node{Kind: yaml.MappingNode, Tag: own.Alias.Tag, Content: append([]*yaml.Node{}, own.Alias.Content...), Line: own.Line, Column: own.Column}
			u.Set(top, key.Value, copied)
			u.fill(copied, value, at)
		case own.Kind == yaml.MappingNode && value.Kind == yaml.MappingNode:
			u.fill(own, value, at)
		case !same(own, value):
			u.overrides = append(u.overrides, Override{Path: at, Origin: u.Origins[value]})
		}
	}
}

// same reports whether two values say the same.
func same(a, b *yaml.Node) bool {
	var x, y any
	return a.Decode(&x) == nil && b.Decode(&y) == nil && reflect.DeepEqual(x, y)
}

// Origin returns where the value at the path stands, and whether the document says anything there.
func (d *Document) Origin(at Path) (o Origin, ok bool) {
	if d.elsewhere != nil {
		return Origin{File: d.file, Name: d.own(at).shown()}, d.Has(at)
	}
	p, ok := d.places[at.String()]
	if !ok {
		return Origin{}, false
	}
	o = Origin{File: p.value.file, Line: p.value.line, Column: p.value.column, Name: p.value.name}
	if o.File == "" {
		o.File = d.file
	}
	return o, true
}

// mark gives a fault the position, whose value it is about, or lacks what stands below it.
func (p position) mark(f Fault, missing string) Fault {
	f.Line, f.Column = p.line, p.column
	if p.file != "" {
		f.File = p.file
	}
	if p.name != "" {
		f.Path = visible(strings.TrimPrefix(p.name+missing, "."))
	}
	return f
}
