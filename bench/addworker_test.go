package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"kubewright/e2e/lab"
	"kubewright/internal/report"
)

// addsWorker3 is what a run says on stderr that adds worker3: JSON lines, in the end what it cost on each host.
const addsWorker3 = `{"time":"2026-11-30T04:00:00Z","kind":"run-started","message":"apply"}
{"time":"2026-11-30T04:00:01Z","kind":"host-connected","host":"worker3"}
{"time":"2026-11-30T04:00:01Z","kind":"host-connected","host":"cp1"}
{"time":"2026-11-30T04:00:02Z","kind":"notice","message":"not looked at, as --limit leaves them out: worker1, worker2"}
{"time":"2026-11-30T04:00:02Z","kind":"warning","host":"cp1, worker3","message":"both are slow"}
{"time":"2026-11-30T04:00:09Z","kind":"run-done","message":"apply"}
{"time":"2026-11-30T04:00:09Z","kind":"notice","host":"cp1","message":"cost","attrs":{"execs":"2","sessions":"3","dials":"1","sent":"20000","received":"50"}}
{"time":"2026-11-30T04:00:09Z","kind":"notice","host":"worker3","message":"cost","attrs":{"execs":"8","sessions":"9","dials":"0","sent":"90000","received":"51"}}
`

func TestAboutOnly(t *testing.T) {
	const (
		failed = `{"time":"2026-11-30T04:00:02Z","kind":"host-failed","host":"worker1","error":"cannot reach it"}` + "\n"
		warned = `{"time":"2026-11-30T04:00:02Z","kind":"warning","host":"cp1, worker1","message":"slow"}` + "\n"
		cost   = `{"time":"2026-11-30T04:00:09Z","kind":"notice","host":"worker2","message":"cost","attrs":{"sessions":"1"}}` + "\n"
	)
	for name, tc := range map[string]struct {
		told, want string
	}{
		"the new worker and the control plane": {addsWorker3, ""},
		"another was tried":                    {addsWorker3 + failed, "a run that is about cp1 and worker3 alone had to do with worker1: host-failed "},
		"another is warned of":                 {addsWorker3 + warned, "a run that is about cp1 and worker3 alone had to do with worker1: warning slow"},
		"a session with another":               {addsWorker3 + cost, "a run that is about cp1 and worker3 alone had to do with worker2: notice cost"},
		"the control plane was not asked":      {strings.ReplaceAll(addsWorker3, `"host":"cp1"`, `"host":"worker3"`), "the run says of no session with cp1"},
		"no session was opened":                {strings.Replace(addsWorker3, `"sessions":"9"`, `"sessions":"0"`, 1), "the run says of no session with worker3"},
		"a run that does not say what it cost": {strings.Replace(addsWorker3, `"message":"cost"`, `"message":"price"`, 1), "the run says of no session with cp1"},
	} {
		t.Run(name, func(t *testing.T) {
			events, _, err := report.ReadRecord(strings.NewReader(tc.told))
			if err != nil {
				t.Fatal(err)
			}
			if got := fault(aboutOnly(events, costsOf(events), "cp1", "worker3")); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

func TestCosts(t *testing.T) {
	events, _, err := report.ReadRecord(strings.NewReader(addsWorker3))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]hostCost{"cp1": {sessions: 3, sent: 20000}, "worker3": {sessions: 9, sent: 90000}}
	if diff := cmp.Diff(want, costsOf(events), cmp.AllowUnexported(hostCost{})); diff != "" {
		t.Errorf("costs (-want +got):\n%s", diff)
	}
}

// The inventory of a lab keeps all that it says but the hosts that are left out.
func TestOnlyHosts(t *testing.T) {
	const inventory = `# of a lab
apiVersion: kubewright.io/v1alpha1
kind: Inventory
defaults:
  ssh: {user: root, keyFile: id_ed25519}
hosts:
  - {name: cp1, address: 192.0.2.10, roles: [control-plane]}
  - {name: worker1, address: 192.0.2.11, roles: [worker]}
  - {name: worker2, address: 192.0.2.12, roles: [worker]}
`
	dir := t.TempDir()
	g := &growing{testbed: &testbed{dir: dir}, inventory: []byte(inventory)}
	if err := g.list([]lab.Node{{Name: "worker2"}, {Name: "cp1"}}); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(dir, "inventory.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var got, want any
	if err := yaml.Unmarshal(content, &got); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(inventory) {
		if !strings.Contains(line, "worker1") {
			lines = append(lines, line)
		}
	}
	if err := yaml.Unmarshal([]byte(strings.Join(lines, "")), &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("inventory (-want +got):\n%s", diff)
	}
	if err := g.list([]lab.Node{{Name: "worker2"}, {Name: "worker3"}}); err == nil || !strings.HasSuffix(err.Error(), "inventory.yaml: it has 1 of 2 hosts") {
		t.Errorf("a host that is not there: %v", err)
	}
	for _, bad := range []string{"", "hosts: {}\n", "\t"} {
		if _, err := onlyHosts([]byte(bad), nil); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// machine stands for all that a benchmark runs.
type machine struct {
	inventory string            // the file that a run reads
	answers   map[string]string // what commands print, by a word of theirs
	failing   string            // a word of commands that fail

	mu  sync.Mutex
	ran []string
}

func (m *machine) LookPath(program string) (string, error) { return program, nil }

func (m *machine) Run(_ context.Context, argv []string, _ io.Reader) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ran := strings.Join(argv, " ")
	_, short, _ := strings.Cut(ran, "kubewright ")
	if argv[0] == "ssh" {
		short = "ssh " + argv[slices.Index(argv, "-l")+2]
	}
	short = regexp.MustCompile(` (-f|--log|--dir) \S+`).ReplaceAllString(short, "")
	if strings.HasPrefix(short, "apply") {
		content, err := os.ReadFile(m.inventory)
		if err != nil {
			return nil, err
		}
		short += fmt.Sprintf(" [%d hosts]", strings.Count(string(content), "address:"))
	}
	m.ran = append(m.ran, short)
	if m.failing != "" && strings.Contains(short, m.failing) {
		return nil, errors.New(m.failing + " failed")
	}
	for word, answer := range m.answers {
		if strings.Contains(short, word) {
			return []byte(answer), nil
		}
	}
	return nil, nil
}

// newTestGrowing is a cluster that is to have up to so many workers, on a machine that does nothing.
func newTestGrowing(t *testing.T, workers int) (*growing, *machine) {
	t.Helper()
	dir := t.TempDir()
	m := &machine{inventory: filepath.Join(dir, "inventory.yaml"), answers: map[string]string{}}
	state := lab.State{Nodes: []lab.Node{{Name: "cp1", Role: lab.RoleControlPlane, Address: netip.MustParseAddr("192.0.2.10")}}}
	inventory := "hosts:\n  - {name: cp1, address: 192.0.2.10}\n"
	for i := range workers + 1 {
		n := lab.Node{Name: fmt.Sprintf("worker%d", i+1), Role: lab.RoleWorker, Address: netip.AddrFrom4([4]byte{192, 0, 2, byte(11 + i)})}
		state.Nodes = append(state.Nodes, n)
		inventory += fmt.Sprintf("  - {name: %s, address: %s}\n", n.Name, n.Address)
	}
	b := &bench{options: options{kubewright: "kubewright"}, run: m, logs: dir, stderr: io.Discard}
	hosts := state.Nodes[1:]
	return &growing{
		testbed:   &testbed{bench: b, dir: dir, id: "test", state: state},
		inventory: []byte(inventory), plane: state.Nodes[0], spare: hosts[workers], workers: hosts[:workers],
	}, m
}

// The first workers come with the cluster, the others a few at a time; nobody is awake but those that join.
func TestGrow(t *testing.T) {
	g, m := newTestGrowing(t, 14)
	for _, size := range []int{2, 2, 14} {
		if err := g.grow(t.Context(), size); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{
		"lab node resume cp1 worker1 worker2",
		"apply --yes [3 hosts]",
		"lab node pause --all",
		"lab node resume cp1 worker3 worker4 worker5 worker6 worker7 worker8 worker9 worker10 worker11 worker12",
		"apply --yes --limit worker3,worker4,worker5,worker6,worker7,worker8,worker9,worker10,worker11,worker12 [13 hosts]",
		"lab node pause --all",
		"lab node resume cp1 worker13 worker14",
		"apply --yes --limit worker13,worker14 [15 hosts]",
		"lab node pause --all",
	}
	if diff := cmp.Diff(want, m.ran); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
}

func TestAdd(t *testing.T) {
	g, m := newTestGrowing(t, 2)
	g.nodes = 2
	if err := g.grow(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	m.answers["apply"] = addsWorker3
	s, err := g.add(t.Context(), "sample")
	if err != nil || s.Seconds <= 0 {
		t.Fatalf("%+v, %v", s, err)
	}
	want := []string{
		"lab node resume cp1 worker3",
		"ssh 192.0.2.10", // until it is healthy
		"apply --yes --limit worker3 --output json --stats [4 hosts]",
		"node remove worker3 --yes",
		"lab node pause --all",
	}
	if diff := cmp.Diff(want, m.ran); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}

	m.failing = "pause"
	if _, err := g.add(t.Context(), "sample"); err == nil || !strings.Contains(err.Error(), "pause failed") {
		t.Errorf("nodes that cannot be frozen: %v", err)
	}

	m.ran, m.answers["apply"] = nil, strings.ReplaceAll(addsWorker3, "worker3", "worker1")
	if _, err := g.add(t.Context(), "sample"); fault(err) != "the run says of no session with worker3" {
		t.Errorf("another host was changed: %v", err)
	}
	if got := m.ran[len(m.ran)-2:]; !slices.ContainsFunc(got, func(ran string) bool { return ran == "ssh 192.0.2.13" }) {
		t.Errorf("after the failure: %v, want the journals of the two that are awake", got)
	}
}
