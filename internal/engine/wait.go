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
	start := s.Now()
	for {
		condition, err := s.condition(c)
		if err != nil {
			return err
		}
		limited, done := ctx, func() {}
		if c.Name == "" || c.Kind != plan.APIReady { // which is about one server
			limited, done = context.WithTimeout(ctx, s.patience())
		}
		err = kube.Wait(limited, condition, func(detail string) {
			s.emit(report.Event{Kind: report.Waiting, Host: hostName, Phase: phase, Message: condition.String() + ": " + detail})
		})
		again := err != nil && limited.Err() != nil && ctx.Err() == nil
		done()
		if again {
			if _, err := s.chooseAPI(ctx); err == nil {
				continue
			}
		}
		s.emit(report.Event{Kind: report.WaitDone, Host: hostName, Phase: phase, Message: condition.String(), Duration: s.Now().Sub(start), Err: err})
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
	start := s.Now()
	err := kube.Wait(ctx, condition, func(detail string) {
		s.emit(report.Event{Kind: report.Waiting, Host: hostName, Phase: phase, Message: condition.String() + ": " + detail})
	})
	s.emit(report.Event{Kind: report.WaitDone, Host: hostName, Phase: phase, Message: condition.String(), Duration: s.Now().Sub(start), Err: err})
	return err
}

// condition binds a condition to the client that can see it.
func (s *Session) condition(c plan.Condition) (kube.Condition, error) {
	if c.Kind == plan.APIReady && c.Name == "" {
		return anyAPI{s}, nil
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
