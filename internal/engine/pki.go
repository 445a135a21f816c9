package engine

import (
	"errors"
	"fmt"
	"strings"

	"kubewright/certs"
	"kubewright/internal/fault"
	"kubewright/internal/plan"
	"kubewright/internal/resource"
	"kubewright/internal/secret"
	"kubewright/inventory"
)

// PKIDir is where a control plane keeps the cluster's authorities: kubeadm's layout.
const PKIDir = "/etc/kubernetes/pki"

// adopt finds the cluster's authorities on its control planes. New ones are made only
// when every control plane was looked at and no host has a trace of a cluster: an
// authority that is made twice is a cluster that is lost.
func (s *Session) adopt() error {
	if s.pki != nil {
		return nil // they were brought along
	}
	if err := s.notElsewhere(); err != nil {
		return err
	}
	found := map[string]certs.HostFiles{}
	var unseen []string
	var errs []error
	for _, m := range s.hosts {
		if !m.Has(inventory.RoleControlPlane) {
			continue
		}
		if m.observed == nil {
			unseen = append(unseen, m.Name)
			continue
		}
		files, err := s.caFiles(m)
		errs = append(errs, err)
		if !s.unfinished(m, files) {
			found[m.Name] = files
		}
	}
	bundle, err := certs.Adopt(found, s.Cluster.ForeignAuthorities()...)
	if err := errors.Join(append(errs, err)...); err != nil {
		return &fault.Error{Kind: fault.Preflight, Op: "certificate authorities", Err: err}
	}
	if bundle != nil {
		s.pki = bundle
		return s.keepsData()
	}
	if err := s.untouched(); err != nil {
		return err
	}
	if len(unseen) > 0 {
		return fault.New(fault.Unreachable, "no control plane that answered has a certificate authority, and %s did not answer", strings.Join(unseen, ", ")).
			WithHint("a new cluster is begun only when every control plane is reached")
	}
	s.newPKI = true
	s.pki, err = certs.GenerateBundle(certs.KeyAlgorithm(s.Cluster.KeyAlgorithm), s.env(), s.Cluster.ForeignAuthorities()...)
	return err
}

// unfinished tells whether a run of ours was cut while it wrote the first authorities of
// a cluster to this host. Nothing was signed by them: they are on all control planes
// before anything else is on any host. So they may be replaced.
func (s *Session) unfinished(m *member, files certs.HostFiles) bool {
	begun, all := false, certs.BundleFiles(s.Cluster.ForeignAuthorities()...)
	for _, name := range all {
		_, ours := m.observed.Manifest[string(resource.FileID(PKIDir+"/"+name))]
		begun = begun || ours
	}
	return begun && len(files) < len(all) &&
		m.facts.OursMarker == "" && m.facts.Foreign.KubeletCA == "" && !m.facts.Foreign.EtcdData
}

// untouched refuses hosts that know a cluster whose authorities no control plane has: new
// ones would cut them off from it.
func (s *Session) untouched() error {
	if phase, err := s.authorityPhase(); err != nil || phase == "" {
		return err // these phases have no authorities, and did not look for any
	}
	var errs []error
	for _, m := range s.hosts {
		if m.observed == nil {
			continue
		}
		var traces []string
		if m.facts.Foreign.EtcdData {
			traces = append(traces, "data of etcd in /var/lib/etcd")
		}
		if name, id, ok := m.facts.Marker(); ok {
			traces = append(traces, fmt.Sprintf("the mark of cluster %s (%s)", name, id))
		}
		if m.facts.Foreign.KubeletCA != "" {
			traces = append(traces, "a kubelet of the authority "+m.facts.Foreign.KubeletCA)
		}
		if m.facts.Foreign.CAFingerprint != "" && !m.Has(inventory.RoleControlPlane) {
			traces = append(traces, "the certificate of the authority "+m.facts.Foreign.CAFingerprint)
		}
		if len(traces) > 0 {
			errs = append(errs, fault.New(fault.Preflight, "no control plane has a certificate authority in %s, but the host carries %s", PKIDir, strings.Join(traces, " and ")).
				On(m.Name).WithHint("restore %s on a control plane from a backup; to begin anew, reset these hosts first: a new authority would cut them off from their cluster", PKIDir))
		}
	}
	return errors.Join(errs...)
}

