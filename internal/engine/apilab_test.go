package engine_test

import (
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"kubewright/certs"
	"kubewright/internal/engine"
	"kubewright/internal/secret"
	"kubewright/inventory"
	"kubewright/templates"
)

// serveAPI serves what all API servers of the lab say, with a certificate of the cluster's authority.
func (e *etcdLab) serveAPI() *httptest.Server {
	server := httptest.NewUnstartedServer(e.unlessResting(e.answer))
	server.EnableHTTP2 = true
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		pair, err := e.apiCertificate()
		return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, Certificates: []tls.Certificate{pair}}, err
	}}
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	e.t.Cleanup(server.Close)
	return server
}

// apiCertificate is signed by the authority that the first host with one has.
func (e *etcdLab) apiCertificate() (tls.Certificate, error) {
	leave, err := e.attend()
	if err != nil {
		return tls.Certificate{}, err
	}
	defer leave()
	e.guard.Lock()
	defer e.guard.Unlock()
	env := certs.Env{Now: time.Now(), Rand: rand.Reader}
	request := certs.Request{CommonName: "kube-apiserver", Server: true}
	files := map[string]certs.HostFiles{}
	for _, h := range e.cluster.Hosts {
		request.IPs = append(request.IPs, h.NodeIP)
		if key := e.roots[h.Name].Read(engine.PKIDir + "/ca.key"); key == "" || len(files) > 0 {
			continue
		}
		files[h.Name] = certs.HostFiles{}
		for _, name := range certs.BundleFiles(e.cluster.ForeignAuthorities()...) {
			files[h.Name][name] = secret.Bytes(e.roots[h.Name].Read(engine.PKIDir + "/" + name))
		}
	}
	bundle, err := certs.Adopt(files, e.cluster.ForeignAuthorities()...)
	if err != nil || bundle == nil {
		return tls.Certificate{}, fmt.Errorf("there is no authority: %w", err)
	}
	pair, err := bundle.Kubernetes.Issue(request, env)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(pair.CertPEM, pair.KeyPEM.Reveal())
}

// hasAPI tells whether an API server listens on a host.
func (e *etcdLab) hasAPI(name string) bool {
	e.guard.Lock()
	defer e.guard.Unlock()
	return e.listens(name)
}

func (e *etcdLab) listens(name string) bool {
	return name != "" && e.kubelet(name) && e.roots[name].Read(apiManifest) != ""
}

// apiReady tells whether an API server is ready: it has the member beside it, or those on hosts of
// their own, and flags that it knows.
func (e *etcdLab) apiReady(name string) bool {
	if e.ready != nil {
		return e.ready(name)
	}
	member := e.running(name)
	apart := !slices.ContainsFunc(e.cluster.EtcdMembers(), func(h inventory.Host) bool { return h.Name == name })
	votes := apart || member != nil && !member.Learner
	return e.listens(name) && e.restarting[name] == 0 && votes && e.quorum() && !strings.Contains(e.roots[name].Read(apiManifest), "--broken")
}

// quiet returns when nobody is being answered any more, nor will be until the next run: a request that a
// run has given up is still at work, or on its way, when the run has ended.
func (e *etcdLab) quiet() {
	e.server.CloseClientConnections()
	e.rest(true)
}

func (e *etcdLab) rest(resting bool) {
	e.answering.Lock()
	defer e.answering.Unlock()
	e.resting = resting
}

// attend takes part in a run, until the caller leaves.
func (e *etcdLab) attend() (leave func(), err error) {
	e.answering.RLock()
	if e.resting {
		e.answering.RUnlock()
		return nil, errors.New("the run has ended")
	}
	return e.answering.RUnlock, nil
}

// unlessResting answers requests with answer.
func (e *etcdLab) unlessResting(answer http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		leave, err := e.attend()
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		defer leave()
		answer(w, r)
	})
}

