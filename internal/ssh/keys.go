package ssh

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/crypto/ssh"
)

// identity is a key to log in with. It has a signer, or only its public half when the private
// one is to be found in the agent.
type identity struct {
	name   string // for messages: the path, or "given as PEM"
	public ssh.PublicKey
	signer ssh.Signer // nil: the agent must have it
	certs  []*ssh.Certificate
	locked bool // the private key is there, its passphrase is not
}

// signers returns what to offer for the identity: the certificates first, then the key itself.
func (id identity) signers() ([]ssh.Signer, error) {
	var signers []ssh.Signer
	for _, cert := range id.certs {
		certified, err := ssh.NewCertSigner(cert, id.signer)
		if err != nil {
			return nil, fmt.Errorf("certificate of key %s: %w", id.name, err)
		}
		signers = append(signers, certified)
	}
	return append(signers, id.signer), nil
}

// loadIdentities reads keys, and the certificates that lie elsewhere. Every key that cannot be used is
// reported, unless it is optional.
func loadIdentities(keys []Key, certificates []string) ([]identity, error) {
	var identities []identity
	var errs []error
	for _, key := range keys {
		id, err := loadIdentity(key)
		switch {
		case err == nil:
			identities = append(identities, id)
		case !key.Optional:
			errs = append(errs, err)
		}
	}
	for _, path := range certificates {
		cert, err := readCertificate(path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		identities = certify(identities, path, cert)
	}
	return identities, errors.Join(errs...)
}

// certify gives a certificate to the identity with its key. Without one the agent must have the key,
// and as it is for the host, it is offered first.
func certify(identities []identity, path string, cert *ssh.Certificate) []identity {
	for i, id := range identities {
		if bytes.Equal(id.public.Marshal(), cert.Key.Marshal()) {
			if !slices.ContainsFunc(id.certs, func(c *ssh.Certificate) bool { return bytes.Equal(c.Marshal(), cert.Marshal()) }) {
				identities[i].certs = append(identities[i].certs, cert)
			}
			return identities
		}
	}
	return append([]identity{{name: path, public: cert.Key, certs: []*ssh.Certificate{cert}}}, identities...)
}

func loadIdentity(key Key) (identity, error) {
	id := identity{name: key.Path}
	data := key.PEM.Reveal()
	if len(data) == 0 {
		var err error
		data, err = os.ReadFile(key.Path)
		if public := readPublicKey(key.Path + ".pub"); errors.Is(err, fs.ErrNotExist) && public != nil {
			id.public = public // the private key is in the agent alone
			return id, nil
		}
		if err != nil {
			return id, fmt.Errorf("key: %w", err)
		}
	}
	if id.name == "" {
		id.name = "given as PEM"
	}
	if err := id.parse(data, key); err != nil {
		return id, err
	}
	if key.Path == "" {
		return id, nil
	}
	cert, err := loadCertificate(key.Path+"-cert.pub", id.public)
	if cert != nil {
		id.certs = []*ssh.Certificate{cert}
	}
	return id, err
}

// parse reads the private key. What is locked, or a public key, becomes an identity without a
// signer.
func (id *identity) parse(data []byte, key Key) error {
	signer, err := ssh.ParsePrivateKey(data)
	var missing *ssh.PassphraseMissingError
	switch {
	case err == nil:
		id.signer, id.public = signer, signer.PublicKey()
		return nil
	case errors.As(err, &missing) && key.Passphrase != "":
		signer, err = ssh.ParsePrivateKeyWithPassphrase(data, []byte(key.Passphrase.Reveal()))
		if errors.Is(err, x509.IncorrectPasswordError) {
			return fmt.Errorf("key %s: the passphrase is wrong", id.name)
		}
		if err != nil {
			return fmt.Errorf("key %s: %w", id.name, err)
		}
		id.signer, id.public = signer, signer.PublicKey()
		return nil
	case errors.As(err, &missing):
		id.locked = true
		if id.public = missing.PublicKey; id.public == nil && key.Path != "" {
			id.public = readPublicKey(key.Path + ".pub")
		}
		if id.public == nil {
			return fmt.Errorf("key %s: it is protected by a passphrase: set the passphrase of the key", id.name)
		}
		return nil
	}
	public, _, _, _, publicErr := ssh.ParseAuthorizedKey(data)
	if publicErr != nil {
		return fmt.Errorf("key %s: not a private key in a known format (convert it with ssh-keygen -p -f FILE): %w", id.name, err)
	}
	id.public = public
	return nil
}

func readPublicKey(path string) ssh.PublicKey {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey(data)
	if err != nil {
		return nil
	}
	return public
}

// loadCertificate reads the OpenSSH certificate beside a key; nil when there is none.
func loadCertificate(path string, public ssh.PublicKey) (*ssh.Certificate, error) {
	cert, err := readCertificate(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case !bytes.Equal(cert.Key.Marshal(), public.Marshal()):
		return nil, fmt.Errorf("certificate %s: it certifies another key", path)
	}
	return cert, nil
}

func readCertificate(path string) (*ssh.Certificate, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(data)
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", path, err)
	}
	cert, ok := key.(*ssh.Certificate)
	if !ok {
		return nil, fmt.Errorf("certificate %s: it holds a %s key, not a certificate", path, key.Type())
	}
	if cert.CertType != ssh.UserCert {
		return nil, fmt.Errorf("certificate %s: it is not a user certificate", path)
	}
	return cert, nil
}
