package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// VerifyNode is a node to verify, and the way to it.
type VerifyNode struct {
	// Name is the name of the Node object.
	Name string
	// IP is the node's address: its kubelet and, on a control plane, its API server listen there.
	IP netip.Addr
	// ControlPlane says that the node runs an API server.
	ControlPlane bool
	// Dial opens connections that begin on the node itself.
	Dial DialFunc
}

// VerifyInput says what a working cluster looks like.
type VerifyInput struct {
	Nodes []VerifyNode
	// DNSServiceIP and APIServiceIP are the addresses of the services kube-dns and kubernetes.
	DNSServiceIP, APIServiceIP netip.Addr
	// DNSDomain is the domain of services, for example cluster.local.
	DNSDomain string
	// APIPort is the port of the API servers; 0 means 6443.
	APIPort int
	// Patience is for how long a check that fails is repeated; 0 means that it is done once.
	Patience time.Duration
}

// Names of the checks.
const (
	CheckNodeReady    = "node ready"          // the node exists and reports Ready
	CheckAPIServer    = "api server"          // /readyz of the node's own API server, its certificate verified
	CheckKubelet      = "kubelet"             // /healthz of the kubelet, its certificate verified
	CheckKubeletProxy = "kubelet through api" // the same through the API server, as logs and exec go
	CheckDNS          = "dns"                 // a service name, asked from the node through the service address
	CheckPodNetwork   = "pod network"         // TCP from the node to every CoreDNS pod
	CheckSystemPods   = "system pods"         // every pod in kube-system works

	CheckNamespace     = "own namespace"  // that of the checks below: made, and deleted again; it is told of when that fails
	CheckServices      = "services"       // a pod reaches one on another node through the address of a service
	CheckNetworkPolicy = "network policy" // a pod does not reach another one any more once that is denied
	CheckLoadBalancer  = "load balancer"  // a service gets an address of a pool, and answers there
	CheckIngress       = "ingress"        // the ingress controller routes a host name to a service
	CheckMetrics       = "metrics"        // every node is measured, and so are pods
	CheckStorage       = "storage"        // what one pod writes to a volume that was claimed, the next one reads; for each class
	CheckRegistry      = "registry"       // an image is pushed to the registry in the cluster, and a pod runs from it
)

// Check is the outcome of one functional check.
type Check struct {
	Name string
	// Node is where the check was made; empty for one of the whole cluster.
	Node string
	OK   bool
	// Detail says what was seen, or why the check failed.
	Detail   string
	Duration time.Duration
}

// String returns the check as one line.
func (c Check) String() string {
	state := "ok"
	if !c.OK {
		state = "FAILED"
	}
	name := c.Name
	if c.Node != "" {
		name += " " + c.Node
	}
	if c.Detail == "" {
		return state + " " + name
	}
	return state + " " + name + ": " + c.Detail
}

const (
	kubeletPort    = 10250
	defaultAPIPort = 6443
	dnsPort        = 53
	systemNS       = "kube-system"
	dnsSelector    = "k8s-app=kube-dns"
	// verifyTimeout bounds one attempt of one check.
	verifyTimeout = 5 * time.Second
)

// probe is a check before it is made. It returns what was seen.
type probe struct {
	name, node string
	run        func(ctx context.Context) (string, error)
}

// Verify makes every functional check, a bounded number at a time, and returns all outcomes: those
// of the cluster first, then those of each node in the given order.
func (c *Client) Verify(ctx context.Context, input VerifyInput) []Check {
	if input.APIPort == 0 {
		input.APIPort = defaultAPIPort
	}
	probes := []probe{{CheckSystemPods, "", c.systemPods}}
	for _, node := range input.Nodes {
		probes = append(probes, c.nodeProbes(node, input)...)
	}
	checks := make([]Check, len(probes))
	slots := make(chan struct{}, parallel)
	var all sync.WaitGroup
	for i, it := range probes {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			checks[i] = it.repeat(ctx, input.Patience)
		})
	}
	all.Wait()
	return checks
}

