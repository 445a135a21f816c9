package templates

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"

	"kubewright/spec/componentconfig"
)

// KubeProxyData is what kube-proxy depends on.
type KubeProxyData struct {
	Image     string
	APIServer string // URL of the endpoint; a service address would need kube-proxy first
	PodCIDR   netip.Prefix
	Mode      string // "iptables", "nftables" or "ipvs": decided, never left to the default
	// LocalInterfaces is how the names of the interfaces of pods begin, where pods have addresses outside of
	// PodCIDR, too; "" where they have none.
	LocalInterfaces string
	// ContainerHosts: a node is itself a container, where the kernel's connection tracking limits
	// cannot be written and kube-proxy would exit over them.
	ContainerHosts bool
	// StrictARP: in mode ipvs, a node answers no ARP for addresses of services, which that mode puts on an
	// interface of every node.
	StrictARP bool
	// Patch is merged over the KubeProxyConfiguration as a JSON merge patch.
	Patch map[string]any
}

// KubeProxy renders kube-proxy as one YAML stream: service account, RBAC, configuration and
// DaemonSet, under kubeadm's names. A digest of the configuration on the pods rolls them when it
// changes.
func KubeProxy(d KubeProxyData) ([]byte, error) {
	config, err := KubeProxyConfig(d)
	if err != nil {
		return nil, err
	}
	kubeconfig, err := render("in-cluster-kubeconfig.yaml.tmpl", struct{ Server string }{d.APIServer})
	if err != nil {
		return nil, err
	}
	return render("kube-proxy.yaml.tmpl", struct {
		Image, ConfigDigest string
		Config, Kubeconfig  []byte
	}{d.Image, digest(config, kubeconfig), config, kubeconfig})
}

// KubeProxyConfig renders the KubeProxyConfiguration alone. It is decoded strictly: a field
// kube-proxy does not know is an error that names it.
func KubeProxyConfig(d KubeProxyData) ([]byte, error) {
	if modes := []string{"iptables", "nftables", "ipvs"}; !slices.Contains(modes, d.Mode) {
		return nil, fmt.Errorf("kube-proxy configuration: mode %s is none of %s",
			strconv.Quote(d.Mode), strings.Join(modes, ", "))
	}
	if !d.PodCIDR.IsValid() {
		return nil, fmt.Errorf("kube-proxy configuration: the pod CIDR is not set")
	}
	base, err := render("kube-proxy-config.yaml.tmpl", struct {
		KubeProxyData
		BindAddress string
	}{d, unspecified(d.PodCIDR.Addr())})
	if err != nil {
		return nil, err
	}
	out, err := patchDocument(base, d.Patch, map[string]string{
		"clusterCIDR":      "set network.podCIDR",
		"mode":             "set network.proxyMode",
		"clientConnection": "kubewright writes the kubeconfig it names",
		"hostnameOverride": "it is the name of the node, different on each",
	})
	if err == nil {
		err = yaml.UnmarshalStrict(out, &componentconfig.KubeProxyConfiguration{})
	}
	if err != nil {
		return nil, fmt.Errorf("kube-proxy configuration: %w", err)
	}
	return out, nil
}

// unspecified is the address that means all addresses of the same family.
func unspecified(address netip.Addr) string {
	if address.Is6() {
		return "::"
	}
	return "0.0.0.0"
}

// digest identifies documents: equal digests, equal documents.
func digest(documents ...[]byte) string {
	hash := sha256.New()
	for _, document := range documents {
		fmt.Fprintf(hash, "%d\n", len(document)) // so that moving a byte across a border shows
		hash.Write(document)
	}
	return "sha256:" + hex.EncodeToString(hash.Sum(nil))
}
