package facts

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Linux capability numbers, from linux/capability.h.
const (
	capSysAdmin    = 21
	capSysResource = 24
)

// interpret turns records into facts.
func interpret(r report) (Facts, error) {
	f := Facts{
		Hostname:  r.one("hostname"),
		MachineID: r.one("machine-id"), ProductUUID: strings.ToLower(r.one("product-uuid")),
		Arch: goArch(r.one("machine")), Kernel: r.one("kernel"),
		Virt: r.one("virt"), Container: isContainer(r.one("virt")),
		CgroupControllers: controllers(r),
		Swaps:             r.values["swap"],
		OursMarker:        r.one("marker"),
		OursManifest:      r.has("exists", "/var/lib/kubewright/manifest"),
		APIServerVersion:  imageVersion(strings.Trim(r.one("apiserver-image"), `"'`)),
		Firewall:          firewall(r),
		SELinux:           selinux(r.one("selinux")),
		Unknown:           r.unknown,
	}
	for _, fill := range []func(*Facts, report) error{
		fillNumbers, fillTime, fillOS, fillCommands, fillModules, fillMounts,
		fillInterfaces, fillRoutes, fillListening, fillResolvers, fillForeign,
	} {
		if err := fill(&f, r); err != nil {
			return Facts{}, err
		}
	}
	return f, nil
}

func goArch(machine string) string {
	switch machine {
	case "x86_64", "amd64":
		return "amd64"
	case "aarch64", "arm64":
		return "arm64"
	default:
		return machine
	}
}

// isContainer knows the names that systemd-detect-virt gives to containers; all
// others are virtual machines or "none".
func isContainer(virt string) bool {
	return slices.Contains([]string{
		"openvz", "lxc", "lxc-libvirt", "systemd-nspawn", "docker", "podman", "rkt", "wsl",
		"proot", "pouch", "container-other", "oci", "incus",
	}, virt)
}

func selinux(enforce string) string {
	switch enforce {
	case "1":
		return "enforcing"
	case "0":
		return "permissive"
	default:
		return enforce
	}
}

