package certs

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"time"

	"kubewright/internal/secret"
)

const (
	day = 24 * time.Hour

	// AuthorityLifetime is how long a new certificate authority is valid.
	AuthorityLifetime = 3650 * day
	// DefaultLifetime is how long an issued certificate is valid when the request does not say.
	DefaultLifetime = 365 * day
	// Backdate is how far in the past a new certificate's life begins.
	Backdate = 5 * time.Minute
)

// Env is what a pure package cannot have of its own.
type Env struct {
	// Now is the time at which certificates are issued.
	Now time.Time
	// Rand is the source of serial numbers; crypto/rand.Reader outside of tests.
	Rand io.Reader
}

func (e Env) validate() error {
	if e.Now.IsZero() {
		return errors.New("certs: Env.Now is not set")
	}
	if e.Rand == nil {
		return errors.New("certs: Env.Rand is not set")
	}
	return nil
}

// serial returns a positive random number of 127 bits.
func (e Env) serial() (*big.Int, error) {
	var raw [16]byte
	if _, err := io.ReadFull(e.Rand, raw[:]); err != nil {
		return nil, fmt.Errorf("read randomness for a serial number: %w", err)
	}
	raw[0] &= 0x7f
	serial := new(big.Int).SetBytes(raw[:])
	if serial.BitLen() < 64 {
		return nil, errors.New("the source of randomness returned hardly any")
	}
	return serial, nil
}

// Authority is a certificate authority, with its private key where that is at hand. It is immutable
// and safe for concurrent use.
type Authority struct {
	cert    *x509.Certificate
	key     crypto.Signer
	certPEM []byte
	keyPEM  secret.Bytes
}

// Format writes the subject and fingerprint only: package fmt would print the key otherwise.
func (a *Authority) Format(f fmt.State, _ rune) {
	if a == nil {
		_, _ = io.WriteString(f, "no authority")
		return
	}
	_, _ = fmt.Fprintf(f, "authority %s (%s)", a.cert.Subject.CommonName, a.Fingerprint())
}

// NewAuthority creates a self-signed certificate authority that is valid for AuthorityLifetime.
func NewAuthority(commonName string, algorithm KeyAlgorithm, env Env) (*Authority, error) {
	fail := func(err error) (*Authority, error) {
		return nil, fmt.Errorf("create certificate authority %q: %w", commonName, err)
	}
	if err := env.validate(); err != nil {
		return fail(err)
	}
	if commonName == "" {
		return fail(errors.New("it has no common name"))
	}
	key, err := newKey(algorithm, env.Rand)
	if err != nil {
		return fail(err)
	}
	serial, err := env.serial()
	if err != nil {
		return fail(err)
	}
	notBefore := env.Now.Add(-Backdate).UTC()
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: commonName},
		// kubeadm names its authorities here too: some verifiers look nowhere else.
		DNSNames:              []string{commonName},
		NotBefore:             notBefore,
		NotAfter:              notBefore.Add(AuthorityLifetime),
		KeyUsage:              keyUsage(key.Public()) | x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLen:            0,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(env.Rand, template, template, key.Public(), key)
	if err != nil {
		return fail(err)
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return fail(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: der})
	return ParseAuthority(certPEM, keyPEM)
}

// ParseAuthority reads a certificate authority. The certificate file may hold several certificates,
// as it does while an authority is being replaced: the one that belongs to the key signs, and the
// others are kept in CertPEM. An expired authority is parsed, but does not issue.
func ParseAuthority(certPEM []byte, keyPEM secret.Bytes) (*Authority, error) {
	all, err := parseCertificates(certPEM)
	if err != nil {
		return nil, err
	}
	key, err := parseKey(keyPEM)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(c *x509.Certificate) bool { return samePublicKey(c.PublicKey, key.Public()) })
	if i < 0 {
		return nil, fmt.Errorf("the private key does not belong to certificate %q", all[0].Subject.CommonName)
	}
	if err := checkAuthority(all[i]); err != nil {
		return nil, err
	}
	return &Authority{cert: all[i], key: key, certPEM: bytes.Clone(certPEM), keyPEM: bytes.Clone(keyPEM)}, nil
}

// TrustAuthority reads a certificate authority whose private key is elsewhere: it tells what the
// authority has signed, and issues nothing. Of several certificates the first counts, as where the
// fingerprint of an authority is read from its file on a host.
func TrustAuthority(certPEM []byte) (*Authority, error) {
	all, err := parseCertificates(certPEM)
	if err != nil {
		return nil, err
	}
	if err := checkAuthority(all[0]); err != nil {
		return nil, err
	}
	return &Authority{cert: all[0], certPEM: bytes.Clone(certPEM)}, nil
}

// checkAuthority refuses the certificate of anything else.
func checkAuthority(cert *x509.Certificate) error {
	if !cert.BasicConstraintsValid || !cert.IsCA {
		return fmt.Errorf("certificate %q is not one of a certificate authority", cert.Subject.CommonName)
	}
	if cert.KeyUsage != 0 && cert.KeyUsage&x509.KeyUsageCertSign == 0 {
		return fmt.Errorf("certificate %q may not sign certificates (key usage)", cert.Subject.CommonName)
	}
	return nil
}

// Signs tells whether the authority's private key is at hand.
func (a *Authority) Signs() bool { return a.key != nil }

// CertPEM returns the certificate file: the authority's certificate and any others it was read with.
func (a *Authority) CertPEM() []byte { return bytes.Clone(a.certPEM) }

// KeyPEM returns the private key.
func (a *Authority) KeyPEM() secret.Bytes { return bytes.Clone(a.keyPEM) }

// CommonName returns the name of the authority's subject.
func (a *Authority) CommonName() string { return a.cert.Subject.CommonName }

// NotAfter returns the end of the authority's life.
func (a *Authority) NotAfter() time.Time { return a.cert.NotAfter }

// Fingerprint returns the SHA-256 digest of the certificate, as "sha256:" and 64 hexadecimal digits.
func (a *Authority) Fingerprint() string { return fingerprint(a.cert.Raw) }

// PublicKeyHash returns the SHA-256 digest of the public key (its SubjectPublicKeyInfo) in the form
// that kubeadm's --discovery-token-ca-cert-hash takes.
func (a *Authority) PublicKeyHash() string { return fingerprint(a.cert.RawSubjectPublicKeyInfo) }

// PublicKeyHashes returns what Authority.PublicKeyHash does, of each certificate in a file whose keys are
// elsewhere.
func PublicKeyHashes(certPEM []byte) ([]string, error) {
	all, err := parseCertificates(certPEM)
	if err != nil {
		return nil, err
	}
	var hashes []string
	for _, cert := range all {
		hashes = append(hashes, fingerprint(cert.RawSubjectPublicKeyInfo))
	}
	return hashes, nil
}

// keyUsage returns what a key of this type is used for in TLS: only RSA keys encipher others.
func keyUsage(public crypto.PublicKey) x509.KeyUsage {
	if _, ok := public.(*rsa.PublicKey); ok {
		return x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
	}
	return x509.KeyUsageDigitalSignature
}

func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return "sha256:" + hex.EncodeToString(sum[:])
}
