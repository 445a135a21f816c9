package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kubewright/internal/secret"
)

func TestNewAuthority(t *testing.T) {
	for _, algorithm := range []KeyAlgorithm{AnyAlgorithm, ECDSAP256, ECDSAP384, RSA2048} {
		t.Run("algorithm "+string(algorithm), func(t *testing.T) {
			authority, err := NewAuthority("kubernetes", algorithm, testEnv())
			if err != nil {
				t.Fatal(err)
			}
			cert := authority.cert
			if err := cert.CheckSignatureFrom(cert); err != nil {
				t.Errorf("it is not signed by itself: %v", err)
			}
			if !cert.IsCA || !cert.BasicConstraintsValid || cert.MaxPathLen != 0 || !cert.MaxPathLenZero {
				t.Errorf("constraints: IsCA=%v MaxPathLen=%d", cert.IsCA, cert.MaxPathLen)
			}
			usage := x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign | x509.KeyUsageCRLSign
			if algorithm == RSA2048 {
				usage |= x509.KeyUsageKeyEncipherment
			}
			if cert.KeyUsage != usage {
				t.Errorf("key usage is %b, want %b", cert.KeyUsage, usage)
			}
			if want := epoch().Add(-5 * time.Minute); !cert.NotBefore.Equal(want) {
				t.Errorf("NotBefore is %s, want %s", cert.NotBefore, want)
			}
			if want := epoch().Add(-5 * time.Minute).Add(3650 * 24 * time.Hour); !authority.NotAfter().Equal(want) {
				t.Errorf("NotAfter is %s, want %s", authority.NotAfter(), want)
			}
			if got := algorithmOf(cert.PublicKey); !algorithm.accepts(got) {
				t.Errorf("key is %s", got)
			}
			// What kubeadm join takes: the digest of the public key, not of the certificate.
			sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
			if want := "sha256:" + hex.EncodeToString(sum[:]); authority.PublicKeyHash() != want {
				t.Errorf("PublicKeyHash is %s, want %s", authority.PublicKeyHash(), want)
			}
			if authority.Fingerprint() == authority.PublicKeyHash() {
				t.Error("the fingerprint must be that of the certificate")
			}
			again, err := ParseAuthority(authority.CertPEM(), authority.KeyPEM())
			if err != nil || !again.equal(authority) {
				t.Errorf("it does not survive encoding: %v", err)
			}
		})
	}
}

func TestAuthorityRefusesToSignAnAuthority(t *testing.T) {
	authority := newTestAuthority(t, "kubernetes")
	sub := sign(t, authority, func(c *x509.Certificate) {
		c.IsCA, c.KeyUsage, c.ExtKeyUsage = true, x509.KeyUsageCertSign, nil
	})
	parsed, err := ParseAuthority(sub.CertPEM, sub.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	pair := issue(t, parsed, serverRequest(), testEnv())
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(authority.cert)
	intermediates.AddCert(parsed.cert)
	_, err = leaf(t, pair).Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: intermediates, CurrentTime: epoch(), DNSName: "server",
	})
	var invalid x509.CertificateInvalidError
	if !errors.As(err, &invalid) || invalid.Reason != x509.TooManyIntermediates {
		t.Errorf("a chain over a subordinate authority verifies: %v", err)
	}
}

