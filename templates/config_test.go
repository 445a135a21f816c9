package templates

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	kubeproxy "k8s.io/kube-proxy/config/v1alpha1"
	kubelet "k8s.io/kubelet/config/v1beta1"
	"sigs.k8s.io/yaml"
)

// TestMergePatch has the examples of RFC 7386, appendix A, whose target is an object.
func TestMergePatch(t *testing.T) {
	for _, test := range []struct{ target, patch, want string }{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`{"e":null}`, `{"a":1}`, `{"e":null,"a":1}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
	} {
		var target, patch, want map[string]any
		for into, text := range map[*map[string]any]string{&target: test.target, &patch: test.patch, &want: test.want} {
			if err := yaml.Unmarshal([]byte(text), into); err != nil {
				t.Fatal(err)
			}
		}
		before := maps.Clone(target)
		if diff := cmp.Diff(want, mergePatch(target, patch)); diff != "" {
			t.Errorf("%s patched with %s:\n%s", test.target, test.patch, diff)
		}
		if diff := cmp.Diff(before, target); diff != "" {
			t.Errorf("the target of %s was changed:\n%s", test.patch, diff)
		}
	}
}

func TestKubeletConfigPatch(t *testing.T) {
	d := kubeletConfigData()
	d.Patch = map[string]any{
		"evictionHard": map[string]any{"memory.available": "50Mi"},
		"clusterDNS":   []any{"169.254.20.10"}, "maxParallelImagePulls": nil, "serializeImagePulls": true,
	}
	out, err := KubeletConfig(d)
	if err != nil {
		t.Fatal(err)
	}
	c, _ := decodeStrict(t, out)["KubeletConfiguration /"].(*kubelet.KubeletConfiguration)
	want := map[string]string{
		"memory.available": "50Mi", "nodefs.available": "10%", "nodefs.inodesFree": "5%",
		"imagefs.available": "15%", "imagefs.inodesFree": "5%",
	}
	if diff := cmp.Diff(want, c.EvictionHard); diff != "" {
		t.Errorf("one threshold was changed, the others must stay:\n%s", diff)
	}
	if c.MaxParallelImagePulls != nil || !*c.SerializeImagePulls || c.ClusterDNS[0] != "169.254.20.10" {
		t.Errorf("the patch is not in:\n%s", out)
	}
}

func TestKubeletConfigRefuses(t *testing.T) {
	for want, patch := range map[string]map[string]any{
		`unknown field "maxPodz"`:    {"maxPodz": 1},
		`unknown field "nested"`:     {"authorization": map[string]any{"nested": 1}},
		`cannot unmarshal string`:    {"maxPods": "many"},
		`containerd is configured`:   {"cgroupDriver": "cgroupfs"},
		`"kind" cannot be changed`:   {"kind": "Pod"},
		`"<<" is no name of a field`: {"evictionHard": map[string]any{"<<": "1Gi"}},
		`control plane's manifests`:  {"staticPodPath": "/x"},
	} {
		d := kubeletConfigData()
		d.Patch = patch
		if _, err := KubeletConfig(d); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("patch %v: error %v, want %q", patch, err, want)
		}
	}
	if _, err := KubeletConfig(KubeletConfigData{}); err == nil {
		t.Error("a configuration without cluster DNS renders")
	}
	if _, err := KubeletUnit(KubeletUnitData{NodeName: "n"}); err == nil {
		t.Error("a unit without a node address renders")
	}
}

func TestTaintSet(t *testing.T) {
	a, b := Taint{"a", "", "NoSchedule"}, Taint{"b", "1", "NoExecute"}
	given := []Taint{b, a, b}
	if diff := cmp.Diff([]Taint{a, b}, TaintSet(given)); diff != "" {
		t.Error(diff)
	}
	if given[0] != b {
		t.Error("the caller's taints were sorted")
	}
}

