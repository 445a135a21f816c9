package certs

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kubewright/internal/secret"
)

func adminRequest() Request {
	return Request{CommonName: "kubernetes-admin", Organization: []string{ClusterAdminsGroup}, Client: true}
}

func newTestKubeconfig(t *testing.T, authority *Authority) Kubeconfig {
	t.Helper()
	return Kubeconfig{
		Server: "https://10.111.0.10:6443", ClusterName: "lab", User: "kubernetes-admin",
		CAPEM: authority.CertPEM(), Client: issue(t, authority, adminRequest(), testEnv()),
	}
}

func encoded(t *testing.T, k Kubeconfig) secret.Bytes {
	t.Helper()
	out, err := k.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestKubeconfigEncode(t *testing.T) {
	file := Kubeconfig{
		Server: "https://[fd00::1]:6443", ClusterName: "lab", User: "admin",
		CAPEM: []byte("ca"), Client: Pair{CertPEM: []byte("cert"), KeyPEM: secret.Bytes("key")},
	}
	want := `apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: Y2E=
    server: https://[fd00::1]:6443
  name: lab
contexts:
- context:
    cluster: lab
    user: admin
  name: admin@lab
current-context: admin@lab
kind: Config
users:
- name: admin
  user:
    client-certificate-data: Y2VydA==
    client-key-data: a2V5
`
	if diff := cmp.Diff(want, string(encoded(t, file).Reveal())); diff != "" {
		t.Errorf("file (-want +got):\n%s", diff)
	}
	back, err := ParseKubeconfig(encoded(t, file))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(encoded(t, file).Reveal()), string(encoded(t, back).Reveal())); diff != "" {
		t.Errorf("it does not survive parsing:\n%s", diff)
	}
}

