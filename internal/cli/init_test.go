package cli

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubewright/cluster"
	"kubewright/internal/bootstrap"
	"kubewright/internal/check"
	"kubewright/internal/fault"
	"kubewright/internal/kube"
	"kubewright/internal/kube/apitest"
	"kubewright/internal/plan"
	"kubewright/inventory"
)

// elsewhere skips what would ask the cluster that this machine is a control plane of.
func elsewhere(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(adminConf); err == nil {
		t.Skip("this machine is a control plane: what is tested would ask its cluster")
	}
}

// parsedInit are the flags of a command line of init.
func parsedInit(t *testing.T, args ...string) (*initFlags, *cobra.Command) {
	t.Helper()
	isolate(t)
	elsewhere(t)
	flags := &initFlags{}
	cmd := &cobra.Command{}
	cmd.SetContext(t.Context())
	flags.add(cmd)
	flags.addJoining(cmd)
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	return flags, cmd
}

func resolvedInit(t *testing.T, args ...string) (*cluster.Cluster, []string, error) {
	t.Helper()
	flags, cmd := parsedInit(t, args...)
	c, _, warnings, err := flags.resolve(cmd)
	return c, warnings, err
}

func TestInitIsDescribedByFlags(t *testing.T) {
	c, warnings, err := resolvedInit(t,
		"--node-name", "CP1", "--apiserver-advertise-address", "192.0.2.10", "--control-plane-endpoint", "api.example.com",
		"--pod-network-cidr", "10.128.0.0/16", "--service-cidr", "10.64.0.0/16", "--service-dns-domain", "k8s.example.com", "--kubernetes-version", "v1.36.3",
		"--apiserver-bind-port", "8443", "--apiserver-cert-extra-sans", "a.example.com,b.example.com", "--registry-mirror", "docker.io=https://one.example",
		"--registry-mirror", "docker.io=https://two.example", "--artifacts-mirror", "https://files.example/", "--ignore-preflight-errors", "memory")
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	want := []bool{
		c.Name == "kubernetes", c.Version == "1.36.3", c.Endpoint.String() == "api.example.com:8443", c.SharedEndpoint, !c.LocalBalancer,
		c.Network.PodCIDR.String() == "10.128.0.0/16", c.Network.ServiceCIDR.String() == "10.64.0.0/16", c.Network.DNSDomain == "k8s.example.com",
		c.APIPort == 8443, slices.Equal(c.CertSANs, []string{"a.example.com", "b.example.com"}), len(c.IgnoreChecks) == 0, // which is of this run, not of the cluster

		slices.Equal(c.Artifacts.RegistryMirrors["docker.io"], []string{"https://one.example", "https://two.example"}),
		c.Artifacts.Source == "mirror", c.Artifacts.MirrorURL == "https://files.example",
		len(c.Hosts) == 1, c.Hosts[0].Name == "cp1", c.Hosts[0].NodeIP.String() == "192.0.2.10",
		slices.Equal(c.Hosts[0].Roles, []inventory.Role{inventory.RoleControlPlane, inventory.RoleEtcd}),
	}
	if i := slices.Index(want, false); i >= 0 {
		t.Errorf("number %d is not as the flags say: %+v", i, c)
	}
}

func TestInitWithoutFlags(t *testing.T) {
	c, _, err := resolvedInit(t, "--apiserver-advertise-address", "192.0.2.10")
	if err != nil {
		t.Fatal(err)
	}
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	name = strings.ToLower(name)
	if c.Version == "" || c.Hosts[0].Name != name || c.Endpoint.String() != "192.0.2.10:6443" || c.SharedEndpoint {
		t.Errorf("%+v", c)
	}
}

