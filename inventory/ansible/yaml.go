package ansible

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"kubewright/spec/strict"
)

// The tags of Ansible in YAML.
const (
	tagVault  = "!vault"
	tagUnsafe = "!unsafe"
)

// pair is a key of a mapping with its value.
type pair struct{ key, value *yaml.Node }

// entries lists the keys of a mapping, those that are merged (<<) among them; of two equal keys the
// last one wins, as with Ansible. It is nil for what is no mapping.
func (w *world) entries(file string, n *yaml.Node) []pair {
	n = target(n)
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	if w.budget -= len(n.Content) + 1; w.budget < 0 {
		if w.budget > -largestInventory {
			w.budget = -2 * largestInventory
			w.refuse(strict.Origin{File: file, Line: n.Line, Column: n.Column}, "the inventory is too large; are aliases multiplying it?", "")
		}
		return nil
	}
	var pairs, merged []pair
	at := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := target(n.Content[i]), target(n.Content[i+1])
		switch {
		case key.ShortTag() == "!!merge" && value.Kind == yaml.SequenceNode:
			for _, item := range value.Content {
				merged = append(merged, w.entries(file, item)...)
			}
			continue
		case key.ShortTag() == "!!merge":
			merged = append(merged, w.entries(file, value)...)
			continue
		case key.Kind != yaml.ScalarNode:
			o := strict.Origin{File: file, Line: n.Content[i].Line, Column: n.Content[i].Column}
			w.refuse(o, "a key must be text; a template {{ ... }} needs quotes", "")
			continue
		}
		if first, twice := at[key.Value]; twice {
			w.warn(strict.Origin{File: file, Line: key.Line, Column: key.Column, Name: key.Value},
				fmt.Sprintf("stands here a second time; line %d is not heeded", pairs[first].key.Line))
			pairs[first] = pair{key, value}
			continue
		}
		at[key.Value] = len(pairs)
		pairs = append(pairs, pair{key, value})
	}
	for _, m := range merged {
		if _, own := at[m.key.Value]; !own {
			at[m.key.Value] = len(pairs)
			pairs = append(pairs, m)
		}
	}
	return pairs
}

// target is the node that an alias stands for.
func target(n *yaml.Node) *yaml.Node {
	if n != nil && n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == tagNull }

// readYAML reads an inventory in Ansible's YAML form.
func (w *world) readYAML(file string, data []byte) {
	root, faults := strict.Parse(file, data)
	if faults != nil {
		w.faults = append(w.faults, faults...)
		return
	}
	w.yamlGroups(file, root, nil, 0)
}

// yamlGroups reads a mapping of groups, which are those below parent if there is one.
func (w *world) yamlGroups(file string, n *yaml.Node, parent *group, depth int) {
	if depth > deepest {
		w.refuse(strict.Origin{File: file, Line: n.Line, Column: n.Column}, "groups are nested too deep", "")
		return
	}
	for _, e := range w.entries(file, n) {
		o := strict.Origin{File: file, Line: e.key.Line, Column: e.key.Column}
		g := w.group(e.key.Value, o)
		if parent != nil {
			w.child(parent, g.name)
		}
		w.yamlGroup(file, e.value, g, depth)
	}
}

// yamlGroup reads what stands below the name of a group.
func (w *world) yamlGroup(file string, n *yaml.Node, g *group, depth int) {
	if isNull(n) {
		return
	}
	at := strict.Origin{File: file, Line: n.Line, Column: n.Column, Name: g.name}
	if n.Kind != yaml.MappingNode {
		w.refuse(at, "a group is a mapping with hosts, vars and children", "")
		return
	}
	sections := []string{sectionHosts, sectionVars, sectionChildren}
	for _, e := range w.entries(file, n) {
		o := strict.Origin{File: file, Line: e.key.Line, Column: e.key.Column, Name: g.name + "." + e.key.Value}
		known := e.key.Value == sectionHosts || e.key.Value == sectionVars || e.key.Value == sectionChildren
		switch {
		case !known:
			message := "a group has hosts, vars and children; Ansible skips any other key"
			if near := strict.Nearest(e.key.Value, sections); near != "" {
				w.refuse(o, message, near)
				continue
			}
			w.warn(o, message)
		case isNull(e.value):
		case e.key.Value == sectionHosts && e.value.Kind == yaml.ScalarNode: // one host, without variables
			w.yamlHost(file, pair{e.value, scalar(tagNull, "", strict.Origin{})}, g)
		case e.value.Kind != yaml.MappingNode:
			w.refuse(o, "expected a mapping: each name with a colon after it, not with a - before it", "")
		case e.key.Value == sectionVars:
			w.setAll(g.vars, file, e.value, g.name)
		case e.key.Value == sectionChildren:
			w.yamlGroups(file, e.value, g, depth+1)
		default:
			for _, h := range w.entries(file, e.value) {
				w.yamlHost(file, h, g)
			}
		}
	}
}

// yamlHost reads a host, or a range of them, with its variables.
func (w *world) yamlHost(file string, e pair, g *group) {
	o := strict.Origin{File: file, Line: e.key.Line, Column: e.key.Column}
	names, port, ok := w.expand(e.key.Value, o)
	if !ok {
		return
	}
	if !isNull(e.value) && e.value.Kind != yaml.MappingNode {
		o.Name = e.key.Value
		w.refuse(o, "expected the variables of the host as a mapping", "")
		return
	}
	for _, name := range names {
		h := w.host(name, g, o)
		if port != "" {
			h.vars.set(variable{"ansible_port", name, file, literal(port, o)})
		}
		w.setAll(h.vars, file, e.value, name)
	}
}

// setAll sets the variables of a mapping.
func (w *world) setAll(vars variables, file string, n *yaml.Node, scope string) {
	for _, e := range w.entries(file, n) {
		vars.set(variable{e.key.Value, scope, file, e.value})
	}
}

// plain returns a scalar as it was written; ok is false for anything else.
func plain(n *yaml.Node) (text string, ok bool) {
	n = target(n)
	if n.Kind != yaml.ScalarNode || n.ShortTag() == tagNull || n.Tag == tagVault {
		return "", false
	}
	return n.Value, true
}

// truth reads a boolean in any of the ways in which Ansible does.
func truth(n *yaml.Node) (value, ok bool) {
	text, ok := plain(n)
	if !ok {
		return false, false
	}
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "true", "yes", "on", "y", "t", "1":
		return true, true
	case "false", "no", "off", "n", "f", "0":
		return false, true
	}
	return false, false
}

// off reports whether a value switches something off, or says nothing.
func off(n *yaml.Node) bool {
	n = target(n)
	if n.Kind == yaml.MappingNode || n.Kind == yaml.SequenceNode {
		return len(n.Content) == 0
	}
	value, ok := truth(n)
	return isNull(n) || n.Value == "" || ok && !value
}

// empty reports whether a YAML file holds nothing but comments and marks of a document.
func empty(data []byte) bool {
	for line := range strings.Lines(strings.TrimPrefix(string(data), "\uFEFF")) {
		line = strings.TrimSpace(line)
		if line != "" && line != "---" && line != "..." && line[0] != '#' {
			return false
		}
	}
	return utf8.Valid(data)
}

// number reads a whole number.
func number(n *yaml.Node) (int, bool) {
	text, ok := plain(n)
	if !ok {
		return 0, false
	}
	i, err := strconv.Atoi(strings.TrimSpace(text))
	return i, err == nil
}
