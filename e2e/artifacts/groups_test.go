package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kubewright/internal/catalog"
)

// TestVersionsArePinned compares the table with the modules that are really built: a version
// changed in one place only would be served under the wrong name.
func TestVersionsArePinned(t *testing.T) {
	for _, r := range releases() {
		for _, g := range r.groups() {
			if !g.nested() {
				continue
			}
			data, err := os.ReadFile(filepath.Join(g.Dir, "go.mod"))
			if err != nil {
				t.Fatal(err)
			}
			text := string(data)
			for _, b := range g.Binaries {
				if !strings.Contains(text, b.Package+"\n") {
					t.Errorf("%s/go.mod has no tool %s", g.Dir, b.Package)
				}
			}
			version := "v" + g.Version
			if g.Name == "calico" {
				version = "v1.11.0-cni-plugin.0.20250813170300-a0db560f0520" // the commit of v3.28.5
			}
			if !strings.Contains(text, " "+version) {
				t.Errorf("%s/go.mod does not pin %s %s", g.Dir, g.Name, version)
			}
		}
	}
}

func TestTableIsConsistent(t *testing.T) {
	for _, r := range releases() {
		seen := map[string]bool{}
		for _, g := range r.groups() {
			has := func(binary string) bool {
				return slices.ContainsFunc(g.Binaries, func(b Binary) bool { return b.Name == binary })
			}
			for _, f := range g.Files {
				if seen[f.URL] || !strings.HasPrefix(f.URL, "https://") {
					t.Errorf("%s: bad or repeated URL", f.URL)
				}
				seen[f.URL] = true
				for _, b := range append([]string{f.Binary}, f.Members...) {
					if b != "" && !has(b) {
						t.Errorf("%s: group %s does not build %s", f.URL, g.Name, b)
					}
				}
			}
			for _, i := range g.Images {
				if _, _, err := splitRef(i.Ref); err != nil || seen[i.Ref] {
					t.Errorf("%s: bad or repeated reference: %v", i.Ref, err)
				}
				seen[i.Ref] = true
				for _, c := range i.Content {
					if strings.HasPrefix(c.Path, "/") || (c.Binary != "" && !has(c.Binary)) || (c.Link != "" && c.Link >= c.Path) {
						t.Errorf("%s: bad content %+v", i.Ref, c)
					}
				}
			}
		}
	}
}

// TestImagesOfRelease is the list that a cluster of this version pulls.
func TestImagesOfRelease(t *testing.T) {
	r, err := findRelease("v1.37.2")
	if err != nil {
		t.Fatal(err)
	}
	groups, err := selectGroups(r.groups(), "")
	if err != nil {
		t.Fatal(err)
	}
	var got, files []string
	for _, g := range groups {
		for _, i := range g.Images {
			got = append(got, i.Ref)
		}
		for _, f := range g.Files {
			files = append(files, strings.ReplaceAll(f.URL, arch(), "ARCH"))
		}
	}
	slices.Sort(got)
	slices.Sort(files)
	if diff := cmp.Diff([]string{
		"docker.io/calico/cni:v3.28.5",
		"docker.io/calico/kube-controllers:v3.28.5",
		"docker.io/calico/node:v3.28.5",
		"docker.io/library/busybox:1.37.0",
		"docker.io/library/haproxy:3.2.25-alpine",
		"docker.io/library/registry:3.1.2",
		"docker.io/osixia/keepalived:2.3.4",
		"docker.io/rancher/local-path-provisioner:v0.0.30",
		"ghcr.io/flannel-io/flannel-cni-plugin:v1.6.2-flannel1",
		"ghcr.io/flannel-io/flannel:v0.26.7",
		"ghcr.io/kubewright/verify:v0.1.0",
		"quay.io/metallb/controller:v0.15.2",
		"quay.io/metallb/speaker:v0.15.2",
		"registry.k8s.io/coredns/coredns:v1.15.0",
		"registry.k8s.io/e2e-test-images/agnhost:2.66.1",
		"registry.k8s.io/etcd:3.7.3-0",
		"registry.k8s.io/kube-apiserver:v1.37.2",
		"registry.k8s.io/kube-controller-manager:v1.37.2",
		"registry.k8s.io/kube-proxy:v1.37.2",
		"registry.k8s.io/kube-scheduler:v1.37.2",
		"registry.k8s.io/metrics-server/metrics-server:v0.9.0",
		"registry.k8s.io/pause:3.10.2",
		"registry.kubewright.test/testserver:v1",
	}, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{
		"https://dl.k8s.io/release/v1.37.2/bin/linux/ARCH/kubectl",
		"https://dl.k8s.io/release/v1.37.2/bin/linux/ARCH/kubelet",
		"https://github.com/containerd/containerd/releases/download/v2.4.2/containerd-2.4.2-linux-ARCH.tar.gz",
		"https://github.com/containernetworking/plugins/releases/download/v1.9.1/cni-plugins-linux-ARCH-v1.9.1.tgz",
		"https://github.com/etcd-io/etcd/releases/download/v3.7.3/etcd-v3.7.3-linux-ARCH.tar.gz",
		"https://github.com/kubernetes-sigs/metrics-server/releases/download/v0.9.0/components.yaml",
		"https://github.com/opencontainers/runc/releases/download/v1.5.2/runc.ARCH",
		"https://raw.githubusercontent.com/flannel-io/flannel/v0.26.7/Documentation/kube-flannel.yml",
		"https://raw.githubusercontent.com/metallb/metallb/v0.15.2/config/manifests/metallb-native.yaml",
		"https://raw.githubusercontent.com/projectcalico/calico/v3.28.5/manifests/calico-vxlan.yaml",
		"https://raw.githubusercontent.com/projectcalico/calico/v3.28.5/manifests/calico.yaml",
		"https://raw.githubusercontent.com/rancher/local-path-provisioner/v0.0.30/deploy/local-path-storage.yaml",
	}, files); diff != "" {
		t.Error(diff)
	}
}

