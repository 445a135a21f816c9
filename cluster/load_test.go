package cluster_test

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kubewright/cluster"
	"kubewright/internal/catalog"
	"kubewright/inventory"
	"kubewright/spec"
)

var update = flag.Bool("update", false, "write the golden files")

func releases(t *testing.T) *catalog.Catalog {
	t.Helper()
	c, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// checks are names of preflight checks, few so that the golden files do not follow the real ones.
func checks() []string { return []string{"memory", "swap", "node-ip"} }

// memory is a set of files by path.
type memory map[string]string

func (m memory) read(path string) ([]byte, error) {
	if text, ok := m[path]; ok {
		return []byte(text), nil
	}
	return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
}

func (m memory) exists(path string) error {
	_, err := m.read(path)
	return err
}

func (m memory) load(t *testing.T, inventory string) (*cluster.Cluster, []cluster.Warning, error) {
	t.Helper()
	return cluster.Load(cluster.Files{
		Cluster: "cluster.yaml", Inventory: inventory, Read: m.read, Exists: m.exists, Checks: checks(),
	}, releases(t))
}

// TestLoadFaults loads each testdata/load/NAME.yaml, beside the files it may name, and compares
// the faults and warnings with NAME.txt. Each file shows the faults of one subject.
func TestLoadFaults(t *testing.T) {
	files, err := filepath.Glob("testdata/load/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test data: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		if strings.HasPrefix(name, "inventory-") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			got := outcome(t, file)
			golden := strings.TrimSuffix(file, ".yaml") + ".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", golden, diff)
			}
		})
	}
}

func outcome(t *testing.T, file string) string {
	t.Helper()
	base := filepath.Base(file)
	exists := func(path string) error {
		if path == "keys/id" || path == "~/.ssh/id" || strings.HasPrefix(path, "/") {
			return nil
		}
		return &fs.PathError{Op: "stat", Path: path, Err: fs.ErrNotExist}
	}
	c, warnings, err := cluster.Load(cluster.Files{
		Cluster: base, Exists: exists, Checks: checks(), Addons: []string{"calico", "coredns"},
		Read: func(path string) ([]byte, error) { return os.ReadFile(filepath.Join("testdata/load", path)) },
	}, releases(t))
	var b strings.Builder
	for _, w := range warnings {
		fmt.Fprintf(&b, "warning: %s\n", w)
	}
	if err == nil {
		fmt.Fprintf(&b, "good: %d hosts\n", len(c.Hosts))
		return b.String()
	}
	if c != nil {
		t.Error("a cluster is returned in spite of faults")
	}
	var faults spec.Faults
	if !errors.As(err, &faults) || len(faults) == 0 {
		t.Fatalf("the error is no list of faults: %v", err)
	}
	for _, f := range faults {
		if f.Line < 1 || f.Column < 1 {
			t.Errorf("fault without a place: %v", f)
		}
		fmt.Fprintln(&b, f.Error())
	}
	if strings.Contains(b.String(), "hunter2") {
		t.Errorf("a password is shown:\n%s", b.String())
	}
	return b.String()
}

func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob("testdata/load/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(spread))
	releases, err := catalog.Default()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, _, err := cluster.Load(cluster.Files{
			Cluster: "f.yaml",
			Read: func(path string) ([]byte, error) {
				if path == "f.yaml" {
					return data, nil
				}
				return []byte(spreadHosts), nil
			},
		}, releases)
		var faults spec.Faults
		switch {
		case err == nil:
			checkInvariants(t, c)
		case !errors.As(err, &faults) || len(faults) == 0 || c != nil:
			t.Errorf("cluster %v, error %v", c, err)
		}
		for _, fault := range faults {
			if fault.Line < 1 || fault.Column < 1 || strings.ContainsAny(fault.Error(), "\n\r\x00\x1b") {
				t.Errorf("%#v", fault)
			}
		}
	})
}

// checkEndpoints checks what holds for the ways to the API servers.
func checkEndpoints(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	node, vip := cluster.Endpoint{Host: "127.0.0.1", Port: cluster.LocalBalancerPort}, c.VIP.Address
	if !c.LocalBalancer {
		node = c.Endpoint
	}
	if c.NodeEndpoint != node || c.APIPort < 1 || c.APIPort > 65535 || cluster.PortOwner(c.APIPort) != "" || c.Endpoint.Port < 1 || c.Endpoint.Port > 65535 ||
		vip.IsValid() && (!vip.Is4() || !c.SharedEndpoint || c.VIP.RouterID < 1 || c.VIP.RouterID > 255) || !vip.IsValid() && c.VIP != (cluster.VIP{}) {
		t.Errorf("these are no ways to the API servers: %+v", c)
	}
	own := false
	for _, h := range c.Hosts {
		own = own || h.Has(inventory.RoleControlPlane) && h.NodeIP.String() == c.Endpoint.Host
		if h.NodeIP == vip {
			t.Errorf("%s has the virtual IP", h.Name)
		}
	}
	if own == c.SharedEndpoint || own && c.Endpoint.Port != c.APIPort {
		t.Errorf("endpoint %s, port %d, shared %v", c.Endpoint, c.APIPort, c.SharedEndpoint)
	}
}

// checkInvariants checks what holds for every cluster that was loaded without fault.
func checkInvariants(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	n := c.Network
	if len(c.ControlPlanes()) == 0 || len(c.EtcdMembers())%2 == 0 || c.Endpoint.Host == "" || c.Version == "" ||
		n.PodCIDR.Overlaps(n.ServiceCIDR) || !n.ServiceCIDR.Contains(n.DNSServiceIP) || !n.ServiceCIDR.Contains(n.APIServiceIP) {
		t.Errorf("this is no cluster: %+v", c)
	}
	checkEndpoints(t, c)
	_, archive := c.Release.File("etcd", "amd64")
	if len(c.EtcdClientURLs()) != len(c.EtcdMembers()) || archive == c.StackedEtcd() {
		t.Errorf("etcd is stacked %v, its archive is needed %v, it is at %v", c.StackedEtcd(), archive, c.EtcdClientURLs())
	}
	for _, h := range c.Hosts {
		plane, member := h.Has(inventory.RoleControlPlane), h.Has(inventory.RoleEtcd)
		if c.StackedEtcd() && plane != member || !c.StackedEtcd() && member && len(h.Roles) > 1 {
			t.Errorf("this is no host of a cluster whose etcd is stacked %v: %+v", c.StackedEtcd(), h)
		}
	}
	for i, h := range c.Hosts {
		if h.Name == "" || h.Name != strings.ToLower(h.Name) || !h.NodeIP.Is4() || len(h.Roles) == 0 || h.SSH.ConfigFile == "" && (h.SSH.User == "" || h.SSH.Port == 0) ||
			n.PodCIDR.Contains(h.NodeIP) || n.ServiceCIDR.Contains(h.NodeIP) || i > 0 && c.Hosts[i-1].Name >= h.Name {
			t.Errorf("this is no host: %+v", h)
		}
	}
}
