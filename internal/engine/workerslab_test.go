package engine_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"kubewright/cluster"
	"kubewright/internal/engine"
	"kubewright/internal/plan"
	"kubewright/internal/report"
	"kubewright/internal/resource"
	"kubewright/inventory"
)

// workerLab is a lab of one control plane and workers w1, w2, and so on, whose API has nodes that come
// and go with their kubelets, and pods that can be evicted.
type workerLab struct {
	*etcdLab
	// What follows is guarded as in etcdLab.
	node map[string]*labNode
	pods map[string]*labPod // by name; all are in the namespace default
	// config is that of the kubelets.
	config string
	// away are the workers that are being changed, peak how many that were at most.
	away map[string]bool
	peak int
}

// labNode is a Node object and the kubelet behind it.
type labNode struct {
	cordoned, ours bool
	// unready is how often the node will be seen not Ready; -1 is always.
	unready int
	// dead is a kubelet that does not start any more: it has no heartbeat, and the node stays as it was.
	dead  bool
	beats int
}

// labPod is a pod on a node.
type labPod struct {
	node string
	// bare has no controller, scratch an emptyDir; blocked is by a PodDisruptionBudget.
	bare, scratch, blocked bool
}

// newWorkerLab brings a cluster up in which every worker runs a pod.
func newWorkerLab(t *testing.T, workers int) *workerLab {
	t.Helper()
	l := &workerLab{
		etcdLab: newEtcdLab(t, 1), node: map[string]*labNode{}, pods: map[string]*labPod{},
		config: "1", away: map[string]bool{},
	}
	l.server.Config.Handler = http.HandlerFunc(l.serve)
	l.cluster.Rollout.Workers = cluster.WorkerRollout{MaxUnavailable: 1, Drain: "auto", DrainTimeout: 20 * time.Second}
	i := slices.IndexFunc(l.phases, func(p plan.Phase) bool { return p.Name == "kubelet" })
	l.phases[i] = l.kubelets()
	l.upgrade("1")
	l.setWorkers(workers)
	l.onEntry = l.restarted
	l.hook = func(name string, _ int64, script []byte) error {
		if isAct(script) {
			l.begun(name)
		}
		return nil
	}
	l.bringUp()
	l.events.events, l.peak, l.away = nil, 0, map[string]bool{}
	for name, n := range l.node {
		n.unready = 0
		if strings.HasPrefix(name, "w") {
			l.pods[name+"-web"] = &labPod{node: name, scratch: true}
		}
	}
	return l
}

// setWorkers sets how many workers there are.
func (l *workerLab) setWorkers(n int) {
	l.cluster.Hosts = slices.DeleteFunc(l.cluster.Hosts, func(h inventory.Host) bool { return !h.Has(inventory.RoleControlPlane) })
	for i := range n {
		h := inventory.Host{
			Name: fmt.Sprintf("w%d", i+1), NodeIP: netip.AddrFrom4([4]byte{10, 111, 0, byte(41 + i)}),
			Roles: []inventory.Role{inventory.RoleWorker},
		}
		h.Address = h.NodeIP.String()
		l.cluster.Hosts = append(l.cluster.Hosts, h)
		if l.roots[h.Name] == nil {
			l.roots[h.Name] = newRoot(l.t, h.Name)
		}
	}
}

// kubelets is a kubelet with a binary, so that it can be upgraded.
func (l *workerLab) kubelets() plan.Phase {
	p := phase("kubelet", []plan.Edge{plan.SameHost("control-plane")}, func(t plan.Target) []resource.Resource {
		const config, unit, binary = "/etc/kubelet/config", "/etc/systemd/system/kubelet.service", "/usr/local/bin/kubelet"
		return []resource.Resource{
			resource.Binary{Path: binary, Artifact: t.Artifacts["kubelet"]},
			resource.Dir{Path: "/etc/kubelet"}, resource.File{Path: config, Content: []byte(l.config)},
			resource.File{Path: unit, Content: []byte("[Service]\nExecStart=kubelet\n")},
			resource.Unit{Name: "kubelet.service", On: []resource.ID{resource.FileID(config), resource.FileID(unit), resource.BinaryID(binary)}},
		}
	})
	p.Rolling = true
	return p
}

