package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"kubewright/internal/fault"
	"kubewright/internal/plan"
)

func newPlanCommand() *cobra.Command {
	flags := &runFlags{}
	var detailed bool
	cmd := onCluster(flags, &cobra.Command{
		Use:   "plan",
		Short: "Show what apply would change, and change nothing",
		Long: `Looks at every host and shows what apply would change there and in the API, field by field.
What is as wanted is not mentioned. Nothing is changed.`,
		Example: `  kubewright plan -f cluster.yaml
  kubewright plan -f cluster.yaml --limit worker1
  kubewright plan -f cluster.yaml --detailed-exitcode -o json`,
	}, func(ctx context.Context, r *run) (*result, error) {
		p, stats, err := r.Plan(ctx)
		r.stats = stats
		if err != nil {
			return nil, err
		}
		err = errors.Join(p.Failed(), p.Absent)
		if err == nil && detailed && !p.Empty() {
			err = fault.New(fault.Pending, "%s", p.Summary())
		}
		return planResult(p), err
	})
	flags.addScope(cmd)
	flags.addPhases(cmd)
	cmd.Flags().BoolVar(&detailed, "detailed-exitcode", false, "exit with 2 when there are changes")
	return cmd
}

// planResult is a plan as the result of a command.
func planResult(p *plan.Plan) *result {
	return &result{document: p.Document(), text: func(w io.Writer) error { return planText(w, p) }}
}

// planText shows a plan and counts it.
func planText(w io.Writer, p *plan.Plan) error {
	if err := p.Text(w); err != nil {
		return err
	}
	gap := "\n"
	if p.Empty() {
		gap = ""
	}
	_, err := fmt.Fprintf(w, "%s%s\n", gap, p.Summary())
	return err
}
