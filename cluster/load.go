package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"kubewright/inventory"
	"kubewright/inventory/ansible"
	"kubewright/inventory/csv"
	"kubewright/inventory/terraform"
	"kubewright/spec"
	"kubewright/spec/strict"
)

// Files says where a cluster is described, and lends the eyes to look there: the package itself
// opens no file. In every path a leading ~/ is the operator's home folder.
type Files struct {
	// Cluster is the path of the cluster file; it stands in faults as it is.
	Cluster string
	// Optional says that the cluster file need not be there, where the inventory is of a form
	// that says what the cluster is to be.
	Optional bool
	// Inventory is the path of an inventory that replaces the one the cluster file names, or "".
	Inventory string
	// Read returns what a file holds.
	Read func(path string) ([]byte, error)
	// List, Executable and Run are for inventories of other forms, see inventory.Files; where
	// they are nil there is no folder, and nothing that could be run.
	List       func(folder string) ([]string, error)
	Executable func(path string) bool
	Run        func(path string, args ...string) ([]byte, error)
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
	// Checks are the names of the preflight checks, which spec.preflight.ignore may name, and Addons those of
	// the addons that the user's own come after; nil skips the question.
	Checks, Addons []string
}

// Warning is something that works, but likely not as wished; it has the form of a fault.
type Warning = strict.Fault

// Description is a cluster with what it was made of.
type Description struct {
	*Cluster
	// Spec is the cluster file with what the inventory adds to it.
	Spec *spec.File
	// Source and Placed are the hosts as they were written, and as they were resolved.
	Source inventory.Source
	Placed []inventory.Placed
	// Import is the inventory, if it is of another form than ours; else nil.
	Import *inventory.Import
}

// Load reads the files of a cluster and resolves them. Every fault of all files is found in one
// call: the error is then a spec.Faults. It is another one only when Terraform fails. Warnings are
// returned in either case.
func Load(files Files, releases Releases) (*Cluster, []Warning, error) {
	d, warnings, err := Describe(files, releases)
	if err != nil {
		return nil, warnings, err
	}
	return d.Cluster, warnings, nil
}

// Describe is Load, and keeps what the cluster was made of.
func Describe(files Files, releases Releases) (*Description, []Warning, error) {
	l := &loader{Files: files, in: input{Releases: releases, Read: files.Read, Exists: files.Exists, Now: files.Now, Checks: files.Checks, Addons: files.Addons}}
	if err := l.read(); err != nil {
		return nil, l.warnings.Sorted(), err
	}
	r, c, more := resolve(l.in)
	warnings := append(l.warnings, r.warn.Faults...).Sorted()
	if err := append(l.faults, more...).Err(); err != nil {
		return nil, warnings, err
	}
	return &Description{Cluster: c, Spec: l.in.Spec, Source: r.source, Placed: r.placed, Import: l.imported}, warnings, nil
}

// formats are the forms of inventories beside our own, in the order in which they are asked.
func formats() []inventory.Format {
	return []inventory.Format{csv.Format{}, ansible.Format{}}
}

// loader is the state of one Load.
type loader struct {
	Files
	in       input
	imported *inventory.Import
	ofSpec   strict.Faults // of the cluster file
	faults   strict.Faults
	warnings strict.Faults
}

// read reads the cluster file and the inventory. Its error is about a cluster file that cannot be
// read, or comes from Terraform.
func (l *loader) read() error {
	data, err := l.Read(l.Cluster)
	unread := spec.Faults{{File: l.Cluster, Message: fmt.Sprintf("the cluster file cannot be read: %v", err)}}
	if err != nil && !(errors.Is(err, fs.ErrNotExist) && l.Optional) {
		return unread
	}
	if err == nil {
		l.in.Spec, l.ofSpec = spec.Parse(l.Cluster, data)
	}
	if err := l.inventory(); err != nil {
		return err
	}
	switch {
	case err != nil && l.imported == nil && !l.in.HostsUnread: // an inventory of ours says nothing of the cluster
		return append(unread, l.faults...) // it may be another's that could not be told for its faults
	case err != nil:
		l.in.Spec, l.ofSpec = l.specOfInventory()
	case l.imported != nil && l.imported.Cluster.Root != nil:
		var overrides []strict.Override
		l.in.Spec, overrides, l.ofSpec = spec.ParseOver(l.Cluster, data, l.imported.Cluster)
		l.conflicts(overrides)
	}
	l.faults = append(l.faults, l.ofSpec...)
	return nil
}

// inventory reads the hosts from where the command line or the cluster file says they are. The
// error is not about what is written anywhere.
func (l *loader) inventory() error {
	if l.Inventory != "" {
		l.file(l.Inventory)
		return nil
	}
	if l.in.Spec == nil {
		return nil
	}
	switch named := l.in.Spec.Spec.Inventory; {
	case named.Terraform != nil:
		return l.terraform(*named.Terraform)
	case named.File != "":
		l.file(inventory.Join(l.Cluster, named.File))
	}
	return nil
}

