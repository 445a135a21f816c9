package check

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"kubewright/internal/facts"
)

// What a node needs at least. The processors and the memory of a control plane
// are kubeadm's numbers.
const (
	mebibyte = 1 << 20

	controlPlaneCPUs   = 2
	controlPlaneMemory = 1700 * mebibyte
	workerMemory       = 700 * mebibyte
)

func checkRoot(t *T, h Host, f facts.Facts) {
	if !t.Requiref(f.UID == 0, "log in as root, or let the user become root with sudo",
		"the commands run as user id %d and not as root", f.UID) {
		return
	}
	t.Requiref(f.CapSysAdmin || h.etcdOnly(), "start the container privileged, or use a virtual machine",
		"root lacks the capability CAP_SYS_ADMIN here, so nothing can be mounted")
}

// checkOS warns only: what is needed of a system is checked piece by piece.
func checkOS(t *T, _ Host, f facts.Facts) {
	known := []string{
		"debian", "ubuntu", "rhel", "centos", "fedora", "rocky", "almalinux", "ol", "amzn",
		"sles", "opensuse-leap", "opensuse", "suse", "flatcar", "arch",
	}
	const remedy = "it may work: the other checks look at what is needed"
	if reason, unknown := f.Unknown["os"]; unknown {
		t.Assertf(false, remedy, "the operating system does not say what it is (%s)", reason)
		return
	}
	ids := append([]string{f.OSID}, f.OSLike...)
	t.Assertf(slices.ContainsFunc(ids, func(id string) bool { return slices.Contains(known, id) }),
		remedy, "%s is not a system that this tool knows", osName(f))
}

func osName(f facts.Facts) string {
	if f.OSName != "" {
		return f.OSName
	}
	return strings.TrimSpace("operating system " + f.OSID + " " + f.OSVersion)
}

func checkArchitecture(t *T, _ Host, f facts.Facts) {
	t.Requiref(f.Arch == "amd64" || f.Arch == "arm64", "use a machine with an amd64 or arm64 processor",
		"there are no binaries for %s", f.Arch)
}

func checkSystemd(t *T, h Host, f facts.Facts) {
	if reason, unknown := f.Unknown["systemd"]; unknown {
		t.Requiref(false, "see whether systemctl --version works there", "the version of systemd is unknown (%s)", reason)
		return
	}
	const cpusetSince = 244 // systemd delegates the cpuset controller on cgroup v2
	if t.Requiref(f.SystemdVersion > 0, "use a host that boots with systemd", "systemd is not the init of this host") {
		t.Assertf(h.etcdOnly() || f.CgroupVersion != 2 || f.SystemdVersion >= cpusetSince, "upgrade the operating system",
			"systemd %d does not delegate the cpuset controller of cgroup v2; %d does", f.SystemdVersion, cpusetSince)
	}
}

// version is a kernel's major and minor number.
type version struct{ major, minor int }

func (v version) less(other version) bool {
	return v.major < other.major || v.major == other.major && v.minor < other.minor
}

func (v version) String() string { return fmt.Sprintf("%d.%d", v.major, v.minor) }

// parseKernel reads the first two numbers of a release such as "6.1.0+" or
// "5.14.0-427.el9.x86_64"; distributions append what they like.
func parseKernel(release string) (version, bool) {
	major, rest, found := strings.Cut(release, ".")
	end := strings.IndexFunc(rest, func(c rune) bool { return c < '0' || c > '9' })
	if end >= 0 {
		rest = rest[:end]
	}
	a, errA := strconv.Atoi(major)
	b, errB := strconv.Atoi(rest)
	return version{a, b}, found && errA == nil && errB == nil && a >= 0
}

func checkKernel(t *T, h Host, f facts.Facts) {
	kernel, ok := parseKernel(f.Kernel)
	if !t.Assertf(ok, "see that it is 4.19 or newer", "the kernel release %q has no version that can be read", f.Kernel) {
		return
	}
	oldest := version{4, 19}
	t.Assertf(!kernel.less(oldest), "upgrade the operating system",
		"kernel %s is older than %s, the oldest that Kubernetes is tested with", f.Kernel, oldest)
	if t.ProxyMode == "nftables" && !h.etcdOnly() {
		need := version{5, 13} // kube-proxy refuses older ones itself
		t.Requiref(!kernel.less(need), "set network.proxyMode to iptables, or upgrade the kernel",
			"kernel %s is older than %s, which kube-proxy needs for nftables", f.Kernel, need)
	}
}

