package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"kubewright/e2e/lab"
)

// Distribution is what the operator's machine sends so that hosts have their files.
type Distribution struct {
	Name   string      `json:"name"`
	What   string      `json:"what"`
	Points []Delivered `json:"points"`
}

// Delivered is what is sent to a number of hosts together, in bytes as seen on the wire: when files are pushed,
// and when hosts fetch them from elsewhere.
type Delivered struct {
	Hosts   int    `json:"hosts"`
	Pushed  Spread `json:"pushedBytes"`
	Fetched Spread `json:"fetchedBytes"`
}

// ratio is how many times as much is sent when files are pushed.
func (d Delivered) ratio() float64 { return d.Pushed.Median / d.Fetched.Median }

// perHost is what a host comes to of a number of bytes.
func (d Delivered) perHost(all Spread) float64 { return all.Median / float64(d.Hosts) }

// check is an error when more hosts cost more each.
func (d Distribution) check() error {
	const tolerance = 1.01
	first, last := d.Points[0], d.Points[len(d.Points)-1]
	for way, pair := range map[string][2]float64{
		"pushed":  {first.perHost(first.Pushed), last.perHost(last.Pushed)},
		"fetched": {first.perHost(first.Fetched), last.perHost(last.Fetched)},
	} {
		if pair[1] > tolerance*pair[0] {
			return fmt.Errorf("%s: where files are %s, %.0f bytes are sent to each of %d hosts, and %.0f to each of %d", d.Name, way, pair[1], last.Hosts, pair[0], first.Hosts)
		}
	}
	return nil
}

func (d Distribution) print(w io.Writer) error {
	fmt.Fprintf(w, "\n%s: %s\n\n", d.Name, d.What)
	const mega, kilo = 1e6, 1e3
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "HOSTS\tPUSHED\tFETCHED\tRATIO\tPUSHED PER HOST\tFETCHED PER HOST")
	for _, p := range d.Points {
		fmt.Fprintf(table, "%d\t%.1f MB\t%.1f kB\t%.0f\t%.1f MB\t%.1f kB\n", p.Hosts, p.Pushed.Median/mega, p.Fetched.Median/kilo, p.ratio(), p.perHost(p.Pushed)/mega, p.perHost(p.Fetched)/kilo)
	}
	return table.Flush()
}

// distribution measures what the operator's machine sends for hosts that are prepared.
func (b *bench) distribution() comparison {
	sizes := []int{1, 3}
	return comparison{
		name: "distribution", repetitions: 1, quick: true, // bytes are the same each time
		other: func(ctx context.Context, repetitions int, report *Report) (err error) {
			spec := labSpec{name: "bench-files", subnet: "10.162.0.0/24", topology: topology{controlPlanes: 1, workers: sizes[len(sizes)-1]}}
			t, down, err := b.makeLab(ctx, spec, "distribution")
			if err != nil {
				return err
			}
			defer func() { err = down(err) }()
			// The authorities are there before anything else is, and are not in it.
			if err := t.tool(ctx, "control-plane", "apply", "--yes", "--phase", preparation, "--limit", planeRole); err != nil {
				return err
			}
			d := Distribution{Name: "distribution", What: "what the operator's machine sends over SSH for the phases " + preparation + " on bare workers"}
			for _, hosts := range sizes {
				p := Delivered{Hosts: hosts}
				for _, way := range []struct {
					delivery string
					sent     *Spread
				}{{"fetch", &p.Fetched}, {"push", &p.Pushed}} {
					var sent []float64
					for i := range repetitions {
						bytes, err := t.deliver(ctx, way.delivery, hosts)
						if err != nil {
							return err
						}
						b.say("distribution %d/%d: %d bytes for %d hosts, %s", i+1, repetitions, bytes, hosts, way.delivery)
						sent = append(sent, float64(bytes))
					}
					*way.sent = spreadOf(sent)
				}
				d.Points = append(d.Points, p)
			}
			report.Distributions = append(report.Distributions, d)
			return nil
		},
	}
}

// deliver prepares the first workers with their files delivered in a way, makes them bare again, and returns what was sent.
func (t *testbed) deliver(ctx context.Context, delivery string, hosts int) (sent int64, err error) {
	if err := setDelivery(filepath.Join(t.dir, "cluster.yaml"), delivery); err != nil {
		return 0, err
	}
	workers := names(t.nodes(lab.RoleWorker)[:hosts])
	id := fmt.Sprintf("%s-%d", delivery, hosts)
	events, err := t.events(ctx, id, "apply", "--yes", "--phase", preparation, "--limit", workers)
	if err != nil {
		return 0, err
	}
	for _, c := range costsOf(events) {
		sent += c.sent
	}
	if sent == 0 {
		return 0, errors.New("the run does not say what was sent")
	}
	return sent, t.tool(ctx, id+"-reset", "reset", "--yes", "--limit", workers)
}

// setDelivery says in a lab's cluster file how files get to hosts.
func setDelivery(clusterFile, delivery string) error {
	const artifacts, key = "\n  artifacts:\n", "    delivery: "
	content, err := os.ReadFile(clusterFile)
	if err != nil {
		return err
	}
	before, after, found := strings.Cut(string(content), artifacts)
	if !found {
		return fmt.Errorf("%s has no artifacts", clusterFile)
	}
	if strings.HasPrefix(after, key) {
		_, after, _ = strings.Cut(after, "\n")
	}
	return os.WriteFile(clusterFile, []byte(before+artifacts+key+delivery+"\n"+after), 0o644)
}
