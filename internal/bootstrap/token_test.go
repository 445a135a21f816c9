package bootstrap_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"kubewright/internal/bootstrap"
)

const someToken = "abcdef.0123456789abcdef"

func token(t *testing.T, text string) bootstrap.Token {
	t.Helper()
	token, err := bootstrap.ParseToken(text)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestParseToken(t *testing.T) {
	if got := token(t, someToken); got.ID != "abcdef" || got.Reveal() != someToken {
		t.Errorf("the token is read as %q", got.Reveal())
	}
	for _, bad := range []string{"", "abcdef", "abcdef.", "ABCDEF.0123456789abcdef", "abcdef.0123456789abcde", "abcdef.0123456789abcdef0", someToken + "\n", " " + someToken} {
		if _, err := bootstrap.ParseToken(bad); err == nil || bad != "" && strings.Contains(err.Error(), `"`+bad) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestNewToken(t *testing.T) {
	first, err := bootstrap.NewToken()
	if err != nil {
		t.Fatal(err)
	}
	second, err := bootstrap.NewToken()
	if err != nil || first.Reveal() == second.Reveal() {
		t.Errorf("two tokens are the same, or %v", err)
	}
	token(t, first.Reveal())
}

// A token that is printed by mistake shows its ID only.
func TestTokenIsSecret(t *testing.T) {
	secretToken := token(t, someToken)
	for _, verb := range []string{"%v", "%+v", "%s"} {
		if said := fmt.Sprintf(verb, secretToken); strings.Contains(said, "0123456789") || !strings.Contains(said, "abcdef") {
			t.Errorf("%s prints %s", verb, said)
		}
	}
	if said := fmt.Sprintf("%+v", bootstrap.JoinGrant(secretToken, time.Time{}, "")); strings.Contains(said, "0123456789") {
		t.Errorf("a grant prints %s", said)
	}
}

func TestGrant(t *testing.T) {
	expires := time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))
	grant := bootstrap.JoinGrant(token(t, someToken), expires, "for the new rack")
	object := grant.Object()
	want := map[string]string{
		"token-id": "abcdef", "token-secret": "0123456789abcdef", "expiration": "2026-01-02T02:04:05Z", "description": "for the new rack",
		"usage-bootstrap-signing": "true", "usage-bootstrap-authentication": "true",
		"auth-extra-groups": "system:bootstrappers:kubeadm:default-node-token",
	}
	if diff := cmp.Diff(want, object.StringData); diff != "" {
		t.Errorf("the Secret (-want +got):\n%s", diff)
	}
	if object.Name != "bootstrap-token-abcdef" || object.Namespace != "kube-system" || object.Type != "bootstrap.kubernetes.io/token" {
		t.Errorf("the Secret is %s/%s of type %s", object.Namespace, object.Name, object.Type)
	}
	// As the API server gives it back.
	stored := object.DeepCopy()
	stored.StringData, stored.Data = nil, map[string][]byte{}
	for key, value := range want {
		stored.Data[key] = []byte(value)
	}
	for _, o := range []*corev1.Secret{object, stored} {
		got, err := bootstrap.ReadGrant(o)
		if err != nil || !got.Expires.Equal(expires) {
			t.Fatalf("%+v, %v", got, err)
		}
		got.Expires = grant.Expires
		if diff := cmp.Diff(grant, got); diff != "" {
			t.Errorf("read back (-want +got):\n%s", diff)
		}
	}
	// One that never expires, and lets nobody in.
	bare := bootstrap.Grant{Token: token(t, someToken)}
	if got, err := bootstrap.ReadGrant(bare.Object()); err != nil || !cmp.Equal(bare, got) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestReadGrantFails(t *testing.T) {
	for name, spoil := range map[string]func(*corev1.Secret){
		"no bootstrap token": func(s *corev1.Secret) { delete(s.StringData, "token-secret") },
		"the name":           func(s *corev1.Secret) { s.Name = "bootstrap-token-zzzzzz" },
		"the type":           func(s *corev1.Secret) { s.Type = corev1.SecretTypeOpaque },
		"no RFC 3339 time":   func(s *corev1.Secret) { s.StringData["expiration"] = "tomorrow" },
	} {
		object := bootstrap.JoinGrant(token(t, someToken), time.Now(), "").Object()
		spoil(object)
		if _, err := bootstrap.ReadGrant(object); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
