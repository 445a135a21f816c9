package cluster_test

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kubewright/cluster"
	"kubewright/internal/catalog"
	"kubewright/spec"
)

// list is what is in a folder of the files.
func (m memory) list(folder string) ([]string, error) {
	var names []string
	for name := range m {
		if rest, ok := strings.CutPrefix(path.Join("/", name), path.Join("/", folder)+"/"); ok {
			first, _, deeper := strings.Cut(rest, "/")
			if deeper {
				first += "/"
			}
			names = append(names, first)
		}
	}
	slices.Sort(names)
	if len(names) == 0 {
		return nil, fs.ErrNotExist
	}
	return slices.Compact(names), nil
}

// known are the releases, which take a while to read.
var known = sync.OnceValue(func() *catalog.Catalog {
	c, err := catalog.Default()
	if err != nil {
		panic(err)
	}
	return c
})

// describe loads a cluster from files, where a cluster file need not be.
func (m memory) describe(t *testing.T, inventory string) (*cluster.Description, []string, error) {
	t.Helper()
	d, found, err := cluster.Describe(cluster.Files{
		Cluster: "cluster.yaml", Optional: true, Inventory: inventory, Read: m.read, List: m.list, Exists: m.exists, Checks: checks(),
	}, known())
	var warnings []string
	for _, w := range found {
		warnings = append(warnings, w.Error())
	}
	return d, warnings, err
}

const ini = `[kube_control_plane]
a ansible_host=10.0.0.1
[kube_node]
b ansible_host=10.0.0.2
[all:vars]
kube_pods_subnet=10.50.0.0/16
`

