//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// The addons on a cluster of their own, which comes up with all of them in one apply: each does what it is for, what
// is wrong with one is told and keeps no other back, and disabled they leave nothing and take nothing with them.
func TestAddons(t *testing.T) {
	besideOthers(t)
	planes := 1
	if all() {
		planes = 3
	}
	a := &addonsLab{lab: newLab(t, labSpec{name: "e2e-addons", subnet: "10.150.0.0/24", controlPlanes: planes, workers: 2})}
	if !t.Run("BringUp", a.bringUp) {
		return
	}
	t.Run("Workloads", func(t *testing.T) {
		for name, test := range map[string]func(*testing.T){
			"LoadBalancer": a.loadBalancer,
			"Ingress":      a.ingress,
			"Autoscaling":  a.autoscaling,
			"Volume":       a.volume,
			"StatefulSet":  a.statefulSet,
			"Registry":     a.registry,
			"Verify":       a.verify,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t)
			})
		}
	})
	t.Run("Exercises", a.exercises)
	t.Run("Announcer", a.announcerDies)
	t.Run("BGP", a.bgp)
	t.Run("NFS", a.nfs)
	t.Run("Users", a.users)
	t.Run("Refused", a.refused)
	t.Run("Broken", a.broken)
	t.Run("Disabled", a.disabled)
}

// addonsLab is a lab with addons, and its cluster once it is there.
type addonsLab struct {
	*lab
	cluster *cluster
}

const (
	// addonPool are addresses of the lab's network that no node gets.
	addonPool = "10.150.0.200-10.150.0.220"
	// routedPool is a network that nobody reaches but by a route.
	routedPool = "192.0.2.64/28"
	// registryHost is what names of images in the cluster's registry begin with.
	registryHost = "registry.internal"
	nginxImage   = "docker.io/nginx/nginx-ingress:"
)

// addonLines is an addon, and what the cluster file has of it.
type addonLines struct{ name, lines string }

// addonsWanted are those that the cluster has, each before what it needs; what labs can have of them: the images of the
// ingress controllers cannot be built.
func addonsWanted(t testing.TB) []addonLines {
	t.Helper()
	all := []addonLines{
		{"registry", "    registry: {enabled: true, size: 1Gi}\n"},
		{"metrics-server", "    metricsServer:\n      enabled: true\n"},
		{"local-path", "    localPath: {enabled: true}\n"},
		{"metallb", `    metallb:
      enabled: true
      pools:
        - {name: lab, addresses: [` + addonPool + `]}
      l2:
        - {pools: [lab]}
`},
	}
	if hasImage(t, nginxImage) {
		all = append([]addonLines{{"nginx", "    ingress: {controller: nginx, address: 10.150.0.220, preserveSourceAddress: true, workload: daemonset}\n"}}, all...)
	}
	return all
}

// inFile is what the cluster file has of addons; of none, nothing.
func inFile(addons []addonLines) string {
	if len(addons) == 0 {
		return ""
	}
	text := "  addons:\n"
	for _, addon := range addons {
		text += addon.lines
	}
	return text
}

// bringUp: all addons on bare hosts, in one apply.
func (a *addonsLab) bringUp(t *testing.T) {
	a.edit(t, "cluster.yaml", "  kubelet:\n", inFile(addonsWanted(t))+"  kubelet:\n")
	r := a.tool(t, "apply", "--yes").want(t, exitDone)
	t.Logf("all addons, from bare hosts: %s", r.took)
	a.provideImage(t)
	a.cluster = a.connect(t)
	a.wantEmptyPlan(t)
}

// verify tries all that is enabled, and leaves nothing. What a killed run left is taken along.
func (a *addonsLab) verify(t *testing.T) {
	namespaces := a.cluster.client.CoreV1().Namespaces()
	left := &metav1.ObjectMeta{Name: "kubewright-verify-left"}
	object := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{
		"name": left.Name, "labels": map[string]any{"kubewright.io/verify": left.Name}, "annotations": map[string]any{"kubewright.io/verify-lifetime": "0s"},
	}}}
	if _, err := a.dynamic(t).Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}).Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	r := a.tool(t, "verify", "--patience", "3m").want(t, exitDone).says(t,
		"ok services", "ok network policy", "ok load balancer", "and this machine", "ok metrics", "ok storage: class local-path", "ok registry")
	t.Logf("%s\n%s", r.took, r.stdout)
	found, err := namespaces.List(t.Context(), metav1.ListOptions{LabelSelector: "kubewright.io/verify"})
	if err != nil {
		t.Fatal(err)
	}
	for _, ns := range found.Items {
		if ns.DeletionTimestamp == nil {
			t.Errorf("the namespace %s is left", ns.Name)
		}
	}
	a.tool(t, "verify", "--quick").want(t, exitDone)
}

