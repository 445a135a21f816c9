//go:build e2e

package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// The ways to the API servers that the nodes of the test are given in turn.
const localServer = "127.0.0.1:7443"

// The nodes of a cluster that runs are moved from their own load balancers to a virtual IP, and back.
// Clients notice nothing but connections that end; afterwards nothing refers to the way of before.
func TestEndpointMigration(t *testing.T) {
	long(t)
	besideOthers(t)
	l := newLab(t, labSpec{name: "e2e-ends", subnet: "10.135.0.0/24", controlPlanes: 3, workers: 1})
	l.tool(t, "apply", "--yes").want(t, exitDone)
	vip := l.vip(t)
	atVIP := l.copied(t, "  kubernetesVersion:", "  controlPlane: {vip: {address: "+vip+"}, nodeEndpoint: endpoint}\n  kubernetesVersion:")
	for _, step := range []struct {
		name     string
		lab      *lab
		ways     ways
		has, not string // a name of the API servers' certificates, and one that is none
	}{
		{"ToVIP", atVIP, ways{to: vip + ":6443", from: localServer, pods: "haproxy"}, vip, "127.0.0.1"},
		{"Back", l, ways{to: localServer, from: vip, pods: "keepalived"}, "127.0.0.1", vip},
	} {
		if !t.Run(step.name, func(t *testing.T) {
			step.lab.refusedInPart(t)
			watched := step.lab.watchedWhile(t, func() { step.lab.tool(t, "apply", "--yes").want(t, exitDone) })
			for _, fault := range watched {
				t.Error(fault)
			}
			step.lab.wantWhole(t, 4, "cp1", "cp2", "cp3")
			c := step.lab.connect(t)
			c.wantServed(t, step.has, step.not)
			c.wantMoved(t, step.ways)
		}) {
			return // what comes after it begins where it was to end
		}
	}
	l.wantNowhere(t, vip)
}

// refusedInPart: a host is not sent where the others, left out, do not serve it.
func (l *lab) refusedInPart(t testing.TB) {
	t.Helper()
	before := l.on(t, "worker1", "cat /etc/kubernetes/kubelet.conf")
	l.tool(t, "apply", "--yes", "--limit", "worker1").want(t, exitBadInput).says(t, "run without --limit")
	if l.on(t, "worker1", "cat /etc/kubernetes/kubelet.conf") != before {
		t.Error("worker1 was moved to where nobody answers")
	}
}

// watchedWhile does something while clients use the API: from this machine each API server at its own
// address, and on each node whatever its kubelet is told to use. It returns what they must not have seen.
func (l *lab) watchedWhile(t testing.TB, change func()) []string {
	t.Helper()
	c := l.connect(t)
	stop := l.nodesRead(t)
	var readers []*reader
	for _, n := range l.nodes(t) {
		if n.Role == "control-plane" {
			readers = append(readers, c.reads(t, n))
		}
	}
	change()
	faults := stop()
	for _, r := range readers {
		faults = append(faults, r.stop()...)
	}
	return faults
}

// longestGap is how long a client may be without an answer: connections end, and are made again.
const longestGap = 10 * time.Second

// nodesRead has each node ask for the API where its kubelet is told to, again and again, with a
// connection of its own each time. The returned function ends it, and says what was wrong.
func (l *lab) nodesRead(t testing.TB) (stop func() []string) {
	t.Helper()
	const script = `
		while :; do
			server=$(sed -n "s/^ *server: //p" /etc/kubernetes/kubelet.conf)
			code=0
			curl -sS -o /dev/null -m 2 --cacert /etc/kubernetes/pki/ca.crt "$server/readyz" 2>/run/reader.err || code=$?
			echo "$(date +%s.%N) $code $server $(cat /run/reader.err)" >>/run/reader.log
			sleep 0.2
		done`
	nodes := l.nodes(t)
	for _, n := range nodes {
		l.on(t, n.Name, "rm -f /run/reader.log; systemd-run --quiet --collect --unit=reader sh -c '"+strings.ReplaceAll(script, "'", `'\''`)+"'")
		afterwards(t, func(t testing.TB) { l.on(t, n.Name, "systemctl stop reader 2>/dev/null || true") })
	}
	return func() []string {
		var faults []string
		for _, n := range nodes {
			faults = append(faults, judge(t, n.Name, l.on(t, n.Name, "systemctl stop reader; cat /run/reader.log"))...)
		}
		return faults
	}
}

