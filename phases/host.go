package phases

import (
	"kubewright/cluster"
	"kubewright/internal/plan"
	"kubewright/internal/resource"
	"kubewright/internal/sh"
	"kubewright/inventory"
	"kubewright/templates"
)

// hostPrep marks a machine as one of the cluster, and makes it fit for a kubelet if it gets one:
// forwarding and bridged traffic through the packet filter, no swap, and nothing that a reboot
// forgets. It adds drop-in files and edits none of the host's own.
func hostPrep() plan.Phase {
	modulesLoadConf, sysctlsConf := remember(templates.ModulesLoadConf), remember(templates.SysctlConf)
	return plan.Phase{
		Name:  "host",
		Short: "the mark of the cluster; kernel modules, sysctls and swap",
		On:    inventory.Everyone,
		After: []plan.Edge{plan.AllHosts("authorities")},
		Desire: func(c *cluster.Cluster, t plan.Target) ([]resource.Resource, error) {
			served, err := nfsServer(c, t)
			if err != nil || !runsPods(t.Host) {
				return append([]resource.Resource{marker(c, t)}, served...), err
			}
			modules := templates.Modules(c.Network.ProxyMode)
			sysctls := templates.Sysctls(c.Network.PodCIDR.Addr().Is6())
			modulesConf, err := modulesLoadConf(modules)
			if err != nil {
				return nil, err
			}
			sysctlConf, err := sysctlsConf(sysctls)
			if err != nil {
				return nil, err
			}
			want := []resource.Resource{
				marker(c, t),
				resource.File{Path: "/etc/modules-load.d/kubewright.conf", Content: modulesConf},
				resource.File{Path: "/etc/sysctl.d/99-kubewright.conf", Content: sysctlConf},
			}
			for _, m := range modules {
				want = append(want, resource.KernelModule{Name: m})
			}
			for _, s := range sysctls {
				want = append(want, resource.Sysctl{Key: s.Key, Value: s.Value})
			}
			// A container shares the machine's swap, and has no say in it.
			if !t.Facts.Container {
				want = append(want, resource.Link{Path: "/etc/systemd/system/swap.target", Target: "/dev/null"}, resource.SwapOff{})
			}
			return append(want, served...), nil
		},
	}
}

// marker says which cluster a host belongs to, so that a host in the wrong inventory is
// recognised whoever runs kubewright.
func marker(c *cluster.Cluster, t plan.Target) resource.File {
	f := resource.File{Path: sh.ClusterPath}
	if t.PKI != nil {
		f.Content = []byte(c.Name + " " + t.PKI.Kubernetes.Fingerprint() + "\n")
	}
	return f
}
