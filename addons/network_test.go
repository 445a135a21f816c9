package addons

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubewright/internal/secret"
	"kubewright/spec"
)

// specs are the specs of the objects of a kind, by name.
func specs(objects map[string]*unstructured.Unstructured, kind string) map[string]any {
	all := map[string]any{}
	for id, o := range objects {
		if name, ok := strings.CutPrefix(id, kind+" "); ok {
			all[name] = o.Object["spec"]
		}
	}
	return all
}

func bgpParams(t *testing.T) Params {
	p := params(t)
	p.CalicoSettings = spec.Calico{
		Mode: "bgp", ASN: 64513, NodeMesh: new(false),
		Peers: []spec.BGPPeer{
			{Name: "tor1", Address: "10.0.0.1", ASN: 2147483647, Port: 1790, NodeSelector: map[string]string{"rack": "a", "example.com/x": ""}},
			{Name: "tor2", Address: "10.0.0.2", ASN: 65000},
		},
		Pools: []spec.PodPool{{Name: "dmz", CIDR: "10.60.0.0/16", NodeSelector: map[string]string{"zone": "dmz"}, KeepSourceAddress: true}},
	}
	p.CalicoPasswords = map[string]secret.Bytes{"tor1": secret.Bytes("hunter2")}
	return p
}

func pool(cidr, vxlan, nodes string, nat bool) map[string]any {
	return map[string]any{
		"cidr": cidr, "blockSize": int64(26), "ipipMode": "Never", "vxlanMode": vxlan, "natOutgoing": nat, "nodeSelector": nodes,
	}
}

func environment(t *testing.T, objects map[string]*unstructured.Unstructured) map[string]string {
	t.Helper()
	env := map[string]string{}
	for _, e := range as[appsv1.DaemonSet](t, objects["DaemonSet calico-node"]).Spec.Template.Spec.Containers[0].Env {
		env[e.Name] = e.Value
	}
	return env
}

func TestCalicoWithBGP(t *testing.T) {
	objects := objectsOf(t, "calico", "bgp", bgpParams(t))
	if diff := cmp.Diff(map[string]any{"default": map[string]any{"asNumber": int64(64513), "nodeToNodeMeshEnabled": false}}, specs(objects, "BGPConfiguration")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]any{
		"tor1": map[string]any{
			"peerIP": "10.0.0.1:1790", "asNumber": int64(2147483647), "nodeSelector": "example.com/x == '' && rack == 'a'",
			"password": map[string]any{"secretKeyRef": map[string]any{"name": "calico-bgp-passwords", "key": "tor1"}},
		},
		"tor2": map[string]any{"peerIP": "10.0.0.2", "asNumber": int64(65000), "nodeSelector": "all()"},
	}, specs(objects, "BGPPeer")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]any{
		"default-ipv4-ippool": pool("10.244.0.0/16", "Never", "all()", true), "dmz": pool("10.60.0.0/16", "Never", "zone == 'dmz'", false),
	}, specs(objects, "IPPool")); diff != "" {
		t.Error(diff)
	}
	if got := as[corev1.Secret](t, objects["Secret calico-bgp-passwords"]); string(got.Data["tor1"]) != "hunter2" || len(got.Data) != 1 {
		t.Errorf("passwords of %d peers", len(got.Data))
	}
	role := as[rbacv1.Role](t, objects["Role calico-bgp-passwords"])
	binding := as[rbacv1.RoleBinding](t, objects["RoleBinding calico-bgp-passwords"])
	if !slices.Equal(role.Rules[0].ResourceNames, []string{"calico-bgp-passwords"}) || binding.Subjects[0].Name != "calico-node" || binding.RoleRef.Name != role.Name {
		t.Errorf("%+v, %+v", role, binding)
	}
	env := environment(t, objects)
	if env["CALICO_IPV4POOL_VXLAN"] != "Never" || env["CALICO_IPV4POOL_IPIP"] != "Never" || env["CALICO_IPV4POOL_CIDR"] != "10.244.0.0/16" {
		t.Errorf("environment %v", env)
	}
	if got := as[corev1.ConfigMap](t, objects["ConfigMap calico-config"]).Data["calico_backend"]; got != "bird" {
		t.Errorf("backend %s", got)
	}
	p := bgpParams(t)
	p.CalicoPasswords = nil
	if objects := objectsOf(t, "calico", "bgp", p); objects["Secret calico-bgp-passwords"] != nil || objects["Role calico-bgp-passwords"] != nil {
		t.Error("a Secret without passwords")
	}
}

func TestCalicoPoolsWithVXLAN(t *testing.T) {
	p := params(t)
	p.CalicoSettings = spec.Calico{Mode: "vxlan", ASN: 64512, NodeMesh: new(true), Pools: []spec.PodPool{{Name: "more", CIDR: "10.60.0.0/16"}}}
	objects := objectsOf(t, "calico", "vxlan", p)
	if diff := cmp.Diff(map[string]any{
		"default-ipv4-ippool": pool("10.244.0.0/16", "Always", "all()", true), "more": pool("10.60.0.0/16", "Always", "all()", true),
	}, specs(objects, "IPPool")); diff != "" {
		t.Error(diff)
	}
	if len(specs(objects, "BGPConfiguration"))+len(specs(objects, "BGPPeer")) > 0 {
		t.Error("settings of BGP")
	}
	if env := environment(t, objects); env["CALICO_IPV4POOL_VXLAN"] != "Always" || env["CALICO_IPV4POOL_IPIP"] != "Never" {
		t.Errorf("environment %v", env)
	}
}

