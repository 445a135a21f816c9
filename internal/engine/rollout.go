package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// rollout has the control planes of a running cluster changed one at a time.
type rollout struct {
	turn turn
	// before is the host that had the turn last, "" for none. It belongs to whoever has it.
	before string
	mu     sync.Mutex
	// changed is closed, and replaced, whenever a host is through.
	changed chan struct{}
	// working are the hosts that are not through yet.
	working map[string]bool
	// failed is the first host that did not come back from a change, "" for none.
	failed string
	// undone are the hosts that were not taken through all that is done one at a time.
	undone []string
}

func newRollout(hosts []*member) *rollout {
	r := &rollout{turn: make(turn, 1), changed: make(chan struct{}), working: map[string]bool{}}
	for _, m := range hosts {
		r.working[m.Name] = true
	}
	return r
}

// end notes that a host is through with what is done one at a time, well or not, and tells those who
// wait for it. It may be called again.
func (r *rollout) end(host string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.working[host] {
		return
	}
	r.working[host] = false
	close(r.changed)
	r.changed = make(chan struct{})
}

// undo notes that a host will not be taken through all that is done one at a time.
func (r *rollout) undo(host string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.working[host] {
		r.undone = append(r.undone, host)
	}
}

// unfinished is the reason not to change those that come after the hosts of the rollout.
func (r *rollout) unfinished() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.undone) == 0 {
		return nil
	}
	slices.Sort(r.undone)
	return fmt.Errorf("not begun: %s comes first, and is not done", strings.Join(r.undone, ", "))
}

// fail notes that a change did a host no good, so that no other is given the same.
func (r *rollout) fail(host string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed == "" {
		r.failed = host
	}
}

// blocked is the reason not to change another host.
func (r *rollout) blocked() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed == "" {
		return nil
	}
	return fmt.Errorf("not begun: %s did not come back from the same change", r.failed)
}

// watch returns what is closed when the next host is through.
func (r *rollout) watch() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

// await returns when changed is closed. It is an error that no host is left at work among those that
// have to be through first: then nothing will change any more.
func (r *rollout) await(ctx context.Context, changed <-chan struct{}, hosts []string) error {
	r.mu.Lock()
	idle := true
	for _, h := range hosts {
		idle = idle && !r.working[h]
	}
	r.mu.Unlock()
	select {
	case <-changed:
		return nil
	default:
	}
	if idle {
		return fmt.Errorf("the membership of %s in etcd has to change first, and did not", strings.Join(hosts, ", "))
	}
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
