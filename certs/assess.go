package certs

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Action is what has to happen to a certificate.
type Action int

const (
	// Keep: the certificate is what the request asks for.
	Keep Action = iota
	// Issue: nothing usable was found, or what was found differs from the request.
	Issue
	// Renew: everything is as requested, but too little time is left.
	Renew
)

// String returns the action as a plan prints it.
func (a Action) String() string {
	switch a {
	case Keep:
		return "keep"
	case Issue:
		return "issue"
	case Renew:
		return "renew"
	default:
		return fmt.Sprintf("Action(%d)", int(a))
	}
}

// Verdict is the outcome of assessing a certificate: what to do, and every reason for it.
type Verdict struct {
	Action  Action
	Reasons []string
}

// String returns "keep", or the action and its reasons.
func (v Verdict) String() string {
	if len(v.Reasons) == 0 {
		return v.Action.String()
	}
	return v.Action.String() + ": " + strings.Join(v.Reasons, "; ")
}

// lifetimeSlack is how much longer than wanted a certificate may live before that is drift: the
// signer in the cluster and this package do not round alike.
const lifetimeSlack = 24 * time.Hour

// Assess compares a certificate and its key with what they must be. It never fails: what cannot be
// read has to be issued, and the reason says so. The signature is really verified with the
// authority's key; an issuer of the same name is not enough.
func Assess(pair Pair, request Request, issuer *Authority, now time.Time) Verdict {
	return assess(pair, request, now, func(found *x509.Certificate) []string { return issuerReasons(found, issuer) })
}

// AssessSelfSigned is Assess for a certificate that is to be signed by its own key.
func AssessSelfSigned(pair Pair, request Request, now time.Time) Verdict {
	return assess(pair, request, now, func(found *x509.Certificate) []string {
		if err := found.CheckSignature(found.SignatureAlgorithm, found.RawTBSCertificate, found.Signature); err != nil {
			return []string{fmt.Sprintf("issued by %q, want it signed by itself", found.Issuer.CommonName)}
		}
		return nil
	})
}

func assess(pair Pair, request Request, now time.Time, issued func(*x509.Certificate) []string) Verdict {
	found, reasons := readPair(pair)
	if found == nil {
		return Verdict{Action: Issue, Reasons: reasons}
	}
	reasons = append(reasons, issued(found)...)
	reasons = append(reasons, subjectReasons(found, request)...)
	reasons = append(reasons, nameReasons(found, request)...)
	reasons = append(reasons, usageReasons(found, request)...)
	if algorithm := algorithmOf(found.PublicKey); !request.Algorithm.accepts(algorithm) {
		reasons = append(reasons, fmt.Sprintf("key algorithm is %s, want %s", algorithm, request.Algorithm.describe()))
	}
	lasting, passing := timeReasons(found, request, now)
	reasons = append(reasons, lasting...)
	switch {
	case len(reasons) > 0:
		return Verdict{Action: Issue, Reasons: append(reasons, passing...)}
	case len(passing) > 0:
		return Verdict{Action: Renew, Reasons: passing}
	default:
		return Verdict{Action: Keep}
	}
}

func (a KeyAlgorithm) describe() string {
	if a != AnyAlgorithm {
		return string(a)
	}
	return "any supported one"
}

// readPair returns the certificate, or nil when there is none to compare, and the reasons so far.
func readPair(pair Pair) (*x509.Certificate, []string) {
	switch {
	case pair.Empty():
		return nil, []string{"missing"}
	case len(pair.CertPEM) == 0:
		return nil, []string{"certificate file is missing"}
	case len(pair.KeyPEM) == 0:
		return nil, []string{"key file is missing"}
	}
	all, err := parseCertificates(pair.CertPEM)
	if err != nil {
		return nil, []string{"certificate file is unusable: " + err.Error()}
	}
	// In a file with a chain the certificate itself comes first (RFC 8446, 4.4.2).
	found := all[0]
	key, err := parseKey(pair.KeyPEM)
	if err != nil {
		return nil, []string{"key file is unusable: " + err.Error()}
	}
	if !samePublicKey(found.PublicKey, key.Public()) {
		return found, []string{"the key does not belong to the certificate"}
	}
	return found, nil
}

