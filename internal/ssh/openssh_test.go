package ssh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"kubewright/internal/host"
	"kubewright/internal/ssh/sshtest"
)

// openSSH starts the real sshd on a loopback port, with further lines of sshd_config, and returns
// a configuration that logs in as root.
func openSSH(t testing.TB, lines ...string) (Config, *exec.Cmd) {
	t.Helper()
	server := sshtest.StartOpenSSH(t, sshtest.OpenSSHOptions{Lines: lines})
	return loginTo(server, "127.0.0.1"), server.Cmd
}

// loginTo is a configuration that logs in to a real sshd as root.
func loginTo(server *sshtest.OpenSSH, address string) Config {
	return Config{Host: "cp1", Address: address, Port: server.Port, User: "root",
		Keys: []Key{{PEM: server.Key}}, HostKey: string(ssh.MarshalAuthorizedKey(server.HostKey))}
}

func freePort(t testing.TB) int {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().(*net.TCPAddr).Port
}

func TestOpenSSH(t *testing.T) {
	noLeak(t)
	noise := t.TempDir() + "/noise"
	write(t, noise, "echo welcome; echo trouble >&2; printf 'no line break'")
	banner := t.TempDir() + "/banner"
	write(t, banner, "AUTHORIZED USE ONLY\n")
	config, _ := openSSH(t, "Banner "+banner, "SetEnv BASH_ENV="+noise)
	client := connect(t, config)

	if out := mustRun(t, client, "echo out; echo err >&2"); out != "out\n" {
		t.Errorf("got %q", out)
	}
	_, err := run(t, client, "echo reason >&2; exit 9")
	if exit := wantError[*host.ExitError](t, err); exit.Code != 9 || string(exit.Stderr) != "reason\n" {
		t.Errorf("%+v %q", exit, exit.Stderr)
	}
	_, err = run(t, client, "kill -KILL $$")
	if exit := wantError[*host.ExitError](t, err); exit.Code != 137 {
		t.Errorf("%+v", exit)
	}

	path := t.TempDir() + "/file"
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<17)
	if err := client.Upload(t.Context(), path, bytes.NewReader(content), int64(len(content))); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path); got != string(content) {
		t.Errorf("%d bytes arrived", len(got))
	}

	conn, err := client.Dial(t.Context(), "tcp", listen(t, echo))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 5)
	if n, err := conn.Read(buffer); err != nil || string(buffer[:n]) != "hello" {
		t.Errorf("%q, %v", buffer[:n], err)
	}
	_ = conn.Close()
	closed := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	_, err = client.Dial(t.Context(), "tcp", closed)
	wantError[*host.DialError](t, err, closed, "refused")
}

func TestOpenSSHBigStreams(t *testing.T) {
	config, _ := openSSH(t)
	client := connect(t, config)
	count := &countWriter{every: 1 << 30, call: func() {}}
	begin := time.Now()
	if err := client.Run(t.Context(), text("head -c 104857600 /dev/zero"), count); err != nil || count.n != 100<<20 {
		t.Errorf("%d bytes, %v", count.n, err)
	}
	t.Logf("output %.0f MB/s", 104.9/time.Since(begin).Seconds())
	payload := strings.Repeat("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\n", 5<<20/64)
	begin = time.Now()
	if out := mustRun(t, client, "cat <<'EOF'\n"+payload+"EOF\n"); out != payload {
		t.Errorf("%d bytes came back", len(out))
	}
	t.Logf("script and back %.0f MB/s", 10/time.Since(begin).Seconds())
	begin = time.Now()
	const size = 100 << 20
	zeroes := readerFunc(func(p []byte) (int, error) { return len(p), nil })
	if err := client.Upload(t.Context(), t.TempDir()+"/x", io.LimitReader(zeroes, size), size); err != nil {
		t.Error(err)
	}
	t.Logf("upload %.0f MB/s", 104.9/time.Since(begin).Seconds())
}

