package cli

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"kubewright/cluster"
	"kubewright/internal/report"
	"kubewright/inventory"
	"kubewright/spec/strict"
)

// inventoryDocument is the JSON form of an inventory. The last two are empty where the inventory is
// of kubewright's own form.
type inventoryDocument struct {
	Hosts     []hostDocument     `json:"hosts"`
	Cluster   []settingDocument  `json:"cluster"`
	Variables []variableDocument `json:"variables"`
}

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
	// From says of the values that somebody wrote, by their keys in an inventory, where.
	From map[string]string `json:"from"`
}

// settingDocument is a value of a cluster file that the inventory brings.
type settingDocument struct {
	Path  string `json:"path"`
	Value string `json:"value"`
	From  string `json:"from"`
	// Overridden is the place in the cluster file that wins, or "".
	Overridden string `json:"overridden,omitempty"`
}

// variableDocument is a variable of an inventory of another form.
type variableDocument struct {
	Name    string            `json:"name"`
	Scope   string            `json:"scope"`
	From    string            `json:"from"`
	Verdict inventory.Verdict `json:"verdict"`
	Reason  string            `json:"reason"`
}

// formatYAML prints hosts as an inventory of kubewright's own form.
const formatYAML format = "yaml"

// inventoryFormat is a format, or yaml.
type inventoryFormat struct{ format }

// Set implements pflag.Value.
func (f *inventoryFormat) Set(word string) error {
	if format(word) == formatYAML {
		f.format = formatYAML
		return nil
	}
	if f.format.Set(word) != nil {
		return errors.New("it can be text, yaml or json")
	}
	return nil
}

func newInventoryCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "inventory", Short: "The hosts of a cluster"}
	cmd.AddCommand(newInventoryShowCommand())
	return cmd
}

