package spec

import (
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	kubeproxy "k8s.io/kube-proxy/config/v1alpha1"
	kubelet "k8s.io/kubelet/config/v1beta1"

	"kubewright/inventory"
	"kubewright/spec/strict"
)

const smallest = `apiVersion: kubewright.io/v1alpha1
kind: Cluster
metadata: {name: lab}
spec:
  kubernetesVersion: 1.37.2
`

func TestParseFillsDefaults(t *testing.T) {
	f, faults := Parse("cluster.yaml", []byte(smallest))
	if faults != nil {
		t.Fatal(faults)
	}
	want := Spec{
		KubernetesVersion: "1.37.2",
		Network: Network{
			PodCIDR: "10.244.0.0/16", ServiceCIDR: "10.96.0.0/16", DNSDomain: "cluster.local", ProxyMode: "auto",
			CNI: CNI{Name: "calico", Calico: Calico{Mode: "vxlan", ASN: 64512, NodeMesh: new(true)}},
		},
		ControlPlane: ControlPlane{
			Port: 6443, NodeEndpoint: "auto",
			VIP: VIP{Provider: "keepalived", RouterID: 51}, // none, for it has no address
		},
		PKI: PKI{KeyAlgorithm: "ECDSA-P256"},
		Addons: Addons{ // none is enabled
			NodeLocalDNS: NodeLocalDNS{Address: "169.254.20.10"},
			MetalLB:      MetalLB{BGP: MetalLBBGP{ASN: 64512}},
			Ingress: Ingress{
				Controller: "none", Expose: "auto", Workload: "deployment", Replicas: 2, ClassName: "nginx", DefaultClass: new(true),
			},
			LocalPath: LocalPath{Path: "/var/lib/local-path-provisioner", ClassName: "local-path", DefaultClass: new(true), ReclaimPolicy: "Delete"},
			NFS:       NFS{Path: "/srv/nfs", ClassName: "nfs", ReclaimPolicy: "Delete"},
			Registry:  Registry{Host: "registry.internal", Size: "10Gi"},
		},
		Artifacts: Artifacts{Source: "upstream", Delivery: "auto"},
		Rollout:   Rollout{Workers: WorkerRollout{MaxUnavailable: "25%", Drain: "auto", DrainTimeout: "5m"}},
		SSH:       f.Spec.SSH, // its defaults wait until the layers are merged
	}
	if diff := cmp.Diff(want, f.Spec); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What the file says stays, whether it is the default or not.
func TestParseKeepsWhatIsGiven(t *testing.T) {
	f, faults := Parse("cluster.yaml", []byte(smallest+"  network: {proxyMode: iptables, cni: {name: none}}\n  ssh: {agent: false}\n"))
	if faults != nil {
		t.Fatal(faults)
	}
	n, agent := f.Spec.Network, f.SSHDefaults().Spec.Agent
	if n.ProxyMode != "iptables" || n.CNI.Name != "none" || n.PodCIDR != "10.244.0.0/16" || agent == nil || *agent {
		t.Errorf("network %+v, agent %v", n, agent)
	}
}

func TestFaultsOfDecodingAndOfChecksComeTogether(t *testing.T) {
	_, faults := Parse("cluster.yaml", []byte(smallest+"  network: {podCIDR: 10.0.0.1/16, cni: {mtu: big}}\n  artifacts: {source: mirror}\n"))
	want := strings.Join([]string{
		"cluster.yaml:6:22: spec.network.podCIDR: host bits are set in 10.0.0.1/16; did you mean 10.0.0.0/16?",
		`cluster.yaml:6:46: spec.network.cni.mtu: expected a whole number, found the text "big"`,
		"cluster.yaml:7:3: spec.artifacts.mirror.url: must be given with source: mirror: the URL below which upstream's files are found",
	}, "\n")
	if got := faults.Err().Error(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestSplitEndpoint(t *testing.T) {
	const defaultPort = 6444
	tests := []struct {
		text, host string
		port       int
	}{
		{"10.0.0.1", "10.0.0.1", defaultPort},
		{"10.0.0.1:443", "10.0.0.1", 443},
		{"API.example.com", "api.example.com", defaultPort},
		{"api.example.com:8443", "api.example.com", 8443},
		{"fd00::1", "fd00::1", defaultPort},
		{"[fd00::1]", "fd00::1", defaultPort},
		{"[FD00::1]:8443", "fd00::1", 8443},
	}
	for _, tt := range tests {
		host, port, problem := SplitEndpoint(tt.text, defaultPort)
		if problem != nil || host != tt.host || port != tt.port {
			t.Errorf("%q: %q, %d, %v", tt.text, host, port, problem)
		}
	}
	for text, suggestion := range map[string]string{
		"": "", "https://api:6443/": "api:6443", "api:": "api:6444", "api:0": "api:6444", "api:65536": "api:6444", "api:x": "api:6444",
		"a b": "", "10.0.0.256": "", "[10.0.0.1]:6443": "", "[fd00::": "", "-api": "", "api_1": "", "user@api": "api",
		"https://u:hunter2@lb:443/x": "lb:443", "u:hunter2@lb": "lb", "u:hun/t@er2@lb": "lb", "https://lb?hunter2": "",
	} {
		host, port, problem := SplitEndpoint(text, defaultPort)
		if problem == nil {
			t.Errorf("%q is accepted as %q, %d", text, host, port)
			continue
		}
		if problem.Message == "" || problem.Suggestion != suggestion || strings.Contains(problem.Message, "hunter2") {
			t.Errorf("%q: %+v, want the suggestion %q", text, problem, suggestion)
		}
	}
}

func TestCheckEndpointHost(t *testing.T) {
	for host, want := range map[string]string{
		"10.0.0.1": "", "fd00::1": "", "api.example.com": "", "localhoster": "", "my-localhost": "",
		"127.0.0.1":             "is a loopback address",
		"127.1.2.3":             "is a loopback address",
		"::1":                   "is a loopback address",
		"::ffff:127.0.0.1":      "is a loopback address",
		"::ffff:10.0.0.1":       "is an IPv4 address in IPv6 clothes; write 10.0.0.1",
		"0.0.0.0":               "is no address by which nodes could reach",
		"::":                    "is no address by which nodes could reach",
		"224.0.0.1":             "is no address by which nodes could reach",
		"ff02::1":               "is no address by which nodes could reach",
		"255.255.255.255":       "is no address by which nodes could reach",
		"169.254.1.1":           "is no address by which nodes could reach",
		"fe80::1":               "is no address by which nodes could reach",
		"fe80::1%eth0":          "has a zone",
		"fd00::1%eth0":          "has a zone",
		"localhost":             "is another machine on every machine",
		"api.localhost":         "is another machine on every machine",
		"localhost.localdomain": "is another machine on every machine",
	} {
		if why := checkEndpointHost(host); (why == "") != (want == "") || !strings.HasPrefix(why, want) {
			t.Errorf("%q: %q, want %q", host, why, want)
		}
	}
}

func TestCheckURL(t *testing.T) {
	for _, url := range []string{
		"http://mirror", "https://mirror.example.com:8443/files/", "HTTP://10.0.0.1:5000", "http://localhost:5000/v2",
		"http://[fd00::1]", "http://[fd00::1]:65535/a", "http://mirror/a%20b", "http://mirror/a@b",
	} {
		if why, suggestion := checkURL(url); why != "" || suggestion != "" {
			t.Errorf("%q is refused: %s, %s", url, why, suggestion)
		}
	}
	const unsafe = "has a blank, a quote, a backslash or a bracket"
	for url, want := range map[string]string{
		"mirror/files":                    "has no scheme",
		"u:hunter2@mirror/files":          "has no scheme",
		"http:/u:hunter2@mirror":          "has no scheme",
		"http://u:hunter2@mirror":         "has a user or a password",
		"http://u:hunter2 @mirror":        "is malformed",
		"http://mir ror":                  "is malformed",
		"ftp://mirror":                    "must begin with",
		"http://":                         "names no host",
		"http://mirror_1":                 "names no host",
		"http://[fe80::1%25eth0]":         "names no host",
		"http://[fe80::1%25\"]":           unsafe,
		"http://mirror?x":                 "must end with its path",
		"http://mirror/a b":               unsafe,
		"http://mirror/a\u00a0b":          unsafe,
		"http://mirror/\"":                unsafe,
		"http://mirror/'":                 unsafe,
		"http://mirror/`":                 unsafe,
		`http://mirror/\`:                 unsafe,
		"http://mirror/{a}":               unsafe,
		"http://mirror/[a]":               unsafe,
		"http://mirror/://[a]":            unsafe,
		"http://[fd00::1]/[a]":            unsafe,
		"http://mirror:0":                 "has no port",
		"http://mirror:65536/a":           "has no port",
		"http://[fd00::1]:99999":          "has no port",
		"http://mirror:18446744073709551": "has no port",
	} {
		why, suggestion := checkURL(url)
		if !strings.HasPrefix(why, want) || why == "" || strings.Contains(why+suggestion, "hunter2") {
			t.Errorf("%q: %q, suggestion %q, want %q", url, why, suggestion, want)
		}
	}
}

// A field that Kubernetes does not have, or no longer, is not one to guard.
func TestOwnedFieldsExist(t *testing.T) {
	for typ, owned := range map[reflect.Type]map[string]string{
		reflect.TypeFor[kubelet.KubeletConfiguration]():     ownedKubeletFields(),
		reflect.TypeFor[kubeproxy.KubeProxyConfiguration](): ownedKubeProxyFields(),
	} {
		known := map[string]bool{}
		for _, f := range strict.Fields(typ) {
			known[f.Name] = true
		}
		for field, why := range owned {
			if !known[field] || why == "" {
				t.Errorf("%s.%s: exists %v, reason %q", typ, field, known[field], why)
			}
		}
	}
}

func TestDefaultsOfSSHFitTheirFields(t *testing.T) {
	var s inventory.SSHSpec
	if err := strict.Default(&s); err != nil || *s.User != "root" || *s.Port != 22 || *s.TrustOnFirstUse {
		t.Errorf("%+v, %v", s, err)
	}
}
