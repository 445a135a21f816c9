package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

const (
	// CordonAnnotation marks a node that was cordoned by kubewright. The API does not tell who has
	// cordoned a node, and somebody who did so by hand does not want it undone.
	CordonAnnotation = "kubewright.io/cordoned-by"

	// controlPlaneLabel is what kubeadm gives the nodes of the control plane, and we too.
	controlPlaneLabel = "node-role.kubernetes.io/control-plane"
)

// NodeSummary is what tells a node of the cluster from one of the inventory.
type NodeSummary struct {
	Name string
	// InternalIP is the first address that the kubelet reports; not valid when there is none.
	InternalIP netip.Addr
	// Ready is what the kubelet last said, or what was concluded from its silence.
	Ready        bool
	ControlPlane bool
}

// Nodes lists the nodes of the cluster, sorted by name.
func (c *Client) Nodes(ctx context.Context) ([]NodeSummary, error) {
	objects, err := c.List(ctx, nodeKind(), "", "")
	if err != nil {
		return nil, err
	}
	nodes := make([]NodeSummary, len(objects))
	for i, object := range objects {
		var node corev1.Node
		if detail := typed(object, &node); detail != "" {
			return nil, fmt.Errorf("list nodes: %s: %s", object.GetName(), detail)
		}
		nodes[i] = summarise(node)
		nodes[i].Ready, _ = judgeNode(object)
	}
	slices.SortFunc(nodes, func(a, b NodeSummary) int { return strings.Compare(a.Name, b.Name) })
	return nodes, nil
}

// HasNode tells whether the cluster has a node of that name.
func (c *Client) HasNode(ctx context.Context, name string) (bool, error) {
	_, err := c.Get(ctx, nodeKind(), "", name)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

func summarise(node corev1.Node) NodeSummary {
	_, controlPlane := node.Labels[controlPlaneLabel]
	summary := NodeSummary{Name: node.Name, ControlPlane: controlPlane}
	for _, address := range node.Status.Addresses {
		if address.Type != corev1.NodeInternalIP {
			continue
		}
		if ip, err := netip.ParseAddr(address.Address); err == nil {
			summary.InternalIP = ip
			break
		}
	}
	return summary
}

// DeleteNode removes a node from the cluster; it is no error when there is none. Its pods are
// collected by the cluster. A kubelet that still runs registers its node again when it is restarted.
func (c *Client) DeleteNode(ctx context.Context, name string) error {
	return c.patiently(ctx, func() error {
		err := c.Delete(ctx, nodeKind(), "", name)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	})
}

// Cordon keeps new pods away from a node, and marks the cordon as ours. A node that is cordoned
// already stays as it is, without the mark if it was somebody else: changed is false then.
// apierrors.IsNotFound tells that there is no such node.
func (c *Client) Cordon(ctx context.Context, node string) (changed bool, err error) {
	return c.setCordon(ctx, node, true)
}

// Uncordon undoes Cordon. A node that somebody else has cordoned stays cordoned: changed is false.
// apierrors.IsNotFound tells that there is no such node.
func (c *Client) Uncordon(ctx context.Context, node string) (changed bool, err error) {
	return c.setCordon(ctx, node, false)
}

// setCordon sets or removes our cordon. The cordon and whose it is are read and written together, so
// they are read again when somebody else was faster.
func (c *Client) setCordon(ctx context.Context, name string, wanted bool) (changed bool, err error) {
	err = c.patiently(ctx, func() error {
		live, err := c.Get(ctx, nodeKind(), "", name)
		if err != nil {
			return err
		}
		var node corev1.Node
		if detail := typed(live, &node); detail != "" {
			return fmt.Errorf("get Node %s: %s", name, detail)
		}
		_, ours := node.Annotations[CordonAnnotation]
		// Our mark goes even if somebody has uncordoned the node: its next cordon may be theirs.
		if wanted && node.Spec.Unschedulable || !wanted && !ours {
			return nil
		}
		if err := c.writeCordon(ctx, live, wanted); err != nil {
			return fmt.Errorf("patch Node %s: %w", name, err)
		}
		changed = node.Spec.Unschedulable != wanted
		return nil
	})
	return changed, err
}

// writeCordon patches the node, if nobody has written to it since it was read.
func (c *Client) writeCordon(ctx context.Context, live Object, cordoned bool) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var unschedulable, mark any // nil removes a field
	if cordoned {
		unschedulable, mark = true, "true"
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{
			"resourceVersion": live.GetResourceVersion(),
			"annotations":     map[string]any{CordonAnnotation: mark},
		},
		"spec": map[string]any{"unschedulable": unschedulable},
	})
	if err != nil {
		return err
	}
	return c.on(ctx, live, func(resource dynamic.ResourceInterface) error {
		_, err := resource.Patch(ctx, live.GetName(), types.MergePatchType, patch, metav1.PatchOptions{FieldManager: FieldManager})
		return err
	})
}

// patiently repeats what the API server could not do for the moment.
func (c *Client) patiently(ctx context.Context, do func() error) error {
	pause := newBackoff()
	for attempt := 1; ; attempt++ {
		err := do()
		if err == nil || attempt == attempts || !Transient(err) || pause.wait(ctx) != nil {
			return err
		}
	}
}

func nodeKind() schema.GroupVersionKind { return corev1.SchemeGroupVersion.WithKind("Node") }