func newInventoryShowCommand() *cobra.Command {
	var files clusterFiles
	output := inventoryFormat{formatText}
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show the hosts as kubewright understands them",
		Long: `Shows the hosts of the inventory with everything that groups and defaults add to them, and of an
inventory of Ansible what it says of the cluster, and what became of each of its variables. -o json
and -o yaml say of every value where it comes from; what -o yaml prints is an inventory of
kubewright's own form, which can be used instead. Nothing is connected to.`,
		Example: `  kubewright inventory show -f cluster.yaml
  kubewright inventory show -i inventory.ini
  kubewright inventory show -i inventory.ini -o yaml > inventory.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, warnings, err := files.describe(cmd)
			warn(plainSink(output.format, cmd.ErrOrStderr()), warnings)
			if err != nil {
				return err
			}
			if output.format == formatYAML {
				return writeInventory(cmd.OutOrStdout(), d)
			}
			return output.write(cmd.OutOrStdout(), inventoryResult(d))
		},
	}
	files.add(cmd)
	cmd.Flags().VarP(&output, outputFlag, "o", "how the result is printed: text, yaml or json")
	return cmd
}

func inventoryResult(d *cluster.Description) result {
	document := inventoryDocument{Hosts: []hostDocument{}, Cluster: settingsOf(d), Variables: []variableDocument{}}
	rows := [][]string{{"HOST", "ADDRESS", "NODE IP", "ROLES", "GROUPS"}}
	for _, p := range d.Placed {
		h := documentOf(d.Source, p)
		document.Hosts = append(document.Hosts, h)
		var roles []string
		for _, role := range h.Roles {
			roles = append(roles, string(role))
		}
		rows = append(rows, []string{h.Name, h.Address, h.NodeIP, strings.Join(roles, ","), strings.Join(h.Groups, ",")})
	}
	if d.Import != nil {
		for _, v := range d.Import.Report {
			document.Variables = append(document.Variables, variableDocument{v.Name, v.Scope, v.Origin.String(), v.Verdict, v.Reason})
		}
	}
	return result{document: document, text: func(w io.Writer) error {
		text := aligned(rows)
		if len(document.Cluster) > 0 {
			text += "\n" + aligned(settingRows(document.Cluster))
		}
		if len(document.Variables) > 0 {
			text += "\n" + aligned(variableRows(document.Variables))
		}
		_, err := io.WriteString(w, report.Printable(text))
		return err
	}}
}

func documentOf(source inventory.Source, p inventory.Placed) hostDocument {
	d := hostDocument{
		Name: p.Name, Address: p.Address, NodeIP: p.NodeIP.String(), Roles: p.Roles,
		Groups: append([]string{}, p.Groups...), Labels: map[string]string{}, Annotations: map[string]string{}, Taints: []string{},
		User: p.SSH.User, Port: p.SSH.Port, From: map[string]string{},
	}
	maps.Copy(d.Labels, p.Labels)
	maps.Copy(d.Annotations, p.Annotations)
	from := func(path string, o strict.Origin, ok bool) {
		if ok {
			d.From[path] = o.String()
		}
	}
	look := func(keys ...string) {
		o, ok := source.OriginOf(p, keys...)
		from(strict.At(keys...).String(), o, ok)
	}
	for _, key := range []string{"name", "address", "nodeIP", "roles", "groups"} {
		look(key)
	}
	for _, key := range sortedKeys(p.Labels) {
		look("labels", key)
	}
	for _, key := range sortedKeys(p.Annotations) {
		look("annotations", key)
	}
	for _, key := range sshKeys() {
		look(append([]string{"ssh"}, key...)...)
	}
	for i, t := range p.Taints {
		d.Taints = append(d.Taints, t.String())
		o, ok := source.OriginOfTaint(p, t)
		from(strict.At("taints").Index(i).String(), o, ok)
	}
	return d
}

// sshKeys are the keys of an inventory that say how to log in.
func sshKeys() [][]string {
	return [][]string{
		{"user"}, {"port"}, {"keyFile"}, {"certificateFile"}, {"passphrase"}, {"password"}, {"agent"}, {"sudo", "password"},
		{"knownHosts"}, {"hostKey"}, {"trustOnFirstUse"},
		{"bastion", "address"}, {"bastion", "user"}, {"bastion", "port"}, {"bastion", "keyFile"}, {"bastion", "passphrase"},
		{"bastion", "password"}, {"bastion", "hostKey"}, {"configFile"},
	}
}

// settingsOf lists what the inventory says of the cluster.
func settingsOf(d *cluster.Description) []settingDocument {
	settings := []settingDocument{}
	if d.Import == nil || d.Import.Cluster.Root == nil {
		return settings
	}
	var visit func(n *yaml.Node, at strict.Path)
	visit = func(n *yaml.Node, at strict.Path) {
		if n.Kind == yaml.MappingNode {
			for i := 0; i+1 < len(n.Content); i += 2 {
				visit(n.Content[i+1], at.Key(n.Content[i].Value))
			}
			return
		}
		origin := d.Import.Cluster.Origins[n]
		if origin.Name == "" { // kubewright's own, to make a file of it
			return
		}
		s := settingDocument{Path: at.String(), Value: n.Value, From: origin.String()}
		if n.Kind == yaml.SequenceNode {
			var items []string
			for _, item := range n.Content {
				items = append(items, item.Value)
			}
			s.Value = strings.Join(items, ", ")
		}
		if o, ok := d.Spec.Doc().Origin(at); ok && o.String() != s.From {
			s.Overridden = o.String()
		}
		settings = append(settings, s)
	}
	visit(d.Import.Cluster.Root, strict.Path{})
	return settings
}

func settingRows(settings []settingDocument) [][]string {
	rows := [][]string{{"CLUSTER", "VALUE", "FROM"}}
	for _, s := range settings {
		from := s.From
		if s.Overridden != "" {
			from += " (" + s.Overridden + " wins)"
		}
		rows = append(rows, []string{s.Path, s.Value, from})
	}
	return rows
}

// variableRows has a row for all variables of which the same is to be said.
func variableRows(variables []variableDocument) [][]string {
	type fate struct {
		name, reason string
		verdict      inventory.Verdict
	}
	first, more := map[fate]string{}, map[fate]int{}
	for _, v := range variables {
		f := fate{v.Name, v.Reason, v.Verdict}
		if _, known := first[f]; known {
			more[f]++
			continue
		}
		first[f] = v.From
	}
	rows := [][]string{{"VARIABLE", "FROM", "VERDICT", "BECOMES, OR WHY NOT"}}
	for _, verdict := range []inventory.Verdict{inventory.Unsupported, inventory.Understood, inventory.Ignored} {
		var block [][]string
		for f, from := range first {
			if f.verdict != verdict {
				continue
			}
			if more[f] > 0 {
				from = fmt.Sprintf("%s +%d", from, more[f])
			}
			block = append(block, []string{f.name, from, string(f.verdict), f.reason})
		}
		slices.SortFunc(block, slices.Compare[[]string])
		rows = append(rows, block...)
	}
	return rows
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
