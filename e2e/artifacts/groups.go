package main

import (
	"fmt"
	"slices"
	"strings"
)

// A Group is built from one Go module (or one C file, or packages of Debian) at one version, and
// says which upstream files and images its binaries become. To add one: a folder with a go.mod whose
// `tool` lines pin the packages (`go get -tool PACKAGE@VERSION`), and an entry in
// release.groups.
type Group struct {
	Name    string
	Version string
	// Dir holds the go.mod, relative to e2e/artifacts. "../.." is the main module.
	Dir      string
	Binaries []Binary
	LDFlags  []string
	Tags     []string
	CGO      bool
	// Sources are files or folders, relative to e2e/artifacts, that are inputs besides go.mod.
	Sources []string
	// Needs are the commands and headers of the machine, as listed in packages.txt.
	Needs []string
	// Tools are the binaries that also appear in bin/.
	Tools  []string
	Files  []File
	Images []Image
	// OnRequest groups are built only when named with -only.
	OnRequest bool
}

// Binary is one main package; a Package ending in .c is compiled with cc instead.
type Binary struct{ Name, Package string }

// Format says how an upstream file is made.
type Format string

const (
	// Raw is the binary itself.
	Raw Format = "raw"
	// Archive is a gzipped tar of binaries.
	Archive Format = "tgz"
	// FromModule is a file that comes inside the Go module, such as a manifest.
	FromModule Format = "module"
	// Kustomized is what `kubectl kustomize` makes of a folder of the Go module, as upstream's
	// makefile does for a release. The group kubernetes comes first, as it has the kubectl.
	Kustomized Format = "kustomize"
)

// File is a download as upstream offers it.
type File struct {
	URL    string
	Format Format
	// Binary is the source of a Raw file.
	Binary string
	// Prefix of the member names and Members (binaries) of an Archive.
	Prefix  string
	Members []string
	// Module and Path are the source of a FromModule or Kustomized file.
	Module, Path string
	// Checksum is the name of the checksum file next to it; "" for none.
	Checksum string
	// BareChecksum: the checksum file holds nothing but the hex digest.
	BareChecksum bool
}

// Image is a container image: the shared Debian base, a Debian of its own or nothing, and one layer.
type Image struct {
	Ref        string   // as Kubernetes knows it: registry.k8s.io/pause:3.10.2
	Debian     bool     // stands on the shared base
	Packages   []string `json:",omitempty"` // of a Debian of its own
	Content    []Content
	User       string
	Entrypoint []string
	Cmd        []string
	Env        []string
}

// Content is one entry of an image's layer; exactly one source is set, or none for a folder.
type Content struct {
	Path         string // without leading slash, symbolic links of the base resolved
	Binary       string
	Module, Tree string // a folder of a Go module, copied below Path
	Link         string // a hard link to this path of the same layer
	Empty        bool   // an empty file
	UID          int
	// NetBind gives the binary the file capability cap_net_bind_service.
	NetBind bool
}

// executables places binaries of the group into dir.
func executables(dir string, names ...string) []Content {
	var content []Content
	for _, n := range names {
		content = append(content, Content{Path: strings.TrimPrefix(dir+"/"+n, "/"), Binary: n})
	}
	return content
}

// serviceImage is an otherwise empty image with one static binary in /usr/local/bin, which
// is where the commands of static pods are looked up.
func serviceImage(ref, binary string, more ...string) Image {
	return Image{
		Ref:        ref,
		Content:    executables("usr/local/bin", append([]string{binary}, more...)...),
		Entrypoint: []string{"/usr/local/bin/" + binary},
	}
}

// groups is the table of everything that can be built for a release.
func (r release) groups() []Group {
	return []Group{
		r.mirror(), r.registry(), r.pause(), r.verify(), r.agnhost(),
		r.runc(), r.cniPlugins(), r.containerd(), r.etcd(), r.coredns(), r.calico(),
		r.haproxy(), r.keepalived(),
		r.kubernetes(), r.kubeadm(), r.terraform(),
		r.metallb(), r.metricsServer(), r.localPath(), r.busybox(), r.flannel(), r.flannelCNIPlugin(),
	}
}

func (r release) kubernetes() Group {
	g := Group{
		Name: "kubernetes", Version: r.Kubernetes, Dir: "kubernetes/" + r.minor(),
		LDFlags: r.kubernetesVersionFlags(),
		Tools:   []string{"kubectl"},
	}
	for _, name := range []string{"kubectl", "kubelet", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"} {
		g.Binaries = append(g.Binaries, Binary{name, "k8s.io/kubernetes/cmd/" + name})
	}
	for _, name := range []string{"kubectl", "kubelet"} {
		g.Files = append(g.Files, r.kubernetesFile(name))
	}
	for _, name := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"} {
		image := serviceImage(fmt.Sprintf("registry.k8s.io/%s:v%s", name, r.Kubernetes), name)
		image.Debian = name == "kube-proxy" // it runs iptables, nft and conntrack
		g.Images = append(g.Images, image)
	}
	return g
}

