package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kubewright/e2e/lab"
)

func TestFit(t *testing.T) {
	for _, tc := range []struct {
		name string
		x, y []float64
		want Fit
	}{
		{"a line", []float64{1, 2, 4}, []float64{5, 7, 11}, Fit{Base: 3, PerHost: 2, R2: 1}},
		{"always the same", []float64{1, 2, 3}, []float64{4, 4, 4}, Fit{Base: 4, R2: 1}},
		{"around a line", []float64{0, 1, 2, 3}, []float64{0, 2, 1, 3}, Fit{Base: 0.3, PerHost: 0.8, R2: 0.64}},
	} {
		got := fit(tc.x, tc.y)
		for _, pair := range [][2]float64{{got.Base, tc.want.Base}, {got.PerHost, tc.want.PerHost}, {got.R2, tc.want.R2}} {
			if math.Abs(pair[0]-pair[1]) > 1e-9 {
				t.Errorf("%s: %+v, want %+v", tc.name, got, tc.want)
				break
			}
		}
	}
}

// aGrowth takes so many seconds of CPU at 1, 10 and 100 hosts, and so much memory and so many commands a host.
func aGrowth(cpu, peak [3]float64, execs [3]int) Growth {
	g := Growth{Name: "plan", What: "a plan", MemoryLimitMiB: 250}
	for i, hosts := range []int{1, 10, 100} {
		g.Points = append(g.Points, summarize(hosts, []Cost{
			{Seconds: 2 * cpu[i], CPU: cpu[i], PeakMiB: peak[i], Received: int64(hosts) * 21_000, Sent: int64(hosts) * 64_000, Execs: execs[i]},
		}))
	}
	g.fit()
	return g
}

