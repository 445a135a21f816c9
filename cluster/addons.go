package cluster

import (
	"maps"
	"slices"
	"strings"

	"kubewright/certs"
	"kubewright/internal/secret"
	"kubewright/spec"
	"kubewright/spec/strict"
)

// Addons are what is installed into the cluster. The paths in it are no longer relative to the cluster file.
type Addons struct {
	// Addons are as the user configures them. Servers of NFS that are hosts stand there with their node IPs, and
	// every volume has its server.
	spec.Addons
	// NFSHost is the name of the host that is the NFS server; "" where that is none of the hosts.
	NFSHost string
	// BGPPasswords are those of MetalLB's sessions, by the names of its peers, read from their files.
	BGPPasswords map[string]secret.Bytes
	// IngressCertificate is that of Ingress, read from its files; empty where none are named.
	IngressCertificate certs.Pair
	// Untold says that it is not known which addons there are to be, nor all settings of those that every cluster has:
	// a machine that goes on with what the cluster says of itself leaves what is there as it is.
	Untold bool
}

// addons resolves the paths of the user's own addons, and refuses names that others have, or nobody.
func (r *resolver) addons() Addons {
	all := Addons{Addons: r.written.Addons, BGPPasswords: r.metalLB(), IngressCertificate: r.ingress()}
	all.NFS, all.NFSHost = r.nfs()
	r.registry()
	all.Custom = slices.Clone(all.Custom)
	names := slices.Clone(r.Addons)
	for _, a := range all.Custom {
		if a.Name != "" && !slices.Contains(names, a.Name) {
			names = append(names, a.Name)
		}
	}
	for i := range all.Custom {
		a, where := &all.Custom[i], at("addons", "custom").Index(i)
		if slices.Contains(r.Addons, a.Name) {
			r.check.Refuse(where.Key("name"), "%s is an addon of kubewright; give yours another name", a.Name)
		}
		for j, before := range a.After {
			if r.Addons != nil && !slices.Contains(names, before) {
				r.check.Suggest(where.Key("after").Index(j), strict.Nearest(before, names), "there is no addon %q; there is %s", before, strings.Join(names, ", "))
			}
		}
		path := func(text string) string {
			if text == "" || strings.HasPrefix(text, spec.OCI) {
				return text
			}
			return r.join(text)
		}
		a.Manifests, a.Kustomization, a.Chart.Path = path(a.Manifests), path(a.Kustomization), path(a.Chart.Path)
		a.Chart.ValuesFiles = slices.Clone(a.Chart.ValuesFiles)
		for j, file := range a.Chart.ValuesFiles {
			a.Chart.ValuesFiles[j] = path(file)
		}
		a.Chart.Values = maps.Clone(a.Chart.Values)
	}
	return all
}
