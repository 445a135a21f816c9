package phases

import (
	"io/fs"
	"slices"

	"kubewright/certs"
	"kubewright/cluster"
	"kubewright/internal/plan"
	"kubewright/internal/resource"
	"kubewright/inventory"
)

const (
	kubernetesDir = "/etc/kubernetes"
	pkiDir        = kubernetesDir + "/pki"
	kubeletDir    = "/var/lib/kubelet"
	kubeletPKI    = kubeletDir + "/pki"
)

// authorities puts the cluster's authorities on its control planes, where they live and
// where every later run finds them. No other host hears of them before they are there: a
// run that is cut leaves either nothing that they have signed, or the authorities themselves.
func authorities() plan.Phase {
	return plan.Phase{
		Name:  "authorities",
		Short: "certificate authorities on the control planes",
		On:    inventory.ControlPlanes,
		After: []plan.Edge{plan.SameHost("preflight")},
		Desire: func(c *cluster.Cluster, t plan.Target) ([]resource.Resource, error) {
			return append([]resource.Resource{
				resource.Dir{Path: kubernetesDir, Owned: true},
				resource.Dir{Path: pkiDir},
				resource.Dir{Path: pkiDir + "/etcd"},
			}, authorityFiles(c, t)...), nil
		},
	}
}

// pki issues what each host serves and authenticates with, and gives hosts that are no control
// planes the certificate of the one authority that they trust.
func pki() plan.Phase {
	return plan.Phase{
		Name:  "pki",
		Short: "certificates of the hosts",
		On:    inventory.Everyone,
		After: []plan.Edge{plan.SameHost("host")},
		Way:   true,
		Desire: func(c *cluster.Cluster, t plan.Target) ([]resource.Resource, error) {
			var want []resource.Resource
			if runsPods(t.Host) {
				want = append(want, resource.Dir{Path: kubeletDir, Owned: true}, resource.Dir{Path: kubeletPKI})
			}
			if !t.Has(inventory.RoleControlPlane) {
				want = append(want, resource.Dir{Path: kubernetesDir, Owned: true}, resource.Dir{Path: pkiDir})
			}
			if etcdOnly(t.Host) {
				want = append(want, resource.Dir{Path: pkiDir + "/etcd"}, authority(t, certs.EtcdCA))
			} else if !t.Has(inventory.RoleControlPlane) {
				want = append(want, authority(t, certs.KubernetesCA))
			}
			issued, err := hostCertificates(c, t)
			if err != nil {
				return nil, err
			}
			want = append(want, issued...)
			if c.ExternalEtcd.Used() && t.Has(inventory.RoleControlPlane) {
				want = append(want, externalEtcd(c, t)...)
			}
			if !runsPods(t.Host) {
				return want, nil
			}
			return append(want, nodeCertificates(c, t)...), nil
		},
	}
}

// hostCertificates are those below the PKI folder: of a control plane, of a member of etcd, or of both.
func hostCertificates(c *cluster.Cluster, t plan.Target) ([]resource.Resource, error) {
	requests, err := certs.ControlPlaneRequests(controlPlaneNames(c, t.Host))
	if err != nil {
		return nil, err
	}
	var want []resource.Resource
	for _, r := range requests {
		if slices.Contains(c.ForeignAuthorities(), r.Authority) {
			continue // the user gives it, if it is needed at all
		}
		role := inventory.RoleControlPlane
		if etcdCertificate(r) {
			role = inventory.RoleEtcd
		}
		if t.Has(role) {
			cert := certificate(t, pkiDir, r)
			cert.Widen = t.KeepsWays && r.Name == certs.APIServer
			want = append(want, cert)
		}
	}
	return want, nil
}

// authorityFiles are the files of all authorities. They are read at each look, for it is
// from here that any later run, on any machine, takes them.
func authorityFiles(c *cluster.Cluster, t plan.Target) []resource.Resource {
	var want []resource.Resource
	if t.PKI == nil {
		for _, name := range certs.BundleFiles(c.ForeignAuthorities()...) {
			want = append(want, resource.File{Path: pkiDir + "/" + name, Secret: true, Read: true})
		}
		return want
	}
	for _, f := range t.PKI.Files() {
		want = append(want, resource.File{Path: pkiDir + "/" + f.Name, Mode: fs.FileMode(f.Mode), Content: f.Content.Reveal(), Secret: true, Read: true})
	}
	return want
}

