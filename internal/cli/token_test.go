package cli

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	"kubewright/addons"
	"kubewright/certs"
	"kubewright/internal/bootstrap"
	"kubewright/internal/kube"
	"kubewright/internal/kube/apitest"
	"kubewright/templates"
)

// aCluster starts an API server that says of itself what machines are told that join, and returns the
// path of an administrator's kubeconfig.
func aCluster(t *testing.T) (kubeconfig string) {
	t.Helper()
	server := apitest.StartServer(t)
	ca := server.PKI.Bundle.Kubernetes.CertPEM()
	content, err := certs.Kubeconfig{Server: server.URL, ClusterName: "lab", User: "admin", CAPEM: ca, Client: server.PKI.SuperAdmin(t)}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	client, err := kube.FromKubeconfig(content, "")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := kube.Wait(ctx, client.APIReady(), nil); err != nil {
		t.Fatal(err)
	}
	manifest, err := templates.ClusterInfo(templates.ClusterInfoData{Server: "https://api.example.com:6443", CAPEM: ca})
	if err != nil {
		t.Fatal(err)
	}
	objects, err := addons.Decode(manifest)
	if err != nil {
		t.Fatal(err)
	}
	changes, err := client.Diff(ctx, objects)
	if err == nil {
		err = client.Apply(ctx, changes)
	}
	if err != nil {
		t.Fatal(err)
	}
	return write(t, "admin.conf", string(content))
}

func TestTokens(t *testing.T) {
	admin := aCluster(t)
	token := func(args ...string) outcome {
		return kubewright(t, append(append([]string{"token"}, args...), "--kubeconfig", admin)...)
	}

	made := token("create", "--ttl", "2h", "--description", "the new rack").want(t, 0).out
	if !regexp.MustCompile(`^[a-z0-9]{6}\.[a-z0-9]{16}\n$`).MatchString(made) {
		t.Fatalf("create printed %q", made)
	}
	var document tokenDocument
	key := strings.Repeat("ab", 32)
	t.Setenv("CERTIFICATE_KEY", key)
	token("create", "abcdef.0123456789abcdef", "--ttl", "0", "--print-join-command", "--certificate-key", "env:CERTIFICATE_KEY", "-o", "json").want(t, 0).decode(t, &document)
	if document.Token != "abcdef.0123456789abcdef" || document.Expires != nil ||
		!regexp.MustCompile(`^kubewright join api\.example\.com:6443 --token abcdef\.0123456789abcdef --discovery-token-ca-cert-hash sha256:[0-9a-f]{64} --control-plane --certificate-key `+key+`$`).MatchString(document.JoinCommand) {
		t.Errorf("%+v", document)
	}
	list := token("list").want(t, 0).out
	for _, row := range []string{
		`(?m)^TOKEN +TTL +EXPIRES +USAGES +DESCRIPTION +EXTRA GROUPS$`,
		`(?m)^abcdef\.0123456789abcdef +<forever> +<never> +signing,authentication +<none> +system:bootstrappers:kubeadm:default-node-token$`,
		`(?m)^` + strings.TrimSpace(made) + ` +(2h0m0s|1h59m\S+) +20\S+Z +signing,authentication +the new rack +system:`,
	} {
		if !regexp.MustCompile(row).MatchString(list) {
			t.Errorf("there is no %s in\n%s", row, list)
		}
	}
	var listed []tokenDocument
	token("list", "-o", "json").want(t, 0).decode(t, &listed)
	if len(listed) != 2 {
		t.Errorf("%+v", listed)
	}

	// One that there is not does not keep the others.
	o := token("delete", "zzzzzz", strings.TrimSpace(made), "abcdef").want(t, 10, "the cluster has no token zzzzzz", "kubewright token list")
	if !strings.Contains(o.out, "token abcdef deleted") {
		t.Errorf("stdout: %s", o.out)
	}
	if out := token("list", "-o", "json").want(t, 0).out; strings.TrimSpace(out) != "[]" {
		t.Errorf("left are %s", out)
	}
}

func TestTokenFlagsThatCannotBe(t *testing.T) {
	noFile := []string{"--kubeconfig", write(t, "none", "kind: Config\n")}
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"no token":            {[]string{"create", "secret-of-mine"}, "this is no bootstrap token"},
		"no token in a file":  {[]string{"create", "file:/nowhere/token"}, "TOKEN: a secret is kept in file:/nowhere/token: "},
		"no key":              {[]string{"create", "--print-join-command", "--certificate-key", "secret-of-mine"}, "--certificate-key: this is no certificate key"},
		"key for nothing":     {[]string{"create", "--certificate-key", strings.Repeat("ab", 32)}, "--certificate-key is for --print-join-command"},
		"time":                {[]string{"create", "--ttl", "-1h"}, "0 is for ever"},
		"no ID":               {[]string{"delete", "secret-of-mine"}, "this is no ID of a token"},
		"no tokens":           {[]string{"delete"}, "requires at least 1 arg"},
		"both ways":           {[]string{"list", "-f", "x.yaml"}, "[file kubeconfig]"},
		"a kubeconfig of nil": {[]string{"list"}, "none: kubeconfig: it has no context"},
	} {
		t.Run(name, func(t *testing.T) {
			o := kubewright(t, append(append([]string{"token"}, test.args...), noFile...)...).want(t, 10, test.want).nothing(t)
			if strings.Contains(o.err, "secret-of-mine") {
				t.Errorf("a secret is told:\n%s", o.err)
			}
		})
	}
	t.Run("nowhere", func(t *testing.T) {
		elsewhere(t)
		t.Chdir(t.TempDir())
		kubewright(t, "token", "list").want(t, 10, "there is neither /etc/kubernetes/admin.conf here", "--kubeconfig").nothing(t)
	})
}

func TestExpiredTokensAreListedAsSuch(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	var out strings.Builder
	grant := bootstrap.Grant{Token: bootstrap.Token{ID: "abcdef", Secret: "0123456789abcdef"}, Expires: now.Add(-time.Second), Description: "a\x1b[2Jb"}
	if err := tokenList([]bootstrap.Grant{grant}, now).text(&out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "<expired>  2029-12-31T23:59:59Z  <none>  ab") {
		t.Error(out.String())
	}
}
