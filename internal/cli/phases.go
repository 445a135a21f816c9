package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"kubewright/internal/plan"
	"kubewright/phases"
)

// phaseDocument is the JSON form of a phase.
type phaseDocument struct {
	Name  string      `json:"name"`
	Short string      `json:"short"`
	After []phaseEdge `json:"after"`
}

type phaseEdge struct {
	Phase string `json:"phase"`
	// AllHosts says that the phase has to be done on every host first, not on the same only.
	AllHosts bool `json:"allHosts"`
}

func newPhasesCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "phases", Short: "The phases a cluster is made in"}
	cmd.AddCommand(newPhasesListCommand(), &cobra.Command{
		Use:     "graph",
		Short:   "Print the order of phases as a DOT graph; dashed edges wait for all hosts",
		Example: `  kubewright phases graph | dot -Tsvg > phases.svg`,
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return writeGraph(cmd.OutOrStdout(), phases.All()) },
	})
	return cmd
}

// newPhasesListCommand lists the phases of a cluster, and those that only init has.
func newPhasesListCommand(further ...plan.Phase) *cobra.Command {
	var output format
	cmd := &cobra.Command{
		Use: "list", Short: "List the phases in order", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var rows [][]string
			var documents []phaseDocument
			for _, p := range append(phases.All(), further...) {
				rows = append(rows, []string{p.Name, p.Short})
				d := phaseDocument{Name: p.Name, Short: p.Short, After: []phaseEdge{}}
				for _, e := range p.After {
					d.After = append(d.After, phaseEdge{Phase: e.Phase, AllHosts: e.All})
				}
				documents = append(documents, d)
			}
			return output.write(cmd.OutOrStdout(), result{
				document: documents, text: func(w io.Writer) error { return table(w, rows) },
			})
		},
	}
	output.add(cmd)
	return cmd
}

func writeGraph(w io.Writer, list []plan.Phase) error {
	out := []string{"digraph phases {"}
	for _, p := range list {
		out = append(out, fmt.Sprintf("  %q [label=%q];", p.Name, p.Name+"\n"+p.Short))
	}
	for _, p := range list {
		for _, e := range p.After {
			style := "solid"
			if e.All {
				style = "dashed"
			}
			out = append(out, fmt.Sprintf("  %q -> %q [style=%s];", e.Phase, p.Name, style))
		}
	}
	return lines(append(out, "}"))(w)
}
