package check

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"kubewright/internal/facts"
)

func identityTable() map[string][]faulty {
	skew := func(skews map[string]time.Duration) func(World) World {
		return func(w World) World {
			for host, d := range skews {
				w.ClockSkew[host] = d
			}
			return w
		}
	}
	nodeIP := func(host int, ip string) func(World) World {
		return func(w World) World {
			w.Hosts[host].NodeIP = netip.MustParseAddr(ip)
			return w
		}
	}
	return map[string][]faulty{
		"clock": {
			{"ten minutes behind", skew(map[string]time.Duration{"worker1": -10 * time.Minute}), []string{"refuse worker1: 10m0s behind"}},
			{"31 s ahead", skew(map[string]time.Duration{"worker1": 31 * time.Second}), []string{"refuse worker1: 31s ahead of that of the machine you work on"}},
			{"a little", skew(map[string]time.Duration{"worker1": 6 * time.Second}), []string{"warn worker1: 6s ahead"}},
			{"hardly", skew(map[string]time.Duration{"cp1": 0, "worker1": 5 * time.Second}), nil},
			{"the operator's own clock is off", skew(map[string]time.Duration{"cp1": time.Hour, "worker1": time.Hour, "worker2": time.Hour}), []string{
				"refuse cp1: 1h0m0s ahead", "refuse worker1: 1h0m0s", "refuse worker2: 1h0m0s",
			}},
			{"apart in both directions", skew(map[string]time.Duration{"cp1": -20 * time.Second, "worker1": 20 * time.Second}), []string{
				"refuse : the clock of worker1 is 40s ahead of that of cp1", "warn cp1: behind", "warn worker1: ahead",
			}},
			{"apart a little", skew(map[string]time.Duration{"cp1": -4 * time.Second, "worker1": 4 * time.Second}), []string{"warn : worker1 is 8s ahead of that of cp1"}},
			{"in a container", func(w World) World {
				w.ClockSkew["worker1"] = time.Minute
				return w.on("worker1", func(f *facts.Facts) { f.Container = true })
			}, []string{"refuse worker1: machine which runs this container"}},
			{"not measured", func(w World) World {
				delete(w.ClockSkew, "cp1")
				w.ClockSkew["worker1"] = time.Minute
				return w
			}, []string{"refuse cp1: was not compared", "refuse worker1: 1m0s ahead"}},
		},
		"hostname": {
			{"twice", worker1(func(f *facts.Facts) { f.Hostname = "CP1" }), []string{
				"refuse cp1: is also that of worker1", "refuse worker1: hostnamectl set-hostname worker1", "info worker1: calls itself CP1",
			}},
			{"another than the node's", worker1(func(f *facts.Facts) { f.Hostname = "ip-10-1-0-11" }), []string{"info worker1: calls itself ip-10-1-0-11; the node will be named worker1"}},
			{"fully qualified", worker1(func(f *facts.Facts) { f.Hostname = "Worker1.example.com" }), nil},
		},
		"machine-id": {
			{"cloned", func(w World) World {
				w = w.on("worker2", func(f *facts.Facts) { f.MachineID = "id of cp1" })
				return w.on("worker1", func(f *facts.Facts) { f.MachineID = "id of cp1" })
			}, []string{
				"refuse cp1: the machine id id of cp1 is also that of worker1, worker2", "refuse worker1: cp1, worker2", "refuse worker2: cp1, worker1",
			}},
			{"none", worker1(func(f *facts.Facts) { f.MachineID = "" }), []string{"warn worker1: no machine id"}},
		},
		"product-uuid": {
			{"cloned", worker1(func(f *facts.Facts) { f.ProductUUID = "uuid of cp1" }), []string{"warn cp1: is also that of worker1", "warn worker1: is also that of cp1"}},
			{"containers of one machine", func(w World) World {
				for _, h := range []string{"cp1", "worker1"} {
					w = w.on(h, func(f *facts.Facts) { f.ProductUUID, f.Container = "same", true })
				}
				return w
			}, nil},
			{"none", func(w World) World {
				for _, h := range []string{"cp1", "worker1"} {
					w = w.on(h, func(f *facts.Facts) { f.ProductUUID = "" })
				}
				return w
			}, nil},
		},
		"node-ip": {
			{"on no interface", nodeIP(1, "203.0.113.7"), []string{"refuse worker1: 203.0.113.7 is on no interface of the host; set nodeIP to one of its addresses: 10.1.0.11 (eth0)"}},
			{"twice", nodeIP(1, "10.1.0.10"), []string{
				"refuse cp1: 10.1.0.10 is also that of worker1", "refuse worker1: is also that of cp1", "refuse worker1: on no interface",
			}},
			{"twice in two spellings", nodeIP(1, "::ffff:10.1.0.10"), []string{
				"refuse cp1: 10.1.0.10 is also that of worker1", "refuse worker1: is also that of cp1", "refuse worker1: on no interface",
			}},
			{"none", func(w World) World { w.Hosts[1].NodeIP = netip.Addr{}; return w }, []string{"refuse worker1: no node IP"}},
			{"loopback", nodeIP(1, "127.0.0.1"), []string{"refuse worker1: 127.0.0.1 is no address that other hosts can reach"}},
			{"link-local", nodeIP(1, "fe80::1"), []string{"refuse worker1: fe80::1 is no address"}},
			{"Vagrant everywhere", func(w World) World {
				for i := range w.Hosts {
					w.Hosts[i].NodeIP = netip.MustParseAddr("10.0.2.15")
				}
				return w
			}, []string{
				"refuse cp1: is also that of worker1, worker2; it is the NAT interface that Vagrant", "refuse cp1: 10.0.2.15, which is not reachable",
				"refuse worker1: Vagrant", "refuse worker1: 10.0.2.15", "refuse worker2: Vagrant", "refuse worker2: 10.0.2.15",
			}},
			{"10.0.2.15 on a single QEMU machine", func(w World) World {
				w.Hosts = w.Hosts[:1]
				w.Hosts[0].NodeIP = netip.MustParseAddr("10.0.2.15")
				return w.on("cp1", func(f *facts.Facts) { f.Interfaces[0].Addrs = prefixes("10.0.2.15/24") })
			}, nil},
			{"10.0.2.15 on a single VirtualBox machine", func(w World) World {
				w.Hosts = w.Hosts[:1]
				w.Hosts[0].NodeIP = netip.MustParseAddr("10.0.2.15")
				return w.on("cp1", func(f *facts.Facts) { f.Virt = "oracle" })
			}, []string{"refuse cp1: 10.0.2.15"}},
			{"on the pod network", func(w World) World {
				w.Hosts[1].NodeIP = netip.MustParseAddr("10.9.9.9")
				return w.on("worker1", func(f *facts.Facts) {
					f.Interfaces = append(f.Interfaces, facts.Interface{Name: "vxlan.calico", Addrs: prefixes("10.9.9.9/32")})
				})
			}, []string{"refuse worker1: on vxlan.calico"}},
			{"no address at all", func(w World) World {
				w.Hosts[1].NodeIP = netip.Addr{}
				return w.on("worker1", func(f *facts.Facts) { f.Interfaces = nil })
			}, []string{"refuse worker1: give the host an address"}},
		},
	}
}

