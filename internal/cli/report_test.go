package cli

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"kubewright/internal/report"
)

// unreachableCluster is a cluster file whose one host nobody answers at.
func unreachableCluster(t *testing.T) string {
	t.Helper()
	return write(t, "cluster.yaml", clusterYAML("name: cp1, address: 127.0.0.1, nodeIP: 192.0.2.1, roles: [control-plane], ssh: {port: 1, trustOnFirstUse: true}"))
}

// records lists the files of records in the cache.
func records(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(logFolder(), "*"+recordSuffix))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func content(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Every run leaves a record, of which a page is made, by whatever name the run is called.
func TestReport(t *testing.T) {
	isolate(t)
	t.Chdir(t.TempDir())
	kubewright(t, "plan", "-f", unreachableCluster(t)).want(t, 11)
	files := records(t)
	if len(files) != 1 {
		t.Fatalf("the run has left the records %q", files)
	}
	if info, err := os.Stat(files[0]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the record: %v, %v", info.Mode(), err)
	}
	name := strings.TrimSuffix(filepath.Base(files[0]), recordSuffix)
	if log := filepath.Join(logFolder(), name+logSuffix); content(t, log) == "" {
		t.Errorf("beside %s there is no log", files[0])
	}
	cluster, _, _ := strings.Cut(name, "-20")
	for _, args := range [][]string{{}, {name}, {cluster}, {files[0]}} {
		o := kubewright(t, append([]string{"report", "--to", "page.html"}, args...)...).want(t, 0)
		if !strings.HasSuffix(o.out, "wrote page.html\n") || !strings.HasPrefix(o.out, "CRITICAL PATH") {
			t.Errorf("report %q says:\n%s", args, o.out)
		}
		page := content(t, "page.html")
		for _, want := range []string{"plan of " + cluster, "failed", "cp1", "kubewright v1.2.3", "1.37.2", "Critical path", "What went wrong"} {
			if !strings.Contains(page, want) {
				t.Errorf("the page of %q does not say %q", args, want)
			}
		}
		if err := os.Remove("page.html"); err != nil {
			t.Fatal(err)
		}
	}
	kubewright(t, "report").want(t, 0)
	if content(t, name+".html") != kubewright(t, "report", "-o", "-").want(t, 0).out {
		t.Error("the page in the file is another than on stdout")
	}
	if o := kubewright(t, "report", "--list").want(t, 0); !strings.Contains(o.out, name) || !strings.Contains(o.out, "plan") || !strings.Contains(o.out, "failed") {
		t.Errorf("--list says:\n%s", o.out)
	}
	kubewright(t, "report", "--trace", "t.json").want(t, 0)
	wantTrace(t, "t.json")
}

// wantTrace: a file is a trace of a run on cp1.
func wantTrace(t *testing.T, path string) {
	t.Helper()
	var got struct {
		TraceEvents []struct {
			Ph   string
			Args map[string]any
		}
	}
	if err := json.Unmarshal([]byte(content(t, path)), &got); err != nil {
		t.Fatal(err)
	}
	for _, e := range got.TraceEvents {
		if e.Ph == "M" && e.Args["name"] == "critical path" {
			return
		}
	}
	t.Errorf("it is no trace: %+v", got)
}

func TestReportIsRefused(t *testing.T) {
	isolate(t)
	t.Chdir(t.TempDir())
	kubewright(t, "report").want(t, 10, "no run was recorded", "hint:")
	if o := kubewright(t, "report", "--list").want(t, 0); strings.Count(o.out, "\n") != 1 {
		t.Errorf("--list says:\n%s", o.out)
	}
	kubewright(t, "plan", "-f", unreachableCluster(t)).want(t, 11)
	broken := write(t, "broken.jsonl", "no event\n")
	for _, tc := range []struct {
		args []string
		says string
	}{
		{[]string{"nothing-of-ours"}, "report --list says what there is"},
		{[]string{"./missing.jsonl"}, "missing.jsonl: no such file"},
		{[]string{broken}, "broken.jsonl: it is no record of a run"},
		{[]string{"a", "b"}, "at most 1 arg"},
		{[]string{"--list", "a"}, "--list goes with nothing else"},
		{[]string{"--list", "--to", "a"}, "--list goes with nothing else"},
		{[]string{"--to", "no/such/page.html"}, "--to: open no/such/page.html"},
		{[]string{"--trace", "no/such/t.json"}, "--trace: open no/such/t.json"},
	} {
		kubewright(t, append([]string{"report"}, tc.args...)...).want(t, 10, tc.says)
	}
}

// A record that a killed run has left, with half of a line at its end, is told as far as it goes.
func TestReportOfAKilledRun(t *testing.T) {
	isolate(t)
	t.Chdir(t.TempDir())
	cut := write(t, "cut.jsonl", `{"time":"2026-03-01T12:00:00Z","kind":"run-started","message":"apply"}
{"time":"2026-03-01T12:00:04Z","kind":"phase-done","host":"cp1","phase":"host","seconds":4}
{"time":"2026-03-01T12:0`)
	kubewright(t, "report", cut).want(t, 0, "1 lines are no events")
	if page := content(t, "cut.html"); !strings.Contains(page, "the record ends early") {
		t.Error("the page does not say that the run has no end")
	}
}

// The last run is the one that began last, whatever cluster it was of; one that only looks comes after those that
// change something.
func TestFindRun(t *testing.T) {
	isolate(t)
	if err := os.MkdirAll(logFolder(), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"b-20260101T000000-9-apply", "a-20260301T000000-1-apply", "a-20260201T000000-2-node-remove", "a-1-20260401T000000-1-reset", "notes",
		"a-20260501T000000-1-status", "c-20260501T000000-1-plan", "c-20260601T000000-1-status",
	} {
		if err := os.WriteFile(filepath.Join(logFolder(), name+recordSuffix), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for wanted, want := range map[string]string{
		"": "a-1-20260401T000000-1-reset", "a": "a-20260301T000000-1-apply", "b": "b-20260101T000000-9-apply", "a-1": "a-1-20260401T000000-1-reset",
		"a-20260201T000000-2-node-remove": "a-20260201T000000-2-node-remove", "a-20260501T000000-1-status": "a-20260501T000000-1-status", "c": "c-20260601T000000-1-status",
	} {
		if got, err := findRun(wanted); err != nil || got.name != want {
			t.Errorf("%q is %q, %v; want %q", wanted, got.name, err, want)
		}
	}
	if got, err := findRun("notes"); err == nil {
		t.Errorf("what is no record is %+v", got)
	}
}

func TestTraceOfARun(t *testing.T) {
	isolate(t)
	file, dir := unreachableCluster(t), t.TempDir()
	written := filepath.Join(dir, "trace.json")
	kubewright(t, "plan", "-f", file, "--trace", written).want(t, 11)
	wantTrace(t, written)
	kubewright(t, "plan", "-f", file, "--trace", filepath.Join(dir, "no", "such.json")).want(t, 10, "--trace: open")
}

// Which commands only look is what their flags say: a command that changes something takes locks, or does it on the
// machine that it runs on and shows it with --dry-run.
func TestCommandsThatLook(t *testing.T) {
	var runs []string
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
		if cmd.Flags().Lookup("log") == nil {
			return
		}
		name := commandName(cmd)
		runs = append(runs, name)
		looks := cmd.Flags().Lookup("force-unlock") == nil && cmd.Flags().Lookup("dry-run") == nil
		if (recorded{command: name}).looks() != looks {
			t.Errorf("%s looks: %v, and by its flags %v", name, !looks, looks)
		}
	}
	walk(newRootCommand("v1.2.3"))
	for _, want := range []string{"apply", "status", "reset", "node-remove", "node-replace", "init", "join"} {
		if !slices.Contains(runs, want) {
			t.Errorf("%s makes no run: %q", want, runs)
		}
	}
}

// A run that does not begin, or is ended at once, leaves nothing, and takes away nothing.
func TestRunThatDoesNotBegin(t *testing.T) {
	isolate(t)
	file, dir := unreachableCluster(t), t.TempDir()
	nowhere := filepath.Join(dir, "no", "such")
	kubewright(t, "plan", "-f", file, "--trace", nowhere).want(t, 10, "--trace: open")
	earlier, another := write(t, "trace.json", "that of an earlier run"), filepath.Join(dir, "another")
	kubewright(t, "plan", "-f", file, "--log", nowhere, "--trace", earlier).want(t, 10, "--log: open")
	kubewright(t, "plan", "-f", file, "--log", nowhere, "--trace", another).want(t, 10, "--log: open")
	kubewright(t, "plan", "-f", file, "--trace", dir).want(t, 10, "--trace: open", "is a directory")
	if left, err := os.ReadDir(logFolder()); !errors.Is(err, fs.ErrNotExist) || len(left) > 0 {
		t.Errorf("in the folder of logs there is %v, %v", left, err)
	}
	if got := content(t, earlier); got != "that of an earlier run" {
		t.Errorf("the earlier trace is now %q", got)
	}
	if _, err := os.Stat(another); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of a trace that was not written there is %v", err)
	}
	kubewright(t, "plan", "-f", file, "--trace", earlier).want(t, 11)
	wantTrace(t, earlier)
}

// What cannot be written of a run is told, and changes nothing about how it ends.
func TestRunThatCannotBeRecorded(t *testing.T) {
	isolate(t)
	file := unreachableCluster(t)
	if _, err := os.Stat("/dev/full"); err == nil {
		kubewright(t, "plan", "-f", file, "--trace", "/dev/full").want(t, 11, "warning: --trace: ", "no space left")
	}
	t.Setenv("KUBEWRIGHT_CACHE", file) // which is no folder
	o := kubewright(t, "plan", "-f", file, "--log", filepath.Join(t.TempDir(), "log")).want(t, 11)
	if !strings.Contains(o.err, "warning: the run is not recorded") {
		t.Errorf("it says:\n%s", o.err)
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("there is no /dev/full")
	}
	r := recording{file: full, record: report.NewRecord(full)}
	r.record.Emit(report.Event{Kind: report.Notice})
	if said := r.close(); !slices.ContainsFunc(said, func(s string) bool {
		return strings.Contains(s, "the record of the run ends early: ") && strings.Contains(s, "no space left")
	}) {
		t.Errorf("of a record on a full disk it says %q", said)
	}
}

// Of the records of a cluster, as many are kept as of its logs.
func TestRecordsAreKeptAsLogsAre(t *testing.T) {
	isolate(t)
	now := time.Now()
	for i := range keptLogs + 3 {
		f, err := openRecord(runOf{"lab", "apply", now.Add(time.Duration(i) * time.Second)})
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(records(t)); n != keptLogs {
		t.Errorf("%d records are kept, want %d", n, keptLogs)
	}
}
