package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// sysctls are limits of the machine that all its nodes share, with the least that fifty nodes
// need: systemd, kubelet and containerd watch files in every node, and every node has neighbours.
func sysctls() map[string]int {
	return map[string]int{
		"fs/inotify/max_user_instances":     8192,
		"fs/inotify/max_user_watches":       524288,
		"net/ipv4/neigh/default/gc_thresh1": 4096,
		"net/ipv4/neigh/default/gc_thresh2": 8192,
		"net/ipv4/neigh/default/gc_thresh3": 16384,
	}
}

// machineSettings raises sysctls of the machine while there are labs, and puts them back when
// the last one is gone.
type machineSettings struct {
	root string // /proc/sys
	// record holds the values from before, for all labs together. It is under /run: like the
	// settings it lasts until the machine restarts.
	record string
}

func newMachineSettings() machineSettings {
	return machineSettings{root: "/proc/sys", record: "/run/kubewright-lab/sysctls.json"}
}

// raise raises what is too low. The values from before are on disk before the first change.
func (s machineSettings) raise() error {
	before, err := s.recorded()
	if err != nil {
		return err
	}
	low := make(map[string]int)
	for name, want := range sysctls() {
		have, err := s.read(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a kernel without the limit does not need it raised
		}
		if err != nil {
			return err
		}
		if have < want {
			low[name] = want
			if _, known := before[name]; !known {
				before[name] = have
			}
		}
	}
	if len(low) == 0 {
		return nil
	}
	data, err := json.Marshal(before)
	if err != nil {
		return fmt.Errorf("recording the machine's sysctls: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(s.record), 0o755); err != nil {
		return fmt.Errorf("recording the machine's sysctls: %w", err)
	}
	if err := writeFile(filepath.Dir(s.record), filepath.Base(s.record), 0o644, data); err != nil {
		return err
	}
	for name, want := range low {
		if err := s.write(name, want); err != nil {
			return err
		}
	}
	return nil
}

// restore puts back what raise changed, unless somebody else has changed it since.
func (s machineSettings) restore() error {
	before, err := s.recorded()
	if err != nil {
		return err
	}
	for name, value := range before {
		have, err := s.read(name)
		if err != nil {
			return err
		}
		if have != sysctls()[name] {
			continue
		}
		if err := s.write(name, value); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(filepath.Dir(s.record)); err != nil {
		return fmt.Errorf("removing the record of the machine's sysctls: %w", err)
	}
	return nil
}

// recorded returns the values from before; without a record there are none.
func (s machineSettings) recorded() (map[string]int, error) {
	before := make(map[string]int)
	data, err := os.ReadFile(s.record)
	if errors.Is(err, fs.ErrNotExist) {
		return before, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &before)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the record of the machine's sysctls, %s: %w", s.record, err)
	}
	return before, nil
}

func (s machineSettings) read(name string) (int, error) {
	data, err := os.ReadFile(filepath.Join(s.root, name))
	if err != nil {
		return 0, fmt.Errorf("reading a sysctl: %w", err)
	}
	value, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return 0, fmt.Errorf("reading the sysctl %s: %w", name, err)
	}
	return value, nil
}

func (s machineSettings) write(name string, value int) error {
	err := os.WriteFile(filepath.Join(s.root, name), []byte(strconv.Itoa(value)+"\n"), 0o644)
	if err != nil {
		return fmt.Errorf("setting the sysctl %s to %d: %w", name, value, err)
	}
	return nil
}