// Of the hosts in a file, this machine's is taken with what the file says of it.
func TestInitIsDescribedByAFile(t *testing.T) {
	file := write(t, "cluster.yaml", clusterYAML(
		"name: cp1, address: 192.0.2.10, roles: [control-plane, worker], labels: {disk: ssd}", "name: cp2, address: 192.0.2.11, roles: [control-plane]"))
	c, _, err := resolvedInit(t, "--config", file, "--node-name", "cp1", "--artifacts-directory", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if c.Name != "lab" || len(c.Hosts) != 1 || c.Hosts[0].NodeIP.String() != "192.0.2.10" || c.Hosts[0].Labels["disk"] != "ssd" || !c.Hosts[0].Has(inventory.RoleWorker) || c.Artifacts.Source != "directory" {
		t.Errorf("%+v", c)
	}
	if c, _, err = resolvedInit(t, "--config", file, "--node-name", "cp9", "--apiserver-advertise-address", "192.0.2.19"); err != nil || c.Hosts[0].Name != "cp9" || !c.Hosts[0].Has(inventory.RoleControlPlane) {
		t.Errorf("a machine that is not in the file: %+v, %v", c, err)
	}
}

func TestInitFlagsThatCannotBe(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("init is for root")
	}
	file := write(t, "cluster.yaml", clusterYAML("name: cp1, address: 192.0.2.10, roles: [worker]"))
	key := strings.Repeat("ab", 32)
	for name, test := range map[string]struct {
		args string
		want string
	}{
		"two sources":         {"--config " + file + " --pod-network-cidr 10.0.0.0/8", "--pod-network-cidr goes into the file that --config names"},
		"no file":             {"--config /nowhere/cluster.yaml", "--config: open /nowhere/cluster.yaml"},
		"no control plane":    {"--config " + file + " --node-name cp1", "no host has the role control-plane"},
		"no network":          {"--pod-network-cidr 10.0.0.0/33", "command line: --pod-network-cidr: "},
		"no version":          {"--kubernetes-version 1.2.3", "command line: --kubernetes-version: "},
		"no address":          {"--apiserver-advertise-address 10.0.0.300", "command line: --apiserver-advertise-address: "},
		"no mirror":           {"--registry-mirror docker.io", "which has to be REGISTRY=URL"},
		"no check":            {"--apiserver-advertise-address 192.0.2.10 --ignore-preflight-errors memry", "no preflight check that can be ignored is named \"memry\""},
		"no phase":            {"--skip-phases dsn", `there is no phase "dsn"`},
		"preflight":           {"--skip-phases preflight", "the preflight checks cannot be left out"},
		"no token":            {"--token secret-of-mine", "--token: this is no bootstrap token"},
		"token's time":        {"--token-ttl -1s", "--token-ttl: "},
		"key without upload":  {"--certificate-key " + key, "--certificate-key is for --upload-certs"},
		"no key":              {"--upload-certs --certificate-key secret-of-mine", "--certificate-key: this is no certificate key"},
		"upload for nobody":   {"--upload-certs --apiserver-advertise-address 192.0.2.10", "no address leads to all control planes"},
		"upload, not meant":   {"phase upload-certs", "only with --upload-certs"},
		"upload elsewhere":    {"phase kubelet --upload-certs", "are for init phase upload-certs"},
		"upload from nowhere": {"phase upload-certs --upload-certs", "this machine is no control plane"},
		"no such phase":       {"phase dsn --apiserver-advertise-address 192.0.2.10", `there is no phase "dsn"`},
	} {
		t.Run(name, func(t *testing.T) {
			elsewhere(t)
			o := kubewright(t, append([]string{"init"}, strings.Fields(test.args)...)...).want(t, 10, test.want).nothing(t)
			if strings.Contains(o.err, "secret-of-mine") {
				t.Errorf("a secret is told:\n%s", o.err)
			}
		})
	}
}

// kubeadm's names of the phases that people leave out are understood.
func TestSkippedPhases(t *testing.T) {
	flags, _ := parsedInit(t)
	flags.skipped = []string{"addon/kube-proxy", "network"}
	if err := flags.skip(); err != nil {
		t.Fatal(err)
	}
	if slices.Contains(flags.phases, "kube-proxy") || slices.Contains(flags.phases, "network") || !slices.Contains(flags.phases, "dns") || flags.phases[0] != "preflight" {
		t.Errorf("left are %q", flags.phases)
	}
}

