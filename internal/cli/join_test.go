package cli

import (
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cluster-bootstrap/token/jws"
	"sigs.k8s.io/yaml"

	"kubewright/certs"
	"kubewright/cluster"
	"kubewright/internal/bootstrap"
	"kubewright/internal/catalog"
	"kubewright/internal/fault"
	"kubewright/inventory"
	"kubewright/templates"
)

const (
	joinToken = "joiner.0123456789fedcba"
	zeroHash  = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
)

// joinable is a cluster's API as far as a machine that joins asks it.
type joinable struct {
	t        *testing.T
	endpoint string
	pin      string
	caPEM    []byte
	document string
	bundle   *certs.Bundle
	// uploaded is the Secret with the authorities; nil for none.
	uploaded *corev1.Secret
	// status is that of the answer about the cluster, if it is not there.
	status int
}

func newJoinable(t *testing.T) *joinable {
	t.Helper()
	env := certs.Env{Now: time.Now(), Rand: rand.Reader}
	bundle, err := certs.GenerateBundle(certs.ECDSAP256, env)
	if err != nil {
		t.Fatal(err)
	}
	authority := bundle.Kubernetes
	pair, err := authority.Issue(certs.Request{CommonName: "kube-apiserver", Server: true, DNSNames: []string{"localhost"}, IPs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}, env)
	if err != nil {
		t.Fatal(err)
	}
	serving, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	j := &joinable{t: t, bundle: bundle, document: document(t, ""), pin: authority.PublicKeyHash(), caPEM: authority.CertPEM()}
	server := httptest.NewUnstartedServer(http.HandlerFunc(j.answer))
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{serving}}
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	t.Cleanup(server.Close)
	j.endpoint = server.Listener.Addr().String()
	return j
}

func (j *joinable) answer(w http.ResponseWriter, r *http.Request) {
	say := func(object any) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(object); err != nil {
			j.t.Error(err)
		}
	}
	switch r.URL.Path {
	case "/api/v1/namespaces/kube-public/configmaps/cluster-info":
		manifest, err := templates.ClusterInfo(templates.ClusterInfoData{Server: "https://" + j.endpoint, CAPEM: j.caPEM})
		if err != nil {
			j.t.Error(err)
		}
		say(signed(j.t, manifest))
	case "/api/v1/namespaces/kube-system/configmaps/kubewright-config":
		if got := r.Header.Get("Authorization"); got != "Bearer "+joinToken {
			j.t.Errorf("it presents %q", got)
		}
		if j.status != 0 {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(j.status)
			say(metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: "Failure", Code: int32(j.status), Reason: metav1.StatusReason(strings.ReplaceAll(http.StatusText(j.status), " ", "")), Message: "no", Details: &metav1.StatusDetails{Kind: "configmaps", Name: "kubewright-config"}})
			return
		}
		say(corev1.ConfigMap{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}, Data: map[string]string{templates.ClusterFileKey: j.document}})
	case "/api/v1/namespaces/kube-system/secrets/kubeadm-certs":
		if j.uploaded == nil {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusForbidden)
			say(metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: "Failure", Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden, Message: "no"})
			return
		}
		say(j.uploaded)
	case "/readyz":
		fmt.Fprint(w, "ok")
	default:
		j.t.Errorf("the API was asked %s %s", r.Method, r.URL)
	}
}

// document describes a cluster as it does itself.
func document(t *testing.T, more string) string {
	t.Helper()
	releases, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	c, _, err := cluster.Load(cluster.Files{Cluster: "cluster.yaml", Read: func(string) ([]byte, error) {
		return []byte(clusterYAML("name: cp1, address: 192.0.2.10, roles: [control-plane]") + more), nil
	}}, releases)
	if err != nil {
		t.Fatal(err)
	}
	document, err := c.Document()
	if err != nil {
		t.Fatal(err)
	}
	return string(document)
}

// root skips a test that only root comes far enough for.
func root(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("join works as root only")
	}
}

