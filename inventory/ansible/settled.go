package ansible

import (
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"kubewright/inventory"
)

// settledRules are about variables that become nothing. Those with an own value are so here in any
// case; with another value they are unsupported.
func settledRules() []Rule {
	say := func(note string, names ...string) Rule { return Rule{Names: names, Note: note} }
	return []Rule{
		say("the layout on the hosts is kubeadm's", "bin_dir", "local_release_dir", "kube_config_dir", "kube_cert_dir", "kube_script_dir", "kube_manifest_dir",
			"kube_token_dir", "kube_owner", "kube_cert_group", "etcd_data_dir", "credentials_dir", "default_kubelet_config_dir", "kubeadm_patches_dir"),
		say("it follows from the service CIDR", "skydns_server", "skydns_server_secondary", "kube_apiserver_ip"),
		say("etcd runs on the control planes, or as a service on hosts of its own", "etcd_deployment_type"),
		say("a member of etcd has the name of its host", "etcd_member_name"),
		say("the load balancer on the nodes is kubewright's own", "loadbalancer_apiserver_port", "loadbalancer_apiserver_healthcheck_port", "loadbalancer_apiserver_type"),
		say("name servers of hosts are left alone", "resolvconf_mode", "ndots", "searchdomains", "nameservers", "upstream_dns_servers"),
		say("clocks of hosts are left alone", "ntp_servers", "ntp_timezone", "ntp_package"),
		say("the authorities reach the control planes over SSH", "kubeadm_certificate_key"),
		say("only IPv4 is supported yet", "kube_service_addresses_ipv6", "kube_pods_subnet_ipv6", "kube_network_node_prefix_ipv6", "ip6", "access_ip6"),
		say("it is about how Ansible runs", "retry_stagger", "unsafe_show_logs", "ignore_assert_errors", "download_run_once", "download_localhost", "download_cache_dir", "download_force_cache"),
	}
}

// fitting are values that ask for what is so in any case.
func fitting() map[string][]string {
	return map[string][]string{
		"container_manager":       {"containerd"},
		"dns_mode":                {"coredns"},
		"event_ttl_duration":      {"1h0m0s", "1h"},
		"kube_api_anonymous_auth": {"true", "True", "yes"},
		"k8s_image_pull_policy":   {"IfNotPresent"},
		"cert_management":         {"script"},
		"ipv4_stack":              {"true", "True", "yes"},
		"kube_proxy_remove":       {"false", "False", "no"},
		"authorization_modes":     {"Node,RBAC"},
	}
}

// family is what variables have in common whose names begin, or end, alike.
type family struct {
	prefix, suffix string
	verdict        inventory.Verdict
	reason         string
}

// families are looked through in this order.
func families() []family {
	const (
		noPlugin = "it is of a network plugin that is not installed"
		noEngine = "containerd is the container engine"
		noAddon  = "it is of an add-on: spec.addons says what is installed"
		kubeVIP  = "kube-vip has the virtual IP of the control planes, which it announces by ARP, and nothing else"
		nothing  = "kubewright has no equivalent"
	)
	return []family{
		{"ansible_", "", inventory.Ignored, "it is about Ansible"},
		{"docker_", "", inventory.Ignored, noEngine},
		{"crio_", "", inventory.Ignored, noEngine},
		{"cilium_", "", inventory.Ignored, noPlugin},
		{"flannel_", "", inventory.Ignored, "flannel follows spec.network"},
		{"kube_ovn_", "", inventory.Ignored, noPlugin},
		{"kube_router_", "", inventory.Ignored, noPlugin},
		{"macvlan_", "", inventory.Ignored, noPlugin},
		{"enable_nat_default_gateway", "", inventory.Ignored, noPlugin},
		{"weave_", "", inventory.Ignored, noPlugin},
		{"enable_nodelocaldns", "", inventory.Unsupported, "spec.addons.nodeLocalDNS puts a DNS cache on the nodes"},
		{"nodelocaldns_", "", inventory.Ignored, "spec.addons.nodeLocalDNS puts a DNS cache on the nodes"},
		{"http_proxy", "", inventory.Unsupported, "hosts download through no proxy; give spec.artifacts a mirror, or have files pushed"},
		{"https_proxy", "", inventory.Unsupported, "hosts download through no proxy; give spec.artifacts a mirror, or have files pushed"},
		{"no_proxy", "", inventory.Ignored, "hosts download through no proxy"},
		{"", "_download_url", inventory.Unsupported, "spec.artifacts says where files come from"},
		{"", "_image_repo", inventory.Unsupported, "spec.artifacts says where images come from"},
		{"files_repo", "", inventory.Unsupported, "spec.artifacts says where files come from"},
		{"registry_host", "", inventory.Unsupported, "spec.artifacts says where images come from"},
		{"kube_vip_", "_enabled", inventory.Unsupported, kubeVIP},
		{"", "_enabled", inventory.Unsupported, noAddon},
		{"metallb_", "", inventory.Ignored, noAddon},
		{"cert_manager_", "", inventory.Ignored, noAddon},
		{"argocd_", "", inventory.Ignored, noAddon},
		{"ingress_", "", inventory.Ignored, noAddon},
		{"metrics_server_", "", inventory.Ignored, noAddon},
		{"registry_", "", inventory.Ignored, noAddon},
		{"local_volume_provisioner_", "", inventory.Ignored, noAddon},
		{"local_path_provisioner_", "", inventory.Ignored, noAddon},
		{"kube_vip_", "", inventory.Ignored, kubeVIP},
		{"coredns_k8s_external_zone", "", inventory.Ignored, "CoreDNS is set up as kubeadm does"},
		{"kube", "", inventory.Unsupported, nothing},
		{"etcd_", "", inventory.Unsupported, nothing},
		{"calico_", "", inventory.Unsupported, nothing},
		{"containerd_", "", inventory.Unsupported, nothing},
		{"coredns_", "", inventory.Unsupported, nothing},
		{"dns_", "", inventory.Unsupported, nothing},
		{"container_", "", inventory.Unsupported, nothing},
		{"apiserver_", "", inventory.Unsupported, nothing},
		{"enable_", "", inventory.Unsupported, nothing},
		{"ipv6_stack", "", inventory.Unsupported, "only IPv4 is supported yet"},
		{"authorization_modes", "", inventory.Unsupported, nothing},
		{"cloud_provider", "", inventory.Unsupported, nothing},
		{"external_cloud_provider", "", inventory.Unsupported, nothing},
		{"audit_", "", inventory.Unsupported, nothing},
		{"k8s_", "", inventory.Unsupported, nothing},
		{"upgrade_", "", inventory.Ignored, "kubewright drains as spec.rollout says"},
		{"drain_", "", inventory.Ignored, "kubewright drains as spec.rollout says"},
	}
}

// settle says what becomes of a variable that no rule puts into a host or the cluster.
// n is what the variable comes to.
func settle(v variable, n *yaml.Node) (inventory.Verdict, string) {
	for _, r := range settledRules() {
		if slices.Contains(r.Names, v.name) {
			return inventory.Ignored, r.Note
		}
	}
	if text, ok := plain(n); ok && slices.Contains(fitting()[v.name], text) {
		return inventory.Ignored, "it is so in any case"
	}
	if off(n) {
		return inventory.Ignored, "it is switched off, or empty"
	}
	for _, f := range families() {
		if strings.HasPrefix(v.name, f.prefix) && strings.HasSuffix(v.name, f.suffix) {
			return f.verdict, f.reason
		}
	}
	return inventory.Ignored, "kubewright knows no such variable"
}
