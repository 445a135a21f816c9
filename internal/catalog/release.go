package catalog

import (
	"maps"
	"slices"
	"strings"
)

// Release is everything that goes with one Kubernetes version. Versions carry no leading "v".
type Release struct {
	Kubernetes string // "1.37.2"
	Minor      string // "1.37"
	EndOfLife  string // date of the minor's last patch, "2027-10-28"
	Listed     bool   // false: a patch newer than the catalogue, allowed but not known by it

	Etcd         string // "3.7.3"
	EtcdImageTag string // "3.7.3-0": upstream numbers its builds of the image
	Containerd   string
	Runc         string
	CNIPlugins   string
	CoreDNS      string // "1.15.0"; its image tag has a "v"
	Pause        string
	Calico       string
	HAProxy      string
	Keepalived   string
	KubeVIP      string // "1.2.3"; its image tag has a "v"

	MinimalContainerd string // the oldest containerd this minor's kubelet is run with
	CalicoNftables    bool   // Calico works beside kube-proxy's nftables mode
	IPVSDeprecated    bool   // kube-proxy's ipvs mode is deprecated in this minor

	shared map[string]string // versions that are the same for every minor
	files  []fileTemplate
	images []imageTemplate
	known  digests
}

// Format says how a downloaded file is packed.
type Format = string

const (
	// Raw is a file that is used as it is.
	Raw Format = "raw"
	// TarGzip is a gzip-compressed tar archive of which only Members are installed.
	TarGzip Format = "tgz"
)

// File is one published file.
type File struct {
	Name, Version string
	Arch          string // "amd64", "arm64"; "" when the file is the same for all
	URL           string
	SHA256        string // 64 hex digits, or "" when unknown: learned once, then locked
	ChecksumURL   string // where upstream publishes the sha256; "" when it does not
	Format        Format
	// Members maps a path in the archive (cleaned: no leading "./"), or the base name of a Raw
	// file, to the absolute path on the host that it is installed to. All are mode 0755.
	// Empty for files that no host needs.
	Members map[string]string
}

// Image is a container image by its upstream name, tag included.
type Image struct{ Component, Name string }

// Equal tells whether two releases are the same: within one catalogue the version decides it all.
func (r Release) Equal(other Release) bool { return r.Kubernetes == other.Kubernetes }

// Arches are the architectures the catalogue has files for.
func Arches() []string { return []string{"amd64", "arm64"} }

// Without is the release without the files of these names.
func (r Release) Without(names ...string) Release {
	r.files = slices.DeleteFunc(slices.Clone(r.files), func(t fileTemplate) bool { return slices.Contains(names, t.Name) })
	return r
}

// Files lists what a host of the architecture needs, and the files that suit every architecture,
// in the order of the catalogue. An unknown architecture has no files.
func (r Release) Files(arch string) []File {
	if !slices.Contains(Arches(), arch) {
		return nil
	}
	files := make([]File, 0, len(r.files))
	for _, t := range r.files {
		files = append(files, r.file(t, arch))
	}
	return files
}

// file fills in what a file of the catalogue is for an architecture.
func (r Release) file(t fileTemplate, arch string) File {
	version := r.version(t.Of)
	fileArch := arch
	if t.AnyArch {
		fileArch = ""
	}
	fill := strings.NewReplacer("{version}", version, "{arch}", arch).Replace
	f := File{
		Name: t.Name, Version: version, Arch: fileArch, Format: t.Format,
		URL: fill(t.URL), ChecksumURL: fill(t.Checksum),
		SHA256: r.known[t.Name][version][digestArch(fileArch)],
	}
	for member, path := range maps.All(t.Members) {
		if f.Members == nil {
			f.Members = make(map[string]string, len(t.Members))
		}
		f.Members[fill(member)] = path
	}
	return f
}

// File returns one file of the release by name; ok is false when there is none for the
// architecture.
func (r Release) File(name, arch string) (f File, ok bool) {
	i := slices.IndexFunc(r.files, func(t fileTemplate) bool { return t.Name == name })
	if i < 0 || !slices.Contains(Arches(), arch) {
		return File{}, false
	}
	return r.file(r.files[i], arch), true
}

// Images lists every image of the release in the order of the catalogue.
func (r Release) Images() []Image {
	images := make([]Image, 0, len(r.images))
	for _, t := range r.images {
		name := strings.ReplaceAll(t.Name, "{version}", r.version(t.Of))
		images = append(images, Image{Component: t.Component, Name: name})
	}
	return images
}

// Image returns the name of a component's image, or "" when the release has no such component.
func (r Release) Image(component string) string {
	for _, image := range r.Images() {
		if image.Component == component {
			return image.Name
		}
	}
	return ""
}

// version is the value of a column of the matrix, or a shared version, by the name it has in
// catalog.yaml.
func (r Release) version(column string) string {
	switch column {
	case "kubernetes":
		return r.Kubernetes
	case "etcd":
		return r.Etcd
	case "etcdImage":
		return r.EtcdImageTag
	case "containerd":
		return r.Containerd
	case "runc":
		return r.Runc
	case "cniPlugins":
		return r.CNIPlugins
	case "coreDNS":
		return r.CoreDNS
	case "pause":
		return r.Pause
	case "calico":
		return r.Calico
	case "haproxy":
		return r.HAProxy
	case "keepalived":
		return r.Keepalived
	case "kubeVIP":
		return r.KubeVIP
	}
	return r.shared[column]
}

// digestArch is the key of files that are the same for every architecture.
func digestArch(arch string) string {
	if arch == "" {
		return "any"
	}
	return arch
}
