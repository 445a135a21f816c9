package plan

import "kubewright/internal/sh"

// Reset is the plan that removes everything the manifest of a host lists.
func Reset(name string, manifest map[string]string) Host {
	return Host{Name: name, Items: orphans(nil, manifest)}
}

// calicoRouteProtocol marks the routes that Felix sets (FelixConfiguration's
// deviceRouteProtocol, 80 by default).
const calicoRouteProtocol = "80"

// ResetTasks orders a removal: the kubelet first, so that nothing starts again; then what
// runs, while containerd can still end it; then what it left in the kernel; then the rest.
func ResetTasks(h Host) []sh.Task {
	var units, rest []sh.Task
	for _, t := range h.Tasks(nil) {
		if t.ID == "unit:kubelet.service" {
			units = append(units, t)
		} else {
			rest = append(rest, t)
		}
	}
	teardown := sh.Task{ID: "workloads", Phase: "workloads", Steps: []sh.Step{
		sh.StopPods{},
		sh.Unmount{Below: "/var/lib/kubelet"},
		sh.Unmount{Below: "/run/netns"},
		sh.DeleteLinks{Prefixes: []string{"cali", "vxlan.calico", "cni0", "flannel.1", "kube-ipvs0", "nodelocaldns"}},
		sh.DeleteRules{
			ChainPrefixes: []string{"KUBE-", "cali-", "FLANNEL-"},
			Comments:      []string{"cali:", "flanneld ", "NodeLocal DNS Cache:"},
			NftTables:     []string{"ip kube-proxy", "ip6 kube-proxy", "ip flannel-ipv4", "ip6 flannel-ipv6"},
			SetPrefixes:   []string{"cali", "KUBE-"},
		},
		sh.DeleteRoutes{Protocol: calicoRouteProtocol},
	}}
	return append(append(units, teardown), rest...)
}
