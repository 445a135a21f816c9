package lab

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"kubewright/internal/fault"
)

func testKey(t *testing.T) keyPair {
	t.Helper()
	key, err := newKeyPair(rand.Reader, "")
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// sshServer serves SSH on the loopback, to the holder of a key. Commands are given to handle,
// with what they read; it returns what they write to stderr and their exit code.
type sshServer struct {
	host, login keyPair
	handle      func(command, stdin string) (stderr string, code uint32)
}

func (s sshServer) serve(t *testing.T, l net.Listener) {
	t.Helper()
	config := &ssh.ServerConfig{PublicKeyCallback: func(c ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if c.User() == "root" && strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))) == s.login.public {
			return nil, nil
		}
		return nil, errors.New("not authorized")
	}}
	signer, err := ssh.ParsePrivateKey(s.host.private)
	if err != nil {
		t.Fatal(err)
	}
	config.AddHostKey(signer)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go s.connection(conn, config)
		}
	}()
}

func (s sshServer) connection(conn net.Conn, config *ssh.ServerConfig) {
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for c := range channels {
		channel, requests, err := c.Accept()
		if err != nil {
			return
		}
		for r := range requests {
			var exec struct{ Command string }
			if r.Type != "exec" || ssh.Unmarshal(r.Payload, &exec) != nil {
				_ = r.Reply(false, nil)
				continue
			}
			_ = r.Reply(true, nil)
			stdin, _ := io.ReadAll(channel)
			stderr, code := s.handle(exec.Command, string(stdin))
			_, _ = io.WriteString(channel.Stderr(), stderr)
			_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{code}))
			channel.Close()
		}
	}
}

// listen returns a listener on the loopback and a target there.
func listen(t *testing.T, host, login keyPair) (net.Listener, target) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	address := netip.MustParseAddrPort(l.Addr().String())
	return l, target{
		node: Node{Name: "cp1", Address: address.Addr(), HostKey: host.public}, port: address.Port(),
		user: "root", key: login.private, command: "true",
	}
}

func TestWaitForLogin(t *testing.T) {
	host, login := testKey(t), testKey(t)
	l, to := listen(t, host, login)
	var seen atomic.Value
	// Not ready twice, as a system that is starting.
	var calls atomic.Int32
	sshServer{host: host, login: login, handle: func(command, stdin string) (string, uint32) {
		seen.Store(command + " < " + stdin)
		if calls.Add(1) < 3 {
			return "starting", 1
		}
		return "", 0
	}}.serve(t, l)
	to.command, to.stdin = "chpasswd", "admin:secret\n"
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := waitForLogin(ctx, to); err != nil {
		t.Fatal(err)
	}
	if got, want := seen.Load(), "chpasswd < admin:secret\n"; got != want || calls.Load() != 3 {
		t.Errorf("%d commands, the last %q; want 3, the last %q", calls.Load(), got, want)
	}
}

func TestWaitForLoginEndsWithTheReason(t *testing.T) {
	host, login := testKey(t), testKey(t)
	running := sshServer{host: host, login: login, handle: func(string, string) (string, uint32) { return "failed: foo.service\n", 1 }}
	tests := map[string]struct {
		arrange func(*testing.T, net.Listener, *target)
		want    string
	}{
		"nothing listens": {func(_ *testing.T, l net.Listener, _ *target) { l.Close() }, "connection refused"},
		"no answer":       {func(*testing.T, net.Listener, *target) {}, "waiting to log in"},
		"not SSH":         {serveNonsense, "waiting to log in"},
		"another host key": {func(t *testing.T, l net.Listener, to *target) {
			running.serve(t, l)
			to.node.HostKey = testKey(t).public
		}, "host key mismatch"},
		"a key that is not let in": {func(t *testing.T, l net.Listener, to *target) { running.serve(t, l); to.key = testKey(t).private }, "unable to authenticate"},
		"a unit that failed":       {func(t *testing.T, l net.Listener, _ *target) { running.serve(t, l) }, "failed: foo.service"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, to := listen(t, host, login)
			tc.arrange(t, l, &to)
			ctx, cancel := context.WithTimeoutCause(t.Context(), 500*time.Millisecond, errors.New("out of patience"))
			defer cancel()
			err := waitForLogin(ctx, to)
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "out of patience") {
				t.Fatalf("error = %v, want %q and that the time is over", err, tc.want)
			}
			if kind := fault.KindOf(err); kind != fault.Unreachable {
				t.Errorf("kind = %v, want %v", kind, fault.Unreachable)
			}
		})
	}
}

func serveNonsense(_ *testing.T, l net.Listener, _ *target) {
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\n\r\n")
			conn.Close()
		}
	}()
}

func TestWaitForLoginRefusesKeysItCannotRead(t *testing.T) {
	host, login := testKey(t), testKey(t)
	_, to := listen(t, host, login)
	to.key = []byte("nonsense")
	if err := waitForLogin(t.Context(), to); err == nil || !strings.Contains(err.Error(), "SSH key") {
		t.Errorf("error = %v", err)
	}
	to.key, to.node.HostKey = login.private, ""
	if err := waitForLogin(t.Context(), to); err == nil || !strings.Contains(err.Error(), "host key of cp1") {
		t.Errorf("error = %v", err)
	}
}

func TestGet(t *testing.T) {
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	defer server.Close()
	for code, works := range map[int]bool{http.StatusOK: true, http.StatusNotFound: true, http.StatusBadGateway: false} {
		status = code
		if err := get(t.Context(), server.Client(), server.URL); (err == nil) != works {
			t.Errorf("a server that answers %d: error = %v", code, err)
		}
	}
	server.Close()
	if err := get(t.Context(), server.Client(), server.URL); err == nil {
		t.Error("a server that is gone answers")
	}
}
