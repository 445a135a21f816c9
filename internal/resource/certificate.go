package resource

import (
	"io/fs"
	"path"
	"strings"

	"kubewright/certs"
	"kubewright/internal/secret"
	"kubewright/internal/sh"
)

// Certificate is a certificate and its key, issued by one of the cluster's authorities. It
// is kept while it is what was asked for, and issued again with the reason otherwise: any
// difference in names, usages, organization, issuer or key, or too little time left.
//
// Where the key of the authority is elsewhere, a server signs its certificate itself until somebody
// who has that key issues another, and a client's is Issued.
type Certificate struct {
	CertPath string
	// KeyPath is where the key is; "" means that both are in one file which the kubelet
	// rotates by itself: CertPath is then a link to the newest such file.
	KeyPath string
	Request certs.Request
	// Widen adds the names that the certificate on the host has to those of Request: none is taken away.
	Widen  bool
	Issuer *certs.Authority
	// Issued is what the cluster has signed where Issuer does not sign; before it has, a change is planned that
	// cannot be made.
	Issued certs.Pair
	Env    certs.Env
}

// CertificateID is the ID of the certificate at path.
func CertificateID(path string) ID { return ID("cert:" + path) }

// ID implements Resource.
func (c Certificate) ID() ID { return CertificateID(c.CertPath) }

func (c Certificate) rotated() bool { return c.KeyPath == "" }

// Probes implements Resource.
func (c Certificate) Probes() []sh.Probe {
	if c.rotated() {
		return []sh.Probe{sh.FileProbe{Path: c.CertPath, Content: true, Follow: true, Secret: true}}
	}
	// A link to a good certificate is as good: its mode is that of what it points at.
	return []sh.Probe{
		sh.FileProbe{Path: c.CertPath, Content: true, Follow: true},
		sh.FileProbe{Path: c.KeyPath, Content: true, Follow: true, Secret: true},
	}
}

// Diff implements Resource.
func (c Certificate) Diff(v View) (Change, error) {
	cert, err := v.Observed.File(c.CertPath)
	if err != nil {
		return Change{}, err
	}
	key := cert
	if !c.rotated() {
		if key, err = v.Observed.File(c.KeyPath); err != nil {
			return Change{}, err
		}
	}
	pair := certs.Pair{CertPEM: cert.Content, KeyPEM: secret.Bytes(key.Content)}
	change := Change{ID: c.ID(), Create: !cert.Exists}
	if c.Widen {
		c.Request = c.Request.Widened(pair, c.Issuer)
	}
	verdict := certs.Assess(pair, c.Request, c.Issuer, c.Env.Now)
	if verdict.Action != certs.Keep && c.signsItself() {
		verdict = certs.AssessSelfSigned(pair, c.Request, c.Env.Now)
	}
	if verdict.Action != certs.Keep {
		return c.issue(change, cert, verdict)
	}
	change.Digest = c.digest(pair.CertPEM)
	if !c.rotated() {
		c.attributes(&change, cert, c.CertPath, certMode)
		c.attributes(&change, key, c.KeyPath, keyMode)
	} else {
		c.attributes(&change, cert, c.CertPath, keyMode)
	}
	return change, nil
}

const (
	certMode fs.FileMode = 0o644
	keyMode  fs.FileMode = 0o600
)

// digest is of the certificate, but of what was asked for where the kubelet renews the
// certificate by itself: its rotation is no reason to restart anything.
func (c Certificate) digest(certPEM []byte) string {
	if c.rotated() {
		return DigestOf([]byte(c.Issuer.Fingerprint() + " " + c.Request.CommonName + " " + strings.Join(c.Request.Organization, ",")))
	}
	return DigestOf(certPEM)
}

// signsItself tells whether the certificate is signed by its own key, as nobody here has another.
func (c Certificate) signsItself() bool { return !c.Issuer.Signs() && c.Request.Server }

// Unsigned tells whether the host needs another certificate, which the cluster is still to sign.
func (c Certificate) Unsigned(observed *sh.Answers) bool {
	if c.Issuer.Signs() || c.signsItself() || !c.Issued.Empty() {
		return false
	}
	change, err := c.Diff(View{Observed: observed})
	return err == nil && change.Rewrites
}

// obtain is a new certificate; it is empty while the cluster is still to sign it.
func (c Certificate) obtain() (certs.Pair, error) {
	switch {
	case c.Issuer.Signs():
		return c.Issuer.Issue(c.Request, c.Env)
	case c.signsItself():
		return certs.SelfSigned(c.Request, c.Env)
	}
	return c.Issued, nil
}

func (c Certificate) issue(change Change, old sh.FileState, verdict certs.Verdict) (Change, error) {
	pair, err := c.obtain()
	if err != nil {
		return Change{}, err
	}
	change.Rewrites = true
	change.Reason = strings.Join(verdict.Reasons, "; ")
	change.Digest = c.digest(pair.CertPEM)
	change.Fields = []Field{{Name: "certificate", Old: fingerprint(old.SHA256), New: verdict.Action.String() + ": " + change.Reason}}
	if pair.Empty() {
		return change, nil
	}
	if c.rotated() {
		file := path.Join(path.Dir(c.CertPath), "kubelet-client-kubewright.pem")
		both := append(append([]byte{}, pair.CertPEM...), pair.KeyPEM.Reveal()...)
		change.Steps = []sh.Step{
			sh.WriteFile{Path: file, Mode: keyMode, Owner: root, Content: both},
			sh.Symlink{Path: c.CertPath, Target: file},
		}
		return change, nil
	}
	// The key first: a certificate without its key is assessed as missing, not as wrong.
	change.Steps = []sh.Step{
		sh.WriteFile{Path: c.KeyPath, Mode: keyMode, Owner: root, Content: pair.KeyPEM.Reveal()},
		sh.WriteFile{Path: c.CertPath, Mode: certMode, Owner: root, Content: pair.CertPEM},
	}
	return change, nil
}

// attributes adds what differs in mode and owner of one of the files.
func (c Certificate) attributes(change *Change, got sh.FileState, file string, mode fs.FileMode) {
	before := len(change.Fields)
	change.differ("mode of "+file, modeString(got.Mode), modeString(mode))
	change.differ("owner of "+file, ownerString(got), root)
	if len(change.Fields) > before {
		change.Steps = append(change.Steps, sh.SetAttributes{Path: file, Mode: mode, Owner: root})
	}
}
