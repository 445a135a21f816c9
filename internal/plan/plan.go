package plan

import (
	"errors"

	"kubewright/internal/check"
	"kubewright/internal/resource"
)

// Plan is everything a run would do.
type Plan struct {
	Cluster string
	Hosts   []Host
	Objects []Objects
	// Actions are what is done beside that, in order.
	Actions []Action
	// NewPKI is set when no host has a CA yet and one would be made.
	NewPKI bool
	// CA is the fingerprint of the cluster's CA, "" when NewPKI.
	CA string
	// States says of the hosts that were seen whose they are, and how far they got.
	States map[string]check.State
	// Checks is what preflight found.
	Checks []check.Result
	// Orphans are the nodes of the cluster that the inventory does not have. They are left as they are.
	Orphans []string
	// Unreached names the hosts that could not be looked at, with the reason.
	Unreached map[string]error
	// Absent is the error of those among them that this run is about, and does without; nil for none.
	Absent error
}

// Action changes neither a file of a host nor an object of the API: it has etcd take a member in, or
// leave one out.
type Action struct {
	// Host is whose member it is; "" for one that is on no host of the inventory.
	Host string
	// What is done, in a word or two, and why.
	What, Reason string
}

// Objects is the plan for the API objects of one phase, or of one addon of it.
type Objects struct {
	Phase string
	// Addon is set for the objects of an addon.
	Addon   string
	Changes []ObjectChange
	// Failed is why what the addon consists of is not known. Others are installed all the same.
	Failed error
	// Unknown says what has to be applied before the difference can be known; the
	// changes then list what is wanted.
	Unknown string
}

// ObjectChange is what would be done to one API object.
type ObjectChange struct {
	// Name reads Kind namespace/name.
	Name   string
	Create bool
	// Delete is set for one that is wanted no more.
	Delete bool
	Fields []resource.Field
}

// Failed joins what keeps addons from being installed; nil for nothing.
func (p Plan) Failed() error {
	var errs []error
	for _, o := range p.Objects {
		errs = append(errs, o.Failed)
	}
	return errors.Join(errs...)
}

// Count is the number of changes on hosts, of members and in the API.
func (p Plan) Count() int {
	n := len(p.Actions)
	for _, h := range p.Hosts {
		n += h.Count()
	}
	for _, o := range p.Objects {
		n += len(o.Changes)
	}
	return n
}

// Empty tells whether nothing would be done. What an addon that could not be planned needs is not known, and tried.
func (p Plan) Empty() bool { return p.Count() == 0 && p.Failed() == nil }
