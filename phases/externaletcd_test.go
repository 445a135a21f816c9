package phases_test

import (
	"slices"
	"strings"
	"testing"

	"kubewright/internal/resource/memhost"
)

// A control plane whose etcd is somebody else's is made from any point, and brought to what is given
// later from any point.
func TestLawOfExternalEtcd(t *testing.T) {
	changes := map[string]struct {
		change func(m *machine)
		want   []string // what changes
	}{
		"nothing": {func(*machine) {}, nil},
		"new certificate": {func(m *machine) {
			m.cluster.ExternalEtcd.Client.CertPEM, m.cluster.ExternalEtcd.Client.KeyPEM = []byte("newer\n"), []byte("newer key\n")
		}, []string{
			"file:/etc/kubernetes/pki/apiserver-etcd-client.key", "file:/etc/kubernetes/pki/apiserver-etcd-client.crt",
			"pod:/etc/kubernetes/manifests/kube-apiserver.yaml",
		}},
		"new authority": {func(m *machine) { m.cluster.ExternalEtcd.CA = []byte("newer\n") },
			[]string{"file:/etc/kubernetes/pki/etcd/ca.crt", "pod:/etc/kubernetes/manifests/kube-apiserver.yaml"}},
		"other endpoints": {func(m *machine) { m.cluster.ExternalEtcd.Endpoints = []string{"https://10.111.9.3:2379"} },
			[]string{"pod:/etc/kubernetes/manifests/kube-apiserver.yaml"}},
	}
	for name, tt := range changes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before, after := machineOf(t, externalCluster(t), "cp1", "vm"), machineOf(t, externalCluster(t), "cp1", "vm")
			tt.change(&after)
			f := after.fixture()
			if len(tt.want) > 0 {
				applied := before.bare(t)
				before.fixture().Converge(t, applied)
				f.Host = func(testing.TB) *memhost.Host { return applied.Clone() }
				if got := changed(f.Plan(t, applied)); !slices.Equal(got, tt.want) {
					t.Errorf("changes are %v, want %v", got, tt.want)
				}
			}
			f.Every, f.Again = 29, 0
			f.Law(t)
		})
	}
}

// Of an etcd that somebody else runs, a control plane has what a client needs, and nothing of a member.
func TestExternalEtcd(t *testing.T) {
	m := machineOf(t, externalCluster(t), "cp1", "vm")
	h := m.bare(t)
	m.fixture().Converge(t, h)
	for path, want := range map[string]string{
		"/etc/kubernetes/pki/etcd/ca.crt":               "somebody's authority\n",
		"/etc/kubernetes/pki/apiserver-etcd-client.crt": "somebody's certificate\n",
		"/etc/kubernetes/pki/apiserver-etcd-client.key": "somebody's key\n",
		"/var/lib/kubewright/etcd":                      "external cafe1\n",
	} {
		if got := file(t, h, path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	if mode := h.Nodes["/etc/kubernetes/pki/apiserver-etcd-client.key"].Mode.Perm(); mode != 0o600 {
		t.Errorf("the key has mode %o", mode)
	}
	for path := range h.Nodes {
		if strings.HasPrefix(path, "/etc/kubernetes/pki/etcd/") && path != "/etc/kubernetes/pki/etcd/ca.crt" ||
			strings.HasPrefix(path, "/var/lib/etcd") || path == "/etc/kubernetes/manifests/etcd.yaml" || path == "/usr/local/bin/etcd" {
			t.Errorf("there is %s, and etcd runs elsewhere", path)
		}
	}
	m.cluster.ExternalEtcd.Client.KeyPEM = []byte("newer key\n")
	if text := shown(t, m, h); strings.Contains(text, "newer key") || strings.Contains(text, "somebody's") || !strings.Contains(text, "apiserver-etcd-client.key") {
		t.Errorf("the plan shows a key, or none at all:\n%s", text)
	}
}
