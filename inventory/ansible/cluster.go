package ansible

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"kubewright/spec/strict"
)

// clusterRules are about the cluster as a whole, and become a part of a cluster file.
func clusterRules() []Rule {
	return []Rule{
		{Names: []string{"kube_version"}, To: "spec.kubernetesVersion", Note: "without it the newest version that kubewright knows", cluster: version},
		{Names: []string{"cluster_name"}, To: "metadata.name", Note: "with dashes for its dots; also `spec.network.dnsDomain` where there is no dns_domain; without it the name is kubernetes", cluster: clusterName},
		{Names: []string{"dns_domain"}, To: "spec.network.dnsDomain", cluster: clusterText("spec", "network", "dnsDomain")},
		{Names: []string{"kube_pods_subnet"}, To: "spec.network.podCIDR", cluster: clusterText("spec", "network", "podCIDR")},
		{Names: []string{"kube_service_addresses"}, To: "spec.network.serviceCIDR", cluster: clusterText("spec", "network", "serviceCIDR")},
		{Names: []string{"kube_network_node_prefix"}, To: "spec.controlPlane.controllerManager.extraArgs", Note: "as node-cidr-mask-size, where it is not 24", cluster: nodePrefix},
		{Names: []string{"kube_proxy_mode"}, To: "spec.network.proxyMode", cluster: clusterText("spec", "network", "proxyMode")},
		{Names: []string{"kube_proxy_strict_arp"}, To: "spec.kubeProxy.config", Note: "as ipvs.strictARP, when true", cluster: clusterFlag("spec", "kubeProxy", "config", "ipvs", "strictARP")},
		{Names: []string{"kube_network_plugin"}, To: "spec.network.cni.name", Note: "calico and flannel; none, cni and custom_cni are none; any other is refused", cluster: networkPlugin},
		{Names: []string{"calico_mtu"}, To: "spec.network.cni.mtu", cluster: clusterNumber("spec", "network", "cni", "mtu")},
		{Names: []string{"kube_apiserver_port"}, To: "spec.controlPlane.port", cluster: clusterNumber("spec", "controlPlane", "port")},
		{Names: []string{"loadbalancer_apiserver"}, To: "spec.controlPlane.endpoint", Note: "its address and port", cluster: loadBalancer},
		{Names: []string{"apiserver_loadbalancer_domain_name"}, To: "spec.controlPlane.certSANs", Note: "the hosts' own /etc/hosts is left alone", cluster: addresses},
		{Names: []string{"supplementary_addresses_in_ssl_keys"}, To: "spec.controlPlane.certSANs", cluster: addresses},
		{Names: []string{"loadbalancer_apiserver_localhost"}, To: "spec.controlPlane.nodeEndpoint", Note: "local when true; when false endpoint, if there is a load balancer or a virtual IP", cluster: nodeEndpoint},
		{Names: []string{"kube_vip_address"}, To: "spec.controlPlane.vip.address", Note: "with provider kube-vip, where kube_vip_enabled and kube_vip_controlplane_enabled are true", cluster: vipAddress},
		{Names: []string{"kube_vip_interface"}, To: "spec.controlPlane.vip.interface", Note: "likewise", cluster: vipInterface},
		{Names: []string{"kube_vip_enabled"}, To: "spec.controlPlane.vip", Note: "with kube_vip_address", cluster: ifVIP},
		{Names: []string{"kube_vip_controlplane_enabled"}, To: "spec.controlPlane.vip", Note: "likewise", cluster: ifVIP},
		{Names: []string{"kube_vip_arp_enabled"}, Note: "kube-vip announces the virtual IP by ARP", cluster: vipARP},
		{Names: []string{"kube_kubeadm_apiserver_extra_args"}, To: "spec.controlPlane.apiServer.extraArgs", cluster: clusterArgs("spec", "controlPlane", "apiServer", "extraArgs")},
		{Names: []string{"kube_kubeadm_controller_extra_args"}, To: "spec.controlPlane.controllerManager.extraArgs", cluster: clusterArgs("spec", "controlPlane", "controllerManager", "extraArgs")},
		{Names: []string{"kube_kubeadm_scheduler_extra_args"}, To: "spec.controlPlane.scheduler.extraArgs", cluster: clusterArgs("spec", "controlPlane", "scheduler", "extraArgs")},
		{Names: []string{"kubelet_max_pods"}, To: "spec.kubelet.config", Note: "as maxPods", cluster: clusterNumber("spec", "kubelet", "config", "maxPods")},
		{Names: []string{"kubelet_config_extra_args"}, To: "spec.kubelet.config", cluster: kubeletConfig},
		{Names: []string{"containerd_registries_mirrors"}, To: "spec.artifacts.registryMirrors", Note: "the prefix and the hosts of each", cluster: registryMirrors},
	}
}

