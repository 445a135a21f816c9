package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"kubewright/internal/engine"
	"kubewright/internal/fault"
	"kubewright/internal/plan"
	"kubewright/internal/report"
	"kubewright/inventory"
)

func newNodeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "node",
		Short: "Take nodes out of the cluster, or replace them",
		Args:  cobra.NoArgs,
	}
	cmd.AddCommand(newNodeRemoveCommand(), newNodeReplaceCommand())
	return cmd
}

func newNodeRemoveCommand() *cobra.Command {
	return aboutNode(&cobra.Command{
		Use:   "remove NAME",
		Short: "Drain a node, take its member out of etcd, clean the host, and forget the node",
		Long: `Takes one node out of the cluster, a control plane as well as a worker, the first in the file as
well as any other. Its pods are evicted, its member leaves etcd if enough others are left, what
kubewright put on the host is removed, and the Node object is deleted. It works when the host is dead,
and for a node that the inventory no longer has. Take the host out of the inventory afterwards, and
run apply, which tells all others. An inventory has 1, 3 or 5 control planes: remove two of three before that, or use
node replace.`,
		Example: `  kubewright node remove worker2 -f cluster.yaml
  kubewright node remove cp1 -f cluster.yaml --yes --drain-timeout 10m`,
	}, func(_ context.Context, _ *run, removed engine.Removal) (*result, error) {
		return removalResult(removed), nil
	})
}

func newNodeReplaceCommand() *cobra.Command {
	return aboutNode(&cobra.Command{
		Use:   "replace NAME",
		Short: "Remove a node, and make its host a node of the cluster again",
		Long: `Removes a node as node remove does, and then makes the host of that name in the inventory a node
again: the same machine, cleaned, or another one that has taken its place. All other hosts are left as
they are.`,
		Example: `  kubewright node replace cp2 -f cluster.yaml`,
	}, func(ctx context.Context, r *run, removed engine.Removal) (*result, error) {
		if removed.Unreached != nil {
			return nil, fault.New(fault.Unreachable, "%s was removed, but cannot be made a node again: %w", removed.Name, removed.Unreached).
				WithHint("run kubewright apply when the host is there")
		}
		again, err := r.limitedTo(removed.Name)
		if err != nil {
			return nil, err
		}
		p, stats, err := again.Apply(ctx, func(p *plan.Plan) error {
			r.emit(report.Notice, "", p.Summary())
			return nil
		})
		r.stats = append(r.stats, stats...)
		if err != nil {
			return nil, err
		}
		return &result{document: p.Document(), text: lines([]string{removed.Name + " is a node again: " + p.Summary()})}, nil
	})
}

// aboutNode makes a command that removes a node, and goes on with what follows.
func aboutNode(cmd *cobra.Command, then func(context.Context, *run, engine.Removal) (*result, error)) *cobra.Command {
	flags := &runFlags{}
	var yes bool
	var o engine.RemoveOptions
	var name string
	verb := cmd.Name()
	onCluster(flags, cmd, func(ctx context.Context, r *run) (*result, error) {
		if !yes && flags.output == formatJSON {
			return nil, fault.New(fault.BadInput, "node %s asks before it removes something, and cannot with --output json", verb).
				WithHint("say --yes")
		}
		var removed engine.Removal
		stats, err := r.RemoveNode(ctx, name, o, func(what engine.Removal) error {
			removed = what
			return r.confirmRemoval(ctx, what, yes)
		})
		r.stats = stats
		if err != nil {
			return nil, err
		}
		return then(ctx, r, removed)
	})
	cmd.Args = cobra.ExactArgs(1)
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name = args[0]
		return run(cmd, nil)
	}
	flags.output.add(cmd)
	cmd.Flags().BoolVar(&flags.stats, "stats", false, "print what the run cost on each host: executions, bytes, connections")
	flags.addChange(cmd)
	if verb == "replace" {
		flags.addJoin(cmd)
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().DurationVar(&o.DrainTimeout, "drain-timeout", 5*time.Minute, "how long pods may take to leave; 0 does not drain")
	cmd.Flags().BoolVar(&o.Force, "force", false, "evict pods that no controller makes anew elsewhere, too")
	cmd.Flags().BoolVar(&o.DeleteEmptyDir, "delete-emptydir-data", false, "evict pods with data in an emptyDir, too, which is lost")
	cmd.Flags().BoolVar(&o.DisableEviction, "disable-eviction", false, "delete pods in place of evicting them, which heeds no PodDisruptionBudget")
	return cmd
}

// limitedTo is an engine like the run's, for one host.
func (r *run) limitedTo(name string) (*engine.Engine, error) {
	options := r.Options
	options.Limit = func(h inventory.Host) bool { return h.Name == name }
	return engine.New(options)
}

// removalLines say what is done, or was.
func removalLines(r engine.Removal) []string {
	var said []string
	if r.Ready {
		said = append(said, "its pods are evicted")
	}
	for _, a := range r.Actions {
		said = append(said, "etcd: "+a.What+": "+a.Reason)
	}
	switch {
	case r.Unreached != nil:
		said = append(said, "the host is left as it is, since it was not reached: "+r.Unreached.Error())
	case r.Things > 0:
		said = append(said, fmt.Sprintf("%d things are removed from the host", r.Things))
	}
	if r.Registered {
		said = append(said, "the Node object is deleted")
	}
	return said
}

func (r *run) confirmRemoval(ctx context.Context, what engine.Removal, yes bool) error {
	if yes {
		for _, line := range removalLines(what) {
			r.emit(report.Notice, what.Name, line)
		}
		return nil
	}
	if r.terminal != nil {
		r.terminal.Pause()
		defer r.terminal.Resume()
	}
	fmt.Fprintf(r.prompt.out, "%s leaves the cluster:\n", what.Name)
	for _, line := range removalLines(what) {
		fmt.Fprintf(r.prompt.out, "  %s\n", line)
	}
	return r.prompt.ask(ctx, fmt.Sprintf("Type the name of the node (%s) to go on: ", what.Name), what.Name)
}

// removalDocument is the JSON form of a removal.
type removalDocument struct {
	Node       string   `json:"node"`
	Done       []string `json:"done"`
	HostClean  bool     `json:"hostClean"`
	Unreached  string   `json:"unreached,omitempty"`
	WasDrained bool     `json:"wasDrained"`
}

func removalResult(r engine.Removal) *result {
	d := removalDocument{Node: r.Name, Done: removalLines(r), HostClean: r.Unreached == nil, WasDrained: r.Ready}
	text := []string{fmt.Sprintf("%s is no node of the cluster any more; take it out of the inventory, and run kubewright apply.", r.Name)}
	if r.Unreached != nil {
		d.Unreached = r.Unreached.Error()
		text = append(text, "The host was not cleaned: its kubelet would register the node again. Wipe it, or run kubewright reset --limit "+r.Name+" when it is back.")
	}
	return &result{document: d, text: lines(text)}
}
