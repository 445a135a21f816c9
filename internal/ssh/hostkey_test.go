package ssh

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"os"
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

// nothingSent fails the test when the server saw a credential or a command.
func nothingSent(t *testing.T, s *sshtest.Server) {
	t.Helper()
	if s.Logins() != 0 || s.Execs() != 0 {
		t.Errorf("%d credentials and %d commands went to a server that is not trusted", s.Logins(), s.Execs())
	}
}

func TestHostKeyUnknown(t *testing.T) {
	noLeak(t)
	s, config := server(t, sshtest.Options{Password: "hunter2"})
	config.Password = "hunter2"
	config.KnownHosts = []string{filepath.Join(t.TempDir(), "none"), filepath.Join(t.TempDir(), "missing")}
	_, err := Dial(t.Context(), config)
	key := wantError[*host.HostKeyError](t, err, "cp1", "SHA256:", "not known",
		fmt.Sprintf("ssh-keyscan -p %d 127.0.0.1 >> %s", s.Port(), config.KnownHosts[0]), "ssh.trustOnFirstUse: true", "ssh.hostKey")
	if key.Changed() {
		t.Error("unknown is not changed")
	}
	nothingSent(t, s)
	if got := s.Connections(); got != 1 {
		t.Errorf("%d connections, a refused key must not be tried again", got)
	}
}

// Remedies name the settings of the host that is meant, and only what helps there.
func TestHostKeyRemedies(t *testing.T) {
	shown, _ := sshtest.NewKey(t)
	other, _ := sshtest.NewKey(t)
	file := filepath.Join(t.TempDir(), "known_hosts")
	line := func(name string) string { return file + ": " + knownhosts.Line([]string{name}, shown.PublicKey()) }
	const scan = "ssh-keyscan"
	pinned := ssh.FingerprintSHA256(other.PublicKey())
	for name, test := range map[string]struct {
		config    Config
		want, not []string
	}{
		"a host":                  {Config{}, []string{scan, "pin it with ssh.hostKey", "ssh.trustOnFirstUse"}, []string{"bastion"}},
		"a bastion":               {Config{Settings: SettingsBastion}, []string{scan, "ssh.bastion.hostKey", "ssh.trustOnFirstUse"}, []string{"ssh.hostKey"}},
		"a jump host":             {Config{Settings: SettingsFile}, []string{scan, "ssh.trustOnFirstUse"}, []string{"hostKey"}},
		"behind others":           {Config{Via: []Config{{}}}, []string{line("[h]:2222"), "ssh.hostKey"}, []string{scan}},
		"an alias":                {Config{HostKeyAlias: "prod"}, []string{line("prod"), "ssh.hostKey"}, []string{scan}},
		"no file":                 {Config{KnownHosts: []string{}}, []string{"ssh.knownHosts", "ssh.hostKey"}, []string{scan, "trustOnFirstUse"}},
		"pinned":                  {Config{HostKey: pinned}, []string{"correct ssh.hostKey"}, []string{"bastion"}},
		"a pinned key":            {Config{HostKey: string(ssh.MarshalAuthorizedKey(other.PublicKey()))}, []string{"correct ssh.hostKey"}, []string{"bastion"}},
		"a pinned bastion":        {Config{Settings: SettingsBastion, HostKey: pinned}, []string{"(ssh.bastion.hostKey)", "correct ssh.bastion.hostKey"}, []string{"ssh.hostKey"}},
		"a bastion's pinned key":  {Config{Settings: SettingsBastion, HostKey: string(ssh.MarshalAuthorizedKey(other.PublicKey()))}, []string{"correct ssh.bastion.hostKey"}, []string{"ssh.hostKey"}},
		"changed in another file": {Config{GlobalKnownHosts: []string{file + "2"}}, []string{"-f " + file + "2"}, []string{scan}},
	} {
		t.Run(name, func(t *testing.T) {
			c := test.config
			c.Host, c.Address, c.Port = "cp1", "h", 2222
			if c.KnownHosts == nil {
				c.KnownHosts = []string{file}
			}
			write(t, file+"2", knownhosts.Line([]string{"[h]:2222"}, other.PublicKey())+"\n")
			v, err := newVerifier(c)
			if err != nil {
				t.Fatal(err)
			}
			err = v.check("", nil, shown.PublicKey())
			wantError[*host.HostKeyError](t, err, test.want...)
			for _, not := range test.not {
				if strings.Contains(err.Error(), not) {
					t.Errorf("%q in %v", not, err)
				}
			}
		})
	}
}

