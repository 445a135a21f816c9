package addons

import (
	"crypto/sha256"
	"encoding/hex"
)

// CertificateDigest identifies Certificate: a server that does not read it again has to start anew for another.
func (p Params) CertificateDigest() string {
	sum := sha256.Sum256(p.Certificate.CertPEM)
	return hex.EncodeToString(sum[:])
}
