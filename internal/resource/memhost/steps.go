package memhost

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"kubewright/internal/sh"
)

// op is one micro-operation: it happens whole or not at all.
type op func() error

// ops are the micro-operations of a step, in order.
func (h *Host) ops(s sh.Step) []op {
	h.tb.Helper()
	switch s := s.(type) {
	case sh.WriteFile:
		return h.write(s.Path, Node{Mode: s.Mode, UID: h.id(s.Owner, 0), GID: h.id(s.Owner, 1), Content: s.Content})
	case sh.MakeDir:
		return []op{
			func() error { return h.mkdir(s.Path) },
			func() error { return h.chmod(s.Path, s.Mode) },
			func() error { return h.chown(s.Path, s.Owner) },
		}
	case sh.Symlink:
		return h.write(s.Path, Node{Mode: fs.ModeSymlink | 0o777, Target: s.Target})
	case sh.SetAttributes:
		return []op{
			func() error { return h.chmod(s.Path, s.Mode) },
			func() error { return h.chown(s.Path, s.Owner) },
		}
	case sh.Remove:
		return []op{func() error { return h.unlink(s.Path) }}
	case sh.RemoveDir:
		return []op{func() error { return h.removeDir(s) }}
	case sh.ListForeign:
		return h.listForeign(s.Path)
	case sh.KeepOriginal:
		return h.keep(s.Path)
	case sh.RestoreOriginal:
		return h.restore(s.Path)
	case sh.Intend:
		return h.note(s.ID, "-")
	case sh.Record:
		return h.note(s.ID, s.Digest)
	case sh.Forget:
		return h.note(s.ID, "")
	}
	if ops, ok := h.artifactOps(s); ok {
		return ops
	}
	if ops, ok := h.systemOps(s); ok {
		return ops
	}
	if ops, ok := h.podOps(s); ok {
		return ops
	}
	h.tb.Fatalf("memhost: unknown step %T", s)
	return nil
}

// tmp is the name that content has until it is whole.
func tmp(p string) string { return path.Join(path.Dir(p), "."+path.Base(p)+".kw-tmp") }

// write puts a node at p by way of its temporary name.
func (h *Host) write(p string, n Node) []op {
	half := Node{Mode: n.Mode.Type() | 0o600, Target: n.Target, Content: n.Content[:len(n.Content)/2]}
	whole := Node{Mode: half.Mode, Target: n.Target, Content: n.Content}
	return []op{
		func() error { return h.mkdir(path.Dir(p)) },
		func() error { h.put(tmp(p), &half); return nil },
		func() error { h.put(tmp(p), &whole); return nil },
		func() error { h.put(tmp(p), &n); return nil },
		func() error { return h.rename(tmp(p), p) },
	}
}

func (h *Host) rename(from, to string) error {
	if n := h.Nodes[to]; n != nil && n.Mode.IsDir() {
		delete(h.Nodes, from) // what failed leaves nothing behind
		return fmt.Errorf("%s is a folder", to)
	}
	n := h.Nodes[from]
	delete(h.Nodes, from)
	h.clock++
	n.changed, n.written = h.clock, h.clock
	h.Nodes[to] = n
	return nil
}

func (h *Host) mkdir(p string) error {
	if n := h.Nodes[p]; n != nil {
		if end := h.follow(p); end == nil || !end.Mode.IsDir() {
			return fmt.Errorf("%s is not a folder", p)
		}
		return nil
	}
	if err := h.mkdir(path.Dir(p)); err != nil {
		return err
	}
	h.put(p, &Node{Mode: fs.ModeDir | 0o755})
	return nil
}

// chmod and chown follow links, as the commands do.
func (h *Host) chmod(p string, mode fs.FileMode) error {
	n := h.follow(p)
	if n == nil {
		return fmt.Errorf("chmod %s: %w", p, fs.ErrNotExist)
	}
	h.clock++
	n.Mode, n.changed = n.Mode.Type()|mode.Perm()|mode&fs.ModeSticky, h.clock
	return nil
}

