package sshtest

import (
	"os"
	"path/filepath"
	"testing"
)

// NoisyHome makes a home folder in which every login shell speaks on both outputs before it runs a
// command, ends with half a line, and leaves a file called spoke there. Of the shells dash, ksh and mksh
// begin with no file when they run a command.
func NoisyHome(t testing.TB) string {
	t.Helper()
	home := t.TempDir()
	const sh = "touch \"$HOME/spoke\"; echo noise; echo trouble >&2; printf 'no line break'\n"
	const csh = "touch \"$HOME/spoke\"\necho noise\necho -n 'no line break'\n"
	for name, content := range map[string]string{
		".bashrc": sh, ".bash_profile": sh, ".profile": sh, ".zshenv": sh, ".zshrc": sh, ".kshrc": sh, ".mkshrc": sh,
		".cshrc": csh, ".tcshrc": csh, ".config/fish/config.fish": sh,
	} {
		path := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatalf("sshtest: %v", err)
		}
		writeFile(t, path, content)
	}
	return home
}
