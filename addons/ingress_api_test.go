package addons

import (
	"context"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"kubewright/certs"
	"kubewright/internal/kube"
	"kubewright/internal/kube/apitest"
)

// apiServer is a real API server, with nobody who would run anything.
type apiServer struct {
	client *kube.Client
	plain  dynamic.Interface
}

func startAPIServer(t *testing.T) apiServer {
	t.Helper()
	server := apitest.StartServer(t)
	pair := server.PKI.SuperAdmin(t)
	ca := server.PKI.Bundle.Kubernetes.CertPEM()
	client, err := kube.New(kube.Config{Server: server.URL, CAPEM: ca, Client: pair})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	plain, err := dynamic.NewForConfig(&rest.Config{Host: server.URL, QPS: -1, TLSClientConfig: rest.TLSClientConfig{
		CAData: ca, CertData: pair.CertPEM, KeyData: pair.KeyPEM.Reveal(),
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	if err := kube.Wait(ctx, client.APIReady(), nil); err != nil {
		t.Fatal(err)
	}
	return apiServer{client, plain}
}

// install applies objects, and finds them as they should be afterwards.
func (s apiServer) install(t *testing.T, objects map[string]*unstructured.Unstructured) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var all []kube.Object
	for _, o := range objects {
		all = append(all, o)
	}
	changes, err := s.client.Diff(ctx, all)
	if err == nil {
		err = s.client.Apply(ctx, changes)
	}
	if err != nil {
		t.Fatal(err)
	}
	if changes, err = s.client.Diff(ctx, all); err != nil {
		t.Fatal(err)
	}
	for _, change := range changes {
		if change.Action != kube.Keep {
			t.Errorf("%s would be changed again: %v", kube.Name(change.Object), change)
		}
	}
}

// may asks whether a service account, namespace/name, has a right: verb, resource as in resource.group/sub, and
// namespace, "" for all.
func (s apiServer) may(t *testing.T, account, verb, resource, namespace string) bool {
	t.Helper()
	owner, name, _ := strings.Cut(account, "/")
	resource, sub, _ := strings.Cut(resource, "/")
	resource, group, _ := strings.Cut(resource, ".")
	review := &authorizationv1.SubjectAccessReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "authorization.k8s.io/v1", Kind: "SubjectAccessReview"},
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User: "system:serviceaccount:" + owner + ":" + name,
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: namespace, Verb: verb, Group: group, Resource: resource, Subresource: sub,
			},
		},
	}
	if resource == "leases" {
		review.Spec.ResourceAttributes.Name = name + "-leader"
	}
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(review)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := s.plain.Resource(schema.GroupVersionResource{Group: "authorization.k8s.io", Version: "v1", Resource: "subjectaccessreviews"}).
		Create(t.Context(), &unstructured.Unstructured{Object: object}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	allowed, _, _ := unstructured.NestedBool(answer.Object, "status", "allowed")
	return allowed
}

// admits makes a pod as a workload would, without keeping it.
func (s apiServer) admits(t *testing.T, workload *unstructured.Unstructured) error {
	t.Helper()
	template, _, err := unstructured.NestedMap(workload.Object, "spec", "template")
	if err != nil {
		t.Fatal(err)
	}
	pod := &unstructured.Unstructured{Object: template}
	pod.SetAPIVersion("v1")
	pod.SetKind("Pod")
	pod.SetNamespace(workload.GetNamespace())
	pod.SetName("pod")
	_, err = s.plain.Resource(corev1.SchemeGroupVersion.WithResource("pods")).Namespace(pod.GetNamespace()).
		Create(t.Context(), pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return err
}

// The controllers do not run here. What can be asked of a real API server is whether it takes all of their
// objects and pods, and whether they may do what they will ask for, and no more.
func TestIngressControllersOnAnAPIServer(t *testing.T) {
	s := startAPIServer(t)
	pair := certs.Pair{CertPEM: []byte("-----BEGIN CERTIFICATE-----\n"), KeyPEM: []byte("KEY")}
	for name, c := range ingressControllers() {
		t.Run(name, func(t *testing.T) {
			p := ingressParams(t)
			p.IngressCertificate, p.Addons.Ingress.ClassName = pair, name
			s.install(t, objectsOf(t, name, "deployment", p))
			p.Addons.MetalLB.Enabled, p.Addons.Ingress.Workload, p.Addons.Ingress.PreserveSourceAddress = true, "daemonset", true
			p.Addons.Ingress.HTTPPort = map[string]int{"nginx": 30080, "ingress-nginx": 30081}[name]
			objects := objectsOf(t, name, "daemonset", p)
			s.install(t, objects)
			if err := s.admits(t, objects["DaemonSet "+c.name]); err != nil {
				t.Errorf("no pod of it would be made: %v", err)
			}
			account := c.namespace + "/" + c.namespace
			type right struct{ verbs, resource, namespace string }
			for _, r := range []right{
				{"get list watch", "ingresses.networking.k8s.io", ""},
				{"update", "ingresses.networking.k8s.io/status", "shop"},
				{"get list", "ingressclasses.networking.k8s.io", ""},
				{"list watch", "services", ""},
				{"list watch", "secrets", ""},
				{"get list watch", "endpointslices.discovery.k8s.io", ""},
				{"create patch", "events", "shop"},
				{"get list watch", "configmaps", c.namespace},
				{"get", "pods", c.namespace},
				{"get create update", "leases.coordination.k8s.io", c.namespace},
			} {
				for verb := range strings.FieldsSeq(r.verbs) {
					if !s.may(t, account, verb, r.resource, r.namespace) {
						t.Errorf("it may not %s %s in %q", verb, r.resource, r.namespace)
					}
				}
			}
			for _, r := range []right{
				{"create update patch delete", "secrets", "shop"}, {"create update delete", "pods", "shop"}, {"update patch delete", "ingresses.networking.k8s.io", "shop"},
				{"update", "leases.coordination.k8s.io", "kube-system"}, {"update patch", "nodes", ""}, {"create", "serviceaccounts/token", c.namespace},
				{"create", "pods", c.namespace}, {"update", "clusterroles.rbac.authorization.k8s.io", ""},
			} {
				for verb := range strings.FieldsSeq(r.verbs) {
					if s.may(t, account, verb, r.resource, r.namespace) {
						t.Errorf("it may %s %s in %q", verb, r.resource, r.namespace)
					}
				}
			}
		})
	}
}
