package addons

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"kubewright/certs"
	"kubewright/internal/secret"
	"kubewright/spec"
)

// moduleFile is the path of a file in the Go module cache. The modules are no dependencies, so they are there
// only on machines that downloaded them for another reason, such as building the images of the lab.
func moduleFile(t *testing.T, module, file string) string {
	t.Helper()
	cache, err := exec.Command("go", "env", "GOMODCACHE").Output()
	if err != nil {
		t.Skipf("no Go command to find the module cache with: %v", err)
	}
	path := filepath.Join(strings.TrimSpace(string(cache)), filepath.FromSlash(module), filepath.FromSlash(file))
	if _, err := os.Stat(path); err != nil {
		t.Skipf("the upstream manifest is not in the module cache (go mod download %s): %v", module, err)
	}
	return path
}

// upstreamManifest is the manifest of an addon as upstream publishes it, and as the catalogue knows it by digest.
func upstreamManifest(t *testing.T, addon string) []byte {
	t.Helper()
	var data []byte
	var err error
	switch addon {
	case "metrics-server": // published is what kustomize makes of the sources
		folder := moduleFile(t, "sigs.k8s.io/metrics-server@v0.9.0", "manifests/overlays/release")
		options := krusty.MakeDefaultOptions()
		options.Reorder = krusty.ReorderOptionLegacy // as the command sorts
		built, buildErr := krusty.MakeKustomizer(options).Run(filesys.MakeFsOnDisk(), folder)
		if buildErr != nil {
			t.Fatal(buildErr)
		}
		data, err = built.AsYaml()
	case "local-path":
		data, err = os.ReadFile(moduleFile(t, "github.com/rancher/local-path-provisioner@v0.0.30", "deploy/local-path-storage.yaml"))
	case "metallb":
		data, err = os.ReadFile(moduleFile(t, "go.universe.tf/metallb@v0.15.2", "config/manifests/metallb-native.yaml"))
	default:
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	file, _ := testRelease(t).File(addon, "amd64")
	if got := hex.EncodeToString(sum[:]); got != file.SHA256 {
		t.Fatalf("the manifest of %s has sha256 %s, the catalogue says %s", addon, got, file.SHA256)
	}
	return data
}

// configured are addons as a user writes them below spec.addons, with the defaults.
func configured(t *testing.T, text string) spec.Addons {
	t.Helper()
	file, faults := spec.Parse("cluster.yaml", []byte("apiVersion: kubewright.io/v1alpha1\nkind: Cluster\nmetadata: {name: lab}\n"+
		"spec: {kubernetesVersion: 1.37.2, hosts: [{name: a, address: 10.0.0.1}], addons: "+text+"}\n"))
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	return file.Spec.Addons
}

// platform renders an addon with upstream's manifest; objects by kind and name, all of which decode strictly.
func platform(t *testing.T, addon string, p Params) map[string]*unstructured.Unstructured {
	t.Helper()
	a, err := Find(addon)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := Render(a, p, upstreamManifest(t, addon))
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]*unstructured.Unstructured{}
	for _, o := range objects {
		byName[o.GetKind()+" "+o.GetName()] = o
		typed, err := scheme.Scheme.New(o.GroupVersionKind())
		if runtime.IsNotRegisteredError(err) {
			continue // a kind of the addon's own
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(o.Object, typed, true); err != nil {
			t.Errorf("%s %s: %v", o.GetKind(), o.GetName(), err)
		}
	}
	return byName
}

// serving is a certificate for tests, and the authority that signed it.
func serving(t *testing.T) (authority *certs.Authority, pair certs.Pair) {
	t.Helper()
	env := certs.Env{Now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), Rand: rand.Reader}
	authority, err := certs.NewAuthority("kubernetes", certs.ECDSAP256, env)
	if err != nil {
		t.Fatal(err)
	}
	if pair, err = authority.Issue(certs.Request{CommonName: "x", DNSNames: []string{"x"}, Server: true}, env); err != nil {
		t.Fatal(err)
	}
	return authority, pair
}

