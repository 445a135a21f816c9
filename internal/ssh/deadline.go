package ssh

import (
	"sync"
	"time"
)

// deadline is a point in time that can be waited for and moved while somebody waits.
type deadline struct {
	state *deadlineState
}

type deadlineState struct {
	mu      sync.Mutex
	timer   *time.Timer
	expired chan struct{} // closed when the deadline has passed
}

func newDeadline() deadline {
	return deadline{&deadlineState{expired: make(chan struct{})}}
}

// passed returns a channel that is closed once the deadline that is set now has passed. A
// deadline moved later while somebody waits keeps the channel; only one that has passed gets
// another.
func (d deadline) passed() <-chan struct{} {
	d.state.mu.Lock()
	defer d.state.mu.Unlock()
	return d.state.expired
}

// set moves the deadline; the zero time means none.
func (d deadline) set(at time.Time) {
	s := d.state
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	select {
	case <-s.expired:
		s.expired = make(chan struct{})
	default:
	}
	if at.IsZero() {
		return
	}
	if !at.After(time.Now()) {
		close(s.expired)
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(time.Until(at), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.timer == timer { // else it was moved while this call was on its way
			close(s.expired)
			s.timer = nil
		}
	})
	s.timer = timer
}
