package certs

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func testControlPlane() ControlPlane {
	return ControlPlane{
		NodeName:     "cp1",
		NodeIP:       netip.MustParseAddr("10.111.0.10"),
		DNSDomain:    "cluster.local",
		APIServiceIP: netip.MustParseAddr("10.96.0.1"),
		Endpoint:     "api.example.org",
		CertSANs:     []string{"192.0.2.10", "fd00::10", "k8s.example.org"},
		Algorithm:    ECDSAP256,
		Lifetime:     time.Hour,
	}
}

func addrs(texts ...string) []netip.Addr {
	var out []netip.Addr
	for _, text := range texts {
		out = append(out, netip.MustParseAddr(text))
	}
	return out
}

// TestControlPlaneRequests pins what kubeadm 1.37 would put into each certificate.
func TestControlPlaneRequests(t *testing.T) {
	got, err := ControlPlaneRequests(testControlPlane())
	if err != nil {
		t.Fatal(err)
	}
	base := Request{Algorithm: ECDSAP256, Lifetime: time.Hour}
	client := func(name string) Request {
		r := base
		r.CommonName, r.Client = name, true
		return r
	}
	etcd := client("cp1")
	etcd.Server = true
	etcd.DNSNames, etcd.IPs = []string{"cp1", "localhost"}, addrs("10.111.0.10", "127.0.0.1", "::1")
	server := base
	server.CommonName, server.Server = "kube-apiserver", true
	server.DNSNames = []string{"api.example.org", "cp1", "k8s.example.org", "kubernetes", "kubernetes.default",
		"kubernetes.default.svc", "kubernetes.default.svc.cluster.local"}
	server.IPs = addrs("10.96.0.1", "10.111.0.10", "192.0.2.10", "fd00::10")
	want := []Named{
		{"apiserver", "ca", server},
		{"apiserver-kubelet-client", "ca", client("kube-apiserver-kubelet-client")},
		{"front-proxy-client", "front-proxy-ca", client("front-proxy-client")},
		{"etcd/server", "etcd/ca", etcd},
		{"etcd/peer", "etcd/ca", etcd},
		{"etcd/healthcheck-client", "etcd/ca", client("kube-etcd-healthcheck-client")},
		{"apiserver-etcd-client", "etcd/ca", client("kube-apiserver-etcd-client")},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestControlPlaneEndpoints(t *testing.T) {
	tests := []struct {
		name, endpoint string
		vip            string
		local          bool
		sans           []string
		wantName       string
		wantIP         string
		err            string
	}{
		{name: "none"},
		{name: "name", endpoint: "api.example.org", wantName: "api.example.org"},
		{name: "upper case", endpoint: "API.example.org", wantName: "api.example.org"},
		{name: "IPv4", endpoint: "192.0.2.1", wantIP: "192.0.2.1"},
		{name: "IPv6", endpoint: "fd00::5", wantIP: "fd00::5"},
		{name: "wildcard", sans: []string{"*.example.org"}, wantName: "*.example.org"},
		{name: "same as the node", endpoint: "10.111.0.10", wantIP: "10.111.0.10"},
		{name: "virtual IP", endpoint: "192.0.2.5", vip: "192.0.2.5", wantIP: "192.0.2.5"},
		{name: "virtual IP with a name", endpoint: "api.example.org", vip: "192.0.2.5", wantName: "api.example.org", wantIP: "192.0.2.5"},
		{name: "balancer on loopback", local: true, wantIP: "127.0.0.1"},
		{name: "balancer on loopback and endpoint", endpoint: "api.example.org", local: true, wantName: "api.example.org", wantIP: "127.0.0.1"},
		{name: "virtual IP of IPv6", vip: "fd00::5", wantIP: "fd00::5"},
		{name: "virtual IP with a zone", vip: "fe80::5%eth0", err: `"fe80::5%eth0" cannot be the address of a server`},
		{name: "with a port", endpoint: "api.example.org:6443",
			err: `control plane cp1: alternative name "api.example.org:6443" of the API server is neither an address nor a DNS name`},
		{name: "empty", sans: []string{""}, err: `alternative name "" of the API server`},
		{name: "URL", sans: []string{"https://x"}, err: `alternative name "https://x"`},
		{name: "zone", sans: []string{"fe80::1%eth0"}, err: `"fe80::1%eth0" cannot be the address of a server`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			host := testControlPlane()
			host.Endpoint, host.CertSANs, host.Local = test.endpoint, test.sans, test.local
			if test.vip != "" {
				host.VIP = netip.MustParseAddr(test.vip)
			}
			named, err := ControlPlaneRequests(host)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Fatalf("error is %v, want %q", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			names := []string{"cp1", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"}
			ips := addrs("10.96.0.1", "10.111.0.10")
			if test.wantName != "" {
				names = append(names, test.wantName)
			}
			if test.wantIP != "" {
				ips = append(ips, netip.MustParseAddr(test.wantIP))
			}
			if diff := cmp.Diff(dnsNames(names), named[0].Request.DNSNames); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(addresses(ips), named[0].Request.IPs, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNodeRequests(t *testing.T) {
	got := NodeRequests(Node{Name: "worker1", IP: netip.MustParseAddr("10.111.0.20"), Algorithm: RSA2048, Lifetime: time.Hour})
	groups := []string{"system:nodes"}
	want := []Named{
		{"kubelet-client", "ca", Request{CommonName: "system:node:worker1", Organization: groups, Client: true, Lifetime: time.Hour}},
		{"kubelet", "ca", Request{CommonName: "system:node:worker1", Organization: groups, Server: true,
			DNSNames: []string{"worker1"}, IPs: addrs("10.111.0.20"), Algorithm: RSA2048, Lifetime: time.Hour}},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestKubeconfigRequests(t *testing.T) {
	request := func(user string, groups ...string) Request {
		return Request{CommonName: user, Organization: groups, Client: true, Algorithm: ECDSAP256, Lifetime: time.Hour}
	}
	want := []NamedKubeconfig{
		{"admin.conf", "kubernetes-admin", false, request("kubernetes-admin", "kubeadm:cluster-admins")},
		{"controller-manager.conf", "system:kube-controller-manager", true, request("system:kube-controller-manager")},
		{"scheduler.conf", "system:kube-scheduler", true, request("system:kube-scheduler")},
	}
	if diff := cmp.Diff(want, KubeconfigRequests(testControlPlane())); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	kubeVIP := NamedKubeconfig{"kube-vip.conf", "kubewright:kube-vip", true, request("kubewright:kube-vip")}
	if diff := cmp.Diff(kubeVIP, KubeVIPRequest(testControlPlane())); diff != "" {
		t.Errorf("request of kube-vip (-want +got):\n%s", diff)
	}
	super := SuperAdminRequest(time.Hour)
	if diff := cmp.Diff(Request{CommonName: "kubernetes-super-admin", Organization: []string{"system:masters"},
		Client: true, Lifetime: time.Hour}, super); diff != "" {
		t.Errorf("super admin (-want +got):\n%s", diff)
	}
}

// TestEveryRequestCanBeIssuedAndIsKept is the law of this package: what was issued for a request is
// kept by the next look.
func TestEveryRequestCanBeIssuedAndIsKept(t *testing.T) {
	bundle := newTestBundle(t)
	named, err := ControlPlaneRequests(testControlPlane())
	if err != nil {
		t.Fatal(err)
	}
	named = append(named, NodeRequests(Node{Name: "cp1", IP: netip.MustParseAddr("fd00::7")})...)
	for _, conf := range append(KubeconfigRequests(testControlPlane()), KubeVIPRequest(testControlPlane())) {
		named = append(named, Named{conf.Name, KubernetesCA, conf.Request})
	}
	named = append(named, Named{"super", KubernetesCA, SuperAdminRequest(time.Hour)})
	for _, it := range named {
		authority := bundle.Authority(it.Authority)
		pair := issue(t, authority, it.Request, testEnv())
		if got := Assess(pair, it.Request, authority, epoch()); got.Action != Keep {
			t.Errorf("%s: %s", it.Name, got)
		}
		if got := Assess(Pair{}, it.Request, authority, epoch()); got.Action != Issue {
			t.Errorf("%s missing: %s", it.Name, got)
		}
	}
}

// Names are taken over from a certificate that the authority has signed for the same subject, and from
// no other: an address that somebody else wrote there is signed for nobody.
func TestWidened(t *testing.T) {
	authority, stranger := newTestAuthority(t, "kubernetes"), newTestAuthority(t, "kubernetes")
	old := serverRequest()
	old.DNSNames, old.IPs = []string{"old.example.org"}, []netip.Addr{netip.MustParseAddr("10.0.0.9")}
	other := old
	other.CommonName = "other"
	lone := issue(t, authority, old, testEnv())
	for name, tt := range map[string]struct {
		pair Pair
		want bool
	}{
		"ours":            {lone, true},
		"none":            {Pair{}, false},
		"of a stranger":   {issue(t, stranger, old, testEnv()), false},
		"of another name": {issue(t, authority, other, testEnv()), false},
		"without its key": {Pair{CertPEM: lone.CertPEM, KeyPEM: issue(t, authority, old, testEnv()).KeyPEM}, false},
	} {
		want := serverRequest()
		if tt.want {
			want.DNSNames = []string{"old.example.org", "server", "server.example.org"}
			want.IPs = []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.9"), netip.MustParseAddr("fd00::1")}
		}
		got := serverRequest().Widened(tt.pair, authority)
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
