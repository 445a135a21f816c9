package addons

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"kubewright/internal/catalog"
)

func testRelease(t *testing.T) catalog.Release {
	t.Helper()
	c, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Release(c.Latest())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func names(all []Addon) string {
	var names []string
	for _, a := range all {
		names = append(names, a.Name)
	}
	return strings.Join(names, " ")
}

func TestDefault(t *testing.T) {
	all, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := names(all), "kube-proxy calico flannel coredns local-path metallb ingress-nginx metrics-server nfs nginx node-local-dns registry"; got != want {
		t.Errorf("order %q, want %q", got, want)
	}
	r := testRelease(t)
	for _, a := range all {
		for i, image := range a.ImageNames(r) {
			if image == "" {
				t.Errorf("%s: the catalogue has no image for %s", a.Name, a.Images[i])
			}
		}
		one := []Addon{a}
		for name := range a.Variants {
			v, err := a.In(name)
			if err != nil {
				t.Fatal(err)
			}
			one = append(one, v)
		}
		for _, a := range one {
			if file, ok := a.File(r); ok != (a.Manifest != "") || (ok && file.URL == "") {
				t.Errorf("%s: manifest %+v, %v", a.Name, file, ok)
			}
		}
	}
	if a, err := Find("calico"); err != nil || a.Name != "calico" {
		t.Errorf("Find = %q, %v", a.Name, err)
	}
	if a, err := Find("calico"); err != nil || a.Version(r) != r.Calico {
		t.Errorf("version %q, %v; want %s", a.Version(r), err, r.Calico)
	}
	if _, err := Find("weave"); err == nil || !strings.Contains(err.Error(), "kube-proxy, calico, flannel, coredns, ") {
		t.Errorf("Find of what there is not: %v", err)
	}
}

// What is in the catalogue is of a host, of a control plane or of an addon: sites without internet carry all of it.
func TestTheCatalogueHasNothingElse(t *testing.T) {
	all, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, name := range []string{
		"kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd", "pause", "haproxy", "keepalived", "kube-vip", "verify",
		"kubelet", "kubectl", "containerd", "runc", "cni-plugins",
	} {
		used[name] = true
	}
	for _, a := range all {
		used[a.Manifest] = true
		for _, v := range a.Variants {
			used[v.Manifest] = true
		}
		for _, component := range a.Images {
			used[component] = true
		}
	}
	r := testRelease(t)
	for _, image := range r.Images() {
		if !used[image.Component] {
			t.Errorf("nothing runs the image %s", image.Component)
		}
	}
	for _, file := range r.Files("amd64") {
		if !used[file.Name] {
			t.Errorf("nothing has the file %s", file.Name)
		}
	}
}

const minimal = `
name: x
short: does x
builtin: coredns
ready: [{kind: Deployment, namespace: n, name: x}]
`

func folder(files map[string]string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for name, data := range files {
		fsys[name+"/addon.yaml"] = &fstest.MapFile{Data: []byte(data)}
	}
	return fsys
}

func TestLoadOrders(t *testing.T) {
	addon := func(name, after string) string {
		return strings.ReplaceAll(minimal, "name: x\nshort", "name: "+name+"\nafter: ["+after+"]\nshort")
	}
	all, err := load(folder(map[string]string{
		"a": addon("a", "c"), "b": addon("b", ""), "c": addon("c", "d, not-installed"), "d": addon("d", "b"),
	}))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("b d c a", names(all)); diff != "" {
		t.Error(diff)
	}
	_, err = load(folder(map[string]string{"a": addon("a", "b"), "b": addon("b", "a")}))
	if err == nil || !strings.Contains(err.Error(), "circle") {
		t.Errorf("a circle: %v", err)
	}
}

func TestLoadRefuses(t *testing.T) {
	change := func(from, to string) string { return strings.Replace(minimal, from, to, 1) }
	for name, test := range map[string]struct{ data, want string }{
		"unknown field":       {minimal + "reddy: []\n", "reddy"},
		"other folder":        {change("name: x", "name: y"), "not that of the folder"},
		"no short":            {change("short: does x", ""), "short is missing"},
		"nothing in it":       {change("builtin: coredns", ""), "it has no objects"},
		"both kinds":          {minimal + "manifest: calico\nversions: '>= 1'\n", "exclude each other"},
		"builtin versions":    {minimal + "versions: '>= 1'\n", "belong together"},
		"no versions":         {change("builtin: coredns", "manifest: calico"), "belong together"},
		"bad versions":        {change("builtin: coredns", "manifest: calico\nversions: newest"), `"newest"`},
		"bad Kubernetes":      {minimal + "requires: {kubernetes: newest}\n", `"newest"`},
		"nothing to wait for": {change("ready: [{kind: Deployment, namespace: n, name: x}]", ""), "ready is empty"},
		"wait for a pod":      {change("kind: Deployment", "kind: Pod"), "want a DaemonSet or a Deployment"},
		"half a certificate":  {minimal + "certificate: {namespace: n, secret: s}\n", "want a namespace, a secret and a service"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(folder(map[string]string{"x": test.data}))
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "x/addon.yaml") {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

func TestLoadOverlayRefuses(t *testing.T) {
	for name, test := range map[string]struct{ file, text, want string }{
		"no kustomization": {"patch.yaml", "a: b", "no kustomization.yaml"},
		"not a template":   {"kustomization.yaml", "a: {{ .B", "unclosed action"},
		"unknown function": {"kustomization.yaml", "a: {{ env }}", `"env" not defined`},
	} {
		fsys := folder(map[string]string{"x": minimal})
		fsys["x/overlay/"+test.file] = &fstest.MapFile{Data: []byte(test.text)}
		if _, err := load(fsys); err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "x/addon.yaml") {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

func TestVariants(t *testing.T) {
	const text = `
name: x
short: does x
versions: ">= 1"
ready: [{kind: Deployment, namespace: n, name: common}]
variants:
  a: {manifest: one}
  b: {manifest: two, ready: [{kind: DaemonSet, namespace: n, name: more}]}
`
	all, err := load(folder(map[string]string{"x": text}))
	if err != nil {
		t.Fatal(err)
	}
	b, err := all[0].In("b")
	if err != nil || b.Manifest != "two" || len(b.Ready) != 2 || b.Ready[1].Name != "more" {
		t.Errorf("%+v, %v", b, err)
	}
	if again, err := b.In("anything"); err != nil || again.Manifest != "two" {
		t.Errorf("chosen again: %+v, %v", again, err)
	}
	if _, err := all[0].In("c"); err == nil || !strings.Contains(err.Error(), `addon x has no variant "c": there are a, b`) {
		t.Errorf("what there is not: %v", err)
	}
	_, err = load(folder(map[string]string{"x": strings.Replace(text, "name: more", `name: ""`, 1)}))
	if err == nil || !strings.Contains(err.Error(), "x/addon.yaml: variant b: ready: ") {
		t.Errorf("a fault in one: %v", err)
	}
}
