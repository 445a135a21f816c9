package ansible

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"

	"gopkg.in/yaml.v3"

	"kubewright/inventory"
	"kubewright/spec/strict"
)

// The folders beside an inventory that hold variables.
const (
	groupVarsFolder = "group_vars"
	hostVarsFolder  = "host_vars"
)

// varFiles reads the variables that stand in files of their own, and keeps them by group or host.
type varFiles struct {
	*world
	files  inventory.Files
	groups map[string]variables
	hosts  map[string]variables
	// stray are the variables of groups and hosts that there are not.
	stray []variable
}

// readVarFiles reads group_vars and host_vars below a folder.
func (w *world) readVarFiles(files inventory.Files, base string) *varFiles {
	f := &varFiles{world: w, files: files}
	f.groups = f.folder(path.Join(base, groupVarsFolder), slices.Sorted(maps.Keys(w.groups)))
	f.hosts = f.folder(path.Join(base, hostVarsFolder), w.order)
	return f
}

// folder reads the files of a folder for each of the names.
func (f *varFiles) folder(folder string, names []string) map[string]variables {
	listed, err := f.files.List(folder)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			f.refuse(strict.Origin{File: folder}, "the folder cannot be read: "+err.Error(), "")
		}
		return nil
	}
	all := map[string]variables{}
	heeded := map[string]bool{}
	for _, name := range names {
		for _, entry := range candidates(name) {
			if !slices.Contains(listed, entry) {
				continue
			}
			if _, second := all[name]; second {
				f.warn(strict.Origin{File: path.Join(folder, entry)}, "is not read: of several files and folders for "+name+" Ansible reads the first")
				heeded[entry] = true
				continue
			}
			heeded[entry] = true
			all[name] = variables{}
			f.read(folder, entry, all[name], name)
		}
	}
	for _, entry := range listed {
		name := strings.TrimSuffix(strings.TrimSuffix(entry, "/"), path.Ext(entry))
		if heeded[entry] || skipped(entry) || !slices.Contains(candidates(name), entry) {
			continue
		}
		stray := variables{}
		f.read(folder, entry, stray, name)
		for _, key := range slices.Sorted(maps.Keys(stray)) {
			f.stray = append(f.stray, stray[key])
		}
	}
	return all
}

// candidates are the files and folders with the variables of a name, in the order of preference.
func candidates(name string) []string {
	return []string{name, name + "/", name + ".yml", name + ".yml/", name + ".yaml", name + ".yaml/", name + ".json", name + ".json/"}
}

// skipped reports whether Ansible passes over a file: it is hidden, or the copy of an editor.
func skipped(entry string) bool {
	return strings.HasPrefix(entry, ".") || strings.HasSuffix(entry, "~")
}

// read reads a file, or all files of a folder and the folders in it, in the order of their names. A
// folder in it whose name has an extension is skipped, as Ansible does.
func (f *varFiles) read(folder, entry string, into variables, scope string) {
	full := path.Join(folder, entry)
	if !strings.HasSuffix(entry, "/") {
		f.file(full, into, scope)
		return
	}
	listed, err := f.files.List(full)
	if err != nil {
		f.refuse(strict.Origin{File: full}, "the folder cannot be read: "+err.Error(), "")
		return
	}
	for _, below := range listed {
		name, isFolder := strings.CutSuffix(below, "/")
		extension := path.Ext(name)
		if skipped(name) || isFolder && extension != "" || !slices.Contains([]string{"", ".yml", ".yaml", ".json"}, extension) {
			continue
		}
		f.read(full, below, into, scope)
	}
}

func (f *varFiles) file(name string, into variables, scope string) {
	data, err := f.files.Read(name)
	switch {
	case err != nil:
		f.refuse(strict.Origin{File: name}, "cannot be read: "+err.Error(), "")
		return
	case strings.HasPrefix(string(data), "$ANSIBLE_VAULT"):
		f.warn(strict.Origin{File: name, Line: 1, Column: 1}, "is encrypted by ansible-vault and was not read: if it holds anything that the cluster needs, "+
			"give it in cluster.yaml, and passwords as env:NAME or file:PATH")
		return
	case empty(data):
		return
	}
	root, faults := strict.Parse(name, data)
	if faults != nil {
		f.faults = append(f.faults, faults...)
		return
	}
	if root.Kind != yaml.MappingNode {
		f.refuse(strict.Origin{File: name, Line: root.Line, Column: root.Column}, "expected a mapping of variables to values", "")
		return
	}
	f.setAll(into, name, root, scope)
}

