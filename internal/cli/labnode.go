package cli

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"kubewright/e2e/lab"
	"kubewright/internal/fault"
)

// labPower is one of the commands that switch nodes.
type labPower struct {
	use, short string
	run        func(ctx context.Context, l *lab.Lab, f *labFlags, nodes []string) error
}

func newLabNodeCommand(flags *labFlags) *cobra.Command {
	cmd := &cobra.Command{Use: "node", Short: "Switch nodes off and on, freeze, add or remove them", Args: cobra.NoArgs}
	cmd.AddCommand(newLabAddCommand(flags), newLabRemoveCommand(flags))
	for _, p := range []labPower{
		{"stop", "Switch nodes off at once, as pulling the plug does",
			func(ctx context.Context, l *lab.Lab, f *labFlags, nodes []string) error {
				return l.Stop(ctx, f.name, nodes)
			}},
		{"start", "Switch nodes on again, or let frozen ones go on, and wait for their sshd",
			func(ctx context.Context, l *lab.Lab, f *labFlags, nodes []string) error {
				ctx, cancel := context.WithTimeout(ctx, lab.DefaultBootTimeout)
				defer cancel()
				return l.Start(ctx, f.name, f.dir, nodes)
			}},
		{"pause", "Freeze nodes: they keep everything and answer nothing",
			func(ctx context.Context, l *lab.Lab, f *labFlags, nodes []string) error {
				return l.Pause(ctx, f.name, nodes)
			}},
		{"resume", "Let frozen nodes go on",
			func(ctx context.Context, l *lab.Lab, f *labFlags, nodes []string) error {
				return l.Resume(ctx, f.name, nodes)
			}},
	} {
		cmd.AddCommand(newLabPowerCommand(flags, p))
	}
	return cmd
}

func newLabPowerCommand(flags *labFlags, p labPower) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   p.use + " NODE...|--all",
		Short: p.short,
		RunE: func(cmd *cobra.Command, nodes []string) error {
			if all == (len(nodes) > 0) {
				return fault.New(fault.BadInput, "lab node %s: name nodes, or say --all", p.use)
			}
			l, _, err := flags.open(cmd)
			if err != nil {
				return err
			}
			return p.run(cmd.Context(), l, flags, nodes)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "all nodes of the lab")
	return cmd
}

func newLabAddCommand(flags *labFlags) *cobra.Command {
	var role string
	up := &labUpFlags{controlPlanes: 1}
	cmd := &cobra.Command{
		Use:   "add [NAME]",
		Short: "Make one more node, or one that was removed, and leave the others as they are",
		Long: `Makes one more node, and leaves the others as they are, off or on. Without a name it gets the
next number that no node of its role ever had. With the name of a node that was removed it gets
its address, and, if none is said, its role; it is a new machine all the same.`,
		Example: `  kubewright lab node add --role worker
  kubewright lab node remove cp1 && kubewright lab node add cp1`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			want := lab.Node{Role: lab.Role(role)}
			if len(args) > 0 {
				want.Name = args[0]
			} else if role == "" {
				return fault.New(fault.BadInput, "lab node add: say the --role of the node, or the name of one that was removed")
			}
			l, state, err := flags.open(cmd)
			if err != nil {
				return err
			}
			up.keep(state, cmd.Flags().Changed)
			cfg, err := up.config(flags, state)
			if err != nil {
				return fault.Wrap(fault.BadInput, err)
			}
			node, err := l.Add(cmd.Context(), cfg, want)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is up at %s, a bare %s; next: kubewright apply -f %s\n",
				node.Name, node.Address, node.Role, filepath.Join(cfg.Dir, "cluster.yaml"))
			return nil
		},
	}
	cmd.Flags().StringVar(&role, "role", "", "control-plane, etcd or worker (default: what the node was that had the name)")
	cmd.Flags().DurationVar(&up.timeout, "timeout", lab.DefaultBootTimeout, "how long the node gets to boot")
	return cmd
}

func newLabRemoveCommand(flags *labFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "remove NODE...",
		Short: "Destroy nodes with their disks, and take them out of the inventory",
		Long: `Destroys nodes with their disks, at once and whatever they are doing, and takes them out of
inventory.yaml. The cluster is told nothing. "lab node add NODE" makes a new one in its place.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, nodes []string) error {
			l, _, err := flags.open(cmd)
			if err != nil {
				return err
			}
			return l.Remove(cmd.Context(), flags.name, flags.dir, nodes)
		},
	}
}
