package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
)

// ErrDrainRefused is what the error of Drain wraps when it has named pods that must not be lost.
var ErrDrainRefused = errors.New("it has pods that would be lost")

// DrainInput says what is drained, and what may be lost by it.
type DrainInput struct {
	// Node is the name of the node.
	Node string
	// Timeout bounds the whole drain; it must be positive.
	Timeout time.Duration
	// GracePeriod is the time that pods get to end, in whole seconds rounded up. Zero kills at
	// once, a negative one leaves each pod its own.
	GracePeriod time.Duration
	// DeleteEmptyDir allows pods with an emptyDir, whose content is lost.
	DeleteEmptyDir bool
	// Force allows pods that no controller makes anew elsewhere.
	Force bool
	// DisableEviction deletes pods, which no PodDisruptionBudget prevents.
	DisableEviction bool
	// Progress hears what happens, every line once; it may be nil.
	Progress func(string)
}

// DrainReport says what became of the pods of a node. Names are of the form namespace/name, sorted.
type DrainReport struct {
	// Cordoned is true when it was this drain that cordoned the node.
	Cordoned bool
	// Evicted are the pods that had to go and are gone.
	Evicted []string
	// Kept are the pods that stay with the node: those of DaemonSets, and static ones.
	Kept []string
	// Left are the pods that had to go and are there.
	Left []LeftPod
}

// LeftPod is a pod that a drain has not got rid of.
type LeftPod struct {
	// Pod is its namespace/name.
	Pod string
	// Terminating is true when it was told to end and has not.
	Terminating bool
	// Budgets are the PodDisruptionBudgets that block its eviction.
	Budgets []DisruptionBudget
}

// DisruptionBudget is a PodDisruptionBudget as it stands.
type DisruptionBudget struct {
	// Name is its namespace/name.
	Name string
	// DisruptionsAllowed is how many of its pods may be evicted now, CurrentHealthy how many of
	// them are healthy, DesiredHealthy how many must be.
	DisruptionsAllowed, CurrentHealthy, DesiredHealthy int32
}

// Drain cordons a node and evicts its pods, but for those of DaemonSets and static ones. What a
// PodDisruptionBudget blocks is tried again until the time is over; the error then unwraps to
// context.DeadlineExceeded and names the pods that are left and what blocks them. Pods with data in
// an emptyDir and pods without a controller are refused unless they are allowed, all of them in one
// error that wraps ErrDrainRefused, before anything is changed. The report is as complete as can be
// also when there is an error. The node stays cordoned, and apierrors.IsNotFound tells that there is
// no such node.
func (c *Client) Drain(ctx context.Context, in DrainInput) (DrainReport, error) {
	if in.Timeout <= 0 {
		return DrainReport{}, fmt.Errorf("drain node %s: the time limit is %s, it must be positive", in.Node, in.Timeout)
	}
	begun := time.Now()
	ctx, cancel := context.WithTimeout(ctx, in.Timeout)
	defer cancel()
	d := &drainer{client: c, in: in, heard: map[string]bool{}}
	if _, err := d.choose(ctx); err != nil {
		return DrainReport{}, err
	}
	cordoned, err := c.Cordon(ctx, in.Node)
	if err != nil {
		return DrainReport{}, fmt.Errorf("cordon node %s: %w", in.Node, err)
	}
	// The scheduler may have been faster than the cordon.
	pods, err := d.choose(ctx)
	if err != nil {
		return DrainReport{Cordoned: cordoned}, err
	}
	failure := d.evict(ctx, pods)
	took := time.Since(begun).Round(100 * time.Millisecond)
	report, err := d.settle(ctx, pods)
	report.Cordoned = cordoned
	failure = errors.Join(failure, err)
	if failure == nil && (ctx.Err() == nil || len(report.Left) == 0) {
		report.keepLeft()
		return report, nil
	}
	if ctx.Err() == nil {
		return report, fmt.Errorf("drain node %s: %w; %s", in.Node, failure, report.rest())
	}
	cause := ctx.Err()
	if failure != nil {
		cause = fmt.Errorf("%w: %w", cause, failure)
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return report, fmt.Errorf("drain node %s: %w; %s", in.Node, cause, report.rest())
	}
	return report, fmt.Errorf("node %s was not drained in %s: %w; %s (%s)",
		in.Node, took, cause, report.rest(), report.remedy())
}

// drainer is a drain under way.
type drainer struct {
	client *Client
	in     DrainInput

	mu    sync.Mutex
	heard map[string]bool
}

// tell reports progress; what is tried again is told once.
func (d *drainer) tell(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.in.Progress == nil || d.heard[line] {
		return
	}
	d.heard[line] = true
	d.in.Progress(line)
}

