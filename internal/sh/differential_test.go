package sh_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"kubewright/internal/resource"
	"kubewright/internal/resource/memhost"
	"kubewright/internal/sh"
	"kubewright/internal/sh/shtest"
)

const marker = "kw0123456789abcdef"

// inShells runs a test with each shell.
func inShells(t *testing.T, test func(t *testing.T, shell shtest.Shell)) {
	for _, shell := range shtest.Shells() {
		t.Run(string(shell), func(t *testing.T) {
			t.Parallel()
			test(t, shell)
		})
	}
}

// scenario is a world, what is done to it, and what is asked.
type scenario struct {
	world  func(h *memhost.Host)
	steps  []sh.Step
	probes []sh.Probe
	fails  bool // one of the steps has to fail
}

func file(p string) sh.Probe { return sh.FileProbe{Path: p, Content: true} }

// tgz is an archive of the members, which hold their own names.
func tgz(members ...string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, name := range members { // errors cannot happen in memory
		_ = w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(name)), Typeflag: tar.TypeReg})
		_, _ = w.Write([]byte(name))
	}
	_ = w.Close()
	_ = z.Close()
	return b.Bytes()
}

func fileScenarios() map[string]scenario {
	long := strings.Repeat("0123456789abcdef", 1<<16) // a megabyte
	w := func(p, content string) sh.Step {
		return sh.WriteFile{Path: p, Mode: 0o640, Owner: "root:root", Content: []byte(content)}
	}
	return map[string]scenario{
		"write":             {steps: []sh.Step{w("/etc/app/a.conf", "hello\n")}, probes: []sh.Probe{file("/etc/app/a.conf"), file("/etc/app")}},
		"write empty":       {steps: []sh.Step{w("/etc/empty", "")}, probes: []sh.Probe{file("/etc/empty")}},
		"write no newline":  {steps: []sh.Step{w("/etc/x", "no newline")}, probes: []sh.Probe{file("/etc/x")}},
		"write a megabyte":  {steps: []sh.Step{w("/etc/x", long)}, probes: []sh.Probe{file("/etc/x")}},
		"write delimiters":  {steps: []sh.Step{w("/etc/x", "KW_EOF\n"+marker+" end\n\nKW_EOF")}, probes: []sh.Probe{file("/etc/x")}},
		"write every byte":  {steps: []sh.Step{w("/etc/x", everyByte())}, probes: []sh.Probe{file("/etc/x")}},
		"write shell words": {steps: []sh.Step{w("/etc/x", "$(touch /etc/pwned) `id` ${M} \\ ' \" \n")}, probes: []sh.Probe{file("/etc/x"), file("/etc/pwned")}},
		"write with owner": {
			steps:  []sh.Step{sh.WriteFile{Path: "/etc/x", Mode: 0o755, Owner: "12:34", Content: []byte("x")}},
			probes: []sh.Probe{sh.FileProbe{Path: "/etc/x"}},
		},
		"write over":        {world: put("/etc/x", 0o777, "old"), steps: []sh.Step{w("/etc/x", "new")}, probes: []sh.Probe{file("/etc/x")}},
		"write over a link": {world: link("/etc/x", "/etc/passwd"), steps: []sh.Step{w("/etc/x", "new")}, probes: []sh.Probe{file("/etc/x")}},
		"write over a folder": {
			world: func(h *memhost.Host) { h.File("/etc/x/y", 0o644, "theirs") },
			steps: []sh.Step{w("/etc/x", "new")}, probes: []sh.Probe{file("/etc/x"), file("/etc/x/y")}, fails: true,
		},
		"write below a file": {world: put("/etc/x", 0o644, "file"), steps: []sh.Step{w("/etc/x/y", "new")}, probes: []sh.Probe{file("/etc/x")}, fails: true},
		"write over what a crash left": {
			world: put("/etc/app/.a.conf.kw-tmp", 0o644, "a longer thing than what is written now"),
			steps: []sh.Step{w("/etc/app/a.conf", "new")}, probes: []sh.Probe{file("/etc/app/a.conf"), file("/etc/app/.a.conf.kw-tmp")},
		},
		"dir":          {steps: []sh.Step{sh.MakeDir{Path: "/srv/a/b", Mode: 0o700, Owner: "root:root"}}, probes: []sh.Probe{file("/srv/a/b"), file("/srv/a")}},
		"dir sticky":   {steps: []sh.Step{sh.MakeDir{Path: "/opt/t", Mode: fs.ModeSticky | 0o777, Owner: "1:1"}}, probes: []sh.Probe{file("/opt/t")}},
		"dir is there": {world: func(h *memhost.Host) { h.Dir("/opt/d", 0o711) }, steps: []sh.Step{sh.MakeDir{Path: "/opt/d", Mode: 0o755, Owner: "root:root"}}, probes: []sh.Probe{file("/opt/d")}},
		"dir is a file": {
			world: put("/opt/d", 0o644, "file"),
			steps: []sh.Step{sh.MakeDir{Path: "/opt/d", Mode: 0o755, Owner: "root:root"}}, probes: []sh.Probe{file("/opt/d")}, fails: true,
		},
		"link": {steps: []sh.Step{sh.Symlink{Path: "/etc/a/l", Target: "../hosts"}}, probes: []sh.Probe{file("/etc/a/l")}},
		"link over things": {
			world: func(h *memhost.Host) {
				h.File("/etc/f", 0o644, "file")
				h.Symlink("/etc/l", "/opt")
				h.Symlink("/etc/.l.kw-tmp", "/left/behind")
			},
			steps:  []sh.Step{sh.Symlink{Path: "/etc/f", Target: "/dev/null"}, sh.Symlink{Path: "/etc/l", Target: "/dev/null"}},
			probes: []sh.Probe{file("/etc/f"), file("/etc/l"), file("/opt")},
		},
		"link over a folder": {world: func(h *memhost.Host) { h.Dir("/etc/d", 0o755) }, steps: []sh.Step{sh.Symlink{Path: "/etc/d", Target: "/opt"}}, probes: []sh.Probe{file("/etc/d")}, fails: true},
		"attributes": {
			world: put("/etc/x", 0o777, "x"),
			steps: []sh.Step{sh.SetAttributes{Path: "/etc/x", Mode: 0o600, Owner: "7:8"}}, probes: []sh.Probe{file("/etc/x")},
		},
		"attributes of a link": {
			world: func(h *memhost.Host) { h.File("/etc/f", 0o644, "file"); h.Symlink("/etc/l", "f") },
			steps: []sh.Step{sh.SetAttributes{Path: "/etc/l", Mode: 0o600, Owner: "7:8"}}, probes: []sh.Probe{file("/etc/f"), file("/etc/l")},
		},
		"attributes of nothing": {steps: []sh.Step{sh.SetAttributes{Path: "/etc/no", Mode: 0o600, Owner: "root:root"}}, probes: []sh.Probe{file("/etc/no")}, fails: true},
		"remove":                {world: put("/etc/x", 0o644, "x"), steps: []sh.Step{sh.Remove{Path: "/etc/x"}, sh.Remove{Path: "/etc/none"}}, probes: []sh.Probe{file("/etc/x")}},
		"remove a link":         {world: link("/etc/x", "/opt"), steps: []sh.Step{sh.Remove{Path: "/etc/x"}}, probes: []sh.Probe{file("/etc/x"), file("/opt")}},
		"remove a folder":       {world: func(h *memhost.Host) { h.Dir("/etc/d", 0o755) }, steps: []sh.Step{sh.Remove{Path: "/etc/d"}}, probes: []sh.Probe{file("/etc/d")}, fails: true},
		"rmdir": {
			world: func(h *memhost.Host) { h.Dir("/opt/e", 0o755); h.File("/opt/full/x", 0o644, "x") },
			steps: []sh.Step{sh.RemoveDir{Path: "/opt/e"}, sh.RemoveDir{Path: "/opt/full"}, sh.RemoveDir{Path: "/opt/none"}}, probes: []sh.Probe{file("/opt/e"), file("/opt/full")},
		},
		"rmtree": {
			world: func(h *memhost.Host) {
				h.File("/opt/t/a/b", 0o644, "x")
				h.File("/opt/t/.hidden", 0o644, "x")
				h.File("/opt/t2/x", 0o644, "theirs")
				h.Symlink("/opt/t/out", "/etc")
			},
			steps: []sh.Step{sh.RemoveDir{Path: "/opt/t", Tree: true}, sh.RemoveDir{Path: "/opt/none", Tree: true}}, probes: []sh.Probe{file("/opt/t"), file("/etc")},
		},
		"rmtree of a folder that was in use": {
			world: func(h *memhost.Host) {
				h.File("/opt/t/a/theirs", 0o640, "theirs")
				h.File("/opt/t/a b", 0o644, "theirs")
				h.Dir("/opt/t/empty", 0o700)
				h.Symlink("/opt/t/out", "/etc")
				h.Dir("/opt/unused", 0o755)
			},
			steps: []sh.Step{
				sh.ListForeign{Path: "/opt/t"}, sh.ListForeign{Path: "/opt/unused"}, sh.ListForeign{Path: "/opt/none"},
				w("/opt/t/a/ours", "ours"), w("/opt/t/deep/er/ours", "ours"), sh.Symlink{Path: "/opt/t/mine", Target: "/opt/t/a"}, w("/opt/unused/ours", "ours"),
				sh.ListForeign{Path: "/opt/t"}, // once: what came later is ours
				sh.RemoveDir{Path: "/opt/t", Tree: true}, sh.RemoveDir{Path: "/opt/unused", Tree: true},
			},
			probes: []sh.Probe{file("/opt/t/a/theirs"), file("/opt/t/empty"), file("/opt/t/out"),
				file("/opt/t/a/ours"), file("/opt/t/deep"), file("/opt/t/mine"), file("/opt/unused")},
		},
		"rmtree with a mount below": {
			world: func(h *memhost.Host) {
				h.File("/opt/t/m/x", 0o644, "data")
				h.File("/opt/t/y", 0o644, "y")
				h.Mounts = []string{"/opt/t/m"}
			},
			steps: []sh.Step{sh.RemoveDir{Path: "/opt/t", Tree: true}}, probes: []sh.Probe{file("/opt/t/m/x"), file("/opt/t/y")}, fails: true,
		},
		"rmtree of a folder with a like name mounted": {
			world: func(h *memhost.Host) { h.File("/opt/t/y", 0o644, "y"); h.Mounts = []string{"/opt/t2", "/opt/tt/x"} },
			steps: []sh.Step{sh.RemoveDir{Path: "/opt/t", Tree: true}}, probes: []sh.Probe{file("/opt/t")},
		},
		"original": {
			world: func(h *memhost.Host) {
				h.File("/etc/x", 0o604, "theirs")
				h.Nodes["/etc/x"].UID = 9
				h.Symlink("/etc/l", "/dev/null")
				h.Symlink("/etc/broken", "no where")
			},
			steps: []sh.Step{
				sh.KeepOriginal{Path: "/etc/x"}, w("/etc/x", "ours"), sh.KeepOriginal{Path: "/etc/x"},
				sh.KeepOriginal{Path: "/etc/l"}, w("/etc/l", "ours"), sh.KeepOriginal{Path: "/etc/broken"}, sh.KeepOriginal{Path: "/etc/none"}, sh.KeepOriginal{Path: "/etc"},
			},
			probes: []sh.Probe{file("/etc/x"), file("/etc/l"), file(sh.OriginalsDir + "/etc/x"), file(sh.OriginalsDir + "/etc/l")},
		},
		"restore": {
			world: func(h *memhost.Host) {
				h.File("/etc/x", 0o644, "ours")
				h.File(sh.OriginalsDir+"/etc/x", 0o604, "theirs")
				h.File("/etc/new", 0o644, "ours")
				h.File("/etc/l", 0o644, "ours")
				h.Symlink(sh.OriginalsDir+"/etc/l", "/dev/null")
				h.File(sh.OriginalsDir+"/opt/gone/x", 0o644, "theirs")
			},
			steps: []sh.Step{
				sh.RestoreOriginal{Path: "/etc/x"}, sh.RestoreOriginal{Path: "/etc/new"}, sh.RestoreOriginal{Path: "/etc/l"}, sh.RestoreOriginal{Path: "/opt/gone/x"},
				sh.RestoreOriginal{Path: "/etc/x"},
			},
			probes: []sh.Probe{file("/etc/x"), file("/etc/new"), file("/etc/l"), file("/opt/gone/x")},
		},
		"notes": {
			steps: []sh.Step{
				sh.Intend{ID: "file:/etc/a"}, sh.Record{ID: "file:/etc/a", Digest: "abc"}, sh.Intend{ID: "unit:b"},
				sh.Record{ID: "dir:/c", Digest: "d"}, sh.Forget{ID: "dir:/c"}, sh.Record{ID: `odd:'"$(id)\n`, Digest: "e"},
			},
			probes: []sh.Probe{file(sh.ManifestPath)},
		},
		"notes after a torn line": {
			world: put(sh.ManifestPath, 0o600, "file:/etc/a\tabc\nfile:/etc/b\tde"),
			steps: []sh.Step{sh.Record{ID: "file:/etc/c", Digest: "f"}},
		},
	}
}

