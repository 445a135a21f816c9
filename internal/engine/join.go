package engine

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"kubewright/certs"
	"kubewright/internal/fault"
	"kubewright/internal/kube"
	"kubewright/internal/plan"
	"kubewright/internal/report"
	"kubewright/internal/resource"
)

// Joining is what a machine that joins by itself has been told of the cluster.
type Joining struct {
	// Authority is that of the cluster. Its key is elsewhere.
	Authority *certs.Authority
	// API is a client with the bootstrap token.
	API *kube.Client
}

// PlanJoin says what JoinWorker would do. It changes nothing.
func (e *Engine) PlanJoin(ctx context.Context, j Joining) (_ *plan.Plan, _ []Stats, err error) {
	defer e.begin("plan to join")(&err)
	s, err := e.openAlone(ctx, nil, j)
	if err != nil {
		return nil, nil, err
	}
	defer s.Close()
	p, err := s.plan(ctx)
	return p, s.stats(), err
}

// JoinWorker makes the one host in scope a worker of a cluster that runs, from that machine itself: of
// all others it is known what the cluster says, and no key of an authority is at hand. The kubelet's
// client certificate is signed by the cluster, before anything is changed; what it serves with, by
// itself. Nothing is removed that is wanted no more, and no API object is made: that is for a run which
// knows all hosts. It returns when the node is registered, and Ready where the cluster has a pod network.
func (e *Engine) JoinWorker(ctx context.Context, j Joining, confirm func(*plan.Plan) error) (_ *plan.Plan, _ []Stats, err error) {
	defer e.begin("join")(&err)
	ctx, locks := holdLocks(ctx)
	defer func() { err = taken(ctx, err) }()
	s, err := e.openAlone(ctx, locks, j)
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
	m := s.hosts[0]
	if err := s.signKubelet(ctx, m, j.API); err != nil {
		return p, s.stats(), err
	}
	s.rollout = newRollout(s.hosts)
	if err := s.walk(ctx, walk{only: s.Only, hosts: s.hosts}); err != nil {
		return p, s.stats(), err
	}
	condition := j.API.NodeReady(m.Name)
	if e.Cluster.Network.CNI == "none" {
		condition = j.API.NodeRegistered(m.Name) // Ready takes a network
	}
	return p, s.stats(), s.awaitCondition(ctx, "join", m.Name, condition)
}

// openAlone looks at the one host in scope, which is to join as a worker.
func (e *Engine) openAlone(ctx context.Context, locks *locks, j Joining) (*Session, error) {
	alone := *e
	alone.alone, alone.Only = true, map[string]bool{}
	for _, p := range e.Phases {
		alone.Only[p.Name] = p.Desire != nil
	}
	s, err := alone.open(ctx, locks)
	if err != nil {
		return nil, err
	}
	s.pki = &certs.Bundle{Kubernetes: j.Authority}
	if err := s.mayJoin(ctx, s.hosts[0], j.API); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// mayJoin refuses a machine that is a control plane already, and a name that is that of another machine.
// One that carries the mark of a cluster has begun to join; whether it is this cluster is for a check to say.
func (s *Session) mayJoin(ctx context.Context, m *member, api *kube.Client) error {
	if m.keepsAuthorities() {
		return fault.New(fault.Preflight, "the machine is a control plane, and cannot join as a worker").
			On(m.Name).WithHint("join on another machine; kubewright reset takes this one out of its cluster")
	}
	if m.facts.OursMarker != "" {
		return nil
	}
	there, err := api.HasNode(ctx, m.Name)
	switch {
	case err != nil:
		return tokenRefused(m, err)
	case there:
		return fault.New(fault.Preflight, "the cluster has a node %s already, and this machine has not joined it", m.Name).
			On(m.Name).WithHint("give it another name with --node-name; or, if that node is gone for good: kubectl delete node %s", m.Name)
	}
	return nil
}

// signKubelet has the cluster sign the client certificate that the plan wants on the host, if it wants another.
func (s *Session) signKubelet(ctx context.Context, m *member, api *kube.Client) error {
	request, needed := m.unsigned()
	if !needed {
		return nil
	}
	csr, key, err := certs.SigningRequest(request, s.env())
	if err != nil {
		return err
	}
	start := s.Now()
	bounded, cancel := context.WithTimeout(ctx, s.ReadyTimeout)
	defer cancel()
	certificate, err := api.SignKubeletClient(bounded, csr)
	s.emit(report.Event{Kind: report.WaitDone, Host: m.Name, Phase: "join", Message: "the cluster to sign the kubelet's certificate", Duration: s.Now().Sub(start), Err: err})
	if err != nil {
		return tokenRefused(m, err)
	}
	pair := certs.Pair{CertPEM: certificate, KeyPEM: key}
	if verdict := certs.Assess(pair, request, s.pki.Kubernetes, s.Now()); verdict.Action != certs.Keep {
		return &fault.Error{Kind: fault.Unhealthy, Host: m.Name, Op: "join", Err: fmt.Errorf("the certificate that the cluster has signed is not what was asked for: %s", verdict)}
	}
	m.target.KubeletClient = pair
	return s.replan(ctx, m)
}

// unsigned is what the plan of a host wants a certificate to be that the cluster has to sign; false for none.
func (m *member) unsigned() (certs.Request, bool) {
	for _, g := range m.groups {
		for _, r := range g.Resources {
			if c, ok := r.(resource.Certificate); ok && c.Unsigned(m.observed) {
				return c.Request, true
			}
		}
	}
	return certs.Request{}, false
}

// tokenRefused is the error of what the cluster does not do for who has the token.
func tokenRefused(m *member, err error) error {
	f := &fault.Error{Kind: fault.Unhealthy, Host: m.Name, Op: "join", Err: err}
	if apierrors.IsUnauthorized(err) || apierrors.IsForbidden(err) {
		f.Kind, f.Hint = fault.BadInput, "the token signs the cluster-info, but may not join a machine, or has expired meanwhile: make another with kubewright token create --print-join-command"
	}
	return f
}
