//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// From bare hosts to a working cluster with one command; after it, nothing is left to do.
func TestBringUp(t *testing.T) {
	c := shared.cluster(t)
	hosts := c.nodes(t)

	// apply returns when the cluster works, so nothing is waited for here.
	nodes, err := c.client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(nodes.Items) != len(hosts) {
		t.Errorf("%d nodes for %d hosts", len(nodes.Items), len(hosts))
	}
	for _, n := range nodes.Items {
		if why := notReady(&n); why != "" {
			t.Error(why)
		}
	}
	pods, err := c.client.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pods.Items {
		if !strings.HasPrefix(p.Namespace, "e2e-") && (p.Status.Phase != corev1.PodRunning || !isReady(&p)) {
			t.Error(describe(&p))
		}
	}
	if len(pods.Items) < 10 {
		t.Errorf("only %d pods: a cluster of kubeadm's kind has more", len(pods.Items))
	}

	c.wantEmptyPlan(t)
	c.tool(t, "verify").want(t, exitDone).says(t, "ok dns cp1", "ok pod network cp1", "ok system pods")
	c.tool(t, "status").want(t, exitDone).says(t, "Nothing to do")
	if shared.spec.reuse == "" {
		wantPhaseTimes(t, shared.apply)
	}
}

// wantPhaseTimes checks that an apply that made a cluster printed how long each phase took.
func wantPhaseTimes(t testing.TB, apply result) {
	t.Helper()
	// Preflight is over before anything runs; one control plane needs none of the others.
	idle := []string{"preflight", "load-balancer", "vip", "vip-rights"}
	for _, phase := range allPhases(t) {
		if slices.Contains(idle, phase) {
			continue
		}
		if !slices.ContainsFunc(strings.Split(apply.stderr, "\n"), func(line string) bool {
			fields := strings.Fields(line)
			return len(fields) > 1 && fields[0] == phase && strings.HasSuffix(fields[1], "s") && strings.ContainsAny(fields[1], "0123456789")
		}) {
			t.Errorf("the time of phase %s is not printed", phase)
		}
	}
	if t.Failed() {
		t.Log(apply)
	}
}

// notReady says what keeps a node from being ready, "" for nothing.
func notReady(n *corev1.Node) string {
	for _, c := range n.Status.Conditions {
		switch {
		case c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue:
			return ""
		case c.Type == corev1.NodeReady:
			return fmt.Sprintf("node %s is not ready: %s", n.Name, c.Message)
		}
	}
	return fmt.Sprintf("node %s says nothing of itself", n.Name)
}
