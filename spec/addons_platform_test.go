package spec

import (
	"net/netip"
	"strings"
	"testing"
)

func TestParseAddressRange(t *testing.T) {
	for _, tt := range []struct{ text, first, last, why, suggestion string }{
		{"192.168.1.240-192.168.1.250", "192.168.1.240", "192.168.1.250", "", ""},
		{"192.168.1.240-192.168.1.240", "192.168.1.240", "192.168.1.240", "", ""},
		{"192.168.1.240/28", "192.168.1.240", "192.168.1.255", "", ""},
		{"10.0.0.0/15", "10.0.0.0", "10.1.255.255", "", ""},
		{"10.0.0.1/32", "10.0.0.1", "10.0.0.1", "", ""},
		{"0.0.0.0/0", "0.0.0.0", "255.255.255.255", "", ""},
		{"192.168.1.240", "", "", "is one address", "192.168.1.240/32"},
		{"192.168.1.241/28", "", "", "has host bits set", "192.168.1.240/28"},
		{"192.168.1.250-192.168.1.240", "", "", "is reversed", "192.168.1.240-192.168.1.250"},
		{"192.168.1.240 - 192.168.1.250", "", "", "has blanks", "192.168.1.240-192.168.1.250"},
		{"192.168.1.240-250", "", "", "is no range", ""},
		{"192.168.1.240-", "", "", "is no range", ""},
		{"-", "", "", "is no range", ""},
		{"a-b", "", "", "is no range", ""},
		{"192.168.1.1-192.168.1.2-192.168.1.3", "", "", "is no range", ""},
		{"192.168.1.256/32", "", "", "is neither", ""},
		{"fd00::/64", "", "", "is of IPv6", ""},
		{"fd00::1-fd00::2", "", "", "is of IPv6", ""},
		{"10.0.0.1-fd00::2", "", "", "is of IPv6", ""},
		{"pool", "", "", "is neither", ""},
	} {
		r, why, suggestion := ParseAddressRange(tt.text)
		if (why == "") != (tt.why == "") || !strings.HasPrefix(why, tt.why) || suggestion != tt.suggestion {
			t.Errorf("%q: %q, suggestion %q; want %q, %q", tt.text, why, suggestion, tt.why, tt.suggestion)
		}
		if tt.why == "" && (r.First != netip.MustParseAddr(tt.first) || r.Last != netip.MustParseAddr(tt.last)) {
			t.Errorf("%q is %v", tt.text, r)
		}
	}
}

