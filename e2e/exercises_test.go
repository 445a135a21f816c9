//go:build e2e

package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/tools/clientcmd"

	"kubewright/vagrant"
)

// What vagrant/README.md tells beginners to do does what it says: its commands are run as they stand
// there, on a lab in place of Vagrant's machines.
func TestExercises(t *testing.T) {
	c := shared.cluster(t)
	b := c.beginner(t)
	for _, e := range exercises(t, "Exercises") {
		t.Run(e.Name, func(t *testing.T) {
			afterwards(t, func(t testing.TB) {
				if t.Failed() {
					b.tidy(t)
				}
			})
			b.do(t, e)
		})
	}
	c.wantEmptyPlan(t)
}

// exercises are those of vagrant/README.md below a heading.
func exercises(t *testing.T, heading string) []vagrant.Exercise {
	t.Helper()
	found, err := vagrant.Parse(textOf(t, filepath.Join("..", "vagrant", "README.md")), heading)
	if err != nil {
		t.Fatalf("vagrant/README.md: %v", err)
	}
	return found
}

// exercises: those that need addons, all at once, whatever other tests run: mostly they wait. Each is in a namespace
// of its own.
func (a *addonsLab) exercises(t *testing.T) {
	b := a.cluster.beginner(t)
	var all sync.WaitGroup
	for _, e := range exercises(t, "Exercises with addons") {
		all.Go(func() {
			t.Run(e.Name, func(t *testing.T) {
				for _, s := range e.Steps {
					if strings.Contains(s.Commands, "create ingress") {
						needsImage(t, nginxImage)
					}
				}
				b.in(t, a.cluster.namespace(t)).do(t, e)
			})
		})
	}
	all.Wait()
}

// beginner is somebody with kubectl, docker and vagrant in front of a lab.
type beginner struct {
	cluster *cluster
	dir     string // has bin, with the programs, and vagrant, where commands are run
	env     []string
	vagrant string // the shell function that the README has for those without Vagrant
}

// beginner puts the programs of the README into a folder: kubectl as every machine has it, podman for
// docker where it is what there is. Beside it is the folder of the README, in which the lab is where Vagrant's would be.
func (c *cluster) beginner(t *testing.T) beginner {
	t.Helper()
	dir := t.TempDir()
	for _, folder := range []string{"bin", "vagrant"} {
		if err := os.Mkdir(filepath.Join(dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name, text string, mode os.FileMode) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	kubectl, err := c.ssh(t.Context(), "cp1", nil, "cat", "/usr/local/bin/kubectl")
	if err != nil {
		t.Fatal(err)
	}
	write("bin/kubectl", kubectl, 0o755)
	if _, err := exec.LookPath("podman"); err == nil {
		write("bin/docker", "#!/bin/sh\nexec podman \"$@\"\n", 0o755)
	}
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	lab, err := filepath.Abs(c.dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"bin/kubewright": path, "vagrant/.lab": lab} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	write("kubeconfig", c.tool(t, "kubeconfig").want(t, exitDone).stdout, 0o600)
	function := regexp.MustCompile(`vagrant\(\) \{ .* \}`).FindString(textOf(t, filepath.Join("..", "README.md")))
	if function == "" {
		t.Fatal("README.md does not say how the exercises are done without Vagrant")
	}
	return beginner{cluster: c, dir: dir, vagrant: function, env: append(os.Environ(),
		"PATH="+filepath.Join(dir, "bin")+":"+os.Getenv("PATH"), "KUBECONFIG="+filepath.Join(dir, "kubeconfig"))}
}

// in is the beginner in another namespace than the default one.
func (b beginner) in(t *testing.T, namespace string) beginner {
	t.Helper()
	config, err := clientcmd.LoadFromFile(filepath.Join(b.dir, "kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	config.Contexts[config.CurrentContext].Namespace = namespace
	own := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, own); err != nil {
		t.Fatal(err)
	}
	b.env = append(slices.Clone(b.env), "KUBECONFIG="+own)
	return b
}

// do runs an exercise, all its blocks in one shell, in the folder of the README.
func (b beginner) do(t *testing.T, e vagrant.Exercise) {
	const mark = "@@ the end of a block\n"
	script := "exec 2>&1\n" + b.vagrant + "\n"
	for _, s := range e.Steps {
		script += s.Commands + "printf '\\n" + strings.TrimSpace(mark) + "\\n'\n"
	}
	ctx, cancel := context.WithTimeout(t.Context(), toolTimeout)
	defer cancel()
	cmd := inGroup(exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script))
	cmd.Dir, cmd.Env = filepath.Join(b.dir, "vagrant"), b.env
	r, err := finish(ctx, cmd, result{program: "bash", args: []string{"exercise", e.Name}})
	if err != nil {
		t.Fatal(err)
	}
	printed := strings.Split(r.stdout, mark)
	for i, s := range e.Steps {
		if i == len(printed)-1 {
			t.Errorf("README.md:%d: a command has failed with exit code %d", s.Line, r.code)
			break
		}
		if missing := s.Missing(printed[i]); len(missing) > 0 {
			t.Errorf("README.md:%d: these lines are promised and not printed:\n%s", s.Line, strings.Join(missing, "\n"))
		}
	}
	t.Logf("%s after %s", e.Name, r.took)
	if t.Failed() {
		t.Log(r)
	}
}

// tidy gives back to the other tests what an exercise that was cut short may have taken from them.
func (b beginner) tidy(t testing.TB) {
	t.Helper()
	b.cluster.on(t, "worker1", "systemctl start kubelet")
	for _, args := range []string{
		"uncordon worker1",
		`patch daemonset kube-proxy --namespace kube-system --patch {"spec":{"template":{"spec":{"nodeSelector":{"exercise":null}}}}}`,
		// What the cluster has there by itself stays. The claim goes before the volume that it holds.
		"delete deployments,statefulsets,daemonsets,services,pods,configmaps,persistentvolumeclaims --namespace default --now --timeout 1m " +
			"--field-selector metadata.name!=kubernetes,metadata.name!=kube-root-ca.crt",
		"delete persistentvolume folder --ignore-not-found --timeout 30s",
	} {
		cmd := exec.CommandContext(t.Context(), filepath.Join(b.dir, "bin", "kubectl"), strings.Fields(args)...)
		cmd.Env = b.env
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("kubectl %s: %v\n%s", args, err, out)
		}
	}
}