func TestMetricsServer(t *testing.T) {
	authority, pair := serving(t)
	p := params(t)
	p.CA, p.Certificate = authority.CertPEM(), pair
	for _, test := range []struct{ nodes, given, want int }{{0, 0, 1}, {1, 0, 1}, {2, 0, 2}, {9, 0, 2}, {9, 3, 3}, {1, 2, 2}} {
		p.Nodes, p.Addons.MetricsServer.Replicas = test.nodes, test.given
		objects := platform(t, "metrics-server", p)
		d := as[appsv1.Deployment](t, objects["Deployment metrics-server"])
		if int(*d.Spec.Replicas) != test.want || (objects["PodDisruptionBudget metrics-server"] != nil) != (test.want > 1) {
			t.Errorf("%d nodes, %d given: %d replicas, want %d; budget %v", test.nodes, test.given, *d.Spec.Replicas, test.want, objects["PodDisruptionBudget metrics-server"])
		}
	}
	objects := platform(t, "metrics-server", p)
	d := as[appsv1.Deployment](t, objects["Deployment metrics-server"])
	container := d.Spec.Template.Spec.Containers[0]
	args := strings.Join(container.Args, " ")
	if strings.Contains(args, "insecure") || !strings.Contains(args, "--kubelet-certificate-authority=/etc/metrics-server/cluster/ca.crt") {
		t.Errorf("kubelets are not verified: %s", args)
	}
	volumes := map[string]corev1.Volume{}
	for _, v := range d.Spec.Template.Spec.Volumes {
		volumes[v.Name] = v
	}
	for _, m := range container.VolumeMounts {
		if _, ok := volumes[m.Name]; !ok {
			t.Errorf("nothing is mounted at %s", m.MountPath)
		}
	}
	if c := volumes["cluster"].ConfigMap; c == nil || c.Name != "kube-root-ca.crt" {
		t.Errorf("the authority comes from %v", c)
	}
	service := objects["APIService v1beta1.metrics.k8s.io"]
	if skips, ok := field(t, service, "spec", "insecureSkipTLSVerify").(bool); skips || !ok {
		t.Error("the API server believes whoever answers")
	}
	if got := field(t, service, "spec", "caBundle"); got != mustJSON(t, authority.CertPEM()) {
		t.Errorf("the API server trusts %v", got)
	}
	secret := as[corev1.Secret](t, objects["Secret metrics-server-certificate"])
	if diff := cmp.Diff(map[string][]byte{"tls.crt": pair.CertPEM, "tls.key": pair.KeyPEM.Reveal()}, secret.Data); diff != "" || secret.Type != corev1.SecretTypeTLS {
		t.Errorf("a secret of type %s:\n%s", secret.Type, diff)
	}
}

// mustJSON is how JSON has bytes: in base64.
func mustJSON(t *testing.T, data []byte) string {
	t.Helper()
	text, err := json.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Trim(string(text), `"`)
}

func TestLocalPath(t *testing.T) {
	for name, test := range map[string]struct {
		addons, class, byDefault, path string
		reclaim                        corev1.PersistentVolumeReclaimPolicy
	}{
		"defaults": {"{localPath: {enabled: true}}", "local-path", "true", "/var/lib/local-path-provisioner", "Delete"},
		"all":      {"{localPath: {enabled: true, path: /data/volumes, className: disks, defaultClass: false, reclaimPolicy: Retain}}", "disks", "false", "/data/volumes", "Retain"},
	} {
		t.Run(name, func(t *testing.T) {
			p := params(t)
			p.Addons = configured(t, test.addons)
			objects := platform(t, "local-path", p)
			class := as[storagev1.StorageClass](t, objects["StorageClass "+test.class])
			if *class.ReclaimPolicy != test.reclaim || class.Annotations["storageclass.kubernetes.io/is-default-class"] != test.byDefault ||
				class.Provisioner != "rancher.io/local-path" || *class.VolumeBindingMode != storagev1.VolumeBindingWaitForFirstConsumer {
				t.Errorf("the class is %+v", class)
			}
			if n := len(slices.DeleteFunc(kinds(objects), func(k string) bool { return k != "StorageClass" })); n != 1 {
				t.Errorf("%d storage classes", n)
			}
			config := as[corev1.ConfigMap](t, objects["ConfigMap local-path-config"])
			want := `{"nodePathMap":[{"node":"DEFAULT_PATH_FOR_NON_LISTED_NODES","paths":["` + test.path + `"]}]}`
			if config.Data["config.json"] != want {
				t.Errorf("the configuration is %s", config.Data["config.json"])
			}
			if !strings.Contains(config.Data["teardown"], "rm -rf") || !strings.Contains(config.Data["setup"], "mkdir") {
				t.Errorf("upstream's scripts are gone: %v", config.Data)
			}
			var helper corev1.Pod
			if err := json.Unmarshal([]byte(config.Data["helperPod.yaml"]), &helper); err != nil {
				t.Fatal(err)
			}
			if got := helper.Spec.Containers[0].Image; got != testRelease(t).Image("busybox") {
				t.Errorf("the helper runs %q", got)
			}
		})
	}
}

// kinds are those of the objects.
func kinds(objects map[string]*unstructured.Unstructured) []string {
	var all []string
	for _, o := range objects {
		all = append(all, o.GetKind())
	}
	return all
}

