package phases

import (
	"cmp"
	"fmt"
	"net/netip"
	"path"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubewright/addons"
	"kubewright/certs"
	"kubewright/cluster"
	"kubewright/internal/plan"
	"kubewright/internal/resource"
	"kubewright/inventory"
	"kubewright/templates"
)

// loadBalancer gives every node a way of its own to the API servers of all control planes, so that
// kubelets and kube-proxy depend on no single machine.
func loadBalancer() plan.Phase {
	configuration, pod := remember(templates.HAProxyConfig), remember(templates.HAProxy)
	return plan.Phase{
		Name:  "load-balancer",
		Short: "HAProxy before the API servers, on every node",
		On:    runsPods,
		After: []plan.Edge{plan.SameHost("kubeconfigs"), plan.SameHost("binaries")},
		Way:   true,
		Desire: func(c *cluster.Cluster, t plan.Target) ([]resource.Resource, error) {
			if !c.LocalBalancer {
				return kept(t, manifestPath("kubewright-haproxy"), templates.HAProxyConfigPath), nil
			}
			data := templates.HAProxyData{Port: cluster.LocalBalancerPort, HealthPort: cluster.LocalBalancerHealthPort, CAPath: pkiDir + "/ca.crt"}
			for _, h := range c.ControlPlanes() {
				data.Servers = append(data.Servers, templates.HAProxyServer{Name: h.Name, Address: h.NodeIP, Port: c.APIPort})
			}
			config, err := configuration(data)
			if err != nil {
				return nil, err
			}
			return []resource.Resource{
				resource.Dir{Path: path.Dir(templates.HAProxyConfigPath)},
				resource.File{Path: templates.HAProxyConfigPath, Content: config, Secret: true},
				resource.StaticPod{
					Path: manifestPath("kubewright-haproxy"),
					On:   append(reads("ca.crt"), resource.FileID(templates.HAProxyConfigPath)),
					Render: func(digest string, _ map[string]string) ([]byte, error) {
						return pod(templates.HAProxyPodData{
							Image: c.Release.Image("haproxy"), HealthPort: cluster.LocalBalancerHealthPort, InputsDigest: digest,
						})
					},
				},
			}, nil
		},
	}
}

// vip moves an address among the control planes: it is where the API server is ready.
func vip() plan.Phase {
	return plan.Phase{
		Name:    "vip",
		Short:   "keepalived or kube-vip with the virtual IP of the control planes",
		On:      inventory.ControlPlanes,
		After:   []plan.Edge{plan.SameHost("load-balancer")},
		Rolling: true,
		Way:     true,
		Desire: func(c *cluster.Cluster, t plan.Target) ([]resource.Resource, error) {
			if !c.VIP.Address.IsValid() {
				return keptVIP(t), nil
			}
			iface, err := vipInterface(c, t)
			if err != nil {
				return nil, err
			}
			if c.VIP.Provider == cluster.KubeVIP {
				return kubeVIP(c, t, iface), nil
			}
			config, check, err := keepalived(c, t, iface)
			if err != nil {
				return nil, err
			}
			return []resource.Resource{
				resource.Address{IP: c.VIP.Address},
				resource.Dir{Path: path.Dir(templates.KeepalivedConfigPath)},
				resource.File{Path: templates.KeepalivedConfigPath, Content: config, Secret: true},
				resource.File{Path: templates.KeepalivedCheckPath, Content: check, Mode: 0o755, Secret: true},
				resource.StaticPod{
					Path: manifestPath("kubewright-keepalived"),
					On:   reads("ca.crt"), // what else it reads, it reads anew when that changes
					Render: func(digest string, _ map[string]string) ([]byte, error) {
						return templates.Keepalived(templates.KeepalivedPodData{Image: c.Release.Image("keepalived"), InputsDigest: digest})
					},
				},
			}, nil
		},
	}
}

// kept is a pod that leads to the API servers, and the files that it reads, as long as clients may
// still come that way.
func kept(t plan.Target, pod string, files ...string) []resource.Resource {
	if !t.KeepsWays {
		return nil
	}
	stays := []resource.Resource{
		resource.Kept{Resource: resource.StaticPodID(pod)},
		resource.Kept{Resource: resource.Dir{Path: path.Dir(files[0])}.ID()},
	}
	for _, f := range files {
		stays = append(stays, resource.Kept{Resource: resource.FileID(f)})
	}
	return stays
}

