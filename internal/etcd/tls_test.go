package etcd_test

import (
	"crypto/tls"
	"crypto/x509"
	"testing"

	"kubewright/certs"
	"kubewright/internal/kube/apitest"
)

func clientTLS(t *testing.T, pki *apitest.PKI) *tls.Config {
	t.Helper()
	pair := pki.Pair(certs.EtcdHealthcheckClient)
	certificate, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pki.Bundle.Etcd.CertPEM())
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: []tls.Certificate{certificate}}
}
