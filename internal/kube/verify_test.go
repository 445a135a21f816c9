package kube_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubewright/certs"
	"kubewright/internal/kube"
	"kubewright/internal/kube/apitest"
)

// network maps the addresses of a cluster to listeners on loopback, as a host's network would.
type network map[string]string

func (n network) dial(ctx context.Context, proto, addr string) (net.Conn, error) {
	actual, ok := n[addr]
	if !ok {
		return nil, fmt.Errorf("ssh: rejected: connect failed (Connection refused)")
	}
	return (&net.Dialer{}).DialContext(ctx, proto, actual)
}

func (n network) without(addr string) network {
	out := network{}
	for key, value := range n {
		if key != addr {
			out[key] = value
		}
	}
	return out
}

func (n network) with(addr, actual string) network {
	out := n.without("")
	out[addr] = actual
	return out
}

// startKubelet serves /healthz with a kubelet's certificate and demands a client certificate.
func startKubelet(t *testing.T, pki *apitest.PKI, node string, ip netip.Addr) string {
	t.Helper()
	pair := pki.Issue(t, certs.KubernetesCA, certs.NodeRequests(certs.Node{Name: node, IP: ip})[1].Request)
	certificate, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pki.Bundle.Kubernetes.CertPEM())
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			http.Error(w, "no such path", http.StatusNotFound)
			return
		}
		_, _ = io.WriteString(w, "ok")
	}))
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate},
		ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// startDNS answers every question for an address with the same one, or not at all.
func startDNS(t *testing.T, reply func(*dnsmessage.Message)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go answer(conn, reply)
		}
	}()
	return listener.Addr().String()
}

func answer(conn net.Conn, reply func(*dnsmessage.Message)) {
	defer func() { _ = conn.Close() }()
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return
	}
	question := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(conn, question); err != nil {
		return
	}
	var message dnsmessage.Message
	if message.Unpack(question) != nil {
		return
	}
	message.Response = true
	reply(&message)
	out, err := message.Pack()
	if err != nil {
		return
	}
	_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...))
}

// address returns a reply that holds one address for the one name that exists.
func address(ip netip.Addr) func(*dnsmessage.Message) {
	return func(m *dnsmessage.Message) {
		question := m.Questions[0]
		if question.Name.String() != "kubernetes.default.svc.cluster.local." {
			m.RCode = dnsmessage.RCodeNameError
			return
		}
		header := dnsmessage.ResourceHeader{Name: question.Name, Type: question.Type, Class: question.Class, TTL: 5}
		body := dnsmessage.ResourceBody(&dnsmessage.AResource{A: ip.As4()})
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: body})
	}
}

