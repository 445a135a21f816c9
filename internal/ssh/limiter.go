package ssh

import (
	"context"
	"sync"
)

// Limiter bounds how many handshakes with one address are in progress at a time. A server that
// stands for many hosts (a bastion, one machine with many ports) starts to drop connections at
// random above MaxStartups, 10 by default. Hosts of other addresses do not wait for each other: some of
// them may be down, which takes a while to find out.
type Limiter struct {
	n  int
	mu sync.Mutex
	// slots are those of each address.
	slots map[string]chan struct{}
}

// DefaultHandshakes is the largest number of unauthenticated connections that a server with
// OpenSSH's default MaxStartups (10:30:100) never drops.
const DefaultHandshakes = 10

// NewLimiter returns a Limiter of n handshakes with an address; n < 1 means DefaultHandshakes.
func NewLimiter(n int) *Limiter {
	if n < 1 {
		n = DefaultHandshakes
	}
	return &Limiter{n: n, slots: map[string]chan struct{}{}}
}

// acquire waits for a slot and returns the function that gives it back. A nil Limiter has
// slots for all.
func (l *Limiter) acquire(ctx context.Context, address string) (release func(), err error) {
	if l == nil {
		return func() {}, nil
	}
	l.mu.Lock()
	slots, ok := l.slots[address]
	if !ok {
		slots = make(chan struct{}, l.n)
		l.slots[address] = slots
	}
	l.mu.Unlock()
	select {
	case slots <- struct{}{}:
		return func() { <-slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
