package ansible

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"

	"gopkg.in/yaml.v3"

	"kubewright/inventory"
	"kubewright/spec/strict"
)

// The groups by which Kubespray knows what a host does.
const (
	groupControlPlane = "kube_control_plane"
	groupNode         = "kube_node"
	groupEtcd         = "etcd"
	groupCluster      = "k8s_cluster"
	groupBastion      = "bastion"
)

// roleOfGroup is the role of the hosts of a group.
func roleOfGroup() map[string]inventory.Role {
	return map[string]inventory.Role{
		groupControlPlane: inventory.RoleControlPlane, groupEtcd: inventory.RoleEtcd, groupNode: inventory.RoleWorker,
	}
}

// Format reads Ansible's inventories.
type Format struct{}

// Name implements inventory.Format.
func (Format) Name() string { return "Ansible" }

// firstYAML matches the first line of YAML and JSON, which no line of an INI file looks like.
var firstYAML = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(---|\{|["']?[A-Za-z_][\w.-]*["']?\s*:(\s|$))`) })

// Recognizes implements inventory.Format. YAML is Ansible's where it holds groups of it, for other
// YAML is an inventory of ours, or meant to be one.
func (Format) Recognizes(c inventory.Candidate) bool {
	switch path.Ext(c.Path) {
	case ".yml", ".yaml", ".json":
		return !c.Folder && (holdsGroups(c.Data) || pluginOf(c.Data) != nil)
	}
	if c.Folder || isProgram(c) {
		return true
	}
	for line := range strings.Lines(strings.TrimPrefix(string(c.Data), "\uFEFF")) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		return !firstYAML().MatchString(line) || holdsGroups(c.Data)
	}
	return path.Ext(c.Path) == ".ini"
}

// isProgram reports whether a file is a dynamic inventory. Some file systems say of every file that it
// can be run.
func isProgram(c inventory.Candidate) bool {
	data := []string{".ini", ".cfg", ".yml", ".yaml", ".json", ".csv", ".txt"}
	return c.Executable && !slices.Contains(data, path.Ext(c.Path))
}

// holdsGroups reports whether a YAML document is a mapping of Ansible's groups.
func holdsGroups(data []byte) bool {
	root, faults := strict.Parse("", data)
	if faults != nil || root.Kind != yaml.MappingNode || strict.Get(root, "apiVersion") != nil || strict.Get(root, "kind") != nil {
		return false
	}
	found := strict.Get(root, metaKey) != nil
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i].Value, root.Content[i+1]
		found = found || key == groupAll
		if value.Kind == yaml.MappingNode && key != "defaults" {
			for _, section := range []string{sectionHosts, sectionVars, sectionChildren} {
				found = found || strict.Get(value, section) != nil
			}
		}
	}
	return found
}

// pluginOf returns the key plugin of a file that configures a plugin of Ansible; nil is any other file.
func pluginOf(data []byte) *yaml.Node {
	root, faults := strict.Parse("", data)
	if faults != nil || root.Kind != yaml.MappingNode || strict.Get(root, "apiVersion") != nil || strict.Get(root, "kind") != nil {
		return nil
	}
	if plugin := strict.Get(root, "plugin"); plugin != nil && plugin.Kind == yaml.ScalarNode {
		return plugin
	}
	return nil
}

// Load implements inventory.Format.
func (Format) Load(file string, files inventory.Files) (*inventory.Import, strict.Faults) {
	w := newWorld()
	base := w.readSources(file, files)
	for name, g := range w.groups {
		if p, ok := g.vars["ansible_group_priority"]; ok {
			if n, ok := number(p.value); ok {
				w.groups[name].priority = n
			}
		}
	}
	w.dynamicGroups()
	w.settle()
	if len(w.faults) > 0 {
		return &inventory.Import{Warnings: w.warnings}, w.faults
	}
	i := &importer{
		varFiles: w.readVarFiles(files, base), file: file, verdicts: map[[3]string]verdict{},
		tree: strict.NewTree(strict.Origin{File: file, Line: 1, Column: 1}), cluster: strict.NewTree(strict.Origin{File: file, Line: 1, Column: 1}),
	}
	i.convert()
	return &inventory.Import{Name: path.Base(file), Hosts: i.tree, Cluster: i.cluster, Report: i.report(), Warnings: w.warnings}, w.faults
}

