package resource

import "kubewright/internal/sh"

// Byproduct is a path that something of ours writes while it runs, such as the network
// plugin's configuration. Nothing is wanted of it; it is listed so that reset removes it.
type Byproduct struct {
	Path string
	// Tree is set for a folder that goes with all that is in it.
	Tree bool
}

// ID implements Resource.
func (b Byproduct) ID() ID {
	if b.Tree {
		return ID("tree:" + b.Path)
	}
	return ID("byproduct:" + b.Path)
}

// Probes implements Resource: there is nothing to ask.
func (Byproduct) Probes() []sh.Probe { return nil }

// Diff implements Resource: a byproduct is always as wanted.
func (b Byproduct) Diff(View) (Change, error) {
	return Change{ID: b.ID(), Digest: DigestOf(nil)}, nil
}
