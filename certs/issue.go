package certs

import (
	"cmp"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"kubewright/internal/secret"
)

// Request says what a certificate must be.
type Request struct {
	// CommonName is the subject's name: the user name of a client.
	CommonName string
	// Organization lists the subject's organizations: the groups of a client.
	Organization []string
	// DNSNames and IPs are the names and addresses a server answers under.
	DNSNames []string
	IPs      []netip.Addr
	// Client and Server are the extended key usages; at least one is needed.
	Client, Server bool
	// Algorithm is the kind of key. AnyAlgorithm issues ECDSA P-256 and accepts every supported one.
	Algorithm KeyAlgorithm
	// Lifetime is how long the certificate is valid; 0 means DefaultLifetime.
	Lifetime time.Duration
}

// Pair is a certificate and its private key, both PEM encoded.
type Pair struct {
	CertPEM []byte
	KeyPEM  secret.Bytes
}

// Empty reports whether nothing was found of either file.
func (p Pair) Empty() bool { return len(p.CertPEM) == 0 && len(p.KeyPEM) == 0 }

// Issue creates a new key and signs a certificate for it. It is valid from Backdate before env.Now,
// for the wanted lifetime, but never longer than the authority itself.
func (a *Authority) Issue(request Request, env Env) (Pair, error) {
	fail := func(err error) (Pair, error) {
		return Pair{}, fmt.Errorf("issue certificate %q by %q: %w", request.CommonName, a.CommonName(), err)
	}
	if err := env.validate(); err != nil {
		return fail(err)
	}
	if err := request.validate(); err != nil {
		return fail(err)
	}
	if !a.Signs() {
		return fail(errors.New("the private key of the certificate authority is not here"))
	}
	if !env.Now.Before(a.cert.NotAfter) {
		return fail(fmt.Errorf("the certificate authority expired at %s; replace it before issuing",
			a.cert.NotAfter.UTC().Format(time.RFC3339)))
	}
	if env.Now.Before(a.cert.NotBefore) {
		return fail(fmt.Errorf("the certificate authority is not valid before %s; check this machine's clock",
			a.cert.NotBefore.UTC().Format(time.RFC3339)))
	}
	key, err := newKey(request.Algorithm, env.Rand)
	if err != nil {
		return fail(err)
	}
	template, err := request.template(key, env)
	if err != nil {
		return fail(err)
	}
	if template.NotBefore.Before(a.cert.NotBefore) {
		template.NotBefore = a.cert.NotBefore
	}
	if template.NotAfter.After(a.cert.NotAfter) {
		template.NotAfter = a.cert.NotAfter
	}
	pair, err := signer{a.cert, a.key}.sign(template, key, env)
	if err != nil {
		return fail(err)
	}
	return pair, nil
}

// SelfSigned creates a new key and a certificate that it signs itself: what serves until the
// authority, whose key is elsewhere, has issued another.
func SelfSigned(request Request, env Env) (Pair, error) {
	fail := func(err error) (Pair, error) {
		return Pair{}, fmt.Errorf("self-signed certificate %q: %w", request.CommonName, err)
	}
	if err := errors.Join(env.validate(), request.validate()); err != nil {
		return fail(err)
	}
	key, err := newKey(request.Algorithm, env.Rand)
	if err != nil {
		return fail(err)
	}
	template, err := request.template(key, env)
	if err != nil {
		return fail(err)
	}
	pair, err := signer{template, key}.sign(template, key, env)
	if err != nil {
		return fail(err)
	}
	return pair, nil
}

// SigningRequest creates a new key and asks for a certificate for it, as PEM (PKCS #10): for an authority whose key is
// elsewhere. Only the subject is asked for; what else the certificate is to be is said beside it.
func SigningRequest(request Request, env Env) (requestPEM []byte, key secret.Bytes, err error) {
	fail := func(err error) ([]byte, secret.Bytes, error) {
		return nil, nil, fmt.Errorf("request for certificate %q: %w", request.CommonName, err)
	}
	if err := errors.Join(env.validate(), request.validate()); err != nil {
		return fail(err)
	}
	private, err := newKey(request.Algorithm, env.Rand)
	if err != nil {
		return fail(err)
	}
	der, err := x509.CreateCertificateRequest(env.Rand, &x509.CertificateRequest{Subject: request.subject()}, private)
	if err != nil {
		return fail(err)
	}
	if key, err = encodeKey(private); err != nil {
		return fail(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemRequest, Bytes: der}), key, nil
}

