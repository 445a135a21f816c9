package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubewright/cluster"
	"kubewright/internal/artifact"
	"kubewright/internal/engine"
	"kubewright/internal/fault"
	"kubewright/internal/report"
	"kubewright/internal/report/trace"
	"kubewright/internal/ssh"
	"kubewright/inventory"
	"kubewright/phases"
)

// runFlags are the flags of the commands that work on a cluster's hosts.
type runFlags struct {
	clusterFiles
	output format
	log    string
	trace  string
	stats  bool
	limit  string
	phases []string
	// These are flags of the commands that change something on hosts.
	forceUnlock bool
	reconnect   time.Duration
	join, ready time.Duration // 0: the default
}

// add gives a command the flags that all of them have. The others are added one by one:
// a flag that a command would not heed, it does not have.
func (f *runFlags) add(cmd *cobra.Command) {
	f.clusterFiles.add(cmd)
	cmd.Flags().StringVar(&f.log, "log", "", "file for the debug log: every script that is run on a host with its duration, secrets redacted (default: a new file below the cache folder)")
	f.addTrace(cmd)
}

// addTrace is for commands that make a run.
func (f *runFlags) addTrace(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.trace, "trace", "", "file to write when the run ends, done or not: where its time went, for Perfetto or chrome://tracing; report makes a page of it")
}

// addScope is for commands that work on the hosts, and tell about it.
func (f *runFlags) addScope(cmd *cobra.Command) {
	f.output.add(cmd)
	cmd.Flags().StringVar(&f.limit, "limit", "", "hosts to work on, as patterns of Ansible: names, globs, ranges, groups, roles, ~regex, a[0] by position, all, &and, !not, separated by commas or colons")
	cmd.Flags().BoolVar(&f.stats, "stats", false, "print what the run cost on each host: executions, bytes, connections")
}

// addPhases is for commands that go through the phases.
func (f *runFlags) addPhases(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&f.phases, "phase", nil, "phases to run, as phases list names them (default: all)")
}

// addChange is for commands that change something on hosts, and take their locks for it.
func (f *runFlags) addChange(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&f.reconnect, "reconnect-timeout", 3*time.Minute, "how long to try to reach a host again whose connection was lost, as when it reboots")
	cmd.Flags().BoolVar(&f.forceUnlock, "force-unlock", false, "take the hosts' locks from whoever holds them")
}

// addJoin is for commands that make hosts members of etcd, and wait until what they made is ready.
func (f *runFlags) addJoin(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&f.join, "join-timeout", 2*time.Minute, "how long a new member of etcd may take to be reached and to catch up before it is taken back")
	cmd.Flags().DurationVar(&f.ready, "ready-timeout", 6*time.Minute, "how long what was installed, a node or an addon, may take to become ready")
}

// run is one command's work on a cluster: the resolved cluster, an engine for it, and
// where its events go.
type run struct {
	*engine.Engine
	flags    *runFlags
	cluster  *cluster.Cluster
	prompt   prompt
	sink     report.Sink
	terminal *report.Terminal
	times    report.PhaseTimes
	store    *artifact.Store
	logFile  *os.File // nil when none could be written
	record   recording
	bastions *ssh.Bastions // nil when nothing is reached over SSH
	out, err io.Writer

	// What a command leaves to be printed beside its result.
	stats     []engine.Stats
	showTimes bool
}

// work is what a command does on a cluster. What it returns is printed once the progress
// is off the screen, whether it failed or not; nil is nothing.
type work func(ctx context.Context, r *run) (*result, error)

// onCluster makes a command that runs on a cluster.
func onCluster(flags *runFlags, cmd *cobra.Command, do work) *cobra.Command {
	flags.add(cmd)
	cmd.Args = cobra.NoArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		r, err := flags.open(cmd)
		if err != nil {
			return err
		}
		return r.do(cmd.Context(), do)
	}
	return cmd
}

// do does the work of a command, and prints what came of it.
func (r *run) do(ctx context.Context, do work) error {
	settled := r.warnOfInterrupt(ctx)
	res, err := do(ctx, r)
	settled()
	return r.finish(res, err)
}

// warnOfInterrupt says, when ctx is cancelled, what that does not cut short.
func (r *run) warnOfInterrupt(ctx context.Context) (settled func()) {
	return onInterrupt(ctx, func() {
		r.emit(report.Warning, "", "interrupted: what is at work on hosts is finished first, or given up after some seconds; once more to stop at once")
	})
}

