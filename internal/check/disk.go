package check

import (
	"slices"
	"strings"

	"kubewright/internal/facts"
)

// room is what a folder needs.
type room struct {
	path string
	// need is what an installation takes up, in bytes: less is refused. want is
	// what leaves room to work: less is warned about.
	need, want int64
	inodes     int64
	pushed     int64           // what it needs where files are uploaded; 0: no more than need
	only       func(Host) bool // nil: every host with a kubelet
	exec       bool            // programs are run from it
	why        string
}

// rooms lists what is put where. The needs are what one release takes up, rounded
// up: binaries 0.4 GiB, images of a control plane 1.5 GiB unpacked, and the
// archives of both in our cache below /var/lib. Where they are uploaded, the
// archives are in /tmp first. An etcd member may grow to its
// quota of 2 GiB, and needs as much again to compact and to take a snapshot.
func rooms() []room {
	all := func(Host) bool { return true }
	return []room{
		{path: "/etc", need: 16 * mebibyte, want: 64 * mebibyte, inodes: 1_000, only: all, why: "certificates and configuration"},
		{path: "/usr/local", need: 512 * mebibyte, want: 1024 * mebibyte, inodes: 1_000, only: all, exec: true, why: "binaries"},
		{path: "/opt", need: 128 * mebibyte, want: 256 * mebibyte, inodes: 1_000, exec: true, why: "CNI plugins"},
		{path: "/tmp", need: 16 * mebibyte, want: 64 * mebibyte, inodes: 100, pushed: 512 * mebibyte, only: all, why: "short-lived files"},
		{path: "/var/log", need: 64 * mebibyte, want: 1024 * mebibyte, inodes: 1_000, why: "logs of pods"},
		{path: "/var/lib", need: 512 * mebibyte, want: 1024 * mebibyte, inodes: 1_000, only: all, why: "the cache of files"},
		{path: "/var/lib/containerd", need: 2048 * mebibyte, want: 10240 * mebibyte, inodes: 10_000, exec: true, why: "images and containers"},
		{path: "/var/lib/kubelet", need: 128 * mebibyte, want: 2048 * mebibyte, inodes: 1_000, why: "volumes of pods"},
		{path: "/var/lib/etcd", need: 256 * mebibyte, want: 4096 * mebibyte, inodes: 100, only: func(h Host) bool { return h.Etcd }, why: "the database of etcd"},
	}
}

// Hosts of ours have most of it already: there only a file system that is all but
// full is refused, since not even a small file could be replaced safely. What an
// upgrade uploads is not known yet, and no reason to refuse a run that uploads nothing.
const (
	managedNeed   = 64 * mebibyte
	managedInodes = 1_000
)

// volume is a mounted file system with all that is to be put on it.
type volume struct {
	mount              facts.Mount
	need, want, inodes int64
	paths              []string
	exec               bool
}

// volumes adds up the rooms by file system, in the order of rooms.
func volumes(t *T, h Host, f facts.Facts) []volume {
	var all []volume
	for _, r := range rooms() {
		if r.only == nil && h.etcdOnly() || r.only != nil && !r.only(h) {
			continue
		}
		m, ok := f.Mount(r.path)
		if !t.Requiref(ok, "see what stat -f "+r.path+" says there", "the file system of %s is unknown", r.path) {
			continue
		}
		i := slices.IndexFunc(all, func(v volume) bool { return v.mount.MountPoint == m.MountPoint })
		if i < 0 {
			all = append(all, volume{mount: m})
			i = len(all) - 1
		}
		if t.Pushed {
			r.need = max(r.need, r.pushed)
			r.want = max(r.want, r.need)
		}
		v := &all[i]
		v.need, v.want, v.inodes = v.need+r.need, v.want+r.want, v.inodes+r.inodes
		v.paths, v.exec = append(v.paths, r.path), v.exec || r.exec
	}
	return all
}

func checkDisk(t *T, h Host, f facts.Facts) {
	if reason, unknown := f.Unknown["statfs"]; unknown {
		t.Requiref(false, "install coreutils", "the room on the file systems is unknown (%s)", reason)
		return
	}
	for _, v := range volumes(t, h, f) {
		checkVolume(t, h, v)
	}
	if m, ok := f.Mount("/var/lib/containerd"); ok && !h.etcdOnly() {
		t.Requiref(m.FSType != "overlay" && m.FSType != "aufs", "mount a volume there",
			"/var/lib/containerd is on a file system of type %s, on which no image can be unpacked", m.FSType)
	}
	if m, ok := f.Mount("/var/lib/etcd"); ok && h.Etcd {
		t.Assertf(!strings.HasPrefix(m.FSType, "nfs") && m.FSType != "cifs", "put it on a local disk",
			"/var/lib/etcd is on %s; etcd needs a local disk with fast fsync", m.FSType)
	}
}

// checkVolume looks at one file system.
func checkVolume(t *T, h Host, v volume) {
	m, paths := v.mount, strings.Join(v.paths, ", ")
	t.Requiref(!m.ReadOnly, "remount it read-write", "%s is mounted read-only and is needed for %s", m.MountPoint, paths)
	t.Requiref(!m.NoExec || !v.exec, "remount it without noexec", "%s is mounted noexec, and programs run from %s", m.MountPoint, paths)

	need := v.need
	if t.ours(h.Name) {
		need = min(need, managedNeed)
	}
	remedy := "free some space on it or enlarge it"
	if !t.Requiref(m.FreeBytes >= need, remedy, "%s has %s free; %s need %s", m.MountPoint, size(m.FreeBytes), paths, size(need)) {
		return
	}
	if !t.ours(h.Name) && !t.Assertf(m.FreeBytes >= v.want, remedy,
		"%s has %s free, which will not last: %s are better for %s", m.MountPoint, size(m.FreeBytes), size(v.want), paths) {
		return
	}
	const evictPercent = 15 // imagefs.available, the higher of the kubelet's defaults
	node := slices.Contains(v.paths, "/var/lib/kubelet") || slices.Contains(v.paths, "/var/lib/containerd")
	t.Assertf(!node || t.EvictionSet || m.FreeBytes/evictPercent >= m.SizeBytes/100,
		"free some space, or set evictionHard in kubelet.config",
		"%s has less than %d %% of its %s free: the kubelet will report DiskPressure and evict pods", m.MountPoint, evictPercent, size(m.SizeBytes))
}

func checkInodes(t *T, h Host, f facts.Facts) {
	if _, unknown := f.Unknown["statfs"]; unknown {
		return // the disk check says so
	}
	quiet := &T{World: t.World} // the disk check reports unknown file systems
	for _, v := range volumes(quiet, h, f) {
		need := v.inodes
		if t.ours(h.Name) {
			need = min(need, managedInodes)
		}
		t.Requiref(!v.mount.HasInodes() || v.mount.InodesFree >= need,
			"remove small files (df -i shows where), or make the file system anew with more inodes",
			"%s has %d inodes free; %s need %d", v.mount.MountPoint, v.mount.InodesFree, strings.Join(v.paths, ", "), need)
	}
}
