package engine

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"kubewright/addons"
	"kubewright/cluster"
	"kubewright/internal/kube"
	"kubewright/spec"
)

const (
	// trialTimeout is the least that a check with pods of its own may take, pulling their image included.
	trialTimeout = 2 * time.Minute
	// poolAnnotation asks MetalLB for an address of a pool: https://metallb.io/usage/
	poolAnnotation = "metallb.io/address-pool"
	// registryPort is that of the service of the registry in the cluster.
	registryPort = 443
)

// trialOf is what is to be tried of a cluster: what is enabled in it. The hosts to ask from are added by whoever
// reaches them.
func trialOf(c *cluster.Cluster) kube.TrialInput {
	in := kube.TrialInput{
		Image:         c.Release.Image("verify"),
		NetworkPolicy: c.Network.CNI == "calico",
		LoadBalancer:  balancerTrial(c.Addons.MetalLB),
		Metrics:       c.Addons.MetricsServer.Enabled,
		Here:          (&net.Dialer{}).DialContext,
	}
	if i := c.Addons.Ingress; i.Controller != "none" {
		in.Ingress = &kube.IngressTrial{ClassName: i.ClassName, Selector: addons.Label + "=" + i.Controller}
	}
	if c.Addons.LocalPath.Enabled {
		in.StorageClasses = append(in.StorageClasses, c.Addons.LocalPath.ClassName)
	}
	if c.Addons.NFS.Enabled {
		in.StorageClasses = append(in.StorageClasses, c.Addons.NFS.ClassName)
	}
	if r := c.Addons.Registry; r.Enabled {
		in.Registry = &kube.RegistryTrial{Host: r.Host, Address: netip.AddrPortFrom(c.RegistryIP(), registryPort)}
	}
	return in
}

// balancerTrial asks for an address of any pool, and by name for one of a pool that gives none without.
func balancerTrial(m spec.MetalLB) *kube.LoadBalancerTrial {
	if !m.Enabled || len(m.Pools) == 0 {
		return nil
	}
	trial := &kube.LoadBalancerTrial{}
	pools := slices.DeleteFunc(slices.Clone(m.Pools), func(p spec.AddressPool) bool { return p.OnRequest })
	if len(pools) == 0 {
		pools = m.Pools[:1]
		trial.Annotations = map[string]string{poolAnnotation: pools[0].Name}
	}
	for _, p := range pools {
		for _, text := range p.Addresses {
			r, _, _ := spec.ParseAddressRange(text) // the spec was checked
			trial.Addresses = append(trial.Addresses, kube.AddressRange(r))
		}
	}
	return trial
}
