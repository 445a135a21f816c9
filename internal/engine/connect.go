package engine

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
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
	wanted bool // in the scope of this run, not only a source of the CA
	// neighbour is set for a host that is reached over the network only.
	neighbour bool
	conn      host.Conn
	err       error // why it could not be reached, looked at or locked
	seen      bool  // at the survey; it does not change afterwards
	observed  *sh.Answers
	facts     facts.Facts
	skew      time.Duration
	asked     *sh.Look
	// lists is what the manifest ought to list by the facts; nil until it is asked for.
	lists  *listing
	target plan.Target
	groups []plan.Group
	plan   plan.Host
	// push is set when the host cannot fetch files for itself and is given them.
	push bool
	// unfetchable are the URLs of files that the host needs and cannot get for itself.
	unfetchable []string

	// acted is set once this run has begun to change the host.
	acted bool

	// mending is held while the connection is made again, by whoever noticed first, and locking
	// while the host's lock is taken.
	mending, locking turn
	// locked is set while this run has the host's lock, hadLock once it had it, and lockedBy
	// tells the connection that took it by its number. They belong to whoever holds locking.
	locked, hadLock bool
	lockedBy        int64
}

// open looks at the hosts, and refuses to go on when one is not seen that has to be.
func (e *Engine) open(ctx context.Context, locks *locks) (*Session, error) {
	s := e.survey(ctx, locks)
	if err := s.unreached(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// openReached is open for runs that a worker which is not reached does not end: the others of a cluster
// that is there already are none of its business. A new cluster is begun with all of its hosts.
func (e *Engine) openReached(ctx context.Context, locks *locks) (*Session, error) {
	custom, err := e.loadCustom(ctx)
	if err != nil {
		return nil, err
	}
	s := e.survey(ctx, locks)
	s.custom = custom
	err = s.unreached()
	if err == nil || ctx.Err() != nil || !s.doesWithout() {
		if err != nil {
			s.Close()
			return nil, err
		}
		return s, nil
	}
	s.absent = err
	var names []string
	for _, m := range s.hosts {
		if m.wanted && !m.seen {
			names = append(names, m.Name)
			m.wanted = false
		}
	}
	s.emit(report.Event{Kind: report.Warning, Message: strings.Join(names, ", ") + ": not reached; this run does without, and leaves what is about the whole cluster for one that reaches all"})
	return s, nil
}

// doesWithout tells whether all that was not seen of what this run wants are workers that were not
// reached, and something is left to do it on.
func (s *Session) doesWithout() bool {
	reached, begun := 0, false
	for _, m := range s.hosts {
		plane := m.Has(inventory.RoleControlPlane)
		switch {
		case m.seen:
			begun = begun || plane && m.keepsAuthorities()
			if m.wanted {
				reached++
			}
		case m.wanted && (plane || m.Has(inventory.RoleEtcd) || fault.KindOf(m.err) != fault.Unreachable):
			return false
		}
	}
	return begun && reached > 0
}

// survey connects to the hosts in parallel, takes their locks when the run will change
// something, and looks at each. Why a host was not seen is in its member.
func (e *Engine) survey(ctx context.Context, locks *locks) *Session {
	s := &Session{Engine: e, locks: locks, looks: newLooks()}
	s.etcd = s.newEtcdState()
	for _, h := range e.Cluster.Hosts {
		wanted := e.Limit(h)
		if wanted || !e.alone && (h.Has(inventory.RoleControlPlane) || h.Has(inventory.RoleEtcd)) {
			s.hosts = append(s.hosts, &member{Host: h, wanted: wanted, neighbour: e.joins && !wanted, mending: make(turn, 1), locking: make(turn, 1)})
		}
	}
	gate := newGate(s.wanted())
	all := s.waitFor(clusterHost, "", "all hosts to be looked at")
	last := s.each(s.hosts, func(m *member) {
		m.err = s.connect(ctx, m)
		lock := func() error {
			_, err := s.keepLock(ctx, m)
			return err
		}
		first := s.waitFor(m.Name, "", "the first host, which goes before all others")
		free, by := gate.pass(m, lock)
		if by != nil {
			first.doneAfter(by.Name, "")
		}
		if free && m.err == nil {
			m.err = lock()
		}
		switch {
		case m.err != nil:
		case m.neighbour:
			m.err = s.greet(ctx, m)
		default:
			m.err = s.look(ctx, m)
		}
		m.seen = m.err == nil
		if m.err != nil {
			s.emit(report.Event{Kind: report.HostFailed, Host: m.Name, Err: m.err})
		}
	})
	all.doneAfter(last, "")
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

// member finds a host of the session by its name.
func (s *Session) member(name string) *member {
	i := slices.IndexFunc(s.hosts, func(m *member) bool { return m.Name == name })
	return s.hosts[i]
}

// each runs f for all members at once, and names the one that was through last. How many handshakes and
// sessions may be under way is the business of the connection's own limits.
func (s *Session) each(members []*member, f func(*member)) (last string) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	for _, m := range members {
		wg.Go(func() {
			f(m)
			mu.Lock()
			defer mu.Unlock()
			last = m.Name
		})
	}
	wg.Wait()
	return last
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
	s.emit(report.Event{
		Kind: report.HostConnected, Host: m.Name, Duration: s.Now().Sub(start),
		Attrs: map[string]string{"roles": m.roles()},
	})
	return nil
}

// roles are those of a host, separated by commas.
func (m *member) roles() string {
	names := make([]string, len(m.Roles))
	for i, r := range m.Roles {
		names[i] = string(r)
	}
	return strings.Join(names, ",")
}

// turn is what only one at a time may do.
type turn chan struct{}

// take waits for the turn. Unlike that for a mutex, the wait ends with ctx.
func (t turn) take(ctx context.Context) error {
	if ctx.Err() != nil { // of two cases that are ready, select picks any
		return ctx.Err()
	}
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t turn) give() { <-t }

// reconnect makes a lost connection again: the host may be rebooting, so it is tried until
// the deadline. The lock went with the old connection: it is taken anew before anything is changed.
func (s *Session) reconnect(ctx context.Context, m *member) (err error) {
	if err := m.mending.take(ctx); err != nil {
		return err
	}
	defer m.mending.give()
	redialer, ok := m.conn.(host.Redialer)
	if !ok {
		return &fault.Error{Kind: fault.Unreachable, Host: m.Name, Op: "reconnect", Err: errors.New("this connection cannot be made again")}
	}
	limited, cancel := context.WithTimeout(ctx, s.ReconnectTimeout)
	defer cancel()
	wait := s.waitFor(m.Name, "", "the connection to be made again")
	defer func() { wait.done(err) }()
	for {
		err := redialer.Redial(limited)
		if err == nil {
			return nil
		}
		if !passing(err) {
			return fault.Wrap(fault.Unreachable, err)
		}
		interval := reconnectInterval
		var refused *host.AuthError
		if errors.As(err, &refused) {
			interval = refusedInterval
		}
		pause(limited, interval)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("%s: reconnect: %w, after %w", m.Name, ctx.Err(), err)
		case limited.Err() != nil:
			// In words only: that the last attempt was lost is no reason for another.
			return &fault.Error{Kind: fault.Unreachable, Host: m.Name, Op: "reconnect", Err: fmt.Errorf("gave up after %s: %s", s.ReconnectTimeout, err.Error()),
				Hint: "run the same command again when the host is back; it goes on from there"}
		}
	}
}

// passing tells an error that a host which let us in before may get over: it is down, or
// comes up and refuses logins still. Another host key or no sudo are none of these.
func passing(err error) bool {
	var unreachable *host.UnreachableError
	var refused *host.AuthError
	return errors.As(err, &unreachable) || errors.As(err, &refused) || lost(err)
}

const (
	reconnectInterval = 2 * time.Second
	// refusedInterval is longer: many refused logins in a row get an account or an address locked.
	refusedInterval = 15 * time.Second
	longestInterval = 30 * time.Second
)

// resume finds out where a host is after its connection was lost: nothing is repeated
// before it was looked at again.
func (s *Session) resume(ctx context.Context, m *member) error {
	if err := s.reconnect(ctx, m); err != nil {
		return err
	}
	if _, err := s.keepLock(ctx, m); err != nil {
		return err
	}
	if err := s.look(ctx, m); err != nil {
		return err
	}
	return s.replan(ctx, m)
}

// replan compares a host anew after it was looked at again.
func (s *Session) replan(ctx context.Context, m *member) error {
	m.target.Facts = m.facts
	return s.planHost(ctx, m)
}

// dialVia opens a connection that begins on a host, mending the way there when needed.
func (s *Session) dialVia(m *member) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := m.conn.Dial(ctx, network, addr)
		if !lost(err) {
			return conn, err
		}
		if err := s.reconnect(ctx, m); err != nil {
			return nil, err
		}
		return m.conn.Dial(ctx, network, addr)
	}
}

// newMarker makes the random word that frames one script's answers.
func newMarker() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails: https://pkg.go.dev/crypto/rand#Read
	return "kw" + hex.EncodeToString(b[:])
}
