package certs

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// trusted is an authority whose key is elsewhere.
func trusted(t *testing.T, authority *Authority) *Authority {
	t.Helper()
	got, err := TrustAuthority(authority.CertPEM())
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// An authority without its key tells what it has signed as well as with it, and signs nothing.
func TestTrustAuthority(t *testing.T) {
	authority := newTestAuthority(t, "kubernetes")
	got := trusted(t, authority)
	switch {
	case got.Signs() || !authority.Signs():
		t.Errorf("it signs: %v; with its key: %v", got.Signs(), authority.Signs())
	case got.Fingerprint() != authority.Fingerprint(), got.PublicKeyHash() != authority.PublicKeyHash(), !bytes.Equal(got.CertPEM(), authority.CertPEM()):
		t.Errorf("it is another authority: %v, want %v", got, authority)
	case len(got.KeyPEM()) > 0:
		t.Error("it has a key")
	}
	if pair, err := got.Issue(serverRequest(), testEnv()); err == nil || !strings.Contains(err.Error(), "private key of the certificate authority is not here") || !pair.Empty() {
		t.Errorf("it issues: %v", err)
	}
	good := issue(t, authority, serverRequest(), testEnv())
	if verdict := Assess(good, serverRequest(), got, epoch()); verdict.Action != Keep {
		t.Errorf("what it has signed: %s", verdict)
	}
	stranger := issue(t, newTestAuthority(t, "kubernetes"), serverRequest(), testEnv())
	if verdict := Assess(stranger, serverRequest(), got, epoch()); verdict.Action != Issue {
		t.Errorf("what another of its name has signed: %s", verdict)
	}
	next := newTestAuthority(t, "next")
	both, err := TrustAuthority(slices.Concat(authority.CertPEM(), next.CertPEM()))
	if err != nil || both.Fingerprint() != authority.Fingerprint() || !bytes.Contains(both.CertPEM(), next.CertPEM()) {
		t.Errorf("of two the first counts, and both are kept: %v, %v", both, err)
	}
}

func TestTrustAuthorityErrors(t *testing.T) {
	authority := newTestAuthority(t, "kubernetes")
	for want, text := range map[string][]byte{
		"no PEM encoded certificate":            []byte("x"),
		"is not one of a certificate authority": issue(t, authority, serverRequest(), testEnv()).CertPEM,
		"may not sign certificates":             sign(t, authority, func(c *x509.Certificate) { c.IsCA = true }).CertPEM,
		"no PEM encoded certificate found":      nil,
	} {
		if got, err := TrustAuthority(text); got != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// A certificate that signs itself is as good as one of an authority but for that.
func TestSelfSigned(t *testing.T) {
	request := serverRequest()
	pair, err := SelfSigned(request, testEnv())
	if err != nil {
		t.Fatal(err)
	}
	if verdict := AssessSelfSigned(pair, request, epoch()); verdict.Action != Keep {
		t.Errorf("%s", verdict)
	}
	cert := leaf(t, pair)
	if cert.IsCA || cert.KeyUsage&x509.KeyUsageCertSign != 0 {
		t.Error("it is an authority")
	}
	authority := newTestAuthority(t, "kubernetes")
	if verdict := Assess(pair, request, authority, epoch()); verdict.String() != `issue: issued by "server", want "kubernetes"` {
		t.Errorf("by the authority: %s", verdict)
	}
	for name, test := range map[string]struct {
		pair   Pair
		change func(*Request)
		now    time.Time
		want   string
	}{
		"missing":         {want: "issue: missing"},
		"of an authority": {pair: issue(t, authority, request, testEnv()), want: `issue: issued by "kubernetes", want it signed by itself`},
		"other names":     {pair: pair, change: func(r *Request) { r.DNSNames = []string{"server"} }, want: "issue: alternative name DNS:server.example.org is not wanted"},
		"old":             {pair: pair, now: epoch().Add(300 * day), want: "renew: expires at "},
	} {
		wanted, now := serverRequest(), epoch()
		if test.change != nil {
			test.change(&wanted)
		}
		if !test.now.IsZero() {
			now = test.now
		}
		if verdict := AssessSelfSigned(test.pair, wanted, now); !strings.HasPrefix(verdict.String(), test.want) {
			t.Errorf("%s: %s, want %s", name, verdict, test.want)
		}
	}
}

// A request asks for the subject, and is signed with the key that it comes with.
func TestSigningRequest(t *testing.T) {
	request := serverRequest()
	text, key, err := SigningRequest(request, testEnv())
	if err != nil {
		t.Fatal(err)
	}
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE REQUEST" || len(rest) > 0 {
		t.Fatalf("it is no request: %s", text)
	}
	asked, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	private, err := parseKey(key)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(asked.Subject.Organization)
	if asked.CheckSignature() != nil || !samePublicKey(asked.PublicKey, private.Public()) || asked.Subject.CommonName != "server" ||
		fmt.Sprint(asked.Subject.Organization) != "[group-a group-b]" || len(asked.DNSNames)+len(asked.IPAddresses) > 0 {
		t.Errorf("it asks for %+v", asked.Subject)
	}
}

func TestElsewhereErrors(t *testing.T) {
	for want, change := range map[string]func(*Request, *Env){
		"no common name":            func(r *Request, _ *Env) { r.CommonName = "" },
		"Env.Now is not set":        func(_ *Request, e *Env) { e.Now = time.Time{} },
		`"ROT-13" is not supported`: func(r *Request, _ *Env) { r.Algorithm = "ROT-13" },
	} {
		request, env := serverRequest(), testEnv()
		change(&request, &env)
		if _, err := SelfSigned(request, env); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("self-signed: %v, want %s", err, want)
		}
		if _, _, err := SigningRequest(request, env); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("request: %v, want %s", err, want)
		}
	}
}
