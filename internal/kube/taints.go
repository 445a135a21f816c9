package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"kubewright/internal/taint"
	"kubewright/inventory"
)

// In server-side apply the taints of a Node are one value with one owner. Applied like the rest of
// the object, ours would take away what a cordon or the node lifecycle controllers have put there,
// and theirs ours. So they are left out of what is applied, and merged: see package taint.

func isNode(object Object) bool {
	gvk := object.GroupVersionKind()
	return gvk.Group == "" && gvk.Kind == "Node"
}

// takeTaints replaces the taints of a Node that will be applied by the record of them.
func takeTaints(node Object) error {
	taints, err := taintsOf(node)
	if err != nil {
		return err
	}
	unstructured.RemoveNestedField(node.Object, "spec", "taints")
	if spec, _, _ := unstructured.NestedMap(node.Object, "spec"); len(spec) == 0 {
		unstructured.RemoveNestedField(node.Object, "spec")
	}
	return unstructured.SetNestedField(node.Object, taint.Record(taints), "metadata", "annotations", taint.Annotation)
}

// taintsOf reads the taints of a Node.
func taintsOf(node Object) ([]inventory.Taint, error) {
	entries, _, err := unstructured.NestedSlice(node.Object, "spec", "taints")
	if err != nil {
		return nil, err
	}
	taints := make([]inventory.Taint, len(entries))
	for i, entry := range entries {
		fields, ok := entry.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("spec.taints[%d] is not an object", i)
		}
		taints[i].Key, _, _ = unstructured.NestedString(fields, "key")
		taints[i].Value, _, _ = unstructured.NestedString(fields, "value")
		taints[i].Effect, _, _ = unstructured.NestedString(fields, "effect")
	}
	return taints, nil
}

// mergeTaints returns the taints that the live Node has, and those it should have.
func mergeTaints(live, wanted Object) (have, want []inventory.Taint, err error) {
	if have, err = taintsOf(live); err != nil {
		return nil, nil, err
	}
	ours, err := taintsOf(wanted)
	if err != nil {
		return nil, nil, err
	}
	owned, err := taint.ParseRecord(live.GetAnnotations()[taint.Annotation])
	if err != nil {
		return nil, nil, fmt.Errorf("annotation %s cannot be read (correct it, or disown the taints with `kubectl annotate node %s %s-`): %w",
			taint.Annotation, live.GetName(), taint.Annotation, err)
	}
	return have, taint.Merge(have, owned, ours), nil
}

// taintChange says how the taints of the live Node would change; nil when they would not.
func taintChange(live, wanted Object) ([]FieldChange, error) {
	have, want, err := mergeTaints(live, wanted)
	if err != nil || slices.Equal(have, want) {
		return nil, err
	}
	show := func(taints []inventory.Taint) string {
		if len(taints) == 0 {
			return ""
		}
		texts := make([]any, len(taints))
		for i, t := range taints {
			texts[i] = t.String()
		}
		return encode(texts)
	}
	return []FieldChange{{Path: "spec.taints", Old: show(have), New: show(want)}}, nil
}

// withoutEmptyRecord leaves out a change that would only note on a Node without a record that no
// taint is ours: a Node says so by having none, as after it was deleted and registered anew.
func withoutEmptyRecord(live Object, fields []FieldChange) []FieldChange {
	if _, recorded := live.GetAnnotations()[taint.Annotation]; recorded {
		return fields
	}
	return slices.DeleteFunc(fields, func(f FieldChange) bool {
		return strings.HasSuffix(f.Path, `annotations["`+taint.Annotation+`"]`) && strings.Trim(f.New, `"`) == ""
	})
}

// applyNode applies a Node, its taints before the rest: the record of them is written with them in
// one request, so an interruption leaves no taint of which nobody knows whose it is. The request is
// refused as a conflict when somebody else has written to the Node since it was read.
func (c *Client) applyNode(ctx context.Context, node Object) error {
	live, err := c.Get(ctx, node.GroupVersionKind(), "", node.GetName())
	if apierrors.IsNotFound(err) {
		live, err = c.apply(ctx, node)
	}
	if err != nil {
		return err
	}
	have, want, err := mergeTaints(live, node)
	if err != nil {
		return err
	}
	if !slices.Equal(have, want) {
		if err := c.writeTaints(ctx, live, node, want); err != nil {
			return fmt.Errorf("taints: %w", err)
		}
	}
	_, err = c.apply(ctx, node)
	return err
}

// writeTaints writes the taints of the live Node, and which of them are those of the wanted one.
func (c *Client) writeTaints(ctx context.Context, live, wanted Object, taints []inventory.Taint) error {
	ours, err := taintsOf(wanted)
	if err != nil {
		return err
	}
	entries, err := taintEntries(live, taints)
	if err != nil {
		return err
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{
			"resourceVersion": live.GetResourceVersion(),
			"annotations":     map[string]any{taint.Annotation: taint.Record(ours)},
		},
		"spec": map[string]any{"taints": entries},
	})
	if err != nil {
		return err
	}
	return c.on(ctx, wanted, func(resource dynamic.ResourceInterface) error {
		_, err := resource.Patch(ctx, wanted.GetName(), types.MergePatchType, patch, metav1.PatchOptions{FieldManager: FieldManager})
		return err
	})
}

// taintEntries spells taints as the API does. A taint that is on the live Node is taken from there:
// it may have more fields, such as the time at which it was added.
func taintEntries(live Object, taints []inventory.Taint) ([]any, error) {
	there, err := taintsOf(live)
	if err != nil {
		return nil, err
	}
	old, _, err := unstructured.NestedSlice(live.Object, "spec", "taints")
	if err != nil {
		return nil, err
	}
	entries := make([]any, len(taints))
	for i, t := range taints {
		if at := slices.Index(there, t); at >= 0 {
			entries[i] = old[at]
		} else {
			entries[i] = taint.Entry(t)
		}
	}
	return entries, nil
}
