package facts

import (
	"encoding/base64"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fakeHost is a host as files: what /proc, /sys and /etc of it say. ROOT in a
// content is where its root is.
type fakeHost struct {
	files map[string]string
	dirs  []string
	links map[string]string
}

// absolute matches the beginning of the host paths that the script looks at.
var absolute = regexp.MustCompile(`(^|[^\w/.}])/(etc|proc|sys|run|var|lib/modules|usr/lib|usr/local|opt|\.dockerenv)(/|\b)`)

// look runs the script on the fake host, with the given commands in PATH.
func (h fakeHost) look(t *testing.T, argv []string, commands map[string]string) string {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	write := func(path, content string, mode os.FileMode) {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(content, "ROOT", root)), mode); err != nil {
			t.Fatal(err)
		}
	}
	for path, content := range h.files {
		write(path, content, 0o644)
	}
	for _, dir := range h.dirs {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for path, target := range h.links {
		write(path+".d", "", 0o644)
		if err := os.Symlink(strings.ReplaceAll(target, "ROOT", root), filepath.Join(root, path)); err != nil {
			t.Fatal(err)
		}
	}
	for name, body := range commands {
		write("bin/"+name, "#!/bin/sh\n"+body+"\n", 0o755)
	}
	for _, tool := range []string{"awk", "date", "grep", "cat"} {
		path, err := exec.LookPath(tool)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(root, "bin", tool)); err != nil {
			t.Fatal(err)
		}
	}
	shell, err := exec.LookPath(argv[0])
	if err != nil {
		t.Fatal(err)
	}
	script := absolute.ReplaceAllString(Script(), "${1}"+root+"/$2$3")
	out := run(t, append([]string{shell}, argv[1:]...), script, "PATH="+filepath.Join(root, "bin"))
	return strings.ReplaceAll(strings.ReplaceAll(out, "mnt "+root+" ", "mnt / "), root, "")
}

