package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"kubewright/cluster"
	"kubewright/internal/catalog"
	"kubewright/internal/check"
	"kubewright/internal/fault"
	"kubewright/internal/report"
	"kubewright/spec"
)

// clusterFiles are the flags of every command that reads what a cluster should be.
type clusterFiles struct {
	file, inventory string
	// These are flags of apply.
	terraformApply, yes bool
}

func (f *clusterFiles) add(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.file, "file", "f", "cluster.yaml", "the cluster's file")
	cmd.Flags().StringVarP(&f.inventory, "inventory", "i", "", "the inventory: a file of kubewright's, of Ansible's (INI, YAML, or a program that prints JSON), a folder of these, or a table (.csv); default: the one that the cluster's file names")
}

// load reads the files, and the outputs of Terraform where the hosts stand there. All faults of all
// files come at once, and no host has been connected to. What is worth a second look is returned as
// warnings, with an error too.
func (f *clusterFiles) load(cmd *cobra.Command) (c *cluster.Cluster, warnings []string, err error) {
	d, warnings, err := f.describe(cmd)
	if err != nil {
		return nil, warnings, err
	}
	return d.Cluster, warnings, nil
}

// describe is load, and keeps what the cluster was made of.
func (f *clusterFiles) describe(cmd *cobra.Command) (d *cluster.Description, warnings []string, err error) {
	releases, err := catalog.Default()
	if err != nil {
		return nil, nil, err
	}
	known, err := addonNames()
	if err != nil {
		return nil, nil, err
	}
	programs := &programs{}
	source := &terraformSource{cmd: cmd, prompt: newPrompt(cmd), apply: f.terraformApply, yes: f.yes}
	d, found, err := cluster.Describe(cluster.Files{
		Cluster: f.file,
		// The default is a guess. Who names a file wants it read.
		Optional:   f.inventory != "" && !cmd.Flags().Changed("file"),
		Inventory:  f.inventory,
		Read:       func(path string) ([]byte, error) { return os.ReadFile(expandHome(path)) },
		List:       listFolder,
		Executable: executable,
		Run: func(path string, args ...string) ([]byte, error) {
			return programs.run(cmd.Context(), path, args...)
		},
		Terraform: source.outputs,
		Exists: func(path string) error {
			_, err := os.Stat(expandHome(path))
			return err
		},
		Now:    time.Now(),
		Checks: check.Names(), Addons: known,
	}, releases)
	for _, w := range found {
		warnings = append(warnings, w.Error())
	}
	warnings = append(warnings, programs.said...)
	var faults spec.Faults
	switch {
	case errors.As(err, &faults):
		return nil, warnings, fault.Wrap(fault.BadInput, err)
	case err != nil:
		return nil, warnings, err
	case f.terraformApply && !source.asked:
		return nil, warnings, fault.New(fault.BadInput, "--terraform-apply: the hosts of this cluster do not come from Terraform").
			WithHint("spec.inventory.terraform in the cluster's file names a configuration")
	}
	return d, warnings, nil
}

// aboutFiles makes a command that shows something of what the files say, and asks no host.
func aboutFiles(cmd *cobra.Command, show func(context.Context, *cluster.Cluster) (result, error)) *cobra.Command {
	var files clusterFiles
	var output format
	cmd.Args = cobra.NoArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, warnings, err := files.load(cmd)
		warn(plainSink(output, cmd.ErrOrStderr()), warnings)
		if err != nil {
			return err
		}
		shown, err := show(cmd.Context(), c)
		if err != nil {
			return err
		}
		return output.write(cmd.OutOrStdout(), shown)
	}
	files.add(cmd)
	output.add(cmd)
	return cmd
}

func warn(sink report.Sink, warnings []string) {
	for _, w := range warnings {
		sink.Emit(report.Event{Time: time.Now(), Kind: report.Warning, Message: w})
	}
}

// plainSink is for progress that is not drawn in place.
func plainSink(f format, w io.Writer) report.Sink {
	if f == formatJSON {
		return report.NewJSON(w)
	}
	return report.NewPlain(w)
}
