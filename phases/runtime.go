package phases

import (
	"cmp"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"kubewright/addons"
	"kubewright/cluster"
	"kubewright/internal/catalog"
	"kubewright/internal/plan"
	"kubewright/internal/resource"
	"kubewright/inventory"
	"kubewright/templates"
)

const (
	containerdConfig = "/etc/containerd/config.toml"
	containerdUnit   = "/etc/systemd/system/containerd.service"
	registriesDir    = "/etc/containerd/certs.d"
	containersCerts  = "/etc/containers/certs.d"
)

// runtime installs containerd and runc, and has containerd pull from the mirrors.
func runtime() plan.Phase {
	containerd, mirrorsOf := remember(templates.ContainerdConfig), remember(registryHosts)
	files := newReleaseFiles()
	containerdService := sync.OnceValues(templates.ContainerdUnit)
	return plan.Phase{
		Name:  "runtime",
		Short: "containerd and runc",
		On:    runsPods,
		After: []plan.Edge{plan.SameHost("host")},
		Desire: func(c *cluster.Cluster, t plan.Target) ([]resource.Resource, error) {
			config, err := containerd(templates.ContainerdConfigData{
				SandboxImage:        c.Release.Image("pause"),
				RestrictOOMScoreAdj: t.Looked && !t.Facts.CapSysResource,
			})
			if err != nil {
				return nil, err
			}
			unit, err := containerdService()
			if err != nil {
				return nil, err
			}
			installed := slices.Concat(files.artifact(c, t, "containerd"), files.artifact(c, t, "runc"))
			// Secret, for what a host had there before may log in to a registry or to a proxy.
			want := slices.Concat(installed, []resource.Resource{
				resource.Dir{Path: "/etc/containerd"},
				resource.Byproduct{Path: "/var/lib/containerd", Tree: true},
				resource.File{Path: containerdConfig, Content: config, Secret: true},
				resource.File{Path: containerdUnit, Content: unit, Secret: true},
			})
			// containerd makes these itself when it starts.
			for _, dir := range []string{"/opt/containerd", "/opt/containerd/bin", "/opt/containerd/lib"} {
				want = append(want, resource.Dir{Path: dir})
			}
			// Mirrors are read at each pull: containerd need not restart for them.
			mirrors, err := mirrorsOf(c)
			if err != nil {
				return nil, err
			}
			want = append(want, mirrors...)
			on := []resource.ID{resource.FileID(containerdConfig), resource.FileID(containerdUnit)}
			for _, r := range installed {
				on = append(on, r.ID())
			}
			return append(want, resource.Unit{Name: "containerd.service", On: on}), nil
		},
	}
}

func registryHosts(c *cluster.Cluster) ([]resource.Resource, error) {
	want := []resource.Resource{resource.Dir{Path: registriesDir}}
	for _, registry := range slices.Sorted(maps.Keys(c.Artifacts.RegistryMirrors)) {
		hosts, err := templates.RegistryHosts(templates.RegistryHostsData{Registry: registry, Mirrors: c.Artifacts.RegistryMirrors[registry]})
		if err != nil {
			return nil, err
		}
		file := templates.RegistryHostsPath(registry)
		// Secret, for a host's own may have a header that logs in.
		want = append(want, resource.Dir{Path: path.Dir(file)}, resource.File{Path: file, Content: hosts, Secret: true})
	}
	registry, err := clusterRegistry(c)
	return append(want, registry...), err
}

// clusterRegistry has containerd find the registry inside the cluster, which it reaches by the address of the
// service and knows by the cluster's authority; and podman, buildah and skopeo trust it by name and by address.
func clusterRegistry(c *cluster.Cluster) ([]resource.Resource, error) {
	if !Enabled(c, registryAddon) {
		return nil, nil
	}
	host, authority := c.Addons.Registry.Host, pkiDir+"/ca.crt"
	hosts, err := templates.ClusterRegistryHosts(templates.ClusterRegistryHostsData{Address: c.RegistryIP(), CAPath: authority})
	if err != nil {
		return nil, err
	}
	file := templates.RegistryHostsPath(host)
	want := []resource.Resource{
		resource.Dir{Path: path.Dir(file)}, resource.File{Path: file, Content: hosts, Secret: true},
		resource.Dir{Path: "/etc/containers"}, resource.Dir{Path: containersCerts},
	}
	for _, name := range []string{host, c.RegistryIP().String()} {
		dir := containersCerts + "/" + name
		want = append(want, resource.Dir{Path: dir}, resource.Link{Path: dir + "/ca.crt", Target: authority})
	}
	return want, nil
}

