package facts

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// fillMounts joins three answers: which existing folder stands for a path, what
// statfs says about that folder, and which mount it lies on.
func fillMounts(f *Facts, r report) error {
	if len(r.values["path"]) == 0 {
		return fmt.Errorf("path: no folder was looked at")
	}
	if _, unknown := r.unknown["statfs"]; unknown {
		return nil
	}
	sizes, err := statfs(r)
	if err != nil {
		return err
	}
	for _, v := range r.values["path"] {
		path, dir, _ := strings.Cut(v, " ")
		m, ok := sizes[dir]
		if !ok {
			return fmt.Errorf("path: nothing is known of the file system of %s", quote(v))
		}
		m.Path = path
		if err := findMount(&m, dir, r.values["mnt"]); err != nil {
			return err
		}
		f.Mounts = append(f.Mounts, m)
	}
	return nil
}

// statfs reads "folder blocksize blocks available inodes inodesfree".
func statfs(r report) (map[string]Mount, error) {
	sizes := map[string]Mount{}
	for _, v := range r.values["statfs"] {
		w := strings.Fields(v)
		if len(w) != 6 {
			return nil, fmt.Errorf("statfs: %s has not six words", quote(v))
		}
		var n [5]int64
		for i, word := range w[1:] {
			u, err := strconv.ParseUint(word, 10, 64)
			if err != nil {
				return nil, fmt.Errorf("statfs: %s is no number", quote(word))
			}
			n[i] = int64(min(u, 1<<62))
		}
		sizes[w[0]] = Mount{
			SizeBytes: bytesOf(n[0], n[1]), FreeBytes: bytesOf(n[0], n[2]),
			Inodes: n[3], InodesFree: n[4],
		}
	}
	return sizes, nil
}

// bytesOf multiplies without overflow: network file systems claim what they like.
func bytesOf(blockSize, blocks int64) int64 {
	const most = 1 << 62
	if blockSize > 0 && blocks > most/blockSize {
		return most
	}
	return blockSize * blocks
}

// findMount fills in the mount that holds the folder: the longest mount point
// that is a parent of it, and of several on the same point the last, which hides
// the others.
func findMount(m *Mount, dir string, mounts []string) error {
	for _, v := range mounts {
		w := strings.Fields(v)
		if len(w) != 3 {
			return fmt.Errorf("mnt: %s is no mount", quote(v))
		}
		point := w[0]
		inside := point == "/" || dir == point || strings.HasPrefix(dir, point+"/")
		if !inside || len(point) < len(m.MountPoint) {
			continue
		}
		options := strings.Split(w[2], ",")
		m.MountPoint, m.FSType = point, w[1]
		m.ReadOnly, m.NoExec = slices.Contains(options, "ro"), slices.Contains(options, "noexec")
	}
	if m.MountPoint == "" {
		return fmt.Errorf("mnt: no mount holds %s", quote(dir))
	}
	return nil
}
