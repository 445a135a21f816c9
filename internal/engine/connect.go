package engine

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"kubewright/internal/facts"
	"kubewright/internal/fault"
	"kubewright/internal/host"
	"kubewright/internal/plan"
	"kubewright/internal/report"
	"kubewright/internal/sh"
	"kubewright/inventory"
)

// member is one host of a session and everything that was learned of it.
type member struct {
	inventory.Host
	wanted   bool // in the scope of this run, not only a source of the CA
	conn     host.Conn
	err      error // why it could not be reached, looked at or locked
	observed *sh.Answers
	facts    facts.Facts
	skew     time.Duration
	asked    []sh.Probe
	target   plan.Target
	groups   []plan.Group
	plan     plan.Host
	// push is set when the host cannot fetch files for itself and is given them.
	push bool

	// mending is held while the connection is made again, by whoever noticed first.
	mending sync.Mutex
}

// open looks at the hosts, and refuses to go on when one is not seen that has to be.
func (e *Engine) open(ctx context.Context, lock bool) (*Session, error) {
	s := e.survey(ctx, lock)
	if err := s.unreached(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// survey connects to the hosts in parallel, takes their locks when the run will change
// something, and looks at each. Why a host was not seen is in its member.
func (e *Engine) survey(ctx context.Context, lock bool) *Session {
	s := &Session{Engine: e}
	lockCtx, stop := context.WithCancel(ctx)
	s.stopLocks = stop
	s.takeLock = func(m *member) error {
		if !lock || !m.wanted {
			return nil
		}
		return s.lock(lockCtx, m)
	}
	for _, h := range e.Cluster.Hosts {
		wanted := e.Limit(h)
		if wanted || h.Has(inventory.RoleControlPlane) {
			s.hosts = append(s.hosts, &member{Host: h, wanted: wanted})
		}
	}
	s.each(s.hosts, func(m *member) {
		m.err = s.connect(ctx, m)
		if m.err == nil {
			m.err = s.takeLock(m)
		}
		if m.err == nil {
			m.err = s.look(ctx, m)
		}
		if m.err != nil {
			s.emit(report.Event{Kind: report.HostFailed, Host: m.Name, Err: m.err})
		}
	})
	return s
}

// unreached is the error of a run that cannot know the state of a host it must know: one
// in its scope, or every source of the CA.
func (s *Session) unreached() error {
	var errs []error
	sources := 0
	for _, m := range s.hosts {
		if m.err != nil && m.wanted {
			errs = append(errs, m.err)
		}
		if m.err == nil && m.Has(inventory.RoleControlPlane) {
			sources++
		}
	}
	if len(errs) == 0 && sources == 0 {
		for _, m := range s.hosts {
			if m.err != nil {
				errs = append(errs, m.err)
			}
		}
	}
	return errors.Join(errs...)
}

// each runs f for all members at once. How many handshakes and sessions may be under way
// is the business of the connection's own limits.
func (s *Session) each(members []*member, f func(*member)) {
	var wg sync.WaitGroup
	for _, m := range members {
		wg.Go(func() { f(m) })
	}
	wg.Wait()
}

func (s *Session) connect(ctx context.Context, m *member) error {
	ctx, cancel := context.WithTimeout(ctx, s.ConnectTimeout)
	defer cancel()
	start := s.Now()
	conn, err := s.Dial(ctx, m.Host)
	if err != nil {
		return fault.Wrap(fault.Unreachable, err)
	}
	m.conn = conn
	s.emit(report.Event{Kind: report.HostConnected, Host: m.Name, Duration: s.Now().Sub(start)})
	return nil
}

// lock takes the host's lock and keeps it until ctx ends, or the session that holds it.
func (s *Session) lock(ctx context.Context, m *member) error {
	marker := newMarker()
	answer := make(chan string, 1)
	ended := make(chan error, 1)
	watch := &firstLine{marker: marker, answer: answer}
	start := s.Now()
	go func() { ended <- m.conn.Run(ctx, sh.RenderLock(marker, s.Holder, s.ForceUnlock), watch) }()
	timer := time.NewTimer(lockTimeout)
	defer timer.Stop()
	var err error
	select {
	case holder := <-answer:
		err = held(holder)
	case err = <-ended:
		select {
		case holder := <-answer: // it answered before it ended
			err = held(holder)
		default:
			err = s.hostError(m, "lock", err)
		}
	case <-timer.C:
		err = fault.New(fault.Unreachable, "no answer within %s", lockTimeout).During("lock")
	}
	s.emit(report.Event{Kind: report.Exec, Host: m.Name, Message: "lock", Duration: s.Now().Sub(start), Err: err})
	var f *fault.Error
	if errors.As(err, &f) {
		return f.On(m.Name)
	}
	return err
}

// held is the error of a lock that somebody else has; "" is nobody.
func held(holder string) error {
	if holder == "" {
		return nil
	}
	return fault.New(fault.Locked, "another run holds the lock: %s", holder).
		WithHint("wait for it to end, the lock dies with its session; --force-unlock takes it from a holder that is gone")
}

// reconnect makes a lost connection again: the host may be rebooting, so it is tried until
// the deadline. The lock went with the old connection and is taken anew.
func (s *Session) reconnect(ctx context.Context, m *member) error {
	m.mending.Lock()
	defer m.mending.Unlock()
	redialer, ok := m.conn.(host.Redialer)
	if !ok {
		return &fault.Error{Kind: fault.Unreachable, Host: m.Name, Op: "reconnect", Err: errors.New("this connection cannot be made again")}
	}
	ctx, cancel := context.WithTimeout(ctx, s.ReconnectTimeout)
	defer cancel()
	retry := time.NewTicker(reconnectInterval)
	defer retry.Stop()
	for {
		before := m.conn.Stats().Handshakes
		err := redialer.Redial(ctx)
		if err == nil {
			if m.conn.Stats().Handshakes == before {
				return nil // somebody else had made it again
			}
			return s.takeLock(m)
		}
		var unreachable *host.UnreachableError
		if !errors.As(err, &unreachable) {
			return fault.Wrap(fault.Unreachable, err)
		}
		select {
		case <-retry.C:
		case <-ctx.Done():
			return &fault.Error{Kind: fault.Unreachable, Host: m.Name, Op: "reconnect", Err: fmt.Errorf("gave up after %s: %w", s.ReconnectTimeout, err),
				Hint: "run the same command again when the host is back; it goes on from there"}
		}
	}
}

const reconnectInterval = 2 * time.Second

// resume finds out where a host is after its connection was lost: nothing is repeated
// before it was looked at again.
func (s *Session) resume(ctx context.Context, m *member) error {
	if err := s.reconnect(ctx, m); err != nil {
		return err
	}
	if err := s.look(ctx, m); err != nil {
		return err
	}
	m.target.Facts = m.facts
	return s.planHost(ctx, m)
}

// dialVia opens a connection that begins on a host, mending the way there when needed.
func (s *Session) dialVia(m *member) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := m.conn.Dial(ctx, network, addr)
		var lost *host.LostError
		if !errors.As(err, &lost) {
			return conn, err
		}
		if err := s.reconnect(ctx, m); err != nil {
			return nil, err
		}
		return m.conn.Dial(ctx, network, addr)
	}
}

// firstLine passes on the lock script's first answer and forgets the heartbeats after it.
type firstLine struct {
	marker string
	answer chan string
	buf    []byte
	done   bool
}

func (w *firstLine) Write(p []byte) (int, error) {
	if w.done {
		return len(p), nil
	}
	w.buf = append(w.buf, p...)
	if locked, holder := sh.LockAnswer(w.marker, w.buf); locked || holder != "" {
		w.done, w.buf = true, nil
		w.answer <- holder
	}
	return len(p), nil
}

// newMarker makes the random word that frames one script's answers.
func newMarker() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails: https://pkg.go.dev/crypto/rand#Read
	return "kw" + hex.EncodeToString(b[:])
}
