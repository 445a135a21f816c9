package kube_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubewright/internal/kube"
)

// testConditions plays the controllers of a cluster: it writes a status, expects what the wait says
// about it, and in the end that the wait is over almost at once.
func testConditions(t *testing.T, w *world) {
	const workloads = `
apiVersion: v1
kind: Namespace
metadata: {name: conditions}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: conditions}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "web:1"}]}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, namespace: conditions}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec: {containers: [{name: agent, image: "agent:1"}]}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agents, namespace: conditions}
spec:
  selector: {matchLabels: {app: agents}}
  template:
    metadata: {labels: {app: agents}}
    spec: {containers: [{name: agent, image: "agent:1"}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: store, namespace: conditions}
spec:
  replicas: 2
  selector: {matchLabels: {app: store}}
  template:
    metadata: {labels: {app: store}}
    spec: {containers: [{name: store, image: "store:1"}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: by-hand, namespace: conditions}
spec:
  updateStrategy: {type: OnDelete}
  selector: {matchLabels: {app: by-hand}}
  template:
    metadata: {labels: {app: by-hand}}
    spec: {containers: [{name: store, image: "store:1"}]}
---
apiVersion: v1
kind: Node
metadata: {name: node1}
`
	deployment := func(status string) string {
		return "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: conditions}, status: {" + status + "}}"
	}
	daemonSet := func(status string) string {
		return "{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: agent, namespace: conditions}, status: {" + status + "}}"
	}
	statefulSet := func(name, status string) string {
		return "{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: " + name + ", namespace: conditions}, status: {" + status + "}}"
	}
	node := func(status, reason, message string) string {
		return fmt.Sprintf("{apiVersion: v1, kind: Node, metadata: {name: node1}, status: {conditions: [{type: Ready, status: %q, reason: %s, message: %q}]}}",
			status, reason, message)
	}
	type step struct{ status, want string }
	tests := []struct {
		name      string
		condition kube.Condition
		says      string
		steps     []step
		last      string
	}{
		{"node", w.client.NodeReady("node1"), "node node1 to be ready", []step{
			{"", "the kubelet has not reported yet"},
			{node("False", "KubeletNotReady", "cni plugin not initialized"), "KubeletNotReady: cni plugin not initialized"},
			{node("Unknown", "NodeStatusUnknown", "Kubelet stopped posting"), "NodeStatusUnknown: Kubelet stopped posting"},
		}, node("True", "KubeletReady", "")},
		{"deployment", w.client.DeploymentAvailable("conditions", "web"), "Deployment conditions/web to be available", []step{
			{"", "its latest change has not been seen by the controller yet"},
			{deployment("observedGeneration: 1, replicas: 2, updatedReplicas: 2"), "2 of 2 replicas updated, 0 available"},
			{deployment("observedGeneration: 1, replicas: 2, updatedReplicas: 2, readyReplicas: 1, availableReplicas: 1"), "2 of 2 replicas updated, 1 available"},
			{deployment("observedGeneration: 1, replicas: 3, updatedReplicas: 2, readyReplicas: 2, availableReplicas: 2"), "2 of 2 replicas updated, 2 available, 1 old to go"},
		}, deployment("observedGeneration: 1, replicas: 2, updatedReplicas: 2, readyReplicas: 2, availableReplicas: 2")},
		{"daemon set", w.client.DaemonSetReady("conditions", "agent"), "DaemonSet conditions/agent to be ready", []step{
			{"", "its latest change has not been seen by the controller yet"},
			{daemonSet("observedGeneration: 1, desiredNumberScheduled: 0, currentNumberScheduled: 0, numberMisscheduled: 0, numberReady: 0"), "no node takes it yet"},
			{daemonSet("observedGeneration: 1, desiredNumberScheduled: 3, currentNumberScheduled: 3, numberMisscheduled: 0, numberReady: 3, numberAvailable: 3, updatedNumberScheduled: 1"),
				"on 1 of 3 nodes updated, available on 3"},
			{daemonSet("observedGeneration: 1, desiredNumberScheduled: 3, currentNumberScheduled: 3, numberMisscheduled: 0, numberReady: 2, numberAvailable: 2, updatedNumberScheduled: 3"),
				"on 3 of 3 nodes updated, available on 2"},
		}, daemonSet("observedGeneration: 1, desiredNumberScheduled: 3, currentNumberScheduled: 3, numberMisscheduled: 0, numberReady: 3, numberAvailable: 3, updatedNumberScheduled: 3")},
		{"daemon set that no node may take", w.client.DaemonSetRolledOut("conditions", "agents"), "DaemonSet conditions/agents to be rolled out", []step{
			{"", "its latest change has not been seen by the controller yet"},
			{strings.ReplaceAll(daemonSet("observedGeneration: 1, desiredNumberScheduled: 1, currentNumberScheduled: 1, numberMisscheduled: 0, numberReady: 0"), "agent", "agents"),
				"on 0 of 1 nodes updated, available on 0"},
		}, strings.ReplaceAll(daemonSet("observedGeneration: 1, desiredNumberScheduled: 0, currentNumberScheduled: 0, numberMisscheduled: 0, numberReady: 0"), "agent", "agents")},
		{"stateful set", w.client.StatefulSetReady("conditions", "store"), "StatefulSet conditions/store to be ready", []step{
			{"", "its latest change has not been seen by the controller yet"},
			{statefulSet("store", "observedGeneration: 1, replicas: 1, updatedReplicas: 1"), "1 of 2 replicas updated, 0 ready"},
			{statefulSet("store", "observedGeneration: 1, replicas: 2, updatedReplicas: 1, readyReplicas: 2"), "1 of 2 replicas updated, 2 ready"},
			{statefulSet("store", "observedGeneration: 1, replicas: 2, updatedReplicas: 2, readyReplicas: 1"), "2 of 2 replicas updated, 1 ready"},
		}, statefulSet("store", "observedGeneration: 1, replicas: 2, updatedReplicas: 2, readyReplicas: 2")},
		{"stateful set that is updated by hand", w.client.StatefulSetReady("conditions", "by-hand"), "StatefulSet conditions/by-hand to be ready", []step{
			{statefulSet("by-hand", "observedGeneration: 1, replicas: 1, readyReplicas: 0"), "0 of 1 replicas updated, 0 ready"},
		}, statefulSet("by-hand", "observedGeneration: 1, replicas: 1, readyReplicas: 1")},
	}
	apply(t, w.client, decode(t, workloads))
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.condition.String() != test.says {
				t.Errorf("it says %q", test.condition)
			}
			seen, done := make(chan string, 100), make(chan error, 1)
			ctx := within(t, 30*time.Second)
			go func() { done <- kube.Wait(ctx, test.condition, func(detail string) { seen <- detail }) }()
			for _, step := range test.steps {
				if step.status != "" {
					w.setStatus(t, step.status)
				}
				await(t, seen, step.want)
			}
			met := time.Now()
			w.setStatus(t, test.last)
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if took := time.Since(met); took > 5*time.Second {
				t.Errorf("the wait noticed after %s", took)
			}
			if err := kube.Wait(ctx, test.condition, nil); err != nil {
				t.Errorf("waiting for what is there already: %v", err)
			}
		})
	}

	t.Run("a new generation counts as not ready", func(t *testing.T) {
		changed := decode(t, strings.Replace(workloads, "web:1", "web:2", 1))
		apply(t, w.client, changed)
		done, detail, err := w.client.DeploymentAvailable("conditions", "web").Check(t.Context())
		if done || err != nil || detail != "its latest change has not been seen by the controller yet" {
			t.Errorf("%v %q %v", done, detail, err)
		}
	})
	t.Run("deleted under the wait", func(t *testing.T) {
		apply(t, w.client, decode(t, "{apiVersion: v1, kind: Node, metadata: {name: shortlived}}"))
		seen, done := make(chan string, 100), make(chan error, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		go func() {
			done <- kube.Wait(ctx, w.client.NodeReady("shortlived"), func(detail string) { seen <- detail })
		}()
		await(t, seen, "the kubelet has not reported yet")
		if err := w.of(decode(t, "{apiVersion: v1, kind: Node, metadata: {name: x}}")[0]).Delete(ctx, "shortlived", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		await(t, seen, "it does not exist")
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "for node shortlived to be ready: it does not exist") {
			t.Errorf("error is %v", err)
		}
	})
	t.Run("the pods tell why", func(t *testing.T) { testExplanation(t, w) })
	t.Run("no deadline", func(t *testing.T) {
		err := kube.Wait(t.Context(), w.client.NodeReady("node1"), nil)
		if err == nil || !strings.Contains(err.Error(), "the wait has no deadline") {
			t.Errorf("error is %v", err)
		}
	})
}