func networkTable() map[string][]faulty {
	listen := func(host, proto string, port int, process string) func(World) World {
		return func(w World) World {
			return w.on(host, func(f *facts.Facts) {
				f.Listening = append(f.Listening, facts.Listener{Proto: proto, Addr: netip.IPv4Unspecified(), Port: port, Process: process})
			})
		}
	}
	iface := func(name string, addrs ...string) func(World) World {
		return worker1(func(f *facts.Facts) {
			f.Interfaces = append(f.Interfaces, facts.Interface{Name: name, Addrs: prefixes(addrs...)})
		})
	}
	route := func(dst, dev string) func(World) World {
		return worker1(func(f *facts.Facts) {
			f.Routes = append(f.Routes, facts.Route{Dst: netip.MustParsePrefix(dst), Dev: dev})
		})
	}
	managed := func(change func(World) World) func(World) World {
		return func(w World) World {
			return change(w.traced("cp1", "worker1"))
		}
	}
	balanced := func(change func(World) World) func(World) World {
		return func(w World) World {
			w.BalancerPorts = []int{7443, 7444}
			return change(w)
		}
	}
	resolvers := func(servers ...string) func(World) World {
		return worker1(func(f *facts.Facts) { f.Nameservers = servers })
	}
	return map[string][]faulty{
		"ports": {
			{"6443 on a control plane", listen("cp1", "tcp", 6443, "haproxy"), []string{"refuse cp1: 6443/tcp is taken by haproxy (on 0.0.0.0) and is needed by kube-apiserver; stop haproxy"}},
			{"tried by another run", listen("cp1", "tcp", 6443, "systemd-socket-"), []string{"refuse cp1: 6443/tcp is taken by systemd-socket- (on 0.0.0.0) and is needed by kube-apiserver; if another run of kubewright is trying connections there, run again in a minute; else stop systemd-socket- or move it to another port"}},
			{"6443 on a worker", listen("worker1", "tcp", 6443, "haproxy"), nil},
			{"another port for the API server", func(w World) World {
				w.APIServerPort = 8443
				return listen("cp1", "tcp", 6443, "haproxy")(w)
			}, nil},
			{"another port for the API server, taken", func(w World) World {
				w.APIServerPort = 8443
				return listen("cp1", "tcp", 8443, "")(w)
			}, []string{"refuse cp1: 8443/tcp is taken by another program (on 0.0.0.0) and is needed by kube-apiserver; find it with ss -lnp 'sport = :8443'"}},
			{"2379", listen("cp1", "tcp", 2379, ""), []string{"refuse cp1: 2379/tcp"}},
			{"2380", listen("cp1", "tcp", 2380, ""), []string{"refuse cp1: 2380/tcp"}},
			{"10257", listen("cp1", "tcp", 10257, ""), []string{"refuse cp1: 10257/tcp"}},
			{"10259", listen("cp1", "tcp", 10259, ""), []string{"refuse cp1: 10259/tcp"}},
			{"10250", listen("worker1", "tcp", 10250, "kubelet"), []string{"refuse worker1: 10250/tcp is taken by kubelet"}},
			{"10250 over UDP", listen("worker1", "udp", 10250, ""), nil},
			{"10256", listen("worker1", "tcp", 10256, ""), []string{"refuse worker1: 10256/tcp"}},
			{"VXLAN", listen("worker1", "udp", 4789, ""), []string{"refuse worker1: 4789/udp"}},
			{"BGP", func(w World) World {
				w.BGP = true
				return listen("worker1", "tcp", 179, "")(w)
			}, []string{"refuse worker1: 179/tcp"}},
			{"VXLAN that is not wanted", func(w World) World {
				w.VXLANPort = 0
				return listen("worker1", "udp", 4789, "")(w)
			}, nil},
			{"of an interrupted run", func(w World) World {
				w = listen("cp1", "tcp", 6443, "")(w)
				return w.on("cp1", func(f *facts.Facts) { f.OursMarker = "lab 1234" })
			}, nil},
			{"of another cluster of ours", func(w World) World {
				w = listen("cp1", "tcp", 6443, "")(w)
				return w.on("cp1", func(f *facts.Facts) { f.OursMarker = "prod 1234" })
			}, []string{"refuse cp1: 6443/tcp"}},
			{"our own", managed(listen("cp1", "tcp", 6443, "kube-apiserver")), nil},
			{"of a load balancer that no node has", listen("worker1", "tcp", 7443, "nginx"), nil},
			{"of the load balancer", balanced(listen("worker1", "tcp", 7443, "haproxy")), []string{"refuse worker1: 7443/tcp is taken by haproxy (on 0.0.0.0) and is needed by the node's own load balancer; stop haproxy"}},
			{"of the load balancer's health", balanced(listen("cp1", "tcp", 7444, "")), []string{"refuse cp1: 7444/tcp is taken by another program"}},
			{"of the load balancer, on a host of etcd", func(w World) World {
				w.Hosts[1].Worker, w.Hosts[1].Etcd = false, true
				return balanced(listen("worker1", "tcp", 7443, "nginx"))(w)
			}, nil},
			{"of our own load balancer", balanced(func(w World) World {
				w.Traces["worker1"] = Traces{Applied: 2, Balancer: true}
				return listen("worker1", "tcp", 7443, "")(w)
			}), nil},
			{"of a load balancer that a node of ours is to have", managed(balanced(listen("worker1", "tcp", 7443, ""))), []string{"refuse worker1: 7443/tcp is taken by another program"}},
		},
		"firewall": {
			{"on a control plane", cp1(func(f *facts.Facts) { f.Firewall = "firewalld" }), []string{
				"warn cp1: firewalld is active and is left as it is; these ports must be open: 6443/tcp (kube-apiserver), 2379/tcp (etcd clients), 2380/tcp (etcd peers), 4789/udp (VXLAN), 10250/tcp (kubelet), 10256/tcp",
			}},
			{"on a worker", worker1(func(f *facts.Facts) { f.Firewall = "ufw" }), []string{"warn worker1: must be open: 4789/udp (VXLAN), 10250/tcp"}},
		},
		"cidrs": {
			{"docker0 in the pod CIDR", iface("docker0", "10.244.3.1/24"), []string{"refuse worker1: the pod CIDR 10.244.0.0/16 overlaps with the network 10.244.3.0/24 of interface docker0; choose another pod CIDR"}},
			{"the pod CIDR in a wide network of the host", iface("eth1", "10.200.0.1/9"), []string{"refuse worker1: the pod CIDR 10.244.0.0/16 overlaps with the network 10.128.0.0/9 of interface eth1"}},
			{"an address in the service CIDR", iface("eth1", "10.96.0.10/32"), []string{"refuse worker1: the service CIDR 10.96.0.0/16 overlaps"}},
			{"interfaces of the cluster itself", func(w World) World {
				for name, addr := range map[string]string{
					"cali0123456789a": "10.244.1.5/32", "vxlan.calico": "10.244.1.0/32", "tunl0": "10.244.2.0/32",
					"cni0": "10.244.3.1/24", "flannel.1": "10.244.4.0/32", "kube-ipvs0": "10.96.0.1/32",
				} {
					w = iface(name, addr)(w)
				}
				w = route("10.244.1.5/32", "cali0123456789a")(w)
				return route("10.244.7.0/26", "vxlan.calico")(w)
			}, nil},
			{"interfaces of another pod network", func(w World) World {
				for i, name := range otherNetworks() {
					w = iface(name, netip.AddrFrom4([4]byte{10, 244, byte(i), 1}).String()+"/24")(w)
				}
				return route("10.244.7.0/24", "cilium_host")(iface("genev_sys_6081", "10.244.99.1/24")(w))
			}, nil},
			{"an interface with a name like another's", iface("weave-vpn", "10.244.3.1/24"), []string{"refuse worker1: of interface weave-vpn"}},
			{"a route equal to the pod CIDR", route("10.244.0.0/16", "tun0"), []string{"refuse worker1: the pod CIDR 10.244.0.0/16 overlaps with the route to 10.244.0.0/16 via tun0"}},
			{"a route inside of it", route("10.244.9.0/24", "tun0"), []string{"refuse worker1: 10.244.9.0/24"}},
			{"a blackhole inside of it", route("10.244.9.0/26", ""), []string{"refuse worker1: to nowhere"}},
			{"a wider route", func(w World) World {
				w.ServiceCIDR = netip.MustParsePrefix("172.30.0.0/16")
				return route("10.0.0.0/8", "tun0")(w)
			}, []string{"warn worker1: hides a part of the route to 10.0.0.0/8 via tun0"}},
			{"the route of an interface already reported", func(w World) World {
				return route("10.244.3.0/24", "docker0")(iface("docker0", "10.244.3.1/24")(w))
			}, []string{"refuse worker1: docker0"}},
			{"routes of the pod network on a host of ours", managed(func(w World) World {
				return route("10.244.9.0/26", "")(route("10.244.8.0/26", "eth0")(w))
			}), nil},
			{"an equal route on a host of ours", managed(route("10.244.0.0/16", "tun0")), []string{"refuse worker1: 10.244.0.0/16"}},
			{"the node IP", func(w World) World {
				w.PodCIDR = netip.MustParsePrefix("10.1.0.8/30")
				w.Hosts = w.Hosts[1:2]
				w = w.on("worker1", func(f *facts.Facts) { f.Interfaces[0].Addrs, f.Routes = prefixes("10.1.0.11/32"), nil })
				return w
			}, []string{"refuse worker1: holds the host's node IP 10.1.0.11", "refuse worker1: 10.1.0.11/32 of interface eth0"}},
			{"a name server", resolvers("10.96.0.53", "fe80::1%eth0"), []string{"refuse worker1: the service CIDR 10.96.0.0/16 holds the host's name server 10.96.0.53"}},
			{"IPv6", func(w World) World {
				w.PodCIDR, w.ServiceCIDR = netip.MustParsePrefix("fd00:10::/48"), netip.MustParsePrefix("fe80::/16")
				return iface("eth1", "fd00:10::5/64")(w)
			}, []string{"refuse worker1: fd00:10::/64 of interface eth1"}},
			{"no CIDRs", func(w World) World { w.PodCIDR, w.ServiceCIDR = netip.Prefix{}, netip.Prefix{}; return w }, nil},
		},
		"resolvers": {
			{"none", resolvers(), []string{"warn worker1: no name server"}},
			{"loopback only", resolvers("127.0.0.53", "::1"), []string{"refuse worker1: /etc/resolv.conf would be handed to pods and names 127.0.0.53, ::1: inside"}},
			{"loopback and another", resolvers("10.1.0.1", "127.0.0.53"), []string{"refuse worker1: names 127.0.0.53: inside a pod that is the pod itself, and CoreDNS would ask itself for ever; name only servers"}},
			{"loopback in other spellings", resolvers("::ffff:127.0.0.1", "0.0.0.0"), []string{"refuse worker1: names ::ffff:127.0.0.1, 0.0.0.0"}},
			{"with a zone", resolvers("fe80::1%eth0"), nil},
			{"loopback, which nobody asks", func(w World) World {
				w.DNSForward = true
				return resolvers("127.0.0.53")(w)
			}, nil},
		},
	}
}

