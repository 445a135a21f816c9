//go:build e2e

package e2e

import (
	"archive/tar"
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"
)

// testKeys are private keys in each form that there is in a cluster, with the public half of each.
func testKeys(t testing.TB) map[string][2]string {
	t.Helper()
	public := func(key any) string {
		der, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	}
	private := func(kind string, der []byte, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	big, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	edPublic, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(ec)
	keys := map[string][2]string{"EC": {private("EC PRIVATE KEY", sec1, err), public(&ec.PublicKey)}}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(ec)
	keys["PKCS 8"] = [2]string{private("PRIVATE KEY", pkcs8, err), public(&ec.PublicKey)}
	keys["RSA"] = [2]string{private("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(big), nil), public(&big.PublicKey)}
	pkcs8, err = x509.MarshalPKCS8PrivateKey(ed)
	keys["Ed25519"] = [2]string{private("PRIVATE KEY", pkcs8, err), public(edPublic)}
	block, err := ssh.MarshalPrivateKey(ed, "")
	if err != nil {
		t.Fatal(err)
	}
	keys["OpenSSH"] = [2]string{string(pem.EncodeToMemory(block)), public(edPublic)}
	return keys
}

// kindsIn lists what a scanner finds in a text, sorted.
func (s *scanner) kindsIn(t testing.TB, text string) []string {
	t.Helper()
	s.matches = nil
	if err := s.read("text", strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, m := range s.matches {
		kinds = append(kinds, m.kind)
	}
	slices.Sort(kinds)
	return slices.Compact(kinds)
}

func b64(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

func TestScannerFindsSecretsByTheirForm(t *testing.T) {
	key := testKeys(t)["EC"][0]
	jwt := "eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.eyJpc3MiOiJrdWJlcm5ldGVzIn0.c2lnbmF0dXJlLW9mLXNvbWV0aGluZw"
	for name, test := range map[string]struct {
		text string
		want []string
	}{
		"nothing":                {"apply: done in 3.2s\n", nil},
		"empty":                  {"", nil},
		"key":                    {"error: " + key, []string{kindKey}},
		"key on one line":        {`msg="` + strings.ReplaceAll(key, "\n", `\n`) + `"`, []string{kindKey}},
		"header of a key":        {"-----BEGIN OPENSSH PRIVATE KEY-----", []string{kindKey}},
		"header of an encrypted": {"-----BEGIN ENCRYPTED PRIVATE KEY-----", []string{kindKey}},
		"certificate":            {"-----BEGIN CERTIFICATE-----\nMIIB\n", nil},
		"public key":             {testKeys(t)["RSA"][1], nil},
		"words about keys":       {"no PEM encoded private key found; want a PRIVATE KEY", nil},
		"kubeconfig":             {"    client-key-data: " + b64(key) + "\n", []string{kindKey}},
		"kubeconfig in JSON":     {`{"client-key-data":"` + b64(key) + `"}`, []string{kindKey}},
		"encoded kubeconfig":     {"written: " + b64("kind: Config\nclient-key-data: "+b64(key)+"\n"), []string{kindKey}},
		"glued to a letter":      {"x" + b64(key), []string{kindKey}},
		"for URLs":               {base64.RawURLEncoding.EncodeToString([]byte("??>" + key)), []string{kindKey}},
		"encoded certificate":    {b64("-----BEGIN CERTIFICATE-----\nMIIBijCCATCgAwIBAgIQ\n"), nil},
		"token":                  {"kubeadm join --token abcdef.0123456789abcdef", []string{kindToken}},
		"token in JSON":          {`{"token":"9x8y7z.abcdefghijklmnop"}`, []string{kindToken}},
		"token at the end":       {"it is abcdef.0123456789abcdef.", []string{kindToken}},
		"name of a host":         {"dialling worker.kubernetesnodes1.example.org", nil},
		"name of an event":       {"kube-proxy-abcdef.18b0123456789abc", nil},
		"two words":              {"system.authenticatedall", nil},
		"longer than a token":    {"abcdef.0123456789abcdef0", nil},
		"service account":        {"Authorization: Bearer " + jwt, []string{kindJWT}},
		"digest":                 {strings.Repeat("0123456789abcdef", 4), nil},
		"two at once":            {"abcdef.0123456789abcdef " + jwt, []string{kindToken, kindJWT}},
	} {
		t.Run(name, func(t *testing.T) {
			slices.Sort(test.want)
			if diff := cmp.Diff(test.want, newScanner().kindsIn(t, test.text)); diff != "" {
				t.Errorf("found (-want +got):\n%s", diff)
			}
		})
	}
}

// A password and a certificate key look like anything: they are found where they are known.
func TestScannerFindsWhatItKnows(t *testing.T) {
	const password, certificateKey = "Gr8-pass_word of-mine", "5f1d7a84db00d2fce00b31a7fc73224f5f1d7a84db00d2fce00b31a7fc73224f"
	s := newScanner()
	s.know("password", password)
	s.know("certificate key", certificateKey)
	s.know("too short", "a")
	for name, test := range map[string]struct {
		text string
		want []string
	}{
		"password":        {"sudo: " + password + " is no password\n", []string{"password"}},
		"encoded":         {"data: " + b64("user:"+password+"\n"), []string{"password"}},
		"certificate key": {"--certificate-key " + certificateKey, []string{"certificate key"}},
		"another digest":  {strings.Repeat("0123456789abcdef", 4), nil},
		"nothing":         {"a b c", nil},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, s.kindsIn(t, test.text)); diff != "" {
				t.Errorf("found (-want +got):\n%s", diff)
			}
		})
	}
	if newScanner().kindsIn(t, password+certificateKey) != nil {
		t.Error("they are found by a scanner that was not told")
	}
}

// One line of a known key is enough, and nothing that anybody may know is taken for it.
func TestScannerFindsPartsOfKeys(t *testing.T) {
	for name, key := range testKeys(t) {
		t.Run(name, func(t *testing.T) {
			s := newScanner()
			if n := s.knowKeys([]byte("before\n" + key[0] + "after\n")); n != 1 || len(s.known) == 0 {
				t.Fatalf("%d keys, and %d lines of them", n, len(s.known))
			}
			for line := range s.known {
				if got := s.kindsIn(t, "  "+line+"\n"); !slices.Equal(got, []string{kindKey}) {
					t.Errorf("a line of the key is found as %v", got)
				}
			}
			if got := s.kindsIn(t, key[1]); got != nil {
				t.Errorf("the public key is found as %v", got)
			}
			in := newScanner()
			if n := in.knowKeys([]byte("users:\n- user:\n    client-key-data: " + b64(key[0]) + "\n")); n != 1 || !cmp.Equal(in.known, s.known) {
				t.Errorf("of a kubeconfig %d keys are known, by other lines", n)
			}
		})
	}
}

func TestScannerSaysWhere(t *testing.T) {
	key := testKeys(t)["EC"][0]
	var packed bytes.Buffer
	w := tar.NewWriter(&packed)
	for name, content := range map[string]string{"etc/good": "nothing\n", "etc/bad": "first\n" + key} {
		if err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(content)), Mode: 0o644, Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	s := newScanner()
	if n, err := s.archive("cp1", &packed); n != 2 || err != nil {
		t.Errorf("%d files, error %v", n, err)
	}
	if want := []match{{"cp1:/etc/bad", 2, kindKey}}; !slices.Equal(s.matches, want) {
		t.Errorf("found %v, want %v", s.matches, want)
	}
	if strings.Contains(s.matches[0].String(), strings.Split(key, "\n")[1]) {
		t.Error("the report shows the secret")
	}
	if _, err := s.archive("cp1", strings.NewReader("no archive at all")); err == nil {
		t.Error("what is no archive is taken for one without files")
	}

	dir := t.TempDir()
	private, open := filepath.Join(dir, "private"), filepath.Join(dir, "open")
	for path, mode := range map[string]os.FileMode{private: 0o600, open: 0o644} {
		if err := os.WriteFile(path, []byte(key), mode); err != nil {
			t.Fatal(err)
		}
	}
	s = newScanner()
	if n, err := s.folder(dir, readable); n != 1 || err != nil || len(s.matches) != 1 || s.matches[0].where != open {
		t.Errorf("of what others can read %d files, error %v, found %v", n, err, s.matches)
	}
	if n, err := s.folder(dir, nil); n != 2 || err != nil {
		t.Errorf("of all %d files, error %v", n, err)
	}
	if n, err := s.folder(filepath.Join(dir, "missing"), nil); n != 0 || err != nil {
		t.Errorf("a folder that is not there has %d files, error %v", n, err)
	}
}

// The record keeps what runs say, once, and the passwords that they were given; it says when it
// could not keep all.
func TestScannerHasARecordOfRuns(t *testing.T) {
	dir := t.TempDir()
	log, labDir := filepath.Join(dir, "kubewright.log"), filepath.Join(dir, "lab")
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := &record{dir: dir, limit: 1 << 20, logs: map[string]int64{}, passwords: map[string]bool{}}
	write(filepath.Join(labDir, "sudo_password"), "a password\n")
	write(log, "one\n")
	c.add(result{args: []string{"apply", "-f", filepath.Join(labDir, "cluster.yaml"), "--log", log}, stdout: "OUT\n", stderr: "ERR\n"})
	write(log, "one\ntwo\n")
	c.add(result{program: "make", args: []string{"lab", "APPLY_FLAGS=--log " + log}, stdout: "MADE\n"})
	write(log, "anew\n")
	c.add(result{args: []string{"plan", "--log", log}})
	c.add(result{args: []string{"kubeconfig"}, stdout: "KEY\n", stderr: "NOTE\n"})
	c.add(result{args: []string{"kubeconfig"}, code: exitUnreachable, stdout: "NO KEY\n"})
	c.add(result{args: []string{"plan", "--log", filepath.Join(dir, "missing")}})
	got := map[string]string{}
	for _, name := range []string{"runs.txt", "debug.log"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		got[name] = string(data)
	}
	for _, said := range []string{"OUT\n", "ERR\n", "MADE\n", "NOTE\n", "NO KEY\n"} {
		if !strings.Contains(got["runs.txt"], said) {
			t.Errorf("%q is not in the record:\n%s", said, got["runs.txt"])
		}
	}
	if strings.Contains(got["runs.txt"], "\nKEY\n") {
		t.Error("a kubeconfig that was asked for is in the record")
	}
	if want := "one\ntwo\nanew\n"; got["debug.log"] != want {
		t.Errorf("the logs are kept as %q, want %q", got["debug.log"], want)
	}
	if !c.passwords["a password"] || c.runs != 6 || c.errs != nil {
		t.Errorf("passwords %d, runs %d, errors %v", len(c.passwords), c.runs, c.errs)
	}
	c.limit = c.size + 10
	c.add(result{stdout: strings.Repeat("x", 100)})
	if len(c.errs) == 0 {
		t.Error("a record that is cut does not say so")
	}
}
