package phases_test

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"kubewright/certs"
	"kubewright/cluster"
	"kubewright/internal/catalog"
	"kubewright/internal/plan"
	"kubewright/internal/resource/memhost"
	"kubewright/internal/sh"
	"kubewright/inventory"
	"kubewright/phases"
	"kubewright/spec"
	"kubewright/spec/strict"
)

// hostileTexts are what a field is given by mistake, or to break what it is written into.
func hostileTexts() []string {
	return []string{
		"$(touch pwned)", "`id`", "; rm -rf .", "a b", `it's "quoted"`, `back\slash`, "a\nb", "a\r\nb", "\ta", "a\u2028b", "\ufeffa", "a\x00b", "a\x1b[2Jb", "a\x7fb",
		"\xff\xfe", "--help", "*", "%n %s", "${HOME}", "# no comment", "!tag", "&anchor", "*alias", "{{ .Host }}", "|", "~", "null", "KW_EOF", "é日本", strings.Repeat("x", 300),
	}
}

// everything and its hosts have a value for every key that takes text; what excludes each other
// stands in other files.
const everything = `apiVersion: kubewright.io/v1alpha1
kind: Cluster
metadata: {name: lab}
spec:
  kubernetesVersion: 1.37.2
  network: {podCIDR: 10.244.0.0/16, serviceCIDR: 10.96.0.0/16, dnsDomain: cluster.local, proxyMode: auto, cni: {name: calico}}
  controlPlane:
    endpoint: 10.111.0.5
    nodeEndpoint: local
    vip: {address: 10.111.0.5, provider: keepalived, interface: eth0}
    certSANs: [api.example.com]
    apiServer: {extraArgs: {v: "1"}}
    controllerManager: {extraArgs: {v: "1"}}
    scheduler: {extraArgs: {v: "1"}}
    etcd: {extraArgs: {log-level: info}}
  pki: {keyAlgorithm: ECDSA-P256}
  kubelet: {config: {evictionHard: {memory.available: 1Gi}, providerID: x}, extraArgs: {v: "1"}}
  kubeProxy: {config: {metricsBindAddress: "0.0.0.0:10249"}}
  artifacts:
    source: mirror
    mirror: {url: "http://10.111.0.2/files"}
    digests: digests.lock
    delivery: auto
    registryMirrors: {registry.k8s.io: ["http://10.111.0.2:5000/v2/registry.k8s.io"]}
  addons:
    metallb:
      enabled: true
      pools: [{name: a, addresses: [10.9.0.0/24]}]
      l2: [{pools: [a], interfaces: [eth0], nodeSelector: {a: b}}]
      bgp:
        peers: [{name: r, address: 10.111.0.1, asn: 64512, nodeSelector: {a: b}, passwordFile: bgp-password}]
        advertisements: [{pools: [a], peers: [r], communities: ["65535:65282"], nodeSelector: {a: b}}]
    localPath: {enabled: true, path: /data, className: disks, reclaimPolicy: Retain}
    nfs: {enabled: true, server: nas.example.com, path: /export, className: nfs, reclaimPolicy: Delete, volumes: [{name: v, path: /export/v, server: 10.9.9.9, capacity: 1Gi}]}
    registry: {enabled: true, host: images.example.com, size: 10Gi, storageClass: disks}
    custom:
    - {name: mine, namespace: mine, after: [coredns], manifests: files/mine}
    - {name: built, kustomization: files/built}
    - {name: charted, chart: {path: "oci://registry.example.com/charts/x", version: 1.2.3, releaseName: x, valuesFiles: [values.yaml], values: {a: b}}}
  preflight: {ignore: [memory]}
  rollout: {workers: {maxUnavailable: "25%", drain: auto, drainTimeout: 5m}}
  ssh: LOGIN
  groups: {g: GROUP}
  hosts: HOSTS
`

