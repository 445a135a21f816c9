package kube

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// explain implements explainer: the pods of a workload know why it is not ready.
func (o objectCondition) explain(ctx context.Context) string {
	if !o.pods {
		return ""
	}
	object, err := o.client.resource(o.gvr, o.namespace).Get(ctx, o.name, metav1.GetOptions{})
	if err != nil {
		return ""
	}
	labels, found, err := unstructured.NestedStringMap(object.Object, "spec", "selector", "matchLabels")
	if err != nil || !found || len(labels) == 0 {
		return ""
	}
	pods, err := o.client.pods(ctx, o.namespace, metav1.FormatLabelSelector(&metav1.LabelSelector{MatchLabels: labels}))
	if err != nil {
		return ""
	}
	if len(pods) == 0 {
		return "it has no pods"
	}
	var problems []string
	for _, pod := range pods {
		if problem := podProblem(pod); problem != "" {
			problems = append(problems, problem)
		}
	}
	return strings.Join(problems, "; ")
}

// pods lists pods, sorted by name.
func (c *Client) pods(ctx context.Context, namespace, selector string) ([]corev1.Pod, error) {
	objects, err := c.List(ctx, corev1.SchemeGroupVersion.WithKind("Pod"), namespace, selector)
	if err != nil {
		return nil, err
	}
	pods := make([]corev1.Pod, len(objects))
	for i, object := range objects {
		if detail := typed(object, &pods[i]); detail != "" {
			return nil, fmt.Errorf("list pods in %s: %s", namespace, detail)
		}
	}
	slices.SortFunc(pods, func(a, b corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	return pods, nil
}

// podProblem says why a pod is not at work; empty when it is, or when it has finished well.
func podProblem(pod corev1.Pod) string {
	if pod.Status.Phase == corev1.PodSucceeded || podReady(pod) {
		return ""
	}
	where := "pod " + pod.Name
	if pod.Spec.NodeName != "" {
		where += " on " + pod.Spec.NodeName
	}
	if pod.DeletionTimestamp != nil {
		return where + ": terminating"
	}
	statuses := slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses)
	for _, status := range statuses {
		if reason := containerProblem(status); reason != "" {
			return fmt.Sprintf("%s: container %s: %s", where, status.Name, reason)
		}
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse {
			return where + ": not scheduled: " + condition.Message
		}
	}
	if pod.Status.Phase == corev1.PodRunning {
		return where + ": running but not ready"
	}
	return where + ": " + strings.ToLower(string(pod.Status.Phase))
}

// containerProblem says why a container does not run; empty when it does or may soon.
func containerProblem(status corev1.ContainerStatus) string {
	waiting := status.State.Waiting
	if waiting != nil && waiting.Reason != "ContainerCreating" && waiting.Reason != "PodInitializing" && waiting.Reason != "" {
		out := waiting.Reason
		if waiting.Message != "" {
			out += ": " + waiting.Message
		}
		if last := status.LastTerminationState.Terminated; last != nil {
			out += fmt.Sprintf(" (last exit code %d)", last.ExitCode)
		}
		return out
	}
	if ended := status.State.Terminated; ended != nil && ended.ExitCode != 0 {
		return fmt.Sprintf("exited with code %d (%s)", ended.ExitCode, ended.Reason)
	}
	return ""
}

func podReady(pod corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue && pod.DeletionTimestamp == nil
		}
	}
	return false
}
