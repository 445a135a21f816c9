package kube_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubewright/internal/kube"
)

// measuring has metrics.k8s.io be served without anybody who measures: of node a alone, at first.
const measuring = `
{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition,
 metadata: {name: nodes.metrics.k8s.io, annotations: {api-approved.kubernetes.io: "https://github.com/kubernetes/metrics"}},
 spec: {group: metrics.k8s.io, scope: Cluster, names: {plural: nodes, kind: NodeMetrics},
  versions: [{name: v1beta1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]}}
---
{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition,
 metadata: {name: pods.metrics.k8s.io, annotations: {api-approved.kubernetes.io: "https://github.com/kubernetes/metrics"}},
 spec: {group: metrics.k8s.io, scope: Namespaced, names: {plural: pods, kind: PodMetrics},
  versions: [{name: v1beta1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]}}
---
{apiVersion: metrics.k8s.io/v1beta1, kind: NodeMetrics, metadata: {name: a}}
`

const trialServices = `
{apiVersion: v1, kind: Service, metadata: {name: images, namespace: kube-system}, spec: {clusterIP: 10.96.0.77, ports: [{port: 443}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: controller, namespace: kube-system, labels: {kubewright.io/addon: nginx}}, spec: {type: NodePort, ports: [{port: 80}]}}
`

