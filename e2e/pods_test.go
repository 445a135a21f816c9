//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

const (
	image      = registry + "/testserver:v1"
	testserver = "/usr/local/bin/testserver" // the program in the image
	serverPort = 8080
)

// serverSpec is a pod that serves HTTP and answers with its own name.
func serverSpec(args ...string) corev1.PodSpec {
	grace := int64(1)
	return corev1.PodSpec{
		TerminationGracePeriodSeconds: &grace,
		Containers: []corev1.Container{{
			Name: "server", Image: image, Args: append([]string{"serve"}, args...),
			Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: serverPort}},
			ReadinessProbe: &corev1.Probe{
				PeriodSeconds: 1,
				ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
					Path: "/healthz", Port: intstr.FromString("http"),
				}},
			},
		}},
	}
}

// onNode pins a pod to a node, whatever its taints, through the scheduler.
func onNode(spec corev1.PodSpec, node string) corev1.PodSpec {
	spec.NodeSelector = map[string]string{corev1.LabelHostname: node}
	return tolerant(spec)
}

// tolerant lets a pod run on every node, the control plane too.
func tolerant(spec corev1.PodSpec) corev1.PodSpec {
	spec.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}}
	return spec
}

// run makes a pod and does not wait for it.
func (c *cluster) run(t testing.TB, namespace, name string, spec corev1.PodSpec) *corev1.Pod {
	t.Helper()
	pod, err := c.client.CoreV1().Pods(namespace).Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": name}}, Spec: spec,
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return pod
}

// start makes a pod and waits until it is ready.
func (c *cluster) start(t testing.TB, namespace, name string, spec corev1.PodSpec) *corev1.Pod {
	t.Helper()
	c.run(t, namespace, name, spec)
	return c.ready(t, c.pods(namespace).named(name), 1)[0]
}

// serverOnEach starts a server on every node and returns the pods by node.
func (c *cluster) serverOnEach(t testing.TB, namespace string, args ...string) map[string]*corev1.Pod {
	t.Helper()
	var names []string
	for _, n := range c.nodes(t) {
		name := "on-" + n.Name
		c.run(t, namespace, name, onNode(serverSpec(args...), n.Name))
		names = append(names, name)
	}
	pods := map[string]*corev1.Pod{}
	for _, p := range c.ready(t, c.pods(namespace).labelled("app in ("+strings.Join(names, ",")+")"), len(names)) {
		pods[p.Spec.NodeName] = p
	}
	return pods
}

// ready waits for n ready pods, and no others beside those on their way out.
func (c *cluster) ready(t testing.TB, pods watched, n int) []*corev1.Pod {
	t.Helper()
	var alive []*corev1.Pod
	await(t, pods, podTimeout, func(all []*corev1.Pod) string {
		alive = nil
		var missing []string
		for _, p := range all {
			if p.DeletionTimestamp != nil {
				continue
			}
			alive = append(alive, p)
			if !isReady(p) {
				missing = append(missing, describe(p))
			}
		}
		if len(alive) != n {
			missing = append(missing, fmt.Sprintf("%d pods instead of %d", n, len(alive)))
		}
		return strings.Join(missing, "; ")
	})
	return alive
}

func isReady(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// describe says how a pod is, in a line.
func describe(p *corev1.Pod) string {
	text := fmt.Sprintf("%s/%s on %q is %s", p.Namespace, p.Name, p.Spec.NodeName, p.Status.Phase)
	for _, s := range p.Status.ContainerStatuses {
		if s.State.Waiting != nil {
			text += fmt.Sprintf(" (%s: %s %s)", s.Name, s.State.Waiting.Reason, s.State.Waiting.Message)
		}
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status != corev1.ConditionTrue {
			text += ": " + c.Message
		}
	}
	return text
}

// succeeded waits for a pod to run to its end, and returns what it printed.
func (c *cluster) succeeded(t testing.TB, pod *corev1.Pod) string {
	t.Helper()
	await(t, c.pods(pod.Namespace).named(pod.Name), podTimeout, func(pods []*corev1.Pod) string {
		if len(pods) == 1 && pods[0].Status.Phase == corev1.PodSucceeded {
			return ""
		}
		if len(pods) == 1 {
			return describe(pods[0])
		}
		return "the pod"
	})
	out, err := c.client.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{}).DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// deploy makes a Deployment of servers.
func (c *cluster) deploy(t testing.TB, namespace, name string, replicas int32, spec corev1.PodSpec) {
	t.Helper()
	labels := map[string]string{"app": name}
	_, err := c.client.AppsV1().Deployments(namespace).Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: spec},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// expose makes a Service for the pods labelled app=name, on port 80.
func (c *cluster) expose(t testing.TB, namespace, name string, change func(*corev1.ServiceSpec)) *corev1.Service {
	t.Helper()
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": name},
			Ports:    []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromString("http")}},
		},
	}
	if change != nil {
		change(&service.Spec)
	}
	service, err := c.client.CoreV1().Services(namespace).Create(t.Context(), service, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return service
}

// deletePod deletes a pod at once.
func (c *cluster) deletePod(ctx context.Context, t testing.TB, pod *corev1.Pod) {
	t.Helper()
	if err := c.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, *metav1.NewDeleteOptions(1)); err != nil {
		t.Fatal(err)
	}
}

// startedAfter tells whether all containers of a ready pod began to run after a time. What the
// API says of a host that just came back may date from before.
func startedAfter(p *corev1.Pod, begun time.Time) bool {
	for _, s := range p.Status.ContainerStatuses {
		if s.State.Running == nil || s.State.Running.StartedAt.Time.Before(begun) {
			return false
		}
	}
	return isReady(p)
}
