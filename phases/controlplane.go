package phases

import (
	"slices"

	"kubewright/certs"
	"kubewright/cluster"
	"kubewright/internal/plan"
	"kubewright/internal/resource"
	"kubewright/inventory"
	"kubewright/templates"
)

const manifestsDir = kubernetesDir + "/manifests"

func manifestPath(component string) string { return manifestsDir + "/" + component + ".yaml" }

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
					// Not the certificate that it serves with, which it reads again when that changes.
					On: slices.Concat(
						reads("ca.crt", "front-proxy-ca.crt", "etcd/ca.crt", "sa.key", "sa.pub", certs.APIServerKubeletClient+".crt"),
						readsAsClientOfEtcd(c), reads(certs.FrontProxyClient+".crt")),
					Render: func(digest string, _ map[string]string) ([]byte, error) {
						return templates.KubeAPIServer(templates.APIServerData{
							StaticPod: pod(c.Release.Image("kube-apiserver"), c.APIServer, digest),
							Address:   t.NodeIP, Port: c.APIPort, ServiceCIDR: c.Network.ServiceCIDR, DNSDomain: c.Network.DNSDomain,
							EtcdServers: remoteEtcd(c),
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

// remoteEtcd are the client URLs of etcd's members where these are not on the control planes.
func remoteEtcd(c *cluster.Cluster) []string {
	if c.StackedEtcd() {
		return nil
	}
	return c.EtcdClientURLs()
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