// file reads the inventory at a path, of whatever form it is.
func (l *loader) file(file string) {
	candidate, err := l.candidate(file)
	if err != nil {
		l.in.HostsUnread = true
		l.faults = append(l.faults, unreadable(l.in.Spec, l.Files, file, err))
		return
	}
	for _, format := range formats() {
		if !format.Recognizes(candidate) {
			continue
		}
		imported, faults := format.Load(candidate.Path, l.inventoryFiles())
		l.imported = imported
		l.warnings = append(l.warnings, imported.Warnings...)
		l.faults = append(l.faults, faults...)
		if l.in.HostsUnread = len(faults) > 0; !l.in.HostsUnread {
			parsed, faults := inventory.ParseTree(imported.Name, imported.Hosts)
			source := parsed.Source()
			l.in.Inventory = &source
			l.faults = append(l.faults, faults...)
		}
		return
	}
	parsed, faults := inventory.Parse(file, candidate.Data)
	source := parsed.Source()
	l.in.Inventory = &source
	l.faults = append(l.faults, faults...)
}

// candidate looks at what is at the path of an inventory.
func (l *loader) candidate(file string) (inventory.Candidate, error) {
	files := l.inventoryFiles()
	c := inventory.Candidate{Path: strings.TrimRight(file, "/"), Executable: files.Executable(file)}
	names, err := files.List(file)
	if err == nil {
		c.Folder, c.Names = true, names
		return c, nil
	}
	c.Data, err = files.Read(file)
	return c, err
}

func (l *loader) inventoryFiles() inventory.Files {
	files := inventory.Files{Read: l.Read, List: l.List, Executable: l.Executable, Run: l.Run}
	if files.List == nil {
		files.List = func(string) ([]string, error) { return nil, fs.ErrNotExist }
	}
	if files.Executable == nil || files.Run == nil {
		files.Executable = func(string) bool { return false }
	}
	return files
}

// specOfInventory makes the cluster file of what the inventory says. What neither says, and a cluster
// file must, is the name that kubeadm gives, and the newest version.
func (l *loader) specOfInventory() (*spec.File, strict.Faults) {
	o := strict.Origin{File: l.Inventory, Line: 1, Column: 1}
	tree := strict.NewTree(o)
	if l.imported != nil && l.imported.Cluster.Root != nil {
		tree = l.imported.Cluster
	}
	needed := []struct {
		value string
		keys  []string
	}{
		{spec.APIVersion, []string{"apiVersion"}}, {spec.Kind, []string{"kind"}}, {"kubernetes", []string{"metadata", "name"}},
		{l.in.Releases.Latest(), []string{"spec", "kubernetesVersion"}},
	}
	for _, n := range needed {
		if strict.Get(tree.Root, n.keys[0]) != nil && (len(n.keys) == 1 || strict.Get(strict.Get(tree.Root, n.keys[0]), n.keys[1]) != nil) {
			continue
		}
		tree.SetBelow(tree.Root, tree.Text(n.value, o), n.keys...)
		if n.keys[0] == "spec" && !l.in.HostsUnread {
			l.warnings = append(l.warnings, o.Fault("no version of Kubernetes is given: taking "+n.value+", the newest that this kubewright knows; "+
				"a newer kubewright would upgrade the cluster, so set kube_version, or write a cluster file", ""))
		}
	}
	return spec.ParseTree(l.Inventory, tree)
}

// conflicts warns of what the inventory says otherwise than the cluster file, which wins. The name of
// a cluster is the file's business: what Kubespray calls so is a domain.
func (l *loader) conflicts(overrides []strict.Override) {
	check := strict.Checker{Doc: l.in.Spec.Doc()}
	for _, o := range overrides {
		if o.Path.String() != "metadata.name" {
			check.Refuse(o.Path, "wins over %s in %s, which has another value", o.Origin.Name, o.Origin)
		}
	}
	l.warnings = append(l.warnings, check.Faults...)
}

// terraform reads the outputs of a Terraform configuration. While the cluster file has faults, it
// is not asked: it may be about to make machines.
func (l *loader) terraform(t spec.TerraformSource) error {
	l.in.HostsUnread = true
	t.Dir = inventory.Join(l.Cluster, t.Dir)
	t.VarFiles = slices.Clone(t.VarFiles)
	where := at("inventory", "terraform")
	check := strict.Checker{Doc: l.in.Spec.Doc()}
	for i, path := range t.VarFiles {
		t.VarFiles[i] = inventory.Join(l.Cluster, path)
		l.exists(&check, where.Key("varFiles").Index(i), t.VarFiles[i])
	}
	if strings.Contains(t.Binary, "/") {
		t.Binary = inventory.Join(l.Cluster, t.Binary)
		l.exists(&check, where.Key("binary"), t.Binary)
	}
	l.exists(&check, where.Key("dir"), t.Dir)
	l.faults = append(l.faults, check.Faults...)
	if _, _, faults := resolve(l.in); len(l.faults)+len(l.ofSpec)+len(faults) > 0 {
		return nil
	}
	if l.Terraform == nil {
		return errors.New("the hosts stand in the outputs of Terraform, which cannot be read here")
	}
	name, data, err := l.Terraform(t)
	if err != nil {
		return err
	}
	hosts, faults := terraform.Parse(path.Join(t.Dir, name), data)
	l.faults, l.warnings = append(l.faults, faults...), hosts.Warnings
	if hosts.Source.Doc == nil { // nothing was understood
		return nil
	}
	unfit, conflicts := l.in.Spec.TakeAccess(hosts.Access, hosts.Source.Doc, hosts.AccessAt)
	l.faults, l.warnings = append(l.faults, unfit...), append(l.warnings, conflicts...)
	l.in.Inventory, l.in.HostsUnread = &hosts.Source, false
	return nil
}

// exists asks whether a file or folder is there that the cluster file names.
func (l *loader) exists(check *strict.Checker, where strict.Path, path string) {
	if l.Exists == nil || path == "" {
		return
	}
	if err := l.Exists(path); err != nil {
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
