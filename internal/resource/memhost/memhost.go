// Package memhost is a host in memory: it interprets the same steps and answers the same
// probes as the scripts that internal/sh renders for a real one. Tests use it to hold
// resources and phases to the law: what was applied is as wanted, and a run that was cut
// anywhere is completed by the next one.
//
// A step is a list of micro-operations, each of which happens or does not, as a power cut
// leaves them. An unknown step or probe fails the test: a mock that lets unknown things
// succeed is worse than none.
package memhost

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"kubewright/internal/sh"
)

// Node is what is at a path.
type Node struct {
	// Mode holds type and permission bits.
	Mode     fs.FileMode
	UID, GID int
	Content  []byte // of a regular file
	Target   string // of a symbolic link

	changed int // when content, mode or owner last changed, as ctime
	written int // when content last changed, as mtime
}

// Unit is a systemd unit. Whether it is loaded or masked follows from the unit files.
type Unit struct {
	Active  string // active, inactive, failed
	Enabled bool
	// Breaks makes each start fail.
	Breaks bool
	// Starts counts how often it was started.
	Starts int

	loaded  []byte // the unit file that systemd has read; nil: none
	running []byte // the unit file that the process was started from
	begun   int    // when it was last started
}

// Host is the whole state of a host.
type Host struct {
	tb testing.TB

	Nodes   map[string]*Node // by absolute path
	Units   map[string]*Unit
	Sysctls map[string]string
	Modules map[string]bool
	Swaps   []string
	// Loadable lists the modules that can be loaded, and the kernel parameters that each
	// brings with it.
	Loadable map[string]map[string]string
	// Web is what the host can download, by URL.
	Web map[string][]byte
	// Mounts are mount points, beside the root; Links network interfaces; Pods containers.
	Mounts, Links, Pods []string
	// Addresses are those of the interfaces, as "ip -o address show" prints them.
	Addresses []string
	// Rules are the lines of the packet filter as iptables-save(8) prints them.
	Rules, Tables, Sets []string
	// Routes are the destinations of routes by the protocol number that set them.
	Routes map[string][]string
	// Facts is what the facts script prints.
	Facts []byte

	stamps map[string]stamp
	clock  int
}

// stamp is what Install recorded about a path.
type stamp struct {
	installed, source string
	changed           int
}

// New returns a host with the folders that every Linux has.
func New(tb testing.TB) *Host {
	h := &Host{
		tb: tb, Nodes: map[string]*Node{}, Units: map[string]*Unit{}, Sysctls: map[string]string{},
		Modules: map[string]bool{}, Loadable: map[string]map[string]string{}, Web: map[string][]byte{},
		Routes: map[string][]string{}, stamps: map[string]stamp{},
	}
	h.Nodes["/"] = &Node{Mode: fs.ModeDir | 0o755}
	h.File("/etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\n")
	h.File("/etc/group", 0o644, "root:x:0:\n")
	for _, dir := range []string{"/etc/systemd/system", "/var/lib", "/var/log", "/usr/local/bin", "/usr/local/sbin", "/opt", "/srv", "/proc", "/run/systemd/system"} {
		h.Dir(dir, 0o755)
	}
	h.Dir("/tmp", fs.ModeSticky|0o777)
	return h
}

// Clone returns a copy that shares nothing with the host.
func (h *Host) Clone() *Host {
	c := *h
	c.Nodes, c.Units, c.Loadable = map[string]*Node{}, map[string]*Unit{}, map[string]map[string]string{}
	for p, n := range h.Nodes {
		copied := *n
		copied.Content = bytes.Clone(n.Content)
		c.Nodes[p] = &copied
	}
	for name, u := range h.Units {
		copied := *u
		c.Units[name] = &copied
	}
	for name, brings := range h.Loadable {
		c.Loadable[name] = maps.Clone(brings)
	}
	c.Sysctls, c.Modules, c.Web = maps.Clone(h.Sysctls), maps.Clone(h.Modules), maps.Clone(h.Web)
	c.Routes, c.stamps = maps.Clone(h.Routes), maps.Clone(h.stamps)
	for _, list := range []*[]string{&c.Swaps, &c.Mounts, &c.Links, &c.Pods, &c.Addresses, &c.Rules, &c.Tables, &c.Sets} {
		*list = slices.Clone(*list)
	}
	return &c
}

