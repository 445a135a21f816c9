package templates

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	kubeproxy "k8s.io/kube-proxy/config/v1alpha1"
	kubelet "k8s.io/kubelet/config/v1beta1"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (run the test with -update)", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (-want +got); after a look, run the test with -update:\n%s", file, diff)
	}
}

// decodeStrict decodes every document of a stream into the type its kind names and returns them
// by "Kind namespace/name". A field that the type does not have fails the test.
func decodeStrict(t *testing.T, stream []byte) map[string]any {
	t.Helper()
	types := map[string]func() any{
		"Pod":                    func() any { return &corev1.Pod{} },
		"ConfigMap":              func() any { return &corev1.ConfigMap{} },
		"Service":                func() any { return &corev1.Service{} },
		"ServiceAccount":         func() any { return &corev1.ServiceAccount{} },
		"DaemonSet":              func() any { return &appsv1.DaemonSet{} },
		"Deployment":             func() any { return &appsv1.Deployment{} },
		"PodDisruptionBudget":    func() any { return &policyv1.PodDisruptionBudget{} },
		"Role":                   func() any { return &rbacv1.Role{} },
		"RoleBinding":            func() any { return &rbacv1.RoleBinding{} },
		"ClusterRole":            func() any { return &rbacv1.ClusterRole{} },
		"ClusterRoleBinding":     func() any { return &rbacv1.ClusterRoleBinding{} },
		"KubeletConfiguration":   func() any { return &kubelet.KubeletConfiguration{} },
		"KubeProxyConfiguration": func() any { return &kubeproxy.KubeProxyConfiguration{} },
	}
	decoded := map[string]any{}
	for document := range strings.SplitSeq(string(stream), "\n---\n") {
		document += "\n" // the end of the last block scalar, too, is part of a document
		var head struct {
			Kind     string
			Metadata struct{ Namespace, Name string }
		}
		if err := yaml.Unmarshal([]byte(document), &head); err != nil {
			t.Fatalf("%v in:\n%s", err, document)
		}
		typ, ok := types[head.Kind]
		if !ok {
			t.Fatalf("unexpected kind %q in:\n%s", head.Kind, document)
		}
		object := typ()
		if err := yaml.UnmarshalStrict([]byte(document), object); err != nil {
			t.Fatalf("%v in:\n%s", err, document)
		}
		decoded[head.Kind+" "+head.Metadata.Namespace+"/"+head.Metadata.Name] = object
	}
	return decoded
}

