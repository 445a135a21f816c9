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