// A plan looks at this machine, and changes nothing.
func TestInitDryRun(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("looking at a host needs root")
	}
	o := kubewright(t, "init", "--dry-run", "--ignore-preflight-errors", strings.Join(check.Names(), ","), "--node-name", "cp1", "--apiserver-advertise-address", "192.0.2.1", "--config",
		write(t, "cluster.yaml", strings.Split(clusterYAML(), "  hosts:")[0]+"  network: {cni: {name: none}}\n  artifacts: {digests: digests, delivery: push}\n", "digests", allDigests(t))).want(t, 0)
	for _, text := range []string{"/etc/kubernetes/pki/ca.key", "ConfigMap kube-system/kubewright-config", "kubelet.service"} {
		if !strings.Contains(o.out, text) {
			t.Errorf("the plan does not have %s:\n%s", text, o.out)
		}
	}
	if _, err := os.Stat("/etc/kubernetes/pki/ca.key"); err == nil {
		t.Error("a plan has made an authority")
	}
}

func TestInitListsItsPhases(t *testing.T) {
	o := kubewright(t, "init", "phase", "list").want(t, 0)
	for _, name := range []string{"preflight ", "kubelet ", "upload-certs "} {
		if !strings.Contains(o.out, "\n"+name) && !strings.HasPrefix(o.out, name) {
			t.Errorf("no %s in\n%s", name, o.out)
		}
	}
}

// What is printed at the end can be pasted, or has no secrets.
func TestInitSaysHowToJoin(t *testing.T) {
	const token, key = "abcdef.0123456789abcdef", "the-key"
	how := admitted{
		grant:        bootstrap.JoinGrant(bootstrap.Token{ID: "abcdef", Secret: "0123456789abcdef"}, time.Date(2030, 3, 1, 12, 0, 0, 0, time.UTC), ""),
		worker:       "kubewright join api.example.com:6443 --token " + token,
		controlPlane: "kubewright join api.example.com:6443 --token " + token + " --control-plane --certificate-key " + key, key: key,
	}
	r := &run{cluster: &cluster.Cluster{Name: "prod"}}
	p := &plan.Plan{Cluster: "prod"}
	flags := &initFlags{}
	goldenResult(t, "init", flags.done(r, p, how))
	how.withhold()
	res := flags.done(r, p, how)
	var out strings.Builder
	if err := res.text(&out); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), token) || strings.Contains(out.String(), key) || strings.Count(out.String(), withheld) != 3 {
		t.Errorf("secrets are not withheld:\n%s", out.String())
	}
	how.controlPlane, how.key = "", ""
	flags.directory = "/srv/files"
	goldenResult(t, "init-worker", flags.done(r, p, how))
}