// keptVIP is what has the virtual IP, of either provider, as long as clients may still come that way.
func keptVIP(t plan.Target) []resource.Resource {
	stays := kept(t, manifestPath("kubewright-keepalived"), templates.KeepalivedConfigPath, templates.KeepalivedCheckPath)
	if !t.KeepsWays {
		return stays
	}
	stays = append(stays,
		resource.Kept{Resource: resource.StaticPodID(manifestPath("kubewright-kube-vip"))},
		resource.Kept{Resource: resource.KubeconfigID(kubernetesDir + "/" + certs.KubeVIPConf)})
	for _, id := range t.VirtualIPs {
		stays = append(stays, resource.Kept{Resource: id})
	}
	return stays
}

// vipRights lets kube-vip hold its Lease: until it may, no control plane has the virtual IP.
func vipRights() plan.Phase {
	return plan.Phase{
		Name:    "vip-rights",
		Short:   "what kube-vip may do in the API",
		After:   []plan.Edge{plan.AnyHost("control-plane")},
		Way:     true,
		PerHost: true, // of all objects those alone that a control plane cannot do without
		Waits: func(c *cluster.Cluster, hosts []inventory.Host) []plan.Condition {
			if !runsKubeVIP(c, hosts) {
				return nil
			}
			return []plan.Condition{{Kind: plan.APIReady}}
		},
		Objects: func(c *cluster.Cluster, w plan.World) ([]*unstructured.Unstructured, error) {
			if !runsKubeVIP(c, w.Scope) {
				return nil, nil
			}
			manifest, err := templates.KubeVIPRBAC(certs.KubeVIPUser)
			if err != nil {
				return nil, err
			}
			return addons.Decode(manifest)
		},
	}
}

// runsKubeVIP tells whether kube-vip is on any of some hosts.
func runsKubeVIP(c *cluster.Cluster, hosts []inventory.Host) bool {
	return c.VIP.Provider == cluster.KubeVIP && slices.ContainsFunc(hosts, inventory.ControlPlanes)
}

// vipInterface is the interface that gets the virtual IP. Before the first look nothing is known of
// a host's interfaces.
func vipInterface(c *cluster.Cluster, t plan.Target) (string, error) {
	own, ok := t.Facts.Interface(t.NodeIP)
	if t.Looked && !ok && c.VIP.Interface == "" {
		return "", fmt.Errorf("no interface has the node IP %s, and controlPlane.vip.interface is not set", t.NodeIP)
	}
	return cmp.Or(c.VIP.Interface, own.Name), nil
}

// kubeVIP runs kube-vip, which has the address where it holds a Lease. It holds it by the API server
// of its own host: one that does not answer loses the address with the Lease.
func kubeVIP(c *cluster.Cluster, t plan.Target, iface string) []resource.Resource {
	config := componentKubeconfig(c, t, certs.KubeVIPRequest(controlPlaneNames(c, t.Host)))
	return []resource.Resource{
		resource.Address{IP: c.VIP.Address},
		config, // not with the other kubeconfigs: those lead clients here, and are written when it has been opened
		resource.StaticPod{
			Path: manifestPath("kubewright-kube-vip"),
			On:   []resource.ID{config.ID()},
			Render: func(digest string, _ map[string]string) ([]byte, error) {
				return templates.KubeVIP(templates.KubeVIPData{
					Image: c.Release.Image("kube-vip"), InputsDigest: digest,
					NodeName: t.Name, Interface: iface, VIP: c.VIP.Address,
				})
			},
		},
	}
}

// keepalived is what a control plane is told of the virtual IP.
func keepalived(c *cluster.Cluster, t plan.Target, iface string) (config, check []byte, err error) {
	if !t.Looked {
		return nil, nil, nil
	}
	// All are equal: of two that want the address the one with the higher node IP gets it.
	const priority = 100
	data := templates.KeepalivedData{
		Interface: iface, Address: t.NodeIP, VIP: c.VIP.Address, RouterID: c.VIP.RouterID,
		Priority: priority, APIPort: c.APIPort, CAPath: pkiDir + "/ca.crt", Peers: peers(c.ControlPlanes(), t.Host),
	}
	if config, err = templates.KeepalivedConfig(data); err != nil {
		return nil, nil, err
	}
	check, err = templates.KeepalivedCheck(data)
	return config, check, err
}

// peers are the addresses of the other hosts.
func peers(hosts []inventory.Host, own inventory.Host) []netip.Addr {
	var addresses []netip.Addr
	for _, h := range hosts {
		if h.Name != own.Name {
			addresses = append(addresses, h.NodeIP)
		}
	}
	return addresses
}