// readSources reads the inventory, or those in a folder, and returns the folder that group_vars is in.
func (w *world) readSources(file string, files inventory.Files) string {
	names, err := files.List(file)
	if err != nil {
		w.readSource(file, files)
		return path.Dir(file)
	}
	sources := w.sourcesOf(file, names)
	if len(sources) == 0 {
		w.refuse(strict.Origin{File: file}, "the folder holds no inventory", "")
	}
	for _, name := range sources {
		w.readSource(path.Join(file, name), files)
	}
	return file
}

// sourcesOf lists the inventories among what is in a folder, and warns of the folders in it: Ansible
// would read them too, and they hold keys and programs as likely as hosts. Left out are the files that
// Ansible passes over there, and more that are of editors, locks and secrets.
func (w *world) sourcesOf(folder string, names []string) []string {
	skip := []string{".pyc", ".pyo", ".swp", ".bak", ".rpm", ".md", ".txt", ".rst", ".orig", ".cfg", ".retry", ".creds", ".gpg", ".lock"}
	// Of Ansible, and what Kubespray makes or has in the folder of an inventory.
	known := []string{groupVarsFolder, hostVarsFolder, "vars_plugins", "artifacts", "credentials", "patches"}
	var sources []string
	for _, entry := range names {
		name, isFolder := strings.CutSuffix(entry, "/")
		switch {
		case skipped(name), slices.Contains(skip, path.Ext(name)), isFolder && slices.Contains(known, name):
		case isFolder:
			w.warn(strict.Origin{File: path.Join(folder, name)}, "the folder is not read: inventories are looked for in "+folder+" itself")
		default:
			sources = append(sources, name)
		}
	}
	return sources
}

func (w *world) readSource(file string, files inventory.Files) {
	data, err := files.Read(file)
	if err != nil {
		w.refuse(strict.Origin{File: file}, "cannot be read: "+err.Error(), "")
		return
	}
	c := inventory.Candidate{Path: file, Executable: files.Executable != nil && files.Executable(file), Data: data}
	switch {
	case isProgram(c):
		w.readProgram(file, files.Run)
	case !holdsGroups(data):
		w.readGroupless(file, data)
	default:
		root, _ := strict.Parse(file, data)
		if strict.Get(root, metaKey) != nil {
			w.readList(file, root)
			return
		}
		w.readYAML(file, data)
	}
}

// readGroupless reads a file that is no YAML with groups: INI, unless its name says that it is YAML.
func (w *world) readGroupless(file string, data []byte) {
	if !slices.Contains([]string{".yml", ".yaml", ".json"}, path.Ext(file)) {
		w.readINI(file, data)
		return
	}
	if empty(data) {
		return
	}
	root, faults := strict.Parse(file, data)
	if faults != nil {
		w.faults = append(w.faults, faults...)
		return
	}
	if plugin := pluginOf(data); plugin != nil {
		w.refuse(strict.Origin{File: file, Line: plugin.Line, Column: plugin.Column, Name: "plugin"},
			"inventory plugins are not run; use the output of ansible-inventory --list", "")
		return
	}
	w.refuse(strict.Origin{File: file, Line: root.Line, Column: root.Column}, "the file holds no groups of Ansible, which have hosts, vars or children", "")
}

// importer makes an inventory of ours of what Ansible's says.
type importer struct {
	*varFiles
	file    string
	members []*member
	lead    *member // whose variables hold for the cluster: the first control plane
	tree    strict.Tree
	cluster strict.Tree
	// verdicts say by its key what became of a variable.
	verdicts map[[3]string]verdict
}

// member is a host that belongs to the cluster.
type member struct {
	templates
	world  *world
	groups []*group
	tree   strict.Tree
	spec   *yaml.Node
}

// value returns a variable with what its template comes to.
func (m *member) value(v variable) value {
	resolved, err := m.resolve(v.value, 0)
	return value{variable: v, world: m.world, resolved: resolved, err: err}
}

func (i *importer) convert() {
	o := strict.Origin{File: i.file, Line: 1, Column: 1}
	i.tree.Set(i.tree.Root, "apiVersion", i.tree.Text(inventory.APIVersion, o))
	i.tree.Set(i.tree.Root, "kind", i.tree.Text(inventory.Kind, o))
	list := i.tree.List(o)
	i.tree.Set(i.tree.Root, "hosts", list)
	groups := i.groupsOf()
	for _, name := range i.order {
		if m := i.member(i.world.hosts[name], groups[name]); m != nil {
			list.Content = append(list.Content, m.spec)
			i.members = append(i.members, m)
		}
	}
	if len(i.members) == 0 {
		i.noMembers()
		return
	}
	i.bastion(groups)
	i.findLead()
	for _, m := range i.members {
		i.host(m)
	}
	i.settings()
}

