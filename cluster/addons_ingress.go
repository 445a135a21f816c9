package cluster

import (
	"kubewright/certs"
	"kubewright/spec/strict"
)

// ingress reads the certificate of the ingress controller, which has to be good here and now: a controller
// that cannot use it does not start, or serves another one.
func (r *resolver) ingress() (pair certs.Pair) {
	written := r.written.Addons.Ingress
	where := func(key string) strict.Path { return at("addons", "ingress", key) }
	if written.Controller == "ingress-nginx" {
		r.warn.Suggest(where("controller"), "nginx", "ingress-nginx is archived since March 2026 and gets no fixes any more, not even of security; "+
			"nginx, the controller of F5, is maintained, but knows other annotations (nginx.org/...)")
	}
	if written.CertFile == "" || written.KeyFile == "" {
		return pair // one alone is refused by the spec
	}
	pair.CertPEM = r.pem(where("certFile"), written.CertFile, func(data []byte) (certs.Expiry, error) {
		return certs.CheckServer(data, r.Now)
	})
	pair.KeyPEM = r.pem(where("keyFile"), written.KeyFile, keyOf(pair.CertPEM))
	return pair
}
