package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// aDistribution sends so many bytes to one host and to three: pushed, and fetched.
func aDistribution(pushed, fetched [2]float64) Distribution {
	d := Distribution{Name: "distribution", What: "what is sent"}
	for i, hosts := range []int{1, 3} {
		d.Points = append(d.Points, Delivered{Hosts: hosts, Pushed: spreadOf([]float64{pushed[i]}), Fetched: spreadOf([]float64{fetched[i]})})
	}
	return d
}

func TestDistributionCheck(t *testing.T) {
	for name, tc := range map[string]struct {
		distribution Distribution
		want         string
	}{
		"the same for each":                 {aDistribution([2]float64{200e6, 600e6}, [2]float64{120e3, 300e3}), ""},
		"each host is pushed more":          {aDistribution([2]float64{200e6, 630e6}, [2]float64{120e3, 300e3}), "distribution: where files are pushed, 210000000 bytes are sent to each of 3 hosts, and 200000000 to each of 1"},
		"each host that fetches costs more": {aDistribution([2]float64{200e6, 600e6}, [2]float64{120e3, 390e3}), "distribution: where files are fetched, 130000 bytes are sent to each of 3 hosts, and 120000 to each of 1"},
	} {
		if got := fault(Report{Distributions: []Distribution{tc.distribution}}.check()); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

func TestDistributionTable(t *testing.T) {
	var out strings.Builder
	r := Report{Distributions: []Distribution{aDistribution([2]float64{200e6, 600e6}, [2]float64{125e3, 300e3})}}
	if err := r.print(&out); err != nil {
		t.Fatal(err)
	}
	_, got, _ := strings.Cut(out.String(), "\n\n")
	want := `
distribution: what is sent

HOSTS PUSHED FETCHED RATIO PUSHED PER HOST FETCHED PER HOST
1 200.0 MB 125.0 kB 1600 200.0 MB 125.0 kB
3 600.0 MB 300.0 kB 2000 200.0 MB 100.0 kB
`
	if diff := cmp.Diff(squeeze(want), squeeze(got)); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

// What is sent is all that a run sends to any host; then the hosts are made bare again.
func TestDeliver(t *testing.T) {
	g, m := newTestGrowing(t, 3)
	if err := os.WriteFile(filepath.Join(g.dir, "cluster.yaml"), []byte("spec:\n  artifacts:\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(m.inventory, g.inventory, 0o600); err != nil {
		t.Fatal(err)
	}
	m.answers["apply"] = addsWorker3
	sent, err := g.deliver(t.Context(), "push", 2)
	if err != nil || sent != 110000 {
		t.Errorf("%d bytes, %v, want 110000", sent, err)
	}
	want := []string{
		"apply --yes --phase " + preparation + " --limit worker1,worker2 --output json --stats [5 hosts]",
		"reset --yes --limit worker1,worker2",
	}
	if diff := cmp.Diff(want, m.ran); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
	m.answers["apply"] = strings.ReplaceAll(addsWorker3, "cost", "price")
	if _, err := g.deliver(t.Context(), "push", 2); fault(err) != "the run does not say what was sent" {
		t.Errorf("a run that does not say what was sent: %v", err)
	}
}

func TestSetDelivery(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cluster.yaml")
	const before, after = "spec:\n  network: {}\n  artifacts:\n", "    source: mirror\n    mirror: {}\n"
	if err := os.WriteFile(path, []byte(before+after), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, way := range []string{"push", "fetch"} { // the second in place of the first
		if err := setDelivery(path, way); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if want := before + "    delivery: " + way + "\n" + after; err != nil || string(got) != want {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
	if err := os.WriteFile(path, []byte("spec: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := setDelivery(path, "push"); err == nil {
		t.Error("a file without artifacts is taken")
	}
}
