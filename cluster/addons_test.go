package cluster_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kubewright/cluster"
)

// withAddons is a cluster file with addons, and files beside it.
func withAddons(addons string, settings ...string) memory {
	text := clusterOf("- {name: cp1, address: 10.111.0.10, roles: [control-plane]}", "- {name: W1, address: 10.111.0.20, roles: [worker]}")
	return memory{
		"cluster.yaml": strings.Replace(text, "  hosts:\n", "  addons: "+addons+"\n"+strings.Join(settings, "\n")+"\n  hosts:\n", 1),
		"bgp/password": "s3cret\r\n", "bgp/empty": "\n", "bgp/long": strings.Repeat("x", 81),
	}
}

// Addresses of pools are nobody else's.
func TestFaultsOfPools(t *testing.T) {
	const access = "  controlPlane: {vip: {address: 10.111.0.5}, endpoint: 10.111.0.5}"
	for _, tt := range []struct{ pools, settings, want string }{
		{"[10.111.0.200-10.111.0.220]", access, ""},
		{"[10.111.0.11-10.111.0.19]", "", ""},
		{"[10.111.0.0/24]", "", "has the node IPs of hosts in it: cp1, w1"},
		{"[10.111.0.1-10.111.0.10]", "", "has the node IPs of hosts in it: cp1"},
		{"[10.111.0.5/32]", access, "10.111.0.5/32 has the virtual IP of the control planes in it, 10.111.0.5"},
		{"[10.111.0.4/30]", "  controlPlane: {endpoint: 10.111.0.6}", "has the address of spec.controlPlane.endpoint in it, 10.111.0.6"},
		{"[10.244.255.0-10.245.0.5]", "", "overlaps spec.network.podCIDR, 10.244.0.0/16"},
		{"[10.96.0.11/32]", "", "overlaps spec.network.serviceCIDR, 10.96.0.0/16"},
		{"[10.60.0.9/32]", "  network: {cni: {calico: {pools: [{name: dmz, cidr: 10.60.0.0/24}]}}}", "10.60.0.9/32 overlaps spec.network.cni.calico.pools[0].cidr, 10.60.0.0/24"},
		{"[10.0.0.9-10.0.0.1]", "", "is reversed"},
	} {
		_, _, err := withAddons("{metallb: {enabled: true, pools: [{name: a, addresses: "+tt.pools+"}]}}", tt.settings).load(t, "")
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%s: %v, want %q", tt.pools, err, tt.want)
		}
	}
	if _, _, err := withAddons("{metallb: {pools: [{name: a, addresses: [10.111.0.0/24]}]}}").load(t, ""); err != nil {
		t.Errorf("pools of what is not installed: %v", err)
	}
}

