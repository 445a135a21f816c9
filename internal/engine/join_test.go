package engine_test

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"log/slog"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubewright/certs"
	"kubewright/cluster"
	"kubewright/internal/engine"
	"kubewright/internal/fault"
	"kubewright/internal/kube"
	"kubewright/internal/plan"
	"kubewright/internal/resource"
	"kubewright/internal/sh"
	"kubewright/inventory"
)

// Where the certificates of the lab's kubelet are.
const (
	kubeletClientCert = "/var/lib/kubelet/pki/kubelet-client-current.pem"
	kubeletServerCert = "/var/lib/kubelet/pki/kubelet.crt"
)

// joinLab is a lab whose host w1 joins by itself, and the API of the cluster.
type joinLab struct {
	*lab
	authority *certs.Authority // with its key
	signer    *certs.Authority // who signs requests
	client    *kube.Client

	guard sync.Mutex
	// asked are the requests for certificates; forbidden, when set, is what may not be asked for; named are
	// nodes that the cluster has.
	asked     []certificatesv1.CertificateSigningRequest
	forbidden string
	named     map[string]bool
}

func joinPhases() []plan.Phase {
	node := func(t plan.Target) certs.Node { return certs.Node{Name: t.Name, IP: t.NodeIP} }
	issued := func(t plan.Target, i int, path, key string) resource.Certificate {
		c := resource.Certificate{CertPath: path, KeyPath: key, Request: certs.NodeRequests(node(t))[i].Request, Env: t.Env}
		if t.PKI != nil {
			c.Issuer = t.PKI.Kubernetes
		}
		return c
	}
	return []plan.Phase{
		{
			Name: "authorities", Short: "authorities", On: inventory.ControlPlanes,
			Desire: func(*cluster.Cluster, plan.Target) ([]resource.Resource, error) {
				return []resource.Resource{resource.File{Path: engine.PKIDir + "/ca.key", Read: true, Content: []byte("key")}}, nil
			},
		},
		phase("host", []plan.Edge{plan.AllHosts("authorities")}, func(t plan.Target) []resource.Resource {
			mark := resource.File{Path: sh.ClusterPath}
			if t.PKI != nil {
				mark.Content = []byte("lab " + t.PKI.Kubernetes.Fingerprint() + "\n")
			}
			return []resource.Resource{mark}
		}),
		phase("pki", nil, func(t plan.Target) []resource.Resource {
			client := issued(t, 0, kubeletClientCert, "")
			client.Issued = t.KubeletClient
			return []resource.Resource{kubeletConfig(t), client, issued(t, 1, kubeletServerCert, strings.TrimSuffix(kubeletServerCert, ".crt")+".key")}
		}),
		service("kubelet", "1\n", plan.SameHost("pki")),
		{
			Name: "objects", Short: "objects", After: []plan.Edge{plan.AllHosts("kubelet")},
			Objects: func(*cluster.Cluster, plan.World) ([]*unstructured.Unstructured, error) {
				return nil, errors.New("a machine that joins makes no objects")
			},
		},
	}
}

// kubeletConfig is the kubeconfig by which a kubelet says which node it is.
func kubeletConfig(t plan.Target) resource.Kubeconfig {
	k := resource.Kubeconfig{Path: kubeletConf, Env: t.Env, Want: certs.KubeconfigWant{
		Server: "https://10.111.0.21:6443", ClusterName: "lab", User: "system:node:" + t.Name, CertFile: kubeletClientCert, KeyFile: kubeletClientCert,
	}}
	if t.PKI != nil {
		k.Want.Authority = t.PKI.Kubernetes
	}
	return k
}

func newJoinLab(t *testing.T) *joinLab {
	t.Helper()
	j := &joinLab{lab: newLab(t, 2, joinPhases()...), named: map[string]bool{"cp1": true}}
	var err error
	if j.authority, err = certs.NewAuthority("kubernetes", certs.ECDSAP256, certs.Env{Now: time.Now(), Rand: rand.Reader}); err != nil {
		t.Fatal(err)
	}
	j.signer = j.authority
	pair, err := j.authority.Issue(certs.Request{CommonName: "kube-apiserver", IPs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Server: true}, certs.Env{Now: time.Now(), Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	serving, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(j.answer))
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{serving}}
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	t.Cleanup(server.Close)
	j.client, err = kube.New(kube.Config{Server: server.URL, CAPEM: j.authority.CertPEM(), Token: "abcdef.0123456789abcdef", Dial: new(net.Dialer).DialContext})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(j.client.Close)
	j.options = func(o *engine.Options) { o.Limit = func(h inventory.Host) bool { return h.Name == "w1" } }
	return j
}