func (h *Host) chown(p, owner string) error {
	n := h.follow(p)
	if n == nil {
		return fmt.Errorf("chown %s: %w", p, fs.ErrNotExist)
	}
	h.clock++
	n.UID, n.GID, n.changed = h.id(owner, 0), h.id(owner, 1), h.clock
	return nil
}

// id is the user (0) or the group (1) of an owner written user:group.
func (h *Host) id(owner string, which int) int {
	words := strings.Split(owner, ":")
	if len(words) != 2 {
		h.tb.Fatalf("memhost: owner %q is not user:group", owner)
	}
	if words[which] == "root" {
		return 0
	}
	id, err := strconv.Atoi(words[which])
	if err != nil {
		h.tb.Fatalf("memhost: owner %q: %v", owner, err)
	}
	return id
}

func (h *Host) unlink(p string) error {
	if n := h.Nodes[p]; n != nil && n.Mode.IsDir() {
		return fmt.Errorf("%s is a folder", p)
	}
	delete(h.Nodes, p)
	return nil
}

func (h *Host) removeDir(s sh.RemoveDir) error {
	n := h.Nodes[s.Path]
	if s.Tree {
		for _, m := range h.Mounts {
			if strings.HasPrefix(m, s.Path+"/") {
				return fmt.Errorf("%s is mounted below %s", m, s.Path)
			}
		}
	}
	if n == nil || !n.Mode.IsDir() || (!s.Tree && h.below(s.Path)) {
		return nil
	}
	if list := h.Nodes[sh.ForeignList(s.Path)]; s.Tree && list != nil && len(list.Content) > 0 {
		h.removeAllBut(s.Path, strings.Split(string(list.Content), "\n"))
		return nil
	}
	h.remove(s.Path)
	if s.Tree {
		for _, m := range h.Mounts {
			if m == s.Path {
				h.Nodes[s.Path] = n // a mount point stays, empty
			}
		}
	}
	return nil
}

// listForeign writes the list of what is in a folder.
func (h *Host) listForeign(dir string) []op {
	list := sh.ForeignList(dir)
	if n := h.Nodes[dir]; n == nil || !n.Mode.IsDir() || h.Nodes[list] != nil {
		return nil
	}
	var b strings.Builder
	for _, p := range slices.Sorted(maps.Keys(h.Nodes)) {
		if strings.HasPrefix(p, dir+"/") {
			b.WriteString(p + "\n")
		}
	}
	content := []byte(b.String())
	half := Node{Mode: 0o600, Content: content[:len(content)/2]}
	whole := Node{Mode: 0o600, Content: content}
	part := list + ".kw-tmp"
	return []op{
		func() error { return h.mkdir(path.Dir(list)) },
		func() error { h.put(part, &half); return nil },
		func() error { h.put(part, &whole); return nil },
		func() error { return h.rename(part, list) },
	}
}

// removeAllBut deletes what is in a folder and not listed. The folders above what is listed
// are listed too.
func (h *Host) removeAllBut(dir string, listed []string) {
	for _, p := range slices.Collect(maps.Keys(h.Nodes)) {
		if strings.HasPrefix(p, dir+"/") && !slices.Contains(listed, p) {
			delete(h.Nodes, p)
		}
	}
}

// keep and restore copy a file, or a link as a link, with mode and owner.
func (h *Host) keep(p string) []op {
	saved := sh.OriginalsDir + p
	if n := h.Nodes[p]; n != nil && !n.Mode.IsDir() && h.Nodes[saved] == nil {
		return h.write(saved, *n)
	}
	return nil
}

func (h *Host) restore(p string) []op {
	saved := sh.OriginalsDir + p
	if h.Nodes[saved] == nil {
		return []op{func() error { return h.unlink(p) }}
	}
	return h.write(p, *h.Nodes[saved])
}

