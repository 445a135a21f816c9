package bootstrap

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cluster-bootstrap/token/api"

	"kubewright/addons"
	"kubewright/certs"
	"kubewright/internal/fault"
	"kubewright/internal/kube"
	"kubewright/templates"
)

// API is what an administrator does in a cluster for machines that join it.
type API struct{ *kube.Client }

func secretKind() schema.GroupVersionKind { return corev1.SchemeGroupVersion.WithKind("Secret") }

// Grant makes the cluster know a token, and returns what it knows of it: a token that it knows already is left
// as it is. Another one of the same ID is refused.
func (a API) Grant(ctx context.Context, g Grant) (Grant, error) {
	found, err := a.Get(ctx, secretKind(), metav1.NamespaceSystem, SecretName(g.Token.ID))
	switch {
	case apierrors.IsNotFound(err):
		return g, a.put(ctx, g.Object())
	case err != nil:
		return Grant{}, err
	}
	if existing, err := readSecret(found); err == nil {
		if known, err := ReadGrant(existing); err == nil && known.Token == g.Token {
			return known, nil
		}
	}
	return Grant{}, fault.New(fault.BadInput, "the cluster has another token with the ID %s", g.Token.ID).
		WithHint("take another, or delete that: kubewright token delete %s", g.Token.ID)
}

// Grants lists the tokens of the cluster by ID. The error is of those that are none, besides which the
// others are listed.
func (a API) Grants(ctx context.Context) ([]Grant, error) {
	objects, err := a.List(ctx, secretKind(), metav1.NamespaceSystem, "")
	if err != nil {
		return nil, err
	}
	var grants []Grant
	var errs []error
	for _, object := range objects {
		if kind, _, _ := unstructured.NestedString(object.Object, "type"); kind != string(api.SecretTypeBootstrapToken) {
			continue
		}
		found, err := readSecret(object)
		if err == nil {
			var g Grant
			if g, err = ReadGrant(found); err == nil {
				grants = append(grants, g)
				continue
			}
		}
		errs = append(errs, fmt.Errorf("%s: %w", kube.Name(object), err))
	}
	slices.SortFunc(grants, func(x, y Grant) int { return strings.Compare(x.Token.ID, y.Token.ID) })
	return grants, errors.Join(errs...)
}

// Revoke has the cluster forget the token of an ID.
func (a API) Revoke(ctx context.Context, id string) error {
	err := a.Delete(ctx, secretKind(), metav1.NamespaceSystem, SecretName(id))
	if apierrors.IsNotFound(err) {
		return fault.New(fault.BadInput, "the cluster has no token %s", id).WithHint("kubewright token list says which there are")
	}
	return err
}

// JoinPoint is where machines join the cluster with a token, by what the cluster says of itself.
func (a API) JoinPoint(ctx context.Context, token Token) (Discovery, error) {
	object, err := a.Get(ctx, corev1.SchemeGroupVersion.WithKind("ConfigMap"), metav1.NamespacePublic, api.ConfigMapClusterInfo)
	if err != nil {
		return Discovery{}, err
	}
	content, _, _ := unstructured.NestedString(object.Object, "data", api.KubeConfigKey)
	info, err := parseClusterInfo(content)
	if err != nil {
		return Discovery{}, fmt.Errorf("%s: %w", kube.Name(object), err)
	}
	pins, err := certs.PublicKeyHashes(info.CAPEM)
	if err != nil {
		return Discovery{}, fmt.Errorf("%s: %w", kube.Name(object), err)
	}
	server, err := url.Parse(info.Server)
	if err != nil {
		return Discovery{}, fmt.Errorf("%s: %w", kube.Name(object), err)
	}
	return Discovery{Endpoint: server.Host, Token: token, Pins: pins}, nil
}

// Upload lends what an upload of certificates needs of the world.
type Upload struct {
	Key   CertificateKey
	Files []certs.File
	Now   time.Time
	Rand  io.Reader
}

// UploadCertificates puts the encrypted files of the PKI folder where control planes that join find them. They
// belong to a token that is good for nothing, and go with it after CertificatesLifetime.
func (a API) UploadCertificates(ctx context.Context, u Upload) error {
	token, err := NewToken()
	if err != nil {
		return err
	}
	bound := Grant{Token: token, Expires: u.Now.Add(CertificatesLifetime), Description: "bounds the life of " + CertificatesName}
	if err := a.put(ctx, bound.Object()); err != nil {
		return err
	}
	owner, err := a.Get(ctx, secretKind(), metav1.NamespaceSystem, SecretName(token.ID))
	if err != nil {
		return err
	}
	object, err := u.Key.Encrypt(u.Files, Owner{Name: owner.GetName(), UID: owner.GetUID()}, u.Rand)
	if err != nil {
		return err
	}
	rights, err := templates.CertificatesRBAC()
	if err != nil {
		return err
	}
	roles, err := addons.Decode(rights)
	if err != nil {
		return err
	}
	if err := a.apply(ctx, roles...); err != nil {
		return err
	}
	// An earlier upload has another owner, which would go first and take this one with it.
	err = a.Delete(ctx, secretKind(), metav1.NamespaceSystem, CertificatesName)
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	return a.put(ctx, object)
}

// ReadCertificates reads what UploadCertificates has put into the cluster.
func ReadCertificates(object kube.Object, key CertificateKey) (certs.HostFiles, error) {
	found, err := readSecret(object)
	if err != nil {
		return nil, err
	}
	return key.Decrypt(found)
}

// put applies a Secret.
func (a API) put(ctx context.Context, s *corev1.Secret) error {
	object, err := writeSecret(s)
	if err != nil {
		return err
	}
	return a.apply(ctx, object)
}

func (a API) apply(ctx context.Context, objects ...kube.Object) error {
	changes, err := a.Diff(ctx, objects)
	if err != nil {
		return err
	}
	return a.Apply(ctx, changes)
}

// writeSecret is a Secret as any object, with what is in StringData among its data: that is how the API
// server keeps it, and what a comparison finds.
func writeSecret(s *corev1.Secret) (kube.Object, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(s)
	if err != nil {
		return nil, err
	}
	object := &unstructured.Unstructured{Object: content}
	unstructured.RemoveNestedField(content, "metadata", "creationTimestamp")
	unstructured.RemoveNestedField(content, "stringData")
	for key, text := range s.StringData {
		if err := unstructured.SetNestedField(content, base64.StdEncoding.EncodeToString([]byte(text)), "data", key); err != nil {
			return nil, err
		}
	}
	return object, nil
}

func readSecret(object kube.Object) (*corev1.Secret, error) {
	s := &corev1.Secret{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, s); err != nil {
		return nil, errors.New("it is no Secret") // the converter may quote what is in it
	}
	return s, nil
}
