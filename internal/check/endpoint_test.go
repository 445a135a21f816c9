package check

import (
	"net/netip"

	"kubewright/internal/facts"
)

func endpointTable() map[string][]faulty {
	const external, vip = "api.example.com:443", "10.1.0.5"
	at := func(change func(*Endpoints)) func(World) World {
		return func(w World) World {
			w.External, w.NodesUse, w.Serving = external, true, true
			change(&w.Endpoints)
			return w
		}
	}
	met := func(m Met) func(*Endpoints) {
		m.From, m.At = "worker1", external
		return func(e *Endpoints) { e.Met = append(e.Met, m) }
	}
	taken := func(mets ...Met) func(World) World {
		return func(w World) World {
			w.VIP = netip.MustParseAddr(vip)
			w.Met = mets
			return w
		}
	}
	unresolved := Met{Unresolved: true, Failed: "Name or service not known"}
	closed := Met{Failed: "connection refused", Somebody: true}
	stranger := Met{Somebody: true, Other: "an API server of another cluster, whose authority is sha256:theirs"}
	return map[string][]faulty{
		Endpoint: {
			{"it answers", at(met(Met{Somebody: true})), nil},
			{"a name without an address", at(met(unresolved)), []string{
				"refuse worker1: the endpoint api.example.com:443 has no address here: Name or service not known; have the name resolved on the hosts",
			}},
			{"a name without an address, which nodes do not need", at(func(e *Endpoints) { met(unresolved)(e); e.NodesUse = false }), []string{"warn worker1: has no address here"}},
			{"nothing behind it", at(met(closed)), []string{
				"refuse worker1: the endpoint api.example.com:443 does not answer: connection refused; have the load balancer pass TCP connections on to cp1 (10.1.0.10:6443)",
			}},
			{"nothing behind it, which nodes do not need", at(func(e *Endpoints) { met(closed)(e); e.NodesUse = false }), []string{"warn worker1: does not answer"}},
			{"nothing behind it before there is a cluster", at(func(e *Endpoints) { met(closed)(e); e.Serving = false }), nil},
			{"a name for a virtual IP that is yet to be taken", at(func(e *Endpoints) { met(closed)(e); e.VIP = netip.MustParseAddr(vip) }), nil},
			{"another cluster", at(func(e *Endpoints) { met(stranger)(e); e.Serving, e.NodesUse = false, false }), []string{
				"refuse worker1: at the endpoint api.example.com:443 there is an API server of another cluster, whose authority is sha256:theirs; have the load balancer",
			}},
			{"a certificate without its name", at(met(Met{Somebody: true, Unnamed: true})), []string{"info worker1: get its name in their certificates"}},
			{"a virtual IP that somebody has", taken(
				Met{From: "cp1", At: vip + ":22", Somebody: true, Other: "a server that does not speak TLS"},
				Met{From: "cp1", At: vip + ":6443", Somebody: true, Failed: "connection refused"},
			), []string{
				"refuse cp1: the virtual IP 10.1.0.5 is taken: a server that does not speak TLS answers at 10.1.0.5:22; give spec.controlPlane.vip an address that no machine has",
				"refuse cp1: a machine answers at 10.1.0.5:6443",
			}},
			{"a virtual IP that nobody has", taken(Met{From: "cp1", At: vip + ":22", Failed: "no route to host"}, Met{From: "cp1", At: vip + ":6443", Failed: "timed out"}), nil},
			{"a virtual IP that one of ours has taken meanwhile", taken(Met{From: "cp1", At: vip + ":22", Somebody: true, Other: "a server that does not speak TLS"}, Met{From: "cp1", At: vip + ":6443", Somebody: true}), nil},
		},
		"vip": {
			{"in the network", taken(), nil},
			{"where it is", func(w World) World {
				return taken()(w).on("cp1", func(f *facts.Facts) { f.Interfaces[0].Addrs = append(prefixes(vip+"/32"), f.Interfaces[0].Addrs...) })
			}, nil},
			{"elsewhere", func(w World) World {
				w = taken()(w)
				w.VIP = netip.MustParseAddr("10.2.0.5")
				return w.on("cp1", func(f *facts.Facts) {
					f.Interfaces[0].Addrs = append(prefixes("10.2.0.5/32"), f.Interfaces[0].Addrs...)
				})
			}, []string{"refuse cp1: the virtual IP 10.2.0.5 is not in the network of interface eth0 (10.1.0.0/24, fe80::/64); take an address of that network"}},
			{"on an interface that is not there", func(w World) World {
				w = taken()(w)
				w.VIPInterface = "bond0"
				return w
			}, []string{"refuse cp1: there is no interface bond0, which is to take the virtual IP 10.1.0.5; write another name"}},
			{"on another interface", func(w World) World {
				w = taken()(w)
				w.VIP, w.VIPInterface = netip.MustParseAddr("192.168.7.5"), "eth1"
				return w.on("cp1", func(f *facts.Facts) {
					f.Interfaces = append(f.Interfaces, facts.Interface{Name: "eth1", Addrs: prefixes("192.168.7.10/24")})
				})
			}, nil},
		},
	}
}