// upgrade has another kubelet be wanted.
func (l *workerLab) upgrade(version string) { l.files.add(l.t, "kubelet", "kubelet "+version) }

// patience bounds how long runs wait for nodes.
func (l *workerLab) patience(ready time.Duration) {
	l.with(func(o *engine.Options) { o.ReadyTimeout = ready })
}

// begun notes that a host is being changed.
func (l *workerLab) begun(name string) {
	l.guard.Lock()
	defer l.guard.Unlock()
	if strings.HasPrefix(name, "w") {
		l.away[name] = true
		l.peak = max(l.peak, len(l.away))
	}
}

// restarted has a node be registered, and not Ready for a moment, when its kubelet was restarted.
func (l *workerLab) restarted(entry string) {
	name, ok := strings.CutSuffix(entry, " kubelet")
	if !ok {
		return
	}
	if l.node[name] == nil {
		l.node[name] = &labNode{}
	}
	if !l.node[name].dead {
		l.node[name].unready = 2
	}
}

// of is what the log says of a host.
func (l *workerLab) of(name string) []string {
	l.guard.Lock()
	defer l.guard.Unlock()
	var entries []string
	for _, entry := range l.log {
		if slices.ContainsFunc(strings.Fields(entry), func(word string) bool { return word == name || strings.HasPrefix(word, name+"-") }) {
			entries = append(entries, entry)
		}
	}
	return entries
}

// cordoned names the nodes that take no pods.
func (l *workerLab) cordoned() []string {
	l.guard.Lock()
	defer l.guard.Unlock()
	var names []string
	for _, name := range slices.Sorted(maps.Keys(l.node)) {
		if l.node[name].cordoned {
			names = append(names, name)
		}
	}
	return names
}

// said tells whether an event of a kind about a host says something.
func (l *workerLab) said(kind report.Kind, host, text string) bool {
	return slices.ContainsFunc(l.events.of(kind), func(e report.Event) bool { return e.Host == host && strings.Contains(e.Message, text) })
}

func (l *workerLab) serve(w http.ResponseWriter, r *http.Request) {
	const nodeLeases, pods, nodes = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/", "/api/v1/namespaces/default/pods/", "/api/v1/nodes"
	ip, _, _ := net.SplitHostPort(r.Host)
	l.guard.Lock()
	ready := l.apiReady(l.nameAt(ip))
	l.guard.Unlock()
	answer := l.answer
	switch name := path.Base(r.URL.Path); {
	case !ready:
	case strings.HasPrefix(r.URL.Path, nodeLeases):
		answer = func(w http.ResponseWriter, _ *http.Request) { l.serveHeartbeat(w, name) }
	case r.URL.Path == nodes:
		answer = l.serveNodes
	case strings.HasPrefix(r.URL.Path, nodes+"/"):
		answer = func(w http.ResponseWriter, r *http.Request) { l.serveNode(w, r, name) }
	case r.URL.Path == "/api/v1/pods":
		answer = l.servePods
	case strings.HasPrefix(r.URL.Path, pods):
		answer = func(w http.ResponseWriter, r *http.Request) { l.servePod(w, r, strings.TrimPrefix(r.URL.Path, pods)) }
	case r.URL.Path == "/apis/policy/v1/namespaces/default/poddisruptionbudgets":
		answer = serveBudgets
	}
	answer(w, r)
}

func (l *workerLab) serveHeartbeat(w http.ResponseWriter, name string) {
	l.guard.Lock()
	defer l.guard.Unlock()
	n := l.node[name]
	if n == nil {
		refuse(w, http.StatusNotFound, "NotFound", "leases", name)
		return
	}
	if !n.dead {
		n.beats++
	}
	answerJSON(w, http.StatusOK, map[string]any{
		"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": map[string]any{"name": name, "namespace": "kube-node-lease"},
		"spec": map[string]any{"renewTime": time.Unix(int64(10*n.beats), 0).UTC().Format("2006-01-02T15:04:05.000000Z")},
	})
}

func (l *workerLab) serveNodes(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("watch") != "" { // what waits looks again by itself
		refuse(w, http.StatusServiceUnavailable, "ServiceUnavailable", "nodes", "")
		return
	}
	l.guard.Lock()
	defer l.guard.Unlock()
	items := []any{}
	for name, n := range l.node {
		items = append(items, n.object(name))
	}
	answerJSON(w, http.StatusOK, map[string]any{"apiVersion": "v1", "kind": "NodeList", "items": items})
}

