package addons

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/hashicorp/go-version"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubewright/certs"
	"kubewright/internal/catalog"
	"kubewright/internal/objects"
	"kubewright/internal/secret"
	"kubewright/spec"
)

// Label is on every object of an addon and holds its name, so that objects an addon no longer has
// can be found.
const Label = "kubewright.io/addon"

// Params is what addons may depend on.
type Params struct {
	Release catalog.Release

	APIServer    string // URL of the endpoint
	PodCIDR      netip.Prefix
	DNSServiceIP netip.Addr
	DNSDomain    string

	ProxyMode       string         // "iptables", "nftables" or "ipvs": decided
	ContainerHosts  bool           // some node is itself a container
	KubeProxyConfig map[string]any // the user's patch
	DNSReplicas     int            // 0: two

	MTU             int    // of pod interfaces; 0: the addon finds out
	IptablesBackend string // "Auto" (also ""), "NFT" or "Legacy": where the hosts' rules are

	Addons spec.Addons // as the user configures them
	Nodes  int         // hosts that run pods of users

	RegistryIP   netip.Addr              // of the service of the registry
	BGPPasswords map[string]secret.Bytes // of the sessions of MetalLB, by the names of its peers

	CA          []byte     // the certificates of the cluster's authority, as PEM
	Certificate certs.Pair // what Addon.Certificate asks for

	CalicoSettings  spec.Calico
	CalicoPasswords map[string]secret.Bytes // of the peers of Calico that have one, by their names
	// LocalInterfaces is how the names of the interfaces of pods begin, where it is these and not their
	// addresses that tell kube-proxy what comes from a pod; else "".
	LocalInterfaces string
	// IngressCertificate is what TLS is served with where an ingress names no secret; empty for none.
	IngressCertificate certs.Pair
}

func (p Params) validate() error {
	var bad []error
	if !p.PodCIDR.IsValid() || p.PodCIDR != p.PodCIDR.Masked() {
		bad = append(bad, fmt.Errorf("pod CIDR %q is not a network", p.PodCIDR))
	}
	if p.MTU != 0 && (p.MTU < 1280 || p.MTU > 65535) {
		bad = append(bad, fmt.Errorf("MTU %d is neither 0 nor between 1280 and 65535", p.MTU))
	}
	if backends := []string{"Auto", "NFT", "Legacy"}; !slices.Contains(backends, p.IptablesBackend) {
		bad = append(bad, fmt.Errorf("iptables backend %q is none of %s", p.IptablesBackend, strings.Join(backends, ", ")))
	}
	return errors.Join(bad...)
}

// Render makes the objects of an addon, in the order of its manifest. The manifest is what
// Addon.Manifest names, already verified; a built-in addon takes none. A manifest that the
// overlay does not fit, or that uses an image the addon does not list, is an error.
func Render(a Addon, p Params, manifest []byte) ([]*unstructured.Unstructured, error) {
	objects, err := render(a, p, manifest)
	if err != nil {
		return nil, fmt.Errorf("addon %s: %w", a.Name, err)
	}
	return objects, nil
}

func render(a Addon, p Params, manifest []byte) ([]*unstructured.Unstructured, error) {
	if len(a.Variants) > 0 {
		return nil, errors.New("which of its variants is meant was not said")
	}
	p.IptablesBackend = cmp.Or(p.IptablesBackend, "Auto")
	p.DNSReplicas = cmp.Or(p.DNSReplicas, 2)
	if err := errors.Join(p.validate(), a.supports(p)); err != nil {
		return nil, err
	}
	upstream, err := a.upstream(p, manifest)
	if err != nil {
		return nil, err
	}
	objects, err := a.overlay.build(p, upstream, a.Definitions)
	if err != nil {
		return nil, err
	}
	if err := checkImages(objects, a.ImageNames(p.Release)); err != nil {
		return nil, err
	}
	if err := a.checkReady(objects); err != nil {
		return nil, err
	}
	return Labelled(a.Name, objects), nil
}

// Labelled gives every object the label that says whose it is, and returns copies.
func Labelled(addon string, objects []*unstructured.Unstructured) []*unstructured.Unstructured {
	labelled := make([]*unstructured.Unstructured, 0, len(objects))
	for _, object := range objects {
		object = object.DeepCopy()
		labels := object.GetLabels()
		if labels == nil {
			labels = map[string]string{}
		}
		labels[Label] = addon
		object.SetLabels(labels)
		labelled = append(labelled, object)
	}
	return labelled
}

// upstream are the objects that the overlay changes and adds to.
func (a Addon) upstream(p Params, manifest []byte) ([]*unstructured.Unstructured, error) {
	switch {
	case a.Builtin != "":
		var err error
		if manifest, err = renderBuiltin(a.Builtin, p); err != nil {
			return nil, err
		}
	case a.Manifest == "":
		return nil, nil
	default:
		if err := a.fits(p.Release); err != nil {
			return nil, err
		}
	}
	return Decode(manifest)
}

