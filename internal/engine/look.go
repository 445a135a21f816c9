package engine

import (
	"context"
	"errors"
	"fmt"
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
	probes := append(probesOf(groups), sh.FactsProbe{Script: facts.Script()})
	before := s.Now()
	answers, err := s.ask(ctx, m, probes)
	if err != nil {
		return err
	}
	after := s.Now()
	if m.facts, err = facts.Parse(answers.Facts); err != nil {
		return &fault.Error{Kind: fault.Other, Host: m.Name, Op: "look", Err: err}
	}
	m.observed, m.asked, m.lists = answers, probes, nil
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
func (s *Session) ask(ctx context.Context, m *member, probes []sh.Probe) (*sh.Answers, error) {
	marker := newMarker()
	script, limit := sh.RenderProbes(marker, probes), lookTimeout
	if m.acted {
		script, limit = sh.RenderSettledProbes(marker, probes), lockTimeout
	}
	once := func() (*sh.Watcher, error) {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		out := sh.NewWatcher(marker, nil)
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
	answers, err := sh.ParseAnswers(marker, probes, out.Bytes())
	if err != nil {
		return nil, &fault.Error{Kind: fault.Other, Host: m.Name, Op: "look", Err: err}
	}
	return answers, nil
}

// run is one exec, reported with its duration and size.
func (s *Session) run(ctx context.Context, m *member, script host.Script, out *sh.Watcher, what string) error {
	start := s.Now()
	err := m.conn.Run(ctx, script, out)
	s.emit(report.Event{
		Kind: report.Exec, Host: m.Name, Message: what, Duration: s.Now().Sub(start), Err: err,
		Attrs: map[string]string{"in": fmt.Sprint(len(script.Text)), "out": fmt.Sprint(len(out.Bytes()))},
	})
	return err
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
