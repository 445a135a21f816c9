package phases_test

import (
	"crypto/rand"
	"encoding/base64"
	"net/netip"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubewright/certs"
	"kubewright/cluster"
	"kubewright/internal/plan"
	"kubewright/phases"
	"kubewright/spec"
)

// setOf is the set of an addon of a cluster.
func setOf(t *testing.T, c *cluster.Cluster, name string) plan.Set {
	t.Helper()
	for _, p := range phases.All() {
		if p.Sets == nil {
			continue
		}
		sets, err := p.Sets(c)
		if err != nil {
			t.Fatal(err)
		}
		if i := slices.IndexFunc(sets, func(s plan.Set) bool { return s.Name == name }); i >= 0 {
			return sets[i]
		}
	}
	t.Fatalf("the cluster has no addon %s", name)
	return plan.Set{}
}

// registryCluster has a registry, whose volume is of a class of somebody else's.
func registryCluster(t *testing.T) *cluster.Cluster {
	t.Helper()
	c := testCluster(t)
	c.Addons.Registry = spec.Registry{Enabled: true, Host: "registry.internal", Size: "10Gi", StorageClass: "disks"}
	return c
}

// The certificate of an addon stays as long as it is good, and is issued anew when it is not: by the
// cluster's authority, for all names that lead to the server.
func TestCertificateOfAnAddon(t *testing.T) {
	c := registryCluster(t)
	set := setOf(t, c, "registry")
	ref := plan.Ref{APIVersion: "v1", Kind: "Secret", Namespace: "registry", Name: "registry-certificate"}
	if !slices.Equal(set.Reads, []plan.Ref{ref}) {
		t.Fatalf("the set reads %v", set.Reads)
	}
	pki, err := bundle()
	if err != nil {
		t.Fatal(err)
	}
	world := func(live *unstructured.Unstructured, now time.Time) plan.World {
		w := plan.World{PKI: pki, Scope: c.Hosts, Env: certs.Env{Now: now, Rand: rand.Reader}}
		if live != nil {
			w.Live = map[plan.Ref]*unstructured.Unstructured{ref: live}
		}
		return w
	}
	secret := func(c *cluster.Cluster, w plan.World) *unstructured.Unstructured {
		t.Helper()
		objects, err := setOf(t, c, "registry").Objects(c, w)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(objects, func(o *unstructured.Unstructured) bool { return o.GetKind() == "Secret" })
		if i < 0 {
			t.Fatal("there is no secret")
		}
		return objects[i]
	}
	text := func(o *unstructured.Unstructured, key string) string {
		value, _, _ := unstructured.NestedString(o.Object, "data", key)
		return value
	}
	now := env().Now
	first := secret(c, world(nil, now))
	request := certs.Request{
		CommonName: "registry.registry.svc", Server: true, IPs: []netip.Addr{netip.MustParseAddr("10.96.0.11")},
		DNSNames: []string{"registry", "registry.registry", "registry.registry.svc", "registry.registry.svc.cluster.local", "registry.internal"},
	}
	pair := certs.Pair{CertPEM: decoded(t, text(first, "tls.crt")), KeyPEM: decoded(t, text(first, "tls.key"))}
	if v := certs.Assess(pair, request, pki.Kubernetes, now); v.Action != certs.Keep {
		t.Errorf("the certificate: %s", v)
	}
	if kept := secret(c, world(first, now.Add(24*time.Hour))); text(kept, "tls.crt") != text(first, "tls.crt") || text(kept, "tls.key") != text(first, "tls.key") {
		t.Error("a good certificate was replaced")
	}
	renamed := registryCluster(t)
	renamed.Addons.Registry.Host = "images.example.com"
	damaged := first.DeepCopy()
	if err := unstructured.SetNestedField(damaged.Object, "%%%", "data", "tls.crt"); err != nil {
		t.Fatal(err)
	}
	other := first.DeepCopy()
	if err := unstructured.SetNestedField(other.Object, int64(1), "data", "tls.key"); err != nil {
		t.Fatal(err)
	}
	for name, again := range map[string]*unstructured.Unstructured{
		"another name":   secret(renamed, world(first, now)),
		"nearly over":    secret(c, world(first, now.Add(300*24*time.Hour))),
		"not base64":     secret(c, world(damaged, now)),
		"of other types": secret(c, world(other, now)),
	} {
		if text(again, "tls.crt") == text(first, "tls.crt") || text(again, "tls.key") == text(first, "tls.key") {
			t.Errorf("%s: the certificate stays", name)
		}
	}
	if _, err := set.Objects(c, plan.World{PKI: pki}); err == nil {
		t.Error("a certificate is issued at no time")
	}
}

func decoded(t *testing.T, text string) []byte {
	t.Helper()
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
