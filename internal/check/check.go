package check

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"kubewright/internal/facts"
)

// Check is one named question about the hosts.
type Check struct {
	// Name is what a user writes to ignore the check.
	Name string
	// Short says in a few words what it looks at.
	Short string

	run func(*T)
}

// Checks returns all preflight checks in the order in which they are reported.
func Checks() []Check {
	return []Check{
		{"root", "the login user is root or becomes root", eachHost(checkRoot)},
		{"os", "the operating system is a known one", eachHost(checkOS)},
		{"architecture", "there are binaries for the processor", eachHost(checkArchitecture)},
		{"systemd", "systemd runs the host", eachHost(checkSystemd)},
		{"kernel", "the kernel is new enough", eachHost(checkKernel)},
		{"modules", "the kernel modules are there or can be loaded", eachHost(checkModules)},
		{"cgroups", "control groups and their controllers are there", eachHost(checkCgroups)},
		{"commands", "the commands we and the kubelet call are there", eachHost(checkCommands)},
		{"cpu", "there are enough processors", eachHost(checkCPU)},
		{"memory", "there is enough memory", eachHost(checkMemory)},
		{"swap", "swap is off or can be switched off", eachHost(checkSwap)},
		{"disk", "the file systems have room and can be written", eachHost(checkDisk)},
		{"inodes", "the file systems have free inodes", eachHost(checkInodes)},
		{"clock", "the clocks agree with each other and with the operator's", checkClock},
		{"hostname", "host names differ", checkHostnames},
		{"machine-id", "machine ids differ", checkMachineIDs},
		{"product-uuid", "product UUIDs differ", checkProductUUIDs},
		{"node-ip", "node IPs differ, and each is on an interface of its host", checkNodeIPs},
		{"cidrs", "pod and service CIDRs are free", eachHost(checkCIDRs)},
		{"resolvers", "pods can reach a name server", eachHost(checkResolvers)},
		{"ports", "the ports are free", eachHost(checkPorts)},
		{"firewall", "no firewall is in the way", eachHost(checkFirewall)},
		{"selinux", "SELinux is not in the way", eachHost(checkSELinux)},
		{"foreign", "no other cluster or container engine is on the host", eachHost(checkForeign)},
		{Artifacts, "what is to be installed can be had", checkArtifacts},
	}
}

// Names returns the names of all checks, in the order of [Checks].
func Names() []string {
	var names []string
	for _, c := range Checks() {
		names = append(names, c.Name)
	}
	return names
}

// Preflight runs every check, or those of the given names only, and returns all results,
// the worst first, then by host and in the order of [Checks]. The error is about World itself: a name in
// Ignore that is no check, or a host without facts.
func Preflight(w World, only ...string) ([]Result, error) {
	if err := ValidateIgnore(w.Ignore); err != nil {
		return nil, err
	}
	for _, h := range w.Hosts {
		if _, ok := w.Facts[h.Name]; !ok {
			return nil, fmt.Errorf("preflight: nothing is known of host %s", h.Name)
		}
	}
	t := &T{World: w}
	for _, c := range Checks() {
		if len(only) == 0 || slices.Contains(only, c.Name) {
			t.check, t.host = c.Name, ""
			c.run(t)
		}
	}
	slices.SortStableFunc(t.results, func(a, b Result) int {
		return cmp.Or(cmp.Compare(b.Severity, a.Severity), strings.Compare(a.Host, b.Host))
	})
	return t.results, nil
}

// ValidateIgnore returns an error when a name is not that of a check.
func ValidateIgnore(names []string) error {
	known := Names()
	var unknown []string
	for _, name := range names {
		if !slices.Contains(known, name) {
			unknown = append(unknown, fmt.Sprintf("%q", name))
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	return fmt.Errorf("no preflight check is named %s; the checks are %s",
		strings.Join(unknown, ", "), strings.Join(known, ", "))
}

// T is what a check reports to.
type T struct {
	World

	check, host string
	results     []Result
}

// Notef says something that the user may want to know.
func (t *T) Notef(remedy, format string, args ...any) { t.add(Info, remedy, format, args) }

// Assertf warns unless the condition holds. It returns the condition.
func (t *T) Assertf(ok bool, remedy, format string, args ...any) bool {
	if !ok {
		t.add(Warn, remedy, format, args)
	}
	return ok
}

// Requiref refuses unless the condition holds. It returns the condition.
func (t *T) Requiref(ok bool, remedy, format string, args ...any) bool {
	if !ok {
		t.add(Refuse, remedy, format, args)
	}
	return ok
}

func (t *T) add(severity Severity, remedy, format string, args []any) {
	t.results = append(t.results, Result{
		Check: t.check, Host: t.host, Severity: severity,
		Message: fmt.Sprintf(format, args...), Remedy: remedy,
		Ignored: slices.Contains(t.Ignore, t.check),
	})
}

// On directs what follows at a host; "" is the cluster as a whole.
func (t *T) On(host string) *T {
	t.host = host
	return t
}

// eachHost makes a check of a function that looks at one host at a time.
func eachHost(look func(*T, Host, facts.Facts)) func(*T) {
	return func(t *T) {
		for _, h := range t.Hosts {
			look(t.On(h.Name), h, t.Facts[h.Name])
		}
	}
}
