package phases_test

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kubewright/cluster"
	"kubewright/internal/catalog"
	"kubewright/internal/facts"
	"kubewright/internal/plan"
	"kubewright/internal/resource/memhost"
	"kubewright/phases"
)

// ways is where a host, and what is in the API, find the API servers.
type ways struct {
	kubelet, admin, scheduler, proxy, join string // host:port
	advertised                             string // kubeadm-config's controlPlaneEndpoint
	port                                   string
	sans                                   string // addresses and names in the API server's certificate that are not in each
}

// Who reaches the API servers where, for the last control plane of one or three.
func TestWaysToTheAPIServers(t *testing.T) {
	const own, first, local, name, vip = "10.111.0.13:6443", "10.111.0.11:6443", "127.0.0.1:7443", "api.example.com:443", "10.111.0.5:6443"
	tests := []struct {
		planes       int
		controlPlane string
		want         ways
	}{
		{1, "{}", ways{first, first, first, first, first, first, "6443", ""}},
		{1, "{port: 8443}", ways{"10.111.0.11:8443", "10.111.0.11:8443", "10.111.0.11:8443", "10.111.0.11:8443", "10.111.0.11:8443", "10.111.0.11:8443", "8443", ""}},
		{1, "{nodeEndpoint: local}", ways{local, first, first, local, first, first, "6443", "127.0.0.1"}},
		{3, "{}", ways{local, own, own, local, first, first, "6443", "127.0.0.1"}},
		{3, "{endpoint: 10.111.0.11}", ways{local, own, own, local, first, first, "6443", "127.0.0.1"}},
		{3, "{endpoint: 'api.example.com:443'}", ways{local, name, own, local, name, name, "6443", "127.0.0.1 api.example.com"}},
		{3, "{endpoint: 'api.example.com:443', nodeEndpoint: endpoint}", ways{name, name, own, name, name, name, "6443", "api.example.com"}},
		{3, "{vip: {address: 10.111.0.5}}", ways{local, vip, own, local, vip, vip, "6443", "10.111.0.5 127.0.0.1"}},
		{3, "{vip: {address: 10.111.0.5}, nodeEndpoint: endpoint}", ways{vip, vip, own, vip, vip, vip, "6443", "10.111.0.5"}},
		{3, "{vip: {address: 10.111.0.5}, endpoint: 'api.example.com:443'}",
			ways{local, name, own, local, name, name, "6443", "10.111.0.5 127.0.0.1 api.example.com"}},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.planes, tt.controlPlane), func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, "cp1", "vm")
			m.cluster = planes(t, tt.planes, tt.controlPlane)
			m.host = m.cluster.Hosts[tt.planes-1]
			m.facts.Interfaces = []facts.Interface{{Name: "eth0", MTU: 1500, Addrs: []netip.Prefix{netip.PrefixFrom(m.host.NodeIP, 24)}}}
			if got := waysOf(t, m); got != tt.want {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

// A host that is given another way to the API servers has both for a while: the names of both in the
// certificate, and what stands before them. In the end it is as if it had never had the old one.
func TestWaysAreAddedFirst(t *testing.T) {
	const haproxy, keepalived = "/etc/kubernetes/manifests/kubewright-haproxy.yaml", "/etc/kubernetes/manifests/kubewright-keepalived.yaml"
	tests := map[string]struct {
		from, to     string
		both, sans   string
		left, gained string // static pods
	}{
		"to a virtual IP": {"{}", "{vip: {address: 10.111.0.5}, nodeEndpoint: endpoint}", "10.111.0.5 127.0.0.1", "10.111.0.5", haproxy, keepalived},
		"and back":        {"{vip: {address: 10.111.0.5}, nodeEndpoint: endpoint}", "{}", "10.111.0.5 127.0.0.1", "127.0.0.1", keepalived, haproxy},
		"from kube-vip":   {"{vip: {address: 10.111.0.5, provider: kube-vip}, nodeEndpoint: endpoint}", "{}", "10.111.0.5 127.0.0.1", "127.0.0.1", kubeVIPPod, haproxy},
		"to a name":       {"{}", "{endpoint: api.example.com, nodeEndpoint: endpoint}", "127.0.0.1 api.example.com", "api.example.com", haproxy, ""},
		"to another name": {"{endpoint: a.example.com, nodeEndpoint: endpoint}", "{endpoint: b.example.com, nodeEndpoint: endpoint}", "a.example.com b.example.com", "b.example.com", "", ""},
		"fewer names":     {"{certSANs: [a.example.com, b.example.com]}", "{certSANs: [b.example.com]}", "127.0.0.1 a.example.com b.example.com", "127.0.0.1 b.example.com", "", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, "cp1", "vm")
			at := func(spec string, keeps bool) machine {
				m.cluster, m.keeps = planes(t, 3, spec), keeps
				m.host = m.cluster.Hosts[0]
				m.facts.Interfaces = []facts.Interface{{Name: "eth0", MTU: 1500, Addrs: []netip.Prefix{netip.PrefixFrom(m.host.NodeIP, 24)}}}
				return m
			}
			h := at(tt.from, false).bare(t)
			at(tt.from, false).fixture().Converge(t, h)
			certificate := func() string { return file(t, h, "/etc/kubernetes/pki/apiserver.crt") }

			both := at(tt.to, true)
			both.fixture().Converge(t, h)
			if got := furtherSANs(t, both, certificate()); got != tt.both {
				t.Errorf("on the way the certificate is for %s, want %s", got, tt.both)
			}
			for _, pod := range []string{tt.left, tt.gained} {
				if pod != "" && h.Nodes[pod] == nil {
					t.Errorf("on the way there is no %s", pod)
				}
			}
			kept := certificate()
			if changes := both.fixture().Plan(t, h).Changes(); len(changes) > 0 {
				t.Errorf("what is kept is to be changed: %v", changes[0].Change.ID)
			}

			in := at(tt.to, false)
			in.fixture().Converge(t, h)
			if got := furtherSANs(t, in, certificate()); got != tt.sans || certificate() == kept {
				t.Errorf("in the end the certificate is for %s, want %s", got, tt.sans)
			}
			if h.Nodes[tt.left] != nil {
				t.Errorf("in the end there is still %s", tt.left)
			}
			fresh := in.bare(t)
			in.fixture().Converge(t, fresh)
			if diff := cmp.Diff(slices.Sorted(maps.Keys(fresh.Nodes)), slices.Sorted(maps.Keys(h.Nodes))); diff != "" {
				t.Errorf("it is not as if it had never been otherwise (-fresh +moved):\n%s", diff)
			}
		})
	}
}

