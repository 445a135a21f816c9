package engine

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"kubewright/internal/facts"
	"kubewright/internal/fault"
	"kubewright/internal/host"
	"kubewright/internal/plan"
	"kubewright/internal/report"
	"kubewright/internal/sh"
)

// look asks a host everything in one exec: its facts, and what every resource needs to
// know. Which questions those are follows from the phases alone.
func (s *Session) look(ctx context.Context, m *member) error {
	groups, err := plan.Desired(s.Phases, s.Cluster, plan.Target{Host: m.Host})
	if err != nil {
		return err
	}
	asked := s.looks.of(append(probesOf(groups), sh.FactsProbe{Script: facts.Script()}))
	before := s.Now()
	answers, err := s.ask(ctx, m, asked)
	if err != nil {
		return err
	}
	after := s.Now()
	if m.facts, err = facts.Parse(answers.Facts); err != nil {
		return &fault.Error{Kind: fault.Other, Host: m.Name, Op: "look", Err: err}
	}
	m.observed, m.asked, m.lists = answers, asked, nil
	m.skew = skew(m.facts.Time, before, after)
	return nil
}

// skew is how far a clock that was read between two moments is outside of them.
func skew(t, before, after time.Time) time.Duration {
	switch {
	case t.Before(before):
		return t.Sub(before)
	case t.After(after):
		return t.Sub(after)
	}
	return 0
}

// looks are those of a run: hosts that are asked the same share one.
type looks struct {
	seed  maphash.Seed
	mu    sync.Mutex
	known map[uint64]knownLook // by the hash of the probes
}

type knownLook struct {
	probes []sh.Probe
	look   *sh.Look
}

func newLooks() *looks { return &looks{seed: maphash.MakeSeed(), known: map[uint64]knownLook{}} }

// of returns the look that asks probes.
func (l *looks) of(probes []sh.Probe) *sh.Look {
	var hash maphash.Hash
	hash.SetSeed(l.seed)
	for _, p := range probes {
		maphash.WriteComparable(&hash, p)
	}
	key := hash.Sum64()
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.known[key]
	if !slices.Equal(k.probes, probes) || k.look == nil {
		k = knownLook{probes, sh.NewLook(probes)}
		l.known[key] = k
	}
	return k.look
}

func probesOf(groups []plan.Group) []sh.Probe {
	var probes []sh.Probe
	for _, g := range groups {
		for _, r := range g.Resources {
			probes = append(probes, r.Probes()...)
		}
	}
	return probes
}

// ask runs one look. A connection that is lost while only looking is dialled again, once:
// a look changes nothing, so repeating it is safe.
func (s *Session) ask(ctx context.Context, m *member, look *sh.Look) (*sh.Answers, error) {
	marker := newMarker()
	render, limit := sh.RenderProbes, lookTimeout
	if m.acted {
		render, limit = sh.RenderSettledProbes, lockTimeout
	}
	script := func() []byte { return render(marker, look) }
	once := func() (*sh.Watcher, error) {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		out := sh.NewWatcher(marker, look, nil)
		return out, s.run(ctx, m, host.Script{Text: script}, out, "look")
	}
	out, err := once()
	if lost(err) || ended(err) {
		if err = s.reconnect(ctx, m); err == nil {
			out, err = once()
		}
	}
	if err != nil {
		return nil, s.hostError(m, "look", fault.Unreachable, err)
	}
	answers, err := out.Answers()
	if err != nil {
		return nil, &fault.Error{Kind: fault.Other, Host: m.Name, Op: "look", Err: err}
	}
	return answers, nil
}

// run is one exec, reported with its duration and size.
func (s *Session) run(ctx context.Context, m *member, script host.Script, out io.Writer, what string) error {
	var in atomic.Int64
	start, text, counted := s.Now(), script.Text, &counter{to: out}
	script.Text = func() []byte {
		made := text()
		in.Store(int64(len(made)))
		return made
	}
	err := m.conn.Run(ctx, script, counted)
	s.emit(report.Event{
		Kind: report.Exec, Host: m.Name, Message: what, Duration: s.Now().Sub(start), Err: err,
		Attrs: map[string]string{"in": fmt.Sprint(in.Load()), "out": fmt.Sprint(counted.n)},
	})
	return err
}

// counter counts what is written to another writer.
type counter struct {
	to io.Writer
	n  int
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += len(p)
	return c.to.Write(p)
}

// hostError gives a failure on a host its kind: what could not be reached or logged in to is not
// the same as a script that failed there, or one that was kept from acting. All that is none of these,
// such as an upload to a full disk or time that is up, has the kind otherwise.
func (s *Session) hostError(m *member, op string, otherwise fault.Kind, err error) error {
	kind := otherwise
	var exit *host.ExitError
	switch {
	case errors.As(err, &exit):
		switch {
		case exit.Code == sh.LockedStatus: // an earlier run is still at work
			kind = fault.Locked
		case otherwise != fault.ChangeFailed: // a script that changes nothing failed
			kind = fault.Other
		}
		unnamed := *exit
		unnamed.Host = "" // the fault names it
		err = &unnamed
	case lost(err) || shut(err):
		kind = fault.Unreachable
	}
	return &fault.Error{Kind: kind, Host: m.Name, Op: op, Err: err}
}

// shut tells whether a host let us not in, or not become root there.
func shut(err error) bool {
	var unreachable *host.UnreachableError
	var key *host.HostKeyError
	var login *host.AuthError
	var sudo *host.SudoError
	var shell *host.ShellError
	return errors.As(err, &unreachable) || errors.As(err, &key) || errors.As(err, &login) || errors.As(err, &sudo) || errors.As(err, &shell)
}
