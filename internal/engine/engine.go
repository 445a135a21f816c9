// Package engine makes plans real: it connects to the hosts, looks at each with one
// exec, has the pure packages compare, and acts with one exec a segment. What is to be
// true is none of its business: that is in the phases.
package engine

import (
	"context"
	"errors"
	"io"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubewright/certs"
	"kubewright/cluster"
	"kubewright/internal/catalog"
	"kubewright/internal/check"
	"kubewright/internal/etcd"
	"kubewright/internal/host"
	"kubewright/internal/plan"
	"kubewright/internal/report"
	"kubewright/internal/resource"
	"kubewright/inventory"
)

// Dialer connects to a host.
type Dialer func(ctx context.Context, h inventory.Host) (host.Conn, error)

// Files provides artifacts: their digests and locations, and verified local copies.
type Files interface {
	Resolve(ctx context.Context, files []catalog.File) (map[string]resource.Artifact, error)
	Open(ctx context.Context, a resource.Artifact) (path string, err error)
}

// Options is what a run needs to know. Everything that touches the world outside comes
// in here: connections, files, time, randomness.
type Options struct {
	Cluster *cluster.Cluster
	Phases  []plan.Phase
	Dial    Dialer
	Files   Files
	Sink    report.Sink
	Now     func() time.Time
	Rand    io.Reader
	// Limit picks the hosts that are planned and changed; nil means all. Others are
	// connected to only when they are control planes, whose CA and API are needed.
	Limit inventory.Selector
	// Only names the phases to run; nil means all. Everything is planned all the same,
	// since a phase depends on what others make of their resources.
	Only map[string]bool
	// IgnoreChecks names checks whose refusal stops nothing, beside those that the cluster ignores.
	IgnoreChecks []string
	// Custom makes the objects of the user's own addons, by name; nil where there are none. It is asked once a run
	// that is about them.
	Custom func(context.Context) (map[string][]*unstructured.Unstructured, error)
	// Holder says who takes the hosts' lock: user, machine, process, command, start.
	Holder string
	// ForceUnlock takes the lock from whoever has it.
	ForceUnlock bool
	// Timeouts; zero means the default.
	ConnectTimeout, ReconnectTimeout, ActTimeout, ReadyTimeout, JoinTimeout time.Duration
	// Etcd makes a client of a member of etcd; nil makes a real one.
	Etcd func(etcd.Config) (EtcdMember, error)
	// ExternalEtcd makes a client of a member of an etcd that somebody else runs; nil makes a real one.
	ExternalEtcd func(etcd.Config) (EtcdReader, error)
}

// Engine runs plans for one cluster.
type Engine struct {
	Options
	env func() certs.Env
	// joins is set in a run of a machine that joins a cluster by itself: other hosts are reached over the
	// network only. With alone, as a worker, they are not looked at.
	joins, alone bool
}

// Default deadlines. Acting includes downloads of some hundred megabytes.
const (
	defaultConnectTimeout   = 30 * time.Second
	defaultReconnectTimeout = 3 * time.Minute // a reboot
	defaultActTimeout       = 20 * time.Minute
	defaultReadyTimeout     = 6 * time.Minute
	// defaultJoinTimeout is for a member that runs to be reached and to catch up; pulling its image is no part of it.
	defaultJoinTimeout = 2 * time.Minute
	lookTimeout        = time.Minute
	// lockTimeout includes waiting for the last step of a run that was killed, such as a download;
	// after lockPatience that is said, and so is what else hosts wait for among themselves.
	lockTimeout  = 11 * time.Minute
	lockPatience = 3 * time.Second
)

// New makes an engine. The phases must be well formed.
func New(o Options) (*Engine, error) {
	if err := plan.CheckPhases(o.Phases); err != nil {
		return nil, err
	}
	if o.Limit == nil {
		o.Limit = inventory.Everyone
	}
	setDefault(&o.ConnectTimeout, defaultConnectTimeout)
	setDefault(&o.ReconnectTimeout, defaultReconnectTimeout)
	setDefault(&o.ActTimeout, defaultActTimeout)
	setDefault(&o.ReadyTimeout, defaultReadyTimeout)
	setDefault(&o.JoinTimeout, defaultJoinTimeout)
	if o.Etcd == nil {
		o.Etcd = func(c etcd.Config) (EtcdMember, error) { return etcd.New(c) }
	}
	if o.ExternalEtcd == nil {
		o.ExternalEtcd = func(c etcd.Config) (EtcdReader, error) { return etcd.New(c) }
	}
	return &Engine{Options: o, env: func() certs.Env { return certs.Env{Now: o.Now(), Rand: o.Rand} }}, nil
}