// set puts a value into the cluster file.
func (i *importer) set(n *yaml.Node, v value, keys ...string) {
	i.cluster.SetBelow(i.cluster.Root, i.cluster.Add(n, v.origin()), keys...)
}

func clusterText(keys ...string) func(*importer, value) error {
	return func(i *importer, v value) error {
		text, err := v.text()
		if err != nil {
			return err
		}
		i.set(scalar(tagText, text, v.origin()), v, keys...)
		return nil
	}
}

func clusterNumber(keys ...string) func(*importer, value) error {
	return func(i *importer, v value) error {
		n, err := v.integer()
		if err != nil {
			return err
		}
		i.set(n, v, keys...)
		return nil
	}
}

func clusterFlag(keys ...string) func(*importer, value) error {
	return func(i *importer, v value) error {
		yes, err := v.boolean()
		if err != nil {
			return err
		}
		if !yes {
			return ignored("it is switched off")
		}
		i.set(scalar(tagBool, "true", v.origin()), v, keys...)
		return nil
	}
}

// clusterArgs takes over flags; their values are text.
func clusterArgs(keys ...string) func(*importer, value) error {
	return func(i *importer, v value) error {
		pairs, err := v.mapping()
		if err != nil {
			return err
		}
		for _, e := range pairs {
			text, err := i.lead.textOf(e.value, fmt.Sprintf("the value of the flag %s is not text", e.key.Value))
			if err != nil {
				return err
			}
			i.cluster.SetBelow(i.cluster.Root, i.cluster.Text(text, v.at(e.value)), append(slices.Clone(keys), e.key.Value)...)
		}
		return nil
	}
}

func version(i *importer, v value) error {
	text, err := v.text()
	if err != nil {
		return err
	}
	i.set(scalar(tagText, strings.TrimPrefix(text, "v"), v.origin()), v, "spec", "kubernetesVersion")
	return nil
}

func clusterName(i *importer, v value) error {
	text, err := v.text()
	if err != nil {
		return err
	}
	i.set(scalar(tagText, strings.ReplaceAll(text, ".", "-"), v.origin()), v, "metadata", "name")
	if _, own := i.lead.vars["dns_domain"]; !own {
		i.set(scalar(tagText, text, v.origin()), v, "spec", "network", "dnsDomain")
	}
	return nil
}

func nodePrefix(i *importer, v value) error {
	n, err := v.integer()
	if err != nil {
		return err
	}
	if n.Value == "24" {
		return ignored("it is so in any case")
	}
	i.set(scalar(tagText, n.Value, v.origin()), v, "spec", "controlPlane", "controllerManager", "extraArgs", "node-cidr-mask-size")
	return nil
}

func networkPlugin(i *importer, v value) error {
	text, err := v.text()
	if err != nil {
		return err
	}
	switch text {
	case "calico", "flannel":
	case "none", "cni", "custom_cni":
		text = "none"
	default:
		return fmt.Errorf("the network plugin %q is not supported: set calico or flannel, or none and install the plugin yourself", text)
	}
	i.set(scalar(tagText, text, v.origin()), v, "spec", "network", "cni", "name")
	return nil
}

// loadBalancer takes over the address and the port of a load balancer that others run.
func loadBalancer(i *importer, v value) error {
	pairs, err := v.mapping()
	if err != nil {
		return err
	}
	parts := map[string]string{}
	for _, e := range pairs {
		n, err := i.lead.resolve(e.value, 0)
		if err != nil {
			return err
		}
		parts[e.key.Value], _ = plain(n)
	}
	if len(pairs) == 0 {
		return ignored("it is empty")
	}
	endpoint := parts["address"]
	switch {
	case endpoint == "":
		return errors.New("has no address")
	case parts["port"] != "":
		if strings.Contains(endpoint, ":") {
			endpoint = "[" + endpoint + "]"
		}
		endpoint += ":" + parts["port"]
	}
	i.set(scalar(tagText, endpoint, v.origin()), v, "spec", "controlPlane", "endpoint")
	return nil
}

