package templates

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"kubewright/internal/kube/apitest"
)

// servesDNS runs CoreDNS on loopback with a Corefile, and returns a resolver that asks it. It returns once CoreDNS
// servesDNS for a name.
func servesDNS(t *testing.T, binary, corefile string, at netip.AddrPort, ready string) *net.Resolver {
	t.Helper()
	file := filepath.Join(t.TempDir(), "Corefile")
	if err := os.WriteFile(file, []byte(corefile), 0o600); err != nil {
		t.Fatal(err)
	}
	apitest.StartProcess(t, binary, "-conf", file)
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", at.String())
	}}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for tick := time.NewTicker(50 * time.Millisecond); ; {
		_, err := resolver.LookupHost(ctx, ready)
		if err == nil {
			return resolver
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("CoreDNS does not answer: %v, with\n%s", err, corefile)
		}
	}
}

// TestCoreDNSAnswers: the real program reads the Corefile, and finds names where they are said to be: those of
// hosts also below a domain that other servers answer for.
func TestCoreDNSAnswers(t *testing.T) {
	binary := apitest.Binary(t, "coredns")
	server := func(names string) netip.AddrPort {
		at := netip.AddrPortFrom(apitest.Loopback(), uint16(apitest.FreePort(t)))
		servesDNS(t, binary, fmt.Sprintf(".:%d {\n bind 127.0.0.1\n hosts /dev/null {\n %s\n }\n}\n", at.Port(), names), at, "up.example.net.")
		return at
	}
	d := coreDNSData()
	d.Forward = []netip.AddrPort{server("192.0.2.1 outside.example.net www.corp.example.com up.example.net")}
	d.Zones = []DNSZone{{"corp.example.com", []netip.AddrPort{server("192.0.2.2 www.corp.example.com git.corp.example.com up.example.net")}}}
	d.Hosts = []DNSHost{{addr("192.0.2.3"), []string{"git.corp.example.com", "registry.internal"}}, {addr("192.0.2.4"), []string{"registry.internal"}}}
	out, err := CoreDNS(d)
	if err != nil {
		t.Fatal(err)
	}
	cm, _ := decodeStrict(t, out)["ConfigMap kube-system/coredns"].(*corev1.ConfigMap)
	at := netip.AddrPortFrom(apitest.Loopback(), uint16(apitest.FreePort(t)))
	// There is no cluster, and the ports belong to whoever has them.
	corefile := regexp.MustCompile(`(?s)    kubernetes .*?\n    }\n`).ReplaceAllString(cm.Data["Corefile"], "")
	corefile = regexp.MustCompile(`(?s)    health \{.*?\n    }\n|    ready\n|    prometheus :9153\n`).ReplaceAllString(corefile, "")
	corefile = strings.ReplaceAll(corefile, ":53 {\n", fmt.Sprintf(":%d {\n    bind 127.0.0.1\n", at.Port()))
	resolver := servesDNS(t, binary, corefile, at, "registry.internal.")
	for name, want := range map[string]string{
		"outside.example.net.": "[192.0.2.1]", "www.corp.example.com.": "[192.0.2.2]", "git.corp.example.com.": "[192.0.2.3]",
		"registry.internal.": "[192.0.2.3 192.0.2.4]",
	} {
		got, err := resolver.LookupHost(t.Context(), name)
		if err != nil || len(got) != strings.Count(want, " ")+1 || !strings.Contains(want, got[0]) {
			t.Errorf("%s is %v, %v; want %s", name, got, err, want)
		}
	}
}
