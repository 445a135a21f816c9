//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A user who is not root works through sudo, with or without a password; a wrong password is
// tried once on each host, for another try might lock the account.
func TestSudo(t *testing.T) {
	besideOthers(t)
	spec := labSpec{name: "e2e-sudo", subnet: "10.124.0.0/24", controlPlanes: 1, workers: 1, login: "sudo"}
	l := newLab(t, spec)
	plan := func(code int) result {
		t.Helper()
		return l.tool(t, "plan", "--detailed-exitcode", "--stats").want(t, code)
	}
	login := func(name string) {
		t.Helper()
		spec.login = name
		kubewright(t, spec.upArgs(l.dir)...).want(t, exitDone)
	}
	wantExecs(t, plan(exitPending), 2, map[string]int{"": bareExecs})

	login("sudo-password")
	wantExecs(t, plan(exitPending).says(t, "unit:kubelet.service"), 2, map[string]int{"": bareExecs})

	path := filepath.Join(l.dir, "sudo_password")
	if err := os.WriteFile(path, []byte("a wrong one\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := plan(exitUnreachable).says(t, "cp1", "worker1", "sudo", "password")
	if strings.Contains(r.stdout+r.stderr, "a wrong one") {
		t.Errorf("the password is shown\n%s", r)
	}

	login("root")
	for _, n := range l.nodes(t) {
		// Its summary of each use of sudo, and PAM's line for each try.
		log := l.on(t, n.Name, "journalctl --no-pager -q _COMM=sudo")
		if tries := strings.Count(log, "incorrect password attempt"); tries != 1 || !strings.Contains(log, "1 incorrect password attempt") {
			t.Errorf("sudo was tried on %s with a wrong password other than once:\n%s", n.Name, log)
		}
	}
}
