package strict

import (
	"fmt"
	"reflect"

	"gopkg.in/yaml.v3"
)

// mapping decodes a mapping into a map whose keys are strings.
func (d *decoder) mapping(n *yaml.Node, v reflect.Value, path Path, rule Rule) {
	entries, ok := d.entries(n, path)
	if !ok {
		return
	}
	items := rule.forItems()
	v.Set(reflect.MakeMapWithSize(v.Type(), len(entries)))
	for _, e := range entries {
		if err := checkText(e.name, false); err != nil {
			d.refuse(e.key, e.path, err.Error(), "")
			continue
		}
		item := reflect.New(v.Type().Elem()).Elem()
		if isNull(e.value) && item.Kind() == reflect.String {
			d.refuse(e.value, e.path, "expected text, found nothing", `""`)
			continue
		}
		d.value(e.value, item, e.path, items)
		v.SetMapIndex(reflect.ValueOf(e.name).Convert(v.Type().Key()), item)
	}
}

// entry is a key of a mapping with its value.
type entry struct {
	name       string
	key, value *yaml.Node
	path       Path
}

// entries lists the keys of a mapping in the order of the file, those that are merged (<<) last,
// and records where they stand.
func (d *decoder) entries(n *yaml.Node, path Path) ([]entry, bool) {
	if n.Kind != yaml.MappingNode {
		// What is written where a mapping belongs may be the secret that belongs into it.
		d.refuse(n, path, "expected a mapping, found "+describe(n, Rule{Secret: true}), "")
		return nil, false
	}
	if !d.spend(len(n.Content)/2, n, path) {
		return nil, false
	}
	var entries []entry
	seen := map[string]*yaml.Node{}
	var merges []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.ShortTag() == "!!merge" {
			merges = append(merges, value)
			continue
		}
		name, ok := d.keyName(key, path)
		if !ok {
			continue
		}
		below := path.Key(name)
		if first, ok := seen[name]; ok {
			d.refuse(key, below, fmt.Sprintf("duplicate key; line %d has it already", first.Line), "")
			continue
		}
		seen[name] = key
		entries = append(entries, entry{name: name, key: key, value: value, path: below})
	}
	for _, m := range merges {
		for _, e := range d.merged(m, path) {
			if _, ok := seen[e.name]; ok {
				continue
			}
			seen[e.name] = e.key
			entries = append(entries, e)
		}
	}
	// Last, for merging has recorded the places of the keys that these override.
	for _, e := range entries {
		d.doc.places[e.path.String()] = place{key: d.at(e.key), value: d.at(e.value)}
	}
	return entries, true
}

// keyName reads the key of a mapping; keys are text.
func (d *decoder) keyName(key *yaml.Node, path Path) (string, bool) {
	if key.Kind == yaml.AliasNode {
		key = key.Alias
	}
	if key.Kind != yaml.ScalarNode {
		d.refuse(key, path, "a key must be text, found "+describe(key, Rule{}), "")
		return "", false
	}
	if tag := key.ShortTag(); tag != "!!str" && tag != "!!timestamp" {
		d.refuse(key, path, "a key must be text, found "+describe(key, Rule{}), fmt.Sprintf("%q", key.Value))
		return "", false
	}
	return key.Value, true
}

// merged lists the entries that a merge key (<<) brings: of several mappings the first wins.
func (d *decoder) merged(n *yaml.Node, path Path) []entry {
	n, leave, ok := d.enter(n, path)
	if !ok {
		return nil
	}
	defer leave()
	if n.Kind == yaml.MappingNode {
		entries, _ := d.entries(n, path)
		return entries
	}
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		d.refuse(n, path, "<< merges a mapping, or a list of mappings, given as *alias", "")
		return nil
	}
	if !d.spend(len(n.Content), n, path) {
		return nil
	}
	var all []entry
	seen := map[string]bool{}
	for _, source := range n.Content {
		for _, e := range d.merged(source, path) {
			if !seen[e.name] {
				seen[e.name] = true
				all = append(all, e)
			}
		}
	}
	return all
}