// kubeadm serves as the yardstick of the benchmarks; clusters do not need it.
func (r release) kubeadm() Group {
	return Group{
		Name: "kubeadm", Version: r.Kubernetes, Dir: "kubernetes/" + r.minor(), OnRequest: true,
		LDFlags:  r.kubernetesVersionFlags(),
		Binaries: []Binary{{"kubeadm", "k8s.io/kubernetes/cmd/kubeadm"}},
		Tools:    []string{"kubeadm"},
		Files:    []File{r.kubernetesFile("kubeadm")},
	}
}

// terraform describes lab nodes in a test; clusters do not need it.
func (r release) terraform() Group {
	return Group{
		Name: "terraform", Version: r.Terraform, Dir: "terraform", OnRequest: true,
		Binaries: []Binary{{"terraform", "github.com/hashicorp/terraform"}},
		Tools:    []string{"terraform"},
	}
}

func (r release) kubernetesFile(name string) File {
	return File{
		URL:    fmt.Sprintf("https://dl.k8s.io/release/v%s/bin/linux/%s/%s", r.Kubernetes, arch(), name),
		Format: Raw, Binary: name, Checksum: name + ".sha256", BareChecksum: true,
	}
}

// kubernetesVersionFlags sets what upstream's hack/lib/version.sh sets, but the commit.
func (r release) kubernetesVersionFlags() []string {
	major, minor, _ := strings.Cut(r.minor(), ".")
	var flags []string
	for _, pkg := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		flags = append(flags,
			"-X "+pkg+".gitVersion=v"+r.Kubernetes,
			"-X "+pkg+".gitMajor="+major,
			"-X "+pkg+".gitMinor="+minor,
			"-X "+pkg+".gitTreeState=clean",
			"-X "+pkg+".gitCommit=unknown")
	}
	return flags
}

func (r release) etcd() Group {
	folder := fmt.Sprintf("etcd-v%s-linux-%s", r.Etcd, arch())
	return Group{
		Name: "etcd", Version: r.Etcd, Dir: "etcd",
		Binaries: []Binary{
			{"etcd", "go.etcd.io/etcd/server/v3"},
			{"etcdctl", "go.etcd.io/etcd/etcdctl/v3"},
			{"etcdutl", "go.etcd.io/etcd/etcdutl/v3"},
		},
		Tools: []string{"etcdctl", "etcdutl"},
		Files: []File{{
			URL:    fmt.Sprintf("https://github.com/etcd-io/etcd/releases/download/v%s/%s.tar.gz", r.Etcd, folder),
			Format: Archive, Prefix: folder + "/", Members: []string{"etcd", "etcdctl", "etcdutl"}, Checksum: "SHA256SUMS",
		}},
		Images: []Image{serviceImage("registry.k8s.io/etcd:"+r.EtcdTag, "etcd", "etcdctl", "etcdutl")},
	}
}

func (r release) containerd() Group {
	const module = "github.com/containerd/containerd/v2"
	binaries := []string{"containerd", "containerd-shim-runc-v2", "ctr"}
	archive := fmt.Sprintf("containerd-%s-linux-%s.tar.gz", r.Containerd, arch())
	g := Group{
		Name: "containerd", Version: r.Containerd, Dir: "containerd",
		Tags:    []string{"no_btrfs", "no_devmapper", "no_zfs", "osusergo", "netgo", "static_build"},
		LDFlags: []string{"-X " + module + "/version.Version=v" + r.Containerd},
		Tools:   []string{"ctr"},
		Files: []File{{
			URL:    fmt.Sprintf("https://github.com/containerd/containerd/releases/download/v%s/%s", r.Containerd, archive),
			Format: Archive, Prefix: "bin/", Members: binaries, Checksum: archive + ".sha256sum",
		}},
	}
	for _, b := range binaries {
		g.Binaries = append(g.Binaries, Binary{b, module + "/cmd/" + b})
	}
	return g
}

// runc is linked against libseccomp: without it no sandbox starts, because the runtime's
// default profile cannot be applied.
func (r release) runc() Group {
	return Group{
		Name: "runc", Version: r.Runc, Dir: "runc",
		Binaries: []Binary{{"runc", "github.com/opencontainers/runc"}},
		CGO:      true,
		Tags:     []string{"seccomp", "netgo", "osusergo"},
		LDFlags:  []string{"-linkmode external", "-extldflags -static"},
		Needs:    []string{"cc", "/usr/include/seccomp.h"},
		Files: []File{{
			URL:    fmt.Sprintf("https://github.com/opencontainers/runc/releases/download/v%s/runc.%s", r.Runc, arch()),
			Format: Raw, Binary: "runc", Checksum: "runc.sha256sum",
		}},
	}
}

