package engine

import (
	"context"
	"errors"
	"time"

	"kubewright/internal/fault"
	"kubewright/internal/kube"
	"kubewright/internal/report"
)

// leaseTimeout bounds one attempt to take the cluster's Lease: it includes waiting out one whose
// holder died.
const leaseTimeout = 45 * time.Second

// lease is the cluster's Lease while a run has it.
type lease struct {
	nonce string
	free  context.CancelFunc
	ended chan struct{} // closed when it was given back
}

// holdLease takes the Lease of a cluster whose API is there, so that two runs whose hosts have
// nothing in common do not change the cluster at once. It is kept until the session is closed; when
// somebody else gets it, the run ends.
func (s *Session) holdLease(ctx context.Context) error {
	if s.lease != nil || s.locks == nil {
		return nil
	}
	l := &lease{nonce: newMarker(), ended: make(chan struct{})}
	held, err := s.takeLease(ctx, l.nonce, s.ForceUnlock)
	if err != nil {
		return err
	}
	var keeping context.Context
	keeping, l.free = context.WithCancel(context.WithoutCancel(ctx))
	s.lease = l
	go func() {
		defer close(l.ended)
		s.keepLease(keeping, l, held)
	}()
	return nil
}

// takeLease tries until it has the Lease, somebody else turns out to have it, or time is up. An API
// server that is away for a moment is waited for.
func (s *Session) takeLease(ctx context.Context, nonce string, force bool) (_ *kube.Lease, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.ReadyTimeout)
	defer cancel()
	wait := s.waitFor(clusterHost, "", "the lease of the cluster")
	defer func() { wait.done(err) }()
	for {
		client, err := s.chooseAPI(ctx)
		if err != nil {
			return nil, err
		}
		limited, done := context.WithTimeout(ctx, leaseTimeout)
		held, err := client.HoldLease(limited, s.Holder, kube.LeaseOptions{Nonce: nonce, Force: force, Emit: wait.say})
		done()
		var other kube.LeaseHeldError
		switch {
		case err == nil:
			return held, nil
		case errors.As(err, &other):
			return nil, fault.New(fault.Locked, "%w", other).
				WithHint("wait for it to end; --force-unlock takes the lease of a run that is gone")
		case !kube.Transient(err) && !passing(err) && !errors.Is(err, context.DeadlineExceeded):
			return nil, err
		}
		wait.say(err.Error())
		pause(ctx, reconnectInterval)
		if ctx.Err() != nil {
			return nil, err
		}
	}
}

// keepLease gives the Lease back when ctx ends. One that was lost because the API server was away,
// as when its host reboots, is taken again when it is back; only that somebody else has it ends the run.
func (s *Session) keepLease(ctx context.Context, l *lease, held *kube.Lease) {
	for {
		select {
		case <-ctx.Done():
			if err := held.Release(context.WithoutCancel(ctx)); err != nil {
				s.emit(report.Event{Kind: report.Warning, Message: err.Error()})
			}
			return
		case <-held.Lost():
		}
		err := held.Err()
		var other kube.LeaseHeldError
		for !errors.As(err, &other) {
			if held, err = s.takeLease(ctx, l.nonce, false); err == nil {
				break
			}
			pause(ctx, reconnectInterval)
			if ctx.Err() != nil {
				return
			}
		}
		if err != nil {
			s.locks.abort(fault.Wrap(fault.Locked, err))
			return
		}
	}
}
