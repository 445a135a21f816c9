package cli

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kubewright/certs"
	"kubewright/internal/etcd"
	"kubewright/internal/kube"
	"kubewright/internal/resource"
	"kubewright/internal/secret"
	"kubewright/internal/sh"
	"kubewright/internal/ssh"
)

// leak is what no message may say.
const leak = "correct-horse-battery-staple"

// malformedKeys are private keys that no parser takes, each with the secret in another place.
func malformedKeys() map[string]string {
	block := func(kind string, headers map[string]string, body string) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Headers: headers, Bytes: []byte(body)}))
	}
	return map[string]string{
		"no PEM":                leak,
		"PEM without an end":    "-----BEGIN RSA PRIVATE KEY-----\n" + leak + "\n",
		"PEM that is no base64": "-----BEGIN OPENSSH PRIVATE KEY-----\n" + leak + "!\n-----END OPENSSH PRIVATE KEY-----\n",
		"RSA of nonsense":       block("RSA PRIVATE KEY", nil, leak),
		"EC of nonsense":        block("EC PRIVATE KEY", nil, leak),
		"PKCS 8 of nonsense":    block("PRIVATE KEY", nil, leak),
		"OpenSSH of nonsense":   block("OPENSSH PRIVATE KEY", nil, "openssh-key-v1\x00"+leak),
		"encrypted":             block("RSA PRIVATE KEY", map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": leak}, leak),
		"other kind":            block("SOMETHING ELSE", nil, leak),
		"a key and more":        "key: " + leak + "\n" + block("EC PRIVATE KEY", nil, leak),
	}
}

// wantRefused checks that an input was refused, in words that hold nothing of it.
func wantRefused(t *testing.T, err error, input string) {
	t.Helper()
	if err == nil {
		t.Fatal("the input is taken")
	}
	for _, said := range []string{err.Error(), fmt.Sprintf("%+v", err)} {
		for _, form := range []string{leak, base64.StdEncoding.EncodeToString([]byte(leak)), "BEGIN"} {
			if strings.Contains(said, form) {
				t.Errorf("the error has %q of its input in it: %s", form, said)
			}
		}
		for line := range strings.Lines(input) {
			if line = strings.TrimSpace(line); len(line) > 8 && strings.Contains(said, line) {
				t.Errorf("the error quotes its input: %s", said)
			}
		}
	}
}

// dialled tries to connect with a configuration that is not good for it.
func dialled(t *testing.T, c ssh.Config) error {
	t.Helper()
	c.Host, c.Address, c.User, c.TrustOnFirstUse = "cp1", "192.0.2.1", "admin", false
	c.DialContext = func(context.Context, string, string) (net.Conn, error) {
		t.Error("the host is dialled")
		return nil, errors.New("no network in this test")
	}
	_, err := ssh.Dial(t.Context(), c)
	return err
}

func TestMalformedKeysAreNotQuoted(t *testing.T) {
	authority, err := certs.NewAuthority("test", certs.ECDSAP256, certs.Env{Now: time.Now(), Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range malformedKeys() {
		pair := certs.Pair{CertPEM: authority.CertPEM(), KeyPEM: secret.Bytes(key)}
		t.Run("ssh file/"+name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "id")
			if err := os.WriteFile(path, []byte(key), 0o600); err != nil {
				t.Fatal(err)
			}
			wantRefused(t, dialled(t, ssh.Config{Keys: []ssh.Key{{Path: path, Passphrase: leak}}}), key)
		})
		t.Run("authority/"+name, func(t *testing.T) {
			_, err := certs.ParseAuthority(authority.CertPEM(), secret.Bytes(key))
			wantRefused(t, err, key)
		})
		t.Run("kube/"+name, func(t *testing.T) {
			_, err := kube.New(kube.Config{Server: "https://192.0.2.1:6443", CAPEM: authority.CertPEM(), Client: pair})
			wantRefused(t, err, key)
		})
		t.Run("etcd/"+name, func(t *testing.T) {
			_, err := etcd.New(etcd.Config{Endpoint: "https://192.0.2.1:2379", CAPEM: authority.CertPEM(), Client: pair})
			wantRefused(t, err, key)
		})
	}
}

func TestMalformedPasswordsAreNotQuoted(t *testing.T) {
	for name, password := range map[string]string{"two lines": leak + "\nsecond", "carriage return": leak + "\r", "NUL": leak + "\x00"} {
		t.Run(name, func(t *testing.T) {
			wantRefused(t, dialled(t, ssh.Config{SudoPassword: secret.String(password)}), password)
		})
	}
}

func TestMalformedKubeconfigsAreNotQuoted(t *testing.T) {
	want := certs.KubeconfigWant{Server: "https://192.0.2.1:6443", ClusterName: "c", User: "u", CertFile: "/a", KeyFile: "/a"}
	var err error
	if want.Authority, err = certs.NewAuthority("test", certs.ECDSAP256, certs.Env{Now: time.Now(), Rand: rand.Reader}); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"no YAML":               "{" + leak,
		"text":                  leak,
		"unknown alias":         "apiVersion: v1\nkind: Config\nusers: [{name: a, user: {token: *" + leak + " }}]\n",
		"list for a map":        "apiVersion: v1\nkind: Config\nusers: {token: " + leak + "}\n",
		"key that is no base64": "apiVersion: v1\nkind: Config\nusers: [{name: a, user: {client-key-data: \"" + leak + "!\"}}]\n",
		"token as a list":       "apiVersion: v1\nkind: Config\nusers: [{name: a, user: [" + leak + "]}]\n",
	} {
		t.Run("parsed/"+name, func(t *testing.T) {
			_, err := certs.ParseKubeconfig(secret.Bytes(content))
			wantRefused(t, err, content)
		})
		t.Run("merged/"+name, func(t *testing.T) {
			_, err := kube.MergeKubeconfig(secret.Bytes(content), secret.Bytes("apiVersion: v1\nkind: Config\n"), "c")
			wantRefused(t, err, content)
		})
		t.Run("planned/"+name, func(t *testing.T) {
			k := resource.Kubeconfig{Path: "/etc/kubernetes/kubelet.conf", Want: want}
			observed := &sh.Answers{Files: map[string]sh.FileState{k.Path: {
				Exists: true, SHA256: resource.DigestOf([]byte(content)), Content: []byte(content), HasContent: true,
			}}}
			change, err := k.Diff(resource.View{Observed: observed})
			if err != nil {
				t.Fatal(err)
			}
			change.Steps = nil // what is written is told to the host alone
			if said := fmt.Sprintf("%+v", change); strings.Contains(said, leak) || !strings.Contains(said, "unusable") {
				t.Errorf("the change shows what was there, or does not say why: %s", said)
			}
		})
	}
}
