package cluster

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"kubewright/spec"
)

// RegistryIP is the address of the service of the registry inside the cluster: the eleventh of the service
// network, next to that of the DNS service, in the part that Kubernetes gives to nobody by itself where the
// network is not a very small one.
func (c *Cluster) RegistryIP() netip.Addr { return nth(c.Network.ServiceCIDR, 11) }

// registryClass is the StorageClass that the registry keeps its images in.
func (c *Cluster) registryClass() string {
	if class := c.Addons.Registry.StorageClass; class != "" || !c.Addons.LocalPath.Default() {
		return cmp.Or(class, c.Addons.NFS.ClassName)
	}
	return c.Addons.LocalPath.ClassName
}

// registry refuses a name by which nodes find other images already, and warns of a class that nothing makes.
func (r *resolver) registry() {
	reg := r.written.Addons.Registry
	if !reg.Enabled {
		return
	}
	for _, image := range r.rel.Images() {
		if owner, _, _ := strings.Cut(image.Name, "/"); owner == reg.Host {
			r.check.Suggest(at("addons", "registry", "host"), "registry.internal", "%s is where images of the cluster itself come from, such as %s: nodes would look for them in the registry in the cluster", reg.Host, image.Name)
			break
		}
	}
	l, n := r.written.Addons.LocalPath, r.written.Addons.NFS
	for _, class := range []struct {
		name, addon string
		enabled     bool
	}{{l.ClassName, "localPath", l.Enabled}, {n.ClassName, "nfs", n.Enabled}} {
		if reg.StorageClass == class.name && !class.enabled {
			r.warn.Refuse(at("addons", "registry", "storageClass"), "%s is the class of spec.addons.%s, which is not enabled: the registry waits for a volume unless somebody else makes the class", class.name, class.addon)
		}
	}
}

// nfs is where volumes of NFS are, with addresses in place of the names of hosts; host is the one that the user
// names as the server.
func (r *resolver) nfs() (n spec.NFS, host string) {
	n = r.written.Addons.NFS
	resolved := func(server string) (address, name string) {
		for _, p := range r.placed {
			if p.NodeIP.IsValid() && strings.EqualFold(p.Name, server) {
				return p.NodeIP.String(), p.Name
			}
		}
		return server, ""
	}
	n.Server, host = resolved(n.Server)
	n.Volumes = slices.Clone(n.Volumes)
	for i := range n.Volumes {
		n.Volumes[i].Server, _ = resolved(n.Volumes[i].Server)
		n.Volumes[i].Server = cmp.Or(n.Volumes[i].Server, n.Server)
	}
	if !n.Enabled {
		host = ""
	}
	if why := spec.NoPlaceForData(n.Path); host != "" && why != "" {
		r.check.Refuse(at("addons", "nfs", "path"), "%s is a host of the cluster that would export %s to all nodes, and that %s", host, n.Path, why)
	}
	return n, host
}
