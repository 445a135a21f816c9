package sshtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Sudo says how a fake sudo behaves.
type Sudo struct {
	Password string // what it asks for; empty: it asks nothing (NOPASSWD)
	Fail     string // a message on stderr and exit status 1, whatever is asked
	Prefix   string // printed on stderr before the prompt, as the lecture is
	Style    string // format of the prompt with one %s; default "%s", sudo-rs: "[sudo: %s] Password: "
	Hang     bool   // never answer
}

// FakeSudo writes a sudo that obeys -n, -S, -p and -- and returns an environment in which
// commands find it, and the file in which it notes every password it was given, one a line.
func FakeSudo(t testing.TB, s Sudo) (env []string, log string) {
	t.Helper()
	dir := t.TempDir()
	log = filepath.Join(dir, "passwords")
	if s.Style == "" {
		s.Style = "%s"
	}
	script := fmt.Sprintf(fakeSudo, quote(log), quote(s.Password), quote(s.Fail), quote(s.Prefix), quote(s.Style))
	if s.Hang {
		script = "#!/bin/sh\nexec sleep 600\n"
	}
	if err := os.WriteFile(filepath.Join(dir, "sudo"), []byte(script), 0o700); err != nil { //nolint:gosec // it is a program
		t.Fatalf("sshtest: %v", err)
	}
	return []string{"PATH=" + dir + ":" + os.Getenv("PATH")}, log
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

const fakeSudo = `#!/bin/sh
log=%s password=%s fail=%s prefix=%s style=%s
prompt=Password: ask=
while [ $# -gt 0 ]; do
	case $1 in
	-n) ask=never;;
	-S) ask=stdin;;
	-p) prompt=$2; shift;;
	--) shift; break;;
	-*) echo "sudo: unknown option $1" >&2; exit 1;;
	*) break;;
	esac
	shift
done
if [ -n "$fail" ]; then echo "$fail" >&2; exit 1; fi
if [ -n "$password" ]; then
	case $ask in
	never) echo 'sudo: a password is required' >&2; exit 1;;
	stdin) ;;
	*) echo 'sudo: a terminal is required to read the password' >&2; exit 1;;
	esac
	printf '%%s' "$prefix" >&2
	tries=0
	while :; do
		printf "$style" "$prompt" >&2
		IFS= read -r given || { echo 'sudo: no password was provided' >&2; exit 1; }
		printf '%%s\n' "$given" >> "$log"
		[ "$given" = "$password" ] && break
		tries=$((tries + 1))
		if [ $tries -ge 3 ]; then echo "sudo: $tries incorrect password attempts" >&2; exit 1; fi
		echo 'Sorry, try again.' >&2
	done
fi
exec "$@"
`
