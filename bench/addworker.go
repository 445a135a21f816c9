package main

import (
	"context"
	"fmt"
	"strings"
)

// addWorker compares adding one worker to many hosts with adding one to few, on the fleet. It fails when any
// host is sent a command but the new one and the control plane.
func (b *bench) addWorker() comparison {
	const limit, repetitions, few, many = 1.2, 9, 2, 20
	var f *fleet
	adds := func(hosts int) func(context.Context, string) (Sample, error) {
		return func(ctx context.Context, id string) (Sample, error) {
			f.reset()
			if _, err := f.completes(ctx, b, id+"-before", hosts); err != nil {
				return Sample{}, err
			}
			added := f.hosts[f.order[hosts]]
			before := f.commands()
			c, err := f.on(ctx, b, id, hosts+1, "apply", "--yes", "--phase", hostPhases, "--limit", added.name)
			if err != nil {
				return Sample{}, err
			}
			for name, n := range f.commands() {
				if n > before[name] && name != added.name && !strings.HasPrefix(name, planeKind) {
					return Sample{}, fmt.Errorf("adding %s, %d commands were run on %s", added.name, n-before[name], name)
				}
			}
			return Sample{Seconds: c.Seconds, Busy: c.Busy}, nil
		}
	}
	return comparison{
		name: "add-worker", what: fmt.Sprintf("apply of one more worker on simulated hosts, of which there are %d, and %d; no other but the control plane is sent any command", many, few),
		limit: limit, repetitions: repetitions,
		subject: contender{fmt.Sprintf("to-%d", many), adds(many)}, yardstick: contender{fmt.Sprintf("to-%d", few), adds(few)},
		setUp: func(ctx context.Context) (func() error, error) {
			var err error
			f, err = newFleet(ctx, many+1)
			if err == nil {
				err = f.rehearse(ctx, b, "add-worker")
			}
			if err != nil {
				f.close()
				return nil, err
			}
			return func() error { f.close(); return nil }, nil
		},
	}
}

// commands are how many commands were run on each host, by name.
func (f *fleet) commands() map[string]int64 {
	all := map[string]int64{}
	for _, h := range f.hosts {
		all[h.name] = h.commands.Load()
	}
	return all
}
