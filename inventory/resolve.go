package inventory

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"kubewright/spec/strict"
)

// Source is where hosts come from: an inventory file, or the hosts in a cluster file.
type Source struct {
	// Doc is the file, At the place in it below which groups and hosts stand.
	Doc *strict.Document
	At  strict.Path
	// Groups and Hosts are what the user wrote there.
	Groups map[string]GroupSpec
	Hosts  []HostSpec
	// Defaults are how to log in where neither host nor group says; the later ones win.
	Defaults []SSHDefaults
	// Exists reports why a file that the user names cannot be used; nil skips the question. A
	// leading ~/ of the path is the operator's home folder.
	Exists func(path string) error
}

// SSHDefaults are settings of SSH with the place where they stand.
type SSHDefaults struct {
	Doc  *strict.Document
	At   strict.Path
	Spec SSHSpec
}

// Placed is a resolved host with the place where it stands.
type Placed struct {
	Host
	At strict.Path
	// NodeIPAt is where the node IP stands: at nodeIP or at address.
	NodeIPAt strict.Path
	// RolesKnown is false where what was written about the roles could not be understood, so
	// that nothing follows from a role that is missing.
	RolesKnown bool

	index int // of the host in the Source
}

// Resolve merges groups and defaults into the hosts and checks them; the hosts are sorted by
// name, so that their order in the file has no meaning. A host with a fault may be incomplete.
func Resolve(s Source) ([]Placed, strict.Faults) {
	r := &resolver{Source: s, check: strict.Checker{Doc: s.Doc}}
	for _, d := range s.Defaults {
		r.defaults = append(r.defaults, r.sshLayer(d))
	}
	r.groups = map[string][]sshLayer{}
	for _, name := range slices.Sorted(maps.Keys(s.Groups)) {
		r.group(name)
	}
	hosts := make([]Placed, len(s.Hosts))
	for i, spec := range s.Hosts {
		hosts[i] = r.host(i, spec)
	}
	r.unique(hosts)
	r.withoutNode(hosts)
	slices.SortStableFunc(hosts, func(a, b Placed) int { return cmp.Compare(a.Name, b.Name) })
	return hosts, r.check.Faults
}

// resolver is the state of one Resolve.
type resolver struct {
	Source
	check    strict.Checker
	defaults []sshLayer
	groups   map[string][]sshLayer
}

func (r *resolver) group(name string) {
	at := r.At.Key("groups", name)
	g := r.Groups[name]
	if !groupName().MatchString(name) || name == everyHost {
		r.check.SuggestKey(at, "", "a group's name must be of letters, digits, -, _ and ., and not be all")
	}
	r.repeated(at.Key("roles"), roleNames(g.Roles))
	r.labels(at.Key("labels"), g.Labels)
	r.annotations(at.Key("annotations"), g.Annotations)
	r.taints(at.Key("taints"), g.Taints)
	r.groups[name] = []sshLayer{r.sshLayer(SSHDefaults{Doc: r.Doc, At: at.Key("ssh"), Spec: g.SSH})}
}