func TestMetalLB(t *testing.T) {
	const pools = "pools: [{name: a, addresses: [10.9.0.1-10.9.0.9, 10.9.1.0/24]}, {name: b, addresses: [10.9.2.0/24], onRequest: true, avoidBuggyIPs: true}]"
	p := params(t)
	p.Addons = configured(t, "{metallb: {enabled: true, "+pools+"}}")
	objects := platform(t, "metallb", p)
	wantSpec := func(object string, want map[string]any) {
		t.Helper()
		o := objects[object]
		if o == nil {
			t.Errorf("there is no %s among %v", object, kinds(objects))
			return
		}
		if diff := cmp.Diff(want, o.Object["spec"]); diff != "" || o.GetNamespace() != "metallb-system" {
			t.Errorf("%s in %s:\n%s", object, o.GetNamespace(), diff)
		}
	}
	count := func(kind string) int {
		return len(slices.DeleteFunc(kinds(objects), func(k string) bool { return k != kind }))
	}
	wantSpec("IPAddressPool a", map[string]any{"addresses": []any{"10.9.0.1-10.9.0.9", "10.9.1.0/24"}, "autoAssign": true, "avoidBuggyIPs": false})
	wantSpec("IPAddressPool b", map[string]any{"addresses": []any{"10.9.2.0/24"}, "autoAssign": false, "avoidBuggyIPs": true})
	// Without a word of how, all pools are announced by ARP.
	if l2 := objects["L2Advertisement l2-1"]; l2 == nil || len(asMap(l2.Object["spec"])) != 0 || count("L2Advertisement") != 1 || count("BGPAdvertisement")+count("BGPPeer") > 0 {
		t.Errorf("the pools are announced by %v", l2)
	}

	p.Addons = configured(t, `{metallb: {enabled: true, `+pools+`, bgp: {asn: 64500, peers: [
		{name: r1, address: 10.111.0.1, asn: 4200000000, passwordFile: x, nodeSelector: {zone: x}}, {name: r2, address: 10.111.0.2, asn: 64501, myASN: 64502, port: 1179}]}}}`)
	p.BGPPasswords = map[string]secret.Bytes{"r1": secret.Bytes("s3: \"cret")}
	objects = platform(t, "metallb", p)
	wantSpec("BGPPeer r1", map[string]any{
		"myASN": int64(64500), "peerASN": int64(4200000000), "peerAddress": "10.111.0.1",
		"passwordSecret": map[string]any{"name": "bgp-r1", "namespace": "metallb-system"},
		"nodeSelectors":  []any{map[string]any{"matchLabels": map[string]any{"zone": "x"}}},
	})
	wantSpec("BGPPeer r2", map[string]any{"myASN": int64(64502), "peerASN": int64(64501), "peerAddress": "10.111.0.2", "peerPort": int64(1179)})
	password := as[corev1.Secret](t, objects["Secret bgp-r1"])
	if string(password.Data["password"]) != "s3: \"cret" || password.Type != corev1.SecretTypeBasicAuth || objects["Secret bgp-r2"] != nil {
		t.Errorf("a secret of type %s", password.Type)
	}
	if adv := objects["BGPAdvertisement bgp-1"]; adv == nil || len(asMap(adv.Object["spec"])) != 0 || count("BGPAdvertisement") != 1 || count("L2Advertisement") > 0 {
		t.Errorf("the routers are told %v", adv)
	}

	p.Addons = configured(t, `{metallb: {enabled: true, `+pools+`, l2: [{pools: [a], interfaces: [eth0], nodeSelector: {zone: x}}, {pools: [b]}],
		bgp: {peers: [{name: r1, address: 10.111.0.1, asn: 64501}], advertisements: [{pools: [a], peers: [r1], aggregationLength: 32, communities: ["65535:65282"], localPref: 100, nodeSelector: {zone: y}}, {}]}}}`)
	objects = platform(t, "metallb", p)
	wantSpec("L2Advertisement l2-1", map[string]any{
		"ipAddressPools": []any{"a"}, "interfaces": []any{"eth0"}, "nodeSelectors": []any{map[string]any{"matchLabels": map[string]any{"zone": "x"}}},
	})
	wantSpec("L2Advertisement l2-2", map[string]any{"ipAddressPools": []any{"b"}})
	wantSpec("BGPAdvertisement bgp-1", map[string]any{
		"ipAddressPools": []any{"a"}, "peers": []any{"r1"}, "aggregationLength": int64(32), "communities": []any{"65535:65282"}, "localPref": int64(100),
		"nodeSelectors": []any{map[string]any{"matchLabels": map[string]any{"zone": "y"}}},
	})
	if count("BGPAdvertisement") != 2 || count("L2Advertisement") != 2 {
		t.Errorf("%d and %d advertisements", count("BGPAdvertisement"), count("L2Advertisement"))
	}
}

