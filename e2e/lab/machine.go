package lab

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"kubewright/internal/fault"
)

// Machine is what a lab has to know about the machine it is made on.
type Machine struct {
	OS, Arch string
	Root     bool
	// SysResource says that the process has CAP_SYS_RESOURCE, and can thus raise limits.
	SysResource bool
	// MaxFiles and MaxProcesses are the hard limits of this process.
	MaxFiles, MaxProcesses uint64
	// Modules says that there is a /lib/modules to share with the nodes.
	Modules bool
	// Resolvers are the name servers that containers can use as well.
	Resolvers []netip.Addr
	// Networks are the networks of the machine's interfaces.
	Networks []netip.Prefix
}

// capSysResource is the number of CAP_SYS_RESOURCE, by capabilities(7).
const capSysResource = 24

// rlimitNproc is RLIMIT_NPROC, which package syscall does not name.
const rlimitNproc = 6

// ProbeMachine looks at the machine this process runs on, and changes nothing.
func ProbeMachine() (Machine, error) {
	m := Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, Root: os.Geteuid() == 0}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return m, fmt.Errorf("reading this process's capabilities: %w", err)
	}
	m.SysResource = hasCapability(status, capSysResource)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return m, fmt.Errorf("reading the limit of open files: %w", err)
	}
	m.MaxFiles = limit.Max
	if err := syscall.Getrlimit(rlimitNproc, &limit); err != nil {
		return m, fmt.Errorf("reading the limit of processes: %w", err)
	}
	m.MaxProcesses = limit.Max
	_, err = os.Stat("/lib/modules")
	m.Modules = err == nil
	// systemd-resolved leaves a loopback address in /etc/resolv.conf, and the servers behind it
	// in a file of its own.
	for _, path := range []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"} {
		data, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return m, fmt.Errorf("reading the machine's name servers: %w", err)
		}
		if m.Resolvers = resolvers(data); len(m.Resolvers) > 0 {
			break
		}
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return m, fmt.Errorf("reading the machine's addresses: %w", err)
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			m.Networks = append(m.Networks, p.Masked())
		}
	}
	return m, nil
}

// hasCapability reads an effective capability out of /proc/PID/status.
func hasCapability(status []byte, number uint) bool {
	lines := bufio.NewScanner(bytes.NewReader(status))
	for lines.Scan() {
		if hex, ok := strings.CutPrefix(lines.Text(), "CapEff:"); ok {
			set, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
			return err == nil && set&(1<<number) != 0
		}
	}
	return false
}

// limits are what containers get: as much as a node of a cluster wants, or as can be had.
func (m Machine) limits() limits {
	const (
		wantFiles     = 1 << 20
		wantProcesses = 1 << 20
		// podman lowers its own limit of processes to this before it starts a container, and
		// without CAP_SYS_RESOURCE there is no way back.
		podmanProcesses = 1 << 15
	)
	if m.SysResource {
		return limits{files: wantFiles, processes: wantProcesses}
	}
	return limits{files: min(m.MaxFiles, wantFiles), processes: min(m.MaxProcesses, podmanProcesses)}
}

// overlapping returns the machine's networks that a lab's subnet would take addresses of.
func (m Machine) overlapping(subnet netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for _, n := range m.Networks {
		if n.Overlaps(subnet) {
			out = append(out, n)
		}
	}
	return out
}

// need is something a lab cannot be made without.
type need struct {
	missing string // what is missing and what it is for
	apt     string // the Debian package that mends it, if one does
}

// missingNeeds joins needs into one error, with one command line that installs all packages.
// Nothing missing is nil.
func missingNeeds(needs []need) error {
	if len(needs) == 0 {
		return nil
	}
	var text strings.Builder
	var packages []string
	text.WriteString("a lab cannot be made on this machine:")
	for _, n := range needs {
		text.WriteString("\n  - " + n.missing)
		if n.apt != "" {
			packages = append(packages, n.apt)
		}
	}
	if len(packages) > 0 {
		text.WriteString("\nOn Debian and Ubuntu: apt-get install -y " + strings.Join(packages, " "))
	}
	return fault.New(fault.Preflight, "%s", text.String())
}

// chooseEngine returns the engine to use, and what is missing for it. Where none is asked for
// that is podman, or, without podman, a Docker that answers.
func chooseEngine(ctx context.Context, run Runner, want Engine) (Engine, []need) {
	has := func(e Engine) bool { _, err := run.LookPath(string(e)); return err == nil }
	answers := func(e Engine) error { _, err := run.Run(ctx, e.answers(), nil); return err }
	if want == "" && !has(Podman) && has(Docker) && answers(Docker) == nil {
		return Docker, nil
	}
	if want == "" {
		want = Podman
	}
	if !has(want) {
		apt := map[Engine]string{Podman: "podman", Docker: "docker.io"}
		return want, []need{{missing: "the program " + string(want) + ", which runs the nodes", apt: apt[want]}}
	}
	if err := answers(want); err != nil {
		return want, []need{{missing: fmt.Sprintf("a %s that works: %v", want, err)}}
	}
	return want, nil
}

// needs returns all that this machine lacks for a lab. imageReady says that no node image has to
// be built.
func (l *Lab) needs(ctx context.Context, imageReady bool) []need {
	var needs []need
	missing := func(apt, format string, args ...any) {
		needs = append(needs, need{missing: fmt.Sprintf(format, args...), apt: apt})
	}
	if l.machine.OS != "linux" {
		missing("", "Linux: nodes share the kernel of the machine, and this is %s", l.machine.OS)
	}
	if !l.machine.Root {
		missing("", "root: the nodes are privileged containers on a bridge of the machine; run it with sudo")
	}
	programs := []string{"iptables"} // each in the package of its name
	if l.engine == Podman {
		programs = append(programs, "runc")
	}
	if !imageReady {
		programs = append(programs, "mmdebstrap")
	}
	for _, p := range programs {
		if _, err := l.run.LookPath(p); err != nil {
			missing(p, "the program %s", p)
		}
	}
	for _, f := range l.features {
		if !f.present(ctx, l.run) {
			missing("", "the kernel feature %s, for %s", f.name, f.use)
		}
	}
	return needs
}

// kernelFeature is something the kernel must be able to do for the nodes, which cannot load
// modules by themselves.
type kernelFeature struct {
	name, use string
	// path exists once the feature is there; where it does not, the module is loaded.
	path, module string
}

func kernelFeatures() []kernelFeature {
	return []kernelFeature{
		{"overlay", "containerd's images", "/sys/module/overlay", "overlay"},
		{"br_netfilter", "services reached through a bridge", "/proc/sys/net/bridge/bridge-nf-call-iptables", "br_netfilter"},
		{"vxlan", "the network between pods of different nodes", "/sys/module/vxlan", "vxlan"},
		{"nf_conntrack", "kube-proxy", "/proc/sys/net/netfilter/nf_conntrack_max", "nf_conntrack"},
	}
}

// present looks for the feature, and loads its module where it is missing.
func (f kernelFeature) present(ctx context.Context, run Runner) bool {
	exists := func() bool { _, err := os.Stat(filepath.Clean(f.path)); return err == nil }
	if exists() {
		return true
	}
	if _, err := run.Run(ctx, []string{"modprobe", f.module}, nil); err != nil {
		return false
	}
	return exists()
}
