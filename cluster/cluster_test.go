package cluster_test

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kubewright/cluster"
	"kubewright/internal/catalog"
	"kubewright/inventory"
)

const spread = `
apiVersion: kubewright.io/v1alpha1
kind: Cluster
metadata: {name: lab}
spec:
  kubernetesVersion: v1.37.2
  network: {podCIDR: 10.128.0.0/12, serviceCIDR: 172.30.0.0/20, dnsDomain: k8s.example.com, cni: {name: none, mtu: 1400}}
  controlPlane:
    endpoint: api.example.com
    certSANs: [api.example.org]
    apiServer: {extraArgs: {v: "2"}}
  pki: {keyAlgorithm: RSA-2048}
  kubelet: {config: {maxPods: 200, evictionHard: {memory.available: 1Gi}}}
  artifacts:
    source: mirror
    mirror: {url: http://10.111.0.2/files/}
    digests: locks/digests.yaml
    registryMirrors: {registry.k8s.io: [http://10.111.0.2:5000/registry.k8s.io]}
  preflight: {ignore: [memory]}
  ssh: {user: admin, port: 2022, sudo: {password: env:SUDO}, knownHosts: [known]}
  inventory: hosts/lab.yaml
`

const spreadHosts = `
apiVersion: kubewright.io/v1alpha1
kind: Inventory
defaults: {ssh: {port: 2222, keyFile: keys/all}}
groups:
  planes:
    roles: [control-plane]
    labels: {zone: a, tier: control}
    taints: ["dedicated=x:NoSchedule", "dedicated=x:NoExecute"]
  gpu:
    roles: [worker]
    labels: {zone: b, accelerator: gpu}
    taints: ["dedicated=gpu:NoSchedule"]
    annotations: {example.com/a: "1", example.com/b: "2"}
    ssh: {keyFile: ~/.ssh/gpu, user: gpu}
hosts:
- {name: CP2, address: 10.111.0.11, groups: [planes]}
- name: cp1
  address: cp1.example.com
  nodeIP: 10.111.0.10
  groups: [planes, gpu]
  labels: {zone: c}
  taints: ["dedicated=host:NoExecute"]
  annotations: {example.com/b: "3"}
  ssh: {port: 22, password: file:secrets/cp1, hostKey: "SHA256:YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXphYmNkZWY", trustOnFirstUse: true}
- {name: cp3, address: 10.111.0.12, groups: [planes], roles: [control-plane, worker], ssh: {agent: true}}
- {name: worker1, address: 10.111.0.20, roles: [worker]}
`

// siteDigests have a file of the release, and one of another.
const siteDigests = `
apiVersion: kubewright.io/v1alpha1
kind: Lock
files:
  https://dl.k8s.io/release/v1.37.2/bin/linux/amd64/kubelet: sha256:0000000000000000000000000000000000000000000000000000000000000001
  https://dl.k8s.io/release/v1.36.3/bin/linux/amd64/kubelet: sha256:0000000000000000000000000000000000000000000000000000000000000002
`

func spreadFiles() memory {
	return memory{
		"cluster.yaml": spread, "hosts/lab.yaml": spreadHosts,
		"hosts/keys/all": "", "hosts/secrets/cp1": "", "known": "", "~/.ssh/gpu": "", "locks/digests.yaml": siteDigests,
	}
}

func mustLoad(t *testing.T, files memory) *cluster.Cluster {
	t.Helper()
	c, warnings, err := files.load(t, "")
	if err != nil || len(warnings) > 0 {
		t.Fatalf("faults: %v, warnings: %v", err, warnings)
	}
	return c
}

