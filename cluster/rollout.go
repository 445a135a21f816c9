package cluster

import (
	"time"

	"kubewright/inventory"
	"kubewright/spec"
)

// Rollout says how a change is taken through the nodes of a cluster that runs.
type Rollout struct {
	// Workers is for the hosts that RollsAsWorker picks.
	Workers WorkerRollout
}

// WorkerRollout says how workers are taken through what restarts their containerd or kubelet.
type WorkerRollout struct {
	// MaxUnavailable is how many of them are changed at once, at least 1.
	MaxUnavailable int
	// Drain is auto, always or never.
	Drain string
	// DrainTimeout bounds the eviction of the pods of one of them; it is positive.
	DrainTimeout time.Duration
}

// RollsAsWorker tells whether a host is taken through changes as a worker: control planes that are
// workers too are changed as control planes are.
func RollsAsWorker(h inventory.Host) bool {
	return h.Has(inventory.RoleWorker) && !h.Has(inventory.RoleControlPlane)
}

// rollout resolves the share of workers, which the spec has checked.
func (r *resolver) rollout() Rollout {
	written := r.written.Rollout.Workers
	workers := 0
	for _, p := range r.placed {
		if RollsAsWorker(p.Host) {
			workers++
		}
	}
	var w WorkerRollout
	if share, problem := spec.ParseShare(written.MaxUnavailable); problem == nil {
		w.MaxUnavailable = share.Of(workers)
	}
	if limit, err := time.ParseDuration(written.DrainTimeout); err == nil {
		w.DrainTimeout = limit
	}
	w.Drain = written.Drain
	return Rollout{Workers: w}
}
