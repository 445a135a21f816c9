package phases

import (
	"cmp"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubewright/addons"
	"kubewright/cluster"
	"kubewright/internal/fault"
	"kubewright/internal/plan"
	"kubewright/spec"
)

// kubeProxy, network and dns are what turns nodes into a cluster with services, pod networking and names.
// They are applied as soon as the API answers, while nodes still join. Nothing waits for their workloads
// before the last phase, which waits for all of them together.
func kubeProxy() plan.Phase { return corePhase("kube-proxy", "services on every node") }

func network() plan.Phase { return corePhase("network", "pod network and network policy") }

func dns() plan.Phase { return corePhase("dns", "cluster DNS") }

// core maps the phases of the addons that no cluster is without to these.
func core(c *cluster.Cluster, phase string) string {
	return map[string]string{"kube-proxy": "kube-proxy", "network": c.Network.CNI, "dns": "coredns"}[phase]
}

// corePhase installs the one addon of a phase.
func corePhase(name, short string) plan.Phase {
	return plan.Phase{
		Name:  name,
		Short: short,
		After: []plan.Edge{plan.AllHosts("bootstrap")},
		Sets: func(c *cluster.Cluster) ([]plan.Set, error) {
			addon := core(c, name)
			if addon == "none" {
				return nil, nil
			}
			a, err := addons.Find(addon)
			if err != nil {
				return nil, err
			}
			set, err := addonSet(c, a)
			return []plan.Set{set}, err
		},
	}
}

// coreSets are the addons that no cluster is without.
func coreSets(c *cluster.Cluster) ([]plan.Set, error) {
	var sets []plan.Set
	for _, p := range []plan.Phase{kubeProxy(), network(), dns()} {
		more, err := p.Sets(c)
		if err != nil {
			return nil, err
		}
		sets = append(sets, more...)
	}
	return sets, nil
}

// installAddons installs all other addons, side by side where none comes after another, and takes away those
// that are enabled no more. One that fails stops only those that come after it.
func installAddons() plan.Phase {
	return plan.Phase{
		Name:   "addons",
		Short:  "what is installed into the cluster, and taken away again",
		After:  []plan.Edge{plan.AllHosts("nodes"), plan.AllHosts("kube-proxy"), plan.AllHosts("network"), plan.AllHosts("dns")},
		Prunes: true,
		Sets: func(c *cluster.Cluster) ([]plan.Set, error) {
			if c.Addons.Untold {
				return nil, nil
			}
			all, err := addons.Default()
			if err != nil {
				return nil, err
			}
			// Where nothing runs pods of users yet, on the first machine of init, they start when that joins.
			awaited := len(c.Workers()) > 0
			var sets []plan.Set
			for _, a := range all {
				if isCore(a.Name) || !Enabled(c, a.Name) {
					continue
				}
				set, err := addonSet(c, a)
				if err != nil {
					return nil, err
				}
				if !awaited {
					set.Ready = nil
				}
				sets = append(sets, set)
			}
			for _, custom := range c.Addons.Custom {
				sets = append(sets, plan.Set{
					Name: custom.Name, After: custom.After, Namespace: custom.Namespace, Workloads: awaited,
					Objects: func(_ *cluster.Cluster, w plan.World) ([]*unstructured.Unstructured, error) {
						return addons.Labelled(custom.Name, w.Custom[custom.Name]), nil
					},
				})
			}
			return sets, nil
		},
	}
}

// isCore tells whether an addon belongs to a phase of its own.
func isCore(addon string) bool {
	return slices.Contains([]string{"kube-proxy", "calico", "flannel", "coredns"}, addon)
}

// registryAddon is the one that nodes know, too.
const registryAddon = "registry"

// Enabled tells whether a cluster has an addon of kubewright's.
func Enabled(c *cluster.Cluster, addon string) bool {
	switch addon {
	case "kube-proxy", "coredns":
		return true
	case "calico", "flannel":
		return c.Network.CNI == addon
	case "local-path":
		return c.Addons.LocalPath.Enabled
	case "metallb":
		return c.Addons.MetalLB.Enabled
	case "metrics-server":
		return c.Addons.MetricsServer.Enabled
	case "nfs":
		return c.Addons.NFS.Enabled
	case registryAddon:
		return c.Addons.Registry.Enabled
	case "nginx", "ingress-nginx":
		return c.Addons.Ingress.Controller == addon
	case "node-local-dns":
		return c.Addons.NodeLocalDNS.Enabled
	}
	return false
}

// variant is the variant of an addon that a cluster has; "" where an addon has none.
func variant(c *cluster.Cluster, addon string) string {
	switch addon {
	case "calico":
		return cmp.Or(c.Network.Calico.Mode, spec.CalicoVXLAN)
	case "nginx", "ingress-nginx":
		return c.Addons.Ingress.Workload
	}
	return ""
}

