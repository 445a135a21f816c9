package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kubewright/certs"
	"kubewright/internal/fault"
	"kubewright/internal/kube"
	"kubewright/internal/report"
	"kubewright/inventory"
)

// Verify checks the cluster from the inside: nodes, API servers, kubelets, names and pods,
// seen from every node in the scope. Unless it is to be quick, or the scope is not the whole cluster, what is enabled is
// tried as well, with objects that are deleted again. Its verdict is in the checks; the error says that
// they could not be made.
func (e *Engine) Verify(ctx context.Context, patience time.Duration, quick bool) (_ []kube.Check, _ []Stats, err error) {
	defer e.begin("verify")(&err)
	s, err := e.existing(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer s.Close()
	checks, err := s.verify(ctx, patience)
	if err == nil && !quick && len(s.wanted()) == len(s.Cluster.Hosts) && s.Cluster.Network.CNI != "none" {
		var tried []kube.Check
		tried, err = s.try(ctx, patience)
		checks = append(checks, tried...)
	}
	return checks, s.stats(), err
}

// try makes the checks that need pods of their own.
func (s *Session) try(ctx context.Context, patience time.Duration) ([]kube.Check, error) {
	client, err := s.chooseAPI(ctx)
	if err != nil {
		return nil, err
	}
	in := trialOf(s.Cluster)
	in.Timeout, in.Nodes = max(trialTimeout, patience), s.verifyNodes()
	return client.Try(ctx, in), ctx.Err()
}

func (s *Session) verify(ctx context.Context, patience time.Duration) ([]kube.Check, error) {
	client, err := s.chooseAPI(ctx)
	if err != nil {
		return nil, err
	}
	network := s.Cluster.Network
	in := kube.VerifyInput{
		DNSServiceIP: network.DNSServiceIP, APIServiceIP: network.APIServiceIP,
		DNSDomain: network.DNSDomain, APIPort: s.Cluster.APIPort, Patience: patience, Nodes: s.verifyNodes(),
	}
	return append(s.verifyEtcd(ctx), client.Verify(ctx, in)...), nil
}

// verifyNodes are the nodes in the scope, and the ways to them.
func (s *Session) verifyNodes() []kube.VerifyNode {
	var nodes []kube.VerifyNode
	for _, m := range s.wanted() {
		if inventory.Nodes(m.Host) {
			nodes = append(nodes, kube.VerifyNode{Name: m.Name, IP: m.NodeIP, ControlPlane: m.Has(inventory.RoleControlPlane), Dial: s.dialVia(m)})
		}
	}
	return nodes
}

// verifyPatience is how long an apply repeats a failing check: endpoints and routes of what
// just became available take a moment to be everywhere.
const verifyPatience = time.Minute

// verifyPhase is the end of an apply: what was made is checked, not believed.
func (s *Session) verifyPhase(ctx context.Context, phase string) error {
	if s.Cluster.Network.CNI == "none" {
		s.emit(report.Event{Kind: report.Notice, Phase: phase, Message: "not checked: without a network plugin no pod has a network"})
		return nil
	}
	checks, err := s.verify(ctx, verifyPatience)
	if err != nil {
		return err
	}
	s.emit(report.Event{Kind: report.Notice, Phase: phase, Message: fmt.Sprintf("%d functional checks from %d hosts", len(checks), len(s.wanted()))})
	return Unhealthy(checks)
}

// kubeconfigLifetime is that of a fetched administrator certificate.
const kubeconfigLifetime = 365 * 24 * time.Hour

// Kubeconfig makes a kubeconfig for an administrator, with a certificate of its own: it
// can be thrown away without touching the one on the control plane.
func (e *Engine) Kubeconfig(ctx context.Context) ([]byte, error) {
	s, err := e.existing(ctx)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	const user = "kubernetes-admin"
	pair, err := s.pki.Kubernetes.Issue(certs.Request{
		CommonName: user, Organization: []string{certs.ClusterAdminsGroup}, Client: true,
		Algorithm: certs.KeyAlgorithm(e.Cluster.KeyAlgorithm), Lifetime: kubeconfigLifetime,
	}, s.env())
	if err != nil {
		return nil, err
	}
	content, err := certs.Kubeconfig{
		Server: e.Cluster.Endpoint.URL(), ClusterName: e.Cluster.Name, User: user,
		CAPEM: s.pki.Kubernetes.CertPEM(), Client: pair,
	}.Encode()
	return content.Reveal(), err
}

// WithAPI gives do a client of an API server that is ready, through the connection to its host.
func (e *Engine) WithAPI(ctx context.Context, do func(context.Context, *kube.Client) error) error {
	s, err := e.existing(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	client, err := s.chooseAPI(ctx)
	if err != nil {
		return err
	}
	return do(ctx, client)
}

// existing opens a session with a cluster that must be there already.
func (e *Engine) existing(ctx context.Context) (*Session, error) {
	s, err := e.open(ctx, nil)
	if err != nil {
		return nil, err
	}
	s.api = newAPI()
	err = s.adopt()
	if err == nil && s.newPKI {
		err = fault.New(fault.Unhealthy, "there is no cluster on these hosts").WithHint("make one with kubewright apply")
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Unhealthy turns failed checks into an error.
func Unhealthy(checks []kube.Check) error {
	var errs []error
	for _, c := range checks {
		if !c.OK {
			errs = append(errs, fault.New(fault.Unhealthy, "%s: %s", c.Name, c.Detail).On(c.Node))
		}
	}
	return errors.Join(errs...)
}