// answer plays the API: it signs what it is asked to, and has the node of a kubelet that runs.
func (j *joinLab) answer(w http.ResponseWriter, r *http.Request) {
	j.guard.Lock()
	defer j.guard.Unlock()
	const requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
	name, node := strings.CutPrefix(r.URL.Path, "/api/v1/nodes/")
	switch {
	case j.forbidden != "" && strings.Contains(r.URL.Path, j.forbidden):
		refuse(w, http.StatusForbidden, "Forbidden", j.forbidden, "")
	case r.Method == http.MethodPost && r.URL.Path == requests:
		var asked certificatesv1.CertificateSigningRequest
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
			j.t.Error(err)
		}
		asked.Name = "node-csr-1"
		asked.Status.Certificate = j.sign(asked.Spec.Request)
		j.asked = append(j.asked, asked)
		answerJSON(w, http.StatusCreated, asked)
	case r.Method == http.MethodGet && r.URL.Path == requests+"/node-csr-1":
		answerJSON(w, http.StatusOK, j.asked[len(j.asked)-1])
	case r.Method == http.MethodGet && node && (j.named[name] || j.roots["w1"].Read(kubeletState+"active") == "active\n"):
		answerJSON(w, http.StatusOK, map[string]any{
			"apiVersion": "v1", "kind": "Node", "metadata": map[string]any{"name": name},
			"status": map[string]any{"conditions": []any{map[string]any{"type": "Ready", "status": "True"}}},
		})
	case r.Method == http.MethodGet && node:
		refuse(w, http.StatusNotFound, "NotFound", "nodes", name)
	default:
		j.t.Errorf("the API was asked %s %s", r.Method, r.URL)
	}
}