func TestFlannelObjects(t *testing.T) {
	p := params(t)
	digest := func(objects map[string]*unstructured.Unstructured) string {
		return as[appsv1.DaemonSet](t, objects["DaemonSet kube-flannel-ds"]).Spec.Template.Annotations["kubewright.io/config-digest"]
	}
	config := func(objects map[string]*unstructured.Unstructured) (c map[string]any) {
		cm := as[corev1.ConfigMap](t, objects["ConfigMap kube-flannel-cfg"])
		if err := json.Unmarshal([]byte(cm.Data["net-conf.json"]), &c); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(cm.Data["cni-conf.json"], `"type": "flannel"`) {
			t.Errorf("upstream's %s is gone: %v", "cni-conf.json", cm.Data)
		}
		return c
	}
	p.PodCIDR = netip.MustParsePrefix("10.50.0.0/16")
	before := objectsOf(t, "flannel", "", p)
	if diff := cmp.Diff(map[string]any{"Network": "10.50.0.0/16", "EnableNFTables": false, "Backend": map[string]any{"Type": "vxlan"}}, config(before)); diff != "" {
		t.Error(diff)
	}
	p.ProxyMode, p.MTU = "nftables", 1350
	after := objectsOf(t, "flannel", "", p)
	if diff := cmp.Diff(map[string]any{
		"Network": "10.50.0.0/16", "EnableNFTables": true, "Backend": map[string]any{"Type": "vxlan", "MTU": 1400.0},
	}, config(after)); diff != "" {
		t.Error(diff)
	}
	if digest(before) == "" || digest(before) == digest(after) {
		t.Error("a new configuration does not roll the pods")
	}
	pod := as[appsv1.DaemonSet](t, after["DaemonSet kube-flannel-ds"]).Spec.Template.Spec
	if !slices.Contains(pod.Containers[0].Args, "--iface=$(NODE_IP)") || len(pod.InitContainers) != 2 || len(pod.Containers[0].Env) != 4 {
		t.Errorf("pod %+v", pod)
	}
}

func TestNodeLocalDNSObjects(t *testing.T) {
	for mode, want := range map[string]string{"iptables": "169.254.20.10,10.96.0.10", "nftables": "169.254.20.10", "ipvs": "169.254.20.10"} {
		p := params(t)
		p.ProxyMode, p.Addons.NodeLocalDNS = mode, spec.NodeLocalDNS{Enabled: true, Address: "169.254.20.10"}
		objects := objectsOf(t, "node-local-dns", "", p)
		container := as[appsv1.DaemonSet](t, objects["DaemonSet node-local-dns"]).Spec.Template.Spec.Containers[0]
		if container.Args[1] != want || container.LivenessProbe.HTTPGet.Host != "169.254.20.10" {
			t.Errorf("%s: %v, probe of %s", mode, container.Args, container.LivenessProbe.HTTPGet.Host)
		}
		corefile := as[corev1.ConfigMap](t, objects["ConfigMap node-local-dns"]).Data["Corefile"]
		for _, part := range []string{
			"cluster.local:53 {", ".:53 {", "bind " + strings.ReplaceAll(want, ",", " ") + "\n", "forward . __PILLAR__CLUSTER__DNS__ {", "health 169.254.20.10:8080\n",
		} {
			if !strings.Contains(corefile, part) {
				t.Errorf("%s: no %q in\n%s", mode, part, corefile)
			}
		}
		if got := as[corev1.Service](t, objects["Service kube-dns-upstream"]).Spec.Selector["k8s-app"]; got != "kube-dns" {
			t.Errorf("it asks %s", got)
		}
	}
}

// The images of these do not run here, or not with BGP. That an API server takes their objects, definitions and
// all, can be asked.
func TestNetworksOnAnAPIServer(t *testing.T) {
	s := startAPIServer(t)
	p := bgpParams(t)
	p.Addons.NodeLocalDNS = spec.NodeLocalDNS{Enabled: true, Address: "169.254.20.10"}
	for _, tt := range []struct{ addon, variant string }{{"calico", "vxlan"}, {"calico", "bgp"}, {"flannel", ""}, {"node-local-dns", ""}} {
		t.Run(tt.addon+" "+tt.variant, func(t *testing.T) {
			p := p
			if tt.variant == "vxlan" {
				p.CalicoSettings.Mode = "vxlan"
			}
			objects := objectsOf(t, tt.addon, tt.variant, p)
			s.install(t, objects)
			for _, workload := range []string{"DaemonSet calico-node", "DaemonSet kube-flannel-ds", "DaemonSet node-local-dns"} {
				if objects[workload] == nil {
					continue
				}
				if err := s.admits(t, objects[workload]); err != nil {
					t.Errorf("no pod of %s would be made: %v", workload, err)
				}
			}
		})
	}
}
