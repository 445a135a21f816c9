package certs

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kubewright/internal/secret"
)

// TestAssessDrift changes one thing at a time: every case must give its own reason and no other.
func TestAssessDrift(t *testing.T) {
	authority := newTestAuthority(t, "kubernetes")
	twin := newTestAuthority(t, "kubernetes")
	stranger := newTestAuthority(t, "stranger")
	good := issue(t, authority, serverRequest(), testEnv())
	other := issue(t, authority, serverRequest(), testEnv())

	with := func(change func(*Request)) Pair {
		request := serverRequest()
		change(&request)
		return issue(t, authority, request, testEnv())
	}
	lateEnv := testEnv()
	lateEnv.Now = epoch().Add(time.Hour)
	rsa := with(func(r *Request) { r.Algorithm = RSA2048 })

	tests := []struct {
		name string
		pair Pair
		want string
	}{
		{"missing", Pair{}, "missing"},
		{"certificate missing", Pair{KeyPEM: good.KeyPEM}, "certificate file is missing"},
		{"key missing", Pair{CertPEM: good.CertPEM}, "key file is missing"},
		{"certificate garbage", Pair{CertPEM: []byte("x"), KeyPEM: good.KeyPEM},
			"certificate file is unusable: no PEM encoded certificate found"},
		{"certificate truncated", Pair{CertPEM: good.CertPEM[:len(good.CertPEM)/2], KeyPEM: good.KeyPEM},
			"certificate file is unusable: no PEM encoded certificate found"},
		{"certificate broken inside", Pair{CertPEM: breakBlock(t, good.CertPEM), KeyPEM: good.KeyPEM},
			"certificate file is unusable: parse certificate: "},
		{"key garbage", Pair{CertPEM: good.CertPEM, KeyPEM: secret.Bytes("x")},
			"key file is unusable: no PEM encoded private key found"},
		{"key broken inside", Pair{CertPEM: good.CertPEM, KeyPEM: breakBlock(t, good.KeyPEM)},
			"key file is unusable: the private key cannot be parsed"},
		{"key encrypted", Pair{CertPEM: good.CertPEM, KeyPEM: pem.EncodeToMemory(
			&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")})},
			"key file is unusable: the private key is encrypted with a passphrase"},
		{"key of another certificate", Pair{CertPEM: good.CertPEM, KeyPEM: other.KeyPEM},
			"the key does not belong to the certificate"},
		{"key of another type", Pair{CertPEM: good.CertPEM, KeyPEM: rsa.KeyPEM},
			"the key does not belong to the certificate"},
		{"other issuer", issue(t, stranger, serverRequest(), testEnv()), `issued by "stranger", want "kubernetes"`},
		{"other issuer of the same name", issue(t, twin, serverRequest(), testEnv()),
			`names "kubernetes" as its issuer but was not signed by ` + authority.Fingerprint()},
		{"common name", with(func(r *Request) { r.CommonName = "somebody" }), `common name is "somebody", want "server"`},
		{"organization missing", with(func(r *Request) { r.Organization = []string{"group-a"} }),
			`organization is ["group-a"], want ["group-a" "group-b"]`},
		{"organization extra", with(func(r *Request) { r.Organization = append(r.Organization, "system:masters") }),
			`organization is ["group-a" "group-b" "system:masters"], want ["group-a" "group-b"]`},
		{"organization none", with(func(r *Request) { r.Organization = nil }),
			`organization is [], want ["group-a" "group-b"]`},
		{"authority instead of leaf", sign(t, authority, func(c *x509.Certificate) { c.IsCA = true }),
			"it is a certificate authority"},
		{"DNS name missing", with(func(r *Request) { r.DNSNames = r.DNSNames[:1] }),
			"alternative name DNS:server.example.org is missing"},
		{"DNS name extra", with(func(r *Request) { r.DNSNames = append(r.DNSNames, "old.example.org") }),
			"alternative name DNS:old.example.org is not wanted"},
		{"IPv4 missing", with(func(r *Request) { r.IPs = r.IPs[1:] }), "alternative name IP:10.0.0.1 is missing"},
		{"IPv6 missing", with(func(r *Request) { r.IPs = r.IPs[:1] }), "alternative name IP:fd00::1 is missing"},
		{"IP extra", with(func(r *Request) { r.IPs = append(r.IPs, netip.MustParseAddr("192.0.2.7")) }),
			"alternative name IP:192.0.2.7 is not wanted"},
		{"address as DNS name only", with(func(r *Request) { r.DNSNames = append(r.DNSNames, "10.0.0.2") }),
			"alternative name DNS:10.0.0.2 is not wanted"},
		{"mail address", sign(t, authority, func(c *x509.Certificate) { c.EmailAddresses = []string{"a@example.org"} }),
			"alternative name email:a@example.org is not wanted"},
		{"URI", sign(t, authority, func(c *x509.Certificate) {
			c.URIs = []*url.URL{{Scheme: "spiffe", Host: "example.org"}}
		}), "alternative name URI:spiffe://example.org is not wanted"},
		{"usage extra", with(func(r *Request) { r.Client = true }), "extended key usage client is not wanted"},
		{"usage any", sign(t, authority, func(c *x509.Certificate) {
			c.ExtKeyUsage = append(c.ExtKeyUsage, x509.ExtKeyUsageAny)
		}), "extended key usage any is not wanted"},
		{"usage missing", sign(t, authority, func(c *x509.Certificate) { c.ExtKeyUsage = nil }),
			"extended key usage server is missing"},
		{"key usage", sign(t, authority, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }),
			"key usage digital signature is missing"},
		{"algorithm", rsa, "key algorithm is RSA-2048, want ECDSA-P256"},
		{"curve", with(func(r *Request) { r.Algorithm = ECDSAP384 }), "key algorithm is ECDSA-P384, want ECDSA-P256"},
		{"not yet valid", issue(t, authority, serverRequest(), lateEnv), "not valid before 2030-03-01T12:55:00Z"},
		{"valid too long", with(func(r *Request) { r.Lifetime = 800 * day }), "valid for another 800 days, want at most 365 days"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := Assess(test.pair, serverRequest(), authority, epoch())
			if got.Action != Issue {
				t.Errorf("action is %s, want issue", got.Action)
			}
			if len(got.Reasons) != 1 || !strings.HasPrefix(got.Reasons[0], test.want) {
				t.Errorf("reasons are %q, want only %q", got.Reasons, test.want)
			}
		})
	}
}