// bastion makes the bastion of all hosts of the first host of Kubespray's group for it. One that is in
// the cluster too is reached directly.
func (i *importer) bastion(groups map[string][]*group) {
	g, ok := i.world.groups[groupBastion]
	if !ok {
		return
	}
	in := i.world.members(g)
	at := slices.IndexFunc(i.order, func(name string) bool { _, ok := in[name]; return ok })
	if at < 0 {
		return
	}
	h := i.world.hosts[i.order[at]]
	if len(in) > 1 {
		i.warn(g.origin, "of several bastions the first is used, which is "+h.name)
	}
	m := &member{templates: templates{host: h, vars: i.effective(h, groups[h.name])}, world: i.world, tree: i.tree, spec: i.tree.Mapping(h.origin)}
	i.tree.Set(m.spec, "address", i.tree.Text(h.name, h.origin))
	for _, r := range hostRules() {
		key := strings.TrimPrefix(r.To, "ssh.")
		if !slices.Contains([]string{"address", "user", "port", "keyFile", "passphrase", "password"}, key) {
			continue
		}
		if v, ok := m.variable(r); ok {
			err := r.host(m, m.value(v))
			i.record(v, Rule{To: "defaults.ssh.bastion." + key}, err)
		}
	}
	spec := i.tree.Mapping(h.origin)
	i.tree.Set(spec, "address", strict.Get(m.spec, "address"))
	if login := strict.Get(m.spec, "ssh"); login != nil {
		spec.Content = append(spec.Content, login.Content...)
	}
	i.tree.SetBelow(i.tree.Root, spec, "defaults", "ssh", "bastion")
	for _, other := range i.members {
		if other.host == h {
			i.tree.SetBelow(other.spec, i.tree.Text(inventory.NoBastion, g.origin), "ssh", "bastion", "address")
		}
	}
}

// noMembers refuses an inventory in which no host has a role.
func (i *importer) noMembers() {
	wanted := []string{groupControlPlane, groupNode, groupEtcd}
	message := "no host is in one of the groups " + strings.Join(wanted, ", ")
	for _, name := range slices.Sorted(maps.Keys(i.world.groups)) {
		if near := strict.Nearest(name, wanted); near != "" && len(i.world.members(i.world.groups[name])) > 0 {
			i.refuse(i.world.groups[name].origin, message, near)
			return
		}
	}
	i.refuse(strict.Origin{File: i.file}, message, "")
}

// member makes a host of ours of one that has a role; nil is one that has none, as a bastion.
func (i *importer) member(h *host, groups []*group) *member {
	roles := i.tree.List(h.origin)
	for _, role := range inventory.Roles() {
		for name, r := range roleOfGroup() {
			g, ok := i.world.groups[name]
			if !ok || r != role {
				continue
			}
			if o, in := i.world.members(g)[h.name]; in {
				roles.Content = append(roles.Content, i.tree.Text(string(role), o))
			}
		}
	}
	if len(roles.Content) == 0 {
		return nil
	}
	i.tree.Origins[roles] = i.tree.Origins[roles.Content[0]]
	m := &member{templates: templates{host: h, vars: i.effective(h, groups)}, world: i.world, groups: groups, tree: i.tree}
	m.spec = i.tree.Mapping(h.origin)
	i.tree.Set(m.spec, "name", i.tree.Text(h.name, h.origin))
	i.tree.Set(m.spec, "address", i.tree.Text(h.name, h.origin))
	i.tree.Set(m.spec, "roles", roles)
	names := i.tree.List(h.origin)
	for _, g := range groups {
		if g.name == groupUngrouped {
			continue
		}
		i.tree.SetBelow(i.tree.Root, i.tree.Mapping(g.origin), "groups", g.name)
		names.Content = append(names.Content, i.tree.Text(g.name, g.origin))
	}
	i.tree.Set(m.spec, "groups", names)
	return m
}

// findLead takes the first control plane, else the first host.
func (i *importer) findLead() {
	i.lead = i.members[0]
	planes, ok := i.world.groups[groupControlPlane]
	if !ok {
		return
	}
	in := i.world.members(planes)
	at := slices.IndexFunc(i.members, func(m *member) bool { _, ok := in[m.host.name]; return ok })
	if at >= 0 {
		i.lead = i.members[at]
	}
}