func TestKubeconfigEncodePaths(t *testing.T) {
	file := Kubeconfig{
		Server: "https://x:6443", ClusterName: "lab", User: "node", CAFile: "/etc/kubernetes/pki/ca.crt", CAPEM: []byte("unused"),
		CertFile: "/var/lib/kubelet/pki/c.pem", KeyFile: "/var/lib/kubelet/pki/k.pem", Client: Pair{KeyPEM: secret.Bytes("unused")},
	}
	got := string(encoded(t, file).Reveal())
	for _, want := range []string{"certificate-authority: /etc/kubernetes/pki/ca.crt", "client-certificate: /var/lib/kubelet/pki/c.pem",
		"client-key: /var/lib/kubelet/pki/k.pem"} {
		if !strings.Contains(got, want) {
			t.Errorf("the file lacks %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "data:") {
		t.Errorf("paths and data are both there:\n%s", got)
	}
	for name, change := range map[string]func(*Kubeconfig){
		"server":  func(k *Kubeconfig) { k.Server = "" },
		"cluster": func(k *Kubeconfig) { k.ClusterName = "" },
		"user":    func(k *Kubeconfig) { k.User = "" },
	} {
		broken := file
		change(&broken)
		if _, err := broken.Encode(); err == nil {
			t.Errorf("a file without %s is encoded", name)
		}
	}
}

func TestParseKubeconfigErrors(t *testing.T) {
	good := string(encoded(t, newTestKubeconfig(t, newTestAuthority(t, "kubernetes"))).Reveal())
	tests := []struct{ name, data, want string }{
		{"not YAML", "{", "not valid YAML"},
		{"key that is not base64", strings.Replace(good, "client-key-data: ", "client-key-data: '***", 1), "not valid YAML"},
		{"other kind", strings.Replace(good, "kind: Config", "kind: Secret", 1), `kind is "Secret"`},
		{"empty", "", `kind is ""`},
		{"no such context", strings.Replace(good, "current-context: ", "current-context: x", 1), "no context called"},
		{"no such cluster", strings.Replace(good, "    cluster: lab", "    cluster: other", 1), `no cluster called "other"`},
		{"no such user", strings.Replace(good, "    user: kubernetes-admin", "    user: other", 1), `no user called "other"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.data == good {
				t.Fatal("the case changes nothing")
			}
			_, err := ParseKubeconfig(secret.Bytes(test.data))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error is %v, want %q", err, test.want)
			}
			if strings.Contains(err.Error(), "LS0t") {
				t.Errorf("the error quotes the file: %v", err)
			}
		})
	}
}

func TestAssessKubeconfig(t *testing.T) {
	authority, twin := newTestAuthority(t, "kubernetes"), newTestAuthority(t, "kubernetes")
	want := KubeconfigWant{
		Server: "https://10.111.0.10:6443", ClusterName: "lab", User: "kubernetes-admin",
		Authority: authority, Request: adminRequest(),
	}
	with := func(change func(*Kubeconfig)) secret.Bytes {
		k := newTestKubeconfig(t, authority)
		change(&k)
		return encoded(t, k)
	}
	masters := adminRequest()
	masters.Organization = []string{"system:masters"}
	tests := []struct {
		name   string
		data   secret.Bytes
		now    time.Time
		action Action
		reason string
	}{
		{"as wanted", with(func(*Kubeconfig) {}), epoch(), Keep, ""},
		{"missing", nil, epoch(), Issue, "missing"},
		{"unusable", secret.Bytes("{"), epoch(), Issue, "unusable: kubeconfig: it is not valid YAML of the expected form"},
		{"server", with(func(k *Kubeconfig) { k.Server = "https://old:6443" }), epoch(), Issue,
			`server is "https://old:6443", want "https://10.111.0.10:6443"`},
		{"server with a login", with(func(k *Kubeconfig) { k.Server = "https://me:secret@old:6443" }), epoch(), Issue,
			`server is "(login)@old:6443", want "https://10.111.0.10:6443"`},
		{"cluster", with(func(k *Kubeconfig) { k.ClusterName = "kubernetes" }), epoch(), Issue, `cluster is "kubernetes", want "lab"`},
		{"user", with(func(k *Kubeconfig) { k.User = "admin" }), epoch(), Issue, `user is "admin", want "kubernetes-admin"`},
		{"other authority trusted", with(func(k *Kubeconfig) { k.CAPEM = twin.CertPEM() }), epoch(), Issue,
			"it does not trust the cluster's authority " + authority.Fingerprint()},
		{"old authority still trusted", with(func(k *Kubeconfig) { k.CAPEM = append(twin.CertPEM(), k.CAPEM...) }), epoch(), Issue,
			"it does not trust the cluster's authority " + authority.Fingerprint()},
		{"no authority", with(func(k *Kubeconfig) { k.CAPEM = nil }), epoch(), Issue, "it does not trust the cluster's authority " + authority.Fingerprint()},
		{"certificate of another authority", with(func(k *Kubeconfig) { k.Client = issue(t, twin, adminRequest(), testEnv()) }), epoch(), Issue,
			`client certificate: names "kubernetes" as its issuer but was not signed by ` + authority.Fingerprint()},
		{"rights", with(func(k *Kubeconfig) { k.Client = issue(t, authority, masters, testEnv()) }), epoch(), Issue,
			`client certificate: organization is ["system:masters"], want ["kubeadm:cluster-admins"]`},
		{"no key", with(func(k *Kubeconfig) { k.Client.KeyPEM = nil }), epoch(), Issue, "client certificate: key file is missing"},
		{"path instead of data", with(func(k *Kubeconfig) { k.CertFile = "/x" }), epoch(), Issue, `client-certificate is "/x", want ""`},
		{"near its end", with(func(*Kubeconfig) {}), epoch().Add(300 * day), Renew, "expires at 2031-03-01T12:00:00Z, in 65 days"},
		{"over", with(func(*Kubeconfig) {}), epoch().Add(400 * day), Renew, "expired at 2031-03-01T12:00:00Z"},
		{"over and drifted", with(func(k *Kubeconfig) { k.Server = "https://old:6443" }), epoch().Add(400 * day), Issue, "server is"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := AssessKubeconfig(test.data, want, test.now)
			if got.Action != test.action {
				t.Errorf("verdict is %s, want %s", got, test.action)
			}
			if test.reason == "" && len(got.Reasons) > 0 || test.reason != "" && (len(got.Reasons) == 0 || !strings.HasPrefix(got.Reasons[0], test.reason)) {
				t.Errorf("reasons are %q, want %q", got.Reasons, test.reason)
			}
		})
	}
}

func TestAssessKubeconfigWithPaths(t *testing.T) {
	authority := newTestAuthority(t, "kubernetes")
	file := Kubeconfig{Server: "https://x:6443", ClusterName: "lab", User: "system:node:w1", CAPEM: authority.CertPEM(), CertFile: "/c", KeyFile: "/k"}
	want := KubeconfigWant{Server: file.Server, ClusterName: "lab", User: file.User, Authority: authority, CertFile: "/c", KeyFile: "/k"}
	if got := AssessKubeconfig(encoded(t, file), want, epoch()); got.Action != Keep {
		t.Errorf("verdict is %s", got)
	}
	want.KeyFile = "/other"
	if got := AssessKubeconfig(encoded(t, file), want, epoch()); got.String() != `issue: client-key is "/k", want "/other"` {
		t.Errorf("verdict is %s", got)
	}
}

func FuzzParseKubeconfig(f *testing.F) {
	f.Add([]byte("kind: Config\ncurrent-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: s}}]\nusers: [{name: u}]"))
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := ParseKubeconfig(data)
		if err != nil {
			return
		}
		again, err := file.Encode()
		if err != nil {
			return // names may be empty in a file of others
		}
		if _, err := ParseKubeconfig(again); err != nil {
			t.Errorf("what was encoded cannot be parsed: %v", err)
		}
	})
}

// What is compared without YAML is what is written with it, and what would have to be quoted is not.
func TestKubeconfigPlain(t *testing.T) {
	authority := newTestAuthority(t, "kubernetes")
	for _, tc := range []struct {
		server, cluster, user string
		plain                 bool
	}{
		{"https://10.0.0.1:6443", "lab", "system:node:w-1.example.com", true},
		{"https://[fd00::1]:6443", "lab", "system:node:w1", false},
		{"https://x:6443", "true", "u", false},
		{"https://x:6443", "No", "u", false},
		{"https://x:6443", "123", "u", false},
		{"https://x:6443", "lab", "u: v", false},
		{"https://x:6443", "lab", "u:", false},
		{"https://x:6443", "lab", "u #", false},
		{"https://x:6443", "lab\n", "u", false},
		{"https://x:6443", "", "u", false},
	} {
		want := KubeconfigWant{Server: tc.server, ClusterName: tc.cluster, User: tc.user, Authority: authority, CertFile: "/c.pem", KeyFile: "/k.pem"}
		text, ok := want.plain()
		if ok != tc.plain {
			t.Errorf("%q, %q, %q: plain is %v, want %v", tc.server, tc.cluster, tc.user, ok, tc.plain)
		}
		if !ok {
			continue
		}
		file := Kubeconfig{Server: tc.server, ClusterName: tc.cluster, User: tc.user, CAPEM: authority.CertPEM(), CertFile: want.CertFile, KeyFile: want.KeyFile}
		if diff := cmp.Diff(string(encoded(t, file).Reveal()), string(text)); diff != "" {
			t.Errorf("(-written +compared):\n%s", diff)
		}
	}
}
