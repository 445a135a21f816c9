package check

import (
	"maps"
	"slices"
	"strings"

	"kubewright/internal/facts"
)

// command is a command that a host should have, and the packages it comes in.
type command struct {
	name           string
	debian, redhat string
}

// requiredCommands are those that the steps of a run and the kubelet call.
func requiredCommands() []command {
	return []command{
		{"awk", "mawk", "gawk"},
		{"base64", "coreutils", "coreutils"},
		{"chmod", "coreutils", "coreutils"},
		{"chown", "coreutils", "coreutils"},
		{"cut", "coreutils", "coreutils"},
		{"find", "findutils", "findutils"},
		{"flock", "util-linux", "util-linux"},
		{"grep", "grep", "grep"},
		{"gzip", "gzip", "gzip"},
		{"head", "coreutils", "coreutils"},
		{"ln", "coreutils", "coreutils"},
		{"mktemp", "coreutils", "coreutils"},
		{"mount", "mount", "util-linux"},
		{"mv", "coreutils", "coreutils"},
		{"readlink", "coreutils", "coreutils"},
		{"sed", "sed", "sed"},
		{"sha256sum", "coreutils", "coreutils"},
		{"sort", "coreutils", "coreutils"},
		{"stat", "coreutils", "coreutils"},
		{"sync", "coreutils", "coreutils"},
		{"systemctl", "systemd", "systemd"},
		{"tar", "tar", "tar"},
		{"timeout", "coreutils", "coreutils"},
		{"tr", "coreutils", "coreutils"},
		{"umount", "mount", "util-linux"},
	}
}

// ownKernelCommands are needed where the kernel is the host's own.
func ownKernelCommands() []command {
	return []command{
		{"modprobe", "kmod", "kmod"},
		{"swapoff", "mount", "util-linux"},
		{"sysctl", "procps", "procps-ng"},
	}
}

// usefulCommands are missed only by some: ip and nsenter by whoever looks for a
// fault, losetup by raw block volumes.
func usefulCommands() []command {
	return []command{
		{"ip", "iproute2", "iproute"},
		{"losetup", "mount", "util-linux"},
		{"nsenter", "util-linux", "util-linux"},
	}
}

func checkCommands(t *T, h Host, f facts.Facts) {
	required := requiredCommands()
	if !f.Container && !h.etcdOnly() {
		required = append(required, ownKernelCommands()...)
	}
	names, remedy := missing(f, required)
	t.Requiref(len(names) == 0, remedy, "commands are missing: %s", strings.Join(names, ", "))
	if h.etcdOnly() {
		return
	}

	names, remedy = missing(f, usefulCommands())
	t.Assertf(len(names) == 0, remedy, "commands that help are missing: %s", strings.Join(names, ", "))

	t.Assertf(f.Commands["iptables"] || f.Commands["nft"], install(f, []string{"iptables"}),
		"neither iptables nor nft is there; the kubelet marks its own rules with iptables")
}

// checkNFS refuses hosts without the packages of NFS: kubewright installs none of the system's.
func checkNFS(t *T, h Host, f facts.Facts) {
	if t.NFS && !h.etcdOnly() {
		names, remedy := missing(f, []command{{"mount.nfs", "nfs-common", "nfs-utils"}})
		t.Requiref(len(names) == 0, remedy, "the kubelet cannot mount volumes of NFS: %s is missing", strings.Join(names, ", "))
	}
	if t.NFSHost == h.Name {
		names, remedy := missing(f, []command{{"rpc.nfsd", "nfs-kernel-server", "nfs-utils"}})
		t.Requiref(len(names) == 0, remedy, "the host is to be an NFS server: %s is missing", strings.Join(names, ", "))
	}
}

// missing returns the commands that the host lacks and how to get them.
func missing(f facts.Facts, commands []command) (names []string, remedy string) {
	packages := map[string]bool{}
	for _, c := range commands {
		if f.Commands[c.name] {
			continue
		}
		names = append(names, c.name)
		if redhat(f) {
			packages[c.redhat] = true
		} else {
			packages[c.debian] = true
		}
	}
	return names, install(f, slices.Sorted(maps.Keys(packages)))
}

// install returns the command that installs packages on the host's system.
func install(f facts.Facts, packages []string) string {
	list := strings.Join(packages, " ")
	switch {
	case debian(f):
		return "apt-get install " + list
	case redhat(f):
		return "dnf install " + list
	default:
		return "install " + list + " (the names of the packages on Debian)"
	}
}

func debian(f facts.Facts) bool { return f.OSID == "debian" || slices.Contains(f.OSLike, "debian") }

func redhat(f facts.Facts) bool {
	return slices.ContainsFunc(append([]string{f.OSID}, f.OSLike...), func(id string) bool {
		return id == "rhel" || id == "fedora" || id == "centos"
	})
}
