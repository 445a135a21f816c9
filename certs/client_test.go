package certs

import (
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestCheckClient(t *testing.T) {
	ca := newTestAuthority(t, "somebody's")
	for name, tt := range map[string]struct {
		change func(*x509.Certificate)
		want   string // in the error; "" for a good one
		soon   bool
	}{
		"good":             {func(*x509.Certificate) {}, "", false},
		"for all purposes": {func(c *x509.Certificate) { c.ExtKeyUsage = nil }, "", false},
		"for any purpose":  {func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }, "", false},
		"for servers":      {func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }, "clientAuth is missing", false},
		"a month is left":  {func(c *x509.Certificate) { c.NotAfter = epoch().Add(31 * day) }, "", false},
		"less is left":     {func(c *x509.Certificate) { c.NotAfter = epoch().Add(29 * day) }, "", true},
		"of a short life": {func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = epoch().Add(-time.Hour), epoch().Add(time.Hour)
		}, "", false},
		"near the end of a short life": {func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = epoch().Add(-4*time.Hour), epoch().Add(time.Hour)
		}, "", true},
		"expired":   {func(c *x509.Certificate) { c.NotAfter = epoch() }, "expired at 2030-03-01T12:00:00Z", false},
		"of future": {func(c *x509.Certificate) { c.NotBefore = epoch().Add(time.Hour) }, "is not valid before 2030-03-01T13:00:00Z", false},
	} {
		t.Run(name, func(t *testing.T) {
			pair := sign(t, ca, func(c *x509.Certificate) {
				c.NotBefore, c.NotAfter = epoch().Add(-400*day), epoch().Add(400*day)
				c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
				tt.change(c)
			})
			chain := slices.Concat(pair.CertPEM, ca.CertPEM())
			got, err := CheckClient(chain, epoch())
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error is %v, want %q", err, tt.want)
				}
				return
			}
			if err != nil || got.Soon != tt.soon || got.At.Before(epoch()) {
				t.Errorf("%+v, %v", got, err)
			}
			if err := CheckKey(Pair{CertPEM: chain, KeyPEM: pair.KeyPEM}); err != nil {
				t.Error(err)
			}
		})
	}
	if _, err := CheckClient([]byte("no PEM"), epoch()); err == nil {
		t.Error("a file without a certificate is accepted")
	}
}

func TestCheckAuthorities(t *testing.T) {
	ca, other := newTestAuthority(t, "one"), newTestAuthority(t, "other")
	both := slices.Concat(ca.CertPEM(), other.CertPEM())
	if got, err := CheckAuthorities(both, epoch()); err != nil || got.Soon || !got.At.Equal(epoch().Add(AuthorityLifetime-Backdate)) {
		t.Errorf("%+v, %v", got, err)
	}
	client := issue(t, ca, Request{CommonName: "client", Client: true}, testEnv())
	for name, tt := range map[string]struct {
		data []byte
		now  time.Time
		want string
	}{
		"nothing":              {nil, epoch(), "no PEM encoded certificate"},
		"a key":                {client.KeyPEM, epoch(), "no PEM encoded certificate"},
		"a client among them":  {slices.Concat(both, client.CertPEM), epoch(), `"client" is not that of an authority`},
		"one that has expired": {both, epoch().Add(AuthorityLifetime), "expired at"},
	} {
		if _, err := CheckAuthorities(tt.data, tt.now); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error is %v, want %q", name, err, tt.want)
		}
	}
}

func TestCheckKey(t *testing.T) {
	ca := newTestAuthority(t, "somebody's")
	a := issue(t, ca, Request{CommonName: "a", Client: true}, testEnv())
	b := issue(t, ca, Request{CommonName: "b", Client: true}, testEnv())
	for name, tt := range map[string]struct {
		pair Pair
		want string
	}{
		"of another":     {Pair{CertPEM: a.CertPEM, KeyPEM: b.KeyPEM}, "the key does not belong to the certificate"},
		"none":           {Pair{CertPEM: a.CertPEM, KeyPEM: a.CertPEM}, "no PEM encoded private key"},
		"no certificate": {Pair{CertPEM: []byte("x"), KeyPEM: a.KeyPEM}, "no PEM encoded certificate"},
		"encrypted": {Pair{CertPEM: a.CertPEM, KeyPEM: []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")},
			"encrypted with a passphrase"},
	} {
		if err := CheckKey(tt.pair); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error is %v, want %q", name, err, tt.want)
		}
	}
}

// A cluster whose etcd is somebody else's has no authority for it: what is in its place is left.
func TestBundleWithoutEtcd(t *testing.T) {
	bundle, err := GenerateBundle(ECDSAP256, testEnv(), EtcdCA)
	if err != nil || bundle.Etcd != nil {
		t.Fatalf("authority of etcd: %v, %v", bundle.Etcd, err)
	}
	files := HostFiles{"etcd/ca.crt": []byte("somebody's, of many lines")}
	var names []string
	for _, f := range bundle.Files() {
		files[f.Name] = f.Content
		names = append(names, f.Name)
	}
	if want := BundleFiles(EtcdCA); !slices.Equal(names, want) || slices.ContainsFunc(want, func(n string) bool { return strings.HasPrefix(n, "etcd/") }) {
		t.Errorf("files %v, want %v", names, want)
	}
	adopted, err := Adopt(map[string]HostFiles{"cp1": files, "cp2": {}}, EtcdCA)
	if err != nil || adopted == nil || adopted.Etcd != nil || adopted.Kubernetes.Fingerprint() != bundle.Kubernetes.Fingerprint() {
		t.Errorf("adopted %v, %v", adopted, err)
	}
	if _, err := Adopt(map[string]HostFiles{"cp1": files}); err == nil {
		t.Error("a bundle that lacks the authority of etcd is whole")
	}
}
