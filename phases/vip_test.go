package phases_test

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"

	"kubewright/certs"
	"kubewright/internal/facts"
	"kubewright/internal/plan"
	"kubewright/internal/resource/memhost"
	"kubewright/phases"
)

const (
	keepalivedPod = "/etc/kubernetes/manifests/kubewright-keepalived.yaml"
	kubeVIPPod    = "/etc/kubernetes/manifests/kubewright-kube-vip.yaml"
	kubeVIPConf   = "/etc/kubernetes/kube-vip.conf"
)

// withVIP is the last of three control planes that share a virtual IP.
func withVIP(t *testing.T, vip string) machine {
	t.Helper()
	m := newMachine(t, "cp1", "vm")
	m.cluster = planes(t, 3, "{vip: "+vip+"}")
	m.host = m.cluster.Hosts[2]
	m.facts.Interfaces = []facts.Interface{{Name: "ens3", MTU: 1500, Addrs: []netip.Prefix{netip.PrefixFrom(m.host.NodeIP, 24)}}}
	return m
}

// kube-vip has a certificate of its own, which is good for one user without a group, at the API
// server of its own host. No file has more rights than it would have without kube-vip.
func TestKubeVIPKubeconfig(t *testing.T) {
	t.Parallel()
	m := withVIP(t, "{address: 10.111.0.5, provider: kube-vip}")
	h := m.bare(t)
	m.fixture().Converge(t, h)
	if mode := h.Nodes[kubeVIPConf].Mode; mode != 0o600 {
		t.Errorf("mode %o", mode)
	}
	config, err := clientcmd.Load(h.Nodes[kubeVIPConf].Content)
	if err != nil {
		t.Fatal(err)
	}
	context := config.Contexts[config.CurrentContext]
	if got := config.Clusters[context.Cluster].Server; got != "https://10.111.0.13:6443" {
		t.Errorf("it is for %s, not for the API server of its own host", got)
	}
	if user := clientOf(t, config.AuthInfos[context.AuthInfo].ClientCertificateData); user.Subject.CommonName != certs.KubeVIPUser || len(user.Subject.Organization) != 0 {
		t.Errorf("the user is %s", user.Subject)
	}
	if !strings.Contains(file(t, h, kubeVIPPod), `value: "ens3"`) {
		t.Error("the pod is not told of the interface that has the node IP")
	}
	for p, n := range h.Nodes {
		for _, data := range clientCertificates(string(n.Content)) {
			if user := clientOf(t, data); strings.Contains(user.Subject.String(), "system:masters") {
				t.Errorf("%s has the rights of %s", p, user.Subject)
			}
		}
	}
}

// clientCertificates are those of a kubeconfig, in PEM.
func clientCertificates(kubeconfig string) [][]byte {
	var all [][]byte
	for line := range strings.Lines(kubeconfig) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "client-certificate-data:"); ok {
			if data, err := base64.StdEncoding.DecodeString(strings.Trim(strings.TrimSpace(text), `"`)); err == nil {
				all = append(all, data)
			}
		}
	}
	return all
}