// testVerify starts from a cluster in which all is well, and breaks one thing at a time.
func testVerify(t *testing.T, w *world) {
	nodeIP, apiIP := netip.MustParseAddr("10.111.0.20"), netip.MustParseAddr("10.96.0.1")
	seedCluster(t, w)
	apiserver := strings.TrimPrefix(w.server.URL, "https://")
	dns := startDNS(t, address(apiIP))
	healthy := network{
		"10.111.0.20:10250": startKubelet(t, w.server.PKI, "good", nodeIP),
		"10.96.0.10:53":     dns, "10.244.1.2:53": dns, "10.244.2.2:53": dns,
		"127.0.0.1:6443": apiserver,
	}
	input := func(dial kube.DialFunc) kube.VerifyInput {
		return kube.VerifyInput{
			DNSServiceIP: netip.MustParseAddr("10.96.0.10"), APIServiceIP: apiIP, DNSDomain: "cluster.local",
			Nodes: []kube.VerifyNode{{Name: "good", IP: nodeIP, Dial: dial}},
		}
	}

	t.Run("all is well", func(t *testing.T) {
		all := input(healthy.dial)
		all.Nodes = append(all.Nodes, kube.VerifyNode{Name: "good", IP: apitest.Loopback(), ControlPlane: true, Dial: healthy.dial})
		checks := w.client.Verify(within(t, 30*time.Second), all)
		var got []string
		for _, check := range checks {
			// The API server cannot reach the pretended kubelet, and the second node has none.
			if check.Name == kube.CheckKubeletProxy || check.Name == kube.CheckKubelet && len(got) > 5 {
				continue
			}
			got = append(got, check.String())
		}
		want := []string{
			"ok system pods: 3",
			"ok node ready good",
			"ok kubelet good: ok",
			"ok dns good: kubernetes.default.svc.cluster.local. is 10.96.0.1",
			"ok pod network good: 2 pods reached, 1 of them on other nodes",
			"ok node ready good",
			"ok api server good: ok",
			"ok dns good: kubernetes.default.svc.cluster.local. is 10.96.0.1",
			"ok pod network good: 2 pods reached, 1 of them on other nodes",
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})

	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	failures := []struct {
		name   string
		check  string
		change func(*kube.VerifyInput)
		want   string
	}{
		{"node not ready", kube.CheckNodeReady, func(in *kube.VerifyInput) { in.Nodes[0].Name = "bad" }, "KubeletNotReady: no network"},
		{"node missing", kube.CheckNodeReady, func(in *kube.VerifyInput) { in.Nodes[0].Name = "ghost" }, "it does not exist"},
		{"kubelet down", kube.CheckKubelet, func(in *kube.VerifyInput) {
			in.Nodes[0].Dial = healthy.without("10.111.0.20:10250").dial
		}, "connection refused"},
		{"kubelet with a certificate for another address", kube.CheckKubelet, func(in *kube.VerifyInput) {
			in.Nodes[0].Dial = healthy.with("10.111.0.20:10250", startKubelet(t, w.server.PKI, "good", netip.MustParseAddr("10.0.0.9"))).dial
		}, "the server's certificate is for another name: x509: certificate is valid for 10.0.0.9, not 10.111.0.20"},
		{"kubelet of another cluster", kube.CheckKubelet, func(in *kube.VerifyInput) {
			in.Nodes[0].Dial = healthy.with("10.111.0.20:10250", startKubelet(t, apitest.NewPKI(t), "good", nodeIP)).dial
		}, "the server's certificate is not signed by the cluster's authority"},
		{"DNS down", kube.CheckDNS, func(in *kube.VerifyInput) { in.Nodes[0].Dial = healthy.without("10.96.0.10:53").dial }, "connect to 10.96.0.10:53: connection refused"},
		{"DNS of another cluster", kube.CheckDNS, func(in *kube.VerifyInput) { in.APIServiceIP = netip.MustParseAddr("10.97.0.1") },
			"kubernetes.default.svc.cluster.local. from 10.96.0.10:53 is [10.96.0.1], want 10.97.0.1"},
		{"DNS with another domain", kube.CheckDNS, func(in *kube.VerifyInput) { in.DNSDomain = "other.local" },
			"kubernetes.default.svc.other.local. from 10.96.0.10:53: the answer is NameError"},
		{"DNS without addresses", kube.CheckDNS, func(in *kube.VerifyInput) {
			in.Nodes[0].Dial = healthy.with("10.96.0.10:53", startDNS(t, func(*dnsmessage.Message) {})).dial
		}, "the answer holds no address"},
		{"DNS answers something else", kube.CheckDNS, func(in *kube.VerifyInput) {
			in.Nodes[0].Dial = healthy.with("10.96.0.10:53", startDNS(t, func(m *dnsmessage.Message) { m.ID++ })).dial
		}, "the answer is to another question"},
		{"DNS hangs", kube.CheckDNS, func(in *kube.VerifyInput) {
			in.Nodes[0].Dial = healthy.with("10.96.0.10:53", silent.Addr().String()).dial
		}, "no answer"},
		{"one pod not reachable", kube.CheckPodNetwork, func(in *kube.VerifyInput) { in.Nodes[0].Dial = healthy.without("10.244.2.2:53").dial },
			"cannot reach coredns-2 on bad (10.244.2.2:53): connection refused"},
		{"API server down", kube.CheckAPIServer, func(in *kube.VerifyInput) {
			in.Nodes[0].ControlPlane = true
		}, "connection refused"},
		{"API server on another port", kube.CheckAPIServer, func(in *kube.VerifyInput) {
			in.Nodes[0].ControlPlane, in.Nodes[0].IP, in.APIPort = true, apitest.Loopback(), 8443
		}, "connection refused"},
		{"kubelet through the API", kube.CheckKubeletProxy, func(in *kube.VerifyInput) { in.Nodes[0].Name = "ghost" }, `nodes "ghost" not found`},
	}
	for _, test := range failures {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			in := input(healthy.dial)
			test.change(&in)
			for _, check := range w.client.Verify(within(t, 20*time.Second), in) {
				if check.Name != test.check {
					continue
				}
				if check.OK || !strings.Contains(check.Detail, test.want) || check.Duration <= 0 {
					t.Errorf("%s (%s), want %q", check, check.Duration, test.want)
				}
				if !strings.HasPrefix(check.String(), "FAILED "+test.check+" "+in.Nodes[0].Name+": ") {
					t.Errorf("it prints as %s", check)
				}
				return
			}
			t.Error("the check was not made")
		})
	}
	t.Run("patience", func(t *testing.T) { testPatience(t, w, input, healthy) })
	t.Run("system pod broken", func(t *testing.T) {
		w.setStatus(t, `{apiVersion: v1, kind: Pod, metadata: {name: other, namespace: kube-system}, status: {phase: Running, conditions: [{type: Ready, status: "False"}]}}`)
		check := w.client.Verify(within(t, 20*time.Second), kube.VerifyInput{})[0]
		if check.OK || check.Detail != "1 of 3 do not work: pod other on good: running but not ready" || check.Node != "" {
			t.Errorf("%s", check)
		}
	})
}

