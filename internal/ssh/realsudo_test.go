package ssh

import (
	"context"
	"errors"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"

	"kubewright/internal/host"
	"kubewright/internal/secret"
)

// realHost returns the host that an environment variable names (ssh://user:password@host:port),
// for what only a machine with users and a real sudo can show. Its key is trusted.
func realHost(t *testing.T, variable string) (c Config, password secret.String) {
	t.Helper()
	where, err := url.Parse(os.Getenv(variable))
	if err != nil || where.Host == "" {
		t.Skipf("%s does not name a host: ssh://user:password@host:port", variable)
	}
	port, _ := strconv.Atoi(where.Port())
	plain, _ := where.User.Password()
	return Config{Host: "real", Address: where.Hostname(), Port: port, User: where.User.Username(), Password: secret.String(plain),
		TrustOnFirstUse: true, KnownHosts: []string{t.TempDir() + "/known_hosts"}}, secret.String(plain)
}

// TestRealSudo wants a user who may use sudo with his password.
func TestRealSudo(t *testing.T) {
	config, password := realHost(t, "KUBEWRIGHT_TEST_SUDO")
	config.SudoPassword = password
	client := connect(t, config)
	for range 3 {
		if out := mustRun(t, client, "id -u; echo err >&2"); out != "0\n" {
			t.Errorf("got %q", out)
		}
	}
	if out := mustRun(t, client, "cat <<'EOF'\n"+strings.Repeat("0123456789abcde\n", 1<<16)+"EOF\n"); len(out) != 1<<20 {
		t.Errorf("%d bytes of 1 MiB came back", len(out))
	}
	_, err := run(t, client, "echo reason >&2; exit 4")
	if exit := wantError[*host.ExitError](t, err); exit.Code != 4 || string(exit.Stderr) != "reason\n" {
		t.Errorf("%+v %q", exit, exit.Stderr)
	}
	cancelOnRealHost(t, client)

	config.SudoPassword = "wrong"
	_, err = run(t, connect(t, config), "echo never")
	wantError[*host.SudoError](t, err, "did not accept the password")

	config.SudoPassword = ""
	_, err = run(t, connect(t, config), "echo never")
	wantError[*host.SudoError](t, err, "wants a password")
}

// cancelOnRealHost cancels a script that runs under sudo, which no signal of the login user reaches.
func cancelOnRealHost(t *testing.T, client *Client) {
	t.Helper()
	dir := strings.TrimSpace(mustRun(t, client, "mktemp -d"))
	ctx, cancel := context.WithCancel(t.Context())
	out, began := signalWriter()
	go func() {
		<-began
		cancel()
	}()
	if err := client.Run(ctx, stubborn(dir, ""), out); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	mustRun(t, client, "a=$(wc -l <"+dir+"/ticks); sleep 0.5; b=$(wc -l <"+dir+"/ticks); rm -r "+dir+"; [ $a = $b ]")
}

// TestRealSudoWithoutPassword wants a user with NOPASSWD.
func TestRealSudoWithoutPassword(t *testing.T) {
	config, password := realHost(t, "KUBEWRIGHT_TEST_SUDO_NOPASSWD")
	for _, have := range []secret.String{"", password} {
		config.SudoPassword = have
		if out := mustRun(t, connect(t, config), "id -u"); out != "0\n" {
			t.Errorf("got %q", out)
		}
	}
}

// TestRealSudoRequiretty wants a user with Defaults:USER requiretty.
func TestRealSudoRequiretty(t *testing.T) {
	config, _ := realHost(t, "KUBEWRIGHT_TEST_SUDO_TTY")
	_, err := run(t, connect(t, config), "id -u")
	wantError[*host.SudoError](t, err, "requiretty")
}

// TestRealSudoForbidden wants a user who is not in sudoers.
func TestRealSudoForbidden(t *testing.T) {
	config, password := realHost(t, "KUBEWRIGHT_TEST_SUDO_FORBIDDEN")
	config.SudoPassword = password
	_, err := run(t, connect(t, config), "id -u")
	wantError[*host.SudoError](t, err, "does not allow it")
}
