//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// `vagrant up` makes machines and a cluster of them, and `vagrant destroy` leaves nothing; both work
// again. On every machine the first interface has the address 10.0.2.15, and what leaves by the
// default route leaves with it, as with VirtualBox: the cluster has to do with the private network.
func TestVagrant(t *testing.T) {
	long(t)
	besideOthers(t)
	v := newVagrant(t)

	v.run(t, "up", "--provider=docker").want(t, exitDone).says(t, "The cluster is up", "export KUBECONFIG="+v.file("kubeconfig"))
	v.wantNodes(t, map[string]string{"cp1": "10.144.0.11", "worker1": "10.144.0.21", "worker2": "10.144.0.22"})
	for _, name := range []string{"cp1", "worker2"} {
		first := v.run(t, "ssh", name, "--no-tty", "-c", "ip -4 -o address show dev eth0 | head -n 1; ip route get 192.0.2.1").want(t, exitDone)
		if strings.Count(first.stdout, "10.0.2.15") != 2 {
			t.Errorf("%s has no eth0 as with VirtualBox: %s", name, first)
		}
	}
	v.kubewright(t, "verify", "--quick").want(t, exitDone).says(t, "ok dns cp1", "ok pod network cp1")
	v.kubewright(t, "plan", "--detailed-exitcode").want(t, exitDone)

	v.run(t, "destroy", "-f").want(t, exitDone)
	v.wantNothing(t)
	v.env = append(v.env, "WORKERS=1")
	v.run(t, "up", "--provider=docker").want(t, exitDone).says(t, "The cluster is up")
	v.wantNodes(t, map[string]string{"cp1": "10.144.0.11", "worker1": "10.144.0.21"})
}

// vagrantLab is the Vagrant lab with a lab.yaml of its own.
type vagrantLab struct {
	dir string // of lab.yaml
	env []string
}

// natUnit makes of the first interface what VirtualBox's NAT makes of it. The way to the lab that serves
// the artifacts goes by the address that the engine gave: nobody translates the other.
const natUnit = `[Unit]
Before=ssh.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=sh -euc 'own=$$(ip -4 -o address show dev eth0 | tr -s " " | cut -d " " -f 4); gateway=$$(ip route show default dev eth0 | cut -d " " -f 3); \
  ip address flush dev eth0; ip address add 10.0.2.15/24 dev eth0; ip address add $$own dev eth0; \
  ip route add default via $$gateway src 10.0.2.15; ip route add 10.143.0.0/24 via $$gateway src $${own%%/*}'
[Install]
WantedBy=multi-user.target
`

