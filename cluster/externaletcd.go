package cluster

import (
	"cmp"
	"fmt"
	"path"
	"strings"
	"time"

	"kubewright/certs"
	"kubewright/inventory"
	"kubewright/spec"
	"kubewright/spec/strict"
)

// ExternalEtcd is an etcd that somebody else runs, and how the cluster is a client of it. The zero
// value is none.
type ExternalEtcd struct {
	// Endpoints are the client URLs of its members, https://host:port, as the user lists them.
	Endpoints []string
	// CA has the certificates, as PEM, of those who issued what the members serve with.
	CA []byte
	// Client is the certificate that the user was given, and its key.
	Client certs.Pair
}

// Used tells whether etcd is somebody else's.
func (e ExternalEtcd) Used() bool { return len(e.Endpoints) > 0 }

// defaultEtcdPrefix is kube-apiserver's --etcd-prefix.
const defaultEtcdPrefix = "/registry"

// EtcdPrefix is what all keys of the cluster in etcd begin with, but for the slash that follows.
func (c *Cluster) EtcdPrefix() string {
	return strings.TrimSuffix(path.Join("/", cmp.Or(c.APIServer.ExtraArgs["etcd-prefix"], defaultEtcdPrefix)), "/")
}

// KeptInEtcd says what a reset leaves of the cluster, and what to do about it; "" where nothing is.
func (c *Cluster) KeptInEtcd() string {
	if !c.ExternalEtcd.Used() {
		return ""
	}
	return fmt.Sprintf("the data of the cluster stays in the external etcd at %s, below %s; before another cluster uses it, delete that: etcdctl del --prefix %[2]s/",
		strings.Join(c.ExternalEtcd.Endpoints, ", "), c.EtcdPrefix())
}

// ForeignAuthorities are the authorities that a control plane of the cluster has no key of: that of
// etcd where etcd is somebody else's.
func (c *Cluster) ForeignAuthorities() []certs.AuthorityName {
	if c.ExternalEtcd.Used() {
		return []certs.AuthorityName{certs.EtcdCA}
	}
	return nil
}

// noMembers refuses hosts with the role etcd beside an etcd that somebody else runs.
func (r *resolver) noMembers() {
	check := strict.Checker{Doc: r.hostFile}
	for _, p := range r.having(inventory.RoleEtcd) {
		check.Refuse(p.At.Key("roles"), "%s has the role etcd, while spec.controlPlane.etcd.external names an etcd that runs elsewhere; "+
			"leave one of the two out", p.Name)
	}
	r.check.Faults = append(r.check.Faults, check.Faults...)
}

// externalEtcd reads the files of an etcd that somebody else runs. They have to be good here and
// now: an API server that etcd does not let in tells nobody why.
func (r *resolver) externalEtcd() {
	written := r.written.ControlPlane.Etcd.External
	if !written.Given() {
		return
	}
	for _, text := range written.Endpoints {
		if endpoint, problem := spec.EtcdEndpoint(text); problem == nil {
			r.etcdOf.Endpoints = append(r.etcdOf.Endpoints, endpoint)
		}
	}
	file := func(key, file string, check func([]byte) (certs.Expiry, error)) []byte {
		return r.pem(at("controlPlane", "etcd", "external", key), file, check)
	}
	r.etcdOf.CA = file("caFile", written.CAFile, func(data []byte) (certs.Expiry, error) {
		return certs.CheckAuthorities(data, r.Now)
	})
	r.etcdOf.Client.CertPEM = file("certFile", written.CertFile, func(data []byte) (certs.Expiry, error) {
		return certs.CheckClient(data, r.Now)
	})
	r.etcdOf.Client.KeyPEM = file("keyFile", written.KeyFile, keyOf(r.etcdOf.Client.CertPEM))
}

// keyOf checks that a private key is that of a certificate, which is nil where it could not be used.
func keyOf(cert []byte) func([]byte) (certs.Expiry, error) {
	return func(key []byte) (certs.Expiry, error) {
		if cert == nil {
			return certs.Expiry{}, nil // whose key it has to be is not known
		}
		return certs.Expiry{}, certs.CheckKey(certs.Pair{CertPEM: cert, KeyPEM: key})
	}
}

// pem reads a file that the cluster file names at a place, and says what is wrong with it; nil is returned then.
func (r *resolver) pem(where strict.Path, file string, check func([]byte) (certs.Expiry, error)) []byte {
	if file == "" || r.NoClient {
		return nil // the first is refused by the spec
	}
	data, err := r.Read(r.join(file))
	if err != nil {
		r.check.Refuse(where, "%s cannot be read: %v", file, err)
		return nil
	}
	expiry, err := check(data)
	if err != nil {
		r.check.Refuse(where, "%s cannot be used: %v", file, err)
		return nil
	}
	if expiry.Soon {
		r.warn.Refuse(where, "%s expires at %s: kubewright does not renew it; put a new one in its place, and apply", file, expiry.At.UTC().Format(time.RFC3339))
	}
	return data
}