func TestResolve(t *testing.T) {
	c := mustLoad(t, spreadFiles())
	want := &cluster.Cluster{
		Name: "lab", Version: "1.37.2", Release: c.Release,
		Network: cluster.Network{
			PodCIDR: netip.MustParsePrefix("10.128.0.0/12"), ServiceCIDR: netip.MustParsePrefix("172.30.0.0/20"),
			DNSDomain: "k8s.example.com", ProxyMode: "auto", CNI: "none", MTU: 1400,
			APIServiceIP: netip.MustParseAddr("172.30.0.1"), DNSServiceIP: netip.MustParseAddr("172.30.0.10"),
		},
		APIPort: 6443, Endpoint: cluster.Endpoint{Host: "api.example.com", Port: 6443}, SharedEndpoint: true,
		NodeEndpoint: cluster.Endpoint{Host: "127.0.0.1", Port: 7443}, LocalBalancer: true,
		CertSANs: []string{"api.example.org"}, KeyAlgorithm: "RSA-2048",
		APIServer:     cluster.Component{ExtraArgs: map[string]string{"v": "2"}},
		KubeletConfig: map[string]any{"maxPods": int64(200), "evictionHard": map[string]any{"memory.available": "1Gi"}},
		Artifacts: cluster.Artifacts{
			Source: "mirror", MirrorURL: "http://10.111.0.2/files", DigestsFile: "locks/digests.yaml", Delivery: "auto",
			Digests: catalog.Lock{Files: map[string]string{
				"https://dl.k8s.io/release/v1.37.2/bin/linux/amd64/kubelet": "sha256:0000000000000000000000000000000000000000000000000000000000000001",
				"https://dl.k8s.io/release/v1.36.3/bin/linux/amd64/kubelet": "sha256:0000000000000000000000000000000000000000000000000000000000000002",
			}},
			RegistryMirrors: map[string][]string{"registry.k8s.io": {"http://10.111.0.2:5000/registry.k8s.io"}},
		},
		// 25% of the one worker that is no control plane.
		Rollout:      cluster.Rollout{Workers: cluster.WorkerRollout{MaxUnavailable: 1, Drain: "auto", DrainTimeout: 5 * time.Minute}},
		IgnoreChecks: []string{"memory"},
		Hosts: []inventory.Host{
			{
				Name: "cp1", Address: "cp1.example.com", NodeIP: netip.MustParseAddr("10.111.0.10"),
				Roles: []inventory.Role{"control-plane", "etcd", "worker"}, Groups: []string{"planes", "gpu"},
				Labels:      map[string]string{"zone": "c", "tier": "control", "accelerator": "gpu"},
				Annotations: map[string]string{"example.com/a": "1", "example.com/b": "3"},
				Taints:      []inventory.Taint{{Key: "dedicated", Value: "host", Effect: "NoExecute"}, {Key: "dedicated", Value: "gpu", Effect: "NoSchedule"}},
				SSH: inventory.SSH{
					User: "gpu", Port: 22, KeyFile: "~/.ssh/gpu", Password: inventory.Ref{Source: "file", Name: "hosts/secrets/cp1"},
					Sudo: inventory.Sudo{Password: inventory.Ref{Source: "env", Name: "SUDO"}}, KnownHosts: []string{"known"},
					HostKey: "SHA256:YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXphYmNkZWY", TrustOnFirstUse: true,
				},
			},
			{
				Name: "cp2", Address: "10.111.0.11", NodeIP: netip.MustParseAddr("10.111.0.11"),
				Roles: []inventory.Role{"control-plane", "etcd"}, Groups: []string{"planes"},
				Labels: map[string]string{"zone": "a", "tier": "control"}, Annotations: map[string]string{},
				Taints: []inventory.Taint{{Key: "dedicated", Value: "x", Effect: "NoExecute"}, {Key: "dedicated", Value: "x", Effect: "NoSchedule"}},
				SSH:    commonSSH(false),
			},
			{
				Name: "cp3", Address: "10.111.0.12", NodeIP: netip.MustParseAddr("10.111.0.12"),
				Roles: []inventory.Role{"control-plane", "etcd", "worker"}, Groups: []string{"planes"},
				Labels: map[string]string{"zone": "a", "tier": "control"}, Annotations: map[string]string{},
				Taints: []inventory.Taint{{Key: "dedicated", Value: "x", Effect: "NoExecute"}, {Key: "dedicated", Value: "x", Effect: "NoSchedule"}},
				SSH:    commonSSH(true),
			},
			{
				Name: "worker1", Address: "10.111.0.20", NodeIP: netip.MustParseAddr("10.111.0.20"),
				Roles: []inventory.Role{"worker"}, Labels: map[string]string{}, Annotations: map[string]string{},
				SSH: commonSSH(false),
			},
		},
	}
	opts := cmp.Options{
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
		cmp.Comparer(func(a, b catalog.Release) bool { return a.Kubernetes == b.Kubernetes && a.Etcd == b.Etcd }),
	}
	want.Addons = c.Addons // as in the file, which has none
	if diff := cmp.Diff(want, c, opts); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if c.Release.Kubernetes != "1.37.2" || c.Release.Etcd == "" {
		t.Errorf("release: %+v", c.Release)
	}
}

