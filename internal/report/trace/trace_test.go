package trace_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kubewright/internal/fault"
	"kubewright/internal/report"
	"kubewright/internal/report/trace"
)

// begun is when the runs of these tests began.
func begun() time.Time { return time.Date(2026, 11, 29, 16, 0, 0, 0, time.UTC) }

// seconds is a time, or a length, of a run.
func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// event is one at some time.
func event(at float64, kind report.Kind, host, phase, message string) report.Event {
	return report.Event{Time: begun().Add(seconds(at)), Kind: kind, Host: host, Phase: phase, Message: message}
}

// lasting is an event at the end of something that took so long.
func lasting(took float64, e report.Event) report.Event {
	e.Duration = seconds(took)
	return e
}

func start(what string) report.Event { return event(0, report.RunStarted, "", "", what) }
func end(at float64) report.Event    { return lasting(at, event(at, report.RunDone, "", "", "apply")) }

func command(at, took float64, host, what string) report.Event {
	return lasting(took, event(at, report.Exec, host, "", what))
}

func phase(at, took float64, host, name string) report.Event {
	return lasting(took, event(at, report.PhaseDone, host, name, ""))
}

func wait(at, took float64, host, phase, what string) report.Event {
	return lasting(took, event(at, report.WaitDone, host, phase, what))
}

// waitFor is a wait that another lane ended, done with a phase: lane/phase.
func waitFor(at, took float64, host, what, by string) report.Event {
	e := wait(at, took, host, "", what)
	lane, phase, _ := strings.Cut(by, "/")
	e.Attrs = map[string]string{report.AfterHost: lane, report.AfterPhase: phase}
	return e
}

func failed(e report.Event, err error) report.Event {
	e.Err = err
	return e
}

// recording reads a record of testdata.
func recording(t testing.TB, name string) *trace.Run {
	t.Helper()
	f, err := os.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	events, lost, err := report.ReadRecord(f)
	if err != nil || lost > 0 {
		t.Fatalf("%d lines are lost, %v", lost, err)
	}
	return trace.New(events)
}

// steps renders a critical path: what took how long.
func steps(legs []trace.Leg) []string {
	var out []string
	for _, l := range legs {
		host := l.Host
		if host == "" {
			host = "cluster"
		}
		out = append(out, fmt.Sprintf("%s %s %gs", host, l.Name, l.Took().Seconds()))
	}
	return out
}

