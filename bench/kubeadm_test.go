package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/netip"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

func TestKubeadmFiles(t *testing.T) {
	config := kubeadmConfig{
		Address: netip.MustParseAddr("192.0.2.11"), Kubernetes: "1.37.2", Endpoint: "192.0.2.10:6443",
		Token: "abcdef.0123456789abcdef", CertificateKey: strings.Repeat("ab", 32),
		EtcdTag: "3.7.3-0", DNSTag: "v1.15.0", CAHash: "sha256:aa",
	}
	for _, tc := range []struct {
		file         string
		controlPlane bool
		kinds        string
		has, hasNot  []string
	}{
		{"init.yaml.tmpl", false, "InitConfiguration ClusterConfiguration KubeletConfiguration KubeProxyConfiguration",
			[]string{"advertiseAddress: 192.0.2.11", "kubernetesVersion: v1.37.2", "controlPlaneEndpoint: 192.0.2.10:6443", "imageTag: 3.7.3-0", "imageTag: v1.15.0"}, nil},
		{"join.yaml.tmpl", true, "JoinConfiguration",
			[]string{"advertiseAddress: 192.0.2.11", "certificateKey: abab", "apiServerEndpoint: 192.0.2.10:6443", `caCertHashes: ["sha256:aa"]`}, nil},
		{"join.yaml.tmpl", false, "JoinConfiguration", []string{"token: abcdef.0123456789abcdef"}, []string{"certificateKey", "advertiseAddress"}},
	} {
		config.ControlPlane = tc.controlPlane
		got, err := renderKubeadm(tc.file, config)
		if err != nil {
			t.Fatal(err)
		}
		var kinds []string
		for _, document := range strings.Split(got, "\n---\n") {
			var d struct{ Kind string }
			if err := yaml.Unmarshal([]byte(document), &d); err != nil {
				t.Errorf("%s: %v\n%s", tc.file, err, document)
			}
			kinds = append(kinds, d.Kind)
		}
		if strings.Join(kinds, " ") != tc.kinds {
			t.Errorf("%s has %v, want %s", tc.file, kinds, tc.kinds)
		}
		for _, text := range tc.has {
			if !strings.Contains(got, text) {
				t.Errorf("%s lacks %q:\n%s", tc.file, text, got)
			}
		}
		for _, text := range tc.hasNot {
			if strings.Contains(got, text) {
				t.Errorf("%s has %q:\n%s", tc.file, text, got)
			}
		}
	}
}

func TestCAHash(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	said := "[init] done\n" + string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	got, err := caHash(said)
	if want := fmt.Sprintf("sha256:%x", sha256.Sum256(public)); err != nil || got != want {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
	for _, bad := range []string{"[init] done\n", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}))} {
		if _, err := caHash(bad); err == nil {
			t.Errorf("%q has a certificate", bad)
		}
	}
}

func TestTag(t *testing.T) {
	if got := tag("registry.example.com:5000/etcd:3.7.3-0"); got != "3.7.3-0" {
		t.Errorf("tag %q", got)
	}
}