// testExplanation: a workload that is not ready in time names the pods in its way, and why.
func testExplanation(t *testing.T, w *world) {
	pod := func(name, node, status string) {
		t.Helper()
		object := decode(t, fmt.Sprintf(`{apiVersion: v1, kind: Pod, metadata: {name: %s, namespace: conditions, labels: {app: agent}},
			spec: {nodeName: %q, automountServiceAccountToken: false, containers: [{name: agent, image: "agent:1"}]}}`, name, node))[0]
		if _, err := w.of(object).Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		w.setStatus(t, fmt.Sprintf("{apiVersion: v1, kind: Pod, metadata: {name: %s, namespace: conditions}, status: {%s}}", name, status))
	}
	apply(t, w.client, decode(t, "{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: conditions}}"))
	pod("good", "node1", "phase: Running, conditions: [{type: Ready, status: \"True\"}]")
	pod("pull", "node1", `phase: Pending, containerStatuses: [{name: agent, image: x, imageID: "", ready: false, restartCount: 0,
		state: {waiting: {reason: ImagePullBackOff, message: not found}}}]`)
	pod("crash", "node1", `phase: Running, containerStatuses: [{name: agent, image: x, imageID: "", ready: false, restartCount: 4,
		state: {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: {exitCode: 137, reason: OOMKilled}}}]`)
	pod("nowhere", "", `phase: Pending, conditions: [{type: PodScheduled, status: "False", message: 0/1 nodes are available}]`)
	w.setStatus(t, `{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: agent, namespace: conditions}, status:
		{observedGeneration: 1, desiredNumberScheduled: 3, currentNumberScheduled: 3, numberMisscheduled: 0, numberReady: 1, numberAvailable: 1, updatedNumberScheduled: 3}}`)

	err := kube.Wait(within(t, 300*time.Millisecond), w.client.DaemonSetReady("conditions", "agent"), nil)
	if err == nil {
		t.Fatal("no error")
	}
	want := "on 3 of 3 nodes updated, available on 1 (" +
		"pod crash on node1: container agent: CrashLoopBackOff (last exit code 137); " +
		"pod nowhere: not scheduled: 0/1 nodes are available; " +
		"pod pull on node1: container agent: ImagePullBackOff: not found)"
	if !strings.HasSuffix(err.Error(), want) {
		t.Errorf("error is %v\nwant %s", err, want)
	}
}
