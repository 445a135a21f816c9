package certs

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

// soon is the most that a certificate of somebody else has left when that is worth a word; of one that
// lives for a shorter time than four times that, a quarter of its life is.
const soon = 30 * day

// Expiry is the end of a certificate that somebody else has issued and has to renew.
type Expiry struct {
	// At is when the first of the certificates in a file ends.
	At time.Time
	// Soon says that it is time to renew it.
	Soon bool
}

// CheckAuthorities says what keeps the certificates in a file from being those of authorities that
// others are trusted by, at some time. At the zero Time, nothing is asked of when they are valid.
func CheckAuthorities(data []byte, now time.Time) (Expiry, error) {
	all, err := parseCertificates(data)
	if err != nil {
		return Expiry{}, err
	}
	for _, c := range all {
		// A server's own certificate is as good, if it is signed by itself.
		if !c.IsCA && !bytes.Equal(c.RawIssuer, c.RawSubject) {
			return Expiry{}, fmt.Errorf("the certificate %q is not that of an authority", c.Subject.CommonName)
		}
	}
	return expiry(all, now)
}

// CheckClient says what keeps a certificate in a file, whose key is elsewhere, from being that of a
// client, at some time, or at the zero Time at any. What follows it in the file, its authorities, is
// not looked at.
func CheckClient(data []byte, now time.Time) (Expiry, error) {
	return checkUse(data, now, x509.ExtKeyUsageClientAuth, "is not for clients: the extended key usage clientAuth is missing")
}

// CheckServer is CheckClient for the certificate of a server.
func CheckServer(data []byte, now time.Time) (Expiry, error) {
	return checkUse(data, now, x509.ExtKeyUsageServerAuth, "is not for servers: the extended key usage serverAuth is missing")
}

func checkUse(data []byte, now time.Time, usage x509.ExtKeyUsage, without string) (Expiry, error) {
	all, err := parseCertificates(data)
	if err != nil {
		return Expiry{}, err
	}
	c := all[0]
	usable := slices.Contains(c.ExtKeyUsage, usage) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny) ||
		len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) == 0 // which is for all purposes (RFC 5280, 4.2.1.12)
	if !usable {
		return Expiry{}, fmt.Errorf("the certificate %q %s", c.Subject.CommonName, without)
	}
	return expiry(all[:1], now)
}

// CheckKey says what keeps the key of a pair, whose certificate is good, from being the one that belongs
// to it. It shows nothing of the key.
func CheckKey(pair Pair) error {
	all, err := parseCertificates(pair.CertPEM)
	if err != nil {
		return err
	}
	key, err := parseKey(pair.KeyPEM)
	if err != nil {
		return err
	}
	if !samePublicKey(all[0].PublicKey, key.Public()) {
		return errors.New("the key does not belong to the certificate")
	}
	return nil
}

// expiry refuses certificates that are not valid now.
func expiry(all []*x509.Certificate, now time.Time) (Expiry, error) {
	first := slices.MinFunc(all, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) })
	if now.IsZero() {
		return Expiry{At: first.NotAfter}, nil
	}
	for _, c := range all {
		if now.Before(c.NotBefore) {
			return Expiry{}, fmt.Errorf("the certificate %q is not valid before %s", c.Subject.CommonName, c.NotBefore.UTC().Format(time.RFC3339))
		}
	}
	left := first.NotAfter.Sub(now)
	if left <= 0 {
		return Expiry{}, fmt.Errorf("the certificate %q expired at %s", first.Subject.CommonName, first.NotAfter.UTC().Format(time.RFC3339))
	}
	return Expiry{At: first.NotAfter, Soon: left < min(soon, first.NotAfter.Sub(first.NotBefore)/4)}, nil
}
