//go:build e2e

package e2e

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/tools/portforward"
	utilexec "k8s.io/client-go/util/exec"
)

// podToPod: every pod reaches every other, whichever nodes they are on, with packets as large as
// they get.
func podToPod(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	pods := c.serverOnEach(t, ns)
	// A megabyte fills packets to the MTU; one that is too large on the way hangs the transfer.
	big := make([]byte, 1<<19)
	if _, err := rand.Read(big); err != nil {
		t.Fatal(err)
	}
	text := hex.EncodeToString(big)
	for _, p := range pods {
		err := c.client.CoreV1().RESTClient().Put().Namespace(ns).Resource("pods").Name(p.Name).SubResource("proxy").
			Suffix("file", "big").Body([]byte(text)).Do(t.Context()).Error()
		if err != nil {
			t.Fatalf("storing a megabyte in %s through the API server: %v", p.Name, err)
		}
	}
	for _, from := range pods {
		for _, to := range pods {
			address := podURL(to)
			c.wantAnswer(t, from, address, to.Name)
			got, err := c.fetch(t.Context(), from, fileURL(to, "big"))
			if err != nil || got != text {
				t.Errorf("a megabyte from %s on %s to %s on %s: %d bytes, %v",
					to.Name, to.Spec.NodeName, from.Name, from.Spec.NodeName, len(got), err)
			}
		}
	}
}

// clusterIP: the address and the name of a service lead to its pods, from every node.
func clusterIP(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	clients := c.serverOnEach(t, ns)
	web := c.start(t, ns, "web", serverSpec())
	service := c.expose(t, ns, "web", nil)
	for _, from := range clients {
		c.wantAnswer(t, from, "http://"+service.Spec.ClusterIP, web.Name)
		c.wantAnswer(t, from, "http://web."+ns, web.Name)
	}
}

// nodePort: somebody outside the cluster reaches a service on every node, those without a pod of
// it and the control plane included.
func nodePort(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	workers := c.workers(t)
	web := c.start(t, ns, "web", onNode(serverSpec(), workers[len(workers)-1]))
	service := c.expose(t, ns, "web", func(s *corev1.ServiceSpec) { s.Type = corev1.ServiceTypeNodePort })
	for _, n := range c.nodes(t) {
		address := "http://" + net.JoinHostPort(n.Address, strconv.Itoa(int(service.Spec.Ports[0].NodePort)))
		eventually(t, answerTimeout, "GET "+address+" ("+n.Name+") from outside", func(ctx context.Context) error {
			got, err := get(ctx, address)
			if err == nil && got != web.Name {
				err = fmt.Errorf("the answer is %q", got)
			}
			return err
		})
	}
}

// networkPolicy: what is denied does not get through, what is allowed does, on one node and
// across nodes.
func networkPolicy(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	workers := c.workers(t)
	here, there := workers[0], workers[len(workers)-1]
	server := c.start(t, ns, "server", onNode(serverSpec(), here))
	friends := []*corev1.Pod{c.start(t, ns, "friend", onNode(serverSpec(), there))}
	strangers := []*corev1.Pod{
		c.start(t, ns, "stranger-here", onNode(serverSpec(), here)),
		c.start(t, ns, "stranger-there", onNode(serverSpec(), there)),
	}
	address := podURL(server)
	open := func(pods []*corev1.Pod) {
		for _, p := range pods {
			c.wantAnswer(t, p, address, server.Name)
		}
	}
	closed := func(pods []*corev1.Pod) {
		for _, p := range pods {
			eventually(t, answerTimeout, "denying "+p.Name+" the server", func(ctx context.Context) error {
				_, err := c.exec(ctx, p, testserver, "get", "-timeout", "1s", address)
				var exit utilexec.ExitError
				if errors.As(err, &exit) && strings.Contains(err.Error(), "deadline exceeded") {
					return nil // dropped, as a policy does; anything else is another fault
				}
				return fmt.Errorf("it was answered: %w", err)
			})
		}
	}
	policy := func(name string, spec networkingv1.NetworkPolicySpec) {
		t.Helper()
		if _, err := c.client.NetworkingV1().NetworkPolicies(ns).Create(t.Context(), &networkingv1.NetworkPolicy{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec,
		}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}

	open(friends)
	open(strangers)
	policy("deny", networkingv1.NetworkPolicySpec{PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}})
	closed(friends)
	closed(strangers)
	policy("allow", networkingv1.NetworkPolicySpec{
		PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": "server"}},
		Ingress: []networkingv1.NetworkPolicyIngressRule{{
			From:  []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "friend"}}}},
			Ports: []networkingv1.NetworkPolicyPort{{Port: new(intstr.FromInt32(serverPort))}},
		}},
	})
	open(friends)
	closed(strangers)
}