func TestAssessKeeps(t *testing.T) {
	authority := newTestAuthority(t, "kubernetes")
	bundle, err := ParseAuthority(append(newTestAuthority(t, "older").CertPEM(), authority.CertPEM()...), authority.KeyPEM())
	if err != nil {
		t.Fatal(err)
	}
	good := issue(t, authority, serverRequest(), testEnv())
	with := func(change func(*Request)) Request {
		request := serverRequest()
		change(&request)
		return request
	}
	tests := []struct {
		name    string
		pair    Pair
		request Request
		issuer  *Authority
		now     time.Time
	}{
		{"as issued", good, serverRequest(), authority, epoch()},
		{"clock five minutes behind", good, serverRequest(), authority, epoch().Add(-Backdate)},
		{"almost three quarters of its life", good, serverRequest(), authority, epoch().Add(273 * day)},
		{"names in other order and case", good, with(func(r *Request) {
			r.DNSNames = []string{"SERVER.example.org", "server", "server"}
		}), authority, epoch()},
		{"IPv4 address written as IPv6", good, with(func(r *Request) {
			r.IPs = []netip.Addr{netip.MustParseAddr("::ffff:10.0.0.1"), netip.MustParseAddr("fd00::1")}
		}), authority, epoch()},
		{"organizations in other order", good, with(func(r *Request) {
			r.Organization = []string{"group-a", "group-b"}
		}), authority, epoch()},
		{"any algorithm", good, with(func(r *Request) { r.Algorithm = AnyAlgorithm }), authority, epoch()},
		{"authority file with two certificates", good, serverRequest(), bundle, epoch()},
		{"certificate and key in one file", Pair{
			CertPEM: bytes.Join([][]byte{good.KeyPEM.Reveal(), good.CertPEM}, nil),
			KeyPEM:  bytes.Join([][]byte{good.CertPEM, good.KeyPEM.Reveal()}, nil),
		}, serverRequest(), authority, epoch()},
		{"chain after the certificate", Pair{
			CertPEM: bytes.Join([][]byte{good.CertPEM, authority.CertPEM()}, nil), KeyPEM: good.KeyPEM,
		}, serverRequest(), authority, epoch()},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := Assess(test.pair, test.request, test.issuer, test.now)
			if diff := cmp.Diff(Verdict{Action: Keep}, got); diff != "" {
				t.Errorf("verdict (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAssessTime(t *testing.T) {
	authority := newTestAuthority(t, "kubernetes")
	short := serverRequest()
	short.Lifetime = 2 * time.Minute
	year := issue(t, authority, serverRequest(), testEnv())
	minutes := issue(t, authority, short, testEnv())
	// kubeadm starts the life of everything it signs with the life of its authority.
	old := sign(t, authority, func(c *x509.Certificate) { c.NotBefore = epoch().Add(-3 * 365 * day) })

	tests := []struct {
		name    string
		pair    Pair
		request Request
		now     time.Time
		want    Action
		reason  string
	}{
		{"year, a quarter and a day", year, serverRequest(), epoch().Add(365*day - 365*day/4 - day), Keep, ""},
		{"year, a quarter less an hour", year, serverRequest(), epoch().Add(365*day - 365*day/4 + time.Hour), Renew,
			"expires at 2031-03-01T12:00:00Z, in 91 days: less than a quarter of its life is left"},
		{"year, last second", year, serverRequest(), epoch().Add(365*day - time.Second), Renew,
			"expires at 2031-03-01T12:00:00Z, in 1s: less than a quarter of its life is left"},
		{"year, over", year, serverRequest(), epoch().Add(365 * day), Renew, "expired at 2031-03-01T12:00:00Z"},
		{"two minutes, new", minutes, short, epoch(), Keep, ""},
		{"two minutes, one left", minutes, short, epoch().Add(time.Minute), Keep, ""},
		{"two minutes, a little left", minutes, short, epoch().Add(100 * time.Second), Renew,
			"expires at 2030-03-01T12:02:00Z, in 20s: less than a quarter of its life is left"},
		{"begun with the authority, new", old, serverRequest(), epoch(), Keep, ""},
		{"begun with the authority, near its end", old, serverRequest(), epoch().Add(300 * day), Renew,
			"expires at 2031-03-01T12:00:00Z, in 65 days: less than a quarter of its life is left"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			want := Verdict{Action: test.want}
			if test.reason != "" {
				want.Reasons = []string{test.reason}
			}
			if diff := cmp.Diff(want, Assess(test.pair, test.request, authority, test.now)); diff != "" {
				t.Errorf("verdict (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAssessListsEveryReason(t *testing.T) {
	authority := newTestAuthority(t, "kubernetes")
	request := serverRequest()
	request.CommonName, request.DNSNames = "other", []string{"other"}
	pair := issue(t, newTestAuthority(t, "kubernetes"), request, testEnv())
	got := Assess(pair, serverRequest(), authority, epoch().Add(400*day))
	for _, part := range []string{
		"was not signed by", "common name", "DNS:server is missing", "DNS:server.example.org is missing",
		"DNS:other is not wanted", "expired at",
	} {
		if !strings.Contains(got.String(), part) {
			t.Errorf("verdict lacks %q: %s", part, got)
		}
	}
	if got.Action != Issue {
		t.Errorf("action is %s: drift must win over renewal", got.Action)
	}
}

func TestWeakKeysAreNotAnyAlgorithm(t *testing.T) {
	for _, weak := range []KeyAlgorithm{"RSA-1024", "ECDSA-P224", "ed25519.PublicKey"} {
		if AnyAlgorithm.accepts(weak) {
			t.Errorf("%s is accepted", weak)
		}
	}
}

// breakBlock keeps the PEM form and spoils what is inside.
func breakBlock(t *testing.T, data []byte) []byte {
	t.Helper()
	block, _ := pem.Decode(data)
	if block == nil {
		t.Fatal("not PEM")
	}
	block.Bytes = block.Bytes[:len(block.Bytes)-4]
	return pem.EncodeToMemory(block)
}
