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
	file := write(t, "config", "Host 192.0.2.1\n User filed\n Port 2200\n IdentityFile ~/keys/filed\n IdentitiesOnly yes\n ProxyJump gate\nHost gate\n Port 2022\n HostName 198.51.100.1\n")
	gate := func(change func(c *ssh.Config)) []ssh.Config {
		c := ssh.Config{Host: "bastion gate", Settings: ssh.SettingsBastion, Address: "gate", User: "ops", AgentSocket: "/run/agent", Keys: []ssh.Key{
			{Path: "/home/ops/.ssh/id_ed25519", Optional: true}, {Path: "/home/ops/.ssh/id_ecdsa", Optional: true}, {Path: "/home/ops/.ssh/id_rsa", Optional: true},
		}, KnownHosts: []string{"/home/ops/.ssh/known_hosts"}, GlobalKnownHosts: []string{"/etc/ssh/ssh_known_hosts"}}
		change(&c)
		return []ssh.Config{c}
	}
	optional := []ssh.Key{
		{Path: "/home/ops/.ssh/id_ed25519", Optional: true},
		{Path: "/home/ops/.ssh/id_ecdsa", Optional: true},
		{Path: "/home/ops/.ssh/id_rsa", Optional: true},
	}
	known, global := []string{"/home/ops/.ssh/known_hosts"}, []string{"/etc/ssh/ssh_known_hosts"}
	for name, tt := range map[string]struct {
		in   inventory.SSH
		want ssh.Config
	}{
		"as little as possible": {
			inventory.SSH{User: "root", Port: 22, Agent: true},
			ssh.Config{User: "root", Port: 22, Agent: true, Keys: optional, KnownHosts: known, GlobalKnownHosts: global},
		},
		"a key with a passphrase": {
			inventory.SSH{User: "ops", Port: 2222, KeyFile: "~/keys/lab", Passphrase: inventory.Ref{Source: "env", Name: "KW_PHRASE"}},
			ssh.Config{User: "ops", Port: 2222, Keys: []ssh.Key{{Path: "/home/ops/keys/lab", Passphrase: "key secret"}}, KnownHosts: known, GlobalKnownHosts: global},
		},
		"passwords": {
			inventory.SSH{User: "ops", Password: inventory.Ref{Source: "env", Name: "KW_LOGIN"}, Sudo: inventory.Sudo{Password: inventory.Ref{Source: "file", Name: sudo}}},
			ssh.Config{User: "ops", Password: "login secret", SudoPassword: "sudo secret", Keys: optional, KnownHosts: known, GlobalKnownHosts: global},
		},
		"a pinned key": {
			inventory.SSH{User: "root", HostKey: "SHA256:abc"},
			ssh.Config{User: "root", HostKey: "SHA256:abc", Keys: optional, KnownHosts: known, GlobalKnownHosts: global},
		},
		"known hosts of its own, and trust": {
			inventory.SSH{User: "root", KnownHosts: []string{"/lab/known", "~/known"}, TrustOnFirstUse: true},
			ssh.Config{User: "root", TrustOnFirstUse: true, Keys: optional, KnownHosts: []string{"/lab/known", "/home/ops/known"}},
		},
		"a certificate": {
			inventory.SSH{User: "root", CertificateFile: "~/certs/c", Agent: true},
			ssh.Config{User: "root", Certificates: []string{"/home/ops/certs/c"}, Agent: true, Keys: optional, KnownHosts: known, GlobalKnownHosts: global},
		},
		"a bastion with the host's credentials": {
			inventory.SSH{User: "ops", KeyFile: "/k", Password: inventory.Ref{Source: "env", Name: "KW_LOGIN"}, Sudo: inventory.Sudo{Password: inventory.Ref{Source: "file", Name: sudo}}, TrustOnFirstUse: true, Bastion: inventory.Bastion{Address: "gate"}},
			ssh.Config{User: "ops", Keys: []ssh.Key{{Path: "/k"}}, Password: "login secret", SudoPassword: "sudo secret", TrustOnFirstUse: true, KnownHosts: known, GlobalKnownHosts: global, Via: gate(func(c *ssh.Config) {
				c.Keys, c.Password, c.TrustOnFirstUse = []ssh.Key{{Path: "/k"}}, "login secret", true
			})},
		},
		"a bastion with its own": {
			inventory.SSH{User: "ops", KeyFile: "/k", Password: inventory.Ref{Source: "env", Name: "KW_LOGIN"}, KnownHosts: []string{"/known"},
				Bastion: inventory.Bastion{Address: "gate", User: "jumper", Port: 2022, KeyFile: "~/gate", Passphrase: inventory.Ref{Source: "env", Name: "KW_PHRASE"}, HostKey: "SHA256:abc"}},
			ssh.Config{User: "ops", Keys: []ssh.Key{{Path: "/k"}}, Password: "login secret", KnownHosts: []string{"/known"}, Via: gate(func(c *ssh.Config) {
				c.GlobalKnownHosts = nil
				c.User, c.Port, c.HostKey, c.KnownHosts, c.Keys = "jumper", 2022, "SHA256:abc", []string{"/known"}, []ssh.Key{{Path: "/home/ops/gate", Passphrase: "key secret"}}
			})},
		},
		"a bastion with a password": {
			inventory.SSH{User: "ops", KeyFile: "/k", Agent: true, Bastion: inventory.Bastion{Address: "gate", Password: inventory.Ref{Source: "env", Name: "KW_LOGIN"}}},
			ssh.Config{User: "ops", Keys: []ssh.Key{{Path: "/k"}}, Agent: true, KnownHosts: known, GlobalKnownHosts: global, Via: gate(func(c *ssh.Config) { c.Password = "login secret" })},
		},
		"a configuration file": {
			inventory.SSH{Agent: true, ConfigFile: file},
			ssh.Config{User: "filed", Port: 2200, Keys: []ssh.Key{{Path: "/home/ops/keys/filed", Optional: true}}, KnownHosts: known, GlobalKnownHosts: global, Via: gate(func(c *ssh.Config) {
				c.Settings = ssh.SettingsFile
				c.Address, c.Port, c.User, c.Agent = "198.51.100.1", 2022, ownName(), true
			})},
		},
		"a configuration file, and a bastion": {
			inventory.SSH{User: "ops", Port: 22, KeyFile: "/k", ConfigFile: file, Bastion: inventory.Bastion{Address: "gate"}},
			ssh.Config{User: "ops", Port: 22, Keys: []ssh.Key{{Path: "/k"}}, KnownHosts: known, GlobalKnownHosts: global, Via: gate(func(c *ssh.Config) {
				c.Address, c.Port, c.Keys = "198.51.100.1", 2022, []ssh.Key{{Path: "/k"}}
			})},
		},
		"a configuration file, and no bastion": {
			inventory.SSH{User: "ops", Port: 22, KeyFile: "/k", ConfigFile: file, Bastion: inventory.Bastion{Address: inventory.NoBastion}},
			ssh.Config{User: "ops", Port: 22, Keys: []ssh.Key{{Path: "/k"}}, KnownHosts: known, GlobalKnownHosts: global, Via: []ssh.Config{}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tt.want.Host, tt.want.Address, tt.want.AgentSocket = "cp1", "192.0.2.1", "/run/agent"
			d, err := newDialer(nil)
			if err != nil {
				t.Fatal(err)
			}
			got, err := d.config(inventory.Host{Name: "cp1", Address: "192.0.2.1", SSH: tt.in})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmpopts.IgnoreFields(ssh.Config{}, "Limiter", "Bastions", "DialContext")); diff != "" {
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

// What is wrong with a configuration file is told with the host, the file and the line.
func TestNewDialerNamesWhatIsWrongWithAConfigurationFile(t *testing.T) {
	file := write(t, "config", "Host a\nProxyCommand nc %h %p\n")
	host := func(name, file string) inventory.Host {
		return inventory.Host{Name: name, Address: name, SSH: inventory.SSH{ConfigFile: file}}
	}
	_, err := newDialer([]inventory.Host{host("a", file), host("b", file), host("c", file+"x")})
	told := messages(err)
	if len(told) != 2 || !strings.Contains(told[0], "a: ssh configuration: "+file+":2: ProxyCommand") || !strings.Contains(told[1], file+"x") {
		t.Errorf("%q", told)
	}
}

// A file that cannot be read is read once and told once, however many hosts and bastions need it.
func TestNewDialerTellsOfAFileOnce(t *testing.T) {
	file := write(t, "config", "Hots a\n")
	var hosts []inventory.Host
	for _, name := range []string{"a", "b", "c"} {
		hosts = append(hosts, inventory.Host{Name: name, Address: name, SSH: inventory.SSH{
			ConfigFile: file, Bastion: inventory.Bastion{Address: "gate"}, Password: inventory.Ref{Source: "env", Name: "KW_UNSET_" + name},
		}})
	}
	d, err := newDialer(hosts)
	if err == nil || strings.Count(err.Error(), file) != 1 || strings.Count(err.Error(), "KW_UNSET_") != 3 {
		t.Errorf("%v", err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err = d.dial(t.Context(), inventory.Host{Name: "d", Address: "d", SSH: inventory.SSH{ConfigFile: file}}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("the file was read again: %v", err)
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