func mustRender(t *testing.T) func([]byte, error) []byte {
	return func(out []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
}

func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func etcdData() EtcdData {
	return EtcdData{
		StaticPod: StaticPod{Image: "registry.k8s.io/etcd:3.7.3-0", InputsDigest: "sha256:e"},
		NodeName:  "cp1", Address: addr("10.111.0.10"),
		InitialCluster: "cp1=https://10.111.0.10:2380,cp2=https://10.111.0.11:2380",
	}
}

func apiServerData() APIServerData {
	return APIServerData{
		StaticPod: StaticPod{Image: "registry.k8s.io/kube-apiserver:v1.37.2", InputsDigest: "sha256:a"},
		Address:   addr("10.111.0.10"), Port: 6443, ServiceCIDR: prefix("10.96.0.0/16"),
		DNSDomain: "cluster.local", CADirs: []string{"/usr/share/ca-certificates"},
	}
}

func controllerManagerData() ControllerManagerData {
	return ControllerManagerData{
		StaticPod:   StaticPod{Image: "registry.k8s.io/kube-controller-manager:v1.37.2", InputsDigest: "sha256:c"},
		ClusterName: "lab", PodCIDR: prefix("10.244.0.0/16"), ServiceCIDR: prefix("10.96.0.0/16"),
		Address: addr("10.111.0.10"),
	}
}

func schedulerData() SchedulerData {
	return SchedulerData{
		StaticPod: StaticPod{Image: "registry.k8s.io/kube-scheduler:v1.37.2", InputsDigest: "sha256:s"},
		Address:   addr("10.111.0.10"),
	}
}

func kubeletConfigData() KubeletConfigData {
	return KubeletConfigData{
		ClusterDNS: addr("10.96.0.10"), ClusterDomain: "cluster.local",
		ResolvConf: "/run/systemd/resolve/resolv.conf", FailSwapOn: true,
	}
}

func kubeProxyData() KubeProxyData {
	return KubeProxyData{
		Image: "registry.k8s.io/kube-proxy:v1.37.2", APIServer: "https://10.111.0.10:6443",
		PodCIDR: prefix("10.244.0.0/16"), Mode: "iptables",
	}
}

func coreDNSData() CoreDNSData {
	return CoreDNSData{
		Image:     "registry.k8s.io/coredns/coredns:v1.15.0",
		ServiceIP: addr("10.96.0.10"), ClusterDomain: "cluster.local", Replicas: 2,
	}
}

// outsideDNSData is a DNS with servers, domains and names of a site.
func outsideDNSData() CoreDNSData {
	d := coreDNSData()
	d.Replicas = 3
	d.Forward = []netip.AddrPort{netip.MustParseAddrPort("10.0.0.53:53"), netip.MustParseAddrPort("[fd00::53]:5353")}
	d.Zones = []DNSZone{
		{Name: "corp.example.com", Forward: []netip.AddrPort{netip.MustParseAddrPort("10.1.0.53:53")}},
		{Name: "10.in-addr.arpa", Forward: []netip.AddrPort{netip.MustParseAddrPort("10.1.0.53:53"), netip.MustParseAddrPort("10.1.0.54:53")}},
	}
	d.Hosts = []DNSHost{{addr("10.2.0.1"), []string{"git.corp.example.com", "git"}}, {addr("fd00::2"), []string{"registry.internal"}}}
	return d
}

func kubeadmConfigData() KubeadmConfigData {
	return KubeadmConfigData{
		ClusterName: "lab", KubernetesVersion: "1.37.2", Endpoint: "10.111.0.10:6443",
		PodCIDR: prefix("10.244.0.0/16"), ServiceCIDR: prefix("10.96.0.0/16"),
		DNSDomain: "cluster.local", KeyAlgorithm: "ECDSA-P256",
		EtcdImageTag: "3.7.3-0", DNSImageTag: "v1.15.0",
	}
}

// TestGoldenObjects pins what a typical and an extreme cluster get, and decodes all of it
// strictly into the types the components themselves use.
func TestGoldenObjects(t *testing.T) {
	must := mustRender(t)
	joining := etcdData()
	joining.JoinExisting = true
	joining.ExtraArgs = map[string]string{
		"quota-backend-bytes": "8589934592", "snapshot-count": "5000",
		"listen-metrics-urls": "http://0.0.0.0:2381",
	}
	busyAPI := apiServerData()
	busyAPI.Address, busyAPI.Port = addr("fd00::1"), 8443
	busyAPI.ServiceCIDR = prefix("fd00:96::/112")
	busyAPI.ExtraArgs = map[string]string{"audit-log-path": "/var/log/audit.log", "enable-admission-plugins": "NodeRestriction,PodNodeSelector", "v": ""}
	busyAPI.ExtraVolumes = []HostPath{{Name: "audit", HostPath: "/var/log/audit.log", MountPath: "/var/log/audit.log", Type: "FileOrCreate"}}
	apart := apiServerData()
	apart.EtcdServers = []string{"https://10.111.0.31:2379", "https://10.111.0.32:2379"}
	apartConfig := kubeadmConfigData()
	apartConfig.EtcdEndpoints = apart.EtcdServers
	nodeConfig := kubeletConfigData()
	nodeConfig.CgroupV1, nodeConfig.FailSwapOn = true, false
	nodeConfig.ShutdownGracePeriod, nodeConfig.ShutdownGracePeriodCriticalPods = 30*time.Second, 10*time.Second
	nodeConfig.Taints = []Taint{ControlPlaneTaint(), {Key: "gpu", Value: "yes", Effect: "NoExecute"}}
	nodeConfig.Patch = map[string]any{
		"evictionHard": map[string]any{"nodefs.available": "1%", "imagefs.available": nil},
		"maxPods":      250,
	}
	proxy := kubeProxyData()
	proxy.Mode, proxy.ContainerHosts, proxy.PodCIDR = "nftables", true, prefix("fd00:244::/64")
	proxy.Patch = map[string]any{"conntrack": map[string]any{"min": 0}}

	for name, out := range map[string][]byte{
		"etcd.yaml":                    must(Etcd(etcdData())),
		"etcd-joining.yaml":            must(Etcd(joining)),
		"kube-apiserver.yaml":          must(KubeAPIServer(apiServerData())),
		"kube-apiserver-apart.yaml":    must(KubeAPIServer(apart)),
		"kube-apiserver-ipv6.yaml":     must(KubeAPIServer(busyAPI)),
		"kube-controller-manager.yaml": must(KubeControllerManager(controllerManagerData())),
		"kube-scheduler.yaml":          must(KubeScheduler(schedulerData())),
		"kubelet-config.yaml":          must(KubeletConfig(kubeletConfigData())),
		"kubelet-config-node.yaml":     must(KubeletConfig(nodeConfig)),
		"kube-proxy.yaml":              must(KubeProxy(kubeProxyData())),
		"kube-proxy-config.yaml":       must(KubeProxyConfig(proxy)),
		"coredns.yaml":                 must(CoreDNS(coreDNSData())),
		"coredns-outside.yaml":         must(CoreDNS(outsideDNSData())),
		"haproxy.yaml":                 must(HAProxy(HAProxyPodData{Image: "docker.io/library/haproxy:3.2.25-alpine", HealthPort: 7444, InputsDigest: "sha256:h"})),
		"keepalived.yaml":              must(Keepalived(KeepalivedPodData{Image: "docker.io/osixia/keepalived:2.3.4", InputsDigest: "sha256:k"})),
		"kube-vip.yaml":                must(KubeVIP(kubeVIPData())),
		"kube-vip-rbac.yaml":           must(KubeVIPRBAC("kubewright:kube-vip")),
		"bootstrap-rbac.yaml":          must(BootstrapRBAC()),
		"certificates-rbac.yaml":       must(CertificatesRBAC()),
		"cluster-info.yaml":            must(ClusterInfo(ClusterInfoData{Server: "https://10.111.0.10:6443", CAPEM: []byte("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n")})),
		"kubeadm-config.yaml":          must(KubeadmConfig(kubeadmConfigData())),
		"kubeadm-config-apart.yaml":    must(KubeadmConfig(apartConfig)),
		"kubelet-configmap.yaml":       must(KubeletConfigMap(must(KubeletConfig(kubeletConfigData())))),
	} {
		t.Run(name, func(t *testing.T) {
			decodeStrict(t, out)
			golden(t, name, out)
		})
	}
}

// TestGoldenFiles pins the files of a host that are no Kubernetes objects.
func TestGoldenFiles(t *testing.T) {
	must := mustRender(t)
	joining := etcdData()
	joining.JoinExisting = true
	joining.ExtraArgs = map[string]string{"quota-backend-bytes": "8589934592"}
	for name, out := range map[string][]byte{
		"kubelet.service": must(KubeletUnit(KubeletUnitData{
			NodeName: "cp1", NodeIP: addr("10.111.0.10"), ExtraArgs: map[string]string{"v": "2", "node-labels": "a=b,c=d"},
		})),
		"etcd.service":           must(EtcdUnit(joining)),
		"containerd.service":     must(ContainerdUnit()),
		"containerd-config.toml": must(ContainerdConfig(ContainerdConfigData{SandboxImage: "registry.k8s.io/pause:3.10.2", RestrictOOMScoreAdj: true})),
		"hosts.toml": must(RegistryHosts(RegistryHostsData{
			Registry: "docker.io", Mirrors: []string{"http://10.111.0.2:5000/docker.io", "https://mirror.example/v2/hub/", "https://plain.example"},
		})),
		"hosts-of-cluster-registry.toml": must(ClusterRegistryHosts(ClusterRegistryHostsData{Address: addr("10.96.0.11"), CAPath: "/etc/kubernetes/pki/ca.crt"})),
		"nfs.exports":                    must(NFSExports(NFSExportsData{Path: "/srv/nfs", Clients: []netip.Addr{addr("10.111.0.11"), addr("10.111.0.12")}})),
		"hosts-without-mirror.toml":      must(RegistryHosts(RegistryHostsData{Registry: "registry.k8s.io"})),
		"modules-load.conf":              must(ModulesLoadConf(Modules("nftables"))),
		"sysctl.conf":                    must(SysctlConf(Sysctls(true))),
		"haproxy.cfg":                    must(HAProxyConfig(haproxyData())),
		"keepalived.conf":                must(KeepalivedConfig(keepalivedData())),
		"keepalived-ipv6.conf":           must(KeepalivedConfig(keepalivedIPv6())),
		"keepalived-alone.conf":          must(KeepalivedConfig(keepalivedAlone())),
		"keepalived-check.sh":            must(KeepalivedCheck(keepalivedIPv6())),
	} {
		t.Run(name, func(t *testing.T) {
			if strings.HasSuffix(name, ".toml") {
				var tree map[string]any
				if err := toml.Unmarshal(out, &tree); err != nil {
					t.Fatalf("%v in:\n%s", err, out)
				}
			}
			golden(t, name, out)
		})
	}
}