func controllers(r report) []string {
	var all []string
	for _, v := range r.values["controllers"] {
		all = append(all, strings.Fields(v)...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// firewall names what is switched on and filters. A rule set that is loaded at
// boot but drops nothing is no firewall.
func firewall(r report) string {
	filters := func(paths ...string) bool {
		return slices.ContainsFunc(paths, func(p string) bool { return r.has("filters", p) })
	}
	switch {
	case r.has("active", "firewalld"):
		return "firewalld"
	case r.has("active", "ufw"):
		return "ufw"
	case r.has("active", "nftables") && filters("/etc/nftables.conf", "/etc/sysconfig/nftables.conf"):
		return "nftables"
	case r.has("active", "iptables") && filters("/etc/sysconfig/iptables"),
		r.has("active", "netfilter-persistent") && filters("/etc/iptables/rules.v4"):
		return "iptables"
	default:
		return ""
	}
}

func fillNumbers(f *Facts, r report) error {
	var errs []error
	number := func(key string, base int) uint64 {
		n, err := strconv.ParseUint(r.one(key), base, 63)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %s is no number", key, quote(r.one(key))))
		}
		return n
	}
	capEff := number("capeff", 16)
	f.CapSysAdmin = capEff&(1<<capSysAdmin) != 0
	f.CapSysResource = capEff&(1<<capSysResource) != 0
	f.UID = int(number("uid", 10))
	kilobytes := number("memory-kb", 10)
	if kilobytes > 1<<53 {
		errs = append(errs, fmt.Errorf("memory-kb: %d is not plausible", kilobytes))
	}
	f.MemoryBytes = int64(kilobytes) * 1024
	if r.one("cgroup") != "" {
		f.CgroupVersion = int(number("cgroup", 10))
	}
	if v := r.one("systemd"); v != "" {
		n, err := leadingNumber(v)
		if err != nil {
			errs = append(errs, fmt.Errorf("systemd: %w", err))
		}
		f.SystemdVersion = n
	}
	cpus, err := countCPUs(r.one("cpus-allowed"), r.one("cpus-online"))
	if err != nil {
		errs = append(errs, err)
	}
	f.CPUs = cpus
	if len(errs) > 0 {
		return errs[0]
	}
	return nil
}

// leadingNumber reads the number that a version such as "255.4-1ubuntu8" or
// "256~rc3" begins with.
func leadingNumber(s string) (int, error) {
	digits := s[:len(s)-len(strings.TrimLeft(s, "0123456789"))]
	n, err := strconv.Atoi(digits)
	if err != nil {
		return 0, fmt.Errorf("%s does not begin with a number", quote(s))
	}
	return n, nil
}

// maxCPU bounds a list such as "0-4095"; the kernel's own limit is 8192.
const maxCPU = 1 << 14

// countCPUs counts the processors that are both allowed and online. The allowed
// list alone may name processors that were never plugged in.
func countCPUs(allowed, online string) (int, error) {
	may, err := cpuList(allowed)
	if err != nil {
		return 0, fmt.Errorf("cpus-allowed: %w", err)
	}
	if online != "" {
		up, err := cpuList(online)
		if err != nil {
			return 0, fmt.Errorf("cpus-online: %w", err)
		}
		for cpu := range may {
			if !up[cpu] {
				delete(may, cpu)
			}
		}
	}
	if len(may) == 0 {
		return 0, fmt.Errorf("no processor is both allowed (%s) and online (%s)", quote(allowed), quote(online))
	}
	return len(may), nil
}

// cpuList reads the kernel's list format, for example "0-3,8".
func cpuList(list string) (map[int]bool, error) {
	cpus := map[int]bool{}
	for part := range strings.SplitSeq(list, ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		a, errA := strconv.ParseUint(from, 10, 16)
		b, errB := strconv.ParseUint(to, 10, 16)
		if errA != nil || errB != nil || a > b || b > maxCPU {
			return nil, fmt.Errorf("%s is no list of processors", quote(list))
		}
		for cpu := a; cpu <= b; cpu++ {
			cpus[int(cpu)] = true
		}
	}
	return cpus, nil
}

// fillTime reads "seconds nanoseconds". busybox prints the nanoseconds as %N:
// the clock is then known to the second, and taken as the middle of it.
func fillTime(f *Facts, r report) error {
	secs, nanos, _ := strings.Cut(r.one("time"), " ")
	s, err := strconv.ParseInt(secs, 10, 64)
	if err != nil || s < 0 || s > 1<<40 {
		return fmt.Errorf("time: %s is no time", quote(r.one("time")))
	}
	n, err := strconv.ParseInt(nanos, 10, 64)
	if err != nil || len(nanos) != len("000000000") || n < 0 {
		n = int64(500 * time.Millisecond)
	}
	f.Time = time.Unix(s, n).UTC()
	return nil
}

// fillOS reads the lines of os-release, which quotes as the shell does.
func fillOS(f *Facts, r report) error {
	for _, line := range r.values["os"] {
		name, value, _ := strings.Cut(line, "=")
		value = unquote(value)
		switch name {
		case "ID":
			f.OSID = value
		case "VERSION_ID":
			f.OSVersion = value
		case "PRETTY_NAME":
			f.OSName = value
		case "ID_LIKE":
			f.OSLike = strings.Fields(value)
		default:
			return fmt.Errorf("os: %s was not asked for", quote(line))
		}
	}
	return nil
}

// unquote undoes the quoting that os-release(5) allows.
func unquote(s string) string {
	if len(s) >= 2 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		if s = s[1 : len(s)-1]; strings.Contains(s, `\`) {
			s = strings.NewReplacer(`\\`, `\`, `\"`, `"`, `\$`, `$`, "\\`", "`").Replace(s)
		}
	}
	return s
}

func fillCommands(f *Facts, r report) error {
	f.Commands = map[string]bool{}
	for _, v := range r.values["command"] {
		name, answer, _ := strings.Cut(v, " ")
		if answer != "yes" && answer != "no" {
			return fmt.Errorf("command: %s is neither yes nor no", quote(v))
		}
		f.Commands[name] = answer == "yes"
	}
	if len(f.Commands) == 0 {
		return fmt.Errorf("command: no command was looked for")
	}
	return nil
}

func fillModules(f *Facts, r report) error {
	f.Modules, f.Loadable = map[string]bool{}, map[string]bool{}
	for _, v := range r.values["module"] {
		name, state, _ := strings.Cut(v, " ")
		switch state {
		case "loaded", "builtin", "working":
			f.Modules[name] = true
		case "loadable":
			f.Loadable[name] = true
		default:
			return fmt.Errorf("module: %s has no known state", quote(v))
		}
	}
	return nil
}

// fillForeign reads the signs of a cluster or a container engine.
func fillForeign(f *Facts, r report) error {
	exists := func(paths ...string) bool {
		return slices.ContainsFunc(paths, func(p string) bool { return r.has("exists", p) })
	}
	running := func(services ...string) bool {
		return slices.ContainsFunc(services, func(s string) bool { return r.has("active", s) })
	}
	const caFile = "/etc/kubernetes/pki/ca.crt"
	f.Foreign = Foreign{
		KubeletConf:   exists("/etc/kubernetes/kubelet.conf"),
		KubeletServer: strings.Trim(r.one("kubelet-server"), `"'`),
		AdminConf:     exists("/etc/kubernetes/admin.conf"),
		CA:            exists(caFile),
		CAKey:         exists("/etc/kubernetes/pki/ca.key"),
		Manifests:     slices.Sorted(slices.Values(r.values["manifest"])),
		EtcdData:      exists("/var/lib/etcd/member"),
		Kubeadm:       exists("/var/lib/kubelet/kubeadm-flags.env", "/var/lib/kubelet/instance-config.yaml"),
		KubeadmUnit: exists("/etc/systemd/system/kubelet.service.d/10-kubeadm.conf",
			"/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf"),
		KubeletRunning: running("kubelet"),
		K3s:            exists("/etc/rancher/k3s", "/var/lib/rancher/k3s") || running("k3s", "k3s-agent"),
		K0s:            exists("/etc/k0s", "/var/lib/k0s") || running("k0scontroller", "k0sworker"),
		RKE2: exists("/etc/rancher/rke2", "/var/lib/rancher/rke2") ||
			running("rke2-server", "rke2-agent"),
		Microk8s:         exists("/var/snap/microk8s"),
		Docker:           exists("/var/lib/docker") || running("docker"),
		DockerRunning:    running("docker"),
		Containerd:       running("containerd"),
		ContainerdConfig: exists("/etc/containerd/config.toml"),
		CRIO:             exists("/run/crio/crio.sock") || running("crio"),
		CNIConfigs:       slices.Sorted(slices.Values(r.values["cni"])),
	}
	if v := r.one("ca"); v != "" {
		f.Foreign.CAFingerprint = derFingerprint(v)
	}
	switch {
	case r.one("kubelet-ca") != "":
		f.Foreign.KubeletCA = pemFingerprint(strings.Trim(r.one("kubelet-ca"), `"'`))
	case strings.Trim(r.one("kubelet-ca-file"), `"'`) == caFile:
		f.Foreign.KubeletCA = f.Foreign.CAFingerprint
	}
	return nil
}

// imageVersion is the tag of an image without a leading v; "" when it has none.
func imageVersion(image string) string {
	name, _, _ := strings.Cut(image[strings.LastIndexByte(image, '/')+1:], "@")
	_, tag, _ := strings.Cut(name, ":")
	return strings.TrimPrefix(tag, "v")
}

// derFingerprint is the fingerprint of a certificate in base64 of DER.
func derFingerprint(encoded string) string {
	der, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return Unreadable
	}
	return fingerprint(der)
}

// pemFingerprint is the fingerprint of the first certificate in base64 of PEM,
// the form in which a kubeconfig embeds it.
func pemFingerprint(encoded string) string {
	text, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return Unreadable
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return Unreadable
	}
	return fingerprint(block.Bytes)
}

// fingerprint is "sha256:" and the digest of a certificate's DER form in hex.
func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return "sha256:" + hex.EncodeToString(sum[:])
}
