package phases

import (
	"slices"

	"kubewright/certs"
	"kubewright/cluster"
	"kubewright/internal/plan"
	"kubewright/internal/resource"
	"kubewright/internal/sh"
	"kubewright/inventory"
	"kubewright/templates"
)

const manifestsDir = kubernetesDir + "/manifests"

func manifestPath(component string) string { return manifestsDir + "/" + component + ".yaml" }

// etcd runs a member on each control plane as a static pod. Members of a new cluster all
// start together from one initial cluster; one that joins later is told who is there.
func etcd() plan.Phase {
	return plan.Phase{
		Name:    "etcd",
		Short:   "etcd members as static pods",
		On:      inventory.ControlPlanes,
		After:   []plan.Edge{plan.SameHost("pki"), plan.SameHost("binaries"), plan.SameHost("load-balancer")},
		Members: true,
		Rolling: true,
		Desire: func(c *cluster.Cluster, t plan.Target) ([]resource.Resource, error) {
			return []resource.Resource{
				resource.Dir{Path: "/var/lib/etcd", Mode: 0o700, Owned: true},
				resource.StaticPod{
					Path: manifestPath("etcd"),
					On:   reads("etcd/ca.crt", certs.EtcdServer+".crt", certs.EtcdPeer+".crt"),
					Keep: []string{templates.EtcdInitialCluster, templates.EtcdInitialClusterState},
					Render: func(digest string, kept map[string]string) ([]byte, error) {
						start := etcdStart(c, t, kept)
						return templates.Etcd(templates.EtcdData{
							StaticPod: pod(c.Release.Image("etcd"), c.Etcd, digest),
							NodeName:  t.Name, Address: t.NodeIP, InitialCluster: start.InitialCluster, JoinExisting: start.Existing,
						})
					},
				},
			}, nil
		},
	}
}

// etcdStart is how the member starts for the first time: as was decided in this run, else as the
// host was told then, else with all others of a new cluster.
func etcdStart(c *cluster.Cluster, t plan.Target, told map[string]string) plan.EtcdStart {
	start := plan.EtcdStart{
		InitialCluster: told[templates.EtcdInitialCluster],
		Existing:       told[templates.EtcdInitialClusterState] == templates.EtcdExisting,
	}
	switch {
	case t.Etcd.InitialCluster != "":
		return t.Etcd
	case start.InitialCluster != "":
		return start
	}
	return plan.EtcdStart{InitialCluster: c.InitialCluster()}
}

// members notes on each member who the members are, once all of them run. When most of them are
// lost, that is how a later run knows that this was no new cluster.
func members() plan.Phase {
	return plan.Phase{
		Name:  "members",
		Short: "a note of who the members of etcd are",
		On:    inventory.EtcdMembers,
		After: []plan.Edge{plan.AllHosts("control-plane"), plan.AllHosts("bootstrap")},
		Desire: func(c *cluster.Cluster, _ plan.Target) ([]resource.Resource, error) {
			return []resource.Resource{resource.File{Path: sh.MembersPath, Content: []byte(c.InitialCluster() + "\n"), Read: true}}, nil
		},
	}
}

// controlPlane runs API server, controller-manager and scheduler as static pods on each
// control plane, all at once: each waits for what it needs by itself.
func controlPlane() plan.Phase {
	return plan.Phase{
		Name:    "control-plane",
		Short:   "API server, controller-manager and scheduler as static pods",
		On:      inventory.ControlPlanes,
		After:   []plan.Edge{plan.SameHost("etcd"), plan.SameHost("kubeconfigs")},
		Voter:   true,
		Rolling: true,
		Desire: func(c *cluster.Cluster, t plan.Target) ([]resource.Resource, error) {
			return []resource.Resource{
				resource.StaticPod{
					Path: manifestPath("kube-apiserver"),
					On: reads("ca.crt", "front-proxy-ca.crt", "etcd/ca.crt", "sa.key", "sa.pub",
						certs.APIServer+".crt", certs.APIServerKubeletClient+".crt", certs.APIServerEtcdClient+".crt", certs.FrontProxyClient+".crt"),
					Render: func(digest string, _ map[string]string) ([]byte, error) {
						return templates.KubeAPIServer(templates.APIServerData{
							StaticPod: pod(c.Release.Image("kube-apiserver"), c.APIServer, digest),
							Address:   t.NodeIP, Port: c.APIPort, ServiceCIDR: c.Network.ServiceCIDR, DNSDomain: c.Network.DNSDomain,
						})
					},
				},
				resource.StaticPod{
					Path: manifestPath("kube-controller-manager"),
					On:   append(reads("ca.crt", "ca.key", "front-proxy-ca.crt", "sa.key"), resource.KubeconfigID(kubernetesDir+"/"+certs.ControllerManagerConf)),
					Render: func(digest string, _ map[string]string) ([]byte, error) {
						return templates.KubeControllerManager(templates.ControllerManagerData{
							StaticPod:   pod(c.Release.Image("kube-controller-manager"), c.ControllerManager, digest),
							ClusterName: c.Name, PodCIDR: c.Network.PodCIDR, ServiceCIDR: c.Network.ServiceCIDR, Address: t.NodeIP,
						})
					},
				},
				resource.StaticPod{
					Path: manifestPath("kube-scheduler"),
					On:   []resource.ID{resource.KubeconfigID(kubernetesDir + "/" + certs.SchedulerConf)},
					Render: func(digest string, _ map[string]string) ([]byte, error) {
						return templates.KubeScheduler(templates.SchedulerData{
							StaticPod: pod(c.Release.Image("kube-scheduler"), c.Scheduler, digest), Address: t.NodeIP,
						})
					},
				},
			}, nil
		},
	}
}

func pod(image string, component cluster.Component, digest string) templates.StaticPod {
	return templates.StaticPod{Image: image, ExtraArgs: component.ExtraArgs, InputsDigest: digest}
}

// reads are the files of the PKI folder that a pod reads at its start: authorities are
// files, everything else is a certificate.
func reads(names ...string) []resource.ID {
	ids := make([]resource.ID, len(names))
	for i, name := range names {
		ids[i] = resource.CertificateID(pkiDir + "/" + name)
		if slices.Contains(certs.BundleFiles(), name) {
			ids[i] = resource.FileID(pkiDir + "/" + name)
		}
	}
	return ids
}
