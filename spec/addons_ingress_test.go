package spec

import (
	"strings"
	"testing"
)

// addonFaults parses a cluster file with these addons and settings of the API server, and returns its faults.
func addonFaults(t *testing.T, addons, controlPlane string) []string {
	t.Helper()
	text := "apiVersion: kubewright.io/v1alpha1\nkind: Cluster\nmetadata: {name: lab}\nspec:\n  kubernetesVersion: 1.37.2\n  addons: " + addons + "\n"
	if controlPlane != "" {
		text += "  controlPlane: " + controlPlane + "\n"
	}
	_, faults := Parse("cluster.yaml", []byte(text))
	var all []string
	for _, f := range faults {
		all = append(all, f.Error())
	}
	return all
}

func TestIngress(t *testing.T) {
	const pool = "metallb: {enabled: true, pools: [{name: a, addresses: [10.111.1.0/28, 10.111.2.10-10.111.2.20]}]}, "
	for _, tt := range []struct{ addons, controlPlane, want string }{ // what the one fault has in it; "" for a good file
		{"{ingress: {controller: nginx}}", "", ""},
		{pool + "ingress: {controller: nginx, address: 10.111.1.15}", "", ""},
		{pool + "ingress: {controller: nginx, address: 10.111.2.10, expose: load-balancer}", "", ""},
		{pool + "ingress: {controller: nginx, address: 10.111.2.20}", "", ""},
		{pool + "ingress: {controller: nginx, address: 10.111.2.21}", "", "cluster.yaml:6:149: spec.addons.ingress.address: no pool of spec.addons.metallb has 10.111.2.21"},
		{pool + "ingress: {controller: nginx, address: 10.111.1.16}", "", "no pool of spec.addons.metallb has 10.111.1.16"},
		{"metallb: {enabled: true, pools: [{name: a, addresses: [10.111.1.0/24], avoidBuggyIPs: true}]}, ingress: {controller: nginx, address: 10.111.1.255}", "", "spec.addons.ingress.address: the pool a leaves out addresses that end in .0 or .255"},
		{"metallb: {enabled: true, pools: [{name: a, addresses: [10.111.1.0/24], avoidBuggyIPs: true, onRequest: true}]}, ingress: {controller: nginx, address: 10.111.1.7}", "", ""},
		{pool + "ingress: {controller: nginx, address: 10.111.1.15, expose: node-port}", "", "it is reached through ports of the nodes"},
		{"{ingress: {controller: nginx, address: 10.111.1.15}}", "", "only MetalLB gives out 10.111.1.15: enable spec.addons.metallb"},
		{"{ingress: {controller: nginx, address: fd00::1}}", "", `spec.addons.ingress.address: "fd00::1" is no IPv4 address`},
		{"{ingress: {controller: nginx, address: www}}", "", `"www" is no IPv4 address`},
		{"{ingress: {controller: traefik}}", "", `spec.addons.ingress.controller: unknown value "traefik"`},
		{"{ingress: {className: In_ternal}}", "", `spec.addons.ingress.className: "In_ternal" is no name of an IngressClass`},
		{"{ingress: {className: a.b-c}}", "", ""},
		{"{ingress: {httpPort: 30080, httpsPort: 32767}}", "", ""},
		{"{ingress: {httpPort: 80}}", "", "spec.addons.ingress.httpPort: 80 is not among the ports that services may have on the nodes, 30000-32767; take one"},
		{"{ingress: {httpsPort: 32768}}", "", "spec.addons.ingress.httpsPort: 32768 is not among"},
		{"{ingress: {httpPort: 80, httpsPort: 443}}", `{apiServer: {extraArgs: {service-node-port-range: "80-32767"}}}`, ""},
		{"{ingress: {httpPort: 30080}}", `{apiServer: {extraArgs: {service-node-port-range: "31000+100"}}}`, "30080 is not among the ports that services may have on the nodes, 31000-31100"},
		{"{ingress: {httpPort: 30080}}", `{apiServer: {extraArgs: {service-node-port-range: "9-1"}}}`, `spec.controlPlane.apiServer.extraArgs.service-node-port-range: "9-1" is no range of ports`},
		{"{ingress: {httpPort: 30080, httpsPort: 30080}}", "", "spec.addons.ingress.httpsPort: 30080 is httpPort already"},
		{"{ingress: {certFile: tls.crt, keyFile: tls.key}}", "", ""},
		{"{ingress: {certFile: tls.crt}}", "", "spec.addons.ingress.certFile: its private key is missing"},
		{"{ingress: {keyFile: tls.key}}", "", "spec.addons.ingress.keyFile: its certificate is missing"},
		{`{ingress: {config: {proxy-body-size: 8m, "a b": c}}}`, "", `"a b" is no key of a ConfigMap`},
		{`{ingress: {config: {log-format: "a\nb"}, nodeSelector: {example.com/edge: "", b: c}}}`, "", ""},
		{`{ingress: {nodeSelector: {"a b": c}}}`, "", `"a b" is no key of a label`},
		{`{ingress: {nodeSelector: {a: "b c"}}}`, "", `spec.addons.ingress.nodeSelector.a: "b c" is no value of a label`},
		{"{ingress: {replicas: 0}}", "", "spec.addons.ingress.replicas: 0 is out of range"},
	} {
		if !strings.HasPrefix(tt.addons, "{") {
			tt.addons = "{" + tt.addons + "}"
		}
		faults := addonFaults(t, tt.addons, tt.controlPlane)
		if tt.want == "" && len(faults) > 0 || tt.want != "" && (len(faults) != 1 || !strings.Contains(faults[0], tt.want)) {
			t.Errorf("%s %s:\n got %q\nwant %q", tt.addons, tt.controlPlane, faults, tt.want)
		}
	}
}

func TestExposed(t *testing.T) {
	for _, tt := range []struct {
		expose  string
		metallb bool
		want    string
	}{
		{"auto", false, ExposeNodePort}, {"auto", true, ExposeLoadBalancer},
		{ExposeNodePort, true, ExposeNodePort}, {ExposeLoadBalancer, false, ExposeLoadBalancer},
	} {
		if got := (Ingress{Expose: tt.expose}).Exposed(MetalLB{Enabled: tt.metallb}); got != tt.want {
			t.Errorf("%s, MetalLB %t: %s", tt.expose, tt.metallb, got)
		}
	}
}
