package addons

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"kubewright/certs"
	"kubewright/spec"
)

// manifestOf reads an upstream manifest of the catalogue out of the artifacts that the lab was made from.
func manifestOf(t *testing.T, name string) []byte {
	t.Helper()
	file, ok := testRelease(t).File(name, "amd64")
	if !ok {
		t.Fatalf("the catalogue has no file %s", name)
	}
	cache := os.Getenv("KUBEWRIGHT_CACHE")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			t.Skip(err)
		}
		cache = filepath.Join(home, ".cache", "kubewright")
	}
	data, err := os.ReadFile(filepath.Join(cache, "artifacts", "files", filepath.FromSlash(strings.TrimPrefix(file.URL, "https://"))))
	if err != nil {
		t.Skipf("the upstream manifest is not among the artifacts: %v", err)
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != file.SHA256 {
		t.Fatalf("the manifest of %s has sha256 %x, the catalogue says %s", name, sum, file.SHA256)
	}
	return data
}

// objectsOf renders an addon in a variant, by kind and name.
func objectsOf(t *testing.T, name, variant string, p Params) map[string]*unstructured.Unstructured {
	t.Helper()
	a, err := Find(name)
	if err == nil {
		a, err = a.In(variant)
	}
	if err != nil {
		t.Fatal(err)
	}
	var manifest []byte
	if a.Manifest != "" {
		manifest = manifestOf(t, a.Manifest)
	}
	objects, err := Render(a, p, manifest)
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]*unstructured.Unstructured{}
	for _, o := range objects {
		byName[o.GetKind()+" "+o.GetName()] = o
	}
	if len(byName) != len(objects) {
		t.Fatalf("%d objects, %d names", len(objects), len(byName))
	}
	return byName
}