func TestNewAuthorityErrors(t *testing.T) {
	tests := []struct {
		name      string
		cn        string
		algorithm KeyAlgorithm
		env       Env
		want      string
	}{
		{"no name", "", ECDSAP256, testEnv(), "it has no common name"},
		{"algorithm", "ca", "DSA-1024", testEnv(), `key algorithm "DSA-1024" is not supported, use one of ECDSA-P256, `},
		{"no time", "ca", ECDSAP256, Env{Rand: rand.Reader}, "Env.Now is not set"},
		{"no randomness", "ca", ECDSAP256, Env{Now: epoch()}, "Env.Rand is not set"},
		{"empty randomness", "ca", ECDSAP256, Env{Now: epoch(), Rand: strings.NewReader("")}, "EOF"},
		{"constant randomness", "ca", ECDSAP256, Env{Now: epoch(), Rand: zeros{}}, "returned hardly any"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := NewAuthority(test.cn, test.algorithm, test.env)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v, want %q", err, test.want)
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestParseAuthorityErrors(t *testing.T) {
	authority, other := newTestAuthority(t, "kubernetes"), newTestAuthority(t, "kubernetes")
	server := issue(t, authority, serverRequest(), testEnv())
	noSign := selfSigned(t, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature })
	tests := []struct {
		name string
		cert []byte
		key  secret.Bytes
		want string
	}{
		{"no certificate", nil, authority.KeyPEM(), "no PEM encoded certificate found"},
		{"no key", authority.CertPEM(), nil, "no PEM encoded private key found"},
		{"key of another", authority.CertPEM(), other.KeyPEM(), `the private key does not belong to certificate "kubernetes"`},
		{"server certificate", server.CertPEM, server.KeyPEM, `certificate "server" is not one of a certificate authority`},
		{"may not sign", noSign.CertPEM, noSign.KeyPEM, `certificate "ca" may not sign certificates`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := ParseAuthority(test.cert, test.key)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v, want %q", err, test.want)
			}
		})
	}
}

func selfSigned(t *testing.T, change func(*x509.Certificate)) Pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := newTestAuthority(t, "ca").cert
	template.PublicKey, template.PublicKeyAlgorithm = nil, 0
	change(template)
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return Pair{CertPEM: pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: der}), KeyPEM: keyPEM}
}

// TestParseAuthorityDuringRotation: the file holds the old and the new authority, in any order.
func TestParseAuthorityDuringRotation(t *testing.T) {
	older, newer := newTestAuthority(t, "kubernetes"), newTestAuthority(t, "kubernetes")
	both := append(older.CertPEM(), newer.CertPEM()...)
	for name, signer := range map[string]*Authority{"first signs": older, "second signs": newer} {
		t.Run(name, func(t *testing.T) {
			authority, err := ParseAuthority(both, signer.KeyPEM())
			if err != nil {
				t.Fatal(err)
			}
			if authority.Fingerprint() != signer.Fingerprint() {
				t.Error("the wrong certificate signs")
			}
			if !bytes.Equal(authority.CertPEM(), both) {
				t.Error("the other certificate is no longer trusted")
			}
			pair := issue(t, authority, serverRequest(), testEnv())
			if err := leaf(t, pair).CheckSignatureFrom(signer.cert); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestParseKeyForms(t *testing.T) {
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8 := func(key any) []byte {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	}
	own := func(key any) []byte {
		var out secret.Bytes
		var err error
		if ec, ok := key.(*ecdsa.PrivateKey); ok {
			out, err = encodeKey(ec)
		} else {
			out, err = encodeKey(rsaKey)
		}
		if err != nil {
			t.Fatal(err)
		}
		return out.Reveal()
	}
	parameters := pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{1}})
	tests := []struct {
		name   string
		data   []byte
		header string
		want   any
	}{
		{"SEC 1", own(ecKey), "BEGIN EC PRIVATE KEY", ecKey.Public()},
		{"SEC 1 after parameters, as openssl writes", append(parameters, own(ecKey)...), "", ecKey.Public()},
		{"PKCS 1", own(rsaKey), "BEGIN RSA PRIVATE KEY", rsaKey.Public()},
		{"PKCS 8 ECDSA", pkcs8(ecKey), "", ecKey.Public()},
		{"PKCS 8 RSA", pkcs8(rsaKey), "", rsaKey.Public()},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if !bytes.Contains(test.data, []byte(test.header)) {
				t.Errorf("the file lacks %q", test.header)
			}
			key, err := parseKey(test.data)
			if err != nil {
				t.Fatal(err)
			}
			if !samePublicKey(key.Public(), test.want) {
				t.Error("another key came back")
			}
		})
	}
}

