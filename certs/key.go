package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"kubewright/internal/secret"
)

// KeyAlgorithm names a kind and size of key, in the words of kubeadm's encryptionAlgorithm.
type KeyAlgorithm string

// The supported algorithms. AnyAlgorithm issues ECDSA P-256 and accepts every one of the others.
const (
	AnyAlgorithm KeyAlgorithm = ""
	ECDSAP256    KeyAlgorithm = "ECDSA-P256"
	ECDSAP384    KeyAlgorithm = "ECDSA-P384"
	RSA2048      KeyAlgorithm = "RSA-2048"
	RSA3072      KeyAlgorithm = "RSA-3072"
	RSA4096      KeyAlgorithm = "RSA-4096"
)

// KeyAlgorithms lists what a user may choose from, the default first.
func KeyAlgorithms() []KeyAlgorithm {
	return []KeyAlgorithm{ECDSAP256, ECDSAP384, RSA2048, RSA3072, RSA4096}
}

// Validate reports an algorithm that is not supported; AnyAlgorithm is.
func (a KeyAlgorithm) Validate() error {
	if a == AnyAlgorithm || slices.Contains(KeyAlgorithms(), a) {
		return nil
	}
	names := make([]string, 0, len(KeyAlgorithms()))
	for _, known := range KeyAlgorithms() {
		names = append(names, string(known))
	}
	return fmt.Errorf("key algorithm %q is not supported, use one of %s", string(a), strings.Join(names, ", "))
}

// accepts reports whether a key of the found algorithm satisfies a.
func (a KeyAlgorithm) accepts(found KeyAlgorithm) bool {
	if a == AnyAlgorithm {
		return slices.Contains(KeyAlgorithms(), found)
	}
	return a == found
}

const (
	pemCertificate = "CERTIFICATE"
	pemRequest     = "CERTIFICATE REQUEST"
	pemPublicKey   = "PUBLIC KEY"
	pemPKCS8       = "PRIVATE KEY"
	pemRSA         = "RSA PRIVATE KEY"
	pemEC          = "EC PRIVATE KEY"
)

// newKey generates a private key. Go ignores the reader since 1.26, see the package documentation.
func newKey(algorithm KeyAlgorithm, rand io.Reader) (crypto.Signer, error) {
	switch algorithm {
	case AnyAlgorithm, ECDSAP256:
		return ecdsa.GenerateKey(elliptic.P256(), rand)
	case ECDSAP384:
		return ecdsa.GenerateKey(elliptic.P384(), rand)
	case RSA2048:
		return rsa.GenerateKey(rand, 2048)
	case RSA3072:
		return rsa.GenerateKey(rand, 3072)
	case RSA4096:
		return rsa.GenerateKey(rand, 4096)
	default:
		return nil, algorithm.Validate()
	}
}

// algorithmOf names the algorithm of a public key, also one that is not supported ("RSA-1024").
func algorithmOf(public crypto.PublicKey) KeyAlgorithm {
	switch key := public.(type) {
	case *ecdsa.PublicKey:
		return KeyAlgorithm("ECDSA-" + strings.ReplaceAll(key.Params().Name, "-", ""))
	case *rsa.PublicKey:
		return KeyAlgorithm(fmt.Sprintf("RSA-%d", key.Size()*8))
	default:
		return KeyAlgorithm(fmt.Sprintf("%T", public))
	}
}

// encodeKey writes a private key in the form kubeadm uses: SEC 1 or PKCS #1.
func encodeKey(key crypto.Signer) (secret.Bytes, error) {
	switch private := key.(type) {
	case *ecdsa.PrivateKey:
		der, err := x509.MarshalECPrivateKey(private)
		if err != nil {
			return nil, fmt.Errorf("encode private key: %w", err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: pemEC, Bytes: der}), nil
	case *rsa.PrivateKey:
		der := x509.MarshalPKCS1PrivateKey(private)
		return pem.EncodeToMemory(&pem.Block{Type: pemRSA, Bytes: der}), nil
	default:
		return nil, fmt.Errorf("encode private key: unsupported type %T", key)
	}
}

// parseKey reads the first private key of a PEM file and ignores other blocks: the kubelet keeps
// certificate and key in one file, and openssl writes curve parameters before the key.
func parseKey(data secret.Bytes) (crypto.Signer, error) {
	for block, rest := pem.Decode(data.Reveal()); block != nil; block, rest = pem.Decode(rest) {
		var key any
		var err error
		switch block.Type {
		case pemEC:
			key, err = x509.ParseECPrivateKey(block.Bytes)
		case pemRSA:
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case pemPKCS8:
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "ENCRYPTED PRIVATE KEY":
			return nil, errors.New("the private key is encrypted with a passphrase")
		default:
			continue
		}
		if err != nil {
			// The parser's own words may quote the input, so they stay out of the message.
			return nil, errors.New("the private key cannot be parsed")
		}
		signer, ok := key.(crypto.Signer)
		if !ok {
			return nil, fmt.Errorf("a private key of type %T cannot sign", key)
		}
		return signer, nil
	}
	return nil, errors.New("no PEM encoded private key found")
}

// parsePublicKey reads the first public key of a PEM file, in PKIX form.
func parsePublicKey(data []byte) (crypto.PublicKey, error) {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != pemPublicKey {
			continue
		}
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("parse public key: %w", err)
		}
		return key, nil
	}
	return nil, errors.New("no PEM encoded public key found")
}

// encodePublicKey writes a public key in PKIX form.
func encodePublicKey(public crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("encode public key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemPublicKey, Bytes: der}), nil
}

// parseCertificates reads every certificate of a PEM file and ignores other blocks.
func parseCertificates(data []byte) ([]*x509.Certificate, error) {
	var found []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != pemCertificate {
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("parse certificate: %w", err)
		}
		found = append(found, certificate)
	}
	if len(found) == 0 {
		return nil, errors.New("no PEM encoded certificate found")
	}
	return found, nil
}

// samePublicKey reports whether two public keys are equal, whatever their types.
func samePublicKey(a, b crypto.PublicKey) bool {
	key, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && key.Equal(b)
}
