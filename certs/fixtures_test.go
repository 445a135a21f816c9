package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/netip"
	"testing"
	"time"
)

// epoch is the time at which the tests' certificates are issued.
func epoch() time.Time { return time.Date(2030, 3, 1, 12, 0, 0, 0, time.UTC) }

func testEnv() Env { return Env{Now: epoch(), Rand: rand.Reader} }

func newTestAuthority(t *testing.T, name string) *Authority {
	t.Helper()
	authority, err := NewAuthority(name, ECDSAP256, testEnv())
	if err != nil {
		t.Fatal(err)
	}
	return authority
}

func issue(t *testing.T, authority *Authority, request Request, env Env) Pair {
	t.Helper()
	pair, err := authority.Issue(request, env)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func leaf(t *testing.T, pair Pair) *x509.Certificate {
	t.Helper()
	all, err := parseCertificates(pair.CertPEM)
	if err != nil {
		t.Fatal(err)
	}
	return all[0]
}

// serverRequest is the request that the drift tests start from.
func serverRequest() Request {
	return Request{
		CommonName:   "server",
		Organization: []string{"group-b", "group-a"},
		DNSNames:     []string{"server", "server.example.org"},
		IPs:          []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")},
		Server:       true,
		Algorithm:    ECDSAP256,
	}
}

// sign signs a certificate that Issue would refuse to make.
func sign(t *testing.T, authority *Authority, change func(*x509.Certificate)) Pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template, err := serverRequest().template(key, testEnv())
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(42)
	change(template)
	der, err := x509.CreateCertificate(rand.Reader, template, authority.cert, key.Public(), authority.key)
	if err != nil {
		t.Fatal(err)
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return Pair{CertPEM: pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: der}), KeyPEM: keyPEM}
}
