package kube

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// TrialInput says what is tried, in a cluster that has pods and a network for them.
type TrialInput struct {
	// Image is that of all pods: the component verify of the catalogue.
	Image string
	// Nodes are the hosts from which is asked what pods answer, as somebody outside of them.
	Nodes []VerifyNode
	// NetworkPolicy says that the network heeds policies.
	NetworkPolicy bool
	// LoadBalancer, Ingress and Registry are nil where there is none.
	LoadBalancer *LoadBalancerTrial
	Ingress      *IngressTrial
	Registry     *RegistryTrial
	// Metrics says that nodes and pods are measured.
	Metrics bool
	// StorageClasses are the classes of volumes that are provided.
	StorageClasses []string
	// Timeout bounds each check, pulling the image included; it must be positive.
	Timeout time.Duration
	// Here opens connections that begin on this machine.
	Here DialFunc
}

const (
	// TrialLabel is on every namespace in which something is tried, and on all that is made in it.
	TrialLabel = "kubewright.io/verify"
	// trialLifetime is an annotation: how long the run may take that made a namespace.
	trialLifetime = "kubewright.io/verify-lifetime"
	trialPrefix   = "kubewright-verify-"
	// tidyTimeout bounds the removal of a namespace with all that is in it.
	tidyTimeout = time.Minute
)

// Try makes the functional checks that need pods of their own, side by side, in a namespace that is deleted again
// however the checks end. What a run left that was killed is deleted, too.
func (c *Client) Try(ctx context.Context, in TrialInput) []Check {
	begun := time.Now()
	t := &trial{client: c, in: in, namespace: trialPrefix + strings.ToLower(rand.Text()[:8])}
	failed := func(err error) Check {
		return Check{Name: CheckNamespace, Detail: t.namespace + ": " + whole(err), Duration: time.Since(begun)}
	}
	var checks []Check
	if err := t.begin(ctx); err != nil {
		checks = []Check{failed(err)}
	} else {
		checks = t.all(ctx)
	}
	// Also of a run that is interrupted nothing is left.
	tidy, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTimeout)
	defer cancel()
	if err := t.remove(tidy, t.namespace); err != nil {
		checks = append(checks, failed(fmt.Errorf("it is there still, and removed by the next verify: %w", err)))
	}
	return checks
}

// trial is one run of the checks.
type trial struct {
	client    *Client
	in        TrialInput
	namespace string
}

// probes are the checks that the input asks for.
func (t *trial) probes() []probe {
	probes := []probe{{CheckServices, "", t.services}}
	if t.in.NetworkPolicy {
		probes = append(probes, probe{CheckNetworkPolicy, "", t.networkPolicy})
	}
	if t.in.LoadBalancer != nil {
		probes = append(probes, probe{CheckLoadBalancer, "", t.loadBalancer})
	}
	if t.in.Ingress != nil {
		probes = append(probes, probe{CheckIngress, "", t.ingress})
	}
	if t.in.Metrics {
		probes = append(probes, probe{CheckMetrics, "", t.metrics})
	}
	for _, class := range t.in.StorageClasses {
		probes = append(probes, probe{CheckStorage, "", func(ctx context.Context) (string, error) { return t.storage(ctx, class) }})
	}
	if t.in.Registry != nil {
		probes = append(probes, probe{CheckRegistry, "", t.registry})
	}
	return probes
}

// all makes the checks at once. Each waits by itself for what it needs.
func (t *trial) all(ctx context.Context) []Check {
	ctx, cancel := context.WithTimeout(ctx, t.in.Timeout)
	defer cancel()
	probes := t.probes()
	checks := make([]Check, len(probes))
	var all sync.WaitGroup
	for i, it := range probes {
		all.Go(func() {
			begun := time.Now()
			detail, err := it.run(ctx)
			if err != nil {
				detail = whole(err)
			}
			checks[i] = Check{Name: it.name, OK: err == nil, Detail: detail, Duration: time.Since(begun)}
		})
	}
	all.Wait()
	return checks
}

// whole puts an error into words. That of a wait has all of them already, and what was seen last.
func whole(err error) string {
	var late *WaitError
	if errors.As(err, &late) {
		return err.Error()
	}
	return explainError(err)
}

