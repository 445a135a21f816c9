package check

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

// text is a link in short, "cp1>worker1 10250/tcp".
func (l Link) text() string { return fmt.Sprintf("%s>%s %d/%s", l.From, l.To, l.Port, l.Proto) }

func TestLinks(t *testing.T) {
	one := func(name string, control, etcd bool) Host {
		return Host{Name: name, ControlPlane: control, Etcd: etcd, Worker: !control}
	}
	for _, tt := range []struct {
		name  string
		world World
		want  string // one a line
	}{
		{"no host", World{}, ""},
		{"one host says nothing to itself", World{VXLANPort: 4789, Hosts: []Host{one("cp1", true, true)}}, ""},
		{
			"a control plane and two workers",
			World{VXLANPort: 4789, Hosts: []Host{one("w2", false, false), one("cp1", true, true), one("w1", false, false)}},
			`cp1>w1 4789/udp VXLAN
cp1>w1 10250/tcp kubelet
cp1>w2 4789/udp VXLAN
cp1>w2 10250/tcp kubelet
w1>cp1 6443/tcp kube-apiserver
w1>cp1 4789/udp VXLAN
w1>w2 4789/udp VXLAN
w2>cp1 6443/tcp kube-apiserver
w2>cp1 4789/udp VXLAN
w2>w1 4789/udp VXLAN`,
		},
		{
			"two control planes, another port for the API server, no VXLAN",
			World{APIServerPort: 8443, Hosts: []Host{one("cp1", true, true), one("cp2", true, true)}},
			`cp1>cp2 8443/tcp kube-apiserver
cp1>cp2 2379/tcp etcd clients
cp1>cp2 2380/tcp etcd peers
cp1>cp2 10250/tcp kubelet
cp2>cp1 8443/tcp kube-apiserver
cp2>cp1 2379/tcp etcd clients
cp2>cp1 2380/tcp etcd peers
cp2>cp1 10250/tcp kubelet`,
		},
		{
			"etcd on hosts of its own",
			World{Hosts: []Host{one("cp1", true, false), one("db1", false, true), one("db2", false, true)}},
			`cp1>db1 2379/tcp etcd clients
cp1>db1 10250/tcp kubelet
cp1>db2 2379/tcp etcd clients
cp1>db2 10250/tcp kubelet
db1>cp1 6443/tcp kube-apiserver
db1>db2 2380/tcp etcd peers
db2>cp1 6443/tcp kube-apiserver
db2>db1 2380/tcp etcd peers`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for range 5 {
				rand.Shuffle(len(tt.world.Hosts), func(i, j int) {
					tt.world.Hosts[i], tt.world.Hosts[j] = tt.world.Hosts[j], tt.world.Hosts[i]
				})
				var got []string
				for _, l := range Links(tt.world) {
					got = append(got, l.text()+" "+l.What)
				}
				if diff := gocmp.Diff(tt.want, strings.Join(got, "\n")); diff != "" {
					t.Fatalf("-want +got\n%s", diff)
				}
			}
		})
	}
}

// Where there are many hosts, links grow as the hosts do, and each host is still tried as both ends.
func TestLinksOfManyHosts(t *testing.T) {
	count := func(n int) int {
		w := World{VXLANPort: 4789, BGP: true}
		for i := range n {
			w.Hosts = append(w.Hosts, Host{Name: fmt.Sprintf("h%03d", i), ControlPlane: i < 3, Etcd: i < 3, Worker: i >= 3})
		}
		from, to := map[string]int{}, map[string]int{}
		links := Links(w)
		for _, l := range links {
			if l.From == l.To {
				t.Errorf("%s connects to itself", l.From)
			}
			if l.Proto == "udp" {
				from[l.From]++
				to[l.To]++
			}
		}
		want := min(n-1, meshLinks)
		for _, h := range w.Hosts {
			if from[h.Name] != want || to[h.Name] != want {
				t.Errorf("of %d hosts %s is tried to connect to %d, and %d to it; want %d", n, h.Name, from[h.Name], to[h.Name], want)
			}
		}
		return len(links)
	}
	count(meshLinks + 1)
	if first, second, third := count(100), count(200), count(300); third-second != second-first {
		t.Errorf("100, 200 and 300 hosts have %d, %d and %d links", first, second, third)
	}
}

func reachTable() map[string][]faulty {
	closed := func(reason string, links ...string) func(World) World {
		return func(w World) World {
			for _, l := range Links(w) {
				for _, text := range links {
					if l.text() == text {
						w.Closed = append([]Closed{{Link: l, Reason: reason}}, w.Closed...)
					}
				}
			}
			return w
		}
	}
	both := func(a, b func(World) World) func(World) World { return func(w World) World { return b(a(w)) } }
	api := closed("timed out", "worker1>cp1 6443/tcp")
	return map[string][]faulty{
		"reach": {
			{"one port", api, []string{"refuse worker1: cannot reach cp1 (10.1.0.10) on 6443/tcp (kube-apiserver): timed out; open the ports in the firewalls between them, on both hosts"}},
			{"the same twice", both(api, api), []string{"refuse worker1: on 6443/tcp (kube-apiserver): timed out; open"}},
			{"several ports of a pair", closed("timed out", "worker1>cp1 6443/tcp", "worker1>cp1 4789/udp"), []string{
				"refuse worker1: on 4789/udp (VXLAN), 6443/tcp (kube-apiserver): timed out; open",
			}},
			{"several reasons of a pair", both(api, closed("no route to host", "worker1>cp1 4789/udp")), []string{
				"refuse worker1: on 4789/udp (VXLAN): no route to host, and on 6443/tcp (kube-apiserver): timed out; open",
			}},
			{"several pairs", closed("timed out", "worker2>cp1 6443/tcp", "cp1>worker2 10250/tcp", "cp1>worker1 10250/tcp"), []string{
				"refuse cp1: worker1 (10.1.0.11) on 10250/tcp (kubelet)", "refuse cp1: worker2 (10.1.0.12) on 10250/tcp", "refuse worker2: cp1 (10.1.0.10) on 6443/tcp",
			}},
			{"a node IP that is not known", both(api, func(w World) World { w.Hosts[0].NodeIP = netip.Addr{}; return w }), []string{
				"refuse worker1: cannot reach cp1 on 6443/tcp",
			}},
			{"not tried", func(w World) World {
				w.Unprobed = map[string]string{"worker2": "bash is missing", "cp1": "no answer"}
				return w
			}, []string{"warn cp1: could not be tried: no answer", "warn worker2: bash is missing; see that no firewall"}},
			{"not tried, and closed", both(api, func(w World) World { w.Unprobed = map[string]string{"worker1": "cut"}; return w }), []string{
				"refuse worker1: 6443/tcp", "warn worker1: cut",
			}},
		},
	}
}
