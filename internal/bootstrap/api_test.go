package bootstrap_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"kubewright/addons"
	"kubewright/certs"
	"kubewright/internal/bootstrap"
	"kubewright/internal/fault"
	"kubewright/internal/kube"
	"kubewright/internal/kube/apitest"
	"kubewright/internal/secret"
	"kubewright/templates"
)

// realAPI is a real API server with what the phase bootstrap makes there.
type realAPI struct {
	bootstrap.API
	server *apitest.Server
}

func newRealAPI(t *testing.T) *realAPI {
	t.Helper()
	server := apitest.StartServer(t)
	client, err := kube.New(kube.Config{Server: server.URL, CAPEM: server.PKI.Bundle.Kubernetes.CertPEM(), Client: server.PKI.SuperAdmin(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	if err := kube.Wait(within(t), client.APIReady(), nil); err != nil {
		t.Fatal(err)
	}
	a := &realAPI{bootstrap.API{Client: client}, server}
	for _, render := range []func() ([]byte, error){
		templates.BootstrapRBAC,
		func() ([]byte, error) {
			return templates.ClusterInfo(templates.ClusterInfoData{Server: "https://api.example.com:6443", CAPEM: server.PKI.Bundle.Kubernetes.CertPEM()})
		},
		func() ([]byte, error) {
			return templates.KubewrightConfig([]byte("kind: Cluster\n"), []byte("kind: Lock\n"))
		},
	} {
		manifest, err := render()
		if err != nil {
			t.Fatal(err)
		}
		objects, err := addons.Decode(manifest)
		if err != nil {
			t.Fatal(err)
		}
		a.apply(t, objects...)
	}
	return a
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func (a *realAPI) apply(t *testing.T, objects ...kube.Object) {
	t.Helper()
	changes, err := a.Diff(within(t), objects)
	if err == nil {
		err = a.Apply(within(t), changes)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// as is a client of a machine that has nothing but a token.
func (a *realAPI) as(t *testing.T, token bootstrap.Token) *kube.Client {
	t.Helper()
	client, err := kube.New(kube.Config{Server: a.server.URL, CAPEM: a.server.PKI.Bundle.Kubernetes.CertPEM(), Token: secret.String(token.Reveal())})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func (a *realAPI) secret(t *testing.T, client *kube.Client, name string) *corev1.Secret {
	t.Helper()
	object, err := client.Get(within(t), corev1.SchemeGroupVersion.WithKind("Secret"), metav1.NamespaceSystem, name)
	if err != nil {
		t.Fatal(err)
	}
	s := &corev1.Secret{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, s); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestAPI is one test, because an API server takes seconds to start.
func TestAPI(t *testing.T) {
	a := newRealAPI(t)
	t.Run("Tokens", a.testTokens)
	t.Run("JoinPoint", a.testJoinPoint)
	t.Run("Certificates", a.testCertificates)
}

func newToken(t *testing.T) bootstrap.Token {
	t.Helper()
	token, err := bootstrap.NewToken()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func (a *realAPI) testTokens(t *testing.T) {
	first, second := newToken(t), newToken(t)
	expires := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	want := bootstrap.JoinGrant(first, expires, "the first")
	if _, err := a.Grant(within(t), want); err != nil {
		t.Fatal(err)
	}
	// What holds is what the cluster knows, not what was asked for the second time.
	if holds, err := a.Grant(within(t), bootstrap.JoinGrant(first, time.Time{}, "later")); err != nil || !holds.Expires.Equal(expires) || holds.Description != "the first" {
		t.Errorf("the same token again: %+v, %v", holds, err)
	}
	if _, err := a.Grant(within(t), bootstrap.JoinGrant(second, time.Time{}, "")); err != nil {
		t.Fatal(err)
	}
	other := bootstrap.Token{ID: first.ID, Secret: "0123456789abcdef"}
	if _, err := a.Grant(within(t), bootstrap.JoinGrant(other, expires, "")); fault.KindOf(err) != fault.BadInput || strings.Contains(err.Error(), other.Secret.Reveal()) {
		t.Errorf("another token of the same ID: %v", err)
	}

	// Somebody's Secret that the cluster takes for no token does not hide the others.
	broken := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token",
		"metadata":   map[string]any{"namespace": "kube-system", "name": "bootstrap-token-zzzzzz"},
		"stringData": map[string]any{"token-id": "zzzzzz", "token-secret": "tooshort"},
	}}
	a.apply(t, broken)
	grants, err := a.Grants(within(t))
	if err == nil || !strings.Contains(err.Error(), "Secret kube-system/bootstrap-token-zzzzzz") || strings.Contains(err.Error(), "tooshort") {
		t.Errorf("a Secret that is no token: %v", err)
	}
	found := slices.IndexFunc(grants, func(g bootstrap.Grant) bool { return g.Token == first })
	if len(grants) != 2 || found < 0 || !grants[found].Expires.Equal(expires) || grants[found].Description != "the first" ||
		!slices.Equal(grants[found].Groups, []string{bootstrap.JoinGroup}) || !grants[1-found].Expires.IsZero() {
		t.Errorf("tokens: %+v", grants)
	}

	// What a token is good for: the cluster as it describes itself, and no more.
	object, err := a.as(t, first).Get(within(t), corev1.SchemeGroupVersion.WithKind("ConfigMap"), metav1.NamespaceSystem, templates.ClusterConfigMap)
	if err != nil {
		t.Fatal(err)
	}
	data, _, _ := unstructured.NestedStringMap(object.Object, "data")
	if data[templates.ClusterFileKey] != "kind: Cluster\n" || data[templates.DigestsKey] != "kind: Lock\n" {
		t.Errorf("the ConfigMap has %q", data)
	}
	if _, err := a.as(t, first).Get(within(t), corev1.SchemeGroupVersion.WithKind("Secret"), metav1.NamespaceSystem, bootstrap.SecretName(first.ID)); !apierrors.IsForbidden(err) {
		t.Errorf("a machine with a token reads Secrets: %v", err)
	}

	if err := a.Revoke(within(t), first.ID); err != nil {
		t.Fatal(err)
	}
	if err := a.Revoke(within(t), first.ID); fault.KindOf(err) != fault.BadInput {
		t.Errorf("a token that there is not: %v", err)
	}
	if err := a.Delete(within(t), corev1.SchemeGroupVersion.WithKind("Secret"), metav1.NamespaceSystem, "bootstrap-token-zzzzzz"); err != nil {
		t.Fatal(err)
	}
	if grants, err := a.Grants(within(t)); err != nil || len(grants) != 1 || grants[0].Token != second {
		t.Errorf("tokens that are left: %+v, %v", grants, err)
	}
}

func (a *realAPI) testJoinPoint(t *testing.T) {
	token := newToken(t)
	got, err := a.JoinPoint(within(t), token)
	if err != nil {
		t.Fatal(err)
	}
	want := "kubewright join api.example.com:6443 --token " + token.Reveal() + " --discovery-token-ca-cert-hash sha256:" +
		strings.TrimPrefix(got.Pins[0], "sha256:")
	if got.JoinCommand("") != want || len(got.Pins) != 1 {
		t.Errorf("%s, want %s", got.JoinCommand(""), want)
	}
	pins, err := certs.PublicKeyHashes(a.server.PKI.Bundle.Kubernetes.CertPEM())
	if err != nil || !slices.Equal(got.Pins, pins) {
		t.Errorf("pins %q, want %q, %v", got.Pins, pins, err)
	}
}

func (a *realAPI) testCertificates(t *testing.T) {
	token := newToken(t)
	if _, err := a.Grant(within(t), bootstrap.JoinGrant(token, time.Now().Add(time.Hour), "")); err != nil {
		t.Fatal(err)
	}
	upload := func() bootstrap.CertificateKey {
		t.Helper()
		key, err := bootstrap.NewCertificateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		u := bootstrap.Upload{Key: key, Files: a.server.PKI.Bundle.Files(), Now: time.Now(), Rand: rand.Reader}
		if err := a.UploadCertificates(within(t), u); err != nil {
			t.Fatal(err)
		}
		return key
	}
	first := upload()
	before := a.secret(t, a.Client, bootstrap.CertificatesName)
	second := upload()
	after := a.secret(t, a.as(t, token), bootstrap.CertificatesName)
	if _, err := first.Decrypt(after); err == nil {
		t.Error("the key of an earlier upload opens the later one")
	}
	files, err := second.Decrypt(after)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range a.server.PKI.Bundle.Files() {
		if !bytes.Equal(files[f.Name].Reveal(), f.Content.Reveal()) {
			t.Errorf("%s is another", f.Name)
		}
	}
	// It belongs to the token of its own upload alone, which is good for nothing, and for two hours.
	if len(after.OwnerReferences) != 1 || after.OwnerReferences[0].UID == before.OwnerReferences[0].UID {
		t.Fatalf("owners before %v, after %v", before.OwnerReferences, after.OwnerReferences)
	}
	owner := a.secret(t, a.Client, after.OwnerReferences[0].Name)
	grant, err := bootstrap.ReadGrant(owner)
	if err != nil || owner.UID != after.OwnerReferences[0].UID || len(grant.Usages)+len(grant.Groups) > 0 {
		t.Errorf("the owner is %+v, %v", grant, err)
	}
	if left := time.Until(grant.Expires); left > bootstrap.CertificatesLifetime || left < bootstrap.CertificatesLifetime-time.Minute {
		t.Errorf("it is good for %s", left)
	}
}