func TestBGPPasswords(t *testing.T) {
	load := func(file string) (*cluster.Cluster, error) {
		c, _, err := withAddons("{metallb: {enabled: true, pools: [{name: a, addresses: [10.9.0.0/24]}], bgp: {peers: [{name: r1, address: 10.111.0.1, asn: 64512, passwordFile: "+file+"},"+
			" {name: r2, address: 10.111.0.2, asn: 64512}]}}}").load(t, "")
		return c, err
	}
	c, err := load("bgp/password")
	if err != nil {
		t.Fatal(err)
	}
	if string(c.Addons.BGPPasswords["r1"].Reveal()) != "s3cret" || len(c.Addons.BGPPasswords) != 1 {
		t.Errorf("%d passwords, of r1 %q", len(c.Addons.BGPPasswords), c.Addons.BGPPasswords["r1"].Reveal())
	}
	for file, want := range map[string]string{
		"bgp/none": "bgp/none cannot be read", "bgp/empty": "bgp/empty is empty", "bgp/long": "bgp/long holds 81 bytes; the password of a session has at most 80",
	} {
		if _, err := load(file); err == nil || !strings.Contains(err.Error(), "peers[0].passwordFile: "+want) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestNFSServer(t *testing.T) {
	const volumes = "volumes: [{name: a, path: /a, capacity: 1Gi}, {name: b, path: /b, capacity: 1Gi, server: CP1}, {name: c, path: /c, capacity: 1Gi, server: 10.9.9.9}]"
	c := mustLoad(t, withAddons("{nfs: {enabled: true, server: W1, "+volumes+"}}"))
	var servers []string
	for _, v := range c.Addons.NFS.Volumes {
		servers = append(servers, v.Server)
	}
	if diff := cmp.Diff([]string{"10.111.0.20", "10.111.0.10", "10.9.9.9"}, servers); diff != "" || c.Addons.NFSHost != "w1" || c.Addons.NFS.Server != "10.111.0.20" {
		t.Errorf("the host %q, the server %s, of volumes:\n%s", c.Addons.NFSHost, c.Addons.NFS.Server, diff)
	}
	for _, elsewhere := range []string{"enabled: true, server: nas.example.com", "enabled: true, server: 10.111.0.20", "server: w1"} {
		if c := mustLoad(t, withAddons("{nfs: {"+elsewhere+"}}")); c.Addons.NFSHost != "" {
			t.Errorf("%s: the server is the host %s", elsewhere, c.Addons.NFSHost)
		}
	}
}

// A host exports no folder of its system to all nodes; what another machine exports is its own business.
func TestFolderOfNFSHost(t *testing.T) {
	const want = "spec.addons.nfs.path: w1 is a host of the cluster that would export /etc/nfs to all nodes, and that is for the configuration of the host"
	if _, _, err := withAddons("{nfs: {enabled: true, server: w1, path: /etc/nfs}}").load(t, ""); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
	mustLoad(t, withAddons("{nfs: {enabled: true, server: nas, path: /etc/nfs}}"))
	mustLoad(t, withAddons("{nfs: {server: w1, path: /etc/nfs}}"))
}

// The registry takes no name from those that the cluster's images have, and its class is one that somebody makes.
func TestRegistry(t *testing.T) {
	for _, tt := range []struct{ addons, want, warning string }{
		{"{registry: {enabled: true, host: registry.k8s.io, storageClass: x}}", "spec.addons.registry.host: registry.k8s.io is where images of the cluster itself come from", ""},
		{"{registry: {host: registry.k8s.io, storageClass: local-path}}", "", ""},
		{"{registry: {enabled: true, storageClass: nfs}}", "", "spec.addons.registry.storageClass: nfs is the class of spec.addons.nfs, which is not enabled"},
		{"{registry: {enabled: true, storageClass: local-path}, localPath: {enabled: true, defaultClass: false}}", "", ""},
	} {
		_, warnings, err := withAddons(tt.addons).load(t, "")
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.addons, err, tt.want)
		}
		if told := fmt.Sprint(warnings); tt.want == "" && (tt.warning == "" && len(warnings) > 0 || !strings.Contains(told, tt.warning)) {
			t.Errorf("%s: warnings %s, want %q", tt.addons, told, tt.warning)
		}
	}
}

// A machine that joins is told what hosts do for addons, and nothing else of these.
func TestDocumentOfAddons(t *testing.T) {
	for name, test := range map[string]struct{ addons, class string }{
		"of the folders":  {"registry: {enabled: true, host: images.example.com, size: 5Gi}, localPath: {enabled: true, className: disks}", "disks"},
		"of an NFS class": {"registry: {enabled: true, host: images.example.com}, nfs: {enabled: true, server: w1, defaultClass: true}", "nfs"},
		"given":           {"registry: {enabled: true, host: images.example.com, storageClass: fast}, localPath: {enabled: true}", "fast"},
	} {
		t.Run(name, func(t *testing.T) {
			c := mustLoad(t, withAddons("{metallb: {enabled: true, pools: [{name: a, addresses: [10.9.0.0/24]}]}, metricsServer: {enabled: true}, "+test.addons+"}"))
			text := document(t, c)
			here := cluster.Here{Name: "kubewright-config", Document: []byte(text), Host: machine("w9", "10.111.0.99", "worker"), Worker: true, Checks: checks()}
			after, _, err := here.Load(known())
			if err != nil {
				t.Fatalf("%v in\n%s", err, text)
			}
			r := after.Addons.Registry
			if !r.Enabled || r.Host != "images.example.com" || r.StorageClass != test.class || after.RegistryIP() != c.RegistryIP() {
				t.Errorf("the registry is %+v", r)
			}
			if after.Addons.MetalLB.Enabled || after.Addons.MetricsServer.Enabled || after.Addons.LocalPath.Enabled {
				t.Errorf("it is told of addons that hosts have no part in:\n%s", text)
			}
			if n := after.Addons.NFS; n.Enabled != c.Addons.NFS.Enabled || n.Enabled && n.Server != "10.111.0.20" || after.Addons.NFSHost != "" {
				t.Errorf("NFS is %+v", n)
			}
			if diff := cmp.Diff(text, document(t, after)); diff != "" {
				t.Errorf("another time:\n%s", diff)
			}
		})
	}
}

func TestRegistryIP(t *testing.T) {
	for network, want := range map[string]string{"172.20.0.0/16": "172.20.0.11", "10.96.7.16/28": "10.96.7.27"} {
		c := mustLoad(t, withAddons("{}", "  network: {serviceCIDR: "+network+"}"))
		if got := c.RegistryIP().String(); got != want {
			t.Errorf("%s: %s, want %s", network, got, want)
		}
	}
}