// fits refuses a version of the manifest that the overlay was not written for.
func (a Addon) fits(r catalog.Release) error {
	file, ok := a.File(r)
	if !ok {
		return fmt.Errorf("the release %s has no file %q", r.Kubernetes, a.Manifest)
	}
	within, err := inRange(file.Version, a.Versions)
	if err != nil {
		return fmt.Errorf("version %q of %s: %w", file.Version, a.Manifest, err)
	}
	if !within {
		return fmt.Errorf("version %s of %s is not %s, which the overlay is for", file.Version, a.Manifest, a.Versions)
	}
	return nil
}

// inRange tells whether a version is in a range as go-version writes it.
func inRange(text, constraint string) (bool, error) {
	v, err := version.NewVersion(text)
	if err != nil {
		return false, err
	}
	wanted, err := version.NewConstraint(constraint)
	if err != nil {
		return false, err
	}
	return wanted.Check(v), nil
}

// supports refuses clusters that an addon cannot serve, instead of installing something broken.
func (a Addon) supports(p Params) error {
	if a.Requires.IPv4 && !p.PodCIDR.Addr().Is4() {
		return fmt.Errorf("pod CIDR %s: only IPv4 pod networks are supported", p.PodCIDR)
	}
	if wanted := a.Requires.Kubernetes; wanted != "" {
		within, err := inRange(p.Release.Kubernetes, wanted)
		if err != nil {
			return err
		}
		if !within {
			return fmt.Errorf("it works with Kubernetes %s, and the cluster has %s", wanted, p.Release.Kubernetes)
		}
	}
	if modes := a.Requires.ProxyModes; len(modes) > 0 && !slices.Contains(modes, p.ProxyMode) {
		return fmt.Errorf("it does not work beside kube-proxy in mode %q: set network.proxyMode to %s",
			p.ProxyMode, strings.Join(modes, " or "))
	}
	return nil
}

// Decode reads the manifest of an addon of ours, strictly. A manifest without objects is an error.
func Decode(stream []byte) ([]*unstructured.Unstructured, error) {
	located, err := objects.Decode("manifest", stream)
	if err == nil {
		err = objects.Distinct(located)
	}
	if err != nil {
		return nil, err
	}
	if len(located) == 0 {
		return nil, errors.New("the manifest is empty")
	}
	decoded := make([]*unstructured.Unstructured, len(located))
	for i, o := range located {
		decoded[i] = o.Unstructured
	}
	return decoded, nil
}

// checkImages keeps the promise of the image list: what is not on it would be missing on a site
// without internet.
func checkImages(objects []*unstructured.Unstructured, listed []string) error {
	for _, object := range objects {
		for _, field := range []string{"initContainers", "containers"} {
			containers, _, err := unstructured.NestedSlice(object.Object, podSpec(field)...)
			if err != nil {
				return err
			}
			for _, container := range containers {
				image, _, _ := unstructured.NestedString(asMap(container), "image")
				if !slices.Contains(listed, image) {
					return fmt.Errorf("%s %s uses the image %q, which the addon does not list (%s)",
						object.GetKind(), object.GetName(), image, strings.Join(listed, ", "))
				}
			}
		}
	}
	return nil
}

// ImagesOf lists the images of the pods that objects make, each once and sorted.
func ImagesOf(objects []*unstructured.Unstructured) []string {
	var images []string
	var walk func(value any)
	walk = func(value any) {
		switch value := value.(type) {
		case []any:
			for _, inner := range value {
				walk(inner)
			}
		case map[string]any:
			for key, inner := range value {
				containers, ok := inner.([]any)
				if !ok || key != "containers" && key != "initContainers" {
					walk(inner)
					continue
				}
				for _, c := range containers {
					if image, ok := asMap(c)["image"].(string); ok {
						images = append(images, image)
					}
				}
			}
		}
	}
	for _, o := range objects {
		walk(o.Object)
	}
	slices.Sort(images)
	return slices.Compact(images)
}

// checkReady makes sure that what is waited for is among what is installed.
func (a Addon) checkReady(objects []*unstructured.Unstructured) error {
	for _, r := range a.Ready {
		if !slices.ContainsFunc(objects, func(o *unstructured.Unstructured) bool {
			return o.GetKind() == r.Kind && o.GetNamespace() == r.Namespace && o.GetName() == r.Name
		}) {
			return fmt.Errorf("the objects have no %s %s/%s to wait for", r.Kind, r.Namespace, r.Name)
		}
	}
	return nil
}

func asMap(value any) map[string]any {
	m, _ := value.(map[string]any)
	return m
}

func podSpec(field string) []string { return []string{"spec", "template", "spec", field} }