// host puts the variables of a host into it.
func (i *importer) host(m *member) {
	for _, r := range hostRules() {
		if v, ok := m.variable(r); ok {
			i.record(v, r, r.host(m, m.value(v)))
		}
	}
	address := strict.Get(m.spec, "address").Value
	if _, err := netip.ParseAddr(address); err != nil && strict.Get(m.spec, "nodeIP") == nil {
		i.refuse(m.host.origin, fmt.Sprintf("has neither ip nor access_ip, and its address %q is a name: "+
			"set ip to the address by which the other nodes reach it", strict.WithoutPassword(address)), "")
	}
}

// variable finds the one that a rule is about: of its names the first that says something.
func (m *member) variable(r Rule) (variable, bool) {
	for _, name := range r.Names {
		if v, ok := m.vars[name]; ok && !isNull(target(v.value)) {
			return v, true
		}
	}
	return variable{}, false
}

// settings puts the variables that hold for all hosts into the cluster file. The cluster has one value
// of each: that of the first control plane.
func (i *importer) settings() {
	for _, r := range clusterRules() {
		v, ok := i.lead.variable(r)
		for _, m := range i.members {
			other, has := m.variable(r)
			if has && (!ok || other.key() != v.key()) && !sameValue(other, v, ok) {
				i.warn(other.origin(), fmt.Sprintf("%s has another value than %s, which counts for the cluster", m.host.name, i.lead.host.name))
				i.record(other, r, ignored("the value of %s counts for the cluster", i.lead.host.name))
			}
		}
		if ok {
			i.record(v, r, r.cluster(i, i.lead.value(v)))
		}
	}
}

func sameValue(a, b variable, both bool) bool {
	if !both {
		return false
	}
	x, ok := plain(a.value)
	y, okay := plain(b.value)
	return ok && okay && x == y
}

// record keeps what became of a variable, and refuses it if it was a fault.
func (i *importer) record(v variable, r Rule, err error) {
	reason := r.To
	if r.host != nil && r.To != "" {
		reason = "hosts[]." + r.To
	}
	if r.To == "" {
		reason = r.Note
	}
	result := verdict{inventory.Understood, reason}
	var known verdict
	switch {
	case errors.As(err, &known):
		result = known
	case err != nil:
		i.refuse(v.origin(), err.Error(), "")
	}
	i.verdicts[v.key()] = result
}

// report says of every variable what became of it, and warns of those that ask for something else.
func (i *importer) report() []inventory.Variable {
	mapped := map[string]bool{}
	for _, r := range slices.Concat(hostRules(), clusterRules()) {
		for _, name := range r.Names {
			mapped[name] = true
		}
	}
	var all []inventory.Variable
	left := map[string]bool{}
	add := func(v variable, result verdict) {
		all = append(all, inventory.Variable{Name: v.name, Scope: v.scope, Origin: v.origin(), Verdict: result.Verdict, Reason: result.reason})
		if result.Verdict == inventory.Unsupported {
			left[v.name] = true
		}
	}
	for _, v := range i.all() {
		result, ok := i.verdicts[v.key()]
		switch {
		case ok:
		case mapped[v.name]:
			result = verdict{inventory.Ignored, "another value wins, or no host of the cluster has this one"}
		default:
			result.Verdict, result.reason = settle(v, i.comesTo(v))
		}
		add(v, result)
	}
	for _, v := range i.stray {
		add(v, verdict{inventory.Ignored, "the inventory has no group or host called " + v.scope})
	}
	i.warnOf(slices.Sorted(maps.Keys(left)))
	slices.SortFunc(all, func(a, b inventory.Variable) int {
		return cmp.Or(cmp.Compare(a.Origin.File, b.Origin.File), cmp.Compare(a.Origin.Line, b.Origin.Line),
			cmp.Compare(a.Origin.Column, b.Origin.Column), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Scope, b.Scope))
	})
	return all
}

// comesTo is the value of a variable with its template resolved, if it can be.
func (i *importer) comesTo(v variable) *yaml.Node {
	if i.lead != nil {
		if resolved, err := i.lead.resolve(v.value, 0); err == nil {
			return resolved
		}
	}
	return target(v.value)
}

// warnOf names the variables that are left out.
func (i *importer) warnOf(left []string) {
	const most = 8
	names := left
	if len(left) == 0 {
		return
	}
	if len(left) > most {
		names = append(slices.Clone(left[:most]), "...")
	}
	i.warn(strict.Origin{File: i.file}, "kubewright does not do what these variables ask for: "+strings.Join(names, ", ")+
		`; "kubewright inventory show" says of each why`)
}
