package kube_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"kubewright/certs"
	"kubewright/internal/kube"
	"kubewright/internal/kube/apitest"
)

// pretended plays all that a cluster has beside its API server, for the pods of a trial: the scheduler, kubelets,
// controllers, and the network that hosts and pods see.
type pretended struct {
	t   *testing.T
	api *kubernetes.Clientset

	// What is broken.
	unpulled    bool   // no image is to be had
	unrouted    bool   // the addresses of services lead nowhere
	unenforced  bool   // nobody heeds policies
	unbalanced  bool   // no service gets an address
	address     string // of services of type LoadBalancer
	misrouted   bool   // the ingress controller knows no routes
	forgetful   bool   // volumes are empty for the next pod
	unprovided  bool   // no volume is provided
	unpushed    bool   // the registry lets nobody push
	undeletable bool   // nor delete
	stuck       bool   // namespaces stay

	registry, ingress *httptest.Server

	mu    sync.Mutex
	pods  map[string]*httptest.Server // by IP
	ips   map[string]string           // of pods by name
	files map[string]string           // by claim and path
	// manifests were pushed to the registry; true are those that it still has.
	manifests map[string]bool
}

// manifest notes what becomes of the manifests in the registry.
func (p *pretended) manifest(method, name, digest string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch _, known := p.manifests[name]; {
	case method == http.MethodPut && digest != "":
		p.manifests[digest] = true
	case method == http.MethodDelete && known:
		p.manifests[name] = false
	}
}

// pretend begins to play until the test ends.
func (w *world) pretend(t *testing.T, breakIt func(*pretended)) *pretended {
	t.Helper()
	pair := w.server.PKI.SuperAdmin(t)
	api, err := kubernetes.NewForConfig(&rest.Config{Host: w.server.URL, QPS: -1, TLSClientConfig: rest.TLSClientConfig{
		CAData: w.server.PKI.Bundle.Kubernetes.CertPEM(), CertData: pair.CertPEM, KeyData: pair.KeyPEM.Reveal(),
	}})
	if err != nil {
		t.Fatal(err)
	}
	p := &pretended{t: t, api: api, address: "192.0.2.7", pods: map[string]*httptest.Server{}, ips: map[string]string{}, files: map[string]string{}, manifests: map[string]bool{}}
	images := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	p.registry = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch {
		case p.unpushed && r.Method != http.MethodGet && r.Method != http.MethodHead:
			http.Error(rw, "no", http.StatusForbidden)
		case p.undeletable && r.Method == http.MethodDelete:
			http.Error(rw, "no", http.StatusMethodNotAllowed)
		default:
			images.ServeHTTP(rw, r)
			if strings.Contains(r.URL.Path, "/manifests/") {
				p.manifest(r.Method, path.Base(r.URL.Path), rw.Header().Get("Docker-Content-Digest"))
			}
		}
	}))
	pair = w.server.PKI.Issue(t, certs.KubernetesCA, certs.Request{CommonName: "registry", Server: true, IPs: []netip.Addr{registryAddress().Addr()}})
	certificate, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	p.registry.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	p.registry.StartTLS()
	t.Cleanup(p.registry.Close)
	p.ingress = serveHTTP(t, p.route)
	if breakIt != nil {
		breakIt(p)
	}
	// A namespace is played last, when nothing is made in it any more.
	ctx, stop := context.WithCancel(context.Background())
	var playing sync.WaitGroup
	for _, begin := range []func(context.Context) (watch.Interface, error){
		func(ctx context.Context) (watch.Interface, error) {
			return api.CoreV1().Pods("").Watch(ctx, metav1.ListOptions{LabelSelector: kube.TrialLabel})
		},
		func(ctx context.Context) (watch.Interface, error) {
			return api.CoreV1().Services("").Watch(ctx, metav1.ListOptions{LabelSelector: kube.TrialLabel})
		},
		func(ctx context.Context) (watch.Interface, error) {
			return api.CoreV1().Namespaces().Watch(ctx, metav1.ListOptions{LabelSelector: kube.TrialLabel})
		},
	} {
		events, err := begin(ctx)
		if err != nil {
			t.Fatal(err)
		}
		playing.Go(func() {
			for event := range events.ResultChan() {
				if event.Type == watch.Deleted {
					continue
				}
				if err := p.play(ctx, event.Object); err != nil && ctx.Err() == nil {
					t.Logf("playing: %v", err)
				}
			}
		})
	}
	t.Cleanup(func() { stop(); playing.Wait() })
	return p
}