func TestIssue(t *testing.T) {
	authority := newTestAuthority(t, "kubernetes")
	for _, algorithm := range KeyAlgorithms()[:3] {
		t.Run(string(algorithm), func(t *testing.T) {
			request := serverRequest()
			request.Algorithm, request.Client = algorithm, true
			cert := leaf(t, issue(t, authority, request, testEnv()))
			roots := x509.NewCertPool()
			roots.AddCert(authority.cert)
			for _, name := range []string{"server.example.org", "10.0.0.1", "fd00::1", "[fd00::1]"} {
				for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
					_, err := cert.Verify(x509.VerifyOptions{
						Roots: roots, CurrentTime: epoch(), DNSName: name, KeyUsages: []x509.ExtKeyUsage{usage},
					})
					if err != nil {
						t.Errorf("%s: %v", name, err)
					}
				}
			}
			if got := algorithmOf(cert.PublicKey); got != algorithm {
				t.Errorf("algorithm is %s", got)
			}
			if cert.SerialNumber.Sign() <= 0 || cert.SerialNumber.BitLen() < 64 || len(cert.SerialNumber.Bytes()) > 20 {
				t.Errorf("serial number %d has %d bits", cert.SerialNumber, cert.SerialNumber.BitLen())
			}
			if cert.IsCA || !cert.BasicConstraintsValid {
				t.Error("it must say that it is no authority")
			}
			if want := epoch().Add(-5 * time.Minute); !cert.NotBefore.Equal(want) {
				t.Errorf("NotBefore is %s, want %s", cert.NotBefore, want)
			}
			if want := epoch().Add(365 * 24 * time.Hour); !cert.NotAfter.Equal(want) {
				t.Errorf("NotAfter is %s, want %s", cert.NotAfter, want)
			}
		})
	}
}

func TestIssueGivesEveryCertificateItsOwnKeyAndSerial(t *testing.T) {
	authority := newTestAuthority(t, "kubernetes")
	a := issue(t, authority, serverRequest(), testEnv())
	b := issue(t, authority, serverRequest(), testEnv())
	if a.KeyPEM.Equal(b.KeyPEM) {
		t.Error("both have the same key")
	}
	if leaf(t, a).SerialNumber.Cmp(leaf(t, b).SerialNumber) == 0 {
		t.Error("both have the same serial number")
	}
}

func TestSerialComesFromEnv(t *testing.T) {
	authority := newTestAuthority(t, "kubernetes")
	seeded := func() Env { return Env{Now: epoch(), Rand: strings.NewReader(strings.Repeat("\xff", 64))} }
	got := leaf(t, issue(t, authority, serverRequest(), seeded())).SerialNumber
	if want := "7f" + strings.Repeat("ff", 15); got.Text(16) != want {
		t.Errorf("serial number is %x, want %s", got, want)
	}
}

func TestIssueStaysInsideTheAuthority(t *testing.T) {
	authority := newTestAuthority(t, "kubernetes")
	late := Env{Now: authority.NotAfter().Add(-10 * 24 * time.Hour), Rand: rand.Reader}
	cert := leaf(t, issue(t, authority, serverRequest(), late))
	if !cert.NotAfter.Equal(authority.NotAfter()) {
		t.Errorf("it ends %s, its authority %s", cert.NotAfter, authority.NotAfter())
	}
	pair := issue(t, authority, serverRequest(), late)
	if got := Assess(pair, serverRequest(), authority, late.Now); got.Action != Keep {
		t.Errorf("a certificate cut short by its authority would be issued over and over: %s", got)
	}
	early := Env{Now: authority.cert.NotBefore.Add(time.Minute), Rand: rand.Reader}
	if cert := leaf(t, issue(t, authority, serverRequest(), early)); cert.NotBefore.Before(authority.cert.NotBefore) {
		t.Errorf("it begins %s, before its authority", cert.NotBefore)
	}
}

