package phases_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubewright/certs"
	"kubewright/cluster"
	"kubewright/internal/catalog"
	"kubewright/internal/facts"
	"kubewright/internal/plan"
	"kubewright/internal/resource"
	"kubewright/internal/resource/memhost"
	"kubewright/internal/sh"
	"kubewright/inventory"
	"kubewright/phases"
	"kubewright/templates"
)

func env() certs.Env {
	return certs.Env{Now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), Rand: rand.Reader}
}

var bundle = sync.OnceValues(func() (*certs.Bundle, error) { return certs.GenerateBundle(certs.ECDSAP256, env()) })

// testCluster is two control planes, one of them a worker too, and two workers.
func testCluster(t testing.TB) *cluster.Cluster {
	t.Helper()
	versions, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	release, err := versions.Release("1.37.2")
	if err != nil {
		t.Fatal(err)
	}
	host := func(name, ip string, roles ...inventory.Role) inventory.Host {
		return inventory.Host{Name: name, Address: ip, NodeIP: netip.MustParseAddr(ip), Roles: roles}
	}
	w1 := host("w1", "10.111.0.21", inventory.RoleWorker)
	w1.Taints = []inventory.Taint{{Key: "gpu", Value: "yes", Effect: "NoSchedule"}}
	return &cluster.Cluster{
		Name: "lab", Version: release.Kubernetes, Release: release,
		Network: cluster.Network{
			PodCIDR: netip.MustParsePrefix("10.244.0.0/16"), ServiceCIDR: netip.MustParsePrefix("10.96.0.0/16"),
			DNSDomain: "cluster.local", APIServiceIP: netip.MustParseAddr("10.96.0.1"), DNSServiceIP: netip.MustParseAddr("10.96.0.10"),
			ProxyMode: "auto", CNI: "calico",
		},
		APIPort: 6443, Endpoint: cluster.Endpoint{Host: "10.111.0.5", Port: 6443}, SharedEndpoint: true,
		NodeEndpoint: cluster.Endpoint{Host: "10.111.0.5", Port: 6443}, KeyAlgorithm: string(certs.ECDSAP256),
		Artifacts: cluster.Artifacts{
			Source: "upstream", Delivery: "auto",
			RegistryMirrors: map[string][]string{"registry.k8s.io": {"http://10.111.0.2:5000/v2/registry.k8s.io"}},
		},
		Hosts: []inventory.Host{
			host("cp1", "10.111.0.11", inventory.RoleControlPlane, inventory.RoleEtcd),
			host("cp2", "10.111.0.12", inventory.RoleControlPlane, inventory.RoleEtcd, inventory.RoleWorker),
			w1, host("w2", "10.111.0.22", inventory.RoleWorker),
		},
	}
}

// apartCluster is the same with three members of etcd on hosts of their own.
func apartCluster(t testing.TB) *cluster.Cluster {
	t.Helper()
	c := testCluster(t)
	for i, h := range c.Hosts {
		c.Hosts[i].Roles = slices.DeleteFunc(h.Roles, func(r inventory.Role) bool { return r == inventory.RoleEtcd })
	}
	for i := range 3 {
		ip := netip.AddrFrom4([4]byte{10, 111, 0, byte(31 + i)})
		c.Hosts = append(c.Hosts, inventory.Host{
			Name: fmt.Sprintf("etcd%d", i+1), Address: ip.String(), NodeIP: ip, Roles: []inventory.Role{inventory.RoleEtcd},
		})
	}
	return c
}

// externalCluster is the same with an etcd that somebody else runs.
func externalCluster(t testing.TB) *cluster.Cluster {
	t.Helper()
	c := testCluster(t)
	for i, h := range c.Hosts {
		c.Hosts[i].Roles = slices.DeleteFunc(h.Roles, func(r inventory.Role) bool { return r == inventory.RoleEtcd })
	}
	c.Release = c.Release.Without("etcd")
	c.ExternalEtcd = cluster.ExternalEtcd{
		Endpoints: []string{"https://etcd.example.com:2379", "https://10.111.9.2:2379"},
		CA:        []byte("somebody's authority\n"), Client: certs.Pair{CertPEM: []byte("somebody's certificate\n"), KeyPEM: []byte("somebody's key\n")},
	}
	return c
}

// kinds of machine that a host may be.
func machines() map[string]facts.Facts {
	vm := facts.Facts{
		Arch: "amd64", Kernel: "6.1.0-18-amd64", CgroupVersion: 2, CapSysResource: true, CapSysAdmin: true,
		ResolvConf: "/run/systemd/resolve/resolv.conf", Commands: map[string]bool{"curl": true},
	}
	container := vm
	container.Container, container.Virt, container.ResolvConf = true, "podman", "/etc/resolv.conf"
	restricted := container
	restricted.CapSysResource, restricted.CapSysAdmin, restricted.CgroupVersion, restricted.Arch = false, false, 1, "arm64"
	return map[string]facts.Facts{"vm": vm, "container": container, "restricted": restricted}
}