func TestHostKeyChanged(t *testing.T) {
	for _, trust := range []bool{false, true} {
		s, config := server(t, sshtest.Options{Password: "hunter2"})
		config.Password = "hunter2"
		config.TrustOnFirstUse = trust
		other, _ := sshtest.NewKey(t)
		line := knownhosts.Line([]string{s.Endpoint()}, other.PublicKey()) + "\n"
		write(t, config.KnownHosts[0], "# comment\n"+line)
		_, err := Dial(t.Context(), config)
		key := wantError[*host.HostKeyError](t, err, "HOST KEY CHANGED", ssh.FingerprintSHA256(other.PublicKey()),
			config.KnownHosts[0]+":2", fmt.Sprintf("ssh-keygen -R '[127.0.0.1]:%d' -f %s", s.Port(), config.KnownHosts[0]))
		if !key.Changed() {
			t.Error("changed is not reported as such")
		}
		nothingSent(t, s)
		if got := read(t, config.KnownHosts[0]); got != "# comment\n"+line {
			t.Errorf("trust=%v: known_hosts was changed to %q", trust, got)
		}
	}
}

func TestHostKeyRevoked(t *testing.T) {
	s, config := server(t, sshtest.Options{})
	config.TrustOnFirstUse = true
	write(t, config.KnownHosts[0], s.KnownHostsLine()+"@revoked * "+s.HostKey())
	_, err := Dial(t.Context(), config)
	if key := wantError[*host.HostKeyError](t, err, "@revoked"); !key.Revoked {
		t.Error("not reported as revoked")
	}
	nothingSent(t, s)
}

func TestHostKeyPinned(t *testing.T) {
	s, config := server(t, sshtest.Options{})
	config.KnownHosts = nil
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(s.HostKey()))
	if err != nil {
		t.Fatal(err)
	}
	for name, pin := range map[string]string{
		"public key":  s.HostKey(),
		"keyscan":     "[127.0.0.1]:2222 " + s.HostKey(),
		"fingerprint": ssh.FingerprintSHA256(key),
	} {
		t.Run(name, func(t *testing.T) {
			config.HostKey = pin
			mustRun(t, connect(t, config), "true")
		})
	}
	other, _ := sshtest.NewKey(t)
	logins := s.Logins()
	for _, pin := range []string{string(ssh.MarshalAuthorizedKey(other.PublicKey())), ssh.FingerprintSHA256(other.PublicKey())} {
		config.HostKey = pin
		_, err := Dial(t.Context(), config)
		wantError[*host.HostKeyError](t, err, "CHANGED", ssh.FingerprintSHA256(other.PublicKey()), "ssh.hostKey")
	}
	if s.Logins() != logins {
		t.Error("credentials went to a server that is not trusted")
	}
	for _, pin := range []string{"SHA256:short", "MD5:aa:bb", "ssh-ed25519", "garbage"} {
		config.HostKey = pin
		_, err := Dial(t.Context(), config)
		wantError[*ConfigError](t, err, "host key")
	}
}

func TestTrustOnFirstUse(t *testing.T) {
	s, config := server(t, sshtest.Options{})
	config.TrustOnFirstUse = true
	config.KnownHosts = []string{filepath.Join(t.TempDir(), "new", "known_hosts")}
	mustRun(t, connect(t, config), "true")
	if got := read(t, config.KnownHosts[0]); got != s.KnownHostsLine() {
		t.Errorf("recorded %q, want %q", got, s.KnownHostsLine())
	}
	info, err := os.Stat(config.KnownHosts[0])
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	config.TrustOnFirstUse = false
	mustRun(t, connect(t, config), "true")

	// The host gets another key: trust on first use is over.
	config.TrustOnFirstUse = true
	s.Close()
	other := sshtest.Start(t, sshtest.Options{})
	write(t, config.KnownHosts[0], strings.Replace(read(t, config.KnownHosts[0]), fmt.Sprint(s.Port()), fmt.Sprint(other.Port()), 1))
	config.Port = other.Port()
	_, err = Dial(t.Context(), config)
	wantError[*host.HostKeyError](t, err, "CHANGED")
	nothingSent(t, other)
}

// A file for all is read, and not written; what is written to /dev/null need not be durable.
func TestTrustOnFirstUseNowhere(t *testing.T) {
	_, config := server(t, sshtest.Options{})
	global := config.KnownHosts[0]
	config.TrustOnFirstUse, config.KnownHosts, config.GlobalKnownHosts = true, []string{"/dev/null"}, []string{global}
	mustRun(t, connect(t, config), "true") // known there
	write(t, global, "# nobody\n")
	mustRun(t, connect(t, config), "true")
	if got := read(t, global); got != "# nobody\n" {
		t.Errorf("recorded in the global file: %q", got)
	}
}

