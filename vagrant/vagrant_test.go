package vagrant

import (
	"encoding/json"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kubewright/cluster"
	"kubewright/internal/catalog"
	"kubewright/internal/check"
	"kubewright/internal/facts"
	"kubewright/inventory"
)

// ruby runs a script on lab.rb with what lab is: the Lab of a lab.yaml.
func ruby(t *testing.T, file, state, script string, env ...string) (stdout, stderr string, err error) {
	t.Helper()
	if _, err := exec.LookPath("ruby"); err != nil {
		t.Skip("the program ruby is missing, which comes with Vagrant")
	}
	const open = `begin; lab = Lab.new(ARGV[0], env: ENV, state: ARGV[1]); rescue Lab::Error => e; abort e.message; end;`
	cmd := exec.CommandContext(t.Context(), "ruby", "-W", "-r", "json", "-r", "./lab.rb", "-e", open+script, file, state)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8"}, env...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// copied is a copy of lab.yaml with a text in it replaced.
func copied(t *testing.T, old, text string) string {
	t.Helper()
	data, err := os.ReadFile("lab.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(data), old) {
		t.Fatalf("lab.yaml has no %q", old)
	}
	file := filepath.Join(t.TempDir(), "lab.yaml")
	if err := os.WriteFile(file, []byte(strings.Replace(string(data), old, text, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// load has lab.rb write its files, and reads them as kubewright does.
func load(t *testing.T, file string, env ...string) *cluster.Cluster {
	t.Helper()
	state := t.TempDir()
	key := filepath.Join(state, "key")
	if err := os.WriteFile(key, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	script := `login = Lab::Login.new(user: "vagrant", key_file: "` + key + `", host_key: "` + hostKey + `")
		lab.write(lab.machines.to_h { |m| [m.name, login] }); print lab.cluster_file`
	out, errs, err := ruby(t, file, state, script, env...)
	if err != nil || errs != "" {
		t.Fatalf("%v\n%s", err, errs)
	}
	releases, err := catalog.Default()
	if err != nil {
		t.Fatal(err)
	}
	c, warnings, err := cluster.Load(cluster.Files{Cluster: out, Read: os.ReadFile, Checks: check.Names()}, releases)
	if err != nil || len(warnings) > 0 {
		t.Fatalf("%v\nwarnings: %v", err, warnings)
	}
	return c
}

const hostKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"

// The nodes are known by their private addresses, whatever other interfaces the machines have, and
// every host key is pinned.
func TestInventory(t *testing.T) {
	c := load(t, copied(t, "", ""))
	got := map[string]string{}
	for _, h := range c.Hosts {
		got[h.Name] = h.NodeIP.String()
		if h.Address != h.NodeIP.String() || h.SSH.HostKey != hostKey || h.SSH.TrustOnFirstUse || h.SSH.User != "vagrant" {
			t.Errorf("%s is logged in to at %s with %+v", h.Name, h.Address, h.SSH)
		}
	}
	if diff := cmp.Diff(map[string]string{
		"cp1": "192.168.56.11", "worker1": "192.168.56.21", "worker2": "192.168.56.22", "worker3": "192.168.56.23",
	}, got); diff != "" {
		t.Error(diff)
	}

	// With VirtualBox eth0 is 10.0.2.15 on every machine, and has the default route.
	w := check.World{PodCIDR: c.Network.PodCIDR, ServiceCIDR: c.Network.ServiceCIDR, Facts: map[string]facts.Facts{}}
	for _, h := range c.Hosts {
		w.Hosts = append(w.Hosts, check.Host{
			Name: h.Name, NodeIP: h.NodeIP, ControlPlane: h.Has(inventory.RoleControlPlane),
			Etcd: h.Has(inventory.RoleEtcd), Worker: h.Has(inventory.RoleWorker),
		})
		w.Facts[h.Name] = facts.Facts{
			Interfaces: []facts.Interface{
				{Name: "eth0", MTU: 1500, Addrs: []netip.Prefix{netip.MustParsePrefix("10.0.2.15/24")}},
				{Name: "eth1", MTU: 1500, Addrs: []netip.Prefix{netip.PrefixFrom(h.NodeIP, 24)}},
			},
			Routes: []facts.Route{
				{Dst: netip.MustParsePrefix("0.0.0.0/0"), Dev: "eth0"},
				{Dst: netip.MustParsePrefix("10.0.2.0/24"), Dev: "eth0"},
				{Dst: netip.MustParsePrefix("192.168.56.0/24"), Dev: "eth1"},
			},
		}
	}
	if refused := refusals(t, w); len(refused) > 0 {
		t.Errorf("the preflight refuses machines of VirtualBox: %v", refused)
	}
	// What would be if the address of the default route was taken.
	for i := range w.Hosts {
		w.Hosts[i].NodeIP = netip.MustParseAddr("10.0.2.15")
	}
	if len(refusals(t, w)) == 0 {
		t.Error("the preflight takes 10.0.2.15 for every node, so that this test shows nothing")
	}
}

// refusals are what the checks of addresses refuse.
func refusals(t *testing.T, w check.World) []string {
	t.Helper()
	results, err := check.Preflight(w, "node-ip", "cidrs")
	if err != nil {
		t.Fatal(err)
	}
	var refused []string
	for _, r := range results {
		if r.Severity == check.Refuse {
			refused = append(refused, r.Host+": "+r.Message)
		}
	}
	return refused
}

func TestHighAvailability(t *testing.T) {
	c := load(t, copied(t, "", ""), "CONTROL_PLANES=3", "WORKERS=1")
	if len(c.Hosts) != 4 || c.VIP == (cluster.VIP{}) {
		t.Errorf("%d hosts, virtual IP %+v", len(c.Hosts), c.VIP)
	}
}

// What lab.yaml says below cluster is what the cluster file says.
func TestClusterOfLab(t *testing.T) {
	c := load(t, copied(t, "cluster:\n", "cluster:\n  network: {podCIDR: 10.77.0.0/16}\n  controlPlane: {port: 8443}\n"), "CONTROL_PLANES=3")
	if c.Network.PodCIDR.String() != "10.77.0.0/16" || c.APIPort != 8443 || c.VIP == (cluster.VIP{}) {
		t.Errorf("pod CIDR %s, port %d, virtual IP %+v", c.Network.PodCIDR, c.APIPort, c.VIP)
	}
}

// The lab has what the exercises need. Its load balancers have addresses of its network that no machine gets,
// or those that lab.yaml gives them.
func TestAddonsOfLab(t *testing.T) {
	addons := load(t, copied(t, "192.168.56.0/24", "192.168.60.0/24")).Addons
	if !addons.MetricsServer.Enabled || !addons.LocalPath.Enabled || !addons.Registry.Enabled || addons.Ingress.Controller != "nginx" {
		t.Errorf("%+v", addons)
	}
	for file, want := range map[string]string{
		copied(t, "192.168.56.0/24", "192.168.60.0/24"):                                                                 "192.168.60.230-192.168.60.250",
		copied(t, "metallb: {enabled: true}", "metallb: {enabled: true, pools: [{name: a, addresses: [10.9.0.0/28]}]}"): "10.9.0.0/28",
		copied(t, "metallb: {enabled: true}", "metallb: {enabled: false}"):                                              "",
		copied(t, "metallb: {enabled: true}", "metallb: {}"):                                                            "",
		copied(t, "cluster:\n", "cluster: {}\n---\n"):                                                                   "",
	} {
		var got []string
		for _, pool := range load(t, file).Addons.MetalLB.Pools {
			got = append(got, pool.Addresses...)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("the addresses are %q, want %s", got, want)
		}
	}
}

// Machines that are there stay when fewer are asked for, so that `vagrant destroy` gets to see them.
func TestMachinesThatExist(t *testing.T) {
	state := t.TempDir()
	for _, id := range []string{"cp3/docker/id", "worker5/virtualbox/id", "worker7/docker/index_uuid", "other/docker/id"} {
		path := filepath.Join(state, "machines", id)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("0"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, errs, err := ruby(t, copied(t, "", ""), state, "print JSON.dump(lab.machines.map(&:name))", "WORKERS=2")
	if err != nil {
		t.Fatal(errs)
	}
	var names []string
	if err := json.Unmarshal([]byte(out), &names); err != nil {
		t.Fatal(err)
	}
	if want := []string{"cp1", "cp2", "cp3", "worker1", "worker2", "worker3", "worker4", "worker5"}; !slices.Equal(names, want) {
		t.Errorf("the machines are %v, want %v", names, want)
	}
}

func TestFaultsOfLab(t *testing.T) {
	for _, tc := range []struct{ old, text, want string }{
		{"kubernetes: 1.37.2", "kubernetes: 1.37", "lab.yaml:3: kubernetes: 1.37 is no text: put it into quotes"},
		{"kubernetes: 1.37.2", "", "lab.yaml:7: kubernetes: is missing"},
		{"box:", "boxes: 1\nbox:", "lab.yaml:7: boxes: unknown key; there are: kubernetes, box,"},
		{"192.168.56.0/24", "192.168.56.1/24", `lab.yaml:11: network: want an IPv4 network of 256 addresses, such as 192.168.56.0/24, not "192.168.56.1/24"`},
		{"192.168.56.0/24", "192.168.56.0", "network: want an IPv4 network of 256 addresses"},
		{"192.168.56.0/24", "'fd00::/64'", "network: want an IPv4 network of 256 addresses"},
		{"192.168.56.0/24", "home", `network: "home" is no network`},
		{"{count: 1,", "{count: 2,", "lab.yaml:14: control_planes.count: want an odd number"},
		{"{count: 3,", "{count: 0,", "lab.yaml:15: workers.count: want a number from 1 to 200"},
		{"memory: 1536", "memory: much", `lab.yaml:15: workers.memory: "much" is no whole number`},
		{"cpus: 2, memory: 1536", "cpu: 2, memory: 1536", "lab.yaml:15: workers.cpu: unknown key; there are: count, cpus, memory"},
		{"cluster:\n", "cluster: []\n---\n", "cluster: [] is no mapping"},
		{"cluster:\n", "cluster: {\n", "lab.yaml: "},
		{"docker: {", "docker: 7 # {", "lab.yaml:18: docker: want a mapping with the keys base"},
	} {
		_, errs, err := ruby(t, copied(t, tc.old, tc.text), t.TempDir(), "")
		if err == nil || !strings.Contains(errs, tc.want) || strings.Contains(errs, "lab.rb") {
			t.Errorf("%q instead of %q: %v, %s; want %s", tc.text, tc.old, err, errs, tc.want)
		}
	}
	for env, want := range map[string]string{
		"CONTROL_PLANES=2":   "CONTROL_PLANES=2: want an odd number",
		"CONTROL_PLANES=ten": "CONTROL_PLANES=ten: want a number from 1 to 9",
		"WORKERS=0":          "WORKERS=0: want a number from 1 to 200",
	} {
		if _, errs, err := ruby(t, copied(t, "", ""), t.TempDir(), "", env); err == nil || !strings.Contains(errs, want) {
			t.Errorf("%s: %v, %s; want %s", env, err, errs, want)
		}
	}
	if _, errs, err := ruby(t, filepath.Join(t.TempDir(), "none.yaml"), "", ""); err == nil || !strings.Contains(errs, "none.yaml: there is no such file") {
		t.Errorf("without lab.yaml: %v, %s", err, errs)
	}
}

// withVagrant prepares runs of vagrant. VirtualBox and Docker need not be there: what Vagrant asks them before
// it looks at the file is answered by a script.
func withVagrant(t *testing.T) func(provider string, args []string, env ...string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath("vagrant"); err != nil {
		t.Skip("the program vagrant is missing")
	}
	dir := t.TempDir()
	for name, script := range map[string]string{
		"VBoxManage": "echo 7.0.20r163906",
		"docker":     "echo Docker version 28.2.2",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return func(provider string, args []string, env ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), "vagrant", args...)
		cmd.Env = append(append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "VAGRANT_HOME="+t.TempDir(),
			"VAGRANT_DOTFILE_PATH="+t.TempDir(), "VAGRANT_CHECKPOINT_DISABLE=1", "VAGRANT_DEFAULT_PROVIDER="+provider), env...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
}

// `vagrant validate` for every provider.
func TestValidate(t *testing.T) {
	vagrant := withVagrant(t)
	for _, provider := range []string{"virtualbox", "libvirt", "docker"} {
		t.Run(provider, func(t *testing.T) {
			validate := func(env ...string) (string, error) { return vagrant(provider, []string{"validate"}, env...) }
			if out, err := validate(); err != nil {
				if strings.Contains(out, "could not be found") && provider == "libvirt" {
					t.Skip("the plugin vagrant-libvirt is missing")
				}
				t.Errorf("%v\n%s", err, out)
			}
			if out, err := validate("CONTROL_PLANES=3"); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			if out, err := validate("LAB_FILE=" + copied(t, "{count: 1,", "{count: 2,")); err == nil || !strings.Contains(out, "lab.yaml:14: control_planes.count") {
				t.Errorf("a fault of lab.yaml: %v\n%s", err, out)
			}
		})
	}
}

// Without kubewright no machine is made.
func TestUpWithoutKubewright(t *testing.T) {
	out, err := withVagrant(t)("docker", []string{"up"}, "KUBEWRIGHT=/nonexistent/kubewright")
	if err == nil || !strings.Contains(out, "There is no /nonexistent/kubewright: run make build, or set KUBEWRIGHT") || strings.Contains(out, "Building") {
		t.Errorf("%v\n%s", err, out)
	}
}
