package cluster

import (
	"errors"
	"io/fs"

	"kubewright/inventory"
	"kubewright/spec"
	"kubewright/spec/strict"
)

// Files says where a cluster is described, and lends the eyes to look there: the package itself
// opens no file. In every path a leading ~/ is the operator's home folder.
type Files struct {
	// Cluster is the path of the cluster file; it stands in faults as it is.
	Cluster string
	// Inventory is the path of an inventory file that replaces the one the cluster file names,
	// or "".
	Inventory string
	// Read returns what a file holds.
	Read func(path string) ([]byte, error)
	// Exists reports why a file or folder that the user names (keys, digests, ...) cannot be
	// used; nil skips the question.
	Exists func(path string) error
	// Checks are the names of the preflight checks, which spec.preflight.ignore may name; nil
	// skips the question.
	Checks []string
}

// Warning is something that works, but likely not as wished; it has the form of a fault.
type Warning = strict.Fault

// Load reads the files of a cluster and resolves them. Every fault of all files is found in one
// call: the error is then a spec.Faults. Warnings are returned in either case.
func Load(files Files, releases Releases) (*Cluster, []Warning, error) {
	data, err := files.Read(files.Cluster)
	if err != nil {
		return nil, nil, spec.Faults{{File: files.Cluster, Message: "the cluster file cannot be read: " + err.Error()}}
	}
	in := input{Releases: releases, Exists: files.Exists, Checks: files.Checks}
	var faults spec.Faults
	in.Spec, faults = spec.Parse(files.Cluster, data)
	named := inventory.Join(files.Cluster, in.Spec.Spec.Inventory)
	if path := files.Inventory; path != "" || named != "" {
		if path == "" {
			path = named
		}
		data, err := files.Read(path)
		if err == nil {
			var more strict.Faults
			in.Inventory, more = inventory.Parse(path, data)
			faults = append(faults, more...)
		} else {
			in.HostsUnread = true
			faults = append(faults, unreadable(in.Spec, files, path, err))
		}
	}
	c, warnings, more := resolve(in)
	if err := append(faults, more...).Err(); err != nil {
		return nil, warnings, err
	}
	return c, warnings, nil
}

// unreadable is the fault of an inventory that cannot be read, at the place that names it.
func unreadable(s *spec.File, files Files, path string, err error) spec.Fault {
	message := "the inventory " + path + " cannot be read: " + err.Error()
	missing := errors.Is(err, fs.ErrNotExist)
	if files.Inventory != "" {
		if missing {
			message += "; create it, or name another file on the command line"
		}
		return spec.Fault{File: path, Message: message}
	}
	if missing {
		message += "; create it, name another file here, or list the hosts under spec.hosts instead"
	}
	return s.Doc().Fault(strict.At("spec", "inventory"), message, "")
}