// refused: what cannot be is refused before anything is changed.
func (a *addonsLab) refused(t *testing.T) {
	before := a.snapshot(t)
	for name, test := range map[string]struct {
		old, replacement string
		says             []string
	}{
		"PoolHoldsNodes":    {addonPool, "10.150.0.5-10.150.0.20", []string{"addons.metallb.pools[0].addresses[0]", "cp1", "worker1"}},
		"PoolHoldsServices": {addonPool, "10.96.3.0/24", []string{"addons.metallb.pools[0].addresses[0]", "serviceCIDR"}},
		"UnknownPool":       {"- {pools: [lab]}", "- {pools: [lap]}", []string{"addons.metallb.l2[0].pools[0]", "did you mean", "lab"}},
		"NoSuchChart":       {"  addons:\n", "  addons:\n    custom: [{name: mine, chart: {path: nowhere}}]\n", []string{"addon mine", "nowhere", "there is no chart"}},
		"BrokenManifest":    {"  addons:\n", "  addons:\n    custom: [{name: mine, manifests: broken.yaml}]\n", []string{"broken.yaml", "3"}},
	} {
		t.Run(name, func(t *testing.T) {
			a.write(t, "broken.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a\ndata: {}\n")
			file := a.variant(t, test.old, test.replacement)
			kubewright(t, "apply", "--yes", "-f", file, "--log", debugLog(t)).want(t, exitBadInput).says(t, test.says...)
		})
	}
	if gone, more := before.minus(a.snapshot(t), ""), a.snapshot(t).minus(before, ""); len(gone)+len(more) > 0 {
		t.Errorf("refused runs have changed the cluster: %q is gone, %q is new", gone, more)
	}
}

// broken: an addon that fails is named with the reason, and those beside it are done.
func (a *addonsLab) broken(t *testing.T) {
	a.write(t, "fine.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: fine, namespace: default}\n")
	// The API server refuses it: its labels do not match its selector.
	a.write(t, "wrong.yaml", `apiVersion: apps/v1
kind: Deployment
metadata: {name: wrong, namespace: default}
spec:
  selector: {matchLabels: {app: one}}
  template:
    metadata: {labels: {app: other}}
    spec: {containers: [{name: c, image: "`+image+`"}]}
`)
	a.write(t, "unpulled.yaml", `apiVersion: apps/v1
kind: Deployment
metadata: {name: unpulled, namespace: default}
spec:
  selector: {matchLabels: {app: unpulled}}
  template:
    metadata: {labels: {app: unpulled}}
    spec: {containers: [{name: c, image: "`+registry+`/none:v1"}]}
`)
	const custom = "    custom: [{name: wrong, manifests: wrong.yaml}, {name: unpulled, manifests: unpulled.yaml}, {name: fine, manifests: fine.yaml}]\n"
	file := a.variant(t, "  addons:\n", "  addons:\n"+custom)
	kubewright(t, "apply", "--yes", "--ready-timeout", "20s", "-f", file, "--log", debugLog(t)).want(t, exitUnhealthy).says(t,
		"addon wrong", "Deployment default/wrong", "selector", "addon unpulled", "Deployment default/unpulled", "Image", registry+"/none:v1")
	if _, err := a.cluster.client.CoreV1().ConfigMaps("default").Get(t.Context(), "fine", metav1.GetOptions{}); err != nil {
		t.Errorf("the addon beside the broken ones was not installed: %v", err)
	}
	if artifacts() != "" { // else the digests are upstream's
		a.digestOfAnother(t)
	}
	a.tool(t, "apply", "--yes").want(t, exitDone) // without all these
	a.wantEmptyPlan(t)
}