// judge reads what a node has noted: time, exit code of curl, server, and what curl said.
func judge(t testing.TB, node, log string) (faults []string) {
	t.Helper()
	const certificate = "60" // the server's is not trusted, or for another name
	var good, longest float64
	answers := 0
	for line := range strings.Lines(log) {
		fields := strings.SplitN(strings.TrimSpace(line), " ", 4)
		at, err := strconv.ParseFloat(fields[0], 64)
		if err != nil || len(fields) < 3 {
			t.Fatalf("%s has noted %q: %v", node, line, err)
		}
		switch fields[1] {
		case "0":
			if good != 0 {
				longest = max(longest, at-good)
			}
			good = at
			answers++
		case certificate:
			faults = append(faults, node+": "+line)
		}
	}
	t.Logf("%s had %d answers where its kubelet goes, the longest time without one was %.1f s", node, answers, longest)
	if gap := longestGap.Seconds(); longest > gap || answers < 10 {
		faults = append(faults, fmt.Sprintf("%s had %d answers, and none for %.1f s", node, answers, longest))
	}
	return faults
}

// reader asks one API server again and again, on connections of their own, and watches there.
type reader struct {
	name   string
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu      sync.Mutex
	answers int
	good    time.Time
	longest time.Duration
	faults  []string
}

// reads starts a reader of the API server on a node.
func (c *cluster) reads(t testing.TB, n node) *reader {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &reader{name: n.Name, cancel: cancel, good: time.Now()}
	t.Cleanup(func() { r.stop() })
	config := rest.CopyConfig(c.config)
	config.Host = "https://" + net.JoinHostPort(n.Address, "6443")
	watching, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	trust, err := rest.TLSConfigFor(config)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Timeout: writeTimeout, Transport: &http.Transport{TLSClientConfig: trust, DisableKeepAlives: true}}
	r.done.Go(func() { r.watch(ctx, watching) })
	r.done.Go(func() {
		ticker := time.NewTicker(time.Second / 10)
		defer ticker.Stop()
		for ctx.Err() == nil {
			<-ticker.C
			r.note(ctx, read(ctx, client, config.Host+"/api/v1/namespaces/kube-system"))
		}
	})
	return r
}

// read asks for an object, and wants no other answer than that.
func read(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, response.Body)
	if response.StatusCode != http.StatusOK {
		err = errors.New(response.Status)
	}
	return errors.Join(err, response.Body.Close())
}

func (r *reader) watch(ctx context.Context, client *kubernetes.Clientset) {
	for ctx.Err() == nil {
		events, err := client.CoreV1().Nodes().Watch(ctx, metav1.ListOptions{})
		r.note(ctx, err)
		if err != nil {
			select {
			case <-time.After(time.Second / 10):
			case <-ctx.Done():
			}
			continue
		}
		for range events.ResultChan() { // that it ends is what is waited for
		}
	}
}

// note takes an answer, or its absence: a connection that ends is none of the faults.
func (r *reader) note(ctx context.Context, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var wrong *tls.CertificateVerificationError
	var broken net.Error
	switch {
	case ctx.Err() != nil:
	case err == nil:
		r.longest = max(r.longest, time.Since(r.good))
		r.answers, r.good = r.answers+1, time.Now()
	case errors.As(err, &broken) && !errors.As(err, &wrong): // refused, reset, or without an answer in time
	default:
		r.faults = append(r.faults, fmt.Sprintf("at %s: %v", r.name, err))
	}
}

