package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"kubewright/internal/check"
	"kubewright/internal/engine"
	"kubewright/internal/fault"
	"kubewright/internal/plan"
	"kubewright/internal/report"
)

func newDoctorCommand() *cobra.Command {
	flags := &runFlags{}
	cmd := onCluster(flags, &cobra.Command{
		Use:   "doctor",
		Short: "Check whether the hosts are fit for a cluster, and say everything that was found",
		Long: `Makes the preflight checks of apply on every host that answers, whether it is part of a cluster
or not, and shows each with its verdict, those that pass included. Nothing is changed. It exits
with 12 when a check refuses, and with 11 when a host could not be reached.`,
		Example: `  kubewright doctor -f cluster.yaml
  kubewright doctor -f cluster.yaml --limit worker1 -o json`,
	}, func(ctx context.Context, r *run) (*result, error) {
		d, stats, err := r.Doctor(ctx)
		r.stats = stats
		if d == nil {
			return nil, err
		}
		v := newDiagnosis(r.cluster.Name, d)
		return &result{document: v, text: v.text}, errors.Join(v.refusal(), err)
	})
	flags.addScope(cmd)
	return cmd
}

// diagnosis is the JSON form of doctor.
type diagnosis struct {
	Cluster string `json:"cluster"`
	// OK says that every host was looked at and no check refuses.
	OK    bool     `json:"ok"`
	Hosts []string `json:"hosts"`
	// States maps them to clean, unfinished, complete or foreign.
	States    map[string]string `json:"states"`
	Checks    []diagnosedCheck  `json:"checks"`
	Unreached map[string]string `json:"unreached,omitempty"`
}

type diagnosedCheck struct {
	Name string `json:"name"`
	// About says what the check looks at.
	About string `json:"about"`
	// Verdict is ok, info, warn, refuse or ignored.
	Verdict string                `json:"verdict"`
	Results []plan.DocumentResult `json:"results"`

	grouped []check.Result
}

func newDiagnosis(clusterName string, d *engine.Diagnosis) diagnosis {
	out := diagnosis{Cluster: clusterName, Hosts: d.Hosts, States: map[string]string{}, Unreached: plan.Reasons(d.Unreached)}
	for _, v := range check.Verdicts(d.Results) {
		out.Checks = append(out.Checks, diagnosedCheck{
			Name: v.Check.Name, About: v.Check.Short, Verdict: v.String(),
			Results: plan.DocumentResults(v.Results), grouped: check.Grouped(v.Results),
		})
	}
	for name, state := range d.States {
		out.States[name] = state.String()
	}
	out.OK = len(d.Unreached) == 0 && out.refusal() == nil
	return out
}

// named are the checks with a verdict.
func (d diagnosis) named(verdict string) []string {
	var names []string
	for _, c := range d.Checks {
		if c.Verdict == verdict {
			names = append(names, c.Name)
		}
	}
	return names
}

func (d diagnosis) refusal() error {
	refused := d.named(check.Refuse.String())
	if len(refused) == 0 {
		return nil
	}
	return fault.New(fault.Preflight, "refused by preflight: %s", strings.Join(refused, ", ")).
		WithHint("mend what the checks found; spec.preflight.ignore lists checks that are not heeded")
}

func (d diagnosis) text(w io.Writer) error {
	var rows [][]string
	for _, c := range d.Checks {
		rows = append(rows, []string{c.Verdict, c.Name, c.About})
	}
	// Findings go below their check, and do not widen its columns.
	var out []string
	for i, row := range strings.Split(strings.TrimSuffix(aligned(rows), "\n"), "\n") {
		out = append(out, row)
		for _, r := range d.Checks[i].grouped {
			out = append(out, "  "+finding(r))
			if r.Remedy != "" {
				out = append(out, "    -> "+report.Printable(r.Remedy))
			}
		}
	}
	for _, name := range sortedKeys(d.Unreached) {
		out = append(out, "not reached  "+name+": "+report.Printable(d.Unreached[name]))
	}
	return lines(append(out, "", d.summary(), d.standing()))(w)
}

// standing says of the hosts whose they are: "clean: worker3; complete: cp1, worker1".
func (d diagnosis) standing() string {
	byState := map[string][]string{}
	for _, name := range d.Hosts {
		byState[d.States[name]] = append(byState[d.States[name]], name)
	}
	var parts []string
	for _, state := range sortedKeys(byState) {
		parts = append(parts, state+": "+strings.Join(byState[state], ", "))
	}
	return strings.Join(parts, "; ")
}

// finding is what a check found on one host or several.
func finding(r check.Result) string {
	text := r.Severity.String()
	if r.Ignored {
		text += " (ignored)"
	}
	if r.Host != "" {
		text += "  " + r.Host
	}
	return text + ": " + report.Printable(r.Message)
}

// summary counts the checks by verdict.
func (d diagnosis) summary() string {
	var counts []string
	for _, verdict := range []string{"ok", "info", "ignored", "warn", "refuse"} {
		if n := len(d.named(verdict)); n > 0 {
			counts = append(counts, fmt.Sprintf("%d %s", n, verdict))
		}
	}
	hosts := "1 host"
	if len(d.Hosts) != 1 {
		hosts = fmt.Sprintf("%d hosts", len(d.Hosts))
	}
	return fmt.Sprintf("%d checks of %s: %s", len(d.Checks), hosts, strings.Join(counts, ", "))
}
