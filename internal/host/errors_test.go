package host

import (
	"errors"
	"strings"
	"syscall"
	"testing"
)

func TestErrors(t *testing.T) {
	for _, test := range []struct {
		err  error
		want string
	}{
		{&UnreachableError{Host: "cp1", Address: "10.0.0.1:22", Err: syscall.ECONNREFUSED, Remedy: "start sshd"},
			"cp1: cannot reach 10.0.0.1:22: connection refused; start sshd"},
		{&AuthError{Host: "cp1", User: "root", Tried: []string{"key a", "agent (2 keys)"}, Err: errors.New("no")},
			`cp1: login as "root" refused (tried key a, agent (2 keys)): no`},
		{&AuthError{Host: "cp1", User: "root", Err: errors.New("no"), Remedy: "set a key"},
			`cp1: login as "root" refused (tried nothing): no; set a key`},
		{&HostKeyError{Host: "cp1", Fingerprint: "SHA256:x", Remedy: "check it"},
			"cp1: host key SHA256:x is not known; check it"},
		{&HostKeyError{Host: "cp1", Fingerprint: "SHA256:x", Want: []string{"SHA256:y", "SHA256:z"}, Err: errors.New("expired")},
			"cp1: HOST KEY CHANGED: the server shows SHA256:x, expected SHA256:y or SHA256:z: expired"},
		{&HostKeyError{Host: "cp1", Fingerprint: "SHA256:x", Revoked: true}, "cp1: host key SHA256:x is marked @revoked"},
		{&SudoError{Host: "cp1", User: "u", Reason: "no sudo", Stderr: "not found\n", Remedy: "install it"},
			`cp1: user "u" cannot become root: no sudo: not found; install it`},
		{&ShellError{Host: "cp1", User: "u", Code: 1, Output: "go away\n"},
			`cp1: the login shell of "u" did not run sh (exit status 1): go away`},
		{&LostError{Host: "cp1", Op: "run", Err: syscall.ECONNRESET},
			"cp1: connection lost before run started: connection reset by peer"},
		{&LostError{Host: "cp1", Op: "run", Started: true, Err: syscall.ECONNRESET},
			"cp1: connection lost during run, its outcome is unknown: connection reset by peer"},
		{&ExitError{Host: "cp1", Code: 3}, "cp1: script exited with status 3"},
		{&ExitError{Host: "cp1", Code: 3, Stderr: []byte("1\n2\n\n3\n4\n5\n6\n")},
			"cp1: script exited with status 3: ... | 2 | 3 | 4 | 5 | 6"},
		{&ExitError{Host: "cp1", Code: 137, Signal: "KILL"}, "cp1: script was ended by signal KILL"},
		{&DialError{Host: "cp1", Address: "10.0.0.2:6443", Err: syscall.ECONNREFUSED, Remedy: "nothing listens there"},
			"cp1: cannot connect from the host to 10.0.0.2:6443: connection refused; nothing listens there"},
		{&DialError{Address: "a:1", Err: syscall.ECONNREFUSED}, "cannot connect from the host to a:1: connection refused"},
	} {
		if got := test.err.Error(); got != test.want {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
	}
	for _, err := range []error{
		&UnreachableError{Err: syscall.ECONNREFUSED}, &AuthError{Err: syscall.ECONNREFUSED}, &HostKeyError{Err: syscall.ECONNREFUSED},
		&LostError{Err: syscall.ECONNREFUSED}, &DialError{Err: syscall.ECONNREFUSED},
	} {
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%T hides its cause", err)
		}
	}
}

func TestBounded(t *testing.T) {
	for _, test := range []struct {
		in   string
		want string
		cut  bool
	}{
		{"", "", false},
		{"0123456789", "0123456789", false},
		{"0123456789a", "01234\n[...]\n6789a", true},
		{"0123456789abcdefghij", "01234\n[...]\nfghij", true},
	} {
		for n := 1; n <= len(test.in)+1; n++ {
			b := NewBounded(10)
			for rest := test.in; rest != ""; rest = rest[min(n, len(rest)):] {
				if written, err := b.Write([]byte(rest[:min(n, len(rest))])); err != nil || written != min(n, len(rest)) {
					t.Fatal(written, err)
				}
			}
			if got, cut := b.Content(); string(got) != test.want || cut != test.cut {
				t.Errorf("%q in pieces of %d: %q, %v", test.in, n, got, cut)
			}
		}
	}
	b := NewBounded(0)
	_, _ = b.Write([]byte(strings.Repeat("x", 100)))
	if _, cut := b.Content(); !cut {
		t.Error("the limit has no effect")
	}
}

func TestStatsAdd(t *testing.T) {
	a := Stats{1, 2, 3, 4, 5, 6, 7}
	if got := a.Add(a); got != (Stats{2, 4, 6, 8, 10, 12, 14}) {
		t.Errorf("%+v", got)
	}
}