// commonSSH is how to log in where the defaults of both files say it.
func commonSSH(agent bool) inventory.SSH {
	return inventory.SSH{
		User: "admin", Port: 2222, KeyFile: "hosts/keys/all", Agent: agent, KnownHosts: []string{"known"},
		Sudo: inventory.Sudo{Password: inventory.Ref{Source: "env", Name: "SUDO"}},
	}
}

func TestDefaults(t *testing.T) {
	c := mustLoad(t, memory{"cluster.yaml": clusterOf("- {name: cp1, address: 10.111.0.10, roles: [control-plane, worker]}")})
	ssh := c.Hosts[0].SSH
	for _, tt := range []struct{ what, got, want string }{
		{"pod CIDR", c.Network.PodCIDR.String(), "10.244.0.0/16"},
		{"service CIDR", c.Network.ServiceCIDR.String(), "10.96.0.0/16"},
		{"API service", c.Network.APIServiceIP.String(), "10.96.0.1"},
		{"DNS service", c.Network.DNSServiceIP.String(), "10.96.0.10"},
		{"domain", c.Network.DNSDomain, "cluster.local"},
		{"proxy mode", c.Network.ProxyMode, "auto"},
		{"CNI", c.Network.CNI, "calico"},
		{"endpoint", c.Endpoint.URL(), "https://10.111.0.10:6443"},
		{"keys", c.KeyAlgorithm, "ECDSA-P256"},
		{"artifacts", c.Artifacts.Source + " " + c.Artifacts.Delivery, "upstream auto"},
		{"SSH", fmt.Sprint(ssh.User, ssh.Port, ssh.Agent, ssh.TrustOnFirstUse), "root22 true false"},
		{"initial cluster", c.InitialCluster(), "cp1=https://10.111.0.10:2380"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.what, tt.got, tt.want)
		}
	}
}

// clusterOf is a cluster file with the lines of hosts.
func clusterOf(hosts ...string) string {
	return "apiVersion: kubewright.io/v1alpha1\nkind: Cluster\nmetadata: {name: lab}\nspec:\n" +
		"  kubernetesVersion: 1.37.2\n  hosts:\n  " + strings.Join(hosts, "\n  ") + "\n"
}

func TestOrderOfHostsHasNoMeaning(t *testing.T) {
	hosts := []string{
		"- {name: cp1, address: 10.111.0.10, roles: [control-plane]}",
		"- {name: worker1, address: 10.111.0.11, roles: [worker]}",
		"- {name: Worker2, address: 10.111.0.12, roles: [worker]}",
	}
	first := mustLoad(t, memory{"cluster.yaml": clusterOf(hosts...)})
	for _, order := range [][]int{{0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		var permuted []string
		for _, i := range order {
			permuted = append(permuted, hosts[i])
		}
		c := mustLoad(t, memory{"cluster.yaml": clusterOf(permuted...)})
		if got, want := printed(c), printed(first); got != want {
			t.Errorf("order %v:\ngot  %s\nwant %s", order, got, want)
		}
	}
}

func TestAccessors(t *testing.T) {
	c := mustLoad(t, spreadFiles())
	names := func(hosts []inventory.Host) string {
		var list []string
		for _, h := range hosts {
			list = append(list, h.Name)
		}
		return strings.Join(list, " ")
	}
	for _, tt := range []struct{ what, got, want string }{
		{"control planes", names(c.ControlPlanes()), "cp1 cp2 cp3"},
		{"workers", names(c.Workers()), "cp1 cp3 worker1"},
		{"etcd", names(c.EtcdMembers()), "cp1 cp2 cp3"},
		{"everyone", names(c.Select(inventory.Everyone)), "cp1 cp2 cp3 worker1"},
		{"initial cluster", c.InitialCluster(), "cp1=https://10.111.0.10:2380,cp2=https://10.111.0.11:2380,cp3=https://10.111.0.12:2380"},
		{"IPv6 endpoint", cluster.Endpoint{Host: "fd00::1", Port: 8443}.URL(), "https://[fd00::1]:8443"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.what, tt.got, tt.want)
		}
	}
	h := c.Select(inventory.Everyone)[0]
	h.Labels["zone"] = "changed"
	h.Roles[0] = "changed"
	if again := c.Select(inventory.Everyone)[0]; again.Labels["zone"] != "c" || slices.Contains(again.Roles, "changed") {
		t.Error("what a caller does to a host reaches the cluster")
	}
}

