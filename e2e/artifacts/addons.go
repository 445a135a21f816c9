package main

// The addons that carry traffic: what can be built of them. Their versions are those of the
// catalogue, which is where the ones that cannot be built are as well.

// metallb is without FRR, which its native mode does not run, so the speaker announces on layer 2
// and speaks BGP itself.
func (r release) metallb() Group {
	const module = "go.universe.tf/metallb"
	g := Group{
		Name: "metallb", Version: r.MetalLB, Dir: "metallb",
		Files: []File{{
			URL:    "https://raw.githubusercontent.com/metallb/metallb/v" + r.MetalLB + "/config/manifests/metallb-native.yaml",
			Format: FromModule, Module: module, Path: "config/manifests/metallb-native.yaml",
		}},
	}
	for _, name := range []string{"controller", "speaker"} {
		g.Binaries = append(g.Binaries, Binary{name, module + "/" + name})
		g.Images = append(g.Images, Image{
			Ref: "quay.io/metallb/" + name + ":v" + r.MetalLB, Content: executables("", name), Entrypoint: []string{"/" + name},
		})
	}
	return g
}

// metricsServer has a manifest that upstream renders for a release, and that is no file of the module.
func (r release) metricsServer() Group {
	const module = "sigs.k8s.io/metrics-server"
	return Group{
		Name: "metrics-server", Version: r.MetricsServer, Dir: "metrics-server",
		Binaries: []Binary{{"metrics-server", module + "/cmd/metrics-server"}},
		LDFlags:  []string{"-X " + module + "/pkg/version.gitVersion=v" + r.MetricsServer},
		Files: []File{{
			URL:    "https://github.com/kubernetes-sigs/metrics-server/releases/download/v" + r.MetricsServer + "/components.yaml",
			Format: Kustomized, Module: module, Path: "manifests/overlays/release",
		}},
		Images: []Image{{
			Ref:     "registry.k8s.io/metrics-server/metrics-server:v" + r.MetricsServer,
			Content: executables("", "metrics-server"), User: "65534", Entrypoint: []string{"/metrics-server"},
		}},
	}
}

func (r release) localPath() Group {
	const module = "github.com/rancher/local-path-provisioner"
	return Group{
		Name: "local-path", Version: r.LocalPath, Dir: "local-path",
		Binaries: []Binary{{"local-path-provisioner", module}},
		LDFlags:  []string{"-X main.VERSION=v" + r.LocalPath},
		Files: []File{{
			URL:    "https://raw.githubusercontent.com/rancher/local-path-provisioner/v" + r.LocalPath + "/deploy/local-path-storage.yaml",
			Format: FromModule, Module: module, Path: "deploy/local-path-storage.yaml",
		}},
		Images: []Image{{
			Ref:     "docker.io/rancher/local-path-provisioner:v" + r.LocalPath,
			Content: executables("usr/bin", "local-path-provisioner"), Cmd: []string{"local-path-provisioner"},
		}},
	}
}

// busybox is what the local-path provisioner makes and removes folders with: the shell and the
// commands of Debian under the name of upstream's, for images that share the base.
func (r release) busybox() Group {
	return Group{
		Name: "busybox", Version: r.Busybox,
		Images: []Image{{Ref: "docker.io/library/busybox:" + r.Busybox, Debian: true, Cmd: []string{"sh"}}},
	}
}

// flannel calls iptables or nft, and its manifest cp. Its backend udp is written in C; linked
// statically, as upstream's is.
func (r release) flannel() Group {
	const module = "github.com/flannel-io/flannel"
	return Group{
		Name: "flannel", Version: r.Flannel, Dir: "flannel",
		Binaries: []Binary{{"flanneld", module}},
		CGO:      true,
		Tags:     []string{"netgo", "osusergo"},
		LDFlags:  []string{"-X " + module + "/pkg/version.Version=v" + r.Flannel, "-linkmode external", "-extldflags -static"},
		Needs:    []string{"cc"},
		Files: []File{{
			URL:    "https://raw.githubusercontent.com/flannel-io/flannel/v" + r.Flannel + "/Documentation/kube-flannel.yml",
			Format: FromModule, Module: module, Path: "Documentation/kube-flannel.yml",
		}},
		Images: []Image{{
			Ref: "ghcr.io/flannel-io/flannel:v" + r.Flannel, Debian: true,
			Content: executables("opt/bin", "flanneld"), Entrypoint: []string{"/opt/bin/flanneld"},
		}},
	}
}

// flannelCNIPlugin is the plugin as it was when it was still one of containernetworking's: the
// module of flannel's own cannot be had. It reads the same configuration. The manifest copies it
// out of the image with cp.
func (r release) flannelCNIPlugin() Group {
	return Group{
		Name: "flannel-cni-plugin", Version: r.FlannelPlugin, Dir: "flannel-cni-plugin",
		Binaries: []Binary{{"flannel", "github.com/containernetworking/plugins/plugins/meta/flannel"}},
		LDFlags:  []string{"-X github.com/containernetworking/plugins/pkg/utils/buildversion.BuildVersion=v" + r.FlannelPlugin},
		Images: []Image{{
			Ref: "ghcr.io/flannel-io/flannel-cni-plugin:v" + r.FlannelCNI, Debian: true, Content: executables("", "flannel"),
		}},
	}
}
