package kube

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"kubewright/internal/kube/apitest"
)

// realCluster is an API server without controllers and kubelets; the test plays them.
type realCluster struct {
	t      *testing.T
	ctx    context.Context
	client *Client
}

func newRealCluster(t *testing.T) realCluster {
	t.Helper()
	server := apitest.StartServer(t)
	client, err := New(Config{Server: server.URL, CAPEM: server.PKI.Bundle.Kubernetes.CertPEM(), Client: server.PKI.SuperAdmin(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	if err := Wait(ctx, client.APIReady(), nil); err != nil {
		t.Fatal(err)
	}
	return realCluster{t, ctx, client}
}

// create creates an object, with the status that it has in the manifest.
func (c realCluster) create(manifest string) {
	c.t.Helper()
	object := &unstructured.Unstructured{}
	data, err := yaml.YAMLToJSON([]byte(manifest))
	if err == nil {
		err = object.UnmarshalJSON(data)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	gvr, _ := meta.UnsafeGuessKindToResource(object.GroupVersionKind())
	resource := c.client.resource(gvr, object.GetNamespace())
	live, err := resource.Create(c.ctx, object, metav1.CreateOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	if status, ok := object.Object["status"]; ok {
		live.Object["status"] = status
		if _, err := resource.UpdateStatus(c.ctx, live, metav1.UpdateOptions{}); err != nil {
			c.t.Fatal(err)
		}
	}
}

// TestDrainOnRealAPIServer: what the other tests play is what a real one does.
func TestDrainOnRealAPIServer(t *testing.T) {
	c := newRealCluster(t)
	c.create(freeNode)
	c.create(`{apiVersion: v1, kind: ServiceAccount, metadata: {namespace: default, name: default}}`)
	const container = `terminationGracePeriodSeconds: 0, automountServiceAccountToken: false, containers: [{name: c, image: none}]`
	// Budgets are of pods that run; others can be evicted in any case.
	running := func(pod string) string {
		return strings.TrimSuffix(pod, "}") + `, status: {phase: Running, conditions: [{type: Ready, status: "True"}]}}`
	}
	c.create(running(pod("default", "blocked", appWeb, container)))
	c.create(running(pod("default", "twice", `labels: {app: web, also: this}, `+replicated, container)))
	c.create(running(pod("default", "free", replicated, container)))
	c.create(strings.ReplaceAll(budget("web", "0"), "expectedPods", "observedGeneration: 1, expectedPods"))
	c.create(strings.ReplaceAll(strings.ReplaceAll(budget("also", "0"), "expectedPods", "observedGeneration: 1, expectedPods"), "app: web", "also: this"))

	report, err := c.client.Drain(c.ctx, DrainInput{Node: "w1", Timeout: 6 * time.Second, GracePeriod: -1})
	want := DrainReport{Cordoned: true, Evicted: []string{"default/free"}, Left: []LeftPod{
		{Pod: "default/blocked", Budgets: []DisruptionBudget{webBudget("web")}},
		{Pod: "default/twice", Budgets: []DisruptionBudget{webBudget("also"), webBudget("web")}},
	}}
	if diff := cmp.Diff(want, report); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "more than one PodDisruptionBudget") {
		t.Errorf("error is %v", err)
	}

	// What we apply to a node takes away neither the cordon nor its mark.
	node := reference(nodeKind(), "", "w1")
	node.SetLabels(map[string]string{"x": "y"})
	changes, err := c.client.Diff(c.ctx, []Object{node})
	if err == nil {
		err = c.client.Apply(c.ctx, changes)
	}
	if err != nil {
		t.Fatal(err)
	}
	report, err = c.client.Drain(c.ctx, DrainInput{Node: "w1", Timeout: 10 * time.Second, DisableEviction: true})
	if diff := cmp.Diff(DrainReport{Evicted: []string{"default/blocked", "default/twice"}}, report); diff != "" || err != nil {
		t.Errorf("error %v, report (-want +got):\n%s", err, diff)
	}
	if changed, err := c.client.Uncordon(c.ctx, "w1"); !changed || err != nil {
		t.Errorf("uncordoned %v, error %v", changed, err)
	}
	if nodes, err := c.client.Nodes(c.ctx); err != nil || len(nodes) != 1 || nodes[0].Name != "w1" {
		t.Errorf("nodes %v, error %v", nodes, err)
	}
	for range 2 {
		if err := c.client.DeleteNode(c.ctx, "w1"); err != nil {
			t.Error(err)
		}
	}
	if nodes, err := c.client.Nodes(c.ctx); err != nil || len(nodes) != 0 {
		t.Errorf("nodes %v, error %v", nodes, err)
	}
}