// as reads an object as its type, which has to know all of its fields.
func as[T any](t *testing.T, o *unstructured.Unstructured) T {
	t.Helper()
	var typed T
	if o == nil {
		t.Fatalf("there is no such object (%T)", typed)
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(o.Object, &typed, true); err != nil {
		t.Fatal(err)
	}
	return typed
}

func ingressParams(t *testing.T) Params {
	p := params(t)
	p.Addons.Ingress = spec.Ingress{Controller: "nginx", Expose: "auto", Workload: "deployment", Replicas: 2, ClassName: "nginx", DefaultClass: new(true)}
	return p
}

// ingressControllers say where each controller has its objects.
func ingressControllers() map[string]struct{ namespace, name, config, class string } {
	return map[string]struct{ namespace, name, config, class string }{
		"nginx":         {"nginx-ingress", "nginx-ingress", "nginx-config", "nginx.org/ingress-controller"},
		"ingress-nginx": {"ingress-nginx", "ingress-nginx-controller", "ingress-nginx-controller", "k8s.io/ingress-nginx"},
	}
}

func TestIngressObjects(t *testing.T) {
	common := []string{
		"ClusterRole %s", "ClusterRoleBinding %s", "IngressClass nginx", "Namespace %s", "Role %s", "RoleBinding %s", "ServiceAccount %s",
	}
	for name, c := range ingressControllers() {
		t.Run(name, func(t *testing.T) {
			objects := objectsOf(t, name, "deployment", ingressParams(t))
			want := []string{"ConfigMap " + c.config, "Deployment " + c.name, "PodDisruptionBudget " + c.name, "Service " + c.name}
			for _, format := range common {
				want = append(want, strings.ReplaceAll(format, "%s", c.namespace))
			}
			var got []string
			for id := range objects {
				got = append(got, id)
			}
			slices.Sort(got)
			slices.Sort(want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			class := as[networkingv1.IngressClass](t, objects["IngressClass nginx"])
			if class.Spec.Controller != c.class || class.Annotations["ingressclass.kubernetes.io/is-default-class"] != "true" {
				t.Errorf("class %+v", class)
			}
			service := as[corev1.Service](t, objects["Service "+c.name])
			if service.Spec.Type != "NodePort" || service.Spec.ExternalTrafficPolicy != "Cluster" || len(service.Annotations) > 0 ||
				len(service.Spec.Ports) != 2 || service.Spec.Ports[0].NodePort != 0 {
				t.Errorf("service %+v", service)
			}
			deployment := as[appsv1.Deployment](t, objects["Deployment "+c.name])
			pod := deployment.Spec.Template
			if *deployment.Spec.Replicas != 2 || len(pod.Spec.Volumes) > 0 || len(pod.Spec.Containers) != 1 || len(pod.Spec.Containers[0].VolumeMounts) > 0 ||
				!cmp.Equal(pod.Spec.NodeSelector, map[string]string{"kubernetes.io/os": "linux"}) {
				t.Errorf("deployment %+v", deployment.Spec)
			}
			for key, value := range service.Spec.Selector {
				if pod.Labels[key] != value {
					t.Errorf("the service selects %s=%s, pods have %v", key, value, pod.Labels)
				}
			}
			for _, port := range service.Spec.Ports {
				if !slices.ContainsFunc(pod.Spec.Containers[0].Ports, func(p corev1.ContainerPort) bool { return p.Name == port.TargetPort.StrVal }) {
					t.Errorf("the pods have no port %s", port.TargetPort.StrVal)
				}
			}
			secure := pod.Spec.Containers[0].SecurityContext
			if !*secure.RunAsNonRoot || *secure.AllowPrivilegeEscalation || !cmp.Equal(secure.Capabilities, &corev1.Capabilities{
				Add: []corev1.Capability{"NET_BIND_SERVICE"}, Drop: []corev1.Capability{"ALL"},
			}) {
				t.Errorf("security context %+v", secure)
			}
			if slices.ContainsFunc(pod.Spec.Containers[0].Ports, func(p corev1.ContainerPort) bool { return p.ContainerPort == 8443 }) {
				t.Error("the port of the webhook is there")
			}
			for _, arg := range pod.Spec.Containers[0].Args {
				if strings.Contains(arg, "webhook") || strings.Contains(arg, "default-tls") || strings.Contains(arg, "service=") {
					t.Errorf("flag %s", arg)
				}
			}
		})
	}
}

func TestIngressSettings(t *testing.T) {
	for name, c := range ingressControllers() {
		t.Run(name, func(t *testing.T) {
			p := ingressParams(t)
			p.Addons.MetalLB.Enabled = true
			p.IngressCertificate = certs.Pair{CertPEM: []byte("CERT"), KeyPEM: []byte("KEY")}
			p.Addons.Ingress = spec.Ingress{
				Controller: name, Expose: "auto", Workload: "daemonset", Replicas: 2, HTTPPort: 30080, HTTPSPort: 30443, Address: "10.111.1.5",
				ClassName: "outside", DefaultClass: new(false), PreserveSourceAddress: true, Metrics: true,
				Config: map[string]string{"proxy-body-size": "8m", "log-format": "a: {{ b }}\n- c"}, NodeSelector: map[string]string{"edge": "yes"},
			}
			objects := objectsOf(t, name, "daemonset", p)
			for _, gone := range []string{"Deployment " + c.name, "PodDisruptionBudget " + c.name, "IngressClass nginx"} {
				if objects[gone] != nil {
					t.Errorf("%s is there", gone)
				}
			}
			class := as[networkingv1.IngressClass](t, objects["IngressClass outside"])
			if class.Spec.Controller != c.class || len(class.Annotations) > 0 {
				t.Errorf("class %+v", class)
			}
			service := as[corev1.Service](t, objects["Service "+c.name])
			if service.Spec.Type != "LoadBalancer" || service.Spec.ExternalTrafficPolicy != "Local" ||
				service.Annotations["metallb.io/loadBalancerIPs"] != "10.111.1.5" ||
				service.Spec.Ports[0].NodePort != 30080 || service.Spec.Ports[1].NodePort != 30443 {
				t.Errorf("service %+v", service)
			}
			if diff := cmp.Diff(p.Addons.Ingress.Config, as[corev1.ConfigMap](t, objects["ConfigMap "+c.config]).Data); diff != "" {
				t.Error(diff)
			}
			secret := as[corev1.Secret](t, objects["Secret default-tls"])
			if secret.Type != corev1.SecretTypeTLS || string(secret.Data["tls.crt"]) != "CERT" || string(secret.Data["tls.key"]) != "KEY" || secret.Namespace != c.namespace {
				t.Errorf("secret %+v", secret)
			}
			pod := as[appsv1.DaemonSet](t, objects["DaemonSet "+c.name]).Spec.Template
			if pod.Annotations["prometheus.io/scrape"] != "true" || !cmp.Equal(pod.Spec.NodeSelector, map[string]string{"kubernetes.io/os": "linux", "edge": "yes"}) {
				t.Errorf("pod %+v", pod)
			}
			args := " " + strings.Join(pod.Spec.Containers[0].Args, " ") + " "
			for _, want := range map[string][]string{
				"nginx": {
					" -ingress-class=outside ", " -enable-prometheus-metrics=true ", " -report-ingress-status ", " -external-service=nginx-ingress ",
					" -default-server-tls-secret=$(POD_NAMESPACE)/default-tls ", " -wildcard-tls-secret=$(POD_NAMESPACE)/default-tls ",
				},
				"ingress-nginx": {
					" --ingress-class=outside ", " --enable-metrics=true ", " --publish-service=$(POD_NAMESPACE)/ingress-nginx-controller ",
					" --default-ssl-certificate=$(POD_NAMESPACE)/default-tls ",
				},
			}[name] {
				if !strings.Contains(args, want) {
					t.Errorf("flags %s lack %s", args, want)
				}
			}
		})
	}
}