// onInterrupt calls say when ctx is cancelled. What it returns ends that, and waits for a call that
// is on its way.
func onInterrupt(ctx context.Context, say func()) (settled func()) {
	said := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(said)
		say()
	})
	return func() {
		if !stop() {
			<-said
		}
	}
}

// open reads the files, and sets up all that a command needs. No host is connected to.
func (f *runFlags) open(cmd *cobra.Command) (*run, error) {
	c, warnings, err := f.load(cmd)
	if err != nil {
		warn(plainSink(f.output, cmd.ErrOrStderr()), warnings)
		return nil, err
	}
	options := engine.Options{ForceUnlock: f.forceUnlock, ReconnectTimeout: f.reconnect, JoinTimeout: f.join, ReadyTimeout: f.ready}
	if options.Limit, err = f.selector(cmd, c); err != nil {
		return nil, fault.Wrap(fault.BadInput, err)
	}
	if len(f.phases) > 0 {
		if options.Only, err = phases.Find(f.phases); err != nil {
			return nil, fault.New(fault.BadInput, "--phase: %w", err)
		}
	}
	dialer, err := newDialer(c.Select(options.Limit))
	if err != nil {
		return nil, fault.Wrap(fault.BadInput, err)
	}
	options.Cluster, options.Dial = c, dialer.dial
	r, err := f.setUp(cmd, options, warnings)
	if err != nil {
		return nil, err
	}
	r.bastions = dialer.bastions
	return r, nil
}

// setUp is open once it is known which hosts of which cluster the command works on, and how they are
// connected to.
func (f *runFlags) setUp(cmd *cobra.Command, options engine.Options, warnings []string) (*run, error) {
	for name, limit := range map[string]time.Duration{"reconnect-timeout": f.reconnect, "join-timeout": f.join, "ready-timeout": f.ready} {
		if limit < 0 || (limit == 0 && cmd.Flags().Changed(name)) {
			return nil, fault.New(fault.BadInput, "--%s %s: it has to be more than nothing", name, limit)
		}
	}
	r := &run{flags: f, cluster: options.Cluster, prompt: newPrompt(cmd), out: cmd.OutOrStdout(), err: cmd.ErrOrStderr()}
	options.Now, options.Rand, options.Holder = time.Now, rand.Reader, holder(cmd)
	if options.Phases == nil {
		options.Phases = phases.All()
	}
	var err error
	if r.store, err = openStore(r.cluster, f.file); err != nil {
		return nil, err
	}
	if err := r.openSinks(cmd); err != nil {
		return nil, err
	}
	warn(r.sink, warnings)
	options.Files, options.Sink = r.store, r.sink
	if len(r.cluster.Addons.Custom) > 0 {
		options.Custom = func(ctx context.Context) (map[string][]*unstructured.Unstructured, error) {
			return customAddons(ctx, r.cluster)
		}
	}
	const enough = 192 << 20 // with the program itself, the 250 MB that a run over 500 hosts may take
	roomyMemory(enough)
	if r.Engine, err = engine.New(options); err != nil {
		return nil, r.finish(nil, err)
	}
	return r, nil
}

// selector turns --limit into a selector; a term that picks no host is refused. A command
// without the flag looks at control planes only, for what they know of the cluster.
func (f *runFlags) selector(cmd *cobra.Command, c *cluster.Cluster) (inventory.Selector, error) {
	switch {
	case cmd.Flags().Lookup("limit") == nil:
		return func(inventory.Host) bool { return false }, nil
	case f.limit == "":
		return inventory.Everyone, nil
	}
	picked, err := inventory.Select(c.Hosts, f.limit)
	if err != nil {
		return nil, fmt.Errorf("--limit: %w", err)
	}
	return func(h inventory.Host) bool {
		return slices.ContainsFunc(picked, func(p inventory.Host) bool { return p.Name == h.Name })
	}, nil
}

