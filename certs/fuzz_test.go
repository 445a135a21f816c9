package certs

import (
	"bytes"
	"encoding/pem"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"kubewright/internal/secret"
)

// Whatever is in one of the files of a host, the bundle is whole and the same when it is read
// again, or the error names host and file and shows nothing of a key.
func FuzzAdopt(f *testing.F) {
	bundle, err := GenerateBundle(ECDSAP256, testEnv())
	if err != nil {
		f.Fatal(err)
	}
	other, err := GenerateBundle(ECDSAP256, testEnv())
	if err != nil {
		f.Fatal(err)
	}
	whole := filesOf(bundle)
	for i, file := range other.Files() {
		own := whole[file.Name].Reveal()
		for _, content := range [][]byte{
			nil, own, file.Content.Reveal(), own[:len(own)/2], bytes.ReplaceAll(own, []byte("\n"), []byte("\r\n")), append([]byte("# a comment\n"), own...),
			bytes.Replace(own, []byte("\n"), []byte("\nProc-Type: 4,ENCRYPTED\nDEK-Info: x\n\n"), 1), slices.Concat(file.Content.Reveal(), own),
			bytes.Replace(own, []byte("EC PRIVATE"), []byte("ENCRYPTED PRIVATE"), 2), bytes.Replace(own, []byte("EC PRIVATE"), []byte("RSA PRIVATE"), 2),
		} {
			f.Add(uint8(i), content)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, content []byte) {
		name := BundleFiles()[int(which)%len(BundleFiles())]
		files := replaced(whole, name, secret.Bytes(content))
		got, err := Adopt(map[string]HostFiles{"cp1": files, "cp2": maps.Clone(files)})
		switch {
		case err == nil && got == nil:
			t.Fatal("neither bundle nor error")
		case err != nil && (got != nil || !strings.Contains(err.Error(), "host cp1") || !strings.Contains(err.Error(), "/etc/kubernetes/pki/")):
			t.Fatalf("bundle %v, error %v", got, err)
		case err != nil:
			checkQuotes(t, err.Error(), files)
			return
		}
		again, err := Adopt(map[string]HostFiles{"cp1": filesOf(got)})
		if err != nil {
			t.Fatalf("what was adopted is not adopted again: %v", err)
		}
		assertSameBundle(t, got, again)
	})
}

// checkQuotes checks that an error quotes no line of a file.
func checkQuotes(t *testing.T, text string, files HostFiles) {
	t.Helper()
	for name, content := range files {
		for line := range strings.Lines(string(content.Reveal())) {
			if line = strings.TrimSpace(line); len(line) > 20 && !strings.HasPrefix(line, "-----") && strings.Contains(text, line) {
				t.Errorf("the error quotes %s: %s", name, text)
			}
		}
	}
}

// A private key that can be read is the same key when it was written and read again.
func FuzzParseKey(f *testing.F) {
	for _, algorithm := range []KeyAlgorithm{ECDSAP256, ECDSAP384, RSA2048} {
		key, err := newKey(algorithm, testEnv().Rand)
		if err != nil {
			f.Fatal(err)
		}
		encoded, err := encodeKey(key)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(encoded.Reveal())
	}
	f.Add([]byte("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n-----END PRIVATE KEY-----\n"))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		key, err := parseKey(data)
		if err != nil {
			checkQuotes(t, err.Error(), HostFiles{"x.key": data})
			return
		}
		encoded, err := encodeKey(key)
		if err != nil {
			return // a kind of key that we do not write
		}
		again, err := parseKey(encoded)
		if err != nil || !samePublicKey(key.Public(), again.Public()) {
			t.Errorf("the key is another one when it is read again: %v", err)
		}
	})
}

// Certificates that can be read are the same when they were written and read again.
func FuzzParseCertificates(f *testing.F) {
	authority, err := NewAuthority("kubernetes", ECDSAP256, testEnv())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(authority.CertPEM())
	f.Add(slices.Concat([]byte("x\n"), authority.CertPEM(), authority.CertPEM()))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		found, err := parseCertificates(data)
		if err != nil {
			return
		}
		var encoded []byte
		for _, certificate := range found {
			encoded = append(encoded, pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: certificate.Raw})...)
		}
		if !sameCertificates(data, encoded) {
			t.Error("the certificates are others when they are read again")
		}
	})
}

// Every part of a kubeconfig comes back as it was written, whatever it says.
func FuzzKubeconfigRoundTrip(f *testing.F) {
	f.Add("https://10.0.0.1:6443", "lab", "kubernetes-admin", []byte("ca"), []byte("cert"), []byte("key"))
	f.Add("https://[::1]:6443", "a: b\n- c", "system:node:é\"'", []byte{0, 0xff}, []byte("\n"), []byte{})
	f.Add("null", "true", "1e3", []byte(nil), []byte(nil), []byte(nil))
	f.Fuzz(func(t *testing.T, server, name, user string, ca, cert, key []byte) {
		for _, s := range []string{server, name, user} {
			if strings.ToValidUTF8(s, "") != s {
				t.Skip("names are decoded from files that are UTF-8")
			}
		}
		want := Kubeconfig{Server: server, ClusterName: name, User: user, CAPEM: ca, Client: Pair{CertPEM: cert, KeyPEM: key}}
		data, err := want.Encode()
		if err != nil {
			odd := func(r rune) bool { return unicode.IsControl(r) || r == '\ufeff' || r == '\ufffe' || r == '\uffff' }
			if server != "" && name != "" && user != "" && !strings.ContainsFunc(server+name+user, odd) {
				t.Errorf("refused: %v", err)
			}
			return // YAML cannot hold these characters as they are
		}
		got, err := ParseKubeconfig(data)
		if err != nil {
			t.Fatal(err)
		}
		same := bytes.Equal(got.CAPEM, ca) && bytes.Equal(got.Client.CertPEM, cert) && bytes.Equal(got.Client.KeyPEM.Reveal(), key)
		if diff := cmp.Diff([]string{server, name, user}, []string{got.Server, got.ClusterName, got.User}); diff != "" || !same {
			t.Errorf("certificates are the same: %v; (-written +read):\n%s", same, diff)
		}
	})
}
