package kube

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// SignKubeletClient has the cluster sign the request (PKCS #10, as PEM) for the client certificate of a
// kubelet that is good for lifetime, or less where the cluster signs for less, and returns it as PEM. A request of somebody who may join is approved without a
// person; ctx, which must have a deadline, bounds the wait for that, and emit hears what it waits for. The request is
// left to the cluster, which removes it after a time: https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/
func (c *Client) SignKubeletClient(ctx context.Context, request []byte, lifetime time.Duration, emit func(detail string)) ([]byte, error) {
	seconds := int32(min(lifetime/time.Second, math.MaxInt32))
	wanted, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&certificatesv1.CertificateSigningRequest{
		TypeMeta:   metav1.TypeMeta{APIVersion: certificatesv1.SchemeGroupVersion.String(), Kind: "CertificateSigningRequest"},
		ObjectMeta: metav1.ObjectMeta{GenerateName: "node-csr-"},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request: request, ExpirationSeconds: &seconds, SignerName: certificatesv1.KubeAPIServerClientKubeletSignerName,
			Usages: []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageClientAuth},
		},
	})
	if err != nil {
		return nil, err
	}
	requests := certificatesv1.SchemeGroupVersion.WithResource("certificatesigningrequests")
	bounded, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	made, err := c.resource(requests, "").Create(bounded, &unstructured.Unstructured{Object: wanted}, metav1.CreateOptions{FieldManager: FieldManager})
	if err != nil {
		return nil, fmt.Errorf("ask for the kubelet's certificate: %w", err)
	}
	var certificate []byte
	var refused string
	signed := objectCondition{client: c, what: "the cluster to sign " + Name(made), gvr: requests, name: made.GetName(),
		judge: func(object Object) (done bool, detail string) {
			certificate, refused, detail = judgeRequest(object)
			return len(certificate) > 0 || refused != "", detail
		}}
	switch err := Wait(ctx, signed, emit); {
	case err != nil:
		return nil, err
	case refused != "":
		return nil, fmt.Errorf("the cluster does not sign %s: %s", Name(made), refused)
	}
	return certificate, nil
}

// judgeRequest is what became of a request for a certificate; the detail is what it waits for.
func judgeRequest(object Object) (certificate []byte, refused, detail string) {
	var request certificatesv1.CertificateSigningRequest
	if detail := typed(object, &request); detail != "" {
		return nil, "", detail
	}
	detail = "it was not approved yet"
	for _, condition := range request.Status.Conditions {
		switch condition.Type {
		case certificatesv1.CertificateDenied, certificatesv1.CertificateFailed:
			return nil, strings.ToLower(string(condition.Type)) + ": " + condition.Reason + ": " + condition.Message, ""
		case certificatesv1.CertificateApproved:
			detail = "it is approved, and not signed yet"
		}
	}
	return request.Status.Certificate, "", detail
}
