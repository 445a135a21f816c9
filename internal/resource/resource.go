// Package resource holds the kinds of thing that can be true on a host: files, folders,
// links, kernel settings, installed binaries, certificates, units. Each kind says which
// probes show it, compares what was observed with what is wanted, and names the steps
// that make it true. It does no IO: looking and acting are the engine's.
//
// The contract of every kind, held by the law test: a change converges in one pass or
// errors; looking changes nothing; observed is never copied from desired; everything
// that can drift is compared.
package resource

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"kubewright/internal/sh"
)

// ID names a resource on its host for ever: KIND:NAME, such as file:/etc/crictl.yaml. It is
// what the host's manifest lists, so reset can remove a resource from its ID alone.
type ID string

// Kind is the part of an ID before the colon.
func (id ID) Kind() string { kind, _, _ := strings.Cut(string(id), ":"); return kind }

// Name is the part of an ID after the colon.
func (id ID) Name() string { _, name, _ := strings.Cut(string(id), ":"); return name }

// Resource is one thing on one host that can be looked at, compared and made true.
type Resource interface {
	// ID names it; two resources of a host never share one.
	ID() ID
	// Probes are the questions whose answers Diff needs. They do not depend on facts
	// about the host, so that one look can ask for facts and resources together.
	Probes() []sh.Probe
	// Diff compares; it is pure. An error means that the difference cannot be known.
	Diff(View) (Change, error)
}

// Dependent is a resource whose truth includes the state of others: a unit that has to be
// restarted when one of its files changes. Inputs must come before it in the host's list.
type Dependent interface{ Inputs() []ID }

// View is what a Diff may see.
type View struct {
	Observed *sh.Answers
	// Digest tells what a resource that was compared earlier will be after its change.
	Digest func(ID) (digest string, ok bool)
	// Rewritten tells whether the content of an earlier resource is about to change.
	Rewritten func(ID) bool
}

// Field is one difference: what was observed and what is wanted.
type Field struct {
	Name     string
	Old, New string
}

// Change is what Diff found. No fields means: it is as wanted.
type Change struct {
	ID     ID
	Fields []Field
	// Create is set when nothing was there before.
	Create bool
	// Reason says why, where the fields do not tell by themselves.
	Reason string
	Steps  []sh.Step
	// Digest is of the content as it will be after the change; it is what the manifest
	// records and what dependents compare.
	Digest string
	// Rewrites is set when content changes, as opposed to mode or owner only.
	Rewrites bool
	// Restarts names the unit that the change starts again, "" if none.
	Restarts string
	// Artifact is the file that must be in the host's cache for the steps to work.
	Artifact *Artifact
}

// Empty tells whether there is nothing to do.
func (c Change) Empty() bool { return len(c.Fields) == 0 }

func (c *Change) differ(name, old, want string) {
	if old != want {
		c.Fields = append(c.Fields, Field{Name: name, Old: old, New: want})
	}
}

// DigestOf is the hex SHA-256 that manifests, inputs and annotations carry.
func DigestOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// inputsDigest folds the digests of the inputs, in the order given, into one.
func inputsDigest(v View, inputs []ID) (string, error) {
	var b strings.Builder
	for _, id := range inputs {
		d, ok := v.Digest(id)
		if !ok {
			return "", fmt.Errorf("input %s is not on this host, or comes later", id)
		}
		fmt.Fprintf(&b, "%s=%s\n", id, d)
	}
	return DigestOf([]byte(b.String())), nil
}

const root = "root:root"

// ownerIDs maps the owners that kubewright uses to numbers, as stat(1) reports them.
func ownerString(f sh.FileState) string {
	if f.UID == 0 && f.GID == 0 {
		return root
	}
	return strconv.Itoa(f.UID) + ":" + strconv.Itoa(f.GID)
}

func modeString(m fs.FileMode) string {
	bits := uint32(m.Perm())
	if m&fs.ModeSticky != 0 {
		bits |= 0o1000
	}
	return string([]byte{octal(bits >> 9), octal(bits >> 6), octal(bits >> 3), octal(bits)})
}

// octal is the last octal digit of bits.
func octal(bits uint32) byte { return '0' + byte(bits&7) }

// typeName says what kind of thing a path is, for a difference that a person reads.
func typeName(f sh.FileState) string {
	switch {
	case !f.Exists:
		return "absent"
	case f.Mode.IsDir():
		return "directory"
	case f.Mode&fs.ModeSymlink != 0:
		return "link"
	case f.Mode.IsRegular():
		return "file"
	}
	return "special file"
}
