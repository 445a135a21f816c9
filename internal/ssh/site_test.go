package ssh

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"kubewright/internal/host"
	"kubewright/internal/ssh/sshtest"
)

// TestOpenSSHBehindABastion reaches twenty hosts at once through a bastion, where sshd allows four sessions
// on a connection, and begins to drop connections at random above five and all above ten. Two sshds with
// ten addresses each play the hosts, so that the connections of ten count together, which is harder than
// it is for hosts of their own.
func TestOpenSSHBehindABastion(t *testing.T) {
	noLeak(t)
	limits := []string{"MaxSessions 4", "MaxStartups 5:50:10", "LogLevel VERBOSE"}
	gate := sshtest.StartOpenSSH(t, sshtest.OpenSSHOptions{Lines: limits})
	var configs []Config
	var servers []*sshtest.OpenSSH
	for range 2 { // sshd listens on 16 addresses at most
		var addresses []string
		for range 10 {
			addresses = append(addresses, fmt.Sprintf("127.0.1.%d", len(addresses)+10*len(servers)+1))
		}
		server := sshtest.StartOpenSSH(t, sshtest.OpenSSHOptions{Lines: limits, Addresses: addresses})
		servers = append(servers, server)
		for _, address := range addresses {
			configs = append(configs, loginTo(server, address))
		}
	}
	way := loginTo(gate, "127.0.0.1")
	way.Host = "bastion gate"
	bastions, limiter := newBastions(t), NewLimiter(0)
	var all sync.WaitGroup
	var handshakes int64
	var mu sync.Mutex
	folder := t.TempDir()
	begin := time.Now()
	for i, config := range configs {
		config.Host, config.Via, config.Bastions, config.Limiter = fmt.Sprint("worker", i), []Config{way}, bastions, limiter
		config.Timeouts.Start = 2 * time.Minute // a hundred shells of one machine begin together
		all.Go(func() {
			client, err := Dial(t.Context(), config)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = client.Close() }()
			mu.Lock()
			handshakes += client.Stats().Handshakes
			mu.Unlock()
			work(t, client, fmt.Sprintf("%s/%d", folder, i))
		})
	}
	all.Wait()
	if logins := strings.Count(gate.Log(t), "Accepted publickey"); logins != 1 {
		t.Errorf("%d logins to the bastion", logins)
	}
	for _, server := range servers {
		if logins := strings.Count(server.Log(t), "Accepted publickey"); logins != 10 {
			t.Errorf("%d logins to ten hosts", logins)
		}
	}
	if handshakes <= 20 {
		t.Error("no connection was dropped, so this test tested nothing")
	}
	t.Logf("%d handshakes with 20 hosts, and all their work, in %v", handshakes, time.Since(begin).Round(time.Millisecond))
}

// work has more sessions at a time than the server allows, and an upload.
func work(t *testing.T, client *Client, path string) {
	t.Helper()
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			var out bytes.Buffer
			if err := client.Run(t.Context(), text("echo done"), &out); err != nil || out.String() != "done\n" {
				t.Errorf("%q, %v", out.String(), err)
			}
		})
	}
	all.Go(func() {
		content := bytes.Repeat([]byte("0123456789abcdef"), 1<<12)
		if err := client.Upload(t.Context(), path, bytes.NewReader(content), int64(len(content))); err != nil {
			t.Error(err)
		} else if got := read(t, path); got != string(content) {
			t.Errorf("%d bytes arrived", len(got))
		}
	})
	all.Wait()
}