// otherNetworks are interfaces of pod networks that we do not install.
func otherNetworks() []string {
	return []string{"cilium_host", "cilium_net", "weave", "vethwe-bridge", "antrea-gw0", "kube-bridge", "kube-dummy-if", "ovn-k8s-mp0"}
}

// TestOtherNetworks: each of them is a sign of another cluster.
func TestOtherNetworks(t *testing.T) {
	for _, name := range otherNetworks() {
		f := facts.Facts{Interfaces: []facts.Interface{{Name: name}}}
		if evidence := clusterEvidence(f); len(evidence) != 1 || !strings.Contains(evidence[0], "the interface "+name+" of ") {
			t.Errorf("%s: %q", name, evidence)
		}
	}
}

func foreignTable() map[string][]faulty {
	foreign := func(f facts.Foreign) func(World) World {
		return worker1(func(of *facts.Facts) { of.Foreign = f })
	}
	marked := func(marker string, f facts.Foreign) func(World) World {
		return func(w World) World {
			w.ClusterID = "1234"
			return w.on("worker1", func(of *facts.Facts) { of.OursMarker, of.Foreign = marker, f })
		}
	}
	interfaces := func(names ...string) func(World) World {
		return worker1(func(of *facts.Facts) {
			for _, name := range names {
				of.Interfaces = append(of.Interfaces, facts.Interface{Name: name})
			}
		})
	}
	ourWorker := facts.Foreign{
		KubeletConf: true, KubeletServer: "https://10.1.0.10:6443", KubeletCA: "sha256:ours", CA: true,
		CAFingerprint: "sha256:ours", KubeletRunning: true, Containerd: true, ContainerdConfig: true,
		CNIConfigs: []string{"10-calico.conflist"},
	}
	return map[string][]faulty{
		"foreign": {
			{"ours and complete", marked("lab 1234", ourWorker), nil},
			{"ours by its manifest alone", func(w World) World { return foreign(ourWorker)(w.traced("worker1")) }, nil},
			{"ours and unfinished", marked("lab 1234", facts.Foreign{ContainerdConfig: true, Manifests: []string{"etcd.yaml"}}), nil},
			{"ours before the id is known", func(w World) World {
				w = marked("lab 1234", ourWorker)(w)
				w.ClusterID = ""
				return w
			}, nil},
			{"of another cluster of ours", marked("prod 9", ourWorker), []string{"refuse worker1: belongs to the cluster prod; see that the inventory names the right host"}},
			{"of a cluster of the same name", marked("lab 9", ourWorker), []string{"refuse worker1: also named lab (id 9, not 1234)"}},
			{"a marker that is none", marked("lab", ourWorker), []string{"refuse worker1: cannot be read"}},
			{"a worker of a kubeadm cluster", foreign(facts.Foreign{
				KubeletConf: true, KubeletServer: "https://old:6443", KubeletCA: "sha256:other", Kubeadm: true, KubeletRunning: true,
			}), []string{
				"refuse worker1: /etc/kubernetes/kubelet.conf for https://old:6443, files of a kubeadm run in /var/lib/kubelet, a running kubelet",
			}},
			{"a control plane", foreign(facts.Foreign{
				AdminConf: true, CA: true, CAKey: true, CAFingerprint: "sha256:ours", EtcdData: true,
				Manifests: []string{"etcd.yaml", "kube-apiserver.yaml"},
			}), []string{"refuse worker1: /etc/kubernetes/admin.conf, /etc/kubernetes/pki/ca.crt, /etc/kubernetes/pki/ca.key, static pods in /etc/kubernetes/manifests (etcd.yaml, kube-apiserver.yaml), /var/lib/etcd/member"}},
			{"a second CA on a host of ours, which is not its matter", marked("lab 1234", facts.Foreign{CA: true, CAFingerprint: "sha256:other"}), nil},
			{"kubeadm's package", foreign(facts.Foreign{KubeadmUnit: true}), []string{"refuse worker1: 10-kubeadm.conf"}},
			{"k3s", foreign(facts.Foreign{K3s: true}), []string{"refuse worker1: another cluster: k3s;"}},
			{"k0s", foreign(facts.Foreign{K0s: true}), []string{"refuse worker1: k0s"}},
			{"RKE2", foreign(facts.Foreign{RKE2: true}), []string{"refuse worker1: RKE2"}},
			{"MicroK8s", foreign(facts.Foreign{Microk8s: true}), []string{"refuse worker1: MicroK8s"}},
			{"Docker", foreign(facts.Foreign{Docker: true, DockerRunning: true, Containerd: true, ContainerdConfig: true}), []string{"refuse worker1: Docker runs here"}},
			{"Docker that is off", foreign(facts.Foreign{Docker: true}), []string{"warn worker1: Docker is installed"}},
			{"containerd", foreign(facts.Foreign{Containerd: true}), []string{"refuse worker1: a containerd that is not ours"}},
			{"CRI-O", foreign(facts.Foreign{CRIO: true}), []string{"warn worker1: CRI-O runs here"}},
			{"CRI-O beside ours", marked("lab 1234", facts.Foreign{CRIO: true, Containerd: true}), nil},
			{"a cluster on CRI-O", foreign(facts.Foreign{CRIO: true, KubeletRunning: true}), []string{"refuse worker1: a running kubelet", "warn worker1: CRI-O"}},
			{"a pod network", interfaces("cilium_host", "genev_sys_6081", "vxlan.calico", "cni0"), []string{"refuse worker1: signs of another cluster: the interface cilium_host of Cilium (which stays until the next boot); see"}},
			{"the user's own pod network", func(w World) World { return interfaces("cilium_host")(w.traced("worker1")) }, nil},
			{"what an earlier cluster of ours left", interfaces("vxlan.calico", "cali0123456789a", "tunl0", "genev_sys_6081"), nil},
			{"containerd's configuration", foreign(facts.Foreign{ContainerdConfig: true}), []string{"refuse worker1: config.toml exists"}},
			{"a CNI configuration that wins", foreign(facts.Foreign{CNIConfigs: []string{"05-cilium.conflist", "10-aaa.conf"}}), []string{"refuse worker1: 05-cilium.conflist, 10-aaa.conf"}},
			{"CNI files that do no harm", foreign(facts.Foreign{CNIConfigs: []string{"00-README", "87-podman-bridge.conflist", "calico-kubeconfig"}}), nil},
		},
	}
}

// TestCommandsAreLookedFor: a command that the script does not look for would be
// reported as missing on every host.
func TestCommandsAreLookedFor(t *testing.T) {
	script := facts.Script()
	for _, c := range append(append(requiredCommands(), ownKernelCommands()...), usefulCommands()...) {
		if !wordIn(script, c.name) {
			t.Errorf("the script does not look for %s", c.name)
		}
	}
	for _, r := range rooms() {
		if !wordIn(script, r.path) {
			t.Errorf("the script does not look at %s", r.path)
		}
	}
}

// wordIn says whether a word stands between blanks or before a semicolon.
func wordIn(text, word string) bool {
	for i := 0; i+len(word) < len(text); i++ {
		if text[i:i+len(word)] != word || i == 0 {
			continue
		}
		before, after := text[i-1], text[i+len(word)]
		if (before == ' ' || before == '\t') && (after == ' ' || after == ';' || after == '\n') {
			return true
		}
	}
	return false
}
