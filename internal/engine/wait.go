package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"kubewright/internal/fault"
	"kubewright/internal/kube"
	"kubewright/internal/plan"
	"kubewright/internal/report"
)

// pending is something that is waited for: a span in the trace of the run, once it is done.
type pending struct {
	session *Session
	event   report.Event
	start   time.Time
	mu      sync.Mutex
	later   *time.Timer // says what is waited for; nil when nobody is told
	over    bool
}

// waitFor begins a wait, on a host and in a phase where it is about one.
func (s *Session) waitFor(hostName, phase, what string) *pending {
	return &pending{session: s, event: report.Event{Host: hostName, Phase: phase, Message: what}, start: s.Now()}
}

// patiently has it said what is waited for, if that takes longer than lockPatience.
func (p *pending) patiently() *pending {
	p.later = time.AfterFunc(lockPatience, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.over {
			p.event.Kind = report.Waiting
			p.session.emit(p.event)
		}
	})
	return p
}

// say tells what is known of it by now.
func (p *pending) say(detail string) {
	e := p.event
	e.Kind, e.Message = report.Waiting, e.Message+": "+detail
	p.session.emit(e)
}

// done ends a wait, in vain where there is an error. Of a wait that did not begin nothing is said, and one that
// the run's end has cut was not in vain.
func (p *pending) done(err error) { p.end(err, nil) }

// doneAfter ends a wait for others of this run: that host ended it, done with that phase where it is about
// one. That it was in vain is told by the failure of whoever waited.
func (p *pending) doneAfter(hostName, phase string) {
	after := map[string]string{report.AfterHost: hostName}
	if phase != "" {
		after[report.AfterPhase] = phase
	}
	p.end(nil, after)
}

func (p *pending) end(err error, attrs map[string]string) {
	if p == nil {
		return
	}
	p.stop()
	if errors.Is(err, context.Canceled) {
		err = nil // the run was ended, which is told once, and not by whatever waited
	}
	e := p.event
	e.Kind, e.Duration, e.Err, e.Attrs = report.WaitDone, p.session.Now().Sub(p.start), err, attrs
	p.session.emit(e)
}

// drop ends a wait that turned out to be none. One that was spoken of was one, and ends: the record of the run
// would have it last to the end.
func (p *pending) drop() {
	if p.stop() {
		p.end(nil, nil)
	}
}

// stop has nothing more said of a wait, and tells whether something was.
func (p *pending) stop() (said bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	if p.later != nil {
		p.later.Stop()
	}
	return p.event.Kind == report.Waiting
}

// awaitBarriers waits for the AllHosts and AnyHost edges of a segment, and says where what comes before it was
// not done. Of a phase about single hosts the others may go on, so it waits for all.
func (s *Session) awaitBarriers(ctx context.Context, hostName string, segment []plan.Phase, done *latches) error {
	for _, p := range segment {
		for _, e := range p.After {
			if !e.All && !e.Any {
				continue
			}
			wait := s.waitFor(hostName, "", done.what(e))
			wait.event.Attrs = map[string]string{report.AfterPhase: e.Phase}
			wait.patiently()
			by, waited, err := done.await(ctx, e, p.PerHost)
			switch {
			case waited:
				wait.doneAfter(by, e.Phase)
			case ctx.Err() != nil:
				wait.done(ctx.Err())
			default:
				wait.drop()
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// awaitAll waits for conditions, all at once, each until its deadline.
func (s *Session) awaitAll(ctx context.Context, phase, hostName string, conditions []plan.Condition) error {
	errs := make([]error, len(conditions))
	var wg sync.WaitGroup
	for i, c := range conditions {
		wg.Go(func() { errs[i] = s.await(ctx, phase, hostName, c) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// await waits for one condition. Where there are several API servers, one that is away for long does
// not end the wait: another is asked.
func (s *Session) await(ctx context.Context, phase, hostName string, c plan.Condition) error {
	ctx, cancel := context.WithTimeout(ctx, s.ReadyTimeout)
	defer cancel()
	var wait *pending
	for {
		condition, err := s.condition(c)
		if err != nil {
			return err
		}
		if wait == nil {
			wait = s.waitFor(hostName, phase, condition.String())
		}
		limited, done := ctx, func() {}
		if c.Name == "" || c.Kind != plan.APIReady { // which is about one server
			limited, done = context.WithTimeout(ctx, s.patience())
		}
		err = kube.Wait(limited, condition, wait.say)
		again := err != nil && limited.Err() != nil && ctx.Err() == nil
		done()
		if again {
			if _, err := s.chooseAPI(ctx); err == nil {
				continue
			}
		}
		wait.done(err)
		if err != nil {
			return &fault.Error{Kind: fault.Unhealthy, Host: hostName, Op: phase, Err: err}
		}
		return nil
	}
}

// patience is how long one API server is asked for something before another is.
func (s *Session) patience() time.Duration {
	const patience = time.Minute
	if len(s.controlPlanes()) > 1 {
		return patience
	}
	return s.ReadyTimeout
}

func (s *Session) awaitCondition(ctx context.Context, phase, hostName string, condition kube.Condition) error {
	if err := s.watch(ctx, phase, hostName, condition); err != nil {
		return &fault.Error{Kind: fault.Unhealthy, Host: hostName, Op: phase, Err: err}
	}
	return nil
}

// watch waits for a condition, and reports what it sees.
func (s *Session) watch(ctx context.Context, phase, hostName string, condition kube.Condition) error {
	ctx, cancel := context.WithTimeout(ctx, s.ReadyTimeout)
	defer cancel()
	wait := s.waitFor(hostName, phase, condition.String())
	err := kube.Wait(ctx, condition, wait.say)
	wait.done(err)
	return err
}

// condition binds a condition to the client that can see it.
func (s *Session) condition(c plan.Condition) (kube.Condition, error) {
	if c.Kind == plan.APIReady && c.Name == "" {
		return s.readyAPI(), nil
	}
	name := ""
	if c.Kind == plan.APIReady {
		name = c.Name
	}
	client, err := s.client(name)
	if err != nil {
		return nil, err
	}
	switch c.Kind {
	case plan.APIReady:
		return client.APIReady(), nil
	case plan.NodeRegistered:
		return client.NodeRegistered(c.Name), nil
	case plan.NodeReady:
		return client.NodeReady(c.Name), nil
	case plan.DeploymentAvailable:
		return client.DeploymentAvailable(c.Namespace, c.Name), nil
	case plan.StatefulSetReady:
		return client.StatefulSetReady(c.Namespace, c.Name), nil
	case plan.DaemonSetReady:
		return client.DaemonSetReady(c.Namespace, c.Name), nil
	case plan.DaemonSetRolledOut:
		return client.DaemonSetRolledOut(c.Namespace, c.Name), nil
	}
	return nil, fmt.Errorf("unknown condition %q", c.Kind)
}
