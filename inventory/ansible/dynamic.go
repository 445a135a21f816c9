package ansible

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"gopkg.in/yaml.v3"

	"kubewright/spec/strict"
)

// metaKey holds the variables of all hosts in what a dynamic inventory prints.
const metaKey = "_meta"

// readProgram runs a dynamic inventory, and reads what it prints.
func (w *world) readProgram(path string, run func(string, ...string) ([]byte, error)) {
	ask := func(args ...string) *yaml.Node {
		name := fmt.Sprintf("%s %s", path, args[0])
		data, err := run(path, args...)
		if err != nil {
			w.refuse(strict.Origin{File: path}, "the dynamic inventory failed: "+err.Error(), "")
			return nil
		}
		root, fault := readJSON(name, data)
		if fault != nil {
			fault.Message = "the dynamic inventory does not print JSON: " + fault.Message
			w.faults = append(w.faults, *fault)
			return nil
		}
		if root.Kind != yaml.MappingNode {
			w.refuse(strict.Origin{File: name, Line: root.Line, Column: root.Column}, "the dynamic inventory prints no JSON object", "")
			return nil
		}
		return root
	}
	root := ask("--list")
	if root == nil {
		return
	}
	name := path + " --list"
	w.readList(name, root)
	if strict.Get(root, metaKey) != nil {
		return
	}
	for _, host := range w.order { // as Ansible does without _meta
		vars := ask("--host", host)
		if vars == nil {
			return
		}
		w.setAll(w.hosts[host].vars, path+" --host", vars, host)
	}
}

// readList reads what a dynamic inventory prints for --list.
func (w *world) readList(file string, root *yaml.Node) {
	for _, e := range w.entries(file, root) {
		if e.key.Value == metaKey {
			continue
		}
		o := strict.Origin{File: file, Line: e.key.Line, Column: e.key.Column}
		hosts, vars, children := strict.Get(e.value, sectionHosts), strict.Get(e.value, sectionVars), strict.Get(e.value, sectionChildren)
		if e.value.Kind == yaml.MappingNode && hosts == nil && vars == nil && children == nil && !off(e.value) { // a host of its own
			w.setAll(w.host(e.key.Value, w.group(groupUngrouped, o), o).vars, file, e.value, e.key.Value)
			continue
		}
		g := w.group(e.key.Value, o)
		o.Name = g.name
		switch {
		case e.value.Kind == yaml.SequenceNode:
			w.listed(file, e.value, func(name string, o strict.Origin) { w.host(name, g, o) })
			continue
		case e.value.Kind != yaml.MappingNode:
			w.refuse(o, "a group is an object with hosts, vars and children, or a list of hosts", "")
			continue
		}
		w.listed(file, hosts, func(name string, o strict.Origin) { w.host(name, g, o) })
		w.listed(file, children, func(name string, o strict.Origin) {
			w.group(name, o)
			w.child(g, name)
		})
		w.setAll(g.vars, file, vars, g.name)
	}
	for _, e := range w.entries(file, strict.Get(strict.Get(root, metaKey), "hostvars")) {
		o := strict.Origin{File: file, Line: e.key.Line, Column: e.key.Column}
		if h, ok := w.hosts[e.key.Value]; ok {
			w.setAll(h.vars, file, e.value, h.name)
		} else {
			w.warn(o, fmt.Sprintf("there are variables of %q, which is a host of no group", e.key.Value))
		}
	}
}

// listed reads a list of names.
func (w *world) listed(file string, list *yaml.Node, add func(name string, o strict.Origin)) {
	if list == nil || isNull(list) {
		return
	}
	at := func(n *yaml.Node) strict.Origin { return strict.Origin{File: file, Line: n.Line, Column: n.Column} }
	if list.Kind != yaml.SequenceNode {
		w.refuse(at(list), "expected a list of names", "")
		return
	}
	for _, item := range list.Content {
		name, ok := plain(item)
		switch {
		case !ok || name == "":
			w.refuse(at(item), "expected a name", "")
		case len(w.hosts) >= mostHosts:
			w.refuse(at(item), fmt.Sprintf("there are more than %d hosts", mostHosts), "")
			return
		default:
			add(name, at(item))
		}
	}
}

// readJSON reads a JSON document into nodes with their lines, so that it is looked at as YAML is.
func readJSON(file string, data []byte) (*yaml.Node, *strict.Fault) {
	r := &jsonReader{data: data, decoder: json.NewDecoder(bytes.NewReader(data))}
	r.decoder.UseNumber()
	root, err := r.value(0)
	if err == nil {
		if _, more := r.decoder.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("there is something after the document")
		}
	}
	if err != nil {
		line, column := r.place()
		f := strict.Origin{File: file, Line: line, Column: column}.Fault(jsonProblem(err), "")
		return nil, &f
	}
	return root, nil
}

func jsonProblem(err error) string {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "it ends too early"
	}
	return err.Error()
}

// jsonReader makes nodes of JSON.
type jsonReader struct {
	data    []byte
	decoder *json.Decoder
	counted int64 // offset up to which lines were counted
	line    int   // from 0
	start   int64 // offset of the line
}

// place is the line and column of the next token.
func (r *jsonReader) place() (line, column int) {
	begin := r.decoder.InputOffset()
	for begin < int64(len(r.data)) && strings.IndexByte(" \t\r\n:,", r.data[begin]) >= 0 {
		begin++
	}
	for ; r.counted < begin; r.counted++ {
		if r.data[r.counted] == '\n' {
			r.line++
			r.start = r.counted + 1
		}
	}
	return r.line + 1, int(begin-r.start) + 1
}

var errDeep = errors.New("the values are nested too deep")

func (r *jsonReader) value(depth int) (*yaml.Node, error) {
	if depth > deepest {
		return nil, errDeep
	}
	n := &yaml.Node{Kind: yaml.ScalarNode}
	n.Line, n.Column = r.place()
	token, err := r.decoder.Token()
	if err != nil {
		return nil, err
	}
	switch t := token.(type) {
	case string:
		n.Tag, n.Value = tagText, t
	case json.Number:
		n.Tag, n.Value = tagFloat, t.String()
		if _, err := t.Int64(); err == nil {
			n.Tag = tagInt
		}
	case bool:
		n.Tag, n.Value = tagBool, fmt.Sprint(t)
	case nil:
		n.Tag, n.Value = tagNull, "null"
	case json.Delim:
		n.Kind, n.Tag = yaml.SequenceNode, "!!seq"
		if t == '{' {
			n.Kind, n.Tag = yaml.MappingNode, "!!map"
		}
		for r.decoder.More() { // keys and values alike, in their turn
			item, err := r.value(depth + 1)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, item)
		}
		if _, err := r.decoder.Token(); err != nil {
			return nil, err
		}
	}
	return n, nil
}
