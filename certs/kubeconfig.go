package certs

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"kubewright/internal/secret"
)

// Kubeconfig is a kubeconfig file with one cluster, one user and one context. Certificates are
// embedded, or named by path, or both (a path is used when it is set).
type Kubeconfig struct {
	// Server is the URL of the API server.
	Server string
	// ClusterName and User name the entries; the context is called User@ClusterName.
	ClusterName, User string
	// CAPEM are the trusted authorities; CAFile is a path to them on the host.
	CAPEM  []byte
	CAFile string
	// Client is the user's certificate; CertFile and KeyFile are paths to it on the host.
	Client            Pair
	CertFile, KeyFile string
}

// The file format, as far as this package writes and reads it
// (k8s.io/client-go/tools/clientcmd/api/v1).
type (
	kubeconfigFile struct {
		APIVersion     string         `json:"apiVersion"`
		Kind           string         `json:"kind"`
		Clusters       []namedCluster `json:"clusters"`
		Contexts       []namedContext `json:"contexts"`
		CurrentContext string         `json:"current-context"`
		Users          []namedUser    `json:"users"`
	}
	namedCluster struct {
		Name    string  `json:"name"`
		Cluster cluster `json:"cluster"`
	}
	cluster struct {
		Server string `json:"server"`
		CAFile string `json:"certificate-authority,omitempty"`
		CAData []byte `json:"certificate-authority-data,omitempty"`
	}
	namedContext struct {
		Name    string         `json:"name"`
		Context contextEntries `json:"context"`
	}
	contextEntries struct {
		Cluster string `json:"cluster"`
		User    string `json:"user"`
	}
	namedUser struct {
		Name string `json:"name"`
		User user   `json:"user"`
	}
	user struct {
		CertFile string `json:"client-certificate,omitempty"`
		CertData []byte `json:"client-certificate-data,omitempty"`
		KeyFile  string `json:"client-key,omitempty"`
		KeyData  []byte `json:"client-key-data,omitempty"`
	}
)

// Context returns the name of the file's context.
func (k Kubeconfig) Context() string { return k.User + "@" + k.ClusterName }

// Encode returns the file's content; the same Kubeconfig always gives the same bytes. It is secret
// because it usually holds a private key.
func (k Kubeconfig) Encode() (secret.Bytes, error) {
	if k.Server == "" || k.ClusterName == "" || k.User == "" {
		return nil, fmt.Errorf("kubeconfig %s for %q: server, cluster and user are all needed", k.Context(), k.Server)
	}
	file := kubeconfigFile{
		APIVersion: "v1", Kind: "Config", CurrentContext: k.Context(),
		Clusters: []namedCluster{{k.ClusterName, cluster{Server: k.Server, CAFile: k.CAFile}}},
		Contexts: []namedContext{{k.Context(), contextEntries{Cluster: k.ClusterName, User: k.User}}},
		Users:    []namedUser{{k.User, user{CertFile: k.CertFile, KeyFile: k.KeyFile}}},
	}
	if k.CAFile == "" {
		file.Clusters[0].Cluster.CAData = k.CAPEM
	}
	if k.CertFile == "" {
		file.Users[0].User.CertData = k.Client.CertPEM
	}
	if k.KeyFile == "" {
		file.Users[0].User.KeyData = k.Client.KeyPEM.Reveal()
	}
	out, err := yaml.Marshal(file)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", k.Context(), err)
	}
	return out, nil
}

// ParseKubeconfig reads the entries of the current context. Anything else in the file is ignored.
func ParseKubeconfig(data secret.Bytes) (Kubeconfig, error) {
	var file kubeconfigFile
	if err := yaml.Unmarshal(data.Reveal(), &file); err != nil {
		// The parser's own words may quote the input, which holds a private key.
		return Kubeconfig{}, errors.New("kubeconfig: it is not valid YAML of the expected form")
	}
	if file.Kind != "Config" {
		return Kubeconfig{}, fmt.Errorf("kubeconfig: kind is %q, want Config", file.Kind)
	}
	var entries contextEntries
	var found bool
	for _, named := range file.Contexts {
		if named.Name == file.CurrentContext {
			entries, found = named.Context, true
		}
	}
	if !found {
		return Kubeconfig{}, fmt.Errorf("kubeconfig: it has no context called %q, its current one", file.CurrentContext)
	}
	out := Kubeconfig{ClusterName: entries.Cluster, User: entries.User}
	found = false
	for _, named := range file.Clusters {
		if named.Name == entries.Cluster {
			out.Server, out.CAPEM, out.CAFile = named.Cluster.Server, named.Cluster.CAData, named.Cluster.CAFile
			found = true
		}
	}
	if !found {
		return Kubeconfig{}, fmt.Errorf("kubeconfig: it has no cluster called %q", entries.Cluster)
	}
	found = false
	for _, named := range file.Users {
		if named.Name == entries.User {
			out.Client = Pair{CertPEM: named.User.CertData, KeyPEM: named.User.KeyData}
			out.CertFile, out.KeyFile = named.User.CertFile, named.User.KeyFile
			found = true
		}
	}
	if !found {
		return Kubeconfig{}, fmt.Errorf("kubeconfig: it has no user called %q", entries.User)
	}
	return out, nil
}