// Whatever is wrong is said before the machine is even looked at, and no error has the token in it.
func TestJoinIsRefused(t *testing.T) {
	root(t)
	j := newJoinable(t)
	for name, test := range map[string]struct {
		args    []string
		prepare func(*joinable)
		code    fault.Kind
		says    []string
	}{
		"no endpoint":      {args: []string{"--token", joinToken}, code: fault.BadInput, says: []string{"accepts 1 arg(s)"}},
		"no token":         {args: []string{j.endpoint}, code: fault.BadInput, says: []string{"--token is needed"}},
		"no token at all":  {args: []string{j.endpoint, "--token", "0123456789fedcba"}, code: fault.BadInput, says: []string{"--token: this is no bootstrap token"}},
		"no such file":     {args: []string{j.endpoint, "--token", "file:/none"}, code: fault.BadInput, says: []string{"--token: ", "file:/none"}},
		"two sources":      {args: []string{j.endpoint, "--token", joinToken, "--discovery-token-ca-cert-hash", j.pin, "--artifacts-mirror", "http://a", "--artifacts-directory", "b"}, code: fault.BadInput, says: []string{"artifacts-directory artifacts-mirror"}},
		"no hash":          {args: []string{j.endpoint, "--token", joinToken}, code: fault.BadInput, says: []string{"--discovery-token-ca-cert-hash"}},
		"no address":       {args: []string{j.endpoint, "--token", joinToken, "--discovery-token-ca-cert-hash", j.pin, "--node-ip", "none"}, code: fault.BadInput, says: []string{"command line", `address "none"`}},
		"no name":          {args: []string{j.endpoint, "--token", joinToken, "--discovery-token-ca-cert-hash", j.pin, "--node-name", "a b"}, code: fault.BadInput, says: []string{"--node-name", "a b"}},
		"another hash":     {args: []string{j.endpoint, "--token", joinToken, "--discovery-token-ca-cert-hash", zeroHash}, code: fault.Preflight, says: []string{"an authority of its cluster is " + j.pin}},
		"another token":    {args: []string{j.endpoint, "--token", "joiner.fedcba9876543210", "--discovery-token-ca-cert-hash", j.pin}, code: fault.BadInput, says: []string{"is not signed with this token joiner"}},
		"nobody there":     {args: []string{nobodyAt(), "--token", joinToken, "--discovery-token-ca-cert-hash", j.pin}, code: fault.Unreachable, says: []string{"no API server answers", "connection refused"}},
		"a control plane":  {args: []string{j.endpoint, "--token", joinToken, "--discovery-token-ca-cert-hash", j.pin, "--node-name", "CP1", "--node-ip", "192.0.2.10"}, code: fault.BadInput, says: []string{"cp1 is the name of a control plane"}},
		"an older cluster": {prepare: func(j *joinable) { j.status = http.StatusNotFound }, code: fault.Unhealthy, says: []string{"the cluster does not say how it is made", "kubewright apply"}},
		"no right":         {prepare: func(j *joinable) { j.status = http.StatusForbidden }, code: fault.Unhealthy, says: []string{"the cluster does not say how it is made"}},
		"no login":         {prepare: func(j *joinable) { j.status = http.StatusUnauthorized }, code: fault.BadInput, says: []string{"is not good for logging in"}},
	} {
		t.Run(name, func(t *testing.T) {
			args := test.args
			if test.prepare != nil {
				other := newJoinable(t)
				test.prepare(other)
				args = []string{other.endpoint, "--token", joinToken, "--discovery-token-ca-cert-hash", other.pin}
			}
			o := kubewright(t, append([]string{"join"}, args...)...).nothing(t).want(t, int(test.code), test.says...)
			if strings.Contains(o.err, "0123456789fedcba") || strings.Contains(o.err, "fedcba9876543210") {
				t.Errorf("it tells the token:\n%s", o.err)
			}
		})
	}
}

// upload encrypts authorities with a key, and returns the key.
func (j *joinable) upload(bundle *certs.Bundle) string {
	j.t.Helper()
	key, err := bootstrap.NewCertificateKey(rand.Reader)
	if err != nil {
		j.t.Fatal(err)
	}
	if j.uploaded, err = key.Encrypt(bundle.Files(), bootstrap.Owner{Name: "bootstrap-token-000000", UID: "1"}, rand.Reader); err != nil {
		j.t.Fatal(err)
	}
	return key.Reveal()
}

