package cluster_test

import (
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"kubewright/certs"
)

const ingressHost = "- {name: cp1, address: 10.111.0.10, roles: [control-plane, worker]}"

// givenIngress are a cluster file with an ingress controller, and the certificate that it names.
func givenIngress(t *testing.T, controller string, request certs.Request) memory {
	t.Helper()
	env := certs.Env{Now: now(), Rand: rand.Reader}
	ca, err := certs.NewAuthority("somebody's", certs.ECDSAP256, env)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(request, env)
	if err != nil {
		t.Fatal(err)
	}
	return memory{
		"tls/www.crt": string(pair.CertPEM), "tls/www.key": string(pair.KeyPEM),
		"cluster.yaml": strings.Replace(clusterOf(ingressHost), "  hosts:\n", `  addons:
    ingress:
      controller: `+controller+`
      certFile: tls/www.crt
      keyFile: tls/www.key
  hosts:
`, 1),
	}
}

func TestIngressCertificate(t *testing.T) {
	const day = 24 * time.Hour
	server := certs.Request{CommonName: "www", Server: true, DNSNames: []string{"www.example.com"}, Lifetime: 90 * day}
	m := givenIngress(t, "nginx", server)
	c, warnings, err := m.loadAt(t, now())
	if err != nil || len(warnings) > 0 {
		t.Fatalf("faults: %v, warnings: %v", err, warnings)
	}
	if got := c.Addons.IngressCertificate; string(got.CertPEM) != m["tls/www.crt"] || string(got.KeyPEM) != m["tls/www.key"] || c.Addons.Ingress.Controller != "nginx" {
		t.Errorf("%s, of %+v", got.CertPEM, c.Addons.Ingress)
	}
	if shown := fmt.Sprintf("%v %+v", c.Addons.IngressCertificate, *c); strings.Contains(shown, strings.Fields(m["tls/www.key"])[4]) {
		t.Error("the key is shown")
	}
	client := server
	client.Server, client.Client = false, true
	for name, tt := range map[string]struct {
		request certs.Request
		change  func(memory)
		at      time.Time
		good    bool
		want    string
	}{
		"no certificate":   {change: func(m memory) { delete(m, "tls/www.crt") }, want: "cluster.yaml:9:17: spec.addons.ingress.certFile: tls/www.crt cannot be read: "},
		"no key":           {change: func(m memory) { delete(m, "tls/www.key") }, want: "cluster.yaml:10:16: spec.addons.ingress.keyFile: tls/www.key cannot be read: "},
		"no PEM":           {change: func(m memory) { m["tls/www.crt"] = "hunter2" }, want: "certFile: tls/www.crt cannot be used: no PEM encoded certificate"},
		"key of another":   {change: func(m memory) { m["tls/www.key"] = givenIngress(t, "nginx", server)["tls/www.key"] }, want: "keyFile: tls/www.key cannot be used: the key does not belong to the certificate"},
		"that of a client": {request: client, want: `certFile: tls/www.crt cannot be used: the certificate "www" is not for servers: the extended key usage serverAuth is missing`},
		"expired":          {at: now().Add(90 * day), want: `certFile: tls/www.crt cannot be used: the certificate "www" expired at`},
		"expires soon":     {at: now().Add(85 * day), good: true, want: "spec.addons.ingress.certFile: tls/www.crt expires at 2030-05-30T12:00:00Z: kubewright does not renew it"},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.request.CommonName == "" {
				tt.request = server
			}
			if tt.at.IsZero() {
				tt.at = now()
			}
			m := givenIngress(t, "nginx", tt.request)
			if tt.change != nil {
				tt.change(m)
			}
			_, warnings, err := m.loadAt(t, tt.at)
			text := fmt.Sprint(err)
			if tt.good {
				text = fmt.Sprint(warnings)
			}
			if (err == nil) != tt.good || !strings.Contains(text, tt.want) || strings.Contains(text, "hunter2") {
				t.Errorf("faults: %v, warnings: %v\nwant %s", err, warnings, tt.want)
			}
		})
	}
}

func TestArchivedIngressController(t *testing.T) {
	m := givenIngress(t, "ingress-nginx", certs.Request{CommonName: "www", Server: true, DNSNames: []string{"www.example.com"}})
	_, warnings, err := m.loadAt(t, now())
	if want := "cluster.yaml:8:19: spec.addons.ingress.controller: ingress-nginx is archived since March 2026"; err != nil || !strings.Contains(fmt.Sprint(warnings), want) || !strings.Contains(fmt.Sprint(warnings), "did you mean nginx?") {
		t.Errorf("faults: %v, warnings: %v", err, warnings)
	}
}
