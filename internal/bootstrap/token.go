// Package bootstrap is what lets a machine become part of a cluster by itself, with nothing but a
// bootstrap token: the token, the cluster-info that it signs, and the certificates that it lets a
// control plane download. All of it is as kubeadm has it, so that either can join what the other made:
// https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/
package bootstrap

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cluster-bootstrap/token/api"
	"k8s.io/cluster-bootstrap/token/util"

	"kubewright/internal/secret"
)

const (
	// TokenLifetime is how long a token is good for when nobody says otherwise.
	TokenLifetime = 24 * time.Hour
	// JoinGroup is the group whose members the cluster lets ask for a kubelet's certificate.
	JoinGroup = "system:bootstrappers:kubeadm:default-node-token"
)

// Token lets whoever has it join a cluster until it expires. Its ID is public.
type Token struct {
	ID     string
	Secret secret.String
}

// NewToken returns a random token.
func NewToken() (Token, error) {
	text, err := util.GenerateBootstrapToken()
	if err != nil {
		return Token{}, err
	}
	return ParseToken(text)
}

// ParseToken reads a token of the form abcdef.0123456789abcdef. The error does not repeat the text.
func ParseToken(text string) (Token, error) {
	if !util.IsValidBootstrapToken(text) {
		return Token{}, errors.New("this is no bootstrap token, which is of the form abcdef.0123456789abcdef: six and sixteen lower-case letters and digits")
	}
	id, rest, _ := strings.Cut(text, ".")
	return Token{ID: id, Secret: secret.String(rest)}, nil
}

// ParseTokenID reads the ID of a token, or that of a whole one. The error does not repeat the text.
func ParseTokenID(text string) (string, error) {
	if util.IsValidBootstrapTokenID(text) {
		return text, nil
	}
	token, err := ParseToken(text)
	if err != nil {
		return "", errors.New("this is no ID of a token, which is six lower-case letters and digits: what stands before the dot")
	}
	return token.ID, nil
}

// Reveal returns the token as it is written on a command line.
func (t Token) Reveal() string { return util.TokenFromIDAndSecret(t.ID, t.Secret.Reveal()) }

// Bearer is the token as it authenticates to an API server.
func (t Token) Bearer() secret.String { return secret.String(t.Reveal()) }

// String returns the token without its secret.
func (t Token) String() string { return t.ID + "." + secret.Redacted }

// Grant is a token with what the cluster knows of it.
type Grant struct {
	Token Token
	// Expires is when the cluster forgets it; zero is never.
	Expires time.Time
	// Description is for people.
	Description string
	// Usages are what it is good for, of "authentication" and "signing"; none is a token that only
	// bounds the life of what it owns.
	Usages []string
	// Groups are what it authenticates as, besides system:bootstrappers.
	Groups []string
}

// JoinGrant makes a token one that lets machines join.
func JoinGrant(token Token, expires time.Time, description string) Grant {
	return Grant{Token: token, Expires: expires, Description: description, Usages: slices.Clone(api.KnownTokenUsages), Groups: []string{JoinGroup}}
}

// SecretName is the name of the Secret in kube-system that holds a token.
func SecretName(id string) string { return util.BootstrapTokenSecretName(id) }

// Object is the Secret that makes the cluster know a token. Its text is in StringData, and so has to be
// kept out of logs.
func (g Grant) Object() *corev1.Secret {
	data := map[string]string{api.BootstrapTokenIDKey: g.Token.ID, api.BootstrapTokenSecretKey: g.Token.Secret.Reveal()}
	if !g.Expires.IsZero() {
		data[api.BootstrapTokenExpirationKey] = g.Expires.UTC().Format(time.RFC3339)
	}
	if g.Description != "" {
		data[api.BootstrapTokenDescriptionKey] = g.Description
	}
	for _, usage := range g.Usages {
		data[api.BootstrapTokenUsagePrefix+usage] = "true"
	}
	if len(g.Groups) > 0 {
		data[api.BootstrapTokenExtraGroupsKey] = strings.Join(g.Groups, ",")
	}
	return &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: SecretName(g.Token.ID)},
		Type:       api.SecretTypeBootstrapToken,
		StringData: data,
	}
}

// ReadGrant reads the Secret of a token. An expiration that cannot be read makes a token worthless to
// the cluster, and is an error here.
func ReadGrant(object *corev1.Secret) (Grant, error) {
	field := func(key string) string { return cmp.Or(object.StringData[key], string(object.Data[key])) }
	token, err := ParseToken(field(api.BootstrapTokenIDKey) + "." + field(api.BootstrapTokenSecretKey))
	if err != nil {
		return Grant{}, err
	}
	if object.Type != api.SecretTypeBootstrapToken || object.Name != SecretName(token.ID) {
		return Grant{}, errors.New("the name or the type of the Secret is not that of a bootstrap token")
	}
	g := Grant{Token: token, Description: field(api.BootstrapTokenDescriptionKey)}
	if text := field(api.BootstrapTokenExpirationKey); text != "" {
		if g.Expires, err = time.Parse(time.RFC3339, text); err != nil {
			return Grant{}, errors.New("its expiration is no RFC 3339 time")
		}
	}
	for _, usage := range api.KnownTokenUsages {
		if field(api.BootstrapTokenUsagePrefix+usage) == "true" {
			g.Usages = append(g.Usages, usage)
		}
	}
	if groups := field(api.BootstrapTokenExtraGroupsKey); groups != "" {
		g.Groups = strings.Split(groups, ",")
	}
	return g, nil
}
