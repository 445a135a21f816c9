package ssh

import (
	"context"
	"sync"
)

// slots bounds the session channels open on a connection. Its limit goes down when the server
// turns out to allow fewer (MaxSessions), so that the rest queues instead of failing.
type slots struct {
	mu      sync.Mutex
	limit   int
	used    int
	changed chan struct{} // closed and replaced whenever a slot is given back
}

func newSlots(limit int) *slots {
	return &slots{limit: limit, changed: make(chan struct{})}
}

// acquire waits for a free slot, until ctx ends or gone is closed.
func (s *slots) acquire(ctx context.Context, gone <-chan struct{}) error {
	for {
		s.mu.Lock()
		if s.used < s.limit {
			s.used++
			s.mu.Unlock()
			return nil
		}
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-gone:
			return errGone
		}
	}
}

// release gives a slot back.
func (s *slots) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free()
}

// refused gives back the slot of a channel that the server did not open and lowers the limit to
// what is open now, at least 1. It returns how many others are open.
func (s *slots) refused() (others int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free()
	s.limit = min(s.limit, max(1, s.used))
	return s.used
}

func (s *slots) free() {
	s.used--
	close(s.changed)
	s.changed = make(chan struct{})
}
