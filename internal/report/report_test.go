package report

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kubewright/internal/fault"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares got with testdata/name.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; go test -update rewrites it):\n%s", name, diff)
	}
}

// at returns the time s seconds into the run.
func at(s float64) time.Time {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	return start.Add(time.Duration(s * float64(time.Second)))
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// aRun is a run with everything in it: a host that fails, one that changes nothing, a wait whose
// detail moves, a phase of the whole cluster, text that does not belong on a terminal.
func aRun() []Event {
	refused := fault.New(fault.ChangeFailed, "systemctl start kubelet: exit status 1\nJob failed.").
		On("worker2").WithHint("journalctl -u kubelet on worker2")
	return []Event{
		{Time: at(0), Kind: RunStarted, Message: "apply lab: 3 hosts", Attrs: map[string]string{"hosts": "3", "cluster": "lab"}},
		{Time: at(0.4), Kind: HostConnected, Host: "cp1", Message: "Debian 12, amd64"},
		{Time: at(0.5), Kind: HostConnected, Host: "worker2"},
		{Time: at(0.6), Kind: HostConnected, Host: "worker1"},
		{Time: at(0.7), Kind: Exec, Host: "cp1", Phase: "preflight", Message: "probe", Duration: 48123 * time.Microsecond, Attrs: map[string]string{"in": "2048", "exit": "0"}},
		{Time: at(0.8), Kind: Warning, Host: "worker1", Phase: "preflight", Message: "swap is on\x1b[2J\nsecond line"},
		{Time: at(1), Kind: PhaseStarted, Host: "cp1", Phase: "host"},
		{Time: at(1), Kind: PhaseStarted, Host: "worker1", Phase: "host"},
		{Time: at(1), Kind: PhaseStarted, Host: "worker2", Phase: "host"},
		{Time: at(1.5), Kind: ResourceChanged, Host: "cp1", Phase: "host", Resource: "sysctl/net.ipv4.ip_forward", Message: "0 -> 1"},
		{Time: at(2), Kind: PhaseDone, Host: "worker1", Phase: "host", Duration: seconds(0.2)},
		{Time: at(2), Kind: PhaseDone, Host: "cp1", Phase: "host", Duration: seconds(1)},
		{Time: at(2), Kind: PhaseDone, Host: "worker2", Phase: "host", Duration: seconds(1)},
		{Time: at(2.5), Kind: PhaseStarted, Host: "cp1", Phase: "etcd"},
		{Time: at(2.5), Kind: ResourceChanged, Host: "cp1", Phase: "etcd", Resource: "file/etc/kubernetes/manifests/etcd.yaml", Message: "created"},
		{Time: at(2.6), Kind: ResourceChanged, Host: "cp1", Phase: "etcd", Resource: "dir/var/lib/etcd", Message: "created"},
		{Time: at(3), Kind: Waiting, Host: "cp1", Phase: "etcd", Message: "etcd member cp1 to be healthy (connection refused)"},
		{Time: at(4), Kind: Waiting, Host: "cp1", Phase: "etcd", Message: "etcd member cp1 to be healthy (no leader)"},
		{Time: at(14), Kind: Waiting, Host: "cp1", Phase: "etcd", Message: "etcd member cp1 to be healthy (no leader)"},
		{Time: at(14.5), Kind: Waiting, Host: "cp1", Phase: "etcd", Message: "etcd member cp1 to be healthy (election)"},
		{Time: at(15), Kind: WaitDone, Host: "cp1", Phase: "etcd", Duration: seconds(12)},
		{Time: at(15), Kind: PhaseDone, Host: "cp1", Phase: "etcd", Duration: seconds(12.5)},
		{Time: at(16), Kind: PhaseStarted, Phase: "bootstrap"},
		{Time: at(17), Kind: PhaseStarted, Host: "worker2", Phase: "kubelets"},
		{Time: at(17), Kind: PhaseStarted, Host: "worker1", Phase: "kubelets"},
		{Time: at(18.5), Kind: PhaseDone, Phase: "bootstrap", Duration: seconds(2.5)},
		{Time: at(19), Kind: WaitDone, Host: "worker2", Phase: "kubelets", Duration: seconds(1), Message: "node worker2 to register", Err: context.DeadlineExceeded},
		{Time: at(20), Kind: PhaseDone, Host: "worker2", Phase: "kubelets", Duration: seconds(3), Err: refused},
		{Time: at(20), Kind: HostFailed, Host: "worker2", Phase: "kubelets", Err: refused},
		{Time: at(21), Kind: Notice, Message: "kubeconfig written to .lab/kubeconfig"},
		{Time: at(75), Kind: RunDone, Message: "apply lab", Duration: seconds(75), Err: refused},
	}
}

func TestGoldenSinks(t *testing.T) {
	sinks := map[string]func(*bytes.Buffer) Sink{
		"plain.golden":    func(b *bytes.Buffer) Sink { return NewPlain(b) },
		"json.golden":     func(b *bytes.Buffer) Sink { return NewJSON(b) },
		"debuglog.golden": func(b *bytes.Buffer) Sink { return NewDebugLog(b) },
	}
	for name, sink := range sinks {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			s := sink(&out)
			for _, e := range aRun() {
				s.Emit(e)
			}
			golden(t, name, out.String())
		})
	}
}