func TestRegistry(t *testing.T) {
	authority, pair := serving(t)
	p := params(t)
	p.CA, p.Certificate, p.RegistryIP = authority.CertPEM(), pair, netip.MustParseAddr("10.96.0.11")
	p.Addons = configured(t, "{registry: {enabled: true, size: 5Gi, storageClass: disks}}")
	objects := platform(t, "registry", p)
	claim := as[corev1.PersistentVolumeClaim](t, objects["PersistentVolumeClaim registry"])
	if claim.Spec.Resources.Requests.Storage().String() != "5Gi" || *claim.Spec.StorageClassName != "disks" {
		t.Errorf("the claim is %+v", claim.Spec)
	}
	service := as[corev1.Service](t, objects["Service registry"])
	if service.Spec.ClusterIP != "10.96.0.11" || service.Spec.Ports[0].Port != 443 {
		t.Errorf("the service is %+v", service.Spec)
	}
	d := as[appsv1.Deployment](t, objects["Deployment registry"])
	pod := d.Spec.Template.Spec
	mounted := map[string]string{}
	for _, m := range pod.Containers[0].VolumeMounts {
		mounted[m.Name] = m.MountPath
	}
	var config string
	for _, v := range pod.Volumes {
		if v.ConfigMap != nil {
			config = as[corev1.ConfigMap](t, objects["ConfigMap "+v.ConfigMap.Name]).Data["config.yml"]
		}
		if v.Secret != nil && objects["Secret "+v.Secret.SecretName] == nil || mounted[v.Name] == "" {
			t.Errorf("the volume %s has nothing in it, or is not mounted", v.Name)
		}
	}
	var read struct {
		HTTP struct {
			TLS struct{ Certificate, Key string }
		}
		Storage struct {
			Filesystem struct{ RootDirectory string }
		}
	}
	if err := yaml.Unmarshal([]byte(config), &read); err != nil {
		t.Fatal(err)
	}
	if read.HTTP.TLS.Certificate != mounted["certificate"]+"/tls.crt" || read.HTTP.TLS.Key != mounted["certificate"]+"/tls.key" || read.Storage.Filesystem.RootDirectory != mounted["images"] {
		t.Errorf("it reads %+v, and has %v", read, mounted)
	}
	security := pod.Containers[0].SecurityContext
	if !*security.ReadOnlyRootFilesystem || *security.AllowPrivilegeEscalation || !*pod.SecurityContext.RunAsNonRoot || d.Spec.Strategy.Type != appsv1.RecreateDeploymentStrategyType {
		t.Errorf("it runs as %+v, %+v", security, pod.SecurityContext)
	}
	digest := d.Spec.Template.Annotations["kubewright.io/certificate"]
	_, p.Certificate = serving(t)
	again := as[appsv1.Deployment](t, platform(t, "registry", p)["Deployment registry"])
	if digest == "" || again.Spec.Template.Annotations["kubewright.io/certificate"] == digest {
		t.Error("another certificate does not start it anew")
	}
	p.Addons.Registry.StorageClass = ""
	if c := as[corev1.PersistentVolumeClaim](t, platform(t, "registry", p)["PersistentVolumeClaim registry"]); c.Spec.StorageClassName != nil {
		t.Errorf("the class is %q, not the default", *c.Spec.StorageClassName)
	}
}

func TestNFS(t *testing.T) {
	p := params(t)
	p.Addons = configured(t, `{nfs: {enabled: true, server: nas.example.com, path: /export, className: shared, defaultClass: true, reclaimPolicy: Retain,
		volumes: [{name: media, path: /media, server: 10.9.9.9, capacity: 10Gi, readOnly: true}]}}`)
	objects := platform(t, "nfs", p)
	class := as[storagev1.StorageClass](t, objects["StorageClass shared"])
	d := as[appsv1.Deployment](t, objects["Deployment nfs-provisioner"])
	env := map[string]string{}
	for _, e := range d.Spec.Template.Spec.Containers[0].Env {
		env[e.Name] = e.Value
	}
	if env["PROVISIONER_NAME"] != class.Provisioner || class.Annotations["storageclass.kubernetes.io/is-default-class"] != "true" || *class.ReclaimPolicy != "Retain" {
		t.Errorf("the class is %+v, the provisioner %v", class, env)
	}
	if export := d.Spec.Template.Spec.Volumes[0].NFS; export.Server != env["NFS_SERVER"] || export.Path != env["NFS_PATH"] || export.Server != "nas.example.com" || export.Path != "/export" {
		t.Errorf("it mounts %+v, and is told %v", export, env)
	}
	volume := as[corev1.PersistentVolume](t, objects["PersistentVolume media"])
	if n := volume.Spec.NFS; n.Server != "10.9.9.9" || n.Path != "/media" || !n.ReadOnly || volume.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimRetain {
		t.Errorf("the volume is %+v", volume.Spec)
	}
	p.Addons.NFS.Volumes = nil
	if slices.Contains(kinds(platform(t, "nfs", p)), "PersistentVolume") {
		t.Error("there are volumes of nobody")
	}
}