// testPatience: a check that fails at first is repeated, but only when that is asked for.
func testPatience(t *testing.T, w *world, input func(kube.DialFunc) kube.VerifyInput, healthy network) {
	attempts := 0
	flaky := func(ctx context.Context, proto, addr string) (net.Conn, error) {
		if addr == "10.96.0.10:53" {
			attempts++
			if attempts < 4 {
				return nil, fmt.Errorf("no route yet")
			}
		}
		return healthy.dial(ctx, proto, addr)
	}
	dns := func(in kube.VerifyInput) kube.Check {
		for _, check := range w.client.Verify(within(t, 20*time.Second), in) {
			if check.Name == kube.CheckDNS {
				return check
			}
		}
		t.Fatal("the check was not made")
		return kube.Check{}
	}
	if check := dns(input(flaky)); check.OK || attempts != 1 {
		t.Errorf("without patience: %s after %d attempts", check, attempts)
	}
	in := input(flaky)
	in.Patience = time.Second
	if check := dns(in); !check.OK || attempts != 4 {
		t.Errorf("with patience: %s after %d attempts", check, attempts)
	}
}

// seedCluster makes the API objects of a small cluster: two nodes and three pods.
func seedCluster(t *testing.T, w *world) {
	t.Helper()
	apply(t, w.client, decode(t, `
{apiVersion: v1, kind: Node, metadata: {name: good}}
---
{apiVersion: v1, kind: Node, metadata: {name: bad}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: kube-system}}
`))
	w.setStatus(t, `{apiVersion: v1, kind: Node, metadata: {name: good}, status: {conditions: [{type: Ready, status: "True"}]}}`)
	w.setStatus(t, `{apiVersion: v1, kind: Node, metadata: {name: bad}, status: {conditions: [{type: Ready, status: "False", reason: KubeletNotReady, message: no network}]}}`)
	for _, pod := range []struct{ name, label, node, ip string }{
		{"coredns-1", "kube-dns", "good", "10.244.1.2"}, {"coredns-2", "kube-dns", "bad", "10.244.2.2"}, {"other", "other", "good", "10.244.1.3"},
	} {
		object := decode(t, fmt.Sprintf(`{apiVersion: v1, kind: Pod, metadata: {name: %s, namespace: kube-system, labels: {k8s-app: %s}},
			spec: {nodeName: %s, automountServiceAccountToken: false, containers: [{name: c, image: "x:1"}]}}`, pod.name, pod.label, pod.node))[0]
		if _, err := w.of(object).Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		w.setStatus(t, fmt.Sprintf(`{apiVersion: v1, kind: Pod, metadata: {name: %s, namespace: kube-system}, status:
			{phase: Running, podIP: %s, podIPs: [{ip: %s}], conditions: [{type: Ready, status: "True"}]}}`, pod.name, pod.ip, pod.ip))
	}
}
