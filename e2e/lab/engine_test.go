package lab

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with a file under testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update writes it anew):\n%s", path, diff)
	}
}

// shown renders a command line with one word a line.
func shown(argv []string) string { return strings.Join(argv, "\n    ") + "\n" }

func TestEngineCommandLines(t *testing.T) {
	subnet := netip.MustParsePrefix("10.111.0.0/24")
	node := container{
		Node:   Node{Name: "worker1", Role: RoleWorker, Address: at(subnet, 11), HostKey: "ssh-ed25519 AAAA"},
		lab:    "lab",
		image:  "localhost/kubewright-node:0123456789ab",
		limits: limits{files: 20000, processes: 32768},
	}
	withModules := node
	withModules.modules = true
	mirror := container{
		Node: Node{Name: "mirror", Role: RoleMirror, Address: at(subnet, 2)},
		lab:  "lab", image: node.image, limits: node.limits, artifacts: "/var/cache/artifacts",
	}
	image := nodeImage{digest: "0123456789abcdef", name: node.image, tar: "/cache/node.tar"}

	for _, e := range []Engine{Podman, Docker} {
		var out strings.Builder
		for _, c := range []struct {
			name string
			argv []string
		}{
			{"network", e.createNetwork("lab", subnet)},
			{"volume", e.createVolume("lab", diskName("lab", "worker1", "/var/lib/etcd"))},
			{"node", e.createNode(node)},
			{"node on a machine with kernel modules", e.createNode(withModules)},
			{"mirror", e.createMirror(mirror)},
			{"unpack", e.unpack("kubewright-lab-worker1")},
			{"start", e.power("start", "kubewright-lab-worker1")},
			{"remove containers", e.removeContainers("a", "b")},
			{"remove volumes", e.remove("volume", "a", "b")},
			{"list containers of a lab", e.list("container", labelLab, "lab")},
			{"list volumes of a lab", e.list("volume", labelLab, "lab")},
			{"list containers of all labs", e.list("container", labelLab, "")},
			{"inspect", e.inspect("container", "a", "b")},
			{"find the image", e.findImage(image.name)},
			{"import the image", e.importImage(image)},
			{"does it answer", e.answers()},
		} {
			out.WriteString("# " + c.name + "\n" + shown(c.argv) + "\n")
		}
		golden(t, string(e)+".golden", out.String())
	}
}

func TestMMDebstrapCommandLine(t *testing.T) {
	out := "# Debian's own mirrors\n" + shown(mmdebstrap("/cache/build", "/cache/build/node.tar", "")) +
		"\n# a mirror of the machine\n" + shown(mmdebstrap("/cache/build", "/cache/build/node.tar", "http://debian.example/debian"))
	golden(t, "mmdebstrap.golden", out)
}

func TestSSHCommandLine(t *testing.T) {
	state := State{Name: "lab", Login: LoginSudo, Nodes: []Node{
		{Name: "cp1", Address: netip.MustParseAddr("10.111.0.10")},
		{Name: "worker1", Address: netip.MustParseAddr("10.111.0.11")},
	}}
	options := []string{
		"ssh", "-F", "none", "-i", "/lab/id_ed25519", "-o", "IdentitiesOnly=yes",
		"-o", "StrictHostKeyChecking=yes", "-o", "UserKnownHostsFile=/lab/known_hosts",
		"-o", "GlobalKnownHostsFile=none", "-l", "ops", "10.111.0.11",
	}
	tests := map[string]struct {
		command []string
		want    []string
	}{
		"shell":   {nil, options},
		"command": {[]string{"systemctl", "--failed"}, append(options[:len(options):len(options)], "--", "systemctl", "--failed")},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := SSH("/lab", state, "worker1", tc.command)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestSSHRefusesUnknownNodes(t *testing.T) {
	for name, tc := range map[string]struct {
		nodes []Node
		want  string
	}{
		"no nodes":   {nil, "lab lab has no nodes: run `kubewright lab up`"},
		"other ones": {[]Node{{Name: "cp1"}, {Name: "worker1"}}, `lab lab has no node "worker9"; it has cp1, worker1`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := SSH("/lab", State{Name: "lab", Nodes: tc.nodes}, "worker9", nil)
			if err == nil || err.Error() != tc.want {
				t.Errorf("error = %v, want %q", err, tc.want)
			}
		})
	}
}

func TestMACAddressIsOfTheAddress(t *testing.T) {
	if got, want := macAddress(netip.MustParseAddr("10.111.0.11")), "02:6b:0a:6f:00:0b"; got != want {
		t.Errorf("macAddress = %s, want %s", got, want)
	}
}

func TestParseEngine(t *testing.T) {
	for in, want := range map[string]Engine{"": "", "podman": Podman, "docker": Docker} {
		if got, err := ParseEngine(in); got != want || err != nil {
			t.Errorf("ParseEngine(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
	if _, err := ParseEngine("lxc"); err == nil || !strings.Contains(err.Error(), `"lxc": want podman or docker`) {
		t.Errorf("ParseEngine(lxc): error = %v", err)
	}
}