func everyByte() string {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return string(b) + string(b)
}

func put(p string, mode fs.FileMode, content string) func(h *memhost.Host) {
	return func(h *memhost.Host) { h.File(p, mode, content) }
}

func link(p, target string) func(h *memhost.Host) {
	return func(h *memhost.Host) { h.Symlink(p, target) }
}

func artifactScenarios() map[string]scenario {
	archive := tgz("bin/a", "./bin/b", "-rf", "c d")
	a, raw := resource.DigestOf(archive), resource.DigestOf([]byte("RAW"))
	stamped := func(p string) sh.Probe { return sh.FileProbe{Path: p, Stamped: true, Secret: true} }
	cached := func(h *memhost.Host) {
		h.File(sh.CachePath(a), 0o600, string(archive))
		h.File(sh.CachePath(raw), 0o600, "RAW")
	}
	return map[string]scenario{
		"take": {
			world: put("/tmp/up", 0o600, "RAW"), steps: []sh.Step{sh.TakeUpload{Path: "/tmp/up", SHA256: raw}},
			probes: []sh.Probe{file("/tmp/up"), file(sh.CachePath(raw))},
		},
		"take what is in the cache": {
			world: func(h *memhost.Host) { cached(h); h.File("/tmp/up", 0o600, "RAW") },
			steps: []sh.Step{sh.TakeUpload{Path: "/tmp/up", SHA256: raw}}, probes: []sh.Probe{file("/tmp/up"), file(sh.CachePath(raw))},
		},
		"take the wrong file": {
			world: put("/tmp/up", 0o600, "EVIL"), steps: []sh.Step{sh.TakeUpload{Path: "/tmp/up", SHA256: raw}},
			probes: []sh.Probe{file("/tmp/up"), file(sh.CachePath(raw))}, fails: true,
		},
		"take nothing": {steps: []sh.Step{sh.TakeUpload{Path: "/tmp/up", SHA256: raw}}, probes: []sh.Probe{file(sh.CachePath(raw))}, fails: true},
		"install": {
			world: cached,
			steps: []sh.Step{
				sh.Unpack{SHA256: a}, sh.Install{Path: "/usr/local/bin/a", Mode: 0o755, Archive: a, Member: "bin/a"},
				sh.Install{Path: "/opt/x/b", Mode: 0o700, Archive: a, Member: "bin/b"}, sh.Install{Path: "/opt/x/rf", Mode: 0o755, Archive: a, Member: "-rf"},
				sh.Install{Path: "/opt/x/cd", Mode: 0o755, Archive: a, Member: "c d"}, sh.Install{Path: "/usr/local/bin/raw", Mode: 0o755, Archive: raw},
			},
			probes: []sh.Probe{stamped("/usr/local/bin/a"), stamped("/opt/x/b"), stamped("/opt/x/rf"), stamped("/usr/local/bin/raw"), file("/opt/x/cd")},
		},
		"drop": {
			world: func(h *memhost.Host) { cached(h); h.File(sh.CachePath(a)+".d/x/y", 0o600, "unpacked") },
			steps: []sh.Step{sh.RemoveDir{Path: sh.CacheDir, Tree: true}}, probes: []sh.Probe{file(sh.CachePath(raw)), file(sh.CachePath(a) + ".d")},
		},
		"install over things": {
			world: func(h *memhost.Host) {
				cached(h)
				h.File("/usr/local/bin/raw", 0o600, "old")
				h.File("/opt/l", 0o755, "elsewhere")
				h.Symlink("/usr/local/bin/l", "/opt/l")
				h.File("/usr/local/bin/.raw.kw-tmp", 0o600, "left behind by a crash")
			},
			steps: []sh.Step{
				sh.Install{Path: "/usr/local/bin/raw", Mode: 0o755, Archive: raw}, sh.Install{Path: "/usr/local/bin/l", Mode: 0o755, Archive: raw},
			},
			probes: []sh.Probe{stamped("/usr/local/bin/raw"), stamped("/usr/local/bin/l"), file("/opt/l")},
		},
		"install what is not in the archive": {
			world: cached, steps: []sh.Step{sh.Unpack{SHA256: a}, sh.Install{Path: "/opt/no", Mode: 0o755, Archive: a, Member: "nope"}},
			probes: []sh.Probe{stamped("/opt/no")}, fails: true,
		},
		"install from an empty cache": {steps: []sh.Step{sh.Install{Path: "/opt/no", Mode: 0o755, Archive: raw}}, probes: []sh.Probe{stamped("/opt/no")}, fails: true},
		"unpack what is no archive":   {world: put(sh.CachePath(a), 0o600, "not gzip"), steps: []sh.Step{sh.Unpack{SHA256: a}}, fails: true},
	}
}

