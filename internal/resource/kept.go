package resource

import "kubewright/internal/sh"

// Kept is a resource that is wanted no more and stays all the same for the time being: where it is,
// it is left as it is.
type Kept struct{ Resource ID }

// ID implements Resource.
func (k Kept) ID() ID { return k.Resource }

// Probes implements Resource: nothing of it matters.
func (k Kept) Probes() []sh.Probe { return nil }

// Diff implements Resource.
func (k Kept) Diff(v View) (Change, error) {
	return Change{ID: k.Resource, Digest: v.Observed.Manifest[string(k.Resource)]}, nil
}