func issuerReasons(found *x509.Certificate, issuer *Authority) []string {
	if !bytes.Equal(found.RawIssuer, issuer.cert.RawSubject) {
		return []string{fmt.Sprintf("issued by %q, want %q", found.Issuer.CommonName, issuer.CommonName())}
	}
	if err := found.CheckSignatureFrom(issuer.cert); err != nil {
		return []string{fmt.Sprintf("names %q as its issuer but was not signed by %s: %v",
			issuer.CommonName(), issuer.Fingerprint(), err)}
	}
	return nil
}

func subjectReasons(found *x509.Certificate, request Request) []string {
	var reasons []string
	if found.Subject.CommonName != request.CommonName {
		reasons = append(reasons, fmt.Sprintf("common name is %q, want %q", found.Subject.CommonName, request.CommonName))
	}
	have, want := sorted(found.Subject.Organization), sorted(request.Organization)
	if !slices.Equal(have, want) {
		reasons = append(reasons, fmt.Sprintf("organization is %q, want %q", have, want))
	}
	if found.IsCA {
		reasons = append(reasons, "it is a certificate authority")
	}
	return reasons
}

// nameReasons compares the alternative names as sets; see the package documentation on extra ones.
func nameReasons(found *x509.Certificate, request Request) []string {
	var have []string
	for _, name := range dnsNames(found.DNSNames) {
		have = append(have, "DNS:"+name)
	}
	for _, raw := range found.IPAddresses {
		if ip, ok := netip.AddrFromSlice(raw); ok {
			have = append(have, "IP:"+ip.Unmap().String())
		}
	}
	for _, mail := range found.EmailAddresses {
		have = append(have, "email:"+mail)
	}
	for _, uri := range found.URIs {
		have = append(have, "URI:"+uri.String())
	}
	var want []string
	for _, name := range dnsNames(request.DNSNames) {
		want = append(want, "DNS:"+name)
	}
	for _, ip := range addresses(request.IPs) {
		want = append(want, "IP:"+ip.String())
	}
	var reasons []string
	for _, name := range want {
		if !slices.Contains(have, name) {
			reasons = append(reasons, "alternative name "+name+" is missing")
		}
	}
	for _, name := range have {
		if !slices.Contains(want, name) {
			reasons = append(reasons, "alternative name "+name+" is not wanted")
		}
	}
	return reasons
}

func usageReasons(found *x509.Certificate, request Request) []string {
	var reasons []string
	want := request.usages()
	for _, usage := range want {
		if !slices.Contains(found.ExtKeyUsage, usage) {
			reasons = append(reasons, "extended key usage "+usageName(usage)+" is missing")
		}
	}
	for _, usage := range found.ExtKeyUsage {
		if !slices.Contains(want, usage) {
			reasons = append(reasons, "extended key usage "+usageName(usage)+" is not wanted")
		}
	}
	if found.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		reasons = append(reasons, "key usage digital signature is missing")
	}
	return reasons
}

func usageName(usage x509.ExtKeyUsage) string {
	switch usage {
	case x509.ExtKeyUsageServerAuth:
		return "server"
	case x509.ExtKeyUsageClientAuth:
		return "client"
	case x509.ExtKeyUsageAny:
		return "any"
	default:
		return fmt.Sprintf("number %d", int(usage))
	}
}

// timeReasons returns what is wrong with the certificate's life for good, and what came with time.
func timeReasons(found *x509.Certificate, request Request, now time.Time) (lasting, passing []string) {
	left := found.NotAfter.Sub(now)
	life := min(found.NotAfter.Sub(found.NotBefore), request.lifetime())
	if now.Before(found.NotBefore) {
		lasting = append(lasting, "not valid before "+found.NotBefore.UTC().Format(time.RFC3339))
	} else if left > request.lifetime()+lifetimeSlack {
		lasting = append(lasting, fmt.Sprintf("valid for another %s, want at most %s", days(left), days(request.lifetime())))
	}
	end := found.NotAfter.UTC().Format(time.RFC3339)
	if left <= 0 {
		passing = append(passing, "expired at "+end)
	} else if left < life/4 {
		passing = append(passing, fmt.Sprintf("expires at %s, in %s: less than a quarter of its life is left", end, days(left)))
	}
	return lasting, passing
}

// days writes a duration as a person would.
func days(d time.Duration) string {
	if d >= 2*day {
		return fmt.Sprintf("%d days", int(d/day))
	}
	return d.Round(time.Second).String()
}

func sorted(list []string) []string {
	out := slices.Clone(list)
	slices.Sort(out)
	return out
}
