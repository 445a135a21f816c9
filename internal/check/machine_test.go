package check

import (
	"maps"
	"testing"

	"kubewright/internal/facts"
)

// worker1 makes a change of the facts of worker1.
func worker1(change func(*facts.Facts)) func(World) World {
	return func(w World) World { return w.on("worker1", change) }
}

func cp1(change func(*facts.Facts)) func(World) World {
	return func(w World) World { return w.on("cp1", change) }
}

// without returns a copy of a set that lacks some.
func without(set map[string]bool, names ...string) map[string]bool {
	set = maps.Clone(set)
	for _, name := range names {
		delete(set, name)
	}
	return set
}

func machineTable() map[string][]faulty {
	return map[string][]faulty{
		"root": {
			{"an ordinary user", worker1(func(f *facts.Facts) { f.UID = 1000 }), []string{"refuse worker1: user id 1000"}},
			{"an unprivileged container", worker1(func(f *facts.Facts) { f.CapSysAdmin = false }), []string{"refuse worker1: CAP_SYS_ADMIN"}},
		},
		"os": {
			{"something else", worker1(func(f *facts.Facts) { f.OSID, f.OSName = "templeos", "TempleOS" }), []string{"warn worker1: TempleOS is not"}},
			{"without a pretty name", worker1(func(f *facts.Facts) { f.OSID, f.OSName = "x", "" }), []string{"warn worker1: operating system x 12"}},
			{"a relative of a known one", worker1(func(f *facts.Facts) { f.OSID, f.OSLike = "linuxmint", []string{"ubuntu", "debian"} }), nil},
			{"nothing known", worker1(func(f *facts.Facts) { f.OSID = ""; f.Unknown = map[string]string{"os": "gone"} }), []string{"warn worker1: (gone)"}},
		},
		"architecture": {
			{"arm64", worker1(func(f *facts.Facts) { f.Arch = "arm64" }), nil},
			{"riscv64", worker1(func(f *facts.Facts) { f.Arch = "riscv64" }), []string{"refuse worker1: riscv64"}},
		},
		"systemd": {
			{"another init", worker1(func(f *facts.Facts) { f.SystemdVersion = 0 }), []string{"refuse worker1: not the init"}},
			{"unknown", worker1(func(f *facts.Facts) { f.SystemdVersion = 0; f.Unknown = map[string]string{"systemd": "why"} }), []string{"refuse worker1: (why)"}},
			{"an old one on cgroup v2", worker1(func(f *facts.Facts) { f.SystemdVersion = 239 }), []string{"warn worker1: cpuset"}},
			{"an old one on cgroup v1", worker1(func(f *facts.Facts) { f.SystemdVersion, f.CgroupVersion = 239, 1 }), nil},
		},
		"kernel": {
			{"too old", worker1(func(f *facts.Facts) { f.Kernel = "4.18.0-553.el8_10.x86_64" }), []string{"warn worker1: el8_10.x86_64 is older than 4.19"}},
			{"just new enough", worker1(func(f *facts.Facts) { f.Kernel = "4.19" }), nil},
			{"a plus sign", worker1(func(f *facts.Facts) { f.Kernel = "6.1+" }), nil},
			{"no number", worker1(func(f *facts.Facts) { f.Kernel = "linux" }), []string{`warn worker1: "linux"`}},
			{"half a number", worker1(func(f *facts.Facts) { f.Kernel = "6.x" }), []string{`warn worker1: "6.x"`}},
			{"too old for nftables", func(w World) World {
				w.ProxyMode = "nftables"
				return w.on("worker1", func(f *facts.Facts) { f.Kernel = "5.10.0-28-amd64" })
			}, []string{"refuse worker1: 5.13"}},
		},
		"modules": {
			{"gone from disk", worker1(func(f *facts.Facts) { f.Loadable = nil }), []string{
				"refuse worker1: br_netfilter", "warn worker1: vxlan",
			}},
			{"built in, no module on disk", worker1(func(f *facts.Facts) {
				f.Loadable, f.Unknown = nil, map[string]string{"loadable": "gone"}
				f.Modules = map[string]bool{"overlay": true, "nf_conntrack": true, "br_netfilter": true}
			}), nil},
			{"a container whose machine has not loaded it", worker1(func(f *facts.Facts) { f.Container = true }), []string{
				"refuse worker1: modprobe br_netfilter", "warn worker1: vxlan",
			}},
			{"no conntrack", worker1(func(f *facts.Facts) { f.Modules = without(f.Modules, "nf_conntrack", "overlay") }), []string{
				"refuse worker1: overlay", "refuse worker1: nf_conntrack",
			}},
			{"ipvs", func(w World) World {
				w.ProxyMode = "ipvs"
				return w.on("worker1", func(f *facts.Facts) { f.Loadable = without(f.Loadable, "ip_vs") })
			}, []string{"refuse worker1: ip_vs"}},
			{"nftables", func(w World) World {
				w.ProxyMode = "nftables"
				return w.on("worker1", func(f *facts.Facts) { f.Loadable = without(f.Loadable, "nf_tables") })
			}, []string{"warn worker1: nf_tables"}},
		},
		"cgroups": {
			{"none", worker1(func(f *facts.Facts) { f.CgroupVersion = 0; f.Unknown = map[string]string{"cgroup": "not mounted"} }), []string{"refuse worker1: not mounted"}},
			{"v1", worker1(func(f *facts.Facts) { f.CgroupVersion = 1 }), []string{"warn worker1: failCgroupV1: false"}},
			{"a Raspberry Pi", worker1(func(f *facts.Facts) { f.CgroupControllers = []string{"cpu", "cpuset", "io", "pids"} }), []string{"refuse worker1: missing: memory; switch them on; a Raspberry Pi needs cgroup_enable=memory"}},
		},
		"commands": {
			{"on Debian", worker1(func(f *facts.Facts) { f.Commands = without(f.Commands, "flock", "mount", "umount", "modprobe") }), []string{
				"refuse worker1: missing: flock, mount, umount, modprobe; apt-get install kmod mount util-linux",
			}},
			{"on Rocky", worker1(func(f *facts.Facts) {
				f.OSID, f.OSLike = "rocky", []string{"rhel", "centos", "fedora"}
				f.Commands = without(f.Commands, "tar", "ip")
			}), []string{"refuse worker1: missing: tar; dnf install tar", "warn worker1: missing: ip; dnf install iproute"}},
			{"elsewhere", worker1(func(f *facts.Facts) { f.OSID = "flatcar"; f.Commands = without(f.Commands, "gzip") }), []string{
				"refuse worker1: missing: gzip; install gzip (the names",
			}},
			{"in a container", worker1(func(f *facts.Facts) {
				f.Container = true
				f.Commands = without(f.Commands, "modprobe", "sysctl", "swapoff")
			}), nil},
			{"nft alone", worker1(func(f *facts.Facts) { f.Commands = without(f.Commands, "iptables"); f.Commands["nft"] = true }), nil},
			{"neither iptables nor nft", worker1(func(f *facts.Facts) { f.Commands = without(f.Commands, "iptables") }), []string{"warn worker1: apt-get install iptables"}},
		},
		"cpu": {
			{"one on a control plane", cp1(func(f *facts.Facts) { f.CPUs = 1 }), []string{"refuse cp1: needs 2 processors, and 1 is there"}},
			{"two on a control plane", cp1(func(f *facts.Facts) { f.CPUs = 2 }), nil},
			{"one on a worker", worker1(func(f *facts.Facts) { f.CPUs = 1 }), nil},
			{"none on a worker", worker1(func(f *facts.Facts) { f.CPUs = 0 }), []string{"refuse worker1: no processor"}},
		},
		"memory": {
			{"a small control plane", cp1(func(f *facts.Facts) { f.MemoryBytes = 1699 * mebibyte }), []string{"refuse cp1: needs 1700 MiB of memory, and 1699 MiB is there"}},
			{"a control plane that just fits", cp1(func(f *facts.Facts) { f.MemoryBytes = 1700 * mebibyte }), nil},
			{"a small worker", worker1(func(f *facts.Facts) { f.MemoryBytes = 699 * mebibyte }), []string{"warn worker1: 699 MiB"}},
			{"a worker that just fits", worker1(func(f *facts.Facts) { f.MemoryBytes = 700 * mebibyte }), nil},
		},
		"swap": {
			{"on a machine", worker1(func(f *facts.Facts) { f.Swaps = []string{"/dev/sdb", "/swap.img"} }), []string{"info worker1: /dev/sdb, /swap.img will be switched off"}},
			{"in a container", worker1(func(f *facts.Facts) { f.Container, f.Modules = true, f.Loadable; f.Swaps = []string{"/dev/sdb"} }), []string{"warn worker1: cannot be changed from inside"}},
		},
		"selinux": {
			{"enforcing", worker1(func(f *facts.Facts) { f.SELinux = "enforcing" }), []string{"warn worker1: enforcing"}},
			{"permissive", worker1(func(f *facts.Facts) { f.SELinux = "permissive" }), nil},
		},
	}
}

