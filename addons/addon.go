package addons

import (
	"cmp"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/hashicorp/go-version"
	"sigs.k8s.io/yaml"

	"kubewright/internal/catalog"
)

//go:embed */addon.yaml */overlay
var folders embed.FS

// Addon is one folder.
type Addon struct {
	Name  string `json:"name"`  // also the name of the folder
	Short string `json:"short"` // one line for help and lists
	// After names addons that are installed before this one, when they are installed at all.
	After []string `json:"after"`
	// Manifest is the catalogue's name of the upstream manifest; "" for none: then the objects are those
	// of Builtin, or of the overlay alone.
	Manifest string `json:"manifest"`
	// Versions is the range of the manifest's versions that the overlay is written for.
	Versions string `json:"versions"`
	// Builtin names what kubewright renders itself, see builtin.go.
	Builtin string `json:"builtin"`
	// Images are the components of the catalogue whose images the objects use; no others may.
	Images []string `json:"images"`
	// Definitions names the CustomResourceDefinitions of the manifest that the overlay changes.
	Definitions []string `json:"definitions"`
	Requires    Requires `json:"requires"`
	// Ready lists the workloads that have to be available for the addon to work.
	Ready []Ready `json:"ready"`
	// Certificate is what the addon's server proves who it is with; nil for an addon that has none.
	Certificate *Certificate `json:"certificate"`
	// Leaves lists what the addon's pods write to the hosts, so that reset can remove it: a
	// file, or a folder with a slash at the end.
	Leaves []string `json:"leaves"`
	// Variants are by name what is different about the addon in some clusters; one of them is chosen where
	// there are any.
	Variants map[string]Variant `json:"variants"`

	overlay overlay
}

// Variant is what an addon consists of in clusters of some kind, beside what is the same in all.
type Variant struct {
	Manifest string  `json:"manifest"` // in place of the addon's
	Ready    []Ready `json:"ready"`    // beside the addon's
}

// In is the addon in its variant of that name; an addon without variants is the same under any name.
func (a Addon) In(variant string) (Addon, error) {
	if len(a.Variants) == 0 {
		return a, nil
	}
	v, ok := a.Variants[variant]
	if !ok {
		return Addon{}, fmt.Errorf("addon %s has no variant %q: there are %s", a.Name, variant,
			strings.Join(slices.Sorted(maps.Keys(a.Variants)), ", "))
	}
	a.Variants = nil
	a.Manifest = cmp.Or(v.Manifest, a.Manifest)
	a.Ready = slices.Concat(a.Ready, v.Ready)
	return a, nil
}

// Requires says which clusters an addon works in.
type Requires struct {
	Kubernetes string   `json:"kubernetes"` // the range of its versions; empty: any
	IPv4       bool     `json:"ipv4"`       // the pod network must be IPv4
	ProxyModes []string `json:"proxyModes"` // kube-proxy's mode must be one of them; empty: any
}