func TestIssueErrors(t *testing.T) {
	authority := newTestAuthority(t, "kubernetes")
	at := func(now time.Time) Env { return Env{Now: now, Rand: rand.Reader} }
	tests := []struct {
		name   string
		change func(*Request)
		env    Env
		want   []string
	}{
		{"no name", func(r *Request) { r.CommonName = "" }, testEnv(), []string{"it has no common name"}},
		{"no usage", func(r *Request) { r.Server = false }, testEnv(), []string{"neither for a client nor for a server"}},
		{"server without names", func(r *Request) { r.DNSNames, r.IPs = nil, nil }, testEnv(), []string{"at least one name or address"}},
		{"lifetime", func(r *Request) { r.Lifetime = -1 }, testEnv(), []string{"negative lifetime"}},
		{"URL as name", func(r *Request) { r.DNSNames = []string{"https://x"} }, testEnv(), []string{`"https://x" is not a DNS name`}},
		{"empty label", func(r *Request) { r.DNSNames = []string{"a..b"} }, testEnv(), []string{`"a..b" is not a DNS name`}},
		{"underscore", func(r *Request) { r.DNSNames = []string{"a_b"} }, testEnv(), []string{`"a_b" is not a DNS name`}},
		{"zone", func(r *Request) { r.IPs = []netip.Addr{netip.MustParseAddr("fe80::1%eth0")} }, testEnv(),
			[]string{`"fe80::1%eth0" cannot be the address`}},
		{"no address", func(r *Request) { r.IPs = []netip.Addr{{}} }, testEnv(), []string{`"invalid IP" cannot be the address`}},
		{"algorithm", func(r *Request) { r.Algorithm = "RSA-512" }, testEnv(), []string{`"RSA-512" is not supported`}},
		{"all at once", func(r *Request) { *r = Request{Algorithm: "x"} }, testEnv(),
			[]string{"no common name", "neither for a client", `"x" is not supported`}},
		{"expired authority", func(*Request) {}, at(authority.NotAfter()), []string{"expired at 2040-02-27T11:55:00Z"}},
		{"authority of the future", func(*Request) {}, at(epoch().Add(-time.Hour)),
			[]string{"is not valid before 2030-03-01T11:55:00Z; check this machine's clock"}},
		{"no randomness", func(*Request) {}, Env{Now: epoch(), Rand: io.LimitReader(rand.Reader, 3)}, []string{"unexpected EOF"}},
		{"no env", func(*Request) {}, Env{}, []string{"Env.Now is not set"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			request := serverRequest()
			test.change(&request)
			pair, err := authority.Issue(request, test.env)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range append(test.want, `issue certificate "`+request.CommonName+`" by "kubernetes"`) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error is %v, want %q", err, want)
				}
			}
			if !pair.Empty() {
				t.Error("a pair came with the error")
			}
		})
	}
}

func TestWildcardName(t *testing.T) {
	request := serverRequest()
	request.DNSNames = []string{"*.example.org"}
	cert := leaf(t, issue(t, newTestAuthority(t, "kubernetes"), request, testEnv()))
	if err := cert.VerifyHostname("api.example.org"); err != nil {
		t.Error(err)
	}
}

// TestNothingPrintsAKey formats everything that holds a key in every way a log would.
func TestNothingPrintsAKey(t *testing.T) {
	bundle, err := GenerateBundle(ECDSAP256, testEnv())
	if err != nil {
		t.Fatal(err)
	}
	pair := issue(t, bundle.Kubernetes, serverRequest(), testEnv())
	private := bundle.Kubernetes.key.(*ecdsa.PrivateKey)
	raw, err := private.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	number := hex.EncodeToString(raw)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q"} {
		for _, value := range []any{bundle, *bundle, bundle.Kubernetes, pair, bundle.Files(), Kubeconfig{Client: pair}} {
			out := fmt.Sprintf(verb, value)
			if strings.Contains(out, "PRIVATE KEY") || strings.Contains(out, number) ||
				strings.Contains(out, hex.EncodeToString([]byte("PRIVATE KEY"))) {
				t.Errorf("%s of %T prints a private key", verb, value)
			}
		}
	}
	if got := fmt.Sprint(bundle.Kubernetes); got != "authority kubernetes ("+bundle.Kubernetes.Fingerprint()+")" {
		t.Errorf("authority prints as %s", got)
	}
	if got := fmt.Sprint((*Authority)(nil)); got != "no authority" {
		t.Errorf("nil prints as %s", got)
	}
}

func TestAuthorityGivesCopies(t *testing.T) {
	authority := newTestAuthority(t, "kubernetes")
	clear(authority.CertPEM())
	clear(authority.KeyPEM())
	if diff := cmp.Diff([]byte("-----BEGIN"), authority.CertPEM()[:10]); diff != "" {
		t.Error(diff)
	}
	if _, err := parseKey(authority.KeyPEM()); err != nil {
		t.Error(err)
	}
}

// equal reports whether both have the same certificate and key; PEM spelling does not matter.
func (a *Authority) equal(b *Authority) bool {
	return bytes.Equal(a.cert.Raw, b.cert.Raw) && samePublicKey(a.key.Public(), b.key.Public())
}