func diskTable() map[string][]faulty {
	free := func(path string, bytes int64) func(World) World {
		return worker1(func(f *facts.Facts) { mount(f, path, func(m *facts.Mount) { m.FreeBytes = bytes }) })
	}
	managed := func(change func(World) World) func(World) World {
		return func(w World) World {
			return change(w.traced("worker1"))
		}
	}
	return map[string][]faulty{
		"disk": {
			{"60 MB free", free("/var/lib", 60*mebibyte), []string{
				"refuse worker1: /var/lib has 60 MiB free; /var/lib, /var/lib/containerd, /var/lib/kubelet need 2688 MiB",
			}},
			{"a small disk of etcd", cp1(func(f *facts.Facts) {
				mount(f, "/var/lib/etcd", func(m *facts.Mount) { m.FreeBytes = 200 * mebibyte })
			}), []string{"refuse cp1: /var/lib/etcd has 200 MiB free; /var/lib/etcd need 256 MiB"}},
			{"no room for etcd on a worker", free("/var/lib/etcd", 0), nil},
			{"needs add up on one file system", worker1(func(f *facts.Facts) {
				for i := range f.Mounts {
					f.Mounts[i].FreeBytes = 3000 * mebibyte
				}
			}), []string{"refuse worker1: / has 3000 MiB free"}},
			{"files are uploaded", func(w World) World {
				w.Pushed = true
				return free("/tmp", 511*mebibyte)(w)
			}, []string{"refuse worker1: /tmp has 511 MiB free; /tmp need 512 MiB"}},
			{"files are uploaded, and just fit", func(w World) World {
				w.Pushed = true
				w = worker1(func(f *facts.Facts) { mount(f, "/tmp", func(m *facts.Mount) { m.SizeBytes = 600 * mebibyte }) })(w)
				return free("/tmp", 512*mebibyte)(w)
			}, nil},
			{"files are uploaded, to a host of ours", func(w World) World {
				w.Pushed = true
				return managed(free("/tmp", 64*mebibyte))(w)
			}, nil},
			{"files are not uploaded", free("/tmp", 64*mebibyte), nil},
			{"little room", free("/var/lib/containerd", 5<<30), []string{"warn worker1: will not last"}},
			{"15 percent", free("/var/lib/containerd", 14<<30), []string{"warn worker1: DiskPressure"}},
			{"15 percent with eviction set", func(w World) World {
				w.EvictionSet = true
				return free("/var/lib/containerd", 14<<30)(w)
			}, nil},
			{"15 percent where no pod is", free("/usr/local", 14<<30), nil},
			{"little room on a host of ours", managed(free("/var/lib/containerd", 1<<30)), []string{"warn worker1: DiskPressure"}},
			{"full on a host of ours", managed(free("/var/lib/containerd", 63*mebibyte)), []string{"refuse worker1: 63 MiB free"}},
			{"read-only", worker1(func(f *facts.Facts) { mount(f, "/usr/local", func(m *facts.Mount) { m.ReadOnly = true }) }), []string{"refuse worker1: /usr/local is mounted read-only"}},
			{"noexec", worker1(func(f *facts.Facts) { mount(f, "/opt", func(m *facts.Mount) { m.NoExec = true }) }), []string{"refuse worker1: noexec"}},
			{"noexec where nothing runs", worker1(func(f *facts.Facts) { mount(f, "/tmp", func(m *facts.Mount) { m.NoExec = true }) }), nil},
			{"overlay", worker1(func(f *facts.Facts) {
				mount(f, "/var/lib/containerd", func(m *facts.Mount) { m.FSType = "overlay" })
			}), []string{"refuse worker1: type overlay"}},
			{"etcd on NFS", cp1(func(f *facts.Facts) { mount(f, "/var/lib/etcd", func(m *facts.Mount) { m.FSType = "nfs4" }) }), []string{"warn cp1: nfs4"}},
			{"unknown", worker1(func(f *facts.Facts) { f.Mounts, f.Unknown = nil, map[string]string{"statfs": "no stat"} }), []string{"refuse worker1: (no stat)"}},
			{"one unknown", worker1(func(f *facts.Facts) { f.Mounts = f.Mounts[1:] }), []string{"refuse worker1: file system of /etc is unknown"}},
		},
		"inodes": {
			{"none", worker1(func(f *facts.Facts) { mount(f, "/var/lib/containerd", func(m *facts.Mount) { m.InodesFree = 9_999 }) }), []string{"refuse worker1: has 9999 inodes free; /var/lib/containerd need 10000"}},
			{"as many as are needed", worker1(func(f *facts.Facts) { mount(f, "/var/lib/containerd", func(m *facts.Mount) { m.InodesFree = 10_000 }) }), nil},
			{"a file system that has none", worker1(func(f *facts.Facts) {
				mount(f, "/var/lib", func(m *facts.Mount) { m.Inodes, m.InodesFree = 0, 0 })
			}), nil},
			{"few on a host of ours", managed(worker1(func(f *facts.Facts) { mount(f, "/var/lib/containerd", func(m *facts.Mount) { m.InodesFree = 5_000 }) })), nil},
			{"none on a host of ours", managed(worker1(func(f *facts.Facts) { mount(f, "/var/lib/containerd", func(m *facts.Mount) { m.InodesFree = 999 }) })), []string{"refuse worker1: 999"}},
			{"unknown", worker1(func(f *facts.Facts) { f.Mounts, f.Unknown = nil, map[string]string{"statfs": "no stat"} }), nil},
		},
	}
}

func TestParseKernel(t *testing.T) {
	for release, want := range map[string]string{
		"6.1.0-18-amd64": "6.1", "5.14.0-427.el9.x86_64": "5.14", "6.1.0+": "6.1", "6.18": "6.18",
		"6": "", "": "", ".": "", "-1.2": "", "a.b": "", "6.-1": "",
	} {
		v, ok := parseKernel(release)
		if ok != (want != "") || ok && v.String() != want {
			t.Errorf("parseKernel(%q) = %v %v, want %q", release, v, ok, want)
		}
	}
}