// File puts a regular file at p, with its parents, as somebody else would.
func (h *Host) File(p string, mode fs.FileMode, content string) {
	h.parents(p)
	h.put(p, &Node{Mode: mode, Content: []byte(content)})
}

// Dir makes a folder, with its parents.
func (h *Host) Dir(p string, mode fs.FileMode) {
	h.parents(p)
	h.put(p, &Node{Mode: fs.ModeDir | mode})
}

// Symlink puts a link at p, with its parents.
func (h *Host) Symlink(p, target string) {
	h.parents(p)
	h.put(p, &Node{Mode: fs.ModeSymlink | 0o777, Target: target})
}

// Unit puts a unit file at its place and has systemd know it.
func (h *Host) Unit(name string, u Unit) {
	p := unitDir + name
	h.File(p, 0o644, "[Service]\n# "+name+"\n")
	u.loaded = h.Nodes[p].Content
	if u.Active == "" {
		u.Active = "inactive"
	}
	if u.Active == "active" {
		u.running = u.loaded
	}
	h.Units[name] = &u
}

const unitDir = "/etc/systemd/system/"

func (h *Host) parents(p string) {
	for dir := path.Dir(p); h.Nodes[dir] == nil; dir = path.Dir(dir) {
		h.Nodes[dir] = &Node{Mode: fs.ModeDir | 0o755}
	}
}

// put gives a path its new content.
func (h *Host) put(p string, n *Node) {
	h.clock++
	n.changed, n.written = h.clock, h.clock
	h.Nodes[p] = n
}

// remove deletes p and what is below it.
func (h *Host) remove(p string) {
	for other := range h.Nodes {
		if other == p || strings.HasPrefix(other, p+"/") {
			delete(h.Nodes, other)
		}
	}
	if strings.HasPrefix(sh.StampsPath, p+"/") { //nolint:gocritic // is the file of stamps below p?
		h.stamps = map[string]stamp{}
	}
}

// below tells whether anything is in the folder p.
func (h *Host) below(p string) bool {
	for other := range h.Nodes {
		if other != p && strings.HasPrefix(other, strings.TrimSuffix(p, "/")+"/") {
			return true
		}
	}
	return false
}

// follow resolves the links at the end of a path; nil when it leads nowhere.
func (h *Host) follow(p string) *Node {
	const deepest = 10
	for range deepest {
		n := h.Nodes[p]
		if n == nil || n.Mode&fs.ModeSymlink == 0 {
			return n
		}
		if path.IsAbs(n.Target) {
			p = path.Clean(n.Target)
		} else {
			p = path.Join(path.Dir(p), n.Target)
		}
	}
	return nil
}

// Manifest is what the host's manifest says, by the rules of its reader.
func (h *Host) Manifest() map[string]string {
	entries := map[string]string{}
	n := h.Nodes[sh.ManifestPath]
	if n == nil {
		return entries
	}
	for line := range strings.Lines(string(n.Content)) {
		id, digest, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		switch {
		case !ok:
		case digest == "":
			delete(entries, id)
		default:
			entries[id] = digest
		}
	}
	return entries
}

// Run performs the steps of tasks in order and stops after limit micro-operations; a
// negative limit means never. cut tells that there was more to do. The error is that of
// the step that failed, with its task.
func (h *Host) Run(tasks []sh.Task, limit int) (cut bool, err error) {
	h.tb.Helper()
	h.prepare()
	for _, t := range tasks {
		for _, s := range t.Steps {
			for _, op := range h.ops(s) {
				if limit == 0 {
					return true, nil
				}
				limit--
				if err := op(); err != nil {
					return false, fmt.Errorf("%s: %T: %w", t.ID, s, err)
				}
			}
		}
	}
	return false, nil
}

// Apply performs one step whole.
func (h *Host) Apply(s sh.Step) error {
	h.tb.Helper()
	_, err := h.Run([]sh.Task{{ID: "step", Steps: []sh.Step{s}}}, -1)
	return err
}

// Running is the unit file that the process was started from, "" when none runs.
func (u *Unit) Running() string { return string(u.running) }
