package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"kubewright/certs"
	"kubewright/internal/fault"
	"kubewright/internal/kube"
	"kubewright/internal/plan"
	"kubewright/internal/resource"
	"kubewright/internal/secret"
)

const (
	// kubeletConf is the kubeconfig of a kubelet, and nodeUser what the user in it begins with.
	kubeletConf = "/etc/kubernetes/" + certs.KubeletConf
	nodeUser    = "system:node:"
)

// Joining is what a machine that joins by itself has been told of the cluster.
type Joining struct {
	// Authority is that of the cluster. Its key is elsewhere.
	Authority *certs.Authority
	// API is a client with the bootstrap token.
	API *kube.Client
	// Bundle is what all control planes have; nil for a worker.
	Bundle *certs.Bundle
	// Still is an error once the cluster tells machines that join something else than it has told this one; nil for a
	// worker.
	Still func(context.Context, *kube.Client) error
	// Tell has the cluster tell the next machine that joins of this control plane; nil for a worker. No other run
	// changes the cluster meanwhile.
	Tell func(context.Context, *kube.Client) error
}

// PlanJoin says what Join would do. It changes nothing.
func (e *Engine) PlanJoin(ctx context.Context, j Joining) (_ *plan.Plan, _ []Stats, err error) {
	defer e.begin("plan to join")(&err)
	s, err := e.openJoining(ctx, nil, j)
	if err != nil {
		return nil, nil, err
	}
	defer s.Close()
	p, err := s.plan(ctx)
	return p, s.stats(), err
}

// Join makes the one host in scope a node of a cluster that runs, from that machine itself: the others
// are reached over the network only, and of them it is known what the cluster says. Nothing is removed
// that is wanted no more, and no API object is made but those of the node: that is for a run which knows
// all hosts. It returns when the node is registered, and Ready where the cluster has a pod network.
func (e *Engine) Join(ctx context.Context, j Joining, confirm func(*plan.Plan) error) (_ *plan.Plan, _ []Stats, err error) {
	defer e.begin("join")(&err)
	ctx, locks := holdLocks(ctx)
	defer func() { err = taken(ctx, err) }()
	s, err := e.openJoining(ctx, locks, j)
	if err != nil {
		return nil, nil, err
	}
	defer s.Close()
	if j.Bundle != nil && s.apiUnknown(ctx) == "" { // else the plan says what is wrong
		if err := s.exclude(ctx, j); err != nil {
			return nil, s.stats(), err
		}
	}
	p, err := s.plan(ctx)
	if err != nil {
		return p, s.stats(), err
	}
	if err := confirm(p); err != nil {
		return p, s.stats(), err
	}
	if j.Bundle != nil {
		err = s.joinAsControlPlane(ctx, j)
	} else {
		err = s.joinAsWorker(ctx, j)
	}
	return p, s.stats(), err
}

// joinAsWorker has no key of an authority at hand. The kubelet's client certificate is signed by the
// cluster, before anything is changed; what it serves with, by itself.
func (s *Session) joinAsWorker(ctx context.Context, j Joining) error {
	if err := s.signKubelet(ctx, s.self(), j.API); err != nil {
		return err
	}
	s.rollout = newRollout(s.hosts)
	if err := s.walk(ctx, walk{only: s.Only, hosts: s.hosts}); err != nil {
		return err
	}
	return s.awaitNode(ctx, j.API)
}

// exclude keeps other runs from changing the cluster until this one ends. Etcd is looked at only then: it takes one
// learner at a time, and that of another machine which joins is none of this one's business. What was told of the
// others before may be outdated by the time the Lease is had.
func (s *Session) exclude(ctx context.Context, j Joining) error {
	if err := s.holdLease(ctx); err != nil {
		return err
	}
	client, err := s.chooseAPI(ctx)
	if err != nil {
		return err
	}
	return j.Still(ctx, client)
}

// joinAsControlPlane is an apply that reaches the others over the network.
func (s *Session) joinAsControlPlane(ctx context.Context, j Joining) error {
	if s.lease == nil {
		if err := s.exclude(ctx, j); err != nil {
			return err
		}
	}
	if err := s.apply(ctx); err != nil {
		return err
	}
	client, err := s.chooseAPI(ctx)
	if err != nil {
		return err
	}
	if err := s.awaitNode(ctx, client); err != nil {
		return err
	}
	return j.Tell(ctx, client)
}