// TestOpenSSHFullAgent has an agent with eight keys that the server does not know, which lets three be tried.
func TestOpenSSHFullAgent(t *testing.T) {
	server := sshtest.StartOpenSSH(t, sshtest.OpenSSHOptions{Lines: []string{"MaxAuthTries 3"}})
	first, _ := rawKey(t)
	wrong := []any{first}
	for range 7 {
		key, _ := rawKey(t)
		wrong = append(wrong, key)
	}
	right, err := ssh.ParseRawPrivateKey(server.Key)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(right)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "id")
	write(t, path, string(server.Key))
	public := filepath.Join(t.TempDir(), "id")
	write(t, public+".pub", string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
	without, _ := startAgent(t, wrong...)
	with, _ := startAgent(t, append(wrong, right)...)
	for name, test := range map[string]struct {
		agent string
		file  string // ssh_config
		keys  []Key
		all   bool // the agent's keys are offered too
		fails string
	}{
		"a key file":                                 {without, "", []Key{{Path: path}}, false, ""},
		"a key file, and the agent's after it":       {without, "", []Key{{Path: path}}, true, ""},
		"IdentityFile":                               {without, "IdentityFile " + path + "\n", nil, true, ""},
		"IdentityFile and IdentitiesOnly":            {without, "IdentityFile " + path + "\nIdentitiesOnly yes\n", nil, true, ""},
		"a public key, its private one in the agent": {with, "IdentityFile " + public + ".pub\nIdentitiesOnly yes\n", nil, true, ""},
		"a private key that is in the agent alone":   {with, "IdentityFile " + public + "\nIdentitiesOnly yes\n", nil, true, ""},
		"an agent alone":                             {with, "", nil, true, "agent (9 keys)"},
		"a wrong key file, and the agent's":          {with, "IdentityFile " + keyFile(t, first, "") + "\n", nil, true, "agent (9 keys)"},
	} {
		t.Run(name, func(t *testing.T) {
			config := loginTo(server, "127.0.0.1")
			config.Keys, config.AgentSocket, config.Agent = test.keys, test.agent, test.all
			file, err := parseClientConfig("config", []byte(test.file), here())
			if err != nil {
				t.Fatal(err)
			}
			if config, err = file.Apply(config, "root"); err != nil {
				t.Fatal(err)
			}
			client, err := Dial(t.Context(), config)
			if test.fails != "" {
				wantError[*host.AuthError](t, err, test.fails, "the server gave up before the right key was offered: name that key with ssh.keyFile")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			mustRun(t, client, "true")
			_ = client.Close()
		})
	}
}

// TestOpenSSHCertificates has sshd and its client know each other by certificates alone.
func TestOpenSSHCertificates(t *testing.T) {
	authority, _ := sshtest.NewKey(t)
	dir := t.TempDir()
	write(t, dir+"/ca.pub", string(ssh.MarshalAuthorizedKey(authority.PublicKey())))
	hostKey, hostPEM := sshtest.NewKey(t)
	write(t, dir+"/host", string(hostPEM))
	certify := func(path string, kind uint32, key ssh.PublicKey, until uint64, principals ...string) string {
		cert := &ssh.Certificate{Key: key, CertType: kind, ValidPrincipals: principals, ValidBefore: until}
		if err := cert.SignCert(rand.Reader, authority); err != nil {
			t.Fatal(err)
		}
		write(t, path, string(ssh.MarshalAuthorizedKey(cert)))
		return path
	}
	certify(dir+"/host-cert.pub", ssh.HostCert, hostKey.PublicKey(), ssh.CertTimeInfinity, "127.0.0.1", "prod")
	server := sshtest.StartOpenSSH(t, sshtest.OpenSSHOptions{Lines: []string{
		"TrustedUserCAKeys " + dir + "/ca.pub", "HostKey " + dir + "/host", "HostCertificate " + dir + "/host-cert.pub", "AuthorizedKeysFile none",
	}})
	key, public := rawKey(t)
	path := keyFile(t, key, "")
	good := certify(dir+"/good-cert.pub", ssh.UserCert, public, ssh.CertTimeInfinity, "root")
	old := certify(dir+"/old-cert.pub", ssh.UserCert, public, 1, "root")
	agent, _ := startAgent(t, key)

	base := loginTo(server, "127.0.0.1")
	base.HostKey, base.Keys = "", []Key{{Path: path}}
	trusting := func(pattern string) string {
		file := filepath.Join(t.TempDir(), "known")
		write(t, file, "@cert-authority "+pattern+" "+string(ssh.MarshalAuthorizedKey(authority.PublicKey())))
		return file
	}
	for name, test := range map[string]struct {
		known  string
		change func(c *Config)
		fails  string
	}{
		"with the port":           {fmt.Sprintf("[127.0.0.1]:%d", server.Port), func(c *Config) { c.Certificates = []string{good} }, ""},
		"without the port":        {"127.0.0.*", func(c *Config) { c.Certificates = []string{good} }, ""},
		"under an alias":          {"prod", func(c *Config) { c.Certificates, c.HostKeyAlias = []string{good}, "prod" }, ""},
		"an alias of nobody":      {"*", func(c *Config) { c.Certificates, c.HostKeyAlias = []string{good}, "other" }, "not in the set of valid principals"},
		"of another host":         {"192.0.2.*", func(c *Config) { c.Certificates = []string{good} }, "is not known"},
		"its key in the agent":    {"*", func(c *Config) { c.Certificates, c.Keys, c.AgentSocket = []string{good}, nil, agent }, ""},
		"without a certificate":   {"*", func(*Config) {}, "refused"},
		"one that has expired":    {"*", func(c *Config) { c.Certificates = []string{old} }, "with its certificate, which has expired"},
		"one that is not there":   {"*", func(c *Config) { c.Certificates = []string{dir + "/missing"} }, "missing"},
		"its key nowhere":         {"*", func(c *Config) { c.Certificates, c.Keys = []string{good}, nil }, "its private key is not in the agent"},
		"CertificateFile, as ssh": {"*", func(c *Config) { c.Keys = nil }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			config := base
			config.KnownHosts = []string{trusting(test.known)}
			test.change(&config)
			if strings.HasPrefix(name, "CertificateFile") {
				file, err := parseClientConfig("config", []byte("IdentityFile "+path+"\nCertificateFile "+good+"\n"), here())
				if err != nil {
					t.Fatal(err)
				}
				if config, err = file.Apply(config, "root"); err != nil {
					t.Fatal(err)
				}
			}
			client, err := Dial(t.Context(), config)
			if test.fails != "" {
				if err == nil || !strings.Contains(err.Error(), test.fails) {
					t.Errorf("error %v, want %s", err, test.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			mustRun(t, client, "true")
			_ = client.Close()
		})
	}
}

// What OpenSSH's own tools write to known_hosts is understood: names with ports, hashed ones, and names
// without the port, which ssh looks up too.
func TestOpenSSHKnownHosts(t *testing.T) {
	keygen, err := exec.LookPath("ssh-keygen")
	if err != nil {
		t.Skip("ssh-keygen is not installed")
	}
	server := sshtest.StartOpenSSH(t, sshtest.OpenSSHOptions{})
	key := string(ssh.MarshalAuthorizedKey(server.HostKey))
	other, _ := sshtest.NewKey(t)
	otherKey := string(ssh.MarshalAuthorizedKey(other.PublicKey()))
	port := fmt.Sprintf("[127.0.0.1]:%d", server.Port)
	for name, test := range map[string]struct {
		content string
		hash    bool
		alias   string
		fails   string
	}{
		"port":                              {port + " " + key, false, "", ""},
		"port, hashed":                      {port + " " + key, true, "", ""},
		"no port":                           {"127.0.0.1 " + key, false, "", ""},
		"no port, hashed":                   {"127.0.0.1 " + key, true, "", ""},
		"another key without the port":      {"127.0.0.1 " + otherKey, false, "", "is not known"},
		"another key, and without the port": {port + " " + otherKey + "127.0.0.1 " + key, false, "", ""},
		"another key":                       {port + " " + otherKey, false, "", "HOST KEY CHANGED"},
		"an alias":                          {"prod " + key, false, "prod", ""},
		"the address, not the alias":        {port + " " + key, false, "prod", "is not known"},
		"a key of all, by a wildcard":       {"127.* " + key, false, "", ""},
		"negated":                           {"127.*,!127.0.0.1 " + key, false, "", "is not known"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "known_hosts")
			write(t, file, test.content)
			if test.hash {
				if out, err := exec.CommandContext(t.Context(), keygen, "-H", "-f", file).CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				if content := read(t, file); strings.Contains(content, "127.0.0.1") {
					t.Fatalf("not hashed: %s", content)
				}
			}
			config := loginTo(server, "127.0.0.1")
			config.HostKey, config.KnownHosts, config.HostKeyAlias = "", []string{file}, test.alias
			client, err := Dial(t.Context(), config)
			if test.fails != "" {
				wantError[*host.HostKeyError](t, err, test.fails)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			_ = client.Close()
		})
	}
	t.Run("trust under an alias", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "known_hosts")
		config := loginTo(server, "127.0.0.1")
		config.HostKey, config.KnownHosts, config.HostKeyAlias, config.TrustOnFirstUse = "", []string{file}, "prod", true
		_ = connect(t, config).Close()
		if want := knownhosts.Line([]string{"prod"}, server.HostKey) + "\n"; read(t, file) != want {
			t.Errorf("%q", read(t, file))
		}
	})
}
