package cluster

import (
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"kubewright/internal/catalog"
	"kubewright/spec"
	"kubewright/spec/strict"
)

// Setting is what a command line says of a cluster or of a host, where a file would have it otherwise.
type Setting struct {
	// Flag is what it is called there, such as --pod-network-cidr. Faults name it.
	Flag string
	// Keys are its place: below spec, or below a host.
	Keys []string
	// Value is a string, an int or a []string.
	Value any
}

// Here describes a cluster on a machine that makes itself part of it, as init and join do: by a document,
// by flags, or by both. The hosts it knows are those of the document, and the machine itself.
type Here struct {
	// Name is what faults call the document; relative paths in it are relative to its folder.
	Name string
	// Document is a cluster file without an inventory, such as Cluster.Document makes; its hosts may be
	// missing. nil is a cluster of the name that kubeadm gives.
	Document []byte
	// Digests are what Cluster.Digests gave beside the document; nil for none. They count where nothing
	// else names a file of digests.
	Digests []byte
	// Settings are of the cluster. They win over the document.
	Settings []Setting
	// Host is the machine itself: its name, which comes first, address, roles. It is one more host, or
	// wins over the host of that name in the document.
	Host []Setting
	// Defaults are of the machine too, where neither Host nor the document says otherwise.
	Defaults []Setting
	// Worker says that the machine is no client of etcd, so that the files of one that somebody else runs
	// are not read.
	Worker bool
	// Alone leaves out the other hosts of the document.
	Alone bool
	// Read and Exists are as in Files; what is read are paths that the document or a flag names.
	Read   func(path string) ([]byte, error)
	Exists func(path string) error
	// Now, Checks and Addons are as in Files.
	Now            time.Time
	Checks, Addons []string
}

// commandLine is what the flags stand in, as faults tell it.
const commandLine = "command line"

// Load resolves the cluster. The error has every fault, as that of Load for files has.
func (h Here) Load(releases Releases) (*Cluster, []Warning, error) {
	tree, faults := h.tree()
	if faults != nil {
		return nil, nil, faults.Err()
	}
	file, faults := spec.ParseTree(h.Name, tree)
	r, c, more := resolve(input{Spec: file, OneByOne: true, NoClient: h.Worker, Releases: releases, Read: h.Read, Exists: h.Exists, Now: h.Now, Checks: h.Checks, Addons: h.Addons})
	warnings := r.warn.Faults.Sorted()
	if err := append(faults, more...).Err(); err != nil {
		return nil, warnings, err
	}
	c.Addons.Untold = h.Document != nil && !h.Alone
	if h.Digests != nil && c.Artifacts.DigestsFile == "" {
		var err error
		if c.Artifacts.Digests, err = catalog.DecodeLock(h.Digests); err != nil {
			return nil, warnings, spec.Faults{{File: h.Name, Message: err.Error()}}
		}
	}
	return c, warnings, nil
}

// tree is the document with what the command line says.
func (h Here) tree() (strict.Tree, strict.Faults) {
	flag := func(name string) strict.Origin { return strict.Origin{File: commandLine, Name: name} }
	tree := strict.NewTree(flag(""))
	if h.Document != nil {
		root, faults := strict.Parse(h.Name, h.Document)
		if faults != nil {
			return tree, faults
		}
		tree.Root = root
	} else {
		tree.SetBelow(tree.Root, tree.Text(spec.APIVersion, flag("")), "apiVersion")
		tree.SetBelow(tree.Root, tree.Text(spec.Kind, flag("")), "kind")
		tree.SetBelow(tree.Root, tree.Text("kubernetes", flag("")), "metadata", "name")
	}
	if top := strict.Get(tree.Root, "spec"); tree.Root.Kind != yaml.MappingNode || top != nil && top.Kind != yaml.MappingNode {
		return tree, nil // which is a fault of its own
	} else if n := strict.Get(top, "inventory"); n != nil {
		return tree, strict.Faults{{File: h.Name, Line: n.Line, Column: n.Column, Path: "spec.inventory",
			Message: "a machine that makes itself part of a cluster knows no other: leave the inventory out, or use kubewright apply"}}
	}
	node := func(s Setting) *yaml.Node {
		switch value := s.Value.(type) {
		case []string:
			list := tree.List(flag(s.Flag))
			for _, text := range value {
				list.Content = append(list.Content, tree.Text(text, flag(s.Flag)))
			}
			return list
		case string:
			return tree.Text(value, flag(s.Flag))
		default:
			n := &yaml.Node{}
			_ = n.Encode(value) // of a number
			return tree.Add(n, flag(s.Flag))
		}
	}
	withoutSSH(strict.Get(tree.Root, "spec"))
	for _, s := range h.Settings {
		tree.SetBelow(tree.Root, node(s), append([]string{"spec"}, s.Keys...)...)
	}
	if host := h.host(tree); host != nil {
		for _, s := range h.Host {
			tree.SetBelow(host, node(s), s.Keys...)
		}
		for _, s := range h.Defaults {
			if strict.Get(host, s.Keys[0]) == nil {
				tree.SetBelow(host, node(s), s.Keys...)
			}
		}
	}
	return tree, nil
}

// withoutSSH takes out how to log in, which nobody does here: the keys that it names are on another machine.
func withoutSSH(spec *yaml.Node) {
	groups, hosts := strict.Get(spec, "groups"), strict.Get(spec, "hosts")
	with := []*yaml.Node{spec}
	for _, list := range []*yaml.Node{groups, hosts} {
		if list != nil {
			with = append(with, list.Content...) // of a mapping the keys too, which have nothing in them
		}
	}
	for _, mapping := range with {
		for i := 0; mapping != nil && mapping.Kind == yaml.MappingNode && i+1 < len(mapping.Content); i += 2 {
			if mapping.Content[i].Value == "ssh" {
				mapping.Content = slices.Delete(mapping.Content, i, i+2)
				break
			}
		}
	}
}

// host is the entry of the machine among the hosts of the document, a new one if need be; nil where these
// are no list, which is a fault of its own.
func (h Here) host(tree strict.Tree) *yaml.Node {
	name, _ := h.Host[0].Value.(string)
	hosts := strict.Get(strict.Get(tree.Root, "spec"), "hosts")
	if hosts == nil || hosts.Tag == "!!null" {
		hosts = tree.List(strict.Origin{File: commandLine, Name: h.Host[0].Flag})
		tree.SetBelow(tree.Root, hosts, "spec", "hosts")
	}
	if hosts.Kind != yaml.SequenceNode {
		return nil
	}
	own := slices.IndexFunc(hosts.Content, func(n *yaml.Node) bool {
		written := strict.Get(n, "name")
		return written != nil && strings.EqualFold(written.Value, name)
	})
	if own < 0 {
		own = len(hosts.Content)
		hosts.Content = append(hosts.Content, tree.Mapping(strict.Origin{File: commandLine, Name: h.Host[0].Flag}))
	}
	host := hosts.Content[own]
	if h.Alone {
		hosts.Content = []*yaml.Node{host}
	}
	if host.Kind != yaml.MappingNode {
		return nil
	}
	return host
}
