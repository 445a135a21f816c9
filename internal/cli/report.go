package cli

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"kubewright/internal/fault"
	"kubewright/internal/report"
	"kubewright/internal/report/trace"
)

// recording is what a run leaves behind of its events. Its zero value records nothing.
type recording struct {
	file   *os.File // nil when none could be written
	record *report.Record
	// unwritten is why there is no record, nil where there is one.
	unwritten error
	// trace is the file that was asked for, "" where none was; events are for it.
	trace  string
	events report.Memory
}

// open begins to record a run. What cannot be written is no reason not to run.
func (r *recording) open(run runOf, traceFile string) (sinks []report.Sink) {
	if r.trace = traceFile; traceFile != "" {
		sinks = append(sinks, &r.events)
	}
	if r.file, r.unwritten = openRecord(run); r.unwritten != nil {
		r.unwritten = fmt.Errorf("the run is not recorded, so that report cannot tell of it: %w", r.unwritten)
		return sinks
	}
	r.record = report.NewRecord(r.file)
	return append(sinks, r.record)
}

// checkTrace tells at the beginning of a run whether its trace can be written at the end, and leaves what is
// there: a run that is ended at once has not cost the trace of another.
func checkTrace(path string) error {
	info, err := os.Lstat(path)
	if err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		return nil // to open a pipe is to begin with it
	}
	isNew := errors.Is(err, fs.ErrNotExist)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fault.New(fault.BadInput, "--trace: %w", err)
	}
	err = f.Close()
	if isNew {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// close writes the trace, and returns what could not be written.
func (r *recording) close() (warnings []string) {
	warn := func(what string, err error) {
		if err != nil {
			warnings = append(warnings, what+": "+err.Error())
		}
	}
	if r.record != nil {
		warn("the record of the run ends early", cmp.Or(r.record.Err(), r.file.Close()))
	}
	if r.trace != "" {
		warn("--trace", writeTrace(r.trace, trace.New(r.events.Events())))
	}
	return warnings
}

func writeTrace(path string, r *trace.Run) error {
	var content bytes.Buffer
	return errors.Join(r.WriteChrome(&content), os.WriteFile(path, content.Bytes(), 0o600))
}

// recorded is a run of which there is a record.
type recorded struct{ name, cluster, began, command, path string }

// looks tells whether its command changes nothing on hosts.
func (r recorded) looks() bool {
	switch r.command {
	case "doctor", "plan", "status", "verify", "kubeconfig", "token-create", "token-delete", "token-list":
		return true
	}
	return false
}

// recordedRuns lists the runs below the cache folder, the oldest first.
func recordedRuns() ([]recorded, error) {
	entries, err := os.ReadDir(logFolder())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var runs []recorded
	pattern := logName()
	for _, e := range entries {
		name, ours := strings.CutSuffix(e.Name(), recordSuffix)
		if parts := pattern.FindStringSubmatch(name); ours && parts != nil {
			runs = append(runs, recorded{name: name, cluster: parts[1], began: parts[2], command: parts[3], path: filepath.Join(logFolder(), e.Name())})
		}
	}
	slices.SortStableFunc(runs, func(a, b recorded) int { return strings.Compare(a.began, b.began) })
	return runs, nil
}

// findRun finds a run by its name or by the path of its record. By the name of its cluster it is the last one of a
// command that changes hosts, or the last one where there is none; "" is that of all clusters.
func findRun(wanted string) (recorded, error) {
	if strings.ContainsRune(wanted, filepath.Separator) || strings.HasSuffix(wanted, recordSuffix) {
		name := strings.TrimSuffix(filepath.Base(wanted), recordSuffix)
		return recorded{name: name, path: wanted}, nil
	}
	runs, err := recordedRuns()
	if err != nil {
		return recorded{}, err
	}
	if i := slices.IndexFunc(runs, func(r recorded) bool { return r.name == wanted }); i >= 0 {
		return runs[i], nil
	}
	runs = slices.DeleteFunc(runs, func(r recorded) bool { return wanted != "" && wanted != r.cluster })
	for _, run := range slices.Backward(runs) {
		if !run.looks() {
			return run, nil
		}
	}
	if len(runs) > 0 {
		return runs[len(runs)-1], nil
	}
	if wanted == "" {
		return recorded{}, fault.New(fault.BadInput, "no run was recorded in %s", logFolder()).WithHint("run kubewright apply, or any other command that works on a cluster's hosts, and ask again")
	}
	return recorded{}, fault.New(fault.BadInput, "there is no record of a run or a cluster %s", wanted).WithHint("kubewright report --list says what there is")
}

// read reads the record of a run. lost counts the lines of it that say nothing.
func (r recorded) read() (run *trace.Run, lost int, err error) {
	f, err := os.Open(r.path)
	if err != nil {
		return nil, 0, fault.Wrap(fault.BadInput, err)
	}
	events, lost, err := report.ReadRecord(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, 0, fault.New(fault.BadInput, "%s: %w", r.path, err)
	}
	return trace.New(events), lost, nil
}

func newReportCommand() *cobra.Command {
	var to, traceFile string
	var list bool
	cmd := &cobra.Command{
		Use:   "report [RUN]",
		Short: "Say where the time of a run went, on a page for the browser",
		Long: `Makes one HTML page of the record that a run has left on this machine: what each host was at
and when, the critical path, the slowest steps, changes, warnings and failures. The page needs no
network and no other file.

RUN is the name of a run, as --list shows them, the path of a record, or the name of a cluster,
of which it is the last run of a command that changes hosts, such as apply; where there is none, the
last of any command, such as plan. Without RUN, it is that of all clusters.`,
		Example: `  kubewright report
  kubewright report prod --to report.html
  kubewright report --list`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if list {
				if len(args) > 0 || to != "" || traceFile != "" {
					return fault.New(fault.BadInput, "--list goes with nothing else")
				}
				return listRuns(cmd)
			}
			wanted := ""
			if len(args) > 0 {
				wanted = args[0]
			}
			return makeReport(cmd, wanted, to, traceFile)
		},
	}
	cmd.Flags().StringVarP(&to, "to", "o", "", "file to write, - for stdout (default: RUN.html in this folder)")
	cmd.Flags().StringVar(&traceFile, "trace", "", "file to write a trace to as well, for Perfetto or chrome://tracing")
	cmd.Flags().BoolVar(&list, "list", false, "list the runs of which there is a record, the last at the end")
	return cmd
}

