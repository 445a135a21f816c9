package lab

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"kubewright/internal/fault"
)

// Files of a lab's folder. fileKubeconfig and fileLock are written by others, and belong to the
// lab's cluster: fileLock has digests that kubewright learned, beside cluster.yaml.
const (
	fileState        = "state.json"
	fileCluster      = "cluster.yaml"
	fileInventory    = "inventory.yaml"
	fileKey          = "id_ed25519"
	fileKnownHosts   = "known_hosts"
	fileDigests      = "digests.yaml"
	fileSudoPassword = "sudo_password"
	fileKubeconfig   = "kubeconfig"
	fileLock         = "kubewright.lock"
)

// labFiles is everything that goes with the lab.
func labFiles() []string {
	return []string{fileCluster, fileInventory, fileKey, fileKnownHosts, fileDigests,
		fileSudoPassword, fileKubeconfig, fileLock, fileState} // the state last: it says whose the folder is
}

// Node is a host of a lab.
type Node struct {
	Name    string     `json:"name"`
	Role    Role       `json:"role"`
	Address netip.Addr `json:"address"`
	// HostKey is the node's SSH host key as in authorized_keys.
	HostKey string `json:"hostKey,omitempty"`
}

// State is what state.json tells the lab's users: tests, scripts, and the commands that get
// only the folder. The engine, not this file, knows what exists.
type State struct {
	Name   string       `json:"name"`
	Engine Engine       `json:"engine"`
	Subnet netip.Prefix `json:"subnet"`
	Login  Login        `json:"login"`
	// KubernetesVersion is what cluster.yaml asks for.
	KubernetesVersion string `json:"kubernetesVersion"`
	// Artifacts is the folder that the mirror serves, Mirror its address; both absent without one.
	Artifacts string      `json:"artifacts,omitempty"`
	Mirror    *netip.Addr `json:"mirror,omitempty"`
	// Addons says that cluster.yaml has addons.
	Addons bool `json:"addons,omitempty"`
	// VIP is the cluster's virtual IP; absent without one.
	VIP   *netip.Addr `json:"vip,omitempty"`
	Nodes []Node      `json:"nodes"`
	// Gone are the nodes that were there and were removed: a node that gets the name of one gets
	// its address too.
	Gone []Node `json:"gone,omitempty"`
}

// known is every node that is or ever was there, as far as the file knows.
func (s State) known() []Node { return slices.Concat(s.Nodes, s.Gone) }

// with is the state when the lab has these nodes: what is known beside them is gone.
func (s State) with(nodes []Node) State {
	known := s.known()
	s.Nodes, s.Gone = nodes, nil
	for _, n := range known {
		if !named(nodes, n.Name) {
			s.Gone = append(s.Gone, Node{Name: n.Name, Role: n.Role, Address: n.Address})
		}
	}
	return s
}

// ErrNoLab says that a folder holds no lab.
var ErrNoLab = errors.New("no lab here")

// ReadState reads the state of the lab in dir. The error is ErrNoLab where there is none.
func ReadState(dir string) (State, error) {
	path := filepath.Join(dir, fileState)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return State{}, fmt.Errorf("%s: %w: run `kubewright lab up`, or name the lab's folder with --dir", path, ErrNoLab)
	}
	if err != nil {
		return State{}, fmt.Errorf("reading the lab's state: %w", err)
	}
	var s State
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	err = decoder.Decode(&s)
	if err == nil && (s.Name == "" || !s.Subnet.IsValid()) {
		err = errors.New("no name or no subnet")
	}
	if err != nil {
		return State{}, fmt.Errorf("%s is damaged: %w: delete it; `kubewright lab up --name NAME` writes it again", path, err)
	}
	return s, nil
}

// readOwnState reads the state of the named lab, which dir has to be the folder of.
func readOwnState(dir, name string) (State, error) {
	state, err := ReadState(dir)
	if err != nil {
		return State{}, fault.Wrap(fault.BadInput, err)
	}
	return state, state.mustBe(dir, name)
}

// mustBe refuses the folder of another lab than the named one.
func (s State) mustBe(dir, name string) error {
	if s.Name != name {
		return fault.New(fault.BadInput, "%s is the folder of lab %s: name another with --dir, or that lab with --name", dir, s.Name)
	}
	return nil
}

// encode renders the state as ReadState reads it.
func (s State) encode() ([]byte, error) {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encoding the lab's state: %w", err)
	}
	return append(data, '\n'), nil
}

// writeFile puts a file into the lab's folder at once: a reader sees the old content or the new.
func writeFile(dir, name string, mode fs.FileMode, content []byte) error {
	tmp, err := os.CreateTemp(dir, "."+name+"-")
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	defer os.Remove(tmp.Name()) // fails, as it should, once the file has its name
	_, err = tmp.Write(content)
	err = errors.Join(err, tmp.Chmod(mode), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), filepath.Join(dir, name))
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", filepath.Join(dir, name), err)
	}
	return nil
}

// removeFiles removes a lab's files, and its folder when nothing else is in it. It returns
// whether something else was.
func removeFiles(dir string) (kept bool, err error) {
	for _, name := range labFiles() {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, fmt.Errorf("removing the lab's files: %w", err)
		}
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("removing the lab's folder: %w", err)
	}
	if len(entries) > 0 {
		return true, nil
	}
	return false, os.Remove(dir)
}
