package ssh

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"kubewright/internal/host"
	"kubewright/internal/secret"
	"kubewright/internal/ssh/sshtest"
)

// startAgent serves an agent that holds the keys, and returns its socket and the number of
// signatures it has made.
func startAgent(t *testing.T, keys ...any) (socket string, listings *atomic.Int64) {
	t.Helper()
	keyring := agent.NewKeyring()
	for _, key := range keys {
		if err := keyring.Add(agent.AddedKey{PrivateKey: key}); err != nil {
			t.Fatal(err)
		}
	}
	socket = filepath.Join(t.TempDir(), "agent")
	listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	listings = new(atomic.Int64)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			listings.Add(1)
			go func() {
				_ = agent.ServeAgent(keyring, conn)
				_ = conn.Close()
			}()
		}
	}()
	return socket, listings
}

func rawKey(t *testing.T) (ed25519.PrivateKey, ssh.PublicKey) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return private, signer.PublicKey()
}

// keyFile writes a key, locked when there is a passphrase.
func keyFile(t *testing.T, key ed25519.PrivateKey, passphrase string) string {
	t.Helper()
	block, err := ssh.MarshalPrivateKey(key, "")
	if passphrase != "" {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "id_ed25519")
	write(t, path, string(pem.EncodeToMemory(block)))
	return path
}

func TestAuthKeyFile(t *testing.T) {
	key, public := rawKey(t)
	_, config := server(t, sshtest.Options{AuthorizedKeys: []ssh.PublicKey{public}})
	for name, test := range map[string]struct {
		key  Key
		want string
	}{
		"plain":             {Key{Path: keyFile(t, key, "")}, ""},
		"passphrase":        {Key{Path: keyFile(t, key, "correct horse"), Passphrase: "correct horse"}, ""},
		"wrong passphrase":  {Key{Path: keyFile(t, key, "correct horse"), Passphrase: "battery staple"}, "the passphrase is wrong"},
		"needless":          {Key{Path: keyFile(t, key, ""), Passphrase: "not needed"}, ""},
		"missing file":      {Key{Path: "/nonexistent/id"}, "/nonexistent/id"},
		"not a key":         {Key{PEM: secret.Bytes("garbage")}, "not a private key in a known format"},
		"locked, no agent":  {Key{Path: keyFile(t, key, "correct horse")}, "protected by a passphrase"},
		"public, no agent":  {Key{PEM: secret.Bytes(ssh.MarshalAuthorizedKey(public))}, "a public key, its private key is not in the agent"},
		"optional, missing": {Key{Path: "/nonexistent/id", Optional: true}, "takes"},
		"unknown to the server": {Key{Path: func() string {
			other, _ := rawKey(t)
			return keyFile(t, other, "")
		}()}, "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			c := config
			c.Keys = []Key{test.key}
			client, err := Dial(t.Context(), c)
			if test.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				_ = client.Close()
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "cp1") {
				t.Errorf("error %v, want %q", err, test.want)
			}
			for _, secret := range []string{"battery staple", "correct horse"} {
				if err != nil && strings.Contains(err.Error(), secret) {
					t.Errorf("the passphrase is in the error: %v", err)
				}
			}
		})
	}
}

func TestAuthWrongKeyNamesWhatWasTried(t *testing.T) {
	s, config := server(t, sshtest.Options{})
	key, public := rawKey(t)
	path := keyFile(t, key, "")
	config.Keys = []Key{{Path: path}}
	_, err := Dial(t.Context(), config)
	auth := wantError[*host.AuthError](t, err, "cp1", `"root"`, path, ssh.FingerprintSHA256(public), "publickey", "authorized_keys")
	if len(auth.Tried) != 1 {
		t.Errorf("tried %q", auth.Tried)
	}
	if s.Connections() != 1 {
		t.Errorf("%d connections: a refused login must not be repeated", s.Connections())
	}
}

func TestAuthRemedies(t *testing.T) {
	for _, test := range []struct {
		settings string
		accepted []string
		tried    []string
		cause    string
		want     string
	}{
		{"", nil, nil, "x", "check ssh.user and"},
		{SettingsBastion, nil, nil, "x", "check ssh.bastion.user and"},
		{SettingsBastion, nil, nil, "too many authentication failures", "with ssh.bastion.keyFile"},
		{SettingsBastion, []string{"a"}, nil, "x", "set ssh.bastion.keyFile, ssh.agent or ssh.bastion.password"},
		{SettingsBastion, []string{"a"}, []string{"key"}, "x", "check ssh.bastion.user and"},
		{SettingsFile, []string{"a"}, nil, "x", "set IdentityFile or ssh.agent"},
		{SettingsFile, []string{"a"}, []string{"key"}, "x", "check User and"},
	} {
		l := &login{config: Config{Settings: test.settings}, accepted: test.accepted, tried: test.tried}
		wantError[*host.AuthError](t, l.failed(errors.New(test.cause)), test.want)
	}
}

