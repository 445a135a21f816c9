package ssh

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"kubewright/internal/host"
	"kubewright/internal/secret"
	"kubewright/internal/ssh/sshtest"
)

// sudoHost is a host where the login user is not root and sudo behaves as told. It returns the
// passwords that sudo was given so far, too.
func sudoHost(t *testing.T, sudo sshtest.Sudo, o sshtest.Options) (*sshtest.Server, Config, func() []string) {
	t.Helper()
	env, log := sshtest.FakeSudo(t, sudo)
	o.Env = env
	s, config := server(t, o)
	config.User = "deploy"
	return s, config, func() []string { return strings.Split(strings.TrimSuffix(read(t, log), "\n"), "\n") }
}

func TestSudo(t *testing.T) {
	const password = `p'a"s$s w\ö%d!`
	for name, test := range map[string]struct {
		sudo  sshtest.Sudo
		have  secret.String
		given string // what sudo must have been given
	}{
		"no password needed":            {sshtest.Sudo{}, "", ""},
		"no password needed, one given": {sshtest.Sudo{}, password, ""},
		"password":                      {sshtest.Sudo{Password: password}, password, password},
		"lecture first":                 {sshtest.Sudo{Password: password, Prefix: "We trust you have received the usual lecture\n\n"}, password, password},
		"sudo-rs":                       {sshtest.Sudo{Password: password, Style: "[sudo: %s] Password: "}, password, password},
	} {
		t.Run(name, func(t *testing.T) {
			s, config, given := sudoHost(t, test.sudo, sshtest.Options{Prelude: "noise"})
			config.SudoPassword = test.have
			client := connect(t, config)
			script := "echo out; echo err >&2; echo $LC_ALL\n"
			for range 2 {
				if out := mustRun(t, client, script); out != "out\nC\n" {
					t.Errorf("got %q", out)
				}
			}
			if s.Execs() != 2 {
				t.Errorf("%d execs for 2 scripts", s.Execs())
			}
			want := strings.Split(strings.TrimSuffix(strings.Repeat(test.given+"\n", 2), "\n"), "\n")
			if test.given == "" {
				want = []string{""}
			}
			if got := given(); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("sudo was given %q, want %q", got, want)
			}
			for _, line := range s.Commands() {
				if strings.Contains(line, password) {
					t.Error("the password is in the command line")
				}
			}
			_, err := run(t, client, "echo reason >&2; exit 4")
			if exit := wantError[*host.ExitError](t, err); exit.Code != 4 || string(exit.Stderr) != "reason\n" {
				t.Errorf("%+v %q", exit, exit.Stderr)
			}
		})
	}
}

func TestSudoCommandLine(t *testing.T) {
	const shell = "env -i LC_ALL=C HOME=/root USER=root LOGNAME=root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin sh -c 'read -r id"
	for _, test := range []struct {
		user     string
		password bool
		want     string
	}{
		{"root", false, "exec " + shell},
		{"root", true, "exec " + shell},
		{"deploy", false, "exec env LC_ALL=C sudo -n -- " + shell},
		{"deploy", true, "exec env LC_ALL=C sudo -S -p PROMPT -- " + shell},
	} {
		l := newLaunch(test.user, test.password)
		line := l.line
		if l.prompt != "" {
			line = strings.ReplaceAll(line, l.prompt, "PROMPT")
		}
		if !strings.HasPrefix(line, test.want) {
			t.Errorf("%s %v: %s", test.user, test.password, line)
		}
		if strings.ContainsAny(l.line, "!\"`\\\n") || strings.Count(l.line, "'") != 2 {
			t.Errorf("not every shell reads this alike: %s", l.line)
		}
	}
}

func TestSudoRefused(t *testing.T) {
	for name, test := range map[string]struct {
		sudo sshtest.Sudo
		have secret.String
		want []string
	}{
		"password needed":     {sshtest.Sudo{Password: "x1y2"}, "", []string{"wants a password", "ssh.sudo.password", "NOPASSWD"}},
		"requiretty":          {sshtest.Sudo{Fail: "sudo: sorry, you must have a tty to run sudo"}, "s3cret", []string{"terminal", "Defaults:deploy !requiretty"}},
		"not in sudoers":      {sshtest.Sudo{Fail: "deploy is not in the sudoers file."}, "s3cret", []string{"does not allow", "deploy ALL=(ALL) ALL"}},
		"command forbidden":   {sshtest.Sudo{Fail: "Sorry, user deploy is not allowed to execute '/bin/sh' as root on h."}, "", []string{"does not allow"}},
		"sudo-rs may not":     {sshtest.Sudo{Fail: "sudo: I'm sorry deploy. I'm afraid I can't do that"}, "", []string{"does not allow"}},
		"broken sudoers":      {sshtest.Sudo{Fail: "sudo: parse error in /etc/sudoers near line 3"}, "", []string{"parse error", "sudo true"}},
		"hangs":               {sshtest.Sudo{Hang: true}, "", []string{"did not answer in time"}},
		"hangs, password":     {sshtest.Sudo{Hang: true}, "s3cret", []string{"did not answer in time"}},
		"echoes the password": {sshtest.Sudo{Fail: "sudo: s3cret is no password"}, "s3cret", []string{"[redacted] is no password"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, config, given := sudoHost(t, test.sudo, sshtest.Options{})
			config.SudoPassword = test.have
			config.Timeouts.Start = 500 * time.Millisecond
			_, err := run(t, connect(t, config), "echo never")
			sudo := wantError[*host.SudoError](t, err, append(test.want, "cp1", `"deploy"`)...)
			if sudo.Remedy == "" {
				t.Error("no remedy")
			}
			if test.have != "" && strings.Contains(fmt.Sprintf("%v %+v", err, *sudo), test.have.Reveal()) {
				t.Errorf("the password is in the error: %+v", *sudo)
			}
			if got := given(); got[0] != "" {
				t.Errorf("sudo was given %q", got)
			}
		})
	}
}