func setDefault(d *time.Duration, value time.Duration) {
	if *d == 0 {
		*d = value
	}
}

// Stats is what a run cost on one host.
type Stats struct {
	Host string
	host.Stats
}

// Session is a run in progress: connections, and what was seen through them. It is made
// by Open and must be closed.
type Session struct {
	*Engine
	hosts  []*member
	looks  *looks
	pki    *certs.Bundle
	newPKI bool
	api    *api
	// apiThere is set when the API answered while the plan was made.
	apiThere bool
	// absent is the error of workers that were not reached, which the run does without.
	absent error
	// leaving names the host that is removed from the cluster, "" in other runs.
	leaving string
	etcd    etcdState
	// closes is set when the plan takes ways to the API servers away.
	closes bool
	// keeps is set while ways are left that are wanted no more: then nothing at all is taken from hosts.
	keeps bool
	// rollout is nil until hosts are changed.
	rollout *rollout
	records records
	// owners are the addons of objects, and refused those that want what another has.
	owners  map[string]string
	refused map[string]error
	// custom are the objects of the user's own addons.
	custom map[string][]*unstructured.Unstructured
	// locks are nil in a run that changes nothing; lease is nil until it is held.
	locks *locks
	lease *lease
	// sourceFailure is why the digests of files could not be learned.
	sourceFailure error
	// externalEtcd is what was heard of an etcd that somebody else runs; nil before it was asked, and
	// where there is none.
	externalEtcd *check.EtcdWorld
	// links are the connections between hosts that were tried.
	links links
	// met is what hosts met where the API servers are to be reached.
	met check.Endpoints
	// targets are what is known of the hosts that were seen, for API objects. Unlike those
	// of the members, they stay what they were when the plan was made.
	targets map[string]plan.Target
}

// Plan looks at all hosts and says what an apply would do. It changes nothing. Workers of a cluster that
// is there already and that are not reached are left out, and are in the plan's Absent.
func (e *Engine) Plan(ctx context.Context) (_ *plan.Plan, _ []Stats, err error) {
	defer e.begin("plan")(&err)
	s, err := e.openReached(ctx, nil)
	if err != nil {
		return nil, nil, err
	}
	defer s.Close()
	p, err := s.plan(ctx)
	return p, s.stats(), err
}

// Apply makes true what is wanted. confirm is shown the plan before anything changes and
// may stop the run with an error. What Plan leaves out is left as it is, and is an error in the end: the
// plan's Absent itself, when all the rest is done.
func (e *Engine) Apply(ctx context.Context, confirm func(*plan.Plan) error) (_ *plan.Plan, _ []Stats, err error) {
	defer e.begin("apply")(&err)
	ctx, locks := holdLocks(ctx)
	defer func() { err = taken(ctx, err) }()
	s, err := e.openReached(ctx, locks)
	if err != nil {
		return nil, nil, err
	}
	defer s.Close()
	p, err := s.plan(ctx)
	if err != nil {
		return p, s.stats(), err
	}
	if err := confirm(p); err != nil {
		return p, s.stats(), err
	}
	if s.apiThere && !p.Empty() {
		if err := s.holdLease(ctx); err != nil {
			return p, s.stats(), err
		}
	}
	if err = s.apply(ctx); err == nil {
		return p, s.stats(), s.absent
	}
	return p, s.stats(), errors.Join(err, s.absent)
}

// begin reports the start of a run, and returns what reports its end.
func (e *Engine) begin(what string) (end func(*error)) {
	start := e.Now()
	e.Sink.Emit(report.Event{Time: start, Kind: report.RunStarted, Message: what})
	return func(err *error) {
		now := e.Now()
		e.Sink.Emit(report.Event{Time: now, Kind: report.RunDone, Message: what, Duration: now.Sub(start), Err: *err})
	}
}

// Close ends all connections; the hosts' locks end with them.
func (s *Session) Close() {
	if s.lease != nil {
		s.lease.free()
		<-s.lease.ended
	}
	if s.locks != nil {
		s.locks.free()
		s.locks.running.Wait() // their shells are ended before the connections are
		s.locks.abort(nil)
	}
	if s.api != nil {
		s.api.close()
	}
	for _, m := range s.hosts {
		if m.conn != nil {
			_ = m.conn.Close() // nothing is written through it any more
		}
	}
}

func (s *Session) stats() []Stats {
	var out []Stats
	for _, m := range s.hosts {
		if m.conn != nil {
			out = append(out, Stats{Host: m.Name, Stats: m.conn.Stats()})
		}
	}
	return out
}

func (s *Session) emit(e report.Event) {
	e.Time = s.Now()
	s.Sink.Emit(e)
}