func clientOf(t *testing.T, data []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(data)
	if block == nil {
		t.Fatalf("no certificate: %s", data)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// Another certificate restarts kube-vip, and so does another interface.
func TestKubeVIPRestarts(t *testing.T) {
	t.Parallel()
	m := withVIP(t, "{address: 10.111.0.5, provider: kube-vip}")
	h := m.bare(t)
	m.fixture().Converge(t, h)
	before := file(t, h, kubeVIPPod)
	h.Nodes[kubeVIPConf].Content = []byte("{}")
	m.fixture().Converge(t, h)
	renewed := file(t, h, kubeVIPPod)
	if renewed == before {
		t.Error("the pod goes on with a certificate that is gone")
	}
	m.cluster.VIP.Interface = "bond0"
	m.fixture().Converge(t, h)
	if file(t, h, kubeVIPPod) == renewed || !strings.Contains(file(t, h, kubeVIPPod), `value: "bond0"`) {
		t.Error("the pod goes on with another interface")
	}
}

// The rights of kube-vip are in the cluster when it is, and not otherwise; a run that leaves hosts out makes
// them too, before keepalived goes.
func TestKubeVIPObjects(t *testing.T) {
	t.Parallel()
	for provider, want := range map[string]int{"keepalived": 0, "kube-vip": 2} {
		m := withVIP(t, "{address: 10.111.0.5, provider: "+provider+"}")
		pki, err := bundle()
		if err != nil {
			t.Fatal(err)
		}
		w := plan.World{PKI: pki, Scope: m.cluster.Hosts, Targets: map[string]plan.Target{m.host.Name: m.target(t, true)}}
		for _, p := range phases.All() {
			if p.Name == "members" && !slices.Contains(p.After, plan.AllHosts("vip-rights")) {
				t.Error("keepalived goes before kube-vip may do anything")
			}
			if p.Name != "vip-rights" {
				continue
			}
			if !p.PerHost || !p.Way {
				t.Error("they are not made where only the control planes are looked at, or the way is opened")
			}
			for hosts, want := range map[string]int{"all": want, "none": 0} {
				if w.Scope = m.cluster.Hosts; hosts == "none" {
					w.Scope = nil
				}
				objects, err := p.Objects(m.cluster, w)
				if err != nil {
					t.Fatal(err)
				}
				found := 0
				for _, o := range objects {
					if strings.Contains(fmt.Sprint(o.Object), certs.KubeVIPUser) {
						found++
					}
				}
				if waits := len(p.Waits(m.cluster, w.Scope)) > 0; found != want || waits != (want > 0) {
					t.Errorf("%s, %s control planes: %d objects name the user of kube-vip, want %d; the API is waited for: %v", provider, hosts, found, want, waits)
				}
			}
		}
	}
}

// Another provider takes the place of the first, whole, from any point of an apply that is cut; without
// a virtual IP there is neither.
func TestVIPProviderChanges(t *testing.T) {
	t.Parallel()
	const keepalived, kubeVIP = "{address: 10.111.0.5}", "{address: 10.111.0.5, provider: kube-vip}"
	for name, tt := range map[string]struct{ from, to string }{
		"to kube-vip":   {keepalived, kubeVIP},
		"to keepalived": {kubeVIP, keepalived},
		"to none":       {kubeVIP, "null"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before, after := withVIP(t, tt.from), withVIP(t, tt.to)
			applied := before.bare(t)
			before.fixture().Converge(t, applied)
			f := after.fixture()
			f.Host = func(testing.TB) *memhost.Host { return applied.Clone() }
			f.Every = 7
			h := f.Law(t)
			for p, want := range map[string]bool{
				keepalivedPod: tt.to == keepalived, "/etc/kubernetes/keepalived": tt.to == keepalived,
				kubeVIPPod: tt.to == kubeVIP, kubeVIPConf: tt.to == kubeVIP,
			} {
				if (h.Nodes[p] != nil) != want {
					t.Errorf("%s is there: %v", p, !want)
				}
			}
		})
	}
}

// A provider that is killed leaves the address on the interface. Reset takes it off, and no other.
func TestResetTakesTheVirtualIP(t *testing.T) {
	t.Parallel()
	const own = "2: ens3    inet 10.111.0.13/24 brd 10.111.0.255 scope global ens3"
	for _, provider := range []string{"keepalived", "kube-vip"} {
		m := withVIP(t, "{address: 10.111.0.5, provider: "+provider+"}")
		h := m.bare(t)
		m.fixture().Converge(t, h)
		h.Addresses = []string{own, "2: ens3    inet 10.111.0.5/32 scope global deprecated ens3"}
		if _, err := h.Run(plan.ResetTasks(plan.Reset(m.host.Name, h.Manifest())), -1); err != nil {
			t.Fatal(err)
		}
		if len(h.Addresses) != 1 || h.Addresses[0] != own {
			t.Errorf("%s: the host has %q", provider, h.Addresses)
		}
	}
}
