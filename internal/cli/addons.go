package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubewright/addons"
	"kubewright/cluster"
	"kubewright/internal/fault"
	"kubewright/internal/manifest"
	"kubewright/internal/objects"
	"kubewright/phases"
	"kubewright/spec"
)

// addonNames are the addons of this program.
func addonNames() ([]string, error) {
	all, err := addons.Default()
	if err != nil {
		return nil, err
	}
	names := make([]string, len(all))
	for i, a := range all {
		names[i] = a.Name
	}
	return names, nil
}

// customAddons makes the objects of the user's own addons out of their files.
func customAddons(ctx context.Context, c *cluster.Cluster) (map[string][]*unstructured.Unstructured, error) {
	env := manifest.Env{Kubernetes: c.Version, Logins: []string{expandHome("~/.docker/config.json")}}
	all := map[string][]*unstructured.Unstructured{}
	var errs []error
	for _, a := range c.Addons.Custom {
		source := manifest.Source{
			Name: a.Name, Namespace: a.Namespace, Manifests: expandHome(a.Manifests), Kustomization: expandHome(a.Kustomization),
			Chart: manifest.Chart{Path: a.Chart.Path, Version: a.Chart.Version, Values: a.Chart.Values, ReleaseName: a.Chart.ReleaseName},
		}
		if !strings.Contains(a.Chart.Path, "://") {
			source.Chart.Path = expandHome(a.Chart.Path)
		}
		for _, file := range a.Chart.ValuesFiles {
			source.Chart.ValuesFiles = append(source.Chart.ValuesFiles, expandHome(file))
		}
		rendered, err := manifest.Render(ctx, source, env)
		errs = append(errs, err)
		all[a.Name] = rendered
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return all, distinct(c.Addons.Custom, all)
}

// distinct refuses an object that two addons have.
func distinct(custom []spec.CustomAddon, all map[string][]*unstructured.Unstructured) error {
	var errs []error
	owners := map[string]string{}
	for _, a := range custom {
		for _, object := range all[a.Name] {
			id := objects.Located{Unstructured: object}.ID()
			if owner, taken := owners[id]; taken {
				errs = append(errs, fmt.Errorf("addon %s: %s is an object of the addon %s too; take it out of one of them", a.Name, id, owner))
				continue
			}
			owners[id] = a.Name
		}
	}
	return fault.Wrap(fault.BadInput, errors.Join(errs...))
}

func newAddonsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "addons", Short: "What is installed into the cluster"}
	cmd.AddCommand(aboutFiles(&cobra.Command{
		Use:   "list",
		Short: "List the addons, whether they are enabled, and in which version",
		Long: `Lists the addons that a cluster can have, those of the cluster file marked. No host is asked; plan says what
of them is not as wanted.`,
		Example: `  kubewright addons list -f cluster.yaml`,
	}, listAddons))
	return cmd
}

// addonDocument is the JSON form of an addon.
type addonDocument struct {
	Name    string `json:"name"`
	Short   string `json:"short"`
	Enabled bool   `json:"enabled"`
	// Version is absent where the addon follows from the version of Kubernetes, or is the user's.
	Version string   `json:"version,omitempty"`
	Custom  bool     `json:"custom"`
	After   []string `json:"after"`
	Images  []string `json:"images"`
}

func listAddons(_ context.Context, c *cluster.Cluster) (result, error) {
	all, err := addons.Default()
	if err != nil {
		return result{}, err
	}
	var documents []addonDocument
	for _, a := range all {
		documents = append(documents, addonDocument{
			Name: a.Name, Short: a.Short, Enabled: phases.Enabled(c, a.Name), Version: a.Version(c.Release),
			After: append([]string{}, a.After...), Images: append([]string{}, a.ImageNames(c.Release)...),
		})
	}
	for _, a := range c.Addons.Custom {
		documents = append(documents, addonDocument{Name: a.Name, Short: "of the cluster file", Enabled: true, Custom: true, After: append([]string{}, a.After...), Images: []string{}})
	}
	rows := [][]string{{"ADDON", "ENABLED", "VERSION", ""}}
	for _, d := range documents {
		enabled := "no"
		if d.Enabled {
			enabled = "yes"
		}
		rows = append(rows, []string{d.Name, enabled, d.Version, d.Short})
	}
	return result{document: documents, text: func(w io.Writer) error { return table(w, rows) }}, nil
}