// sign makes the certificate that was asked for, as the controller does.
func (j *joinLab) sign(request []byte) []byte {
	block, _ := pem.Decode(request)
	asked, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		j.t.Error(err)
		return nil
	}
	issuer, _ := pem.Decode(j.signer.CertPEM())
	by, err := x509.ParseCertificate(issuer.Bytes)
	if err != nil {
		j.t.Error(err)
		return nil
	}
	private, _ := pem.Decode(j.signer.KeyPEM().Reveal())
	key, err := x509.ParseECPrivateKey(private.Bytes)
	if err != nil {
		j.t.Error(err)
		return nil
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: asked.Subject, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(300 * 24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
	}, by, asked.PublicKey, key)
	if err != nil {
		j.t.Error(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func (j *joinLab) joining() engine.Joining {
	authority, err := certs.TrustAuthority(j.authority.CertPEM())
	if err != nil {
		j.t.Fatal(err)
	}
	return engine.Joining{Authority: authority, API: j.client}
}

func (j *joinLab) join() (*plan.Plan, error) {
	p, stats, err := j.engine().Join(j.t.Context(), j.joining(), accept)
	j.requireStats(stats)
	return p, err
}

// A machine joins by itself: it is given what the cluster has signed and what signs itself, no other
// host is connected to, and a second time there is nothing to do.
func TestJoinWorker(t *testing.T) {
	j := newJoinLab(t)
	before := j.roots["w1"].Times()
	p, stats, err := j.engine().PlanJoin(t.Context(), j.joining())
	if err != nil || p.Empty() || len(stats) != 1 || len(j.asked) > 0 {
		t.Fatalf("a plan: %v, %d requests, %+v", err, len(j.asked), stats)
	}
	if diff := cmp.Diff(before, j.roots["w1"].Times()); diff != "" {
		t.Errorf("a plan changed the machine (-before +after):\n%s", diff)
	}
	if _, err := j.join(); err != nil {
		t.Fatal(err)
	}
	if hosts := slices.Collect(maps.Keys(j.conns)); len(hosts) != 1 || hosts[0] != "w1" {
		t.Errorf("connected to %v", hosts)
	}
	w1 := j.roots["w1"]
	requests := certs.NodeRequests(certs.Node{Name: "w1", IP: netip.MustParseAddr("10.111.0.11")})
	both := []byte(w1.Read("/var/lib/kubelet/pki/kubelet-client-kubewright.pem")) // to which the link leads
	client := certs.Pair{CertPEM: both, KeyPEM: both}
	if verdict := certs.Assess(client, requests[0].Request, j.authority, time.Now()); verdict.Action != certs.Keep {
		t.Errorf("the kubelet's client certificate: %s", verdict)
	}
	server := certs.Pair{CertPEM: []byte(w1.Read(kubeletServerCert)), KeyPEM: []byte(w1.Read("/var/lib/kubelet/pki/kubelet.key"))}
	if verdict := certs.AssessSelfSigned(server, requests[1].Request, time.Now()); verdict.Action != certs.Keep {
		t.Errorf("the kubelet's serving certificate: %s", verdict)
	}
	if w1.Read(engine.PKIDir+"/ca.key") != "" || j.starts("w1", "kubelet.service") != 1 {
		t.Error("a worker has the key of an authority, or its kubelet was not started")
	}

	j.named["w1"] = true
	p, err = j.join()
	if err != nil || !p.Empty() || len(j.asked) != 1 || j.starts("w1", "kubelet.service") != 1 {
		t.Errorf("a second time: %v, %d requests, %d changes", err, len(j.asked), p.Count())
	}
}

// A machine that has joined, or has begun to, gets no certificate of another node: neither by another name, nor
// by the name of another machine.
func TestJoinKeepsTheName(t *testing.T) {
	j := newJoinLab(t)
	if _, err := j.join(); err != nil {
		t.Fatal(err)
	}
	w1 := j.roots["w1"]
	w1.Write(kubeletConf, strings.ReplaceAll(w1.Read(kubeletConf), "system:node:w1", "system:node:w7"))
	_, err := j.join()
	requireFault(t, errors.Join(err, errors.New(strings.Join(fault.Hints(err), "; "))), fault.Preflight, "w1: the machine has joined as w7, and a node keeps its name", "--node-name w7")

	w1.Write(kubeletConf, "") // a join that was cut before the kubelet was given anything
	j.named["w1"] = true
	_, err = j.join()
	requireFault(t, err, fault.Preflight, "the cluster has a node w1 already")
	if len(j.asked) != 1 {
		t.Errorf("%d certificates were asked for", len(j.asked))
	}
}

// What is wanted no more on the machine is left: a run that knows the cluster takes it away.
func TestJoinRemovesNothing(t *testing.T) {
	j := newJoinLab(t)
	if _, err := j.join(); err != nil {
		t.Fatal(err)
	}
	j.phases = slices.DeleteFunc(j.phases, func(p plan.Phase) bool { return p.Name == "kubelet" || p.Name == "objects" })
	p, err := j.join()
	if err != nil || !p.Empty() || j.roots["w1"].Read("/etc/kubelet/config") != "1\n" {
		t.Errorf("%v, %d changes", err, p.Count())
	}
}

// A join that is cut after the certificate was signed is done by the next.
func TestJoinIsTakenUp(t *testing.T) {
	j := newJoinLab(t)
	j.hook = func(_ string, _ int64, script []byte) error {
		if isAct(script) {
			return errBoom
		}
		return nil
	}
	if _, err := j.join(); err == nil {
		t.Fatal("the act was to fail")
	}
	j.hook = nil
	if _, err := j.join(); err != nil || len(j.asked) != 2 {
		t.Errorf("%v, %d requests", err, len(j.asked))
	}
}

func TestJoinIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		prepare func(*joinLab)
		kind    fault.Kind
		says    []string // the error, and its hints
	}{
		"another machine of that name": {func(j *joinLab) { j.named["w1"] = true }, fault.Preflight, []string{"w1: the cluster has a node w1 already", "--node-name"}},
		"a control plane": {func(j *joinLab) {
			j.roots["w1"].Write(sh.ManifestPath, "file:"+engine.PKIDir+"/ca.key\t0\n")
		}, fault.Preflight, []string{"w1: the machine is a control plane, and cannot join as a worker"}},
		"no right to look":  {func(j *joinLab) { j.forbidden = "nodes" }, fault.BadInput, []string{"may not join a machine"}},
		"no right to ask":   {func(j *joinLab) { j.forbidden = "certificatesigningrequests" }, fault.BadInput, []string{"may not join a machine"}},
		"another authority": {func(j *joinLab) { j.signer = strangeAuthority(j.t) }, fault.Unhealthy, []string{"is not what was asked for: issue: "}},
	} {
		t.Run(name, func(t *testing.T) {
			j := newJoinLab(t)
			test.prepare(j)
			before := j.roots["w1"].Times()
			_, err := j.join()
			requireFault(t, errors.Join(err, errors.New(strings.Join(fault.Hints(err), "; "))), test.kind, test.says...)
			if after := j.roots["w1"].Times(); j.roots["w1"].Read(sh.ClusterPath) != "" || j.starts("w1", "kubelet.service") > 0 || len(after) != len(before) {
				t.Errorf("the machine was changed:\n%s", cmp.Diff(before, after))
			}
		})
	}
	t.Run("not confirmed", func(t *testing.T) {
		j := newJoinLab(t)
		_, _, err := j.engine().Join(t.Context(), j.joining(), func(*plan.Plan) error { return errBoom })
		if !errors.Is(err, errBoom) || len(j.asked) > 0 {
			t.Errorf("%v, %d requests", err, len(j.asked))
		}
	})
}

func strangeAuthority(t *testing.T) *certs.Authority {
	t.Helper()
	a, err := certs.NewAuthority("kubernetes", certs.ECDSAP256, certs.Env{Now: time.Now(), Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	return a
}
