package check

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"kubewright/internal/facts"
)

// withEtcd is a good world whose member of etcd has a host for itself.
func withEtcd() World {
	w := goodWorld()
	w.Hosts[0].Etcd = false
	w.Hosts = append(w.Hosts, Host{Name: "etcd1", NodeIP: netip.MustParseAddr("10.1.0.13"), Etcd: true})
	w.Facts["etcd1"] = goodFacts("etcd1", "10.1.0.13")
	w.ClockSkew["etcd1"] = time.Second
	return w
}

// unfit makes a machine one on which no kubelet would work.
func unfit(f *facts.Facts) {
	f.Modules, f.Loadable, f.CgroupVersion, f.CgroupControllers = nil, nil, 1, nil
	f.CPUs, f.MemoryBytes, f.CapSysAdmin, f.Swaps = 1, 500<<20, false, []string{"/dev/vda2"}
	f.Commands = maps.Clone(f.Commands)
	for _, c := range slices.Concat(ownKernelCommands(), usefulCommands(), []command{{name: "iptables"}}) {
		delete(f.Commands, c.name)
	}
	f.Nameservers, f.SELinux, f.Foreign.DockerRunning = []string{"127.0.0.1"}, "enforcing", true
	f.Routes = append(f.Routes, facts.Route{Dst: netip.MustParsePrefix("10.244.1.0/24"), Dev: "eth0"})
	f.Listening = append(f.Listening, facts.Listener{Proto: "tcp", Addr: netip.IPv4Unspecified(), Port: 10250})
	for _, path := range []string{"/opt", "/var/lib/containerd", "/var/lib/kubelet", "/var/log"} {
		mount(f, path, func(m *facts.Mount) { m.FreeBytes, m.FSType = 0, "overlay" })
	}
}

// A host with etcd alone is asked for nothing that only a kubelet and containers need.
func TestHostsOfEtcdNeedLittle(t *testing.T) {
	if results := must(t, withEtcd().on("etcd1", unfit)); len(results) > 0 {
		t.Errorf("a host of etcd is asked for more than etcd needs:\n%s", Text(results))
	}
	found := map[string]bool{}
	for _, r := range must(t, withEtcd().on("worker1", unfit)) {
		found[r.Check] = true
	}
	want := []string{"cgroups", "cidrs", "commands", "disk", "foreign", "memory", "modules", "ports", "resolvers", "root", "selinux", "swap"}
	if diff := gocmp.Diff(want, slices.Sorted(maps.Keys(found))); diff != "" {
		t.Errorf("checks that find something on a worker like that (-want +got):\n%s", diff)
	}
}

// What etcd needs is asked of its host as of any other.
func TestHostsOfEtcdAreChecked(t *testing.T) {
	for name, change := range map[string]func(*facts.Facts){
		"ports":        func(f *facts.Facts) { f.Listening = []facts.Listener{{Proto: "tcp", Port: 2380}} },
		"disk":         func(f *facts.Facts) { mount(f, "/var/lib/etcd", func(m *facts.Mount) { m.FreeBytes = 1 << 20 }) },
		"commands":     func(f *facts.Facts) { f.Commands = map[string]bool{} },
		"foreign":      func(f *facts.Facts) { f.Foreign.EtcdData = true },
		"architecture": func(f *facts.Facts) { f.Arch = "s390x" },
		"cidrs":        func(*facts.Facts) {},
	} {
		w := withEtcd().on("etcd1", change)
		if name == "cidrs" {
			w.ServiceCIDR = netip.MustParsePrefix("10.1.0.13/32")
		}
		got := of(name, must(t, w))
		if !slices.ContainsFunc(got, func(r Result) bool { return r.Host == "etcd1" && r.Severity == Refuse }) {
			t.Errorf("%s finds nothing: %s", name, Text(got))
		}
	}
}

// Only control planes and other members connect to a member, and it connects to members only.
func TestLinksOfHostsOfEtcd(t *testing.T) {
	w := withEtcd()
	w.Hosts = append(w.Hosts, Host{Name: "etcd2", NodeIP: netip.MustParseAddr("10.1.0.14"), Etcd: true})
	var got []string
	for _, l := range Links(w) {
		if l.From == "etcd1" || l.To == "etcd1" {
			got = append(got, fmt.Sprintf("%s -> %s %d/%s", l.From, l.To, l.Port, l.Proto))
		}
	}
	want := []string{"cp1 -> etcd1 2379/tcp", "etcd1 -> etcd2 2380/tcp", "etcd2 -> etcd1 2380/tcp"}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFirewallOfAHostOfEtcd(t *testing.T) {
	w := withEtcd().on("etcd1", func(f *facts.Facts) { f.Firewall = "firewalld" })
	got := of("firewall", must(t, w))
	if len(got) != 1 || got[0].Remedy != "open them to the control planes and the other members of etcd" ||
		got[0].Message != "firewalld is active and is left as it is; these ports must be open: 2379/tcp (etcd clients), 2380/tcp (etcd peers)" {
		t.Errorf("%+v", got)
	}
}
