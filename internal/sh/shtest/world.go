package shtest

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"kubewright/internal/resource/memhost"
	"kubewright/internal/sh"
)

// own are the folders whose content is compared: those a host's state is in.
func own() []string {
	return []string{"/etc", "/var", "/opt", "/srv", "/tmp", "/run", "/usr/local"}
}

// Load makes the root what the host in memory is.
func (r *Root) Load(h *memhost.Host) {
	r.tb.Helper()
	for _, p := range slices.Sorted(maps.Keys(h.Nodes)) {
		if p != "/" && p != "/usr" && p != "/proc" && p != "/usr/local" {
			r.load(p, h.Nodes[p])
		}
	}
	for name, u := range h.Units {
		dir := "/fake.state/units/" + name + "/"
		r.Write(dir+"active", u.Active+"\n")
		r.Write(dir+"enabled", word(u.Enabled)+"\n")
		loaded := r.Read("/etc/systemd/system/" + name)
		if loaded != "" {
			r.Write(dir+"loaded", loaded)
			if u.Active == "active" {
				r.Write(dir+"running", loaded)
			}
		}
		if u.Breaks {
			r.Write(dir+"breaks", "")
		}
	}
	for key, value := range h.Sysctls {
		r.Write(sysctlPath(key), value+"\n")
	}
	for name, loaded := range h.Modules {
		if loaded {
			r.must(os.MkdirAll(r.Path("/sys/module/"+name), 0o755))
		}
	}
	for name, brings := range h.Loadable {
		var lines strings.Builder
		for key, value := range brings {
			fmt.Fprintf(&lines, "%s %s\n", sysctlPath(key), value)
		}
		r.Write("/fake.state/modules/"+name, lines.String())
	}
	r.loadSystem(h)
}

func (r *Root) loadSystem(h *memhost.Host) {
	swaps, mounts := r.Read("/proc/swaps"), r.Read("/proc/mounts")
	for _, s := range h.Swaps {
		swaps += s + "\tpartition\t1\t0\t-2\n"
	}
	for _, m := range h.Mounts {
		mounts += "tmpfs " + m + " tmpfs rw 0 0\n"
	}
	r.Write("/proc/swaps", swaps)
	r.Write("/proc/mounts", mounts)
	for _, l := range h.Links {
		r.Write("/sys/class/net/"+l+"/mtu", "1500\n")
	}
	for name, list := range map[string][]string{"pods": h.Pods, "addresses": h.Addresses, "iptables-save": h.Rules, "ip6tables-save": h.Rules, "tables": h.Tables, "sets": h.Sets} {
		r.Write("/fake.state/"+name, lines(list))
	}
	for protocol, routes := range h.Routes {
		r.Write("/fake.state/routes/"+protocol, lines(routes))
	}
}

func lines(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return strings.Join(list, "\n") + "\n"
}

func word(enabled bool) string {
	if enabled {
		return "enabled"
	}
	return "disabled"
}

func sysctlPath(key string) string { return "/proc/sys/" + strings.ReplaceAll(key, ".", "/") }

func (r *Root) load(p string, n *memhost.Node) {
	r.tb.Helper()
	at := r.Path(p)
	switch {
	case n.Mode.IsDir():
		r.must(os.MkdirAll(at, 0o755))
	case n.Mode&fs.ModeSymlink != 0:
		_ = os.Remove(at) // whatever was there
		r.must(os.Symlink(n.Target, at))
		r.must(os.Lchown(at, n.UID, n.GID))
		return
	default:
		r.must(os.MkdirAll(filepath.Dir(at), 0o755))
		r.must(os.WriteFile(at, n.Content, 0o600))
	}
	r.must(os.Chown(at, n.UID, n.GID))
	r.must(os.Chmod(at, n.Mode))
}

// Differences lists what is not the same in the root and on the host in memory.
func (r *Root) Differences(h *memhost.Host) []string {
	r.tb.Helper()
	got, want := r.tree(), map[string]string{}
	for p, n := range h.Nodes {
		if compared(p) {
			want[p] = describe(n.Mode, n.UID, n.GID) + n.Target + string(n.Content)
		}
	}
	r.system(got)
	expect(h, want)
	var d []string
	all := maps.Clone(got)
	maps.Copy(all, want)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if g, w := or(got, key), or(want, key); g != w {
			d = append(d, fmt.Sprintf("%s: %.300q, want %.300q", key, g, w))
		}
	}
	return d
}

func or(m map[string]string, key string) string {
	if v, ok := m[key]; ok {
		return v
	}
	return "absent"
}

