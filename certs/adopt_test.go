package certs

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kubewright/internal/secret"
)

func newTestBundle(t *testing.T) *Bundle {
	t.Helper()
	bundle, err := GenerateBundle(ECDSAP256, testEnv())
	if err != nil {
		t.Fatal(err)
	}
	return bundle
}

// filesOf returns the files of a bundle, as a host would have them.
func filesOf(bundle *Bundle) HostFiles {
	files := HostFiles{}
	for _, file := range bundle.Files() {
		files[file.Name] = file.Content
	}
	return files
}

func without(files HostFiles, names ...string) HostFiles {
	out := maps.Clone(files)
	for _, name := range names {
		delete(out, name)
	}
	return out
}

func only(files HostFiles, names ...string) HostFiles {
	out := HostFiles{}
	for _, name := range names {
		out[name] = files[name]
	}
	return out
}

func replaced(files HostFiles, name string, content secret.Bytes) HostFiles {
	out := maps.Clone(files)
	out[name] = content
	return out
}

func TestAdopt(t *testing.T) {
	ours, theirs := newTestBundle(t), newTestBundle(t)
	a, b := filesOf(ours), filesOf(theirs)
	windows := replaced(a, "ca.crt", secret.Bytes(strings.ReplaceAll(string(a["ca.crt"].Reveal()), "\n", "\r\n")))

	tests := []struct {
		name  string
		hosts map[string]HostFiles
		want  *Bundle // nil with no errors: nothing there
		errs  []string
	}{
		{name: "no hosts"},
		{name: "none has any", hosts: map[string]HostFiles{"cp1": {}, "cp2": nil}},
		{name: "only other files", hosts: map[string]HostFiles{"cp1": {"apiserver.crt": secret.Bytes("x")}}},
		{name: "one has all", hosts: map[string]HostFiles{"cp1": {}, "cp2": a, "cp3": nil}, want: ours},
		{name: "all are equal", hosts: map[string]HostFiles{"cp1": a, "cp2": a, "cp3": a}, want: ours},
		{name: "spelled differently", hosts: map[string]HostFiles{"cp1": a, "cp2": windows}, want: ours},
		{name: "public key lost", hosts: map[string]HostFiles{"cp1": without(a, "sa.pub")}, want: ours},
		{name: "one has all, one a part of it", want: ours,
			hosts: map[string]HostFiles{"cp1": only(a, "ca.crt", "ca.key"), "cp2": a}},
		{name: "two differ", hosts: map[string]HostFiles{"cp1": a, "cp2": b, "cp3": {}}, errs: []string{
			"two different clusters: /etc/kubernetes/pki/ca.crt is " + ours.Kubernetes.Fingerprint() + " on host cp1 but " +
				theirs.Kubernetes.Fingerprint() + " on host cp2"}},
		{name: "one of three differs", hosts: map[string]HostFiles{"cp1": a, "cp2": a, "cp3": b}, errs: []string{"on host cp1 but", "on host cp3"}},
		{name: "only etcd differs", errs: []string{"/etc/kubernetes/pki/etcd/ca.crt is " + ours.Etcd.Fingerprint()},
			hosts: map[string]HostFiles{"cp1": a, "cp2": replaced(replaced(a, "etcd/ca.crt", b["etcd/ca.crt"]), "etcd/ca.key", b["etcd/ca.key"])}},
		{name: "only service account key differs", errs: []string{"/etc/kubernetes/pki/sa.key is "},
			hosts: map[string]HostFiles{"cp1": a, "cp2": replaced(replaced(a, "sa.key", b["sa.key"]), "sa.pub", b["sa.pub"])}},
		{name: "a part of another cluster", hosts: map[string]HostFiles{"cp1": a, "cp2": only(b, "front-proxy-ca.crt")},
			errs: []string{"/etc/kubernetes/pki/front-proxy-ca.crt is ", "on host cp2"}},
		{name: "one is partial", hosts: map[string]HostFiles{"cp1": without(a, "etcd/ca.key", "sa.key", "sa.pub"), "cp2": {}},
			errs: []string{"host cp1: /etc/kubernetes/pki has some certificate authority files but lacks etcd/ca.key, sa.key, sa.pub; "}},
		{name: "key missing", hosts: map[string]HostFiles{"cp1": without(a, "ca.key")}, errs: []string{"host cp1", "lacks ca.key"}},
		{name: "two are partial", hosts: map[string]HostFiles{"cp1": without(a, "ca.key"), "cp2": without(a, "sa.key")},
			errs: []string{"host cp1", "lacks ca.key", "host cp2", "lacks sa.key"}},
		{name: "empty file", hosts: map[string]HostFiles{"cp1": replaced(a, "ca.crt", nil)},
			errs: []string{"host cp1: /etc/kubernetes/pki/ca.crt: no PEM encoded certificate found"}},
		{name: "unusable key", hosts: map[string]HostFiles{"cp1": a, "cp2": replaced(a, "etcd/ca.key", secret.Bytes("x"))},
			errs: []string{"host cp2: /etc/kubernetes/pki/etcd/ca.key: no PEM encoded private key found"}},
		{name: "unusable public key", hosts: map[string]HostFiles{"cp1": replaced(a, "sa.pub", secret.Bytes("x"))},
			errs: []string{"host cp1: /etc/kubernetes/pki/sa.pub: no PEM encoded public key found"}},
		{name: "key of another authority", hosts: map[string]HostFiles{"cp1": replaced(a, "ca.key", b["ca.key"])},
			errs: []string{`host cp1: /etc/kubernetes/pki/ca.crt: the private key does not belong to certificate "kubernetes"`}},
		{name: "public key of another", hosts: map[string]HostFiles{"cp1": replaced(a, "sa.pub", b["sa.pub"])},
			errs: []string{"host cp1: /etc/kubernetes/pki/sa.pub: sa.pub is not the public half of sa.key"}},
		{name: "everything at once", errs: []string{"host cp1", "two different clusters", "on host cp3"},
			hosts: map[string]HostFiles{"cp1": replaced(a, "ca.crt", nil), "cp2": a, "cp3": b}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := Adopt(test.hosts)
			if len(test.errs) == 0 {
				if err != nil {
					t.Fatal(err)
				}
				assertSameBundle(t, test.want, got)
				return
			}
			if err == nil || got != nil {
				t.Fatalf("bundle %v, error %v", got, err)
			}
			for _, want := range test.errs {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error lacks %q: %v", want, err)
				}
			}
		})
	}
}

