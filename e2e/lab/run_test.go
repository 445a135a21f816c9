package lab

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestRun(t *testing.T) {
	out, err := OSRunner{}.Run(t.Context(), []string{"sh", "-c", `cat; printf " %s" "$LC_ALL"`}, strings.NewReader("in"))
	if err != nil || string(out) != "in C" {
		t.Errorf("stdout = %q, %v, want what was read, and the C locale", out, err)
	}
}

func TestRunTellsWhyItFailed(t *testing.T) {
	tests := map[string]struct {
		argv []string
		code int
		want string
	}{
		"stderr":            {[]string{"sh", "-c", "echo out; echo why >&2; exit 3"}, 3, ": why"},
		"stdout only":       {[]string{"sh", "-c", "echo why; exit 4"}, 4, ": why"},
		"nothing":           {[]string{"sh", "-c", "exit 5"}, 5, "exit status 5"},
		"a signal":          {[]string{"sh", "-c", "kill -9 $$"}, -1, "signal: killed"},
		"no such program":   {[]string{"kubewright-no-such-program"}, -1, "not found"},
		"much, but the end": {[]string{"sh", "-c", "printf %0900d 0 >&2; echo the end >&2; exit 1"}, 1, "0the end"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := OSRunner{}.Run(t.Context(), tc.argv, nil)
			var failed *CommandError
			if !errors.As(err, &failed) || failed.Code != tc.code || !strings.HasSuffix(strings.TrimSpace(err.Error()), tc.want) && !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("error = %v, want code %d and %q", err, tc.code, tc.want)
			}
			if len(err.Error()) > 720 {
				t.Errorf("the message has %d bytes", len(err.Error()))
			}
		})
	}
	if _, err := (OSRunner{}).LookPath("kubewright-no-such-program"); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("LookPath: error = %v", err)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	stopped := errors.New("stopped by the user")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, stopped)
	defer cancel()
	started := time.Now()
	_, err := OSRunner{}.Run(ctx, []string{"sleep", "60"}, nil)
	if !errors.Is(err, stopped) {
		t.Errorf("error = %v, want the cause", err)
	}
	if took := time.Since(started); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
}
