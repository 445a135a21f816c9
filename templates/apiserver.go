package templates

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"
)

// APIServerData describes the API server of one control plane.
type APIServerData struct {
	StaticPod
	Address     netip.Addr   // of the node, advertised to the cluster
	Port        int          // controlPlane.port
	ServiceCIDR netip.Prefix // its first address becomes the "kubernetes" service
	DNSDomain   string       // "cluster.local"; part of the service account issuer
	CADirs      []string     // those of CADirs that the host has
	// EtcdServers are the client URLs of etcd's members; none means the member on this host.
	EtcdServers []string
}

// KubeAPIServer renders the static pod /etc/kubernetes/manifests/kube-apiserver.yaml. Where
// the host has a member of etcd, the API server talks to that one only: a host that loses its member
// is taken out by its readiness, not kept half alive.
func KubeAPIServer(d APIServerData) ([]byte, error) {
	if err := checkAddress("kube-apiserver", d.Address); err != nil {
		return nil, err
	}
	if d.Port < 1 || d.Port > 65535 {
		return nil, fmt.Errorf("kube-apiserver: port %d is not between 1 and 65535", d.Port)
	}
	if !d.ServiceCIDR.IsValid() {
		return nil, fmt.Errorf("kube-apiserver: the service CIDR is not set")
	}
	flags := flagSet{
		component: "kube-apiserver", extra: d.ExtraArgs, defaults: apiServerFlags(d),
		reserved: map[string]string{
			"advertise-address":        "set the nodeIP of the host",
			"secure-port":              "set controlPlane.port",
			"service-cluster-ip-range": "set network.serviceCIDR",
		},
	}
	if _, structured := d.ExtraArgs["authorization-config"]; !structured {
		// The API server refuses to have both.
		flags.defaults = append(flags.defaults, option{"authorization-mode", "Node,RBAC"})
	}
	return manifest{
		Name: "kube-apiserver",
		Annotations: []annotation{{
			"kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint", hostPort(d.Address, d.Port),
		}},
		ProbeScheme: "HTTPS", ProbeHost: d.Address.String(), ProbePort: d.Port,
		Probes: []probe{livenessProbe("/livez"), readinessProbe("/readyz"), startupProbe("/livez")},
		CPU:    "250m",
		Volumes: append(caVolumes(d.CADirs),
			HostPath{Name: "k8s-certs", HostPath: pkiDir, MountPath: pkiDir, ReadOnly: true}),
	}.render(d.StaticPod, flags)
}

func apiServerFlags(d APIServerData) []option {
	return []option{
		{"advertise-address", d.Address.String()},
		{"allow-privileged", "true"},
		{"client-ca-file", pkiDir + "/ca.crt"},
		{"enable-admission-plugins", "NodeRestriction"},
		{"enable-bootstrap-token-auth", "true"},
		{"etcd-cafile", pkiDir + "/etcd/ca.crt"},
		{"etcd-certfile", pkiDir + "/apiserver-etcd-client.crt"},
		{"etcd-keyfile", pkiDir + "/apiserver-etcd-client.key"},
		{"etcd-servers", cmp.Or(strings.Join(d.EtcdServers, ","), url("https", loopback(d.Address), etcdClientPort))},
		{"kubelet-client-certificate", pkiDir + "/apiserver-kubelet-client.crt"},
		{"kubelet-client-key", pkiDir + "/apiserver-kubelet-client.key"},
		{"kubelet-preferred-address-types", "InternalIP,ExternalIP,Hostname"},
		{"proxy-client-cert-file", pkiDir + "/front-proxy-client.crt"},
		{"proxy-client-key-file", pkiDir + "/front-proxy-client.key"},
		{"requestheader-allowed-names", "front-proxy-client"},
		{"requestheader-client-ca-file", pkiDir + "/front-proxy-ca.crt"},
		{"requestheader-extra-headers-prefix", "X-Remote-Extra-"},
		{"requestheader-group-headers", "X-Remote-Group"},
		{"requestheader-username-headers", "X-Remote-User"},
		{"secure-port", port(d.Port)},
		{"service-account-issuer", "https://kubernetes.default.svc." + d.DNSDomain},
		{"service-account-key-file", pkiDir + "/sa.pub"},
		{"service-account-signing-key-file", pkiDir + "/sa.key"},
		{"service-cluster-ip-range", d.ServiceCIDR.String()},
		{"tls-cert-file", pkiDir + "/apiserver.crt"},
		{"tls-private-key-file", pkiDir + "/apiserver.key"},
	}
}
