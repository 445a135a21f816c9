package engine

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"kubewright/internal/fault"
	"kubewright/internal/host"
	"kubewright/internal/report"
	"kubewright/internal/sh"
)

// locks are those of one run: they are held until freed, and taken away by somebody else
// they end the run.
type locks struct {
	// running are the scripts that hold them, which are waited for once they are freed, and who
	// looks after them.
	running sync.WaitGroup
	held    context.Context //nolint:containedctx // the locks live as long as the session that has them
	free    context.CancelFunc
	abort   context.CancelCauseFunc
}

// holdLocks returns the context of a run that changes something, and its locks.
func holdLocks(ctx context.Context) (context.Context, *locks) {
	run, abort := context.WithCancelCause(ctx)
	// Not of the run's context: the locks outlive what an interrupt stops.
	held, free := context.WithCancel(context.WithoutCancel(ctx))
	return run, &locks{held: held, free: free, abort: abort}
}

// taken adds to the error of a run that it ended because somebody took a lock from it.
func taken(run context.Context, err error) error {
	if cause := context.Cause(run); err != nil && fault.KindOf(cause) == fault.Locked {
		return errors.Join(cause, err)
	}
	return err
}

// gate has the runs that want the same hosts take turns: the first host in scope that is there is
// locked before all others, so that of two runs one gets all and the other none.
type gate struct {
	order  []*member
	turns  []chan struct{} // closed when all before it are not there
	opened chan struct{}
	by     *member // who opened it, nil when nobody was there
	ok     bool
}

// newGate makes the gate of a run: by name, since the order in a file has no meaning.
func newGate(wanted []*member) *gate {
	g := &gate{opened: make(chan struct{}), order: slices.SortedFunc(slices.Values(wanted), func(a, b *member) int { return strings.Compare(a.Name, b.Name) })}
	for range g.order {
		g.turns = append(g.turns, make(chan struct{}))
	}
	g.next(0)
	return g
}

// next gives the turn to a member; after the last there is nobody to wait for.
func (g *gate) next(i int) {
	if i < len(g.turns) {
		close(g.turns[i])
	} else {
		close(g.opened)
	}
}

// pass locks the first member that was connected to, which opens the gate. All others wait for that,
// and are free to lock if it went well. by is whom they waited for, nil for nobody.
func (g *gate) pass(m *member, lock func() error) (free bool, by *member) {
	i := slices.Index(g.order, m)
	if i < 0 {
		return false, nil
	}
	select {
	case <-g.opened:
		return g.ok, nil
	default:
	}
	select {
	case <-g.opened:
		return g.ok, g.by
	case <-g.turns[i]:
	}
	if m.err != nil {
		g.next(i + 1)
		return false, nil
	}
	m.err = lock()
	g.by, g.ok = m, m.err == nil
	close(g.opened)
	return false, nil
}

// keepLock makes sure, before something is changed on a host, that the run has its lock, if it takes
// locks. again says that it was lost meanwhile.
func (s *Session) keepLock(ctx context.Context, m *member) (again bool, err error) {
	if err := m.locking.take(ctx); err != nil {
		return false, err
	}
	defer m.locking.give()
	return s.takeLock(ctx, m)
}

// takeLock is keepLock for whoever holds locking.
func (s *Session) takeLock(ctx context.Context, m *member) (again bool, err error) {
	if s.locks == nil || !m.wanted {
		return false, nil
	}
	connection := m.conn.Stats().Connects
	if m.locked && m.lockedBy == connection {
		return false, nil
	}
	request := sh.LockRequest{
		Holder: s.Holder,
		// What was taken by force once is ours now, or somebody's who came after.
		Force: s.ForceUnlock && !m.hadLock,
		Again: m.hadLock && m.lockedBy == connection,
	}
	if err := s.lock(ctx, m, request, connection); err != nil {
		return false, err
	}
	again = m.hadLock
	m.locked, m.hadLock, m.lockedBy = true, true, connection
	return again, nil
}

// lock takes the host's lock and keeps it until the locks are freed, or the connection
// that holds it is lost. A request that is given up has ended when it returns.
func (s *Session) lock(ctx context.Context, m *member, request sh.LockRequest, connection int64) error {
	marker := newMarker()
	answer := make(chan string, 1)
	ended := make(chan error, 1)
	over := make(chan struct{})
	watch := &firstLine{marker: marker, answer: answer}
	start := s.Now()
	script := host.Script{Kind: host.Hold, Text: func() []byte { return sh.RenderLock(marker, request) }}
	holding, giveUp := context.WithCancel(s.locks.held)
	s.locks.running.Go(func() {
		defer close(over)
		ended <- m.conn.Run(holding, script, watch)
	})
	timer := time.NewTimer(lockTimeout)
	defer timer.Stop()
	busy := s.waitFor(m.Name, "", "the lock: another run, or the last step of one, is at work there").patiently()
	var err error
	select {
	case holder := <-answer:
		err = held(holder)
	case err = <-ended:
		select {
		case holder := <-answer: // it answered before it ended
			err = held(holder)
		default:
			err = s.lockError(m, err)
		}
	case <-ctx.Done():
		err = ctx.Err()
	case <-timer.C:
		err = fault.New(fault.Unreachable, "no answer within %s", lockTimeout).During("lock")
	}
	busy.drop() // the command is the wait
	s.emit(report.Event{Kind: report.Exec, Host: m.Name, Message: "lock", Duration: s.Now().Sub(start), Err: err})
	if err == nil {
		s.locks.running.Go(func() {
			defer giveUp()
			s.guard(m, connection, ended)
		})
		return nil
	}
	giveUp()
	<-over
	var f *fault.Error
	if errors.As(err, &f) {
		return f.On(m.Name)
	}
	return err
}

// guard asks for a lock again that ends before its time on a connection that lives: its shell
// was killed, or its host shuts down. When somebody else has it by then, the run ends. With its
// connection a lock is lost until that is made again.
func (s *Session) guard(m *member, connection int64, ended <-chan error) {
	err := <-ended
	if m.locking.take(s.locks.held) != nil {
		return // the locks were freed
	}
	defer m.locking.give()
	if m.lockedBy != connection {
		return // the host is locked through a newer one already
	}
	m.locked = false
	if lost(err) {
		return
	}
	if _, err := s.takeLock(s.locks.held, m); err != nil && fault.KindOf(err) == fault.Locked {
		s.locks.abort(err)
	}
}

// lockError is the error of a lock script that named nobody. It may have found the lock taken, and no
// name: the disk was too full for it.
func (s *Session) lockError(m *member, err error) error {
	var exit *host.ExitError
	if errors.As(err, &exit) && exit.Code == sh.LockedStatus && len(exit.Stderr) == 0 {
		return held("it has left no name")
	}
	return s.hostError(m, "lock", fault.Unreachable, err)
}

// held is the error of a lock that somebody else has; "" is nobody.
func held(holder string) error {
	if holder == "" {
		return nil
	}
	return fault.New(fault.Locked, "another run holds the lock: %s", holder).
		WithHint("wait for it to end, the lock dies with its session; --force-unlock takes it from a holder that is gone")
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
