// Package cli wires the commands of kubewright: flags in, an engine set up, events and
// results out. What the commands do is in the packages below it.
package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"kubewright/internal/fault"
)

// Streams are the standard streams of the process. Results go to Out, progress to Err.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Main runs the command line and returns the exit code, see fault.Kind.
func Main(version string, args []string, streams Streams) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The first signal ends the run in order; a second one, at once.
	context.AfterFunc(ctx, stop)
	root := newRootCommand(version)
	// What goes wrong before a command begins is wrong with how it was called.
	begun := false
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		// cobra asks these after this, when a command counts as begun.
		err := errors.Join(cmd.ValidateRequiredFlags(), cmd.ValidateFlagGroups())
		begun = err == nil
		return err
	}
	root.SetArgs(append([]string{}, args...)) // nil would stand for those of the process
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.Err)
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && !begun {
		err = usageError(cmd, args, err)
	}
	if ctx.Err() != nil {
		err = interrupted(ctx, err)
	}
	printError(streams.Err, formatOf(cmd), cmd.CommandPath(), err)
	return fault.ExitCode(err)
}

func newRootCommand(version string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "kubewright",
		Short: "From bare Linux hosts to a production Kubernetes cluster",
		Long: `kubewright turns bare Linux hosts into a Kubernetes cluster over SSH. A plan shows what it
would change; apply changes just that, and may be interrupted and run again.`,
		Example: `  kubewright doctor -f cluster.yaml
  kubewright plan   -f cluster.yaml
  kubewright apply  -f cluster.yaml
  kubewright verify -f cluster.yaml`,
		Version:            version,
		SilenceUsage:       true,
		SilenceErrors:      true,
		DisableSuggestions: true, // usageError makes them
	}
	cmd.AddCommand(
		newDoctorCommand(), newPlanCommand(), newApplyCommand(), newStatusCommand(), newVerifyCommand(),
		newJoinCommand(), newKubeconfigCommand(), newResetCommand(), newInitCommand(), newTokenCommand(), newNodeCommand(), newReportCommand(), newPhasesCommand(), newImagesCommand(), newFilesCommand(), newAddonsCommand(),
		newInventoryCommand(), newLabCommand(), newVersionCommand(version),
	)
	cmd.InitDefaultHelpCmd()
	for _, sub := range cmd.Commands() {
		groupsRefuse(sub)
		if sub.Name() == "help" {
			sub.Args = knownTopic
		}
	}
	return cmd
}

// groupsRefuse has commands that only hold others refuse a word that is none of them, where
// they would show their help and count as done. The root command does so by itself.
func groupsRefuse(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		groupsRefuse(sub)
	}
	if !cmd.HasSubCommands() || cmd.Runnable() {
		return
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return fault.New(fault.BadInput, "unknown command %q for %q", args[0], cmd.CommandPath())
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
}

// knownTopic refuses to show the help of a command that there is not.
func knownTopic(cmd *cobra.Command, args []string) error {
	_, rest, err := cmd.Root().Find(args)
	if err == nil && len(rest) > 0 {
		err = fault.New(fault.BadInput, "unknown command %q", strings.Join(args, " "))
	}
	return err
}

// usageError says what is wrong with a command line, and what may have been meant.
func usageError(cmd *cobra.Command, args []string, err error) error {
	e := fault.New(fault.BadInput, "%w", err).WithHint("%s --help says what there is", cmd.CommandPath())
	if !cmd.HasSubCommands() {
		return e
	}
	cmd.SuggestionsMinimumDistance = 2
	for _, word := range args {
		if near := cmd.SuggestionsFor(word); len(near) > 0 && word != "" {
			return e.WithHint("did you mean %s %s?", cmd.CommandPath(), strings.Join(near, " or "))
		}
	}
	return e
}
