package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// What is run on the fleet. Its workers become all that a host can be without an API server; what needs one
// is left out.
const (
	firstPhases = "authorities,host,runtime,binaries"
	hostPhases  = firstPhases + ",pki,kubeconfigs,load-balancer,kubelet"
)

// Growth is what runs cost by the number of hosts.
type Growth struct {
	Name   string  `json:"name"`
	What   string  `json:"what"`
	Points []Point `json:"points"`
	// Fit is the straight line through the CPU time by the number of hosts.
	Fit Fit `json:"fit"`
	// MemoryLimitMiB is what the peak is meant to be below with the most hosts; 0 for no limit.
	MemoryLimitMiB float64 `json:"memoryLimitMiB,omitempty"`
}

// Point is what a run costs with a number of hosts.
type Point struct {
	Hosts   int    `json:"hosts"`
	Seconds Spread `json:"seconds"`
	CPU     Spread `json:"cpuSeconds"` // of the process, not of its hosts
	PeakMiB Spread `json:"peakMiB"`    // resident set
	// By host, as the server has counted: what it received and sent, the control plane's share included, and the
	// commands that a worker ran.
	ReceivedPerHost float64 `json:"receivedBytesPerHost"`
	SentPerHost     float64 `json:"sentBytesPerHost"`
	ExecsPerHost    float64 `json:"execsPerHost"`
	Costs           []Cost  `json:"samples"`
}

// Cost is that of one run.
type Cost struct {
	Seconds  float64 `json:"seconds"`
	CPU      float64 `json:"cpuSeconds"`
	PeakMiB  float64 `json:"peakMiB"`
	Received int64   `json:"receivedBytes"` // by the hosts
	Sent     int64   `json:"sentBytes"`
	Execs    int     `json:"execs"`          // on workers
	Busy     float64 `json:"busy,omitempty"` // the share of the machine's CPU time, as of a Sample
}

// Fit is a line by least squares: Base + PerHost*hosts.
type Fit struct {
	Base    float64 `json:"base"`
	PerHost float64 `json:"perHost"`
	// R2 is the share of the variance that the line explains: 1 when all points are on it.
	R2 float64 `json:"r2"`
}

// fit takes at least two different x.
func fit(x, y []float64) Fit {
	n := float64(len(x))
	var meanX, meanY, xx, xy, yy float64
	for i := range x {
		meanX += x[i] / n
		meanY += y[i] / n
	}
	for i := range x {
		dx, dy := x[i]-meanX, y[i]-meanY
		xx, xy, yy = xx+dx*dx, xy+dx*dy, yy+dy*dy
	}
	f := Fit{PerHost: xy / xx, R2: 1}
	f.Base = meanY - f.PerHost*meanX
	if yy > 0 {
		f.R2 = xy * xy / (xx * yy)
	}
	return f
}

// linear is the R² from which on a cost counts as linear.
const linear = 0.98

// check is an error that says what is not as it is meant to be.
func (g Growth) check() error {
	first, last := g.Points[0], g.Points[len(g.Points)-1]
	var errs []error
	if g.Fit.R2 < linear {
		errs = append(errs, fmt.Errorf("%s: the CPU time is not linear in the number of hosts: R² is %.3f, and has to be %.2f", g.Name, g.Fit.R2, linear))
	}
	if g.MemoryLimitMiB > 0 && last.PeakMiB.Median > g.MemoryLimitMiB {
		errs = append(errs, fmt.Errorf("%s: with %d hosts it takes %.0f MiB, and may take %.0f", g.Name, last.Hosts, last.PeakMiB.Median, g.MemoryLimitMiB))
	}
	if i := slices.IndexFunc(g.Points, func(p Point) bool { return p.ExecsPerHost != first.ExecsPerHost }); i >= 0 {
		errs = append(errs, fmt.Errorf("%s: with %d hosts there are %.2f commands a host, with %d there are %.2f", g.Name, first.Hosts, first.ExecsPerHost, g.Points[i].Hosts, g.Points[i].ExecsPerHost))
	}
	return errors.Join(errs...)
}

