package certs

import (
	"fmt"
	"slices"

	"kubewright/internal/secret"
)

// AuthorityName names one of the cluster's authorities by the base name of its files.
type AuthorityName string

// The authorities of a cluster, in kubeadm's file names below /etc/kubernetes/pki.
const (
	KubernetesCA AuthorityName = "ca"
	FrontProxyCA AuthorityName = "front-proxy-ca"
	EtcdCA       AuthorityName = "etcd/ca"
)

const (
	serviceAccountKey    = "sa.key"
	serviceAccountPublic = "sa.pub"
)

// commonName returns the subject that kubeadm gives the authority.
func (n AuthorityName) commonName() string {
	switch n {
	case KubernetesCA:
		return "kubernetes"
	case EtcdCA:
		return "etcd-ca"
	default:
		return string(n)
	}
}

func authorityNames(without ...AuthorityName) []AuthorityName {
	return slices.DeleteFunc([]AuthorityName{KubernetesCA, FrontProxyCA, EtcdCA}, func(n AuthorityName) bool { return slices.Contains(without, n) })
}

// Bundle is everything that must be the same on all control-plane hosts: the three authorities and
// the key pair that signs service account tokens.
type Bundle struct {
	Kubernetes *Authority
	FrontProxy *Authority
	// Etcd is nil where etcd is somebody else's.
	Etcd *Authority
	// ServiceAccount holds the PUBLIC key in CertPEM: no certificate belongs to it.
	ServiceAccount Pair
}

// File is a file of the PKI directory.
type File struct {
	// Name is relative to /etc/kubernetes/pki.
	Name string
	// Mode is the permission bits, as kubeadm sets them: 0600 for keys, 0644 for certificates.
	Mode uint32
	// Content is the whole file.
	Content secret.Bytes
}

// HostFiles holds the bundle's files as found on one host: name relative to /etc/kubernetes/pki
// to content. A file that does not exist is not in the map; other names are ignored.
type HostFiles map[string]secret.Bytes

// BundleFiles lists the names of the files a Bundle is kept in, relative to /etc/kubernetes/pki, if
// it is without some authorities.
func BundleFiles(without ...AuthorityName) []string {
	var names []string
	for _, authority := range authorityNames(without...) {
		names = append(names, string(authority)+".crt", string(authority)+".key")
	}
	return append(names, serviceAccountKey, serviceAccountPublic)
}

// GenerateBundle creates new authorities, without those that are somebody else's, and a new service
// account key.
func GenerateBundle(algorithm KeyAlgorithm, env Env, without ...AuthorityName) (*Bundle, error) {
	bundle := &Bundle{}
	for _, name := range authorityNames(without...) {
		authority, err := NewAuthority(name.commonName(), algorithm, env)
		if err != nil {
			return nil, err
		}
		bundle.set(name, authority)
	}
	var err error
	bundle.ServiceAccount, err = newServiceAccount(algorithm, env)
	return bundle, err
}

// Authority returns the authority of that name, nil when there is no such name.
func (b *Bundle) Authority(name AuthorityName) *Authority {
	switch name {
	case KubernetesCA:
		return b.Kubernetes
	case FrontProxyCA:
		return b.FrontProxy
	case EtcdCA:
		return b.Etcd
	default:
		return nil
	}
}

func (b *Bundle) set(name AuthorityName, authority *Authority) {
	switch name {
	case KubernetesCA:
		b.Kubernetes = authority
	case FrontProxyCA:
		b.FrontProxy = authority
	case EtcdCA:
		b.Etcd = authority
	}
}

// Files returns the files of the bundle, of the authorities that it has, in the order of BundleFiles.
func (b *Bundle) Files() []File {
	var files []File
	for _, name := range authorityNames() {
		authority := b.Authority(name)
		if authority == nil {
			continue
		}
		files = append(files,
			File{Name: string(name) + ".crt", Mode: 0o644, Content: authority.CertPEM()},
			File{Name: string(name) + ".key", Mode: 0o600, Content: authority.KeyPEM()})
	}
	return append(files,
		File{Name: serviceAccountKey, Mode: 0o600, Content: b.ServiceAccount.KeyPEM},
		File{Name: serviceAccountPublic, Mode: 0o600, Content: b.ServiceAccount.CertPEM})
}

// parseServiceAccount reads the service account key pair and checks that the halves match. A public
// half that does not exist is derived: it is no loss.
func parseServiceAccount(files HostFiles) (Pair, error) {
	key, err := parseKey(files[serviceAccountKey])
	if err != nil {
		return Pair{}, err
	}
	if _, ok := files[serviceAccountPublic]; !ok {
		public, err := encodePublicKey(key.Public())
		return Pair{CertPEM: public, KeyPEM: slices.Clone(files[serviceAccountKey])}, err
	}
	public, err := parsePublicKey(files[serviceAccountPublic])
	if err != nil {
		return Pair{}, err
	}
	if !samePublicKey(key.Public(), public) {
		return Pair{}, fmt.Errorf("%s is not the public half of %s", serviceAccountPublic, serviceAccountKey)
	}
	return Pair{CertPEM: slices.Clone(files[serviceAccountPublic].Reveal()), KeyPEM: slices.Clone(files[serviceAccountKey])}, nil
}

func newServiceAccount(algorithm KeyAlgorithm, env Env) (Pair, error) {
	if err := env.validate(); err != nil {
		return Pair{}, err
	}
	key, err := newKey(algorithm, env.Rand)
	if err != nil {
		return Pair{}, fmt.Errorf("create the service account key: %w", err)
	}
	public, err := encodePublicKey(key.Public())
	if err != nil {
		return Pair{}, err
	}
	private, err := encodeKey(key)
	if err != nil {
		return Pair{}, err
	}
	return Pair{CertPEM: public, KeyPEM: private}, nil
}
