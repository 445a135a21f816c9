package spec

import (
	"strings"
	"testing"
)

func TestCalico(t *testing.T) {
	for _, tt := range []struct{ cni, want string }{ // what the one fault has in it; "" for a good file
		{`{calico: {mode: bgp}}`, ""},
		{`{calico: {mode: bgp, asn: 2147483647, nodeMesh: false, peers: [{name: tor1, address: 10.0.0.1, asn: 65000, port: 1790, nodeSelector: {rack: a}, passwordFile: tor1}]}}`, ""},
		{`{calico: {pools: [{name: dmz, cidr: 10.60.0.0/16, keepSourceAddress: true, nodeSelector: {zone: dmz}}]}}`, ""},
		{`{calico: {mode: ipip}}`, `spec.network.cni.calico.mode: unknown value "ipip"`},
		{`{name: flannel, calico: {mode: bgp}}`, "spec.network.cni.calico.mode: it is Calico's, but the pod network is flannel"},
		{`{name: none, calico: {pools: [{name: dmz, cidr: 10.60.0.0/16}]}}`, "spec.network.cni.calico.pools: it is Calico's, but the pod network is none"},
		{`{calico: {nodeMesh: false}}`, "spec.network.cni.calico.nodeMesh: it is of use with mode: bgp only, and the mode is vxlan"},
		{`{calico: {peers: [{name: a, address: 10.0.0.1, asn: 1}]}}`, "spec.network.cni.calico.peers: it is of use with mode: bgp only"},
		{`{calico: {mode: bgp, nodeMesh: false}}`, "spec.network.cni.calico.nodeMesh: without it and without peers no node would learn"},
		{`{calico: {mode: bgp, peers: [{name: a, address: 10.0.0.1, asn: 1}, {name: a, address: 10.0.0.2, asn: 1}]}}`, "spec.network.cni.calico.peers[1].name: a is taken already"},
		{`{calico: {mode: bgp, peers: [{name: A_b, address: 10.0.0.1, asn: 1}]}}`, `spec.network.cni.calico.peers[0].name: "A_b" is no name of an object`},
		{`{calico: {mode: bgp, peers: [{name: a, address: tor, asn: 1}]}}`, `peers[0].address: "tor" is no IPv4 address of a router`},
		{`{calico: {mode: bgp, peers: [{name: a, address: "fd00::1", asn: 1}]}}`, "is no IPv4 address of a router"},
		{`{calico: {mode: bgp, peers: [{name: a, address: 127.0.0.1, asn: 1}]}}`, "is no address by which nodes could reach a router"},
		{`{calico: {mode: bgp, peers: [{name: a, address: 10.0.0.1}]}}`, "peers[0].asn: this key is required"},
		{`{calico: {mode: bgp, asn: 4200000000}}`, "spec.network.cni.calico.asn: 4200000000 is more than Calico takes"},
		{`{calico: {mode: bgp, peers: [{name: a, address: 10.0.0.1, asn: 2147483648}]}}`, "spec.network.cni.calico.peers[0].asn: 2147483648 is more than Calico takes"},
		{`{calico: {mode: bgp, peers: [{name: a, address: 10.0.0.1, asn: 4294967296}]}}`, "is out of range"},
		{`{calico: {mode: bgp, peers: [{name: a, address: 10.0.0.1, asn: 1, myASN: 2}]}}`, "peers[0].myASN: Calico has one number for all peers"},
		{`{calico: {mode: bgp, peers: [{name: a, address: 10.0.0.1, asn: 1, nodeSelector: {"a b": ""}}]}}`, `"a b" is no key of a label`},
		{`{calico: {pools: [{name: default-ipv4-ippool, cidr: 10.60.0.0/16}]}}`, "pools[0].name: default-ipv4-ippool is taken already"},
		{`{calico: {pools: [{name: a, cidr: 10.60.0.0/27}]}}`, "pools[0].cidr: 10.60.0.0/27 is smaller than the /26 that each node takes"},
		{`{calico: {pools: [{name: a, cidr: 10.60.0.1/24}]}}`, "pools[0].cidr: host bits are set in 10.60.0.1/24; did you mean 10.60.0.0/24?"},
		{`{calico: {pools: [{name: a, cidr: "fd00::/64"}]}}`, "only IPv4 is supported yet"},
		{`{calico: {pools: [{name: a, cidr: dmz}]}}`, `"dmz" is no CIDR`},
		{`{calico: {pools: [{name: a, cidr: 10.60.0.0/24, nodeSelector: {a: "b c"}}]}}`, `"b c" is no value of a label`},
	} {
		text := "apiVersion: kubewright.io/v1alpha1\nkind: Cluster\nmetadata: {name: lab}\nspec:\n  kubernetesVersion: 1.37.2\n  network: {cni: " + tt.cni + "}\n"
		_, faults := Parse("cluster.yaml", []byte(text))
		if tt.want == "" && len(faults) > 0 || tt.want != "" && (len(faults) != 1 || !strings.Contains(faults[0].Error(), tt.want)) {
			t.Errorf("%s:\n got %v\nwant %q", tt.cni, faults, tt.want)
		}
	}
}

