package cluster

import (
	"net/netip"
	"slices"

	"kubewright/inventory"
	"kubewright/spec/strict"
)

// etcdClientPort is where members of etcd serve clients.
const etcdClientPort = 2379

// etcdFile is the file of the catalogue that hosts need which have etcd for themselves.
const etcdFile = "etcd"

// etcd decides which hosts are members of etcd: the control planes, all of them, or hosts that are
// nothing else. None is where etcd is somebody else's.
func (r *resolver) etcd(refuse func(format string, args ...any)) {
	if r.written.ControlPlane.Etcd.External.Given() {
		r.rel = r.rel.Without(etcdFile)
		r.noMembers()
		return
	}
	if len(r.having(inventory.RoleEtcd)) == 0 {
		for i, p := range r.placed {
			if p.Has(inventory.RoleControlPlane) {
				r.placed[i].Roles = slices.Sorted(slices.Values(append(slices.Clone(p.Roles), inventory.RoleEtcd)))
			}
		}
	}
	members := r.having(inventory.RoleEtcd)
	stacked := slices.ContainsFunc(members, func(p inventory.Placed) bool { return p.Has(inventory.RoleControlPlane) })
	if stacked {
		r.rel = r.rel.Without(etcdFile) // there it runs from an image
	}
	known := len(r.check.Faults)
	for _, p := range r.placed {
		check := strict.Checker{Doc: r.hostFile}
		if why := misplaced(p, stacked); why != "" {
			check.Refuse(p.At.Key("roles"), "%s %s", p.Name, why)
		}
		r.check.Faults = append(r.check.Faults, check.Faults...)
	}
	if len(members)%2 == 0 && len(r.check.Faults) == known && !r.OneByOne {
		kind := "control planes"
		if !stacked {
			kind = "hosts with the role etcd"
		}
		refuse("etcd would have %d members (%s), an even number, which survives the loss of no more of them than %d would; "+
			"have an odd number of %s", len(members), names(members), len(members)-1, kind)
	}
}

// misplaced says why a host cannot have its roles; "" that it can. stacked says that control planes
// are members of etcd: an API server then talks to the member on its own host, else to all members.
func misplaced(p inventory.Placed, stacked bool) string {
	plane, member := p.Has(inventory.RoleControlPlane), p.Has(inventory.RoleEtcd)
	switch {
	case stacked && member && !plane:
		return "has the role etcd without control-plane, while control planes have etcd too; " +
			"etcd runs on all control planes, or on hosts of its own: give this host both roles, or the role etcd to no control plane"
	case stacked && plane && !member:
		return "has the role control-plane, but not etcd, which other control planes have; " +
			"etcd runs on all control planes, or on hosts of its own: give it to all of them, or to none"
	case !stacked && member && p.Has(inventory.RoleWorker):
		return "has the roles etcd and worker; etcd beside the pods of users would wait for the disk that they keep busy, " +
			"and lose its leader: leave one of the two out, or make the host a control plane"
	}
	return ""
}

// EtcdClientURLs are where all members of etcd serve clients: by name, or as the user gives those of
// somebody else's.
func (c *Cluster) EtcdClientURLs() []string {
	if c.ExternalEtcd.Used() {
		return slices.Clone(c.ExternalEtcd.Endpoints)
	}
	var urls []string
	for _, h := range c.EtcdMembers() {
		urls = append(urls, "https://"+netip.AddrPortFrom(h.NodeIP, etcdClientPort).String())
	}
	return urls
}

// StackedEtcd tells whether the members of etcd are on the control planes.
func (c *Cluster) StackedEtcd() bool {
	return slices.ContainsFunc(c.Hosts, func(h inventory.Host) bool {
		return h.Has(inventory.RoleControlPlane) && h.Has(inventory.RoleEtcd)
	})
}
