package engine

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubewright/addons"
	"kubewright/cluster"
	"kubewright/internal/fault"
	"kubewright/internal/kube"
	"kubewright/internal/membership"
	"kubewright/internal/plan"
	"kubewright/internal/report"
	"kubewright/inventory"
	"kubewright/templates"
)

// heartbeatTimeout is longer than a kubelet takes from one renewal of its Lease to the next.
const heartbeatTimeout = 15 * time.Second

// Removal is what the removal of a node does.
type Removal struct {
	// Name is the host's, and the node's.
	Name string
	// Actions are the changes of the members of etcd.
	Actions []plan.Action
	// Registered says that there is a Node object; Ready, that pods run there and have to go.
	Registered, Ready bool
	// Things is how many things are removed from the host, and Unreached why they cannot be.
	Things    int
	Unreached error
}

// RemoveOptions say how a node is drained.
type RemoveOptions struct {
	// DrainTimeout bounds the eviction of the pods; 0 leaves them where they are.
	DrainTimeout time.Duration
	// DeleteEmptyDir and Force allow to lose data in emptyDirs, and pods without a controller.
	DeleteEmptyDir, Force bool
	// DisableEviction deletes pods, which no PodDisruptionBudget prevents.
	DisableEviction bool
}

// RemoveNode takes one host out of the cluster: its pods are evicted, its member leaves etcd, what is
// ours on it is removed, and its Node object is deleted. A host that is dead is removed all the same,
// and so is a node that the inventory does not have. confirm is shown what will be done first.
func (e *Engine) RemoveNode(ctx context.Context, name string, o RemoveOptions, confirm func(Removal) error) (_ []Stats, err error) {
	defer e.begin("node remove")(&err)
	ctx, locks := holdLocks(ctx)
	defer func() { err = taken(ctx, err) }()
	scoped := *e
	scoped.Limit = func(h inventory.Host) bool { return h.Name == name }
	s := scoped.survey(ctx, locks)
	defer s.Close()
	r := removal{Session: s, options: o, Removal: Removal{Name: name}}
	if err := r.assess(ctx); err != nil {
		return s.stats(), err
	}
	if err := confirm(r.Removal); err != nil {
		return s.stats(), err
	}
	err = r.carryOut(ctx)
	return s.stats(), err
}

// removal is one removal under way.
type removal struct {
	*Session
	Removal
	options RemoveOptions
	member  *member // nil for a node that the inventory does not have
}

// assess finds out what there is to remove, and refuses what would cost the cluster.
func (r *removal) assess(ctx context.Context) error {
	if i := slices.IndexFunc(r.hosts, func(m *member) bool { return m.Name == r.Name }); i >= 0 {
		r.member = r.hosts[i]
		if err := r.member.err; err != nil && fault.KindOf(err) != fault.Unreachable {
			return err
		}
		r.Unreached = r.member.err
	}
	r.leaving = r.Name
	r.api = newAPI()
	if len(r.controlPlanes()) == 0 {
		return fault.New(fault.Unhealthy, "%s cannot be removed: no other control plane was reached", r.Name).
			WithHint("a cluster keeps one control plane at least; kubewright reset removes all of it")
	}
	if err := r.adopt(); err != nil {
		return err
	}
	if r.newPKI {
		return fault.New(fault.Unhealthy, "there is no cluster on these hosts")
	}
	if err := r.ours(); err != nil {
		return err
	}
	if err := r.awaitCondition(ctx, "", clusterHost, r.readyAPI()); err != nil {
		return err
	}
	if err := r.findNode(ctx); err != nil {
		return err
	}
	if r.member != nil && r.member.seen {
		r.member.plan = plan.Reset(r.Name, r.member.observed.Manifest)
		r.Things = len(r.member.plan.Items)
	}
	// Who joins is none of a removal's business: only members are looked at.
	r.etcd.hosts = slices.DeleteFunc(r.etcdHosts(), func(h membership.Host) bool { return !h.Data && h.Name != r.Name })
	var err error
	if r.etcd.foreseen, err = r.removals(ctx); err != nil {
		return err
	}
	r.Actions = r.memberActions()
	if r.member == nil && !r.Registered && len(r.Actions) == 0 {
		return fault.New(fault.BadInput, "there is no node, no host and no member of etcd named %s", r.Name)
	}
	return nil
}

func (r *removal) findNode(ctx context.Context) error {
	client, err := r.client("")
	if err != nil {
		return err
	}
	nodes, err := client.Nodes(ctx)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if n.Name == r.Name {
			r.Registered, r.Ready = true, n.Ready
		}
	}
	// A node looks Ready for most of a minute after its machine has died, and its pods would never end.
	if r.Ready && r.Unreached != nil {
		r.Ready = r.reports(ctx)
	}
	return ctx.Err()
}

