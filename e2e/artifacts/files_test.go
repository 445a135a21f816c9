package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestChecksumText(t *testing.T) {
	url := "https://github.com/opencontainers/runc/releases/download/v1.5.2/runc.amd64"
	if got := checksumText(File{URL: url}, "c10e"); got != "c10e  runc.amd64\n" {
		t.Errorf("got %q", got)
	}
	if got := checksumText(File{URL: url, BareChecksum: true}, "c10e"); got != "c10e" {
		t.Errorf("got %q", got)
	}
}

func TestFilesStep(t *testing.T) {
	b := builder{cache: cache{t.TempDir(), io.Discard}}
	g := Group{Name: "cni-plugins", Version: "1", Files: []File{
		{URL: "https://dl.k8s.io/release/v1/kubelet", Format: Raw, Binary: "bridge", Checksum: "kubelet.sha256", BareChecksum: true},
		{URL: "https://github.com/cni/v1/plugins.tgz", Format: Archive, Prefix: "./", Members: []string{"loopback", "bridge"}, Checksum: "plugins.tgz.sha256"},
	}}
	write(t, b.dir, buildDir(g)+"/bridge", "bridge program")
	write(t, b.dir, buildDir(g)+"/loopback", "loopback program")
	s, err := b.filesStep(g, nil)
	if err != nil {
		t.Fatal(err)
	}
	outputs, err := b.do(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	sums, urls := map[string]string{}, []string{}
	for _, o := range outputs {
		sums[o.Path] = o.SHA256
		if o.URL != "" {
			urls = append(urls, o.URL)
		}
	}
	if diff := cmp.Diff([]string{g.Files[0].URL, g.Files[1].URL}, urls); diff != "" {
		t.Errorf("checksum files are not downloads of their own: %s", diff)
	}
	for path, want := range map[string]string{
		"files/dl.k8s.io/release/v1/kubelet":         "bridge program",
		"files/dl.k8s.io/release/v1/kubelet.sha256":  sums["files/dl.k8s.io/release/v1/kubelet"],
		"files/github.com/cni/v1/plugins.tgz.sha256": sums["files/github.com/cni/v1/plugins.tgz"] + "  plugins.tgz\n",
	} {
		if got, err := os.ReadFile(filepath.Join(b.dir, path)); err != nil || string(got) != want {
			t.Errorf("%s is %q, %v, want %q", path, got, err, want)
		}
	}
	if diff := cmp.Diff([]string{"./", "./bridge", "./loopback"}, archiveMembers(t, filepath.Join(b.dir, "files/github.com/cni/v1/plugins.tgz"))); diff != "" {
		t.Error(diff)
	}
}

func archiveMembers(t *testing.T, path string) []string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zr, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for in := tar.NewReader(zr); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
	}
}

func TestFilesStepFails(t *testing.T) {
	b := builder{cache: cache{t.TempDir(), io.Discard}}
	for name, f := range map[string]File{
		"raw":     {URL: "https://example.test/a", Format: Raw, Binary: "not-built"},
		"archive": {URL: "https://example.test/b", Format: Archive, Members: []string{"not-built"}},
		"format":  {URL: "https://example.test/c", Format: "zip"},
	} {
		g := Group{Name: name, Version: "1", Files: []File{f}}
		s, err := b.filesStep(g, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.do(t.Context(), s); err == nil {
			t.Errorf("%s: no error", name)
		}
		if _, err := os.Stat(filepath.Join(b.dir, mirrorPath(f.URL))); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the failed file is there: %v", name, err)
		}
	}
}

func TestLists(t *testing.T) {
	b := builder{cache: cache{t.TempDir(), io.Discard}}
	write(t, b.dir, "f", "x")
	write(t, b.dir, "state/files-b.json", `{"Outputs":[{"Path":"f","Size":1,"SHA256":"bb","URL":"https://b.test/f"},{"Path":"f","Size":1,"SHA256":"cc"}]}`)
	write(t, b.dir, "state/files-a.json", `{"Outputs":[{"Path":"f","Size":1,"SHA256":"aa","URL":"https://a.test/f"}]}`)
	write(t, b.dir, "state/files-gone.json", `{"Outputs":[{"Path":"gone","Size":1,"SHA256":"dd","URL":"https://gone.test/f"}]}`)
	write(t, b.dir, "state/image.json", `{"Outputs":[{"Path":"f","Size":1,"Ref":"registry.k8s.io/pause:3.10.2"}]}`)
	if err := b.writeLists(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"digests.yaml": "apiVersion: kubewright.io/v1alpha1\nkind: Lock\nfiles:\n" +
			"  https://a.test/f: sha256:aa\n  https://b.test/f: sha256:bb\n",
		"images.txt": "registry.k8s.io/pause:3.10.2\n",
	} {
		if got, err := os.ReadFile(filepath.Join(b.dir, name)); err != nil || string(got) != want {
			t.Errorf("%s is %q, %v, want %q", name, got, err, want)
		}
	}
}

func TestLockKeepsASecondBuildOut(t *testing.T) {
	b := builder{cache: cache{t.TempDir(), io.Discard}}
	unlock, err := b.lock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.lock(); err == nil {
		t.Error("two builds at once in one directory")
	}
	unlock()
	again, err := b.lock()
	if err != nil {
		t.Fatal(err)
	}
	again()
}

func TestKustomize(t *testing.T) {
	b := builder{cache: cache{t.TempDir(), io.Discard}}
	if _, err := b.kustomize(t.Context(), "folder"); err == nil || !strings.Contains(err.Error(), "build the group kubernetes first") {
		t.Errorf("without kubectl: got %v", err)
	}
	write(t, b.dir, "bin/kubectl", "#!/bin/sh\necho a warning >&2\n[ \"$2\" = folder ] || exit 3\necho \"$@\"\n")
	if err := os.Chmod(filepath.Join(b.dir, "bin/kubectl"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := b.kustomize(t.Context(), "folder"); err != nil || string(got) != "kustomize folder\n" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := b.kustomize(t.Context(), "other"); err == nil || !strings.Contains(err.Error(), "kubectl kustomize other: exit status 3\na warning") {
		t.Errorf("kubectl fails: got %v", err)
	}
}
