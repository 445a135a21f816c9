package ssh

import (
	"context"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// here is a machine to read ssh_config on.
func here() Environment {
	return Environment{Home: "/home/me", User: "me", Lookup: func(name string) (string, bool) {
		value, ok := map[string]string{"KEYS": "/keys", "OTHER_AGENT": "/run/other"}[name]
		return value, ok
	}}
}

func optional(paths ...string) []Key {
	var keys []Key
	for _, path := range paths {
		keys = append(keys, Key{Path: path, Optional: true})
	}
	return keys
}

const siteConfig = `
# a comment
Host cp1
    HostName 10.0.0.1
    User deploy
    Port=2222
    IdentityFile ~/.ssh/cluster   # and one more
    User nobody
Host *.example.com !bad.example.com
    HostName node-%h
    IdentityFile "/keys/%r %h"
Host direct
    ProxyJump none
Host port
    Port many
Host other
    IdentityFile ~somebody/.ssh/id
Host command
    ProxyCommand nc %h %p
Host first
    ProxyCommand none
    ProxyJump gate
Host certified
    IdentitiesOnly yes
    IdentityFile ${KEYS}/%n-%h-%p-%r-%u-%%
    CertificateFile ~/certs/%n-cert.pub
    IdentityAgent none
    HostKeyAlias prod-%%
    UserKnownHostsFile ~/known1 "/known 2"
    GlobalKnownHostsFile none
    StrictHostKeyChecking no
Host agent
    IdentityAgent $OTHER_AGENT
Host unset
    IdentityFile ${NOT_SET}/id
Host token
    IdentityFile /keys/%C
Host name
    HostName "-oProxyCommand=$(touch pwned)"
Host who
    User "a;b"
Host gate
    User jumper
    IdentityFile ~/.ssh/gate
    Port 22022
    IdentitiesOnly yes
Host inner
    ProxyJump gate
Host deep
    ProxyJump ops@inner:2200,ssh://[2001:db8::7]:23
Host loop
    ProxyJump loop2
Host loop2
    ProxyJump loop
Host badjump
    ProxyJump gate:0
Match host 10.0.0.1,*.never user deploy
    CertificateFile /matched
Match originalhost matched !user nobody
    User found
Match originalhost asks exec "true"
    User never
Match originalhost canon canonical
    User never
Host sealed
    IdentityAgent none
    ProxyJump gate
Host *
    User everybody
    IdentityFile %d/.ssh/last
`

func TestClientConfig(t *testing.T) {
	last := "/home/me/.ssh/last"
	gate := Config{Settings: SettingsFile, Host: "bastion gate", Address: "gate", Port: 22022, User: "jumper", KnownHosts: []string{"/home/me/.ssh/known_hosts"}, GlobalKnownHosts: []string{"/etc/ssh/ssh_known_hosts"}, Keys: optional("/home/me/.ssh/gate", last), AgentSocket: "/run/agent"}
	inner := Config{Settings: SettingsFile, Host: "bastion inner", Address: "inner", User: "ops", Port: 2200, KnownHosts: []string{"/home/me/.ssh/known_hosts"}, GlobalKnownHosts: []string{"/etc/ssh/ssh_known_hosts"}, Keys: optional(last), AgentSocket: "/run/agent", Agent: true}
	for name, test := range map[string]struct {
		in, want Config
		err      string
	}{
		"all": {Config{Address: "cp1"}, Config{Address: "10.0.0.1", User: "deploy", Port: 2222,
			Keys: optional("/home/me/.ssh/cluster", last), Certificates: []string{"/matched"}}, ""},
		"what is set stays": {Config{Address: "cp1", User: "me", Port: 22, Keys: []Key{{Path: "/k"}}, Certificates: []string{"/c"}},
			Config{Address: "10.0.0.1", User: "me", Port: 22, Keys: []Key{{Path: "/k"}}, Certificates: []string{"/c"}}, ""},
		"no certificates for a key that is set": {Config{Address: "cp1", Keys: []Key{{Path: "/k"}}}, Config{Address: "10.0.0.1", User: "deploy", Port: 2222,
			Keys: []Key{{Path: "/k"}}}, ""},
		"pattern": {Config{Address: "a.example.com", User: "u"}, Config{Address: "node-a.example.com", User: "u",
			Keys: optional("/keys/u node-a.example.com", last)}, ""},
		"negated":  {Config{Address: "bad.example.com"}, Config{Address: "bad.example.com", User: "everybody", Keys: optional(last)}, ""},
		"no proxy": {Config{Address: "direct"}, Config{Address: "direct", User: "everybody", Keys: optional(last)}, ""},
		"everything else": {Config{Address: "certified", User: "u", Agent: true, AgentSocket: "/run/agent"}, Config{Address: "certified", User: "u",
			Keys: optional("/keys/certified-certified-22-u-me-%", last), Certificates: []string{"/home/me/certs/certified-cert.pub"},
			HostKeyAlias: "prod-%%", KnownHosts: []string{"/home/me/known1", "/known 2"}}, ""},
		"agent": {Config{Address: "agent", Agent: true, AgentSocket: "/run/agent"}, Config{Address: "agent", User: "everybody", Agent: true,
			AgentSocket: "/run/other", Keys: optional(last)}, ""},
		"a jump host": {Config{Address: "inner", Agent: true, AgentSocket: "/run/agent"}, Config{Address: "inner", User: "everybody", Agent: true, AgentSocket: "/run/agent",
			Keys: optional(last), Via: []Config{gate}}, ""},
		"several hops": {Config{Address: "deep", Agent: true, AgentSocket: "/run/agent"}, Config{Address: "deep", User: "everybody", Agent: true, AgentSocket: "/run/agent", Keys: optional(last),
			Via: []Config{gate, inner, {Settings: SettingsFile, Host: "bastion 2001:db8::7", Address: "2001:db8::7", Port: 23, User: "everybody",
				KnownHosts: []string{"/home/me/.ssh/known_hosts"}, GlobalKnownHosts: []string{"/etc/ssh/ssh_known_hosts"}, Keys: optional(last), AgentSocket: "/run/agent", Agent: true}}}, ""},
		"an agent for the jump host alone": {Config{Address: "sealed", Agent: true, AgentSocket: "/run/agent"}, Config{Address: "sealed", User: "everybody", Agent: true,
			Keys: optional(last), Via: []Config{gate}}, ""},
		"another way":          {Config{Address: "inner", Via: []Config{{Address: "x"}}}, Config{Address: "inner", User: "everybody", Keys: optional(last), Via: []Config{{Address: "x"}}}, ""},
		"no way":               {Config{Address: "inner", Via: []Config{}}, Config{Address: "inner", User: "everybody", Keys: optional(last), Via: []Config{}}, ""},
		"a criterion":          {Config{Address: "matched"}, Config{Address: "matched", User: "found", Keys: optional(last)}, ""},
		"canonical":            {Config{Address: "canon"}, Config{Address: "canon", User: "everybody", Keys: optional(last)}, ""},
		"the first that is":    {Config{Address: "first"}, Config{Address: "first", User: "everybody", Keys: optional(last)}, ""},
		"a program decides":    {Config{Address: "asks"}, Config{}, `asks: ssh configuration: config:61: Match: exec cannot be decided here (for "asks")`},
		"command":              {Config{Address: "command"}, Config{}, `config:19: ProxyCommand: is not supported, and holds for "command": name the hosts on the way with ProxyJump`},
		"bad port":             {Config{Address: "port"}, Config{}, `config:15: Port: "many" is not between 1 and 65535`},
		"other home":           {Config{Address: "other"}, Config{}, "config:17: IdentityFile: \"~somebody/.ssh/id\": the home of another user"},
		"variable that is not": {Config{Address: "unset"}, Config{}, `the environment variable "NOT_SET" is not set`},
		"token that is not":    {Config{Address: "token"}, Config{}, "the token %C is not supported there"},
		"hostile name":         {Config{Address: "name"}, Config{}, "config:39: HostName: "},
		"hostile user":         {Config{Address: "who"}, Config{}, `config:41: User: "a;b" is no user name`},
		"loop":                 {Config{Address: "loop"}, Config{}, "the way to loop leads through itself (loop -> loop2 -> loop)"},
		"bad jump":             {Config{Address: "badjump"}, Config{}, "config:56: ProxyJump: the port of \"gate:0\""},
	} {
		t.Run(name, func(t *testing.T) {
			file, err := parseClientConfig("config", []byte(siteConfig), here())
			if err != nil {
				t.Fatal(err)
			}
			got, err := file.Apply(test.in, "root")
			if test.err != "" {
				wantError[*ConfigError](t, err, test.err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got, cmpopts.IgnoreFields(Config{}, "DialContext", "Limiter", "Bastions"), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if (got.Via == nil) != (test.want.Via == nil) {
				t.Errorf("way %#v, want %#v", got.Via, test.want.Via)
			}
		})
	}
}

// A file that nobody may write is not recorded in, and what was switched off stays off.
func TestClientConfigKnownHosts(t *testing.T) {
	global := []string{"/etc/ssh/ssh_known_hosts"}
	for content, want := range map[string][2][]string{
		"":                          {{"/home/me/.ssh/known_hosts"}, global},
		"UserKnownHostsFile none\n": {{}, global},
		"UserKnownHostsFile none\nGlobalKnownHostsFile none\n":     {{}, {}},
		"GlobalKnownHostsFile none\n":                              {{"/home/me/.ssh/known_hosts"}, {}},
		"UserKnownHostsFile /a /b\nGlobalKnownHostsFile /c none\n": {{"/a", "/b"}, {"/c"}},
	} {
		file, err := parseClientConfig("config", []byte(content), here())
		if err != nil {
			t.Fatal(err)
		}
		c, err := file.Apply(Config{Address: "h"}, "root")
		if err != nil {
			t.Fatal(err)
		}
		c = c.WithDefaultFiles("/home/me")
		if diff := cmp.Diff(want, [2][]string{c.KnownHosts, c.GlobalKnownHosts}); diff != "" {
			t.Errorf("%q: -want +got\n%s", content, diff)
		}
		c.TrustOnFirstUse = true
		if err := c.validate(); (err != nil) != (len(c.KnownHosts) == 0) {
			t.Errorf("%q: trust on first use: %v", content, err)
		}
	}
}

// Whoever asks for no key has none offered, of the default ones or of the agent.
func TestClientConfigNoKeys(t *testing.T) {
	key, _ := rawKey(t)
	socket, asked := startAgent(t, key)
	file, err := parseClientConfig("config", []byte("IdentityFile none\nIdentitiesOnly yes\n"), here())
	if err != nil {
		t.Fatal(err)
	}
	c, err := file.Apply(Config{Address: "h", Agent: true, AgentSocket: socket}, "root")
	if err != nil {
		t.Fatal(err)
	}
	c = c.WithDefaultFiles("/home/me").withDefaults()
	if len(c.Keys) > 0 {
		t.Errorf("keys %v", c.Keys)
	}
	login, closeAgent := newLogin(t.Context(), c, nil)
	defer closeAgent()
	if signers, err := login.signers(); len(signers) > 0 || err != nil {
		t.Errorf("%d keys are offered, %v", len(signers), err)
	}
	login.config.Agent = true
	if signers, err := login.signers(); len(signers) != 1 || err != nil || asked.Load() == 0 {
		t.Errorf("%d keys of the agent are offered, %v", len(signers), err)
	}
}

// What the inventory says of agent and known hosts holds for jump hosts, theirs too.
func TestClientConfigJumpHostsFollowTheInventory(t *testing.T) {
	file, err := parseClientConfig("config", []byte("Host x\nProxyJump y\nHost y\nProxyJump z\nHost z\nProxyJump w\nUserKnownHostsFile /of-z\nGlobalKnownHostsFile none\n"), here())
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		in    Config
		agent bool
	}{
		"agent: false":           {Config{KnownHosts: []string{"/known"}}, false},
		"agent":                  {Config{KnownHosts: []string{"/known"}, Agent: true}, true},
		"a key of the host":      {Config{KnownHosts: []string{"/known"}, Keys: []Key{{Path: "/k"}}}, true},
		"a password of the host": {Config{KnownHosts: []string{"/known"}, Password: "hunter2"}, true},
	} {
		test.in.Address, test.in.AgentSocket = "x", "/run/agent"
		got, err := file.Apply(test.in, "root")
		if err != nil || len(got.Via) != 3 {
			t.Fatalf("%s: %+v, %v", name, got.Via, err)
		}
		for _, hop := range got.Via {
			known := map[string]string{"y": "/known", "z": "/of-z", "w": "/known"}[hop.Address]
			if hop.Agent != test.agent || !slices.Equal(hop.KnownHosts, []string{known}) || len(hop.GlobalKnownHosts) > 0 {
				t.Errorf("%s: %s has %v, %q, %q", name, hop.Address, hop.Agent, hop.KnownHosts, hop.GlobalKnownHosts)
			}
		}
	}
}

// Nobody says who logs in.
func TestClientConfigUser(t *testing.T) {
	file, err := parseClientConfig("config", []byte("Host x\nProxyJump y\n"), here())
	if err != nil {
		t.Fatal(err)
	}
	got, err := file.Apply(Config{Address: "x"}, "root")
	if err != nil || got.User != "root" || len(got.Via) != 1 || got.Via[0].User != "me" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestClientConfigFaults(t *testing.T) {
	for content, want := range map[string]string{
		"Hostnmae x\n":                    "config:1: Hostnmae: there is no such keyword",
		"\nUser \"a\n":                    `config:2: User: a quote (") is not closed`,
		"Port\n":                          "config:1: Port: has no value",
		"HostName a b\n":                  "config:1: HostName: has 2 values",
		"Include config\n":                "files include each other more than 16 deep",
		"Include ~x/y\n":                  "the home of another user",
		"Include [\n":                     "syntax error in pattern",
		"IgnoreUnknown Use*\nUseless x\n": "",
		"Host a # b\n User x\n":           "",
		"UseKeychain yes\n":               "no such keyword",
		"RevokedHostKeys /x\n":            `config:1: RevokedHostKeys: is not supported, and holds for "h"`,
		"CanonicalizeHostname yes\n":      "write whole host names",
		"CanonicalizeHostname no\n":       "",
		"Host z\nRevokedHostKeys /x\n":    "",
		"IdentitiesOnly maybe\n":          "neither yes nor no",
		"Match all host x\n":              "all stands alone",
		"Match host\n":                    "host has no pattern",
		"Match final\n":                   "final cannot be decided",
		"CertificateFile ~x\n":            "CertificateFile: ",
		"IdentityAgent ~x\n":              "IdentityAgent: ",
		"GlobalKnownHostsFile /%y\n":      "GlobalKnownHostsFile: ",
		"HostName %p\n":                   "the token %p is not supported there",
		"HostName a%\n":                   "ends in the middle of a token",
		"ProxyJump %C\n":                  "the token %C",
		"ProxyJump a@\n":                  `"" is no name`,
		"ProxyJump u:pw@h\n":              "the user of a jump host is no user name",
		"ProxyJump [::1]x\n":              "is not [user@]host[:port]",
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "config")
		write(t, path, content)
		env := here()
		env.Home = dir
		if content == "Include config\n" {
			write(t, path, "Include "+path+"\n")
		}
		file, err := ReadClientConfig(path, env)
		if err == nil {
			_, err = file.Apply(Config{Address: "h"}, "root")
		}
		switch {
		case want == "" && err != nil:
			t.Errorf("%q: %v", content, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: error %v, want %s", content, err, want)
		case err != nil && !strings.Contains(err.Error(), path+":"):
			t.Errorf("%q: the file and the line are not told: %v", content, err)
		case err != nil && strings.Contains(err.Error(), "pw"):
			t.Errorf("a password is told: %v", err)
		}
	}
	if _, err := ReadClientConfig("/nonexistent/config", here()); err == nil || !strings.Contains(err.Error(), "/nonexistent/config") {
		t.Errorf("error %v", err)
	}
}

// What is read out of files is what OpenSSH's own client reads out of them.
func TestClientConfigAgainstOpenSSH(t *testing.T) {
	program, err := exec.LookPath("ssh")
	if err != nil {
		t.Skip("OpenSSH's ssh is not installed")
	}
	dir := t.TempDir()
	write(t, dir+"/more", "User included\nHost b\n  Port 7\nMatch host c\n  Port 8\n")
	write(t, dir+"/more2", "IdentityFile /from/more2\n")
	hosts := []string{"a", "c", "ab", "a.b.c"}
	for _, content := range []string{
		"", "Host a\nPort 1\nHost *\nPort 2\n", "Host a b\n User x\n", "Host * !a\nUser x\n", "Host !a\nUser x\n", "Host a?\nUser x\nHost *.c\nUser y\n",
		"user first\nUSER second\n", "Port=5\n", "Port = 5\n", "Port \t 5  \n", "\tHost a\r\n\tPort 5\r\n", "Host \"a\"\n User \"x\"\n", "Host \"a b\"\nPort 3\n",
		"User x # y\n", "User x#y\n", "User 'x'\n", "IdentityFile \"/a b\"\nIdentityFile /c\n", "IdentityFile '/a \"b'\n", "IdentityFile /a\\ b\n", "IdentityFile \"/a\\\"b\"\n",
		"IdentitiesOnly yes\n", "CertificateFile /x\nCertificateFile /y\n", "HostKeyAlias z\n", "UserKnownHostsFile /a \"/b c\"\n", "UserKnownHostsFile /a\nUserKnownHostsFile /b\n",
		"ProxyJump j\n", "ProxyJump u@j:22,k\n", "ProxyJump none\n", "Host a\nProxyJump none\nHost *\nProxyJump j\n", "ProxyCommand none\nProxyJump j\n", "ProxyJump j\nProxyCommand none\n",
		"HostName %h.example.com\n", "HostName 100%%\n", "Host a\nHostName b\nHost b\nPort 9\n", "Host a\nHostName c\nMatch host c\nPort 9\n", "Match originalhost a\nPort 9\n",
		"Match !host a\nPort 9\n", "Match host a,c\nPort 9\n", "Match host *,!a\nPort 9\n", "Match all\nPort 9\n", "Match user nobody-here\nPort 9\n", "User x\nMatch user x\nPort 9\n",
		"Match host a originalhost a\nPort 9\n", "Match canonical\nPort 9\n", "Match !canonical host a\nPort 9\n",
		"Include " + dir + "/more\n", "Host a\nInclude " + dir + "/more\nHost c\nPort 3\n", "Host a\nInclude " + dir + "/more\nUser late\n", "Include " + dir + "/more*\n",
		"Include " + dir + "/missing\nPort 4\n", "IgnoreUnknown Foo*,Bar\nFooBar x\nBar y\nPort 6\n", "Nonsense x\n", "Port 70000\n", "Port 0\n", "User\n", "HostName a b\n", "User \"x\n", "Host\n",
	} {
		path := filepath.Join(dir, "config")
		write(t, path, content)
		env := here()
		env.Home = dir
		file, parseErr := ReadClientConfig(path, env)
		for _, alias := range hosts {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			out, sshErr := exec.CommandContext(ctx, program, "-G", "-F", path, alias).Output()
			cancel()
			err := parseErr
			var s sshSettings
			if err == nil {
				s, err = file.settings(alias, "root", false)
			}
			if err == nil {
				_, err = file.Apply(Config{Address: alias, Via: []Config{}}, "root")
			}
			if (err == nil) != (sshErr == nil) {
				t.Errorf("%q: %s: error %v, of ssh %v", content, alias, err, sshErr)
				continue
			}
			if err == nil {
				compareWithSSH(t, content, alias, s, string(out))
			}
		}
	}
}

// compareWithSSH compares the settings of a host with those that `ssh -G` prints.
func compareWithSSH(t *testing.T, content, alias string, s sshSettings, printed string) {
	t.Helper()
	theirs := map[string][]string{}
	for line := range strings.Lines(printed) {
		keyword, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		theirs[keyword] = append(theirs[keyword], value)
	}
	for _, keyword := range []string{"user", "port", "identitiesonly", "proxyjump", "hostkeyalias", "userknownhostsfile"} {
		if !s.has(keyword) || s.value(keyword) == "none" {
			continue
		}
		if got := strings.Join(s.items[keyword].args, " "); len(theirs[keyword]) != 1 || got != theirs[keyword][0] {
			t.Errorf("%q: %s: %s is %q, of ssh %q", content, alias, keyword, got, theirs[keyword])
		}
	}
	if !s.has("port") && !slices.Equal(theirs["port"], []string{"22"}) || (!s.has("proxyjump") || s.value("proxyjump") == "none") && len(theirs["proxyjump"]) > 0 {
		t.Errorf("%q: %s: ssh has port %q and proxyjump %q", content, alias, theirs["port"], theirs["proxyjump"])
	}
	name, err := expandTokens(s.value("hostname"), map[byte]string{'h': alias})
	if name == "" {
		name = alias
	}
	// ssh takes the name that is asked for in lower case.
	if err != nil || !strings.EqualFold(name, theirs["hostname"][0]) {
		t.Errorf("%q: %s: hostname %q (%v), of ssh %q", content, alias, name, err, theirs["hostname"])
	}
	for keyword, items := range map[string][]configItem{"identityfile": s.keys, "certificatefile": s.certs} {
		var ours []string
		for _, item := range items {
			ours = append(ours, item.args[0])
		}
		if len(ours) > 0 && !slices.Equal(ours, theirs[keyword]) {
			t.Errorf("%q: %s: %s is %q, of ssh %q", content, alias, keyword, ours, theirs[keyword])
		}
	}
}

func FuzzWithSSHConfig(f *testing.F) {
	f.Add("Host a\n HostName b\n Port 22\n IdentityFile ~/x", "a")
	f.Add("Host *\nProxyJump x", "a")
	f.Add("Match host a user b\nProxyJump u@[::1]:2,x\nUser \"%h\"\n", "a")
	f.Fuzz(func(t *testing.T, content, alias string) {
		if strings.Contains(strings.ToLower(content), "include") {
			t.Skip("files of this machine")
		}
		file, err := parseClientConfig("config", []byte(content), here())
		if err != nil {
			return
		}
		c, err := file.Apply(Config{Address: alias}, "u")
		if err != nil {
			return
		}
		for _, c := range c.Way() {
			if c.Port < 0 || c.Port > 65535 || c.Address != alias && plainName(c.Address) != nil || plainName(c.User) != nil {
				t.Errorf("%+v", c)
			}
		}
	})
}

// Hostile texts in any value are refused, with the file and the line, or are that very text in what a
// connection is made with.
func TestClientConfigHostileTexts(t *testing.T) {
	for _, text := range []string{
		"$(touch pwned)", "`id`", "; rm -rf .", "a b", `it's "quoted"`, `back\slash`, "\ta", "a\x00b", "a\x1b[2Jb", "-oProxyCommand=x", "*", "%n %s", "${HOME}", "#x", "~root", "{{ x }}", "é日本", strings.Repeat("x", 300), "a,b", "!a", "..",
	} {
		quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
		getters := map[string]func(Config) string{
			"HostName": func(c Config) string { return c.Address }, "User": func(c Config) string { return c.User },
			"HostKeyAlias":         func(c Config) string { return c.HostKeyAlias },
			"IdentityFile":         func(c Config) string { return c.Keys[0].Path },
			"CertificateFile":      func(c Config) string { return c.Certificates[0] },
			"UserKnownHostsFile":   func(c Config) string { return c.KnownHosts[0] },
			"GlobalKnownHostsFile": func(c Config) string { return c.GlobalKnownHosts[0] },
			"IdentityAgent":        func(c Config) string { return c.AgentSocket },
			"ProxyJump":            func(c Config) string { return c.Via[len(c.Via)-1].Address },
			"Port":                 func(Config) string { return "a number" },
			"IdentitiesOnly":       func(Config) string { return "yes or no" },
		}
		if len(getters) != len(understoodKeywords()) {
			t.Fatal("not every keyword is tried")
		}
		for keyword, get := range getters {
			file, err := parseClientConfig("config", []byte("# one line\n"+keyword+" "+quoted+"\n"), here())
			var c Config
			if err == nil {
				c, err = file.Apply(Config{Address: "h"}, "root")
			}
			switch {
			case err != nil && (!strings.Contains(err.Error(), "config:2: "+keyword) || strings.ContainsAny(err.Error(), "\x00\x1b\n")):
				t.Errorf("%s %s: %q", keyword, quoted, err)
			case err == nil && get(c) != text && !(keyword == "ProxyJump" && strings.HasSuffix(text, ","+get(c))):
				t.Errorf("%s %s: became %q", keyword, quoted, get(c))
			}
		}
	}
}
