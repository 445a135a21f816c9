package memhost

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"strings"

	"kubewright/internal/sh"
)

// maxShown is the size in bytes up to which a look returns a file only to show its lines.
const maxShown = 64 << 10

// Answer answers a look, as a sh.Watcher does.
func (h *Host) Answer(probes []sh.Probe) *sh.Answers {
	h.tb.Helper()
	a := &sh.Answers{
		Files: map[string]sh.FileState{}, Units: map[string]sh.UnitState{}, Sysctls: map[string]string{},
		Modules: map[string]bool{}, Reach: map[string]bool{}, Manifest: h.Manifest(),
	}
	if n := h.Nodes[sh.CacheDir]; n != nil {
		a.Cached = n.Mode.IsDir()
	}
	files, stamped := map[string]sh.FileProbe{}, false
	for _, p := range probes {
		switch p := p.(type) {
		case sh.FileProbe:
			if old, ok := files[p.Path]; ok {
				p = merge(old, p)
			}
			files[p.Path] = p
		case sh.UnitProbe:
			a.Units[p.Name] = h.unitState(p.Name)
		case sh.SysctlProbe:
			if v, ok := h.Sysctls[p.Key]; ok {
				a.Sysctls[p.Key] = strings.Join(strings.Fields(v), " ")
			}
		case sh.ModuleProbe:
			a.Modules[p.Name] = h.Modules[p.Name]
		case sh.SwapProbe:
			a.Swaps = append([]string(nil), h.Swaps...)
		case sh.ReachProbe:
			_, a.Reach[p.URL] = h.Web[p.URL]
		case sh.FactsProbe:
			a.Facts = h.Facts
		default:
			h.tb.Fatalf("memhost: unknown probe %T", p)
		}
	}
	for _, p := range files {
		stamped = stamped || p.Stamped
	}
	for _, p := range files {
		a.Files[p.Path] = h.fileState(p, stamped)
	}
	return a
}

// merge is the question that answers both.
func merge(a, b sh.FileProbe) sh.FileProbe {
	b.Content, b.Secret, b.Follow = b.Content || a.Content, b.Secret || a.Secret, b.Follow || a.Follow
	b.Stamped = b.Stamped && a.Stamped
	if b.Want == "" {
		b.Want = a.Want
	}
	return b
}

// fileState looks at one path. stamped tells that stamps were read in this look.
func (h *Host) fileState(p sh.FileProbe, stamped bool) sh.FileState {
	var f sh.FileState
	s, known := h.stamps[p.Path]
	if known && stamped {
		f.Installed, f.Source = s.installed, s.source
	}
	n := h.Nodes[p.Path]
	if n == nil {
		return f
	}
	f.Exists, f.Link = true, n.Target
	end := h.follow(p.Path)
	if p.Follow && end != nil {
		n = end
	}
	f.Mode, f.UID, f.GID, f.Size = n.Mode, n.UID, n.GID, n.size()
	if end == nil || !end.Mode.IsRegular() {
		return f
	}
	if p.Stamped && known && s.changed == h.Nodes[p.Path].changed {
		f.SHA256 = s.installed
		return f
	}
	f.SHA256 = digest(end.Content)
	shown := p.Want != "" && p.Want != f.SHA256 && !p.Secret && len(end.Content) <= maxShown
	if p.Content || shown {
		f.Content, f.HasContent = append([]byte{}, end.Content...), true
	}
	return f
}

func (n *Node) size() int64 {
	if n.Mode&fs.ModeSymlink != 0 {
		return int64(len(n.Target))
	}
	return int64(len(n.Content))
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// unitState is what systemctl show says, and our record.
func (h *Host) unitState(name string) sh.UnitState {
	u := h.Units[name]
	if u == nil {
		u = &Unit{}
	}
	s := sh.UnitState{Load: h.load(name), Active: u.Active, Enabled: "disabled"}
	if s.Active == "" {
		s.Active = "inactive"
	}
	switch {
	case s.Load == "masked":
		s.Enabled = "masked"
	case u.Enabled:
		s.Enabled = "enabled"
	case s.Load == "not-found":
		s.Enabled = ""
	}
	file := h.unitFile(name)
	s.NeedDaemonReload = u.loaded != nil && (file == nil || !bytes.Equal(file.Content, u.loaded))
	if n := h.Nodes[startedPath(name)]; n != nil {
		s.Started, _, _ = strings.Cut(string(n.Content), "\n")
	}
	return s
}

func startedPath(unit string) string { return sh.UnitsDir + "/" + unit }

func (h *Host) unitFile(name string) *Node {
	for _, dir := range []string{unitDir, "/usr/lib/systemd/system/"} {
		if h.Nodes[dir+name] != nil {
			return h.Nodes[dir+name]
		}
	}
	return nil
}

// load tells whether systemd has, or could read, the unit: what it has read stays until it
// is told to read again.
func (h *Host) load(name string) string {
	file := h.unitFile(name)
	switch {
	case file != nil && file.Target == "/dev/null":
		return "masked"
	case file != nil, h.Units[name] != nil && h.Units[name].loaded != nil:
		return "loaded"
	}
	return "not-found"
}