// addonSet is the API objects of an addon.
func addonSet(c *cluster.Cluster, a addons.Addon) (plan.Set, error) {
	a, err := a.In(variant(c, a.Name))
	if err != nil {
		return plan.Set{}, err
	}
	set := plan.Set{
		Name: a.Name, After: a.After,
		Objects: func(c *cluster.Cluster, w plan.World) ([]*unstructured.Unstructured, error) {
			p := params(c, w)
			if err := keepsPool(p, w.Live[defaultPool()]); a.Name == "calico" && err != nil {
				return nil, err
			}
			if a.Certificate != nil {
				var err error
				p.CA = w.PKI.Kubernetes.CertPEM()
				if p.Certificate, err = addonCertificate(c, a, w); err != nil {
					return nil, err
				}
			}
			return addons.Render(a, p, w.Manifests[a.Manifest])
		},
	}
	if a.Manifest != "" {
		set.Manifests = []string{a.Manifest}
	}
	if a.Certificate != nil {
		set.Reads = []plan.Ref{certificateRef(*a.Certificate)}
	}
	if a.Name == "calico" {
		set.Reads = append(set.Reads, defaultPool())
	}
	for _, r := range a.Ready {
		kinds := map[string]plan.ConditionKind{"Deployment": plan.DeploymentAvailable, "DaemonSet": plan.DaemonSetReady}
		kind, ok := kinds[r.Kind]
		if !ok {
			return plan.Set{}, fmt.Errorf("addon %s: nothing tells whether a %s is ready", a.Name, r.Kind)
		}
		set.Ready = append(set.Ready, plan.Condition{Kind: kind, Namespace: r.Namespace, Name: r.Name})
	}
	return set, nil
}

// defaultPool is Calico's pool of the pod CIDR.
func defaultPool() plan.Ref {
	return plan.Ref{APIVersion: "crd.projectcalico.org/v1", Kind: "IPPool", Name: spec.CalicoDefaultPool}
}

// keepsPool refuses to change the addresses of pods that run, or how their packets travel: while some nodes do it
// the old way and some the new, pods do not reach each other, and addresses out of no pool are routed by nobody.
// live is the pool that the cluster has; nil for none.
func keepsPool(p addons.Params, live *unstructured.Unstructured) error {
	if live == nil {
		return nil
	}
	text := func(field string) string {
		value, _, _ := unstructured.NestedString(live.Object, "spec", field)
		return value
	}
	if was := text("cidr"); was != p.PodCIDR.String() {
		return fault.New(fault.Preflight, "the pods of this cluster have addresses of %s, and the cluster file wants %s", was, p.PodCIDR).
			WithHint("set network.podCIDR back to %s, or add networks as network.cni.calico.pools", was)
	}
	wrapped := func(mode string) bool { return mode != "" && mode != "Never" }
	if wanted := p.Calico(); wrapped(text("vxlanMode")) != wrapped(wanted.VXLAN) {
		was := map[bool]string{true: spec.CalicoVXLAN, false: spec.CalicoBGP}[wrapped(text("vxlanMode"))]
		return fault.New(fault.Preflight, "Calico's mode is %s in this cluster, and the cluster file wants %s: pods that run would not reach each other", was, wanted.Mode).
			WithHint("set network.cni.calico.mode back to %s, or reset the cluster and make it anew", was)
	}
	return nil
}

func params(c *cluster.Cluster, w plan.World) addons.Params {
	p := addons.Params{
		Release: c.Release, APIServer: c.NodeEndpoint.URL(), PodCIDR: c.Network.PodCIDR,
		DNSServiceIP: c.Network.DNSServiceIP, DNSDomain: c.Network.DNSDomain,
		KubeProxyConfig: c.KubeProxyConfig, MTU: c.Network.MTU, DNSReplicas: c.DNSReplicas(),
		CalicoSettings: c.Network.Calico, CalicoPasswords: c.Network.CalicoPasswords,
		Addons: c.Addons.Addons, Nodes: len(c.Workers()), RegistryIP: c.RegistryIP(), BGPPasswords: c.Addons.BGPPasswords,
		IngressCertificate: c.Addons.IngressCertificate,
	}
	var kernels []string
	smallest := 0
	for _, t := range w.Targets {
		if !runsPods(t.Host) {
			continue // the pod network does not reach it
		}
		kernels = append(kernels, t.Facts.Kernel)
		p.ContainerHosts = p.ContainerHosts || t.Facts.Container
		if i, ok := t.Facts.Interface(t.NodeIP); ok && (smallest == 0 || i.MTU < smallest) {
			smallest = i.MTU
		}
	}
	slices.Sort(kernels)
	p.ProxyMode = c.ProxyMode(kernels)
	if len(c.Network.Calico.Pools) > 0 {
		p.LocalInterfaces = "cali" // pods have addresses outside of the pod CIDR, too
	}
	overhead := addons.VXLANOverhead
	if c.BGP() {
		overhead = 0
	}
	if smallest > overhead {
		p.MTU = cmp.Or(p.MTU, smallest-overhead)
	}
	return p
}