// rocky is a Rocky Linux 9 machine on which somebody ran "kubeadm join" once.
func rocky() fakeHost {
	ca := "-----BEGIN CERTIFICATE-----\n" + base64.StdEncoding.EncodeToString([]byte("not really DER")) + "\n-----END CERTIFICATE-----\n"
	return fakeHost{
		files: map[string]string{
			"/proc/sys/kernel/hostname":  "Node7.example.com\n",
			"/proc/sys/kernel/osrelease": "5.14.0-427.el9.x86_64\n",
			"/proc/self/status":          "Name:\tawk\nUid:\t0\t0\t0\t0\nCapEff:\t000001ffffffffff\nCpus_allowed_list:\t0-127\n",
			"/proc/meminfo":              "MemTotal:        3879320 kB\nMemFree:          100000 kB\n",
			"/proc/filesystems":          "nodev\tsysfs\n\text3\n\txfs\n",
			"/proc/swaps":                "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n/dev/dm-1                               partition\t2097148\t0\t-2\n",
			"/proc/self/mounts":          "none ROOT xfs rw,relatime 0 0\n/dev/sdb ROOT/data xfs rw,noexec 0 0\n/dev/hidden ROOT/data ext4 ro 0 0\n/dev/sdc ROOT/data xfs rw,noexec,nodev 0 0\nx ROOT/database ext4 rw 0 0\n",
			"/proc/net/route": "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n" +
				"ens3\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n" +
				"ens3\t0001A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n" +
				"*\t0040F40A\t00000000\t0201\t0\t0\t0\tC0FFFFFF\t0\t0\t0\n" +
				"tun0\t0000000A\t00000000\t0001\t0\t0\t50\t000000FF\t0\t0\t0\n",
			"/proc/net/fib_trie": "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 127.0.0.1\n        /32 host LOCAL\n     |-- 192.168.1.0\n        /24 link UNICAST\n     |-- 192.168.1.7\n        /32 host LOCAL\n     |-- 192.168.1.255\n        /32 link BROADCAST\n",
			"/proc/net/tcp": "  sl  local_address rem_address   st\n" +
				"   0: 00000000:0016 00000000:0000 0A x\n" +
				"   1: 0701A8C0:280A 00000000:0000 0A x\n" +
				"   2: 0701A8C0:0016 0201A8C0:C001 01 x\n",
			"/proc/net/tcp6":                     "  sl  local_address\n   0: 00000000000000000000000001000000:192B 0:0 0A x\n   1: 0000000000000000FFFF00000701A8C0:1F90 0:0 0A x\n",
			"/proc/net/udp":                      "  sl  local_address\n   0: 00000000:2118 00000000:0000 07 x\n   1: 0701A8C0:8000 0101A8C0:0035 07 x\n",
			"/proc/net/udp6":                     "  sl  local_address\n",
			"/sys/devices/system/cpu/online":     "0-1,3\n",
			"/sys/class/net/ens3/mtu":            "1450\n",
			"/sys/class/net/lo/mtu":              "65536\n",
			"/sys/class/dmi/id/product_uuid":     "4C4C4544-0039-4A10-8051-B4C04F4D3333\n",
			"/sys/fs/cgroup/cgroup.controllers":  "cpuset cpu io memory pids\n",
			"/sys/fs/selinux/enforce":            "1",
			"/etc/machine-id":                    "0f1e2d3c4b5a69788796a5b4c3d2e1f0\n",
			"/etc/os-release":                    "NAME=\"Rocky Linux\"\nID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\nVERSION_ID=\"9.4\"\nPRETTY_NAME=\"Rocky Linux 9.4 (Blue Onyx)\"\n",
			"/etc/resolv.conf":                   "# stub\nnameserver 127.0.0.53\noptions edns0\n",
			"/run/systemd/resolve/resolv.conf":   "nameserver 192.168.1.1\nnameserver fe80::1%ens3\n",
			"/etc/kubernetes/pki/ca.crt":         "some text\n" + strings.ReplaceAll(ca, "\n", "\r\n"),
			"/etc/kubernetes/manifests/etc.yaml": "", "/etc/kubernetes/manifests/a b.yaml": "",
			"/etc/kubernetes/manifests/kube-apiserver.yaml": "spec:\n  containers:\n  - command:\n    - kube-apiserver\n    image: \"localhost:5000/kube-apiserver:v1.36.4@sha256:0a\"\n",
			"/etc/kubernetes/kubelet.conf": "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: " +
				base64.StdEncoding.EncodeToString([]byte(ca)) + "\n    server: https://10.9.8.7:6443\n  name: x\n",
			"/var/lib/kubelet/kubeadm-flags.env": "", "/etc/cni/net.d/10-calico.conflist": "",
			"/lib/modules/5.14.0-427.el9.x86_64/modules.builtin": "kernel/net/netfilter/nf_tables.ko\nkernel/fs/overlayfs/overlay.ko\n",
			"/lib/modules/5.14.0-427.el9.x86_64/modules.dep": "kernel/net/bridge/br_netfilter.ko.xz: kernel/net/bridge/bridge.ko.xz kernel/net/802/stp.ko.xz\n" +
				"kernel/net/netfilter/ipvs/ip_vs.ko.xz: kernel/net/netfilter/nf_conntrack.ko.xz\nkernel/net/x_ip_vs_rr.ko: \n",
		},
		dirs: []string{"/run/systemd/system", "/sys/module/nf_conntrack", "/data/lib", "/tmp", "/opt", "/usr/local"},
		links: map[string]string{
			"/run/systemd/units/invocation:firewalld.service": "7c1c",
			"/run/systemd/units/invocation:kubelet.service":   "8d2d",
			"/var/lib/containerd":                             "ROOT/data/lib",
		},
	}
}

// rockyCommands are the tools of that machine; it has no ip.
func rockyCommands() map[string]string {
	return map[string]string{
		"systemctl":           `echo "systemd 252 (252-32.el9_4)"; echo "+PAM"`,
		"systemd-detect-virt": "echo kvm",
		"uname":               "echo x86_64",
		"stat":                `shift 2; shift; for d; do echo "$d 4096 1000 500 100 50"; done`,
		"ss":                  `echo 'LISTEN 0 128 192.168.1.7:10250 0.0.0.0:* users:(("kubelet",pid=7,fd=3),("x",pid=8,fd=1))'; echo 'LISTEN 0 128 [::1]:6443 [::]:* users:(("haproxy",pid=9,fd=3))'`,
	}
}

