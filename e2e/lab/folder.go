package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// access is what opens the nodes of a lab.
type access struct {
	key      keyPair
	password string // of sudo; empty unless the login needs one
}

// ensureFolder makes the lab's folder, and in it what opens the nodes. From here on the folder
// is known as the lab's, so that Down removes it however far Up gets.
func (l *Lab) ensureFolder(cfg Config) (access, error) {
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return access{}, fmt.Errorf("making the lab's folder: %w", err)
	}
	if _, err := ReadState(cfg.Dir); err != nil {
		if err := writeState(cfg.Dir, l.state(cfg)); err != nil {
			return access{}, err
		}
	}
	private, err := ensureSecret(cfg.Dir, fileKey, func() ([]byte, error) {
		key, err := newKeyPair(l.rand, "kubewright lab "+cfg.Name)
		return key.private, err
	})
	if err != nil {
		return access{}, err
	}
	var a access
	if a.key, err = parseKeyPair(private); err != nil {
		return access{}, fmt.Errorf("%s: %w: delete the file, and the lab gets a new key", filepath.Join(cfg.Dir, fileKey), err)
	}
	if cfg.Login == LoginSudoPassword {
		password, err := ensureSecret(cfg.Dir, fileSudoPassword, func() ([]byte, error) { return newPassword(l.rand) })
		if err != nil {
			return access{}, err
		}
		a.password = strings.TrimSpace(string(password))
	}
	return a, nil
}

// ensureSecret reads a file that only its owner may read, and makes it where it is missing.
func ensureSecret(dir, name string, generate func() ([]byte, error)) ([]byte, error) {
	content, err := os.ReadFile(filepath.Join(dir, name))
	if err == nil {
		return content, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the lab's %s: %w", name, err)
	}
	if content, err = generate(); err != nil {
		return nil, err
	}
	return content, writeFile(dir, name, 0o600, content)
}

// writeFiles writes the results of Up into the lab's folder. known are the nodes that are or were
// there.
func (l *Lab) writeFiles(cfg Config, nodes, known []Node) (State, error) {
	if cfg.Artifacts != "" {
		digests, err := os.ReadFile(filepath.Join(cfg.Artifacts, fileDigests))
		if err != nil {
			return State{}, fmt.Errorf("reading the digests of the artifacts: %w", err)
		}
		if err := writeFile(cfg.Dir, fileDigests, 0o644, digests); err != nil {
			return State{}, err
		}
	}
	cluster, err := renderCluster(cfg)
	if err != nil {
		return State{}, err
	}
	if err := writeFile(cfg.Dir, fileCluster, 0o644, cluster); err != nil {
		return State{}, err
	}
	state := l.state(cfg)
	state.Gone = known
	return writeNodes(cfg.Dir, state, nodes)
}

// writeNodes writes the files that say which nodes a lab has. What else is in the folder, and
// may be edited by then, does not depend on them. It returns the state with these nodes.
func writeNodes(dir string, state State, nodes []Node) (State, error) {
	state = state.with(nodes)
	inventory, err := renderInventory(state)
	if err != nil {
		return State{}, err
	}
	for _, f := range []struct {
		name    string
		content []byte
	}{{fileKnownHosts, knownHosts(nodes)}, {fileInventory, inventory}} {
		if err := writeFile(dir, f.name, 0o644, f.content); err != nil {
			return State{}, err
		}
	}
	return state, writeState(dir, state)
}

// state is what state.json says about a lab, but for its nodes.
func (l *Lab) state(cfg Config) State {
	s := State{Name: cfg.Name, Engine: l.engine, Subnet: cfg.Subnet, Login: cfg.Login,
		KubernetesVersion: cfg.KubernetesVersion, Artifacts: cfg.Artifacts, Addons: cfg.Addons}
	if cfg.Artifacts != "" {
		mirror := at(cfg.Subnet, mirrorOffset)
		s.Mirror = &mirror
	}
	if cfg.VIP {
		vip := at(cfg.Subnet, vipOffset)
		s.VIP = &vip
	}
	return s
}

func writeState(dir string, s State) error {
	encoded, err := s.encode()
	if err != nil {
		return err
	}
	return writeFile(dir, fileState, 0o644, encoded)
}
