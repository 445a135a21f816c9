package lab

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Engine is the container engine under a lab. Its methods build command lines and run nothing.
type Engine string

// The engines a lab can be made with.
const (
	Podman Engine = "podman"
	Docker Engine = "docker"
)

// Labels on the objects of a lab. labelLab is on every one of them, the others on containers.
const (
	labelLab     = "kubewright.lab"
	labelNode    = "kubewright.node"
	labelRole    = "kubewright.role"
	labelAddress = "kubewright.address"
	labelHostKey = "kubewright.host-key"
	// labelImage is on node images, which labs share and which stay when a lab goes.
	labelImage = "kubewright.node-image"
)

// nodeDisks are the folders that get a file system of their own, as overlayfs, on which the
// root of a node is, cannot hold another overlayfs, and etcd and kubelet want a plain one too.
func nodeDisks() []string {
	return []string{"/var/lib/containerd", "/var/lib/etcd", "/var/lib/kubelet"}
}

// objectName is the name of an object of a lab: a node's container, or its network with no part.
func objectName(lab string, parts ...string) string {
	return strings.Join(append([]string{"kubewright", lab}, parts...), "-")
}

// diskName is the name of the volume behind one of nodeDisks.
func diskName(lab, node, path string) string {
	return objectName(lab, node, path[strings.LastIndexByte(path, '/')+1:])
}

// limits are the resource limits that containers get. Without CAP_SYS_RESOURCE an engine cannot
// give more than it has, and refuses to start a container that asks for more.
type limits struct{ files, processes uint64 }

// container is what is particular to one container of a lab.
type container struct {
	Node
	lab    string
	image  string
	limits limits
	// modules says that the machine has /lib/modules, for modprobe in the node.
	modules bool
	// artifacts is the folder that the mirror serves.
	artifacts string
}

// createNetwork makes the lab's bridge. No DNS server of the engine: nodes use the machine's.
func (e Engine) createNetwork(lab string, subnet netip.Prefix) []string {
	argv := []string{string(e), "network", "create", "--driver", "bridge",
		"--label", labelLab + "=" + lab,
		"--subnet", subnet.String(), "--gateway", at(subnet, gatewayOffset).String()}
	if e == Podman {
		argv = append(argv, "--disable-dns")
	}
	return append(argv, objectName(lab))
}

// createVolume makes one disk of a node.
func (e Engine) createVolume(lab, name string) []string {
	return []string{string(e), "volume", "create", "--label", labelLab + "=" + lab, name}
}

// createNode makes, and does not start, the container of a node. It is privileged because
// kubelet, containerd and Calico mount file systems and change the node's network and cgroups.
func (e Engine) createNode(c container) []string {
	argv := append(e.create(c), "--privileged", "--cgroupns=private", "--pids-limit", "-1",
		// What systemd wants to find, and what tells it that it is in a container.
		"--env", "container="+string(e), "--tmpfs", "/run:exec,mode=755", "--tmpfs", "/run/lock",
		"--stop-signal", "SIGRTMIN+3")
	option := ""
	if e == Podman {
		// Volumes are nosuid and nodev unless told otherwise, and what is below containerd's
		// folder becomes the root of containers that need both.
		option = ":exec,suid,dev"
		// Podman's own arrangement for systemd gives every node the machine's name=systemd
		// hierarchy of cgroup v1. In it nodes remove each other's cgroups, such as a pod's before
		// its first process is there, and then nothing can be executed in that pod ("Failed to
		// attach to compat systemd cgroup").
		argv = append(argv, "--systemd=false")
	}
	for _, path := range nodeDisks() {
		argv = append(argv, "--volume", diskName(c.lab, c.Name, path)+":"+path+option)
	}
	if c.modules {
		argv = append(argv, "--volume", "/lib/modules:/lib/modules:ro")
	}
	return append(argv, c.image)
}

// createMirror makes, and does not start, the container that serves the artifacts folder with
// the program that e2e/artifacts put there: files on port 80, a registry on port 5000.
func (e Engine) createMirror(c container) []string {
	return append(e.create(c), "--volume", c.artifacts+":/artifacts:ro", c.image,
		"/artifacts/bin/mirror", "-dir", "/artifacts")
}