// registryAddress is that of the service images.
func registryAddress() netip.AddrPort { return netip.MustParseAddrPort("10.96.0.77:443") }

func serveHTTP(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server
}

func (p *pretended) play(ctx context.Context, object any) error {
	switch o := object.(type) {
	case *corev1.Namespace:
		return p.playNamespace(ctx, o)
	case *corev1.Service:
		return p.playService(ctx, o)
	case *corev1.Pod:
		return p.playPod(ctx, o)
	}
	return fmt.Errorf("something else is watched: %T", object)
}

func (p *pretended) playNamespace(ctx context.Context, ns *corev1.Namespace) error {
	if ns.DeletionTimestamp == nil {
		_, err := p.api.CoreV1().ServiceAccounts(ns.Name).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{})
		return err
	}
	if p.stuck {
		return nil
	}
	none := int64(0)
	if err := p.api.CoreV1().Pods(ns.Name).DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &none}, metav1.ListOptions{}); err != nil {
		return err
	}
	ns.Spec.Finalizers = nil
	_, err := p.api.CoreV1().Namespaces().Finalize(ctx, ns, metav1.UpdateOptions{})
	return err
}

func (p *pretended) playService(ctx context.Context, s *corev1.Service) error {
	if s.Spec.Type != corev1.ServiceTypeLoadBalancer || len(s.Status.LoadBalancer.Ingress) > 0 {
		return nil
	}
	if p.unbalanced {
		return p.warn(ctx, corev1.ObjectReference{Kind: "Service", Namespace: s.Namespace, Name: s.Name}, "AllocationFailed", "no address is left in any pool")
	}
	s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: p.address}}
	_, err := p.api.CoreV1().Services(s.Namespace).UpdateStatus(ctx, s, metav1.UpdateOptions{})
	return err
}

func (p *pretended) warn(ctx context.Context, about corev1.ObjectReference, reason, message string) error {
	_, err := p.api.CoreV1().Events(about.Namespace).Create(ctx, &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "warning-"}, Type: corev1.EventTypeWarning, Reason: reason, Message: message,
		InvolvedObject: about, LastTimestamp: metav1.Now(),
	}, metav1.CreateOptions{})
	return err
}

// playPod has servers run on node a, and all others on node b.
func (p *pretended) playPod(ctx context.Context, pod *corev1.Pod) error {
	if pod.DeletionTimestamp != nil {
		none := int64(0)
		return p.api.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &none})
	}
	if pod.Spec.NodeName != "" {
		return nil
	}
	args := pod.Spec.Containers[0].Args
	node := "b"
	if len(args) > 0 && args[0] == "serve" {
		node = "a"
	}
	err := p.api.CoreV1().Pods(pod.Namespace).Bind(ctx, &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: pod.Name}, Target: corev1.ObjectReference{Kind: "Node", Name: node}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	container := corev1.ContainerStatus{Name: "verify"}
	switch {
	case p.unpulled:
		container.State.Waiting = &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "no such image " + pod.Spec.Containers[0].Image}
		pod.Status.Phase = corev1.PodPending
	case node == "a":
		if claim := pod.Spec.Volumes[0].PersistentVolumeClaim; claim != nil && p.unprovided {
			return p.warn(ctx, corev1.ObjectReference{Kind: "PersistentVolumeClaim", Namespace: pod.Namespace, Name: claim.ClaimName}, "ProvisioningFailed", "the disk is full")
		}
		pod.Status.Phase, pod.Status.PodIP = corev1.PodRunning, p.boot(pod)
		pod.Status.PodIPs = []corev1.PodIP{{IP: pod.Status.PodIP}}
		pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	default:
		pod.Status.Phase = corev1.PodSucceeded
		container.State.Terminated = &corev1.ContainerStateTerminated{}
		if len(args) > 0 {
			if err := p.visit(ctx, pod.Namespace, args[len(args)-1]); err != nil {
				pod.Status.Phase = corev1.PodFailed
				container.State.Terminated = &corev1.ContainerStateTerminated{ExitCode: 1, Reason: "Error", Message: err.Error()}
			}
		}
	}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{container}
	pod.ResourceVersion = "" // it was bound since
	_, err = p.api.CoreV1().Pods(pod.Namespace).UpdateStatus(ctx, pod, metav1.UpdateOptions{})
	return err
}

