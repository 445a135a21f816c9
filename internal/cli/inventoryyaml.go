package cli

import (
	"bytes"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"kubewright/cluster"
	"kubewright/internal/report"
	"kubewright/inventory"
	"kubewright/spec/strict"
)

// writeInventory writes the hosts as an inventory of kubewright's own form, with a comment after every
// value on where it comes from. What another form says of the cluster stands at the top, for a
// cluster file.
func writeInventory(w io.Writer, d *cluster.Description) error {
	root := mapping()
	put(root, "apiVersion", scalar(inventory.APIVersion, "!!str"))
	put(root, "kind", scalar(inventory.Kind, "!!str"))
	groups, hosts := mapping(), &yaml.Node{Kind: yaml.SequenceNode}
	for _, p := range d.Placed {
		for _, name := range p.Groups {
			if strict.Get(groups, name) == nil {
				o, ok := d.Source.Doc.Origin(d.Source.At.Key("groups", name))
				none := mapping()
				none.Style = yaml.FlowStyle
				put(groups, name, from(none, o, ok))
			}
		}
		hosts.Content = append(hosts.Content, hostNode(d.Source, p))
	}
	if len(groups.Content) > 0 {
		put(root, "groups", groups)
	}
	put(root, "hosts", hosts)
	var b bytes.Buffer
	if err := writeClusterComment(&b, d); err != nil {
		return err
	}
	if err := encodeYAML(&b, root); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}

// writeClusterComment writes what belongs into a cluster file beside the inventory.
func writeClusterComment(b *bytes.Buffer, d *cluster.Description) error {
	if d.Import == nil || len(settingsOf(d)) == 0 {
		return nil
	}
	root := mapping()
	for _, key := range []string{"apiVersion", "kind", "metadata", "spec"} {
		if value := strict.Get(d.Import.Cluster.Root, key); value != nil {
			put(root, key, value)
		}
	}
	var text bytes.Buffer
	if err := encodeYAML(&text, root); err != nil {
		return err
	}
	b.WriteString("# What the inventory says of the cluster, for its own file (cluster.yaml):\n#\n")
	for line := range strings.Lines(text.String()) {
		b.WriteString("#     " + line)
	}
	b.WriteString("\n")
	return nil
}

func encodeYAML(w io.Writer, n *yaml.Node) error {
	encoder := yaml.NewEncoder(w)
	encoder.SetIndent(2)
	if err := encoder.Encode(n); err != nil {
		return err
	}
	return encoder.Close()
}

// hostNode is a host with what it has from its groups and the defaults.
func hostNode(source inventory.Source, p inventory.Placed) *yaml.Node {
	n := mapping()
	add := func(value *yaml.Node, keys ...string) {
		o, ok := source.OriginOf(p, keys...)
		(strict.Tree{}).SetBelow(n, from(value, o, ok), keys...)
	}
	list := func(items []string, key string) {
		if len(items) == 0 {
			return
		}
		seq := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, item := range items {
			seq.Content = append(seq.Content, scalar(item, "!!str"))
		}
		add(seq, key)
	}
	text := func(value string, keys ...string) { add(scalar(value, "!!str"), keys...) }
	var roles []string
	for _, role := range p.Roles {
		roles = append(roles, string(role))
	}
	text(p.Name, "name")
	text(p.Address, "address")
	text(p.NodeIP.String(), "nodeIP")
	list(roles, "roles")
	list(p.Groups, "groups")
	for _, key := range sortedKeys(p.Labels) {
		text(p.Labels[key], "labels", key)
	}
	for _, key := range sortedKeys(p.Annotations) {
		text(p.Annotations[key], "annotations", key)
	}
	if len(p.Taints) > 0 {
		taints := &yaml.Node{Kind: yaml.SequenceNode}
		for _, t := range p.Taints {
			o, ok := source.OriginOfTaint(p, t)
			taints.Content = append(taints.Content, from(scalar(t.String(), "!!str"), o, ok))
		}
		put(n, "taints", taints)
	}
	for _, keys := range sshKeys() {
		path := append([]string{"ssh"}, keys...)
		if _, written := source.OriginOf(p, path...); written {
			if value := sshValue(p.SSH, strings.Join(keys, ".")); value != nil {
				add(value, path...)
			}
		}
	}
	return n
}

// sshValue is a value of what says how to log in; nil is one of a bastion that another has replaced. Paths
// are made whole, for the file may be written anywhere.
func sshValue(s inventory.SSH, key string) *yaml.Node {
	text := func(value string) *yaml.Node {
		if value == "" {
			return nil
		}
		return scalar(value, "!!str")
	}
	file := func(path string) *yaml.Node {
		if path == "" {
			return nil
		}
		return scalar(whole(path), "!!str")
	}
	number := func(n int) *yaml.Node {
		if n == 0 {
			return nil
		}
		return scalar(strconv.Itoa(n), "!!int")
	}
	ref := func(r inventory.Ref) *yaml.Node {
		if r.Source == inventory.RefFile {
			r.Name = whole(r.Name)
		}
		return text(r.String())
	}
	var known *yaml.Node
	if len(s.KnownHosts) > 0 {
		known = &yaml.Node{Kind: yaml.SequenceNode}
		for _, path := range s.KnownHosts {
			known.Content = append(known.Content, file(path))
		}
	}
	boolean := func(b bool) *yaml.Node { return scalar(strconv.FormatBool(b), "!!bool") }
	return map[string]*yaml.Node{
		"user": text(s.User), "port": number(s.Port), "keyFile": file(s.KeyFile), "certificateFile": file(s.CertificateFile),
		"passphrase": ref(s.Passphrase), "password": ref(s.Password), "sudo.password": ref(s.Sudo.Password), "agent": boolean(s.Agent),
		"hostKey": text(s.HostKey), "trustOnFirstUse": boolean(s.TrustOnFirstUse), "knownHosts": known, "configFile": file(s.ConfigFile),
		"bastion.address": text(s.Bastion.Address), "bastion.user": text(s.Bastion.User), "bastion.port": number(s.Bastion.Port),
		"bastion.keyFile": file(s.Bastion.KeyFile), "bastion.hostKey": text(s.Bastion.HostKey),
		"bastion.passphrase": ref(s.Bastion.Passphrase), "bastion.password": ref(s.Bastion.Password),
	}[key]
}

// whole makes a path that leads to the same file from everywhere.
func whole(path string) string {
	if full, err := filepath.Abs(expandHome(path)); err == nil {
		return full
	}
	return path
}

func mapping() *yaml.Node { return &yaml.Node{Kind: yaml.MappingNode} }

func scalar(value, tag string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value}
}

func put(m *yaml.Node, key string, value *yaml.Node) {
	m.Content = slices.Concat(m.Content, []*yaml.Node{scalar(key, "!!str"), value})
}

// from adds a comment on where a value comes from.
func from(n *yaml.Node, o strict.Origin, ok bool) *yaml.Node {
	if ok {
		n.LineComment = report.Printable(strings.ReplaceAll(o.String(), "\n", " "))
	}
	return n
}