// create is what all containers have in common.
func (e Engine) create(c container) []string {
	argv := []string{string(e), "create", "--name", objectName(c.lab, c.Name)}
	for _, label := range [][2]string{{labelLab, c.lab}, {labelNode, c.Name}, {labelRole, string(c.Role)},
		{labelAddress, c.Address.String()}, {labelHostKey, c.HostKey}} {
		if label[1] != "" {
			argv = append(argv, "--label", label[0]+"="+label[1])
		}
	}
	if e == Podman {
		argv = append(argv, "--runtime", "runc") // crun refuses hybrid cgroup hierarchies
	}
	return append(argv,
		"--ulimit", ulimit("nofile", c.limits.files),
		"--ulimit", ulimit("nproc", c.limits.processes),
		"--hostname", c.Name, "--network", objectName(c.lab), "--ip", c.Address.String(),
		"--mac-address", macAddress(c.Address))
}

// macAddress is the hardware address of the container at an IPv4 address: one of those for local
// use. It is given, because the engine would make up another at every start, and a machine that
// comes back with another is not reachable until its neighbours have forgotten the first.
func macAddress(addr netip.Addr) string {
	ip := addr.As4()
	return net.HardwareAddr{0x02, 0x6b, ip[0], ip[1], ip[2], ip[3]}.String()
}

func ulimit(name string, limit uint64) string {
	n := strconv.FormatUint(limit, 10)
	return name + "=" + n + ":" + n
}

// unpack extracts a tar archive from stdin onto the container's root, owners as in the archive.
func (e Engine) unpack(container string) []string {
	argv := []string{string(e), "cp"}
	if e == Podman {
		argv = append(argv, "--archive=false")
	}
	return append(argv, "-", container+":/")
}

// power changes the state of containers: start, kill, pause or unpause.
func (e Engine) power(verb string, containers ...string) []string {
	return append([]string{string(e), verb}, containers...)
}

// removeContainers removes containers whatever their state, at once.
func (e Engine) removeContainers(names ...string) []string {
	argv := []string{string(e), "rm", "--force", "--volumes"}
	if e == Podman {
		argv = append(argv, "--time", "0")
	}
	return append(argv, names...)
}

// remove removes objects of a kind: volume, network or image.
func (e Engine) remove(kind string, names ...string) []string {
	return slices.Concat([]string{string(e), kind, "rm"}, names)
}

// list names the objects of a kind (container, volume, network) that carry a label; with no
// value, whatever its value.
func (e Engine) list(kind, label, value string) []string {
	if value != "" {
		label += "=" + value
	}
	argv := []string{string(e), kind, "ls", "--filter", "label=" + label}
	if kind == "container" {
		return append(argv, "--all", "--no-trunc", "--quiet")
	}
	return append(argv, "--quiet")
}

// inspect describes objects of a kind as a JSON array.
func (e Engine) inspect(kind string, names ...string) []string {
	return slices.Concat([]string{string(e), kind, "inspect"}, names)
}

// findImage prints the ID of the image, or nothing.
func (e Engine) findImage(image string) []string {
	return []string{string(e), "image", "ls", "--quiet", "--filter", "reference=" + image}
}

// importImage makes an image of a root file system that boots into systemd.
func (e Engine) importImage(image nodeImage) []string {
	return []string{string(e), "import",
		"--change", `CMD ["` + nodeCommand + `"]`,
		"--change", "LABEL " + labelImage + "=" + image.digest,
		image.tar, image.name}
}

// answers is a command that fails unless the engine itself works, a daemon included.
func (e Engine) answers() []string { return []string{string(e), "info"} }

// ParseEngine reads the name of an engine; empty means that the lab chooses.
func ParseEngine(s string) (Engine, error) {
	switch e := Engine(s); e {
	case "", Podman, Docker:
		return e, nil
	}
	return "", fmt.Errorf("--engine %q: want %s or %s", s, Podman, Docker)
}
