package catalog

import (
	"errors"
	"path"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-version"
)

func defaultCatalog(t *testing.T) *Catalog {
	t.Helper()
	c, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func release(t *testing.T, kubernetes string) Release {
	t.Helper()
	r, err := defaultCatalog(t).Release(kubernetes)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestEveryReleaseIsComplete: no version, URL, member or image of any release is left unfilled,
// and every known digest is one.
func TestEveryReleaseIsComplete(t *testing.T) {
	c := defaultCatalog(t)
	for _, kubernetes := range c.Versions() {
		r, err := c.Release(kubernetes)
		if err != nil {
			t.Fatal(err)
		}
		if !r.Listed || r.Kubernetes != kubernetes || !strings.HasPrefix(kubernetes, r.Minor+".") {
			t.Errorf("%s: release %s of minor %s, listed %v", kubernetes, r.Kubernetes, r.Minor, r.Listed)
		}
		if _, err := time.Parse(time.DateOnly, r.EndOfLife); err != nil {
			t.Errorf("%s: end of life: %v", kubernetes, err)
		}
		for name, v := range map[string]string{"etcd": r.Etcd, "containerd": r.Containerd, "minimal containerd": r.MinimalContainerd} {
			if _, err := version.NewSemver(v); err != nil {
				t.Errorf("%s: %s: %v", kubernetes, name, err)
			}
		}
		if !strings.HasPrefix(r.EtcdImageTag, r.Etcd+"-") {
			t.Errorf("%s: etcd %s has image tag %s", kubernetes, r.Etcd, r.EtcdImageTag)
		}
		for _, arch := range Arches() {
			checkFiles(t, kubernetes, arch, r.Files(arch))
		}
		for _, image := range r.Images() {
			if strings.ContainsAny(image.Name, "{}") || !regexp.MustCompile(`^[a-z0-9./-]+:v?\d[\w.-]*$`).MatchString(image.Name) {
				t.Errorf("%s: image of %s is %q", kubernetes, image.Component, image.Name)
			}
		}
	}
}

func checkFiles(t *testing.T, kubernetes, arch string, files []File) {
	t.Helper()
	seen := map[string]bool{}
	for _, f := range files {
		if f.Version == "" || strings.ContainsAny(f.URL+f.ChecksumURL, "{}") || !strings.Contains(f.URL, f.Version) {
			t.Errorf("%s %s: %s %q at %q, checksum at %q", kubernetes, arch, f.Name, f.Version, f.URL, f.ChecksumURL)
		}
		if f.Arch != "" && (f.Arch != arch || !strings.Contains(f.URL, arch)) {
			t.Errorf("%s %s: %s is for %q at %s", kubernetes, arch, f.Name, f.Arch, f.URL)
		}
		if f.SHA256 == "" && f.ChecksumURL == "" {
			t.Errorf("%s %s: nobody can tell the digest of %s", kubernetes, arch, f.URL)
		}
		if f.SHA256 != "" && !isSHA256(f.SHA256) {
			t.Errorf("%s %s: %s has digest %q", kubernetes, arch, f.Name, f.SHA256)
		}
		for member, to := range f.Members {
			if member != path.Clean(member) || !path.IsAbs(to) || strings.ContainsAny(member, "{}") || seen[to] {
				t.Errorf("%s %s: %s: member %q goes to %q", kubernetes, arch, f.Name, member, to)
			}
			seen[to] = true
			if f.Format == Raw && member != path.Base(f.URL) {
				t.Errorf("%s %s: %s is one file, but has member %q", kubernetes, arch, f.Name, member)
			}
		}
	}
}

// TestKnownDigestsAreUsed: a digest under a misspelt name or version would silently count for
// nothing.
func TestKnownDigestsAreUsed(t *testing.T) {
	c := defaultCatalog(t)
	used := map[string]bool{}
	for _, kubernetes := range c.Versions() {
		r := release(t, kubernetes)
		for _, arch := range Arches() {
			for _, f := range r.Files(arch) {
				used[f.SHA256] = true
			}
		}
	}
	for name, versions := range c.data.Digests {
		for v, arches := range versions {
			for arch, sum := range arches {
				if !used[sum] {
					t.Errorf("the digest of %s %s %s belongs to no file", name, v, arch)
				}
			}
		}
	}
}

// TestSharedVersionsAreUsed: a shared version under a misspelt name would count for nothing, and one
// under the name of a column would be shadowed by it.
func TestSharedVersionsAreUsed(t *testing.T) {
	data := defaultCatalog(t).data
	used := map[string]bool{}
	for _, f := range data.Files {
		used[f.Of] = true
	}
	for _, i := range data.Images {
		used[i.Of] = true
	}
	columns := release(t, "1.37.2")
	columns.shared = nil
	for name := range data.Shared {
		if !used[name] {
			t.Errorf("nothing has the shared version %s", name)
		}
		if v := columns.version(name); v != "" {
			t.Errorf("the shared version %s is hidden by a column of the matrix, %s", name, v)
		}
	}
}

func TestRelease(t *testing.T) {
	r := release(t, "v1.37.2")
	if r.Kubernetes != "1.37.2" || r.Etcd != "3.7.3" || r.Containerd != "2.4.2" || r.Runc != "1.5.2" ||
		r.CNIPlugins != "1.9.1" || r.CoreDNS != "1.15.0" || r.Pause != "3.10.2" || r.Calico != "3.28.5" {
		t.Errorf("%+v", r)
	}
	if r.CalicoNftables || !r.IPVSDeprecated || release(t, "1.34.2").IPVSDeprecated {
		t.Errorf("Calico nftables %v, ipvs deprecated %v", r.CalicoNftables, r.IPVSDeprecated)
	}
	for component, want := range map[string]string{
		"kube-apiserver": "registry.k8s.io/kube-apiserver:v1.37.2", "etcd": "registry.k8s.io/etcd:3.7.3-0",
		"coredns": "registry.k8s.io/coredns/coredns:v1.15.0", "pause": "registry.k8s.io/pause:3.10.2",
		"calico-node": "docker.io/calico/node:v3.28.5",
		"haproxy":     "docker.io/library/haproxy:3.2.25-alpine", "keepalived": "docker.io/osixia/keepalived:2.3.4", "kube-vip": "ghcr.io/kube-vip/kube-vip:v1.2.3",
		"flannel-cni-plugin": "ghcr.io/flannel-io/flannel-cni-plugin:v1.6.2-flannel1", "registry": "docker.io/library/registry:3.1.2",
		"metallb-speaker": "quay.io/metallb/speaker:v0.15.2", "nothing": "",
	} {
		if got := r.Image(component); got != want {
			t.Errorf("image of %s is %q, want %q", component, got, want)
		}
	}
	got, _ := r.File("containerd", "arm64")
	want := File{
		Name: "containerd", Version: "2.4.2", Arch: "arm64", Format: TarGzip,
		URL:         "https://github.com/containerd/containerd/releases/download/v2.4.2/containerd-2.4.2-linux-arm64.tar.gz",
		ChecksumURL: "https://github.com/containerd/containerd/releases/download/v2.4.2/containerd-2.4.2-linux-arm64.tar.gz.sha256sum",
		Members: map[string]string{
			"bin/containerd":              "/usr/local/bin/containerd",
			"bin/containerd-shim-runc-v2": "/usr/local/bin/containerd-shim-runc-v2",
			"bin/ctr":                     "/usr/local/bin/ctr",
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if runc, _ := r.File("runc", "amd64"); runc.Members["runc.amd64"] != "/usr/local/sbin/runc" {
		t.Errorf("%+v", runc)
	}
	if manifest, _ := r.File("calico", "amd64"); manifest.Arch != "" || !isSHA256(manifest.SHA256) || manifest.Members != nil {
		t.Errorf("%+v", manifest)
	}
	if etcd, _ := r.File("etcd", "arm64"); etcd.ChecksumURL != "https://github.com/etcd-io/etcd/releases/download/v3.7.3/SHA256SUMS" ||
		path.Base(etcd.URL) != "etcd-v3.7.3-linux-arm64.tar.gz" || etcd.Members["etcd-v3.7.3-linux-arm64/etcd"] != "/usr/local/bin/etcd" {
		t.Errorf("%+v", etcd)
	}
	if f, ok := release(t, "1.36.4").File("kubelet", "amd64"); !ok || f.SHA256 != "cf2562db46c48ab84cc3791540778ee7fb1a0a008529adbb434723dd02ed8b4b" {
		t.Errorf("%+v", f)
	}
	if files := r.Files("s390x"); files != nil {
		t.Errorf("there are files for s390x: %v", files)
	}
	if !cmp.Equal(r, release(t, "1.37.2")) || cmp.Equal(r, release(t, "1.37.1")) {
		t.Error("releases do not compare by their version")
	}
}

func TestReleaseWithoutAFile(t *testing.T) {
	r := release(t, "1.37.2")
	less := r.Without("etcd", "nothing")
	if _, ok := less.File("etcd", "amd64"); ok || len(less.Files("amd64")) != len(r.Files("amd64"))-1 {
		t.Errorf("%d files of %d are left", len(less.Files("amd64")), len(r.Files("amd64")))
	}
	if _, ok := r.File("etcd", "amd64"); !ok {
		t.Error("the release it was made of has lost the file as well")
	}
}

func TestUnlistedPatchIsAllowed(t *testing.T) {
	r := release(t, "1.36.99")
	f, _ := r.File("kubelet", "amd64")
	if r.Listed || f.SHA256 != "" || f.ChecksumURL != "https://dl.k8s.io/release/v1.36.99/bin/linux/amd64/kubelet.sha256" {
		t.Errorf("listed %v, %+v", r.Listed, f)
	}
	if f, _ := r.File("runc", "amd64"); f.SHA256 == "" {
		t.Error("what the patch does not change has lost its digest")
	}
}

func TestReleaseRefuses(t *testing.T) {
	c := defaultCatalog(t)
	for asked, want := range map[string]struct{ reason, nearest string }{
		"":              {"is empty", "1.37.2"},
		"latest":        {"is not a version", "1.37.2"},
		"1.37":          {"is not complete", "1.37.2"},
		"1":             {"is not complete", "1.34.11"},
		"1.37.02":       {"is not complete", "1.37.2"},
		"1.36.0-rc.1":   {"is not a final release", "1.36.4"},
		"1.36.0+k3s1":   {"is not a final release", "1.36.4"},
		"1.33.4":        {"is not supported", "1.34.11"},
		"1.38.0":        {"is not supported", "1.37.2"},
		"2.0.0":         {"is not supported", "1.37.2"},
		"1.37.2.1":      {"is not complete", "1.37.2"},
		"v1.36.2; true": {"is not a version", "1.37.2"},
	} {
		_, err := c.Release(asked)
		var unsupported *UnsupportedError
		if !errors.As(err, &unsupported) {
			t.Errorf("%q: error %v", asked, err)
			continue
		}
		if !strings.Contains(unsupported.Reason, want.reason) || unsupported.Nearest != want.nearest {
			t.Errorf("%q: %v; want %q and %s", asked, err, want.reason, want.nearest)
		}
		if !strings.Contains(err.Error(), "1.34, 1.35, 1.36, 1.37") {
			t.Errorf("%q: the error does not list what is supported: %v", asked, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for want, data := range map[string]string{
		"matrix is empty":    "matrix: []",
		"has no patches":     `matrix: [{minor: "1.1"}]`,
		"unknown field":      "matrixx: []",
		"already set in map": "matrix: []\nmatrix: []",
	} {
		if _, err := parse([]byte(data)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", data, err, want)
		}
	}
}
