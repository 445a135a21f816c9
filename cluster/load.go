package cluster

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"kubewright/inventory"
	"kubewright/inventory/terraform"
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
	// Terraform returns the outputs of a Terraform configuration as JSON, and what they are called
	// in faults; its error is returned by Load as it is. It is asked when nothing is wrong with
	// the cluster file. The paths of the source are joined to the folder of the cluster file.
	Terraform func(spec.TerraformSource) (name string, outputs []byte, err error)
	// Exists reports why a file or folder that the user names (keys, digests, ...) cannot be
	// used; nil skips the question.
	Exists func(path string) error
	// Now is the time at which certificates that the user gives have to be valid; at the zero Time,
	// whether they are is not asked.
	Now time.Time
	// Checks are the names of the preflight checks, which spec.preflight.ignore may name; nil
	// skips the question.
	Checks []string
}

// Warning is something that works, but likely not as wished; it has the form of a fault.
type Warning = strict.Fault

// Load reads the files of a cluster and resolves them. Every fault of all files is found in one
// call: the error is then a spec.Faults. It is another one only when Terraform fails. Warnings are
// returned in either case.
func Load(files Files, releases Releases) (*Cluster, []Warning, error) {
	data, err := files.Read(files.Cluster)
	if err != nil {
		return nil, nil, spec.Faults{{File: files.Cluster, Message: "the cluster file cannot be read: " + err.Error()}}
	}
	in := input{Releases: releases, Read: files.Read, Exists: files.Exists, Now: files.Now, Checks: files.Checks}
	var faults spec.Faults
	in.Spec, faults = spec.Parse(files.Cluster, data)
	l := &loader{files: files, in: &in, faults: faults}
	if err := l.inventory(); err != nil {
		return nil, nil, err
	}
	c, warnings, more := resolve(in)
	warnings = spec.Faults(append(warnings, l.warnings...)).Sorted()
	if err := append(l.faults, more...).Err(); err != nil {
		return nil, warnings, err
	}
	return c, warnings, nil
}

// loader is the state of one Load.
type loader struct {
	files    Files
	in       *input
	faults   spec.Faults
	warnings spec.Faults
}

// inventory reads the hosts from where the command line or the cluster file says they are. The
// error is not about what is written anywhere.
func (l *loader) inventory() error {
	named := l.in.Spec.Spec.Inventory
	switch {
	case l.files.Inventory != "":
		l.file(l.files.Inventory)
	case named.Terraform != nil:
		return l.terraform(*named.Terraform)
	case named.File != "":
		l.file(inventory.Join(l.files.Cluster, named.File))
	}
	return nil
}

// file reads an inventory file.
func (l *loader) file(path string) {
	data, err := l.files.Read(path)
	if err != nil {
		l.in.HostsUnread = true
		l.faults = append(l.faults, unreadable(l.in.Spec, l.files, path, err))
		return
	}
	file, faults := inventory.Parse(path, data)
	source := file.Source()
	l.in.Inventory = &source
	l.faults = append(l.faults, faults...)
}

// terraform reads the outputs of a Terraform configuration. While the cluster file has faults, it
// is not asked: it may be about to make machines.
func (l *loader) terraform(t spec.TerraformSource) error {
	l.in.HostsUnread = true
	t.Dir = inventory.Join(l.files.Cluster, t.Dir)
	t.VarFiles = slices.Clone(t.VarFiles)
	where := at("inventory", "terraform")
	check := strict.Checker{Doc: l.in.Spec.Doc()}
	for i, path := range t.VarFiles {
		t.VarFiles[i] = inventory.Join(l.files.Cluster, path)
		l.exists(&check, where.Key("varFiles").Index(i), t.VarFiles[i])
	}
	if strings.Contains(t.Binary, "/") {
		t.Binary = inventory.Join(l.files.Cluster, t.Binary)
		l.exists(&check, where.Key("binary"), t.Binary)
	}
	l.exists(&check, where.Key("dir"), t.Dir)
	l.faults = append(l.faults, check.Faults...)
	if _, _, faults := resolve(*l.in); len(l.faults) > 0 || len(faults) > 0 {
		return nil
	}
	if l.files.Terraform == nil {
		return errors.New("the hosts stand in the outputs of Terraform, which cannot be read here")
	}
	name, data, err := l.files.Terraform(t)
	if err != nil {
		return err
	}
	hosts, faults := terraform.Parse(path.Join(t.Dir, name), data)
	l.faults, l.warnings = append(l.faults, faults...), hosts.Warnings
	if hosts.Source.Doc == nil { // nothing was understood
		return nil
	}
	l.faults = append(l.faults, l.in.Spec.TakeAccess(hosts.Access, hosts.Source.Doc, hosts.AccessAt)...)
	l.in.Inventory, l.in.HostsUnread = &hosts.Source, false
	return nil
}

// exists asks whether a file or folder is there that the cluster file names.
func (l *loader) exists(check *strict.Checker, where strict.Path, path string) {
	if l.files.Exists == nil || path == "" {
		return
	}
	if err := l.files.Exists(path); err != nil {
		check.Refuse(where, "%s cannot be used: %v", path, err)
	}
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