func (r *reader) stop() []string {
	r.cancel()
	r.done.Wait()
	if r.longest > longestGap || r.answers < 10 {
		r.faults = append(r.faults, fmt.Sprintf("%s gave %d answers, and none for %s", r.name, r.answers, r.longest))
	}
	return r.faults
}

// ways are where clients go, where they came from, and which pods led there.
type ways struct{ to, from, pods string }

// wantServed waits until every API server has one name and not the other. It reads its certificate
// again within moments.
func (c *cluster) wantServed(t testing.TB, has, not string) {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(c.config.CAData) {
		t.Fatal("the kubeconfig has no authority")
	}
	for _, n := range c.nodes(t) {
		if n.Role != "control-plane" {
			continue
		}
		eventually(t, answerTimeout, "the certificate that "+n.Name+" serves", func(ctx context.Context) error {
			dialer := tls.Dialer{Config: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
			conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(n.Address, "6443"))
			if err != nil {
				return err
			}
			served := conn.(*tls.Conn).ConnectionState().PeerCertificates[0]
			if err := errors.Join(served.VerifyHostname(has), conn.Close()); err != nil {
				return err
			}
			if served.VerifyHostname(not) == nil {
				return fmt.Errorf("it is for %s still", not)
			}
			return nil
		})
	}
}

// wantMoved checks that every kubelet and kube-proxy goes by the new way, and that nothing is left of
// the old one: no file, no ConfigMap, no pod, no address.
func (c *cluster) wantMoved(t testing.TB, w ways) {
	t.Helper()
	for _, n := range c.nodes(t) {
		if got := c.on(t, n.Name, "sed -n 's/^ *server: //p' /etc/kubernetes/kubelet.conf"); got != "https://"+w.to {
			t.Errorf("the kubelet of %s goes to %s", n.Name, got)
		}
	}
	proxy, err := c.client.CoreV1().ConfigMaps("kube-system").Get(t.Context(), "kube-proxy", metav1.GetOptions{})
	if err != nil || !strings.Contains(fmt.Sprint(proxy.Data), w.to) {
		t.Errorf("kube-proxy is not told of %s: %v, %v", w.to, proxy.Data, err)
	}
	c.wantNowhere(t, w.from)
	await(t, c.pods("kube-system"), answerTimeout, func(pods []*corev1.Pod) string {
		var left []string
		for _, p := range pods {
			if strings.HasPrefix(p.Name, w.pods+"-") {
				left = append(left, p.Name)
			}
		}
		if len(left) > 0 {
			return strings.Join(left, ", ") + " to go"
		}
		return ""
	})
}

// wantNowhere checks that no host has a text in its configuration, or as an address, and no ConfigMap. The
// manifest tells what was there as well, and that it was taken away.
func (l *lab) wantNowhere(t testing.TB, text string) {
	t.Helper()
	for _, n := range l.nodes(t) {
		files := l.on(t, n.Name, "grep -rlwF --exclude=manifest '"+text+"' /etc/kubernetes /etc/cni /etc/systemd /etc/containerd /var/lib/kubelet /var/lib/kubewright 2>/dev/null || true")
		if files != "" {
			t.Errorf("%s has %s in %s", n.Name, text, files)
		}
		eventually(t, answerTimeout, "the addresses of "+n.Name, func(ctx context.Context) error {
			has, err := l.shell(ctx, n.Name, "ip -o address show | grep -wF '"+text+"' || true")
			if err == nil && strings.TrimSpace(has) != "" {
				err = errors.New(has)
			}
			return err
		})
	}
	maps, err := l.connect(t).client.CoreV1().ConfigMaps("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range maps.Items {
		for key, value := range m.Data {
			if strings.Contains(value, text) {
				t.Errorf("ConfigMap %s/%s has %s in %s", m.Namespace, m.Name, text, key)
			}
		}
	}
}
