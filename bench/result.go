package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"
)

// Report is what a run has measured, as it is written to a file.
type Report struct {
	Started time.Time `json:"started"`
	// Seconds is what the whole run took, preparations included.
	Seconds  float64           `json:"seconds"`
	Quick    bool              `json:"quick,omitempty"`
	Machine  Machine           `json:"machine"`
	Versions map[string]string `json:"versions"`
	Results  []Result          `json:"results"`
	Growth   []Growth          `json:"growth,omitempty"`
	// Distributions are what getting files to hosts costs the operator's machine.
	Distributions []Distribution `json:"distributions,omitempty"`
	// NotMeasured is what this machine lacks something for.
	NotMeasured []Missing `json:"notMeasured,omitempty"`
}

// Missing is a comparison that was not made, and why.
type Missing struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// Result is one comparison.
type Result struct {
	Name      string `json:"name"`
	What      string `json:"what"`
	Subject   Series `json:"subject"`
	Yardstick Series `json:"yardstick"`
	// Ratio is that of the medians, between the smallest and the largest ratio of a single repetition.
	Ratio Spread `json:"ratio"`
	// Limit is what the ratio is meant to be at most; 0 for no limit.
	Limit float64 `json:"limit,omitempty"`
}

// Series is all samples of one side, in seconds.
type Series struct {
	Name    string   `json:"name"`
	Seconds Spread   `json:"seconds"`
	Samples []Sample `json:"samples"`
}

// Sample is one repetition.
type Sample struct {
	Seconds float64 `json:"seconds"`
	Parts   []Part  `json:"parts,omitempty"`
	// Load is the machine's load average over the last minute before the preparations.
	Load float64 `json:"loadBefore"`
	// Busy is the share of the machine's CPU time that was used meanwhile, by whatever.
	Busy float64 `json:"busy"`
}

// Part is a step of a sample.
type Part struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
}

// Spread is a median and what it lies between.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// spreadOf takes at least one value.
func spreadOf(values []float64) Spread {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	s := Spread{Median: sorted[n/2], Min: sorted[0], Max: sorted[n-1]}
	if n%2 == 0 {
		s.Median = (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return s
}

// summarize fills what follows from the samples, of which both sides have equally many.
func (r *Result) summarize() {
	var ratios []float64
	for i, s := range r.Subject.Samples {
		ratios = append(ratios, s.Seconds/r.Yardstick.Samples[i].Seconds)
	}
	r.Subject.summarize()
	r.Yardstick.summarize()
	r.Ratio = spreadOf(ratios)
	r.Ratio.Median = r.Subject.Seconds.Median / r.Yardstick.Seconds.Median
}

func (s *Series) summarize() {
	var seconds []float64
	for _, sample := range s.Samples {
		seconds = append(seconds, sample.Seconds)
	}
	s.Seconds = spreadOf(seconds)
}

// kept tells whether the ratio is within its limit.
func (r Result) kept() bool { return r.Limit == 0 || r.Ratio.Median <= r.Limit }

// check is an error that names the ratios above their limits.
func (r Report) check() error {
	var errs []error
	for _, result := range r.Results {
		if !result.kept() {
			errs = append(errs, fmt.Errorf("%s: the ratio is %.2f, and may be %.2f", result.Name, result.Ratio.Median, result.Limit))
		}
	}
	for _, g := range r.Growth {
		errs = append(errs, g.check())
	}
	for _, d := range r.Distributions {
		errs = append(errs, d.check())
	}
	return errors.Join(errs...)
}

// print writes the results as a table.
func (r Report) print(w io.Writer) error {
	fmt.Fprintf(w, "%s, %d CPUs, %.0f GiB, Linux %s, load average %.1f at the start; kubewright %s, Kubernetes %s\n\n",
		r.Machine.CPU, r.Machine.CPUs, r.Machine.MemoryGiB, r.Machine.Kernel, r.Machine.Load, r.Versions["kubewright"], r.Versions["kubernetes"])
	err := errors.Join(r.printResults(w), r.printGrowth(w))
	for _, d := range r.Distributions {
		err = errors.Join(err, d.print(w))
	}
	for _, m := range r.NotMeasured {
		fmt.Fprintf(w, "\n%s: not measured: %s\n", m.Name, m.Reason)
	}
	return err
}

func (r Report) printResults(w io.Writer) error {
	if len(r.Results) == 0 {
		return nil
	}
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "MEASUREMENT\tTIMES\tOURS\tTHEIRS\tRATIO\tLIMIT")
	for _, result := range r.Results {
		fmt.Fprintf(table, "%s\t%d\t%s\t%s\t%s\t%s\n", result.Name, len(result.Subject.Samples),
			result.Subject.text(), result.Yardstick.text(), result.Ratio.text("", 2), result.limitText())
	}
	return table.Flush()
}

// printGrowth writes a table for each kind of run.
func (r Report) printGrowth(w io.Writer) error {
	var errs []error
	for _, g := range r.Growth {
		fmt.Fprintf(w, "\n%s: %s\n\n", g.Name, g.What)
		table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
		fmt.Fprintln(table, "HOSTS\tTIMES\tTIME\tCPU\tPEAK\tSENT PER HOST\tANSWERED\tCOMMANDS")
		for _, p := range g.Points {
			const kilo = 1000
			fmt.Fprintf(table, "%d\t%d\t%s\t%s\t%s\t%.1f kB\t%.1f kB\t%.2f\n", p.Hosts, len(p.Costs), p.Seconds.text(" s", 2), p.CPU.text(" s", 2),
				p.PeakMiB.text(" MiB", 0), p.ReceivedPerHost/kilo, p.SentPerHost/kilo, p.ExecsPerHost)
		}
		errs = append(errs, table.Flush())
		fmt.Fprintf(w, "CPU: %.2f s and %.2f ms a host; R² %.4f\n", g.Fit.Base, 1000*g.Fit.PerHost, g.Fit.R2)
	}
	return errors.Join(errs...)
}

func (r Result) limitText() string {
	switch {
	case r.Limit == 0:
		return "none"
	case r.kept():
		return fmt.Sprintf("%.2f kept", r.Limit)
	}
	return fmt.Sprintf("%.2f exceeded", r.Limit)
}

func (s Series) text() string {
	return s.Name + " " + s.Seconds.text(" s", digits(s.Seconds.Median))
}

// digits is how many of a number of seconds are shown after the point.
func digits(seconds float64) int {
	switch {
	case seconds < 0.01:
		return 5
	case seconds < 1:
		return 3
	}
	return 1
}

// text is the median, and beside it what it lies between where that says more.
func (s Spread) text(unit string, digits int) string {
	text := fmt.Sprintf("%.*f%s", digits, s.Median, unit)
	if s.Min == s.Max {
		return text
	}
	return text + fmt.Sprintf(" (%.*f to %.*f)", digits, s.Min, digits, s.Max)
}

// write puts the report into a file, and returns its path.
func (r Report) write(path string) (string, error) {
	encoded, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return "", fmt.Errorf("encoding the results: %w", err)
	}
	return filepath.Clean(path), os.WriteFile(path, append(encoded, '\n'), 0o644)
}
