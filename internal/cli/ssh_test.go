package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"kubewright/internal/ssh"
	"kubewright/inventory"
)

func TestSSHConfig(t *testing.T) {
	t.Setenv("HOME", "/home/ops")
	t.Setenv("SSH_AUTH_SOCK", "/run/agent")
	t.Setenv("KW_LOGIN", "login secret")
	t.Setenv("KW_PHRASE", "key secret")
	sudo := write(t, "sudo", "sudo secret\r\n")
	optional := []ssh.Key{
		{Path: "/home/ops/.ssh/id_ed25519", Optional: true},
		{Path: "/home/ops/.ssh/id_ecdsa", Optional: true},
		{Path: "/home/ops/.ssh/id_rsa", Optional: true},
	}
	known := []string{"/home/ops/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts"}
	for name, tt := range map[string]struct {
		in   inventory.SSH
		want ssh.Config
	}{
		"as little as possible": {
			inventory.SSH{User: "root", Port: 22, Agent: true},
			ssh.Config{User: "root", Port: 22, Agent: true, Keys: optional, KnownHosts: known},
		},
		"a key with a passphrase": {
			inventory.SSH{User: "ops", Port: 2222, KeyFile: "~/keys/lab", Passphrase: inventory.Ref{Source: "env", Name: "KW_PHRASE"}},
			ssh.Config{User: "ops", Port: 2222, Keys: []ssh.Key{{Path: "/home/ops/keys/lab", Passphrase: "key secret"}}, KnownHosts: known},
		},
		"passwords": {
			inventory.SSH{User: "ops", Password: inventory.Ref{Source: "env", Name: "KW_LOGIN"}, Sudo: inventory.Sudo{Password: inventory.Ref{Source: "file", Name: sudo}}},
			ssh.Config{User: "ops", Password: "login secret", SudoPassword: "sudo secret", Keys: optional, KnownHosts: known},
		},
		"a pinned key": {
			inventory.SSH{User: "root", HostKey: "SHA256:abc"},
			ssh.Config{User: "root", HostKey: "SHA256:abc", Keys: optional, KnownHosts: known},
		},
		"known hosts of its own, and trust": {
			inventory.SSH{User: "root", KnownHosts: []string{"/lab/known", "~/known"}, TrustOnFirstUse: true},
			ssh.Config{User: "root", TrustOnFirstUse: true, Keys: optional, KnownHosts: []string{"/lab/known", "/home/ops/known"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tt.want.Host, tt.want.Address, tt.want.AgentSocket = "cp1", "192.0.2.1", "/run/agent"
			got, err := sshConfig(inventory.Host{Name: "cp1", Address: "192.0.2.1", SSH: tt.in})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmpopts.IgnoreFields(ssh.Config{}, "Limiter", "DialContext")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestResolveRef(t *testing.T) {
	const value = "hunter2"
	t.Setenv("KW_SET", value)
	t.Setenv("KW_EMPTY", "")
	t.Setenv("HOME", t.TempDir())
	if err := os.WriteFile(filepath.Join(os.Getenv("HOME"), "pw"), []byte(value+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	twoLines := write(t, "two", value+"\n\n", "empty", "\n")
	empty := filepath.Join(filepath.Dir(twoLines), "empty")
	for _, tt := range []struct {
		ref  inventory.Ref
		want string
		err  string
	}{
		{inventory.Ref{}, "", ""},
		{inventory.Ref{Source: "env", Name: "KW_SET"}, value, ""},
		{inventory.Ref{Source: "file", Name: "~/pw"}, value, ""},
		{inventory.Ref{Source: "file", Name: twoLines}, value + "\n", ""}, // one line break is not the secret's
		{inventory.Ref{Source: "env", Name: "KW_UNSET"}, "", "env:KW_UNSET"},
		{inventory.Ref{Source: "env", Name: "KW_EMPTY"}, "", "env:KW_EMPTY, and that is empty"},
		{inventory.Ref{Source: "file", Name: "/no/such/file"}, "", "file:/no/such/file"},
		{inventory.Ref{Source: "file", Name: empty}, "", "is empty"},
		{inventory.Ref{Source: "plain", Name: value}, "", `"plain"`},
	} {
		got, err := resolveRef(tt.ref)
		if (err != nil) != (tt.err != "") || (err != nil && !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%v: error %v, want %q", tt.ref, err, tt.err)
		}
		if got.Reveal() != tt.want {
			t.Errorf("%v: %q, want %q", tt.ref, got.Reveal(), tt.want)
		}
		if shown := fmt.Sprintf("%v %+v %#v %s", got, got, got, err); strings.Contains(fmt.Sprint(shown, err), value) {
			t.Errorf("the secret is shown: %s", shown)
		}
	}
}

func TestNewDialerNamesEverySecretThatIsMissing(t *testing.T) {
	host := func(name, login, sudo string) inventory.Host {
		return inventory.Host{Name: name, SSH: inventory.SSH{
			Password: inventory.Ref{Source: "env", Name: login}, Sudo: inventory.Sudo{Password: inventory.Ref{Source: "env", Name: sudo}},
		}}
	}
	_, err := newDialer([]inventory.Host{host("a", "KW_ONE", "KW_TWO"), host("b", "KW_ONE", "KW_THREE")})
	told := messages(err)
	if len(told) != 3 {
		t.Errorf("three secrets are missing: %q", told)
	}
}

func TestDialOfAHostThatWasNotPrepared(t *testing.T) {
	d, err := newDialer(nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.dial(t.Context(), inventory.Host{Name: "cp9", SSH: inventory.SSH{Password: inventory.Ref{Source: "env", Name: "KW_UNSET"}}})
	if err == nil || !strings.HasPrefix(err.Error(), "cp9: ") || !strings.Contains(err.Error(), "KW_UNSET") {
		t.Errorf("error: %v", err)
	}
	_, err = d.dial(t.Context(), inventory.Host{Name: "cp9", Address: "127.0.0.1", SSH: inventory.SSH{User: "root", Port: 1, TrustOnFirstUse: true}})
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("error: %v", err)
	}
}
