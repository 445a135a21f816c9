package phases

import (
	"kubewright/certs"
	"kubewright/cluster"
	"kubewright/internal/plan"
	"kubewright/internal/resource"
	"kubewright/internal/sh"
)

// externalEtcd is what a control plane has of an etcd that somebody else runs: the files that the user
// gives, where kubeadm has its own, and a note of which etcd has the cluster's data. The note is there
// before the API server, which fills the etcd.
func externalEtcd(c *cluster.Cluster, t plan.Target) []resource.Resource {
	key := c.ExternalEtcd.Client.KeyPEM.Reveal()
	return []resource.Resource{
		// Secret, for who was there before may have had more than a certificate in it.
		resource.File{Path: pkiDir + "/" + string(certs.EtcdCA) + ".crt", Content: c.ExternalEtcd.CA, Secret: true},
		resource.File{Path: etcdClientPath + ".key", Mode: 0o600, Content: key, Secret: true},
		resource.File{Path: etcdClientPath + ".crt", Content: c.ExternalEtcd.Client.CertPEM, Secret: true},
		resource.File{Path: sh.MembersPath, Content: []byte(plan.ExternalEtcdNote(t.ExternalEtcd) + "\n"), Read: true},
	}
}

// etcdClientPath is the certificate of the API server as a client of etcd, and its key, without the
// ends of their names.
const etcdClientPath = pkiDir + "/" + certs.APIServerEtcdClient

// readsAsClientOfEtcd are the certificate and the key with which an API server is a client of etcd.
func readsAsClientOfEtcd(c *cluster.Cluster) []resource.ID {
	if c.ExternalEtcd.Used() {
		return []resource.ID{resource.FileID(etcdClientPath + ".crt"), resource.FileID(etcdClientPath + ".key")}
	}
	return reads(certs.APIServerEtcdClient + ".crt")
}