// What is refused of the addons, with its place and what to write instead.
func TestPlatformAddons(t *testing.T) {
	const pool = "pools: [{name: a, addresses: [192.168.1.240/28]}]"
	for _, tt := range []struct{ addons, want string }{
		{"{}", ""},
		{"{metricsServer: {enabled: true, replicas: 3}}", ""},
		{"{metricsServer: {replicas: 11}}", "metricsServer.replicas: 11 is out of range"},

		{"{metallb: {enabled: true, " + pool + "}}", ""},
		{`{metallb: {enabled: true, pools: [{name: a, addresses: [192.168.1.240-192.168.1.250, 192.168.2.0/24], onRequest: true, avoidBuggyIPs: true}, {name: b, addresses: [192.168.3.1/32]}],
			l2: [{pools: [a], interfaces: [eth0], nodeSelector: {zone: x}}], bgp: {asn: 64500, peers: [{name: r, address: 10.0.0.1, port: 1179, asn: 64501, myASN: 64502, nodeSelector: {zone: x}, passwordFile: x}],
			advertisements: [{pools: [b], peers: [r], aggregationLength: 32, communities: ["65535:65282"], localPref: 100, nodeSelector: {zone: x}}]}}}`, ""},
		{"{metallb: {enabled: true}}", "metallb.pools: must be given with MetalLB"},
		{"{metallb: {" + pool + "}}", ""},
		{"{metallb: {pools: [{name: A, addresses: [192.168.1.0/24]}]}}", `metallb.pools[0].name: the name "A" of the pool must be of lower-case`},
		{"{metallb: {pools: [{name: a, addresses: [10.0.0.0/24]}, {name: a, addresses: [10.0.1.0/24]}]}}", "metallb.pools[1].name: another pool has the name a"},
		{"{metallb: {pools: [{name: a, addresses: [10.0.0.9-10.0.0.1]}]}}", `metallb.pools[0].addresses[0]: "10.0.0.9-10.0.0.1" is reversed; did you mean 10.0.0.1-10.0.0.9?`},
		{"{metallb: {pools: [{name: a, addresses: [10.0.0.0/24, 10.0.0.255-10.0.1.1]}]}}", "metallb.pools[0].addresses[1]: 10.0.0.255-10.0.1.1 overlaps 10.0.0.0/24 of the pool a"},
		{"{metallb: {pools: [{name: a, addresses: [10.0.0.0/24]}, {name: b, addresses: [10.0.0.7/32]}]}}", "metallb.pools[1].addresses[0]: 10.0.0.7/32 overlaps 10.0.0.0/24 of the pool a"},
		{"{metallb: {pools: [{name: a, addresses: [127.0.0.0/24]}]}}", "metallb.pools[0].addresses[0]: 127.0.0.0/24 has addresses that are of the loopback"},
		{"{metallb: {pools: [{name: a, addresses: [192.0.0.0-240.0.0.1]}]}}", "metallb.pools[0].addresses[0]: 192.0.0.0-240.0.0.1 has addresses that are of multicast"},
		{"{metallb: {pools: [{name: a}]}}", "metallb.pools[0].addresses: this key is required"},
		{"{metallb: {" + pool + ", l2: [{pools: [b]}]}}", `metallb.l2[0].pools[0]: there is no pool "b"; there is a`},
		{"{metallb: {" + pool + ", l2: [{interfaces: ['eth0;x']}]}}", `metallb.l2[0].interfaces[0]: "eth0;x" is no name of a network interface`},
		{"{metallb: {" + pool + ", l2: [{nodeSelector: {'a b': c}}]}}", `metallb.l2[0].nodeSelector["a b"]: "a b" is no key of a label`},
		{"{metallb: {" + pool + ", l2: [{nodeSelector: {a: 'b c'}}]}}", `metallb.l2[0].nodeSelector.a: "b c" is no value of a label`},
		{"{metallb: {bgp: {advertisements: [{}]}}}", "metallb.bgp.peers: must be given with advertisements"},
		{"{metallb: {bgp: {peers: [{name: r, address: router.example.com, asn: 1}]}}}", `metallb.bgp.peers[0].address: "router.example.com" is no IPv4 address of a router`},
		{"{metallb: {bgp: {peers: [{name: r, address: 'fd00::1', asn: 1}]}}}", `metallb.bgp.peers[0].address: "fd00::1" is no IPv4 address of a router`},
		{"{metallb: {bgp: {peers: [{name: r, address: 127.0.0.1, asn: 1}]}}}", "metallb.bgp.peers[0].address: 127.0.0.1 is no address by which nodes could reach a router"},
		{"{metallb: {bgp: {peers: [{name: r, address: 10.0.0.1}]}}}", "metallb.bgp.peers[0].asn: this key is required"},
		{"{metallb: {bgp: {peers: [{name: r, address: 10.0.0.1, asn: 1}, {name: r, address: 10.0.0.2, asn: 1}]}}}", "metallb.bgp.peers[1].name: another peer has the name r"},
		{"{metallb: {bgp: {peers: [{name: r, address: 10.0.0.1, asn: 1}], advertisements: [{peers: [s]}]}}}", `metallb.bgp.advertisements[0].peers[0]: there is no peer "s"`},
		{"{metallb: {bgp: {peers: [{name: r, address: 10.0.0.1, asn: 1}], advertisements: [{pools: [s]}]}}}", `metallb.bgp.advertisements[0].pools[0]: there is no pool "s"`},
		{"{metallb: {bgp: {peers: [{name: r, address: 10.0.0.1, asn: 1}], advertisements: [{communities: ['1:65536']}]}}}", `metallb.bgp.advertisements[0].communities[0]: "1:65536" is no BGP community`},
		{"{metallb: {bgp: {peers: [{name: r, address: 10.0.0.1, asn: 1}], advertisements: [{communities: [no-export]}]}}}", `metallb.bgp.advertisements[0].communities[0]: "no-export" is no BGP community`},
		{"{metallb: {" + pool + ", bgp: {peers: [{name: r, address: 10.0.0.1, asn: 1}], advertisements: [{aggregationLength: 28}]}}}", ""},
		{"{metallb: {" + pool + ", bgp: {peers: [{name: r, address: 10.0.0.1, asn: 1}], advertisements: [{aggregationLength: 24}]}}}", "metallb.bgp.advertisements[0].aggregationLength: 192.168.1.240/28 of the pool a is not made of whole /24"},
		{"{metallb: {bgp: {asn: 0}}}", "metallb.bgp.asn: 0 is out of range"},

		{"{localPath: {enabled: true, path: /data, className: fast, defaultClass: false, reclaimPolicy: Retain}}", ""},
		{"{localPath: {path: data}}", `localPath.path: "data" does not begin with /`},
		{"{localPath: {path: /}}", "localPath.path: the root of the file system"},
		{"{localPath: {path: /data/..}}", "localPath.path: the root of the file system"},
		{"{localPath: {path: /data//x}}", "localPath.path: /data//x is not written in its shortest form; did you mean /data/x?"},
		{"{localPath: {path: '/da ta'}}", `localPath.path: "/da ta" has other characters`},
		{"{localPath: {path: /var/lib/kubelet/x}}", "localPath.path: /var/lib/kubelet/x is for the kubelet"},
		{"{localPath: {path: /var/lib/kubelets}}", ""},
		{"{localPath: {path: /var/lib}}", "localPath.path: /var/lib has /var/lib/kubelet in it, which is for the kubelet"},
		{"{localPath: {path: /lib}}", "localPath.path: /lib is for programs"},
		{"{localPath: {className: Local_Path}}", `localPath.className: "Local_Path" is no name of a StorageClass`},
		{"{localPath: {reclaimPolicy: Recycle}}", `localPath.reclaimPolicy: unknown value "Recycle"`},
		{"{localPath: {enabled: true}, nfs: {enabled: true, server: nas, className: local-path}}", "nfs.className: localPath has the class local-path, too"},
		{"{localPath: {enabled: true}, nfs: {enabled: true, server: nas, defaultClass: true}}", "nfs.defaultClass: there can be one default class"},
		{"{localPath: {enabled: true, defaultClass: false}, nfs: {enabled: true, server: nas, defaultClass: true}}", ""},

		{"{nfs: {enabled: true, server: nas.example.com, path: /export, volumes: [{name: a, path: /export/a, server: 10.0.0.9, capacity: 10Gi, readOnly: true}]}}", ""},
		{"{nfs: {enabled: true}}", "nfs.server: must be given with NFS"},
		{"{nfs: {server: 'nas:/export'}}", `nfs.server: "nas:/export" is neither an address`},
		{"{nfs: {path: export}}", `nfs.path: "export" does not begin with /`},
		{"{nfs: {className: 'a b'}}", `nfs.className: "a b" is no name of a StorageClass`},
		{"{nfs: {volumes: [{name: A, path: /a, capacity: 1Gi}]}}", `nfs.volumes[0].name: the name "A" of the volume`},
		{"{nfs: {volumes: [{name: a, path: /a, capacity: 1Gi}, {name: a, path: /b, capacity: 1Gi}]}}", "nfs.volumes[1].name: another volume has the name a"},
		{"{nfs: {volumes: [{name: a, path: a, capacity: 1Gi}]}}", `nfs.volumes[0].path: "a" does not begin with /`},
		{"{nfs: {volumes: [{name: a, path: /a, capacity: much}]}}", `nfs.volumes[0].capacity: "much" is no amount of storage`},
		{"{nfs: {volumes: [{name: a, path: /a, capacity: '0'}]}}", `nfs.volumes[0].capacity: "0" is no amount of storage`},
		{"{nfs: {volumes: [{name: a, path: /a, capacity: 1Gi, server: 'a b'}]}}", `nfs.volumes[0].server: "a b" is neither`},

		{"{custom: [{name: a, after: [b], manifests: x}, {name: b, after: [c, metallb], manifests: x}, {name: c, manifests: x}]}", ""},

		{"{registry: {enabled: true, storageClass: disks}}", ""},
		{"{registry: {enabled: true}, localPath: {enabled: true}}", ""},
		{"{registry: {enabled: true}, nfs: {enabled: true, server: nas, defaultClass: true}}", ""},
		{"{registry: {enabled: true}}", "registry.storageClass: must be given, for no addon brings a default class"},
		{"{registry: {enabled: true}, localPath: {enabled: true, defaultClass: false}}", "registry.storageClass: must be given"},
		{"{registry: {enabled: true}, nfs: {defaultClass: true}}", "registry.storageClass: must be given"},
		{"{registry: {host: registry}}", "registry.host: registry has no dot in it: the first part of the name of an image is a registry only if it has one; did you mean registry.internal?"},
		{"{registry: {host: 'registry.internal:5000'}}", `registry.host: "registry.internal:5000" is no DNS name in lower case, without a port`},
		{"{registry: {host: Registry.internal}}", `registry.host: "Registry.internal" is no DNS name in lower case`},
		{"{registry: {host: 10.0.0.1}}", `registry.host: "10.0.0.1" is no DNS name`},
		{"{registry: {size: big}}", `registry.size: "big" is no amount of storage`},
		{"{registry: {storageClass: 'a b'}}", `registry.storageClass: "a b" is no name of a StorageClass`},
		{"{registry: {enabled: true, host: mirrored.example.com, storageClass: x}}", "registry.host: mirrored.example.com has mirrors"},
	} {
		_, faults := Parse("cluster.yaml", []byte(smallest+"  artifacts: {registryMirrors: {mirrored.example.com: [\"http://10.0.0.1\"]}}\n  addons: "+strings.ReplaceAll(tt.addons, "\n", " ")+"\n"))
		if tt.want == "" {
			if faults != nil {
				t.Errorf("%s: good addons have faults: %v", tt.addons, faults)
			}
			continue
		}
		if len(faults) != 1 {
			t.Errorf("%s: faults: %v, want the one %q", tt.addons, faults, tt.want)
			continue
		}
		if _, message, _ := strings.Cut(faults[0].Error(), ": "); !strings.HasPrefix(message, "spec.addons."+tt.want) {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.addons, message, tt.want)
		}
	}
}
