package inventory

import (
	"kubewright/spec/strict"
)

// Parse reads an inventory file. The File is never nil; with faults it holds what could be
// understood, so that Resolve can look for more. name is used in faults, and its folder is what
// relative paths in the file are relative to.
func Parse(name string, data []byte) (*File, strict.Faults) {
	f := &File{}
	doc, faults := strict.Decode(name, data, f)
	f.doc = doc
	return f, faults
}

// ParseTree is Parse for an inventory that another one was made into. Its faults name the places
// where the values were taken from.
func ParseTree(name string, tree strict.Tree) (*File, strict.Faults) {
	f := &File{}
	doc, faults := strict.DecodeTree(name, tree, f)
	f.doc = doc
	return f, faults
}

// Source returns the hosts of the file for Resolve.
func (f *File) Source() Source {
	return Source{
		Doc: f.doc, Groups: f.Groups, Hosts: f.Hosts,
		Defaults: []SSHDefaults{{Doc: f.doc, At: strict.At("defaults", "ssh"), Spec: f.Defaults.SSH}},
	}
}