func TestOpenSSHCancel(t *testing.T) {
	noLeak(t)
	config, _ := openSSH(t)
	client := connect(t, config)
	mark := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancel(t.Context())
	out, began := signalWriter()
	go func() {
		<-began
		cancel()
	}()
	begin := time.Now()
	err := client.Run(ctx, text("echo $$ >"+mark+"; echo started; sleep 600; echo never"), out)
	if !errors.Is(err, context.Canceled) || time.Since(begin) > 3*time.Second {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
	// The shell on the host is gone soon, too.
	mustRun(t, client, "i=0; while kill -0 "+strings.TrimSpace(read(t, mark))+" 2>/dev/null; do i=$((i+1)); [ $i -lt 100 ] || exit 1; sleep 0.05; done")
}

func TestOpenSSHKilledMidRun(t *testing.T) {
	config, _ := openSSH(t)
	client := connect(t, config)
	// The parent of the session's shell is the sshd process of this connection.
	_, err := run(t, client, "kill -9 $PPID; sleep 600")
	if lost := wantError[*host.LostError](t, err); !lost.Started {
		t.Error("the script had started")
	}
	if err := client.Redial(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustRun(t, client, "true")
}

func TestOpenSSHMaxSessions(t *testing.T) {
	config, _ := openSSH(t, "MaxSessions 1")
	client := connect(t, config)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if err := client.Run(t.Context(), text("true"), nil); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestOpenSSHMaxStartups(t *testing.T) {
	config, _ := openSSH(t, "MaxStartups 1")
	// Somebody else occupies the only place before authentication, for a while.
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", config.endpoint())
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(500*time.Millisecond, func() { _ = conn.Close() })
	client := connect(t, config)
	if client.Stats().Handshakes < 2 {
		t.Error("the server did not drop a connection, so this test tested nothing")
	}
	mustRun(t, client, "true")
}

// TestOpenSSHManyHosts logs in to twenty hosts at once that are one server, which begins to drop
// connections at random above two and drops all above four.
func TestOpenSSHManyHosts(t *testing.T) {
	config, _ := openSSH(t, "MaxStartups 2:50:4")
	config.Limiter = NewLimiter(0)
	var all sync.WaitGroup
	var handshakes atomic.Int64
	for i := range 20 {
		all.Go(func() {
			config := config
			config.Host = fmt.Sprint("worker", i)
			client, err := Dial(t.Context(), config)
			if err != nil {
				t.Error(err)
				return
			}
			handshakes.Add(client.Stats().Handshakes)
			if err := client.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if handshakes.Load() <= 20 {
		t.Error("the server did not drop a connection, so this test tested nothing")
	}
	t.Logf("%d handshakes for 20 hosts", handshakes.Load())
}

func TestOpenSSHRefusals(t *testing.T) {
	other, _ := sshtest.NewKey(t)
	_, wrongKey := sshtest.NewKey(t)
	for name, test := range map[string]struct {
		lines []string
		do    func(t *testing.T, c Config) error
		want  func(t *testing.T, err error)
	}{
		"wrong host key": {nil, func(t *testing.T, c Config) error {
			c.HostKey = string(ssh.MarshalAuthorizedKey(other.PublicKey()))
			_, err := Dial(t.Context(), c)
			return err
		}, func(t *testing.T, err error) { wantError[*host.HostKeyError](t, err, "CHANGED") }},
		"wrong key": {nil, func(t *testing.T, c Config) error {
			c.Keys = []Key{{PEM: wrongKey}}
			_, err := Dial(t.Context(), c)
			return err
		}, func(t *testing.T, err error) { wantError[*host.AuthError](t, err, "publickey") }},
		"root not permitted": {[]string{"PermitRootLogin no"}, func(t *testing.T, c Config) error {
			_, err := Dial(t.Context(), c)
			return err
		}, func(t *testing.T, err error) { wantError[*host.AuthError](t, err, "root") }},
		"too many keys": {[]string{"MaxAuthTries 2"}, func(t *testing.T, c Config) error {
			var keys []any
			for range 5 {
				key, _ := rawKey(t)
				keys = append(keys, key)
			}
			c.Keys = nil
			c.AgentSocket, _ = startAgent(t, keys...)
			_, err := Dial(t.Context(), c)
			return err
		}, func(t *testing.T, err error) { wantError[*host.AuthError](t, err, "agent (5 keys)", "ssh.keyFile") }},
		"no forwarding": {[]string{"AllowTcpForwarding no"}, func(t *testing.T, c Config) error {
			_, err := connect(t, c).Dial(t.Context(), "tcp", "127.0.0.1:1")
			return err
		}, func(t *testing.T, err error) { wantError[*host.DialError](t, err, "AllowTcpForwarding yes") }},
		"forced command": {[]string{`ForceCommand echo 'Please login as the user "debian"'; exit 142`}, func(t *testing.T, c Config) error {
			_, err := run(t, connect(t, c), "true")
			return err
		}, func(t *testing.T, err error) { wantError[*host.ShellError](t, err, "142", "set ssh.user") }},
		"sftp only": {[]string{"ForceCommand internal-sftp"}, func(t *testing.T, c Config) error {
			c.Timeouts.Start = time.Second
			_, err := run(t, connect(t, c), "true")
			return err
		}, func(t *testing.T, err error) { wantError[*host.ShellError](t, err, "cp1") }},
		"no sftp server": {[]string{"Subsystem sftp /nonexistent/sftp-server"}, func(t *testing.T, c Config) error {
			return connect(t, c).Upload(t.Context(), t.TempDir()+"/x", strings.NewReader("x"), 1)
		}, func(t *testing.T, err error) {
			if err == nil || !strings.Contains(err.Error(), "no working sftp server") {
				t.Errorf("error %v", err)
			}
		}},
		"no sessions": {[]string{"MaxSessions 0"}, func(t *testing.T, c Config) error {
			c.Timeouts.Start = 300 * time.Millisecond
			_, err := run(t, connect(t, c), "true")
			return err
		}, func(t *testing.T, err error) {
			if err == nil || !strings.Contains(err.Error(), "MaxSessions") {
				t.Errorf("error %v", err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			config, _ := openSSH(t, test.lines...)
			test.want(t, test.do(t, config))
		})
	}
}