// boot starts the server of a pod, and gives it an address.
func (p *pretended) boot(pod *corev1.Pod) string {
	volume := pod.Namespace + "/" + pod.Name
	if claim := pod.Spec.Volumes[0].PersistentVolumeClaim; claim != nil && !p.forgetful {
		volume = pod.Namespace + "/" + claim.ClaimName
	}
	server := serveHTTP(p.t, func(rw http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		switch file := volume + r.URL.Path; {
		case r.URL.Path == "/":
			fmt.Fprintln(rw, pod.Name)
		case r.Method == http.MethodPut:
			body, _ := io.ReadAll(r.Body)
			p.files[file] = string(body)
		default:
			fmt.Fprint(rw, p.files[file])
		}
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	ip := fmt.Sprintf("10.244.7.%d", len(p.pods)+1)
	p.pods[ip], p.ips[pod.Name] = server, ip
	return ip
}

// visit is what becomes of a pod's request.
func (p *pretended) visit(ctx context.Context, namespace, address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return err
	}
	if strings.HasPrefix(u.Hostname(), "10.96.") {
		if p.unrouted {
			return errors.New("dial tcp: connection refused")
		}
		return nil
	}
	policies, err := p.api.NetworkingV1().NetworkPolicies(namespace).List(ctx, metav1.ListOptions{})
	if err == nil && len(policies.Items) > 0 && !p.unenforced {
		err = fmt.Errorf("Get %q: context deadline exceeded", address)
	}
	return err
}

// route is the ingress controller.
func (p *pretended) route(rw http.ResponseWriter, r *http.Request) {
	all, err := p.api.NetworkingV1().Ingresses("").List(r.Context(), metav1.ListOptions{})
	if err == nil && !p.misrouted {
		for _, i := range all.Items {
			if rule := i.Spec.Rules[0]; rule.Host == r.Host && *i.Spec.IngressClassName == "nginx" {
				fmt.Fprintln(rw, rule.HTTP.Paths[0].Backend.Service.Name)
				return
			}
		}
	}
	http.NotFound(rw, r)
}

// dial is the network as hosts see it.
func (p *pretended) dial(ctx context.Context, network, address string) (net.Conn, error) {
	to, err := p.behind(ctx, address)
	if err != nil {
		return nil, err
	}
	return (&net.Dialer{}).DialContext(ctx, network, to.Listener.Addr().String())
}

// behind is the server at an address.
func (p *pretended) behind(ctx context.Context, address string) (*httptest.Server, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	all, err := p.api.CoreV1().Services("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if server := p.pods[host]; server != nil && port == "8080" {
		return server, nil
	}
	for _, s := range all.Items {
		if s.Spec.ClusterIP != host && (len(s.Status.LoadBalancer.Ingress) == 0 || s.Status.LoadBalancer.Ingress[0].IP != host) &&
			fmt.Sprint(s.Spec.Ports[0].NodePort) != port || s.DeletionTimestamp != nil {
			continue
		}
		switch s.Name {
		case "images":
			return p.registry, nil
		case "controller":
			return p.ingress, nil
		}
		if server := p.pods[p.ips[s.Spec.Selector[kube.TrialLabel]]]; server != nil {
			return server, nil
		}
	}
	return nil, errors.New("ssh: rejected: connect failed (Connection refused)")
}

// trialInput asks for everything.
func (p *pretended) trialInput() kube.TrialInput {
	pool := kube.AddressRange{First: netip.MustParseAddr("192.0.2.1"), Last: netip.MustParseAddr("192.0.2.9")}
	return kube.TrialInput{
		Image: "verify:v1", NetworkPolicy: true, Metrics: true, StorageClasses: []string{"local-path"},
		LoadBalancer: &kube.LoadBalancerTrial{Addresses: []kube.AddressRange{pool}},
		Ingress:      &kube.IngressTrial{ClassName: "nginx", Selector: "kubewright.io/addon=nginx"},
		Registry:     &kube.RegistryTrial{Host: "registry.internal", Address: registryAddress()},
		Nodes: []kube.VerifyNode{
			{Name: "a", IP: netip.MustParseAddr("10.111.0.20"), Dial: p.dial}, {Name: "b", IP: apitest.Loopback(), Dial: p.dial},
		},
		Here: p.dial,
	}
}