func TestOneSessionWithARouter(t *testing.T) {
	_, faults := Parse("cluster.yaml", []byte("apiVersion: kubewright.io/v1alpha1\nkind: Cluster\nmetadata: {name: lab}\nspec:\n  kubernetesVersion: 1.37.2\n"+
		"  network: {cni: {calico: {mode: bgp, peers: [{name: a, address: 10.0.0.1, asn: 1}]}}}\n"+
		"  addons: {metallb: {enabled: true, pools: [{name: a, addresses: [10.9.0.0/24]}], bgp: {peers: [{name: b, address: 10.0.0.1, asn: 1}]}}}\n"))
	if want := "spec.network.cni.calico.peers[0].address: MetalLB has the peer 10.0.0.1 as well"; len(faults) != 1 || !strings.Contains(faults[0].Error(), want) {
		t.Errorf("%v, want %s", faults, want)
	}
}

func TestNodeLocalDNS(t *testing.T) {
	for _, tt := range []struct{ addons, want string }{
		{"{nodeLocalDNS: {enabled: true}}", ""},
		{"{nodeLocalDNS: {enabled: true, address: 169.254.25.10}}", ""},
		{"{nodeLocalDNS: {address: 10.0.0.1}}", `spec.addons.nodeLocalDNS.address: "10.0.0.1" is no link-local address of IPv4 (169.254.0.0/16); did you mean 169.254.20.10?`},
		{`{nodeLocalDNS: {address: "fe80::1"}}`, "is no link-local address of IPv4"},
		{"{nodeLocalDNS: {address: here}}", "is no link-local address of IPv4"},
		{"{nodeLocalDNS: {address: 169.254.169.254}}", "at which clouds tell machines about themselves"},
		{"{nodeLocalDNS: {enabled: true}, coredns: {forward: [169.254.20.10]}}", "spec.addons.coredns.forward: 169.254.20.10 is the cache on every node"},
		{"{nodeLocalDNS: {enabled: true}, coredns: {zones: [{name: corp.example.com, forward: [169.254.20.10]}]}}", "spec.addons.coredns.zones[0].forward: 169.254.20.10 is the cache on every node"},
		{"{nodeLocalDNS: {enabled: false}, coredns: {forward: [169.254.20.10]}}", ""},
	} {
		faults := addonFaults(t, tt.addons, "")
		if tt.want == "" && len(faults) > 0 || tt.want != "" && (len(faults) != 1 || !strings.Contains(faults[0], tt.want)) {
			t.Errorf("%s:\n got %q\nwant %q", tt.addons, faults, tt.want)
		}
	}
}
