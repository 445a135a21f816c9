package kube

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

const (
	// evictionPause is the time between two attempts to evict a pod.
	evictionPause = 2 * time.Second
	// endPoll is how often a pod that was told to end is looked at.
	endPoll = time.Second
)

// choose returns the pods that have to go, or the error that names all that must not.
func (d *drainer) choose(ctx context.Context) ([]corev1.Pod, error) {
	pods, err := d.client.podsOn(ctx, d.in.Node)
	if err != nil {
		return nil, fmt.Errorf("drain node %s: %w", d.in.Node, err)
	}
	var going []corev1.Pod
	var data, bare []string
	for _, pod := range pods {
		if stays(pod) {
			continue
		}
		going = append(going, pod)
		if finished(pod) {
			continue // there is nothing to lose
		}
		if !d.in.DeleteEmptyDir && hasEmptyDir(pod) {
			data = append(data, podName(pod))
		}
		if !d.in.Force && metav1.GetControllerOf(&pod) == nil {
			bare = append(bare, podName(pod))
		}
	}
	var refused []string
	if len(data) > 0 {
		refused = append(refused, "with data in an emptyDir: "+strings.Join(data, ", "))
	}
	if len(bare) > 0 {
		refused = append(refused, "without a controller that makes them anew: "+strings.Join(bare, ", "))
	}
	if len(refused) == 0 {
		return going, nil
	}
	return nil, fmt.Errorf("drain node %s: %w: %s (move them elsewhere or delete them, or drain with leave to lose them)",
		d.in.Node, ErrDrainRefused, strings.Join(refused, "; "))
}

// stays tells whether a pod is left alone: a DaemonSet would make it anew on the same node, and the API
// server only mirrors what the kubelet runs of itself.
func stays(pod corev1.Pod) bool {
	if _, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]; mirror {
		return true
	}
	owner := metav1.GetControllerOf(&pod)
	return owner != nil && owner.Kind == "DaemonSet" && strings.HasPrefix(owner.APIVersion, "apps/") && !finished(pod)
}

func finished(pod corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

func hasEmptyDir(pod corev1.Pod) bool {
	for _, volume := range pod.Spec.Volumes {
		if volume.EmptyDir != nil {
			return true
		}
	}
	return false
}

// evict gets the pods away, all at once: one that is blocked holds up no other. The error is of pods
// that cannot be evicted however long it is tried.
func (d *drainer) evict(ctx context.Context, pods []corev1.Pod) error {
	errs := make([]error, len(pods))
	slots := make(chan struct{}, parallel)
	var all sync.WaitGroup
	for i, pod := range pods {
		all.Go(func() { errs[i] = d.evictOne(ctx, slots, pod) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// evictOne evicts a pod and waits for its end, or for that of ctx, which is no error of the pod's.
// A slot is held while requests are under way.
func (d *drainer) evictOne(ctx context.Context, slots chan struct{}, pod corev1.Pod) error {
	told := false // to end
	for {
		slots <- struct{}{}
		gone, err := false, error(nil)
		if !told {
			err = d.tellToEnd(ctx, pod)
			told = err == nil
		}
		if err == nil || retryable(err) {
			// Also a pod that is blocked may be gone, and another have its name.
			gone, err = d.gone(ctx, pod, err)
		}
		<-slots
		switch {
		case gone, another(err):
			d.tell("pod " + podName(pod) + " is gone")
			return nil
		case ctx.Err() != nil:
			return nil //nolint:nilerr // what is left at the deadline is in the report
		case err != nil && !retryable(err):
			return fmt.Errorf("evict pod %s: %w", podName(pod), err)
		case err != nil:
			d.tell("pod " + podName(pod) + " is tried again: " + explainError(err))
		}
		pause := evictionPause
		if told {
			pause = endPoll
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}

// retryable reports an error that passes; one of them is a budget that blocks the pod. In a
// namespace that is being deleted nothing is evicted, but everything is deleted a little later.
func retryable(err error) bool {
	return Transient(err) || apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause)
}

// another reports that there is no such pod any more, or another one of its name.
func another(err error) bool { return apierrors.IsNotFound(err) || apierrors.IsConflict(err) }

// tellToEnd asks for the end of this very pod: one of the same name that a StatefulSet has made
// elsewhere meanwhile is none of ours.
func (d *drainer) tellToEnd(ctx context.Context, pod corev1.Pod) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	options := metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(pod.UID))}
	if grace := int64(seconds(d.in.GracePeriod)); grace >= 0 {
		options.GracePeriodSeconds = &grace
	}
	pods := d.client.resource(corev1.SchemeGroupVersion.WithResource("pods"), pod.Namespace)
	if d.in.DisableEviction {
		d.tell("deleting pod " + podName(pod))
		return pods.Delete(ctx, pod.Name, options)
	}
	d.tell("evicting pod " + podName(pod))
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&policyv1.Eviction{
		TypeMeta:      metav1.TypeMeta{APIVersion: policyv1.SchemeGroupVersion.String(), Kind: "Eviction"},
		ObjectMeta:    metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name},
		DeleteOptions: &options,
	})
	if err != nil {
		return err
	}
	_, err = pods.Create(ctx, &unstructured.Unstructured{Object: fields}, metav1.CreateOptions{}, "eviction")
	return err
}

// gone tells whether a pod has ended; if it is there, it returns the
// error of what was tried with it before.
func (d *drainer) gone(ctx context.Context, pod corev1.Pod, before error) (bool, error) {
	object, err := d.client.Get(ctx, corev1.SchemeGroupVersion.WithKind("Pod"), pod.Namespace, pod.Name)
	if err != nil {
		return false, err
	}
	var now corev1.Pod
	if detail := typed(object, &now); detail != "" {
		return false, errors.New(detail)
	}
	return now.UID != pod.UID, before
}

// seconds rounds up: half a second must not become none, which means something else. Anything
// negative is -1.
func seconds(d time.Duration) int {
	if d < 0 {
		return -1
	}
	return int((d + time.Second - 1) / time.Second)
}