// The critical path of small worlds, in each of which it is plain what held the run up.
func TestCriticalPath(t *testing.T) {
	broken := errors.New("broken")
	for name, tc := range map[string]struct {
		events []report.Event
		want   []string
	}{
		"nothing at all": {nil, nil},
		"no time at all": {[]report.Event{start("apply"), end(0)}, nil},
		"nothing was done": {
			[]report.Event{start("apply"), end(3)},
			[]string{"cluster kubewright itself 3s"},
		},
		"one host, one thing after the other": {
			[]report.Event{start("apply"), command(1, 1, "a", "look"), phase(3, 2, "a", "host"), phase(6, 3, "a", "kubelet"), end(7)},
			[]string{"a look 1s", "a host 2s", "a kubelet 3s", "a kubewright itself 1s"},
		},
		"a gap belongs to kubewright": {
			[]report.Event{start("apply"), command(1, 1, "a", "look"), phase(5, 2, "a", "host"), end(5)},
			[]string{"a look 1s", "a kubewright itself 2s", "a host 2s"},
		},
		"the last host counts, not the busiest": {
			[]report.Event{start("apply"), phase(4, 4, "a", "host"), phase(1, 1, "b", "host"), phase(5, 3, "b", "kubelet"), end(5)},
			[]string{"b host 1s", "b kubewright itself 1s", "b kubelet 3s"},
		},
		"a barrier leads to the host that was last at it": {
			[]report.Event{
				start("apply"), phase(2, 2, "a", "host"), phase(5, 5, "b", "host"),
				waitFor(5, 3, "a", "phase host on all hosts", "b/host"), phase(9, 4, "a", "kubelet"), phase(6, 1, "b", "kubelet"), end(9),
			},
			[]string{"b host 5s", "a kubelet 4s"},
		},
		"what comes between the end of a phase and of the wait for it is the waiting host's": {
			[]report.Event{
				start("apply"), phase(4, 4, "b", "host"), waitFor(5, 5, "a", "phase host on all hosts", "b/host"), phase(9, 4, "a", "kubelet"), end(9),
			},
			[]string{"b host 4s", "a phase host on all hosts 1s", "a kubelet 4s"},
		},
		"barriers in a row": {
			[]report.Event{
				start("apply"), phase(2, 2, "a", "x"), phase(1, 1, "b", "x"), waitFor(2, 1, "b", "phase x", "a/x"),
				phase(5, 3, "b", "y"), phase(3, 1, "a", "y"), waitFor(5, 2, "a", "phase y", "b/y"), phase(6, 1, "a", "z"), end(6),
			},
			[]string{"a x 2s", "b y 3s", "a z 1s"},
		},
		"the cluster waits for a host, and then for what no host of the run does": {
			[]report.Event{
				start("apply"), phase(3, 3, "a", "kubelet"), waitFor(3, 3, "", "phase kubelet on any host", "a/kubelet"),
				wait(9, 5, "", "bootstrap", "an API server to be ready"), phase(10, 7, "", "bootstrap"), end(10),
			},
			[]string{"a kubelet 3s", "cluster bootstrap 1s", "cluster an API server to be ready 5s", "cluster bootstrap 1s"},
		},
		"of waits at once the last to end": {
			[]report.Event{
				start("apply"), wait(3, 3, "", "verify", "node a"), wait(8, 8, "", "verify", "node b"), wait(5, 5, "", "verify", "node c"), phase(9, 9, "", "verify"), end(9),
			},
			[]string{"cluster node b 8s", "cluster verify 1s"},
		},
		"all hosts begin after the plan, which comes after the last look": {
			[]report.Event{
				start("apply"), command(1, 1, "a", "look"), command(4, 4, "b", "look"), waitFor(4, 4, "", "all hosts to be looked at", "b/"),
				command(5, 1, "", "plan"), phase(9, 4, "a", "host"), phase(6, 1, "b", "host"), end(9),
			},
			[]string{"b look 4s", "cluster plan 1s", "a host 4s"},
		},
		"a second walk comes after the first": {
			[]report.Event{
				start("apply"), phase(1, 1, "a", "ways"), phase(4, 4, "b", "ways"), waitFor(4, 4, "", "all hosts to be through", "b/"),
				phase(6, 2, "a", "verify"), end(6),
			},
			[]string{"b ways 4s", "a verify 2s"},
		},
		"a phase is more than the command that it is a part of": {
			[]report.Event{start("apply"), command(6, 6, "a", "act (2 tasks)"), phase(3, 2, "a", "x"), phase(5, 2, "a", "y"), end(6)},
			[]string{"a act (2 tasks) 1s", "a x 2s", "a y 2s", "a act (2 tasks) 1s"},
		},
		"spans that overlap without being nested": {
			[]report.Event{start("apply"), phase(4, 4, "a", "x"), phase(6, 4, "a", "y"), end(6)},
			[]string{"a x 2s", "a y 4s"},
		},
		"a host that fails is where the path ends, if it is the last": {
			[]report.Event{
				start("apply"), phase(1, 1, "a", "host"), failed(phase(5, 5, "b", "host"), broken), failed(event(5, report.HostFailed, "b", "", ""), broken),
				waitFor(5, 4, "a", "phase host on all hosts", "b/host"), failed(end(5), broken),
			},
			[]string{"b host 5s"},
		},
		"a run that was cut in a phase": {
			[]report.Event{start("apply"), command(1, 1, "a", "look"), event(1, report.PhaseStarted, "a", "host", ""), event(4, report.Notice, "", "", "still there")},
			[]string{"a look 1s", "a host 3s"},
		},
		"a run that was cut in a wait": {
			[]report.Event{start("apply"), event(1, report.Waiting, "", "verify", "node a: not yet"), event(5, report.Waiting, "", "verify", "node a: still not")},
			[]string{"cluster kubewright itself 1s", "cluster node a 4s"},
		},
		"whoever waits for each other ends all the same": {
			[]report.Event{start("apply"), waitFor(4, 4, "a", "b", "b/x"), waitFor(4, 4, "b", "a", "a/x"), end(4)},
			[]string{"a b 4s"},
		},
		"for itself": {
			[]report.Event{start("apply"), waitFor(4, 3, "a", "itself", "a/"), end(4)},
			[]string{"a kubewright itself 1s", "a itself 3s"},
		},
		"for a host that nobody has seen": {
			[]report.Event{start("apply"), waitFor(4, 4, "a", "a ghost", "ghost/x"), end(4)},
			[]string{"a a ghost 4s"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			legs := trace.New(tc.events).CriticalPath()
			if diff := cmp.Diff(tc.want, steps(legs)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// The path of a real bring-up of three control planes and two workers.
func TestCriticalPathOfARealRun(t *testing.T) {
	run := recording(t, "ha.jsonl")
	wantWhole(t, run)
	var rows []string
	for _, row := range run.Summary() {
		rows = append(rows, strings.Join(row, " | "))
	}
	got := strings.Join(rows, "\n")
	at := 0
	for _, want := range []string{
		"cluster | plan | 3.5s | 4%", "cp1 · artifacts | the phase itself | 6.8s | 8%",
		"cluster · bootstrap | waiting for an API server to be ready | 15.1s | 18%",
		"cluster · verify | waiting for DaemonSet kube-system/calico-node to be ready | 48.0s | 57%",
	} {
		i := strings.Index(got[at:], want)
		if i < 0 {
			t.Fatalf("%q is not there, or not where it belongs:\n%s", want, got)
		}
		at += i
	}
}

// wantWhole: a critical path has no gaps, and is as long as its run.
func wantWhole(t testing.TB, run *trace.Run) {
	t.Helper()
	at := time.Duration(0)
	for _, l := range run.CriticalPath() {
		if l.Start != at || l.End <= l.Start {
			t.Errorf("the leg %+v begins at %s and not at %s", l, l.Start, at)
		}
		at = l.End
	}
	if at != run.Took {
		t.Errorf("the path ends at %s, the run at %s", at, run.Took)
	}
}

func TestNew(t *testing.T) {
	refused := fault.New(fault.ChangeFailed, "no space left").On("b").WithHint("free some")
	first := event(0, report.Notice, "", "", "kubewright v1: kubewright apply")
	first.Attrs = map[string]string{trace.AttrCluster: "prod", trace.AttrVersion: "v1", trace.AttrKubernetes: "1.37.2"}
	connected := func(host, roles string) report.Event {
		e := lasting(0.5, event(0.5, report.HostConnected, host, "", ""))
		e.Attrs = map[string]string{"roles": roles}
		return e
	}
	changed := lasting(0.25, event(2, report.ResourceChanged, "node2", "host", ""))
	changed.Resource = "file:/etc/a"
	object := event(7, report.ResourceChanged, "", "dns", "create")
	object.Resource = "Service kube-system/kube-dns"
	run := trace.New([]report.Event{
		first, start("apply"),
		connected("node10", "worker"), connected("node2", "worker"), connected("z", "control-plane,worker"), connected("etcd1", "etcd"), connected("b", "worker"),
		event(1, report.PhaseStarted, "node2", "host", ""), changed, phase(3, 2, "node2", "host"),
		event(3, report.Waiting, "z", "kubelet", "node z to be ready: no network"), event(4, report.Waiting, "z", "kubelet", "node z to be ready: nearly"),
		event(4, report.Waiting, "z", "kubelet", "node z2 to be ready: another"),
		wait(5, 2, "z", "kubelet", "node z to be ready"),
		failed(phase(5, 1, "b", "host"), refused), failed(event(5, report.HostFailed, "b", "", ""), refused),
		event(6, report.PhaseStarted, "", "dns", ""), object,
		event(7, report.Warning, "b", "host", "careful"), event(7, report.Notice, "", "", "by the way"),
		failed(end(8), refused),
	})
	if run.What != "apply" || run.Line != first.Message || run.Cluster != "prod" || run.Version != "v1" || run.Kubernetes != "1.37.2" || run.Took != seconds(8) || !run.Started.Equal(begun()) {
		t.Errorf("of the run it is known: %+v", run)
	}
	if run.Outcome() != "failed" || run.Hosts() != 5 || run.Changes() != 2 {
		t.Errorf("%s, %d hosts, %d changes", run.Outcome(), run.Hosts(), run.Changes())
	}
	var lanes []string
	spans := map[string][]trace.Span{}
	for _, l := range run.Lanes {
		lanes = append(lanes, l.Host)
		spans[l.Host] = l.Spans
		if l.Failed != (l.Host == "b") {
			t.Errorf("%s has failed: %v", l.Host, l.Failed)
		}
	}
	if want := []string{"", "z", "etcd1", "b", "node2", "node10"}; !slices.Equal(lanes, want) {
		t.Errorf("the lanes are %q, want %q", lanes, want)
	}
	if got := spans["node2"][1]; got.Kind != trace.Phase || got.Start != seconds(1) || got.End != seconds(3) || got.Changes != 1 {
		t.Errorf("the phase is %+v", got)
	}
	if got := spans["node2"][2]; got.Kind != trace.Resource || got.Took() != seconds(0.25) || got.Name != "file:/etc/a" {
		t.Errorf("the resource is %+v", got)
	}
	if got := spans["z"][1]; got.Kind != trace.Wait || got.Name != "node z to be ready" || got.Detail != "nearly" || got.Open || got.Start != seconds(3) {
		t.Errorf("the wait is %+v", got)
	}
	if got := spans["z"][2]; !got.Open || got.Name != "node z2 to be ready" || got.Detail != "another" || got.End != seconds(8) {
		t.Errorf("the wait that has no end is %+v", got)
	}
	if got := spans[""][0]; !got.Open || got.Name != "dns" || got.Changes != 1 || got.End != seconds(8) {
		t.Errorf("the phase that has no end is %+v", got)
	}
	if len(run.Failures) != 1 || run.Failures[0].Host != "b" || !slices.Equal(run.Failures[0].Hints, []string{"free some"}) {
		t.Errorf("the failures are %+v", run.Failures)
	}
	if len(run.Notes) != 2 || !run.Notes[0].Warning || run.Notes[1].Warning {
		t.Errorf("the notes are %+v", run.Notes)
	}
}

func TestOutcome(t *testing.T) {
	for want, events := range map[string][]report.Event{
		"done":        {start("apply"), end(1)},
		"failed":      {start("apply"), failed(end(1), errors.New("broken"))},
		"interrupted": {start("apply"), failed(end(1), fmt.Errorf("a: %w", context.Canceled))},
		"cut":         {start("apply"), phase(1, 1, "a", "host")},
	} {
		if got := trace.New(events).Outcome(); got != want {
			t.Errorf("it is %s, want %s", got, want)
		}
	}
	// One command may do several things, such as node replace.
	if got := trace.New([]report.Event{start("remove"), end(1), start("apply")}).Outcome(); got != "cut" {
		t.Errorf("the second part has not ended, and it is %s", got)
	}
}

// A clock that is set in the middle makes a run of centuries: it is cut, and told as any other.
func TestRunOfCenturies(t *testing.T) {
	first, last := start("apply"), phase(0, 0, "a", "host")
	first.Time, last.Duration = time.Time{}, math.MaxInt64
	run := trace.New([]report.Event{first, last, event(24*3600, report.Notice, "", "", "a day later")})
	wantWhole(t, run)
	if run.Took > 100*24*time.Hour {
		t.Errorf("it took %s", run.Took)
	}
	_, root := page(t, run, "x")
	if n := len(elements(section(t, root, "timeline"), "text", "tick")); n > 20 {
		t.Errorf("the chart has %d ticks", n)
	}
	path := text(section(t, root, "critical-path"))
	if !strings.Contains(path, "100%") || strings.Contains(path, "<1%") {
		t.Errorf("the critical path is %s", path)
	}
}

// What a run was cut in is told in the same order each time.
func TestOrderOfWhatWasCut(t *testing.T) {
	events := []report.Event{start("apply")}
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		events = append(events, event(1, report.PhaseStarted, "", name, ""), event(1, report.Waiting, "", name, "the same: in "+name), event(1, report.Waiting, "", name, name))
	}
	events = append(events, event(2, report.Notice, "", "", "still there"))
	first := trace.New(events).Lanes
	for range 20 {
		if diff := cmp.Diff(first, trace.New(events).Lanes); diff != "" {
			t.Fatalf("(-first +again):\n%s", diff)
		}
	}
}

// chromeTrace is a trace as viewers read it.
type chromeTrace struct {
	TraceEvents []struct {
		Name, Cat, Ph string
		Ts            float64
		Dur           *float64
		Pid, Tid      int
		Args          map[string]any
	} `json:"traceEvents"`
	OtherData map[string]string `json:"otherData"`
}

func chrome(t testing.TB, run *trace.Run) chromeTrace {
	t.Helper()
	var out bytes.Buffer
	if err := run.WriteChrome(&out); err != nil {
		t.Fatal(err)
	}
	var got chromeTrace
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	return got
}

// wantNested: viewers show what overlaps on a thread only where one is within the other.
func wantNested(t testing.TB, got chromeTrace) {
	t.Helper()
	stacks := map[int][]float64{}
	for _, e := range got.TraceEvents {
		if e.Ph != "X" {
			continue
		}
		const rounding = 0.0005 // microseconds
		end := e.Ts + *e.Dur
		stack := stacks[e.Tid]
		for len(stack) > 0 && stack[len(stack)-1] <= e.Ts+rounding {
			stack = stack[:len(stack)-1]
		}
		if len(stack) > 0 && end > stack[len(stack)-1]+rounding {
			t.Errorf("%s on thread %d overlaps what it is not within", e.Name, e.Tid)
		}
		stacks[e.Tid] = append(stack, end)
	}
}

func TestChrome(t *testing.T) {
	run := recording(t, "ha.jsonl")
	got := chrome(t, run)
	wantNested(t, got)
	threads, byName := map[string]int{}, map[string]int{}
	for _, e := range got.TraceEvents {
		byName[e.Ph+" "+e.Name]++
		if e.Name == "thread_name" {
			threads[fmt.Sprint(e.Args["name"])] = e.Tid
		}
		if e.Name == "kubelet" && e.Tid != 0 && e.Tid == threads["cp1"] && (*e.Dur < 1.3e6 || *e.Dur > 1.5e6 || e.Ts < 15.5e6 || e.Ts > 15.7e6 || e.Args["changes"] == nil) {
			t.Errorf("the kubelet's phase on cp1: %+v, %g", e, *e.Dur)
		}
	}
	for _, want := range []string{"critical path", "cluster", "cp1", "cp2", "cp3", "worker1", "worker2"} {
		if _, ok := threads[want]; !ok {
			t.Errorf("there is no thread %s: %v", want, threads)
		}
	}
	for name, want := range map[string]int{
		"M process_name": 1, "X kubelet": 5, "X waiting for DaemonSet kube-system/calico-node to be ready": 2, // on the path, too
		"X unit:kubelet.service": 5, "i 342 changes on 5 hosts, 69 API objects.": 1,
	} {
		if byName[name] < want {
			t.Errorf("%q is there %d times, want %d", name, byName[name], want)
		}
	}
	if got.OtherData["outcome"] != "done" || got.OtherData["kubernetes"] != "1.37.2" {
		t.Errorf("of the run it says %v", got.OtherData)
	}
}

func TestChromeTellsErrors(t *testing.T) {
	refused := fault.New(fault.ChangeFailed, "no space left").WithHint("free some")
	got := chrome(t, trace.New([]report.Event{start("apply"), failed(phase(2, 2, "a", "host"), refused), failed(end(3), refused)}))
	told := false
	for _, e := range got.TraceEvents {
		told = told || e.Name == "host" && e.Args["error"] == "no space left" && fmt.Sprint(e.Args["hints"]) == "[free some]"
	}
	if !told {
		t.Errorf("no event tells the error: %+v", got.TraceEvents)
	}
}

// Whatever order and lengths events have, the path is whole, the trace nested, and the page made.
func FuzzRun(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})
	f.Add(bytes.Repeat([]byte{7, 200, 100, 1}, 30))
	f.Add(bytes.Repeat([]byte{9, 10, 255, 3, 9, 10, 255, 2}, 10))
	for seed := range uint64(40) {
		source := rand.New(rand.NewPCG(seed, 0))
		data := make([]byte, 400)
		for i := range data {
			data[i] = byte(source.Uint32())
		}
		f.Add(data)
	}
	kinds := []report.Kind{
		report.RunStarted, report.RunDone, report.HostConnected, report.HostFailed, report.PhaseStarted, report.PhaseDone, report.ResourceChanged,
		report.Waiting, report.WaitDone, report.WaitDone, report.Exec, report.Notice, report.Warning,
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 400 {
			t.Skip("more of the same")
		}
		var events []report.Event
		for chunk := range slices.Chunk(data, 4) {
			if len(chunk) < 4 {
				break
			}
			hosts := []string{"", "a", "b", "c<script>"}
			e := lasting(float64(chunk[2])-20, event(float64(chunk[1]), kinds[int(chunk[0])%len(kinds)], hosts[chunk[3]%4], []string{"", "x", "y"}[chunk[3]/4%3], "m"))
			switch chunk[0] / 13 { // clocks that are set
			case 17:
				e.Time = time.Time{}
			case 18:
				e.Time = e.Time.AddDate(int(chunk[2]), 0, 0)
			case 19:
				e.Duration = math.MaxInt64
			}
			if chunk[3]&64 != 0 {
				e.Attrs = map[string]string{report.AfterHost: hosts[chunk[3]/16%4], report.AfterPhase: "x"}
			}
			if chunk[3]&128 != 0 {
				e.Err = errors.New("broken")
			}
			events = append(events, e)
		}
		run := trace.New(events)
		wantWhole(t, run)
		wantNested(t, chrome(t, run))
		var page bytes.Buffer
		if err := run.WritePage(&page, "x"); err != nil || strings.Contains(page.String(), "<script") {
			t.Errorf("the page: %v", err)
		}
	})
}