func (r release) cniPlugins() Group {
	const module = "github.com/containernetworking/plugins"
	archive := fmt.Sprintf("cni-plugins-linux-%s-v%s.tgz", arch(), r.CNIPlugins)
	g := Group{
		Name: "cni-plugins", Version: r.CNIPlugins, Dir: "cni",
		LDFlags: []string{"-X " + module + "/pkg/utils/buildversion.BuildVersion=v" + r.CNIPlugins},
	}
	file := File{
		URL:    fmt.Sprintf("https://%s/releases/download/v%s/%s", module, r.CNIPlugins, archive),
		Format: Archive, Prefix: "./", Checksum: archive + ".sha256",
	}
	for folder, names := range map[string]string{
		"ipam": "dhcp host-local static",
		"main": "bridge dummy host-device ipvlan loopback macvlan ptp tap vlan",
		"meta": "bandwidth firewall portmap sbr tuning vrf",
	} {
		for name := range strings.FieldsSeq(names) {
			g.Binaries = append(g.Binaries, Binary{name, module + "/plugins/" + folder + "/" + name})
			file.Members = append(file.Members, name)
		}
	}
	sortBinaries(g.Binaries)
	slices.Sort(file.Members)
	g.Files = []File{file}
	return g
}

// coredns runs as nobody in particular and may bind port 53 all the same, as upstream's does.
func (r release) coredns() Group {
	return Group{
		Name: "coredns", Version: r.CoreDNS, Dir: "coredns",
		Binaries: []Binary{{"coredns", "github.com/coredns/coredns"}},
		Images: []Image{{
			Ref:     "registry.k8s.io/coredns/coredns:v" + r.CoreDNS,
			Content: []Content{{Path: "coredns", Binary: "coredns", NetBind: true}},
			User:    "65532:65532", Entrypoint: []string{"/coredns"},
		}},
	}
}

func (r release) pause() Group {
	return Group{
		Name: "pause", Version: r.Pause, Dir: "pause",
		Binaries: []Binary{{"pause", "pause.c"}},
		Sources:  []string{"pause/pause.c"}, Needs: []string{"cc"},
		Images: []Image{{
			Ref:     "registry.k8s.io/pause:" + r.Pause,
			Content: []Content{{Path: "pause", Binary: "pause"}},
			User:    "65535:65535", Entrypoint: []string{"/pause"},
		}},
	}
}

func (r release) registry() Group {
	const module = "github.com/distribution/distribution/v3"
	return Group{
		Name: "registry", Version: r.Registry, Dir: "registry",
		Binaries: []Binary{{"registry", module + "/cmd/registry"}},
		LDFlags:  []string{"-X " + module + "/version.version=v" + r.Registry},
		Tools:    []string{"registry"},
		// Unlike upstream's it has no configuration: who runs it brings one.
		Images: []Image{{
			Ref:        "docker.io/library/registry:" + r.Registry,
			Content:    append(executables("bin", "registry"), Content{Path: "var/lib/registry"}),
			Env:        []string{"OTEL_TRACES_EXPORTER=none"},
			Entrypoint: []string{"registry"}, Cmd: []string{"serve", "/etc/distribution/config.yml"},
		}},
	}
}

func (r release) mirror() Group {
	return Group{
		Name: "mirror", Version: "v1", Dir: "../..",
		Binaries: []Binary{{"mirror", "kubewright/e2e/artifacts/mirror"}},
		Sources:  []string{"mirror"}, Tools: []string{"mirror"},
	}
}

// verify is what functional checks run, and under another name and as root what the pods of the
// end-to-end tests run. Its user owns the folder that it keeps files in.
func (r release) verify() Group {
	const user = 65532
	checks := serviceImage("ghcr.io/kubewright/verify:v"+r.Verify, "verifyserver")
	checks.User, checks.Cmd = "65532:65532", []string{"serve"}
	checks.Content = append(checks.Content, Content{Path: "tmp", UID: user})
	tests := Image{
		Ref:        "registry.kubewright.test/testserver:v1",
		Content:    []Content{{Path: "usr/local/bin/testserver", Binary: "verifyserver"}, {Path: "tmp"}},
		Entrypoint: []string{"/usr/local/bin/testserver"}, Cmd: []string{"serve"},
	}
	return Group{
		Name: "verify", Version: r.Verify, Dir: "../..",
		Binaries: []Binary{{"verifyserver", "kubewright/cmd/verifyserver"}},
		Sources:  []string{"../../cmd/verifyserver"},
		Images:   []Image{checks, tests},
	}
}

// agnhost is what the pods of vagrant/README.md run: the image of Kubernetes' own tests, without the
// programs of Alpine that upstream's has beside it. Its tag is that of test/utils/image/manifest.go.
func (r release) agnhost() Group {
	return Group{
		Name: "agnhost", Version: r.Kubernetes, Dir: "agnhost",
		Binaries: []Binary{{"agnhost", "k8s.io/kubernetes/test/images/agnhost"}},
		Images: []Image{{
			Ref:        "registry.k8s.io/e2e-test-images/agnhost:" + r.AgnhostTag,
			Content:    []Content{{Path: "agnhost", Binary: "agnhost"}, {Path: "uploads"}}, // where netexec keeps files
			Entrypoint: []string{"/agnhost"}, Cmd: []string{"pause"},
		}},
	}
}
