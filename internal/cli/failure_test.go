package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kubewright/internal/fault"
	"kubewright/spec/strict"
)

func TestPrintError(t *testing.T) {
	hint := func(host, text string) error {
		return fault.New(fault.Preflight, "%s", text).On(host).During("swap").WithHint("swapoff -a")
	}
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"nothing", nil, ""},
		{"pending changes", fault.New(fault.Pending, "3 changes"), ""},
		{"one", errors.New("broken"), "error: broken\n"},
		{"a hint of several failures once", errors.Join(hint("cp1", "is on"), hint("cp2", "is on")),
			"error: cp1: swap: is on\nerror: cp2: swap: is on\n  hint: swapoff -a\n"},
		{"the same twice", errors.Join(errors.New("broken"), fault.Wrap(fault.Other, errors.New("broken"))), "error: broken\n"},
		{"faults of a file", fault.Wrap(fault.BadInput, strict.Faults{
			{File: "c.yaml", Line: 3, Column: 5, Path: "spec.x", Message: "no", Suggestion: "y"}, {File: "c.yaml", Line: 9, Column: 1, Message: "bad"},
		}), "error: c.yaml:3:5: spec.x: no; did you mean y?\nerror: c.yaml:9:1: bad\n"},
		{"joined below a kind", fault.Wrap(fault.Unreachable, errors.Join(errors.New("a"), errors.Join(errors.New("b"), errors.New("c")))),
			"error: a\nerror: b\nerror: c\n"},
		{"wrapped with words of its own", fmt.Errorf("both %w and %w", errors.New("a"), errors.New("b")), "error: both a and b\n"},
		{"several lines", errors.New("apt says:\nE: no"), "error: apt says:\n  E: no\n"},
		{"what a host says cannot move the cursor", errors.New("a\x1b[2Jb\rc\td\u202e"), "error: ab c d\n"},
		{"what was merely stopped", errors.Join(errors.New("broken"), fmt.Errorf("cp2: look: %w", context.Canceled)), "error: broken\n"},
		{"with a log", &loggedError{error: hint("cp1", "is on"), log: "/tmp/l"}, "error: cp1: swap: is on\n  hint: swapoff -a\ndebug log: /tmp/l\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			printError(&out, formatText, "kubewright plan", tt.err)
			if diff := cmp.Diff(tt.want, out.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestPrintErrorInJSON(t *testing.T) {
	var out strings.Builder
	err := &loggedError{error: errors.Join(fault.New(fault.Preflight, "a").On("cp1").WithHint("h"), fault.New(fault.Preflight, "b").WithHint("h")), log: "/l"}
	printError(&out, formatJSON, "kubewright plan", err)
	events := outcome{err: out.String()}.events(t)
	want := []event{{Kind: "run-done", Message: "kubewright plan", Error: "cp1: a\nb", ErrorKind: "preflight", Hints: []string{"h"}, Attrs: map[string]string{"log": "/l"}}}
	if diff := cmp.Diff(want, events); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	out.Reset()
	printError(&out, formatJSON, "kubewright plan", fault.New(fault.Pending, "x"))
	if out.String() != "" {
		t.Errorf("pending changes are told as a failure: %s", out.String())
	}
}

func TestLoggedErrorKeepsItsKind(t *testing.T) {
	err := &loggedError{error: errors.Join(fault.New(fault.Locked, "x"))}
	if fault.ExitCode(err) != int(fault.Locked) {
		t.Errorf("exit code %d", fault.ExitCode(err))
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("interrupt signal received"))
	if err := interrupted(ctx, nil); fault.ExitCode(err) != 130 || len(fault.Hints(err)) != 0 {
		t.Errorf("a command that was done: %v", err)
	}
	err := interrupted(ctx, errors.Join(fault.New(fault.ChangeFailed, "no room").On("cp1"), fmt.Errorf("cp2: %w", context.Canceled)))
	if diff := cmp.Diff([]string{"interrupt signal received", "cp1: no room"}, messages(err)); diff != "" || fault.ExitCode(err) != 130 {
		t.Errorf("exit code %d (-want +got):\n%s", fault.ExitCode(err), diff)
	}
	if hints := fault.Hints(err); len(hints) != 1 || !strings.Contains(hints[0], "run the same command again") {
		t.Errorf("hints: %q", hints)
	}
}
