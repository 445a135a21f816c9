package cli

import (
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"kubewright/cluster"
	"kubewright/inventory"
)

// hostDocument is the JSON form of a host, as far as it is no secret.
type hostDocument struct {
	Name        string            `json:"name"`
	Address     string            `json:"address"`
	NodeIP      string            `json:"nodeIP"`
	Roles       []inventory.Role  `json:"roles"`
	Groups      []string          `json:"groups"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	Taints      []string          `json:"taints"`
	User        string            `json:"user"`
	Port        int               `json:"port"`
}

func newInventoryCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "inventory", Short: "The hosts of a cluster"}
	cmd.AddCommand(aboutFiles(&cobra.Command{
		Use:   "show",
		Short: "Show the hosts as kubewright understands them",
		Long: `Shows the hosts of the inventory with everything that groups and defaults add to them. Labels,
annotations, taints, user and port are in -o json. Nothing is connected to.`,
		Example: `  kubewright inventory show -f cluster.yaml`,
	}, inventoryResult))
	return cmd
}

func inventoryResult(c *cluster.Cluster) result {
	documents := []hostDocument{}
	rows := [][]string{{"HOST", "ADDRESS", "NODE IP", "ROLES", "GROUPS"}}
	for _, h := range c.Hosts {
		d := hostDocument{
			Name: h.Name, Address: h.Address, NodeIP: h.NodeIP.String(), Roles: h.Roles,
			Groups: append([]string{}, h.Groups...), Labels: map[string]string{}, Annotations: map[string]string{}, Taints: []string{},
			User: h.SSH.User, Port: h.SSH.Port,
		}
		maps.Copy(d.Labels, h.Labels)
		maps.Copy(d.Annotations, h.Annotations)
		for _, t := range h.Taints {
			d.Taints = append(d.Taints, t.String())
		}
		documents = append(documents, d)
		var roles []string
		for _, role := range h.Roles {
			roles = append(roles, string(role))
		}
		rows = append(rows, []string{h.Name, h.Address, d.NodeIP, strings.Join(roles, ","), strings.Join(h.Groups, ",")})
	}
	return result{document: documents, text: func(w io.Writer) error { return table(w, rows) }}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