// machine is a host in memory, with the files of the release to download.
type machine struct {
	host      inventory.Host
	facts     facts.Facts
	cluster   *cluster.Cluster
	artifacts map[string]resource.Artifact
	web       map[string][]byte
	start     plan.EtcdStart // what a run has decided of its member of etcd
	keeps     bool           // clients may still come by ways that are wanted no more
}

// newMachine is a host of testCluster, or of apartCluster if that is the one that has it.
func newMachine(t testing.TB, name, kind string) machine {
	t.Helper()
	if strings.HasPrefix(name, "etcd") {
		return machineOf(t, apartCluster(t), name, kind)
	}
	return machineOf(t, testCluster(t), name, kind)
}

func machineOf(t testing.TB, c *cluster.Cluster, name, kind string) machine {
	t.Helper()
	hosts := c.Select(func(h inventory.Host) bool { return h.Name == name })
	if len(hosts) != 1 {
		t.Fatalf("no host %s", name)
	}
	host := hosts[0]
	m := machine{host: host, facts: machines()[kind], cluster: c, artifacts: map[string]resource.Artifact{}, web: map[string][]byte{}}
	for _, f := range c.Release.Files(m.facts.Arch) {
		content := []byte(f.Name + " " + f.Version)
		if f.Format == catalog.TarGzip {
			content = archive(t, slices.Sorted(maps.Keys(f.Members)))
		}
		m.web[f.URL] = content
		m.artifacts[f.Name] = resource.Artifact{
			Name: f.Name, Version: f.Version, URL: f.URL, Upstream: f.URL,
			SHA256: resource.DigestOf(content), Archive: f.Format == catalog.TarGzip,
		}
	}
	return m
}

func archive(t testing.TB, members []string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, name := range members {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(name)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// target is the host as the engine describes it, before or after its first look.
func (m machine) target(t testing.TB, looked bool) plan.Target {
	t.Helper()
	if !looked {
		return plan.Target{Host: m.host}
	}
	pki, err := bundle()
	if err != nil {
		t.Fatal(err)
	}
	target := plan.Target{Host: m.host, Looked: true, Facts: m.facts, PKI: pki, Artifacts: m.artifacts, Env: env(), Etcd: m.start, KeepsWays: m.keeps}
	if m.cluster.ExternalEtcd.Used() {
		without := *pki
		without.Etcd = nil
		target.PKI, target.ExternalEtcd = &without, "cafe1"
	}
	return target
}

func (m machine) desired(t testing.TB, looked bool) []plan.Group {
	t.Helper()
	groups, err := plan.Desired(phases.All(), m.cluster, m.target(t, looked))
	if err != nil {
		t.Fatal(err)
	}
	return groups
}

// bare is the machine before kubewright.
func (m machine) bare(t testing.TB) *memhost.Host {
	h := memhost.New(t)
	h.Web = m.web
	brings := map[string]string{}
	for _, s := range templates.Sysctls(false) {
		if bridged := strings.Contains(s.Key, ".bridge."); bridged {
			brings[s.Key] = "0"
		} else {
			h.Sysctls[s.Key] = "0"
		}
	}
	for _, name := range templates.Modules("auto") {
		h.Loadable[name] = nil
	}
	h.Loadable["br_netfilter"] = brings
	if !m.facts.Container {
		h.Swaps = []string{"/dev/vda2"}
	}
	h.Unit("sshd.service", memhost.Unit{Active: "active", Enabled: true})
	h.Unit("nfs-server.service", memhost.Unit{Active: "inactive"}) // of a package
	return h
}

// fixture is the law's view of the machine: what is issued anew has other bytes each time.
func (m machine) fixture() memhost.Fixture {
	return memhost.Fixture{
		Host:   m.bare,
		Groups: func(t testing.TB, _ *memhost.Host) []plan.Group { return m.desired(t, true) },
		Loose: func(p string) bool {
			return strings.HasPrefix(p, "/etc/kubernetes/") || strings.HasPrefix(p, "/var/lib/kubelet/pki/") || p == sh.UnitsDir+"/kubelet.service" || p == sh.UnitsDir+"/etcd.service"
		},
	}
}

func probes(groups []plan.Group) []sh.Probe {
	var all []sh.Probe
	for _, g := range groups {
		for _, r := range g.Resources {
			all = append(all, r.Probes()...)
		}
	}
	return all
}

// objectsOf are the API objects of a phase that are not made of an upstream manifest, which package addons tests.
func objectsOf(p plan.Phase, c *cluster.Cluster, w plan.World) ([]*unstructured.Unstructured, error) {
	var all []*unstructured.Unstructured
	if p.Objects != nil {
		objects, err := p.Objects(c, w)
		if err != nil {
			return nil, err
		}
		all = append(all, objects...)
	}
	if p.Sets == nil {
		return all, nil
	}
	sets, err := p.Sets(c)
	if err != nil {
		return nil, err
	}
	for _, set := range sets {
		if len(set.Manifests) > 0 {
			continue
		}
		objects, err := set.Objects(c, w)
		if err != nil {
			return nil, err
		}
		all = append(all, objects...)
	}
	return all, nil
}
