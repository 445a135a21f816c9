//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/kubectl/pkg/drain"
)

// Cordon keeps new pods away from a node, drain moves what is there, as fast as a disruption
// budget allows, and uncordon makes it a node like the others again.
func TestDrain(t *testing.T) {
	c := shared.cluster(t)
	ns := c.namespace(t)
	c.deploy(t, ns, "web", 4, serverSpec())
	pods := c.ready(t, c.pods(ns), 4)
	if _, err := c.client.PolicyV1().PodDisruptionBudgets(ns).Create(t.Context(), &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: policyv1.PodDisruptionBudgetSpec{
			MinAvailable: new(intstr.FromInt32(3)), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
		},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}

	victim := pods[0].Spec.NodeName
	n, err := c.client.CoreV1().Nodes().Get(t.Context(), victim, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	helper := &drain.Helper{
		Ctx: t.Context(), Client: c.client, Force: true, GracePeriodSeconds: -1, IgnoreAllDaemonSets: true,
		DeleteEmptyDirData: true, Timeout: podTimeout, Out: io.Discard, ErrOut: io.Discard,
	}
	afterwards(t, func(t testing.TB) {
		n.Spec.Unschedulable = true // whatever it was when it was read
		if err := drain.RunCordonOrUncordon(&drain.Helper{Ctx: t.Context(), Client: c.client}, n, false); err != nil {
			t.Error(err)
		}
	})
	if err := drain.RunCordonOrUncordon(helper, n, true); err != nil {
		t.Fatal(err)
	}
	if err := drain.RunNodeDrain(helper, victim); err != nil {
		t.Fatal(err)
	}
	for _, p := range c.ready(t, c.pods(ns), 4) {
		if p.Spec.NodeName == victim {
			t.Errorf("%s is still there", describe(p))
		}
	}

	pinned := onNode(serverSpec(), victim)
	pinned.Tolerations = nil
	c.run(t, ns, "pinned", pinned)
	await(t, c.pods(ns).named("pinned"), answerTimeout, func(pods []*corev1.Pod) string {
		if len(pods) == 1 && strings.Contains(describe(pods[0]), "unschedulable") {
			return ""
		}
		return "the scheduler to refuse a pod for the cordoned node"
	})
	if err := drain.RunCordonOrUncordon(helper, n, false); err != nil {
		t.Fatal(err)
	}
	c.ready(t, c.pods(ns).named("pinned"), 1)
}

// A host that is down is named by every run that would need it, and nothing is assumed of it; the
// others can be worked on. Switched on again it is a node by itself, with its pods.
func TestRebootedNode(t *testing.T) {
	c := shared.cluster(t)
	ns := c.namespace(t)
	c.serverOnEach(t, ns)
	victim := c.workers(t)[0]

	c.power(t, "stop", victim)
	afterwards(t, func(t testing.TB) { c.power(t, "start", victim) }) // no harm if it is on
	t.Run("HostDown", func(t *testing.T) {
		for _, command := range [][]string{{"plan", "--detailed-exitcode"}, {"apply", "--yes"}} {
			c.tool(t, command[0], command[1:]...).want(t, exitUnreachable).says(t, victim)
		}
		c.tool(t, "plan", "--detailed-exitcode", "--limit", "!"+victim).want(t, exitDone)
	})
	begun := time.Now()
	c.power(t, "start", victim)
	c.back(t, begun, victim)
	c.wantMesh(t, ns)
	c.tool(t, "verify", "--quick", "--patience", "1m").want(t, exitDone)
	c.wantEmptyPlan(t)
}

// The pods of a node that is gone come back elsewhere. A host that is switched on again becomes
// a node again by itself.
func TestDeletedNode(t *testing.T) {
	long(t)
	c := shared.cluster(t)
	ns := c.namespace(t)
	c.deploy(t, ns, "web", 3, serverSpec())
	victim := c.ready(t, c.pods(ns), 3)[0].Spec.NodeName

	c.power(t, "stop", victim)
	afterwards(t, func(t testing.TB) { c.power(t, "start", victim) }) // no harm if it is on
	if err := c.client.CoreV1().Nodes().Delete(t.Context(), victim, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	// The controller that collects such pods gives the node 40 seconds to show up again.
	await(t, c.pods(ns), 2*podTimeout, func(pods []*corev1.Pod) string {
		var missing []string
		for _, p := range pods {
			if p.Spec.NodeName == victim || !isReady(p) {
				missing = append(missing, describe(p))
			}
		}
		if len(pods) != 3 {
			missing = append(missing, fmt.Sprintf("3 pods, there are %d", len(pods)))
		}
		return strings.Join(missing, "; ")
	})

	begun := time.Now()
	c.power(t, "start", victim)
	c.back(t, begun, victim)
	c.serverOnEach(t, ns)
	c.wantMesh(t, ns)
	c.tool(t, "verify", "--quick", "--patience", "1m").want(t, exitDone)
	// What the deleted object carried beside what a kubelet may say of itself comes with an apply.
	p := c.tool(t, "plan", "-o", "json").want(t, exitDone).plan(t)
	if len(changedOn(p)) > 0 || len(p.Objects) > 1 || len(p.Objects) == 1 && p.Objects[0].Name != "Node "+victim {
		t.Errorf("the plan has more than the node %s: %+v", victim, p)
	}
	c.tool(t, "apply", "--yes").want(t, exitDone)
	c.wantEmptyPlan(t)
}

// When all machines lose their power at once, the cluster is there again once they have it back.
func TestRebootedLab(t *testing.T) {
	c := shared.cluster(t)
	ns := c.namespace(t)
	c.serverOnEach(t, ns)

	c.power(t, "stop", "--all")
	begun := time.Now()
	c.power(t, "start", "--all")
	c.waitHealthy(t)
	var all []string
	for _, n := range c.nodes(t) {
		all = append(all, n.Name)
	}
	c.back(t, begun, all...)
	c.wantMesh(t, ns)
	c.tool(t, "verify", "--quick", "--patience", "1m").want(t, exitDone)
	c.wantEmptyPlan(t)
}

// back waits until the nodes were ready, and every container on them started, after a time.
func (c *cluster) back(t testing.TB, begun time.Time, names ...string) {
	t.Helper()
	begun = begun.Truncate(time.Second) // the API knows no fractions
	await(t, c.nodeObjects(), rebootTimeout, func(nodes []*corev1.Node) string {
		missing := slices.Clone(names)
		for _, n := range nodes {
			for _, condition := range n.Status.Conditions {
				if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue && !condition.LastHeartbeatTime.Time.Before(begun) {
					missing = slices.DeleteFunc(missing, func(name string) bool { return name == n.Name })
				}
			}
		}
		return strings.Join(missing, ", ")
	})
	await(t, c.pods(""), rebootTimeout, func(pods []*corev1.Pod) string {
		var missing []string
		for _, p := range pods {
			if slices.Contains(names, p.Spec.NodeName) && p.DeletionTimestamp == nil && !startedAfter(p, begun) {
				missing = append(missing, describe(p))
			}
		}
		return strings.Join(missing, "; ")
	})
}

// wantMesh waits until every pod of the namespace gets an answer of every other by address, and
// finds the API by name.
func (c *cluster) wantMesh(t testing.TB, namespace string) {
	t.Helper()
	pods, err := c.client.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range pods.Items {
		from := &pods.Items[i]
		for _, to := range pods.Items {
			c.wantAnswer(t, from, podURL(&to), to.Name)
		}
		c.wantAddresses(t, from, "kubernetes.default", apiServiceIP(t, c))
	}
}
