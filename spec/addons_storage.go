package spec

import (
	"path"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"

	"kubewright/spec/strict"
)

// NoPlaceForData says why a folder of a host is no place for the data of users; "" for one that may be.
func NoPlaceForData(folder string) string {
	for _, used := range []struct{ path, by string }{
		{"/etc", "the configuration of the host"}, {"/usr", "programs"}, {"/bin", "programs"}, {"/sbin", "programs"}, {"/lib", "programs"}, {"/lib64", "programs"},
		{"/proc", "the kernel"}, {"/sys", "the kernel"}, {"/dev", "the kernel"},
		{"/run", "what is gone after a boot"}, {"/var/run", "what is gone after a boot"}, {"/tmp", "what may be gone after a boot"}, {"/boot", "the boot loader"},
		{"/var/lib/kubelet", "the kubelet"}, {"/var/lib/containerd", "containerd"}, {"/var/lib/etcd", "etcd"}, {"/var/lib/cni", "the pod network"},
		{"/var/lib/kubewright", "kubewright"}, {"/var/log", "logs"}, {"/opt/cni", "the pod network"},
	} {
		switch {
		case folder == used.path, strings.HasPrefix(folder, used.path+"/"):
			return "is for " + used.by + ", and no place for the data of users; take a folder of its own"
		case strings.HasPrefix(used.path, folder+"/"):
			return "has " + used.path + " in it, which is for " + used.by + ", and is no place for the data of users; take a folder of its own"
		}
	}
	return ""
}

// localPath checks the folder and the names of the volumes on nodes.
func (v *validator) localPath() {
	l := v.spec.Addons.LocalPath
	where := at("addons", "localPath")
	v.folder(where.Key("path"), l.Path)
	if why := NoPlaceForData(l.Path); why != "" {
		v.Refuse(where.Key("path"), "%s %s", l.Path, why)
	}
	v.className(where.Key("className"), l.ClassName)
	n := v.spec.Addons.NFS
	switch {
	case !l.Enabled || !n.Enabled:
	case l.ClassName == n.ClassName:
		v.Refuse(at("addons", "nfs", "className"), "localPath has the class %s, too; give one of the two another name", n.ClassName)
	case l.Default() && n.DefaultClass:
		v.Refuse(at("addons", "nfs", "defaultClass"), "there can be one default class: set addons.localPath.defaultClass to false, or leave this out")
	}
}

// nfs checks the server and the volumes of an NFS server by themselves.
func (v *validator) nfs() {
	n := v.spec.Addons.NFS
	where := at("addons", "nfs")
	if n.Enabled && n.Server == "" {
		v.Refuse(where.Key("server"), "must be given with NFS: the address or DNS name of a server, or the name of a host that becomes one")
	}
	v.nfsServer(where.Key("server"), n.Server)
	v.folder(where.Key("path"), n.Path)
	v.className(where.Key("className"), n.ClassName)
	var names []string
	for i, volume := range n.Volumes {
		here := where.Key("volumes").Index(i)
		names = v.labelled(here, volume.Name, names, "volume")
		v.nfsServer(here.Key("server"), volume.Server)
		v.folder(here.Key("path"), volume.Path)
		v.quantity(here.Key("capacity"), volume.Capacity)
	}
}

// nfsServer checks an address or a name; none is given where it is "".
func (v *validator) nfsServer(where strict.Path, server string) {
	if server != "" && (!isHost(server) || strings.HasPrefix(server, "[")) {
		v.Refuse(where, "%s is neither an address nor a DNS name nor the name of a host", strconv.Quote(server))
	}
}

// registry checks what images are called, and the size of the volume that they are on.
func (v *validator) registry() {
	r := v.spec.Addons.Registry
	where := at("addons", "registry")
	switch host := r.Host; {
	case host == "": // the decoder has refused it, or filled it in
	case len(validation.IsDNS1123Subdomain(host)) > 0 || strings.Trim(host, "0123456789.") == "":
		v.Refuse(where.Key("host"), "%s is no DNS name in lower case, without a port", strconv.Quote(host))
	case !strings.Contains(host, "."):
		v.Suggest(where.Key("host"), host+".internal", "%s has no dot in it: the first part of the name of an image is a registry only if it has one", host)
	}
	if _, mirrored := v.spec.Artifacts.RegistryMirrors[r.Host]; mirrored && r.Enabled {
		v.Refuse(where.Key("host"), "%s has mirrors, spec.artifacts.registryMirrors: it cannot be the registry in the cluster, too", r.Host)
	}
	v.quantity(where.Key("size"), r.Size)
	if r.StorageClass != "" {
		v.className(where.Key("storageClass"), r.StorageClass)
	}
	if l, n := v.spec.Addons.LocalPath, v.spec.Addons.NFS; r.Enabled && r.StorageClass == "" && !l.Default() && !(n.Enabled && n.DefaultClass) {
		v.Refuse(where.Key("storageClass"), "must be given, for no addon brings a default class: enable localPath or nfs as the default, or name the class that the registry keeps its images in")
	}
}

// folder checks the path of a folder; none is given where it is "".
func (v *validator) folder(where strict.Path, folder string) {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-"
	switch {
	case folder == "": // the decoder has refused it, or filled it in
	case !path.IsAbs(folder):
		v.Refuse(where, "%s does not begin with /", strconv.Quote(folder))
	case strings.Trim(folder, allowed) != "":
		v.Refuse(where, "%s has other characters than letters, digits, /, ., _ and -", strconv.Quote(folder))
	case path.Clean(folder) == "/":
		v.Refuse(where, "the root of the file system is no folder for volumes")
	case folder != path.Clean(folder):
		v.Suggest(where, path.Clean(folder), "%s is not written in its shortest form", folder)
	}
}

// className checks the name of a StorageClass; none is given where it is "".
func (v *validator) className(where strict.Path, name string) {
	if name != "" && len(validation.IsDNS1123Subdomain(name)) > 0 {
		v.Suggest(where, asLabel(name), "%s is no name of a StorageClass, which is of lower-case letters, digits, - and .", strconv.Quote(name))
	}
}

// quantity checks an amount of storage; none is given where it is "".
func (v *validator) quantity(where strict.Path, text string) {
	if text == "" {
		return
	}
	if q, err := resource.ParseQuantity(text); err != nil || q.Sign() <= 0 {
		v.Refuse(where, "%s is no amount of storage, such as 10Gi", strconv.Quote(text))
	}
}