// summarize makes a point of the costs of runs.
func summarize(hosts int, costs []Cost) Point {
	of := func(value func(Cost) float64) Spread {
		var values []float64
		for _, c := range costs {
			values = append(values, value(c))
		}
		return spreadOf(values)
	}
	perHost := func(value func(Cost) float64) float64 { return of(value).Median / float64(hosts) }
	return Point{
		Hosts: hosts, Costs: costs,
		Seconds: of(func(c Cost) float64 { return c.Seconds }), CPU: of(func(c Cost) float64 { return c.CPU }), PeakMiB: of(func(c Cost) float64 { return c.PeakMiB }),
		ReceivedPerHost: perHost(func(c Cost) float64 { return float64(c.Received) }), SentPerHost: perHost(func(c Cost) float64 { return float64(c.Sent) }),
		ExecsPerHost: perHost(func(c Cost) float64 { return float64(c.Execs) }),
	}
}

// usageOf is the name of the command that runs another program and writes to a file what that took. What the
// kernel says of a process begins with the memory of the one that started it, which has a whole fleet.
const usageOf = "usage-of"

// runUsage runs a program and writes its cost to a file.
func runUsage(ctx context.Context, file string, argv []string) error {
	const mib, kib = 1 << 20, 1 << 10
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return err
	}
	c := Cost{Seconds: time.Since(start).Seconds(), CPU: (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()}
	if r, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		c.PeakMiB = float64(r.Maxrss) * kib / mib
	}
	encoded, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return os.WriteFile(file, encoded, 0o600)
}