// What a control plane needs beside is looked at before the machine, too.
func TestJoinAsControlPlaneIsRefused(t *testing.T) {
	root(t)
	const endpoint = "  controlPlane: {endpoint: api.example.com}\n"
	key := strings.Repeat("0a", 32)
	for name, test := range map[string]struct {
		more    string // of the cluster's file
		prepare func(*joinable) (key string)
		node    string
		code    fault.Kind
		says    []string
	}{
		"no key":            {more: endpoint, prepare: func(*joinable) string { return "zz" }, code: fault.BadInput, says: []string{"--certificate-key: this is no certificate key"}},
		"nothing uploaded":  {more: endpoint, prepare: func(*joinable) string { return key }, code: fault.BadInput, says: []string{"no authorities are uploaded, or they were deleted, as they are after 2h0m0s", "init phase upload-certs"}},
		"another key":       {more: endpoint, prepare: func(j *joinable) string { j.upload(j.bundle); return key }, code: fault.BadInput, says: []string{"Secret kube-system/kubeadm-certs: the certificate key is not the one"}},
		"another cluster's": {more: endpoint, prepare: func(j *joinable) string { return j.upload(newJoinable(j.t).bundle) }, code: fault.Preflight, says: []string{"has the authority sha256:", "and the cluster has sha256:"}},
		"no endpoint":       {prepare: func(j *joinable) string { return j.upload(j.bundle) }, code: fault.BadInput, says: []string{"no address leads to all of them"}},
		"keepalived":        {more: "  controlPlane: {vip: {address: 192.0.2.100}}\n", prepare: func(j *joinable) string { return j.upload(j.bundle) }, code: fault.BadInput, says: []string{"192.0.2.100", "moved by keepalived", "kubewright apply"}},
	} {
		t.Run(name, func(t *testing.T) {
			j := newJoinable(t)
			j.document = document(t, test.more)
			key := test.prepare(j)
			t.Setenv("JOIN_KEY", key)
			o := kubewright(t, "join", j.endpoint, "--token", joinToken, "--discovery-token-ca-cert-hash", j.pin, "--control-plane", "--certificate-key", "env:JOIN_KEY", "--node-name", "cp2", "--node-ip", "192.0.2.11").
				nothing(t).want(t, int(test.code), test.says...)
			if strings.Contains(o.err, key) && len(key) > 2 {
				t.Errorf("it tells the key:\n%s", o.err)
			}
		})
	}
	kubewright(t, "join", "192.0.2.1:6443", "--token", joinToken, "--control-plane").nothing(t).want(t, int(fault.BadInput), "certificate-key")
}

