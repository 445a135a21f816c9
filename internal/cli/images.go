package cli

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"kubewright/addons"
	"kubewright/cluster"
	"kubewright/phases"
)

// imageDocument is the JSON form of an image.
type imageDocument struct {
	Name string `json:"name"`
	// Component is that of the catalogue, or the name of an addon of the user's.
	Component string `json:"component"`
}

func newImagesCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "images", Short: "The images a cluster uses"}
	cmd.AddCommand(aboutFiles(&cobra.Command{
		Use:   "list",
		Short: "List every image the cluster uses",
		Long: `Lists the images of the control plane, of the nodes and of the addons that are enabled, yours among them: what
a site without internet needs in its registry.`,
		Example: `  kubewright images list -f cluster.yaml | while read -r i; do crane copy "$i" "registry.example.com/${i#*/}"; done`,
	}, imagesResult))
	return cmd
}

func imagesResult(ctx context.Context, c *cluster.Cluster) (result, error) {
	all, err := addons.Default()
	if err != nil {
		return result{}, err
	}
	documents := []imageDocument{}
	for _, i := range c.Release.Images() {
		if uses(c, all, i.Component) {
			documents = append(documents, imageDocument{Name: i.Name, Component: i.Component})
		}
	}
	custom, err := customAddons(ctx, c)
	if err != nil {
		return result{}, err
	}
	for _, a := range c.Addons.Custom {
		for _, image := range addons.ImagesOf(custom[a.Name]) {
			documents = append(documents, imageDocument{Name: image, Component: a.Name})
		}
	}
	var names []string
	for _, d := range documents {
		names = append(names, d.Name)
	}
	return result{document: documents, text: lines(names)}, nil
}

// uses tells whether a cluster as configured has a component.
func uses(c *cluster.Cluster, all []addons.Addon, component string) bool {
	enabled, some := anyEnabled(c, all, func(a addons.Addon) bool { return slices.Contains(a.Images, component) })
	switch {
	case some:
		return enabled
	case component == "haproxy":
		return c.LocalBalancer
	case component == cluster.Keepalived, component == cluster.KubeVIP:
		return c.VIP.Provider == component
	}
	return true
}

// anyEnabled tells whether a cluster has an addon out of those that fit, and whether there are such addons at all.
func anyEnabled(c *cluster.Cluster, all []addons.Addon, fits func(addons.Addon) bool) (enabled, some bool) {
	for _, a := range all {
		if fits(a) {
			some = true
			enabled = enabled || phases.Enabled(c, a.Name)
		}
	}
	return enabled, some
}
