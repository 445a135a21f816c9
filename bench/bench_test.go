package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kubewright/e2e/lab"
)

func TestSpread(t *testing.T) {
	for _, tc := range []struct {
		values []float64
		want   Spread
	}{
		{[]float64{4}, Spread{Median: 4, Min: 4, Max: 4}},
		{[]float64{9, 1}, Spread{Median: 5, Min: 1, Max: 9}},
		{[]float64{30, 10, 20}, Spread{Median: 20, Min: 10, Max: 30}},
		{[]float64{1, 8, 4, 2}, Spread{Median: 3, Min: 1, Max: 8}},
	} {
		given := append([]float64{}, tc.values...)
		if got := spreadOf(tc.values); got != tc.want {
			t.Errorf("spread of %v is %+v, want %+v", tc.values, got, tc.want)
		}
		if !cmp.Equal(given, tc.values) {
			t.Errorf("%v became %v", given, tc.values)
		}
	}
}

// told makes a contender that takes what it is told, and notes whose turn it was.
func told(name string, turns *[]string, seconds ...float64) contender {
	return contender{name, func(_ context.Context, id string) (Sample, error) {
		*turns = append(*turns, id)
		s := Sample{Seconds: seconds[0]}
		seconds = seconds[1:]
		return s, nil
	}}
}

