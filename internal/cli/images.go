package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"kubewright/cluster"
)

// imageDocument is the JSON form of an image.
type imageDocument struct {
	Name      string `json:"name"`
	Component string `json:"component"`
}

func newImagesCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "images", Short: "The images a cluster uses"}
	cmd.AddCommand(aboutFiles(&cobra.Command{
		Use:     "list",
		Short:   "List every image the cluster uses",
		Example: `  kubewright images list -f cluster.yaml | xargs -n1 crane pull`,
	}, imagesResult))
	return cmd
}

func imagesResult(c *cluster.Cluster) result {
	documents := []imageDocument{}
	var names []string
	for _, i := range c.Release.Images() {
		if !uses(c, i.Component) {
			continue
		}
		documents = append(documents, imageDocument{Name: i.Name, Component: i.Component})
		names = append(names, i.Name)
	}
	return result{document: documents, text: lines(names)}
}

// uses tells whether a cluster as configured has a component.
func uses(c *cluster.Cluster, component string) bool {
	switch {
	case strings.HasPrefix(component, "calico-"):
		return c.Network.CNI == "calico"
	case component == "haproxy":
		return c.LocalBalancer
	case component == cluster.Keepalived, component == cluster.KubeVIP:
		return c.VIP.Provider == component
	}
	return true
}
