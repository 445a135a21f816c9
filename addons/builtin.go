package addons

import (
	"fmt"
	"net/netip"

	"kubewright/spec"
	"kubewright/templates"
)

// renderBuiltin renders what kubewright writes itself instead of taking it from upstream.
func renderBuiltin(name string, p Params) ([]byte, error) {
	switch name {
	case "kube-proxy":
		return templates.KubeProxy(templates.KubeProxyData{
			Image: p.Release.Image("kube-proxy"), APIServer: p.APIServer, PodCIDR: p.PodCIDR,
			Mode: p.ProxyMode, LocalInterfaces: p.LocalInterfaces, ContainerHosts: p.ContainerHosts,
			// MetalLB announces addresses that ipvs puts on every node: only who announces one may answer for it.
			StrictARP: p.Addons.MetalLB.Enabled, Patch: p.KubeProxyConfig,
		})
	case "coredns":
		return templates.CoreDNS(templates.CoreDNSData{
			Image: p.Release.Image("coredns"), ServiceIP: p.DNSServiceIP,
			ClusterDomain: p.DNSDomain, Replicas: p.DNSReplicas,
			Forward: p.Addons.CoreDNS.Servers(), Zones: zones(p.Addons.CoreDNS), Hosts: hosts(p.Addons.CoreDNS),
		})
	}
	return nil, fmt.Errorf("there is no builtin %q", name)
}

func zones(d spec.CoreDNS) []templates.DNSZone {
	var all []templates.DNSZone
	for _, zone := range d.Zones {
		all = append(all, templates.DNSZone{Name: zone.Name, Forward: zone.Servers()})
	}
	return all
}

func hosts(d spec.CoreDNS) []templates.DNSHost {
	var all []templates.DNSHost
	for _, host := range d.Hosts {
		address, _ := netip.ParseAddr(host.Address) // the spec has checked it; an invalid one is refused below
		all = append(all, templates.DNSHost{Address: address, Names: host.Names})
	}
	return all
}
