package sh_test

import (
	"bytes"
	"errors"
	"os/exec"
	"strconv"
	"syscall"
	"testing"

	"kubewright/internal/sh"
	"kubewright/internal/sh/shtest"
)

// A shim that containerd has lost sight of ends with the pods; those of somebody else's containers go on.
func TestStopPodsEndsShims(t *testing.T) {
	inShells(t, func(t *testing.T, shell shtest.Shell) {
		r := shtest.New(t, shell)
		shim := func(args ...string) *exec.Cmd {
			cmd := exec.CommandContext(t.Context(), "sleep", "60")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = cmd.Process.Kill() })
			runs(r, strconv.Itoa(cmd.Process.Pid), append([]string{"containerd-shim-runc-v2"}, args...)...)
			return cmd
		}
		ours, theirs := shim("-namespace", "k8s.io", "-id", "a"), shim("-namespace", "moby", "-id", "k8s.io")
		var out bytes.Buffer
		code, stderr, err := r.Run(t.Context(), sh.RenderTasks(marker, []sh.Task{{ID: "workloads", Steps: []sh.Step{sh.StopPods{}}}}, nil), &out)
		if err != nil || code != 0 || len(stderr) > 0 {
			t.Fatalf("%v, status %d; it said %q", err, code, stderr)
		}
		for cmd, want := range map[*exec.Cmd]syscall.Signal{ours: syscall.SIGKILL, theirs: syscall.SIGTERM} {
			_ = cmd.Process.Signal(syscall.SIGTERM) // ends the one that was let be
			var ended *exec.ExitError
			if err := cmd.Wait(); !errors.As(err, &ended) || ended.Sys().(syscall.WaitStatus).Signal() != want {
				t.Errorf("%v ended by %v, want %v", cmd.Args, err, want)
			}
		}
	})
}
