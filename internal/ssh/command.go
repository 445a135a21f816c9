package ssh

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"

	"kubewright/internal/host"
)

// environment is all that a script sees. HOME and the like are root's, since the script is run
// by root, however the login came about.
const environment = "env -i LC_ALL=C HOME=/root USER=root LOGNAME=root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// launch is how the root shell of one Run is started: a command line of constant shape, in the
// part of the language that sh, bash, dash, zsh, csh and fish share.
//
// The shell says ready on both its outputs, on a line of its own with its entry of proc(5) behind
// the word, and then drops its input up to the same word before it takes the rest for the script. So whatever the login shell printed
// before is told from what the script prints, a script is never read by something else (a
// forced command, a .bashrc that reads), and a sudo password can never be taken for a part of
// the script.
type launch struct {
	ready  string // random word that opens the conversation in both directions
	prompt string // random prompt of sudo; empty: sudo must not ask
	line   string
	kind   host.ScriptKind
}

// newLaunch returns the command line for user; withPassword says that there is a password to
// answer sudo with.
func newLaunch(user string, withPassword bool) launch {
	l := launch{ready: randomWord("ready")}
	shell := fmt.Sprintf("%s sh -c 'read -r id 2>/dev/null </proc/$$/stat; echo; echo %[2]s $id; (echo; echo %[2]s $id) >&2; "+
		"while read -r word; do case $word in %[2]s) exec sh -s;; esac; done; exit 1'", environment, l.ready)
	switch {
	case user == "root":
		l.line = "exec " + shell
	case withPassword:
		l.prompt = randomWord("prompt")
		l.line = "exec env LC_ALL=C sudo -S -p " + l.prompt + " -- " + shell
	default:
		l.line = "exec env LC_ALL=C sudo -n -- " + shell
	}
	return l
}

// randomWord returns a word that nobody can have guessed, of characters that no shell and no
// prompt escape of sudo treats specially.
func randomWord(kind string) string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return "kubewright-" + kind + "-" + hex.EncodeToString(b[:])
}

// refusal is what is known when a login did not lead to a root shell.
type refusal struct {
	stdout, stderr string
	code           int
	asked          bool // sudo asked for the password and got it
	askedAgain     bool // ... and asked once more
	silent         bool // nothing came within the time given
}

// explainRefusal says why there is no root shell: sudo's fault or the login shell's.
func (c *Client) explainRefusal(r refusal) error {
	if c.config.User == "root" {
		return c.shellError(r)
	}
	err := &host.SudoError{Host: c.config.Host, User: c.config.User, Stderr: c.hide(strings.TrimSpace(r.stderr))}
	said := strings.ToLower(r.stderr)
	switch {
	case r.askedAgain, r.asked && strings.Contains(said, "incorrect"), r.asked && strings.Contains(said, "try again"):
		err.Reason = "sudo did not accept the password; it was sent once and is not tried again"
		err.Remedy = "correct ssh.sudo.password"
	case strings.Contains(said, "password is required"), strings.Contains(said, "authentication is required"):
		err.Reason = "sudo wants a password"
		err.Remedy = "set ssh.sudo.password (env:NAME or file:PATH), or allow the user NOPASSWD in sudoers"
	case strings.Contains(said, "must have a tty"):
		err.Reason = "sudo wants a terminal"
		err.Remedy = fmt.Sprintf("put this in sudoers: Defaults:%s !requiretty", c.config.User)
	case strings.Contains(said, "not in the sudoers file"), strings.Contains(said, "may not run sudo"),
		strings.Contains(said, "not allowed to execute"), strings.Contains(said, "not allowed to run"),
		strings.Contains(said, "i'm afraid i can't do that"): // sudo-rs
		err.Reason = "sudo does not allow it"
		err.Remedy = fmt.Sprintf("put this in sudoers: %s ALL=(ALL) ALL, or log in as another user", c.config.User)
	case r.code == 127 || strings.Contains(said, "command not found"), strings.Contains(said, "'sudo': no such file"):
		err.Reason = "there is no sudo"
		err.Remedy = "install sudo on the host, or log in as root"
	case r.silent && r.asked:
		err.Reason = "sudo did not answer in time after it was given the password"
		err.Remedy = "look at sudo's log on the host (a slow PAM module or directory service)"
	case r.silent:
		err.Reason = "sudo did not answer in time"
		err.Remedy = "try on the host: sudo true"
	case strings.Contains(said, "sudo"):
		err.Reason = fmt.Sprintf("sudo failed with exit status %d", r.code)
		err.Remedy = "try on the host: sudo true"
	default:
		return c.shellError(r)
	}
	return err
}

func (c *Client) shellError(r refusal) error {
	output := strings.TrimSpace(strings.TrimSpace(r.stdout) + "\n" + strings.TrimSpace(r.stderr))
	err := &host.ShellError{Host: c.config.Host, User: c.config.User, Output: c.hide(output), Code: r.code}
	said := strings.ToLower(output)
	switch {
	case strings.Contains(said, "please login as the user"):
		err.Remedy = "set ssh.user to the user that it names"
	case r.silent:
		err.Code = -1
		err.Remedy = "it said nothing in time: look for a command that waits in the account's shell startup files"
	default:
		err.Remedy = "give the account a login shell such as /bin/sh, and look for a forced command in sshd_config and authorized_keys"
	}
	return err
}
