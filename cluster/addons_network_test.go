package cluster_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"kubewright/cluster"
	"kubewright/spec"
)

// withNetwork is a cluster file with a pod network.
func withNetwork(cni string) memory {
	return memory{"tor1": "hunter2\n", "cluster.yaml": strings.Replace(clusterOf(ingressHost), "  hosts:\n", "  network: {cni: "+cni+"}\n  hosts:\n", 1)}
}

func TestCalicoPoolsAndPeers(t *testing.T) {
	m := withNetwork(`{calico: {mode: bgp, pools: [{name: a, cidr: 10.60.0.0/16}], peers: [{name: tor1, address: 10.0.0.1, asn: 65000, passwordFile: tor1}, {name: tor2, address: 10.0.0.2, asn: 65000}]}}`)
	c, warnings, err := m.loadAt(t, now())
	if err != nil || len(warnings) > 0 {
		t.Fatalf("faults: %v, warnings: %v", err, warnings)
	}
	if !c.BGP() || c.VXLANPort() != 0 || len(c.Network.CalicoPasswords) != 1 || string(c.Network.CalicoPasswords["tor1"].Reveal()) != "hunter2" || fmt.Sprint(c.PodNetworks()) != "[10.244.0.0/16 10.60.0.0/16]" {
		t.Errorf("BGP %t, VXLAN at %d, passwords of %d, networks %v", c.BGP(), c.VXLANPort(), len(c.Network.CalicoPasswords), c.PodNetworks())
	}
	if strings.Contains(fmt.Sprintf("%v %+v", c.Network.CalicoPasswords, *c), "hunter2") {
		t.Error("the password is shown")
	}
	for name, tt := range map[string]struct {
		cni    string
		change func(memory)
		want   string
	}{
		"pods":         {cni: `{calico: {pools: [{name: a, cidr: 10.244.128.0/20}]}}`, want: "spec.network.cni.calico.pools[0].cidr: 10.244.128.0/20 overlaps spec.network.podCIDR, 10.244.0.0/16"},
		"services":     {cni: `{calico: {pools: [{name: a, cidr: 10.0.0.0/9}]}}`, want: "10.0.0.0/9 overlaps spec.network.serviceCIDR, 10.96.0.0/16"},
		"another pool": {cni: `{calico: {pools: [{name: a, cidr: 10.60.0.0/16}, {name: b, cidr: 10.60.1.0/24}]}}`, want: "pools[1].cidr: 10.60.1.0/24 overlaps spec.network.cni.calico.pools[0], 10.60.0.0/16"},
		"nodes":        {cni: `{calico: {pools: [{name: a, cidr: 10.111.0.0/24}]}}`, want: "pools[0].cidr: 10.111.0.0/24 holds the node IPs of hosts: cp1"},
		"no password":  {cni: `{calico: {mode: bgp, peers: [{name: a, address: 10.0.0.1, asn: 1, passwordFile: none}]}}`, want: "peers[0].passwordFile: none cannot be read"},
		"empty":        {cni: `{calico: {mode: bgp, peers: [{name: a, address: 10.0.0.1, asn: 1, passwordFile: tor1}]}}`, change: func(m memory) { m["tor1"] = "\n" }, want: "peers[0].passwordFile: tor1 is empty"},
		"too long":     {cni: `{calico: {mode: bgp, peers: [{name: a, address: 10.0.0.1, asn: 1, passwordFile: tor1}]}}`, change: func(m memory) { m["tor1"] = strings.Repeat("x", 81) }, want: "tor1 holds 81 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			m := withNetwork(tt.cni)
			if tt.change != nil {
				tt.change(m)
			}
			if _, _, err := m.loadAt(t, now()); err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestFlannelWarns(t *testing.T) {
	c, warnings, err := withNetwork(`{name: flannel}`).loadAt(t, now())
	if err != nil || len(warnings) != 1 || !strings.Contains(fmt.Sprint(warnings), "spec.network.cni.name: flannel enforces no NetworkPolicy") {
		t.Fatalf("faults: %v, warnings: %v", err, warnings)
	}
	if c.VXLANPort() != 8472 || c.BGP() {
		t.Errorf("VXLAN at %d, BGP %t", c.VXLANPort(), c.BGP())
	}
}

// A document tells machines that join what their kubelets and checks need of addons.
func TestDocumentOfNetworks(t *testing.T) {
	m := withNetwork(`{calico: {mode: bgp}}, proxyMode: ipvs`)
	m["cluster.yaml"] = strings.Replace(m["cluster.yaml"], "  hosts:\n", "  addons: {nodeLocalDNS: {enabled: true, address: 169.254.25.10}, coredns: {forward: [10.0.0.1]}, ingress: {controller: nginx}}\n  hosts:\n", 1)
	c, _, err := m.loadAt(t, now())
	if err != nil {
		t.Fatal(err)
	}
	if got := c.NodeDNS().String(); got != "169.254.25.10" {
		t.Errorf("pods ask %s", got)
	}
	document, err := c.Document()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"mode: bgp", "enabled: true", "address: 169.254.25.10", "- 10.0.0.1"} {
		if !strings.Contains(string(document), want) {
			t.Errorf("the document lacks %s:\n%s", want, document)
		}
	}
	if strings.Contains(string(document), "ingress") {
		t.Errorf("the document has what is not of hosts:\n%s", document)
	}
}

func TestNodeDNS(t *testing.T) {
	for mode, want := range map[string]string{"auto": "10.96.0.10", "iptables": "10.96.0.10", "nftables": "169.254.20.10", "ipvs": "169.254.20.10"} {
		c := &cluster.Cluster{
			Network: cluster.Network{ProxyMode: mode, CNI: "flannel", DNSServiceIP: netip.MustParseAddr("10.96.0.10")},
			Addons:  cluster.Addons{Addons: spec.Addons{NodeLocalDNS: spec.NodeLocalDNS{Enabled: true, Address: "169.254.20.10"}}},
		}
		if got := c.NodeDNS().String(); got != want {
			t.Errorf("%s: %s, want %s", mode, got, want)
		}
		if mode == "auto" && c.ProxyMode([]string{"6.1.0"}) != "iptables" {
			t.Error("the cache cannot have the address of the service")
		}
		c.Addons.NodeLocalDNS.Enabled = false
		if got := c.NodeDNS().String(); got != "10.96.0.10" {
			t.Errorf("%s without the cache: %s", mode, got)
		}
		if mode == "auto" && c.ProxyMode([]string{"6.1.0"}) != "nftables" {
			t.Error("flannel works beside nftables")
		}
	}
}
