package engine

import (
	"errors"
	"fmt"
	"strings"

	"kubewright/certs"
	"kubewright/internal/fault"
	"kubewright/internal/secret"
	"kubewright/inventory"
)

// PKIDir is where a control plane keeps the cluster's authorities: kubeadm's layout.
const PKIDir = "/etc/kubernetes/pki"

// adopt finds the cluster's authorities on its control planes. New ones are made only
// when every control plane was looked at and none has a trace of a cluster: an
// authority that is made twice is a cluster that is lost.
func (s *Session) adopt() error {
	found := map[string]certs.HostFiles{}
	var unseen, etcd []string
	for _, m := range s.hosts {
		switch {
		case !m.Has(inventory.RoleControlPlane):
		case m.observed == nil:
			unseen = append(unseen, m.Name)
		default:
			found[m.Name] = caFiles(m)
			if m.facts.Foreign.EtcdData {
				etcd = append(etcd, m.Name)
			}
		}
	}
	bundle, err := certs.Adopt(found)
	var partial *certs.PartialError
	if errors.As(err, &partial) && len(etcd) == 0 && s.begunByUs(partial.Host) {
		bundle, err = certs.Complete(found[partial.Host], certs.KeyAlgorithm(s.Cluster.KeyAlgorithm), s.env())
	}
	if err != nil {
		return &fault.Error{Kind: fault.Preflight, Op: "certificate authorities", Err: err}
	}
	if bundle != nil {
		s.pki = bundle
		if err := s.keepsData(); err != nil {
			return err
		}
		return s.sameMembers(etcd)
	}
	switch {
	case len(etcd) > 0:
		return fault.New(fault.Preflight, "%s: no certificate authority in %s, but etcd has data in /var/lib/etcd",
			strings.Join(etcd, ", "), PKIDir).WithHint("restore %s from a backup; a new authority would cut the cluster off from its data", PKIDir)
	case len(unseen) > 0:
		return fault.New(fault.Unreachable, "no control plane that answered has a certificate authority, and %s did not answer", strings.Join(unseen, ", ")).
			WithHint("a new cluster is begun only when every control plane is reached")
	}
	s.newPKI = true
	s.pki, err = certs.GenerateBundle(certs.KeyAlgorithm(s.Cluster.KeyAlgorithm), s.env())
	return err
}

// keepsData refuses to prune a member's data: a host that is a control plane no more has
// it still, and is a member for the others until it is removed as one.
func (s *Session) keepsData() error {
	for _, m := range s.wanted() {
		if m.observed == nil || m.Has(inventory.RoleControlPlane) || !m.facts.Foreign.EtcdData {
			continue
		}
		if _, ours := m.observed.Manifest["tree:/var/lib/etcd"]; ours {
			return fault.New(fault.Preflight, "it is no control plane any more, but has the data of a member of etcd in /var/lib/etcd, and taking the role from a host is not supported yet").
				On(m.Name).WithHint("give %s the role control-plane back, or reset the host", m.Name)
		}
	}
	return nil
}

// sameMembers refuses a control plane that is new beside members of a running etcd: it
// would start a cluster of its own. Adding one is a change of membership, which kubewright
// does not make yet.
func (s *Session) sameMembers(withData []string) error {
	if len(withData) == 0 {
		return nil
	}
	for _, m := range s.hosts {
		if m.Has(inventory.RoleControlPlane) && m.observed != nil && !m.facts.Foreign.EtcdData && len(m.observed.Manifest) == 0 {
			return fault.New(fault.Preflight, "it is not a member of the etcd that runs on %s, and adding control planes to a running cluster is not supported yet", strings.Join(withData, ", ")).
				On(m.Name).WithHint("take %s out of the inventory", m.Name)
		}
	}
	return nil
}

func caFiles(m *member) certs.HostFiles {
	files := certs.HostFiles{}
	for _, name := range certs.BundleFiles() {
		if f, ok := m.observed.Files[PKIDir+"/"+name]; ok && f.HasContent {
			files[name] = secret.Bytes(f.Content)
		}
	}
	return files
}

// begunByUs tells whether an interrupted run of ours was writing the host's authorities.
func (s *Session) begunByUs(name string) bool {
	for _, m := range s.hosts {
		if m.Name != name || m.observed == nil {
			continue
		}
		for _, file := range certs.BundleFiles() {
			if _, ok := m.observed.Manifest["file:"+PKIDir+"/"+file]; ok {
				return true
			}
		}
	}
	return false
}

// clusterID names the cluster for ever: the fingerprint of its CA.
func (s *Session) clusterID() string { return s.pki.Kubernetes.Fingerprint() }

// operatorPair is a short-lived administrator certificate that exists in memory only.
func (s *Session) operatorPair() (certs.Pair, error) {
	pair, err := s.pki.Kubernetes.Issue(certs.SuperAdminRequest(operatorLifetime), s.env())
	if err != nil {
		return certs.Pair{}, fmt.Errorf("issue the operator's certificate: %w", err)
	}
	return pair, nil
}