const apart = `apiVersion: kubewright.io/v1alpha1
kind: Cluster
metadata: {name: lab}
spec:
  kubernetesVersion: 1.37.2
  artifacts: {source: directory, directory: files}
  inventory: hosts.yaml
`

// outside is a cluster with what leads into it and out of it.
const outside = `apiVersion: kubewright.io/v1alpha1
kind: Cluster
metadata: {name: lab}
spec:
  kubernetesVersion: 1.37.2
  network:
    cni:
      name: calico
      calico:
        mode: bgp
        peers: [{name: tor1, address: 10.0.0.1, asn: 65000, passwordFile: tor1, nodeSelector: {rack: a}}]
        pools: [{name: dmz, cidr: 10.60.0.0/16, nodeSelector: {zone: dmz}}]
  addons:
    coredns:
      forward: [10.0.0.53]
      zones: [{name: corp.example.com, forward: [10.1.0.53]}]
      hosts: [{address: 10.2.0.1, names: [git.example.com]}]
    nodeLocalDNS: {enabled: true, address: 169.254.20.10}
    metallb: {enabled: true, pools: [{name: a, addresses: [10.111.1.0/24]}]}
    ingress: {controller: nginx, expose: auto, workload: deployment, className: nginx, address: 10.111.1.5,
      certFile: www.crt, keyFile: www.key, config: {proxy-body-size: 8m}, nodeSelector: {edge: "yes"}}
  hosts: [{name: cp1, address: 10.111.0.11, roles: [control-plane, worker]}]
`

// givenOutside are the files that outside names.
func givenOutside(t *testing.T) map[string]string {
	t.Helper()
	authority, err := certs.NewAuthority("somebody's", certs.ECDSAP256, env())
	if err != nil {
		t.Fatal(err)
	}
	www, err := authority.Issue(certs.Request{CommonName: "www", Server: true, DNSNames: []string{"www.example.com"}}, env())
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"cluster.yaml": outside, "tor1": "password", "www.crt": string(www.CertPEM), "www.key": string(www.KeyPEM.Reveal())}
}

// clientOfEtcd is a cluster on an etcd that somebody else runs.
const clientOfEtcd = `apiVersion: kubewright.io/v1alpha1
kind: Cluster
metadata: {name: lab}
spec:
  kubernetesVersion: 1.37.2
  controlPlane: {etcd: {external: {endpoints: ["https://etcd.example.com:2379"], caFile: ca.crt, certFile: client.crt, keyFile: client.key}}}
  hosts: [{name: cp1, address: 10.111.0.11, roles: [control-plane]}]
`

// givenByEtcd are the files that clientOfEtcd names.
func givenByEtcd(t *testing.T) map[string]string {
	t.Helper()
	authority, err := certs.NewAuthority("somebody's", certs.ECDSAP256, env())
	if err != nil {
		t.Fatal(err)
	}
	client, err := authority.Issue(certs.Request{CommonName: "client", Client: true}, env())
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"cluster.yaml": clientOfEtcd, "ca.crt": string(authority.CertPEM()),
		"client.crt": string(client.CertPEM), "client.key": string(client.KeyPEM.Reveal()),
	}
}

const apartHosts = `apiVersion: kubewright.io/v1alpha1
kind: Inventory
defaults: {ssh: LOGIN}
groups: {g: GROUP}
hosts: HOSTS
`

// filled puts in what stands in several places.
func filled(text string) string {
	return strings.NewReplacer(
		"HOSTS", `[{name: cp1, address: cp1.example.com, nodeIP: 10.111.0.11, roles: [control-plane], groups: [g], labels: {a: b}, taints: ["k=v:NoExecute"], annotations: {a: b}, ssh: `+login+`},
  {name: w1, address: 10.111.0.21, groups: [g]}, {name: w2, address: 10.111.0.22, roles: [worker]}]`,
		"GROUP", `{roles: [worker], labels: {c: d}, taints: ["k=v:NoSchedule"], annotations: {c: d}, ssh: `+login+`}`,
		"LOGIN", login,
	).Replace(text)
}