func systemScenarios() map[string]scenario {
	unit := func(u memhost.Unit) func(h *memhost.Host) {
		return func(h *memhost.Host) { h.Unit("a.service", u) }
	}
	newFile := sh.WriteFile{Path: "/etc/systemd/system/a.service", Mode: 0o644, Owner: "root:root", Content: []byte("[Service]\n# new\n")}
	asked := []sh.Probe{sh.UnitProbe{Name: "a.service"}, sh.UnitProbe{Name: "none.service"}}
	start := sh.StartUnit{Name: "a.service", Digest: strings.Repeat("d", 64)}
	return map[string]scenario{
		"start":               {world: unit(memhost.Unit{Active: "inactive"}), steps: []sh.Step{start}, probes: asked},
		"start a new unit":    {steps: []sh.Step{newFile, sh.DaemonReload{}, start}, probes: asked},
		"start from old file": {world: unit(memhost.Unit{Active: "active", Enabled: true}), steps: []sh.Step{newFile, start}, probes: asked},
		"start from new file": {world: unit(memhost.Unit{Active: "active", Enabled: true}), steps: []sh.Step{newFile, sh.DaemonReload{}, start}, probes: asked},
		"start what breaks":   {world: unit(memhost.Unit{Breaks: true}), steps: []sh.Step{start}, probes: asked, fails: true},
		"start nothing":       {steps: []sh.Step{start}, probes: asked, fails: true},
		"start masked":        {world: link("/etc/systemd/system/a.service", "/dev/null"), steps: []sh.Step{start}, probes: asked, fails: true},
		"forget, enable": {
			world: func(h *memhost.Host) {
				unit(memhost.Unit{Active: "active"})(h)
				h.File(sh.UnitsDir+"/a.service", 0o644, "abc\n")
				h.File(sh.UnitsDir+"/b.service", 0o644, "def\n")
				h.Unit("b.service", memhost.Unit{Active: "active"})
			},
			steps:  []sh.Step{sh.ForgetStart{Name: "a.service"}, sh.ForgetStart{Name: "c.service"}, sh.EnableUnit{Name: "a.service"}},
			probes: append(asked, sh.UnitProbe{Name: "b.service"}),
		},
		"stop": {
			world: func(h *memhost.Host) {
				unit(memhost.Unit{Active: "active", Enabled: true})(h)
				h.File(sh.UnitsDir+"/a.service", 0o644, "abc\n")
			},
			steps: []sh.Step{sh.StopUnit{Name: "a.service"}, sh.StopUnit{Name: "none.service"}}, probes: asked,
		},
		"kernel": {
			world: func(h *memhost.Host) {
				h.Sysctls["net.ipv4.ip_forward"] = "0"
				h.Sysctls["net.ipv4.tcp_rmem"] = "4096\t131072\t6291456"
				h.Loadable["br_netfilter"] = map[string]string{"net.bridge.bridge-nf-call-iptables": "0"}
				h.Loadable["nf-dash"] = nil
				h.Modules["loaded_one"] = true
				h.Swaps = []string{"/dev/sda2", "/swap.img"}
			},
			steps: []sh.Step{
				sh.LoadModule{Name: "br_netfilter"}, sh.SetSysctl{Key: "net.bridge.bridge-nf-call-iptables", Value: "1"},
				sh.SetSysctl{Key: "net.ipv4.ip_forward", Value: "1"}, sh.SwapOff{},
			},
			probes: []sh.Probe{
				sh.SysctlProbe{Key: "net.bridge.bridge-nf-call-iptables"}, sh.SysctlProbe{Key: "net.ipv4.ip_forward"}, sh.SysctlProbe{Key: "net.ipv4.tcp_rmem"},
				sh.SysctlProbe{Key: "net.none"}, sh.ModuleProbe{Name: "br_netfilter"}, sh.ModuleProbe{Name: "loaded_one"}, sh.ModuleProbe{Name: "none"}, sh.SwapProbe{},
			},
		},
		"swap":                   {world: func(h *memhost.Host) { h.Swaps = []string{"/dev/sda2", "/swap.img"} }, probes: []sh.Probe{sh.SwapProbe{}}},
		"no such module":         {steps: []sh.Step{sh.LoadModule{Name: "none"}}, probes: []sh.Probe{sh.ModuleProbe{Name: "none"}}, fails: true},
		"no such parameter":      {steps: []sh.Step{sh.SetSysctl{Key: "net.none.at_all", Value: "1"}}, probes: []sh.Probe{sh.SysctlProbe{Key: "net.none.at_all"}}, fails: true},
		"what is asked of files": {world: manyFiles, probes: manyQuestions()},
		"teardown":               {world: torn, steps: teardown()},
		"teardown of nothing":    {steps: teardown()},
	}
}

