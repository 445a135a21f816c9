package lab

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kubewright/cluster"
	"kubewright/internal/catalog"
	"kubewright/inventory"
)

func testNodes(t *testing.T, cfg Config) []Node {
	t.Helper()
	nodes, err := plan(cfg, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return nodes
}

// load writes a lab's files and reads them as `kubewright apply` does, which refuses unknown
// keys, missing files and whatever makes no cluster.
func load(t *testing.T, cfg Config) (*cluster.Cluster, []cluster.Warning) {
	t.Helper()
	l := &Lab{engine: Podman}
	for _, name := range []string{fileKey, fileSudoPassword} {
		if err := writeFile(cfg.Dir, name, 0o600, []byte("secret")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.writeFiles(cfg, testNodes(t, cfg), nil); err != nil {
		t.Fatal(err)
	}
	releases, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	c, warnings, err := cluster.Load(cluster.Files{
		Cluster: filepath.Join(cfg.Dir, fileCluster),
		Read:    os.ReadFile,
		Exists:  func(path string) error { _, err := os.Stat(path); return err },
	}, releases)
	if err != nil {
		t.Fatalf("the lab's files: %v", err)
	}
	return c, warnings
}

// loadQuietly is load of a lab that gives no reason for a warning.
func loadQuietly(t *testing.T, cfg Config) *cluster.Cluster {
	t.Helper()
	c, warnings := load(t, cfg)
	if len(warnings) > 0 {
		t.Errorf("warnings about the lab's files: %v", warnings)
	}
	return c
}

// artifacts makes the least that Up wants to see in a folder of artifacts.
func artifacts(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"bin/mirror": "",
		fileDigests:  "apiVersion: kubewright.io/v1alpha1\nkind: Lock\nfiles: {\"https://files.test/a\": \"sha256:" + strings.Repeat("0", 64) + "\"}\n",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFilesMakeACluster(t *testing.T) {
	cfg := testConfig(t)
	c := loadQuietly(t, cfg)
	if c.Version != DefaultKubernetesVersion || c.Artifacts.Source != "upstream" {
		t.Errorf("version %s from %s", c.Version, c.Artifacts.Source)
	}
	if got, want := c.Endpoint.String(), "10.111.0.10:6443"; got != want {
		t.Errorf("endpoint = %s, want %s", got, want)
	}
	if got, want := c.Network.PodCIDR.String()+" "+c.Network.ServiceCIDR.String(), podCIDR+" "+serviceCIDR; got != want {
		t.Errorf("networks = %s, want %s, which --subnet is checked against", got, want)
	}
	wantKubelet := map[string]any{
		"evictionHard": map[string]any{
			"memory.available": "100Mi", "nodefs.available": "1%", "nodefs.inodesFree": "1%",
			"imagefs.available": "1%", "imagefs.inodesFree": "1%",
		},
		"imageGCHighThresholdPercent": int64(99), "imageGCLowThresholdPercent": int64(98),
	}
	if diff := cmp.Diff(wantKubelet, c.KubeletConfig); diff != "" {
		t.Errorf("kubelet's configuration (-want +got):\n%s", diff)
	}
	var hosts []string
	for _, h := range c.Hosts {
		hosts = append(hosts, h.Name+" "+h.NodeIP.String()+" "+string(h.Roles[0]))
	}
	want := []string{"cp1 10.111.0.10 control-plane", "worker1 10.111.0.11 worker", "worker2 10.111.0.12 worker"}
	if diff := cmp.Diff(want, hosts); diff != "" {
		t.Errorf("hosts (-want +got):\n%s", diff)
	}
}

func TestFilesWithAMirror(t *testing.T) {
	cfg := testConfig(t)
	cfg.Artifacts = artifacts(t)
	got := loadQuietly(t, cfg).Artifacts
	want := cluster.Artifacts{
		Source: "mirror", MirrorURL: "http://10.111.0.2", Delivery: "auto",
		DigestsFile: filepath.Join(cfg.Dir, fileDigests),
		Digests:     catalog.Lock{Files: map[string]string{"https://files.test/a": "sha256:" + strings.Repeat("0", 64)}},
		RegistryMirrors: map[string][]string{
			"docker.io":                {"http://10.111.0.2:5000/docker.io"},
			"ghcr.io":                  {"http://10.111.0.2:5000/ghcr.io"},
			"quay.io":                  {"http://10.111.0.2:5000/quay.io"},
			"registry.k8s.io":          {"http://10.111.0.2:5000/registry.k8s.io"},
			"registry.kubewright.test": {"http://10.111.0.2:5000/registry.kubewright.test"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFilesWithAVirtualIP(t *testing.T) {
	cfg := testConfig(t)
	cfg.ControlPlanes, cfg.VIP = 3, true
	c := loadQuietly(t, cfg)
	if got, want := c.VIP.Address.String(), "10.111.0.5"; got != want || c.Endpoint.Host != want || len(c.ControlPlanes()) != 3 {
		t.Errorf("virtual IP = %s, endpoint = %s with %d control planes, want %s with 3", got, c.Endpoint, len(c.ControlPlanes()), want)
	}
}

func TestFilesWithAddons(t *testing.T) {
	cfg := testConfig(t)
	cfg.Addons = true
	c := loadQuietly(t, cfg)
	a := c.Addons
	if !a.MetricsServer.Enabled || !a.LocalPath.Enabled || !a.Registry.Enabled || a.Ingress.Controller != "nginx" || len(a.MetalLB.Pools) != 1 {
		t.Fatalf("%+v", a)
	}
	if got := strings.Join(a.MetalLB.Pools[0].Addresses, " "); got != "10.111.0.60-10.111.0.109" {
		t.Errorf("pool %s", got)
	}
	cfg.Artifacts = artifacts(t)
	if got := loadQuietly(t, cfg).Addons.Ingress.Controller; got != "none" {
		t.Errorf("%s, whose image cannot be built", got)
	}
	cfg.Subnet = netip.MustParsePrefix("10.111.0.0/27")
	if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "no addresses left for load balancers") {
		t.Errorf("%v", err)
	}
	cfg.Subnet = netip.MustParsePrefix("10.111.0.0/25")
	if first, last := balancers(cfg.Subnet); first.String() != "10.111.0.60" || last.String() != "10.111.0.109" || cfg.Validate() != nil {
		t.Errorf("%s to %s", first, last)
	}
}

func TestFilesWithThreeControlPlanesLeaveTheEndpointToKubewright(t *testing.T) {
	cfg := testConfig(t)
	cfg.ControlPlanes = 3
	c := loadQuietly(t, cfg)
	if !c.LocalBalancer || c.SharedEndpoint || c.VIP.Address.IsValid() {
		t.Errorf("the nodes go to %s, others to %s; want a balancer on every node", c.NodeEndpoint, c.Endpoint)
	}
}

func TestFilesForEachLogin(t *testing.T) {
	for login, user := range map[Login]string{LoginRoot: "root", LoginSudo: "ops", LoginSudoPassword: "admin"} {
		t.Run(string(login), func(t *testing.T) {
			cfg := testConfig(t)
			cfg.Login = login
			want := inventory.SSH{
				User: user, Port: 22, KeyFile: filepath.Join(cfg.Dir, fileKey), KnownHosts: []string{filepath.Join(cfg.Dir, fileKnownHosts)},
			}
			if login == LoginSudoPassword {
				want.Sudo.Password = inventory.Ref{Source: inventory.RefFile, Name: filepath.Join(cfg.Dir, fileSudoPassword)}
			}
			if diff := cmp.Diff(want, loadQuietly(t, cfg).Hosts[0].SSH); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestRenderedFiles(t *testing.T) {
	cfg := testConfig(t)
	cfg.ControlPlanes, cfg.Login, cfg.Artifacts = 2, LoginSudoPassword, "/artifacts"
	cfg.Subnet = netip.MustParsePrefix("10.113.0.0/24")
	state := (&Lab{}).state(cfg).with(testNodes(t, cfg))
	got, err := renderCluster(cfg)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "cluster.yaml.golden", string(got))
	cfg.VIP = true
	if got, err = renderCluster(cfg); err != nil {
		t.Fatal(err)
	}
	golden(t, "cluster-vip.yaml.golden", string(got))
	if got, err = renderInventory(state); err != nil {
		t.Fatal(err)
	}
	golden(t, "inventory.yaml.golden", string(got))
}