// KubeconfigWant says what a kubeconfig file must be.
type KubeconfigWant struct {
	Server, ClusterName, User string
	// Authority is what the file trusts, and what signed its client certificate.
	Authority *Authority
	// CertFile and KeyFile are paths when the file names its certificate instead of holding it;
	// then Request is not looked at.
	CertFile, KeyFile string
	Request           Request
}

// plain is what Encode gives for a file that names its certificate, without the detour by YAML, which takes longer
// than all else that is compared on a host. It is not ok where a value would need quotes.
func (w KubeconfigWant) plain() (text []byte, ok bool) {
	for _, value := range []string{w.Server, w.ClusterName, w.User, w.CertFile, w.KeyFile} {
		if !plainScalar(value) {
			return nil, false
		}
	}
	context := Kubeconfig{ClusterName: w.ClusterName, User: w.User}.Context()
	return fmt.Appendf(nil, `apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: %s
    server: %s
  name: %[3]s
contexts:
- context:
    cluster: %[3]s
    user: %[4]s
  name: %[5]s
current-context: %[5]s
kind: Config
users:
- name: %[4]s
  user:
    client-certificate: %[6]s
    client-key: %[7]s
`, base64.StdEncoding.EncodeToString(w.Authority.CertPEM()), w.Server, w.ClusterName, w.User, context, w.CertFile, w.KeyFile), true
}

// plainScalar tells whether YAML reads a value without quotes as the same string; false may be wrong.
func plainScalar(value string) bool {
	const words = " y n yes no on off true false null " // booleans and null of YAML 1.1
	letters := func(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '/' }
	others := func(r rune) bool { return !letters(r) && !strings.ContainsRune("0123456789.-_:@", r) }
	return value != "" && letters(rune(value[0])) && !strings.ContainsFunc(value, others) && !strings.HasSuffix(value, ":") &&
		!strings.Contains(words, " "+strings.ToLower(value)+" ")
}

// withoutLogin is a URL of somebody else's without the user and password that it may carry.
func withoutLogin(url string) string {
	if i := strings.LastIndexByte(url, '@'); i >= 0 {
		return "(login)" + url[i:]
	}
	return url
}

// AssessKubeconfig compares a kubeconfig file with what it must be. Empty data is a missing file.
func AssessKubeconfig(data secret.Bytes, want KubeconfigWant, now time.Time) Verdict {
	if len(data) == 0 {
		return Verdict{Action: Issue, Reasons: []string{"missing"}}
	}
	if text, ok := want.plain(); ok && bytes.Equal(data.Reveal(), text) {
		return Verdict{Action: Keep}
	}
	file, err := ParseKubeconfig(data)
	if err != nil {
		return Verdict{Action: Issue, Reasons: []string{"unusable: " + err.Error()}}
	}
	var reasons []string
	differ := func(what, have, want string) {
		if have != want {
			reasons = append(reasons, fmt.Sprintf("%s is %q, want %q", what, have, want))
		}
	}
	differ("server", withoutLogin(file.Server), want.Server)
	differ("cluster", file.ClusterName, want.ClusterName)
	differ("user", file.User, want.User)
	differ("certificate-authority", file.CAFile, "")
	differ("client-certificate", file.CertFile, want.CertFile)
	differ("client-key", file.KeyFile, want.KeyFile)
	if !sameCertificates(file.CAPEM, want.Authority.CertPEM()) {
		reasons = append(reasons, "it does not trust the cluster's authority "+want.Authority.Fingerprint())
	}
	if want.CertFile != "" {
		return verdict(reasons)
	}
	client := Assess(file.Client, want.Request, want.Authority, now)
	if client.Action == Renew && len(reasons) == 0 {
		return Verdict{Action: Renew, Reasons: client.Reasons}
	}
	for _, reason := range client.Reasons {
		reasons = append(reasons, "client certificate: "+strings.TrimPrefix(reason, "certificate "))
	}
	return verdict(reasons)
}

func verdict(reasons []string) Verdict {
	if len(reasons) == 0 {
		return Verdict{Action: Keep}
	}
	return Verdict{Action: Issue, Reasons: reasons}
}

// sameCertificates reports whether two PEM files hold the same certificates in the same order.
func sameCertificates(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	left, errLeft := parseCertificates(a)
	right, errRight := parseCertificates(b)
	if errLeft != nil || errRight != nil || len(left) != len(right) {
		return false
	}
	for i := range left {
		if !left[i].Equal(right[i]) {
			return false
		}
	}
	return true
}
