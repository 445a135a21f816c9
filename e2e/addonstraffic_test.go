//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubewright/certs"
)

// loadBalancer: a service gets an address of the pool, and answers there to this machine, which is no host of
// the cluster.
func (a *addonsLab) loadBalancer(t *testing.T) {
	ns := a.cluster.namespace(t)
	a.cluster.start(t, ns, "web", serverSpec())
	address := a.balanced(t, ns, "web", nil)
	if !strings.HasPrefix(address, "10.150.0.2") {
		t.Errorf("the service has the address %s, which is not of the pool", address)
	}
	a.wantFromHere(t, "http://"+address, "web")
}

// balanced makes a service of type LoadBalancer for the pods labelled app=name, and waits for its address.
func (a *addonsLab) balanced(t testing.TB, namespace, name string, change func(*corev1.ServiceSpec)) string {
	t.Helper()
	a.cluster.expose(t, namespace, name, func(s *corev1.ServiceSpec) {
		s.Type = corev1.ServiceTypeLoadBalancer
		if change != nil {
			change(s)
		}
	})
	return a.balancedAddress(t, namespace, name)
}

// balancedAddress waits for the address of a service.
func (a *addonsLab) balancedAddress(t testing.TB, namespace, name string) string {
	t.Helper()
	address := ""
	services := watched{getter: a.cluster.client.CoreV1().RESTClient(), resource: "services", namespace: namespace}
	await(t, services.named(name), answerTimeout, func(found []*corev1.Service) string {
		if len(found) != 1 || len(found[0].Status.LoadBalancer.Ingress) == 0 {
			return "an address of the service " + name
		}
		address = found[0].Status.LoadBalancer.Ingress[0].IP
		return ""
	})
	return address
}

// wantFromHere waits until a URL, asked from this machine, answers as wanted.
func (a *addonsLab) wantFromHere(t testing.TB, url, want string) {
	t.Helper()
	eventually(t, answerTimeout, "GET "+url+" from outside", func(ctx context.Context) error {
		got, err := get(ctx, url)
		if err == nil && got != want {
			err = fmt.Errorf("the answer is %.200q, want %q", got, want)
		}
		return err
	})
}

// takeover is within what time an address has to answer again when the node that announces it is gone.
const takeover = 15 * time.Second

// announcerDies: the node that announces an address is switched off hard, and another takes the address over.
func (a *addonsLab) announcerDies(t *testing.T) {
	c := a.cluster
	ns := c.namespace(t)
	c.start(t, ns, "web", onNode(serverSpec(), "cp1"))
	// Which node announces an address follows from its name. cp1 is not to be switched off: the pod is there.
	var address, announcer string
	for i := 0; announcer == "" || announcer == "cp1"; i++ {
		if i == 10 {
			t.Fatalf("no worker announces any of %d addresses", i)
		}
		name := "web-" + strconv.Itoa(i)
		service, err := c.client.CoreV1().Services(ns).Create(t.Context(), &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: corev1.ServiceSpec{
				Type: corev1.ServiceTypeLoadBalancer, Selector: map[string]string{"app": "web"},
				Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: serverPortOf()}},
			},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		address = a.balancedAddress(t, ns, service.Name)
		// Where the address was announced for another service is not to count.
		if out, err := exec.CommandContext(t.Context(), "ip", "neigh", "flush", "to", address).CombinedOutput(); err != nil {
			t.Fatalf("ip neigh flush: %v\n%s", err, out)
		}
		a.wantFromHere(t, "http://"+address, "web")
		announcer = a.announcer(t, address)
	}
	before := interfaceOf(t, address)
	stopped := time.Now()
	a.power(t, "stop", announcer)
	afterwards(t, func(t testing.TB) {
		a.power(t, "start", announcer)
		c.wantReadyNodes(t, len(c.nodes(t)))
	})
	// What was killed forwards packets until the kernel has taken its network down: an answer counts when it comes
	// through another node.
	eventually(t, answerTimeout, address+" to answer without "+announcer, func(ctx context.Context) error {
		body, err := get(ctx, "http://"+address)
		if err == nil && !strings.HasPrefix(body, "web") {
			err = fmt.Errorf("somebody else answers: %q", body)
		}
		if now := interfaceOf(t, address); err == nil && (now == "" || now == before) {
			err = errors.New("still by way of " + announcer)
		}
		return err
	})
	took := time.Since(stopped)
	t.Logf("%s answers again %s after %s was switched off", address, took.Round(10*time.Millisecond), announcer)
	if took > takeover {
		t.Errorf("that is more than %s", takeover)
	}
}