// runsPods picks the hosts that have a kubelet.
func runsPods(h inventory.Host) bool {
	return inventory.Nodes(h)
}

// binaries installs what the kubelet needs beside the runtime, or etcd on a host that has no kubelet.
func binaries() plan.Phase {
	leftBehind, files := remember(byproducts), newReleaseFiles()
	return plan.Phase{
		Name:  "binaries",
		Short: "kubelet, kubectl and CNI plugins, or etcd",
		On:    inventory.Everyone,
		After: []plan.Edge{plan.SameHost("host"), plan.SameHost("runtime")},
		Desire: func(c *cluster.Cluster, t plan.Target) ([]resource.Resource, error) {
			if etcdOnly(t.Host) {
				return files.artifact(c, t, "etcd"), nil
			}
			want := []resource.Resource{
				resource.Dir{Path: "/opt/cni"}, resource.Dir{Path: "/opt/cni/bin"},
				resource.Dir{Path: "/etc/cni"}, resource.Dir{Path: "/etc/cni/net.d"},
			}
			left, err := leftBehind(c)
			if err != nil {
				return nil, err
			}
			want = append(want, left...)
			want = append(want, files.artifact(c, t, "kubelet")...)
			want = append(want, files.artifact(c, t, "cni-plugins")...)
			if t.Has(inventory.RoleControlPlane) {
				want = append(want, files.artifact(c, t, "kubectl")...)
			}
			return want, nil
		},
	}
}

// byproducts are what the pods of addons, the kubelet and the CNI library leave on a host.
func byproducts(c *cluster.Cluster) ([]resource.Resource, error) {
	leaves := []string{"/run/containerd/", "/var/lib/cni/", "/var/log/containers/", "/var/log/pods/"}
	all, err := addons.Default()
	if err != nil {
		return nil, err
	}
	for _, a := range all {
		if Enabled(c, a.Name) {
			leaves = append(leaves, a.Leaves...)
		}
	}
	want := make([]resource.Resource, len(leaves))
	for i, leaf := range leaves {
		name, tree := strings.CutSuffix(leaf, "/")
		want[i] = resource.Byproduct{Path: name, Tree: tree}
	}
	return want, nil
}

// releaseFile names a file of the catalogue, and releaseFiles look it up.
type (
	releaseFile struct {
		cluster    *cluster.Cluster
		name, arch string
	}
	releaseFiles func(releaseFile) (memberFile, error)
)

// memberFile is a file of the catalogue, with its members in order.
type memberFile struct {
	catalog.File
	members []string
}

func newReleaseFiles() releaseFiles {
	return remember(func(f releaseFile) (memberFile, error) {
		file, _ := f.cluster.Release.File(f.name, f.arch)
		return memberFile{file, slices.Sorted(maps.Keys(file.Members))}, nil
	})
}

// artifact lists the binaries that a file of the catalogue brings. Where they go does not
// depend on the architecture, which is not known before the first look.
func (files releaseFiles) artifact(c *cluster.Cluster, t plan.Target, name string) []resource.Resource {
	file, _ := files(releaseFile{c, name, cmp.Or(t.Facts.Arch, catalog.Arches()[0])})
	want := make([]resource.Resource, 0, len(file.Members))
	for _, member := range file.members {
		b := resource.Binary{Path: file.Members[member], Artifact: t.Artifacts[name]}
		if file.Format != catalog.Raw {
			b.Member = member
		}
		want = append(want, b)
	}
	return want
}
