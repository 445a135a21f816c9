package engine

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"kubewright/cluster"
	"kubewright/internal/kube"
	"kubewright/spec"
)

func TestTrialOf(t *testing.T) {
	range1 := kube.AddressRange{First: netip.MustParseAddr("192.0.2.1"), Last: netip.MustParseAddr("192.0.2.9")}
	range2 := kube.AddressRange{First: netip.MustParseAddr("192.0.2.16"), Last: netip.MustParseAddr("192.0.2.31")}
	open := spec.AddressPool{Name: "open", Addresses: []string{"192.0.2.1-192.0.2.9"}}
	asked := spec.AddressPool{Name: "asked", Addresses: []string{"192.0.2.16/28"}, OnRequest: true}
	for _, test := range []struct {
		name   string
		change func(*cluster.Cluster)
		want   kube.TrialInput
	}{
		{"nothing", func(*cluster.Cluster) {}, kube.TrialInput{}},
		{"calico", func(c *cluster.Cluster) { c.Network.CNI = "calico" }, kube.TrialInput{NetworkPolicy: true}},
		{"metrics", func(c *cluster.Cluster) { c.Addons.MetricsServer.Enabled = true }, kube.TrialInput{Metrics: true}},
		{"ingress", func(c *cluster.Cluster) {
			c.Addons.Ingress = spec.Ingress{Controller: "ingress-nginx", ClassName: "web"}
		},
			kube.TrialInput{Ingress: &kube.IngressTrial{ClassName: "web", Selector: "kubewright.io/addon=ingress-nginx"}}},
		{"storage", func(c *cluster.Cluster) {
			c.Addons.LocalPath = spec.LocalPath{Enabled: true, ClassName: "fast"}
			c.Addons.NFS = spec.NFS{Enabled: true, ClassName: "shared"}
		}, kube.TrialInput{StorageClasses: []string{"fast", "shared"}}},
		{"registry", func(c *cluster.Cluster) { c.Addons.Registry = spec.Registry{Enabled: true, Host: "images.internal"} },
			kube.TrialInput{Registry: &kube.RegistryTrial{Host: "images.internal", Address: netip.MustParseAddrPort("10.96.0.11:443")}}},
		{"pools", func(c *cluster.Cluster) {
			c.Addons.MetalLB = spec.MetalLB{Enabled: true, Pools: []spec.AddressPool{asked, open}}
		}, kube.TrialInput{LoadBalancer: &kube.LoadBalancerTrial{Addresses: []kube.AddressRange{range1}}}},
		{"pools on request", func(c *cluster.Cluster) {
			c.Addons.MetalLB = spec.MetalLB{Enabled: true, Pools: []spec.AddressPool{asked}}
		}, kube.TrialInput{LoadBalancer: &kube.LoadBalancerTrial{
			Annotations: map[string]string{"metallb.io/address-pool": "asked"}, Addresses: []kube.AddressRange{range2},
		}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := &cluster.Cluster{}
			c.Network.ServiceCIDR = netip.MustParsePrefix("10.96.0.0/16")
			c.Addons.Ingress.Controller = "none"
			test.change(c)
			got := trialOf(c)
			if diff := cmp.Diff(test.want, got, cmpopts.IgnoreFields(kube.TrialInput{}, "Here"), cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{})); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if got.Here == nil {
				t.Error("this machine is not asked from")
			}
		})
	}
}