func TestAuthCertificate(t *testing.T) {
	authority, _ := sshtest.NewKey(t)
	key, public := rawKey(t)
	path := keyFile(t, key, "")
	certify := func(kind uint32, certified ssh.PublicKey) string {
		cert := &ssh.Certificate{Key: certified, CertType: kind, ValidPrincipals: []string{"root"}, ValidBefore: ssh.CertTimeInfinity}
		if err := cert.SignCert(rand.Reader, authority); err != nil {
			t.Fatal(err)
		}
		return string(ssh.MarshalAuthorizedKey(cert))
	}
	s := sshtest.Start(t, sshtest.Options{AuthorizedKeys: []ssh.PublicKey{authority.PublicKey()}})
	config := Config{Host: "cp1", Address: s.Address(), Port: s.Port(), User: "root", HostKey: s.HostKey(), Keys: []Key{{Path: path}}}

	_, err := Dial(t.Context(), config)
	wantError[*host.AuthError](t, err) // the key alone is not enough
	write(t, path+"-cert.pub", certify(ssh.UserCert, public))
	mustRun(t, connect(t, config), "true")

	_, other := rawKey(t)
	for content, want := range map[string]string{
		certify(ssh.UserCert, other):             "certifies another key",
		certify(ssh.HostCert, public):            "not a user certificate",
		string(ssh.MarshalAuthorizedKey(public)): "not a certificate",
		"garbage":                                "-cert.pub",
	} {
		write(t, path+"-cert.pub", content)
		_, err := Dial(t.Context(), config)
		wantError[*ConfigError](t, err, want)
	}
}

// A key with two certificates is offered with both: one may have expired, or be for other hosts.
func TestAuthCertificatesOfOneKey(t *testing.T) {
	authority, _ := sshtest.NewKey(t)
	foreign, _ := sshtest.NewKey(t)
	key, public := rawKey(t)
	path := keyFile(t, key, "")
	certificate := func(path string, by ssh.Signer) string {
		cert := &ssh.Certificate{Key: public, CertType: ssh.UserCert, ValidPrincipals: []string{"root"}, ValidBefore: ssh.CertTimeInfinity}
		if err := cert.SignCert(rand.Reader, by); err != nil {
			t.Fatal(err)
		}
		write(t, path, string(ssh.MarshalAuthorizedKey(cert)))
		return path
	}
	beside, good, bad := certificate(path+"-cert.pub", foreign), certificate(path+"-good", authority), certificate(path+"-bad", foreign)
	s := sshtest.Start(t, sshtest.Options{AuthorizedKeys: []ssh.PublicKey{authority.PublicKey()}})
	config := Config{Host: "cp1", Address: s.Address(), Port: s.Port(), User: "root", HostKey: s.HostKey(), Keys: []Key{{Path: path}}}
	for _, certificates := range [][]string{{good}, {good, bad}, {bad, good, beside}} {
		config.Certificates = certificates
		mustRun(t, connect(t, config), "true")
	}
	identities, err := loadIdentities(config.Keys, []string{beside, good, good})
	if err != nil || len(identities) != 1 || len(identities[0].certs) != 2 {
		t.Errorf("%d identities, %v: a certificate counts once", len(identities), err)
	}
}

func TestAuthPassword(t *testing.T) {
	for name, test := range map[string]struct {
		options sshtest.Options
		send    secret.String
		ok      bool
		logins  int
	}{
		"password":                  {sshtest.Options{Password: "s3cret x"}, "s3cret x", true, 1},
		"keyboard-interactive":      {sshtest.Options{Interactive: "s3cret x"}, "s3cret x", true, 1},
		"wrong password":            {sshtest.Options{Password: "s3cret x"}, "Wr0ng'one", false, 1},
		"wrong answer":              {sshtest.Options{Interactive: "s3cret x"}, "Wr0ng'one", false, 1},
		"wrong, both methods, once": {sshtest.Options{Password: "s3cret x", Interactive: "s3cret x"}, "Wr0ng'one", false, 1},
		"server wants keys only":    {sshtest.Options{}, "s3cret x", false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s, config := server(t, test.options)
			config.Keys = nil
			config.Password = test.send
			client, err := Dial(t.Context(), config)
			if test.ok {
				if err != nil {
					t.Fatal(err)
				}
				_ = client.Close()
			} else {
				wantError[*host.AuthError](t, err, "cp1")
				if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), test.send.Reveal()) {
					t.Errorf("the password is in the error: %v", err)
				}
			}
			if s.Logins() != test.logins {
				t.Errorf("%d credentials were sent, want %d", s.Logins(), test.logins)
			}
		})
	}
}