func teardown() []sh.Step {
	return []sh.Step{
		sh.StopPods{}, sh.Unmount{Below: "/var/lib/kubelet"}, sh.DeleteLinks{Prefixes: []string{"cali", "kube-ipvs0"}},
		sh.DeleteRules{ChainPrefixes: []string{"KUBE-", "cali-"}, Comments: []string{"cali:"}, NftTables: []string{"ip kube-proxy", "ip6 none"}, SetPrefixes: []string{"cali", "KUBE-"}},
		sh.DeleteAddress{IP: "10.111.0.5"}, sh.DeleteRoutes{Protocol: "80"},
	}
}

func torn(h *memhost.Host) {
	h.Pods = []string{"pod-a", "pod-b"}
	h.Mounts = []string{"/var/lib/kubelet/pods/a", "/var/lib/kubelet/pods/a/b", "/var/lib/kubelet2/x", "/data"}
	h.Links = []string{"cali123", "eth0", "kube-ipvs0", "my-cali0"}
	h.Tables, h.Sets = []string{"ip kube-proxy", "inet filter"}, []string{"cali40all", "KUBE-X", "mine"}
	for i, a := range []string{"eth0    inet 10.111.0.10/24", "eth0    inet 10.111.0.5/32", "eth0    inet 10.111.0.50/32", "my-cali0    inet 10.111.0.5/24"} {
		h.Addresses = append(h.Addresses, fmt.Sprintf("%d: %s scope global", i+2, a))
	}
	h.Routes = map[string][]string{"80": {"10.244.1.0/26"}, "static": {"10.0.0.0/8"}}
	h.Rules = []string{
		"*filter", ":INPUT ACCEPT [0:0]", ":KUBE-FIREWALL - [0:0]", ":cali-INPUT - [0:0]", ":MINE - [0:0]", ":NOT-KUBE-X - [0:0]",
		`-A INPUT -m comment --comment "cali:Cz_u1IQiXIMmKD4c" -j cali-INPUT`, "-A INPUT -j KUBE-FIREWALL", "-A INPUT -g KUBE-FIREWALL",
		`-A INPUT -m comment --comment cali:abc -j ACCEPT`, "-A KUBE-FIREWALL -j DROP", "-A INPUT -p tcp --dport 22 -j ACCEPT", "-A MINE -j NOT-KUBE-X", "COMMIT",
	}
}

