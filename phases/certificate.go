package phases

import (
	"encoding/base64"
	"fmt"
	"net/netip"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubewright/addons"
	"kubewright/certs"
	"kubewright/cluster"
	"kubewright/internal/plan"
)

// certificateRef is the Secret that an addon's certificate is kept in.
func certificateRef(c addons.Certificate) plan.Ref {
	return plan.Ref{APIVersion: "v1", Kind: "Secret", Namespace: c.Namespace, Name: c.Secret}
}

// addonCertificate is the one that the Secret of an addon has, as long as it is good, and else a new one.
func addonCertificate(c *cluster.Cluster, a addons.Addon, w plan.World) (certs.Pair, error) {
	request := certificateRequest(c, a)
	have, err := pairOf(w.Live[certificateRef(*a.Certificate)])
	if err == nil && certs.Assess(have, request, w.PKI.Kubernetes, w.Env.Now).Action == certs.Keep {
		return have, nil
	}
	issued, err := w.PKI.Kubernetes.Issue(request, w.Env)
	if err != nil {
		return certs.Pair{}, fmt.Errorf("addon %s: %w", a.Name, err)
	}
	return issued, nil
}

// certificateRequest is for all names that a Service has inside the cluster, and for those of the registry that
// nodes know it by.
func certificateRequest(c *cluster.Cluster, a addons.Addon) certs.Request {
	name := a.Certificate.Service + "." + a.Certificate.Namespace
	request := certs.Request{
		CommonName: name + ".svc", Server: true, Algorithm: certs.KeyAlgorithm(c.KeyAlgorithm),
		DNSNames: []string{a.Certificate.Service, name, name + ".svc", name + ".svc." + c.Network.DNSDomain},
	}
	if a.Name == registryAddon {
		request.DNSNames = append(request.DNSNames, c.Addons.Registry.Host)
		request.IPs = []netip.Addr{c.RegistryIP()}
	}
	return request
}

// pairOf reads a Secret of type kubernetes.io/tls; nil has nothing. What cannot be read is an error.
func pairOf(secret *unstructured.Unstructured) (certs.Pair, error) {
	if secret == nil {
		return certs.Pair{}, nil
	}
	files := map[string][]byte{}
	for _, key := range []string{"tls.crt", "tls.key"} {
		text, _, err := unstructured.NestedString(secret.Object, "data", key)
		if err != nil {
			return certs.Pair{}, err
		}
		if files[key], err = base64.StdEncoding.DecodeString(text); err != nil {
			return certs.Pair{}, err
		}
	}
	return certs.Pair{CertPEM: files["tls.crt"], KeyPEM: files["tls.key"]}, nil
}