// openSinks sends events to the terminal or as plain lines, as JSON when results are
// JSON, to the debug log, to the record of the run, and to what measures phases.
func (r *run) openSinks(cmd *cobra.Command) error {
	// What was asked for comes first: if it cannot be had, nothing else is made.
	if r.flags.trace != "" {
		if err := checkTrace(r.flags.trace); err != nil {
			return err
		}
	}
	this := runOf{r.cluster.Name, commandName(cmd), time.Now()}
	file, warning, err := openLog(r.flags.log, this)
	if err != nil {
		return err
	}
	var warnings []string
	if warning != nil {
		warnings = append(warnings, warning.Error())
	}
	kept := r.record.open(this, r.flags.trace)
	if r.record.unwritten != nil {
		warnings = append(warnings, r.record.unwritten.Error())
	}
	if file != nil {
		r.logFile = file
		kept = append(kept, report.NewDebugLog(file))
	}
	first := report.Event{
		Time: this.began, Kind: report.Notice, Message: fmt.Sprintf("kubewright %s: %s", cmd.Root().Version, withoutSecrets(os.Args)),
		Attrs: map[string]string{trace.AttrCluster: r.cluster.Name, trace.AttrVersion: cmd.Root().Version, trace.AttrKubernetes: r.cluster.Version},
	}
	report.Multi(kept...).Emit(first)
	sinks := slices.Concat(kept, []report.Sink{&r.times})
	if screen, ok := r.err.(*os.File); ok && r.flags.output != formatJSON && isTerminal(screen) {
		r.terminal = report.NewTerminal(screen, func() int {
			width, _, err := term.GetSize(int(screen.Fd()))
			if err != nil {
				return 0 // unknown
			}
			return width
		})
		sinks = append(sinks, r.terminal)
	} else {
		sinks = append(sinks, progress{plainSink(r.flags.output, r.err)})
	}
	r.sink = report.Multi(sinks...)
	warn(r.sink, warnings)
	return nil
}

// progress leaves the failure of a run to printError, which has the last word.
type progress struct{ report.Sink }

func (p progress) Emit(e report.Event) {
	if e.Kind != report.RunDone || e.Err == nil {
		p.Sink.Emit(e)
	}
}

// isTerminal tells whether a file is a terminal on which lines can be drawn anew.
func isTerminal(f *os.File) bool {
	return term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
}

// finish takes the progress off the screen, prints the result and what else was asked for,
// saves digests that were learned, and says where the debug log of a failed run is.
func (r *run) finish(res *result, failure error) error {
	if r.terminal != nil {
		r.terminal.Close()
	}
	errs := []error{failure, saveLearned(r.store, r.flags.file)}
	if res != nil {
		errs = append(errs, r.flags.output.write(r.out, *res))
	}
	if r.showTimes && r.flags.output != formatJSON {
		errs = append(errs, r.times.Print(r.err))
	}
	errs = append(errs, r.printStats())
	if r.bastions != nil {
		errs = append(errs, r.bastions.Close())
	}
	warn(plainSink(r.flags.output, r.err), r.record.close())
	if r.logFile != nil {
		errs = append(errs, r.logFile.Close())
	}
	err := errors.Join(errs...)
	if err == nil || r.logFile == nil {
		return err
	}
	return &loggedError{error: err, log: r.logFile.Name()}
}

// printStats shows what a run cost on each host.
func (r *run) printStats() error {
	if !r.flags.stats {
		return nil
	}
	header := []string{"HOST", "EXECS", "SESSIONS", "DIALS", "SENT", "RECEIVED"}
	rows := [][]string{header}
	for _, s := range r.stats {
		row := []string{s.Host}
		for _, n := range []int64{s.Execs, s.Sessions, s.Dials, s.BytesOut, s.BytesIn} {
			row = append(row, strconv.FormatInt(n, 10))
		}
		rows = append(rows, row)
	}
	if r.flags.output != formatJSON {
		return table(r.err, rows)
	}
	for _, row := range rows[1:] {
		attrs := map[string]string{}
		for i, name := range header[1:] {
			attrs[strings.ToLower(name)] = row[i+1]
		}
		report.NewJSON(r.err).Emit(report.Event{Time: time.Now(), Kind: report.Notice, Host: row[0], Message: "cost", Attrs: attrs})
	}
	return nil
}

// holder is the line that another run is shown when it finds the lock taken.
func holder(cmd *cobra.Command) string {
	name, machine := "unknown", "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		machine = h
	}
	return fmt.Sprintf("%s@%s pid %d, %q since %s", name, machine, os.Getpid(), cmd.CommandPath(), time.Now().UTC().Format(time.RFC3339))
}
