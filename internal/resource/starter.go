package resource

import (
	"strings"

	"kubewright/internal/sh"
)

// Starter is a file that says with which flags something is started. It keeps flags that matter at
// the first start and never again, such as etcd's --initial-cluster: a file that is there keeps those
// it was given, for to change them would restart what runs for nothing.
type Starter interface {
	Resource
	// Flags are the flags that a content of the file gives, by name without dashes.
	Flags(content []byte) map[string]string
}

// starting is how a starter is compared.
type starting struct {
	Starter
	file   File // without content
	keep   []string
	render func(kept map[string]string) ([]byte, error)
}

func (s *starting) diff(v View) (Change, error) {
	got, err := v.Observed.File(s.file.Path)
	if err != nil {
		return Change{}, err
	}
	var kept map[string]string
	if got.HasContent { // one that cannot be read keeps none, for it is replaced as a whole
		kept = pick(s.Flags(got.Content), s.keep)
	}
	if s.file.Content, err = s.render(kept); err != nil {
		return Change{}, err
	}
	// A file of somebody else may have a password in it, such as that of a proxy: lines are shown
	// of what we wrote ourselves.
	s.file.Secret = v.Observed.Manifest[string(s.ID())] != got.SHA256
	c := s.file.diff(got)
	c.ID = s.ID()
	return c, nil
}

func pick(flags map[string]string, names []string) map[string]string {
	picked := map[string]string{}
	for _, name := range names {
		if value, ok := flags[name]; ok {
			picked[name] = value
		}
	}
	return picked
}

// flagsOf are the flags among the words of a command line.
func flagsOf(words []string) map[string]string {
	flags := map[string]string{}
	for _, word := range words {
		if name, value, ok := strings.Cut(strings.TrimPrefix(word, "--"), "="); ok {
			flags[name] = value
		}
	}
	return flags
}

// UnitFile is the file of a systemd service that keeps some flags of its command. Others are a File.
type UnitFile struct {
	Path string
	// Render makes the file for the flags that are kept.
	Render func(kept map[string]string) ([]byte, error)
	Keep   []string // see Starter
}

// ID implements Resource.
func (u UnitFile) ID() ID { return FileID(u.Path) }

// Probes implements Resource.
func (u UnitFile) Probes() []sh.Probe {
	return []sh.Probe{sh.FileProbe{Path: u.Path, Content: true}}
}

// Diff implements Resource.
func (u UnitFile) Diff(v View) (Change, error) {
	change := starting{u, File{Path: u.Path}, u.Keep, u.Render}
	return change.diff(v)
}

// Flags implements Starter. It reads what package templates writes: a quoted word a line, in which
// systemd expands nothing.
func (UnitFile) Flags(content []byte) map[string]string {
	var words []string
	for line := range strings.Lines(string(content)) {
		word := strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(line), `\`))
		if bare, ok := strings.CutPrefix(word, `"--`); ok {
			bare = strings.TrimSuffix(bare, `"`)
			words = append(words, strings.NewReplacer(`\\`, `\`, `\"`, `"`, "%%", "%", "$$", "$").Replace(bare))
		}
	}
	return flagsOf(words)
}