// awaitNode waits for the node of the machine.
func (s *Session) awaitNode(ctx context.Context, client *kube.Client) error {
	name := s.self().Name
	condition := client.NodeReady(name)
	if s.Cluster.Network.CNI == "none" {
		condition = client.NodeRegistered(name) // Ready takes a network
	}
	return s.awaitCondition(ctx, "join", name, condition)
}

// self is the machine itself, the one host in scope.
func (s *Session) self() *member { return s.wanted()[0] }

// openJoining looks at the one host in scope, which is to join.
func (e *Engine) openJoining(ctx context.Context, locks *locks, j Joining) (*Session, error) {
	joining := *e
	joining.joins, joining.alone = true, j.Bundle == nil
	if joining.alone {
		joining.Only = map[string]bool{}
		for _, p := range e.Phases {
			joining.Only[p.Name] = p.Desire != nil
		}
	}
	s, err := joining.open(ctx, locks)
	if err != nil {
		return nil, err
	}
	if s.pki = j.Bundle; s.alone {
		s.pki = &certs.Bundle{Kubernetes: j.Authority}
	}
	s.api = newAPI()
	if err := s.mayJoin(ctx, j.API); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// greet finds out what answers on a host that is reached over the network only.
func (s *Session) greet(ctx context.Context, m *member) error {
	ctx, cancel := context.WithTimeout(ctx, peerTimeout)
	defer cancel()
	answers := func(port string) error {
		conn, err := m.conn.Dial(ctx, "tcp", net.JoinHostPort(m.NodeIP.String(), port))
		if err != nil {
			return err
		}
		return conn.Close()
	}
	etcd, api := answers(etcdClientPort), answers(strconv.Itoa(s.Cluster.APIPort))
	m.facts.Foreign.EtcdData = etcd == nil
	if etcd != nil && api != nil {
		return fault.Wrap(fault.Unreachable, errors.Join(etcd, api))
	}
	return nil
}

// unjoinable is the error of a control plane that finds no etcd to join.
func (s *Session) unjoinable() error {
	var unseen []error
	for _, m := range s.hosts {
		if m.neighbour && !m.facts.Foreign.EtcdData {
			unseen = append(unseen, fmt.Errorf("%s (%s): nothing answers on %s/tcp", m.Name, m.NodeIP, etcdClientPort))
		}
	}
	why := fault.New(fault.Unhealthy, "a control plane joins etcd, of which no majority of members answers here").During("join")
	if len(unseen) > 0 {
		why.Err = fmt.Errorf("%w: %w", why.Err, errors.Join(unseen...))
	}
	return why.WithHint("see that etcd is well, and " + openPorts)
}

// mayJoin refuses a machine that is the other kind of node already, or a node of another name, and a name that
// is that of another machine: with a token, the certificate of any node would be signed. One that carries the mark of
// a cluster has begun to join; whether it is this cluster is for a check to say.
func (s *Session) mayJoin(ctx context.Context, api *kube.Client) error {
	m := s.self()
	is := ""
	switch {
	case s.alone && m.keepsAuthorities():
		is = "control plane, and cannot join as a worker"
	case !s.alone && m.isNode() && !m.keepsAuthorities():
		is = "worker, and cannot join as a control plane"
	}
	if is != "" {
		return fault.New(fault.Preflight, "the machine is a %s", is).
			On(m.Name).WithHint("join on another machine; kubewright reset takes this one out of its cluster")
	}
	if joined := m.nodeName(); joined != "" && m.facts.OursMarker != "" {
		if joined == m.Name {
			return nil
		}
		return fault.New(fault.Preflight, "the machine has joined as %s, and a node keeps its name", joined).
			On(m.Name).WithHint("run again with --node-name %s; kubewright reset takes the machine out of its cluster, so that it can join by another name", joined)
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

// nodeName is the name of the node that the kubelet on a host is, "" while it is none.
func (m *member) nodeName() string {
	config, err := certs.ParseKubeconfig(secret.Bytes(m.observed.Files[kubeletConf].Content))
	if err != nil {
		return "" // there is none yet, or it is made anew
	}
	return strings.TrimPrefix(config.User, nodeUser)
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
	wait := s.waitFor(m.Name, "join", "the cluster to sign the kubelet's certificate")
	bounded, cancel := context.WithTimeout(ctx, s.ReadyTimeout)
	defer cancel()
	certificate, err := api.SignKubeletClient(bounded, csr, cmp.Or(request.Lifetime, certs.DefaultLifetime), wait.say)
	wait.done(err)
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
