package cluster

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"kubewright/internal/catalog"
	"kubewright/inventory"
	"kubewright/spec"
	"kubewright/spec/strict"
)

// input is what a cluster is resolved from.
type input struct {
	Spec *spec.File
	// Inventory is where the hosts stand; nil where that is the cluster file.
	Inventory *inventory.Source
	// HostsUnread says that the hosts stand in a file that could not be read, so that nothing is
	// to be said of them.
	HostsUnread bool
	// OneByOne says that control planes join one after the other: an even number of members of etcd
	// is then on the way to an odd one.
	OneByOne bool
	// NoClient says that this is for a host which is no client of an etcd that somebody else runs.
	NoClient bool
	Releases Releases
	// The rest is as in Files.
	Read   func(path string) ([]byte, error)
	Exists func(path string) error
	Now    time.Time
	Checks []string
	Addons []string
}

// resolve computes the cluster, and finds the faults that neither file shows alone. The cluster
// is of use only if there are none, here or in what was read.
func resolve(in input) (*resolver, *Cluster, spec.Faults) {
	r := &resolver{
		input: in, written: in.Spec.Spec,
		check: strict.Checker{Doc: in.Spec.Doc()}, warn: strict.Checker{Doc: in.Spec.Doc()},
	}
	if in.Spec.Doc().Broken(strict.At()) { // not a YAML document: say no more about it
		r.hostsOf()
		return r, nil, r.check.Faults
	}
	r.release()
	r.hosts()
	r.network()
	r.access()
	r.files()
	r.externalEtcd()
	r.dns()
	r.ignored()
	r.custom = r.addons()
	c := r.cluster()
	r.warnings(c)
	return r, c, r.check.Faults
}

// resolver is the state of one resolve.
type resolver struct {
	input
	written  spec.Spec
	check    strict.Checker // of the cluster file
	warn     strict.Checker
	hostFile *strict.Document // where the hosts stand
	hostsAt  strict.Path
	source   inventory.Source
	placed   []inventory.Placed
	rel      catalog.Release
	net      Network
	api      access
	etcdOf   ExternalEtcd
	digests  catalog.Lock
	custom   Addons
}

func at(keys ...string) strict.Path { return strict.At("spec").Key(keys...) }

// release looks the version up in the catalogue.
func (r *resolver) release() {
	where := at("kubernetesVersion")
	if r.check.Doc.Broken(where) {
		return
	}
	release, err := r.Releases.Release(r.written.KubernetesVersion)
	var unsupported *catalog.UnsupportedError
	switch {
	case errors.As(err, &unsupported):
		r.check.Suggest(where, unsupported.Nearest, "Kubernetes %s %s; supported are %s",
			unsupported.Version, unsupported.Reason, strings.Join(unsupported.Supported, ", "))
	case err != nil:
		r.check.Refuse(where, "%v", err)
	}
	r.rel = release
}

// files asks whether the folder of artifacts is there that the cluster file names, and reads the digests.
func (r *resolver) files() {
	directory, digests := r.written.Artifacts.Directory, r.written.Artifacts.Digests
	if directory != "" && r.Exists != nil {
		if err := r.Exists(r.join(directory)); err != nil {
			r.check.Refuse(at("artifacts", "directory"), "%s cannot be used: %v", directory, err)
		}
	}
	if digests == "" {
		return
	}
	data, err := r.Read(r.join(digests))
	if err == nil {
		r.digests, err = catalog.DecodeLock(data)
	}
	switch where := at("artifacts", "digests"); {
	case err != nil:
		r.check.Refuse(where, "%s cannot be used: %v", digests, err)
	case len(r.digests.Files) == 0:
		r.check.Refuse(where, "%s lists no files", digests)
	}
}

// ignored refuses names under preflight.ignore that are no checks, before any host is asked.
func (r *resolver) ignored() {
	if r.Checks == nil {
		return
	}
	for i, name := range r.written.Preflight.Ignore {
		if name == "" || slices.Contains(r.Checks, name) { // the spec refuses an empty name
			continue
		}
		near := strict.Nearest(name, r.Checks)
		message := "no preflight check that can be ignored is named %q"
		if near == "" {
			message += "; there is " + strings.Join(r.Checks, ", ")
		}
		r.check.Suggest(at("preflight", "ignore").Index(i), near, message, name)
	}
}

func (r *resolver) join(path string) string { return inventory.Join(r.check.Doc.File(), path) }

