package addons

import (
	"net/netip"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func params(t *testing.T) Params {
	return Params{
		Release: testRelease(t), APIServer: "https://10.111.0.10:6443",
		PodCIDR: netip.MustParsePrefix("10.244.0.0/16"), DNSServiceIP: netip.MustParseAddr("10.96.0.10"),
		DNSDomain: "cluster.local", ProxyMode: "iptables",
	}
}

// upstream is a small manifest with everything an overlay can change.
const upstream = `---
# Source: a comment before the first object
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: kube-system, creationTimestamp: null}
data: {mtu: "0", other: stays}
---
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, namespace: kube-system, labels: {k8s-app: agent}}
spec:
  template:
    spec:
      initContainers:
        - {name: old, image: docker.io/calico/cni:v3.28.5}
        - {name: install, image: docker.io/calico/cni:v3.28.5}
      containers:
        - name: agent
          image: docker.io/calico/node:v3.28.5
          env:
            - {name: KEEP, value: "1"}
            - {name: REPLACE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
        - {name: side, image: docker.io/calico/node:v3.28.5}
status: {desiredNumberScheduled: 0}
---
`

// edits is an overlay of that manifest.
func edits() map[string]string {
	return map[string]string{
		"kustomization.yaml": `
resources: [upstream.yaml, {{ range .Addons.Custom }}{{ .Name }}, {{ end }}more.yaml]
patches: [{path: settings.yaml}, {path: agent.yaml}]
`,
		"settings.yaml": `
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: kube-system}
data: {mtu: {{ printf "%d" .MTU }}, domain: {{ .DNSDomain }}}
`,
		"agent.yaml": `
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, namespace: kube-system}
spec:
  minReadySeconds: 5
  template:
    spec:
      initContainers: [{name: old, $patch: delete}]
      containers:
        - name: agent
          env: [{name: REPLACE, value: now, valueFrom: null}, {name: ADD, value: {{ .PodCIDR }}}]
`,
		"more.yaml": `
apiVersion: v1
kind: ConfigMap
metadata: {name: more, namespace: kube-system}
{{ if .ContainerHosts }}data: {container: "yes"}{{ end }}
`,
	}
}

// overlaid is an addon with that overlay.
func overlaid(t *testing.T, files map[string]string) Addon {
	t.Helper()
	a := Addon{
		Name: "x", Short: "x", Manifest: "calico", Versions: ">= 3.28, < 3.29",
		Images: []string{"calico-node", "calico-cni"},
		Ready:  []Ready{{"DaemonSet", "kube-system", "agent"}},
	}
	fsys := fstest.MapFS{}
	for name, text := range files {
		fsys["x/overlay/"+name] = &fstest.MapFile{Data: []byte(text)}
	}
	var err error
	if a.overlay, err = loadOverlay(fsys, "x"); err != nil {
		t.Fatal(err)
	}
	return a
}

func field(t *testing.T, o *unstructured.Unstructured, path ...string) any {
	t.Helper()
	value, _, err := unstructured.NestedFieldNoCopy(o.Object, path...)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func TestOverlay(t *testing.T) {
	p := params(t)
	p.MTU, p.DNSDomain = 1400, "x: {{ y }}\n- z"
	objects, err := Render(overlaid(t, edits()), p, []byte(upstream+"---\n"+definition))
	if err != nil {
		t.Fatal(err)
	}
	if len(objects) != 4 {
		t.Fatalf("%d objects", len(objects))
	}
	defined, settings, agent, more := objects[0], objects[1], objects[2], objects[3]
	wantData := map[string]any{"mtu": "1400", "other": "stays", "domain": "x: {{ y }}\n- z"}
	if diff := cmp.Diff(wantData, field(t, settings, "data")); diff != "" {
		t.Error(diff)
	}
	containers, _ := field(t, agent, "spec", "template", "spec", "containers").([]any)
	wantEnv := []any{
		map[string]any{"name": "REPLACE", "value": "now"}, map[string]any{"name": "ADD", "value": "10.244.0.0/16"},
		map[string]any{"name": "KEEP", "value": "1"},
	}
	byName := cmpopts.SortSlices(func(a, b any) bool { return asMap(a)["name"].(string) < asMap(b)["name"].(string) })
	if diff := cmp.Diff(wantEnv, asMap(containers[0])["env"], byName); diff != "" {
		t.Error(diff)
	}
	if asMap(containers[1])["env"] != nil {
		t.Error("the other container was changed")
	}
	inits, _ := field(t, agent, "spec", "template", "spec", "initContainers").([]any)
	if len(inits) != 1 || asMap(inits[0])["name"] != "install" {
		t.Errorf("init containers %v", inits)
	}
	if got := field(t, agent, "spec", "minReadySeconds"); got != int64(5) {
		t.Errorf("minReadySeconds %v (%T)", got, got)
	}
	if diff := cmp.Diff(map[string]string{"k8s-app": "agent", Label: "x"}, agent.GetLabels()); diff != "" {
		t.Error(diff)
	}
	if field(t, agent, "status") != nil || field(t, settings, "metadata", "creationTimestamp") != nil {
		t.Error("fields that only a server sets are still there")
	}
	if field(t, more, "data") != nil || defined.GetKind() != "CustomResourceDefinition" || defined.GetLabels()[Label] != "x" {
		t.Errorf("%v\n%v", more, defined)
	}
}

const definition = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.example.com}
spec: {group: example.com}
`

func TestRenderRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		addon    func(*Addon)
		edit     string // of the overlay, what is after the = in place of what is before it
		params   func(*Params)
		manifest string
		want     string
	}{
		"empty manifest":      {manifest: "---\n# nothing\n", want: "the manifest is empty"},
		"cut manifest":        {manifest: upstream[:len(upstream)/2] + "\n  : {", want: "manifest:"},
		"not an object":       {manifest: "- 1\n", want: "manifest:1: the document is a list"},
		"no kind":             {manifest: "a: b\n", want: "manifest:1: the document has no kind"},
		"no name":             {manifest: "apiVersion: v1\nkind: ConfigMap\n", want: "has no name"},
		"twice":               {manifest: upstream + upstream, want: "is there twice"},
		"duplicate key":       {manifest: "apiVersion: v1\nkind: A\nkind: B\nmetadata: {name: x}\n", want: "already set"},
		"target gone":         {edit: "name: settings, namespace=name: gone, namespace", want: "no matches for Id ConfigMap.v1.[noGrp]/gone.kube-system"},
		"target in other ns":  {edit: "name: agent, namespace: kube-system=name: agent, namespace: default", want: "no matches for Id"},
		"container gone":      {edit: "- name: agent\n=- name: gone\n", want: `uses the image ""`},
		"no such file":        {edit: "more.yaml]=less.yaml]", want: "less.yaml"},
		"a file elsewhere":    {edit: "more.yaml]=/etc/passwd]", want: "/etc/passwd"},
		"a file of the web":   {edit: "more.yaml]=https://127.0.0.1:1/x.yaml]", want: "127.0.0.1:1"},
		"unknown parameter":   {edit: ".PodCIDR=.Nope", want: "can't evaluate field Nope"},
		"not YAML":            {edit: "data: {mtu=data: }mtu", want: "settings.yaml"},
		"image not listed":    {addon: func(a *Addon) { a.Images = []string{"calico-node"} }, want: `"docker.io/calico/cni:v3.28.5", which the addon does not list`},
		"nothing to wait for": {addon: func(a *Addon) { a.Ready[0].Name = "gone" }, want: "no DaemonSet kube-system/gone"},
		"other version":       {addon: func(a *Addon) { a.Versions = "< 3.28" }, want: "is not < 3.28"},
		"no such manifest":    {addon: func(a *Addon) { a.Manifest = "weave" }, want: `no file "weave"`},
		"no variant":          {addon: func(a *Addon) { a.Variants = map[string]Variant{"a": {}} }, want: "which of its variants"},
		"no such builtin":     {addon: func(a *Addon) { a.Manifest, a.Builtin = "", "weave" }, want: `no builtin "weave"`},
		"Kubernetes":          {addon: func(a *Addon) { a.Requires.Kubernetes = "< 1.30" }, want: "it works with Kubernetes < 1.30, and the cluster has"},
		"IPv6":                {addon: func(a *Addon) { a.Requires.IPv4 = true }, params: func(p *Params) { p.PodCIDR = netip.MustParsePrefix("fd00::/64") }, want: "only IPv4"},
		"proxy mode":          {addon: func(a *Addon) { a.Requires.ProxyModes = []string{"ipvs"} }, want: `mode "iptables": set network.proxyMode to ipvs`},
		"no pod network":      {params: func(p *Params) { p.PodCIDR = netip.Prefix{} }, want: "is not a network"},
		"host in pod network": {params: func(p *Params) { p.PodCIDR = netip.MustParsePrefix("10.244.0.1/16") }, want: "is not a network"},
		"MTU":                 {params: func(p *Params) { p.MTU = 100 }, want: "MTU 100"},
		"iptables backend":    {params: func(p *Params) { p.IptablesBackend = "nft" }, want: `iptables backend "nft"`},
	} {
		t.Run(name, func(t *testing.T) {
			files := edits()
			if before, after, ok := strings.Cut(test.edit, "="); ok {
				for name, text := range files {
					files[name] = strings.Replace(text, before, after, 1)
				}
				if cmp.Equal(files, edits()) {
					t.Fatalf("no file has %q", before)
				}
			}
			a, p, manifest := overlaid(t, files), params(t), upstream
			if test.addon != nil {
				test.addon(&a)
			}
			if test.params != nil {
				test.params(&p)
			}
			if test.manifest != "" {
				manifest = test.manifest
			}
			_, err := Render(a, p, []byte(manifest))
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "addon x: ") {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

func TestBuiltins(t *testing.T) {
	for name, want := range map[string]string{
		"kube-proxy": "ServiceAccount ClusterRoleBinding Role RoleBinding ConfigMap DaemonSet",
		"coredns":    "ServiceAccount ClusterRole ClusterRoleBinding ConfigMap Service Deployment PodDisruptionBudget",
	} {
		a, err := Find(name)
		if err != nil {
			t.Fatal(err)
		}
		objects, err := Render(a, params(t), nil)
		if err != nil {
			t.Fatal(err)
		}
		var kinds []string
		for _, o := range objects {
			kinds = append(kinds, o.GetKind())
			if o.GetLabels()[Label] != name {
				t.Errorf("%s: %s has labels %v", name, o.GetKind(), o.GetLabels())
			}
		}
		if got := strings.Join(kinds, " "); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	bad := params(t)
	bad.ProxyMode = "auto"
	a, err := Find("kube-proxy")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Render(a, bad, nil); err == nil {
		t.Error("kube-proxy renders with mode auto")
	}
}