func TestKubeProxy(t *testing.T) {
	d := kubeProxyData()
	config := func(d KubeProxyData) *kubeproxy.KubeProxyConfiguration {
		t.Helper()
		out, err := KubeProxy(d)
		if err != nil {
			t.Fatal(err)
		}
		objects := decodeStrict(t, out)
		cm, _ := objects["ConfigMap kube-system/kube-proxy"].(*corev1.ConfigMap)
		c, _ := decodeStrict(t, []byte(cm.Data["config.conf"]))["KubeProxyConfiguration /"].(*kubeproxy.KubeProxyConfiguration)
		ds, _ := objects["DaemonSet kube-system/kube-proxy"].(*appsv1.DaemonSet)
		if got, want := ds.Spec.Template.Annotations["kubewright.io/config-digest"], digest([]byte(cm.Data["config.conf"]), []byte(cm.Data["kubeconfig.conf"])); got != want {
			t.Errorf("digest on the pods %s, of what they mount %s", got, want)
		}
		if !strings.Contains(cm.Data["kubeconfig.conf"], d.APIServer) {
			t.Errorf("kubeconfig:\n%s", cm.Data["kubeconfig.conf"])
		}
		return c
	}
	if c := config(d); c.Conntrack.MaxPerCore != nil || c.BindAddress != "0.0.0.0" || c.Mode != "iptables" || c.ClusterCIDR != "10.244.0.0/16" {
		t.Errorf("configuration %+v", c)
	}
	if out, err := KubeProxyConfig(KubeProxyData{PodCIDR: d.PodCIDR, Mode: "ipvs", StrictARP: true}); err != nil || !strings.Contains(string(out), "strictARP: true") {
		t.Errorf("ipvs with strict ARP: %v\n%s", err, out)
	}
	if out, err := KubeProxyConfig(KubeProxyData{PodCIDR: d.PodCIDR, Mode: "iptables", StrictARP: true}); err != nil || strings.Contains(string(out), "ipvs") {
		t.Errorf("iptables has no use of strict ARP: %v\n%s", err, out)
	}
	d.ContainerHosts, d.Patch = true, map[string]any{"iptables": map[string]any{"masqueradeAll": true}}
	if c := config(d); *c.Conntrack.MaxPerCore != 0 || !c.IPTables.MasqueradeAll {
		t.Errorf("configuration in containers %+v", c)
	}
	for want, change := range map[string]func(*KubeProxyData){
		`mode "auto" is none of`: func(d *KubeProxyData) { d.Mode = "auto" },
		`mode "" is none of`:     func(d *KubeProxyData) { d.Mode = "" },
		`pod CIDR is not set`:    func(d *KubeProxyData) { d.PodCIDR = netip.Prefix{} },
		`unknown field "x"`:      func(d *KubeProxyData) { d.Patch = map[string]any{"x": 1} },
		`set network.proxyMode`:  func(d *KubeProxyData) { d.Patch = map[string]any{"mode": "ipvs"} },
	} {
		bad := kubeProxyData()
		change(&bad)
		if _, err := KubeProxy(bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestCoreDNS(t *testing.T) {
	out, err := CoreDNS(coreDNSData())
	if err != nil {
		t.Fatal(err)
	}
	objects := decodeStrict(t, out)
	cm, _ := objects["ConfigMap kube-system/coredns"].(*corev1.ConfigMap)
	svc, _ := objects["Service kube-system/kube-dns"].(*corev1.Service)
	deployment, _ := objects["Deployment kube-system/coredns"].(*appsv1.Deployment)
	for _, want := range []string{"kubernetes cluster.local in-addr.arpa", "loop\n", "forward . /etc/resolv.conf", "disable denial cluster.local"} {
		if !strings.Contains(cm.Data["Corefile"], want) {
			t.Errorf("no %q in\n%s", want, cm.Data["Corefile"])
		}
	}
	if svc.Spec.ClusterIP != "10.96.0.10" || deployment.Spec.Template.Spec.DNSPolicy != corev1.DNSDefault || *deployment.Spec.Replicas != 2 {
		t.Errorf("service %s, policy %s, replicas %d", svc.Spec.ClusterIP, deployment.Spec.Template.Spec.DNSPolicy, *deployment.Spec.Replicas)
	}
	other := coreDNSData()
	other.ClusterDomain = "other.local"
	changed, err := CoreDNS(other)
	if err != nil {
		t.Fatal(err)
	}
	newer, _ := decodeStrict(t, changed)["Deployment kube-system/coredns"].(*appsv1.Deployment)
	if cmp.Equal(newer.Spec.Template.Annotations, deployment.Spec.Template.Annotations) {
		t.Error("a new Corefile does not roll the pods")
	}
	for want, change := range map[string]func(*CoreDNSData){
		"service address":            func(d *CoreDNSData) { d.ServiceIP = netip.Addr{} },
		"0 replicas":                 func(d *CoreDNSData) { d.Replicas = 0 },
		"not a domain":               func(d *CoreDNSData) { d.ClusterDomain = "x }\n. { any" },
		`"a {" is not a domain name`: func(d *CoreDNSData) { d.Zones = []DNSZone{{Name: "a {", Forward: outsideDNSData().Forward}} },
		"has no servers":             func(d *CoreDNSData) { d.Zones = []DNSZone{{Name: "a.b"}} },
		`"b\n}" is not a domain`:     func(d *CoreDNSData) { d.Hosts = []DNSHost{{addr("10.0.0.1"), []string{"b\n}"}}} },
		"no address":                 func(d *CoreDNSData) { d.Hosts = []DNSHost{{netip.Addr{}, []string{"b"}}} },
		"no name":                    func(d *CoreDNSData) { d.Hosts = []DNSHost{{addr("10.0.0.1"), nil}} },
		"not a server":               func(d *CoreDNSData) { d.Forward = []netip.AddrPort{netip.AddrPortFrom(addr("fe80::1%a }"), 53)} },
	} {
		bad := coreDNSData()
		change(&bad)
		if _, err := CoreDNS(bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// TestBootstrapRBAC: every role that is bound is either one of Kubernetes' own or defined here,
// and anonymous users get at nothing but cluster-info.
func TestBootstrapRBAC(t *testing.T) {
	out, err := BootstrapRBAC()
	if err != nil {
		t.Fatal(err)
	}
	objects := decodeStrict(t, out)
	builtin := []string{
		"cluster-admin", "system:kubelet-api-admin", "system:node-bootstrapper",
		"system:certificates.k8s.io:certificatesigningrequests:nodeclient",
		"system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
	}
	for id, object := range objects {
		var ref rbacv1.RoleRef
		var subjects []rbacv1.Subject
		namespace := ""
		switch binding := object.(type) {
		case *rbacv1.ClusterRoleBinding:
			ref, subjects = binding.RoleRef, binding.Subjects
		case *rbacv1.RoleBinding:
			ref, subjects, namespace = binding.RoleRef, binding.Subjects, binding.Namespace
		default:
			continue
		}
		if _, ours := objects[ref.Kind+" "+namespace+"/"+ref.Name]; !ours && !slices.Contains(builtin, ref.Name) {
			t.Errorf("%s binds %s %s, which does not exist", id, ref.Kind, ref.Name)
		}
		for _, s := range subjects {
			if s.Name == "system:anonymous" && ref.Name != "kubeadm:bootstrap-signer-clusterinfo" {
				t.Errorf("%s gives anonymous users %s", id, ref.Name)
			}
			if s.Name == "system:masters" {
				t.Errorf("%s names system:masters", id)
			}
		}
	}
}

func TestClusterInfoRefuses(t *testing.T) {
	for _, ca := range []string{"", "-----BEGIN EC PRIVATE KEY-----\n"} {
		if out, err := ClusterInfo(ClusterInfoData{Server: "https://x", CAPEM: []byte(ca)}); err == nil {
			t.Errorf("CA %q renders:\n%s", ca, out)
		}
	}
}

// clusterConfiguration is kubeadm's v1beta4 as far as kubewright writes it. The type itself is in
// k8s.io/kubernetes, which cannot be imported as a library.
type clusterConfiguration struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	APIServer  struct {
		CertSANs  []string  `json:"certSANs"`
		ExtraArgs []argPair `json:"extraArgs"`
	} `json:"apiServer"`
	ControllerManager struct {
		ExtraArgs []argPair `json:"extraArgs"`
	} `json:"controllerManager"`
	Scheduler struct {
		ExtraArgs []argPair `json:"extraArgs"`
	} `json:"scheduler"`
	CertificatesDir      string `json:"certificatesDir"`
	ClusterName          string `json:"clusterName"`
	ControlPlaneEndpoint string `json:"controlPlaneEndpoint"`
	DNS                  struct {
		ImageTag string `json:"imageTag"`
	} `json:"dns"`
	EncryptionAlgorithm string `json:"encryptionAlgorithm"`
	Etcd                struct {
		Local struct {
			DataDir   string    `json:"dataDir"`
			ImageTag  string    `json:"imageTag"`
			ExtraArgs []argPair `json:"extraArgs"`
		} `json:"local"`
	} `json:"etcd"`
	ImageRepository   string `json:"imageRepository"`
	KubernetesVersion string `json:"kubernetesVersion"`
	Networking        struct {
		DNSDomain     string `json:"dnsDomain"`
		PodSubnet     string `json:"podSubnet"`
		ServiceSubnet string `json:"serviceSubnet"`
	} `json:"networking"`
	Proxy struct{} `json:"proxy"`
}

type argPair struct{ Name, Value string }

func TestKubeadmConfig(t *testing.T) {
	full := kubeadmConfigData()
	full.CertSANs = []string{"api.example", "fd00::1"}
	full.APIServerArgs = map[string]string{"v": "2", "audit-log-path": "-"}
	full.ControllerManagerArgs = map[string]string{"v": "3"}
	full.SchedulerArgs = map[string]string{"v": "4"}
	full.EtcdArgs = map[string]string{"quota-backend-bytes": "1"}
	sansOnly := kubeadmConfigData()
	sansOnly.CertSANs = []string{"api.example"}
	argsOnly := kubeadmConfigData()
	argsOnly.APIServerArgs = map[string]string{"v": "2"}
	decode := func(d KubeadmConfigData) (c clusterConfiguration) {
		t.Helper()
		out, err := KubeadmConfig(d)
		if err != nil {
			t.Fatal(err)
		}
		cm, _ := decodeStrict(t, out)["ConfigMap kube-system/kubeadm-config"].(*corev1.ConfigMap)
		if err := yaml.UnmarshalStrict([]byte(cm.Data["ClusterConfiguration"]), &c); err != nil {
			t.Fatalf("%v in:\n%s", err, cm.Data["ClusterConfiguration"])
		}
		return c
	}
	decode(kubeadmConfigData())
	if c := decode(sansOnly); len(c.APIServer.CertSANs) != 1 {
		t.Errorf("SANs %v", c.APIServer.CertSANs)
	}
	if c := decode(argsOnly); len(c.APIServer.ExtraArgs) != 1 {
		t.Errorf("arguments %v", c.APIServer.ExtraArgs)
	}
	c := decode(full)
	if diff := cmp.Diff([]argPair{{"audit-log-path", "-"}, {"v", "2"}}, c.APIServer.ExtraArgs); diff != "" {
		t.Error(diff)
	}
	if len(c.APIServer.CertSANs) != 2 || len(c.ControllerManager.ExtraArgs) != 1 || len(c.Scheduler.ExtraArgs) != 1 || len(c.Etcd.Local.ExtraArgs) != 1 {
		t.Errorf("%+v", c)
	}
	if c.KubernetesVersion != "v1.37.2" || c.Etcd.Local.ImageTag != "3.7.3-0" || c.DNS.ImageTag != "v1.15.0" {
		t.Errorf("%+v", c)
	}
}

func TestContainerd(t *testing.T) {
	for _, restrict := range []bool{true, false} {
		out, err := ContainerdConfig(ContainerdConfigData{SandboxImage: `a"b`, RestrictOOMScoreAdj: restrict})
		if err != nil {
			t.Fatal(err)
		}
		var tree struct {
			Version int
			Plugins map[string]map[string]any
		}
		if err := toml.Unmarshal(out, &tree); err != nil {
			t.Fatalf("%v in:\n%s", err, out)
		}
		images := tree.Plugins["io.containerd.cri.v1.images"]
		runtime := tree.Plugins["io.containerd.cri.v1.runtime"]
		if tree.Version != 3 || runtime["restrict_oom_score_adj"] != restrict {
			t.Errorf("version %d, restrict_oom_score_adj %v", tree.Version, runtime["restrict_oom_score_adj"])
		}
		if diff := cmp.Diff(map[string]any{"sandbox": `a"b`}, images["pinned_images"]); diff != "" {
			t.Error(diff)
		}
		want := map[string]any{"default_runtime_name": "runc", "runtimes": map[string]any{"runc": map[string]any{
			"runtime_type": "io.containerd.runc.v2", "options": map[string]any{"SystemdCgroup": true},
		}}}
		if diff := cmp.Diff(want, runtime["containerd"]); diff != "" {
			t.Error(diff)
		}
	}
	if _, err := ContainerdConfig(ContainerdConfigData{}); err == nil {
		t.Error("a configuration without a sandbox image renders")
	}
}

func TestRegistryHosts(t *testing.T) {
	for mirror, want := range map[string]string{
		"http://m:5000":               "http://m:5000/v2",
		"http://m:5000/":              "http://m:5000/v2",
		"http://m:5000/registry/x":    "http://m:5000/v2/registry/x",
		"https://m/v2/registry":       "https://m/v2/registry",
		"https://m/v2":                "https://m/v2",
		"https://[fd00::1]:5000/v2er": "https://[fd00::1]:5000/v2/v2er",
	} {
		if got, err := mirrorEndpoint(mirror); got != want || err != nil {
			t.Errorf("mirrorEndpoint(%q) = %q, %v; want %q", mirror, got, err, want)
		}
	}
	for _, bad := range []string{"", "m:5000", "ftp://m", "http://", "http:///x", "http://m/x?y=1", "http://u:p@m/", "http://m/a b"} {
		if _, err := RegistryHosts(RegistryHostsData{Registry: "docker.io", Mirrors: []string{bad}}); err == nil {
			t.Errorf("mirror %q renders", bad)
		}
	}
	for _, bad := range []string{"", "../../etc", "a/b", "a b", "x:y"} {
		if _, err := RegistryHosts(RegistryHostsData{Registry: bad}); err == nil {
			t.Errorf("registry %q renders", bad)
		}
	}
}

func TestClusterRegistryHosts(t *testing.T) {
	out, err := ClusterRegistryHosts(ClusterRegistryHostsData{Address: netip.MustParseAddr("fd00::b"), CAPath: "/ca.crt"})
	if err != nil || !strings.Contains(string(out), `"https://[fd00::b]"`) {
		t.Errorf("%v:\n%s", err, out)
	}
	if _, err := ClusterRegistryHosts(ClusterRegistryHostsData{CAPath: "/ca.crt"}); err == nil {
		t.Error("a registry without an address renders")
	}
}

func TestNFSExports(t *testing.T) {
	for _, bad := range []NFSExportsData{{Path: "/x"}, {Clients: []netip.Addr{netip.MustParseAddr("10.0.0.1")}}} {
		if _, err := NFSExports(bad); err == nil {
			t.Errorf("%+v renders", bad)
		}
	}
}

func TestKernelSettings(t *testing.T) {
	if got := Modules("ipvs"); !slices.Contains(got, "ip_vs_rr") || slices.Contains(got, "nf_tables") {
		t.Errorf("modules for ipvs: %v", got)
	}
	if got := Modules("iptables"); slices.Contains(got, "ip_vs") || !slices.Contains(got, "br_netfilter") {
		t.Errorf("modules for iptables: %v", got)
	}
	if slices.ContainsFunc(Sysctls(false), func(s Sysctl) bool { return strings.HasPrefix(s.Key, "net.ipv6.") }) {
		t.Error("IPv6 forwarding without IPv6 pods")
	}
	if _, err := ModulesLoadConf([]string{"a\nb"}); err == nil {
		t.Error("a module with a newline renders")
	}
	for _, bad := range []Sysctl{{"a b", "1"}, {"", "1"}, {"a", "1\nb = 2"}, {"a", ""}} {
		if _, err := SysctlConf([]Sysctl{bad}); err == nil {
			t.Errorf("%v renders", bad)
		}
	}
}

// Pods whose addresses are not in the pod CIDR are known by their interfaces.
func TestKubeProxyKnowsPodsByInterface(t *testing.T) {
	d := kubeProxyData()
	d.LocalInterfaces = "cali"
	out, err := KubeProxyConfig(d)
	if err != nil {
		t.Fatal(err)
	}
	var config kubeproxy.KubeProxyConfiguration
	if err := yaml.UnmarshalStrict(out, &config); err != nil {
		t.Fatal(err)
	}
	if config.DetectLocalMode != "InterfaceNamePrefix" || config.DetectLocal.InterfaceNamePrefix != "cali" {
		t.Errorf("detects by %s, %+v", config.DetectLocalMode, config.DetectLocal)
	}
}