// reports tells whether the kubelet of the node is heard of, which it is every ten seconds.
func (r *removal) reports(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, heartbeatTimeout)
	defer cancel()
	return r.watch(ctx, "", r.Name, &heartbeat{session: r.Session, node: r.Name}) == nil
}

func (r *removal) world(ctx context.Context) membership.World {
	w := r.etcdWorld(ctx)
	w.Remove = []string{r.Name}
	return w
}

// removals are the members that leave etcd next. Those of an external etcd are on no host of ours.
func (r *removal) removals(ctx context.Context) ([]membership.Action, error) {
	if r.Cluster.ExternalEtcd.Used() {
		return nil, nil
	}
	decision, err := membership.Decide(r.world(ctx))
	if err != nil {
		return nil, refusal(err)
	}
	return slices.DeleteFunc(decision.Actions, func(a membership.Action) bool { return a.Kind != membership.Remove }), nil
}

// carryOut removes the node. Pods leave while their host is well, the member before its data, and the
// Node object last, for a kubelet that runs would register it again.
func (r *removal) carryOut(ctx context.Context) error {
	if err := r.holdLease(ctx); err != nil {
		return err
	}
	client, err := r.client("")
	if err != nil {
		return err
	}
	if err := r.drain(ctx, client); err != nil {
		return err
	}
	if err := r.leaveEtcd(ctx); err != nil {
		return err
	}
	if err := r.disown(ctx, client); err != nil {
		return &fault.Error{Kind: fault.ChangeFailed, Op: "node remove", Err: err}
	}
	if r.member != nil && r.member.seen { // also where a removal was cut before its last step
		if err := r.persist(ctx, r.member, r.resumeReset, r.reset); err != nil {
			return err
		}
	}
	if err := client.DeleteNode(ctx, r.Name); err != nil {
		return &fault.Error{Kind: fault.ChangeFailed, Op: "node remove", Err: err}
	}
	return nil
}

// disown has the cluster tell machines that join of the node no more. A cluster that tells them nothing is left so.
func (r *removal) disown(ctx context.Context, client *kube.Client) error {
	object, err := client.Get(ctx, corev1.SchemeGroupVersion.WithKind("ConfigMap"), metav1.NamespaceSystem, templates.ClusterConfigMap)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	data, _, err := unstructured.NestedStringMap(object.Object, "data")
	if err != nil {
		return err
	}
	document, err := cluster.WithoutHost([]byte(data[templates.ClusterFileKey]), r.Name)
	if err != nil || string(document) == data[templates.ClusterFileKey] {
		return err
	}
	var digests []byte
	if text, ok := data[templates.DigestsKey]; ok {
		digests = []byte(text)
	}
	manifest, err := templates.KubewrightConfig(document, digests)
	if err != nil {
		return err
	}
	objects, err := addons.Decode(manifest)
	if err != nil {
		return err
	}
	changes, err := client.Diff(ctx, objects)
	if err != nil {
		return err
	}
	return client.Apply(ctx, changes)
}

func (r *removal) drain(ctx context.Context, client *kube.Client) error {
	switch {
	case !r.Registered || r.options.DrainTimeout <= 0:
		return nil
	case !r.Ready:
		r.emit(report.Event{Kind: report.Notice, Host: r.Name, Message: "not drained: the node is not Ready, or its kubelet is not heard of; its pods are made anew elsewhere when it is gone"})
		return nil
	}
	wait := r.waitFor(r.Name, "", "its pods to go")
	done, err := client.Drain(ctx, kube.DrainInput{
		Node: r.Name, Timeout: r.options.DrainTimeout, GracePeriod: -1,
		DeleteEmptyDir: r.options.DeleteEmptyDir, Force: r.options.Force, DisableEviction: r.options.DisableEviction,
		Progress: wait.say,
	})
	wait.done(err)
	if err != nil {
		return &fault.Error{Kind: fault.ChangeFailed, Host: r.Name, Op: "drain", Err: err}
	}
	r.emit(report.Event{Kind: report.Notice, Host: r.Name, Message: fmt.Sprintf("drained: %d pods evicted", len(done.Evicted))})
	return nil
}

// leaveEtcd removes the member of the node, decided anew at each step.
func (r *removal) leaveEtcd(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.ReadyTimeout)
	defer cancel()
	for {
		removals, err := r.removals(ctx)
		if err != nil || len(removals) == 0 {
			return err
		}
		if err := r.change(ctx, &member{Host: inventory.Host{Name: r.Name}}, removals[0]); err != nil {
			return &fault.Error{Kind: fault.ChangeFailed, Host: r.Name, Op: r.etcd.phase, Err: err}
		}
	}
}