// effective lists the variables of a host by Ansible's precedence: what is said in the inventory of
// all and of the groups, then in group_vars, then of the host in the inventory and in host_vars; of
// the groups, the deeper one wins.
func (f *varFiles) effective(h *host, groups []*group) variables {
	all := f.world.groups[groupAll]
	layers := []variables{all.vars}
	for _, g := range groups {
		layers = append(layers, g.vars)
	}
	layers = append(layers, f.groups[groupAll])
	for _, g := range groups {
		layers = append(layers, f.groups[g.name])
	}
	layers = append(layers, h.vars, f.hosts[h.name])
	merged := variables{}
	for _, l := range layers {
		maps.Copy(merged, l)
	}
	return merged
}

// all lists every variable with the place where it is set.
func (f *varFiles) all() []variable {
	var all []variable
	add := func(vs variables) { all = slices.AppendSeq(all, maps.Values(vs)) }
	for name, g := range f.world.groups {
		add(g.vars)
		add(f.groups[name])
	}
	for name, h := range f.world.hosts {
		add(h.vars)
		add(f.hosts[name])
	}
	return all
}

// templates resolves the references of one host's variables to each other.
type templates struct {
	host *host
	vars variables
}

var (
	// reference matches {{ name }}, {{ name.key }} and {{ name['key'] }}.
	reference = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`\{\{-?\s*([A-Za-z_]\w*)((?:\.\w+|\[['"][^'"\]]*['"]\])*)\s*-?\}\}`)
	})
	referenceKey = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\.(\w+)|\[['"]([^'"\]]*)['"]\]`) })
)

// deepestReference bounds the references that lead from one to the next.
const deepestReference = 16

var errTemplate = errors.New("of templates only {{ variable }} and {{ variable.key }} are understood here, of variables of the same host; write the value itself")

// isTemplate reports whether Ansible would make something else of a value.
func isTemplate(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Tag != tagUnsafe && n.Tag != tagVault && (strings.Contains(n.Value, "{{") || strings.Contains(n.Value, "{%"))
}

// resolve returns what a node of a variable comes to, in place of the template it may be.
func (t templates) resolve(n *yaml.Node, depth int) (*yaml.Node, error) {
	n = target(n)
	if !isTemplate(n) {
		return n, nil
	}
	if depth > deepestReference {
		return nil, errors.New("the template refers to itself")
	}
	if m := reference().FindStringSubmatch(n.Value); len(m) > 0 && m[0] == strings.TrimSpace(n.Value) {
		found, err := t.lookUp(m, depth)
		if err != nil {
			return nil, err
		}
		moved := *found // what is wrong with the value is said where it is used
		moved.Line, moved.Column = n.Line, n.Column
		return &moved, nil
	}
	var failed error
	text := reference().ReplaceAllStringFunc(n.Value, func(s string) string {
		found, err := t.lookUp(reference().FindStringSubmatch(s), depth)
		if err != nil {
			failed = err
			return ""
		}
		value, ok := plain(found)
		if !ok {
			failed = errTemplate
		}
		return value
	})
	if failed == nil && strings.ContainsAny(reference().ReplaceAllString(n.Value, ""), "{}") {
		failed = errTemplate
	}
	if failed != nil {
		return nil, failed
	}
	return scalar(tagText, text, strict.Origin{Line: n.Line, Column: n.Column}), nil
}

// textOf returns the text that a part of a value comes to; otherwise is the fault where it is none.
func (t templates) textOf(n *yaml.Node, otherwise string) (string, error) {
	n, err := t.resolve(n, 0)
	if err != nil {
		return "", err
	}
	if n.Tag == tagVault {
		return "", errVault
	}
	text, ok := plain(n)
	if !ok {
		return "", errors.New(otherwise)
	}
	return text, nil
}

// lookUp finds what a reference refers to.
func (t templates) lookUp(m []string, depth int) (*yaml.Node, error) {
	v, ok := t.vars[m[1]]
	var n *yaml.Node
	switch {
	case ok:
		n = v.value
	case m[1] == "inventory_hostname":
		n = scalar(tagText, t.host.name, strict.Origin{})
	case m[1] == "inventory_hostname_short":
		short, _, _ := strings.Cut(t.host.name, ".")
		n = scalar(tagText, short, strict.Origin{})
	default:
		return nil, fmt.Errorf("the template refers to %s, which the inventory does not set for %s; write the value itself", m[1], t.host.name)
	}
	n, err := t.resolve(n, depth+1)
	if err != nil {
		return nil, err
	}
	for _, key := range referenceKey().FindAllStringSubmatch(m[2], -1) {
		below := strict.Get(n, key[1]+key[2])
		if below == nil {
			return nil, fmt.Errorf("the template refers to %s%s, which there is not", m[1], m[2])
		}
		if n, err = t.resolve(below, depth+1); err != nil {
			return nil, err
		}
	}
	if n.Tag == tagVault {
		return nil, errVault
	}
	return n, nil
}

var errVault = errors.New("the value is encrypted by ansible-vault, which kubewright does not decrypt")
