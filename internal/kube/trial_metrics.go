package kube

import (
	"context"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// metrics asks for the measurements of every node, and of pods.
func (t *trial) metrics(ctx context.Context) (string, error) {
	pods := 0
	err := persist(ctx, "metrics.k8s.io", func(ctx context.Context) error {
		nodes, err := t.measured(ctx, "nodes")
		if err != nil {
			return err
		}
		var missing []string
		for _, node := range t.in.Nodes {
			if !slices.Contains(nodes, node.Name) {
				missing = append(missing, node.Name)
			}
		}
		if len(missing) > 0 {
			return said{"nothing is measured yet of " + strings.Join(missing, ", ")}
		}
		measured, err := t.measured(ctx, "pods")
		if err == nil && len(measured) == 0 {
			err = said{"nothing is measured yet of any pod"}
		}
		pods = len(measured)
		return err
	})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d nodes and %d pods are measured", len(t.in.Nodes), pods), nil
}

// measured lists the names of what is measured of a kind.
func (t *trial) measured(ctx context.Context, resource string) ([]string, error) {
	var list metav1.PartialObjectMetadataList
	if err := t.client.getJSON(ctx, "/apis/metrics.k8s.io/v1beta1/"+resource, &list); err != nil {
		return nil, err
	}
	names := make([]string, 0, len(list.Items))
	for _, item := range list.Items {
		names = append(names, item.Name)
	}
	return names, nil
}
