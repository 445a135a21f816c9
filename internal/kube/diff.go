package kube

import (
	"context"
	"errors"
	"fmt"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
)

// Action is what has to happen to an object.
type Action int

const (
	// Keep: the object is as wanted.
	Keep Action = iota
	// Create: there is no such object, or its kind or namespace does not exist yet.
	Create
	// Update: the object differs.
	Update
)

// String returns the action as a plan prints it.
func (a Action) String() string {
	switch a {
	case Keep:
		return "keep"
	case Create:
		return "create"
	case Update:
		return "update"
	default:
		return fmt.Sprintf("Action(%d)", int(a))
	}
}

// ObjectChange is the difference between a wanted object and the cluster.
type ObjectChange struct {
	Object Object
	Action Action
	// Fields lists what an Update changes, in the order of their paths.
	Fields []FieldChange
}

// Diff compares objects with the cluster. The API server itself computes what each object would be
// after a server-side apply (a dry run), so its defaults, admission and field ownership are part of
// the answer, and an object it would refuse is an error now and not in the middle of an apply. Only
// the taints of a Node, which have many owners, are compared here. The changes come in the order of
// the objects; the errors of all objects are joined.
func (c *Client) Diff(ctx context.Context, objects []Object) ([]ObjectChange, error) {
	changes := make([]ObjectChange, len(objects))
	err := each(objects, func(i int, object Object) error {
		change, err := c.diff(ctx, object)
		changes[i] = change
		if err != nil {
			return fmt.Errorf("compare %s: %w", Name(object), err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return changes, nil
}

// diff reads the object and applies it on trial at the same time.
func (c *Client) diff(ctx context.Context, object Object) (ObjectChange, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var live, trial Object
	var liveErr, trialErr error
	var both sync.WaitGroup
	both.Go(func() {
		liveErr = c.on(ctx, object, func(resource dynamic.ResourceInterface) (err error) {
			live, err = resource.Get(ctx, object.GetName(), metav1.GetOptions{})
			return err
		})
	})
	both.Go(func() { trial, trialErr = c.apply(ctx, object, metav1.DryRunAll) })
	both.Wait()

	create := ObjectChange{Object: object, Action: Create}
	switch {
	case errors.Is(trialErr, errNoKind), missingNamespace(trialErr, object.GetNamespace()):
		return create, nil
	case trialErr != nil:
		return ObjectChange{}, trialErr
	case apierrors.IsNotFound(liveErr):
		return create, nil
	case liveErr != nil:
		return ObjectChange{}, liveErr
	}
	fields := c.digests.compare(live, trial)
	if isNode(object) {
		taints, err := taintChange(live, object)
		if err != nil {
			return ObjectChange{}, err
		}
		fields = append(withoutEmptyRecord(live, fields), taints...)
	}
	if len(fields) == 0 {
		return ObjectChange{Object: object, Action: Keep}, nil
	}
	return ObjectChange{Object: object, Action: Update, Fields: fields}, nil
}

// apply sends a server-side apply. Conflicts are forced: what we set is ours, whoever set it last.
func (c *Client) apply(ctx context.Context, object Object, dryRun ...string) (Object, error) {
	sent := sendable(object)
	if isNode(object) {
		if err := takeTaints(sent); err != nil {
			return nil, err
		}
	}
	var result Object
	err := c.on(ctx, object, func(resource dynamic.ResourceInterface) (err error) {
		result, err = resource.Apply(ctx, object.GetName(), sent,
			metav1.ApplyOptions{FieldManager: FieldManager, Force: true, DryRun: dryRun})
		return err
	})
	return result, err
}

// sendable returns the object without what the API server alone writes; generated manifests carry
// an empty status and creationTimestamp, and applying them would claim those fields.
func sendable(object Object) Object {
	out := object.DeepCopy()
	unstructured.RemoveNestedField(out.Object, "status")
	for _, field := range []string{"managedFields", "creationTimestamp", "resourceVersion", "uid", "generation", "selfLink"} {
		unstructured.RemoveNestedField(out.Object, "metadata", field)
	}
	return out
}

// each calls do for every object, a bounded number at a time, and joins the errors in order.
func each(objects []Object, do func(i int, object Object) error) error {
	errs := make([]error, len(objects))
	slots := make(chan struct{}, parallel)
	var all sync.WaitGroup
	for i, object := range objects {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			errs[i] = do(i, object)
		})
	}
	all.Wait()
	return errors.Join(errs...)
}