func manyFiles(h *memhost.Host) {
	h.File("/etc/same", 0o600, "same")
	h.File("/etc/other", 0o644, "other")
	h.File("/etc/secret", 0o600, "secret")
	h.File("/etc/big", 0o644, strings.Repeat("x", 65537))
	h.File("/etc/limit", 0o644, strings.Repeat("x", 65536))
	h.File("/etc/setuid", fs.ModeSetuid|fs.ModeSetgid|0o755, "s")
	h.Symlink("/etc/l", "other")
	h.Symlink("/etc/ll", "/etc/l")
	h.Symlink("/etc/dangling", "/nowhere")
	h.Symlink("/etc/todir", "/opt")
	h.Symlink("/etc/odd", `a\c \n $(id)`)
	h.File("/etc/hosts", 0o644, "")
}

func manyQuestions() []sh.Probe {
	want := resource.DigestOf([]byte("same"))
	return []sh.Probe{
		sh.FileProbe{Path: "/etc/same", Want: want}, sh.FileProbe{Path: "/etc/other", Want: want}, sh.FileProbe{Path: "/etc/secret", Want: want, Secret: true},
		sh.FileProbe{Path: "/etc/big", Want: want}, sh.FileProbe{Path: "/etc/limit", Want: want}, sh.FileProbe{Path: "/etc/setuid"},
		sh.FileProbe{Path: "/etc/l", Want: want}, sh.FileProbe{Path: "/etc/ll", Follow: true, Content: true}, sh.FileProbe{Path: "/etc/dangling", Follow: true, Content: true},
		sh.FileProbe{Path: "/etc/todir", Follow: true}, sh.FileProbe{Path: "/etc/odd"}, sh.FileProbe{Path: "/etc/hosts", Content: true}, sh.FileProbe{Path: "/etc/absent", Want: want},
		sh.FileProbe{Path: "/dev/null"}, sh.FileProbe{Path: "/etc/same"}, sh.FileProbe{Path: "/etc/secret", Secret: true},
	}
}

