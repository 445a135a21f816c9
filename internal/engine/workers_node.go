package engine

import (
	"context"
	"fmt"
	"time"

	"kubewright/internal/fault"
	"kubewright/internal/kube"
	"kubewright/internal/report"
)

// The values of spec.rollout.workers.drain that evict pods.
const (
	drainAuto   = "auto"
	drainAlways = "always"
)

// lookAtNode asks how the node of a worker stands before it is changed. An API server that was there
// when the plan was made is waited for. Without one the cluster is down: then there is nobody to evict
// pods, and nothing of what they serve to keep up.
func (w *workers) lookAtNode(ctx context.Context, m *member, d disruption) (*nodeState, error) {
	node := &nodeState{session: w.Session, name: m.Name}
	if w.apiThere {
		return node, w.awaitCondition(ctx, d.phase, m.Name, node)
	}
	limited, cancel := context.WithTimeout(ctx, 2*apiProbeTimeout)
	defer cancel()
	if _, _, err := node.Check(limited); err != nil {
		w.emit(report.Event{
			Kind: report.Warning, Host: m.Name, Phase: d.phase,
			Message: "no API server answers, so no pods are evicted and nobody says when the node is Ready again: " + err.Error(),
		})
	}
	return node, ctx.Err()
}

// nodeState is the condition that an API server says how a node stands.
type nodeState struct {
	session           *Session
	name              string
	registered, ready bool
}

// String implements kube.Condition.
func (n *nodeState) String() string { return "an API server to say how node " + n.name + " is" }

// Check implements kube.Condition.
func (n *nodeState) Check(ctx context.Context) (done bool, detail string, err error) {
	client, err := n.session.chooseAPI(ctx)
	if err != nil {
		return false, "", err
	}
	registered, _, err := client.NodeRegistered(n.name).Check(ctx)
	if err != nil || !registered {
		return err == nil, "", err
	}
	ready, _, err := client.NodeReady(n.name).Check(ctx)
	if err != nil {
		return false, "", err
	}
	n.registered, n.ready = true, ready
	return true, "", nil
}

// awaitsReady tells whether a node is waited for after its worker was changed. Without a network plugin
// of ours it may never have been Ready.
func (w *workers) awaitsReady(node *nodeState) bool {
	return node.registered && (node.ready || w.Cluster.Network.CNI != "none")
}

// heartbeat is the condition that a kubelet lives: it has renewed its Lease since the first look. The
// node alone does not tell, for it stays Ready for a while when the kubelet does not start any more.
type heartbeat struct {
	session *Session
	node    string
	looked  bool
	first   time.Time
}

// String implements kube.Condition.
func (h *heartbeat) String() string { return "the kubelet of " + h.node + " to report" }

// Check implements kube.Condition.
func (h *heartbeat) Check(ctx context.Context) (done bool, detail string, err error) {
	client, err := h.session.chooseAPI(ctx)
	if err != nil {
		return false, "", err
	}
	renewed, err := client.Heartbeat(ctx, h.node)
	if err != nil {
		return false, "", err
	}
	if !h.looked {
		h.looked, h.first = true, renewed
	}
	return renewed.After(h.first), "no heartbeat since its restart", nil
}

// drains tells whether the pods of a worker are evicted first. Those of a node that is not Ready would
// never end, and are elsewhere already if they can be.
func (w *workers) drains(m *member, node *nodeState, d disruption) bool {
	when := w.Cluster.Rollout.Workers.Drain
	if wanted := when == drainAlways || when == drainAuto && d.upgrade; !wanted || !node.registered {
		return false
	}
	if !node.ready {
		w.emit(report.Event{Kind: report.Notice, Host: m.Name, Phase: d.phase, Message: "not drained: the node is not Ready"})
	}
	return node.ready
}

// drain evicts the pods of a worker. ours says that its node was cordoned by it, well or not.
func (w *workers) drain(ctx context.Context, m *member, d disruption) (ours bool, err error) {
	client, err := w.chooseAPI(ctx)
	if err != nil {
		return false, err
	}
	wait := w.waitFor(m.Name, d.phase, "its pods to go")
	done, err := client.Drain(ctx, kube.DrainInput{
		Node: m.Name, Timeout: w.Cluster.Rollout.Workers.DrainTimeout, GracePeriod: -1, DeleteEmptyDir: true,
		Progress: wait.say,
	})
	wait.done(err)
	if err != nil {
		return done.Cordoned, &fault.Error{
			Kind: fault.ChangeFailed, Host: m.Name, Op: "drain", Err: fmt.Errorf("not changed: %w", err),
			Hint: "spec.rollout.workers.drain: never changes workers with their pods in place; drainTimeout there is how long the eviction may take",
		}
	}
	w.emit(report.Event{Kind: report.Notice, Host: m.Name, Phase: d.phase, Message: fmt.Sprintf("drained: %d pods", len(done.Evicted))})
	return done.Cordoned, nil
}

// uncordon lets pods onto a node again, if it was us who kept them away.
func (w *workers) uncordon(ctx context.Context, m *member) error {
	client, err := w.chooseAPI(ctx)
	changed := false
	if err == nil {
		changed, err = client.Uncordon(ctx, m.Name)
	}
	if err != nil {
		return &fault.Error{Kind: fault.ChangeFailed, Host: m.Name, Op: "uncordon", Err: err}
	}
	if changed && w.marked[m.Name] {
		w.emit(report.Event{Kind: report.Notice, Host: m.Name, Message: "uncordoned: an earlier run had left its node so"})
	}
	return nil
}

// release uncordons the node of a worker that an earlier run has cordoned and did not bring back, now
// that this run is through with its host. Whoever holds the host's lock has no other run at work there.
func (w *workers) release(ctx context.Context, m *member) error {
	if w == nil || !w.marked[m.Name] || !w.nodes[m.Name] {
		return nil
	}
	client, err := w.chooseAPI(ctx)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, 2*apiProbeTimeout)
	defer cancel()
	ready, why, err := client.NodeReady(m.Name).Check(limited)
	if err != nil || !ready {
		w.emit(report.Event{
			Kind: report.Warning, Host: m.Name,
			Message: "an earlier run has cordoned its node, which stays so while it is not Ready: " + why + errText(err),
		})
		return nil
	}
	return w.uncordon(ctx, m)
}
