package ssh

import (
	"context"
	"errors"
	"sync"
)

// slots bounds the session channels open on a connection. Its limit goes down when the server
// turns out to allow fewer (MaxSessions), so that the rest queues instead of failing.
type slots struct {
	mu      sync.Mutex
	limit   int
	used    int
	held    int           // of them, those that last as long as the connection
	changed chan struct{} // closed and replaced whenever a slot is given back
}

// errHeld says that all sessions which the server allows on a connection are held for as long as
// it lasts, so that waiting for one is in vain.
var errHeld = errors.New("all sessions of the connection are held")

func newSlots(limit int) *slots {
	return &slots{limit: limit, changed: make(chan struct{})}
}

// acquire waits for a free slot, until ctx ends or gone is closed.
func (s *slots) acquire(ctx context.Context, gone <-chan struct{}, hold bool) error {
	for {
		s.mu.Lock()
		free, inVain := s.used < s.limit, s.held >= s.limit
		if free {
			s.used++
			if hold {
				s.held++
			}
		}
		changed := s.changed
		s.mu.Unlock()
		switch {
		case free:
			return nil
		case inVain:
			return errHeld
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-gone:
			return errGone
		}
	}
}

// take takes a slot whether there is one or not.
func (s *slots) take() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used++
}

// release gives a slot back.
func (s *slots) release(hold bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free(hold)
}

// refused gives back the slot of a channel that the server did not open and lowers the limit to
// what is open now, at least 1. It returns how many others are open.
func (s *slots) refused(hold bool) (others int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free(hold)
	s.limit = min(s.limit, max(1, s.used))
	return s.used
}

func (s *slots) free(hold bool) {
	s.used--
	if hold {
		s.held--
	}
	close(s.changed)
	s.changed = make(chan struct{})
}