// TestTrustOnFirstUseConcurrent has many runs meet new hosts at once: every host is recorded
// once, after a last line that had no line break.
func TestTrustOnFirstUseConcurrent(t *testing.T) {
	known := filepath.Join(t.TempDir(), "known_hosts")
	write(t, known, "# no line break at the end")
	var all sync.WaitGroup
	for range 4 {
		_, config := server(t, sshtest.Options{})
		config.TrustOnFirstUse = true
		config.KnownHosts = []string{known}
		for range 4 {
			all.Go(func() {
				client, err := Dial(t.Context(), config)
				if err != nil {
					t.Error(err)
					return
				}
				_ = client.Close()
			})
		}
	}
	all.Wait()
	if got := strings.Count(read(t, known), "\n"); got != 5 {
		t.Errorf("%d lines, want 5:\n%s", got, read(t, known))
	}
}

func TestTrustOnFirstUseLocked(t *testing.T) {
	_, config := server(t, sshtest.Options{})
	config.TrustOnFirstUse = true
	config.Timeouts.Handshake = 200 * time.Millisecond
	config.KnownHosts = []string{filepath.Join(t.TempDir(), "known_hosts")}
	file, err := os.Create(config.KnownHosts[0])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if err := lockFile(file, time.Second); err != nil {
		t.Fatal(err)
	}
	if _, err = Dial(t.Context(), config); err == nil || !strings.Contains(err.Error(), "held by another process") && !strings.Contains(err.Error(), "did not finish") && !strings.Contains(err.Error(), "no SSH server answered") {
		t.Errorf("error %v", err)
	}
}

// TestHostKeyAlgorithms connects to a server with three keys of which one is known.
func TestHostKeyAlgorithms(t *testing.T) {
	keys := threeKeys(t)
	for _, known := range keys {
		t.Run(known.PublicKey().Type(), func(t *testing.T) {
			s, config := server(t, sshtest.Options{HostKeys: keys})
			write(t, config.KnownHosts[0], knownhosts.Line([]string{s.Endpoint()}, known.PublicKey())+"\n")
			mustRun(t, connect(t, config), "true")
			config.KnownHosts = nil
			config.HostKey = string(ssh.MarshalAuthorizedKey(known.PublicKey()))
			mustRun(t, connect(t, config), "true")
		})
	}
}

func threeKeys(t *testing.T) []ssh.Signer {
	t.Helper()
	ed, _ := sshtest.NewKey(t)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signers := []ssh.Signer{ed}
	for _, key := range []any{rsaKey, ecKey} {
		signer, err := ssh.NewSignerFromKey(key)
		if err != nil {
			t.Fatal(err)
		}
		signers = append(signers, signer)
	}
	return signers
}

func TestHostCertificate(t *testing.T) {
	authority, _ := sshtest.NewKey(t)
	plain, _ := sshtest.NewKey(t)
	certified := func(principal string, before time.Time) ssh.Signer {
		cert := &ssh.Certificate{
			Key: plain.PublicKey(), CertType: ssh.HostCert, ValidPrincipals: []string{principal},
			ValidAfter: 0, ValidBefore: uint64(before.Unix()),
		}
		if err := cert.SignCert(rand.Reader, authority); err != nil {
			t.Fatal(err)
		}
		signer, err := ssh.NewCertSigner(cert, plain)
		if err != nil {
			t.Fatal(err)
		}
		return signer
	}
	future, past := time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	line := "@cert-authority [127.0.0.1]:* " + string(ssh.MarshalAuthorizedKey(authority.PublicKey()))
	for name, test := range map[string]struct {
		keys  []ssh.Signer
		known string
		want  string
	}{
		"certificate":       {[]ssh.Signer{certified("127.0.0.1", future)}, line, ""},
		"other host":        {[]ssh.Signer{certified("10.0.0.1", future)}, line, "principal"},
		"expired":           {[]ssh.Signer{certified("127.0.0.1", past)}, line, "expired"},
		"plain key instead": {[]ssh.Signer{plain}, line, "a certificate of authority"},
		"revoked authority": {[]ssh.Signer{certified("127.0.0.1", future)},
			line + "@revoked * " + string(ssh.MarshalAuthorizedKey(authority.PublicKey())), "@revoked"},
		"both offered, key known": {[]ssh.Signer{plain, certified("127.0.0.1", future)}, "KEY", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s, config := server(t, sshtest.Options{HostKeys: test.keys})
			config.TrustOnFirstUse = true // must not weaken what is known
			write(t, config.KnownHosts[0], strings.Replace(test.known, "KEY", knownhosts.Line([]string{s.Endpoint()}, plain.PublicKey()), 1))
			client, err := Dial(t.Context(), config)
			if test.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				_ = client.Close()
				return
			}
			wantError[*host.HostKeyError](t, err, test.want)
			nothingSent(t, s)
		})
	}
}

