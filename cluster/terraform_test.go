package cluster_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kubewright/cluster"
	"kubewright/spec"
)

const fromTerraform = `apiVersion: kubewright.io/v1alpha1
kind: Cluster
metadata: {name: lab}
spec:
  kubernetesVersion: 1.37.2
  ssh: {user: ops}
  inventory:
    terraform: {dir: infra, workspace: prod, varFiles: [prod.tfvars, /etc/all.tfvars], binary: bin/tofu}
`

// outputs is the output kubewright with a control plane and a worker; more goes into its value.
func outputs(more string) string {
	return `{"kubewright": {"sensitive": false, "type": "dynamic", "value": {
	"apiVersion": "kubewright.io/v1alpha1", "kind": "Inventory", ` + more + `"hosts": [
	{"name": "cp1", "address": "192.0.2.10", "roles": ["control-plane"], "ssh": {"keyFile": "keys/id"}},
	{"name": "w1", "address": "192.0.2.11", "roles": ["worker"]}]}}}`
}

// loadTerraform loads a cluster file in a folder, with outputs or an error of Terraform; asked has
// what Terraform was asked for.
func loadTerraform(t *testing.T, file, out string, failure error) (c *cluster.Cluster, asked []spec.TerraformSource, warnings []cluster.Warning, err error) {
	t.Helper()
	files := memory{"lab/cluster.yaml": file}
	c, warnings, err = cluster.Load(cluster.Files{
		Cluster: "lab/cluster.yaml", Read: files.read, Checks: checks(),
		Terraform: func(s spec.TerraformSource) (string, []byte, error) {
			asked = append(asked, s)
			return "tofu output -json", []byte(out), failure
		},
	}, releases(t))
	return c, asked, warnings, err
}

func TestLoadTerraform(t *testing.T) {
	c, asked, _, err := loadTerraform(t, fromTerraform, outputs(`"controlPlane": {"endpoint": "lb.example.com", "certSANs": ["api.example.com"]}, `), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []spec.TerraformSource{{
		Dir: "lab/infra", Workspace: "prod", VarFiles: []string{"lab/prod.tfvars", "/etc/all.tfvars"}, Binary: "lab/bin/tofu",
	}}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("Terraform was asked for (-want +got):\n%s", diff)
	}
	if len(c.Hosts) != 2 || c.Hosts[0].SSH.User != "ops" || c.Hosts[0].SSH.KeyFile != "lab/infra/keys/id" {
		t.Errorf("hosts: %+v", c.Hosts)
	}
	if c.Endpoint.Host != "lb.example.com" || c.Endpoint.Port != 6443 || !cmp.Equal(c.CertSANs, []string{"api.example.com"}) {
		t.Errorf("endpoint %+v, names %v", c.Endpoint, c.CertSANs)
	}
}

// What the cluster file says of the API servers holds; names add up.
func TestTerraformEndpointGivesWay(t *testing.T) {
	file := strings.Replace(fromTerraform, "  ssh:", "  controlPlane: {endpoint: api.example.com, certSANs: [a.example.com]}\n  ssh:", 1)
	c, _, warnings, err := loadTerraform(t, file, outputs(`"controlPlane": {"endpoint": "lb.example.com", "certSANs": ["a.example.com", "b.example.com"]}, `), nil)
	if err != nil {
		t.Fatal(err)
	}
	const want = "lab/cluster.yaml:6:28: spec.controlPlane.endpoint: wins over the endpoint in lab/infra/tofu output -json: kubewright.value.controlPlane.endpoint, which has another value"
	if len(warnings) != 1 || warnings[0].Error() != want {
		t.Errorf("got  %v\nwant %s", warnings, want)
	}
	if _, _, warnings, err := loadTerraform(t, file, outputs(`"controlPlane": {"endpoint": "API.example.com:6443"}, `), nil); err != nil || len(warnings) > 0 {
		t.Errorf("of the same endpoint: %v, %v", warnings, err)
	}
	if c.Endpoint.Host != "api.example.com" || !cmp.Equal(c.CertSANs, []string{"a.example.com", "b.example.com"}) {
		t.Errorf("endpoint %+v, names %v", c.Endpoint, c.CertSANs)
	}
}

