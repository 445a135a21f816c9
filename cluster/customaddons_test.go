package cluster_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"kubewright/cluster"
	"kubewright/spec"
)

// Paths are those of the machine, and what is no path stays what it is.
func TestPathsOfAddons(t *testing.T) {
	const file = `apiVersion: kubewright.io/v1alpha1
kind: Cluster
metadata: {name: lab}
spec:
  kubernetesVersion: 1.37.2
  addons:
    custom:
    - {name: a, manifests: a.yaml}
    - {name: b, kustomization: ../b}
    - {name: c, chart: {path: c.tgz, valuesFiles: [v.yaml, /etc/v.yaml, ~/v.yaml]}}
    - {name: d, chart: {path: "oci://registry.example.com/d", version: 1.2.3}}
    - {name: e, manifests: ~/e}
  hosts: [{name: cp1, address: 10.111.0.10, roles: [control-plane, worker]}]
`
	files := memory{"sites/lab/cluster.yaml": file}
	c, _, err := cluster.Load(cluster.Files{Cluster: "sites/lab/cluster.yaml", Read: files.read, Exists: files.exists}, releases(t))
	if err != nil {
		t.Fatal(err)
	}
	want := []spec.CustomAddon{
		{Name: "a", Manifests: "sites/lab/a.yaml"},
		{Name: "b", Kustomization: "sites/b"},
		{Name: "c", Chart: spec.HelmChart{Path: "sites/lab/c.tgz", ValuesFiles: []string{"sites/lab/v.yaml", "/etc/v.yaml", "~/v.yaml"}}},
		{Name: "d", Chart: spec.HelmChart{Path: "oci://registry.example.com/d", Version: "1.2.3"}},
		{Name: "e", Manifests: "~/e"},
	}
	if diff := cmp.Diff(want, c.Addons.Custom); diff != "" {
		t.Error(diff)
	}
}