// beginsWhole refuses to begin a cluster in a run that would not put the authorities on
// every control plane: they have to be there before a host is given what they have signed,
// and before a member of etcd starts. Nor without a member that has a host for itself: the others
// would wait for it.
func (s *Session) beginsWhole() error {
	if s.joins {
		return nil // the cluster runs
	}
	var bare, apart []*member
	for _, m := range s.hosts {
		if m.seen && (m.facts.Foreign.EtcdData || s.Cluster.ExternalEtcd.Used() && m.noted() != "") {
			return nil // it has begun
		}
		switch plane := m.Has(inventory.RoleControlPlane); {
		case plane && (s.newPKI || !m.seen || !m.keepsAuthorities()):
			bare = append(bare, m)
		case !plane && m.Has(inventory.RoleEtcd):
			apart = append(apart, m)
		}
	}
	phase, err := s.authorityPhase()
	if err != nil || phase == "" {
		return err
	}
	const all = "a new cluster begins with its authorities on all control planes, and with all members of etcd"
	if len(bare) > 0 && s.Only != nil && !s.Only[phase] {
		return fault.New(fault.BadInput, "%s, and --phase leaves out %s", all, phase).WithHint("run without --phase first")
	}
	for _, m := range append(bare, apart...) {
		if !m.wanted {
			return fault.New(fault.BadInput, "%s, and --limit leaves out %s", all, m.Name).WithHint("run without --limit first, or add the control planes and the members of etcd to it")
		}
	}
	return nil
}

// authorityPhase names the phase that puts the authorities on control planes.
func (s *Session) authorityPhase() (string, error) {
	for _, h := range s.Cluster.Select(inventory.ControlPlanes) {
		groups, err := plan.Desired(s.Phases, s.Cluster, plan.Target{Host: h})
		if err != nil {
			return "", err
		}
		for _, g := range groups {
			for _, r := range g.Resources {
				if r.ID() == resource.FileID(PKIDir+"/ca.key") {
					return g.Phase, nil
				}
			}
		}
	}
	return "", nil
}

// keepsData refuses to prune a member's data, or to begin elsewhere without it: a host that is no
// member of etcd any more has it still, and is one for the others until it is removed as one.
func (s *Session) keepsData() error {
	for _, m := range s.hosts {
		if m.observed == nil || m.Name == s.leaving || m.Has(inventory.RoleEtcd) || !m.hasMemberData() {
			continue
		}
		return fault.New(fault.Preflight, "it has the role etcd no more, but the data of a member in /var/lib/etcd; "+
			"taking the role from a host, or moving etcd to other hosts, is not supported yet").
			On(m.Name).WithHint("give %s its roles back; what takes a host out together with its member is kubewright node remove", m.Name)
	}
	return nil
}

// hasMemberData tells whether the data of a member of ours is on the host, whatever its roles are by now.
func (m *member) hasMemberData() bool {
	_, ours := m.observed.Manifest["tree:/var/lib/etcd"]
	return ours && m.facts.Foreign.EtcdData
}

// keepsAuthorities tells whether we have put the authorities on the host.
func (m *member) keepsAuthorities() bool {
	if m.neighbour {
		return m.seen && m.Has(inventory.RoleControlPlane)
	}
	_, ok := m.observed.Manifest[string(resource.FileID(PKIDir+"/ca.key"))]
	return ok
}

// caFiles are the authorities' files on a host. One that is there and has no content (a
// link that leads nowhere, a folder) is not a missing one.
func (s *Session) caFiles(m *member) (certs.HostFiles, error) {
	files := certs.HostFiles{}
	var errs []error
	for _, name := range certs.BundleFiles(s.Cluster.ForeignAuthorities()...) {
		f, ok := m.observed.Files[PKIDir+"/"+name]
		switch {
		case ok && f.HasContent:
			files[name] = secret.Bytes(f.Content)
		case ok && f.Exists:
			errs = append(errs, fmt.Errorf("host %s: %s/%s is there and cannot be read as a file", m.Name, PKIDir, name))
		}
	}
	return files, errors.Join(errs...)
}

// clusterID names the cluster for ever: the fingerprint of its CA.
func (s *Session) clusterID() string { return s.pki.Kubernetes.Fingerprint() }

// knownID is the cluster's ID where its hosts know it: "" before they have its CA.
func (s *Session) knownID() string {
	if s.newPKI || s.pki == nil {
		return ""
	}
	return s.clusterID()
}

// operatorPair is a short-lived administrator certificate that exists in memory only.
func (s *Session) operatorPair() (certs.Pair, error) {
	pair, err := s.pki.Kubernetes.Issue(certs.SuperAdminRequest(operatorLifetime), s.env())
	if err != nil {
		return certs.Pair{}, fmt.Errorf("issue the operator's certificate: %w", err)
	}
	return pair, nil
}
