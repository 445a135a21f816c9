//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"kubewright/vagrant"
)

// What vagrant/README.md tells beginners to do does what it says: its commands are run as they stand
// there, on a lab in place of Vagrant's machines.
func TestExercises(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join("..", "vagrant", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	exercises, err := vagrant.Parse(string(readme))
	if err != nil {
		t.Fatalf("vagrant/README.md: %v", err)
	}
	c := shared.cluster(t)
	b := c.beginner(t)
	for _, e := range exercises {
		t.Run(e.Name, func(t *testing.T) { b.do(t, e) })
	}
	c.wantEmptyPlan(t)
}

// beginner is somebody with kubectl, docker and vagrant in front of a lab.
type beginner struct {
	cluster *cluster
	dir     string // of the programs
	env     []string
}

// beginner puts the programs of the README into a folder: kubectl as every machine has it, podman for
// docker where it is what there is, and a vagrant that logs in to the lab.
func (c *cluster) beginner(t *testing.T) beginner {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	kubectl, err := c.ssh(t.Context(), "cp1", nil, "cat", "/usr/local/bin/kubectl")
	if err != nil {
		t.Fatal(err)
	}
	write("kubectl", kubectl, 0o755)
	if _, err := exec.LookPath("podman"); err == nil {
		write("docker", "#!/bin/sh\nexec podman \"$@\"\n", 0o755)
	}
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	lab, err := filepath.Abs(c.dir)
	if err != nil {
		t.Fatal(err)
	}
	write("vagrant", fmt.Sprintf(`#!/bin/sh
# vagrant ssh NAME [--no-tty] -c COMMAND
set -eu
[ "$1" = ssh ]
name=$2
shift 2
if [ "$1" = --no-tty ]; then shift; fi
[ "$1" = -c ]
exec '%s' lab --dir '%s' ssh "$name" -- "$2"
`, path, lab), 0o755)
	write("kubeconfig", c.tool(t, "kubeconfig").want(t, exitDone).stdout, 0o600)
	return beginner{cluster: c, dir: dir, env: append(os.Environ(),
		"PATH="+dir+":"+os.Getenv("PATH"), "KUBECONFIG="+filepath.Join(dir, "kubeconfig"))}
}

// do runs an exercise, all its blocks in one shell, in the folder of the README.
func (b beginner) do(t *testing.T, e vagrant.Exercise) {
	const mark = "@@ the end of a block\n"
	script := "exec 2>&1\n"
	for _, s := range e.Steps {
		script += s.Commands + "printf '\\n" + strings.TrimSpace(mark) + "\\n'\n"
	}
	ctx, cancel := context.WithTimeout(t.Context(), toolTimeout)
	defer cancel()
	cmd := inGroup(exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script))
	cmd.Dir, cmd.Env = filepath.Join("..", "vagrant"), b.env
	r, err := finish(ctx, cmd, result{program: "bash", args: []string{"exercise", e.Name}})
	if err != nil {
		b.tidy(t)
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
		b.tidy(t)
	}
}

// tidy gives back to the other tests what an exercise that was cut short may have taken from them.
func (b beginner) tidy(t *testing.T) {
	afterwards(t, func(t testing.TB) {
		b.cluster.on(t, "worker1", "systemctl start kubelet")
		for _, args := range []string{
			"uncordon worker1",
			`patch daemonset kube-proxy --namespace kube-system --patch {"spec":{"template":{"spec":{"nodeSelector":{"exercise":null}}}}}`,
			// What the cluster has there by itself stays. The claim goes before the volume that it holds.
			"delete deployments,statefulsets,daemonsets,services,pods,configmaps,persistentvolumeclaims --namespace default --now --timeout 1m " +
				"--field-selector metadata.name!=kubernetes,metadata.name!=kube-root-ca.crt",
			"delete persistentvolume folder --ignore-not-found --timeout 30s",
		} {
			cmd := exec.CommandContext(t.Context(), filepath.Join(b.dir, "kubectl"), strings.Fields(args)...)
			cmd.Env = b.env
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("kubectl %s: %v\n%s", args, err, out)
			}
		}
	})
}
