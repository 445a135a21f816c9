package kube

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// Object is a Kubernetes object of any kind.
type Object = *unstructured.Unstructured

// Name says which object it is, for people: "Deployment kube-system/coredns", "Node cp1".
func Name(object Object) string {
	name := object.GetName()
	if object.GetNamespace() != "" {
		name = object.GetNamespace() + "/" + name
	}
	return object.GetKind() + " " + name
}

// reference returns an object that carries an identity and nothing else.
func reference(gvk schema.GroupVersionKind, namespace, name string) Object {
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(gvk)
	object.SetNamespace(namespace)
	object.SetName(name)
	return object
}

// Get reads an object; apierrors.IsNotFound tells that there is none.
func (c *Client) Get(ctx context.Context, gvk schema.GroupVersionKind, namespace, name string) (Object, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	wanted := reference(gvk, namespace, name)
	var found Object
	err := c.on(ctx, wanted, func(resource dynamic.ResourceInterface) (err error) {
		found, err = resource.Get(ctx, name, metav1.GetOptions{})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", Name(wanted), err)
	}
	return found, nil
}

// List reads all objects of a kind, in one namespace or, when it is empty, everywhere. The label
// selector may be empty.
func (c *Client) List(ctx context.Context, gvk schema.GroupVersionKind, namespace, selector string) ([]Object, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	gvr, _, _ := c.kinds.guess(gvk)
	list, err := c.resource(gvr, namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if unknownResource(err) {
		if err = c.kinds.ask(ctx, gvk); err == nil {
			gvr, _, _ = c.kinds.guess(gvk)
			list, err = c.resource(gvr, namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
		}
	}
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", gvk.Kind, err)
	}
	objects := make([]Object, 0, len(list.Items))
	for i := range list.Items {
		objects = append(objects, &list.Items[i])
	}
	return objects, nil
}

// Delete removes an object and, in the background, what it owns. apierrors.IsNotFound tells that
// there was none.
func (c *Client) Delete(ctx context.Context, gvk schema.GroupVersionKind, namespace, name string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	background := metav1.DeletePropagationBackground
	wanted := reference(gvk, namespace, name)
	err := c.on(ctx, wanted, func(resource dynamic.ResourceInterface) error {
		return resource.Delete(ctx, name, metav1.DeleteOptions{PropagationPolicy: &background})
	})
	if err != nil {
		return fmt.Errorf("delete %s: %w", Name(wanted), err)
	}
	return nil
}
