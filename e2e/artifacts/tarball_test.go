package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func sampleEntries(t *testing.T) []tarEntry {
	t.Helper()
	source := filepath.Join(t.TempDir(), "calico")
	if err := os.WriteFile(source, []byte("program"), 0o600); err != nil {
		t.Fatal(err)
	}
	return []tarEntry{
		{Name: "opt/cni/bin/calico", Mode: 0o755, Source: source, Xattrs: map[string]string{"security.capability": netBindCapability()}},
		{Name: "opt/cni/bin/calico-ipam", Mode: 0o755, Link: "opt/cni/bin/calico"},
		{Name: "status/status.json", Mode: 0o644, UID: 999},
		{Name: "etc/service/", Mode: 0o755},
	}
}

func tarBytes(t *testing.T, entries []tarEntry) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := writeTar(&out, entries); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestTarDependsOnContentOnly(t *testing.T) {
	entries := sampleEntries(t)
	want := tarBytes(t, withParents(entries))
	slices.Reverse(entries)
	if err := os.Chtimes(entries[3].Source, epoch().AddDate(9, 0, 0), epoch().AddDate(9, 0, 0)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(tarBytes(t, withParents(entries)), want) {
		t.Error("order of entries or time of the source changes the archive")
	}
	if err := os.WriteFile(entries[3].Source, []byte("changed"), 0o600); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(tarBytes(t, withParents(entries)), want) {
		t.Error("content of the source does not change the archive")
	}
}

func TestTarMembers(t *testing.T) {
	type member struct {
		Name, Link, Content string
		Type                byte
		Mode                int64
		UID, GID            int
		Capability          string
	}
	var got []member
	in := tar.NewReader(bytes.NewReader(tarBytes(t, withParents(sampleEntries(t)))))
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !h.ModTime.Equal(epoch()) || h.Uname != "" {
			t.Errorf("%s carries a time or a user name: %v %q", h.Name, h.ModTime, h.Uname)
		}
		data, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, member{h.Name, h.Linkname, string(data), h.Typeflag, h.Mode, h.Uid, h.Gid, h.PAXRecords["SCHILY.xattr.security.capability"]})
	}
	folder := func(name string) member { return member{Name: name, Type: tar.TypeDir, Mode: 0o755} }
	want := []member{
		folder("etc/"), folder("etc/service/"), folder("opt/"), folder("opt/cni/"), folder("opt/cni/bin/"),
		{Name: "opt/cni/bin/calico", Content: "program", Type: tar.TypeReg, Mode: 0o755, Capability: netBindCapability()},
		{Name: "opt/cni/bin/calico-ipam", Link: "opt/cni/bin/calico", Type: tar.TypeLink, Mode: 0o755},
		folder("status/"),
		{Name: "status/status.json", Type: tar.TypeReg, Mode: 0o644, UID: 999, GID: 999},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTarRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		entries []tarEntry
		want    string
	}{
		"the same name twice": {[]tarEntry{{Name: "a"}, {Name: "a"}}, "a twice"},
		"a missing source":    {[]tarEntry{{Name: "a", Source: "/nonexistent/b"}}, "/nonexistent/b"},
	} {
		t.Run(name, func(t *testing.T) {
			err := writeTar(io.Discard, tc.entries)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

func TestWriteGzipDigests(t *testing.T) {
	target := filepath.Join(t.TempDir(), "layer.tar.gz")
	got, err := writeGzip(target, func(w io.Writer) error { _, err := io.WriteString(w, "layer"); return err })
	if err != nil {
		t.Fatal(err)
	}
	packed, err := os.ReadFile(target)
	if err != nil {
		t.Fatal(err)
	}
	want := blob{Path: target, Digest: digestOf(packed), Size: int64(len(packed)), DiffID: digestOf([]byte("layer"))}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	zr, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := io.ReadAll(zr); err != nil || string(plain) != "layer" {
		t.Errorf("unpacks to %q, %v", plain, err)
	}
}

func TestWriteGzipLeavesNothingHalf(t *testing.T) {
	target := filepath.Join(t.TempDir(), "layer.tar.gz")
	broken := errors.New("source vanished")
	if _, err := writeGzip(target, func(io.Writer) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(target); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the archive has its name though it is not whole: %v", err)
	}
}

func TestFilterTar(t *testing.T) {
	raw := filepath.Join(t.TempDir(), "root.tar")
	f, err := os.Create(raw)
	if err != nil {
		t.Fatal(err)
	}
	tw := tar.NewWriter(f)
	for _, h := range []tar.Header{
		{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "./bin", Typeflag: tar.TypeSymlink, Linkname: "usr/bin", Mode: 0o777},
		{Name: "./dev/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "./dev/null", Typeflag: tar.TypeChar, Mode: 0o666},
		{Name: "./etc/service", Typeflag: tar.TypeSymlink, Linkname: "runit/runsvdir/current"},
		{Name: "./etc/services", Typeflag: tar.TypeReg, Mode: 0o644, Uname: "root", ModTime: epoch().AddDate(40, 0, 0)},
		{Name: "./usr/bin/perl", Typeflag: tar.TypeReg, Mode: 0o755},
		{Name: "./usr/bin/perl5.36.0", Typeflag: tar.TypeLink, Linkname: "./usr/bin/perl"},
		{Name: "./usr/sbin/ip", Typeflag: tar.TypeLink, Linkname: "./usr/bin/ip"},
	} {
		if err := tw.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(tw.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := filterTar(&out, raw, leftOut()); err != nil {
		t.Fatal(err)
	}
	var got []string
	in := tar.NewReader(&out)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !h.ModTime.Equal(epoch()) || h.Uname != "" {
			t.Errorf("%s carries a time or a user name", h.Name)
		}
		got = append(got, strings.TrimSpace(h.Name+" "+h.Linkname))
	}
	if diff := cmp.Diff([]string{"bin usr/bin", "dev/", "etc/services", "usr/sbin/ip usr/bin/ip"}, got); diff != "" {
		t.Error(diff)
	}
	for _, pattern := range leftOut() {
		if _, err := path.Match(pattern, "x"); err != nil {
			t.Errorf("pattern %s: %v", pattern, err)
		}
	}
	if err := os.WriteFile(raw, []byte("no archive"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := filterTar(io.Discard, raw, leftOut()); err == nil || !strings.Contains(err.Error(), raw) {
		t.Errorf("a broken archive: got %v", err)
	}
}
