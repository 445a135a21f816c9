package templates

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

func kubeVIPData() KubeVIPData {
	return KubeVIPData{
		Image: "ghcr.io/kube-vip/kube-vip:v1.2.3", InputsDigest: "sha256:v",
		NodeName: "cp1", Interface: "eth0", VIP: addr("10.111.0.100"),
	}
}

func TestKubeVIPRefuses(t *testing.T) {
	for want, change := range map[string]func(*KubeVIPData){
		`"" is not the name of a network interface`: func(d *KubeVIPData) { d.Interface = "" },
		`"eth0 x" is not the name`:                  func(d *KubeVIPData) { d.Interface = "eth0 x" },
		"not an address a node":                     func(d *KubeVIPData) { d.VIP = netip.Addr{} },
		`"0.0.0.0" is not an address`:               func(d *KubeVIPData) { d.VIP = addr("0.0.0.0") },
	} {
		d := kubeVIPData()
		change(&d)
		if out, err := KubeVIP(d); err == nil || !strings.HasPrefix(err.Error(), "kube-vip: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v and:\n%s", want, err, out)
		}
	}
}

// kube-vip has two of root's privileges, sees one file and cannot change it, and gives the address up
// before another takes it: the Lease outlives the deadline for renewing it.
func TestKubeVIPPrivileges(t *testing.T) {
	var pod corev1.Pod
	if err := yaml.UnmarshalStrict(mustRender(t)(KubeVIP(kubeVIPData())), &pod); err != nil {
		t.Fatal(err)
	}
	c := pod.Spec.Containers[0]
	if got := c.SecurityContext.Capabilities; !slices.Equal(got.Add, []corev1.Capability{"NET_ADMIN", "NET_RAW"}) || !slices.Equal(got.Drop, []corev1.Capability{"ALL"}) {
		t.Errorf("capabilities %+v", got)
	}
	if !*c.SecurityContext.ReadOnlyRootFilesystem || *c.SecurityContext.AllowPrivilegeEscalation {
		t.Errorf("%+v", c.SecurityContext)
	}
	if len(c.VolumeMounts) != 1 || !c.VolumeMounts[0].ReadOnly || c.VolumeMounts[0].MountPath != "/etc/kubernetes/kube-vip.conf" {
		t.Errorf("mounts %+v", c.VolumeMounts)
	}
	env := map[string]string{}
	for _, e := range c.Env {
		env[e.Name] = e.Value
	}
	if env["vip_leaseduration"] <= env["vip_renewdeadline"] || env["vip_renewdeadline"] <= env["vip_retryperiod"] {
		t.Errorf("%v", env)
	}
}

// The user may hold the Lease that kube-vip is told of, and make one; nothing else anywhere.
func TestKubeVIPRights(t *testing.T) {
	must := mustRender(t)
	var role rbacv1.Role
	var binding rbacv1.RoleBinding
	documents := strings.Split(string(must(KubeVIPRBAC("kubewright:kube-vip"))), "---\n")
	for i, into := range []any{&role, &binding} {
		if err := yaml.UnmarshalStrict([]byte(documents[i]), into); err != nil {
			t.Fatal(err)
		}
	}
	want := []rbacv1.PolicyRule{
		{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, Verbs: []string{"create"}},
		{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, ResourceNames: []string{"plndr-cp-lock"}, Verbs: []string{"get", "update"}},
	}
	if diff := cmp.Diff(want, role.Rules); diff != "" || role.Namespace != "kube-system" || len(documents) != 2 {
		t.Errorf("%d documents, role in %q:\n%s", len(documents), role.Namespace, diff)
	}
	if binding.RoleRef.Name != role.Name || binding.Namespace != role.Namespace || len(binding.Subjects) != 1 || binding.Subjects[0].Name != "kubewright:kube-vip" {
		t.Errorf("%+v", binding)
	}
	var pod corev1.Pod
	if err := yaml.UnmarshalStrict(must(KubeVIP(kubeVIPData())), &pod); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(pod.Spec.Containers[0].Env, corev1.EnvVar{Name: "vip_leasename", Value: want[1].ResourceNames[0]}) {
		t.Errorf("the pod is told of another Lease: %+v", pod.Spec.Containers[0].Env)
	}
}
