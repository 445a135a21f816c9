// Package csv reads inventories that are tables: a line a host, under a heading that names its keys.
package csv

import (
	"bytes"
	"encoding"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"path"
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"kubewright/inventory"
	"kubewright/spec/strict"
)

// Format reads tables of comma-separated values (RFC 4180); a heading without commas, but with
// semicolons or tabs, says that these separate. Lines that begin with # are comments.
type Format struct{}

// Name implements inventory.Format.
func (Format) Name() string { return "CSV" }

// Recognizes implements inventory.Format.
func (Format) Recognizes(c inventory.Candidate) bool {
	return !c.Folder && strings.EqualFold(path.Ext(c.Path), ".csv")
}

// column is a key of a host, such as name, ssh.port or labels.disk.
type column struct {
	keys []string
	kind reflect.Kind // String, Int, Bool, Slice or Map
}

// Columns lists the columns there can be, those of one label or annotation as labels.KEY.
func Columns() []string {
	var names []string
	for _, c := range columns(reflect.TypeFor[inventory.HostSpec](), nil) {
		name := strings.Join(c.keys, ".")
		switch {
		case c.kind == reflect.Map && c.keys[0] == "annotations": // their values hold anything
			names = append(names, name+".KEY")
		case c.kind == reflect.Map:
			names = append(names, name, name+".KEY")
		default:
			names = append(names, name)
		}
	}
	return names
}

// columns lists the keys of a type that hold text, a number, a boolean, or a list or mapping of text.
func columns(t reflect.Type, above []string) []column {
	var all []column
	for _, f := range strict.Fields(t) {
		keys := append(slices.Clone(above), f.Name)
		kind := f.Type
		if kind.Kind() == reflect.Pointer {
			kind = kind.Elem()
		}
		switch {
		case reflect.PointerTo(kind).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
			all = append(all, column{keys, reflect.String})
		case kind.Kind() == reflect.Struct:
			all = append(all, columns(kind, keys)...)
		default:
			all = append(all, column{keys, kind.Kind()})
		}
	}
	return all
}

// reader is the state of one table.
type reader struct {
	file    string
	csv     *csv.Reader
	tree    strict.Tree
	heading []column
	names   []string // of the heading
	hosts   *yaml.Node
	faults  strict.Faults
}

// Load implements inventory.Format.
func (Format) Load(file string, files inventory.Files) (*inventory.Import, strict.Faults) {
	data, err := files.Read(file)
	if err != nil {
		return &inventory.Import{}, strict.Faults{{File: file, Message: "cannot be read: " + err.Error()}}
	}
	return Read(file, data)
}

// Read reads a table; file is its name in faults.
func Read(file string, data []byte) (*inventory.Import, strict.Faults) {
	data = bytes.TrimPrefix(data, []byte("\uFEFF"))
	o := strict.Origin{File: file, Line: 1, Column: 1}
	r := &reader{file: file, csv: csv.NewReader(bytes.NewReader(data)), tree: strict.NewTree(o)}
	r.csv.Comment, r.csv.Comma = '#', separator(data)
	r.csv.FieldsPerRecord = -1 // said here, with the column
	r.csv.TrimLeadingSpace = r.csv.Comma != '\t'
	r.tree.Set(r.tree.Root, "apiVersion", r.tree.Text(inventory.APIVersion, o))
	r.tree.Set(r.tree.Root, "kind", r.tree.Text(inventory.Kind, o))
	r.hosts = r.tree.List(o)
	r.tree.Set(r.tree.Root, "hosts", r.hosts)
	for line := 0; ; line++ {
		record, err := r.csv.Read()
		if errors.Is(err, io.EOF) {
			if line == 0 {
				r.refuse(o, "the table is empty; its first line names the columns, such as name,address,roles", "")
			}
			break
		}
		if err != nil {
			r.broken(err)
			break
		}
		if line == 0 {
			r.readHeading(record)
			continue
		}
		r.row(record)
	}
	return &inventory.Import{Name: file, Hosts: r.tree, Cluster: strict.NewTree(o)}, r.faults
}

// separator is what separates the names in the first line that is no comment.
func separator(data []byte) rune {
	for line := range strings.Lines(string(data)) {
		if strings.TrimSpace(line) == "" || line[0] == '#' {
			continue
		}
		for _, r := range []rune{',', ';', '\t'} {
			if strings.ContainsRune(line, r) {
				return r
			}
		}
		break
	}
	return ','
}

func (r *reader) refuse(o strict.Origin, message, suggestion string) {
	r.faults = append(r.faults, o.Fault(message, suggestion))
}

// broken says why a line is not of a table.
func (r *reader) broken(err error) {
	var parse *csv.ParseError
	if !errors.As(err, &parse) {
		r.refuse(strict.Origin{File: r.file}, err.Error(), "")
		return
	}
	message := "this is no line of a table: " + parse.Err.Error()
	if errors.Is(parse.Err, csv.ErrBareQuote) || errors.Is(parse.Err, csv.ErrQuote) {
		message = "a value with a quote in it is written between quotes, and the quote twice"
	}
	r.refuse(strict.Origin{File: r.file, Line: parse.Line, Column: parse.Column}, message, "")
}

