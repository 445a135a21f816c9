package cluster

import (
	"bytes"
	"reflect"
	"slices"

	"gopkg.in/yaml.v3"

	"kubewright/internal/catalog"
	"kubewright/inventory"
	"kubewright/spec"
	"kubewright/spec/strict"
)

// Where the files of an etcd that somebody else runs are on every control plane: kubeadm's places.
const (
	etcdCAOnHosts     = "/etc/kubernetes/pki/etcd/ca.crt"
	etcdClientOnHosts = "/etc/kubernetes/pki/apiserver-etcd-client"
)

// Document is the cluster as a cluster file that any machine can read: what a machine that joins has to
// know beside kubeadm's ConfigMaps. It has what was derived in place of what was left open, so that one
// more control plane does not lead the nodes another way; the control planes and hosts of etcd, each
// by its node IP, and no other hosts, which a joining machine does not meet. Not in it are SSH, files
// of the operator's machine, and what only a run over all hosts heeds. The same cluster always gives the same
// bytes, and so does the cluster that Here.Load makes of them.
func (c *Cluster) Document() ([]byte, error) {
	w := documentWriter{Tree: strict.NewTree(strict.Origin{})}
	w.put(spec.APIVersion, "apiVersion")
	w.put(spec.Kind, "kind")
	w.put(c.Name, "metadata", "name")
	w.put(c.Version, "spec", "kubernetesVersion")
	w.network(c.Network)
	w.controlPlane(c)
	w.put(c.KeyAlgorithm, "spec", "pki", "keyAlgorithm")
	w.put(c.KubeletConfig, "spec", "kubelet", "config")
	w.put(c.KubeletExtraArgs, "spec", "kubelet", "extraArgs")
	w.put(c.KubeProxyConfig, "spec", "kubeProxy", "config")
	if c.Artifacts.MirrorURL != "" { // a folder is on one machine only
		w.put(c.Artifacts.Source, "spec", "artifacts", "source")
		w.put(c.Artifacts.MirrorURL, "spec", "artifacts", "mirror", "url")
	}
	w.put(c.Artifacts.RegistryMirrors, "spec", "artifacts", "registryMirrors")
	w.addons(c)
	w.dns(c.Addons.Addons)
	w.put(c.IgnoreChecks, "spec", "preflight", "ignore")
	var hosts []inventory.Host
	for _, h := range c.Hosts {
		if h.Has(inventory.RoleControlPlane) || h.Has(inventory.RoleEtcd) {
			h = h.Clone()
			if c.StackedEtcd() { // as it follows, for a control plane that joins as well
				h.Roles = slices.DeleteFunc(h.Roles, func(r inventory.Role) bool { return r == inventory.RoleEtcd })
			}
			hosts = append(hosts, h)
		}
	}
	w.hosts(hosts)
	if w.err != nil {
		return nil, w.err
	}
	return encode(w.Root)
}

func encode(root *yaml.Node) ([]byte, error) {
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(root); err != nil {
		return nil, err
	}
	err := encoder.Close()
	return out.Bytes(), err
}

// WithoutHost is a document, as Cluster.Document makes it, without a host that has left the cluster; the same
// document where it does not have the host.
func WithoutHost(document []byte, name string) ([]byte, error) {
	root, faults := strict.Parse("the document of the cluster", document)
	if faults != nil {
		return nil, faults.Err()
	}
	hosts := strict.Get(strict.Get(root, "spec"), "hosts")
	if hosts == nil {
		return document, nil
	}
	left := slices.DeleteFunc(slices.Clone(hosts.Content), func(h *yaml.Node) bool {
		n := strict.Get(h, "name")
		return n != nil && n.Value == name
	})
	if len(left) == len(hosts.Content) {
		return document, nil
	}
	hosts.Content = left
	return encode(root)
}

// Digests are what belongs to the document for a site that builds its own artifacts: the site's digests of the
// files of this release, as a lock file; nil where there are none. A machine that joins takes the
// cluster's word for what it installs, not that of whoever copied the files.
func (c *Cluster) Digests() ([]byte, error) {
	lock := catalog.Lock{Files: map[string]string{}}
	for _, arch := range catalog.Arches() {
		for _, f := range c.Release.Files(arch) {
			if digest, ok := c.Artifacts.Digests.Files[f.URL]; ok {
				lock.Files[f.URL] = digest
			}
		}
	}
	if len(lock.Files) == 0 {
		return nil, nil
	}
	return lock.Encode()
}

// documentWriter puts values into a document; the first error stays.
type documentWriter struct {
	strict.Tree
	err error
}

// put sets the value of the last of the keys, unless there is nothing to say.
func (w *documentWriter) put(value any, keys ...string) { w.putBelow(w.Root, value, keys...) }