func assertSameBundle(t *testing.T, want, got *Bundle) {
	t.Helper()
	if want == nil || got == nil {
		if want != got {
			t.Errorf("bundle is %v, want %v", got, want)
		}
		return
	}
	for _, name := range authorityNames() {
		if !want.Authority(name).equal(got.Authority(name)) {
			t.Errorf("%s is another authority", name)
		}
	}
	if !want.ServiceAccount.KeyPEM.Equal(got.ServiceAccount.KeyPEM) {
		t.Error("another service account key")
	}
	if diff := cmp.Diff(string(want.ServiceAccount.CertPEM), string(got.ServiceAccount.CertPEM)); diff != "" {
		t.Error(diff)
	}
}

func TestAdoptErrorTypes(t *testing.T) {
	a, b := filesOf(newTestBundle(t)), filesOf(newTestBundle(t))
	_, err := Adopt(map[string]HostFiles{"cp1": without(a, "ca.key", "sa.key")})
	var partial *PartialError
	if !errors.As(err, &partial) || partial.Host != "cp1" {
		t.Fatalf("error is %v", err)
	}
	// sa.pub is there, so only the two are missing.
	if diff := cmp.Diff([]string{"ca.key", "sa.key"}, partial.Missing); diff != "" {
		t.Error(diff)
	}
	var conflict *ConflictError
	if _, err = Adopt(map[string]HostFiles{"cp1": a, "cp2": b}); !errors.As(err, &conflict) ||
		conflict.HostA != "cp1" || conflict.HostB != "cp2" || conflict.FingerprintA == conflict.FingerprintB {
		t.Errorf("error is %v", err)
	}
	var unusable *UnusableError
	if _, err = Adopt(map[string]HostFiles{"cp1": replaced(a, "ca.crt", nil)}); !errors.As(err, &unusable) || unusable.File != "ca.crt" {
		t.Errorf("error is %v", err)
	}
}

func TestBundleFiles(t *testing.T) {
	var got []string
	modes := map[string]uint32{}
	for _, file := range newTestBundle(t).Files() {
		got = append(got, file.Name)
		modes[file.Name] = file.Mode
	}
	want := []string{"ca.crt", "ca.key", "front-proxy-ca.crt", "front-proxy-ca.key", "etcd/ca.crt", "etcd/ca.key", "sa.key", "sa.pub"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want, BundleFiles()); diff != "" {
		t.Error(diff)
	}
	for name, mode := range modes {
		if strings.HasSuffix(name, ".key") && mode != 0o600 {
			t.Errorf("%s has mode %o", name, mode)
		}
	}
	if (&Bundle{}).Authority("other") != nil {
		t.Error("an unknown name has an authority")
	}
}

func TestGenerateBundle(t *testing.T) {
	bundle := newTestBundle(t)
	names := map[AuthorityName]string{KubernetesCA: "kubernetes", FrontProxyCA: "front-proxy-ca", EtcdCA: "etcd-ca"}
	for name, want := range names {
		if got := bundle.Authority(name).CommonName(); got != want {
			t.Errorf("%s is called %q, want %q", name, got, want)
		}
	}
	if _, err := GenerateBundle("x", testEnv()); err == nil {
		t.Error("an unknown algorithm is accepted")
	}
	if _, err := GenerateBundle(ECDSAP256, Env{}); err == nil {
		t.Error("an empty Env is accepted")
	}
	if _, err := newServiceAccount(ECDSAP256, Env{}); err == nil {
		t.Error("an empty Env is accepted for the service account key")
	}
	if _, err := newServiceAccount("x", testEnv()); err == nil {
		t.Error("an unknown algorithm is accepted for the service account key")
	}
}