// checkModules refuses what nodes cannot do without. In a container the kernel
// is the machine's: what does not work there cannot be loaded from inside.
func checkModules(t *T, _ Host, f facts.Facts) {
	remedy := func(module string) string {
		if f.Container {
			return "load it on the machine that runs this container: modprobe " + module
		}
		return "install the modules of kernel " + f.Kernel + " (on Ubuntu linux-modules-extra), or boot the kernel whose modules are installed"
	}
	there := func(module string) bool {
		return f.Modules[module] || f.Loadable[module] && !f.Container
	}
	required := []struct{ module, why string }{
		{"overlay", "images are unpacked on it"},
		{"br_netfilter", "traffic between pods of a node passes the service rules through it"},
		{"nf_conntrack", "services and network policies track connections with it"},
	}
	if t.ProxyMode == "ipvs" {
		required = append(required, struct{ module, why string }{"ip_vs", "proxyMode ipvs is made of it"})
	}
	for _, m := range required {
		t.Requiref(there(m.module), remedy(m.module),
			"kernel module %s is neither loaded nor built in nor on disk; %s", m.module, m.why)
	}
	// Built-in ones without parameters leave no trace: no proof of absence.
	optional := []string{}
	if t.VXLANPort != 0 {
		optional = append(optional, "vxlan")
	}
	if t.ProxyMode == "nftables" {
		optional = append(optional, "nf_tables")
	}
	_, noModules := f.Unknown["loadable"]
	for _, m := range optional {
		t.Assertf(noModules || there(m), remedy(m), "kernel module %s was not found", m)
	}
}

func checkCgroups(t *T, _ Host, f facts.Facts) {
	if reason, unknown := f.Unknown["cgroup"]; unknown {
		t.Requiref(false, "mount the control groups, as systemd does when it boots", "there are no control groups (%s)", reason)
		return
	}
	remedy := "move the host to cgroup v2 (systemd.unified_cgroup_hierarchy=1 on the kernel command line)"
	if f.Container {
		remedy = "move the machine that runs this container to cgroup v2"
	}
	t.Assertf(f.CgroupVersion >= 2, remedy,
		"the host uses cgroup v1, which the kubelet refuses from Kubernetes 1.35 on; it is told to accept it (failCgroupV1: false)")
	var missing []string
	for _, controller := range []string{"cpu", "cpuset", "memory", "pids"} {
		if !slices.Contains(f.CgroupControllers, controller) {
			missing = append(missing, controller)
		}
	}
	t.Requiref(len(missing) == 0,
		"switch them on; a Raspberry Pi needs cgroup_enable=memory cgroup_memory=1 in cmdline.txt",
		"control group controllers are missing: %s", strings.Join(missing, ", "))
}

func checkCPU(t *T, h Host, f facts.Facts) {
	if h.ControlPlane {
		t.Requiref(f.CPUs >= controlPlaneCPUs, "give the machine more processors",
			"a control plane needs %d processors, and %d is there", controlPlaneCPUs, f.CPUs)
		return
	}
	t.Requiref(f.CPUs >= 1, "give the machine a processor", "no processor was found")
}

func checkMemory(t *T, h Host, f facts.Facts) {
	const remedy = "give the machine more memory"
	if h.ControlPlane {
		t.Requiref(f.MemoryBytes >= controlPlaneMemory, remedy,
			"a control plane needs %s of memory, and %s is there", size(controlPlaneMemory), size(f.MemoryBytes))
		return
	}
	t.Assertf(h.etcdOnly() || f.MemoryBytes >= workerMemory, remedy,
		"%s of memory leaves no room for pods; %s are the least", size(f.MemoryBytes), size(workerMemory))
}

func checkSwap(t *T, _ Host, f facts.Facts) {
	if len(f.Swaps) == 0 {
		return
	}
	devices := strings.Join(f.Swaps, ", ")
	if f.Container {
		t.Assertf(false, "switch it off on the machine if memory limits of pods matter",
			"the machine that runs this container swaps to %s, which cannot be changed from inside; the kubelet is told to accept it", devices)
		return
	}
	t.Notef("", "swap on %s will be switched off, now and for later boots", devices)
}

// size prints bytes in MiB or GiB.
func size(bytes int64) string {
	const gibibyte = 1 << 30
	if bytes >= 10*gibibyte {
		return fmt.Sprintf("%d GiB", bytes/gibibyte)
	}
	return fmt.Sprintf("%d MiB", bytes/mebibyte)
}
