package fault_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kubewright/internal/fault"
)

// The numbers are documented for scripts that call the tool, so a change of one has to be made
// here too.
func TestKindNumbersAndNames(t *testing.T) {
	want := map[fault.Kind]struct {
		code int
		name string
	}{
		fault.Other:        {1, "other"},
		fault.Pending:      {2, "pending"},
		fault.BadInput:     {10, "bad-input"},
		fault.Unreachable:  {11, "unreachable"},
		fault.Preflight:    {12, "preflight"},
		fault.ChangeFailed: {13, "change-failed"},
		fault.Unhealthy:    {14, "unhealthy"},
		fault.Locked:       {15, "locked"},
		fault.Interrupted:  {130, "interrupted"},
		fault.Kind(99):     {99, "kind(99)"},
	}
	for kind, w := range want {
		if got := fault.ExitCode(fault.New(kind, "x")); got != w.code {
			t.Errorf("ExitCode(%s) = %d, want %d", w.name, got, w.code)
		}
		if got := kind.String(); got != w.name {
			t.Errorf("Kind(%d).String() = %q, want %q", int(kind), got, w.name)
		}
	}
}

func TestExitCode(t *testing.T) {
	plain := errors.New("boom")
	down := fault.New(fault.Unreachable, "no route to host").On("worker1")
	failed := fault.New(fault.ChangeFailed, "exit status 1").On("worker2")
	stopped := &fault.Error{Kind: fault.ChangeFailed, Host: "worker3", Err: fmt.Errorf("write: %w", context.Canceled)}
	// The net package has an error of its own that only says it is context.Canceled when asked.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, dialErr := (&net.Dialer{}).DialContext(ctx, "tcp", "127.0.0.1:1")

	tests := map[string]struct {
		err  error
		want int
	}{
		"nil":                          {nil, 0},
		"no kind":                      {plain, 1},
		"a kind":                       {down, 11},
		"wrapped by fmt":               {fmt.Errorf("apply: %w", down), 11},
		"outermost kind holds":         {fault.Wrap(fault.Preflight, down), 12},
		"zero kind looks inside":       {&fault.Error{Host: "a", Err: down}, 11},
		"zero kind, none inside":       {&fault.Error{Host: "a", Err: plain}, 1},
		"no error inside":              {&fault.Error{Kind: fault.Locked}, 15},
		"joined: telling one first":    {errors.Join(down, failed), 11},
		"joined: telling one last":     {errors.Join(failed, down), 11},
		"joined: kind beats none":      {errors.Join(plain, failed), 13},
		"joined: health is last":       {errors.Join(fault.New(fault.Unhealthy, "x"), failed), 13},
		"joined: health beats other":   {errors.Join(fault.New(fault.Other, "x"), fault.New(fault.Unhealthy, "x")), 14},
		"joined: input beats all":      {errors.Join(down, fault.New(fault.Locked, "x"), fault.New(fault.BadInput, "x")), 10},
		"joined: lock beats down":      {errors.Join(down, fault.New(fault.Locked, "x")), 15},
		"joined: down beats unfit":     {errors.Join(fault.New(fault.Preflight, "x"), down), 11},
		"joined, then wrapped":         {fmt.Errorf("two hosts: %w", errors.Join(failed, down)), 11},
		"two %w":                       {fmt.Errorf("%w: %w", plain, down), 11},
		"cancelled":                    {context.Canceled, 130},
		"cancelled, wrapped":           {fmt.Errorf("dial: %w", context.Canceled), 130},
		"cancelled inside a kind":      {stopped, 130},
		"cancelled dial":               {fault.Wrap(fault.Unreachable, dialErr), 130},
		"cancelled and a sentinel":     {fmt.Errorf("%w: %w", plain, context.Canceled), 130},
		"cancelled because one failed": {errors.Join(stopped, failed), 13},
		"failed in the one that waits": {fault.Wrap(fault.Unhealthy, errors.Join(stopped, failed)), 14},
		"every host was cancelled":     {errors.Join(stopped, stopped), 130},
		"the user ended it":            {fault.Wrap(fault.Interrupted, errors.Join(stopped, failed)), 130},
		"interruption beats input":     {errors.Join(fault.New(fault.BadInput, "x"), fault.New(fault.Interrupted, "x")), 130},
		"a deadline is no interrupt":   {context.DeadlineExceeded, 1},
		"a deadline keeps its kind":    {fault.Wrap(fault.Unhealthy, context.DeadlineExceeded), 14},
		"pending":                      {fault.New(fault.Pending, "3 changes"), 2},
		"pending and a failure":        {errors.Join(fault.New(fault.Pending, "3 changes"), down), 11},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := fault.ExitCode(tc.err); got != tc.want {
				t.Errorf("ExitCode(%v) = %d, want %d", tc.err, got, tc.want)
			}
		})
	}
}

func TestWrapNil(t *testing.T) {
	if err := fault.Wrap(fault.Locked, nil); err != nil {
		t.Errorf("Wrap(nil) = %v, want nil", err)
	}
}

func TestErrorMessage(t *testing.T) {
	cause := errors.New("connection refused")
	tests := map[string]struct {
		err  *fault.Error
		want string
	}{
		"all":     {fault.New(fault.Unreachable, "%w", cause).On("cp1").During("dial 10.0.0.1:22"), "cp1: dial 10.0.0.1:22: connection refused"},
		"host":    {fault.New(fault.Unreachable, "%w", cause).On("cp1"), "cp1: connection refused"},
		"op":      {fault.New(fault.Unreachable, "%w", cause).During("dial"), "dial: connection refused"},
		"err":     {fault.New(fault.Unreachable, "%w", cause), "connection refused"},
		"no err":  {&fault.Error{Kind: fault.Locked, Host: "cp1"}, "cp1"},
		"nothing": {&fault.Error{Kind: fault.Locked}, "locked"},
		"hint":    {fault.New(fault.BadInput, "no hosts").WithHint("add one"), "no hosts"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := tc.err.Error(); got != tc.want {
				t.Errorf("Error() = %q, want %q", got, tc.want)
			}
			if name == "all" && !errors.Is(tc.err, cause) {
				t.Error("the cause is not reachable through errors.Is")
			}
		})
	}
}

// A shared error value must not change when one user of it adds a host or a hint.
func TestDecoratingCopies(t *testing.T) {
	base := fault.New(fault.Locked, "locked")
	_ = base.On("cp1")
	_ = base.During("lock")
	_ = base.WithHint("wait for %s", "it")
	if diff := cmp.Diff("locked|||", base.Error()+"|"+base.Host+"|"+base.Op+"|"+base.Hint); diff != "" {
		t.Errorf("base changed (-want +got):\n%s", diff)
	}
}

func TestHints(t *testing.T) {
	first := fault.New(fault.Unreachable, "refused").WithHint("start sshd on %s", "cp1")
	second := fault.New(fault.Unreachable, "timeout").WithHint("check the address")
	again := fault.New(fault.Unreachable, "timeout").WithHint("check the address")
	outer := &fault.Error{Kind: fault.Unreachable, Hint: "run it again", Err: errors.Join(first, fmt.Errorf("x: %w", second), again)}
	tests := map[string]struct {
		err  error
		want []string
	}{
		"nil":    {nil, nil},
		"none":   {errors.New("x"), nil},
		"one":    {fmt.Errorf("x: %w", first), []string{"start sshd on cp1"}},
		"a tree": {outer, []string{"run it again", "start sshd on cp1", "check the address"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, fault.Hints(tc.err)); diff != "" {
				t.Errorf("Hints (-want +got):\n%s", diff)
			}
		})
	}
}