// signer is who signs certificates, an authority or what signs itself.
type signer struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// sign makes the certificate of a key.
func (s signer) sign(template *x509.Certificate, key crypto.Signer, env Env) (Pair, error) {
	der, err := x509.CreateCertificate(env.Rand, template, s.cert, key.Public(), s.key)
	if err != nil {
		return Pair{}, err
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return Pair{}, err
	}
	return Pair{CertPEM: pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: der}), KeyPEM: keyPEM}, nil
}

// template describes the certificate to sign.
func (r Request) template(key crypto.Signer, env Env) (*x509.Certificate, error) {
	serial, err := env.serial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               r.subject(),
		NotBefore:             env.Now.Add(-Backdate).UTC(),
		NotAfter:              env.Now.Add(r.lifetime()).UTC(),
		KeyUsage:              keyUsage(key.Public()),
		ExtKeyUsage:           r.usages(),
		BasicConstraintsValid: true,
		DNSNames:              dnsNames(r.DNSNames),
	}
	for _, ip := range addresses(r.IPs) {
		template.IPAddresses = append(template.IPAddresses, ip.AsSlice())
	}
	return template, nil
}

func (r Request) subject() pkix.Name {
	return pkix.Name{CommonName: r.CommonName, Organization: slices.Clone(r.Organization)}
}

// validate reports every fault of the request at once.
func (r Request) validate() error {
	var faults []error
	if r.CommonName == "" {
		faults = append(faults, errors.New("it has no common name"))
	}
	if !r.Client && !r.Server {
		faults = append(faults, errors.New("it is neither for a client nor for a server"))
	}
	if r.Server && len(r.DNSNames)+len(r.IPs) == 0 {
		faults = append(faults, errors.New("a server needs at least one name or address"))
	}
	if r.Lifetime < 0 {
		faults = append(faults, fmt.Errorf("negative lifetime %s", r.Lifetime))
	}
	for _, name := range r.DNSNames {
		if !validDNSName(name) {
			faults = append(faults, fmt.Errorf("%q is not a DNS name", name))
		}
	}
	for _, ip := range r.IPs {
		if !ip.IsValid() || ip.Zone() != "" {
			faults = append(faults, fmt.Errorf("%q cannot be the address of a server", ip))
		}
	}
	faults = append(faults, r.Algorithm.Validate())
	return errors.Join(faults...)
}

func (r Request) lifetime() time.Duration { return cmp.Or(r.Lifetime, DefaultLifetime) }

func (r Request) usages() []x509.ExtKeyUsage {
	var usages []x509.ExtKeyUsage
	if r.Server {
		usages = append(usages, x509.ExtKeyUsageServerAuth)
	}
	if r.Client {
		usages = append(usages, x509.ExtKeyUsageClientAuth)
	}
	return usages
}

// dnsNames returns the names in lower case, sorted, each once: comparing and issuing use one form.
func dnsNames(names []string) []string {
	out := make([]string, 0, len(names))
	for _, name := range names {
		out = append(out, strings.ToLower(name))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// addresses returns the addresses sorted, each once, IPv4 in its short form.
func addresses(ips []netip.Addr) []netip.Addr {
	out := make([]netip.Addr, 0, len(ips))
	for _, ip := range ips {
		out = append(out, ip.Unmap())
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}

// validDNSName accepts RFC 1123 host names and a leading wildcard label.
func validDNSName(name string) bool {
	if len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimPrefix(name, "*."), ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, r := range label {
			if r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') {
				return false
			}
		}
	}
	return true
}