// Ready names a workload that has to be available for the addon to work.
type Ready struct {
	Kind      string `json:"kind"` // DaemonSet or Deployment
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// Certificate is a certificate of the cluster's authority for the names of a Service, kept in a Secret of type
// kubernetes.io/tls. The overlay makes the Secret of Params.Certificate.
type Certificate struct {
	Namespace string `json:"namespace"` // of the Secret and the Service
	Secret    string `json:"secret"`
	Service   string `json:"service"`
}

// Default lists the addons of this program in the order they are installed. An error means the
// program itself is broken.
func Default() ([]Addon, error) { return load(folders) }

// Find is the addon of that name out of Default; the error lists those there are.
func Find(name string) (Addon, error) {
	all, err := Default()
	if err != nil {
		return Addon{}, err
	}
	names := make([]string, 0, len(all))
	for _, a := range all {
		if a.Name == name {
			return a, nil
		}
		names = append(names, a.Name)
	}
	return Addon{}, fmt.Errorf("there is no addon %q: there are %s", name, strings.Join(names, ", "))
}

// File is the upstream manifest that Render wants. ok is false for an addon that has none.
func (a Addon) File(r catalog.Release) (f catalog.File, ok bool) {
	for _, f := range r.Files(catalog.Arches()[0]) {
		if a.Manifest != "" && f.Name == a.Manifest {
			return f, true
		}
	}
	return catalog.File{}, false
}

// Manifests are the catalogue's names of the upstream manifest, whichever variant is chosen.
func (a Addon) Manifests() []string {
	var names []string
	if a.Manifest != "" {
		names = append(names, a.Manifest)
	}
	for _, v := range a.Variants {
		if v.Manifest != "" {
			names = append(names, v.Manifest)
		}
	}
	return names
}

// Version is that of the upstream manifest, and "" where there is none.
func (a Addon) Version(r catalog.Release) string {
	for _, v := range a.Variants { // of one release, whichever
		a.Manifest = cmp.Or(a.Manifest, v.Manifest)
	}
	file, _ := a.File(r)
	return file.Version
}

// ImageNames lists the images the addon runs in a release.
func (a Addon) ImageNames(r catalog.Release) []string {
	names := make([]string, 0, len(a.Images))
	for _, component := range a.Images {
		names = append(names, r.Image(component))
	}
	return names
}

func load(fsys fs.FS) ([]Addon, error) {
	files, err := fs.Glob(fsys, "*/addon.yaml")
	if err != nil {
		return nil, err
	}
	var all []Addon
	var bad []error
	for _, file := range files {
		data, err := fs.ReadFile(fsys, file)
		if err != nil {
			return nil, err
		}
		var a Addon
		err = yaml.UnmarshalStrict(data, &a)
		if err == nil {
			a.overlay, err = loadOverlay(fsys, path.Dir(file))
		}
		if err == nil {
			err = a.validate(path.Dir(file))
		}
		if err != nil {
			bad = append(bad, fmt.Errorf("%s: %w", file, err))
		}
		all = append(all, a)
	}
	if err := errors.Join(bad...); err != nil {
		return nil, err
	}
	return order(all)
}

// validate checks the addon in each of its variants.
func (a Addon) validate(folder string) error {
	if len(a.Variants) == 0 {
		return a.validateOne(folder)
	}
	var bad []error
	for _, name := range slices.Sorted(maps.Keys(a.Variants)) {
		one, err := a.In(name)
		if err == nil {
			err = one.validateOne(folder)
		}
		if err != nil {
			bad = append(bad, fmt.Errorf("variant %s: %w", name, err))
		}
	}
	return errors.Join(bad...)
}

func (a Addon) validateOne(folder string) error {
	var bad []error
	refuse := func(format string, args ...any) { bad = append(bad, fmt.Errorf(format, args...)) }
	if a.Name != folder {
		refuse("name %q is not that of the folder", a.Name)
	}
	if a.Short == "" {
		refuse("short is missing")
	}
	if a.Manifest != "" && a.Builtin != "" {
		refuse("manifest and builtin exclude each other")
	}
	if a.Manifest == "" && a.Builtin == "" && a.overlay == nil {
		refuse("it has no objects: give it a manifest, a builtin or an overlay")
	}
	if (a.Manifest != "") != (a.Versions != "") {
		refuse("manifest and versions belong together")
	}
	for _, constraint := range []string{a.Versions, a.Requires.Kubernetes} {
		if constraint == "" {
			continue
		}
		if _, err := version.NewConstraint(constraint); err != nil {
			refuse("range of versions %q: %w", constraint, err)
		}
	}
	if len(a.Ready) == 0 {
		refuse("ready is empty: nothing would tell whether the addon works")
	}
	for _, r := range a.Ready {
		if (r.Kind != "DaemonSet" && r.Kind != "Deployment") || r.Namespace == "" || r.Name == "" {
			refuse("ready: %s %s/%s: want a DaemonSet or a Deployment with namespace and name", r.Kind, r.Namespace, r.Name)
		}
	}
	if c := a.Certificate; c != nil && (c.Namespace == "" || c.Secret == "" || c.Service == "") {
		refuse("certificate: want a namespace, a secret and a service")
	}
	return errors.Join(bad...)
}

// order sorts so that every addon comes after those it names, and by name where it is free.
func order(all []Addon) ([]Addon, error) {
	sorted := make([]Addon, 0, len(all))
	done := func(name string) bool {
		return slices.ContainsFunc(sorted, func(a Addon) bool { return a.Name == name }) ||
			!slices.ContainsFunc(all, func(a Addon) bool { return a.Name == name })
	}
	waiting := slices.SortedFunc(slices.Values(all), func(a, b Addon) int { return strings.Compare(a.Name, b.Name) })
	for len(waiting) > 0 {
		next := slices.IndexFunc(waiting, func(a Addon) bool {
			return !slices.ContainsFunc(a.After, func(name string) bool { return !done(name) })
		})
		if next < 0 {
			return nil, fmt.Errorf("addon %s: the order goes in a circle", waiting[0].Name)
		}
		sorted = append(sorted, waiting[next])
		waiting = slices.Delete(waiting, next, next+1)
	}
	return sorted, nil
}
