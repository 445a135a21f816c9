package resource

import (
	"io/fs"

	"kubewright/internal/sh"
)

// Artifact is a published file that a host needs in its cache: where it comes from and
// the digest without which it gets no name there.
type Artifact struct {
	Name    string // such as containerd
	Version string
	// URL is where this cluster's hosts get it, with the source applied; "" when they
	// cannot and it has to be pushed. Upstream is where it was published.
	URL, Upstream string
	SHA256        string // hex
	// Archive is set for a .tar.gz, whose members are installed one by one.
	Archive bool
}

// Binary is an executable installed from an artifact: the file itself, or one member of
// it. It is as wanted when its bytes are those that were installed from that artifact.
type Binary struct {
	Path     string
	Mode     fs.FileMode // 0 means 0755
	Artifact Artifact
	Member   string // path in the archive, "" when the artifact is the file
}

// BinaryID is the ID of the binary at path.
func BinaryID(path string) ID { return ID("binary:" + path) }

// ID implements Resource.
func (b Binary) ID() ID { return BinaryID(b.Path) }

// Probes implements Resource.
func (b Binary) Probes() []sh.Probe {
	return []sh.Probe{sh.FileProbe{Path: b.Path, Stamped: true, Secret: true}}
}

// Diff implements Resource.
func (b Binary) Diff(v View) (Change, error) {
	got, err := v.Observed.File(b.Path)
	if err != nil {
		return Change{}, err
	}
	mode := b.Mode
	if mode == 0 {
		mode = 0o755
	}
	c := Change{ID: b.ID(), Create: !got.Exists, Digest: DigestOf([]byte(b.Artifact.SHA256 + " " + b.Member))}
	c.differ("type", typeName(got), "file")
	if got.Exists && got.Mode.IsRegular() {
		c.differ("mode", modeString(got.Mode), modeString(mode))
		c.differ("owner", ownerString(got), root)
	}
	want := got.Installed
	if b.Member == "" {
		want = b.Artifact.SHA256
	}
	if got.Source != b.Artifact.SHA256 || got.SHA256 != want {
		c.Rewrites = true
		c.Fields = append(c.Fields, Field{Name: "content", Old: fingerprint(got.SHA256), New: b.Artifact.Name + " " + b.Artifact.Version})
	}
	c.Rewrites = c.Rewrites || !got.Mode.IsRegular()
	switch {
	case c.Rewrites:
		c.Steps = []sh.Step{sh.Install{Path: b.Path, Mode: mode, Archive: b.Artifact.SHA256, Member: b.Member}}
		c.Artifact = &b.Artifact
	case !c.Empty():
		// The change time is part of the stamp: without a new one the next look hashes
		// the file again, which is right but slow; the file itself is untouched.
		c.Steps = []sh.Step{sh.SetAttributes{Path: b.Path, Mode: mode, Owner: root}}
	}
	return c, nil
}