// authority is the one file of an authority that a host gets which is no control plane: a certificate,
// no key. Who was there before may have had both in it. It is read at each look, to be compared with
// that of the other hosts.
func authority(t plan.Target, name certs.AuthorityName) resource.File {
	f := resource.File{Path: pkiDir + "/" + string(name) + ".crt", Secret: true, Read: true}
	if t.PKI != nil {
		f.Content = t.PKI.Authority(name).CertPEM()
	}
	return f
}

func controlPlaneNames(c *cluster.Cluster, h inventory.Host) certs.ControlPlane {
	names := certs.ControlPlane{
		NodeName: h.Name, NodeIP: h.NodeIP, DNSDomain: c.Network.DNSDomain, APIServiceIP: c.Network.APIServiceIP,
		VIP: c.VIP.Address, Local: c.LocalBalancer, CertSANs: c.CertSANs, Algorithm: certs.KeyAlgorithm(c.KeyAlgorithm),
	}
	if c.SharedEndpoint { // otherwise it is the address of one host, which is not that of the others
		names.Endpoint = c.Endpoint.Host
	}
	return names
}

// nodeCertificates are issued directly: an operator with the authority in hand needs no
// bootstrap token and no approval. On a machine that joins by itself the cluster signs that of the client. The
// kubelet rotates its client certificate from then on.
func nodeCertificates(c *cluster.Cluster, t plan.Target) []resource.Resource {
	var want []resource.Resource
	for _, r := range certs.NodeRequests(certs.Node{Name: t.Name, IP: t.NodeIP, Algorithm: certs.KeyAlgorithm(c.KeyAlgorithm)}) {
		cert := certificate(t, kubeletPKI, r)
		if r.Name == certs.KubeletClient {
			cert.CertPath, cert.KeyPath, cert.Issued = kubeletClientPath, "", t.KubeletClient
		}
		want = append(want, cert)
	}
	return want
}

// kubeletClientPath is the link that the kubelet keeps on its newest client certificate.
const kubeletClientPath = kubeletPKI + "/kubelet-client-current.pem"

func certificate(t plan.Target, dir string, r certs.Named) resource.Certificate {
	cert := resource.Certificate{
		CertPath: dir + "/" + r.Name + ".crt", KeyPath: dir + "/" + r.Name + ".key",
		Request: r.Request, Env: t.Env,
	}
	if t.PKI != nil {
		cert.Issuer = t.PKI.Authority(r.Authority)
	}
	return cert
}

// kubeconfigs are how the components find and trust the API server. The kubelet goes the way of
// the nodes, an administrator through the endpoint if it leads to all control planes;
// controller-manager and scheduler use the API server of their own host. That of kube-vip is with its pod.
func kubeconfigs() plan.Phase {
	return plan.Phase{
		Name:  "kubeconfigs",
		Short: "kubeconfigs of administrator, components and kubelets",
		On:    runsPods,
		After: []plan.Edge{plan.SameHost("pki")},
		Desire: func(c *cluster.Cluster, t plan.Target) ([]resource.Resource, error) {
			want := []resource.Resource{resource.Dir{Path: manifestsDir}} // beside them, and watched by the kubelet
			if t.Has(inventory.RoleControlPlane) {
				for _, r := range certs.KubeconfigRequests(controlPlaneNames(c, t.Host)) {
					want = append(want, componentKubeconfig(c, t, r))
				}
			}
			return append(want, kubeconfig(c, t, certs.KubeletConf, certs.KubeconfigWant{
				Server: c.NodeEndpoint.URL(), User: "system:node:" + t.Name,
				CertFile: kubeletClientPath, KeyFile: kubeletClientPath,
			})), nil
		},
	}
}

// componentKubeconfig is one of those that have a client certificate of their own.
func componentKubeconfig(c *cluster.Cluster, t plan.Target, r certs.NamedKubeconfig) resource.Kubeconfig {
	server := localAPI(c, t.Host)
	if c.SharedEndpoint && !r.Local {
		server = c.Endpoint.URL()
	}
	return kubeconfig(c, t, r.Name, certs.KubeconfigWant{Server: server, User: r.User, Request: r.Request})
}

func kubeconfig(c *cluster.Cluster, t plan.Target, name string, want certs.KubeconfigWant) resource.Kubeconfig {
	want.ClusterName = c.Name
	if t.PKI != nil {
		want.Authority = t.PKI.Kubernetes
	}
	return resource.Kubeconfig{Path: kubernetesDir + "/" + name, Want: want, Env: t.Env}
}

// localAPI is the API server of a control plane by its own address.
func localAPI(c *cluster.Cluster, h inventory.Host) string {
	return cluster.Endpoint{Host: h.NodeIP.String(), Port: c.APIPort}.URL()
}