// origin is where the i-th value of the line that was read last stands.
func (r *reader) origin(i int, name string) strict.Origin {
	line, column := r.csv.FieldPos(i)
	return strict.Origin{File: r.file, Line: line, Column: column, Name: name}
}

func (r *reader) readHeading(names []string) {
	all := Columns()
	for i, name := range names {
		name = strings.TrimSpace(name)
		o := r.origin(i, name)
		c, ok := find(name)
		switch {
		case !ok:
			near := strict.Nearest(name, all)
			message := "there is no such column"
			if near == "" {
				message += "; there is " + strings.Join(all, ", ")
			}
			r.refuse(o, message, near)
		case slices.Contains(r.names, name):
			r.refuse(o, "the column stands there already", "")
			c = column{} // its values are not looked at
		}
		r.heading = append(r.heading, c)
		r.names = append(r.names, name)
	}
}

// find returns the column of a name.
func find(name string) (column, bool) {
	for _, c := range columns(reflect.TypeFor[inventory.HostSpec](), nil) {
		known := strings.Join(c.keys, ".")
		switch key, below := strings.CutPrefix(name, known+"."); {
		case c.kind == reflect.Map && below && key != "":
			return column{append(slices.Clone(c.keys), key), reflect.String}, true
		case name == known && (c.kind != reflect.Map || name != "annotations"):
			return c, true
		}
	}
	return column{}, false
}

// row makes a host of a line.
func (r *reader) row(values []string) {
	if len(r.faults) > 0 && len(r.hosts.Content) == 0 && len(r.heading) == 0 {
		return
	}
	start := r.origin(0, "")
	if len(values) != len(r.heading) {
		r.refuse(start, fmt.Sprintf("the line has %d values, the heading %d; a value that holds the separator needs quotes", len(values), len(r.heading)), "")
		return
	}
	host := r.tree.Mapping(start)
	for i, text := range values {
		c := r.heading[i]
		if strings.TrimSpace(text) == "" || c.keys == nil {
			continue
		}
		o := r.origin(i, r.names[i])
		r.put(host, c, r.value(c, text, o), o)
	}
	if name := strict.Get(host, "name"); name != nil {
		o := r.tree.Origins[host]
		o.Name = strict.WithoutPassword(name.Value)
		r.tree.Add(host, o)
	}
	r.declare(strict.Get(host, "groups"))
	r.hosts.Content = append(r.hosts.Content, host)
}

// put gives a host the value of a column; nil is one that was refused. What a column of several
// labels says, and one of a single label, adds up, and no key is said twice.
func (r *reader) put(host *yaml.Node, c column, value *yaml.Node, o strict.Origin) {
	switch {
	case value == nil:
	case c.kind == reflect.Map:
		for i := 0; i+1 < len(value.Content); i += 2 {
			one := column{append(slices.Clone(c.keys), value.Content[i].Value), reflect.String}
			r.put(host, one, value.Content[i+1], o)
		}
	default:
		above := host
		for _, key := range c.keys[:len(c.keys)-1] {
			above = strict.Get(above, key)
		}
		last := c.keys[len(c.keys)-1]
		if strict.Get(above, last) != nil {
			r.refuse(o, last+" stands there already", "")
			return
		}
		r.tree.SetBelow(host, value, c.keys...)
	}
}

// declare adds the groups of a host, which have no settings of their own in a table.
func (r *reader) declare(groups *yaml.Node) {
	if groups == nil {
		return
	}
	for _, g := range groups.Content {
		if strict.Get(strict.Get(r.tree.Root, "groups"), g.Value) == nil {
			r.tree.SetBelow(r.tree.Root, r.tree.Mapping(r.tree.Origins[g]), "groups", g.Value)
		}
	}
}

// value reads a value of a column; nil is one that was refused.
func (r *reader) value(c column, text string, o strict.Origin) *yaml.Node {
	trimmed := strings.TrimSpace(text)
	switch c.kind {
	case reflect.Int:
		return r.tree.Add(typed(trimmed, "!!int", strings.Trim(trimmed, "0123456789") == ""), o)
	case reflect.Bool:
		lower := strings.ToLower(trimmed)
		return r.tree.Add(typed(lower, "!!bool", lower == "true" || lower == "false"), o)
	case reflect.Slice:
		list := r.tree.List(o)
		for _, item := range items(text) {
			list.Content = append(list.Content, r.tree.Text(item, o))
		}
		return list
	case reflect.Map:
		mapping := r.tree.Mapping(o)
		for _, item := range items(text) {
			key, value, ok := strings.Cut(item, "=")
			if !ok {
				r.refuse(o, fmt.Sprintf("%q has no =; labels are written as key=value, with a blank or ; between two of them", item), "")
				return nil
			}
			// Not set: what stands there twice is refused by put.
			mapping.Content = append(mapping.Content, r.tree.Text(key, o), r.tree.Text(value, o))
		}
		return mapping
	default:
		return r.tree.Text(trimmed, o)
	}
}

// typed is a number or a boolean, or the text that is written instead of one.
func typed(text, tag string, good bool) *yaml.Node {
	if !good {
		tag = "!!str"
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: text}
}

// items takes the list in a value apart.
func items(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" ,;|\t\n", r) })
}