// begin makes the namespace, once what earlier runs have left is on its way out.
func (t *trial) begin(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	namespace := &corev1.Namespace{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"},
		ObjectMeta: metav1.ObjectMeta{
			Name:        t.namespace,
			Labels:      map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
			Annotations: map[string]string{trialLifetime: (t.in.Timeout + tidyTimeout).String()},
		},
	}
	if err := t.create(ctx, namespace); err != nil {
		return err
	}
	if err := t.removeLeft(ctx); err != nil {
		return err
	}
	// Without it no pod is let in.
	return Wait(ctx, objectCondition{client: t.client, what: "its service account", gvr: corev1.SchemeGroupVersion.WithResource("serviceaccounts"),
		namespace: t.namespace, name: "default", judge: func(Object) (bool, string) { return true, "" }}, nil)
}

// removeLeft begins to delete the namespaces of runs that must be over. How old they are is told by the API
// server's clock alone.
func (t *trial) removeLeft(ctx context.Context) error {
	all, err := t.client.List(ctx, corev1.SchemeGroupVersion.WithKind("Namespace"), "", TrialLabel)
	if err != nil {
		return err
	}
	now := time.Time{}
	for _, namespace := range all {
		if made := namespace.GetCreationTimestamp(); namespace.GetName() == t.namespace {
			now = made.Time
		}
	}
	for _, namespace := range all {
		lifetime, err := time.ParseDuration(namespace.GetAnnotations()[trialLifetime])
		made := namespace.GetCreationTimestamp()
		if namespace.GetName() == t.namespace || err == nil && made.Add(lifetime).After(now) {
			continue
		}
		if err := t.client.Delete(ctx, namespace.GroupVersionKind(), "", namespace.GetName()); err != nil && !Absent(err) {
			return err
		}
	}
	return nil
}

// remove deletes a namespace with all that is in it, and returns when it is gone.
func (t *trial) remove(ctx context.Context, namespace string) error {
	ref := Ref{GroupVersionKind: corev1.SchemeGroupVersion.WithKind("Namespace"), Name: namespace}
	return t.client.Remove(ctx, []Ref{ref}, func(Object) bool { return true }, func(Ref) {})
}

// create makes an object, in the namespace of the trial and with its label.
func (t *trial) create(ctx context.Context, object runtime.Object) error {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return err
	}
	delete(content, "status") // which is the server's to say
	made := &unstructured.Unstructured{Object: content}
	if made.GetKind() != "Namespace" {
		made.SetNamespace(t.namespace)
	}
	labels := maps.Clone(made.GetLabels())
	if labels == nil {
		labels = map[string]string{}
	}
	if labels[TrialLabel] == "" {
		labels[TrialLabel] = made.GetName()
	}
	made.SetLabels(labels)
	return t.client.applyOne(ctx, made)
}

// persist repeats something until it succeeds or the time of ctx is over. The error is then the last one that did not
// come of that.
func persist(ctx context.Context, what string, try func(context.Context) error) error {
	pause := newBackoff()
	var fault error
	for {
		attempt, cancel := context.WithTimeout(ctx, verifyTimeout)
		err := try(attempt)
		cancel()
		if err == nil {
			return nil
		}
		if fault == nil || ctx.Err() == nil {
			fault = err
		}
		if pause.wait(ctx) != nil {
			return said{what + ": " + explainError(fault)}
		}
	}
}

// from is the node to ask from: one on which the pod is not, where there is one.
func (t *trial) from(pod corev1.Pod) (VerifyNode, error) {
	if len(t.in.Nodes) == 0 {
		return VerifyNode{}, errors.New("no host is there to ask from")
	}
	if i := slices.IndexFunc(t.in.Nodes, func(n VerifyNode) bool { return n.Name != pod.Spec.NodeName }); i >= 0 {
		return t.in.Nodes[i], nil
	}
	return t.in.Nodes[0], nil
}

// lastWarning is what was last said of an object that does not come about; "" for nothing.
func (t *trial) lastWarning(ctx context.Context, kind, name string) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), explainTimeout)
	defer cancel()
	found, err := t.client.List(ctx, corev1.SchemeGroupVersion.WithKind("Event"), t.namespace, "")
	if err != nil {
		return ""
	}
	message, latest := "", time.Time{}
	for _, object := range found {
		var event corev1.Event
		if typed(object, &event) != "" || event.Type != corev1.EventTypeWarning || event.InvolvedObject.Kind != kind || event.InvolvedObject.Name != name {
			continue
		}
		at := event.LastTimestamp.Time
		if at.IsZero() {
			at = event.EventTime.Time
		}
		if message == "" || at.After(latest) {
			message, latest = event.Reason+": "+event.Message, at
		}
	}
	return message
}

// parseAddress reads an address that the API server gives.
func parseAddress(text string) (netip.Addr, error) {
	address, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%q is no address", text)
	}
	return address, nil
}