// A script does in each shell what the host in memory does, and what it then says of
// itself is the same. Done twice, nothing changes any more: every step may be repeated.
func TestStepsAndProbes(t *testing.T) {
	for _, scenarios := range []map[string]scenario{fileScenarios(), artifactScenarios(), systemScenarios()} {
		for name, sc := range scenarios {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				inShells(t, sc.run)
			})
		}
	}
}

func (sc scenario) run(t *testing.T, shell shtest.Shell) {
	h, r := memhost.New(t), shtest.New(t, shell)
	h.Nodes["/dev/null"] = &memhost.Node{Mode: fs.ModeDevice | fs.ModeCharDevice | 0o666}
	if sc.world != nil {
		sc.world(h)
	}
	r.Load(h)
	before := r.Differences(h)
	if len(before) > 0 {
		t.Fatalf("the worlds differ from the start:\n%s", strings.Join(before, "\n"))
	}
	compareAnswers(t, look(t, r, sc.probes), h.Answer(sc.probes))
	times := 2
	if sc.fails {
		times = 1
	}
	for i := range times {
		tasks := []sh.Task{{ID: "t", Steps: sc.steps}}
		_, err := h.Run(tasks, -1)
		code, out, stderr := run(t, r, sh.RenderTasks(marker, tasks, sh.NewLook(sc.probes)))
		if failed := code != 0; failed != sc.fails || (err != nil) != sc.fails {
			t.Fatalf("round %d: the script ended with %d (%s), the host in memory with %v", i+1, code, stderr, err)
		}
		if d := r.Differences(h); len(d) > 0 {
			t.Errorf("round %d:\n%s", i+1, strings.Join(d, "\n"))
		}
		if sc.fails {
			if code != 8 || !strings.Contains(out, marker+" fail 0\n") || stderr == "" {
				t.Errorf("a failure has to be reported with a reason: status %d, stderr %q, stdout %q", code, stderr, out)
			}
			compareAnswers(t, look(t, r, sc.probes), h.Answer(sc.probes))
			return
		}
		answers, err := parseAnswers(marker, sh.NewLook(sc.probes), out)
		if err != nil {
			t.Fatalf("round %d: %v\n%s", i+1, err, out)
		}
		compareAnswers(t, answers, h.Answer(sc.probes))
	}
}

