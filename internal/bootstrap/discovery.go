package bootstrap

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cluster-bootstrap/token/api"
	"k8s.io/cluster-bootstrap/token/jws"
	"sigs.k8s.io/yaml"

	"kubewright/certs"
	"kubewright/internal/fault"
)

const (
	// askTimeout bounds one request for the cluster-info.
	askTimeout = 10 * time.Second
	// hashPrefix names the digest of a hash of a public key.
	hashPrefix = "sha256:"
	// mostInfo is more than a cluster-info has, in bytes: nobody is trusted yet.
	mostInfo = 1 << 20
)

// Discovery is what a machine knows of the cluster that it is to join.
type Discovery struct {
	// Endpoint is where an API server, or a load balancer of several, is: HOST:PORT.
	Endpoint string
	Token    Token
	// Pins are the hashes of public keys, as "sha256:" and 64 hexadecimal digits. All of the cluster's
	// authorities have to be among them. There is no discovery without.
	Pins []string
}

// ClusterInfo is what a cluster says of itself to machines that join, and what they trust from then on.
type ClusterInfo struct {
	// Server is the URL of the endpoint that nodes use.
	Server string
	// CAPEM is the certificate of the cluster's authority.
	CAPEM []byte
}

// Discover asks for the cluster-info, and believes it once three things hold: it is signed with the
// token, so that whoever answered knows it; its authority is the pinned one; and an API server with a
// certificate of that authority says the same. The error has a kind and says which of them failed.
func (d Discovery) Discover(ctx context.Context) (ClusterInfo, error) {
	if len(d.Pins) == 0 {
		return ClusterInfo{}, fault.New(fault.BadInput, "without the hash of its authority's public key a cluster is not known from another").
			WithHint("give --discovery-token-ca-cert-hash, which `kubewright token create --print-join-command` prints")
	}
	for _, pin := range d.Pins {
		if digits, ok := strings.CutPrefix(pin, hashPrefix); !ok || len(digits) != 2*sha256.Size || !isHex(digits) {
			return ClusterInfo{}, fault.New(fault.BadInput, "%q is no hash of a public key, which is of the form %sHEX with %d digits", pin, hashPrefix, 2*sha256.Size)
		}
	}
	// Not verified by TLS: the signature and the hash do that, and the second answer has to be the same.
	first, err := d.ask(ctx, &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true}) //nolint:gosec // see above
	if err != nil {
		return ClusterInfo{}, err
	}
	info, err := d.believe(first)
	if err != nil {
		return ClusterInfo{}, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(info.CAPEM)
	second, err := d.ask(ctx, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots})
	if err != nil {
		return ClusterInfo{}, err
	}
	if second.Data[api.KubeConfigKey] != first.Data[api.KubeConfigKey] {
		return ClusterInfo{}, fault.New(fault.Preflight, "%s: the API server behind it says something else than was signed with the token", d.Endpoint)
	}
	return info, nil
}

// ask fetches the ConfigMap that everybody may read.
func (d Discovery) ask(ctx context.Context, config *tls.Config) (*corev1.ConfigMap, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	transport := &http.Transport{TLSClientConfig: config, DialContext: (&net.Dialer{}).DialContext}
	defer transport.CloseIdleConnections()
	where := url.URL{Scheme: "https", Host: d.Endpoint, Path: "/api/v1/namespaces/" + metav1.NamespacePublic + "/configmaps/" + api.ConfigMapClusterInfo}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, where.String(), nil)
	if err != nil {
		return nil, fault.New(fault.BadInput, "%s is no endpoint, which is of the form host:port", d.Endpoint)
	}
	answer, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return nil, d.unreachable(err)
	}
	defer func() { _ = answer.Body.Close() }() // it was read
	body, err := io.ReadAll(io.LimitReader(answer.Body, mostInfo))
	if err != nil {
		return nil, d.unreachable(err)
	}
	if answer.StatusCode != http.StatusOK {
		return nil, fault.New(fault.Unhealthy, "%s: it has no cluster-info for machines that join: %s", d.Endpoint, answer.Status).
			WithHint("is this the endpoint of an API server, and is its cluster up?")
	}
	var info corev1.ConfigMap
	if err := json.Unmarshal(body, &info); err != nil {
		return nil, fault.New(fault.Unhealthy, "%s: this is no API server: its answer is no ConfigMap", d.Endpoint)
	}
	return &info, nil
}