const login = `{user: root, keyFile: keys/id, certificateFile: keys/id-cert.pub, passphrase: "env:P", password: "file:secrets/x", sudo: {password: "env:S"}, knownHosts: [known], hostKey: "SHA256:YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXphYmNkZWY", configFile: ssh_config,
  bastion: {address: gate.example.com, user: jumper, keyFile: keys/gate, passphrase: "env:P", password: "file:secrets/x", hostKey: "SHA256:YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXphYmNkZWY"}}`

// load reads a cluster from files in memory.
func load(versions *catalog.Catalog, files map[string]string) (*cluster.Cluster, error) {
	c, _, err := cluster.Load(cluster.Files{
		Cluster: "cluster.yaml",
		Read: func(path string) ([]byte, error) {
			text, ok := files[path]
			if !ok {
				return nil, fmt.Errorf("there is no file %q", path)
			}
			return []byte(text), nil
		},
	}, versions)
	return c, err
}

// place is a text in a document, a value or a key that the user chooses.
type place struct {
	path string             // {} for a value below such a key, {key} for the key, [] for an item
	with func(s string) any // the document with another text there
}

// places lists the texts of a document that is decoded into a type.
func places(path string, node any, t reflect.Type) []place {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	var all []place
	add := func(below []place, wrap func(any) any) {
		for _, p := range below {
			all = append(all, place{p.path, func(s string) any { return wrap(p.with(s)) }})
		}
	}
	switch node := node.(type) {
	case string:
		return []place{{path, func(s string) any { return s }}}
	case []any:
		item := t
		if t.Kind() == reflect.Slice {
			item = t.Elem()
		}
		for i, value := range node {
			add(places(path+"[]", value, item), func(changed any) any {
				list := slices.Clone(node)
				list[i] = changed
				return list
			})
		}
	case map[string]any:
		for key, value := range node {
			below, item := path+"{}", t
			switch t.Kind() {
			case reflect.Struct:
				fields := strict.Fields(t)
				i := slices.IndexFunc(fields, func(f strict.Field) bool { return f.Name == key })
				below, item = path+"."+key, fields[i].Type
			case reflect.Map:
				item = t.Elem()
			default: // what may be of any kind
			}
			add(places(below, value, item), func(changed any) any {
				m := maps.Clone(node)
				m[key] = changed
				return m
			})
			if t.Kind() != reflect.Struct {
				all = append(all, place{path + "{key}", func(s string) any {
					m := maps.Clone(node)
					delete(m, key)
					m[s] = value
					return m
				}})
			}
		}
	}
	return all
}

// textPaths lists the paths of all texts that a type can hold.
func textPaths(path string, t reflect.Type) []string {
	if t.Kind() == reflect.Pointer {
		return textPaths(path, t.Elem())
	}
	if _, ok := reflect.New(t).Interface().(encoding.TextUnmarshaler); ok {
		return []string{path}
	}
	switch t.Kind() {
	case reflect.String, reflect.Interface:
		return []string{path}
	case reflect.Slice:
		return textPaths(path+"[]", t.Elem())
	case reflect.Map:
		return append(textPaths(path+"{}", t.Elem()), path+"{key}")
	case reflect.Struct:
		var all []string
		for _, f := range strict.Fields(t) {
			all = append(all, textPaths(path+"."+f.Name, f.Type)...)
		}
		return all
	default:
		return nil
	}
}

