package cluster_test

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"kubewright/cluster"
	"kubewright/internal/catalog"
	"kubewright/inventory"
)

// machine is a host that joins a cluster, or begins one.
func machine(name, address string, roles ...string) []cluster.Setting {
	return []cluster.Setting{
		{Flag: "--node-name", Keys: []string{"name"}, Value: name},
		{Flag: "--apiserver-advertise-address", Keys: []string{"address"}, Value: address},
		{Flag: "--control-plane", Keys: []string{"roles"}, Value: roles},
	}
}

func document(t *testing.T, c *cluster.Cluster) string {
	t.Helper()
	data, err := c.Document()
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// A host that has left is in the document no more, which else is as it was made.
func TestWithoutHost(t *testing.T) {
	plane := func(n string) string {
		return "- {name: cp" + n + ", address: 10.111.0.1" + n + ", roles: [control-plane], labels: {a: \"\"}}"
	}
	of := func(hosts ...string) string {
		return document(t, mustLoad(t, memory{"cluster.yaml": strings.Replace(clusterOf(append(hosts, "- {name: w1, address: 10.111.0.20, roles: [worker]}")...), "  hosts:\n", "  controlPlane: {endpoint: api.example.com, nodeEndpoint: endpoint}\n  hosts:\n", 1)}))
	}
	before := of(plane("1"), plane("2"), plane("3"))
	after := []byte(before)
	for _, name := range []string{"w1", "cp2", "cp3"} { // of which the first is not in it
		var err error
		if after, err = cluster.WithoutHost(after, name); err != nil || name == "w1" && string(after) != before {
			t.Errorf("without %s: %v\n%s", name, err, after)
		}
	}
	if diff := cmp.Diff(of(plane("1")), string(after)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if same, err := cluster.WithoutHost([]byte("kind: Cluster\n"), "cp1"); err != nil || string(same) != "kind: Cluster\n" {
		t.Errorf("%q, %v", same, err)
	}
	if _, err := cluster.WithoutHost([]byte("a: [\n"), "cp1"); err == nil {
		t.Error("what is no document is taken for one")
	}
}

// What a document says is the cluster, but for what it is not to say; and of that cluster it is the document.
func TestDocument(t *testing.T) {
	worker := func(roles string) string { return "- {name: w1, address: 10.111.0.20, roles: [" + roles + "]}" }
	plane := "- {name: cp1, address: 10.111.0.10, roles: [control-plane], labels: {a: \"\", b: x}, taints: [\"k=v:NoExecute\"]}"
	with := func(setting string, hosts ...string) memory {
		return memory{"cluster.yaml": strings.Replace(clusterOf(hosts...), "  hosts:\n", "  "+setting+"\n  hosts:\n", 1)}
	}
	etcd := givenEtcd(t, 0, plane, worker("worker"))
	for name, files := range map[string]memory{
		"spread":            spreadFiles(),
		"one control plane": with("pki: {}", plane, worker("worker")),
		"its own address":   with("controlPlane: {endpoint: 10.111.0.10}", plane, worker("worker")),
		"virtual IP":        with("controlPlane: {vip: {address: 10.111.0.5, provider: kube-vip}, nodeEndpoint: local}", plane, worker("worker")),
		"named virtual IP":  with("controlPlane: {vip: {address: 10.111.0.5}, endpoint: \"api.example.com:443\", port: 6444}", plane, worker("worker")),
		"host of etcd":      with("kubeProxy: {config: {conntrack: {maxPerCore: 0, tcpCloseWaitTimeout: null}}}", plane, worker("etcd"), "- {name: w2, address: 10.111.0.21, roles: [worker]}"),
		"external etcd":     etcd,
	} {
		t.Run(name, func(t *testing.T) {
			before := mustLoad(t, files)
			text := document(t, before)
			here := cluster.Here{Name: "kubewright-config", Document: []byte(text), Host: machine("w9", "10.111.0.99", "worker"), Worker: true, Checks: checks()}
			after, _, err := here.Load(known())
			if err != nil {
				t.Fatalf("%v in\n%s", err, text)
			}
			if diff := cmp.Diff(text, document(t, after)); diff != "" {
				t.Errorf("a worker changes the document (-before +after):\n%s", diff)
			}
			options := cmp.Options{
				cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
				cmp.Comparer(func(a, b catalog.Release) bool { return a.Equal(b) }), cmpopts.EquateEmpty(),
				cmpopts.IgnoreFields(cluster.Cluster{}, "Hosts", "Rollout"), cmpopts.IgnoreFields(cluster.ExternalEtcd{}, "CA", "Client"),
				cmpopts.IgnoreFields(cluster.Artifacts{}, "Directory", "DigestsFile", "Digests", "Delivery"),
			}
			if !after.Addons.Untold {
				t.Error("a document of the cluster, which says nothing of addons, would take them away")
			}
			after.Addons = before.Addons
			if diff := cmp.Diff(before, after, options); diff != "" {
				t.Errorf("(-before +after):\n%s", diff)
			}
			var want []string
			for _, h := range before.Hosts {
				if slices.ContainsFunc(h.Roles, func(r inventory.Role) bool { return r != "worker" }) {
					want = append(want, h.Name+" "+h.NodeIP.String())
				}
			}
			var got []string
			for _, h := range after.Hosts {
				got = append(got, h.Name+" "+h.NodeIP.String())
			}
			if diff := cmp.Diff(append(want, "w9 10.111.0.99"), got); diff != "" {
				t.Errorf("hosts (-want +got):\n%s", diff)
			}
		})
	}
}

// The digests of a site go with the document, those of this release alone.
func TestDocumentAndDigests(t *testing.T) {
	before := mustLoad(t, spreadFiles())
	digests, err := before.Digests()
	if err != nil {
		t.Fatal(err)
	}
	here := cluster.Here{Name: "kubewright-config", Document: []byte(document(t, before)), Digests: digests, Host: machine("w9", "10.111.0.99", "worker")}
	after, _, err := here.Load(known())
	if err != nil {
		t.Fatal(err)
	}
	url := "https://dl.k8s.io/release/v1.37.2/bin/linux/amd64/kubelet"
	if diff := cmp.Diff(map[string]string{url: before.Artifacts.Digests.Files[url]}, after.Artifacts.Digests.Files); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if again, err := after.Digests(); err != nil || !bytes.Equal(again, digests) {
		t.Errorf("another time %s, %v", again, err)
	}
	here.Digests = []byte("kind: Key\n")
	if _, _, err := here.Load(known()); err == nil || !strings.Contains(err.Error(), "kubewright-config: lock file: ") {
		t.Errorf("no lock: %v", err)
	}
}

// Nothing of the operator's machine is in a document: who reads it is no more than a machine with a token.
func TestDocumentSaysNothingOfTheOperator(t *testing.T) {
	text := document(t, mustLoad(t, spreadFiles()))
	for _, secret := range []string{"ssh", "admin", "SUDO", "keys", "known", "secrets", "locks", "inventory", "worker1"} {
		if strings.Contains(text, secret) {
			t.Errorf("the document has %q:\n%s", secret, text)
		}
	}
}

// One more control plane leaves the nodes the way they go, and is refused where that leads to the first alone.
func TestDocumentAndAnotherControlPlane(t *testing.T) {
	plane := "- {name: cp1, address: 10.111.0.10, roles: [control-plane]}"
	join := func(setting string) (*cluster.Cluster, error) {
		first := mustLoad(t, memory{"cluster.yaml": strings.Replace(clusterOf(plane, "- {name: w1, address: 10.111.0.11, roles: [worker]}"), "  hosts:\n", setting+"  hosts:\n", 1)})
		c, _, err := cluster.Here{Name: "kubewright-config", Document: []byte(document(t, first)), Host: machine("cp2", "10.111.0.12", "control-plane")}.Load(known())
		return c, err
	}
	c, err := join("  controlPlane: {endpoint: api.example.com}\n")
	if err != nil || c.LocalBalancer || c.NodeEndpoint.Host != "api.example.com" || len(c.EtcdMembers()) != 2 {
		t.Errorf("the nodes go to %+v, %v", c, err)
	}
	if _, err := join(""); err == nil || !strings.Contains(err.Error(), "no address leads to all of them") {
		t.Errorf("without an endpoint: %v", err)
	}
}

// Flags alone describe a cluster, or win over a document, and faults name the flags.
func TestHere(t *testing.T) {
	load := func(h cluster.Here) (*cluster.Cluster, error) {
		c, _, err := h.Load(known())
		return c, err
	}
	version := cluster.Setting{Flag: "--kubernetes-version", Keys: []string{"kubernetesVersion"}, Value: "v1.37.2"}
	here := cluster.Here{
		Host: machine("CP1", "10.111.0.10", "control-plane"),
		Settings: []cluster.Setting{
			version, {Flag: "--pod-network-cidr", Keys: []string{"network", "podCIDR"}, Value: "10.128.0.0/16"},
			{Flag: "--apiserver-bind-port", Keys: []string{"controlPlane", "port"}, Value: 6444},
			{Flag: "--apiserver-cert-extra-sans", Keys: []string{"controlPlane", "certSANs"}, Value: []string{"a.example.com", "10.0.0.1"}},
		},
	}
	c, err := load(here)
	if err != nil {
		t.Fatal(err)
	}
	if c.Name != "kubernetes" || c.APIPort != 6444 || c.Network.PodCIDR.String() != "10.128.0.0/16" || !slices.Equal(c.CertSANs, []string{"a.example.com", "10.0.0.1"}) ||
		len(c.Hosts) != 1 || c.Hosts[0].Name != "cp1" || c.Endpoint.String() != "10.111.0.10:6444" {
		t.Errorf("%+v", c)
	}

	here.Document = []byte("apiVersion: kubewright.io/v1alpha1\nkind: Cluster\nmetadata: {name: prod}\nspec:\n  network:\n  controlPlane: {port: 7443}\n" +
		"  hosts:\n  - {name: cp1, address: 192.0.2.1, labels: {a: b}}\n  - {name: other, address: 192.0.2.2, roles: [control-plane]}\n")
	here.Name, here.Alone = "lab.yaml", true
	if c, err = load(here); err != nil {
		t.Fatal(err)
	}
	here.Host, here.Defaults = here.Host[:2], []cluster.Setting{{Keys: []string{"roles"}, Value: []string{"control-plane"}}, {Keys: []string{"address"}, Value: "10.9.9.9"}}
	if c, err := load(here); err != nil || !c.Hosts[0].Has(inventory.RoleControlPlane) || c.Hosts[0].Has(inventory.RoleWorker) || c.Hosts[0].Address != "10.111.0.10" {
		t.Errorf("roles that nobody gives: %+v, %v", c, err)
	}
	if c.Name != "prod" || c.APIPort != 6444 || len(c.Hosts) != 1 || c.Hosts[0].Labels["a"] != "b" || c.Hosts[0].NodeIP.String() != "10.111.0.10" {
		t.Errorf("over a document: %+v", c)
	}

	// How to log in is another machine's business, and so are its keys.
	here.Document = []byte("apiVersion: kubewright.io/v1alpha1\nkind: Cluster\nmetadata: {name: ssh}\nspec:\n  ssh: {keyFile: /nowhere/key, sudo: {password: env:NOWHERE}}\n" +
		"  groups: {all-of-them: {labels: {ssh: ssh}, ssh: {keyFile: /nowhere/group}}}\n  hosts:\n  - {name: cp1, groups: [all-of-them], ssh: {keyFile: /nowhere/host}}\n")
	here.Exists = func(path string) error { return errors.New(path + " is nowhere") }
	if c, err := load(here); err != nil || c.Hosts[0].SSH.KeyFile != "" || c.Hosts[0].Labels["ssh"] != "ssh" {
		t.Errorf("with SSH: %+v, %v", c, err)
	}

	for name, test := range map[string]struct {
		change func(*cluster.Here)
		want   string
	}{
		"flag":      {func(h *cluster.Here) { h.Settings[1].Value = "10.128.0.0/33" }, "command line: --pod-network-cidr: "},
		"version":   {func(h *cluster.Here) { h.Settings[0].Value = "1.2.3" }, "command line: --kubernetes-version: Kubernetes 1.2.3"},
		"name":      {func(h *cluster.Here) { h.Host[0].Value = "a_b" }, "command line: --node-name: the name \"a_b\""},
		"inventory": {func(h *cluster.Here) { h.Document = []byte("spec:\n  inventory: hosts.yaml\n") }, "lab.yaml:2:14: spec.inventory: "},
		"syntax":    {func(h *cluster.Here) { h.Document = []byte("spec: [\n") }, "lab.yaml:"},
		"no spec":   {func(h *cluster.Here) { h.Document = []byte("spec: x\n") }, "lab.yaml:1:7: spec: "},
		"no hosts":  {func(h *cluster.Here) { h.Document = []byte("spec: {hosts: x}\n") }, "spec.hosts: "},
		"no host":   {func(h *cluster.Here) { h.Document = []byte("spec: {hosts: [{name: cp1}, x]}\n"); h.Alone = false }, "spec.hosts[1]: "},
	} {
		t.Run(name, func(t *testing.T) {
			h := here
			h.Settings, h.Host = slices.Clone(h.Settings), slices.Clone(h.Host)
			test.change(&h)
			if _, err := load(h); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %s", err, test.want)
			}
		})
	}
}
