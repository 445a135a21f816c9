package addons

import (
	"fmt"
	"maps"

	"kubewright/certs"
	"kubewright/spec"
)

// What the overlays of the ingress controllers call what the controllers refer to.
const (
	ingressCertificate = "$(POD_NAMESPACE)/default-tls"
	nginxName          = "nginx-ingress"
	ingressNginxName   = "ingress-nginx-controller"
)

// Ingress is what the overlays of both ingress controllers are made of.
type Ingress struct {
	spec.Ingress

	Kind          string // of the workload
	IsDefault     bool   // it is the class of ingresses that name none
	ServiceType   string
	TrafficPolicy string // whether nodes without a pod of it pass traffic on
	// Certificate is what TLS is served with where an ingress names no secret; empty for none.
	Certificate certs.Pair
}

// Key is the private key of Certificate, as PEM, for its Secret.
func (i Ingress) Key() []byte { return i.Certificate.KeyPEM.Reveal() }

// Ingress is how the ingress controller is to be.
func (p Params) Ingress() Ingress {
	i := Ingress{
		Ingress: p.Addons.Ingress, Kind: "Deployment", ServiceType: "NodePort", TrafficPolicy: "Cluster",
		Certificate: p.IngressCertificate,
	}
	i.IsDefault = i.DefaultClass != nil && *i.DefaultClass
	if i.Workload == "daemonset" {
		i.Kind = "DaemonSet"
	}
	if i.Exposed(p.Addons.MetalLB) == spec.ExposeLoadBalancer {
		i.ServiceType = "LoadBalancer"
	}
	if i.PreserveSourceAddress {
		i.TrafficPolicy = "Local"
	}
	return i
}

// Selector are the labels that the nodes of its pods have.
func (i Ingress) Selector() map[string]string {
	selector := map[string]string{"kubernetes.io/os": "linux"}
	maps.Copy(selector, i.NodeSelector)
	return selector
}

// NginxArgs are the flags of F5's NGINX Ingress Controller.
func (i Ingress) NginxArgs() []string {
	args := []string{
		"-nginx-configmaps=$(POD_NAMESPACE)/nginx-config",
		"-ingress-class=" + i.ClassName,
		// Ingresses are all that is promised; definitions of its own would outlive the addon's removal in
		// objects that users made.
		"-enable-custom-resources=false",
		// It would send F5 the numbers of nodes and objects.
		"-enable-telemetry-reporting=false",
		"-enable-leader-election=true",
		"-leader-election-lock-name=nginx-ingress-leader",
		"-ready-status=true",
		"-ready-status-port=8081",
		fmt.Sprintf("-enable-prometheus-metrics=%t", i.Metrics),
	}
	if i.ServiceType == "LoadBalancer" {
		args = append(args, "-report-ingress-status", "-external-service="+nginxName)
	}
	if !i.Certificate.Empty() {
		// The one is for names that no ingress has, the other for those of ingresses without a secret.
		args = append(args, "-default-server-tls-secret="+ingressCertificate, "-wildcard-tls-secret="+ingressCertificate)
	}
	return args
}

// IngressNginxArgs are the command and the flags of the community's controller: upstream's, without those of
// the webhook.
func (i Ingress) IngressNginxArgs() []string {
	args := []string{
		"/nginx-ingress-controller",
		"--election-id=ingress-nginx-leader",
		"--controller-class=k8s.io/ingress-nginx",
		"--ingress-class=" + i.ClassName,
		"--configmap=$(POD_NAMESPACE)/" + ingressNginxName,
		fmt.Sprintf("--enable-metrics=%t", i.Metrics),
	}
	if i.ServiceType == "LoadBalancer" {
		args = append(args, "--publish-service=$(POD_NAMESPACE)/"+ingressNginxName)
	}
	if !i.Certificate.Empty() {
		args = append(args, "--default-ssl-certificate="+ingressCertificate)
	}
	return args
}
