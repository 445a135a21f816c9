package check

import (
	"cmp"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"kubewright/internal/facts"
)

// goodFacts are those of a fresh Debian machine.
func goodFacts(name, ip string) facts.Facts {
	f := facts.Facts{
		Hostname: name, MachineID: "id of " + name, ProductUUID: "uuid of " + name,
		OSID: "debian", OSVersion: "12", OSName: "Debian GNU/Linux 12 (bookworm)",
		Arch: "amd64", Kernel: "6.1.0-18-amd64", Virt: "kvm",
		CgroupVersion: 2, CgroupControllers: []string{"cpu", "cpuset", "io", "memory", "pids"},
		CapSysResource: true, CapSysAdmin: true, CPUs: 4, MemoryBytes: 8 << 30, SystemdVersion: 252,
		Interfaces: []facts.Interface{
			{Name: "eth0", MTU: 1500, Addrs: prefixes(ip+"/24", "fe80::1/64")},
			{Name: "lo", MTU: 65536, Addrs: prefixes("127.0.0.1/8", "::1/128")},
		},
		Routes:      []facts.Route{{Dst: netip.MustParsePrefix("10.1.0.0/24"), Dev: "eth0"}},
		Listening:   []facts.Listener{{Proto: "tcp", Addr: netip.IPv4Unspecified(), Port: 22}},
		Nameservers: []string{"10.1.0.1"}, ResolvConf: "/etc/resolv.conf",
		Commands: map[string]bool{"iptables": true},
		Modules:  map[string]bool{"overlay": true, "nf_conntrack": true},
		Loadable: map[string]bool{"br_netfilter": true, "vxlan": true, "ip_vs": true, "nf_tables": true},
		SELinux:  "disabled", Unknown: map[string]string{},
	}
	for _, c := range slices.Concat(requiredCommands(), ownKernelCommands(), usefulCommands()) {
		f.Commands[c.name] = true
	}
	for _, r := range rooms() {
		f.Mounts = append(f.Mounts, facts.Mount{
			Path: r.path, MountPoint: "/", FSType: "ext4",
			SizeBytes: 100 << 30, FreeBytes: 80 << 30, Inodes: 6_000_000, InodesFree: 5_000_000,
		})
	}
	return f
}