func TestPhaseTimes(t *testing.T) {
	var p PhaseTimes
	for _, e := range aRun() {
		p.Emit(e)
	}
	var out bytes.Buffer
	if err := p.Print(&out); err != nil {
		t.Fatal(err)
	}
	golden(t, "phasetimes.golden", out.String())
}

func TestPhaseTimesWithoutDurations(t *testing.T) {
	var p PhaseTimes
	for _, e := range []Event{
		{Time: at(1), Kind: PhaseStarted, Host: "a", Phase: "pki"},
		{Time: at(2), Kind: PhaseStarted, Host: "b", Phase: "pki"},
		{Time: at(3), Kind: PhaseDone, Host: "a", Phase: "pki"},
		{Time: at(7), Kind: PhaseDone, Host: "b", Phase: "pki"},
	} {
		p.Emit(e)
	}
	got := p.Times()
	if len(got) != 1 || got[0].Wall != seconds(6) || got[0].Slowest != "b" || got[0].SlowestTook != seconds(5) || got[0].Hosts != 2 || p.Total() != seconds(6) {
		t.Errorf("Times() = %+v, want pki: 6s over 2 hosts, b slowest with 5s", got)
	}
}

// plainLines is what a log says of events.
func plainLines(events ...Event) []string {
	var out bytes.Buffer
	s := NewPlain(&out)
	for _, e := range events {
		s.Emit(e)
	}
	return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
}