// run feeds a script to the root's shell.
func run(t *testing.T, r *shtest.Root, script []byte) (code int, stdout, stderr string) {
	t.Helper()
	var out bytes.Buffer
	code, errs, err := r.Run(t.Context(), script, &out)
	if err != nil {
		t.Fatal(err)
	}
	return code, out.String(), string(errs)
}

func look(t *testing.T, r *shtest.Root, probes []sh.Probe) *sh.Answers {
	t.Helper()
	code, out, stderr := run(t, r, sh.RenderProbes(marker, sh.NewLook(probes)))
	if code != 0 || stderr != "" {
		t.Fatalf("a look ended with %d: %s", code, stderr)
	}
	answers, err := parseAnswers(marker, sh.NewLook(probes), out)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return answers
}

// compareAnswers leaves out the size of folders, which is the file system's business.
func compareAnswers(t *testing.T, got, want *sh.Answers) {
	t.Helper()
	size := cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Size" }, cmp.Comparer(func(_, _ int64) bool { return true }))
	irregular := cmp.Comparer(func(a, b fs.FileMode) bool {
		const special = fs.ModeDevice | fs.ModeCharDevice | fs.ModeIrregular
		return a&^special == b&^special && (a&special != 0) == (b&special != 0)
	})
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(sh.FileState{}), cmpopts.EquateEmpty(), size, irregular); diff != "" {
		t.Errorf("answers (-host in memory +shell):\n%s", diff)
	}
	for p, f := range got.Files {
		if f.Mode.IsRegular() && f.Size != want.Files[p].Size {
			t.Errorf("%s has %d bytes, want %d", p, f.Size, want.Files[p].Size)
		}
	}
}

// Example output for a reader: what one look at one file is made of.
func ExampleRenderProbes() {
	script := string(sh.RenderProbes("MARK", sh.NewLook([]sh.Probe{sh.SwapProbe{}})))
	fmt.Println(strings.Count(script, "\n") > 0, strings.HasSuffix(script, "}\nkw_main </dev/null\n"))
	// Output: true true
}