func (c *Client) nodeProbes(node VerifyNode, input VerifyInput) []probe {
	probes := []probe{{CheckNodeReady, node.Name, func(ctx context.Context) (string, error) {
		done, detail, err := c.NodeReady(node.Name).Check(ctx)
		if err == nil && !done {
			err = said{detail}
		}
		return "", err
	}}}
	if node.ControlPlane {
		probes = append(probes, probe{CheckAPIServer, node.Name, func(ctx context.Context) (string, error) {
			return c.getFrom(ctx, node, input.APIPort, "/readyz")
		}})
	}
	return append(probes,
		probe{CheckKubelet, node.Name, func(ctx context.Context) (string, error) {
			return c.getFrom(ctx, node, kubeletPort, "/healthz")
		}},
		probe{CheckKubeletProxy, node.Name, func(ctx context.Context) (string, error) {
			body, err := c.get(ctx, "/api/v1/nodes/"+node.Name+"/proxy/healthz")
			return strings.TrimSpace(string(body)), err
		}},
		probe{CheckDNS, node.Name, func(ctx context.Context) (string, error) { return resolveFrom(ctx, node, input) }},
		probe{CheckPodNetwork, node.Name, func(ctx context.Context) (string, error) { return c.reachDNSPods(ctx, node) }})
}

// repeat makes the check until it succeeds or patience and ctx are used up.
func (p probe) repeat(ctx context.Context, patience time.Duration) Check {
	begun := time.Now()
	pause := newBackoff()
	waitCtx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		attempt, cancelAttempt := context.WithTimeout(ctx, verifyTimeout)
		detail, err := p.run(attempt)
		cancelAttempt()
		if err == nil || patience == 0 || pause.wait(waitCtx) != nil {
			check := Check{Name: p.name, Node: p.node, OK: err == nil, Detail: detail, Duration: time.Since(begun)}
			if err != nil {
				check.Detail = explainError(err)
			}
			return check
		}
	}
}

// getFrom reads a path of a server on the node, over a connection that begins there, and verifies
// that the certificate is one of the cluster's authority for the node's address.
func (c *Client) getFrom(ctx context.Context, node VerifyNode, port int, path string) (string, error) {
	transport := newTransport(c.tls, node.Dial)
	defer transport.CloseIdleConnections()
	address := netip.AddrPortFrom(node.IP, uint16(port)).String()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+path, nil)
	if err != nil {
		return "", err
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 4<<10))
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(string(body))
	if response.StatusCode != http.StatusOK {
		return "", said{fmt.Sprintf("https://%s%s answers %s: %s", address, path, response.Status, text)}
	}
	return text, nil
}

// systemPods reports the pods of kube-system that do not work.
func (c *Client) systemPods(ctx context.Context) (string, error) {
	pods, err := c.pods(ctx, systemNS, "")
	if err != nil {
		return "", err
	}
	if len(pods) == 0 {
		return "", errors.New("there are none")
	}
	var problems []string
	for _, pod := range pods {
		if problem := podProblem(pod); problem != "" {
			problems = append(problems, problem)
		}
	}
	if len(problems) > 0 {
		return "", said{fmt.Sprintf("%d of %d do not work: %s", len(problems), len(pods), strings.Join(problems, "; "))}
	}
	return fmt.Sprintf("%d", len(pods)), nil
}

// reachDNSPods connects from the node to every CoreDNS pod. Unless all of them run on this very
// node, that crosses the pod network.
func (c *Client) reachDNSPods(ctx context.Context, node VerifyNode) (string, error) {
	pods, err := c.pods(ctx, systemNS, dnsSelector)
	if err != nil {
		return "", err
	}
	var failed []string
	reached, elsewhere := 0, 0
	for _, pod := range pods {
		if pod.Status.PodIP == "" || pod.Status.Phase != corev1.PodRunning {
			continue
		}
		address := net.JoinHostPort(pod.Status.PodIP, fmt.Sprint(dnsPort))
		connection, err := node.Dial(ctx, "tcp", address)
		if err != nil {
			failed = append(failed, fmt.Sprintf("%s on %s (%s): %s", pod.Name, pod.Spec.NodeName, address, explainError(err)))
			continue
		}
		_ = connection.Close()
		reached++
		if pod.Spec.NodeName != node.Name {
			elsewhere++
		}
	}
	switch {
	case len(failed) > 0:
		return "", said{"cannot reach " + strings.Join(failed, "; ")}
	case reached == 0:
		return "", errors.New("no CoreDNS pod has an address yet")
	}
	return fmt.Sprintf("%d pods reached, %d of them on other nodes", reached, elsewhere), nil
}
