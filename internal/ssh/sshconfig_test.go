package ssh

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWithSSHConfig(t *testing.T) {
	const content = `
# a comment
Host cp1
    HostName 10.0.0.1
    User deploy
    Port 2222
    IdentityFile ~/.ssh/cluster
Host *.example.com !bad.example.com
    HostName node-%h
    IdentityFile "/keys/%r %h"
Host jump
    ProxyJump bastion
Host command
    ProxyCommand nc %h %p
Host direct
    ProxyJump none
Host port
    Port many
Host other
    IdentityFile ~somebody/.ssh/id
Host *
    User everybody
    IdentityFile %d/.ssh/last
`
	for name, test := range map[string]struct {
		in, want Config
		err      string
	}{
		"all": {Config{Address: "cp1"}, Config{Address: "10.0.0.1", User: "deploy", Port: 2222,
			Keys: []Key{{Path: "/home/me/.ssh/cluster", Optional: true}, {Path: "/home/me/.ssh/last", Optional: true}}}, ""},
		"what is set stays": {Config{Address: "cp1", User: "me", Port: 22, Keys: []Key{{Path: "/k"}}},
			Config{Address: "10.0.0.1", User: "me", Port: 22, Keys: []Key{{Path: "/k"}}}, ""},
		"pattern": {Config{Address: "a.example.com", User: "u"}, Config{Address: "node-a.example.com", User: "u",
			Keys: []Key{{Path: "/keys/u node-a.example.com", Optional: true}, {Path: "/home/me/.ssh/last", Optional: true}}}, ""},
		"negated": {Config{Address: "bad.example.com"}, Config{Address: "bad.example.com", User: "everybody",
			Keys: []Key{{Path: "/home/me/.ssh/last", Optional: true}}}, ""},
		"no proxy": {Config{Address: "direct"}, Config{Address: "direct", User: "everybody",
			Keys: []Key{{Path: "/home/me/.ssh/last", Optional: true}}}, ""},
		"jump":       {Config{Address: "jump"}, Config{}, `jump: ssh configuration: ssh_config: ProxyJump "bastion" for host "jump" is not supported`},
		"command":    {Config{Address: "command"}, Config{}, `ProxyCommand "nc %h %p"`},
		"bad port":   {Config{Address: "port"}, Config{}, `port "many"`},
		"other home": {Config{Address: "other"}, Config{}, "home of another user"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := test.in.WithSSHConfig([]byte(content), "/home/me")
			if test.err != "" {
				wantError[*ConfigError](t, err, test.err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got.DialContext = nil
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
	if _, err := (Config{Address: "x"}).WithSSHConfig([]byte("Match exec true\n"), "/"); err == nil {
		t.Error("a Match that is not understood was ignored")
	}
}

func FuzzWithSSHConfig(f *testing.F) {
	f.Add("Host a\n HostName b\n Port 22\n IdentityFile ~/x", "a")
	f.Add("Host *\nProxyJump x", "a")
	f.Fuzz(func(t *testing.T, content, alias string) {
		c, err := Config{Address: alias, User: "u"}.WithSSHConfig([]byte(content), "/home/me")
		if err == nil && (c.Port < 0 || c.Port > 65535) {
			t.Errorf("port %d", c.Port)
		}
	})
}