func TestMatchHost(t *testing.T) {
	hashed := knownhosts.HashHostname
	for _, test := range []struct {
		field, name string
		want        bool
	}{
		{"example.com", "example.com", true},
		{"example.com", "www.example.com", false},
		{"*.example.com", "www.example.com", true},
		{"*.example.com", "example.com", false},
		{"*.example.com,!bad.example.com", "bad.example.com", false},
		{"!bad.example.com,*.example.com", "bad.example.com", false},
		{"!bad.example.com", "good.example.com", false},
		{"10.0.0.?", "10.0.0.1", true},
		{"10.0.0.?", "10.0.0.10", false},
		{"[10.0.0.1]:2222", "[10.0.0.1]:2222", true},
		{"10.0.0.1", "[10.0.0.1]:2222", false},
		{"[10.0.0.1]:2222", "10.0.0.1", false},
		{"*", "[10.0.0.1]:2222", true},
		{"[*]:2222", "[fd00::1]:2222", true},
		{"EXAMPLE.com", "example.com", true},
		{"a*b*c", "aXXbYYc", true},
		{"a*b*c", "aXXbYY", false},
		{"", "", true},
		{"**", "x", true},
		{hashed("example.com"), "example.com", true},
		{hashed("example.com"), "example.org", false},
		{hashed("[10.0.0.1]:22022"), "[10.0.0.1]:22022", true},
		{"|2|AAAA|AAAA", "example.com", false},
		{"|1|!|AAAA", "example.com", false},
		{"|1|AAAA|!", "example.com", false},
		{"|1|AAAA", "example.com", false},
	} {
		if got := matchHost(strings.Split(test.field, ","), test.name); got != test.want {
			t.Errorf("matchHost(%q, %q) = %v", test.field, test.name, got)
		}
	}
}

// TestMatchesOpenSSH looks names up as ssh-keygen does.
func TestMatchesOpenSSH(t *testing.T) {
	keygen, err := exec.LookPath("ssh-keygen")
	if err != nil {
		t.Skip("ssh-keygen is not installed")
	}
	const key = " ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl\n"
	file := filepath.Join(t.TempDir(), "known_hosts")
	for _, field := range []string{"example.com", "*.example.com", "*.example.com,!bad.example.com", "10.0.0.?", "[10.0.0.1]:2222",
		"[*]:2222", "*", "a,b,10.0.0.1", "fd00::1", "[fd00::1]:2222", "Example.COM", knownhosts.HashHostname("example.com"),
		knownhosts.HashHostname("[10.0.0.1]:2222")} {
		write(t, file, "other.host"+key+field+key)
		for _, endpoint := range []string{"example.com:22", "www.example.com:22", "bad.example.com:22", "10.0.0.1:22", "10.0.0.1:2222",
			"[fd00::1]:22", "[fd00::1]:2222", "a:22", "EXAMPLE.com:22"} {
			db, err := loadKnownHosts(nil, []string{file}, endpoint)
			if err != nil {
				t.Fatal(err)
			}
			want := exec.CommandContext(t.Context(), keygen, "-F", db.name, "-f", file).Run() == nil
			// Names without the port are looked up by ssh alone, after this.
			if got := len(db.keys) > 0 && !db.keys[0].portless; got != want {
				t.Errorf("%s in %q: %v, ssh-keygen says %v", endpoint, strings.TrimSpace(field), got, want)
			}
		}
	}
}

// TestKnownHostsSkipsUnreadable keeps one strange line from locking the operator out, and says so
// when the host is unknown.
func TestKnownHostsSkipsUnreadable(t *testing.T) {
	s, config := server(t, sshtest.Options{})
	strange := "example.com 1024 35 12345\nexample.com future-type AAAA\n@unknown * " + s.HostKey() + "lonely\n"
	write(t, config.KnownHosts[0], strange+s.KnownHostsLine())
	mustRun(t, connect(t, config), "true")
	write(t, config.KnownHosts[0], strange)
	_, err := Dial(t.Context(), config)
	wantError[*host.HostKeyError](t, err, "unreadable lines were skipped", "known_hosts:1", "known_hosts:3")
}

