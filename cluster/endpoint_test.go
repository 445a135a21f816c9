package cluster_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"kubewright/cluster"
)

// planesOf is a cluster file with that many control planes, named against the order of their
// addresses, and with a spec.controlPlane.
func planesOf(planes int, controlPlane string) string {
	var hosts []string
	for i := range planes {
		hosts = append(hosts, fmt.Sprintf("- {name: cp%d, address: 10.111.0.%d, roles: [control-plane, worker]}", 9-i, 10+i))
	}
	return strings.Replace(clusterOf(hosts...), "  hosts:\n", "  controlPlane: "+controlPlane+"\n  hosts:\n", 1)
}

func TestWaysToTheAPIServers(t *testing.T) {
	const (
		local      = "127.0.0.1:7443"
		firstOfOne = "10.111.0.10:6443" // cp9
		firstOf3   = "10.111.0.12:6443" // cp7, the first by name
	)
	vip := func(iface string, id int) cluster.VIP {
		return cluster.VIP{Address: netip.MustParseAddr("10.111.0.5"), Provider: cluster.Keepalived, Interface: iface, RouterID: id}
	}
	tests := []struct {
		planes         int
		controlPlane   string
		port           int
		endpoint, node string
		shared         bool
		vip            cluster.VIP
	}{
		{planes: 1, controlPlane: "{}", port: 6443, endpoint: firstOfOne, node: firstOfOne},
		{planes: 1, controlPlane: "{port: 8443}", port: 8443, endpoint: "10.111.0.10:8443", node: "10.111.0.10:8443"},
		{planes: 1, controlPlane: "{nodeEndpoint: auto}", port: 6443, endpoint: firstOfOne, node: firstOfOne},
		{planes: 1, controlPlane: "{nodeEndpoint: endpoint}", port: 6443, endpoint: firstOfOne, node: firstOfOne},
		{planes: 1, controlPlane: "{nodeEndpoint: local}", port: 6443, endpoint: firstOfOne, node: local},
		{planes: 1, controlPlane: "{endpoint: 10.111.0.10}", port: 6443, endpoint: firstOfOne, node: firstOfOne},
		{planes: 1, controlPlane: "{endpoint: api.example.com}", port: 6443, endpoint: "api.example.com:6443", node: "api.example.com:6443", shared: true},
		{planes: 1, controlPlane: "{endpoint: 'api.example.com:443'}", port: 6443, endpoint: "api.example.com:443", node: "api.example.com:443", shared: true},
		{planes: 1, controlPlane: "{endpoint: api.example.com, nodeEndpoint: local}", port: 6443, endpoint: "api.example.com:6443", node: local, shared: true},
		{planes: 1, controlPlane: "{vip: {address: 10.111.0.5}}", port: 6443, endpoint: "10.111.0.5:6443", node: "10.111.0.5:6443", shared: true, vip: vip("", 51)},
		{planes: 1, controlPlane: "{vip: {address: 10.111.0.5}, nodeEndpoint: local}", port: 6443, endpoint: "10.111.0.5:6443", node: local, shared: true, vip: vip("", 51)},

		{planes: 3, controlPlane: "{}", port: 6443, endpoint: firstOf3, node: local},
		{planes: 3, controlPlane: "{port: 8443}", port: 8443, endpoint: "10.111.0.12:8443", node: local},
		{planes: 3, controlPlane: "{nodeEndpoint: local}", port: 6443, endpoint: firstOf3, node: local},
		{planes: 3, controlPlane: "{endpoint: api.example.com, port: 8443}", port: 8443, endpoint: "api.example.com:8443", node: local, shared: true},
		{planes: 3, controlPlane: "{endpoint: 192.0.2.1, nodeEndpoint: endpoint}", port: 6443, endpoint: "192.0.2.1:6443", node: "192.0.2.1:6443", shared: true},
		{planes: 3, controlPlane: "{endpoint: '192.0.2.1:443', nodeEndpoint: local}", port: 6443, endpoint: "192.0.2.1:443", node: local, shared: true},
		{planes: 3, controlPlane: "{vip: {address: 10.111.0.5}}", port: 6443, endpoint: "10.111.0.5:6443", node: local, shared: true, vip: vip("", 51)},
		{planes: 3, controlPlane: "{vip: {address: 10.111.0.5}, nodeEndpoint: endpoint}", port: 6443, endpoint: "10.111.0.5:6443", node: "10.111.0.5:6443", shared: true, vip: vip("", 51)},
		{planes: 3, controlPlane: "{port: 8443, endpoint: 10.111.0.5, vip: {address: 10.111.0.5, interface: eth1, routerID: 7}}",
			port: 8443, endpoint: "10.111.0.5:8443", node: local, shared: true, vip: vip("eth1", 7)},
		{planes: 3, controlPlane: "{endpoint: 'API.example.com:443', vip: {address: 10.111.0.5}, nodeEndpoint: endpoint}",
			port: 6443, endpoint: "api.example.com:443", node: "api.example.com:443", shared: true, vip: vip("", 51)},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.planes, tt.controlPlane), func(t *testing.T) {
			c := mustLoad(t, memory{"cluster.yaml": planesOf(tt.planes, tt.controlPlane)})
			if c.APIPort != tt.port || c.Endpoint.String() != tt.endpoint || c.SharedEndpoint != tt.shared || c.VIP != tt.vip {
				t.Errorf("port %d, endpoint %s, shared %v, VIP %+v; want %d, %s, %v, %+v",
					c.APIPort, c.Endpoint, c.SharedEndpoint, c.VIP, tt.port, tt.endpoint, tt.shared, tt.vip)
			}
			if c.NodeEndpoint.String() != tt.node || c.LocalBalancer != (tt.node == local) {
				t.Errorf("nodes go to %s, with a balancer %v; want %s", c.NodeEndpoint, c.LocalBalancer, tt.node)
			}
			checkEndpoints(t, c)
		})
	}
}

// An endpoint that is the address of one control plane of several is taken, with a warning, and
// is not mistaken for one that leads to all.
func TestEndpointOfOneControlPlane(t *testing.T) {
	c, warnings, err := memory{"cluster.yaml": planesOf(3, "{endpoint: 10.111.0.11}")}.load(t, "")
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0].Error(), "is the address of cp8 alone") {
		t.Errorf("warnings: %v", warnings)
	}
	if c.SharedEndpoint || c.Endpoint.String() != "10.111.0.11:6443" || !c.LocalBalancer {
		t.Errorf("shared %v, endpoint %s, balancer %v", c.SharedEndpoint, c.Endpoint, c.LocalBalancer)
	}
}

func TestPortsThatAreTaken(t *testing.T) {
	for _, port := range []int{2379, 2380, 2381, 7443, 7444, 9099, 10248, 10249, 10250, 10256, 10257, 10259} {
		_, _, err := memory{"cluster.yaml": planesOf(1, fmt.Sprintf("{port: %d}", port))}.load(t, "")
		wantError(t, err, fmt.Sprintf("cluster.yaml:6:24: spec.controlPlane.port: %d is the port of %s; did you mean 6443?", port, cluster.PortOwner(port)))
		if cluster.PortOwner(port) == "" {
			t.Errorf("nobody has port %d", port)
		}
	}
	for _, port := range []int{1, 443, 6443, 8443, 65535} {
		if c := mustLoad(t, memory{"cluster.yaml": planesOf(1, fmt.Sprintf("{port: %d}", port))}); c.APIPort != port {
			t.Errorf("port %d became %d", port, c.APIPort)
		}
	}
}
