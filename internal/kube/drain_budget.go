package kube

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// explain finds out what blocks the pods that are left.
func (d *drainer) explain(ctx context.Context, pods []corev1.Pod) ([]LeftPod, error) {
	var failure error
	budgets := map[string][]policyv1.PodDisruptionBudget{}
	left := make([]LeftPod, len(pods))
	for i, pod := range pods {
		left[i] = LeftPod{Pod: podName(pod), Terminating: pod.DeletionTimestamp != nil}
		if left[i].Terminating || d.in.DisableEviction || failure != nil {
			continue
		}
		if _, known := budgets[pod.Namespace]; !known {
			budgets[pod.Namespace], failure = d.client.budgets(ctx, pod.Namespace)
		}
		left[i].Budgets = blocking(pod, budgets[pod.Namespace])
	}
	return left, failure
}

// budgets lists the PodDisruptionBudgets of a namespace.
func (c *Client) budgets(ctx context.Context, namespace string) ([]policyv1.PodDisruptionBudget, error) {
	objects, err := c.List(ctx, policyv1.SchemeGroupVersion.WithKind("PodDisruptionBudget"), namespace, "")
	if err != nil {
		return nil, fmt.Errorf("it is not known what blocks the pods in %s: %w", namespace, err)
	}
	budgets := make([]policyv1.PodDisruptionBudget, len(objects))
	for i, object := range objects {
		if detail := typed(object, &budgets[i]); detail != "" {
			return nil, fmt.Errorf("it is not known what blocks the pods in %s: %s: %s", namespace, Name(object), detail)
		}
	}
	return budgets, nil
}

// blocking returns the budgets because of which a pod cannot be evicted now. The API server also
// evicts no pod that has more than one, whatever they allow.
func blocking(pod corev1.Pod, all []policyv1.PodDisruptionBudget) []DisruptionBudget {
	var found []DisruptionBudget
	for _, budget := range all {
		selector, err := metav1.LabelSelectorAsSelector(budget.Spec.Selector)
		if err != nil || !selector.Matches(labels.Set(pod.Labels)) {
			continue // the API server takes no selector that cannot be read
		}
		found = append(found, DisruptionBudget{
			Name:               budget.Namespace + "/" + budget.Name,
			DisruptionsAllowed: budget.Status.DisruptionsAllowed,
			CurrentHealthy:     budget.Status.CurrentHealthy,
			DesiredHealthy:     budget.Status.DesiredHealthy,
		})
	}
	if len(found) == 1 && found[0].DisruptionsAllowed > 0 {
		return nil
	}
	return found
}
