package check

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"kubewright/internal/facts"
)

// Certificates are back-dated by minutes, but leases, tokens and logs are not.
const (
	skewRefused = 30 * time.Second
	skewWarned  = 5 * time.Second
)

// checkClock compares every clock with the operator's, and then the hosts with
// each other: two small differences in opposite directions add up.
func checkClock(t *T) {
	const remedy = "set up NTP (chrony or systemd-timesyncd) on all hosts"
	worst := Severity(0)
	var earliest, latest string
	for _, h := range t.Hosts {
		t.On(h.Name)
		skew, ok := t.ClockSkew[h.Name]
		if !t.Requiref(ok, "run again", "the clock was not compared with the operator's") {
			continue
		}
		if earliest == "" || skew < t.ClockSkew[earliest] {
			earliest = h.Name
		}
		if latest == "" || skew > t.ClockSkew[latest] {
			latest = h.Name
		}
		severity := skewSeverity(skew.Abs())
		worst = max(worst, severity)
		if severity == 0 {
			continue
		}
		fix := remedy
		if t.Facts[h.Name].Container {
			fix = "the clock is that of the machine which runs this container: set up NTP there"
		}
		t.add(severity, fix, "the clock is %v %s that of the machine you work on", []any{
			skew.Abs().Round(100 * time.Millisecond), aheadOrBehind(skew)})
	}
	if earliest == "" {
		return
	}
	spread := t.ClockSkew[latest] - t.ClockSkew[earliest]
	if severity := skewSeverity(spread); severity > worst {
		t.On("").add(severity, remedy, "the clock of %s is %v ahead of that of %s", []any{
			latest, spread.Round(100 * time.Millisecond), earliest})
	}
}

func skewSeverity(skew time.Duration) Severity {
	switch {
	case skew > skewRefused:
		return Refuse
	case skew > skewWarned:
		return Warn
	default:
		return 0
	}
}

func aheadOrBehind(skew time.Duration) string {
	if skew < 0 {
		return "behind"
	}
	return "ahead of"
}

// shared groups the hosts by a value and calls found for every host whose value
// others have too, with the names of the others.
func shared(t *T, value func(Host, facts.Facts) string, found func(h Host, value string, others []string)) {
	byValue := map[string][]Host{}
	for _, h := range t.Hosts {
		if v := value(h, t.Facts[h.Name]); v != "" {
			byValue[v] = append(byValue[v], h)
		}
	}
	for _, v := range slices.Sorted(maps.Keys(byValue)) {
		for _, h := range byValue[v] {
			var others []string
			for _, o := range byValue[v] {
				if o.Name != h.Name {
					others = append(others, o.Name)
				}
			}
			if len(others) > 0 {
				t.On(h.Name)
				found(h, v, others)
			}
		}
	}
}

// checkHostnames compares host names as Kubernetes would, in lower case.
func checkHostnames(t *T) {
	shared(t, func(_ Host, f facts.Facts) string { return strings.ToLower(f.Hostname) },
		func(h Host, name string, others []string) {
			t.Requiref(false, "give each its own: hostnamectl set-hostname "+h.Name,
				"the host name %s is also that of %s; one machine may be listed twice, or was cloned", name, strings.Join(others, ", "))
		})
	for _, h := range t.Hosts {
		name := t.Facts[h.Name].Hostname
		if short, _, _ := strings.Cut(strings.ToLower(name), "."); short != h.Name && !strings.EqualFold(name, h.Name) {
			t.On(h.Name).Notef("", "the host calls itself %s; the node will be named %s", name, h.Name)
		}
	}
}

func checkMachineIDs(t *T) {
	shared(t, func(_ Host, f facts.Facts) string { return f.MachineID },
		func(_ Host, id string, others []string) {
			t.Requiref(false, "on a cloned machine: rm /etc/machine-id; systemd-machine-id-setup; reboot",
				"the machine id %s is also that of %s", id, strings.Join(others, ", "))
		})
	for _, h := range t.Hosts {
		t.On(h.Name).Assertf(t.Facts[h.Name].MachineID != "", "run systemd-machine-id-setup", "the host has no machine id")
	}
}

// checkProductUUIDs only warns: some firmware gives all machines the same one.
// Containers all show the one of their machine.
func checkProductUUIDs(t *T) {
	shared(t, func(_ Host, f facts.Facts) string {
		if f.Container {
			return ""
		}
		return f.ProductUUID
	}, func(_ Host, id string, others []string) {
		t.Assertf(false, "if they are clones of one virtual machine, give each a UUID of its own",
			"the product UUID %s is also that of %s", id, strings.Join(others, ", "))
	})
}

// vagrantNAT is the address of every VirtualBox machine on its NAT interface.
// Machines cannot reach each other by it.
func vagrantNAT() netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 2, 15}) }

const vagrantRemedy = "it is the NAT interface that Vagrant and VirtualBox give to every machine: " +
	"add a private network to each machine and set its address as nodeIP"

func checkNodeIPs(t *T) {
	shared(t, func(h Host, _ facts.Facts) string {
		if !h.NodeIP.IsValid() {
			return ""
		}
		return h.NodeIP.Unmap().String()
	}, func(h Host, ip string, others []string) {
		remedy := "give each host its own nodeIP"
		if h.NodeIP.Unmap() == vagrantNAT() {
			remedy = vagrantRemedy
		}
		t.Requiref(false, remedy, "the node IP %s is also that of %s", ip, strings.Join(others, ", "))
	})
	for _, h := range t.Hosts {
		checkNodeIP(t.On(h.Name), h, t.Facts[h.Name])
	}
}

// checkNodeIP looks at the node IP of one host.
func checkNodeIP(t *T, h Host, f facts.Facts) {
	has := addresses(f)
	remedy := "set nodeIP to one of its addresses: " + strings.Join(has, ", ")
	if len(has) == 0 {
		remedy = "give the host an address"
	}
	ip := h.NodeIP.Unmap()
	if !t.Requiref(ip.IsValid(), remedy, "the host has no node IP") {
		return
	}
	if !t.Requiref(ip.IsGlobalUnicast(), remedy, "%s is no address that other hosts can reach", ip) {
		return
	}
	if ip == vagrantNAT() && (len(t.Hosts) > 1 || f.Virt == "oracle") {
		t.Requiref(false, vagrantRemedy, "the node IP is 10.0.2.15, which is not reachable from other machines")
		return
	}
	iface, ok := f.Interface(ip)
	if t.Requiref(ok, remedy, "the node IP %s is on no interface of the host", ip) {
		t.Requiref(!madeByCluster(iface.Name), remedy, "the node IP %s is on %s, an interface of the pod network", ip, iface.Name)
	}
}

// addresses lists what could be a node IP, "address (interface)".
func addresses(f facts.Facts) []string {
	var all []string
	for _, iface := range f.Interfaces {
		for _, p := range iface.Addrs {
			if p.Addr().IsGlobalUnicast() && !madeByCluster(iface.Name) && p.Addr() != vagrantNAT() {
				all = append(all, p.Addr().String()+" ("+iface.Name+")")
			}
		}
	}
	return all
}