func TestTerraformFaults(t *testing.T) {
	for name, tt := range map[string]struct{ outputs, want string }{
		"shape": {`{"kubewright": {"value": []}}`, "lab/infra/tofu output -json: kubewright.value: expected a mapping, found a list"},
		"all at once": {
			strings.NewReplacer("192.0.2.11", "192.0.2.10", "control-plane", "control-plan").Replace(outputs(`"controlPlane": {"endpoint": "a b"}, `)),
			`lab/infra/tofu output -json: kubewright.value.controlPlane.endpoint: "a b" is neither an IP address nor a DNS name` + "\n" +
				`lab/infra/tofu output -json: kubewright.value.hosts[0].roles[0]: unknown value "control-plan"; did you mean control-plane?` + "\n" +
				"lab/infra/tofu output -json: kubewright.value.hosts[1].address: the address 192.0.2.10 is taken by kubewright.value.hosts[0].address",
		},
		"no control plane": {
			strings.Replace(outputs(""), "control-plane", "worker", 1),
			"lab/infra/tofu output -json: kubewright.value.hosts: no host has the role control-plane",
		},
		"file":   {outputs(`"defaults": {"ssh": {"keyFile": "id.pub"}}, `), "lab/infra/tofu output -json: kubewright.value.defaults.ssh.keyFile: this is the public key"},
		"inside": {outputs(`"controlPlane": {"endpoint": "10.96.0.7"}, `), "the address 10.96.0.7 lies within spec.network.serviceCIDR"},
	} {
		t.Run(name, func(t *testing.T) {
			c, _, _, err := loadTerraform(t, fromTerraform, tt.outputs, nil)
			var faults spec.Faults
			if c != nil || !errors.As(err, &faults) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error:\n%v\nwant\n%s", err, tt.want)
			}
		})
	}
}

// Terraform may be about to make machines: it is not asked while the cluster file has faults.
func TestFaultsComeBeforeTerraform(t *testing.T) {
	for _, file := range []string{
		strings.Replace(fromTerraform, "1.37.2", "1.9", 1),
		strings.Replace(fromTerraform, "dir: infra", "dri: infra", 1),
		fromTerraform + "  hosts: []\n",
	} {
		_, asked, _, err := loadTerraform(t, file, outputs(""), nil)
		var faults spec.Faults
		if !errors.As(err, &faults) || len(asked) > 0 {
			t.Errorf("error %v, asked for %v", err, asked)
		}
	}
}

func TestTerraformFails(t *testing.T) {
	failure := errors.New("exit status 1")
	if _, _, _, err := loadTerraform(t, fromTerraform, "", failure); !errors.Is(err, failure) {
		t.Errorf("error: %v", err)
	}
	files := memory{"cluster.yaml": fromTerraform}
	if _, _, err := cluster.Load(cluster.Files{Cluster: "cluster.yaml", Read: files.read}, releases(t)); err == nil || !strings.Contains(err.Error(), "cannot be read here") {
		t.Errorf("without a way to ask: %v", err)
	}
}

// An inventory on the command line replaces Terraform's.
func TestInventoryInPlaceOfTerraform(t *testing.T) {
	files := memory{
		"cluster.yaml": fromTerraform,
		"i.yaml":       "apiVersion: kubewright.io/v1alpha1\nkind: Inventory\nhosts:\n- {name: a, address: 192.0.2.1, roles: [control-plane, worker]}\n",
	}
	c, _, err := cluster.Load(cluster.Files{
		Cluster: "cluster.yaml", Inventory: "i.yaml", Read: files.read,
		Terraform: func(spec.TerraformSource) (string, []byte, error) {
			return "", nil, &fs.PathError{Err: errors.New("asked")}
		},
	}, releases(t))
	if err != nil || len(c.Hosts) != 1 {
		t.Errorf("%v, %v", c, err)
	}
}

func TestTerraformWarnings(t *testing.T) {
	out := `{"kubeone_hosts": {"value": {"control_plane": {"hostnames": ["a"], "public_address": ["192.0.2.1"], "untaint": true}}}, "kubeone_workers": {"value": {"p": {}}}}`
	c, _, warnings, err := loadTerraform(t, fromTerraform, out, nil)
	if err != nil || len(c.Hosts) != 1 || len(warnings) != 1 || !strings.Contains(warnings[0].Error(), "lab/infra/tofu output -json: kubeone_workers: ") {
		t.Errorf("%v, warnings %v", err, warnings)
	}
}
