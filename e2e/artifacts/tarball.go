package main

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// tarEntry is one member of an archive: a file of the disk, an empty file, a folder, or a
// hard link to a member whose name sorts before its own.
type tarEntry struct {
	Name   string // without leading slash; a folder ends in one
	Mode   int64
	UID    int
	Source string            // file to copy; "" is an empty file
	Link   string            // name of the member that this one is a link to
	Xattrs map[string]string // extended attributes, raw values
}

// epoch is the time of every member of every archive, for digests that depend on nothing
// but the content.
func epoch() time.Time { return time.Unix(0, 0).UTC() }

// writeTar writes the entries sorted by name, so that the same entries always make the same
// bytes.
func writeTar(w io.Writer, entries []tarEntry) error {
	entries = slices.Clone(entries)
	slices.SortFunc(entries, func(a, b tarEntry) int { return strings.Compare(a.Name, b.Name) })
	tw := tar.NewWriter(w)
	for i, e := range entries {
		if i > 0 && entries[i-1].Name == e.Name {
			return fmt.Errorf("archive has %s twice", e.Name)
		}
		if err := writeEntry(tw, e); err != nil {
			return fmt.Errorf("archiving %s: %w", e.Name, err)
		}
	}
	return tw.Close()
}

func writeEntry(tw *tar.Writer, e tarEntry) error {
	h := &tar.Header{Name: e.Name, Mode: e.Mode, Uid: e.UID, Gid: e.UID, ModTime: epoch(), Typeflag: tar.TypeReg}
	if strings.HasSuffix(e.Name, "/") {
		h.Typeflag = tar.TypeDir
	}
	if e.Link != "" {
		h.Typeflag, h.Linkname = tar.TypeLink, e.Link
	}
	for name, value := range e.Xattrs {
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords["SCHILY.xattr."+name] = value
	}
	if e.Source == "" {
		return tw.WriteHeader(h)
	}
	f, err := os.Open(e.Source)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	h.Size = info.Size()
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.Copy(tw, f)
	return err
}

// withParents adds the folders that the entries lie in and that are not entries themselves.
func withParents(entries []tarEntry) []tarEntry {
	seen := map[string]bool{}
	for _, e := range entries {
		seen[e.Name] = true
	}
	out := slices.Clone(entries)
	for _, e := range entries {
		for dir := path.Dir(strings.TrimSuffix(e.Name, "/")); dir != "."; dir = path.Dir(dir) {
			if !seen[dir+"/"] {
				seen[dir+"/"] = true
				out = append(out, tarEntry{Name: dir + "/", Mode: 0o755})
			}
		}
	}
	return out
}

// blob is a file and its digest, as a registry names it.
type blob struct {
	Path   string
	Digest string // sha256:...
	Size   int64
	DiffID string // digest of the uncompressed archive
}

// writeGzip compresses what fill writes into a file, which appears when it is whole.
func writeGzip(target string, fill func(io.Writer) error) (blob, error) {
	temp := target + ".part"
	f, err := os.Create(temp)
	if err != nil {
		return blob{}, err
	}
	defer f.Close()
	packed, plain := sha256.New(), sha256.New()
	zw := gzip.NewWriter(io.MultiWriter(f, packed))
	if err := fill(io.MultiWriter(zw, plain)); err != nil {
		return blob{}, err
	}
	if err := zw.Close(); err != nil {
		return blob{}, err
	}
	info, err := f.Stat()
	if err != nil {
		return blob{}, err
	}
	if err := f.Close(); err != nil {
		return blob{}, err
	}
	return blob{
		Path:   target,
		Digest: "sha256:" + hex.EncodeToString(packed.Sum(nil)),
		DiffID: "sha256:" + hex.EncodeToString(plain.Sum(nil)),
		Size:   info.Size(),
	}, os.Rename(temp, target)
}
