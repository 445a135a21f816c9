package cli

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"kubewright/internal/check"
	"kubewright/internal/fault"
	"kubewright/internal/plan"
	"kubewright/internal/report"
)

func newApplyCommand() *cobra.Command {
	flags := &runFlags{}
	cmd := onCluster(flags, &cobra.Command{
		Use:   "apply",
		Short: "Make the cluster what the files say",
		Long: `Looks at every host, makes true what is not, and waits until it works. On a terminal it shows
the plan and asks first. It may be stopped anywhere and run again; a run that finds everything as
wanted changes nothing.`,
		Example: `  kubewright apply -f cluster.yaml
  kubewright apply -f cluster.yaml --yes --limit 'worker*'
  kubewright apply -f cluster.yaml --terraform-apply`,
	}, func(ctx context.Context, r *run) (*result, error) {
		if r.prompt.interactive && !flags.yes && flags.output == formatJSON {
			return nil, cannotAsk()
		}
		r.showTimes = true
		p, stats, err := r.Apply(ctx, func(p *plan.Plan) error { return r.confirm(ctx, p, flags.yes) })
		r.stats = stats
		return applied(p, err)
	})
	flags.addScope(cmd)
	flags.addPhases(cmd)
	flags.addChange(cmd)
	flags.addJoin(cmd)
	cmd.Flags().BoolVar(&flags.terraformApply, "terraform-apply", false, "apply the Terraform configuration that describes the hosts first: init, plan and, when confirmed, apply")
	cmd.Flags().BoolVarP(&flags.yes, "yes", "y", false, "do not ask, as when there is no terminal to ask on")
	return cmd
}

// applied is what was done. Hosts that the run did without are an error, and the rest is done all the same.
func applied(p *plan.Plan, err error) (*result, error) {
	if err != nil && (p == nil || !errors.Is(p.Absent, err)) {
		return nil, err
	}
	text := "Done: " + p.Summary()
	if p.Empty() {
		text = p.Summary()
	}
	return &result{document: p.Document(), text: lines([]string{text})}, err
}

// cannotAsk is the error where a question would stand in the way of JSON.
func cannotAsk() error {
	return fault.New(fault.BadInput, "apply asks before it changes something, and cannot with --output json").
		WithHint("look at what plan says, and apply with --yes")
}

// confirm shows the plan and asks, where there is somebody to ask. Where there is not, the
// log is told how much is about to change, and what preflight warns of.
func (r *run) confirm(ctx context.Context, p *plan.Plan, yes bool) error {
	if p.Empty() || yes || !r.prompt.interactive {
		for _, c := range check.Grouped(p.Checks) {
			if c.Severity == check.Warn && !c.Ignored {
				r.emit(report.Warning, c.Host, c.Check+": "+c.Message+"; "+c.Remedy)
			}
		}
		r.emit(report.Notice, "", p.Summary())
		return nil
	}
	if r.terminal != nil {
		r.terminal.Pause()
		defer r.terminal.Resume()
	}
	if err := planText(r.prompt.out, p); err != nil {
		return err
	}
	asked := time.Now()
	err := r.prompt.ask(ctx, "Apply this? Only yes is taken as yes: ", "yes")
	r.sink.Emit(report.Event{Time: time.Now(), Kind: report.WaitDone, Message: "an answer", Duration: time.Since(asked), Err: err})
	return err
}

func (r *run) emit(kind report.Kind, host, message string) {
	r.sink.Emit(report.Event{Time: time.Now(), Kind: kind, Host: host, Message: message})
}
