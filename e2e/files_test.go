//go:build e2e

package e2e

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fullFolder gives a host a small file system of its own over a folder, which something else fills as
// soon as a path is there. What is mounted below the folder stays in reach. undo takes it away again.
const (
	fullFolder = `
		folder=%[1]s trigger=%[2]s
		mkdir -p /run/kept
		mount --rbind $folder /run/kept
		mount --make-rprivate /run/kept
		mount -t tmpfs -o size=576m,mode=$(stat -c %%a $folder) tmpfs $folder
		for sub in containerd kubelet etcd; do
			if mountpoint -q /run/kept/$sub; then mkdir $folder/$sub; mount --bind /run/kept/$sub $folder/$sub; fi
		done
		systemd-run --quiet --collect --unit=filler sh -c "until [ -e $trigger ]; do sleep 0.02; done; dd if=/dev/zero of=$folder/filler bs=1M"`
	freedFolder = `
		systemctl stop filler 2>/dev/null || true
		! mountpoint -q /run/kept || { umount -R %[1]s; umount -R /run/kept; }`
)

// A disk that is filled in the middle of a run makes the run fail with the host's name, nothing
// half written gets a final name, and once there is room the same command goes on.
func TestFullDisk(t *testing.T) {
	long(t)
	for _, tc := range []struct{ name, folder, trigger, found string }{
		{"Upload", "/tmp", "/tmp/kubewright-*", "a full disk is reported as a plain failure"}, // which is all that SFTP says
		{"Install", "/var/lib", "/var/lib/kubewright/cache", "No space left on device"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := faults.bareAgain(t).copied(t, "  artifacts:\n", "  artifacts:\n    delivery: push\n")
			const host = "worker1"
			free := l.undone(t, host, fmt.Sprintf(freedFolder, tc.folder))
			l.on(t, host, fmt.Sprintf(fullFolder, tc.folder, tc.trigger))

			phases := strings.Join(hostPhases(t), ",")
			r := l.tool(t, "apply", "--yes", "--phase", phases).want(t, exitChangeFailed)
			if !said(r.stderr, fault{host, tc.found}) {
				t.Errorf("no line says that the disk of %s is full\n%s", host, r)
			}
			got, want := l.installed(t, host), l.installed(t, "worker2")
			for path, digest := range got {
				if want[path] != digest {
					t.Errorf("%s has a file %s that another worker has not, or not with that content", host, path)
				}
			}

			free()
			l.tool(t, "apply", "--yes", "--phase", phases).want(t, exitDone)
			if now := l.installed(t, host); !maps.Equal(now, want) {
				t.Errorf("what is installed differs from worker2: %v, %v", now, want)
			}
			l.wantSilence(t, "what the run left", `find / -xdev \( -name '*.kw-tmp*' -o -path '/tmp/kubewright-*' -o -path '/var/lib/kubewright/cache/*' \) -print`)
		})
	}
}

// hostPhases are the phases that leave files on hosts, in order: those before the API is used.
func hostPhases(t testing.TB) []string {
	t.Helper()
	all := allPhases(t)
	from, to := slices.Index(all, "authorities"), slices.Index(all, "bootstrap")
	if from < 0 || to < from {
		t.Fatalf("no phases from authorities to bootstrap among %v", all)
	}
	return all[from:to]
}

// installed are the digests of the programs on a host, by path.
func (l *lab) installed(t testing.TB, host string) map[string]string {
	t.Helper()
	digests := map[string]string{}
	for line := range strings.Lines(l.on(t, host, "find /usr/local/bin /opt/cni/bin -type f -exec sha256sum {} + 2>/dev/null || true")) {
		if digest, path, ok := strings.Cut(strings.TrimSpace(line), "  "); ok {
			digests[path] = digest
		}
	}
	return digests
}

// The modes of files do not depend on anybody's umask, neither the operator's nor that of a login.
func TestUmask(t *testing.T) {
	l := faults.bareAgain(t)
	for host, umask := range map[string]string{"cp1": "0000", "worker2": "0000", "worker3": "0077"} {
		// sshd's own umask is never less than 022; that of PAM comes after it.
		afterwards(t, func(t testing.TB) { l.on(t, host, "sed -i /pam_umask/d /etc/pam.d/sshd") })
		l.on(t, host, "echo 'session optional pam_umask.so umask="+umask+"' >>/etc/pam.d/sshd")
		if got := l.on(t, host, "umask"); got != umask {
			t.Fatalf("the umask of a login on %s is %s, not %s", host, got, umask)
		}
	}
	careless := func(cmd *exec.Cmd) {
		cmd.Args = append([]string{"sh", "-c", `umask 000; exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)
		cmd.Path = "/bin/sh"
		cmd.Env = append(os.Environ(), "KUBEWRIGHT_CACHE="+filepath.Join(logDir(t), "cache"))
	}
	own := t.TempDir()
	kubewrightAs(t, careless, l.args("apply", "--yes", "--phase", strings.Join(hostPhases(t), ","))...).want(t, exitDone)
	kubewrightAs(t, careless, l.args("kubeconfig", "--to", filepath.Join(own, "new", "kubeconfig"), "--log", filepath.Join(own, "log"))...).want(t, exitDone)

	plain := l.modes(t, "worker1")
	if len(plain) < 50 {
		t.Fatalf("worker1 has only %d files", len(plain))
	}
	for _, host := range []string{"worker2", "worker3"} {
		if diff := changed(plain, l.modes(t, host)); len(diff) > 0 {
			t.Errorf("%s differs from worker1, where the umask is 022 (- worker1, + %s):\n%s", host, host, strings.Join(diff, "\n"))
		}
	}
	// Nobody else gets past the last of these to what is below it.
	l.wantSilence(t, "secrets that others than root may read", `
		find /etc/kubernetes /var/lib/kubelet /var/lib/kubewright -perm /077 \
			\( -path '/etc/kubernetes/*.conf' -o -name '*.key' -o -path /var/lib/kubewright \) -printf '%m %p\n'`)
	wantPrivate(t, own)
	wantPrivate(t, filepath.Join(logDir(t), "cache", "logs"))
}

// modes lists mode, owner and path of what a run puts on a host, sorted.
func (l *lab) modes(t testing.TB, host string) []string {
	t.Helper()
	lines := strings.Split(l.on(t, host, `
		find /etc/kubernetes /var/lib/kubelet/config.yaml /etc/containerd /usr/local/bin /opt/cni /var/lib/kubewright /etc/systemd/system \
			/etc/cni /etc/modules-load.d /etc/sysctl.d -printf '%m %u:%g %p\n' 2>/dev/null || true`), "\n")
	slices.Sort(lines)
	return lines
}

// wantPrivate checks that nobody else can read the files below a folder.
func wantPrivate(t testing.TB, dir string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		files++
		info, err := entry.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %04o", path, info.Mode().Perm())
		}
		return err
	})
	if err != nil || files == 0 {
		t.Errorf("%d files below %s: %v", files, dir, err)
	}
}