// kubeadm is told of the names that it would leave out of the certificates that it renews.
func TestNamesForKubeadm(t *testing.T) {
	for spec, want := range map[string]string{
		"{}": "127.0.0.1", "{nodeEndpoint: local, vip: {address: 10.111.0.5}}": "127.0.0.1",
		"{vip: {address: 10.111.0.5}, nodeEndpoint: endpoint}":                                   "",
		"{vip: {address: 10.111.0.5}, endpoint: api.example.com, nodeEndpoint: endpoint}":        "10.111.0.5",
		"{vip: {address: 10.111.0.5}, endpoint: api.example.com, certSANs: [127.0.0.1, b.test]}": "10.111.0.5 127.0.0.1 b.test",
	} {
		m := newMachine(t, "cp1", "vm")
		m.cluster = planes(t, 3, spec)
		m.host = m.cluster.Hosts[0]
		list, _, _ := strings.Cut(m.objects(t)["kubeadm-config"], "certificatesDir")
		var names []string
		for _, found := range regexp.MustCompile(`(?m)^ +- "(.*)"$`).FindAllStringSubmatch(list, -1) {
			names = append(names, found[1])
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s: kubeadm is told of %q, want %q", spec, got, want)
		}
	}
}

// planes is a cluster of that many control planes with a spec.controlPlane.
func planes(t *testing.T, n int, controlPlane string) *cluster.Cluster {
	t.Helper()
	versions, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	var hosts []string
	for i := range n {
		hosts = append(hosts, fmt.Sprintf("{name: cp%d, address: 10.111.0.%d, roles: [control-plane, worker]}", i+1, i+11))
	}
	c, err := load(versions, map[string]string{"cluster.yaml": `apiVersion: kubewright.io/v1alpha1
kind: Cluster
metadata: {name: lab}
spec:
  kubernetesVersion: 1.37.2
  controlPlane: ` + controlPlane + `
  hosts: [` + strings.Join(hosts, ", ") + "]\n"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func waysOf(t *testing.T, m machine) ways {
	t.Helper()
	h := m.bare(t)
	m.fixture().Converge(t, h)
	objects := m.objects(t)
	server := func(text string) string { return match(t, text, `server: "?https://([^"\s]+)`) }
	pod := file(t, h, "/etc/kubernetes/manifests/kube-apiserver.yaml")
	port := match(t, pod, `--secure-port=(\d+)`)
	if probed := match(t, pod, `containerPort: (\d+)`); probed != port {
		t.Errorf("the API server listens on %s and is probed on %s", port, probed)
	}
	return ways{
		kubelet: server(file(t, h, "/etc/kubernetes/kubelet.conf")), admin: server(file(t, h, "/etc/kubernetes/admin.conf")),
		scheduler: server(file(t, h, "/etc/kubernetes/scheduler.conf")), proxy: server(objects["kube-proxy"]), join: server(objects["cluster-info"]),
		advertised: match(t, objects["kubeadm-config"], `controlPlaneEndpoint: "?([^"\s]+)`),
		port:       port, sans: furtherSANs(t, m, file(t, h, "/etc/kubernetes/pki/apiserver.crt")),
	}
}

func file(t *testing.T, h *memhost.Host, path string) string {
	t.Helper()
	n := h.Nodes[path]
	if n == nil {
		t.Fatalf("there is no %s", path)
	}
	return string(n.Content)
}

func match(t *testing.T, text, pattern string) string {
	t.Helper()
	found := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if found == nil {
		t.Fatalf("no %s in:\n%s", pattern, text)
	}
	return found[1]
}

// objects are the ConfigMaps that the phases make, by name, as text.
func (m machine) objects(t *testing.T) map[string]string {
	t.Helper()
	pki, err := bundle()
	if err != nil {
		t.Fatal(err)
	}
	w := plan.World{PKI: pki, Scope: m.cluster.Hosts, Targets: map[string]plan.Target{m.host.Name: m.target(t, true)}}
	all := map[string]string{}
	for _, p := range phases.All() {
		objects, err := objectsOf(p, m.cluster, w)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range objects {
			if o.GetKind() == "ConfigMap" {
				all[o.GetName()] = fmt.Sprint(o.Object)
			}
		}
	}
	return all
}

// furtherSANs lists what is in the certificate beside what is in each.
func furtherSANs(t *testing.T, m machine, certificate string) string {
	t.Helper()
	block, _ := pem.Decode([]byte(certificate))
	if block == nil {
		t.Fatalf("no certificate: %s", certificate)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	names := slices.Clone(cert.DNSNames)
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	for _, each := range []string{m.host.Name, m.host.NodeIP.String(), "10.96.0.1"} {
		if !slices.Contains(names, each) {
			t.Errorf("the certificate lacks %s: %v", each, names)
		}
		names = slices.DeleteFunc(names, func(n string) bool { return n == each || strings.HasPrefix(n, "kubernetes") })
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}