// announcer is the node whose network interface this machine knows an address by; "" if it is none's.
func (a *addonsLab) announcer(t testing.TB, address string) string {
	t.Helper()
	wanted := interfaceOf(t, address)
	for _, n := range a.nodes(t) {
		a.on(t, n.Name, "true") // a node that this machine has not talked to for long is forgotten
		if wanted != "" && interfaceOf(t, n.Address) == wanted {
			return n.Name
		}
	}
	return ""
}

// interfaceOf is the hardware address by which this machine knows an address; "" if by none.
func interfaceOf(t testing.TB, address string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ip", "neigh", "show", "to", address).Output()
	if err != nil {
		t.Fatalf("ip neigh: %v", err)
	}
	words := strings.Fields(string(out))
	if i := slices.Index(words, "lladdr"); i >= 0 && i+1 < len(words) {
		return words[i+1]
	}
	return ""
}

// bgp: a router learns of the addresses of a pool that is in no network of its own, and reaches them.
func (a *addonsLab) bgp(t *testing.T) {
	bird, err := exec.LookPath("bird")
	if err != nil {
		t.Skip("there is no bird, the router of Debian's package bird2, on this machine")
	}
	a.node(t, "add", "--role", "worker")
	nodes := a.nodes(t)
	router := nodes[len(nodes)-1]
	a.edit(t, "inventory.yaml", fmt.Sprintf("  - name: %s\n    address: %s\n    roles: [worker]\n", router.Name, router.Address), "")
	a.carry(t, router.Name, bird, "/root/bird")
	var config strings.Builder
	fmt.Fprintf(&config, "router id %s;\nprotocol device {}\nprotocol kernel { merge paths on; ipv4 { export all; }; }\n", router.Address)
	for _, n := range nodes[:len(nodes)-1] {
		fmt.Fprintf(&config, "protocol bgp %s { local %s as 64513; neighbor %s as 64512; passive on; ipv4 { import all; export none; }; }\n", n.Name, router.Address, n.Address)
	}
	a.on(t, router.Name, "mkdir -p /run/bird && cat >/root/bird.conf <<'CONF'\n"+config.String()+"CONF\nsystemd-run --quiet --unit=bird /root/bird/run -f -c /root/bird.conf -s /run/bird.ctl")

	before := inFile(addonsWanted(t))
	with := strings.Replace(before, "        - {name: lab, addresses: ["+addonPool+"]}\n", "        - {name: lab, addresses: ["+addonPool+"]}\n        - {name: routed, onRequest: true, addresses: ["+routedPool+"]}\n", 1)
	with = strings.Replace(with, "        - {pools: [lab]}\n", `        - {pools: [lab]}
      bgp:
        peers: [{name: router, address: `+router.Address+`, asn: 64513}]
        advertisements: [{pools: [routed]}]
`, 1)
	a.edit(t, "cluster.yaml", before, with)
	t.Cleanup(func() { a.edit(t, "cluster.yaml", with, before) })
	a.tool(t, "apply", "--yes").want(t, exitDone)

	c := a.cluster
	ns := c.namespace(t)
	c.start(t, ns, "web", serverSpec())
	_, err = c.client.CoreV1().Services(ns).Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Annotations: map[string]string{"metallb.io/address-pool": "routed"}},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, Selector: map[string]string{"app": "web"},
			Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: serverPortOf()}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	address := a.balancedAddress(t, ns, "web")
	eventually(t, answerTimeout, "a route to "+address+" on the router", func(ctx context.Context) error {
		routes, err := a.shell(ctx, router.Name, "ip route show "+address+"/32")
		if err == nil && !strings.Contains(routes, "bird") {
			err = fmt.Errorf("there is none: %q", routes)
		}
		return err
	})
	eventually(t, answerTimeout, address+" to answer the router", func(ctx context.Context) error {
		got, err := a.shell(ctx, router.Name, "curl -sSf --max-time 3 http://"+address)
		if err == nil && strings.TrimSpace(got) != "web" {
			err = fmt.Errorf("the answer is %q", got)
		}
		return err
	})
}

