package spec

import (
	"kubewright/inventory"
	"kubewright/spec/strict"
)

// Fault is one thing wrong with a file; see strict.Fault.
type Fault = strict.Fault

// Faults is every fault that was found, and an error; see strict.Faults.
type Faults = strict.Faults

// Parse reads a cluster file, fills in the defaults and checks whatever can be checked without
// knowing the hosts or the catalogue. The File is never nil; with faults it holds what could be
// understood, so that further checks can look for more. name is used in faults, and its folder is
// what relative paths in the file are relative to.
func Parse(name string, data []byte) (*File, Faults) {
	f := &File{}
	doc, faults := strict.Decode(name, data, f)
	return f.check(doc, faults)
}

// ParseOver is Parse for a cluster file beside an inventory that says something of the cluster too:
// what the file does not say is taken from there, and where both speak, the file wins. The values
// that differ are returned.
func ParseOver(name string, data []byte, below strict.Tree) (*File, []strict.Override, Faults) {
	f := &File{}
	doc, overrides, faults := strict.Underlay(name, data, below, f)
	f, faults = f.check(doc, faults)
	return f, overrides, faults
}

// ParseTree is Parse for a cluster that is described by its inventory alone.
func ParseTree(name string, tree strict.Tree) (*File, Faults) {
	f := &File{}
	doc, faults := strict.DecodeTree(name, tree, f)
	return f.check(doc, faults)
}

// check fills in the defaults of a file that was decoded, and adds the faults of its values.
func (f *File) check(doc *strict.Document, faults Faults) (*File, Faults) {
	f.doc = doc
	if err := strict.Default(f); err != nil { // a mistake in the tags of the types
		return f, append(faults, doc.Fault(strict.At(), err.Error(), ""))
	}
	if doc.Broken(strict.At()) {
		return f, faults
	}
	return f, append(faults, f.validate()...)
}

// Doc returns the place of every value of the file.
func (f *File) Doc() *strict.Document { return f.doc }

// Source returns the hosts that stand in the cluster file itself, for inventory.Resolve.
func (f *File) Source() inventory.Source {
	return inventory.Source{
		Doc: f.doc, At: strict.At("spec"), Groups: f.Spec.Groups, Hosts: f.Spec.Hosts,
		Defaults: []inventory.SSHDefaults{f.SSHDefaults()},
	}
}

// SSHDefaults returns the settings of SSH that hold for all hosts, wherever they stand.
func (f *File) SSHDefaults() inventory.SSHDefaults {
	return inventory.SSHDefaults{Doc: f.doc, At: strict.At("spec", "ssh"), Spec: f.Spec.SSH}
}
