package spec

import (
	"strings"
	"testing"
)

func TestCheckVIP(t *testing.T) {
	for _, tt := range []struct{ address, why, suggestion string }{
		{"10.111.0.5", "", ""},
		{"203.0.113.7", "", ""},
		{"10.111.0.5/24", "is written without the number of bits", "10.111.0.5"},
		{"10.111.0.5:6443", "is written without a port", "10.111.0.5"},
		{"10.111.0.256", "must be an IPv4 address", ""},
		{"10.111.0.05", "must be an IPv4 address", ""},
		{"10.111.0", "must be an IPv4 address", ""},
		{" 10.111.0.5", "must be an IPv4 address", ""},
		{"10.111.0.5;reboot", "must be an IPv4 address", ""},
		{"fd00::/64", "must be an IPv4 address", ""},
		{"[fd00::5]:6443", "must be an IPv4 address", ""},
		{"api.example.com", "must be an IPv4 address", ""},
		{"fd00::5", "fd00::5 is of IPv6; only IPv4 is supported yet", ""},
		{"fe80::5%eth0", "fe80::5%eth0 is of IPv6", ""},
		{"::ffff:10.111.0.5", "::ffff:10.111.0.5 is an IPv4 address in IPv6 clothes; write 10.111.0.5", ""},
		{"127.0.0.1", "127.0.0.1 is a loopback address", ""},
		{"0.0.0.0", "0.0.0.0 is no address by which nodes could reach", ""},
		{"224.0.0.18", "224.0.0.18 is no address by which nodes could reach", ""},
		{"255.255.255.255", "255.255.255.255 is no address by which nodes could reach", ""},
		{"169.254.10.10", "169.254.10.10 is no address by which nodes could reach", ""},
	} {
		why, suggestion := checkVIP(tt.address)
		if (why == "") != (tt.why == "") || !strings.HasPrefix(why, tt.why) || suggestion != tt.suggestion {
			t.Errorf("%q: %q, suggestion %q; want %q, suggestion %q", tt.address, why, suggestion, tt.why, tt.suggestion)
		}
	}
}

func TestParseControlPlane(t *testing.T) {
	tests := []struct {
		name, yaml string
		want       string // how the one fault begins, after its place; "" for a good file
	}{
		{"all", `{endpoint: "api.example.com:443", port: 8443, nodeEndpoint: endpoint, vip: {address: 10.111.0.5, provider: keepalived, interface: bond0.100, routerID: 255}}`, ""},
		{"a VIP alone", `{vip: {address: 10.111.0.5}}`, ""},
		{"no VIP", `{vip: null}`, ""},
		{"what is empty is not given", `{endpoint: "", nodeEndpoint: "", vip: {address: 10.111.0.5, provider: "", interface: ""}}`, ""},
		{"a VIP without an address", `{vip: {interface: eth0}}`, "spec.controlPlane.vip.address: this key is required"},
		{"an empty VIP", `{vip: {}}`, "spec.controlPlane.vip.address: this key is required"},
		{"an empty address", `{vip: {address: ""}}`, "spec.controlPlane.vip.address: must not be empty"},
		{"an address as the VIP", `{vip: 10.111.0.5}`, "spec.controlPlane.vip: expected a mapping"},
		{"no address", `{vip: {address: 10.111.0.5/24}}`, "spec.controlPlane.vip.address: the virtual IP is written without the number of bits; did you mean 10.111.0.5?"},
		{"kube-vip", `{vip: {address: 10.111.0.5, provider: kube-vip, interface: eth0}}`, ""},
		{"nearly a provider", `{vip: {address: 10.111.0.5, provider: kubevip}}`, `spec.controlPlane.vip.provider: unknown value "kubevip"; did you mean kube-vip?`},
		{"another provider", `{vip: {address: 10.111.0.5, provider: MetalLB}}`, `spec.controlPlane.vip.provider: unknown value "MetalLB": write one of keepalived, kube-vip`},
		{"router ID too small", `{vip: {address: 10.111.0.5, routerID: 0}}`, "spec.controlPlane.vip.routerID: 0 is out of range: write a number from 1 to 255"},
		{"router ID too large", `{vip: {address: 10.111.0.5, routerID: 256}}`, "spec.controlPlane.vip.routerID: 256 is out of range"},
		{"loopback", `{vip: {address: 10.111.0.5, interface: lo}}`, "spec.controlPlane.vip.interface: lo is the loopback interface"},
		{"long interface", `{vip: {address: 10.111.0.5, interface: abcdefghijklmnop}}`, `spec.controlPlane.vip.interface: "abcdefghijklmnop" is no name of a network interface`},
		{"parent folder", `{vip: {address: 10.111.0.5, interface: ..}}`, `spec.controlPlane.vip.interface: ".." is no name`},
		{"blank in the interface", `{vip: {address: 10.111.0.5, interface: "eth0 x"}}`, `spec.controlPlane.vip.interface: "eth0 x" is no name`},
		{"brace in the interface", `{vip: {address: 10.111.0.5, interface: "eth0}"}}`, `spec.controlPlane.vip.interface: "eth0}" is no name`},
		{"comment in the interface", `{vip: {address: 10.111.0.5, interface: "eth0!"}}`, `spec.controlPlane.vip.interface: "eth0!" is no name`},
		{"option as the interface", `{vip: {address: 10.111.0.5, interface: "-eth0"}}`, `spec.controlPlane.vip.interface: "-eth0" is no name`},
		{"port too small", `{port: 0}`, "spec.controlPlane.port: 0 is out of range: write a number from 1 to 65535"},
		{"port too large", `{port: 65536}`, "spec.controlPlane.port: 65536 is out of range"},
		{"port as text", `{port: "6443"}`, "spec.controlPlane.port: expected a whole number"},
		{"port of the endpoint", `{endpoint: "api:0", port: 8443}`, `spec.controlPlane.endpoint: "0" is no port from 1 to 65535; did you mean api:8443?`},
		{"how nodes get there", `{nodeEndpoint: vip}`, `spec.controlPlane.nodeEndpoint: unknown value "vip"`},
		{"flag of the port", `{apiServer: {extraArgs: {secure-port: "8443"}}}`, "spec.controlPlane.apiServer.extraArgs.secure-port: kubewright sets this flag of kube-apiserver itself: set spec.controlPlane.port"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, faults := Parse("cluster.yaml", []byte(smallest+"  controlPlane: "+tt.yaml+"\n"))
			if tt.want == "" {
				if faults != nil {
					t.Errorf("a good file has faults: %v", faults)
				}
				return
			}
			if len(faults) != 1 {
				t.Fatalf("faults: %v, want the one %q", faults, tt.want)
			}
			if _, message, _ := strings.Cut(faults[0].Error(), ": "); !strings.HasPrefix(message, tt.want) {
				t.Errorf("got  %s\nwant %s", message, tt.want)
			}
		})
	}
}
