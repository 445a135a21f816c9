// Package manifest makes the Kubernetes objects of a user's addon out of what the user has: manifests,
// a kustomization or a chart of Helm. It knows no cluster: what an addon is depends on the addon and the
// release of Kubernetes only, so that a plan says what an apply will do, and a second one nothing.
//
// Files are read where they are; the network is used for charts of OCI registries only.
package manifest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubewright/internal/fault"
	"kubewright/internal/objects"
)

// Source is one addon of a user: exactly one of Manifests, Kustomization and Chart.Path is set.
// Paths are those of this machine, relative to the working folder or absolute; what the user wrote relative to
// another file, or to the home folder, the caller has resolved.
type Source struct {
	// Name is the addon's, for errors and as the name of a chart's release.
	Name string
	// Namespace is that of namespaced objects that have none, and .Release.Namespace of a chart. The
	// namespace itself is not made.
	Namespace string
	// Manifests is a file, or a folder of which all .yaml, .yml and .json files are read, in the
	// order of their paths. Names that begin with a dot are passed over.
	Manifests string
	// Kustomization is a folder with a kustomization.yaml. It may lead to files below itself and
	// to other local kustomizations, not to remote ones, and runs no plugins.
	Kustomization string
	Chart         Chart
}

// Chart is a chart of Helm, and its values.
type Chart struct {
	// Path is a folder, an archive (.tgz), or a reference oci://REGISTRY/REPOSITORY[:VERSION][@sha256:DIGEST].
	Path string
	// Version is that of the chart: needed for a reference without tag and digest, and else compared.
	Version string
	// ValuesFiles are files of values; a later one wins over an earlier one, and Values over all.
	ValuesFiles []string
	Values      map[string]any
	// ReleaseName is that of the release; "" is the name of the addon.
	ReleaseName string
}

// Env is what an addon depends on beside its source.
type Env struct {
	// Kubernetes is the release, such as "1.37.2".
	Kubernetes string
	// APIVersions are what the cluster serves beside the stable API of Kubernetes: "group/version" and
	// "group/version/Kind" of what other addons define. Charts may ask for them.
	APIVersions []string
	// Transport reaches registries; nil is http.DefaultTransport.
	Transport http.RoundTripper
	// Logins are files of Docker's form with logins to registries, such as ~/.docker/config.json. The
	// first that knows a registry is taken; those that are not there are passed over.
	Logins []string
}

// Render makes the objects of an addon, in the order of its files. Those of a chart have the order of an
// installation: definitions, hooks that go before, everything else, hooks that go after; what becomes of
// hooks, and what else differs from Helm, stands at renderChart and order. All have a name, those that are
// namespaced the source's namespace if they have none, and none is there twice.
//
// Errors name the addon, the file with the line where there is one, and what to do. They are
// fault.BadInput, unless a registry could not be reached, which is fault.Unreachable.
func Render(ctx context.Context, s Source, env Env) ([]*unstructured.Unstructured, error) {
	located, err := s.read(ctx, env)
	if err == nil && len(located) == 0 {
		err = errors.New("it has no objects: name other files, other values, or remove the addon")
	}
	if err == nil {
		scopesOf(located).place(located, s.Namespace)
		err = objects.Distinct(located)
	}
	if err != nil {
		err = fmt.Errorf("addon %s: %w", s.Name, err)
		if fault.KindOf(err) == fault.Other {
			err = &fault.Error{Kind: fault.BadInput, Err: err}
		}
		return nil, err
	}
	rendered := make([]*unstructured.Unstructured, len(located))
	for i, o := range located {
		rendered[i] = o.Unstructured
	}
	return rendered, nil
}

func (s Source) read(ctx context.Context, env Env) ([]objects.Located, error) {
	given := slices.DeleteFunc([]string{s.Manifests, s.Kustomization, s.Chart.Path}, func(path string) bool { return path == "" })
	if len(given) != 1 {
		return nil, fmt.Errorf("it has %d sources: give it manifests, a kustomization or a chart, one of them", len(given))
	}
	switch {
	case s.Manifests != "":
		return readManifests(s.Manifests)
	case s.Kustomization != "":
		return buildKustomization(s.Kustomization)
	default:
		return s.renderChart(ctx, env)
	}
}