// note appends a line to the manifest; a cut can tear it.
func (h *Host) note(id, digest string) []op {
	return h.appendLine(sh.ManifestPath, id+"\t"+digest+"\n")
}

func (h *Host) appendLine(p, line string) []op {
	add := func(text string) op {
		return func() error {
			n := h.Nodes[p]
			h.put(p, &Node{Mode: n.Mode, UID: n.UID, GID: n.GID, Content: append(append([]byte{}, n.Content...), text...)})
			return nil
		}
	}
	var ops []op
	if h.Nodes[p] == nil {
		ops = append(ops, func() error { return h.mkdir(path.Dir(p)) }, func() error { h.put(p, &Node{Mode: 0o600}); return nil })
	}
	return append(ops, add(line[:len(line)/2]), add(line[len(line)/2:]))
}

// prepare is how each act begins: with the state folder, and with the end of the line that
// a cut left torn.
func (h *Host) prepare() {
	h.Dir(sh.StateDir, 0o700)
	if n := h.Nodes[sh.ManifestPath]; n != nil && len(n.Content) > 0 && n.Content[len(n.Content)-1] != '\n' {
		n.Content = append(n.Content, '\n')
	}
}

// artifactOps are those of the steps that bring files into the cache and install them.
func (h *Host) artifactOps(s sh.Step) ([]op, bool) {
	switch s := s.(type) {
	case sh.Fetch:
		return h.cache(s.SHA256, func() ([]byte, error) {
			content, ok := h.Web[s.URL]
			if !ok {
				return nil, fmt.Errorf("cannot fetch %s", s.URL)
			}
			return content, nil
		}, ""), true
	case sh.TakeUpload:
		return h.cache(s.SHA256, func() ([]byte, error) {
			n := h.Nodes[s.Path]
			if n == nil {
				return nil, fmt.Errorf("%s: %w", s.Path, fs.ErrNotExist)
			}
			return n.Content, nil
		}, s.Path), true
	case sh.Unpack:
		return h.unpack(s.SHA256), true
	case sh.Install:
		return h.install(s), true
	}
	return nil, false
}

// cache puts verified content under its digest and removes where it came from, if anywhere.
func (h *Host) cache(sha256 string, content func() ([]byte, error), upload string) []op {
	dst := sh.CachePath(sha256)
	drop := func() error {
		if upload == "" {
			return nil
		}
		return h.unlink(upload)
	}
	return []op{
		func() error { return h.mkdir(sh.CacheDir) },
		func() error {
			if h.Nodes[dst] != nil {
				return nil
			}
			got, err := content()
			if err != nil {
				return err
			}
			if digest(got) != sha256 {
				return errors.Join(fmt.Errorf("digest is %s, want %s", digest(got), sha256), drop())
			}
			h.put(dst+".kw-tmp", &Node{Mode: 0o600, Content: got})
			return nil
		},
		func() error {
			if h.Nodes[dst] != nil {
				return nil
			}
			return h.rename(dst+".kw-tmp", dst)
		},
		drop,
	}
}

func unpackedPath(sha256 string) string { return sh.CachePath(sha256) + ".d" }

func (h *Host) install(s sh.Install) []op {
	source := sh.CachePath(s.Archive)
	if s.Member != "" {
		source = path.Join(unpackedPath(s.Archive), s.Member)
	}
	n := h.Nodes[source]
	if n == nil || len(n.Content) == 0 {
		return []op{func() error { return fmt.Errorf("nothing to install %s from", s.Path) }}
	}
	stampIt := func() error {
		at := h.Nodes[s.Path]
		h.stamps[s.Path] = stamp{installed: digest(at.Content), source: s.Archive, changed: at.changed}
		return nil
	}
	return append(h.write(s.Path, Node{Mode: s.Mode, Content: n.Content}), stampIt)
}
