package templates

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"fmt"
	"net/netip"
	"slices"
)

// BootstrapRBAC renders the roles and bindings a kubeadm cluster has before its first addon, as
// one YAML stream: administrators, API servers on kubelets, and joining by token.
func BootstrapRBAC() ([]byte, error) { return render("bootstrap-rbac.yaml.tmpl", struct{}{}) }

// CertificatesRBAC renders who may read the Secret kube-system/kubeadm-certs, once certificates are uploaded.
func CertificatesRBAC() ([]byte, error) { return render("certificates-rbac.yaml.tmpl", struct{}{}) }

// ClusterInfoData is what a joining machine is told before it trusts anything.
type ClusterInfoData struct {
	Server string // URL of the endpoint
	CAPEM  []byte // certificate of the cluster's CA
}

// ClusterInfo renders the ConfigMap kube-public/cluster-info. The controller manager adds the
// signatures, which are its own fields.
func ClusterInfo(d ClusterInfoData) ([]byte, error) {
	if !bytes.HasPrefix(bytes.TrimSpace(d.CAPEM), []byte("-----BEGIN CERTIFICATE-----")) {
		return nil, fmt.Errorf("cluster-info: the certificate of the CA is missing")
	}
	kubeconfig, err := render("cluster-info-kubeconfig.yaml.tmpl", struct{ Server, CA string }{
		d.Server, base64.StdEncoding.EncodeToString(d.CAPEM),
	})
	if err != nil {
		return nil, err
	}
	return configMap("kube-public", "cluster-info", document{"kubeconfig", kubeconfig})
}

// KubeletConfigMap renders the ConfigMap kube-system/kubelet-config, where "kubeadm join" and
// "kubeadm upgrade" find the configuration all kubelets share.
func KubeletConfigMap(config []byte) ([]byte, error) {
	return configMap("kube-system", "kubelet-config", document{"kubelet", config})
}

// KubeadmConfigData is a cluster in kubeadm's words.
type KubeadmConfigData struct {
	ClusterName          string
	KubernetesVersion    string // without "v"
	Endpoint             string // HOST:PORT
	PodCIDR, ServiceCIDR netip.Prefix
	DNSDomain            string
	CertSANs             []string
	KeyAlgorithm         string // kubeadm's names: "ECDSA-P256", "RSA-2048", ...
	EtcdImageTag         string // "3.7.3-0"
	// EtcdEndpoints are the client URLs of etcd's members where these are not on the control planes:
	// what kubeadm calls an external etcd.
	EtcdEndpoints []string
	DNSImageTag   string // "v1.15.0"

	APIServerArgs, ControllerManagerArgs, SchedulerArgs, EtcdArgs map[string]string
}

// KubeadmConfig renders the ConfigMap kube-system/kubeadm-config with a ClusterConfiguration
// v1beta4, by which kubeadm's own commands (join, certs, upgrade, token) know the cluster.
func KubeadmConfig(d KubeadmConfigData) ([]byte, error) {
	type arg struct{ Name, Value string }
	list := func(args map[string]string) []arg {
		var sorted []arg
		for name, value := range args {
			sorted = append(sorted, arg{name, value})
		}
		slices.SortFunc(sorted, func(a, b arg) int { return cmp.Compare(a.Name, b.Name) })
		return sorted
	}
	configuration, err := render("cluster-configuration.yaml.tmpl", struct {
		ClusterName, KubernetesVersion, Endpoint, DNSDomain           string
		PodSubnet, ServiceSubnet                                      string
		CertSANs, EtcdEndpoints                                       []string
		KeyAlgorithm, EtcdImageTag, DNSImageTag                       string
		APIServerArgs, ControllerManagerArgs, SchedulerArgs, EtcdArgs []arg
	}{
		ClusterName: d.ClusterName, KubernetesVersion: "v" + d.KubernetesVersion,
		Endpoint: d.Endpoint, DNSDomain: d.DNSDomain,
		PodSubnet: d.PodCIDR.String(), ServiceSubnet: d.ServiceCIDR.String(),
		CertSANs: d.CertSANs, KeyAlgorithm: d.KeyAlgorithm,
		EtcdImageTag: d.EtcdImageTag, EtcdEndpoints: d.EtcdEndpoints, DNSImageTag: d.DNSImageTag,
		APIServerArgs: list(d.APIServerArgs), ControllerManagerArgs: list(d.ControllerManagerArgs),
		SchedulerArgs: list(d.SchedulerArgs), EtcdArgs: list(d.EtcdArgs),
	})
	if err != nil {
		return nil, err
	}
	return configMap("kube-system", "kubeadm-config", document{"ClusterConfiguration", configuration})
}

// The ConfigMap in kube-system that has the cluster as a cluster file, and the keys there.
const (
	ClusterConfigMap = "kubewright-config"
	ClusterFileKey   = "cluster.yaml"
	DigestsKey       = "digests.yaml"
)

// KubewrightConfig renders the ConfigMap kube-system/kubewright-config, where a machine that joins finds
// what kubeadm's ConfigMaps have no words for. digests may be nil.
func KubewrightConfig(clusterFile, digests []byte) ([]byte, error) {
	documents := []document{{ClusterFileKey, clusterFile}}
	if digests != nil {
		documents = append(documents, document{DigestsKey, digests})
	}
	return configMap("kube-system", ClusterConfigMap, documents...)
}

// document is an entry of a ConfigMap.
type document struct {
	Key  string
	Text []byte
}

func configMap(namespace, name string, documents ...document) ([]byte, error) {
	return render("configmap.yaml.tmpl", struct {
		Namespace, Name string
		Documents       []document
	}{namespace, name, documents})
}