// addresses adds names and addresses to the certificate of the API server.
func addresses(i *importer, v value) error {
	items, err := v.list()
	if err != nil {
		return err
	}
	list := strict.Get(strict.Get(strict.Get(i.cluster.Root, "spec"), "controlPlane"), "certSANs")
	if list == nil {
		list = i.cluster.List(v.origin())
	}
	for _, item := range items {
		text, err := i.lead.textOf(item, "expected a list of names and addresses")
		if err != nil {
			return err
		}
		list.Content = append(list.Content, i.cluster.Text(text, v.at(item)))
	}
	if len(list.Content) > 0 {
		i.cluster.SetBelow(i.cluster.Root, list, "spec", "controlPlane", "certSANs")
	}
	return nil
}

func nodeEndpoint(i *importer, v value) error {
	local, err := v.boolean()
	if err != nil {
		return err
	}
	word := "local"
	if !local {
		if _, balanced := i.lead.vars["loadbalancer_apiserver"]; !balanced && !i.hasVIP() {
			return unsupported("without a load balancer or a virtual IP the nodes would hang on one control plane")
		}
		word = "endpoint"
	}
	i.set(scalar(tagText, word, v.origin()), v, "spec", "controlPlane", "nodeEndpoint")
	return nil
}

// hasVIP reports whether Kubespray would make a virtual IP for the control planes.
func (i *importer) hasVIP() bool {
	for _, name := range []string{"kube_vip_enabled", "kube_vip_controlplane_enabled"} {
		v, ok := i.lead.vars[name]
		if !ok {
			return false
		}
		if yes, err := i.lead.value(v).boolean(); err != nil || !yes {
			return false
		}
	}
	return true
}

func ifVIP(i *importer, _ value) error {
	if !i.hasVIP() {
		return ignored("there is a virtual IP with both kube_vip_enabled and kube_vip_controlplane_enabled")
	}
	return nil
}

func vipAddress(i *importer, v value) error {
	if err := ifVIP(i, v); err != nil {
		return err
	}
	if err := clusterText("spec", "controlPlane", "vip", "address")(i, v); err != nil {
		return err
	}
	i.set(scalar(tagText, "kube-vip", v.origin()), v, "spec", "controlPlane", "vip", "provider")
	return nil
}

func vipInterface(i *importer, v value) error {
	if err := ifVIP(i, v); err != nil {
		return err
	}
	return clusterText("spec", "controlPlane", "vip", "interface")(i, v)
}

func vipARP(i *importer, v value) error {
	announced, err := v.boolean()
	switch {
	case err != nil:
		return err
	case !i.hasVIP():
		return ifVIP(i, v)
	case !announced:
		return unsupported("kube-vip announces the virtual IP by ARP")
	}
	return nil
}

func kubeletConfig(i *importer, v value) error {
	pairs, err := v.mapping()
	if err != nil {
		return err
	}
	for _, e := range pairs {
		if err := i.plainTree(e.value, v, 0); err != nil {
			return err
		}
		i.cluster.SetBelow(i.cluster.Root, e.value, "spec", "kubelet", "config", e.key.Value)
	}
	return nil
}

// plainTree records the place of a value that is taken over as it is, and of all within it.
func (i *importer) plainTree(n *yaml.Node, v value, depth int) error {
	switch {
	case depth > deepest:
		return errDeep
	case isTemplate(n):
		return errTemplate
	case n.Tag == tagVault:
		return errVault
	case n.Kind == yaml.AliasNode:
		return errors.New("an alias is not understood here; write the value itself")
	}
	i.cluster.Origins[n] = v.at(n)
	for _, below := range n.Content {
		if err := i.plainTree(below, v, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// registryMirrors takes over where images are pulled from instead.
func registryMirrors(i *importer, v value) error {
	items, err := v.list()
	if err != nil {
		return err
	}
	for _, item := range items {
		item = target(item)
		prefix, mirrors := strict.Get(item, "prefix"), strict.Get(item, "mirrors")
		if prefix == nil || mirrors == nil || target(mirrors).Kind != yaml.SequenceNode {
			return errors.New("expected a list of {prefix: REGISTRY, mirrors: [{host: URL}]}")
		}
		registry, err := i.lead.textOf(prefix, "a prefix is not text")
		if err != nil {
			return err
		}
		const noURL = "a mirror has no host that is a URL"
		list := i.cluster.List(v.at(item))
		for _, m := range target(mirrors).Content {
			host := strict.Get(target(m), "host")
			if host == nil {
				return errors.New(noURL)
			}
			url, err := i.lead.textOf(host, noURL)
			if err != nil {
				return err
			}
			list.Content = append(list.Content, i.cluster.Text(url, v.at(host)))
		}
		i.cluster.SetBelow(i.cluster.Root, list, "spec", "artifacts", "registryMirrors", registry)
	}
	return nil
}