// host merges one host, from the outermost layer in: defaults, groups in the order the host names
// them, and the host itself.
func (r *resolver) host(i int, spec HostSpec) Placed {
	at := r.At.Key("hosts").Index(i)
	// A good one has no @; what is wrong with the others is said without the password.
	spec.Name, spec.Address, spec.NodeIP = strict.WithoutPassword(spec.Name), strict.WithoutPassword(spec.Address), strict.WithoutPassword(spec.NodeIP)
	p := Placed{At: at, index: i, Host: Host{
		Name: strings.ToLower(spec.Name), Address: spec.Address, Groups: slices.Clone(spec.Groups),
		Labels: map[string]string{}, Annotations: map[string]string{},
	}}
	if why, suggestion := checkName(p.Name); why != "" {
		r.check.Suggest(at.Key("name"), suggestion, "the name %q %s", spec.Name, why)
	}
	r.addresses(&p, spec)
	r.repeated(at.Key("roles"), roleNames(spec.Roles))
	r.repeated(at.Key("groups"), spec.Groups)
	r.labels(at.Key("labels"), spec.Labels)
	r.annotations(at.Key("annotations"), spec.Annotations)
	r.taints(at.Key("taints"), spec.Taints)

	p.RolesKnown = !r.Doc.BrokenBelow(at.Key("roles")) && !r.Doc.BrokenBelow(at.Key("groups"))
	layers := slices.Clone(r.defaults)
	taints := map[Taint]string{} // value by key and effect
	add := func(labels, annotations map[string]string, given []Taint) {
		maps.Copy(p.Labels, labels)
		maps.Copy(p.Annotations, annotations)
		for _, t := range given {
			taints[Taint{Key: t.Key, Effect: t.Effect}] = t.Value
		}
	}
	known := true
	for j, name := range spec.Groups {
		g, ok := r.Groups[name]
		if !ok {
			r.unknownGroup(at.Key("groups").Index(j), name)
			known = false
			continue
		}
		p.RolesKnown = p.RolesKnown && !r.Doc.BrokenBelow(r.At.Key("groups", name, "roles"))
		p.Roles = append(p.Roles, g.Roles...)
		layers = append(layers, r.groups[name]...)
		add(g.Labels, g.Annotations, g.Taints)
	}
	if len(spec.Roles) > 0 {
		p.Roles = slices.Clone(spec.Roles)
	}
	add(spec.Labels, spec.Annotations, spec.Taints)
	for t, value := range taints {
		p.Taints = append(p.Taints, Taint{Key: t.Key, Value: value, Effect: t.Effect})
	}
	slices.SortFunc(p.Taints, func(a, b Taint) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Effect, b.Effect))
	})
	r.roles(&p, known && p.RolesKnown)
	layers = append(layers, r.sshLayer(SSHDefaults{Doc: r.Doc, At: at.Key("ssh"), Spec: spec.SSH}))
	p.SSH = r.mergeSSH(p, layers)
	return p
}

// roles sorts the roles of a host and, where all that was written about them is known, refuses a
// host that has none.
func (r *resolver) roles(p *Placed, known bool) {
	slices.Sort(p.Roles)
	p.Roles = slices.Compact(p.Roles)
	if len(p.Roles) == 0 && known {
		r.check.Refuse(p.At.Key("roles"), "the host has no role, neither itself nor from a group: write one of %s",
			strings.Join(roleNames(Roles()), ", "))
	}
}

func (r *resolver) unknownGroup(at strict.Path, name string) {
	if r.Doc.Broken(r.At.Key("groups")) {
		return
	}
	known := slices.Sorted(maps.Keys(r.Groups))
	message := "there is no group %q; groups stands at the top of the hosts' file"
	if len(known) > 0 {
		message = "there is no group %q; there is " + strings.Join(known, ", ")
	}
	r.check.Suggest(at, strict.Nearest(name, known), message, name)
}

// addresses checks how the host is reached, and fills in its node IP.
func (r *resolver) addresses(p *Placed, spec HostSpec) {
	address, nodeIP := p.At.Key("address"), p.At.Key("nodeIP")
	p.NodeIPAt = nodeIP
	why, suggestion := checkAddress(spec.Address, "ssh")
	if why != "" {
		r.check.Suggest(address, suggestion, "the address %q %s", spec.Address, why)
	}
	text := spec.NodeIP
	if text == "" {
		if why != "" || r.Doc.Broken(nodeIP) || r.Doc.Broken(address) {
			return
		}
		p.NodeIPAt, text = address, canonicalAddress(spec.Address)
		if _, err := netip.ParseAddr(text); err != nil {
			r.check.Refuse(nodeIP, "must be given, because the address %q is a name: "+
				"the IP address by which the other nodes reach this one", spec.Address)
			return
		}
	}
	ip, why, suggestion := checkNodeIP(text)
	if why != "" {
		r.check.Suggest(p.NodeIPAt, suggestion, "the node IP %s %s", text, why)
		return
	}
	p.NodeIP = ip
}

func (r *resolver) repeated(at strict.Path, items []string) {
	for i, item := range items {
		if item != "" && slices.Contains(items[:i], item) {
			r.check.Refuse(at.Index(i), "%s stands in the list twice", item)
		}
	}
}

func (r *resolver) labels(at strict.Path, labels map[string]string) {
	for key, value := range labels {
		if why := labelKey(key); why != "" {
			r.check.SuggestKey(at.Key(key), "", "the key of a label %s", why)
		}
		if why := labelValue(value); why != "" {
			r.check.Refuse(at.Key(key), "the value of a label %s", why)
		}
		if slices.Contains(kubeletLabels(), key) {
			r.check.SuggestKey(at.Key(key), "", "the kubelet sets this label itself; remove it")
		}
	}
}

func (r *resolver) annotations(at strict.Path, annotations map[string]string) {
	for key := range annotations {
		// As the API server does: letter case does not count in the domain of an annotation.
		if why := labelKey(strings.ToLower(key)); why != "" {
			r.check.SuggestKey(at.Key(key), "", "the key of an annotation %s", why)
		}
	}
}

