package main

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"strings"
)

// newestKubernetes is what is built when nobody asks for another version.
const newestKubernetes = "1.37.2"

// release is the set of versions that are built together with one version of Kubernetes.
// Every version is pinned again, with its digest, in the go.mod of its group; a test
// compares the two.
type release struct {
	Kubernetes string
	Etcd       string
	EtcdTag    string // of the image; upstream counts its image builds
	CoreDNS    string
	Pause      string
	Containerd string
	Runc       string
	CNIPlugins string
	Calico     string
	HAProxy    string
	Keepalived string
	Registry   string
	AgnhostTag string // of the image; its source is that of Kubernetes
	Terraform  string // the last one under the Mozilla Public License

	MetalLB       string
	MetricsServer string
	LocalPath     string
	Busybox       string
	Flannel       string
	FlannelCNI    string // of the image of its plugin
	FlannelPlugin string // of what the plugin is built from: the last containernetworking/plugins that have it
	Verify        string // cmd/verifyserver
}

func releases() []release {
	return []release{{
		Kubernetes: newestKubernetes,
		Etcd:       "3.7.3", EtcdTag: "3.7.3-0",
		CoreDNS: "1.15.0", Pause: "3.10.2",
		Containerd: "2.4.2", Runc: "1.5.2", CNIPlugins: "1.9.1",
		Calico: "3.28.5", HAProxy: "3.2.25", Keepalived: "2.3.4", Registry: "3.1.2",
		AgnhostTag: "2.66.1", Terraform: "1.5.7",
		MetalLB: "0.15.2", MetricsServer: "0.9.0", LocalPath: "0.0.30", Busybox: "1.37.0",
		Flannel: "0.26.7", FlannelCNI: "1.6.2-flannel1", FlannelPlugin: "0.9.1", Verify: "0.1.0",
	}}
}

func findRelease(version string) (release, error) {
	version = strings.TrimPrefix(version, "v")
	var known []string
	for _, r := range releases() {
		if r.Kubernetes == version {
			return r, nil
		}
		known = append(known, r.Kubernetes)
	}
	return release{}, fmt.Errorf("no release for Kubernetes %q (there is: %s); add one to releases in release.go",
		version, strings.Join(known, ", "))
}

// minor is "1.37" of "1.37.2".
func (r release) minor() string {
	parts := strings.SplitN(r.Kubernetes, ".", 3)
	return parts[0] + "." + parts[1]
}

// arch is the architecture that is built for: the machine's own, since the lab runs on it.
func arch() string { return runtime.GOARCH }

func sortBinaries(b []Binary) {
	slices.SortFunc(b, func(x, y Binary) int { return cmp.Compare(x.Name, y.Name) })
}