// newVagrant prepares everything for `vagrant up`: an engine that Docker's command line talks to, and a
// lab for its image of a node and for the artifacts that it serves.
func newVagrant(t *testing.T) *vagrantLab {
	t.Helper()
	for _, name := range []string{"vagrant", "docker"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("the program %s is missing; what is needed is Vagrant, and Docker's command line for the engine of the labs", name)
		}
	}
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(t, labSpec{name: "e2e-vagrant", subnet: "10.143.0.0/24", controlPlanes: 1})
	// Not in the lab's folder: what Vagrant knows of its machines has to outlive a run that was interrupted.
	dir, err := filepath.Abs("_vagrant")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	v := &vagrantLab{dir: dir, env: append(os.Environ(), "KUBEWRIGHT="+path, "LAB_FILE="+filepath.Join(dir, "lab.yaml"),
		"VAGRANT_HOME="+filepath.Join(dir, "home"), "VAGRANT_DOTFILE_PATH="+filepath.Join(dir, "machines"),
		"VAGRANT_DEFAULT_PROVIDER=docker", "VAGRANT_CHECKPOINT_DISABLE=1", "DOCKER_BUILDKIT=0")}
	engine := l.engine(t)
	if engine == "podman" {
		v.env = append(v.env, "DOCKER_HOST="+l.podmanService(t))
	}
	v.write(t, l, l.natImage(t, engine))
	v.remove(t) // what an earlier run may have left
	afterwards(t, func(t testing.TB) {
		if keepLabs() {
			return
		}
		v.remove(t)
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return v
}

// podmanService starts podman's API, and returns where it listens. Its configuration has the runtime of the
// labs, and the limits that they have found out to be what containers may have on this machine.
func (l *lab) podmanService(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "podman", "inspect", "--format", "{{json .HostConfig.Ulimits}}", l.container("cp1")).Output()
	if err != nil {
		t.Fatal(err)
	}
	var limits []struct {
		Name string
		Hard uint64
	}
	if err := json.Unmarshal(out, &limits); err != nil {
		t.Fatal(err)
	}
	config := "[engine]\nruntime = \"runc\"\n[containers]\ndefault_ulimits = ["
	for _, limit := range limits {
		config += fmt.Sprintf("\"%s=%d:%d\", ", strings.ToLower(strings.TrimPrefix(limit.Name, "RLIMIT_")), limit.Hard, limit.Hard)
	}
	dir := t.TempDir()
	configFile, socket := filepath.Join(dir, "containers.conf"), filepath.Join(dir, "podman.sock")
	if err := os.WriteFile(configFile, []byte(config+"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	service := inGroup(exec.CommandContext(context.Background(), "podman", "system", "service", "--time=0", "unix://"+socket))
	service.Env = append(os.Environ(), "CONTAINERS_CONF="+configFile)
	var said strings.Builder
	service.Stderr = &said
	if err := service.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := service.Cancel(); err != nil {
			t.Error(err)
		}
		_ = service.Wait() // it was killed
	})
	eventually(t, answerTimeout, "podman's API", func(ctx context.Context) error {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
		if err != nil {
			return fmt.Errorf("%w: %s", err, said.String())
		}
		return conn.Close()
	})
	return "unix://" + socket
}

// container is what the engine calls a node of the lab.
func (l *lab) container(node string) string { return "kubewright-" + l.name + "-" + node }

