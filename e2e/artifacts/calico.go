package main

// calicoModule is the repository of Calico; its release tags are not valid module versions,
// so that calico/go.mod pins the commit of the release by a pseudo-version.
const calicoModule = "github.com/projectcalico/calico"

// calico builds node, cni and kube-controllers laid out as upstream's images, which the
// commands and probes of its manifest rely on. Not in it: BIRD (the VXLAN manifest runs no
// BGP) and the eBPF programs.
func (r release) calico() Group {
	const (
		v       = calicoModule
		plugins = "github.com/containernetworking/plugins/plugins/"
	)
	return Group{
		Name: "calico", Version: r.Calico, Dir: "calico",
		LDFlags: []string{
			"-X main.VERSION=v" + r.Calico,
			"-X " + v + "/node/pkg/lifecycle/startup.VERSION=v" + r.Calico,
			"-X " + v + "/node/buildinfo.GitVersion=v" + r.Calico,
			"-X github.com/containernetworking/plugins/pkg/utils/buildversion.BuildVersion=v" + r.Calico,
		},
		Binaries: []Binary{
			{"calico-node", v + "/node/cmd/calico-node"},
			{"calico", v + "/cni-plugin/cmd/calico"},
			{"install", v + "/cni-plugin/cmd/install"},
			{"kube-controllers", v + "/kube-controllers/cmd/kube-controllers"},
			{"check-status", v + "/kube-controllers/cmd/check-status"},
			{"bandwidth", plugins + "meta/bandwidth"},
			{"host-local", plugins + "ipam/host-local"},
			{"loopback", plugins + "main/loopback"},
			{"portmap", plugins + "meta/portmap"},
			{"tuning", plugins + "meta/tuning"},
		},
		Files:  []File{r.calicoManifest("calico-vxlan.yaml"), r.calicoManifest("calico.yaml")},
		Images: []Image{r.calicoNode(), r.calicoCNI(), r.calicoKubeControllers()},
	}
}

func (r release) calicoManifest(name string) File {
	return File{
		URL:    "https://raw.githubusercontent.com/projectcalico/calico/v" + r.Calico + "/manifests/" + name,
		Format: FromModule, Module: calicoModule, Path: "manifests/" + name,
	}
}

func (r release) calicoNode() Image {
	return Image{
		Ref: "docker.io/calico/node:v" + r.Calico, Debian: true,
		Content: []Content{
			{Path: "etc", Module: calicoModule, Tree: "node/filesystem/etc"},
			{Path: "usr/sbin", Module: calicoModule, Tree: "node/filesystem/sbin"},
			{Path: "usr/bin/calico-node", Binary: "calico-node"},
		},
		Env: []string{"SVDIR=/etc/service/enabled"},
		Cmd: []string{"start_runit"},
	}
}

// calicoCNI carries, like upstream's, plugins of its own, with which the installer replaces
// those of the host.
func (r release) calicoCNI() Image {
	const dir = "opt/cni/bin"
	content := executables(dir, "calico", "install", "bandwidth", "host-local", "loopback", "portmap", "tuning")
	return Image{
		Ref: "docker.io/calico/cni:v" + r.Calico,
		// The plugin decides by its own name which of the two it is.
		Content: append(content, Content{Path: dir + "/calico-ipam", Link: dir + "/calico"}),
		Env:     []string{"PATH=/" + dir + ":" + defaultPath},
		Cmd:     []string{"/" + dir + "/install"},
	}
}

// calicoKubeControllers runs as user 999, who owns the files that it reports its state in.
func (r release) calicoKubeControllers() Image {
	const user = 999
	return Image{
		Ref: "docker.io/calico/kube-controllers:v" + r.Calico,
		Content: append(executables("usr/bin", "kube-controllers", "check-status"),
			Content{Path: "status/status.json", Empty: true, UID: user},
			Content{Path: "profiles/mem.pprof", Empty: true, UID: user},
			Content{Path: "profiles/cpu.pprof", Empty: true, UID: user}),
		User: "999", Entrypoint: []string{"/usr/bin/kube-controllers"},
	}
}
