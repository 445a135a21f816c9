package addons

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// calicoModule is the Go module whose manifests are those of the release the catalogue names: no
// Calico release is tagged as a module.
const calicoModule = "github.com/projectcalico/calico@v1.11.0-cni-plugin.0.20250813170300-a0db560f0520"

// calicoManifest reads the upstream manifest out of the Go module cache.
func calicoManifest(t *testing.T) []byte {
	t.Helper()
	data, err := os.ReadFile(moduleFile(t, calicoModule, "manifests/calico-vxlan.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func calico(t *testing.T, p Params, manifest []byte) map[string]*unstructured.Unstructured {
	t.Helper()
	a, err := Find("calico")
	if err == nil {
		a, err = a.In("vxlan")
	}
	if err != nil {
		t.Fatal(err)
	}
	objects, err := Render(a, p, manifest)
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]*unstructured.Unstructured{}
	for _, o := range objects {
		byName[o.GetKind()+" "+o.GetName()] = o
	}
	return byName
}

func TestCalicoManifestIsTheCatalogues(t *testing.T) {
	sum := sha256.Sum256(calicoManifest(t))
	file, _ := testRelease(t).File("calico", "amd64")
	if got := hex.EncodeToString(sum[:]); got != file.SHA256 {
		t.Errorf("the manifest has sha256 %s, the catalogue says %s", got, file.SHA256)
	}
}

func TestCalico(t *testing.T) {
	p := params(t)
	p.MTU, p.IptablesBackend = 1400, "NFT"
	objects := calico(t, p, calicoManifest(t))

	var ds appsv1.DaemonSet
	node := objects["DaemonSet calico-node"]
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(node.Object, &ds, true); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{}
	for _, e := range ds.Spec.Template.Spec.Containers[0].Env {
		if _, twice := env[e.Name]; twice {
			t.Errorf("%s is set twice", e.Name)
		}
		env[e.Name] = e.Value
	}
	for name, want := range map[string]string{
		"CALICO_IPV4POOL_CIDR": "10.244.0.0/16", "CALICO_IPV4POOL_VXLAN": "Always", "CALICO_IPV4POOL_IPIP": "Never",
		"IP": "autodetect", "IP_AUTODETECTION_METHOD": "kubernetes-internal-ip", "FELIX_IPTABLESBACKEND": "NFT",
	} {
		if env[name] != want {
			t.Errorf("%s is %q, want %q", name, env[name], want)
		}
	}
	var inits []string
	for _, c := range ds.Spec.Template.Spec.InitContainers {
		inits = append(inits, c.Name)
		if c.ImagePullPolicy != "IfNotPresent" {
			t.Errorf("%s is pulled %s: it would not start without its registry", c.Name, c.ImagePullPolicy)
		}
	}
	if diff := cmp.Diff([]string{"install-cni", "mount-bpffs"}, inits); diff != "" {
		t.Error(diff)
	}
	if got := field(t, objects["ConfigMap calico-config"], "data", "veth_mtu"); got != "1400" {
		t.Errorf("MTU %v", got)
	}
	if got := field(t, objects["ConfigMap calico-config"], "data", "cni_network_config"); !strings.Contains(got.(string), "calico-ipam") {
		t.Errorf("the CNI configuration is %v", got)
	}
	if ippools := objects["CustomResourceDefinition ippools.crd.projectcalico.org"]; ippools == nil || field(t, ippools, "status") != nil {
		t.Error("the definition of IP pools is missing, or has a status")
	}
}

func TestCalicoRefuses(t *testing.T) {
	manifest := calicoManifest(t)
	a, err := Find("calico")
	if err == nil {
		a, err = a.In("vxlan")
	}
	if err != nil {
		t.Fatal(err)
	}
	p := params(t)
	p.ProxyMode = "nftables"
	if _, err := Render(a, p, manifest); err == nil || !strings.Contains(err.Error(), "iptables or ipvs") {
		t.Errorf("beside nftables: %v", err)
	}
	other := strings.ReplaceAll(string(manifest), "docker.io/calico/node:v3.28.5", "quay.io/calico/node:v3.28.5")
	if _, err := Render(a, params(t), []byte(other)); err == nil || !strings.Contains(err.Error(), "does not list") {
		t.Errorf("with images from elsewhere: %v", err)
	}
}
