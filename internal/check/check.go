package check

import (
	"cmp"
	"errors"
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
	// Mandatory is why the check cannot be ignored; "" when it can.
	Mandatory string

	run func(*T)
}

// Checks returns all preflight checks in the order in which they are reported.
func Checks() []Check {
	return []Check{
		{Name: "root", Short: "the login user is root or becomes root", run: eachHost(checkRoot)},
		{Name: "os", Short: "the operating system is a known one", run: eachHost(checkOS)},
		{Name: "architecture", Short: "there are binaries for the processor", run: eachHost(checkArchitecture)},
		{Name: "systemd", Short: "systemd runs the host", run: eachHost(checkSystemd)},
		{Name: "kernel", Short: "the kernel is new enough", run: eachHost(checkKernel)},
		{Name: "modules", Short: "the kernel modules are there or can be loaded", run: eachNode(checkModules)},
		{Name: "cgroups", Short: "control groups and their controllers are there", run: eachNode(checkCgroups)},
		{Name: "commands", Short: "the commands we and the kubelet call are there", run: eachHost(checkCommands)},
		{Name: "nfs", Short: "what mounts and serves NFS is there, if it is needed", run: eachHost(checkNFS)},
		{Name: "cpu", Short: "there are enough processors", run: eachHost(checkCPU)},
		{Name: "memory", Short: "there is enough memory", run: eachHost(checkMemory)},
		{Name: "swap", Short: "swap is off or can be switched off", run: eachNode(checkSwap)},
		{Name: "disk", Short: "the file systems have room and can be written", run: eachHost(checkDisk)},
		{Name: "inodes", Short: "the file systems have free inodes", run: eachHost(checkInodes)},
		{Name: "clock", Short: "the clocks agree with each other and with the operator's", run: checkClock},
		{Name: "hostname", Short: "host names differ", run: checkHostnames},
		{Name: "machine-id", Short: "machine ids differ", run: checkMachineIDs},
		{Name: "product-uuid", Short: "product UUIDs differ", run: checkProductUUIDs},
		{Name: "node-ip", Short: "node IPs differ, and each is on an interface of its host", run: checkNodeIPs},
		{Name: "cidrs", Short: "pod and service CIDRs are free", run: eachHost(checkCIDRs)},
		{Name: "resolvers", Short: "pods can reach a name server", run: eachNode(checkResolvers)},
		{Name: "ports", Short: "the ports are free", run: eachHost(checkPorts)},
		{Name: "firewall", Short: "no firewall is in the way", run: eachHost(checkFirewall)},
		{Name: "vip", Short: "the virtual IP is in the network of the control planes", run: eachHost(checkVIP)},
		{Name: Endpoint, Short: "the endpoint leads to this cluster, and nobody has its virtual IP", run: checkEndpoint},
		{Name: Reach, Short: "the nodes reach each other on the ports they need", run: checkReach},
		{Name: "selinux", Short: "SELinux is not in the way", run: eachNode(checkSELinux)},
		{Name: "foreign", Short: "no other cluster or container engine is on the host", run: eachHost(checkForeign)},
		{
			Name: "authority", Short: "the certificate authority on the host is the cluster's", run: eachHost(checkAuthority),
			Mandatory: "nodes of two authorities do not trust each other, and a lost one cannot be had back",
		},
		{Name: "version", Short: "the version of Kubernetes that is wanted may follow the one that runs", run: checkVersion},
		{Name: ExternalEtcd, Short: "every control plane reaches the external etcd, if there is one", run: checkExternalEtcd},
		{
			Name: ExternalEtcdData, Short: "the external etcd, if there is one, has the data of this cluster or none", run: checkExternalEtcdData,
			Mandatory: "two clusters in one place would destroy each other, and a cluster without its data is lost",
		},
		{Name: Artifacts, Short: "what is to be installed can be had", run: checkArtifacts},
	}
}

// Names returns the names of the checks that can be ignored, in the order of [Checks].
func Names() []string {
	var names []string
	for _, c := range Checks() {
		if c.Mandatory == "" {
			names = append(names, c.Name)
		}
	}
	return names
}

// Preflight runs every check, or those of the given names only, and returns all results,
// the worst first, then by host and in the order of [Checks]. The error is about World itself: a name in
// Ignore that [ValidateIgnore] refuses, or a host without facts.
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

// ValidateIgnore returns an error when a name is not that of a check, or of one that cannot be
// ignored.
func ValidateIgnore(names []string) error {
	checks := Checks()
	var unknown []string
	var errs []error
	for _, name := range names {
		i := slices.IndexFunc(checks, func(c Check) bool { return c.Name == name })
		switch {
		case i < 0:
			unknown = append(unknown, fmt.Sprintf("%q", name))
		case checks[i].Mandatory != "":
			errs = append(errs, fmt.Errorf("the preflight check %s cannot be ignored: %s; take it out of the list", name, checks[i].Mandatory))
		}
	}
	if len(unknown) > 0 {
		errs = append(errs, fmt.Errorf("no preflight check is named %s; the checks that can be ignored are %s",
			strings.Join(unknown, ", "), strings.Join(Names(), ", ")))
	}
	return errors.Join(errs...)
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

// eachNode is eachHost for what matters only where a kubelet and containers run.
func eachNode(look func(*T, Host, facts.Facts)) func(*T) {
	return eachHost(func(t *T, h Host, f facts.Facts) {
		if !h.etcdOnly() {
			look(t, h, f)
		}
	})
}