// unreachable is the error of an endpoint that gave no answer, or not one of the right authority.
func (d Discovery) unreachable(err error) error {
	var failed *url.Error
	if errors.As(err, &failed) {
		err = failed.Err
	}
	var verify *tls.CertificateVerificationError
	if errors.As(err, &verify) {
		return fault.New(fault.Preflight, "%s: %w", d.Endpoint, verify).
			WithHint("add the name to controlPlane.certSANs (--apiserver-cert-extra-sans), or join by one that is in the certificate")
	}
	return fault.New(fault.Unreachable, "%s: no API server answers: %w", d.Endpoint, err).
		WithHint("check the endpoint, and that nothing between here and there blocks its port")
}

// believe checks the signature and the authority of a cluster-info.
func (d Discovery) believe(object *corev1.ConfigMap) (ClusterInfo, error) {
	content := object.Data[api.KubeConfigKey]
	signature, signed := object.Data[api.JWSSignatureKeyPrefix+d.Token.ID]
	switch {
	case !signed:
		return ClusterInfo{}, fault.New(fault.BadInput, "%s: the cluster knows no token %s; it has expired, or is of another cluster", d.Endpoint, d.Token.ID).
			WithHint("make one on a control plane with kubewright token create --print-join-command")
	case !jws.DetachedTokenIsValid(signature, content, d.Token.ID, d.Token.Secret.Reveal()):
		return ClusterInfo{}, fault.New(fault.BadInput, "%s: its cluster-info is not signed with this token %s", d.Endpoint, d.Token.ID).
			WithHint("compare the token with `kubewright token list` on a control plane")
	}
	info, err := parseClusterInfo(content)
	if err != nil {
		return ClusterInfo{}, fault.New(fault.Unhealthy, "%s: its cluster-info: %w", d.Endpoint, err)
	}
	hashes, err := certs.PublicKeyHashes(info.CAPEM)
	if err != nil {
		return ClusterInfo{}, fault.New(fault.Unhealthy, "%s: its cluster-info: %w", d.Endpoint, err)
	}
	// There are two while an authority is replaced. All are trusted from now on, so all have to be known.
	strange := slices.DeleteFunc(hashes, func(hash string) bool {
		return slices.ContainsFunc(d.Pins, func(pin string) bool { return strings.EqualFold(pin, hash) })
	})
	if len(strange) == 0 {
		return info, nil
	}
	return ClusterInfo{}, fault.New(fault.Preflight, "%s: an authority of its cluster is %s, which is none that was given", d.Endpoint, strings.Join(strange, " and ")).
		WithHint("compare it with what `kubewright token create --print-join-command` prints on a control plane; if that is the same, somebody is in between")
}

// parseClusterInfo reads the kubeconfig of a cluster-info, which names no user.
func parseClusterInfo(content string) (ClusterInfo, error) {
	var file struct {
		Clusters []struct {
			Cluster struct {
				Server string `json:"server"`
				CAData []byte `json:"certificate-authority-data"`
			} `json:"cluster"`
		} `json:"clusters"`
	}
	if err := yaml.Unmarshal([]byte(content), &file); err != nil {
		return ClusterInfo{}, errors.New("it is no kubeconfig")
	}
	if len(file.Clusters) != 1 {
		return ClusterInfo{}, fmt.Errorf("its kubeconfig has %d clusters, not one", len(file.Clusters))
	}
	info := ClusterInfo{Server: file.Clusters[0].Cluster.Server, CAPEM: file.Clusters[0].Cluster.CAData}
	if server, err := url.Parse(info.Server); err != nil || server.Scheme != "https" || server.Host == "" {
		return ClusterInfo{}, fmt.Errorf("its server %q is no URL of the form https://host:port", info.Server)
	}
	return info, nil
}

func isHex(text string) bool {
	_, err := hex.DecodeString(text)
	return err == nil
}

// JoinCommand is the line that makes another machine join, a secret as its token is. certificateKey is
// empty for a worker.
func (d Discovery) JoinCommand(certificateKey string) string {
	words := []string{"kubewright join", d.Endpoint, "--token", d.Token.Reveal()}
	for _, pin := range d.Pins {
		words = append(words, "--discovery-token-ca-cert-hash", pin)
	}
	if certificateKey != "" {
		words = append(words, "--control-plane", "--certificate-key", certificateKey)
	}
	return strings.Join(words, " ")
}
