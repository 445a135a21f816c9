package sh

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// ErrIncomplete says that an answer was missing, cut or not of its form. It means
// "unknown", which stops a run; it never means "not there".
var ErrIncomplete = errors.New("the host's answer is incomplete")

// FileState is what is at a path.
type FileState struct {
	Exists bool
	Mode   fs.FileMode // permission and type bits
	UID    int
	GID    int
	Size   int64
	Link   string // target, when it is a symbolic link
	SHA256 string // hex, of a regular file
	// Content is there when it was asked for, or when the digest was not the wanted one.
	Content    []byte
	HasContent bool
	// Installed and Source are the digests that Install recorded: of the file, and of
	// the artifact it came from. Both are "" when Install never wrote this path.
	Installed string
	Source    string
	stamp     string // inode, size and change time, as Install records them
}

// UnitState is what systemd says of a unit.
type UnitState struct {
	Load             string // loaded, not-found, masked
	Active           string // active, inactive, failed, activating
	Enabled          string // enabled, disabled, static, masked, ""
	NeedDaemonReload bool
	// Started is the digest of the inputs it was last started with by us, or "".
	Started string
}

// Answers is everything a host said to one look. A question that was asked and has no
// entry here was refused by Watcher.
type Answers struct {
	Files    map[string]FileState
	Units    map[string]UnitState
	Sysctls  map[string]string // absent key: the kernel has no such parameter
	Modules  map[string]bool
	Swaps    []string
	Reach    map[string]bool // URL to whether the host can fetch it
	Cached   bool            // the cache of files is there: a run was cut before it was emptied
	Facts    []byte
	Manifest map[string]string // resource ID to the digest last applied; "-" = begun, not finished
}

// File is the state of what is at path; asking for a path that was not probed is a
// programming error that is reported, not guessed around.
func (a *Answers) File(path string) (FileState, error) {
	f, ok := a.Files[path]
	if !ok {
		return FileState{}, fmt.Errorf("%w: nothing said of file %s", ErrIncomplete, path)
	}
	return f, nil
}

// Unit is the state of a systemd unit.
func (a *Answers) Unit(name string) (UnitState, error) {
	u, ok := a.Units[name]
	if !ok {
		return UnitState{}, fmt.Errorf("%w: nothing said of unit %s", ErrIncomplete, name)
	}
	return u, nil
}

// Pending tells whether a manifest digest marks a change that was begun and not finished.
func Pending(digest string) bool { return digest == pendingDigest }

type parser struct {
	look   *Look
	kept   keeper
	a      *Answers
	facts  bytes.Buffer
	unit   map[string]string
	ended  bool
	swaps  bool
	saidMf bool
	stamps map[string]stamp
	// noSysctl holds the kernel parameters that were said not to exist.
	noSysctl map[string]bool
}

// keeper has the pieces of an output that are kept, so that the output is not.
type keeper struct{ pieces strings.Builder }

func (k *keeper) keep(s string) string {
	const room = 4 << 10
	if k.pieces.Cap()-k.pieces.Len() < len(s) {
		k.pieces = strings.Builder{} // what is in the full one stays
		k.pieces.Grow(max(room, len(s)))
	}
	n := k.pieces.Len()
	k.pieces.WriteString(s)
	return k.pieces.String()[n:]
}

// path is the path of a file, in the words of the question.
func (p *parser) path(said string) string {
	if asked, ok := p.look.files[said]; ok {
		return asked.Path
	}
	return p.kept.keep(said)
}

// stamp is the newest line that Install wrote about a path.
type stamp struct{ file, installed, source string }

func newParser(l *Look) *parser {
	size := len(l.files)
	return &parser{look: l, unit: map[string]string{}, stamps: map[string]stamp{}, noSysctl: map[string]bool{}, a: &Answers{
		Files: make(map[string]FileState, size), Units: map[string]UnitState{}, Sysctls: map[string]string{},
		Modules: map[string]bool{}, Reach: map[string]bool{}, Manifest: make(map[string]string, size),
	}}
}

// whole is what was read, when all was.
func (p *parser) whole() (*Answers, error) {
	if !p.ended {
		return nil, fmt.Errorf("%w: it does not end", ErrIncomplete)
	}
	p.applyStamps()
	p.a.Facts = p.facts.Bytes()
	return p.a, p.complete()
}

