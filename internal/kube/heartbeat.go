package kube

import (
	"context"
	"fmt"
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Heartbeat returns when the kubelet of a node last renewed the node's Lease, which it does every ten
// seconds, whatever it has to report; by the clock of the node, and the zero time for one that never
// has. A node that was Ready counts as such for most of a minute after its kubelet has died: that the
// kubelet lives shows in its Lease only.
func (c *Client) Heartbeat(ctx context.Context, node string) (time.Time, error) {
	live, err := c.Get(ctx, coordinationv1.SchemeGroupVersion.WithKind("Lease"), corev1.NamespaceNodeLease, node)
	if apierrors.IsNotFound(err) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	var lease coordinationv1.Lease
	if detail := typed(live, &lease); detail != "" {
		return time.Time{}, fmt.Errorf("%s: %s", Name(live), detail)
	}
	if lease.Spec.RenewTime == nil {
		return time.Time{}, nil
	}
	return lease.Spec.RenewTime.Time, nil
}

// Cordoned lists the nodes that bear the mark of our cordon, sorted by name.
func (c *Client) Cordoned(ctx context.Context) ([]string, error) {
	nodes, err := c.List(ctx, nodeKind(), "", "")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, node := range nodes {
		if _, ours := node.GetAnnotations()[CordonAnnotation]; ours {
			names = append(names, node.GetName())
		}
	}
	slices.Sort(names)
	return names, nil
}
