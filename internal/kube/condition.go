package kube

import (
	"context"
	"errors"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
)

// APIHealthy is met when the API server is alive (/livez).
func (c *Client) APIHealthy() Condition { return endpoint{c, "/livez", "healthy"} }

// APIReady is met when the API server is ready for requests (/readyz), its start-up hooks included.
func (c *Client) APIReady() Condition { return endpoint{c, "/readyz", "ready"} }

// APIOpen is met when the API server takes objects from an administrator: when it is ready, or is but for its default
// roles, which it takes a second before it begins to write and then up to seconds, and needs for others only.
func (c *Client) APIOpen() Condition { return opening{endpoint{c, "/readyz", "ready"}} }

// opening is the readiness of an API server for administrators.
type opening struct{ endpoint }

// defaultRoles is the check of an API server whose default roles are not all written.
const defaultRoles = "poststarthook/rbac/bootstrap-roles"

// Check implements Condition.
func (o opening) Check(ctx context.Context) (bool, string, error) {
	done, detail, err := o.endpoint.Check(ctx)
	if done || detail != defaultRoles {
		return done, detail, err
	}
	// It makes these beside its hooks, and no check tells of them.
	for _, namespace := range []string{metav1.NamespaceSystem, metav1.NamespacePublic} {
		if _, err := o.client.get(ctx, "/api/v1/namespaces/"+namespace); err != nil {
			return false, "namespace " + namespace, err
		}
	}
	return true, "", nil
}

// endpoint is a health endpoint of the API server.
type endpoint struct {
	client     *Client
	path, what string
}

func (e endpoint) String() string {
	return fmt.Sprintf("the API server at %s to be %s", e.client.server.Host, e.what)
}

func (e endpoint) Check(ctx context.Context) (bool, string, error) {
	body, err := e.client.get(ctx, e.path)
	if err == nil {
		return true, "", nil
	}
	// An unhealthy server lists its checks, the failed ones as "[-]etcd failed: reason withheld".
	var failed []string
	for line := range strings.Lines(string(body)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "[-]"); ok {
			name, _, _ = strings.Cut(name, ":")
			failed = append(failed, strings.TrimSuffix(name, " failed"))
		}
	}
	return false, strings.Join(failed, ", "), err
}

// objectCondition waits for one object to satisfy judge. It watches.
type objectCondition struct {
	client          *Client
	what            string
	gvr             schema.GroupVersionResource
	namespace, name string
	judge           func(Object) (done bool, detail string)
	pods            bool // the object is a workload; its pods tell why it is not ready
}

func (o objectCondition) String() string { return o.what }

// absent is the detail of an object that is not there: not yet, or no more.
const absent = "it does not exist"

// Check implements Condition.
func (o objectCondition) Check(ctx context.Context) (bool, string, error) {
	object, err := o.client.resource(o.gvr, o.namespace).Get(ctx, o.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, absent, nil
	}
	if err != nil {
		return false, "", err
	}
	done, detail := o.judge(object)
	return done, detail, nil
}

var errWatchEnded = errors.New("the watch ended")

// watch implements watcher. A list tells where to begin, so nothing between look and watch is lost.
func (o objectCondition) watch(ctx context.Context, seen func(string)) error {
	resource := o.client.resource(o.gvr, o.namespace)
	options := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", o.name).String()}
	listCtx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	list, err := resource.List(listCtx, options)
	if err != nil {
		return err
	}
	if len(list.Items) == 0 {
		seen(absent) // as after a deletion that no event will tell of
	}
	for i := range list.Items {
		done, detail := o.judge(&list.Items[i])
		if done {
			return nil
		}
		seen(detail)
	}
	options.ResourceVersion = list.GetResourceVersion()
	events, err := resource.Watch(ctx, options)
	if err != nil {
		return err
	}
	defer events.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case event, ok := <-events.ResultChan():
			if !ok || event.Type == watch.Error {
				return errWatchEnded
			}
			object, ok := event.Object.(*unstructured.Unstructured)
			if !ok {
				continue
			}
			if event.Type == watch.Deleted {
				seen(absent)
				continue
			}
			done, detail := o.judge(object)
			if done {
				return nil
			}
			seen(detail)
		}
	}
}

// NodeRegistered is met when the node exists.
func (c *Client) NodeRegistered(name string) Condition {
	return objectCondition{client: c, what: "node " + name + " to register", gvr: nodes(), name: name,
		judge: func(Object) (bool, string) { return true, "" }}
}

// NodeReady is met when the node reports Ready.
func (c *Client) NodeReady(name string) Condition {
	return objectCondition{client: c, what: "node " + name + " to be ready", gvr: nodes(), name: name, judge: judgeNode}
}

// DeploymentAvailable is met when every replica of the current revision is available.
func (c *Client) DeploymentAvailable(namespace, name string) Condition {
	return objectCondition{client: c, what: fmt.Sprintf("Deployment %s/%s to be available", namespace, name),
		gvr:       schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"},
		namespace: namespace, name: name, judge: judgeDeployment, pods: true}
}

