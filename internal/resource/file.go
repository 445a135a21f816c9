package resource

import (
	"bytes"
	"fmt"
	"io/fs"
	"unicode/utf8"

	"kubewright/internal/sh"
)

// File is a regular file with wanted content, owned by root. A file that was there before
// and is not ours is kept aside first, and put back by reset.
type File struct {
	Path    string
	Mode    fs.FileMode // 0 means 0644
	Content []byte
	// Secret keeps content out of plans, both what is wanted and what is there: they show
	// fingerprints. It is for files that have secrets in them on some hosts, though not in ours.
	Secret bool
	// Read has each look return the content, as of a CA that a later run must adopt.
	Read bool
}

// FileID is the ID of the file at path.
func FileID(path string) ID { return ID("file:" + path) }

// ID implements Resource.
func (f File) ID() ID { return FileID(f.Path) }

// Probes implements Resource.
func (f File) Probes() []sh.Probe {
	probe := sh.FileProbe{Path: f.Path, Secret: f.Secret, Content: f.Read}
	if !f.Secret && !f.Read { // what is wanted decides whether the bytes are returned
		probe.Want = DigestOf(f.Content)
	}
	return []sh.Probe{probe}
}

func (f File) mode() fs.FileMode {
	if f.Mode == 0 {
		return 0o644
	}
	return f.Mode
}

// Diff implements Resource.
func (f File) Diff(v View) (Change, error) {
	got, err := v.Observed.File(f.Path)
	if err != nil {
		return Change{}, err
	}
	return f.diff(got), nil
}

func (f File) diff(got sh.FileState) Change {
	c := Change{ID: f.ID(), Digest: DigestOf(f.Content), Create: !got.Exists}
	if !got.Exists || !got.Mode.IsRegular() {
		c.differ("type", typeName(got), "file")
	}
	if got.SHA256 != c.Digest || !got.Mode.IsRegular() { // a link to the same content is none
		c.Rewrites = true
		c.contentFields(f, got)
	}
	if got.Exists && got.Mode.IsRegular() {
		c.differ("mode", modeString(got.Mode), modeString(f.mode()))
		c.differ("owner", ownerString(got), root)
	}
	switch {
	case c.Empty():
	case c.Rewrites:
		c.Steps = []sh.Step{sh.WriteFile{Path: f.Path, Mode: f.mode(), Owner: root, Content: f.Content}}
	default:
		c.Steps = []sh.Step{sh.SetAttributes{Path: f.Path, Mode: f.mode(), Owner: root}}
	}
	return c
}

// contentFields shows lines where the old content is known and is text, else digests.
func (c *Change) contentFields(f File, got sh.FileState) {
	if f.Secret || !got.HasContent || !utf8.Valid(got.Content) {
		c.differ("content", fingerprint(got.SHA256), fingerprint(c.Digest))
		return
	}
	old, want := changedLines(got.Content, f.Content)
	c.differ("content", old, want)
}

// fingerprint is enough of a digest to compare by eye.
func fingerprint(sha256 string) string {
	if len(sha256) < 12 {
		return ""
	}
	return "sha256:" + sha256[:12]
}

// changedLines cuts the lines that both have at their start and end, so that a plan
// shows what differs and not a whole file.
func changedLines(old, want []byte) (string, string) {
	a, b := bytes.SplitAfter(old, []byte("\n")), bytes.SplitAfter(want, []byte("\n"))
	for len(a) > 0 && len(b) > 0 && bytes.Equal(a[0], b[0]) {
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && bytes.Equal(a[len(a)-1], b[len(b)-1]) {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	return string(bytes.Join(a, nil)), string(bytes.Join(b, nil))
}

// Dir is a folder with mode and owner. What is in it is somebody else's concern, unless
// it is Owned: then reset removes it with its content.
type Dir struct {
	Path  string
	Mode  fs.FileMode // 0 means 0755
	Owned bool
}

// ID implements Resource. An owned folder has a kind of its own, since the ID alone must
// tell reset what may be removed.
func (d Dir) ID() ID {
	if d.Owned {
		return ID("tree:" + d.Path)
	}
	return ID("dir:" + d.Path)
}

// Probes implements Resource.
func (d Dir) Probes() []sh.Probe { return []sh.Probe{sh.FileProbe{Path: d.Path}} }

// Diff implements Resource.
func (d Dir) Diff(v View) (Change, error) {
	got, err := v.Observed.File(d.Path)
	if err != nil {
		return Change{}, err
	}
	if got.Exists && !got.Mode.IsDir() {
		return Change{}, fmt.Errorf("%s is a %s where a directory is wanted; move it away and run again", d.Path, typeName(got))
	}
	want := d.Mode
	if want == 0 {
		want = 0o755
	}
	c := Change{ID: d.ID(), Create: !got.Exists, Digest: DigestOf([]byte(modeString(want)))}
	c.differ("type", typeName(got), "directory")
	if got.Exists {
		c.differ("mode", modeString(got.Mode), modeString(want))
		c.differ("owner", ownerString(got), root)
	}
	if !c.Empty() {
		c.Steps = []sh.Step{sh.MakeDir{Path: d.Path, Mode: want, Owner: root}}
	}
	return c, nil
}

// Link is a symbolic link.
type Link struct{ Path, Target string }

// ID implements Resource.
func (l Link) ID() ID { return ID("link:" + l.Path) }

// Probes implements Resource.
func (l Link) Probes() []sh.Probe { return []sh.Probe{sh.FileProbe{Path: l.Path}} }

// Diff implements Resource.
func (l Link) Diff(v View) (Change, error) {
	got, err := v.Observed.File(l.Path)
	if err != nil {
		return Change{}, err
	}
	if got.Exists && got.Mode.IsDir() {
		return Change{}, fmt.Errorf("%s is a directory where a link is wanted; move it away and run again", l.Path)
	}
	c := Change{ID: l.ID(), Create: !got.Exists, Digest: DigestOf([]byte(l.Target))}
	c.differ("target", got.Link, l.Target)
	if c.Empty() {
		return c, nil
	}
	c.Rewrites = true
	c.Steps = []sh.Step{sh.Symlink{Path: l.Path, Target: l.Target}}
	return c, nil
}