func (r *resolver) taints(at strict.Path, taints []Taint) {
	for i, t := range taints {
		same := func(o Taint) bool { return o.Key == t.Key && o.Effect == t.Effect && t.Key != "" }
		if slices.ContainsFunc(taints[:i], same) {
			r.check.Refuse(at.Index(i), "a taint with the key %s and the effect %s stands in the list already", t.Key, t.Effect)
		}
	}
}

// withoutNode refuses what is to be put on a node where there is none: by a host that is a member of
// etcd alone, and by a group that has no other hosts.
func (r *resolver) withoutNode(hosts []Placed) {
	nodes, others := map[string]bool{}, map[string]string{} // by group
	for i, h := range r.Hosts {
		p := hosts[i]
		isNode := !p.RolesKnown || len(p.Roles) == 0 || Nodes(p.Host)
		for _, name := range p.Groups {
			if isNode {
				nodes[name] = true
			} else {
				others[name] = p.Name
			}
		}
		if !isNode {
			r.needsNode(p.At, forNode{len(h.Labels), len(h.Annotations), len(h.Taints)}, "the host has the role etcd alone, without a kubelet, so that there is no node")
		}
	}
	for name, host := range others {
		if g, ok := r.Groups[name]; ok && !nodes[name] {
			r.needsNode(r.At.Key("groups", name), forNode{len(g.Labels), len(g.Annotations), len(g.Taints)},
				"the hosts of the group, such as "+host+", have the role etcd alone, without a kubelet, so that there is no node")
		}
	}
}

// forNode counts the settings of a host or a group that are for a node.
type forNode struct{ labels, annotations, taints int }

// needsNode refuses each kind of setting that is for a node.
func (r *resolver) needsNode(at strict.Path, settings forNode, why string) {
	for key, given := range map[string]int{"labels": settings.labels, "annotations": settings.annotations, "taints": settings.taints} {
		if given > 0 {
			r.check.SuggestKey(at.Key(key), "", "%s that could have %s; remove them", why, key)
		}
	}
}

// door is the way in to a host: several may be reached through ports of one address, and behind two
// bastions an address may be that of two hosts.
type door struct {
	address     string
	port        int
	bastion     string
	bastionPort int
}

// unique refuses two hosts with the same name, the same way in, or the same node IP.
func (r *resolver) unique(hosts []Placed) {
	names, doors, nodeIPs := map[string]strict.Path{}, map[door]strict.Path{}, map[netip.Addr]strict.Path{}
	for _, h := range hosts {
		name, address := h.At.Key("name"), h.At.Key("address")
		if h.Name != "" {
			r.taken(claim(names, h.Name, name), name, "the name "+h.Name)
		}
		shared := false
		if h.Address != "" {
			in := door{canonicalAddress(h.Address), h.SSH.Port, canonicalAddress(h.SSH.Bastion.Address), h.SSH.Bastion.Port}
			shared = r.taken(claim(doors, in, address), address, "the address "+in.address)
		}
		// Two hosts that share an address, and take their node IP from it, have one fault.
		if h.NodeIP.IsValid() && !(shared && h.NodeIPAt.String() == address.String()) {
			r.taken(claim(nodeIPs, h.NodeIP, h.NodeIPAt), h.NodeIPAt, "the node IP "+h.NodeIP.String())
		}
	}
}

// claim records that the value at a path is in use, and returns the path that used it before; nil
// when there is none.
func claim[K comparable](owners map[K]strict.Path, key K, at strict.Path) *strict.Path {
	owner, taken := owners[key]
	if taken {
		return &owner
	}
	owners[key] = at
	return nil
}

// taken refuses what another host has already, and reports whether it did.
func (r *resolver) taken(owner *strict.Path, at strict.Path, what string) bool {
	if owner == nil {
		return false
	}
	first := r.Doc.Fault(*owner, "", "")
	where := first.Path
	switch {
	case first.File != r.Doc.Fault(at, "", "").File:
		where += fmt.Sprintf(" in %s:%d", first.File, first.Line)
	case first.Line > 0:
		where += fmt.Sprintf(" in line %d", first.Line)
	}
	r.check.Refuse(at, "%s is taken by %s", what, where)
	return true
}

func roleNames(roles []Role) []string {
	names := make([]string, len(roles))
	for i, role := range roles {
		names[i] = string(role)
	}
	return names
}
