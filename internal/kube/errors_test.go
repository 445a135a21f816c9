package kube

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"syscall"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// unreasoned is how the API server reports an error that is not one of its own.
func unreasoned(message string) metav1.Status {
	return metav1.Status{Status: metav1.StatusFailure, Code: 500, Message: message}
}

func TestTransient(t *testing.T) {
	resource := schema.GroupResource{Resource: "pods"}
	status := func(code int, message string) error {
		return apierrors.NewGenericServerResponse(code, "patch", resource, "a", message, 0, true)
	}
	tests := []struct {
		name string
		err  error
		want bool
	}{
		{"address of a Service that was cut", apierrors.NewInvalid(schema.GroupKind{Kind: "Service"}, "kube-dns", field.ErrorList{
			field.Invalid(field.NewPath("spec", "clusterIPs"), []string{"10.96.0.10"}, "failed to allocate IP 10.96.0.10: provided IP is already allocated"),
		}), true},
		{"conflict", apierrors.NewConflict(resource, "a", errors.New("modified")), true},
		{"too many", apierrors.NewTooManyRequests("slow down", 1), true},
		{"unavailable", apierrors.NewServiceUnavailable("starting"), true},
		{"webhook not up", apierrors.NewInternalError(errors.New("failed calling webhook")), true},
		{"etcd", &apierrors.StatusError{ErrStatus: unreasoned("etcdserver: leader changed")}, true},
		{"unknown field", &apierrors.StatusError{ErrStatus: unreasoned("failed to create typed patch object")}, false},
		{"refused", &url.Error{Op: "Patch", Err: &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}}, true},
		{"reset", &url.Error{Op: "Patch", Err: &net.OpError{Op: "read", Err: syscall.ECONNRESET}}, true},
		{"closed", &url.Error{Op: "Patch", Err: io.EOF}, true},
		{"no answer to pings", &url.Error{Op: "Patch", Err: errors.New("http2: client connection lost")}, true},
		{"going away", &url.Error{Op: "Patch", Err: errors.New("http2: server sent GOAWAY and closed the connection")}, true},
		{"closed under way", &url.Error{Op: "Patch", Err: net.ErrClosed}, true},
		{"timeout", &url.Error{Op: "Patch", Err: context.DeadlineExceeded}, true},
		{"kind not served yet", fmt.Errorf("apply: %w", errNoKind), true},
		{"invalid", apierrors.NewInvalid(schema.GroupKind{Kind: "Pod"}, "a", nil), false},
		{"forbidden", apierrors.NewForbidden(resource, "a", errors.New("no")), false},
		{"unauthorized", apierrors.NewUnauthorized("no"), false},
		{"bad request", status(400, ""), false},
		{"certificate", x509.UnknownAuthorityError{}, false},
		{"interrupted", context.Canceled, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := Transient(test.err); got != test.want {
				t.Errorf("transient is %v: %v", got, test.err)
			}
		})
	}
}

func TestExplainError(t *testing.T) {
	tests := []struct {
		err  error
		want string
	}{
		{&url.Error{Op: "Get", URL: "https://x", Err: &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}}, "connection refused"},
		{errors.New("ssh: rejected: connect failed (Connection refused)"), "connection refused"},
		{fmt.Errorf("get: %w", context.DeadlineExceeded), "no answer"},
		{&url.Error{Op: "Get", URL: "https://x", Err: io.EOF}, "connection closed by the server"},
		{&net.OpError{Op: "read", Err: syscall.ECONNRESET}, "connection closed by the server"},
		{x509.UnknownAuthorityError{}, "the server's certificate is not signed by the cluster's authority"},
		{x509.CertificateInvalidError{Cert: &x509.Certificate{}, Reason: x509.Expired, Detail: "late"},
			"the server's certificate is not valid: x509: certificate has expired or is not yet valid: late"},
		{&net.DNSError{Name: "api.example.org", Err: "no such host"}, "cannot resolve api.example.org"},
		{apierrors.NewUnauthorized("Unauthorized"), "unauthorized: the API server does not accept our client certificate"},
		{said{"pod a: connection refused"}, "pod a: connection refused"},
		{errors.New("something else"), "something else"},
	}
	for _, test := range tests {
		if got := explainError(test.err); got != test.want {
			t.Errorf("%v is explained as %q, want %q", test.err, got, test.want)
		}
	}
}

func TestAnswerError(t *testing.T) {
	tests := []struct {
		name, body string
		code       int
		is         func(error) bool
		want       string
	}{
		{"status", `{"kind":"Status","status":"Failure","message":"nodes \"a\" not found","reason":"NotFound","code":404}`, 404,
			apierrors.IsNotFound, `nodes "a" not found`},
		{"text", "error trying to reach service: dial tcp: no route to host\n", 503, apierrors.IsServiceUnavailable,
			"GET /x: the server is currently unable to handle the request: error trying to reach service: dial tcp: no route to host"},
		{"list of checks", "[+]ping ok\n[-]etcd failed\n", 500, apierrors.IsInternalError, "an error on the server"},
		{"nothing", "", 401, apierrors.IsUnauthorized, "the server has asked for the client to provide credentials"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := answerError(test.code, "/x", []byte(test.body))
			if !test.is(err) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v, want %q", err, test.want)
			}
		})
	}
}
