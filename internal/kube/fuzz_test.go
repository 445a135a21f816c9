package kube

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/dns/dnsmessage"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"kubewright/internal/secret"
)

// What a user has collected in a kubeconfig is there after a merge, entry by entry; a file that
// is refused is refused without a word of what it holds.
func FuzzMergeKubeconfig(f *testing.F) {
	for _, seed := range []string{
		"", "apiVersion: v1\nkind: Config\n", "{", "kind: hunter2\n", "apiVersion: v1\nkind: Config\nusers: [{name: a, user: {token: *hunter2 }}]\n",
		`apiVersion: v1
kind: Config
current-context: work
preferences: {colors: true}
extensions: [{name: e, extension: {x: 1}}]
clusters: [{name: work, cluster: {server: "https://work:6443", proxy-url: "http://p", extensions: [{name: e, extension: {a: b}}]}}, {name: lab, cluster: {server: old}}]
contexts: [{name: work, context: {cluster: work, user: me, namespace: team}}, {name: lab, context: {cluster: lab, user: lab, namespace: chosen}}]
users: [{name: me, user: {token: hunter2, exec: {apiVersion: client.authentication.k8s.io/v1, command: login, args: [a], env: [{name: A, value: b}], interactiveMode: Never}}}, {name: lab, user: {password: hunter2, username: x}}]
`,
	} {
		f.Add([]byte(seed), "lab")
		f.Add([]byte(seed), "work")
	}
	const added = "{apiVersion: v1, kind: Config, current-context: a@b, contexts: [{name: a@b, context: {cluster: b, user: a}}]," +
		" clusters: [{name: b, cluster: {server: \"https://10.0.0.1:6443\"}}], users: [{name: a, user: {client-key-data: aHVudGVyMg==}}]}"
	f.Fuzz(func(t *testing.T, existing []byte, name string) {
		if !utf8.ValidString(name) {
			t.Skip("the name is that of the cluster, a DNS label")
		}
		out, err := MergeKubeconfig(existing, secret.Bytes(added), name)
		if err != nil {
			if strings.Contains(err.Error(), "hunter2") || out != nil {
				t.Errorf("the error quotes a file, or comes with one: %v", err)
			}
			return
		}
		before, err := clientcmd.Load(existing)
		if err != nil {
			t.Fatal(err)
		}
		after, err := clientcmd.Load(out.Reveal())
		if err != nil {
			t.Fatalf("what was merged cannot be read: %v", err)
		}
		context, user := after.Contexts[name], after.AuthInfos[name]
		if after.CurrentContext != name || context == nil || user == nil || context.Cluster != name || context.AuthInfo != name || string(user.ClientKeyData) != "hunter2" {
			t.Errorf("the context %q is %+v, its user %+v", name, context, user)
		}
		if old := before.Contexts[name]; old != nil && context.Namespace != old.Namespace {
			t.Errorf("the namespace %q has become %q", old.Namespace, context.Namespace)
		}
		if diff := cmp.Diff(others(before, name), others(after, name)); diff != "" {
			t.Errorf("what was there has changed (-before +after):\n%s", diff)
		}
		if again, err := MergeKubeconfig(out, secret.Bytes(added), name); err != nil || !again.Equal(out) {
			t.Errorf("merged again it is another file: %v", err)
		}
	})
}

// others is a file without the entries of a name, and which of its contexts is the current one.
func others(config *api.Config, name string) *api.Config {
	config = config.DeepCopy()
	config.CurrentContext = ""
	delete(config.Clusters, name)
	delete(config.Contexts, name)
	delete(config.AuthInfos, name)
	return config
}

// An answer of the cluster's DNS is addresses, or an error.
func FuzzParseAnswer(f *testing.F) {
	name := dnsmessage.MustNewName("kubernetes.default.svc.cluster.local.")
	for _, body := range []dnsmessage.ResourceBody{&dnsmessage.AResource{A: [4]byte{10, 96, 0, 1}}, &dnsmessage.AAAAResource{AAAA: [16]byte{0xfd, 15: 1}}, &dnsmessage.CNAMEResource{CNAME: name}} {
		for _, code := range []dnsmessage.RCode{dnsmessage.RCodeSuccess, dnsmessage.RCodeNameError} {
			message := dnsmessage.Message{Header: dnsmessage.Header{ID: 7, Response: true, RCode: code}, Answers: []dnsmessage.Resource{
				{Header: dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET}, Body: body},
			}}
			data, err := message.Pack()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
			f.Add(data[:len(data)-1])
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		addresses, err := parseAnswer(data, 7)
		if (err == nil) != (len(addresses) > 0) {
			t.Fatalf("addresses %v, error %v", addresses, err)
		}
		for _, address := range addresses {
			if !address.IsValid() || !strings.Contains(string(data), string(address.AsSlice())) {
				t.Errorf("the answer does not hold %v", address)
			}
		}
		if other, err := parseAnswer(data, 8); err == nil && addresses != nil {
			t.Errorf("it answers another question too: %v", other)
		}
	})
}