// DaemonSetReady is met when at least one node takes the DaemonSet, and its current revision is
// available on every node that does.
func (c *Client) DaemonSetReady(namespace, name string) Condition {
	return objectCondition{client: c, what: fmt.Sprintf("DaemonSet %s/%s to be ready", namespace, name),
		gvr:       schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "daemonsets"},
		namespace: namespace, name: name, judge: judgeDaemonSet(1), pods: true}
}

// DaemonSetRolledOut is met when the current revision of a DaemonSet is available on every node that takes it, of
// which there may be none.
func (c *Client) DaemonSetRolledOut(namespace, name string) Condition {
	return objectCondition{client: c, what: fmt.Sprintf("DaemonSet %s/%s to be rolled out", namespace, name),
		gvr:       schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "daemonsets"},
		namespace: namespace, name: name, judge: judgeDaemonSet(0), pods: true}
}

// StatefulSetReady is met when all replicas of the current revision of a StatefulSet are ready.
func (c *Client) StatefulSetReady(namespace, name string) Condition {
	return objectCondition{client: c, what: fmt.Sprintf("StatefulSet %s/%s to be ready", namespace, name),
		gvr:       schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "statefulsets"},
		namespace: namespace, name: name, judge: judgeStatefulSet, pods: true}
}

// DefinitionEstablished is met when the objects of a CustomResourceDefinition are served.
func (c *Client) DefinitionEstablished(name string) Condition {
	return objectCondition{client: c, what: "CustomResourceDefinition " + name + " to be established",
		gvr:  schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"},
		name: name, judge: judgeDefinition}
}

func nodes() schema.GroupVersionResource {
	return corev1.SchemeGroupVersion.WithResource("nodes")
}

func judgeNode(object Object) (bool, string) {
	var node corev1.Node
	if detail := typed(object, &node); detail != "" {
		return false, detail
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type != corev1.NodeReady {
			continue
		}
		if condition.Status == corev1.ConditionTrue {
			return true, ""
		}
		return false, condition.Reason + ": " + condition.Message
	}
	return false, "the kubelet has not reported yet"
}

func judgeDeployment(object Object) (bool, string) {
	var deployment appsv1.Deployment
	if detail := typed(object, &deployment); detail != "" {
		return false, detail
	}
	if deployment.Status.ObservedGeneration < deployment.Generation {
		return false, "its latest change has not been seen by the controller yet"
	}
	want := int32(1)
	if deployment.Spec.Replicas != nil {
		want = *deployment.Spec.Replicas
	}
	status := deployment.Status
	if status.UpdatedReplicas >= want && status.AvailableReplicas >= want && status.Replicas <= want {
		return true, ""
	}
	detail := fmt.Sprintf("%d of %d replicas updated, %d available", status.UpdatedReplicas, want, status.AvailableReplicas)
	if status.Replicas > want {
		detail += fmt.Sprintf(", %d old to go", status.Replicas-want)
	}
	return false, detail
}

// judgeDaemonSet wants at least a number of nodes to take it.
func judgeDaemonSet(least int32) func(Object) (bool, string) {
	return func(object Object) (bool, string) {
		var set appsv1.DaemonSet
		if detail := typed(object, &set); detail != "" {
			return false, detail
		}
		status := set.Status
		if status.ObservedGeneration < set.Generation {
			return false, "its latest change has not been seen by the controller yet"
		}
		want := status.DesiredNumberScheduled
		if want < least {
			return false, "no node takes it yet"
		}
		if status.UpdatedNumberScheduled >= want && status.NumberAvailable >= want {
			return true, ""
		}
		return false, fmt.Sprintf("on %d of %d nodes updated, available on %d", status.UpdatedNumberScheduled, want, status.NumberAvailable)
	}
}

func judgeStatefulSet(object Object) (bool, string) {
	var set appsv1.StatefulSet
	if detail := typed(object, &set); detail != "" {
		return false, detail
	}
	status := set.Status
	if status.ObservedGeneration < set.Generation {
		return false, "its latest change has not been seen by the controller yet"
	}
	want := int32(1)
	if set.Spec.Replicas != nil {
		want = *set.Spec.Replicas
	}
	// Pods that are changed only when somebody deletes them are of the old revision for as long as that takes.
	updated := status.UpdatedReplicas
	if set.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType {
		updated = want
	}
	if updated >= want && status.ReadyReplicas >= want {
		return true, ""
	}
	return false, fmt.Sprintf("%d of %d replicas updated, %d ready", status.UpdatedReplicas, want, status.ReadyReplicas)
}

func judgeDefinition(object Object) (bool, string) {
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, it := range conditions {
		condition, _ := it.(map[string]any)
		if condition["status"] == "True" && condition["type"] == "Established" {
			return true, ""
		}
		if condition["status"] == "False" {
			return false, fmt.Sprintf("%v: %v", condition["reason"], condition["message"])
		}
	}
	return false, "it is not served yet"
}

// typed converts an object; a failure becomes a detail.
func typed(object Object, into any) string {
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, into); err != nil {
		return "the API server's answer cannot be read: " + err.Error()
	}
	return ""
}
