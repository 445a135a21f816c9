// Command bench measures kubewright against what people would use in its place, and against the floor:
// what the same work costs at the least. Every figure is a ratio of two things that were measured in the
// same run on the same machine, one after the other in changing order, several times.
//
//	go run ./bench [-quick] [-only NAME,...] [-check] [-artifacts DIR]
//
// It prints a table and writes a JSON file with every sample, the versions and what the machine is, and
// beside it what the measured programs said. It fails when something cannot be measured, and, with -check,
// when a ratio is above its limit; a ratio that is bad is no failure otherwise.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"kubewright/e2e/lab"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	var err error
	switch args := os.Args[1:]; {
	case len(args) == 2 && args[0] == bareClient:
		err = runBareClient(ctx, args[1])
	case len(args) > 2 && args[0] == usageOf:
		err = runUsage(ctx, args[1], args[2:])
	default:
		err = run(ctx, args, os.Stdout, os.Stderr)
	}
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	quick, check bool
	only         string
	repetitions  int
	budget       time.Duration
	kubewright   string
	artifacts    string
	kubernetes   string
	results      string
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.BoolVar(&o.quick, "quick", false, "measure once what is most telling: a first impression, no figure to quote")
	flags.BoolVar(&o.check, "check", false, "fail when a ratio is above its limit")
	flags.StringVar(&o.only, "only", "", "comma-separated `names` of what to measure (default: everything)")
	flags.IntVar(&o.repetitions, "repetitions", 0, "how `often` each thing is measured (default: by what it takes)")
	flags.DurationVar(&o.budget, "budget", 0, "`time` after which nothing is repeated any more (default: no limit)")
	flags.StringVar(&o.kubewright, "kubewright", "bin/kubewright", "the `binary` to measure")
	flags.StringVar(&o.artifacts, "artifacts", "", "`folder` made by e2e/artifacts, kubeadm included, to serve to the labs (default: upstream's)")
	flags.StringVar(&o.kubernetes, "kubernetes", lab.DefaultKubernetesVersion, "Kubernetes `version`")
	flags.StringVar(&o.results, "results", "bench/results", "`folder` for the results")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if o.repetitions < 0 || o.budget < 0 {
		return o, fmt.Errorf("-repetitions %d, -budget %s: want more than nothing", o.repetitions, o.budget)
	}
	return o, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	started := time.Now().UTC()
	b := &bench{options: o, started: time.Now(), run: lab.OSRunner{}, logs: filepath.Join(o.results, started.Format("20060102T150405Z")), stderr: stderr}
	chosen, err := choose(b.comparisons(), o)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(b.logs, 0o755); err != nil {
		return err
	}
	report := Report{Started: started, Quick: o.quick}
	if report.Machine, err = probeMachine(); err != nil {
		return err
	}
	if report.Versions, err = b.versions(ctx); err != nil {
		return err
	}
	failures := b.measureAll(ctx, chosen, &report)
	report.Seconds = time.Since(started).Seconds()
	file, err := report.write(b.logs + ".json")
	if err != nil {
		return err
	}
	if err := report.print(stdout); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "\n%s has every sample; what was run said: %s\n", file, b.logs)
	if o.check {
		failures = append(failures, report.check())
	}
	return errors.Join(failures...)
}

// bench is one run of this program.
type bench struct {
	options
	started time.Time
	run     lab.Runner
	logs    string         // folder
	atEnd   []func() error // removes what comparisons share
	stderr  io.Writer
}

// measureAll measures one after another, and returns what went wrong: what else can be measured is worth having.
func (b *bench) measureAll(ctx context.Context, all []comparison, report *Report) (failures []error) {
	for i, c := range all {
		if ctx.Err() != nil {
			failures = append(failures, ctx.Err())
			break
		}
		if err := b.measure(ctx, c, report); err != nil {
			failures = append(failures, fmt.Errorf("%s was not measured: %w", c.name, err))
		}
		if i+1 == len(all) || c.shares == "" || all[i+1].shares != c.shares {
			failures = append(failures, b.end())
		}
	}
	return append(failures, b.end())
}

// end removes what the comparisons so far have shared.
func (b *bench) end() error {
	var errs []error
	for _, end := range b.atEnd {
		errs = append(errs, end())
	}
	b.atEnd = nil
	return errors.Join(errs...)
}

// measure adds what a comparison comes to to a report.
func (b *bench) measure(ctx context.Context, c comparison, report *Report) error {
	if c.other != nil {
		return report.without(c.name, c.other(ctx, c.repetitions, report))
	}
	r, err := b.compare(ctx, c)
	if err == nil {
		report.Results = append(report.Results, r)
	}
	return report.without(c.name, err)
}

// without notes what cannot be measured on this machine; any other error is returned.
func (r *Report) without(name string, err error) error {
	var lacks *missing
	if errors.As(err, &lacks) {
		r.NotMeasured = append(r.NotMeasured, Missing{name, lacks.Error()})
		return nil
	}
	return err
}

// say tells what is being done.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.stderr, format+"\n", args...)
}

// keep writes what a program said to a file of its own.
func (b *bench) keep(name string, text []byte) error {
	return os.WriteFile(filepath.Join(b.logs, name), text, 0o644)
}

// comparisons is everything that can be measured.
func (b *bench) comparisons() []comparison {
	const few, many = 20, 50
	return slices.Concat([]comparison{
		b.bringUp(topology{controlPlanes: 3, workers: 2}, 0.4),
		b.bringUp(topology{controlPlanes: 1, workers: 2}, 0.8),
		b.fromBare(topology{controlPlanes: 1, workers: 2}),
	}, b.addWorker(), []comparison{b.distribution()},
		b.planned(few, "10.152.0.0/24"), b.planned(many, "10.153.0.0/24")[:1], // Ansible takes ten minutes for these
		[]comparison{b.startUp(), b.planCPU(), b.growth()})
}

// choose returns what the flags ask for.
func choose(all []comparison, o options) ([]comparison, error) {
	var names, wanted []string
	for _, c := range all {
		names = append(names, c.name)
	}
	if o.only != "" {
		wanted = strings.Split(o.only, ",")
	}
	for _, name := range wanted {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("-only %q: there is %s", name, strings.Join(names, ", "))
		}
	}
	var chosen []comparison
	for _, c := range all {
		if slices.Contains(wanted, c.name) || (wanted == nil && (c.quick || !o.quick)) {
			if o.quick {
				c.repetitions = 1
			}
			if o.repetitions > 0 {
				c.repetitions = o.repetitions
			}
			chosen = append(chosen, c)
		}
	}
	return chosen, nil
}

// versions are those of what is measured and of what measures.
func (b *bench) versions(ctx context.Context) (map[string]string, error) {
	out, err := b.run.Run(ctx, []string{b.kubewright, "version", "--output", "json"}, nil)
	if err != nil {
		return nil, err
	}
	var v struct{ Version, GoVersion string }
	if err := json.Unmarshal(out, &v); err != nil {
		return nil, fmt.Errorf("%s version says %q: %w", b.kubewright, out, err)
	}
	return map[string]string{"kubewright": v.Version, "go": v.GoVersion, "kubernetes": b.kubernetes}, nil
}
