package engine

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"kubewright/internal/check"
	"kubewright/internal/host"
	"kubewright/internal/kube"
	"kubewright/internal/resource"
	"kubewright/inventory"
)

// endpointTimeout bounds the look at what is at the endpoint. A machine looks three seconds for one in
// its own network that is not there.
const endpointTimeout = 8 * time.Second

// endpoints is where the API servers are to be reached, and what was met there.
func (s *Session) endpoints() check.Endpoints {
	c := s.Cluster
	e := s.met
	e.VIP, e.VIPInterface = c.VIP.Address, c.VIP.Interface
	if c.SharedEndpoint && c.Endpoint.Host != c.VIP.Address.String() {
		e.External, e.NodesUse = c.Endpoint.String(), c.NodeEndpoint == c.Endpoint
	}
	return e
}

// tryEndpoints has the hosts that will go by the user's load balancer, or else the control planes, look
// who answers there; and a control plane, whether somebody has the virtual IP when none of ours has it.
//
// Who looks where is found out at once, for what is known of the hosts changes while they are planned; what
// it returns does the looking.
func (s *Session) tryEndpoints() func(context.Context) {
	if slices.Contains(s.ignored(), check.Endpoint) {
		return func(context.Context) {}
	}
	e := s.endpoints()
	type probe struct {
		from *member
		at   string
		add  func(check.Met)
	}
	var probes []probe
	try := func(m *member, at string, add func(check.Met)) { probes = append(probes, probe{m, at, add}) }
	all := func(met check.Met) { e.Met = append(e.Met, met) }
	for _, m := range s.hosts {
		plane := m.Has(inventory.RoleControlPlane)
		if !m.seen {
			continue
		}
		if e.External != "" && !m.neighbour && (plane || e.NodesUse && m.Has(inventory.RoleWorker)) {
			try(m, e.External, all)
		}
		if e.External != "" && plane && m.keepsAuthorities() {
			try(m, net.JoinHostPort(m.NodeIP.String(), strconv.Itoa(s.Cluster.APIPort)), func(met check.Met) {
				e.Serving = e.Serving || met.Failed == ""
			})
		}
	}
	if m := s.controlPlane(""); m != nil && e.VIP.IsValid() && !s.hasVIP() {
		const sshPort = 22
		for _, port := range []int{s.Cluster.APIPort, sshPort} {
			try(m, net.JoinHostPort(e.VIP.String(), strconv.Itoa(port)), all)
		}
	}
	return func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, endpointTimeout)
		defer cancel()
		var mu sync.Mutex
		var wg sync.WaitGroup
		for _, p := range probes {
			wg.Go(func() {
				met := s.meet(ctx, p.from, p.at)
				mu.Lock()
				defer mu.Unlock()
				p.add(met)
			})
		}
		wg.Wait()
		slices.SortFunc(e.Met, func(a, b check.Met) int {
			return cmp.Or(strings.Compare(a.From, b.From), strings.Compare(a.At, b.At))
		})
		s.met = e
	}
}

// hasVIP tells whether one of our hosts has the virtual IP, or may have it without our knowing.
func (s *Session) hasVIP() bool {
	return slices.ContainsFunc(s.hosts, func(m *member) bool {
		if !m.seen || m.neighbour {
			return m.Has(inventory.RoleControlPlane)
		}
		_, has := m.facts.Interface(s.Cluster.VIP.Address)
		return has
	})
}

// meet connects from a host to an address, and finds out whose server is there.
func (s *Session) meet(ctx context.Context, m *member, at string) check.Met {
	met := check.Met{From: m.Name, At: at}
	conn, err := m.conn.Dial(ctx, "tcp", at)
	if err != nil {
		var unresolved *net.DNSError
		var refused *host.DialError
		met.Unresolved, met.Somebody = errors.As(err, &unresolved), errors.Is(err, syscall.ECONNREFUSED)
		if met.Failed = err.Error(); errors.As(err, &refused) {
			met.Failed = refused.Err.Error()
		}
		return met
	}
	defer func() { _ = conn.Close() }() // nothing was written that could be lost
	met.Somebody = true
	name, _, _ := net.SplitHostPort(at) // it was dialled
	roots := x509.NewCertPool()
	if s.knownID() != "" {
		roots.AppendCertsFromPEM(s.pki.Kubernetes.CertPEM())
	}
	err = tls.Client(conn, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: name}).HandshakeContext(ctx)
	var unverified *tls.CertificateVerificationError
	var plain tls.RecordHeaderError
	switch {
	case errors.As(err, &unverified):
		leaf := unverified.UnverifiedCertificates[0]
		// That it has expired does not make it somebody else's.
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: leaf.NotBefore.Add(time.Second)}); err == nil {
			met.Unnamed = leaf.VerifyHostname(name) != nil
		} else {
			met.Other = s.stranger(ctx, m, at, leaf)
		}
	case errors.As(err, &plain):
		met.Other = "a server that does not speak TLS"
	case err != nil: // a load balancer that has nobody to pass it on to
		met.Failed = "the connection was closed: " + err.Error()
	}
	return met
}

// stranger describes a server that our authority has not signed the certificate of: by the authority of
// its cluster if it is an API server that tells.
func (s *Session) stranger(ctx context.Context, m *member, at string, leaf *x509.Certificate) string {
	config := kube.Config{
		Server: "https://" + at, Dial: m.conn.Dial,
		CAPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw}), // the same server, and no other
	}
	if len(leaf.DNSNames) > 0 {
		config.ServerName = leaf.DNSNames[0]
	}
	if authority, err := kube.ClusterAuthority(ctx, config); err == nil {
		if block, _ := pem.Decode(authority); block != nil {
			return "an API server of another cluster, whose authority is " + fingerprintOf(block.Bytes)
		}
	}
	return fmt.Sprintf("a server with the certificate %s, issued by %q", fingerprintOf(leaf.Raw), leaf.Issuer.CommonName)
}

// fingerprintOf is the fingerprint of a certificate, as authorities are told apart by.
func fingerprintOf(der []byte) string { return "sha256:" + resource.DigestOf(der) }