func makeReport(cmd *cobra.Command, wanted, to, traceFile string) error {
	found, err := findRun(wanted)
	if err != nil {
		return err
	}
	run, lost, err := found.read()
	if err != nil {
		return err
	}
	if lost > 0 {
		warn(plainSink(formatText, cmd.ErrOrStderr()), []string{fmt.Sprintf("%s: %d lines are no events, and are left out", found.path, lost)})
	}
	if traceFile != "" {
		if err := writeTrace(traceFile, run); err != nil {
			return fault.New(fault.BadInput, "--trace: %w", err)
		}
	}
	var page bytes.Buffer
	if err := run.WritePage(&page, found.name); err != nil {
		return err
	}
	if to == "-" {
		_, err := page.WriteTo(cmd.OutOrStdout())
		return err
	}
	to = cmp.Or(to, found.name+".html")
	if err := os.WriteFile(to, page.Bytes(), 0o600); err != nil {
		return fault.New(fault.BadInput, "--to: %w", err)
	}
	rows := append([][]string{{"CRITICAL PATH", "WHAT", "TIME", "SHARE"}}, run.Summary()...)
	if err := table(cmd.OutOrStdout(), rows); err != nil {
		return err
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), "wrote "+to)
	return err
}

// listRuns shows what there is a record of. A record that cannot be read is told of, and the others are shown.
func listRuns(cmd *cobra.Command) error {
	runs, err := recordedRuns()
	if err != nil {
		return err
	}
	rows := [][]string{{"RUN", "COMMAND", "OUTCOME", "TIME", "HOSTS", "CHANGES"}}
	var errs []error
	for _, found := range runs {
		run, _, err := found.read()
		if err != nil {
			errs = append(errs, err)
			continue
		}
		rows = append(rows, []string{
			found.name, report.OneLine(run.What), run.Outcome(), report.Elapsed(run.Took), strconv.Itoa(run.Hosts()), strconv.Itoa(run.Changes()),
		})
	}
	return errors.Join(append(errs, table(cmd.OutOrStdout(), rows))...)
}
