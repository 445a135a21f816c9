package ssh

import "context"

// Limiter bounds how many handshakes are in progress at a time. A server behind one address (a
// bastion, a lab) starts to drop connections at random above MaxStartups, 10 by default.
type Limiter struct {
	slots chan struct{}
}

// DefaultHandshakes is the largest number of unauthenticated connections that a server with
// OpenSSH's default MaxStartups (10:30:100) never drops.
const DefaultHandshakes = 10

// NewLimiter returns a Limiter of n handshakes; n < 1 means DefaultHandshakes.
func NewLimiter(n int) *Limiter {
	if n < 1 {
		n = DefaultHandshakes
	}
	return &Limiter{slots: make(chan struct{}, n)}
}

// acquire waits for a slot and returns the function that gives it back. A nil Limiter has
// slots for all.
func (l *Limiter) acquire(ctx context.Context) (release func(), err error) {
	if l == nil {
		return func() {}, nil
	}
	select {
	case l.slots <- struct{}{}:
		return func() { <-l.slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