// TestTableAgreesWithTheCatalogue: what is built is asked for by the names that the catalogue gives it, so
// that an image or a file of another version would be served, and never found.
func TestTableAgreesWithTheCatalogue(t *testing.T) {
	notOfTheCatalogue := []string{
		"registry.k8s.io/e2e-test-images/agnhost:2.66.1", "registry.kubewright.test/testserver:v1", // run by tests only
	}
	known, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range releases() {
		wanted, err := known.Release(r.Kubernetes)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, i := range wanted.Images() {
			names = append(names, i.Name)
		}
		for _, f := range wanted.Files(arch()) {
			names = append(names, f.URL)
		}
		groups, err := selectGroups(r.groups(), "")
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range groups {
			for _, i := range g.Images {
				if !slices.Contains(names, i.Ref) && !slices.Contains(notOfTheCatalogue, i.Ref) {
					t.Errorf("the catalogue has no image %s", i.Ref)
				}
			}
			for _, f := range g.Files {
				if !slices.Contains(names, f.URL) {
					t.Errorf("the catalogue has no file %s", f.URL)
				}
			}
		}
	}
}

// TestManifestsAreUpstreams: the manifests that were taken out of modules, or made of them, are to the
// byte what the catalogue says of upstream's.
func TestManifestsAreUpstreams(t *testing.T) {
	dir, err := cacheDir()
	if err != nil {
		t.Skip(err)
	}
	known, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	wanted, err := known.Release(newestKubernetes)
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, f := range wanted.Files(arch()) {
		data, err := os.ReadFile(filepath.Join(dir, mirrorPath(f.URL)))
		if f.Arch != "" || errors.Is(err, os.ErrNotExist) {
			continue // a binary, or not built
		}
		if err != nil {
			t.Fatal(err)
		}
		checked++
		if got := strings.TrimPrefix(digestOf(data), "sha256:"); got != f.SHA256 {
			t.Errorf("%s has the digest %s, and upstream's %s", f.URL, got, f.SHA256)
		}
	}
	if checked == 0 {
		t.Skipf("no manifests in %s: run `make artifacts`", dir)
	}
}

func TestSelection(t *testing.T) {
	all := []Group{{Name: "etcd"}, {Name: "kubeadm", OnRequest: true}, {Name: "runc"}}
	for only, want := range map[string][]string{
		"":             {"etcd", "runc"},
		"kubeadm":      {"kubeadm"},
		"runc, etcd":   {"runc", "etcd"},
		"etcd,kubectl": nil,
	} {
		groups, err := selectGroups(all, only)
		var got []string
		for _, g := range groups {
			got = append(got, g.Name)
		}
		if want == nil {
			if err == nil || !strings.Contains(err.Error(), `"kubectl"`) {
				t.Errorf("%q: got %v, %v", only, got, err)
			}
		} else if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: got %v, %v, want %v", only, got, err, want)
		}
	}
}

func TestRunRefuses(t *testing.T) {
	for args, want := range map[string]string{
		"":                            "usage",
		"bake":                        `"bake"`,
		"list -kubernetes 1.2.3":      "there is: 1.37.2",
		"list -only nothing":          `"nothing"`,
		"list surplus":                `"surplus"`,
		"pin -kubernetes 1.36":        "MAJOR.MINOR.PATCH",
		"build -only kubeadm,unknown": `"unknown"`,
		"load":                        "-from names the folder",
		"load -from /nonexistent":     `"/nonexistent"`,
	} {
		if err := run(t.Context(), strings.Fields(args), io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want an error with %s", args, err, want)
		}
	}
}

// keyOf is the key of the group's binaries in a scratch copy of its module.
func keyOf(t *testing.T, g Group, goMod string) string {
	t.Helper()
	here := t.TempDir()
	write(t, here, "etcd/go.mod", goMod)
	write(t, here, "etcd/go.sum", "")
	write(t, here, "pause/pause.c", "int main(void);")
	s, err := builder{cache: cache{t.TempDir(), io.Discard}, here: here}.binariesStep(g)
	if err != nil {
		t.Fatal(err)
	}
	return s.key
}