// Many waits may share a host and a phase: the end of one says nothing about what was said of another.
func TestPlainOfManyWaits(t *testing.T) {
	waiting := func(s float64, message string) Event {
		return Event{Time: at(s), Kind: Waiting, Phase: "verify", Message: message}
	}
	done := func(s float64, message string) Event {
		return Event{Time: at(s), Kind: WaitDone, Phase: "verify", Message: message}
	}
	got := plainLines(
		waiting(1, "node a to be ready: no network"), waiting(2, "node b to be ready: no network"), done(3, "node b to be ready"),
		waiting(4, "node a to be ready: nearly"), done(5, "node a"), waiting(6, "node c to be ready: nearly"),
		done(7, "node a to be ready"), waiting(8, "node c to be ready: nearly"), done(9, "node c to be ready"), waiting(9, "node d to be ready"),
	)
	want := []string{
		"12:00:01 verify: waiting for node a to be ready: no network",
		"12:00:08 verify: waiting for node c to be ready: nearly",
		"12:00:09 verify: waiting for node d to be ready",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What all hosts wait for is said once. What each waits for at its own, is said of each.
func TestPlainOfABarrier(t *testing.T) {
	waiting := func(s float64, host, message string, attrs map[string]string) Event {
		return Event{Time: at(s), Kind: Waiting, Host: host, Message: message, Attrs: attrs}
	}
	host, runtime := map[string]string{AfterPhase: "host"}, map[string]string{AfterPhase: "runtime"}
	ended := waiting(5, "w1", "phase host on all hosts", map[string]string{AfterHost: "w9", AfterPhase: "host"})
	ended.Kind = WaitDone
	got := plainLines(
		waiting(3, "w1", "phase host on all hosts", host), waiting(3, "w2", "phase host on all hosts", host), waiting(4, "w3", "phase runtime on any host", runtime),
		waiting(4, "w4", "phase host on all hosts", host), ended, waiting(6, "w1", "the lock", nil), waiting(6, "w2", "the lock", nil),
	)
	want := []string{
		"12:00:03 waiting for phase host on all hosts",
		"12:00:04 waiting for phase runtime on any host",
		"12:00:06 w1: waiting for the lock",
		"12:00:06 w2: waiting for the lock",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Uploads and unpacking may be two parts of one phase: the host counts once, with both times.
func TestPhaseTimesOfAPhaseInTwoParts(t *testing.T) {
	var p PhaseTimes
	for _, e := range []Event{
		{Time: at(2), Kind: PhaseDone, Host: "a", Phase: "artifacts", Duration: seconds(2)},
		{Time: at(3), Kind: PhaseDone, Host: "b", Phase: "artifacts", Duration: seconds(3)},
		{Time: at(9), Kind: PhaseDone, Host: "a", Phase: "artifacts", Duration: seconds(4)},
	} {
		p.Emit(e)
	}
	got := p.Times()
	if len(got) != 1 || got[0].Hosts != 2 || got[0].Slowest != "a" || got[0].SlowestTook != seconds(6) || got[0].Wall != seconds(9) {
		t.Errorf("Times() = %+v, want artifacts: 9s over 2 hosts, a slowest with 6s", got)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestPhaseTimesReportsAFailedWrite(t *testing.T) {
	var p PhaseTimes
	if err := p.Print(brokenWriter{}); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("Print = %v, want the writer's error", err)
	}
}

// Whoever reads the JSON of a run needs each line to be an object, and errors to be strings even
// when the error itself is not to be encoded.
func TestJSONLinesParse(t *testing.T) {
	var out bytes.Buffer
	s := NewJSON(&out)
	for _, e := range aRun() {
		s.Emit(e)
	}
	kinds := make(map[string]int)
	for line := range strings.Lines(out.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		kinds[m["kind"].(string)]++
		if e, ok := m["error"]; ok {
			if _, ok := e.(string); !ok {
				t.Errorf("error is a %T in %q", e, line)
			}
		}
	}
	if kinds["run-done"] != 1 || kinds["exec"] != 0 {
		t.Errorf("kinds = %v, want one run-done and no exec", kinds)
	}
}

func TestMultiSkipsNil(t *testing.T) {
	var p PhaseTimes
	Multi(nil, &p).Emit(Event{Time: at(1), Kind: PhaseDone, Host: "a", Phase: "x", Duration: seconds(1)})
	if got := len(p.Times()); got != 1 {
		t.Errorf("the sink behind a nil one got %d phases, want 1", got)
	}
}

// Hosts report at the same time; every sink must take that, and write whole lines.
func TestConcurrentEmit(t *testing.T) {
	var plainOut, jsonOut, logOut, termOut bytes.Buffer
	term := NewTerminal(&termOut, func() int { return 100 })
	var times PhaseTimes
	sink := Multi(NewPlain(&plainOut), NewJSON(&jsonOut), NewDebugLog(&logOut), term, &times)
	const hosts = 20
	var wg sync.WaitGroup
	for i := range hosts {
		wg.Go(func() {
			host := fmt.Sprintf("w%02d", i)
			sink.Emit(Event{Time: at(1), Kind: PhaseStarted, Host: host, Phase: "pki"})
			sink.Emit(Event{Time: at(1), Kind: ResourceChanged, Host: host, Phase: "pki", Resource: "file/x"})
			sink.Emit(Event{Time: at(2), Kind: PhaseDone, Host: host, Phase: "pki", Duration: seconds(1)})
		})
	}
	wg.Wait()
	term.Close()
	if got := times.Times(); len(got) != 1 || got[0].Hosts != hosts || got[0].Changes != hosts {
		t.Errorf("Times() = %+v, want %d hosts and as many changes", got, hosts)
	}
	for name, tc := range map[string]struct {
		out  string
		want int
	}{
		"plain": {plainOut.String(), hosts},
		"json":  {jsonOut.String(), 3 * hosts},
		"log":   {logOut.String(), 3 * hosts},
	} {
		if got := strings.Count(tc.out, "\n"); got != tc.want {
			t.Errorf("%s wrote %d lines, want %d", name, got, tc.want)
		}
	}
}

func TestElapsed(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second:              "0.0s",
		0:                         "0.0s",
		1234 * time.Millisecond:   "1.2s",
		59940 * time.Millisecond:  "59.9s",
		59960 * time.Millisecond:  "1m00s",
		61 * time.Second:          "1m01s",
		59*time.Minute + 59600e6:  "1h00m",
		2*time.Hour + time.Minute: "2h01m",
	} {
		if got := Elapsed(d); got != want {
			t.Errorf("Elapsed(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestOneLine(t *testing.T) {
	for in, want := range map[string]string{
		"a\tb\r\nc":                 "a b c",
		"\x1b[1;31mred\x1b[0m text": "red text",
		"\x1b7saved\x1b]8;;":        "saved8;;",
		"bell\a\x00 del\x7f":        "bell del",
		"cut \x1b[12":               "cut",
		"  umlaut ü \u200e":         "umlaut ü",
	} {
		if got := OneLine(in); got != want {
			t.Errorf("OneLine(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestTruncate(t *testing.T) {
	tests := []struct {
		in    string
		width int
		want  string
	}{
		{"kubelet", 7, "kubelet"},
		{"kubelets", 7, "kube..."},
		{"a b c d e", 7, "a b..."},
		{"kubelet", 2, "ku"},
		{"kubelet", 0, ""},
		{"kubelet", -1, ""},
		{"größer", 6, "größer"},
		{"größerer", 6, "grö..."},
	}
	for _, tc := range tests {
		if got := truncate(tc.in, tc.width); got != tc.want {
			t.Errorf("truncate(%q, %d) = %q, want %q", tc.in, tc.width, got, tc.want)
		}
	}
}
