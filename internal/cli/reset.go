package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"kubewright/cluster"
	"kubewright/internal/engine"
	"kubewright/internal/fault"
	"kubewright/internal/plan"
	"kubewright/internal/report"
	"kubewright/inventory"
)

func newResetCommand() *cobra.Command {
	flags := &runFlags{}
	var yes bool
	var o engine.ResetOptions
	do := func(ctx context.Context, r *run) (*result, error) {
		if !yes && flags.output == formatJSON {
			return nil, fault.New(fault.BadInput, "reset asks before it removes something, and cannot with --output json").
				WithHint("look at what --limit picks, and reset with --yes")
		}
		p, stats, err := r.Reset(ctx, o, func(p *plan.Plan) error { return r.confirmReset(ctx, p, yes) })
		r.stats = stats
		if err != nil {
			return nil, err
		}
		return resetResult(p, r.cluster), nil
	}
	cmd := onCluster(flags, &cobra.Command{
		Use:   "reset",
		Short: "Remove from the hosts what kubewright put there, and nothing else",
		Long: `Removes what the manifest on each host lists, the cluster's data in etcd included, and puts
back the files it replaced. Asks for the name of the cluster first. A host whose member the others go on
to count is refused when they stay: node remove takes such a host out.

Where there is no cluster's file, as after init or join, it cleans the machine that it runs on, as root and
without SSH. The object of its node, if its cluster goes on, stays there.`,
		Example: `  kubewright reset
  kubewright reset -f cluster.yaml
  kubewright reset -f cluster.yaml --limit worker1`,
	}, do)
	onHosts := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch here, err := flags.ofThisMachine(cmd); {
		case err != nil:
			return err
		case !here:
			return onHosts(cmd, args)
		}
		r, err := flags.openThisMachine(cmd)
		if err != nil {
			return err
		}
		return r.do(cmd.Context(), func(ctx context.Context, r *run) (*result, error) {
			if err := mayLeave(ctx, r.cluster.Hosts[0].Name); err != nil && !o.Force {
				return nil, err
			}
			return do(ctx, r)
		})
	}
	flags.addScope(cmd)
	flags.addChange(cmd)
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&o.Force, "force", false, "clean members of etcd that the others go on to count, and data that may be the last")
	return cmd
}

// resetResult says what was removed from hosts of a cluster, and what of it is kept elsewhere.
func resetResult(p *plan.Plan, c *cluster.Cluster) *result {
	removed := []string{"Nothing to do: no host has anything of ours."}
	if len(p.Hosts) > 0 {
		removed = removed[:0]
		for _, h := range p.Hosts {
			removed = append(removed, fmt.Sprintf("%s: clean, %d things removed", h.Name, len(h.Items)))
		}
		ours := func(h inventory.Host) bool {
			return slices.ContainsFunc(p.Hosts, func(r plan.Host) bool { return r.Name == h.Name })
		}
		if kept := c.KeptInEtcd(); kept != "" && slices.ContainsFunc(c.ControlPlanes(), ours) {
			removed = append(removed, "Note: "+kept)
		}
	}
	return &result{document: p.Document(), text: lines(removed)}
}

// confirmReset asks for the cluster's name, where there is something to lose.
func (r *run) confirmReset(ctx context.Context, p *plan.Plan, yes bool) error {
	if len(p.Hosts) == 0 {
		return nil
	}
	if yes {
		for _, h := range p.Hosts {
			r.emit(report.Notice, h.Name, fmt.Sprintf("%d things are removed", len(h.Items)))
		}
		return nil
	}
	if r.terminal != nil {
		r.terminal.Pause()
		defer r.terminal.Resume()
	}
	fmt.Fprintln(r.prompt.out, "These hosts are cleaned, the cluster's data on them included:")
	for _, h := range p.Hosts {
		fmt.Fprintf(r.prompt.out, "  %s (%d things)\n", h.Name, len(h.Items))
	}
	return r.prompt.ask(ctx, fmt.Sprintf("Type the name of the cluster (%s) to go on: ", p.Cluster), p.Cluster)
}
