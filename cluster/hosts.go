package cluster

import (
	"slices"

	"kubewright/inventory"
	"kubewright/spec/strict"
)

// hosts resolves the hosts, wherever they stand, and checks that they make a cluster.
func (r *resolver) hosts() {
	if !r.hostsOf() || !r.rolesKnown() {
		return
	}
	refuse := func(format string, args ...any) {
		check := strict.Checker{Doc: r.hostFile}
		check.SuggestKey(r.hostsAt, "", format, args...)
		r.check.Faults = append(r.check.Faults, check.Faults...)
	}
	if len(r.placed) == 0 {
		refuse("there are no hosts: list them under hosts, or name a file of them under inventory")
		return
	}
	planes := r.having(inventory.RoleControlPlane)
	if len(planes) == 0 {
		refuse("no host has the role control-plane; give it to one, or to three or more for high availability")
		return
	}
	r.etcd(refuse)
}

// hostsOf resolves the hosts of the inventory or of the cluster file; false says that there is
// nothing to conclude from them.
func (r *resolver) hostsOf() bool {
	source := r.Spec.Source()
	switch {
	case r.HostsUnread:
		return false
	case r.Inventory != nil:
		if at := at("hosts"); r.written.Inventory.IsZero() && r.check.Doc.Has(at) {
			r.check.SuggestKey(at, "", "hosts stand here as well as in the inventory given on the command line: keep one of the two")
		}
		source = *r.Inventory
		source.Defaults = append([]inventory.SSHDefaults{r.Spec.SSHDefaults()}, source.Defaults...)
	}
	r.hostFile, r.hostsAt = source.Doc, source.At.Key("hosts")
	if r.hostFile.Broken(strict.At()) {
		return false
	}
	source.Exists = r.Exists
	placed, faults := inventory.Resolve(source)
	r.placed, r.source = placed, source
	r.check.Faults = append(r.check.Faults, faults...)
	return true
}

// rolesKnown reports whether every host, with its roles, could be understood.
func (r *resolver) rolesKnown() bool {
	if r.hostFile == nil || r.hostFile.Broken(r.hostsAt) {
		return false
	}
	return !slices.ContainsFunc(r.placed, func(p inventory.Placed) bool { return !p.RolesKnown })
}
