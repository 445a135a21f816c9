package bootstrap_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"kubewright/certs"
	"kubewright/internal/bootstrap"
)

func env() certs.Env { return certs.Env{Now: time.Now(), Rand: rand.Reader} }

func bundle(t *testing.T) *certs.Bundle {
	t.Helper()
	made, err := certs.GenerateBundle("ECDSA-P256", env())
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func newKey(t *testing.T) bootstrap.CertificateKey {
	t.Helper()
	key, err := bootstrap.NewCertificateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// What one control plane uploads, another has after the download, and nobody in between.
func TestCertificates(t *testing.T) {
	files, key := bundle(t).Files(), newKey(t)
	object, err := key.Encrypt(files, bootstrap.Owner{Name: "bootstrap-token-abcdef", UID: "7"}, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ca.crt", "ca.key", "front-proxy-ca.crt", "front-proxy-ca.key", "etcd-ca.crt", "etcd-ca.key", "sa.key", "sa.pub"} {
		if _, there := object.Data[name]; !there {
			t.Errorf("%s is missing, which kubeadm looks for", name)
		}
	}
	if o := object.OwnerReferences; object.Name != "kubeadm-certs" || len(o) != 1 || o[0].Name != "bootstrap-token-abcdef" || o[0].UID != "7" {
		t.Errorf("%s belongs to %+v", object.Name, o)
	}
	for name, sealed := range object.Data {
		if bytes.Contains(sealed, []byte("-----BEGIN")) {
			t.Errorf("%s is not encrypted", name)
		}
	}
	read, err := bootstrap.ParseCertificateKey(key.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	got, err := read.Decrypt(object)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !got[file.Name].Equal(file.Content) {
			t.Errorf("%s came back another", file.Name)
		}
	}
}

func TestDecryptFails(t *testing.T) {
	key := newKey(t)
	for _, test := range []struct {
		want  string
		key   bootstrap.CertificateKey
		spoil func(map[string][]byte)
	}{
		{"the certificate key is not the one", newKey(t), func(map[string][]byte) {}},
		{"the certificate key is not the one", key, func(d map[string][]byte) { d["ca.key"][20] ^= 1 }},
		{"etcd/ca.key is too short", key, func(d map[string][]byte) { d["etcd-ca.key"] = []byte("x") }},
		{"lack sa.key, sa.pub", key, func(d map[string][]byte) { delete(d, "sa.key"); delete(d, "sa.pub") }},
	} {
		object, err := key.Encrypt(bundle(t).Files(), bootstrap.Owner{}, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		test.spoil(object.Data)
		if files, err := test.key.Decrypt(object); files != nil || err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v, want %s", err, test.want)
		}
	}
}

func TestCertificateKey(t *testing.T) {
	key := newKey(t)
	for _, bad := range []string{"", "00", strings.Repeat("g", 64), key.Reveal() + "00"} {
		if _, err := bootstrap.ParseCertificateKey(bad); err == nil || bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if said := fmt.Sprintf("%v %+v %#v %s %x", key, key, key, key, key); strings.Contains(said, key.Reveal()[:8]) {
		t.Errorf("it prints as %s", said)
	}
	broken := errors.New("no entropy")
	if _, err := bootstrap.NewCertificateKey(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	if _, err := key.Encrypt(bundle(t).Files(), bootstrap.Owner{}, iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}