// digestOfAnother: a manifest that is not what its digest says is named, and what to do.
func (a *addonsLab) digestOfAnother(t *testing.T) {
	digests, err := os.ReadFile(filepath.Join(a.dir, "digests.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	manifest := regexp.MustCompile(`(/local-path-storage\.yaml: sha256:)[0-9a-f]{8}`)
	if !manifest.Match(digests) {
		t.Fatalf("the digests have none of the manifest of local-path:\n%s", digests)
	}
	a.write(t, "other-digests.yaml", string(manifest.ReplaceAll(digests, []byte("${1}00000000"))))
	file := a.variant(t, "    digests: digests.yaml\n", "    digests: other-digests.yaml\n")
	kubewright(t, "apply", "--yes", "-f", file, "--log", debugLog(t)).want(t, exitUnhealthy).says(t, "addon local-path", "digest mismatch", "artifacts.digests")
}

// disabled: without its lines in the cluster file an addon is gone with all that is its own, and nothing else is; those
// that are left work.
func (a *addonsLab) disabled(t *testing.T) {
	addons := addonsWanted(t)
	for i, addon := range addons {
		before := a.snapshot(t)
		a.edit(t, "cluster.yaml", inFile(addons[i:]), inFile(addons[i+1:]))
		r := a.tool(t, "apply", "--yes").want(t, exitDone)
		a.wantEmptyPlan(t)
		after := a.snapshot(t)
		own := 0
		for key, object := range before {
			if !object.of(addon.name) {
				continue
			}
			own++
			if _, there := after[key]; there {
				t.Errorf("%s is left of the addon %s", key, addon.name)
			}
		}
		if own < 2 { // its record, and something to install
			t.Errorf("the addon %s had %d objects", addon.name, own)
		}
		if gone := before.minus(after, addon.name); len(gone) > 0 {
			t.Errorf("what is not of %s is gone with it: %s", addon.name, strings.Join(gone, ", "))
		}
		t.Logf("%s is disabled after %s: %d objects", addon.name, r.took, own)
	}
	a.tool(t, "verify", "--quick", "--patience", "1m").want(t, exitDone)
}

// variant writes the lab's cluster file with a change under another name, and returns its path.
func (a *addonsLab) variant(t testing.TB, old, replacement string) string {
	t.Helper()
	content, err := os.ReadFile(a.file())
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(content), old) != 1 {
		t.Fatalf("%s has not one of %q:\n%s", a.file(), old, content)
	}
	return a.write(t, "variant.yaml", strings.Replace(string(content), old, replacement, 1))
}

// write makes a file beside the cluster file, and returns its path.
func (a *addonsLab) write(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(a.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func (a *addonsLab) dynamic(t testing.TB) dynamic.Interface {
	t.Helper()
	config := rest.CopyConfig(a.cluster.config)
	config.WarningHandler = rest.NoWarnings{} // all kinds are listed, those on their way out too
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// seen is an object that was in the cluster at a moment.
type seen struct {
	name, namespace, addon string
	fleeting               bool // it comes and goes with others, by itself
}

// of tells whether it is an addon's, or the record of it.
func (o seen) of(addon string) bool { return o.addon == addon || o.name == "kubewright-addon-"+addon }

// objects are those in the cluster, by kind, name and UID.
type objects map[string]seen

// snapshot lists every object in the cluster.
func (a *addonsLab) snapshot(t testing.TB) objects {
	t.Helper()
	lists, err := a.cluster.client.Discovery().ServerPreferredResources()
	if err != nil {
		t.Fatal(err)
	}
	client, found := a.dynamic(t), objects{}
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			t.Fatal(err)
		}
		if version.Group == "metrics.k8s.io" { // no objects, but what is measured of some
			continue
		}
		for _, resource := range list.APIResources {
			if !slices.Contains(resource.Verbs, "list") || strings.Contains(resource.Name, "/") {
				continue
			}
			all, err := client.Resource(version.WithResource(resource.Name)).List(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Fatalf("listing %s: %v", resource.Name, err)
			}
			for _, o := range all.Items {
				found[fmt.Sprintf("%s %s/%s %s", resource.Kind, o.GetNamespace(), o.GetName(), o.GetUID())] = seen{
					name: o.GetName(), namespace: o.GetNamespace(), addon: o.GetLabels()["kubewright.io/addon"],
					fleeting: len(o.GetOwnerReferences()) > 0 || o.GetLabels()["kube-aggregator.kubernetes.io/automanaged"] != "" || slices.Contains(fleeting(), resource.Kind),
				}
			}
		}
	}
	return found
}

// fleeting are the kinds that come and go with pods, services and nodes, of Calico's too.
func fleeting() []string {
	return []string{"Event", "Lease", "PersistentVolume", "IPAddress", "CSINode", "BlockAffinity", "IPAMBlock", "IPAMHandle"}
}

// minus are the objects that are not in other, without those of an addon ("": of none), of what goes with its namespaces
// and with those of tests, and of what comes and goes by itself.
func (o objects) minus(other objects, addon string) []string {
	namespaces := map[string]bool{}
	for key, object := range o {
		own := addon != "" && object.of(addon) || strings.HasPrefix(object.name, "e2e-") || strings.HasPrefix(object.name, "kubewright-verify-")
		if strings.HasPrefix(key, "Namespace ") && own {
			namespaces[object.name] = true
		}
	}
	var lost []string
	for key, object := range o {
		_, there := other[key]
		own := addon != "" && object.of(addon) || namespaces[object.namespace] || namespaces[object.name]
		if !there && !own && !object.fleeting {
			lost = append(lost, key)
		}
	}
	slices.Sort(lost)
	return lost
}
