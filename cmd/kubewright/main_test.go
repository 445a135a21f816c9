package main

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestMain is the program itself in processes that the tests start.
func TestMain(m *testing.M) {
	if os.Getenv("KUBEWRIGHT_TEST_MAIN") != "" {
		main()
	}
	os.Exit(m.Run())
}

func TestMainPassesArgumentsStreamsAndExitCode(t *testing.T) {
	for _, tt := range []struct {
		args     []string
		code     int
		out, err string
	}{
		{[]string{"version"}, 0, "kubewright dev\n", ""},
		{[]string{"nonsense"}, 10, "", `error: unknown command "nonsense"`},
		{[]string{"plan", "-f", "/no/such/cluster.yaml"}, 10, "", "error: /no/such/cluster.yaml: "},
	} {
		var out, errs strings.Builder
		cmd := exec.CommandContext(t.Context(), os.Args[0], tt.args...)
		cmd.Env = append(os.Environ(), "KUBEWRIGHT_TEST_MAIN=1")
		cmd.Stdout, cmd.Stderr = &out, &errs
		var exit *exec.ExitError
		if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		if code := cmd.ProcessState.ExitCode(); code != tt.code || !strings.HasPrefix(out.String(), tt.out) || !strings.HasPrefix(errs.String(), tt.err) {
			t.Errorf("%v: exit code %d\nstdout: %s\nstderr: %s", tt.args, code, out.String(), errs.String())
		}
	}
}