// A hostile text in any field is refused, with the file and the line, or arrives as it is; then
// a plan can be made of it, whose script a shell can read.
func TestHostileTexts(t *testing.T) {
	t.Parallel()
	versions, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	const digests = "apiVersion: kubewright.io/v1alpha1\nkind: Lock\nfiles: {\"https://dl.k8s.io/x\": \"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"}\n"
	inside := map[string]string{"cluster.yaml": filled(everything), "digests.lock": digests, "bgp-password": "x"}
	elsewhere := map[string]string{"cluster.yaml": apart, "hosts.yaml": filled(apartHosts)}
	wanted := map[string]bool{}
	for _, path := range slices.Concat(textPaths("Cluster", reflect.TypeFor[spec.File]()), textPaths("Inventory", reflect.TypeFor[inventory.File]())) {
		wanted[path] = true
	}
	s := &script{m: newMachine(t, "cp1", "vm")}
	for _, files := range []map[string]string{inside, elsewhere, givenByEtcd(t), givenOutside(t)} {
		if _, err := load(versions, files); err != nil {
			t.Fatalf("without anything hostile: %v", err)
		}
		for file, text := range files {
			if path.Ext(file) != ".yaml" {
				continue
			}
			root, kind := reflect.TypeFor[spec.File](), "Cluster"
			if file == "hosts.yaml" {
				root, kind = reflect.TypeFor[inventory.File](), "Inventory"
			}
			var tree any
			if err := yaml.Unmarshal([]byte(text), &tree); err != nil {
				t.Fatal(err)
			}
			all := places(kind, tree, root)
			slices.SortFunc(all, func(a, b place) int { return strings.Compare(a.path, b.path) })
			for i, p := range all {
				delete(wanted, p.path)
				for j, hostile := range hostileTexts() {
					changed := maps.Clone(files)
					changed[file] = written(t, p.with(mark), hostile)
					c, err := load(versions, changed)
					if err != nil {
						checkRefusal(t, p, hostile, err, changed)
						continue
					}
					if !holds(reflect.ValueOf(c), hostile) {
						t.Errorf("%s: %q was accepted and is lost", p.path, hostile)
					}
					// Each place and each text, and whatever a format may have no form for.
					if (i+j)%7 == 0 || strings.ContainsFunc(hostile, unicode.IsControl) {
						s.plan(t, c, fmt.Sprintf("%s: %q", p.path, hostile))
					}
				}
			}
		}
	}
	if len(wanted) > 0 {
		t.Errorf("the documents of this test lack %v", slices.Sorted(maps.Keys(wanted)))
	}
	s.check(t)
}

// mark stands where the hostile text is to be written.
const mark = "KWHOSTILE"