func TestGrowthCheck(t *testing.T) {
	for name, tc := range map[string]struct {
		growth Growth
		want   string
	}{
		"as it is meant to be": {aGrowth([3]float64{0.11, 0.2, 1.1}, [3]float64{60, 70, 250}, [3]int{1, 10, 100}), ""},
		"quadratic":            {aGrowth([3]float64{0.01, 5, 10}, [3]float64{60, 70, 250}, [3]int{1, 10, 100}), "plan: the CPU time is not linear in the number of hosts: R² is 0.818, and has to be 0.98"},
		"large":                {aGrowth([3]float64{0.11, 0.2, 1.1}, [3]float64{60, 70, 251}, [3]int{1, 10, 100}), "plan: with 100 hosts it takes 251 MiB, and may take 250"},
		"more commands":        {aGrowth([3]float64{0.11, 0.2, 1.1}, [3]float64{60, 70, 80}, [3]int{1, 10, 101}), "plan: with 1 hosts there are 1.00 commands a host, with 100 there are 1.01"},
		"fewer commands":       {aGrowth([3]float64{0.11, 0.2, 1.1}, [3]float64{60, 70, 80}, [3]int{2, 10, 200}), "plan: with 1 hosts there are 2.00 commands a host, with 10 there are 1.00"},
	} {
		if got := fault(Report{Growth: []Growth{tc.growth}}.check()); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

func TestGrowthTable(t *testing.T) {
	var out strings.Builder
	r := Report{Growth: []Growth{aGrowth([3]float64{0.11, 0.2, 1.1}, [3]float64{60, 70, 250}, [3]int{1, 10, 100})}, NotMeasured: []Missing{{"plan-20-ansible", "there is no ansible-playbook"}}}
	if err := r.print(&out); err != nil {
		t.Fatal(err)
	}
	_, got, _ := strings.Cut(out.String(), "\n\n")
	want := `
plan: a plan

HOSTS TIMES TIME CPU PEAK SENT PER HOST ANSWERED COMMANDS
1 1 0.22 s 0.11 s 60 MiB 21.0 kB 64.0 kB 1.00
10 1 0.40 s 0.20 s 70 MiB 21.0 kB 64.0 kB 1.00
100 1 2.20 s 1.10 s 250 MiB 21.0 kB 64.0 kB 1.00
CPU: 0.10 s and 10.00 ms a host; R² 1.0000

plan-20-ansible: not measured: there is no ansible-playbook
`
	if diff := cmp.Diff(squeeze(want), squeeze(got)); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

func TestDissect(t *testing.T) {
	one, other := strings.Repeat("1a", 32), strings.Repeat("2b", 32)
	script := "kw_note 'file:/a' " + one + "\nbase64 -d > /a <<'KW_EOF' && kw_check /a " + other + "\nQUJD\nREVG\nKW_EOF\n} && {\necho " + one + "x\n"
	shape, values := newPatterns().dissect(script)
	if diff := cmp.Diff([]string{one, other, "QUJDREVG", one}, values); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	want := "kw_note 'file:/a' \nbase64 -d > /a <<'KW_EOF' && kw_check /a \nKW_EOF\n} && {\necho x\n"
	if diff := cmp.Diff(want, shape); diff != "" {
		t.Errorf("shape (-want +got):\n%s", diff)
	}
}

// No name and no address begins another, for they are looked for in what hosts say.
func TestIdentities(t *testing.T) {
	seen := map[string]bool{}
	var all []identity
	for _, kind := range []string{planeKind, workerKind} {
		for n := range 600 {
			id, at := identify(kind, n)
			if seen[id.name] || seen[id.address] || seen[at.String()] || !at.IsLoopback() {
				t.Fatalf("%s %d is %+v at %s", kind, n, id, at)
			}
			seen[id.name], seen[id.address], seen[at.String()] = true, true, true
			all = append(all, id)
		}
	}
	for _, id := range all {
		if len(id.name) != len(all[0].name) || len(id.address) != len(all[0].address) {
			t.Fatalf("%+v and %+v are not of one length", id, all[0])
		}
	}
}

// A fleet's control plane gets its authorities, and its workers all that they can be; then there is nothing to
// do for any of them. The bare client is let in by all.
func TestFleet(t *testing.T) {
	if testing.Short() {
		t.Skip("builds kubewright")
	}
	dir := t.TempDir()
	t.Setenv("KUBEWRIGHT_CACHE", dir)
	b := &bench{options: options{kubewright: filepath.Join(dir, "kubewright")}, run: lab.OSRunner{}, logs: dir}
	if _, err := b.run.Run(t.Context(), []string{"go", "build", "-o", b.kubewright, "kubewright/cmd/kubewright"}, nil); err != nil {
		t.Fatal(err)
	}
	const workers = 5
	f, err := newFleet(t.Context(), workers+1)
	defer f.close()
	if err != nil {
		var lacks *missing
		if errors.As(err, &lacks) {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	if err := f.rehearse(t.Context(), b, "test"); err != nil {
		t.Fatal(err)
	}
	scripts := len(f.kinds[workerKind].answers)
	if _, err := f.nothing(t.Context(), b, "bare", workers+1); err == nil {
		t.Error("there is nothing to do on bare hosts")
	}
	if _, err := f.completes(t.Context(), b, "apply", workers+1); err != nil {
		t.Fatal(err)
	}
	c, err := f.nothing(t.Context(), b, "nothing", workers+1)
	if err != nil {
		t.Fatal(err)
	}
	if c.Execs != workers || c.CPU <= 0 || c.PeakMiB <= 0 || c.Received == 0 || c.Sent == 0 {
		t.Errorf("a plan with nothing to do cost %+v; want one command a worker", c)
	}
	if now := len(f.kinds[workerKind].answers); now != scripts {
		t.Errorf("%d scripts of workers were run for real, %d more than with fewer hosts", now, now-scripts)
	}
	hosts, err := f.describe(workers)
	if err != nil {
		t.Fatal(err)
	}
	before := f.server.Execs()
	if err := runBareClient(context.Background(), hosts); err != nil {
		t.Error(err)
	}
	if got := f.server.Execs() - before; got != workers {
		t.Errorf("the bare client ran %d commands on %d hosts", got, workers)
	}
}

func TestResources(t *testing.T) {
	content := base64.StdEncoding.EncodeToString([]byte("a: 1\n"))
	got, err := parseResources("file:/etc/a\t644\t" + content + "\ndir:/etc\nunit:a.service\n")
	want := []asked{{"file", "/etc/a", "644", []byte("a: 1\n")}, {kind: "dir", name: "/etc"}, {kind: "unit", name: "a.service"}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(asked{})); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for _, bad := range []string{"", "nothing\n", "dir:/etc\tx\n", "file:/etc/a\t644\t%%\n", "file:/etc/a\n"} {
		if _, err := parseResources(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	dir := t.TempDir()
	for _, a := range append(want, asked{kind: "sysctl", name: "a.b"}, asked{kind: "module", name: "m"}, asked{kind: "link", name: "/l"}, asked{kind: "binary", name: "/b"}) {
		if task, err := ansibleTask(a, filepath.Join(dir, "x")); len(task) == 0 || err != nil {
			t.Errorf("%s: task %v, %v", a.kind, task, err)
		}
	}
	if task, err := ansibleTask(asked{kind: "tree"}, ""); task != nil || err != nil {
		t.Errorf("a folder that is not looked at has the task %v, %v", task, err)
	}
}

// What a test would be skipped for is a row that was not measured; what it would fail for is a failure.
func TestAttempt(t *testing.T) {
	for _, tc := range []struct {
		name  string
		do    func(*tb)
		lacks string
		fails string
	}{
		{"well", func(*tb) {}, "", ""},
		{"skipped", func(a *tb) { a.Skip("needs", "root") }, "growth: not measured: there can be no simulated hosts on this machine: needsroot", ""},
		{"skipped, formatted", func(a *tb) { a.Skipf("status %d", 3) }, "growth: not measured: there can be no simulated hosts on this machine: status 3", ""},
		{"failed", func(a *tb) { a.Fatal("no disk") }, "", "no disk"},
		{"failed, formatted", func(a *tb) { a.Fatalf("status %d", 4) }, "", "status 4"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := &tb{ctx: t.Context()}
			var r Report
			err := r.without("growth", a.attempt(func() { tc.do(a) }))
			if got := fmt.Sprint(err); (tc.fails == "") != (err == nil) || err != nil && got != tc.fails {
				t.Errorf("error %v, want %q", err, tc.fails)
			}
			var rows []string
			for _, m := range r.NotMeasured {
				rows = append(rows, fmt.Sprintf("%s: not measured: %s", m.Name, m.Reason))
			}
			if got := strings.Join(rows, "\n"); got != tc.lacks {
				t.Errorf("not measured is %q, want %q", got, tc.lacks)
			}
		})
	}
}