func TestAuthAgent(t *testing.T) {
	key, public := rawKey(t)
	_, config := server(t, sshtest.Options{AuthorizedKeys: []ssh.PublicKey{public}})
	socket, asked := startAgent(t, key)

	config.Keys, config.AgentSocket = nil, socket
	mustRun(t, connect(t, config), "true")

	other, _ := rawKey(t)
	path := keyFile(t, other, "")
	config.Keys = []Key{{Path: path}}
	_, err := Dial(t.Context(), config)
	auth := wantError[*host.AuthError](t, err, path)
	if strings.Contains(err.Error(), "agent") || len(auth.Tried) != 1 {
		t.Errorf("with a key given, the agent's keys were offered: %v", err)
	}
	config.Agent = true // explicitly
	mustRun(t, connect(t, config), "true")

	// A locked key and a public key find their private half in the agent, and only that one.
	for _, k := range []Key{{Path: keyFile(t, key, "unknown")}, {PEM: secret.Bytes(ssh.MarshalAuthorizedKey(public))}} {
		config.Agent, config.Keys = false, []Key{k}
		mustRun(t, connect(t, config), "true")
	}
	if asked.Load() == 0 {
		t.Error("the agent was never asked")
	}
}

func TestAuthAgentEmptyOrAway(t *testing.T) {
	_, config := server(t, sshtest.Options{Password: "fallback"})
	config.Keys = nil
	empty, _ := startAgent(t)
	for socket, want := range map[string]string{empty: "agent (0 keys)", "/nonexistent/agent": "no such file"} {
		config.AgentSocket, config.Password = socket, "fallback"
		mustRun(t, connect(t, config), "true")
		config.Password = ""
		_, err := Dial(t.Context(), config)
		wantError[*host.AuthError](t, err, want)
	}
}

// TestAuthTooManyKeys has an agent with more keys than the server lets anybody try.
func TestAuthTooManyKeys(t *testing.T) {
	var keys []any
	for range 8 {
		key, _ := rawKey(t)
		keys = append(keys, key)
	}
	right, public := rawKey(t)
	_, config := server(t, sshtest.Options{AuthorizedKeys: []ssh.PublicKey{public}, MaxAuthTries: 3})
	config.Keys = nil
	config.AgentSocket, _ = startAgent(t, append(keys, right)...)
	_, err := Dial(t.Context(), config)
	wantError[*host.AuthError](t, err, "agent (9 keys)", "ssh.keyFile")

	config.Keys = []Key{{Path: keyFile(t, right, "")}} // then the agent's are left out
	mustRun(t, connect(t, config), "true")
}

func TestAuthNothingConfigured(t *testing.T) {
	_, config := server(t, sshtest.Options{})
	config.Keys = nil
	_, err := Dial(t.Context(), config)
	wantError[*host.AuthError](t, err, "tried nothing", "publickey", "none of it is configured")
}

func TestConfigInvalid(t *testing.T) {
	_, err := Dial(t.Context(), Config{Port: 70000, TrustOnFirstUse: true, SudoPassword: "a\nb"})
	var config *ConfigError
	if !errors.As(err, &config) {
		t.Fatal(err)
	}
	for _, want := range []string{"address", "port 70000", "user", "sudo password", "known_hosts"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not reported: %v", want, err)
		}
	}
}

func TestTimeoutDefaults(t *testing.T) {
	got := Timeouts{Dial: time.Second}.withDefaults()
	if got.Dial != time.Second || got.Keepalive != 10*time.Second || got.KeepaliveMisses != 3 || got.Handshake == 0 {
		t.Errorf("%+v", got)
	}
}

// TestClientHidesPasswords prints a client in the ways that look into it.
func TestClientHidesPasswords(t *testing.T) {
	_, config := server(t, sshtest.Options{})
	config.SudoPassword = "correct horse"
	client := connect(t, config)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(verb, client); strings.Contains(text, "horse") || !strings.Contains(text, "cp1") {
			t.Errorf("%s: %s", verb, text)
		}
	}
}