func TestProxyMode(t *testing.T) {
	calico := func(mode string, nftables bool) cluster.Cluster {
		return cluster.Cluster{Network: cluster.Network{ProxyMode: mode, CNI: "calico"}, Release: catalog.Release{CalicoNftables: nftables}}
	}
	own := calico("auto", true)
	own.Network.CNI = "none"
	tests := []struct {
		name    string
		cluster cluster.Cluster
		kernels []string
		want    string
	}{
		{"new kernels", calico("auto", true), []string{"6.1.0+", "5.15.0-91-generic", "5.13.0", "5.13"}, "nftables"},
		{"one old kernel", calico("auto", true), []string{"6.1.0", "5.12.19"}, "iptables"},
		{"much older", calico("auto", true), []string{"4.18.0-553.el8_10.x86_64"}, "iptables"},
		{"two digits are one number", calico("auto", true), []string{"5.4.0", "10.0.1"}, "iptables"},
		{"next major", calico("auto", true), []string{"7.0-rc1", "10.0.1"}, "nftables"},
		{"not a kernel", calico("auto", true), []string{"6.1.0", "unknown"}, "iptables"},
		{"empty kernel", calico("auto", true), []string{""}, "iptables"},
		{"huge numbers", calico("auto", true), []string{"99999999999999999999.1"}, "iptables"},
		{"no kernels", calico("auto", true), nil, "iptables"},
		{"Calico too old", calico("auto", false), []string{"6.1.0"}, "iptables"},
		{"CNI of the user", own, []string{"6.1.0"}, "iptables"},
		{"as the user says", calico("nftables", false), []string{"4.18.0"}, "nftables"},
		{"ipvs", calico("ipvs", true), []string{"6.1.0"}, "ipvs"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.cluster.ProxyMode(tt.kernels); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestInventoryOfTheCommandLine(t *testing.T) {
	files := spreadFiles()
	files["other.yaml"] = "apiVersion: kubewright.io/v1alpha1\nkind: Inventory\nhosts: [{name: a, address: 10.9.0.1, roles: [control-plane, worker]}]\n"
	delete(files, "hosts/lab.yaml") // not read at all
	c, _, err := files.load(t, "other.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Hosts) != 1 || c.Hosts[0].Name != "a" || c.Hosts[0].SSH.User != "admin" {
		t.Errorf("hosts: %+v", c.Hosts)
	}

	files["cluster.yaml"] = clusterOf("- {name: cp1, address: 10.111.0.10, roles: [control-plane, worker]}")
	_, _, err = files.load(t, "other.yaml")
	wantError(t, err, "cluster.yaml:6:3: spec.hosts: hosts stand here as well as in the inventory given on the command line: keep one of the two")

	_, _, err = files.load(t, "none.yaml")
	wantError(t, err, "none.yaml: the inventory none.yaml cannot be read: open none.yaml: file does not exist; "+
		"create it, or name another file on the command line")

	_, _, err = memory{}.load(t, "")
	wantError(t, err, "cluster.yaml: the cluster file cannot be read: open cluster.yaml: file does not exist")
}

// Faults of both files are found even where the cluster file is not YAML at all.
func TestBrokenClusterFile(t *testing.T) {
	files := memory{"cluster.yaml": "spec: [a", "inventory.yaml": "kind: Inventory\nhost: []\n"}
	_, _, err := files.load(t, "inventory.yaml")
	wantError(t, err, strings.Join([]string{
		"cluster.yaml:1:1: this is not YAML: the list that begins with [ here is not closed, or lacks a comma",
		"inventory.yaml:1:1: apiVersion: this key is required: write kubewright.io/v1alpha1",
		"inventory.yaml:1:1: hosts: this key is required",
		"inventory.yaml:2:1: host: unknown key; did you mean hosts?",
	}, "\n"))
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// printed is a cluster as text, without where in memory its parts are.
func printed(c *cluster.Cluster) string {
	return regexp.MustCompile(`0x[0-9a-f]+`).ReplaceAllString(fmt.Sprintf("%+v", *c), "0x")
}
