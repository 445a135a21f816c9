package sshtest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// OpenSSHOptions say how a real sshd is started.
type OpenSSHOptions struct {
	// Lines of sshd_config, which win over those that the server needs to be a test's.
	Lines []string
	// Addresses of loopback to listen on; default: 127.0.0.1.
	Addresses []string
	// Shell and Home are those of root in the server's sessions; default: as on this machine.
	Shell, Home string
}

// OpenSSH is a real sshd on loopback, to which root can log in with a key.
type OpenSSH struct {
	Cmd     *exec.Cmd
	Port    int
	Dir     string        // a folder of the test, with the server's files
	Key     []byte        // of root, as PEM
	HostKey ssh.PublicKey // of the server
}

// StartOpenSSH runs the machine's sshd until the test ends. The test is skipped where there is none, or
// no root.
func StartOpenSSH(t testing.TB, o OpenSSHOptions) *OpenSSH {
	t.Helper()
	program := sshd(t)
	dir := t.TempDir()
	signer, key := NewKey(t)
	hostSigner, hostKey := NewKey(t)
	writeFile(t, dir+"/host_key", string(hostKey))
	writeFile(t, dir+"/authorized_keys", string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
	if len(o.Addresses) == 0 {
		o.Addresses = []string{"127.0.0.1"}
	}
	port := freePort(t)
	lines := o.Lines
	for _, address := range o.Addresses {
		lines = append(lines, fmt.Sprintf("ListenAddress %s:%d", address, port))
	}
	if !strings.Contains(strings.Join(lines, "\n"), "Subsystem") { // sshd refuses a second one
		lines = append(lines, "Subsystem sftp internal-sftp")
	}
	// sshd takes the first value of a keyword.
	writeFile(t, dir+"/sshd_config", fmt.Sprintf(`%s
HostKey %s/host_key
AuthorizedKeysFile %s/authorized_keys
PidFile none
StrictModes no
UsePAM no
PermitRootLogin yes
LogLevel ERROR
`, strings.Join(lines, "\n"), dir, dir))
	arguments := []string{program, "-D", "-e", "-f", dir + "/sshd_config"}
	cmd := exec.CommandContext(t.Context(), arguments[0], arguments[1:]...)
	if o.Shell != "" {
		cmd = withAccount(t, dir, o, arguments)
	}
	log, err := os.Create(filepath.Join(dir, "log")) // a file: sessions that outlive sshd would hold a pipe open
	if err != nil {
		t.Fatalf("sshtest: %v", err)
	}
	defer func() { _ = log.Close() }()
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatalf("sshtest: %v", err)
	}
	server := &OpenSSH{Cmd: cmd, Port: port, Dir: dir, Key: key, HostKey: hostSigner.PublicKey()}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("sshd: %s", server.Log(t))
		}
	})
	server.await(t, o.Addresses[0])
	return server
}

// Log returns what the server has logged so far.
func (s *OpenSSH) Log(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(s.Dir, "log"))
	if err != nil {
		t.Fatalf("sshtest: %v", err)
	}
	return string(data)
}

// sshd finds the program, or skips the test.
func sshd(t testing.TB) string {
	t.Helper()
	program, err := exec.LookPath("sshd")
	if err != nil { // it is often not in the PATH of users
		program = "/usr/sbin/sshd"
		if _, err := os.Stat(program); err != nil {
			t.Skip("OpenSSH's sshd is not installed")
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("sshd needs root to start a session")
	}
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		t.Skipf("sshd's privilege separation directory: %v", err)
	}
	return program
}

// withAccount runs the server where /etc/passwd, for it alone, has another shell and home of root.
func withAccount(t testing.TB, dir string, o OpenSSHOptions, arguments []string) *exec.Cmd {
	t.Helper()
	accounts, err := os.ReadFile("/etc/passwd")
	if err != nil {
		t.Fatalf("sshtest: %v", err)
	}
	var changed strings.Builder
	for line := range strings.Lines(string(accounts)) {
		if strings.HasPrefix(line, "root:") {
			line = fmt.Sprintf("root:x:0:0:root:%s:%s\n", o.Home, o.Shell)
		}
		changed.WriteString(line)
	}
	writeFile(t, dir+"/passwd", changed.String())
	if err := os.Chmod(dir+"/passwd", 0o644); err != nil {
		t.Fatalf("sshtest: %v", err)
	}
	script := `mount --bind "$1" /etc/passwd && shift && exec "$@"`
	cmd := exec.CommandContext(t.Context(), "/bin/sh", append([]string{"-c", script, "sh", dir + "/passwd"}, arguments...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	return cmd
}

// await waits until the server listens.
func (s *OpenSSH) await(t testing.TB, address string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(address, fmt.Sprint(s.Port)))
		if err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("sshtest: sshd does not listen: %v", err)
		}
	}
}

func freePort(t testing.TB) int {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("sshtest: %v", err)
	}
	defer func() { _ = listener.Close() }()
	address, ok := listener.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatalf("sshtest: %v is no TCP address", listener.Addr())
	}
	return address.Port
}

func writeFile(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatalf("sshtest: %v", err)
	}
}