// cluster puts together what the other steps found out.
func (r *resolver) cluster() *Cluster {
	control, artifacts := r.written.ControlPlane, r.written.Artifacts
	component := func(c spec.Component) Component { return Component{ExtraArgs: maps.Clone(c.ExtraArgs)} }
	c := &Cluster{
		Name: r.Spec.Metadata.Name, Version: r.rel.Kubernetes, Release: r.rel,
		Network: r.net, APIPort: r.api.port, VIP: r.api.vip,
		Endpoint: r.api.endpoint, SharedEndpoint: r.api.shared, NodeEndpoint: r.api.nodeEndpoint(), LocalBalancer: r.api.local,
		CertSANs: slices.Clone(control.CertSANs), KeyAlgorithm: r.written.PKI.KeyAlgorithm,
		APIServer: component(control.APIServer), ControllerManager: component(control.ControllerManager),
		Scheduler: component(control.Scheduler), Etcd: Component{ExtraArgs: maps.Clone(control.Etcd.ExtraArgs)},
		ExternalEtcd:  r.etcdOf,
		KubeletConfig: r.written.Kubelet.Config, KubeProxyConfig: r.written.KubeProxy.Config,
		KubeletExtraArgs: maps.Clone(r.written.Kubelet.ExtraArgs),
		Artifacts: Artifacts{
			Source: artifacts.Source, MirrorURL: strings.TrimRight(artifacts.Mirror.URL, "/"),
			Directory: r.join(artifacts.Directory), DigestsFile: r.join(artifacts.Digests),
			Digests: r.digests, Delivery: artifacts.Delivery, RegistryMirrors: maps.Clone(artifacts.RegistryMirrors),
		},
		Addons:       r.custom,
		Rollout:      r.rollout(),
		IgnoreChecks: slices.Clone(r.written.Preflight.Ignore),
	}
	for _, p := range r.placed {
		c.Hosts = append(c.Hosts, p.Host)
	}
	return c
}

// warnings are about what works, but likely not as wished.
func (r *resolver) warnings(c *Cluster) {
	mode := at("network", "proxyMode")
	switch {
	case c.Network.ProxyMode == proxyIPVS:
		r.warn.Suggest(mode, proxyAuto, "kube-proxy's ipvs mode is deprecated since Kubernetes 1.35")
	case c.Network.ProxyMode == proxyNftables && c.Network.CNI == cniCalico && r.rel.Calico != "" && !r.rel.CalicoNftables:
		r.warn.Suggest(mode, proxyAuto, "Calico %s does not work beside kube-proxy's nftables mode", r.rel.Calico)
	}
	if r.rel.Kubernetes != "" && !r.rel.Listed {
		r.warn.Refuse(at("kubernetesVersion"), "Kubernetes %s is newer than this kubewright: "+
			"the digests of its files are learned from upstream, and it was not tested", r.rel.Kubernetes)
	}
	planes := r.having(inventory.RoleControlPlane)
	if len(c.Hosts) > 0 && len(c.Workers()) == 0 && r.rolesKnown() && !r.OneByOne {
		r.warn.Faults = append(r.warn.Faults, r.hostFile.KeyFault(r.hostsAt,
			"no host has the role worker, so pods of users have nowhere to run; "+
				"a control plane can be both: roles: [control-plane, worker]", ""))
	}
	for _, p := range planes {
		if len(planes) > 1 && r.written.ControlPlane.Endpoint != "" && p.NodeIP.String() == r.api.endpoint.Host {
			r.warn.Refuse(at("controlPlane", "endpoint"), "is the address of %s alone: "+
				"without that host nobody reaches the other control planes", p.Name)
		}
	}
}

// having lists the hosts with a role.
func (r *resolver) having(role inventory.Role) []inventory.Placed {
	var hosts []inventory.Placed
	for _, p := range r.placed {
		if p.Has(role) {
			hosts = append(hosts, p)
		}
	}
	return hosts
}

// names lists the names of hosts for a message, the first few of them.
func names(hosts []inventory.Placed) string {
	const most = 5
	var list []string
	for _, h := range slices.SortedFunc(slices.Values(hosts), func(a, b inventory.Placed) int { return cmp.Compare(a.Name, b.Name) }) {
		if len(list) == most {
			list = append(list, "...")
			break
		}
		list = append(list, h.Name)
	}
	return strings.Join(list, ", ")
}