func TestCompareByTurns(t *testing.T) {
	var turns []string
	b := &bench{stderr: io.Discard}
	got, err := b.compare(t.Context(), comparison{
		name: "race", what: "a race", repetitions: 3, limit: 0.5,
		subject: told("hare", &turns, 3, 1, 2), yardstick: told("tortoise", &turns, 10, 8, 4),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"race-hare-1", "race-tortoise-1", "race-tortoise-2", "race-hare-2", "race-hare-3", "race-tortoise-3"}
	if diff := cmp.Diff(want, turns); diff != "" {
		t.Errorf("turns (-want +got):\n%s", diff)
	}
	if want := (Spread{Median: 2, Min: 1, Max: 3}); got.Subject.Seconds != want {
		t.Errorf("the hare took %+v, want %+v", got.Subject.Seconds, want)
	}
	// The median is that of the medians, the rest is of single repetitions: 3/10, 1/8, 2/4.
	if want := (Spread{Median: 0.25, Min: 0.125, Max: 0.5}); got.Ratio != want {
		t.Errorf("the ratio is %+v, want %+v", got.Ratio, want)
	}
}

// A budget that is used up ends the repetitions, but never before there is one.
func TestBudget(t *testing.T) {
	var turns []string
	b := &bench{stderr: io.Discard, started: time.Now().Add(-time.Hour), options: options{budget: time.Minute}}
	got, err := b.compare(t.Context(), comparison{
		name: "race", repetitions: 3, subject: told("hare", &turns, 3), yardstick: told("tortoise", &turns, 10),
	})
	if err != nil || len(got.Subject.Samples) != 1 || len(got.Yardstick.Samples) != 1 {
		t.Errorf("%+v, %v, want one sample of each", got, err)
	}
	b.budget = 2 * time.Hour
	if !b.affords(time.Minute) || b.affords(2*time.Hour) {
		t.Error("after one of two hours there is time for a minute, and none for two hours")
	}
}

func TestCompareFails(t *testing.T) {
	var turns []string
	b := &bench{stderr: io.Discard}
	_, err := b.compare(t.Context(), comparison{
		repetitions: 2, subject: told("hare", &turns, 1, 1),
		yardstick: contender{"tortoise", func(context.Context, string) (Sample, error) { return Sample{}, errors.New("it sleeps") }},
	})
	if err == nil || !strings.Contains(err.Error(), "tortoise, repetition 1: it sleeps") {
		t.Errorf("error %v, want one that names who failed, and when", err)
	}
}

// What cannot be removed afterwards is an error, of a comparison that went well too.
func TestCompareTearsDown(t *testing.T) {
	left := errors.New("the lab is still there")
	sleeps := contender{"tortoise", func(context.Context, string) (Sample, error) { return Sample{}, errors.New("it sleeps") }}
	var turns []string
	for _, yardstick := range []contender{told("tortoise", &turns, 2), sleeps} {
		b := &bench{stderr: io.Discard}
		_, err := b.compare(t.Context(), comparison{
			repetitions: 1, subject: told("hare", &turns, 1), yardstick: yardstick,
			setUp: func(context.Context) (func() error, error) { return func() error { return left }, nil },
		})
		if !errors.Is(err, left) {
			t.Errorf("error %v, want that of the tear-down", err)
		}
	}
}

// broken is a runner with which a command does not work.
type broken struct {
	lab.Runner
	word string // of the command
	ups  int    // how many labs were made
}

var errBroken = errors.New("it is broken")

func (r *broken) Run(_ context.Context, argv []string, _ io.Reader) ([]byte, error) {
	if slices.Contains(argv, "up") {
		r.ups++
		dir := argv[slices.Index(argv, "--dir")+1]
		state, err := json.Marshal(lab.State{Name: "x", Subnet: netip.MustParsePrefix("10.0.0.0/24"), Nodes: []lab.Node{{Name: "worker1", Role: lab.RoleWorker}}})
		if err := errors.Join(err, os.WriteFile(filepath.Join(dir, "state.json"), state, 0o600), os.WriteFile(filepath.Join(dir, "cluster.yaml"), []byte("spec:\n  network:\n"), 0o600)); err != nil {
			return nil, err
		}
	}
	if slices.Contains(argv, r.word) {
		return nil, errBroken
	}
	return nil, nil
}

// Two comparisons are made on one lab. Where it cannot be made, or not be prepared, neither is measured, and no
// second lab of that name is tried.
func TestPlannedWithoutLab(t *testing.T) {
	path := t.TempDir()
	if err := os.WriteFile(filepath.Join(path, "ansible-playbook"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", path)
	for _, word := range []string{"up", "apply", "sh -s"} {
		r := &broken{word: word}
		b := &bench{options: options{kubewright: "kubewright"}, run: r, logs: t.TempDir(), stderr: io.Discard}
		for _, c := range b.planned(2, "10.0.0.0/24") {
			if _, err := c.setUp(t.Context()); !errors.Is(err, errBroken) {
				t.Errorf("%s, without %s: error %v, want the first", c.name, word, err)
			}
		}
		if r.ups != 1 {
			t.Errorf("without %s %d labs were made", word, r.ups)
		}
		if err := b.end(); err != nil {
			t.Error(err)
		}
	}
}

// What comparisons share is removed after the last of them that is made, whatever became of it, and not at the end
// of the run.
func TestSharedIsRemoved(t *testing.T) {
	var did []string
	b := &bench{stderr: io.Discard}
	broken := errors.New("broken")
	measure := func(name, shares string, makes bool, err error) comparison {
		return comparison{name: name, shares: shares, other: func(context.Context, int, *Report) error {
			did = append(did, name)
			if makes {
				b.atEnd = append(b.atEnd, func() error { did = append(did, "without "+shares); return nil })
			}
			return err
		}}
	}
	failures := b.measureAll(t.Context(), []comparison{
		measure("a1", "a", true, nil), measure("a2", "a", false, broken), measure("b1", "b", true, nil), measure("c", "", false, nil),
	}, &Report{})
	if err := errors.Join(failures...); !errors.Is(err, broken) || !strings.Contains(err.Error(), "a2 was not measured") {
		t.Errorf("error %v", err)
	}
	if diff := cmp.Diff([]string{"a1", "a2", "without a", "b1", "without b", "c"}, did); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}

	did = nil
	cut, cancel := context.WithCancel(t.Context())
	failures = b.measureAll(cut, []comparison{
		{name: "a1", shares: "a", other: func(context.Context, int, *Report) error {
			b.atEnd = append(b.atEnd, func() error { did = append(did, "without a"); return nil })
			cancel()
			return nil
		}},
		measure("a2", "a", false, nil),
	}, &Report{})
	if diff := cmp.Diff([]string{"without a"}, did); diff != "" || !errors.Is(errors.Join(failures...), context.Canceled) {
		t.Errorf("of a run that was cut: %v; -want +got\n%s", failures, diff)
	}
}

func TestChoose(t *testing.T) {
	all := []comparison{{name: "a", repetitions: 3, quick: true}, {name: "b", repetitions: 5}}
	for _, tc := range []struct {
		options options
		want    string // names and repetitions
		fails   string
	}{
		{options{}, "a3 b5", ""},
		{options{quick: true}, "a1", ""},
		{options{quick: true, only: "b"}, "b1", ""},
		{options{repetitions: 2}, "a2 b2", ""},
		{options{only: "b,a"}, "a3 b5", ""},
		{options{only: "c"}, "", `-only "c": there is a, b`},
	} {
		chosen, err := choose(all, tc.options)
		if got := fault(err); got != tc.fails {
			t.Errorf("%+v: error %q, want %q", tc.options, got, tc.fails)
		}
		var got []string
		for _, c := range chosen {
			got = append(got, c.name+string(rune('0'+c.repetitions)))
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("%+v: %v, want %s", tc.options, got, tc.want)
		}
	}
}

func fault(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestBadFlags(t *testing.T) {
	for _, args := range [][]string{{"fast"}, {"-repetitions", "-1"}, {"-budget", "-1s"}, {"-slow"}} {
		if _, err := parse(args, io.Discard); err == nil {
			t.Errorf("%v is taken", args)
		}
	}
}

// aReport has a ratio that is kept, one that is not, and one without a limit.
func aReport() Report {
	series := func(name string, seconds ...float64) Series {
		s := Series{Name: name}
		for _, n := range seconds {
			s.Samples = append(s.Samples, Sample{Seconds: n})
		}
		return s
	}
	r := Report{
		Machine:  Machine{CPU: "A processor", CPUs: 2, MemoryGiB: 23.4, Kernel: "6.18.5", Load: 1.25},
		Versions: map[string]string{"kubewright": "v1", "kubernetes": "1.37.2"},
		Results: []Result{
			{Name: "slow", Subject: series("ours", 20, 24, 22), Yardstick: series("theirs", 60, 61, 62), Limit: 0.5},
			{Name: "quick", Subject: series("ours", 0.02), Yardstick: series("floor", 0.01), Limit: 1.5},
			{Name: "free", Subject: series("ours", 2), Yardstick: series("theirs", 2)},
		},
	}
	for i := range r.Results {
		r.Results[i].summarize()
	}
	return r
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	if err := aReport().print(&out); err != nil {
		t.Fatal(err)
	}
	want := `A processor, 2 CPUs, 23 GiB, Linux 6.18.5, load average 1.2 at the start; kubewright v1, Kubernetes 1.37.2

MEASUREMENT   TIMES   OURS                       THEIRS                       RATIO                 LIMIT
slow          3       ours 22.0 s (20.0 to 24.0)   theirs 61.0 s (60.0 to 62.0)   0.36 (0.33 to 0.39)   0.50 kept
quick         1       ours 0.020 s                 floor 0.010 s                  2.00                  1.50 exceeded
free          1       ours 2.0 s                   theirs 2.0 s                   1.00                  none
`
	if diff := cmp.Diff(squeeze(want), squeeze(out.String())); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

// squeeze makes every run of spaces one, so that a table here need not be in line.
func squeeze(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return strings.Join(lines, "\n")
}

func TestCheckNamesWhatIsExceeded(t *testing.T) {
	got := fault(aReport().check())
	if got != "quick: the ratio is 2.00, and may be 1.50" {
		t.Errorf("check says %q", got)
	}
}

func TestReportIsReadBack(t *testing.T) {
	want := aReport()
	want.Results[0].Subject.Samples[0].Parts = []Part{{"init", 7}, {"join", 13}}
	path, err := want.write(filepath.Join(t.TempDir(), "r.json"))
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got Report
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
}

func TestCPUTimes(t *testing.T) {
	before, err := parseCPUTimes("cpu  100 10 40 800 50 0 0 0 7 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n")
	if err != nil {
		t.Fatal(err)
	}
	if want := (cpuTimes{busy: 150, idle: 850}); before != want {
		t.Errorf("%+v, want %+v", before, want)
	}
	if got := (cpuTimes{busy: 225, idle: 875}).busySince(before); got != 0.75 {
		t.Errorf("busy %v, want three quarters", got)
	}
	if got := before.busySince(before); got != 0 {
		t.Errorf("busy %v in no time", got)
	}
	for _, bad := range []string{"", "cpu 1 2 3\n", "intr 1 2 3 4 5 6 7 8 9\n", "cpu 1 2 3 4 x 6 7 8 9\n"} {
		if _, err := parseCPUTimes(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestMachine(t *testing.T) {
	if got := memoryGiB("MemFree: 1 kB\nMemTotal:       24117248 kB\n"); got != 23 {
		t.Errorf("memory %v, want 23", got)
	}
	if got := memoryGiB("nothing"); got != 0 {
		t.Errorf("memory %v where none is told", got)
	}
	cpuinfo := "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n\nprocessor\t: 1\nmodel name\t: Other\n"
	if got := value(cpuinfo, "model name", ":"); got != "Some CPU @ 2 GHz" {
		t.Errorf("CPU %q", got)
	}
	m, err := probeMachine()
	if err != nil || m.CPUs < 1 || m.MemoryGiB <= 0 || m.Kernel == "" {
		t.Errorf("this machine is %+v, %v", m, err)
	}
}

func TestWithoutNetwork(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cluster.yaml")
	if err := os.WriteFile(path, []byte("spec:\n  network:\n    podCIDR: 10.244.0.0/16\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := withoutNetwork(path); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if want := "spec:\n  network:\n    cni:\n      name: none\n    podCIDR: 10.244.0.0/16\n"; err != nil || string(got) != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	if err := os.WriteFile(path, []byte("spec: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := withoutNetwork(path); err == nil {
		t.Error("a file without a network is taken")
	}
}

// The program that does nothing runs, and is as large as it is told to be.
func TestBuildHello(t *testing.T) {
	const size = 6 << 20
	subject := filepath.Join(t.TempDir(), "subject")
	if err := os.WriteFile(subject, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(subject, size); err != nil {
		t.Fatal(err)
	}
	b := &bench{options: options{kubewright: subject}, run: lab.OSRunner{}}
	path, err := b.buildHello(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if off := info.Size() - size; off > size/100 || off < -size/100 {
		t.Errorf("it has %d bytes, want %d", info.Size(), size)
	}
	out, err := b.run.Run(t.Context(), []string{path}, nil)
	if err != nil || string(out) != "hello\n" {
		t.Errorf("it says %q, %v", out, err)
	}
	if s, err := b.timeRuns(t.Context(), 3, []string{path}); err != nil || s.Seconds <= 0 {
		t.Errorf("it took %+v, %v", s, err)
	}
	if _, err := b.timeRuns(t.Context(), 3, []string{path + "-not"}); err == nil {
		t.Error("a program that is not there was timed")
	}
}