// compared tells whether a path belongs to the state of a host; stamps name
// inodes, and locks are held, not compared.
func compared(p string) bool {
	if p == sh.StampsPath || p == sh.RunDir || strings.HasPrefix(p, sh.RunDir+"/") {
		return false
	}
	return slices.ContainsFunc(own(), func(dir string) bool { return strings.HasPrefix(p, dir+"/") })
}

func describe(mode fs.FileMode, uid, gid int) string { return fmt.Sprintf("%v %d:%d ", mode, uid, gid) }

// tree describes every path of the root that is compared.
func (r *Root) tree() map[string]string {
	r.tb.Helper()
	found := map[string]string{}
	for _, dir := range own() {
		base := r.Path(dir + "/")
		r.must(filepath.WalkDir(base, func(at string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			p := dir + strings.TrimPrefix(at, filepath.Clean(base))
			if !compared(p) {
				return nil
			}
			info, err := os.Lstat(at)
			if err != nil {
				return err
			}
			text := ""
			switch {
			case info.Mode()&fs.ModeSymlink != 0:
				text, err = os.Readlink(at)
			case info.Mode().IsRegular():
				var content []byte
				content, err = os.ReadFile(at)
				text = string(content)
			}
			owner, ok := info.Sys().(*syscall.Stat_t)
			if !ok {
				return fmt.Errorf("%s: no owner", at)
			}
			found[p] = describe(info.Mode(), int(owner.Uid), int(owner.Gid)) + text
			return err
		}))
	}
	return found
}

// system adds what the commands of the system keep.
func (r *Root) system(found map[string]string) {
	r.tb.Helper()
	units, err := os.ReadDir(r.Path("/fake.state/units"))
	r.must(err)
	for _, u := range units {
		dir := "/fake.state/units/" + u.Name() + "/"
		found["unit "+u.Name()] = fmt.Sprintf("%s enabled=%v starts=%d running=%q", strings.TrimSpace(r.Read(dir+"active")),
			r.Read(dir+"enabled") == "enabled\n", strings.Count(r.Read(dir+"starts"), "\n"), r.Read(dir+"running"))
	}
	var swaps, mounts []string
	for line := range strings.Lines(r.Read("/proc/swaps")) {
		if name := strings.Fields(line)[0]; name != "Filename" {
			swaps = append(swaps, name)
		}
	}
	for line := range strings.Lines(r.Read("/proc/mounts")) {
		if mp := strings.Fields(line)[1]; mp != "/" && mp != "/proc" {
			mounts = append(mounts, mp)
		}
	}
	found["swaps"], found["mounts"] = lines(swaps), lines(mounts)
	links, err := os.ReadDir(r.Path("/sys/class/net"))
	r.must(err)
	var names []string
	for _, l := range links {
		names = append(names, l.Name())
	}
	found["links"] = lines(names)
	for _, name := range []string{"pods", "addresses", "iptables-save", "ip6tables-save", "tables", "sets"} {
		found[name] = r.Read("/fake.state/" + name)
	}
	routes, err := os.ReadDir(r.Path("/fake.state/routes"))
	r.must(err)
	for _, protocol := range routes {
		found["routes "+protocol.Name()] = r.Read("/fake.state/routes/" + protocol.Name())
	}
}

// expect adds what the host in memory says of the same.
func expect(h *memhost.Host, want map[string]string) {
	for name, u := range h.Units {
		active := u.Active
		if active == "" {
			active = "inactive"
		}
		want["unit "+name] = fmt.Sprintf("%s enabled=%v starts=%d running=%q", active, u.Enabled, u.Starts, u.Running())
	}
	want["swaps"], want["mounts"], want["pods"] = lines(h.Swaps), lines(h.Mounts), lines(h.Pods)
	want["links"] = lines(slices.Sorted(slices.Values(h.Links)))
	want["iptables-save"], want["ip6tables-save"] = lines(h.Rules), lines(h.Rules)
	want["tables"], want["sets"] = lines(h.Tables), lines(h.Sets)
	want["addresses"] = lines(h.Addresses)
	for protocol, routes := range h.Routes {
		want["routes "+protocol] = lines(routes)
	}
}

// Times are the times of last change, in nanoseconds, of everything that is compared.
func (r *Root) Times() map[string]string {
	r.tb.Helper()
	found := r.tree()
	for p := range found {
		info, err := os.Lstat(r.Path(p))
		r.must(err)
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			r.tb.Fatalf("%s: no times", p)
		}
		found[p] = fmt.Sprintf("%d.%09d", stat.Ctim.Sec, stat.Ctim.Nsec)
	}
	return found
}

// Tree describes every path that belongs to the state of a host, by path.
func (r *Root) Tree() map[string]string {
	r.tb.Helper()
	found := r.tree()
	r.system(found)
	return found
}