// usage runs a program, keeps what it says and returns what it took.
func (b *bench) usage(ctx context.Context, id string, argv ...string) (Cost, error) {
	own, err := os.Executable()
	if err != nil {
		return Cost{}, err
	}
	clock, err := startClock()
	if err != nil {
		return Cost{}, err
	}
	file := filepath.Join(b.logs, id+".usage.json")
	cmd := exec.CommandContext(ctx, own, append([]string{usageOf, file}, argv...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	out, err := cmd.CombinedOutput()
	clock.lap("run")
	if kept := b.keep(id+".log", out); err != nil || kept != nil {
		return Cost{}, fmt.Errorf("%s: %w; it said:\n%s", strings.Join(argv, " "), errors.Join(err, kept), tail(out))
	}
	sample, err := clock.stop()
	if err != nil {
		return Cost{}, err
	}
	encoded, err := os.ReadFile(file)
	if err != nil {
		return Cost{}, err
	}
	c := Cost{Busy: sample.Busy}
	err = json.Unmarshal(encoded, &c)
	return c, err
}

// tail is the end of what a program said.
func tail(out []byte) []byte {
	const enough = 2000
	return out[max(0, len(out)-enough):]
}

// on runs kubewright on the first hosts of a fleet.
func (f *fleet) on(ctx context.Context, b *bench, id string, hosts int, args ...string) (Cost, error) {
	dir, err := f.describe(hosts)
	if err != nil {
		return Cost{}, err
	}
	return f.counted(func() (Cost, error) {
		argv := append([]string{b.kubewright, args[0], "-f", dir + "/cluster.yaml", "--log", dir + "/debug.log"}, args[1:]...)
		return b.usage(ctx, id, argv...)
	})
}

// count notes a command on a host.
func (f *fleet) count(h *simulated) {
	if h.kind == f.kinds[workerKind] {
		f.onWorkers.Add(1)
	}
}

// counted adds what the server has counted to the cost of a run.
func (f *fleet) counted(run func() (Cost, error)) (Cost, error) {
	execs := f.onWorkers.Load()
	received, sent := f.server.Traffic()
	c, err := run()
	c.Execs = int(f.onWorkers.Load() - execs)
	r, s := f.server.Traffic()
	c.Received, c.Sent = r-received, s-sent
	if err == nil && len(f.tb.errs) > 0 {
		err = errors.New(strings.Join(f.tb.errs, "\n"))
	}
	return c, err
}

// completes makes the workers among the first hosts all that they can be.
func (f *fleet) completes(ctx context.Context, b *bench, id string, hosts int) (Cost, error) {
	return f.on(ctx, b, id, hosts, "apply", "--yes", "--phase", hostPhases, "--limit", workerRole)
}

const planeRole, workerRole = "control-plane", "worker"

// nothing plans the workers, and fails when there is something to do.
func (f *fleet) nothing(ctx context.Context, b *bench, id string, hosts int) (Cost, error) {
	return f.on(ctx, b, id, hosts, "plan", "--phase", hostPhases, "--limit", workerRole, "--detailed-exitcode")
}

// rehearse runs all that will be run with a few hosts, so that all scripts are known.
func (f *fleet) rehearse(ctx context.Context, b *bench, id string) error {
	const few = 3
	id += "-rehearsal"
	_, err := f.on(ctx, b, id+"-authorities", few, "apply", "--yes", "--phase", firstPhases, "--limit", planeRole)
	if err == nil {
		_, err = f.on(ctx, b, id+"-first", few, "plan", "--limit", workerRole)
	}
	if err == nil {
		_, err = f.completes(ctx, b, id+"-apply", few)
	}
	if err == nil {
		_, err = f.nothing(ctx, b, id+"-nothing", few)
	}
	f.reset()
	return err
}

// growth measures runs over ever more hosts.
func (b *bench) growth() comparison {
	const memory = 238 // MiB, which are 250 MB
	sizes := []int{1, 50, 100, 200, 350, 500}
	return comparison{
		name: "growth", repetitions: 3,
		other: func(ctx context.Context, repetitions int, report *Report) error {
			f, err := newFleet(ctx, slices.Max(sizes)+1) // the control plane is one more
			defer f.close()
			if err == nil {
				err = f.rehearse(ctx, b, "growth")
			}
			if err != nil {
				return err
			}
			all := []Growth{
				{Name: "growth-first-plan", What: "plan of bare hosts, connections between them tried", MemoryLimitMiB: memory},
				{Name: "growth-apply", What: "apply of the phases of a worker, " + hostPhases, MemoryLimitMiB: memory},
				{Name: "growth-plan", What: "plan of complete workers, with nothing to do", MemoryLimitMiB: memory},
			}
			for _, workers := range sizes {
				hosts := workers + 1
				costs := make([][]Cost, len(all))
				for i := range repetitions {
					f.reset()
					id := fmt.Sprintf("growth-%d-%d", workers, i+1)
					for j, run := range []func() (Cost, error){
						func() (Cost, error) { return f.on(ctx, b, id+"-first", hosts, "plan", "--limit", workerRole) },
						func() (Cost, error) { return f.completes(ctx, b, id+"-apply", hosts) },
						func() (Cost, error) { return f.nothing(ctx, b, id+"-nothing", hosts) },
					} {
						c, err := run()
						if err != nil {
							return err
						}
						costs[j] = append(costs[j], c)
						b.say("%s %d hosts, %d/%d: %.1f s, %.2f s of CPU, %.0f MiB", all[j].Name, workers, i+1, repetitions, c.Seconds, c.CPU, c.PeakMiB)
					}
				}
				for j := range all {
					all[j].Points = append(all[j].Points, summarize(workers, costs[j]))
				}
			}
			for j := range all {
				all[j].fit()
			}
			report.Growth = append(report.Growth, all...)
			return nil
		},
	}
}

// fit fills in the line through the points.
func (g *Growth) fit() {
	var x, y []float64
	for _, p := range g.Points {
		x, y = append(x, float64(p.Hosts)), append(y, p.CPU.Median)
	}
	g.Fit = fit(x, y)
}

// planCPU compares what a plan costs on the operator's machine with the floor: a client of the same SSH
// library that runs one command on each host, on the same server, and knows nothing.
func (b *bench) planCPU() comparison {
	const limit, repetitions, workers = 2, 5, 500
	var f *fleet
	perHost := func(c Cost, err error) (Sample, error) {
		return Sample{Seconds: c.CPU / workers, Busy: c.Busy}, err
	}
	return comparison{
		name: "plan-cpu", what: fmt.Sprintf("CPU time of the operator's machine for each of %d hosts: a plan with nothing to do, and one command by a bare SSH client in Go", workers),
		limit: limit, repetitions: repetitions, quick: true,
		subject: contender{"plan", func(ctx context.Context, id string) (Sample, error) {
			return perHost(f.nothing(ctx, b, id, workers+1))
		}},
		yardstick: contender{"bare-client", func(ctx context.Context, id string) (Sample, error) {
			dir, err := f.describe(workers)
			if err != nil {
				return Sample{}, err
			}
			own, err := os.Executable()
			if err != nil {
				return Sample{}, err
			}
			return perHost(f.counted(func() (Cost, error) { return b.usage(ctx, id, own, bareClient, dir) }))
		}},
		setUp: func(ctx context.Context) (func() error, error) {
			var err error
			f, err = newFleet(ctx, workers+1)
			if err == nil {
				err = f.rehearse(ctx, b, "plan-cpu")
			}
			if err == nil {
				_, err = f.completes(ctx, b, "plan-cpu-apply", workers+1)
			}
			if err != nil {
				f.close()
				return nil, err
			}
			return func() error { f.close(); return nil }, nil
		},
	}
}