// carry brings a program of this machine, with the libraries that it needs, into a folder of a host, where `run` starts it.
func (a *addonsLab) carry(t testing.TB, host, program, dir string) {
	t.Helper()
	libraries, err := exec.CommandContext(t.Context(), "ldd", program).Output()
	if err != nil {
		t.Fatalf("ldd %s: %v", program, err)
	}
	files, loader := []string{program}, ""
	for _, word := range strings.Fields(string(libraries)) {
		if !strings.HasPrefix(word, "/") {
			continue
		}
		files = append(files, word)
		if strings.Contains(filepath.Base(word), "ld-linux") {
			loader = filepath.Base(word)
		}
	}
	script := fmt.Sprintf("#!/bin/sh\nexec %[1]s/%[2]s --library-path %[1]s %[1]s/%[3]s \"$@\"\n", dir, loader, filepath.Base(program))
	packedFiles := []packed{{"run", 0o755, []byte(script)}}
	for _, file := range files {
		content, err := exec.CommandContext(t.Context(), "cat", file).Output()
		if err != nil {
			t.Fatal(err)
		}
		packedFiles = append(packedFiles, packed{filepath.Base(file), 0o755, content})
	}
	a.on(t, host, "mkdir -p "+dir)
	if _, err := a.ssh(t.Context(), host, bytes.NewReader(tarball(t, packedFiles...)), "tar", "-xf", "-", "-C", dir); err != nil {
		t.Fatal(err)
	}
}

// ingress: hosts and paths are routed, TLS is served with the certificate of the ingress, and backends see who asks.
func (a *addonsLab) ingress(t *testing.T) {
	needsImage(t, nginxImage)
	c := a.cluster
	ns := c.namespace(t)
	for _, name := range []string{"one", "two"} {
		c.start(t, ns, name, serverSpec())
		c.expose(t, ns, name, nil)
	}
	env := certs.Env{Now: time.Now(), Rand: rand.Reader}
	ca, err := certs.NewAuthority("somebody's", certs.ECDSAP256, env)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(certs.Request{CommonName: "web.example.com", DNSNames: []string{"web.example.com"}, Server: true}, env)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.client.CoreV1().Secrets(ns).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "web"}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{corev1.TLSCertKey: pair.CertPEM, corev1.TLSPrivateKeyKey: pair.KeyPEM.Reveal()},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	prefix := networkingv1.PathTypePrefix
	to := func(path, service string) networkingv1.HTTPIngressPath {
		return networkingv1.HTTPIngressPath{Path: path, PathType: &prefix, Backend: networkingv1.IngressBackend{
			Service: &networkingv1.IngressServiceBackend{Name: service, Port: networkingv1.ServiceBackendPort{Number: 80}},
		}}
	}
	rule := func(host string, paths ...networkingv1.HTTPIngressPath) networkingv1.IngressRule {
		return networkingv1.IngressRule{Host: host, IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{Paths: paths}}}
	}
	if _, err := c.client.NetworkingV1().Ingresses(ns).Create(t.Context(), &networkingv1.Ingress{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: networkingv1.IngressSpec{
			Rules: []networkingv1.IngressRule{rule("web.example.com", to("/", "one"), to("/echo", "two")), rule("other.example.com", to("/", "two"))},
			TLS:   []networkingv1.IngressTLS{{Hosts: []string{"web.example.com"}, SecretName: "web"}},
		},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.CertPEM())
	const address = "10.150.0.220"
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, network, to string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(to)
			if err != nil {
				return nil, err
			}
			return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(address, port))
		},
	}}
	for url, want := range map[string]string{
		"https://web.example.com/":     "one\n",
		"https://web.example.com/echo": "X-Real-Ip: 10.150.0.1\n",
		"http://other.example.com/":    "two\n",
	} {
		eventually(t, answerTimeout, "GET "+url, func(ctx context.Context) error {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
			if err != nil {
				return err
			}
			response, err := client.Do(request)
			if err != nil {
				return err
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			if err == nil && !strings.Contains(string(body), want) {
				err = fmt.Errorf("the answer is %.300q, want %q", body, want)
			}
			return err
		})
	}
}
