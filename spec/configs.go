package spec

import (
	"maps"
	"reflect"
	"slices"

	"kubewright/spec/componentconfig"
	"kubewright/spec/strict"
)

// configs checks the configuration that is merged into the kubelet's and kube-proxy's: fields
// that Kubernetes does not know, and fields that follow from something else in the cluster.
func (v *validator) configs() {
	v.config(at("kubelet", "config"), v.spec.Kubelet.Config, ownedKubeletFields(), reflect.TypeFor[componentconfig.KubeletConfiguration]())
	v.config(at("kubeProxy", "config"), v.spec.KubeProxy.Config, ownedKubeProxyFields(), reflect.TypeFor[componentconfig.KubeProxyConfiguration]())
}

func (v *validator) config(where strict.Path, config map[string]any, owned map[string]string, t reflect.Type) {
	rest := maps.Clone(config)
	for _, field := range slices.Sorted(maps.Keys(config)) {
		if why, ok := owned[field]; ok {
			v.SuggestKey(where.Key(field), "", "kubewright sets this field itself: %s", why)
			delete(rest, field)
		}
	}
	v.Conform(where, rest, t)
}

const fixedVersion = "kubewright decides the version of the configuration; give the fields alone"

// ownedKubeletFields are the fields of a KubeletConfiguration that follow from something else.
func ownedKubeletFields() map[string]string {
	return map[string]string{
		"apiVersion":               fixedVersion,
		"kind":                     fixedVersion,
		"authentication":           "clients are checked against the cluster's CA and the API server, never anonymous",
		"authorization":            "the API server decides what clients may do (Webhook)",
		"cgroupDriver":             "containerd is configured for systemd, and both must agree",
		"clusterDNS":               "it is the tenth address of spec.network.serviceCIDR",
		"clusterDomain":            "set spec.network.dnsDomain",
		"containerRuntimeEndpoint": "kubewright installs containerd at its default socket",
		"registerWithTaints":       "set the taints of the host or of its group",
		"resolvConf":               "it is worked out on each host, so that CoreDNS does not forward to itself",
		"rotateCertificates":       "the kubelet's certificate is always rotated",
		"serverTLSBootstrap":       "the serving certificate is issued by the cluster's CA",
		"staticPodPath":            "the control plane's manifests are written there",
		"tlsCertFile":              "the serving certificate is issued by the cluster's CA",
		"tlsPrivateKeyFile":        "the serving certificate is issued by the cluster's CA",
	}
}

// ownedKubeProxyFields are those of a KubeProxyConfiguration.
func ownedKubeProxyFields() map[string]string {
	return map[string]string{
		"apiVersion":       fixedVersion,
		"kind":             fixedVersion,
		"clientConnection": writesKubeconfig,
		"clusterCIDR":      "set spec.network.podCIDR",
		"hostnameOverride": "it is the name of the node, different on each",
		"mode":             "set spec.network.proxyMode",
	}
}
