package kube_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/clientcmd"

	"kubewright/certs"
	"kubewright/internal/kube"
	"kubewright/internal/secret"
)

const collected = `
apiVersion: v1
kind: Config
current-context: work
preferences: {}
clusters:
- {name: work, cluster: {server: "https://work:6443", insecure-skip-tls-verify: true}}
- {name: lab, cluster: {server: "https://old:6443"}}
contexts:
- {name: work, context: {cluster: work, user: me, namespace: team}}
- {name: lab, context: {cluster: lab, user: lab, namespace: chosen}}
users:
- {name: me, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: login, interactiveMode: Never}}}
- {name: lab, user: {token: old}}
`

func TestMergeKubeconfig(t *testing.T) {
	added, err := certs.Kubeconfig{
		Server: "https://10.111.0.10:6443", ClusterName: "lab-cluster", User: "kubernetes-admin",
		CAPEM: []byte("ca"), Client: certs.Pair{CertPEM: []byte("cert"), KeyPEM: secret.Bytes("key")},
	}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	merge := func(t *testing.T, existing string) []byte {
		t.Helper()
		out, err := kube.MergeKubeconfig(secret.Bytes(existing), added, "lab")
		if err != nil {
			t.Fatal(err)
		}
		return out.Reveal()
	}
	for name, existing := range map[string]string{"no file": "", "empty file": "apiVersion: v1\nkind: Config\n", "collected": collected} {
		t.Run(name, func(t *testing.T) {
			config, err := clientcmd.Load(merge(t, existing))
			if err != nil {
				t.Fatal(err)
			}
			if config.CurrentContext != "lab" {
				t.Errorf("current context is %q", config.CurrentContext)
			}
			context := config.Contexts["lab"]
			if context.Cluster != "lab" || context.AuthInfo != "lab" {
				t.Errorf("context is %+v", context)
			}
			if config.Clusters["lab"].Server != "https://10.111.0.10:6443" || string(config.Clusters["lab"].CertificateAuthorityData) != "ca" {
				t.Errorf("cluster is %+v", config.Clusters["lab"])
			}
			user := config.AuthInfos["lab"]
			if string(user.ClientKeyData) != "key" || string(user.ClientCertificateData) != "cert" || user.Token != "" {
				t.Errorf("user has key %q, token %q", user.ClientKeyData, user.Token)
			}
			if err := clientcmd.ConfirmUsable(*config, "lab"); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("others are left alone", func(t *testing.T) {
		config, err := clientcmd.Load(merge(t, collected))
		if err != nil {
			t.Fatal(err)
		}
		before, err := clientcmd.Load([]byte(collected))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before.Clusters["work"], config.Clusters["work"]); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(before.Contexts["work"], config.Contexts["work"]); diff != "" {
			t.Error(diff)
		}
		if config.AuthInfos["me"].Exec.Command != "login" {
			t.Errorf("the user's login is lost: %v", config.AuthInfos["me"])
		}
		if config.Contexts["lab"].Namespace != "chosen" {
			t.Error("the namespace that the user chose is lost")
		}
	})
	t.Run("again changes nothing", func(t *testing.T) {
		once := merge(t, collected)
		if diff := cmp.Diff(string(once), string(merge(t, string(once)))); diff != "" {
			t.Error(diff)
		}
	})
	added = secret.Bytes(strings.Replace(string(added.Reveal()), "current-context: ", "current-context: x", 1))
	for name, test := range map[string]struct{ existing, added, context, want string }{
		"existing unreadable":  {"{", string(added.Reveal()), "lab", "the existing file cannot be read, repair or move it"},
		"existing other kind":  {"apiVersion: v1\nkind: Secret\n", string(added.Reveal()), "lab", "the existing file cannot be read"},
		"existing of no kind":  {"apiVersion: v1\nkind: hunter2\n", string(added.Reveal()), "lab", "the existing file cannot be read"},
		"existing with a star": {"apiVersion: v1\nkind: Config\nusers: [{name: a, user: {token: *hunter2 }}]\n", string(added.Reveal()), "lab", "the existing file cannot be read"},
		"new with a star":      {"", "apiVersion: v1\nkind: Config\nusers: [{name: a, user: {token: *hunter2 }}]\n", "lab", "the new file cannot be read"},
		"new unreadable":       {"", "{", "lab", "the new file cannot be read"},
		"new without context":  {"", string(added.Reveal()), "lab", "no context called"},
		"new without a user":   {"", "{apiVersion: v1, kind: Config, current-context: a, contexts: [{name: a, context: {cluster: b, user: c}}], clusters: [{name: b, cluster: {}}]}", "lab", `lacks the cluster "b" or the user "c"`},
		"no name":              {"", string(added.Reveal()), "", "the context needs a name"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := kube.MergeKubeconfig(secret.Bytes(test.existing), secret.Bytes(test.added), test.context)
			if err == nil || out != nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error is %v, want %q", err, test.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error quotes the file: %v", err)
			}
		})
	}
}

func TestFromKubeconfigRefuses(t *testing.T) {
	encoded := func(k certs.Kubeconfig) secret.Bytes {
		t.Helper()
		k.Server, k.ClusterName, k.User = "https://10.111.0.10:6443", "lab", "admin"
		content, err := k.Encode()
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	for want, content := range map[string]secret.Bytes{
		"it is not valid YAML":           secret.Bytes("a: ["),
		"the kubeconfig names files":     encoded(certs.Kubeconfig{CAFile: "/ca.crt", CertFile: "/a.crt", KeyFile: "/a.key"}),
		"it has no client certificate":   encoded(certs.Kubeconfig{CAPEM: []byte("ca")}),
		"no certificate authority given": encoded(certs.Kubeconfig{Client: certs.Pair{CertPEM: []byte("cert"), KeyPEM: secret.Bytes("key")}}),
	} {
		want = strings.TrimPrefix(want, "it ")
		if client, err := kube.FromKubeconfig(content, ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, %v, want %q", client, err, want)
		}
	}
}
