package ssh

import (
	"os/exec"
	"testing"

	"kubewright/internal/ssh/sshtest"
)

// TestLoginShells gives the command lines to every login shell that is installed here.
func TestLoginShells(t *testing.T) {
	for _, name := range []string{"sh", "dash", "bash", "busybox", "ksh", "mksh", "zsh", "csh", "tcsh", "fish"} {
		t.Run(name, func(t *testing.T) {
			path, err := exec.LookPath(name)
			if err != nil {
				t.Skipf("%s is not installed", name)
			}
			if name == "busybox" { // the shell is one of its applets
				wrapper := t.TempDir() + "/ash"
				write(t, wrapper, "#!"+path+" sh\nexec "+path+" sh \"$@\"\n")
				makeExecutable(t, wrapper)
				path = wrapper
			}
			for _, user := range []string{"root", "deploy"} {
				for _, password := range []string{"", "pa'ss"} {
					env, _ := sshtest.FakeSudo(t, sshtest.Sudo{Password: password})
					_, config := server(t, sshtest.Options{Shell: path, Env: append(env, "HOME="+t.TempDir())})
					config.User = user
					if password != "" {
						config.SudoPassword = "pa'ss"
					}
					if out := mustRun(t, connect(t, config), "echo \"out $LC_ALL\""); out != "out C\n" {
						t.Errorf("%s %q: %q", user, password, out)
					}
				}
			}
		})
	}
}