// A cluster that runs is described by itself; flags are over that, and others in it are left to apply.
func TestInitOfAClusterThatRuns(t *testing.T) {
	first, _, err := resolvedInit(t, "--node-name", "cp1", "--apiserver-advertise-address", "192.0.2.10", "--control-plane-endpoint", "api.example.com", "--kubernetes-version", "1.36.3")
	if err != nil {
		t.Fatal(err)
	}
	text, err := first.Document()
	if err != nil {
		t.Fatal(err)
	}
	again := func(text string, args ...string) *cluster.Cluster {
		t.Helper()
		flags, cmd := parsedInit(t, args...)
		c, _, err := flags.clusterOf(cmd.Context(), described{name: "ConfigMap", text: []byte(text)}, "cp1")
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := again(string(text), "--apiserver-cert-extra-sans", "other.example.com")
	if c.Version != "1.36.3" || c.Endpoint.Host != "api.example.com" || !slices.Equal(c.CertSANs, []string{"other.example.com"}) || c.Hosts[0].NodeIP.String() != "192.0.2.10" {
		t.Errorf("%+v", c)
	}
	if err := alone(hostNames(c.Hosts), "cp1"); err != nil {
		t.Error(err)
	}
	c = again(string(text) + "    - name: cp2\n      address: 192.0.2.11\n      roles:\n        - control-plane\n")
	if err := alone(hostNames(c.Hosts), "cp1"); err == nil || !strings.Contains(err.Error(), "cp2; init is for the first one alone") {
		t.Errorf("a cluster with another control plane: %v", err)
	}
}

// A machine with data of a cluster that does not say what it is, is not made another.
func TestInitWhereTheClusterIsSilent(t *testing.T) {
	server := apitest.StartServer(t)
	client, err := kube.New(kube.Config{Server: server.URL, CAPEM: server.PKI.Bundle.Kubernetes.CertPEM(), Client: server.PKI.SuperAdmin(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx := t.Context() // it has no deadline: the wait has its own
	// A run was cut before it made the ConfigMap: its flags are to be given again.
	if d, err := tells(ctx, client, "cp1"); err != nil || d.text != nil {
		t.Errorf("a cluster that has just begun: %+v, %v", d, err)
	}
	for _, name := range []string{"cp1", "cp2"} {
		node := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Node", "metadata": map[string]any{
			"name": name, "labels": map[string]any{"node-role.kubernetes.io/control-plane": ""},
		}}}
		changes, err := client.Diff(ctx, []kube.Object{node})
		if err == nil {
			err = client.Apply(ctx, changes)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := tells(ctx, client, "cp1"); fault.KindOf(err) != fault.BadInput || !strings.Contains(err.Error(), ": cp2; init is for the first one alone") {
		t.Errorf("with another control plane: %v", err)
	}
	server.Stop()
	short, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if _, err := tells(short, client, "cp1"); fault.KindOf(err) != fault.Unhealthy || !strings.Contains(err.Error(), "its cluster does not say what it is") {
		t.Errorf("an API server that is down: %v", err)
	}
}

// A file of a cluster that this machine cannot begin alone is refused, and one that cannot grow as it says is told.
func TestInitOfAFileWithMoreThanThisMachine(t *testing.T) {
	etcd := clusterYAML("name: cp1, address: 192.0.2.10, roles: [control-plane]", "name: e1, address: 192.0.2.11, roles: [etcd]")
	if _, _, err := resolvedInit(t, "--config", write(t, "cluster.yaml", etcd), "--node-name", "cp1"); err == nil || !strings.Contains(err.Error(), "etcd is to run on hosts of its own, e1,") {
		t.Errorf("etcd elsewhere: %v", err)
	}
	planes := clusterYAML("name: cp1, address: 192.0.2.10, roles: [control-plane]", "name: cp2, address: 192.0.2.11, roles: [control-plane]")
	c, warnings, err := resolvedInit(t, "--config", write(t, "cluster.yaml", planes), "--node-name", "cp1")
	if err != nil || len(c.Hosts) != 1 || len(warnings) != 1 || !strings.Contains(warnings[0], "the others cannot join") {
		t.Errorf("control planes without an endpoint: %q, %v", warnings, err)
	}
	shared := strings.Replace(planes, "  hosts:", "  controlPlane: {endpoint: api.example.com}\n  hosts:", 1)
	if _, warnings, err := resolvedInit(t, "--config", write(t, "cluster.yaml", shared), "--node-name", "cp1"); err != nil || len(warnings) > 0 {
		t.Errorf("with one: %q, %v", warnings, err)
	}
}

func TestControlPlanesThatCannotJoin(t *testing.T) {
	for name, test := range map[string]struct {
		cluster cluster.Cluster
		want    string
	}{
		"an endpoint":    {cluster.Cluster{SharedEndpoint: true}, ""},
		"no endpoint":    {cluster.Cluster{}, "no address leads to all control planes"},
		"keepalived":     {cluster.Cluster{SharedEndpoint: true, VIP: cluster.VIP{Provider: cluster.Keepalived}}, "moved by keepalived"},
		"kube-vip":       {cluster.Cluster{SharedEndpoint: true, VIP: cluster.VIP{Provider: cluster.KubeVIP}}, ""},
		"etcd elsewhere": {cluster.Cluster{SharedEndpoint: true, ExternalEtcd: cluster.ExternalEtcd{Endpoints: []string{"https://192.0.2.1:2379"}}}, "an etcd that somebody else runs"},
	} {
		if err := takesControlPlanes(&test.cluster); (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