func TestSudoMissing(t *testing.T) {
	_, config := server(t, sshtest.Options{Forced: "exec env LC_ALL=C no-such-sudo -n"})
	config.User = "deploy"
	_, err := run(t, connect(t, config), "echo never")
	wantError[*host.SudoError](t, err, "there is no sudo", "install sudo")
}

// TestSudoWrongPassword tries a wrong password exactly once, so that a run over many hosts or
// phases cannot lock the account, and says so.
func TestSudoWrongPassword(t *testing.T) {
	_, config, given := sudoHost(t, sshtest.Sudo{Password: "right"}, sshtest.Options{})
	config.SudoPassword = "wr0ng-one"
	_, err := run(t, connect(t, config), "echo never")
	sudo := wantError[*host.SudoError](t, err, "did not accept the password", "sent once")
	if got := given(); len(got) != 1 || got[0] != "wr0ng-one" {
		t.Errorf("sudo was given %q", got)
	}
	if strings.Contains(fmt.Sprintf("%v %+v %#v", err, *sudo, err), "wr0ng-one") {
		t.Errorf("the password is in the error: %+v", *sudo)
	}
}

// TestSudoTracedShell has a login shell that repeats every command on standard error, our prompt
// marker included: the password must be sent for the prompt, not for the echo.
func TestSudoTracedShell(t *testing.T) {
	shell := t.TempDir() + "/shell"
	write(t, shell, "#!/bin/sh\nexec /bin/sh -x \"$@\"\n")
	makeExecutable(t, shell)
	_, config, given := sudoHost(t, sshtest.Sudo{Password: "right"}, sshtest.Options{Shell: shell})
	config.SudoPassword = "right"
	if out := mustRun(t, connect(t, config), "echo out"); out != "out\n" {
		t.Errorf("got %q", out)
	}
	if got := given(); len(got) != 1 || got[0] != "right" {
		t.Errorf("sudo was given %q", got)
	}
}

// TestSudoPasswordIsNotScript has a program in sudo's place that shows our prompt and does not
// read the password: the shell must not take it for a command.
func TestSudoPasswordIsNotScript(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/sudo", "#!/bin/sh\nshift\nprintf %s \"$2\" >&2\nsleep 0.2\nshift 3\nexec \"$@\"\n")
	makeExecutable(t, dir+"/sudo")
	_, config := server(t, sshtest.Options{Env: []string{"PATH=" + dir + ":/usr/bin:/bin"}})
	config.User, config.SudoPassword = "deploy", "touch "+secret.String(dir)+"/ran"
	out, err := run(t, connect(t, config), "echo out; exit 5")
	if exit := wantError[*host.ExitError](t, err); exit.Code != 5 || out != "out\n" || len(exit.Stderr) != 0 {
		t.Errorf("%q %+v", out, exit)
	}
	if read(t, dir+"/ran") != "" {
		t.Error("the password was run as a command")
	}
}

// TestSudoPasswordNeedsPrompt has a shell start-up that asks for a password itself: nothing but
// our own marker may make us answer.
func TestSudoPasswordNeedsPrompt(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/shell", "#!/bin/sh\nprintf '[sudo] password for deploy: Password: ' >&2\nIFS= read -r given\nprintf %s \"$given\" > "+dir+"/given\n")
	makeExecutable(t, dir+"/shell")
	_, config := server(t, sshtest.Options{Shell: dir + "/shell"})
	config.User, config.SudoPassword = "deploy", "s3cret"
	config.Timeouts.Start = 300 * time.Millisecond
	_, err := run(t, connect(t, config), "echo never")
	var refused *host.SudoError
	if !errors.As(err, &refused) {
		t.Errorf("error %v", err)
	}
	if got := read(t, dir+"/given"); got != "" {
		t.Errorf("%q was sent to a stranger", got)
	}
}
