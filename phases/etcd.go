package phases

import (
	"cmp"
	"slices"
	"strings"

	"kubewright/certs"
	"kubewright/cluster"
	"kubewright/internal/plan"
	"kubewright/internal/resource"
	"kubewright/internal/sh"
	"kubewright/inventory"
	"kubewright/templates"
)

const etcdUnit = "/etc/systemd/system/etcd.service"

// etcd runs a member on each host that is one: as a static pod on a control plane, as a service on a
// host that is nothing else. Members of a new cluster all start together from one initial cluster;
// one that joins later is told who is there.
func etcd() plan.Phase {
	return plan.Phase{
		Name:    "etcd",
		Short:   "etcd members: static pods, or services on hosts of their own",
		On:      inventory.EtcdMembers,
		After:   []plan.Edge{plan.SameHost("pki"), plan.SameHost("binaries"), plan.SameHost("load-balancer")},
		Members: true,
		Rolling: true,
		Desire: func(c *cluster.Cluster, t plan.Target) ([]resource.Resource, error) {
			want := []resource.Resource{resource.Dir{Path: "/var/lib/etcd", Mode: 0o700, Owned: true}}
			if etcdOnly(t.Host) {
				return append(want, etcdService(c, t)...), nil
			}
			return append(want, resource.StaticPod{
				Path: manifestPath("etcd"), On: reads(etcdReads()...), Keep: etcdKept(),
				Render: func(digest string, kept map[string]string) ([]byte, error) {
					return templates.Etcd(etcdData(c, t, pod(c.Release.Image("etcd"), c.Etcd, digest), kept))
				},
			}), nil
		},
	}
}

// etcdOnly picks the hosts that are members of etcd and nothing else: no kubelet runs there.
func etcdOnly(h inventory.Host) bool { return h.Has(inventory.RoleEtcd) && !runsPods(h) }

// etcdService is the member of a host that has etcd for itself. The binaries are there already.
func etcdService(c *cluster.Cluster, t plan.Target) []resource.Resource {
	on := append([]resource.ID{resource.FileID(etcdUnit), resource.BinaryID("/usr/local/bin/etcd")}, reads(etcdReads()...)...)
	return []resource.Resource{
		resource.UnitFile{
			Path: etcdUnit, Keep: etcdKept(),
			Render: func(kept map[string]string) ([]byte, error) {
				return templates.EtcdUnit(etcdData(c, t, pod("", c.Etcd, ""), kept))
			},
		},
		resource.Unit{Name: "etcd.service", On: on},
	}
}

// etcdReads are the files of the PKI folder that a member reads when it starts.
func etcdReads() []string {
	return []string{"etcd/ca.crt", certs.EtcdServer + ".crt", certs.EtcdPeer + ".crt"}
}

func etcdKept() []string {
	return []string{templates.EtcdInitialCluster, templates.EtcdInitialClusterState}
}

func etcdData(c *cluster.Cluster, t plan.Target, common templates.StaticPod, kept map[string]string) templates.EtcdData {
	start := etcdStart(c, t, kept)
	return templates.EtcdData{
		StaticPod: common, NodeName: t.Name, Address: t.NodeIP,
		InitialCluster: start.InitialCluster, JoinExisting: start.Existing,
	}
}

// etcdStart is how the member starts for the first time: as was decided in this run, else as the
// host was told then, else with all others of a new cluster. What it was told is not left to name a
// host that is no member any more, but where it is the only member: it would be interrupted for it, and
// a kubelet whose API server has no etcd takes a minute and more to start another pod.
func etcdStart(c *cluster.Cluster, t plan.Target, told map[string]string) plan.EtcdStart {
	start := plan.EtcdStart{
		InitialCluster: told[templates.EtcdInitialCluster],
		Existing:       told[templates.EtcdInitialClusterState] == templates.EtcdExisting,
	}
	switch {
	case t.Etcd.InitialCluster != "":
		return t.Etcd
	case start.InitialCluster == "":
		return plan.EtcdStart{InitialCluster: c.InitialCluster()}
	case !wantsAll(c, start.InitialCluster) && len(c.EtcdMembers()) > 1:
		return plan.EtcdStart{InitialCluster: c.InitialCluster(), Existing: true}
	}
	return start
}

// wantsAll tells whether the inventory still has all members of an initial cluster.
func wantsAll(c *cluster.Cluster, initial string) bool {
	wanted := strings.Split(c.InitialCluster(), ",")
	return !slices.ContainsFunc(strings.Split(initial, ","), func(member string) bool { return !slices.Contains(wanted, member) })
}

// members notes on each member who the members are, once all of them run. When most of them are
// lost, that is how a later run knows that this was no new cluster. Control planes have the note too:
// they would not be made members of a new cluster in place of hosts that have left the inventory.
func members() plan.Phase {
	return plan.Phase{
		Name:  "members",
		Short: "a note of who the members of etcd are",
		On:    func(h inventory.Host) bool { return h.Has(inventory.RoleEtcd) || h.Has(inventory.RoleControlPlane) },
		// What is wanted no more goes with a host's last phase: keepalived, when kube-vip can do without it.
		After: []plan.Edge{plan.AllHosts("control-plane"), plan.AllHosts("bootstrap"), plan.AllHosts("vip-rights")},
		Desire: func(c *cluster.Cluster, t plan.Target) ([]resource.Resource, error) {
			if c.ExternalEtcd.Used() {
				return nil, nil // who its members are is somebody else's business
			}
			voters := cmp.Or(t.Voters, c.InitialCluster())
			return []resource.Resource{resource.File{Path: sh.MembersPath, Content: []byte(voters + "\n"), Read: true}}, nil
		},
	}
}

// etcdCertificate tells whether a certificate is one of a member, and not of its clients elsewhere.
func etcdCertificate(r certs.Named) bool {
	return slices.Contains([]string{certs.EtcdServer, certs.EtcdPeer, certs.EtcdHealthcheckClient}, r.Name)
}
