package ssh

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"kubewright/internal/host"
	"kubewright/internal/ssh/sshtest"
)

// server starts a test server that accepts a new key, and returns a configuration that logs in
// with it as root.
func server(t testing.TB, o sshtest.Options) (*sshtest.Server, Config) {
	t.Helper()
	signer, pem := sshtest.NewKey(t)
	o.AuthorizedKeys = append(o.AuthorizedKeys, signer.PublicKey())
	s := sshtest.Start(t, o)
	known := filepath.Join(t.TempDir(), "known_hosts")
	write(t, known, s.KnownHostsLine())
	return s, Config{
		Host: "cp1", Address: s.Address(), Port: s.Port(), User: "root",
		Keys:       []Key{{PEM: pem}},
		KnownHosts: []string{known},
	}
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(data)
}

// connect dials or fails the test; the connection is closed at its end.
func connect(t testing.TB, c Config) *Client {
	t.Helper()
	client, err := Dial(t.Context(), c)
	if err != nil {
		t.Fatalf("Dial: %v", err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// text is a script that only looks.
func text(s string) host.Script { return host.Script{Text: func() []byte { return []byte(s) }} }

// run runs a script and returns what it printed.
func run(t testing.TB, c *Client, script string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := c.Run(t.Context(), text(script), &out)
	return out.String(), err
}

// mustRun runs a script that succeeds.
func mustRun(t testing.TB, c *Client, script string) string {
	t.Helper()
	out, err := run(t, c, script)
	if err != nil {
		t.Fatalf("Run: %v", err)
	}
	return out
}

// wantError fails unless err is of type E and its message contains every part.
func wantError[E error](t testing.TB, err error, parts ...string) E {
	t.Helper()
	var want E
	if !errors.As(err, &want) {
		t.Fatalf("error %T (%v), want %T", err, err, want)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not mention %q", err, part)
		}
	}
	return want
}

// noLeak fails the test when, after everything it registered was cleaned up, goroutines of this
// package are still there.
func noLeak(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		for {
			stacks := make([]byte, 1<<20)
			stacks = stacks[:runtime.Stack(stacks, true)]
			leaked := 0
			for stack := range strings.SplitSeq(string(stacks), "\n\n") {
				if strings.Contains(stack, "internal/ssh.(*") && !strings.Contains(stack, "testing.tRunner") {
					leaked++
				}
			}
			if leaked == 0 {
				return
			}
			if wait(ctx, 20*time.Millisecond) != nil {
				t.Errorf("%d goroutines leaked:\n%s", leaked, stacks)
				return
			}
		}
	})
}

func makeExecutable(t testing.TB, path string) {
	t.Helper()
	if err := os.Chmod(path, 0o700); err != nil {
		t.Fatal(err)
	}
}