// natImage makes an image of the lab's nodes on which eth0 is as with VirtualBox.
func (l *lab) natImage(t *testing.T, engine string) string {
	t.Helper()
	const name = "localhost/kubewright-e2e-vagrant:nat"
	node, err := exec.CommandContext(t.Context(), engine, "inspect", "--format", "{{.Config.Image}}", l.container("cp1")).Output()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	dockerfile := "FROM " + string(node) + "COPY nat.service /etc/systemd/system/\nRUN systemctl --quiet enable nat.service\n"
	for file, text := range map[string]string{"nat.service": natUnit, "Dockerfile": dockerfile} {
		if err := os.WriteFile(filepath.Join(folder, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.CommandContext(t.Context(), engine, "build", "--tag", name, folder).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	afterwards(t, func(t testing.TB) {
		if out, err := exec.CommandContext(t.Context(), engine, "rmi", "--force", name).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
	return name
}

// write writes lab.yaml: that of the repository, with an image, a network and a number of workers of its
// own, with what the cluster file of a lab says of artifacts and the kubelet, and without addons whose images
// no lab has.
func (v *vagrantLab) write(t *testing.T, l *lab, image string) {
	t.Helper()
	var settings, clusterFile map[string]any
	for path, into := range map[string]*map[string]any{filepath.Join("..", "vagrant", "lab.yaml"): &settings, l.file(): &clusterFile} {
		if err := yaml.Unmarshal([]byte(textOf(t, path)), into); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
	spec := clusterFile["spec"].(map[string]any)
	files := spec["artifacts"].(map[string]any)
	if digests, ok := files["digests"].(string); ok {
		path, err := filepath.Abs(filepath.Join(l.dir, digests))
		if err != nil {
			t.Fatal(err)
		}
		files["digests"] = path
	}
	settings["network"] = "10.144.0.0/24"
	settings["workers"].(map[string]any)["count"] = 2
	settings["docker"] = map[string]any{"base": image}
	wanted := settings["cluster"].(map[string]any)
	wanted["artifacts"], wanted["kubelet"] = files, spec["kubelet"]
	if !hasImage(t, nginxImage) {
		delete(wanted["addons"].(map[string]any), "ingress")
	}
	data, err := yaml.Marshal(settings)
	if err == nil {
		err = os.WriteFile(filepath.Join(v.dir, "lab.yaml"), data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// run runs vagrant to its end.
func (v *vagrantLab) run(t testing.TB, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), toolTimeout)
	defer cancel()
	cmd := inGroup(exec.CommandContext(ctx, "vagrant", args...))
	cmd.Dir, cmd.Env = filepath.Join("..", "vagrant"), v.env
	r, err := finish(ctx, cmd, result{program: "vagrant", args: args})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("vagrant %s: exit code %d after %s", strings.Join(args, " "), r.code, r.took)
	return r
}

// file is the path of one of those that `vagrant up` writes.
func (v *vagrantLab) file(name string) string { return filepath.Join(v.dir, ".lab", name) }

// kubewright runs a command of the binary on the cluster.
func (v *vagrantLab) kubewright(t testing.TB, command string, args ...string) result {
	t.Helper()
	return kubewright(t, append([]string{command, "-f", v.file("cluster.yaml"), "--log", debugLog(t)}, args...)...)
}

// wantNodes checks that the nodes are those, Ready, and known by these addresses.
func (v *vagrantLab) wantNodes(t *testing.T, want map[string]string) {
	t.Helper()
	client, _ := clientOf(t, v.file("kubeconfig"))
	nodes, err := client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(nodes.Items) != len(want) {
		t.Errorf("%d nodes, want %d", len(nodes.Items), len(want))
	}
	for _, n := range nodes.Items {
		if why := notReady(&n); why != "" {
			t.Error(why)
		}
		var addresses []string
		for _, a := range n.Status.Addresses {
			if a.Type == corev1.NodeInternalIP {
				addresses = append(addresses, a.Address)
			}
		}
		if !slices.Equal(addresses, []string{want[n.Name]}) {
			t.Errorf("node %s has the addresses %q, want %q", n.Name, addresses, want[n.Name])
		}
	}
}

// remove removes all machines, and what a run that was stopped has left beside those that Vagrant knows.
func (v *vagrantLab) remove(t testing.TB) {
	t.Helper()
	r := v.run(t, "destroy", "-f")
	if left := strings.Fields(v.docker(t, "ps", "--all", "--quiet", "--filter", "label="+vagrantLabel)); len(left) > 0 {
		v.docker(t, append([]string{"rm", "--force", "--volumes"}, left...)...)
		v.run(t, "destroy", "-f").want(t, exitDone)
	} else {
		r.want(t, exitDone)
	}
	if v.docker(t, "network", "ls", "--quiet", "--filter", "name="+vagrantNetwork) != "" {
		v.docker(t, "network", "rm", vagrantNetwork)
	}
}

// vagrantNetwork and vagrantLabel are on what Vagrant makes for the lab.
const (
	vagrantNetwork = "vagrant_network_10.144.0.0"
	vagrantLabel   = "kubewright.vagrant=" + vagrantNetwork
)

// wantNothing checks that no container and no network of the lab is left.
func (v *vagrantLab) wantNothing(t testing.TB) {
	t.Helper()
	for _, args := range [][]string{
		{"ps", "--all", "--quiet", "--filter", "label=" + vagrantLabel},
		{"network", "ls", "--quiet", "--filter", "name=" + vagrantNetwork},
	} {
		if left := v.docker(t, args...); left != "" {
			t.Errorf("docker %s: there is left: %s", strings.Join(args, " "), left)
		}
	}
}

// docker runs Docker's command line, and returns what it prints.
func (v *vagrantLab) docker(t testing.TB, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "docker", args...)
	cmd.Env = v.env
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("docker %s: %v", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out))
}
