package inventory

import "kubewright/spec/strict"

// Files lends the loaders of inventories eyes and hands: they open and run nothing themselves. In
// every path a leading ~/ is the operator's home folder.
type Files struct {
	// Read returns what a file holds.
	Read func(path string) ([]byte, error)
	// List returns the names of what is in a folder, sorted, folders with a trailing slash. The
	// error of a folder that is not there wraps fs.ErrNotExist.
	List func(folder string) ([]string, error)
	// Executable reports whether a path is a file that may be run.
	Executable func(path string) bool
	// Run runs a program of the operator on this machine and returns what it writes to stdout.
	Run func(path string, args ...string) ([]byte, error)
}

// Format reads inventories that are not written in kubewright's own form.
type Format interface {
	// Name is what the format is called in the documentation.
	Name() string
	// Recognizes reports whether what is at the path is of the format.
	Recognizes(Candidate) bool
	// Load reads the inventory at the path. The Import is never nil; with faults it may be
	// incomplete, and is only good for its warnings.
	Load(path string, files Files) (*Import, strict.Faults)
}

// Candidate is what there is to tell the format of an inventory by.
type Candidate struct {
	// Path is the path of the file or folder, without a trailing slash.
	Path string
	// Folder says that it is a folder; Names is then what List returns of it.
	Folder bool
	Names  []string
	// Executable says that it is a program; Data is what the file holds.
	Executable bool
	Data       []byte
}

// Import is an inventory of another form, put into kubewright's own.
type Import struct {
	// Name is the path of a file in whose folder relative paths of the hosts begin.
	Name string
	// Hosts is an inventory file.
	Hosts strict.Tree
	// Cluster is what the inventory says of the cluster, as a part of a cluster file.
	Cluster strict.Tree
	// Report lists every variable of the inventory, and what became of it.
	Report []Variable
	// Warnings are about what works, but likely not as wished.
	Warnings strict.Faults
}

// Verdict is what became of a variable.
type Verdict string

// The verdicts on a variable.
const (
	// Understood is what was put into the hosts or the cluster.
	Understood Verdict = "understood"
	// Ignored is what changes nothing here.
	Ignored Verdict = "ignored"
	// Unsupported is what asks for something that kubewright does not do.
	Unsupported Verdict = "unsupported"
)

// Variable is a value that an inventory of another form sets, which may be a secret and is not
// shown.
type Variable struct {
	// Name is the name of the variable, Scope that of the host or the group that has it.
	Name, Scope string
	// Origin is where it is set.
	Origin strict.Origin
	// Verdict is what became of it; Reason says what it was made of, or why it was not.
	Verdict Verdict
	Reason  string
}
