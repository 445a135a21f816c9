package addons

import (
	"fmt"

	"kubewright/templates"
)

// renderBuiltin renders what kubewright writes itself instead of taking it from upstream.
func renderBuiltin(name string, p Params) ([]byte, error) {
	switch name {
	case "kube-proxy":
		return templates.KubeProxy(templates.KubeProxyData{
			Image: p.Release.Image("kube-proxy"), APIServer: p.APIServer, PodCIDR: p.PodCIDR,
			Mode: p.ProxyMode, ContainerHosts: p.ContainerHosts,
			// MetalLB announces addresses that ipvs puts on every node: only who announces one may answer for it.
			StrictARP: p.Addons.MetalLB.Enabled, Patch: p.KubeProxyConfig,
		})
	case "coredns":
		return templates.CoreDNS(templates.CoreDNSData{
			Image: p.Release.Image("coredns"), ServiceIP: p.DNSServiceIP,
			ClusterDomain: p.DNSDomain, Replicas: p.DNSReplicas,
		})
	}
	return nil, fmt.Errorf("there is no builtin %q", name)
}
