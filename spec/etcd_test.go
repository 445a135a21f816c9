package spec

import (
	"strings"
	"testing"
)

func TestEtcdEndpoint(t *testing.T) {
	for _, tt := range []struct{ text, want, why, suggestion string }{
		{"https://10.111.0.31:2379", "https://10.111.0.31:2379", "", ""},
		{"https://10.111.0.31", "https://10.111.0.31:2379", "", ""},
		{"https://Etcd.Example.com:443/", "https://etcd.example.com:443", "", ""},
		{"https://etcd.example.com:", "https://etcd.example.com:2379", "", ""},
		{"https://[fd00::1]", "https://[fd00::1]:2379", "", ""},
		{"https://[fd00::1]:2380", "https://[fd00::1]:2380", "", ""},
		{"10.111.0.31:2379", "", "has no scheme", "https://10.111.0.31:2379"},
		{"etcd.example.com", "", "has no scheme", "https://etcd.example.com"},
		{"a b", "", "has no scheme", ""},
		{"root:hunter2@etcd.example.com", "", "has no scheme", ""},
		{"http://10.111.0.31:2379", "", "must begin with https://", "https://10.111.0.31:2379"},
		{"unix:///run/etcd", "", "must begin with http", ""},
		{"https://10.111.0.31:2379/v3", "", "must end with its port", "https://10.111.0.31:2379"},
		{"https://10.111.0.31:2379?a=b", "", "must end with its path", ""},
		{"https://root:hunter2@10.111.0.31:2379", "", "has a user or a password", ""},
		{"https://10.111.0.31:0", "", "has no port from 1 to 65535", ""},
		{"https://10.111.0.31:99999", "", "has no port from 1 to 65535", ""},
		{"https://10.111.0.31:2379,https://10.111.0.32:2379", "", "", ""},
		{"https://", "", "names no host", ""},
		{`https://a"b`, "", "", ""},
	} {
		got, problem := EtcdEndpoint(tt.text)
		if tt.want != "" {
			if problem != nil || got != tt.want {
				t.Errorf("%q: %q, %+v; want %q", tt.text, got, problem, tt.want)
			}
			continue
		}
		if problem == nil || got != "" || !strings.HasPrefix(problem.Message, tt.why) || problem.Suggestion != tt.suggestion ||
			strings.Contains(problem.Message+problem.Suggestion, "hunter2") {
			t.Errorf("%q: %q, %+v; want %q, suggestion %q", tt.text, got, problem, tt.why, tt.suggestion)
		}
	}
}

func TestParseExternalEtcd(t *testing.T) {
	const files = "caFile: ca.crt, certFile: client.crt, keyFile: client.key"
	for _, tt := range []struct {
		name, yaml string
		want       []string // how the faults begin, after their places
	}{
		{"all", "{external: {endpoints: [https://10.111.0.31, 'https://10.111.0.32:2379'], " + files + "}}", nil},
		{"none", "{external: null, extraArgs: {v: '1'}}", nil},
		{"nothing of it", "{external: {}}", []string{"endpoints: this key is required", "caFile: this key is required", "certFile: this key is required", "keyFile: this key is required"}},
		{"no endpoint", "{external: {endpoints: [], " + files + "}}", []string{"endpoints: must not be empty"}},
		{"no key", "{external: {endpoints: [https://10.111.0.31], caFile: ca.crt, certFile: client.crt}}", []string{"keyFile: this key is required"}},
		{"twice, spelt in two ways", "{external: {endpoints: [https://ETCD, 'https://etcd:2379'], " + files + "}}", []string{"endpoints[1]: https://etcd:2379 stands in the list twice"}},
		{"without TLS", "{external: {endpoints: ['http://10.111.0.31:2379'], " + files + "}}", []string{"endpoints[0]: the endpoint must begin with https://"}},
		{"with flags of members", "{extraArgs: {v: '1'}, external: {endpoints: [https://10.111.0.31], " + files + "}}", []string{"these are flags of an etcd that kubewright runs"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, faults := Parse("cluster.yaml", []byte(smallest+"  controlPlane:\n    etcd: "+tt.yaml+"\n"))
			var got []string
			for _, f := range faults {
				_, message, _ := strings.Cut(f.Error(), ": spec.controlPlane.etcd.")
				got = append(got, strings.TrimPrefix(strings.TrimPrefix(message, "external."), "extraArgs: "))
			}
			if len(got) != len(tt.want) {
				t.Fatalf("faults: %q, want %q", got, tt.want)
			}
			for i, want := range tt.want {
				if !strings.HasPrefix(got[i], want) {
					t.Errorf("got  %s\nwant %s", got[i], want)
				}
			}
		})
	}
}