func TestScriptFakeHost(t *testing.T) {
	sum := fingerprint([]byte("not really DER"))
	want := Facts{
		Hostname: "Node7.example.com", MachineID: "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
		ProductUUID: "4c4c4544-0039-4a10-8051-b4c04f4d3333",
		OSID:        "rocky", OSVersion: "9.4", OSName: "Rocky Linux 9.4 (Blue Onyx)",
		OSLike: []string{"rhel", "centos", "fedora"},
		Arch:   "amd64", Kernel: "5.14.0-427.el9.x86_64", Virt: "kvm",
		CgroupVersion: 2, CgroupControllers: []string{"cpu", "cpuset", "io", "memory", "pids"},
		CapSysResource: true, CapSysAdmin: true, CPUs: 3, MemoryBytes: 3879320 * 1024, SystemdVersion: 252,
		Interfaces: []Interface{
			{Name: "ens3", MTU: 1450, Addrs: []netip.Prefix{netip.MustParsePrefix("192.168.1.7/24")}},
			{Name: "lo", MTU: 65536, Addrs: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8")}},
		},
		Routes: []Route{
			{Dst: netip.MustParsePrefix("192.168.1.0/24"), Dev: "ens3"},
			{Dst: netip.MustParsePrefix("10.244.64.0/26")},
			{Dst: netip.MustParsePrefix("10.0.0.0/8"), Dev: "tun0"},
		},
		Listening: []Listener{
			{Proto: "tcp", Addr: netip.IPv4Unspecified(), Port: 22},
			{Proto: "tcp", Addr: netip.IPv6LinkLocalAllNodes(), Port: 6443, Process: "haproxy"},
			{Proto: "tcp", Addr: netip.MustParseAddr("192.168.1.7"), Port: 8080},
			{Proto: "tcp", Addr: netip.MustParseAddr("192.168.1.7"), Port: 10250, Process: "kubelet"},
			{Proto: "udp", Addr: netip.IPv4Unspecified(), Port: 8472},
		},
		Swaps:       []string{"/dev/dm-1"},
		Nameservers: []string{"192.168.1.1", "fe80::1%ens3"}, ResolvConf: "/run/systemd/resolve/resolv.conf",
		Modules:  map[string]bool{"overlay": true, "nf_conntrack": true, "nf_tables": true},
		Loadable: map[string]bool{"br_netfilter": true, "ip_vs": true},
		Foreign: Foreign{
			KubeletConf: true, KubeletServer: "https://10.9.8.7:6443", KubeletCA: sum, CA: true, CAFingerprint: sum,
			Manifests: []string{"a b.yaml", "etc.yaml", "kube-apiserver.yaml"}, Kubeadm: true, KubeletRunning: true,
			CNIConfigs: []string{"10-calico.conflist"},
		},
		APIServerVersion: "1.36.4",
		Firewall:         "firewalld", SELinux: "enforcing",
		Unknown: map[string]string{
			"ip":     "ip is missing or failed; addresses are from /proc/net",
			"route6": "IPv6 is off",
		},
	}
	want.Listening[1].Addr = netip.IPv6Loopback()
	for name, argv := range shells(t) {
		if name == "busybox" {
			continue // busybox sh prefers its own applets to the fake commands
		}
		t.Run(name, func(t *testing.T) {
			out := rocky().look(t, argv, rockyCommands())
			got, err := Parse([]byte(out))
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if m, _ := got.Mount("/var/lib/containerd"); m != (Mount{
				Path: "/var/lib/containerd", MountPoint: "/data", FSType: "xfs", NoExec: true,
				SizeBytes: 4096000, FreeBytes: 2048000, Inodes: 100, InodesFree: 50,
			}) {
				t.Errorf("mount behind a link: %+v", m)
			}
			if !got.Commands["ss"] || got.Commands["ip"] {
				t.Errorf("commands: %v", got.Commands)
			}
			got.Time, got.Commands, got.Mounts = time.Time{}, nil, nil
			if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
				cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// TestScriptOurs: on a host of ours the names of processes are not looked up, and
// the marker is read; an unreadable marker is an error and not "no marker".
func TestScriptOurs(t *testing.T) {
	for name, argv := range shells(t) {
		if name == "busybox" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			host := rocky()
			host.files["/var/lib/kubewright/cluster"] = "lab 1234\n"
			host.files["/var/lib/kubewright/manifest"] = ""
			f, err := Parse([]byte(host.look(t, argv, rockyCommands())))
			if err != nil {
				t.Fatal(err)
			}
			cluster, id, ok := f.Marker()
			if cluster != "lab" || id != "1234" || !ok || !f.OursManifest {
				t.Errorf("marker %q %q %v, manifest %v", cluster, id, ok, f.OursManifest)
			}
			for _, l := range f.Listening {
				if l.Process != "" {
					t.Errorf("process of %v was looked up", l)
				}
			}
			host.files["/var/lib/kubewright/cluster"] = ""
			if _, err := Parse([]byte(host.look(t, argv, rockyCommands()))); err == nil ||
				!strings.Contains(err.Error(), "marker") {
				t.Errorf("empty marker: %v", err)
			}
		})
	}
}

// TestScriptNamesWhoListens: who listens on a port of ours is looked up, and on others it is not.
func TestScriptNamesWhoListens(t *testing.T) {
	argv := shells(t)["dash"]
	if argv == nil {
		t.Skip("no dash here")
	}
	for port, want := range map[uint16]string{
		2379: "nginx", 2381: "nginx", 6443: "nginx", 7443: "nginx", 7444: "nginx", 10250: "nginx", 10259: "nginx",
		22: "", 7442: "", 7445: "", 8443: "",
	} {
		host, commands := rocky(), rockyCommands()
		host.files["/proc/net/tcp"] = fmt.Sprintf("  sl  local_address\n   0: 0100007F:%04X 00000000:0000 0A x\n", port)
		host.files["/proc/net/tcp6"] = "  sl\n"
		commands["ss"] = fmt.Sprintf(`echo 'LISTEN 0 128 127.0.0.1:%d 0.0.0.0:* users:(("nginx",pid=7,fd=3))'`, port)
		f, err := Parse([]byte(host.look(t, argv, commands)))
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(f.Listening, func(l Listener) bool { return l.Port == int(port) })
		if i < 0 || f.Listening[i].Process != want {
			t.Errorf("port %d: %+v, want process %q", port, f.Listening, want)
		}
	}
}

// TestScriptCRIO: its socket or its unit says that CRI-O runs, its files do not.
func TestScriptCRIO(t *testing.T) {
	argv := shells(t)["dash"]
	if argv == nil {
		t.Skip("no dash here")
	}
	for _, tt := range []struct {
		name, file, link string
		want             bool
	}{
		{"its socket", "/run/crio/crio.sock", "", true},
		{"its unit", "", "/run/systemd/units/invocation:crio.service", true},
		{"its configuration", "/etc/crio/crio.conf", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			host := rocky()
			if tt.file != "" {
				host.files[tt.file] = ""
			}
			if tt.link != "" {
				host.links[tt.link] = "1"
			}
			f, err := Parse([]byte(host.look(t, argv, rockyCommands())))
			if err != nil {
				t.Fatal(err)
			}
			if f.Foreign.CRIO != tt.want {
				t.Errorf("CRI-O runs: %v", f.Foreign.CRIO)
			}
		})
	}
}

func TestScriptFirewalls(t *testing.T) {
	const unit = "/run/systemd/units/invocation:"
	tests := []struct {
		name, link, file, content, want string
	}{
		{"nftables that drops", "nftables", "/etc/nftables.conf", "chain input { type filter hook input priority 0; policy drop; }\n", "nftables"},
		{"nftables without rules", "nftables", "/etc/nftables.conf", "# policy drop\nchain input { type filter hook input priority 0; }\n", ""},
		{"rules that nobody loads", "", "/etc/nftables.conf", "policy drop\n", ""},
		{"iptables on Debian", "netfilter-persistent", "/etc/iptables/rules.v4", ":INPUT DROP [0:0]\n", "iptables"},
		{"iptables on RHEL", "iptables", "/etc/sysconfig/iptables", "-A INPUT -j REJECT --reject-with icmp-host-prohibited\n", "iptables"},
		{"ufw on", "", "/etc/ufw/ufw.conf", "ENABLED=yes\n", "ufw"},
		{"ufw off", "", "/etc/ufw/ufw.conf", "# ENABLED=yes\nENABLED=no\n", ""},
	}
	argv := shells(t)["dash"]
	if argv == nil {
		t.Skip("no dash here")
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			host := rocky()
			delete(host.links, unit+"firewalld.service")
			if tt.link != "" {
				host.links[unit+tt.link+".service"] = "1"
			}
			host.files[tt.file] = tt.content
			f, err := Parse([]byte(host.look(t, argv, rockyCommands())))
			if err != nil {
				t.Fatal(err)
			}
			if f.Firewall != tt.want {
				t.Errorf("firewall %q, want %q", f.Firewall, tt.want)
			}
		})
	}
}
