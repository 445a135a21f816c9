package spec

import (
	"fmt"
	"strings"
	"testing"
)

func TestCoreDNS(t *testing.T) {
	many := strings.TrimSuffix(strings.Repeat("10.0.0.1, ", 16), ", ")
	for _, tt := range []struct{ coredns, want string }{ // what the one fault has in it; "" for a good file
		{`{replicas: 5, forward: [10.0.0.53, "10.0.0.53:5353", "fd00::53", "[fd00::53]:53", 169.254.169.253]}`, ""},
		{`{zones: [{name: corp.example.com, forward: [10.0.0.53]}, {name: 10.in-addr.arpa, forward: [10.0.0.53]}]}`, ""},
		{`{hosts: [{address: 10.0.0.9, names: [git.example.com, git]}, {address: 10.0.0.10, names: [git.example.com]}, {address: "fd00::9", names: [git.example.com]}]}`, ""},
		{`{replicas: 101}`, "spec.addons.coredns.replicas: 101 is out of range"},
		{`{forward: [dns.example.com]}`, `cluster.yaml:6:32: spec.addons.coredns.forward[0]: "dns.example.com" is neither an IP address nor an IP address with a port`},
		{`{forward: [10.0.0.1, 127.0.0.53]}`, `spec.addons.coredns.forward[1]: "127.0.0.53" is the pod itself`},
		{`{forward: ["[::1]:53"]}`, "is the pod itself"},
		{`{forward: [0.0.0.0]}`, "is the pod itself"},
		{`{forward: [224.0.0.251]}`, "is no address of a server"},
		{`{forward: ["fe80::1%eth0"]}`, "has a zone"},
		{`{forward: ["10.0.0.1:0"]}`, "has no port that could be asked"},
		{`{forward: ["10.0.0.1:65536"]}`, "is neither an IP address"},
		{`{forward: ["10.0.0.1 {"]}`, "is neither an IP address"},
		{`{forward: [` + many + `]}`, "spec.addons.coredns.forward: 16 servers are more than the 15 that CoreDNS takes"},
		{`{zones: [{name: corp.example.com}]}`, "spec.addons.coredns.zones[0].forward: this key is required"},
		{`{zones: [{name: Corp.example.com., forward: [10.0.0.1]}]}`, `spec.addons.coredns.zones[0].name: "Corp.example.com." is no name of DNS in lower case, without a dot at its end; did you mean corp.example.com?`},
		{`{zones: [{name: ".", forward: [10.0.0.1]}]}`, `zones[0].name: "." is no name of DNS`},
		{`{zones: [{name: cluster.local, forward: [10.0.0.1]}]}`, "cluster.local and the cluster's own domain, cluster.local, hold one another"},
		{`{zones: [{name: svc.cluster.local, forward: [10.0.0.1]}]}`, "hold one another"},
		{`{zones: [{name: local, forward: [10.0.0.1]}]}`, "hold one another"},
		{`{zones: [{name: a.example.com, forward: [10.0.0.1]}, {name: a.example.com, forward: [10.0.0.2]}]}`, "spec.addons.coredns.zones[1].name: a.example.com is there twice"},
		{`{zones: [{name: "x {", forward: [10.0.0.1]}]}`, "is no name of DNS"},
		{`{zones: [{name: a.example.com, forward: [a]}]}`, `spec.addons.coredns.zones[0].forward[0]: "a" is neither`},
		{`{hosts: [{address: git, names: [git.example.com]}]}`, `spec.addons.coredns.hosts[0].address: "git" is neither an IPv4 nor an IPv6 address`},
		{`{hosts: [{address: "::ffff:10.0.0.1", names: [git.example.com]}]}`, "is neither an IPv4 nor an IPv6 address"},
		{`{hosts: [{address: 10.0.0.9, names: ["*.example.com"]}]}`, `spec.addons.coredns.hosts[0].names[0]: "*.example.com" is no name of DNS`},
		{`{hosts: [{address: 10.0.0.9, names: [a.default.svc.cluster.local]}]}`, "is in the cluster's own domain, cluster.local"},
		{`{hosts: [{address: 10.0.0.9, names: [a.example.com, a.example.com]}]}`, "spec.addons.coredns.hosts[0].names[1]: a.example.com leads to 10.0.0.9 already"},
		{`{hosts: [{address: 10.0.0.9}]}`, "spec.addons.coredns.hosts[0].names: this key is required"},
	} {
		faults := addonFaults(t, "{coredns: "+tt.coredns+"}", "")
		if tt.want == "" && len(faults) > 0 || tt.want != "" && (len(faults) != 1 || !strings.Contains(faults[0], tt.want)) {
			t.Errorf("%s:\n got %q\nwant %q", tt.coredns, faults, tt.want)
		}
	}
}

func TestDNSServers(t *testing.T) {
	d := CoreDNS{Forward: []string{"10.0.0.1", "10.0.0.2:5353", "fd00::1", "[fd00::1]:54", "[fd00::2]", "::ffff:10.0.0.3", "none"}}
	want := "[10.0.0.1:53 10.0.0.2:5353 [fd00::1]:53 [fd00::1]:54 [fd00::2]:53 10.0.0.3:53]"
	if got := fmt.Sprint(d.Servers()); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := fmt.Sprint(DNSZone{Forward: d.Forward}.Servers()); got != want {
		t.Errorf("of a zone %s, want %s", got, want)
	}
}