func prefixes(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// goodWorld is a world in which there is nothing to say.
func goodWorld() World {
	return World{
		ClusterName: "lab", Version: "1.37.2", CAFingerprint: "sha256:ours",
		PodCIDR: netip.MustParsePrefix("10.244.0.0/16"), ServiceCIDR: netip.MustParsePrefix("10.96.0.0/16"),
		ProxyMode: "iptables", VXLANPort: 4789,
		Hosts: []Host{
			{Name: "cp1", NodeIP: netip.MustParseAddr("10.1.0.10"), ControlPlane: true, Etcd: true},
			{Name: "worker1", NodeIP: netip.MustParseAddr("10.1.0.11"), Worker: true},
			{Name: "worker2", NodeIP: netip.MustParseAddr("10.1.0.12"), Worker: true},
		},
		Facts: map[string]facts.Facts{
			"cp1":     goodFacts("cp1", "10.1.0.10"),
			"worker1": goodFacts("worker1", "10.1.0.11"),
			"worker2": goodFacts("worker2", "10.1.0.12"),
		},
		ClockSkew: map[string]time.Duration{"cp1": time.Second, "worker1": -time.Second, "worker2": 0},
		Traces:    map[string]Traces{},
	}
}

// on changes the facts of one host of a world.
func (w World) on(host string, change func(*facts.Facts)) World {
	f := w.Facts[host]
	change(&f)
	w.Facts[host] = f
	return w
}

// traced gives hosts of a world a manifest of ours.
func (w World) traced(hosts ...string) World {
	for _, host := range hosts {
		w.Traces[host] = Traces{Applied: 1}
	}
	return w
}

// mount changes the file systems below a path into one of their own.
func mount(f *facts.Facts, path string, change func(*facts.Mount)) {
	f.Mounts = slices.Clone(f.Mounts)
	for i := range f.Mounts {
		if m := &f.Mounts[i]; m.Path == path || strings.HasPrefix(m.Path, path+"/") {
			m.MountPoint = path
			change(m)
		}
	}
}

func must(t *testing.T, w World) []Result {
	t.Helper()
	results, err := Preflight(w)
	if err != nil {
		t.Fatal(err)
	}
	return results
}

func TestGoodWorld(t *testing.T) {
	if results := must(t, goodWorld()); len(results) > 0 {
		t.Errorf("a good world is found fault with:\n%s", Text(results))
	}
	if worst := Worst(nil); worst != 0 || worst.String() != "ok" {
		t.Errorf("nothing is %v", worst)
	}
}

// tables holds, for every check, worlds in which it has something to say.
func tables() map[string][]faulty {
	return mergeTables(machineTable(), diskTable(), identityTable(), networkTable(), foreignTable(), authorityTable(), reachTable(), endpointTable(), artifactsTable(), externalEtcdTable(), nfsTable(), versionTable())
}

func mergeTables(tables ...map[string][]faulty) map[string][]faulty {
	all := map[string][]faulty{}
	for _, table := range tables {
		for name, rows := range table {
			all[name] = append(all[name], rows...)
		}
	}
	return all
}

// faulty is a good world with one fault, and the results that it must give, one a
// line, "severity host: part of the message and remedy". No want: no result.
type faulty struct {
	name   string
	change func(World) World
	want   []string
}

func TestChecks(t *testing.T) {
	table := tables()
	for _, c := range Checks() {
		name, refusedOrWarned := c.Name, false
		for _, tt := range table[name] {
			refusedOrWarned = refusedOrWarned || len(tt.want) > 0
			t.Run(name+"/"+tt.name, func(t *testing.T) {
				w := tt.change(goodWorld())
				got := of(name, must(t, w))
				if len(got) != len(tt.want) {
					t.Fatalf("want %d results, got:\n%s", len(tt.want), Text(got))
				}
				for i, want := range tt.want {
					head, text, _ := strings.Cut(want, ": ")
					severity, host, _ := strings.Cut(head, " ")
					r := got[i]
					if r.Severity.String() != severity || r.Host != host || !strings.Contains(r.String(), text) {
						t.Errorf("want %q, got %q", want, r)
					}
					if r.Severity > Info && r.Remedy == "" {
						t.Errorf("%q has no remedy", r)
					}
				}
				ignoredByName(t, w, c)
			})
		}
		if !refusedOrWarned {
			t.Errorf("check %s never finds anything", name)
		}
		delete(table, name)
	}
	for name := range table {
		t.Errorf("there is no check %s", name)
	}
}

// of returns the results of one check.
func of(name string, results []Result) []Result {
	var some []Result
	for _, r := range results {
		if r.Check == name {
			some = append(some, r)
		}
	}
	return some
}

// ignoredByName: ignoring a check takes the weight from its results and from no
// others, and is refused where it cannot be ignored.
func ignoredByName(t *testing.T, w World, c Check) {
	t.Helper()
	w.Ignore = []string{c.Name}
	if c.Mandatory != "" {
		if results, err := Preflight(w); err == nil || results != nil {
			t.Errorf("%s is ignored: %v", c.Name, results)
		}
		return
	}
	for _, r := range must(t, w) {
		if r.Ignored != (r.Check == c.Name) {
			t.Errorf("with %s ignored: %q", c.Name, r)
		}
	}
	if worst := Worst(of(c.Name, must(t, w))); worst != 0 {
		t.Errorf("ignored results still count as %v", worst)
	}
}

func TestValidateIgnore(t *testing.T) {
	for _, tt := range []struct {
		name, ignore string
		want, not    []string
	}{
		{name: "none"},
		{name: "all that can be ignored", ignore: strings.Join(Names(), " ")},
		{
			name: "no checks", ignore: "ports port all Memory",
			want: []string{`no preflight check is named "port", "all", "Memory"`, "the checks that can be ignored are root, os,", "foreign"}, not: []string{"authority"},
		},
		{
			name: "one that cannot be ignored", ignore: "ports authority",
			want: []string{"the preflight check authority cannot be ignored: nodes of two authorities"}, not: []string{"no preflight check"},
		},
		{name: "both", ignore: "port authority", want: []string{"check authority cannot be ignored", `is named "port"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := goodWorld()
			w.Ignore = strings.Fields(tt.ignore)
			_, err := Preflight(w)
			if (err != nil) != (len(tt.want) > 0) {
				t.Fatalf("error: %v", err)
			}
			for _, part := range tt.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
			for _, part := range tt.not {
				if strings.Contains(err.Error(), part) {
					t.Errorf("%q says %q", err, part)
				}
			}
		})
	}
}

func TestMissingFacts(t *testing.T) {
	w := goodWorld()
	delete(w.Facts, "worker2")
	if results, err := Preflight(w); err == nil || !strings.Contains(err.Error(), "worker2") {
		t.Errorf("%v, %v", results, err)
	}
}

// TestOrder: the worst first, then by host, then in the order of the checks, and
// the same whatever the order of the hosts.
func TestOrder(t *testing.T) {
	broken := func() World {
		w := goodWorld()
		for _, h := range w.Hosts {
			w = w.on(h.Name, func(f *facts.Facts) {
				f.UID, f.Firewall, f.Swaps, f.MachineID, f.CgroupVersion = 1000, "ufw", []string{"/dev/sdb"}, "same", 1
			})
		}
		return w
	}
	var want []string
	for _, severity := range []string{
		"refuse:root machine-id", "warn:cgroups firewall", "info:swap",
	} {
		level, checks, _ := strings.Cut(severity, ":")
		for _, host := range []string{"cp1", "worker1", "worker2"} {
			for check := range strings.FieldsSeq(checks) {
				want = append(want, level+" "+host+" "+check)
			}
		}
	}
	for range 10 {
		w := broken()
		rand.Shuffle(len(w.Hosts), func(i, j int) { w.Hosts[i], w.Hosts[j] = w.Hosts[j], w.Hosts[i] })
		var got []string
		results := must(t, w)
		for _, r := range results {
			got = append(got, r.Severity.String()+" "+r.Host+" "+r.Check)
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Fatalf("-want +got\n%s", diff)
		}
		if Worst(results) != Refuse {
			t.Errorf("the worst is %v", Worst(results))
		}
	}
}

func TestText(t *testing.T) {
	results := []Result{
		{Check: "ports", Host: "worker1", Severity: Refuse, Message: "6443/tcp is taken by haproxy", Remedy: "stop it"},
		{Check: "disk", Host: "cp1", Severity: Warn, Message: "nearly full"},
		{Check: "clock", Severity: Warn, Message: "apart", Ignored: true},
		{Check: "disk", Host: "worker1", Severity: Warn, Message: "full"},
		{Check: "disk", Host: "worker2", Severity: Warn, Message: "nearly full"},
	}
	want := "refuse          worker1: ports: 6443/tcp is taken by haproxy; stop it\n" +
		"warn            cp1, worker2: disk: nearly full\n" +
		"warn (ignored)  clock: apart\n" +
		"warn            worker1: disk: full\n"
	if got := Text(results); got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
	if got, want := results[0].String(), "refuse worker1: ports: 6443/tcp is taken by haproxy; stop it"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if Text(nil) != "" {
		t.Errorf("no results are %q", Text(nil))
	}
}

func TestVerdicts(t *testing.T) {
	results := []Result{
		{Check: "ports", Host: "worker1", Severity: Refuse, Message: "taken"},
		{Check: "disk", Host: "cp1", Severity: Refuse, Ignored: true, Message: "full"},
		{Check: "disk", Host: "cp1", Severity: Warn, Message: "nearly full"},
		{Check: "swap", Host: "cp1", Severity: Refuse, Ignored: true, Message: "on"},
		{Check: "hostname", Host: "cp1", Severity: Info, Message: "another"},
	}
	want := map[string]string{"ports": "refuse", "disk": "warn", "swap": "ignored", "hostname": "info"}
	var names []string
	found := 0
	for _, v := range Verdicts(results) {
		names = append(names, v.Check.Name)
		found += len(v.Results)
		if word := cmp.Or(want[v.Check.Name], "ok"); v.String() != word {
			t.Errorf("%s: %s, want %s", v.Check.Name, v, word)
		}
	}
	var checks []string
	for _, c := range Checks() {
		checks = append(checks, c.Name)
	}
	if diff := gocmp.Diff(checks, names); diff != "" {
		t.Errorf("not every check once and in order (-want +got):\n%s", diff)
	}
	if found != len(results) {
		t.Errorf("%d of %d results are in verdicts", found, len(results))
	}
}