func (p *parser) line(verb, arg string) error {
	switch verb {
	case "end":
		p.flushUnit()
		p.ended = true
	case "fact":
		if p.facts.Cap() == 0 {
			const usual = 6 << 10
			p.facts.Grow(usual)
		}
		p.facts.WriteString(arg)
		p.facts.WriteByte('\n')
	case "cached":
		p.a.Cached = true
	case "nomanifest":
		p.saidMf = true
	case "manifest":
		p.saidMf = true
		if id, digest, ok := strings.Cut(arg, "\t"); ok {
			p.manifest(id, digest)
		}
	case "absent":
		p.a.Files[p.path(arg)] = FileState{}
	case "unit":
		p.unitLine(arg)
	case "started":
		p.flushUnit()
		name, digest, _ := strings.Cut(arg, " ")
		u := p.a.Units[name]
		u.Started = p.kept.keep(digest)
		p.a.Units[p.kept.keep(name)] = u
	case "sysctl":
		path, value, _ := strings.Cut(arg, ":")
		p.a.Sysctls[sysctlKey(path)] = strings.Join(strings.Fields(value), " ")
	case "nosysctl":
		p.noSysctl[sysctlKey(arg)] = true
	case "module":
		name, yes, _ := strings.Cut(arg, " ")
		p.a.Modules[p.kept.keep(name)] = yes == "yes"
	case "reach":
		yes, url, _ := strings.Cut(arg, " ")
		p.a.Reach[p.kept.keep(url)] = yes == "yes"
	case "swaps":
		p.swaps = true
	case "swap":
		p.a.Swaps = append(p.a.Swaps, p.kept.keep(arg))
	case "stamp":
		p.stampLine(arg)
	default:
		return p.fileLine(verb, arg)
	}
	return nil
}

// manifest takes a line of the manifest: the last one about a resource counts.
func (p *parser) manifest(id, digest string) {
	switch _, known := p.a.Manifest[id]; {
	case digest == "":
		delete(p.a.Manifest, id)
		return
	case !known:
		id = p.kept.keep(id)
	}
	if digest == pendingDigest {
		digest = pendingDigest // most are followed by another line
	} else {
		digest = p.kept.keep(digest)
	}
	p.a.Manifest[id] = digest
}

// fileLine reads a line about a file: each names a path that was said to be there.
func (p *parser) fileLine(verb, arg string) error {
	switch verb {
	case "stat", "target":
		return p.stat(arg, verb == "target")
	case "link":
		path, target, ok := strings.Cut(arg, " ")
		return p.onFile(path, ok, func(f *FileState) { f.Link = p.kept.keep(target) })
	case "sum":
		sum, path, ok := strings.Cut(arg, " ")
		ok = ok && len(sum) == 2*sha256.Size
		return p.onFile(path, ok, func(f *FileState) { f.SHA256 = p.kept.keep(sum) })
	case "body":
		return p.body(arg)
	}
	return fmt.Errorf("%w: unreadable line %q", ErrIncomplete, verb)
}

func (p *parser) onFile(path string, ok bool, set func(*FileState)) error {
	f, known := p.a.Files[path]
	if !ok || !known {
		return fmt.Errorf("%w: unreadable line about %q", ErrIncomplete, path)
	}
	set(&f)
	p.a.Files[path] = f
	return nil
}

// stat reads "MODE(hex) UID GID SIZE INODE CTIME PATH". For a followed link the facts
// of the file it points at take the place of the link's own.
func (p *parser) stat(arg string, follow bool) error {
	fields := strings.SplitN(arg, " ", 7)
	if len(fields) != 7 {
		return fmt.Errorf("%w: unreadable stat line %q", ErrIncomplete, arg)
	}
	mode, err1 := strconv.ParseUint(fields[0], 16, 32)
	uid, err2 := strconv.Atoi(fields[1])
	gid, err3 := strconv.Atoi(fields[2])
	size, err4 := strconv.ParseInt(fields[3], 10, 64)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return fmt.Errorf("%w: unreadable stat line %q", ErrIncomplete, arg)
	}
	f := FileState{Exists: true, Mode: unixMode(mode), UID: uid, GID: gid, Size: size}
	f.stamp = fields[4] + " " + fields[3] + " " + fields[5]
	if follow {
		f.Link = p.a.Files[fields[6]].Link
	}
	p.a.Files[p.path(fields[6])] = f
	return nil
}

// stampLine reads "INODE SIZE CTIME PATH SHA256 SOURCE"; the last line about a path counts.
func (p *parser) stampLine(arg string) {
	fields := strings.Fields(arg)
	if len(fields) != 6 {
		return // a line torn by a power cut: the file is then hashed, nothing is lost
	}
	p.stamps[fields[3]] = stamp{file: strings.Join(fields[:3], " "), installed: p.kept.keep(fields[4]), source: p.kept.keep(fields[5])}
}

