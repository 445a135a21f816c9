package memhost

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"kubewright/internal/sh"
)

// unpack extracts a cached archive.
func (h *Host) unpack(sha256 string) []op {
	dir := unpackedPath(sha256)
	return []op{
		func() error { h.remove(dir); h.put(dir, &Node{Mode: fs.ModeDir | 0o700}); return nil },
		func() error {
			n := h.Nodes[sh.CachePath(sha256)]
			if n == nil {
				return fmt.Errorf("archive %s is not in the cache", sha256)
			}
			return h.extract(n.Content, dir)
		},
	}
}

func (h *Host) extract(archive []byte, dir string) error {
	unzipped, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return err
	}
	for r := tar.NewReader(unzipped); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		content, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		p := path.Join(dir, header.Name) //nolint:gosec // a path in memory
		for up := path.Dir(p); h.Nodes[up] == nil; up = path.Dir(up) {
			h.put(up, &Node{Mode: fs.ModeDir | 0o700}) // by the umask
		}
		h.put(p, &Node{Mode: fs.FileMode(header.Mode), Content: content})
	}
}

// systemOps are those of the steps that act on systemd and the kernel.
func (h *Host) systemOps(s sh.Step) ([]op, bool) {
	switch s := s.(type) {
	case sh.DaemonReload:
		return []op{h.daemonReload}, true
	case sh.StartUnit:
		started := h.write(startedPath(s.Name), Node{Mode: 0o644, Content: []byte(s.Digest + "\n")})
		return append([]op{
			func() error { return h.enable(s.Name) },
			func() error { return h.restart(s.Name) },
		}, started...), true
	case sh.ForgetStart:
		return []op{func() error { return h.unlink(startedPath(s.Name)) }}, true
	case sh.EnableUnit:
		return []op{func() error { return h.enable(s.Name) }}, true
	case sh.StopUnit:
		return []op{
			func() error {
				if h.load(s.Name) != "not-found" {
					u := h.unit(s.Name)
					u.Active, u.Enabled, u.running = "inactive", false, nil
				}
				return nil
			},
			func() error { return h.unlink(startedPath(s.Name)) },
		}, true
	case sh.SetSysctl:
		return []op{func() error {
			if _, ok := h.Sysctls[s.Key]; !ok {
				return fmt.Errorf("no kernel parameter %s", s.Key)
			}
			h.Sysctls[s.Key] = s.Value
			return nil
		}}, true
	case sh.LoadModule:
		return []op{func() error { return h.modprobe(s.Name) }}, true
	case sh.SwapOff:
		return []op{func() error { h.Swaps = nil; return nil }}, true
	}
	return nil, false
}

func (h *Host) unit(name string) *Unit {
	if h.Units[name] == nil {
		h.Units[name] = &Unit{Active: "inactive"}
	}
	return h.Units[name]
}

// daemonReload forgets what was read of all unit files and reads them again.
func (h *Host) daemonReload() error {
	for name, u := range h.Units {
		u.loaded = nil
		if f := h.unitFile(name); f != nil {
			u.loaded = f.Content
		}
	}
	return nil
}

func (h *Host) enable(name string) error {
	if load := h.load(name); load != "loaded" || h.unitFile(name) == nil {
		return fmt.Errorf("unit %s is %s", name, load)
	}
	h.unit(name).Enabled = true
	return nil
}

func (h *Host) restart(name string) error {
	u := h.unit(name)
	if u.loaded == nil {
		u.loaded = h.unitFile(name).Content
	}
	h.clock++
	u.Starts++
	u.begun = h.clock
	if u.Breaks {
		u.Active, u.running = "failed", nil
		return fmt.Errorf("unit %s does not start", name)
	}
	u.Active, u.running = "active", u.loaded
	return nil
}

func (h *Host) modprobe(name string) error {
	brings, ok := h.Loadable[name]
	if !ok {
		return fmt.Errorf("no module %s", name)
	}
	h.Modules[name] = true
	for key, value := range brings {
		if _, there := h.Sysctls[key]; !there {
			h.Sysctls[key] = value
		}
	}
	return nil
}

// podOps are those of the steps about pods, and of those that only reset has.
func (h *Host) podOps(s sh.Step) ([]op, bool) {
	switch s := s.(type) {
	case sh.NoteProcess, sh.AwaitEnd: // its kubelet is quick
		return nil, true
	case sh.StopPods:
		return []op{func() error { h.Pods = nil; return nil }}, true
	case sh.Unmount:
		return []op{func() error {
			h.Mounts = slices.DeleteFunc(h.Mounts, func(m string) bool { return strings.HasPrefix(m, s.Below+"/") })
			return nil
		}}, true
	case sh.DeleteLinks:
		return []op{func() error { h.Links = without(h.Links, s.Prefixes); return nil }}, true
	case sh.DeleteRules:
		return []op{
			func() error {
				h.Rules = slices.DeleteFunc(h.Rules, func(line string) bool { return ours(line, s) })
				return nil
			},
			func() error {
				h.Tables = slices.DeleteFunc(h.Tables, func(t string) bool { return slices.Contains(s.NftTables, t) })
				return nil
			},
			func() error { h.Sets = without(h.Sets, s.SetPrefixes); return nil },
		}, true
	case sh.DeleteAddress:
		return []op{func() error {
			h.Addresses = slices.DeleteFunc(h.Addresses, func(a string) bool { return strings.Contains(a, " "+s.IP+"/") })
			return nil
		}}, true
	case sh.DeleteRoutes:
		return []op{func() error { delete(h.Routes, s.Protocol); return nil }}, true
	}
	return nil, false
}

// without leaves out the names that start with one of the prefixes.
func without(names, prefixes []string) []string {
	return slices.DeleteFunc(names, func(name string) bool { return startsWith(name, prefixes) })
}

func startsWith(s string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s, p) })
}

// ours tells whether a line of iptables-save(8) goes: a chain of ours, a rule in one, a
// jump to one, or a rule with a comment of ours.
func ours(line string, s sh.DeleteRules) bool {
	words := strings.Fields(line)
	for i, w := range words {
		next := ""
		if i+1 < len(words) {
			next = words[i+1]
		}
		switch {
		case i == 0 && strings.HasPrefix(w, ":") && startsWith(w[1:], s.ChainPrefixes),
			(i == 0 && w == "-A" || w == "-j" || w == "-g") && startsWith(next, s.ChainPrefixes),
			w == "--comment" && startsWith(strings.TrimPrefix(strings.Join(words[i+1:], " "), `"`), s.Comments):
			return true
		}
	}
	return false
}