// execLogsPortForward: what kubectl is used for most, on a worker and on the control plane.
func execLogsPortForward(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	for name, pod := range c.serverOnEach(t, ns) {
		out, err := c.exec(t.Context(), pod, testserver, "get", "http://localhost:8080/")
		if err != nil || strings.TrimSpace(out) != pod.Name {
			t.Errorf("exec on %s: %q, %v", name, out, err)
		}
		_, err = c.exec(t.Context(), pod, testserver, "get", "http://localhost:8080/none")
		var exit utilexec.ExitError
		if !errors.As(err, &exit) || exit.ExitStatus() != 1 || !strings.Contains(err.Error(), "404") {
			t.Errorf("a command that fails with exit code 1 on %s: %v", name, err)
		}

		address := podURL(pod)
		job := serverSpec()
		job.RestartPolicy = corev1.RestartPolicyNever
		job.Containers[0].Args, job.Containers[0].ReadinessProbe = []string{"get", address}, nil
		if logs := c.succeeded(t, c.run(t, ns, "logs-"+name, onNode(job, name))); strings.TrimSpace(logs) != pod.Name {
			t.Errorf("logs on %s: %q", name, logs)
		}

		if got, err := c.forwarded(t, pod); err != nil || got != pod.Name {
			t.Errorf("port-forward on %s: %q, %v", name, got, err)
		}
	}
}

// forwarded asks a pod's server through a forwarded port, as kubectl port-forward makes it.
func (c *cluster) forwarded(t testing.TB, pod *corev1.Pod) (string, error) {
	t.Helper()
	address := c.client.CoreV1().RESTClient().Post().Resource("pods").Namespace(pod.Namespace).Name(pod.Name).SubResource("portforward").URL()
	dialer, err := portforward.NewSPDYOverWebsocketDialer(&url.URL{Scheme: address.Scheme, Host: address.Host, Path: address.Path}, c.config)
	if err != nil {
		return "", err
	}
	stop, ready, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	forwarder, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, []string{fmt.Sprintf(":%d", serverPort)}, stop, ready, io.Discard, io.Discard)
	if err != nil {
		return "", err
	}
	go func() { ended <- forwarder.ForwardPorts() }()
	defer close(stop)
	select {
	case <-ready:
	case err := <-ended:
		return "", err
	case <-t.Context().Done():
		return "", t.Context().Err()
	}
	ports, err := forwarder.GetPorts()
	if err != nil {
		return "", err
	}
	local := net.JoinHostPort("127.0.0.1", strconv.Itoa(int(ports[0].Local)))
	// More than a packet in both directions.
	file, body := "http://"+local+"/file/forwarded", strings.Repeat("kubewright ", 20_000)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, file, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	response.Body.Close()
	if got, err := get(t.Context(), file); err != nil || got != strings.TrimSpace(body) {
		return "", fmt.Errorf("%d bytes of %d came back: %w", len(got), len(body), err)
	}
	return get(t.Context(), "http://"+local+"/")
}