// applyStamps fills in what Install recorded, and trusts its digest for a file whose
// inode, size and change time are still the same.
func (p *parser) applyStamps() {
	for path, s := range p.stamps {
		f, ok := p.a.Files[path]
		if !ok {
			continue
		}
		f.Installed, f.Source = s.installed, s.source
		if f.SHA256 == "" && f.stamp == s.file {
			f.SHA256 = s.installed
		}
		p.a.Files[path] = f
	}
}

// unixMode maps the st_mode of stat(2) to Go's bits.
func unixMode(m uint64) fs.FileMode {
	mode := fs.FileMode(m & 0o777)
	switch m & 0o170000 {
	case 0o040000:
		mode |= fs.ModeDir
	case 0o120000:
		mode |= fs.ModeSymlink
	case 0o100000:
	default:
		mode |= fs.ModeIrregular
	}
	if m&0o4000 != 0 {
		mode |= fs.ModeSetuid
	}
	if m&0o2000 != 0 {
		mode |= fs.ModeSetgid
	}
	if m&0o1000 != 0 {
		mode |= fs.ModeSticky
	}
	return mode
}

// body reads "PATH BASE64". Its digest must be that of the sum line before it, so that
// a file which changed between the two, or a cut line, is not taken for content.
func (p *parser) body(arg string) error {
	path, encoded, ok := strings.Cut(arg, " ")
	content, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return fmt.Errorf("%w: content of %s: %w", ErrIncomplete, path, err)
	}
	sum := sha256.Sum256(content)
	if p.a.Files[path].SHA256 != hex.EncodeToString(sum[:]) {
		return fmt.Errorf("%w: content of %s does not have its digest", ErrIncomplete, path)
	}
	return p.onFile(path, ok, func(f *FileState) { f.Content, f.HasContent = content, true })
}

// unitLine collects the properties of one unit; systemctl separates units by an empty line.
func (p *parser) unitLine(arg string) {
	if arg == "" {
		p.flushUnit()
		return
	}
	key, value, _ := strings.Cut(arg, "=")
	p.unit[key] = p.kept.keep(value)
}

func (p *parser) flushUnit() {
	if id := p.unit["Id"]; id != "" {
		u := p.a.Units[id]
		u.Load, u.Active, u.Enabled = p.unit["LoadState"], p.unit["ActiveState"], p.unit["UnitFileState"]
		u.NeedDaemonReload = p.unit["NeedDaemonReload"] == "yes"
		p.a.Units[id] = u
	}
	clear(p.unit)
}

// complete refuses a look in which a question was left unanswered.
func (p *parser) complete() error {
	l := p.look
	if !p.saidMf {
		return fmt.Errorf("%w: nothing said of the manifest", ErrIncomplete)
	}
	for path, f := range l.files {
		got, ok := p.a.Files[path]
		switch {
		case !ok:
			return fmt.Errorf("%w: nothing said of file %s", ErrIncomplete, path)
		case got.Mode&fs.ModeSymlink != 0 && got.Link == "":
			return fmt.Errorf("%w: no target of link %s", ErrIncomplete, path)
		case got.Exists && got.Mode.IsRegular() && got.SHA256 == "":
			return fmt.Errorf("%w: no digest of file %s", ErrIncomplete, path)
		case f.Content && got.Exists && got.Mode.IsRegular() && !got.HasContent:
			return fmt.Errorf("%w: no content of file %s", ErrIncomplete, path)
		}
	}
	for name := range l.units {
		if u, ok := p.a.Units[name]; !ok || u.Load == "" || u.Active == "" {
			return fmt.Errorf("%w: nothing said of unit %s", ErrIncomplete, name)
		}
	}
	for name := range l.modules {
		if _, ok := p.a.Modules[name]; !ok {
			return fmt.Errorf("%w: nothing said of module %s", ErrIncomplete, name)
		}
	}
	for key := range l.sysctls {
		if _, ok := p.a.Sysctls[key]; !ok && !p.noSysctl[key] {
			return fmt.Errorf("%w: nothing said of kernel parameter %s", ErrIncomplete, key)
		}
	}
	for url := range l.urls {
		if _, ok := p.a.Reach[url]; !ok {
			return fmt.Errorf("%w: nothing said of %s", ErrIncomplete, url)
		}
	}
	if l.swap && !p.swaps {
		return fmt.Errorf("%w: nothing said of swap", ErrIncomplete)
	}
	if l.facts != "" && p.facts.Len() == 0 {
		return fmt.Errorf("%w: no facts", ErrIncomplete)
	}
	return nil
}
