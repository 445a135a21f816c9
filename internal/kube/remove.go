package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

// Remove deletes objects, workloads with their pods, and returns when they are gone; an object that is not there
// is as good as deleted. One for which ours is false is somebody else's by now, and stays. It goes in waves,
// each in parallel: first what intercepts requests, then custom resources while their controllers are there to
// clean up, then what runs, what that refers to, the definitions, and last the namespaces. The deadline of ctx bounds
// all of it. What was deleted is told to removed.
func (c *Client) Remove(ctx context.Context, refs []Ref, ours func(Object) bool, removed func(Ref)) error {
	waves := make([][]Object, removalCount)
	for _, ref := range refs {
		it := removalOf(ref)
		waves[it] = append(waves[it], ref.object())
	}
	for _, objects := range waves {
		err := each(objects, func(_ int, object Object) error {
			uid, err := c.removeOne(ctx, object, ours)
			if err != nil || uid == "" {
				return err
			}
			if err := Wait(ctx, gone{c, object, uid}, nil); err != nil {
				return err
			}
			removed(RefOf(object))
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Removable are those objects that Remove would delete: they are there, and ours.
func (c *Client) Removable(ctx context.Context, refs []Ref, ours func(Object) bool) ([]Ref, error) {
	objects := make([]Object, len(refs))
	for i, ref := range refs {
		objects[i] = ref.object()
	}
	there := make([]bool, len(refs))
	err := each(objects, func(i int, object Object) error {
		live, err := c.Get(ctx, object.GroupVersionKind(), object.GetNamespace(), object.GetName())
		if err != nil && !Absent(err) {
			return fmt.Errorf("look at %s: %w", Name(object), err)
		}
		there[i] = err == nil && ours(live)
		return nil
	})
	if err != nil {
		return nil, err
	}
	var found []Ref
	for i, ref := range refs {
		if there[i] {
			found = append(found, ref)
		}
	}
	return found, nil
}

// removal is a wave of Remove.
type removal int

const (
	removeIntercepting removal = iota
	removeCustom
	removeRest
	removeReferenced
	removeDefinitions
	removeNamespaces
	removalCount
)

func removalOf(ref Ref) removal {
	switch waveOf(ref.GroupVersionKind) {
	case waveNamespaces:
		return removeNamespaces
	case waveDefinitions:
		return removeDefinitions
	case waveReferenced:
		return removeReferenced
	case waveIntercepting:
		return removeIntercepting
	default:
	}
	// The groups of Kubernetes have no dot, or end like this.
	if strings.Contains(ref.Group, ".") && !strings.HasSuffix(ref.Group, ".k8s.io") {
		return removeCustom
	}
	return removeRest
}

// removeOne begins to delete an object, and says which it is; "" where there is nothing to wait for.
func (c *Client) removeOne(ctx context.Context, object Object, ours func(Object) bool) (types.UID, error) {
	pause := newBackoff()
	for attempt := 1; ; attempt++ {
		uid, err := c.tryRemove(ctx, object, ours)
		if err == nil {
			return uid, nil
		}
		if attempt == attempts || !Transient(err) || pause.wait(ctx) != nil {
			return "", fmt.Errorf("delete %s: %w", Name(object), err)
		}
	}
}

func (c *Client) tryRemove(ctx context.Context, object Object, ours func(Object) bool) (types.UID, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var uid types.UID
	err := c.on(ctx, object, func(resource dynamic.ResourceInterface) error {
		live, err := resource.Get(ctx, object.GetName(), metav1.GetOptions{})
		if err != nil {
			return err
		}
		if !ours(live) {
			uid = ""
			return nil
		}
		uid = live.GetUID()
		policy := metav1.DeletePropagationBackground
		if group := object.GroupVersionKind().Group; group == "apps" || group == "batch" {
			policy = metav1.DeletePropagationForeground // gone with the pods
		}
		return resource.Delete(ctx, object.GetName(), metav1.DeleteOptions{
			PropagationPolicy: &policy, Preconditions: &metav1.Preconditions{UID: &uid},
		})
	})
	if Absent(err) {
		return "", nil
	}
	return uid, err
}

// Absent tells that an object is not there, or that nobody serves its kind any more.
func Absent(err error) bool {
	return errors.Is(err, errNoKind) || apierrors.IsNotFound(err)
}

// gone is met when an object is there no more, or another of its name.
type gone struct {
	client *Client
	object Object
	uid    types.UID
}

// String implements Condition.
func (g gone) String() string { return Name(g.object) + " to be gone" }

// Check implements Condition.
func (g gone) Check(ctx context.Context) (bool, string, error) {
	live, err := g.client.Get(ctx, g.object.GroupVersionKind(), g.object.GetNamespace(), g.object.GetName())
	switch {
	case Absent(err), err == nil && live.GetUID() != g.uid:
		return true, "", nil
	case err != nil:
		return false, "", err
	}
	holders := slices.DeleteFunc(live.GetFinalizers(), func(f string) bool { return f == metav1.FinalizerDeleteDependents })
	if len(holders) == 0 {
		return false, "it is being deleted", nil
	}
	return false, "it is held by " + strings.Join(holders, ", "), nil
}
