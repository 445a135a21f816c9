package sh_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"kubewright/internal/sh"
	"kubewright/internal/sh/shtest"
)

// How containerd calls its shims, and what it tells them: ours, and those of others.
const (
	shimName   = "containerd-shim-runc-v2"
	ourShim    = "-namespace k8s.io -id a -address /run/containerd/containerd.sock"
	mobyShim   = "-namespace moby -id k8s.io -address /run/containerd/containerd.sock"
	k3sShim    = "-namespace k8s.io -id a -address /run/k3s/containerd/containerd.sock"
	besideShim = "-namespace k8s.io -id a -address /run/containerd/containerd.sock.d/another"
)

// shim is a process that is called as one, and ends with letBe when it is let be.
type shim struct {
	*exec.Cmd
	pid string
	end io.Closer
}

const letBe = 7

// startShim starts one: by a command that has it run elsewhere, if there is one.
func startShim(t *testing.T, args string, by ...string) shim {
	t.Helper()
	program := filepath.Join(t.TempDir(), shimName)
	// It knows its process number from the /proc that this machine sees, and is up when it says so.
	script := "#!/bin/sh\nread -r pid rest < /proc/self/stat\necho $pid\nread -r nothing\nexit 7\n"
	if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	argv := append(append(by, program), strings.Fields(args)...)
	s := shim{Cmd: exec.CommandContext(t.Context(), argv[0], argv[1:]...)}
	in, err := s.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.end = in
	out, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the shim does not start: %v", err)
	}
	s.pid = strings.TrimSpace(line)
	return s
}

// stopPods runs the step on a host on which these run, as the kernel tells of them, and tells which of them it ended.
func stopPods(t *testing.T, shell shtest.Shell, shims ...shim) (ended []bool) {
	t.Helper()
	r := shtest.New(t, shell)
	r.Write("/proc/self/ns/pid", "")
	o := shtest.Options{Mounts: `mount --bind /proc/self/ns/pid "$1/proc/self/ns/pid"` + "\n"}
	for _, s := range shims {
		r.Write("/proc/"+s.pid+"/comm", "")
		o.Mounts += `mount --bind /proc/` + s.pid + ` "$1/proc/` + s.pid + `"` + "\n"
	}
	var out bytes.Buffer
	code, stderr, err := r.RunWith(t.Context(), o, sh.RenderTasks(marker, []sh.Task{{ID: "workloads", Steps: []sh.Step{sh.StopPods{}}}}, sh.NewLook(nil)), &out)
	if err != nil || code != 0 || len(stderr) > 0 {
		t.Errorf("%v, status %d; it said %q", err, code, stderr)
	}
	for _, s := range shims {
		_ = s.end.Close()
		var exit *exec.ExitError
		if err := s.Wait(); !errors.As(err, &exit) {
			t.Fatalf("%q ended by %v", s.Args, err)
		}
		ended = append(ended, exit.ExitCode() != letBe)
	}
	return ended
}

// A shim that containerd has lost sight of ends with the pods; those of somebody else's containers go on.
func TestStopPodsEndsShims(t *testing.T) {
	inShells(t, func(t *testing.T, shell shtest.Shell) {
		for i, ended := range stopPods(t, shell, startShim(t, ourShim), startShim(t, mobyShim), startShim(t, k3sShim), startShim(t, besideShim)) {
			if ours := i == 0; ended != ours {
				t.Errorf("shim %d was ended: %v, want %v", i, ended, ours)
			}
		}
	})
}

// A node may be a container, whose processes its host sees as well: the pods of such a node are not the host's.
func TestStopPodsLetsNodesInContainersBe(t *testing.T) {
	inItsOwn := []string{"unshare", "--pid", "--fork", "--kill-child"}
	if out, err := exec.CommandContext(t.Context(), inItsOwn[0], append(inItsOwn[1:], "true")...).CombinedOutput(); err != nil {
		t.Skipf("no namespace of processes can be made here: %v: %s", err, out)
	}
	inShells(t, func(t *testing.T, shell shtest.Shell) {
		if stopPods(t, shell, startShim(t, ourShim, inItsOwn...))[0] {
			t.Error("a shim of a node in a container was ended")
		}
	})
}