// A control plane that the cluster knows has the address that the cluster knows, from wherever it reaches the
// endpoint by now; unless somebody says otherwise.
func TestJoinAddress(t *testing.T) {
	d := described{name: "kubewright-config", text: []byte(document(t, "  controlPlane: {vip: {address: 192.0.2.100, provider: kube-vip}}\n"))}
	for name, test := range map[string]struct {
		flags joinFlags
		node  string
		want  string // "": refused
	}{
		"known":                    {node: "cp1", want: "192.0.2.10"},
		"known, with an address":   {flags: joinFlags{localFlags: localFlags{nodeIP: "192.0.2.12"}}, node: "cp1", want: "192.0.2.12"},
		"another":                  {node: "cp2"},
		"another, with an address": {flags: joinFlags{localFlags: localFlags{nodeIP: "192.0.2.12"}}, node: "cp2", want: "192.0.2.12"},
	} {
		t.Run(name, func(t *testing.T) {
			f := test.flags
			f.controlPlane, f.own.name, f.own.address = true, test.node, "192.0.2.100"
			if f.nodeIP != "" {
				f.own.address = f.nodeIP
			}
			c, _, err := f.resolve(d, nil)
			if test.want == "" {
				if fault.KindOf(err) != fault.BadInput || !strings.Contains(err.Error(), "192.0.2.100") {
					t.Errorf("the virtual IP is taken for the address of a host: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			own := c.Select(func(h inventory.Host) bool { return h.Name == test.node })[0]
			if own.NodeIP.String() != test.want {
				t.Errorf("the address is %s", own.NodeIP)
			}
		})
	}
}

// What the machine was told of the others has to be true still once nobody else changes it.
func TestStill(t *testing.T) {
	j := newJoinable(t)
	flags := joinFlags{token: joinToken}
	token, err := flags.bootstrapToken()
	if err != nil {
		t.Fatal(err)
	}
	api, err := bearer("https://"+j.endpoint, bootstrap.ClusterInfo{CAPEM: j.caPEM}, token)
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	data, err := told(t.Context(), api)
	if err != nil {
		t.Fatal(err)
	}
	if err := still(t.Context(), api, data); err != nil {
		t.Error(err)
	}
	j.document += "# another control plane\n"
	if err := still(t.Context(), api, data); fault.KindOf(err) != fault.Locked {
		t.Errorf("%v", err)
	}
}

// The authorities come out as they went in.
func TestUploadedAuthorities(t *testing.T) {
	j := newJoinable(t)
	key, err := bootstrap.ParseCertificateKey(j.upload(j.bundle))
	if err != nil {
		t.Fatal(err)
	}
	flags := joinFlags{token: joinToken}
	token, err := flags.bootstrapToken()
	if err != nil {
		t.Fatal(err)
	}
	api, err := bearer("https://"+j.endpoint, bootstrap.ClusterInfo{CAPEM: j.caPEM}, token)
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	got, err := authorities(t.Context(), api, key, j.bundle.Kubernetes)
	if err != nil {
		t.Fatal(err)
	}
	if got.Etcd.Fingerprint() != j.bundle.Etcd.Fingerprint() || !got.Kubernetes.Signs() {
		t.Errorf("they are others: %v", got.Etcd)
	}
}

// nobodyAt is an address at which nobody listens.
func nobodyAt() string { return fmt.Sprintf("127.0.0.1:%d", closedPort) }

// The way of the nodes is tried before they are sent on it; where each has a load balancer of its own, one
// control plane is enough.
func TestNodesWay(t *testing.T) {
	j := newJoinable(t)
	flags := joinFlags{token: joinToken}
	token, err := flags.bootstrapToken()
	if err != nil {
		t.Fatal(err)
	}
	port := netip.MustParseAddrPort(j.endpoint).Port()
	loopback := func(last byte) inventory.Host {
		return inventory.Host{Name: fmt.Sprintf("cp%d", last), NodeIP: netip.AddrFrom4([4]byte{127, 0, 0, last}), Roles: []inventory.Role{inventory.RoleControlPlane}}
	}
	for name, test := range map[string]struct {
		cluster cluster.Cluster
		says    []string
	}{
		"endpoint":          {cluster: cluster.Cluster{NodeEndpoint: cluster.Endpoint{Host: "localhost", Port: int(port)}}},
		"nobody there":      {cluster: cluster.Cluster{NodeEndpoint: cluster.Endpoint{Host: "127.0.0.1", Port: closedPort}}, says: []string{"https://127.0.0.1:1: ", "connection refused"}},
		"no name of it":     {cluster: cluster.Cluster{NodeEndpoint: cluster.Endpoint{Host: "127.0.0.2", Port: int(port)}}, says: []string{"https://127.0.0.2:"}},
		"one control plane": {cluster: cluster.Cluster{LocalBalancer: true, APIPort: int(port), Hosts: []inventory.Host{loopback(1), loopback(3)}}},
		"no control planes": {cluster: cluster.Cluster{LocalBalancer: true, APIPort: closedPort, Hosts: []inventory.Host{loopback(1), loopback(3)}}, says: []string{"https://127.0.0.1:1: ", "https://127.0.0.3:1: "}},
	} {
		client, err := nodesWay(t.Context(), &test.cluster, bootstrap.ClusterInfo{CAPEM: j.caPEM}, token)
		switch {
		case len(test.says) == 0 && err != nil:
			t.Errorf("%s: %v", name, err)
		case len(test.says) == 0:
			client.Close()
		case fault.KindOf(err) != fault.Unreachable:
			t.Errorf("%s: %v", name, err)
		}
		for _, want := range append(test.says, "where this machine does not") {
			if len(test.says) > 0 && !strings.Contains(fmt.Sprint(err), want) {
				t.Errorf("%s: the error does not say %q: %v", name, want, err)
			}
		}
	}
}

// The token may be kept where no list of processes shows it.
func TestTokenIsKeptElsewhere(t *testing.T) {
	t.Setenv("JOIN_TOKEN", joinToken)
	for _, text := range []string{joinToken, "env:JOIN_TOKEN", "file:" + write(t, "token", joinToken+"\n")} {
		flags := joinFlags{token: text}
		if token, err := flags.bootstrapToken(); err != nil || token.Reveal() != joinToken {
			t.Errorf("%v", err)
		}
	}
}

func TestLocalFlags(t *testing.T) {
	f := localFlags{nodeName: "W1", nodeIP: "192.0.2.1", mirror: "http://mirror", digests: "/d.yaml"}
	if name, err := f.name(); err != nil || name != "w1" {
		t.Errorf("%s, %v", name, err)
	}
	if address, err := f.address(t.Context(), "192.0.2.9:6443"); err != nil || address != "192.0.2.1" {
		t.Errorf("%s, %v", address, err)
	}
	settings, err := f.artifacts()
	want := []cluster.Setting{
		{Flag: "--artifacts-mirror", Keys: []string{"artifacts", "source"}, Value: "mirror"},
		{Flag: "--artifacts-mirror", Keys: []string{"artifacts", "mirror", "url"}, Value: "http://mirror"},
		{Flag: "--artifacts-mirror", Keys: []string{"artifacts", "directory"}, Value: ""},
		{Flag: "--artifacts-digests", Keys: []string{"artifacts", "digests"}, Value: "/d.yaml"},
	}
	if diff := cmp.Diff(want, settings); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	f = localFlags{directory: "files"}
	settings, err = f.artifacts()
	if err != nil || len(settings) != 3 || !strings.HasPrefix(settings[1].Value.(string), "/") {
		t.Errorf("a folder has to be known wherever it is read: %v, %v", settings, err)
	}
	own, err := f.name()
	if host, _ := os.Hostname(); err != nil || !strings.EqualFold(own, host) {
		t.Errorf("%s, %v", own, err)
	}
	if address, err := f.address(t.Context(), "127.0.0.1:6443"); err != nil || address != "127.0.0.1" {
		t.Errorf("%s, %v", address, err)
	}
	if address, err := f.address(t.Context(), "name.invalid:6443"); fault.KindOf(err) != fault.Unreachable {
		t.Errorf("%s, %v", address, err)
	}
}

func TestWithoutSecrets(t *testing.T) {
	key := strings.Repeat("0a", 32)
	got := withoutSecrets([]string{"kubewright", "join", "10.0.0.1:6443", "--token", joinToken, "--token=" + joinToken, "--certificate-key", key, "--certificate-key=" + key,
		"--discovery-token-ca-cert-hash", zeroHash, "--log", "a.log"})
	want := "kubewright join 10.0.0.1:6443 --token joiner.[redacted] --token=joiner.[redacted] --certificate-key [redacted] --certificate-key=[redacted]" +
		" --discovery-token-ca-cert-hash " + zeroHash + " --log a.log"
	if got != want {
		t.Errorf("it is %s", got)
	}
}

// signed is the cluster-info as the controller signs it.
func signed(t *testing.T, manifest []byte) corev1.ConfigMap {
	t.Helper()
	info := decodeConfigMap(t, manifest)
	id, secret, _ := strings.Cut(joinToken, ".")
	signature, err := jws.ComputeDetachedSignature(info.Data["kubeconfig"], id, secret)
	if err != nil {
		t.Fatal(err)
	}
	info.Data["jws-kubeconfig-"+id] = signature
	return info
}

func decodeConfigMap(t *testing.T, manifest []byte) corev1.ConfigMap {
	t.Helper()
	var object corev1.ConfigMap
	if err := yaml.Unmarshal(manifest, &object); err != nil {
		t.Fatal(err)
	}
	return object
}