// written is a document in YAML's double quotes, a line for each value. A text that is UTF-8 is
// written in ASCII, so that what it says is the decoder's business and not that of the file's form.
func written(t *testing.T, document any, hostile string) string {
	t.Helper()
	text, err := json.MarshalIndent(document, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Replace(string(text), `"`+mark+`"`, asciiQuoted(hostile), 1)
}

// asciiQuoted is a text between YAML's double quotes.
func asciiQuoted(text string) string {
	if !utf8.ValidString(text) {
		return `"` + text + `"`
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b.WriteString(`\` + string(r))
		case r < ' ' || r > '~':
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return `"` + b.String() + `"`
}

func checkRefusal(t *testing.T, p place, hostile string, err error, files map[string]string) {
	t.Helper()
	var faults spec.Faults
	if !errors.As(err, &faults) || len(faults) == 0 {
		t.Fatalf("%s: %q: the error is no list of faults: %v", p.path, hostile, err)
	}
	for _, f := range faults {
		text, ok := files[f.File]
		if !ok || f.Line < 1 || f.Line > strings.Count(text, "\n")+1 || strings.ContainsAny(f.Error(), "\n\r\x00\x1b\x7f") {
			t.Errorf("%s: %q: a fault without a place, or of several lines: %q", p.path, hostile, f.Error())
		}
	}
}

// holds reports whether a text is somewhere in a value.
func holds(v reflect.Value, text string) bool {
	switch v.Kind() {
	case reflect.String:
		return v.String() == text
	case reflect.Pointer, reflect.Interface:
		return !v.IsNil() && holds(v.Elem(), text)
	case reflect.Struct:
		for i := range v.NumField() {
			if holds(v.Field(i), text) {
				return true
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			if holds(v.Index(i), text) {
				return true
			}
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			if holds(key, text) || holds(v.MapIndex(key), text) {
				return true
			}
		}
	default: // no text in it
	}
	return false
}

// script collects the acts of many plans.
type script struct {
	m     machine
	all   bytes.Buffer
	names []string
}

// plan adds what would be done on a control plane of the cluster.
func (s *script) plan(t *testing.T, c *cluster.Cluster, name string) {
	t.Helper()
	m := s.m
	m.cluster, m.host = c, c.ControlPlanes()[0]
	groups, err := plan.Desired(phases.All(), c, m.target(t, true))
	if err != nil {
		t.Errorf("%s was accepted, and no plan can be made of it: %v", name, err)
		return
	}
	h := m.bare(t)
	p, err := plan.ForHost(m.host.Name, groups, h.Answer(probes(groups)))
	if err != nil {
		t.Errorf("%s was accepted, and cannot be compared: %v", name, err)
		return
	}
	s.objects(t, m, name)
	s.names = append(s.names, name)
	s.all.Write(sh.RenderTasks("kwmarker", memhost.Tasks(p), sh.NewLook(probes(groups))))
}

// objects makes the API objects of the cluster that need no manifest of upstream's.
func (s *script) objects(t *testing.T, m machine, name string) {
	t.Helper()
	w := plan.World{Env: env(), Scope: m.cluster.Hosts, Targets: map[string]plan.Target{}}
	for _, h := range m.cluster.Hosts {
		m.host = h
		w.Targets[h.Name] = m.target(t, true)
		w.PKI = w.Targets[h.Name].PKI
	}
	for _, p := range phases.All() {
		if _, err := objectsOf(p, m.cluster, w); err != nil {
			t.Errorf("%s was accepted, and no objects can be made of it: %v", name, err)
		}
	}
}

// check has a shell read all of it, and run nothing.
func (s *script) check(t *testing.T) {
	t.Helper()
	if len(s.names) < 50 {
		t.Errorf("only %d hostile texts were accepted: %q", len(s.names), s.names)
	}
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no sh on this machine to read the scripts")
	}
	cmd := exec.CommandContext(t.Context(), shell, "-n")
	cmd.Stdin = bytes.NewReader(s.all.Bytes())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("sh cannot read the scripts of %q: %v: %s", s.names, err, out)
	}
}

// How an editor ends lines and begins files changes nothing.
func TestLineEndsAndByteOrderMark(t *testing.T) {
	versions, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	const lines = "annotations: {\"example.com/text\": \"x\"}"
	files := map[string]string{"cluster.yaml": apart, "hosts.yaml": strings.Replace(filled(apartHosts), "annotations: {a: b}", lines, 1)}
	want, err := load(versions, files)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(string) string{
		"CRLF":          func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") },
		"BOM":           func(s string) string { return "\ufeff" + s },
		"BOM and CRLF":  func(s string) string { return "\ufeff" + strings.ReplaceAll(s, "\n", "\r\n") },
		"no end":        func(s string) string { return strings.TrimSuffix(s, "\n") },
		"trailing ends": func(s string) string { return s + "\r\n\n" },
	} {
		got, err := load(versions, map[string]string{"cluster.yaml": change(files["cluster.yaml"]), "hosts.yaml": change(files["hosts.yaml"])})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(printed(want), printed(got)); diff != "" {
			t.Errorf("%s (-without +with):\n%s", name, diff)
		}
	}
}

// printed is a cluster as text, without where in memory its parts are.
func printed(c *cluster.Cluster) string {
	return regexp.MustCompile(`0x[0-9a-f]+`).ReplaceAllString(fmt.Sprintf("%+v", c), "0x")
}