func (w *documentWriter) putBelow(mapping *yaml.Node, value any, keys ...string) {
	v := reflect.ValueOf(value)
	if !v.IsValid() || v.IsZero() || (v.Kind() == reflect.Map || v.Kind() == reflect.Slice) && v.Len() == 0 {
		return
	}
	var n yaml.Node
	if err := n.Encode(value); err != nil && w.err == nil {
		w.err = err
		return
	}
	w.SetBelow(mapping, &n, keys...)
}

func (w *documentWriter) network(n Network) {
	w.put(n.PodCIDR.String(), "spec", "network", "podCIDR")
	w.put(n.ServiceCIDR.String(), "spec", "network", "serviceCIDR")
	w.put(n.DNSDomain, "spec", "network", "dnsDomain")
	w.put(n.ProxyMode, "spec", "network", "proxyMode")
	w.put(n.CNI, "spec", "network", "cni", "name")
	w.put(n.MTU, "spec", "network", "cni", "mtu")
	if n.Calico.Mode == spec.CalicoBGP {
		w.put(n.Calico.Mode, "spec", "network", "cni", "calico", "mode") // it needs another port of hosts
	}
}

// dns is what hosts have to know of the cluster's DNS.
func (w *documentWriter) dns(a spec.Addons) {
	w.put(a.CoreDNS.Forward, "spec", "addons", "coredns", "forward") // then those of the host do not matter
	if a.NodeLocalDNS.Enabled {                                      // then pods may be told to ask it
		w.put(true, "spec", "addons", "nodeLocalDNS", "enabled")
		w.put(a.NodeLocalDNS.Address, "spec", "addons", "nodeLocalDNS", "address")
	}
}

func (w *documentWriter) controlPlane(c *Cluster) {
	put := func(value any, keys ...string) { w.put(value, append([]string{"spec", "controlPlane"}, keys...)...) }
	if !c.endpointFollows() {
		put(c.Endpoint.String(), "endpoint")
	}
	put(c.APIPort, "port")
	if c.VIP.Address.IsValid() {
		put(c.VIP.Address.String(), "vip", "address")
		put(c.VIP.Provider, "vip", "provider")
		put(c.VIP.Interface, "vip", "interface")
		put(c.VIP.RouterID, "vip", "routerID")
	}
	way := nodesEndpoint
	if c.LocalBalancer {
		way = nodesLocal
	}
	put(way, "nodeEndpoint")
	put(c.CertSANs, "certSANs")
	put(c.APIServer.ExtraArgs, "apiServer", "extraArgs")
	put(c.ControllerManager.ExtraArgs, "controllerManager", "extraArgs")
	put(c.Scheduler.ExtraArgs, "scheduler", "extraArgs")
	put(c.Etcd.ExtraArgs, "etcd", "extraArgs")
	if c.ExternalEtcd.Used() {
		put(c.ExternalEtcd.Endpoints, "etcd", "external", "endpoints")
		put(etcdCAOnHosts, "etcd", "external", "caFile")
		put(etcdClientOnHosts+".crt", "etcd", "external", "certFile")
		put(etcdClientOnHosts+".key", "etcd", "external", "keyFile")
	}
}

// addons are what a host has to know of them: that volumes may be of NFS, and what images of the registry are
// called.
func (w *documentWriter) addons(c *Cluster) {
	if n := c.Addons.NFS; n.Enabled {
		w.put(true, "spec", "addons", "nfs", "enabled")
		w.put(n.Server, "spec", "addons", "nfs", "server")
	}
	if r := c.Addons.Registry; r.Enabled {
		w.put(true, "spec", "addons", "registry", "enabled")
		w.put(r.Host, "spec", "addons", "registry", "host")
		w.put(c.registryClass(), "spec", "addons", "registry", "storageClass")
	}
}

// endpointFollows tells whether the endpoint is what it would be without anybody naming it.
func (c *Cluster) endpointFollows() bool {
	host := ""
	if planes := c.ControlPlanes(); len(planes) > 0 {
		host = planes[0].NodeIP.String()
	}
	if c.VIP.Address.IsValid() {
		host = c.VIP.Address.String()
	}
	return c.Endpoint == Endpoint{Host: host, Port: c.APIPort}
}

func (w *documentWriter) hosts(hosts []inventory.Host) {
	list := w.List(strict.Origin{})
	for _, h := range hosts {
		n := w.Mapping(strict.Origin{})
		w.putBelow(n, h.Name, "name")
		w.putBelow(n, h.NodeIP.String(), "address")
		w.putBelow(n, h.Roles, "roles")
		w.putBelow(n, h.Labels, "labels")
		w.putBelow(n, h.Annotations, "annotations")
		w.putBelow(n, h.Taints, "taints")
		list.Content = append(list.Content, n)
	}
	w.SetBelow(w.Root, list, "spec", "hosts")
}
