package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"kubewright/internal/report"
	"kubewright/internal/terraform"
	"kubewright/spec"
)

// terraformSource reads the outputs of Terraform for a command.
type terraformSource struct {
	cmd        *cobra.Command
	prompt     prompt
	apply, yes bool
	// asked says that the hosts stand in outputs.
	asked bool
}

// outputs is the Terraform of cluster.Files.
func (s *terraformSource) outputs(source spec.TerraformSource) (name string, outputs []byte, err error) {
	s.asked = true
	if s.apply && s.prompt.interactive && !s.yes && formatOf(s.cmd) == formatJSON {
		return "", nil, cannotAsk()
	}
	ctx := s.cmd.Context()
	config := terraform.Config{
		Dir: expandHome(source.Dir), Workspace: source.Workspace, Binary: expandHome(source.Binary),
		Out: progressLines(formatOf(s.cmd), s.cmd.ErrOrStderr()),
	}
	for _, path := range source.VarFiles {
		config.VarFiles = append(config.VarFiles, expandHome(path))
	}
	settled := onInterrupt(ctx, func() {
		fmt.Fprintln(config.Out, "interrupted: Terraform finishes what it is at; once more to stop it at once, which may leave its state locked")
	})
	defer settled()
	runner, err := terraform.Open(ctx, config)
	if err != nil {
		return "", nil, err
	}
	defer func() { err = errors.Join(err, runner.Close()) }()
	if s.apply {
		if err := runner.Apply(ctx, s.confirm); err != nil {
			return "", nil, err
		}
	}
	return runner.Outputs(ctx)
}

// confirm asks whether the plan that was shown is to be carried out, where there is somebody to ask.
func (s *terraformSource) confirm(ctx context.Context) error {
	if s.yes || !s.prompt.interactive {
		return nil
	}
	return s.prompt.ask(ctx, "Apply this Terraform plan? Only yes is taken as yes: ", "yes")
}

// progressLines shows what another program prints, which writes whole lines: as it is, or as an
// event a line where progress is JSON.
func progressLines(f format, w io.Writer) io.Writer {
	if f != formatJSON {
		return &lineWriter{show: func(line string) { fmt.Fprintln(w, line) }}
	}
	sink := report.NewJSON(w)
	return &lineWriter{show: func(line string) {
		if line != "" {
			sink.Emit(report.Event{Time: time.Now(), Kind: report.Notice, Message: line})
		}
	}}
}

// lineWriter shows each line that is written to it, without what could move the cursor of a terminal.
type lineWriter struct {
	mu   sync.Mutex
	show func(line string)
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for line := range strings.Lines(string(p)) {
		w.show(strings.TrimRight(report.Printable(line), " \n"))
	}
	return len(p), nil
}