func TestKeyCoversTheInputsOfABuild(t *testing.T) {
	base := func() Group {
		return Group{Name: "etcd", Version: "3.7.3", Dir: "etcd", Binaries: []Binary{{"etcd", "go.etcd.io/etcd/server/v3"}}}
	}
	want := keyOf(t, base(), "module a\n")
	if keyOf(t, base(), "module a\n") != want {
		t.Fatal("the key depends on where the repository lies")
	}
	if keyOf(t, base(), "module a\n\ngo 1.27\n") == want {
		t.Error("go.mod is not in the key")
	}
	for name, change := range map[string]func(*Group){
		"version":  func(g *Group) { g.Version = "3.7.4" },
		"binaries": func(g *Group) { g.Binaries[0].Name = "server" },
		"flags":    func(g *Group) { g.LDFlags = []string{"-X main.version=1"} },
		"tags":     func(g *Group) { g.Tags = []string{"seccomp"} },
		"cgo":      func(g *Group) { g.CGO = true },
		"tools":    func(g *Group) { g.Tools = []string{"etcd"} },
		"sources":  func(g *Group) { g.Sources = []string{"pause/pause.c"} },
	} {
		g := base()
		change(&g)
		if keyOf(t, g, "module a\n") == want {
			t.Errorf("%s are not in the key", name)
		}
	}
	g := base()
	g.Files = []File{{URL: "https://example.test/etcd"}}
	g.Images = []Image{{Ref: "registry.k8s.io/etcd:2"}}
	if keyOf(t, g, "module a\n") != want {
		t.Error("what is made of the binaries must not compile them again")
	}
}

func TestMissingSourceIsAnError(t *testing.T) {
	b := builder{cache: cache{t.TempDir(), io.Discard}, here: t.TempDir()}
	if _, err := b.binariesStep(Group{Name: "etcd", Dir: "etcd", Binaries: []Binary{{"etcd", "x"}}}); err == nil {
		t.Error("a group without go.mod has a key")
	}
}

// TestKeysAreStable: the table is data, and building it twice must not look like a change.
func TestKeysAreStable(t *testing.T) {
	r := releases()[0]
	want, err := new(digester).value(r.groups()).key()
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if got, err := new(digester).value(r.groups()).key(); err != nil || got != want {
			t.Fatalf("key changed from %s to %s, %v", want, got, err)
		}
	}
}

func TestNeedsAreReportedTogether(t *testing.T) {
	b := builder{cache: cache{t.TempDir(), io.Discard}, here: "."}
	groups := []Group{
		{Name: "a", Dir: "runc", Binaries: []Binary{{"runc", "x"}}, Needs: []string{"/nonexistent/seccomp.h", "go"}},
		{Name: "b", Dir: "runc", Binaries: []Binary{{"b", "y"}}, Needs: []string{"no-such-compiler", "/nonexistent/seccomp.h"}},
	}
	err := b.checkNeeds(groups)
	if err == nil || !strings.Contains(err.Error(), "lacks /nonexistent/seccomp.h, no-such-compiler; install") {
		t.Fatalf("got %v", err)
	}
	for _, g := range groups { // once built, nothing is needed any more
		s, err := b.binariesStep(g)
		if err != nil {
			t.Fatal(err)
		}
		write(t, b.dir, "state/"+s.id+".json", `{"Key": "`+s.key+`"}`)
	}
	if err := b.checkNeeds(groups); err != nil {
		t.Errorf("what is built already still needs its compiler: %v", err)
	}
}

func TestRenameDefault(t *testing.T) {
	for _, tc := range []struct{ pkg, name, built string }{
		{"go.etcd.io/etcd/server/v3", "etcd", "server"},
		{"go.etcd.io/etcd/etcdctl/v3", "etcdctl", "etcdctl"},
		{"k8s.io/kubernetes/cmd/kubelet", "kubelet", "kubelet"},
		{"pause.c", "pause", "pause"},
	} {
		dir := t.TempDir()
		write(t, dir, tc.built, "")
		if err := renameDefault(dir, Binary{tc.name, tc.pkg}); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Join(dir, tc.name)); err != nil {
			t.Errorf("%s: %v", tc.pkg, err)
		}
	}
}

func TestPinnedModule(t *testing.T) {
	upstream := upstreamModule{Go: "1.25.6"}
	upstream.Replace = make([]struct {
		Old struct{ Path string }
		New struct{ Path string }
	}, 2)
	upstream.Replace[0].Old.Path, upstream.Replace[0].New.Path = "k8s.io/api", "./staging/src/k8s.io/api"
	upstream.Replace[1].Old.Path, upstream.Replace[1].New.Path = "example.test/other", "example.test/fork"
	got, err := pinnedModule(release{Kubernetes: "1.36.3"}, upstream)
	if err != nil {
		t.Fatal(err)
	}
	want := "module kubewright/e2e/artifacts/kubernetes/1.36\n\ngo 1.25.6\n\nrequire k8s.io/kubernetes v1.36.3\n\n" +
		"replace (\n\tk8s.io/api => k8s.io/api v0.36.3\n)\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := pinnedModule(release{Kubernetes: "1.36.3"}, upstreamModule{Go: "1.25"}); err == nil {
		t.Error("no staging modules: that builds nothing, yet no error")
	}
}
