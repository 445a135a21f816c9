package resource

import (
	"net/netip"

	"kubewright/internal/sh"
)

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

// Address is an IP address that a pod of ours puts on an interface and takes away again. Nothing is
// wanted of it; it is listed so that reset removes it, for a pod that is killed leaves it behind.
type Address struct{ IP netip.Addr }

// ID implements Resource.
func (a Address) ID() ID { return ID("address:" + a.IP.String()) }

// Probes implements Resource: there is nothing to ask.
func (Address) Probes() []sh.Probe { return nil }

// Diff implements Resource: an address is always as wanted, whoever has it.
func (a Address) Diff(View) (Change, error) {
	return Change{ID: a.ID(), Digest: DigestOf(nil)}, nil
}