// testTry starts from a cluster in which all works, and breaks one thing at a time.
func testTry(t *testing.T, w *world) {
	apply(t, w.client, decode(t, trialServices))
	// By hand: the server takes a moment to know a kind that it serves.
	definitions := decode(t, measuring)
	apply(t, w.client, definitions[:2])
	try := func(t *testing.T, timeout time.Duration, breakIt func(*pretended), change func(*kube.TrialInput)) []kube.Check {
		t.Helper()
		in := w.pretend(t, breakIt).trialInput()
		in.Timeout = timeout
		if change != nil {
			change(&in)
		}
		return w.client.Try(within(t, time.Minute), in)
	}
	only := func(name string) func(*kube.TrialInput) {
		return func(in *kube.TrialInput) {
			in.NetworkPolicy, in.Metrics = name == kube.CheckNetworkPolicy, name == kube.CheckMetrics
			if name != kube.CheckLoadBalancer {
				in.LoadBalancer = nil
			}
			if name != kube.CheckIngress {
				in.Ingress = nil
			}
			if name != kube.CheckStorage {
				in.StorageClasses = nil
			}
			if name != kube.CheckRegistry {
				in.Registry = nil
			}
		}
	}
	t.Run("not measured", func(t *testing.T) {
		wantFailure(t, try(t, 3*time.Second, nil, only(kube.CheckMetrics)), kube.CheckMetrics, "metrics.k8s.io: nothing is measured yet of a, b")
	})
	apply(t, w.client, definitions[2:])
	t.Run("not all measured", func(t *testing.T) {
		wantFailure(t, try(t, 3*time.Second, nil, only(kube.CheckMetrics)), kube.CheckMetrics, "metrics.k8s.io: nothing is measured yet of b")
	})
	apply(t, w.client, decode(t, `{apiVersion: metrics.k8s.io/v1beta1, kind: NodeMetrics, metadata: {name: b}}`))
	t.Run("no pod measured", func(t *testing.T) {
		wantFailure(t, try(t, 3*time.Second, nil, only(kube.CheckMetrics)), kube.CheckMetrics, "metrics.k8s.io: nothing is measured yet of any pod")
	})
	apply(t, w.client, decode(t, `{apiVersion: metrics.k8s.io/v1beta1, kind: PodMetrics, metadata: {name: a, namespace: kube-system}}`))

	t.Run("all is well", func(t *testing.T) {
		var names []string
		var cluster *pretended
		for _, check := range try(t, 30*time.Second, func(p *pretended) { cluster = p }, nil) {
			names = append(names, check.Name)
			if !check.OK || check.Detail == "" || check.Duration <= 0 {
				t.Errorf("%s (%s)", check, check.Duration)
			}
			t.Log(check)
		}
		want := []string{kube.CheckServices, kube.CheckNetworkPolicy, kube.CheckLoadBalancer, kube.CheckIngress, kube.CheckMetrics, kube.CheckStorage, kube.CheckRegistry}
		if !slices.Equal(names, want) {
			t.Errorf("the checks are %q, want %q", names, want)
		}
		left := maps.Clone(cluster.manifests)
		maps.DeleteFunc(left, func(_ string, there bool) bool { return !there })
		if images := 3; len(cluster.manifests) != images || len(left) > 0 { // an index, and two that it names
			t.Errorf("of %d manifests in the registry these are left: %v", len(cluster.manifests), left)
		}
	})
	for _, test := range []struct {
		name    string
		breakIt func(*pretended)
		change  func(*kube.TrialInput)
		want    map[string]string
	}{
		{"nothing works", func(p *pretended) {
			p.unrouted, p.unenforced, p.unbalanced, p.misrouted, p.forgetful, p.unpushed = true, true, true, true, true, true
		}, nil, map[string]string{
			kube.CheckServices:      "from a pod on b, to one on a: dial tcp: connection refused",
			kube.CheckNetworkPolicy: "it is answered, though a NetworkPolicy denies it",
			kube.CheckLoadBalancer:  "nobody gives it one: AllocationFailed: no address is left in any pool",
			kube.CheckIngress:       "it answers 404 Not Found",
			kube.CheckStorage:       `class local-path: a pod finds "" where another one wrote "kubewright-verify-`,
			kube.CheckRegistry:      "push registry.internal/kubewright-verify:",
		}},
		{"nothing is as it was said", func(p *pretended) { p.address, p.unprovided = "192.0.2.10", true }, func(in *kube.TrialInput) {
			in.Ingress.ClassName = "other"
			in.Registry.Address = netip.MustParseAddrPort("10.96.0.99:443")
		}, map[string]string{
			kube.CheckLoadBalancer: "the service has the address 192.0.2.10, which is in no pool",
			kube.CheckIngress:      "it answers 404 Not Found",
			kube.CheckStorage:      ": ProvisioningFailed: the disk is full",
			kube.CheckRegistry:     "connection refused",
		}},
		{"no way in", nil, func(in *kube.TrialInput) {
			in.Nodes[0].Dial, in.Nodes[1].Dial = refused, refused
			in.Ingress.Selector = "kubewright.io/addon=other"
		}, map[string]string{
			kube.CheckLoadBalancer: "asked from b: GET http://192.0.2.7:80: connection refused",
			kube.CheckIngress:      "no service of the controller has port 80: there is none that is labelled kubewright.io/addon=other",
			kube.CheckStorage:      "class local-path: writing: asked from b: connection refused",
			kube.CheckRegistry:     "connection refused",
		}},
		{"image not there", func(p *pretended) { p.unpulled = true }, func(in *kube.TrialInput) { in.Nodes = nil }, map[string]string{
			kube.CheckServices: "for pod services to be ready: pod services on a: container verify: ImagePullBackOff: no such image verify:v1",
			kube.CheckRegistry: "no host is there to ask from",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			checks := try(t, 6*time.Second, test.breakIt, test.change)
			for name, want := range test.want {
				wantFailure(t, checks, name, want)
			}
		})
	}
	t.Run("registry keeps what it got", func(t *testing.T) {
		for _, check := range try(t, 30*time.Second, func(p *pretended) { p.undeletable = true }, only(kube.CheckRegistry)) {
			if !check.OK {
				t.Error(check)
			}
		}
	})
	t.Run("this machine has no way there", func(t *testing.T) {
		checks := try(t, 30*time.Second, nil, func(in *kube.TrialInput) {
			only(kube.CheckLoadBalancer)(in)
			in.Here = refused
		})
		if check := checks[1]; !check.OK || check.Detail != "192.0.2.7 answers b, but not this machine" {
			t.Error(check)
		}
	})
	t.Run("most nodes are silent", func(t *testing.T) {
		checks := try(t, 30*time.Second, nil, func(in *kube.TrialInput) {
			only(kube.CheckIngress)(in)
			dial := in.Nodes[0].Dial
			mute := func(ctx context.Context, network, address string) (net.Conn, error) {
				if strings.HasPrefix(address, "10.111.0.") {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return dial(ctx, network, address)
			}
			last := in.Nodes[1]
			in.Nodes = nil
			for i := range byte(4) {
				in.Nodes = append(in.Nodes, kube.VerifyNode{Name: fmt.Sprintf("silent%d", i), IP: netip.AddrFrom4([4]byte{10, 111, 0, 30 + i}), Dial: mute})
			}
			last.Dial = mute
			in.Nodes = append(in.Nodes, last)
		})
		if check := checks[1]; check.Name != kube.CheckIngress || !check.OK || !strings.HasSuffix(check.Detail, " of b") {
			t.Error(check)
		}
	})
	t.Run("left over", func(t *testing.T) { testLeftOver(t, w) })
	t.Run("interrupted", func(t *testing.T) { testInterruptedTry(t, w) })
}

func refused(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("connection refused")
}

// wantFailure checks that a check failed with what is wanted in its detail.
func wantFailure(t *testing.T, checks []kube.Check, name, want string) {
	t.Helper()
	for _, check := range checks {
		if check.Name == name {
			if check.OK || !strings.Contains(check.Detail, want) {
				t.Errorf("%s, want %q", check, want)
			}
			return
		}
	}
	t.Errorf("the check was not made: %v", checks)
}

// testLeftOver: what a killed run left is deleted when it must be over, and not before.
func testLeftOver(t *testing.T, w *world) {
	p := w.pretend(t, nil)
	apply(t, w.client, decode(t, `
{apiVersion: v1, kind: Namespace, metadata: {name: kubewright-verify-old, labels: {kubewright.io/verify: x}, annotations: {kubewright.io/verify-lifetime: 0s}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: kubewright-verify-unknown, labels: {kubewright.io/verify: x}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: kubewright-verify-other, labels: {kubewright.io/verify: x}, annotations: {kubewright.io/verify-lifetime: 1h}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: somebodys}}
`))
	in := p.trialInput()
	in.Timeout = time.Minute
	w.client.Try(within(t, time.Minute), in)
	for _, name := range []string{"kubewright-verify-old", "kubewright-verify-unknown"} {
		ns, err := p.api.CoreV1().Namespaces().Get(t.Context(), name, metav1.GetOptions{})
		if err == nil && ns.Status.Phase != corev1.NamespaceTerminating {
			t.Errorf("%s is there still", name)
		}
	}
	for _, name := range []string{"kubewright-verify-other", "somebodys"} {
		if ns, err := p.api.CoreV1().Namespaces().Get(t.Context(), name, metav1.GetOptions{}); err != nil || ns.DeletionTimestamp != nil {
			t.Errorf("%s is deleted: %v", name, err)
		}
	}
}

// testInterruptedTry: a run that is interrupted deletes its namespace all the same.
func testInterruptedTry(t *testing.T, w *world) {
	p := w.pretend(t, func(p *pretended) { p.unpulled = true })
	in := p.trialInput()
	in.Timeout = time.Minute
	ctx, interrupt := context.WithCancel(within(t, time.Minute))
	pods, err := p.api.CoreV1().Pods("").Watch(ctx, metav1.ListOptions{LabelSelector: kube.TrialLabel})
	if err != nil {
		t.Fatal(err)
	}
	namespace := ""
	go func() {
		for event := range pods.ResultChan() {
			if pod, ok := event.Object.(*corev1.Pod); ok && namespace == "" {
				namespace = pod.Namespace
				interrupt()
			}
		}
	}()
	checks := w.client.Try(ctx, in)
	wantFailure(t, checks, kube.CheckServices, "context canceled")
	if _, err := p.api.CoreV1().Namespaces().Get(t.Context(), namespace, metav1.GetOptions{}); err == nil || namespace == "" {
		t.Errorf("the namespace %q is there still", namespace)
	}
}