func TestKnownHostsUnreadable(t *testing.T) {
	_, config := server(t, sshtest.Options{})
	config.KnownHosts = []string{t.TempDir()} // a directory
	_, err := Dial(t.Context(), config)
	wantError[*ConfigError](t, err, "cp1", "known hosts")
}

// FuzzKnownHosts reads anything: what is found has a key and a place.
func FuzzKnownHosts(f *testing.F) {
	const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
	f.Add("example.com "+key, "example.com:22")
	f.Add("@cert-authority *.example.com "+key+"\n@revoked * "+key, "www.example.com:2222")
	f.Add("|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg= "+key, "192.168.1.61:22")
	f.Add("a,!b,c* "+key+" comment\r\n# x\n\nbroken", "[fd00::1]:22")
	f.Fuzz(func(t *testing.T, content, endpoint string) {
		db := &knownHosts{name: strings.ToLower(knownhosts.Normalize(endpoint))}
		db.add("file", parseKnownHosts([]byte(content)).about(db.name, db.portless))
		for _, k := range append(append([]knownKey{}, db.keys...), db.authorities...) {
			if k.key == nil || k.line < 1 || k.line > strings.Count(content, "\n")+1 {
				t.Fatalf("bad entry %+v", k)
			}
			_ = k.String()
		}
	})
}

// FuzzMatchPattern compares with a slow and obvious implementation.
func FuzzMatchPattern(f *testing.F) {
	f.Add("a*b?c", "aXXbYc")
	f.Add("***", "")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if len(pattern) > 12 || len(name) > 20 {
			t.Skip()
		}
		if got, want := matchPattern(pattern, name), slowMatch(pattern, name); got != want {
			t.Errorf("matchPattern(%q, %q) = %v", pattern, name, got)
		}
	})
}

func slowMatch(pattern, name string) bool {
	if pattern == "" {
		return name == ""
	}
	if pattern[0] == '*' {
		return slowMatch(pattern[1:], name) || name != "" && slowMatch(pattern, name[1:])
	}
	return name != "" && (pattern[0] == '?' || pattern[0] == name[0]) && slowMatch(pattern[1:], name[1:])
}

func FuzzParsePin(f *testing.F) {
	f.Add("SHA256:uNiVztksCsDhcc0u9e8BrjXmlWyRcMzv9uZGE6b2pYo")
	f.Add("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl")
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := parsePin(s); err == nil && p.fingerprint == "" {
			t.Errorf("parsePin(%q) = %+v", s, p)
		}
	})
}

// A file of known hosts is read once for many hosts, and again when it was changed.
func TestKnownHostsFiles(t *testing.T) {
	key, _ := sshtest.NewKey(t)
	other, _ := sshtest.NewKey(t)
	file := filepath.Join(t.TempDir(), "known_hosts")
	record := func(content string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	record(knownhosts.Line([]string{"a.example.com"}, key.PublicKey()) + "\nnonsense\n")
	files := NewKnownHostsFiles()
	load := func(host string) *knownHosts {
		t.Helper()
		db, err := loadKnownHosts(files, []string{file, file + ".not"}, host+":22")
		if err != nil {
			t.Fatal(err)
		}
		return db
	}
	if db := load("a.example.com"); !contains(db.keys, key.PublicKey()) || len(db.skipped) != 1 {
		t.Errorf("of a.example.com there is %v, and %v cannot be read", db.keys, db.skipped)
	}
	first := files.files[file].lines
	if db := load("b.example.com"); len(db.keys) != 0 {
		t.Errorf("of b.example.com there is %v", db.keys)
	}
	if again := files.files[file].lines; &again.all[0] != &first.all[0] {
		t.Error("a file that has not changed was read again")
	}
	record(knownhosts.Line([]string{"a.example.com", "b.example.com"}, other.PublicKey()) + "\n")
	for _, host := range []string{"a.example.com", "b.example.com"} {
		if db := load(host); contains(db.keys, key.PublicKey()) || !contains(db.keys, other.PublicKey()) {
			t.Errorf("of %s there is %v after a change", host, db.keys)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if db := load("a.example.com"); len(db.keys) != 0 {
		t.Errorf("there is %v after the file was removed", db.keys)
	}
	if _, err := loadKnownHosts(files, []string{filepath.Dir(file)}, "a.example.com:22"); err == nil {
		t.Error("a folder is taken for a file of known hosts")
	}
}
