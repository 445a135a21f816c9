package addons

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubewright/certs"
	"kubewright/internal/kube"
	"kubewright/internal/kube/apitest"
	"kubewright/internal/secret"
)

// Whatever the settings, a real API server takes all objects of the addons, and finds nothing to change the
// second time.
func TestPlatformOnRealAPIServer(t *testing.T) {
	server := apitest.StartServer(t)
	client, err := kube.New(kube.Config{Server: server.URL, CAPEM: server.PKI.Bundle.Kubernetes.CertPEM(), Client: server.PKI.SuperAdmin(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := kube.Wait(ctx, client.APIReady(), nil); err != nil {
		t.Fatal(err)
	}
	p := params(t)
	p.Nodes, p.RegistryIP, p.CA = 3, netip.MustParseAddr("10.96.0.11"), server.PKI.Bundle.Kubernetes.CertPEM()
	p.Certificate = server.PKI.Issue(t, certs.KubernetesCA, certs.Request{CommonName: "x", DNSNames: []string{"x"}, Server: true})
	p.BGPPasswords = map[string]secret.Bytes{"r1": secret.Bytes("password")}
	p.Addons = configured(t, `{metricsServer: {enabled: true}, localPath: {enabled: true}, registry: {enabled: true},
		metallb: {enabled: true, pools: [{name: a, addresses: [10.9.0.1-10.9.0.9]}, {name: b, addresses: [10.9.2.0/24], onRequest: true}],
			l2: [{pools: [a], interfaces: [eth0], nodeSelector: {zone: x}}, {}],
			bgp: {peers: [{name: r1, address: 10.111.0.1, asn: 4200000000, passwordFile: x, nodeSelector: {zone: x}}, {name: r2, address: 10.111.0.2, asn: 64501, port: 1179}],
				advertisements: [{pools: [b], peers: [r1], aggregationLength: 32, communities: ["65535:65282"], localPref: 100, nodeSelector: {zone: x}}, {}]}},
		nfs: {enabled: true, server: nas.example.com, volumes: [{name: media, path: /export/media, server: nas.example.com, capacity: 10Gi, readOnly: true}]}}`)
	for _, addon := range []string{"metrics-server", "local-path", "metallb", "registry", "nfs"} {
		t.Run(addon, func(t *testing.T) {
			objects := platform(t, addon, p)
			// Nobody answers for it here.
			maps.DeleteFunc(objects, func(_ string, o *unstructured.Unstructured) bool {
				return o.GetKind() == "ValidatingWebhookConfiguration"
			})
			list := slices.Collect(maps.Values(objects))
			changes, err := client.Diff(ctx, list)
			if err == nil {
				err = client.Apply(ctx, changes)
			}
			if err != nil {
				t.Fatal(err)
			}
			if changes, err = client.Diff(ctx, list); err != nil {
				t.Fatal(err)
			}
			for _, change := range changes {
				if change.Action != kube.Keep {
					t.Errorf("%s would be changed again: %v", kube.Name(change.Object), change.Fields)
				}
			}
		})
	}
}