func (n *labNode) object(name string) map[string]any {
	annotations := map[string]any{}
	if n.ours {
		annotations["kubewright.io/cordoned-by"] = "true"
	}
	status := map[bool]string{true: "True", false: "False"}[n.unready == 0]
	return map[string]any{
		"apiVersion": "v1", "kind": "Node", "metadata": map[string]any{"name": name, "resourceVersion": "1", "annotations": annotations},
		"spec":   map[string]any{"unschedulable": n.cordoned},
		"status": map[string]any{"conditions": []any{map[string]any{"type": "Ready", "status": status, "reason": "KubeletNotReady", "message": "starting"}}},
	}
}

// serveNode shows a node, cordons it or lets it go. It may become Ready while it is looked at.
func (l *workerLab) serveNode(w http.ResponseWriter, r *http.Request, name string) {
	l.guard.Lock()
	defer l.guard.Unlock()
	n := l.node[name]
	if n == nil {
		refuse(w, http.StatusNotFound, "NotFound", "nodes", name)
		return
	}
	if r.Method == http.MethodPatch {
		var patch struct {
			Spec struct {
				Unschedulable bool `json:"unschedulable"`
			} `json:"spec"`
		}
		if err := json.NewDecoder(r.Body).Decode(&patch); err != nil {
			l.t.Error(err)
		}
		n.cordoned, n.ours = patch.Spec.Unschedulable, patch.Spec.Unschedulable
		l.note(map[bool]string{true: "cordon ", false: "uncordon "}[n.cordoned] + name)
	} else if n.unready > 0 {
		n.unready--
		if n.unready == 0 {
			l.note("ready " + name)
			delete(l.away, name)
		}
	}
	answerJSON(w, http.StatusOK, n.object(name))
}

func (p *labPod) object(name string) map[string]any {
	metadata := map[string]any{"name": name, "namespace": "default", "uid": name, "labels": map[string]any{"app": "web"}}
	if !p.bare {
		metadata["ownerReferences"] = []any{map[string]any{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "web", "controller": true}}
	}
	spec := map[string]any{"nodeName": p.node}
	if p.scratch {
		spec["volumes"] = []any{map[string]any{"name": "scratch", "emptyDir": map[string]any{}}}
	}
	return map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": map[string]any{"phase": "Running"}}
}

func (l *workerLab) servePods(w http.ResponseWriter, r *http.Request) {
	l.guard.Lock()
	defer l.guard.Unlock()
	items := []any{}
	for name, p := range l.pods {
		if r.URL.Query().Get("fieldSelector") == "spec.nodeName="+p.node {
			items = append(items, p.object(name))
		}
	}
	answerJSON(w, http.StatusOK, map[string]any{"apiVersion": "v1", "kind": "PodList", "items": items})
}

// servePod shows a pod, or evicts it; an evicted pod is gone at once.
func (l *workerLab) servePod(w http.ResponseWriter, _ *http.Request, rest string) {
	name, evicted := strings.CutSuffix(rest, "/eviction")
	l.guard.Lock()
	defer l.guard.Unlock()
	p := l.pods[name]
	switch {
	case p == nil:
		refuse(w, http.StatusNotFound, "NotFound", "pods", name)
	case !evicted:
		answerJSON(w, http.StatusOK, p.object(name))
	case p.blocked:
		l.note("blocked " + name)
		refuse(w, http.StatusTooManyRequests, "TooManyRequests", "pods", name)
	default:
		l.note("evict " + name)
		delete(l.pods, name)
		answerJSON(w, http.StatusCreated, map[string]any{"apiVersion": "v1", "kind": "Status", "status": "Success"})
	}
}

// serveBudgets has the one budget that blocks what is blocked.
func serveBudgets(w http.ResponseWriter, _ *http.Request) {
	answerJSON(w, http.StatusOK, map[string]any{"apiVersion": "policy/v1", "kind": "PodDisruptionBudgetList", "items": []any{map[string]any{
		"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": map[string]any{"name": "web", "namespace": "default"},
		"spec":   map[string]any{"selector": map[string]any{"matchLabels": map[string]any{"app": "web"}}},
		"status": map[string]any{"disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1},
	}}})
}