// settle looks what became of the pods that had to go. The time of the drain may be over, but what
// it has come to is worth a few seconds more. What cannot be looked at is not called gone.
func (d *drainer) settle(ctx context.Context, pods []corev1.Pod) (DrainReport, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), explainTimeout)
	defer cancel()
	var report DrainReport
	present, err := d.client.podsOn(ctx, d.in.Node)
	if err != nil {
		for _, pod := range pods {
			report.Left = append(report.Left, LeftPod{Pod: podName(pod)})
		}
		return report, fmt.Errorf("it is not known which pods are left: %w", err)
	}
	rest := map[types.UID]corev1.Pod{}
	for _, pod := range present {
		rest[pod.UID] = pod
	}
	var left []corev1.Pod
	for _, pod := range pods {
		if now, ok := rest[pod.UID]; ok {
			left = append(left, now)
			delete(rest, pod.UID)
		} else {
			report.Evicted = append(report.Evicted, podName(pod))
		}
	}
	for _, pod := range rest {
		report.Kept = append(report.Kept, podName(pod))
	}
	slices.Sort(report.Kept)
	report.Left, err = d.explain(ctx, left)
	return report, err
}

// keepLeft counts the pods that are there after all as kept: they were not waited for.
func (r *DrainReport) keepLeft() {
	for _, pod := range r.Left {
		r.Kept = append(r.Kept, pod.Pod)
	}
	slices.Sort(r.Kept)
	r.Left = nil
}

// rest says which pods are left, and why.
func (r DrainReport) rest() string {
	if len(r.Left) == 0 {
		return "no pod is left"
	}
	texts := make([]string, len(r.Left))
	for i, pod := range r.Left {
		texts[i] = pod.String()
	}
	return "left: " + strings.Join(texts, "; ")
}

// remedy says what to do about the pods that are left.
func (r DrainReport) remedy() string {
	var blocked, terminating, other bool
	for _, pod := range r.Left {
		switch {
		case len(pod.Budgets) > 0:
			blocked = true
		case pod.Terminating:
			terminating = true
		default:
			other = true
		}
	}
	var remedies []string
	if blocked {
		remedies = append(remedies, "a blocked pod can go once more pods of its budget are healthy elsewhere: look why they are not, or lower the budget; to delete pods without eviction heeds no budget")
	}
	if terminating {
		remedies = append(remedies, "a pod that does not end has a long grace period, a finalizer, or a kubelet that does not answer: kubectl describe pod tells which")
	}
	if other || len(remedies) == 0 {
		remedies = append(remedies, "drain again with a longer time limit")
	}
	return strings.Join(remedies, "; ")
}

// String says why the pod is left, as far as is known.
func (p LeftPod) String() string {
	texts := make([]string, len(p.Budgets))
	for i, budget := range p.Budgets {
		texts[i] = budget.String()
	}
	switch {
	case len(texts) > 1:
		return p.Pod + ", blocked by more than one PodDisruptionBudget: " + strings.Join(texts, ", ")
	case len(texts) == 1:
		return p.Pod + ", blocked by PodDisruptionBudget " + texts[0]
	case p.Terminating:
		return p.Pod + ", terminating"
	default:
		return p.Pod
	}
}

// String says what the budget allows, and why.
func (b DisruptionBudget) String() string {
	return fmt.Sprintf("%s (allows %d disruptions, %d pods healthy, %d must be)",
		b.Name, b.DisruptionsAllowed, b.CurrentHealthy, b.DesiredHealthy)
}

// podsOn lists the pods of a node, sorted by name.
func (c *Client) podsOn(ctx context.Context, node string) ([]corev1.Pod, error) {
	var pods []corev1.Pod
	err := c.patiently(ctx, func() error {
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		list, err := c.resource(corev1.SchemeGroupVersion.WithResource("pods"), "").List(ctx, metav1.ListOptions{
			FieldSelector: fields.OneTermEqualSelector("spec.nodeName", node).String(),
		})
		if err != nil {
			return fmt.Errorf("list the pods of node %s: %w", node, err)
		}
		pods = make([]corev1.Pod, len(list.Items))
		for i := range list.Items {
			if detail := typed(&list.Items[i], &pods[i]); detail != "" {
				return fmt.Errorf("list the pods of node %s: %s", node, detail)
			}
		}
		return nil
	})
	slices.SortFunc(pods, func(a, b corev1.Pod) int { return strings.Compare(podName(a), podName(b)) })
	return pods, err
}

func podName(pod corev1.Pod) string { return pod.Namespace + "/" + pod.Name }