func (e *etcdLab) answer(w http.ResponseWriter, r *http.Request) {
	e.guard.Lock()
	defer e.guard.Unlock()
	e.settle()
	ip, _, _ := net.SplitHostPort(r.Host)
	switch name := e.nameAt(ip); {
	case !e.listens(name):
		http.Error(w, "nothing listens here", http.StatusServiceUnavailable)
	case !e.apiReady(name):
		e.restarting[name] = max(e.restarting[name]-1, 0)
		http.Error(w, "[-]etcd failed: reason withheld", http.StatusInternalServerError)
	case r.URL.Path == "/readyz":
		_, _ = io.WriteString(w, "ok")
	case strings.HasPrefix(r.URL.Path, "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"):
		e.answerLease(w, r)
	case strings.HasPrefix(r.URL.Path, "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/"):
		refuse(w, http.StatusNotFound, "NotFound", "leases", path.Base(r.URL.Path)) // no kubelet of this lab reports
	case r.URL.Path == "/api/v1/namespaces/kube-system/configmaps/kubewright-config":
		e.answerDocument(w, r)
	case r.URL.Path == "/api/v1/pods":
		answerJSON(w, http.StatusOK, map[string]any{"apiVersion": "v1", "kind": "PodList", "items": []any{}})
	case strings.HasPrefix(r.URL.Path, "/api/v1/nodes"):
		e.answerNodes(w, r)
	default:
		e.t.Errorf("the API was asked %s %s", r.Method, r.URL)
		http.Error(w, "what?", http.StatusNotImplemented)
	}
}

func answerJSON(w http.ResponseWriter, status int, object any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(object)
}

func refuse(w http.ResponseWriter, code int, reason, kind, name string) {
	answerJSON(w, code, map[string]any{
		"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason,
		"message": reason, "details": map[string]any{"kind": kind, "name": name},
	})
}

// answerLease keeps one lease, whose version every write has to name.
func (e *etcdLab) answerLease(w http.ResponseWriter, r *http.Request) {
	var sent map[string]any
	if r.Method != http.MethodGet {
		if err := json.NewDecoder(r.Body).Decode(&sent); err != nil {
			e.t.Error(err)
		}
	}
	metadata, _ := sent["metadata"].(map[string]any)
	switch {
	case r.Method == http.MethodGet && e.lease == nil:
		refuse(w, http.StatusNotFound, "NotFound", "leases", "kubewright")
		return
	case r.Method == http.MethodPost && e.lease != nil, r.Method == http.MethodPut && metadata["resourceVersion"] != strconv.Itoa(e.version):
		refuse(w, http.StatusConflict, "Conflict", "leases", "kubewright")
		return
	case r.Method != http.MethodGet:
		e.version++
		metadata["resourceVersion"] = strconv.Itoa(e.version)
		content, err := json.Marshal(sent)
		if err != nil {
			e.t.Error(err)
		}
		e.lease = content
	}
	answerJSON(w, http.StatusOK, json.RawMessage(e.lease))
}

// answerDocument keeps what the cluster tells machines that join.
func (e *etcdLab) answerDocument(w http.ResponseWriter, r *http.Request) {
	config := corev1.ConfigMap{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}}
	config.Name, config.Namespace = templates.ClusterConfigMap, metav1.NamespaceSystem
	config.Data = map[string]string{templates.ClusterFileKey: e.document}
	switch {
	case e.document == "":
		refuse(w, http.StatusNotFound, "NotFound", "configmaps", templates.ClusterConfigMap)
		return
	case r.Method == http.MethodPatch:
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = yaml.Unmarshal(body, &config)
		}
		if err != nil {
			e.t.Error(err)
		}
		if r.URL.Query().Get("dryRun") == "" {
			e.document = config.Data[templates.ClusterFileKey]
			e.note("tell")
		}
	}
	answerJSON(w, http.StatusOK, config)
}

// answerNodes lists, cordons and deletes nodes.
func (e *etcdLab) answerNodes(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/api/v1/nodes")
	name = strings.TrimPrefix(name, "/")
	node := func(name string) map[string]any {
		status := map[bool]string{true: "True", false: "False"}[e.nodes[name]]
		return map[string]any{
			"apiVersion": "v1", "kind": "Node", "metadata": map[string]any{"name": name, "resourceVersion": "1"},
			"status": map[string]any{"conditions": []any{map[string]any{"type": "Ready", "status": status}}},
		}
	}
	if name == "" {
		var items []any
		for n := range e.nodes {
			items = append(items, node(n))
		}
		answerJSON(w, http.StatusOK, map[string]any{"apiVersion": "v1", "kind": "NodeList", "items": items})
		return
	}
	if _, there := e.nodes[path.Base(name)]; !there {
		refuse(w, http.StatusNotFound, "NotFound", "nodes", name)
		return
	}
	switch r.Method {
	case http.MethodPatch:
		e.note("cordon " + name)
	case http.MethodDelete:
		e.note("delete " + name)
		delete(e.nodes, name)
		answerJSON(w, http.StatusOK, map[string]any{"apiVersion": "v1", "kind": "Status", "status": "Success"})
		return
	}
	answerJSON(w, http.StatusOK, node(name))
}

// registered are the nodes that the API has.
func (e *etcdLab) registered() []string {
	e.guard.Lock()
	defer e.guard.Unlock()
	var names []string
	for n := range e.nodes {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
