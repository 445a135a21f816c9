package catalog

import (
	_ "embed"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/go-version"
	"sigs.k8s.io/yaml"
)

//go:embed catalog.yaml
var embedded []byte

// Catalog is the table of releases. It is read-only once made.
type Catalog struct{ data document }

// UnsupportedError says why a Kubernetes version is not offered, and what is.
type UnsupportedError struct {
	Version   string   // as asked for
	Reason    string   // what is wrong with it
	Supported []string // minors, oldest first
	Nearest   string   // a version that works
}

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("Kubernetes version %q %s: supported are %s; use %s",
		e.Version, e.Reason, strings.Join(e.Supported, ", "), e.Nearest)
}

type digests map[string]map[string]map[string]string // file, version, architecture

type document struct {
	Matrix  []row             `json:"matrix"`
	Shared  map[string]string `json:"shared"`
	Calico  []calicoRow       `json:"calico"`
	Files   []fileTemplate    `json:"files"`
	Images  []imageTemplate   `json:"images"`
	Digests digests           `json:"digests"`
}

type row struct {
	Minor             string   `json:"minor"`
	Patches           []string `json:"patches"`
	EndOfLife         string   `json:"endOfLife"`
	Etcd              string   `json:"etcd"`
	EtcdImage         string   `json:"etcdImage"`
	Containerd        string   `json:"containerd"`
	MinimalContainerd string   `json:"minimalContainerd"`
	Runc              string   `json:"runc"`
	CNIPlugins        string   `json:"cniPlugins"`
	CoreDNS           string   `json:"coreDNS"`
	Pause             string   `json:"pause"`
	Calico            string   `json:"calico"`
	HAProxy           string   `json:"haproxy"`
	Keepalived        string   `json:"keepalived"`
	KubeVIP           string   `json:"kubeVIP"`
	IPVS              string   `json:"ipvs"`
}

type calicoRow struct {
	Version  string `json:"version"`
	Nftables bool   `json:"nftables"`
}

type fileTemplate struct {
	Name     string            `json:"name"`
	Of       string            `json:"of"`
	Format   Format            `json:"format"`
	AnyArch  bool              `json:"anyArch"`
	URL      string            `json:"url"`
	Checksum string            `json:"checksum"`
	Members  map[string]string `json:"members"`
}

type imageTemplate struct {
	Component string `json:"component"`
	Of        string `json:"of"`
	Name      string `json:"name"`
}

// Default is the catalogue this program was built with. An error means the program itself is
// broken.
func Default() (*Catalog, error) {
	c, err := parse(embedded)
	if err != nil {
		return nil, fmt.Errorf("embedded catalogue: %w", err)
	}
	return c, nil
}

func parse(data []byte) (*Catalog, error) {
	var doc document
	if err := yaml.UnmarshalStrict(data, &doc); err != nil {
		return nil, err
	}
	if len(doc.Matrix) == 0 {
		return nil, errors.New("the matrix is empty")
	}
	for _, r := range doc.Matrix {
		if len(r.Patches) == 0 {
			return nil, fmt.Errorf("minor %s has no patches", r.Minor)
		}
	}
	return &Catalog{data: doc}, nil
}

// Minors lists the supported Kubernetes minors, oldest first.
func (c *Catalog) Minors() []string {
	minors := make([]string, 0, len(c.data.Matrix))
	for _, r := range c.data.Matrix {
		minors = append(minors, r.Minor)
	}
	return minors
}

// Versions lists the Kubernetes versions the catalogue names, oldest first.
func (c *Catalog) Versions() []string {
	var versions []string
	for _, r := range c.data.Matrix {
		versions = append(versions, r.Patches...)
	}
	return versions
}

// Latest is the newest Kubernetes version the catalogue names.
func (c *Catalog) Latest() string {
	versions := c.Versions()
	return versions[len(versions)-1]
}

// Release finds what goes with a Kubernetes version, with or without a leading "v". A patch the
// catalogue does not name is allowed when its minor is supported: the digests of its files are
// then unknown. Anything else is an *UnsupportedError.
func (c *Catalog) Release(kubernetesVersion string) (Release, error) {
	plain := strings.TrimPrefix(strings.TrimSpace(kubernetesVersion), "v")
	refuse := func(reason string) (Release, error) {
		return Release{}, &UnsupportedError{
			Version: kubernetesVersion, Reason: reason,
			Supported: c.Minors(), Nearest: c.nearest(plain),
		}
	}
	v, err := version.NewVersion(plain)
	switch {
	case plain == "":
		return refuse("is empty")
	case err != nil:
		return refuse("is not a version")
	case v.Prerelease() != "" || v.Metadata() != "":
		return refuse("is not a final release")
	case !fullVersion(plain):
		return refuse("is not complete (MAJOR.MINOR.PATCH)")
	}
	minor := minorOf(v)
	for _, r := range c.data.Matrix {
		if r.Minor == minor {
			return c.release(r, plain), nil
		}
	}
	return refuse("is not supported")
}

func (c *Catalog) release(r row, kubernetes string) Release {
	return Release{
		Kubernetes: kubernetes, Minor: r.Minor, EndOfLife: r.EndOfLife,
		Listed: slices.Contains(r.Patches, kubernetes),
		Etcd:   r.Etcd, EtcdImageTag: r.EtcdImage, Containerd: r.Containerd, Runc: r.Runc,
		CNIPlugins: r.CNIPlugins, CoreDNS: r.CoreDNS, Pause: r.Pause, Calico: r.Calico,
		HAProxy: r.HAProxy, Keepalived: r.Keepalived, KubeVIP: r.KubeVIP,
		MinimalContainerd: r.MinimalContainerd,
		IPVSDeprecated:    r.IPVS == "deprecated",
		CalicoNftables: slices.ContainsFunc(c.data.Calico, func(row calicoRow) bool {
			return row.Version == r.Calico && row.Nftables
		}),
		shared: c.data.Shared, files: c.data.Files, images: c.data.Images, known: c.data.Digests,
	}
}

// nearest is the newest patch of the wanted minor, or of the supported minor closest to it; with
// nothing to go by, the newest of all.
func (c *Catalog) nearest(wanted string) string {
	newest := func(r row) string { return r.Patches[len(r.Patches)-1] }
	first, last := c.data.Matrix[0], c.data.Matrix[len(c.data.Matrix)-1]
	v, err := version.NewVersion(wanted)
	if err != nil {
		return newest(last)
	}
	for _, r := range c.data.Matrix {
		if r.Minor == minorOf(v) {
			return newest(r)
		}
	}
	oldest, err := version.NewVersion(newest(first))
	if err == nil && v.LessThan(oldest) {
		return newest(first)
	}
	return newest(last)
}

func minorOf(v *version.Version) string {
	s := v.Segments()
	return fmt.Sprintf("%d.%d", s[0], s[1])
}

// fullVersion accepts what upstream tags look like: go-version would also read "1.37" and "01.2.3".
func fullVersion(s string) bool {
	return regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)$`).MatchString(s)
}