func TestInventoryOfAnsible(t *testing.T) {
	const head = "apiVersion: kubewright.io/v1alpha1\nkind: Cluster\nmetadata: {name: prod}\nspec:\n"
	shown := func(d *cluster.Description) string {
		return fmt.Sprintf("%s %s %s %s %d", d.Name, d.Version, d.Network.PodCIDR, d.Network.ServiceCIDR, len(d.Hosts))
	}
	latest := known().Latest()
	for name, tt := range map[string]struct {
		files     memory
		inventory string
		want      string
		warnings  []string
	}{
		"alone": {memory{"i.ini": ini}, "i.ini", "kubernetes " + latest + " 10.50.0.0/16 10.96.0.0/16 2",
			[]string{"i.ini:1:1: no version of Kubernetes is given: taking " + latest + ", the newest that this kubewright knows; a newer kubewright would upgrade the cluster, so set kube_version, or write a cluster file"}},
		"alone, with its version and name": {memory{"i.ini": ini + "kube_version=v1.36.1\ncluster_name=x.y\n"}, "i.ini", "x-y 1.36.1 10.50.0.0/16 10.96.0.0/16 2", nil},
		"beside a cluster file":            {memory{"i.ini": ini, "cluster.yaml": head + "  kubernetesVersion: 1.37.2\n  network: {serviceCIDR: 10.97.0.0/16}\n"}, "i.ini", "prod 1.37.2 10.50.0.0/16 10.97.0.0/16 2", nil},
		"named by the cluster file":        {memory{"x/i.ini": ini, "cluster.yaml": head + "  kubernetesVersion: 1.37.2\n  inventory: x/i.ini\n"}, "", "prod 1.37.2 10.50.0.0/16 10.96.0.0/16 2", nil},
		"the cluster file wins": {memory{"i.ini": ini + "cluster_name=cluster.local\nkube_version=1.36.1\n", "cluster.yaml": head + "  kubernetesVersion: 1.37.2\n  network: {podCIDR: 10.51.0.0/16}\n"}, "i.ini", "prod 1.37.2 10.51.0.0/16 10.96.0.0/16 2", []string{
			"cluster.yaml:5:22: spec.kubernetesVersion: wins over kube_version in i.ini:8:14, which has another value",
			"cluster.yaml:6:22: spec.network.podCIDR: wins over kube_pods_subnet in i.ini:6:18, which has another value"}},
		"the cluster file lacks what the inventory has": {memory{"i.ini": ini + "kube_version=1.36.1\n", "cluster.yaml": "apiVersion: kubewright.io/v1alpha1\nkind: Cluster\nmetadata: {name: prod}\nspec: {}\n"}, "i.ini", "prod 1.36.1 10.50.0.0/16 10.96.0.0/16 2", nil},
		"a table": {memory{"i.csv": "name,address,roles\na,10.0.0.1,control-plane worker\n"}, "i.csv", "kubernetes " + latest + " 10.244.0.0/16 10.96.0.0/16 1",
			[]string{"i.csv:1:1: no version of Kubernetes is given: taking " + latest + ", the newest that this kubewright knows; a newer kubewright would upgrade the cluster, so set kube_version, or write a cluster file"}},
		"a folder": {memory{"inv/hosts": ini, "inv/group_vars/all.yml": "kube_version: 1.37.2\n"}, "inv/", "kubernetes 1.37.2 10.50.0.0/16 10.96.0.0/16 2", nil},
	} {
		t.Run(name, func(t *testing.T) {
			d, warnings, err := tt.files.describe(t, tt.inventory)
			if err != nil {
				t.Fatal(err)
			}
			checkInvariants(t, d.Cluster)
			if got := shown(d); got != tt.want || d.Import == nil {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if diff := cmp.Diff(tt.warnings, warnings); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// What is wrong with a value is said where it stands in the inventory, in the words used there.
func TestFaultsOfAnInventoryOfAnsible(t *testing.T) {
	for name, tt := range map[string]struct {
		files memory
		want  string
	}{
		"a value that no cluster takes": {memory{"i.ini": ini, "group_vars/all/x.yml": "kube_proxy_mode: ipvz\n"}, "group_vars/all/x.yml:1:18: kube_proxy_mode: unknown value \"ipvz\"; did you mean ipvs?"},
		"a CIDR that is none":           {memory{"i.ini": ini, "group_vars/all/x.yml": "kube_service_addresses: 10.0.0.0\n"}, "group_vars/all/x.yml:1:25: kube_service_addresses: \"10.0.0.0\" is no CIDR"},
		"a CIDR that overlaps":          {memory{"i.ini": ini, "group_vars/all/x.yml": "kube_service_addresses: 10.50.0.0/16\n"}, "group_vars/all/x.yml:1:25: kube_service_addresses: 10.50.0.0/16 overlaps spec.network.podCIDR"},
		"a version that is not":         {memory{"i.ini": ini + "kube_version=v1.20.1\n"}, "i.ini:7:14: kube_version: Kubernetes 1.20.1"},
		"a key that is not there":       {memory{"i.ini": "[kube_control_plane]\na ansible_host=10.0.0.1 ansible_ssh_private_key_file=id\n"}, "i.ini:2:54: ansible_ssh_private_key_file: the key file cannot be used"},
		"etcd on some control planes":   {memory{"i.ini": "[kube_control_plane]\na ansible_host=10.0.0.1\nb ansible_host=10.0.0.2\n[etcd]\na\n"}, "has the role control-plane, but not etcd"},
		"no control plane":              {memory{"i.ini": "[kube_node]\na ansible_host=10.0.0.1\n"}, "i.ini:1:1: hosts: no host has the role control-plane"},
		"a fault in the inventory":      {memory{"i.ini": "[x"}, "i.ini:1:1: "},
		"no inventory":                  {memory{}, "i.ini: the inventory i.ini cannot be read: open i.ini: file does not exist; create it"},
		"ours without a cluster file":   {memory{"i.ini": "apiVersion: kubewright.io/v1alpha1\nkind: Inventory\nhosts: []\n"}, "cluster.yaml: the cluster file cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			d, _, err := tt.files.describe(t, "i.ini")
			var faults spec.Faults
			if !errors.As(err, &faults) || d != nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("want %s\ngot %v", tt.want, err)
			}
		})
	}
}
