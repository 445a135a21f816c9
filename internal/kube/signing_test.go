package kube

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"kubewright/certs"
	"kubewright/internal/kube/apitest"
)

const requestsPath = "/apis/certificates.k8s.io/v1/certificatesigningrequests"

// signer plays an API server with the controllers that approve requests and sign them, each a second
// after the other.
type signer struct {
	t       *testing.T
	request certificatesv1.CertificateSigningRequest
	made    time.Time
	// refuses makes no request; denies approves none, and idle does nothing.
	refuses, denies, idle bool
}

func (s *signer) RoundTrip(r *http.Request) (*http.Response, error) {
	s.request.APIVersion, s.request.Kind = "certificates.k8s.io/v1", "CertificateSigningRequest"
	switch {
	case r.Method == http.MethodPost && r.URL.Path == requestsPath && s.refuses:
		return failure(r, apierrors.NewForbidden(schema.GroupResource{Resource: "certificatesigningrequests"}, "", errors.New("not you")))
	case r.Method == http.MethodPost && r.URL.Path == requestsPath:
		if err := json.NewDecoder(r.Body).Decode(&s.request); err != nil {
			s.t.Error(err)
		}
		s.request.Name, s.made = s.request.GenerateName+"x7", time.Now()
	case r.Method == http.MethodGet && r.URL.Path == requestsPath+"/node-csr-x7":
		s.progress(time.Since(s.made))
	case r.Method == http.MethodGet && r.URL.Path == requestsPath: // to watch it
		return failure(r, apierrors.NewForbidden(schema.GroupResource{Resource: "certificatesigningrequests"}, "", errors.New("ask again")))
	default:
		s.t.Errorf("unexpected request %s %s", r.Method, r.URL)
	}
	return answer(r, http.StatusOK, s.request)
}

func (s *signer) progress(after time.Duration) {
	set := func(kind certificatesv1.RequestConditionType) {
		s.request.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: kind, Status: corev1.ConditionTrue, Reason: "AutoApproved", Message: "by the test"}}
	}
	switch {
	case s.idle:
	case s.denies && after >= time.Second:
		set(certificatesv1.CertificateDenied)
	case after >= 2*time.Second:
		s.request.Status.Certificate = []byte("signed")
	case after >= time.Second:
		set(certificatesv1.CertificateApproved)
	}
}

func TestSignKubeletClient(t *testing.T) {
	for name, test := range map[string]struct {
		signer signer
		want   string // the error; "": the certificate
	}{
		"signed":  {},
		"refused": {signer{refuses: true}, "ask for the kubelet's certificate: "},
		"denied":  {signer{denies: true}, "the cluster does not sign CertificateSigningRequest node-csr-x7: denied: AutoApproved: by the test"},
		"ignored": {signer{idle: true}, "for the cluster to sign CertificateSigningRequest node-csr-x7: it was not approved yet"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var heard []string
				api := &test.signer
				api.t = t
				client := newDrainAPI(t).client()
				client.http.Transport = api
				certificate, err := client.SignKubeletClient(minute(t), []byte("please"), time.Hour, func(detail string) { heard = append(heard, detail) })
				if test.want != "" {
					if err == nil || !strings.Contains(err.Error(), test.want) || certificate != nil {
						t.Errorf("error %v, want %s", err, test.want)
					}
					return
				}
				if err != nil || string(certificate) != "signed" {
					t.Errorf("certificate %q, error %v", certificate, err)
				}
				if diff := cmp.Diff([]string{"it was not approved yet", "it is approved, and not signed yet"}, heard); diff != "" {
					t.Errorf("what was heard (-want +got):\n%s", diff)
				}
				seconds := int32(3600)
				want := certificatesv1.CertificateSigningRequestSpec{
					ExpirationSeconds: &seconds, Request: []byte("please"), SignerName: "kubernetes.io/kube-apiserver-client-kubelet",
					Usages: []certificatesv1.KeyUsage{"digital signature", "client auth"},
				}
				if diff := cmp.Diff(want, api.request.Spec); diff != "" {
					t.Errorf("what was asked for (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestHasNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newDrainAPI(t, freeNode)
		for name, want := range map[string]bool{"w1": true, "w2": false} {
			if there, err := api.client().HasNode(minute(t), name); err != nil || there != want {
				t.Errorf("%s: %v, %v", name, there, err)
			}
		}
		api.breaks(0, time.Hour, refuse)
		if there, err := api.client().HasNode(minute(t), "w1"); err == nil || there {
			t.Errorf("where nobody answers: %v", there)
		}
	})
}

// The token goes with every request, and into no error.
func TestToken(t *testing.T) {
	pki := apitest.NewPKI(t)
	var presented []string
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		presented = append(presented, r.Header.Get("Authorization"))
	}))
	pair, err := tls.X509KeyPair(pki.Pair(certs.APIServer).CertPEM, pki.Pair(certs.APIServer).KeyPEM.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	server.StartTLS()
	t.Cleanup(server.Close)
	client, err := New(Config{Server: server.URL, CAPEM: pki.Bundle.Kubernetes.CertPEM(), Token: "abcdef.0123456789abcdef"})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, _, err := client.APIReady().Check(t.Context()); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"Bearer abcdef.0123456789abcdef"}, presented); diff != "" {
		t.Error(diff)
	}
	server.Close()
	_, _, err = client.APIReady().Check(t.Context())
	if said := fmt.Sprintf("%v %+v", err, Config{Token: "abcdef.0123456789abcdef"}); err == nil || strings.Contains(said, "0123456789abcdef") {
		t.Errorf("it says %s", said)
	}
}
