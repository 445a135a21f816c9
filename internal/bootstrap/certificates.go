package bootstrap

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"kubewright/certs"
	"kubewright/internal/secret"
)

const (
	// CertificatesName is the Secret in kube-system with the encrypted certificates.
	CertificatesName = "kubeadm-certs"
	// CertificatesLifetime is how long they can be downloaded.
	CertificatesLifetime = 2 * time.Hour

	// keySize is that of AES-256, in bytes.
	keySize = 32
)

// CertificateKey encrypts what is uploaded for control planes that join.
type CertificateKey struct{ key secret.Bytes }

// NewCertificateKey makes a key.
func NewCertificateKey(random io.Reader) (CertificateKey, error) {
	key := make([]byte, keySize)
	if _, err := io.ReadFull(random, key); err != nil {
		return CertificateKey{}, err
	}
	return CertificateKey{key: key}, nil
}

// ParseCertificateKey reads the hexadecimal form. The error does not repeat it.
func ParseCertificateKey(text string) (CertificateKey, error) {
	key, err := hex.DecodeString(text)
	if err != nil || len(key) != keySize {
		return CertificateKey{}, fmt.Errorf("this is no certificate key, which is %d hexadecimal digits", 2*keySize)
	}
	return CertificateKey{key: key}, nil
}

// Reveal returns the key as it is written on a command line.
func (k CertificateKey) Reveal() string { return hex.EncodeToString(k.key.Reveal()) }

// Format writes no key, whatever the verb.
func (CertificateKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, secret.Redacted) }

func (k CertificateKey) cipher() (cipher.AEAD, error) {
	block, err := aes.NewCipher(k.key.Reveal())
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// Owner is the token's Secret that the certificates go with when it expires.
type Owner struct {
	Name string
	UID  types.UID
}

// Encrypt makes the Secret of certificates, each as nonce and AES-GCM ciphertext. Whoever may read
// Secrets can do nothing with it without the key.
func (k CertificateKey) Encrypt(files []certs.File, owner Owner, random io.Reader) (*corev1.Secret, error) {
	aead, err := k.cipher()
	if err != nil {
		return nil, err
	}
	data := map[string][]byte{}
	for _, file := range files {
		nonce := make([]byte, aead.NonceSize())
		if _, err := io.ReadFull(random, nonce); err != nil {
			return nil, err
		}
		data[dataKey(file.Name)] = aead.Seal(nonce, nonce, file.Content.Reveal(), nil)
	}
	return &corev1.Secret{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: metav1.NamespaceSystem, Name: CertificatesName,
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Secret", Name: owner.Name, UID: owner.UID}},
		},
		Data: data,
	}, nil
}

// Decrypt returns the files of the PKI directory that an uploaded Secret has.
func (k CertificateKey) Decrypt(object *corev1.Secret) (certs.HostFiles, error) {
	aead, err := k.cipher()
	if err != nil {
		return nil, err
	}
	files := certs.HostFiles{}
	var missing []string
	for _, name := range certs.BundleFiles() {
		sealed, there := object.Data[dataKey(name)]
		if !there {
			missing = append(missing, name)
			continue
		}
		if len(sealed) < aead.NonceSize() {
			return nil, fmt.Errorf("%s is too short to be encrypted", name)
		}
		nonce, text := sealed[:aead.NonceSize()], sealed[aead.NonceSize():]
		content, err := aead.Open(nil, nonce, text, nil)
		if err != nil {
			return nil, errors.New("the certificate key is not the one that the certificates were uploaded with")
		}
		files[name] = content
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return nil, fmt.Errorf("the uploaded certificates lack %s", strings.Join(missing, ", "))
	}
	return files, nil
}

// dataKey is the name of a file of the PKI directory in the Secret.
func dataKey(name string) string { return strings.ReplaceAll(name, "/", "-") }
