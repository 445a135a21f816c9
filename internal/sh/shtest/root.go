// Package shtest runs the scripts of internal/sh for real: with dash, bash or busybox, as
// root, in a scratch root of its own. What a host's system would do (systemd, the kernel's
// /proc, containerd, the packet filter) is played by small commands that keep their state
// in files; a use of them that they do not know fails the test.
package shtest

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Shell is a POSIX shell, with the tools that come with it on a host.
type Shell string

// The shells: Debian's, Red Hat's (called sh, so in its POSIX mode), Alpine's with its
// own stat, tar, base64 and so on.
const (
	Dash    Shell = "dash"
	Bash    Shell = "bash"
	Busybox Shell = "busybox"
)

// Shells lists all shells.
func Shells() []Shell { return []Shell{Dash, Bash, Busybox} }

//go:embed fakes
var fakes embed.FS

// Root is a scratch root.
type Root struct {
	// Dir is where it is on this machine.
	Dir   string
	shell Shell
	tb    testing.TB
}

// folders are those of the root that are its own and can be written; /usr is this machine's
// and cannot, but for /usr/local.
func folders() []string {
	return []string{"etc/systemd/system", "var/lib", "var/log", "opt", "srv", "tmp", "run/systemd/system", "proc/sys", "sys/class/net", "sys/module", "dev", "usr", "local/bin", "local/sbin", "fake.state/units", "fake.state/modules", "fake.state/routes", "bin.sh", "bin.fake"}
}

// New makes a root for scripts to be run in by a shell. The test is skipped where that is
// impossible, with the reason.
func New(tb testing.TB, shell Shell) *Root {
	tb.Helper()
	if os.Getuid() != 0 {
		tb.Skip("scripts are run as root in a scratch root: needs root")
	}
	program, err := exec.LookPath(string(shell))
	if err != nil {
		tb.Skipf("%s is not installed", shell)
	}
	r := &Root{Dir: scratch(tb), shell: shell, tb: tb}
	for _, dir := range folders() {
		r.must(os.MkdirAll(filepath.Join(r.Dir, dir), 0o755))
	}
	r.must(os.Chmod(filepath.Join(r.Dir, "tmp"), 0o777|os.ModeSticky))
	r.must(os.WriteFile(filepath.Join(r.Dir, "dev/null"), nil, 0o666)) //nolint:gosec // as the device has it
	for _, link := range []string{"bin", "sbin", "lib", "lib64"} {
		if target, err := os.Readlink("/" + link); err == nil {
			r.must(os.Symlink(target, filepath.Join(r.Dir, link)))
		} else if err := os.Mkdir(filepath.Join(r.Dir, link), 0o755); err != nil {
			tb.Fatal(err)
		}
	}
	r.tools(program)
	r.commands()
	r.proc()
	if code, stderr, err := r.Run(tb.Context(), []byte("true\n"), nil); err != nil || code != 0 {
		tb.Skipf("no scratch root here: status %d, %v: %s", code, err, stderr)
	}
	tb.Cleanup(r.check)
	return r
}

// scratch is a folder that is in memory where possible: scripts sync each file.
func scratch(tb testing.TB) string {
	base := "/dev/shm"
	if _, err := os.Stat(base); err != nil {
		return tb.TempDir()
	}
	dir, err := os.MkdirTemp(base, "shtest-") //nolint:usetesting // that one is on disk
	if err != nil {
		return tb.TempDir()
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (r *Root) must(err error) {
	r.tb.Helper()
	if err != nil {
		r.tb.Fatal(err)
	}
}

// tools puts the shell, and for busybox its applets, first on the path.
func (r *Root) tools(program string) {
	dir := filepath.Join(r.Dir, "bin.sh")
	r.must(os.Symlink(program, filepath.Join(dir, "sh")))
	if r.shell != Busybox {
		// /usr/bin/awk may be a link by way of /etc, which is another one here.
		if awk, err := exec.LookPath("awk"); err == nil {
			awk, err = filepath.EvalSymlinks(awk)
			r.must(err)
			r.must(os.Symlink(awk, filepath.Join(dir, "awk")))
		}
		return
	}
	applets, err := exec.CommandContext(r.tb.Context(), program, "--list").Output()
	r.must(err)
	for _, name := range strings.Fields(string(applets)) {
		if name != "sh" {
			r.must(os.Symlink(program, filepath.Join(dir, name)))
		}
	}
}

// commands installs what plays the system.
func (r *Root) commands() {
	entries, err := fs.ReadDir(fakes, "fakes")
	r.must(err)
	for _, e := range entries {
		content, err := fs.ReadFile(fakes, "fakes/"+e.Name())
		r.must(err)
		r.Command(e.Name(), string(content))
	}
	for _, family := range []string{"save", "restore"} {
		r.must(os.Symlink("iptables-"+family, filepath.Join(r.Dir, "bin.fake", "ip6tables-"+family)))
	}
}

// Command puts a script before all other commands of its name.
func (r *Root) Command(name, script string) {
	r.tb.Helper()
	r.must(os.WriteFile(filepath.Join(r.Dir, "bin.fake", name), []byte(script), 0o755)) //nolint:gosec // a command
}

// proc fills the plain files that stand for the kernel's, and those that name root.
func (r *Root) proc() {
	for name, content := range map[string]string{ //nolint:gosec // no password is in it
		"proc/swaps":       "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n",
		"proc/mounts":      "/dev/vda / ext4 rw 0 0\nproc /proc proc rw 0 0\n",
		"etc/passwd":       "root:x:0:0:root:/root:/bin/sh\n",
		"etc/group":        "root:x:0:\n",
		"proc/filesystems": "nodev\tsysfs\n\text4\n",
	} {
		r.Write("/"+name, content)
	}
}

// Copy makes another root that is what this one is now.
func (r *Root) Copy() *Root {
	r.tb.Helper()
	c := &Root{Dir: scratch(r.tb), shell: r.shell, tb: r.tb}
	out, err := exec.CommandContext(r.tb.Context(), "cp", "-a", r.Dir+"/.", c.Dir).CombinedOutput()
	if err != nil {
		r.tb.Fatalf("copy %s: %v: %s", r.Dir, err, out)
	}
	r.tb.Cleanup(c.check)
	return c
}

// Path is where a path of the root is on this machine.
func (r *Root) Path(p string) string {
	if rest, ok := strings.CutPrefix(p, "/usr/local/"); ok {
		p = "/local/" + rest
	}
	return filepath.Join(r.Dir, p)
}

// Write puts a file into the root, with its parents.
func (r *Root) Write(p, content string) {
	r.tb.Helper()
	r.must(os.MkdirAll(filepath.Dir(r.Path(p)), 0o755))
	r.must(os.WriteFile(r.Path(p), []byte(content), 0o644))
}

// Read returns a file of the root, "" when there is none.
func (r *Root) Read(p string) string {
	r.tb.Helper()
	content, err := os.ReadFile(r.Path(p))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.tb.Fatal(err)
	}
	return string(content)
}

// enter mounts what the root borrows from this machine, in a mount namespace that ends with
// the script, and becomes the shell. $1 is the root, $2 the umask.
const enter = `set -e
mount --bind /usr "$1/usr"
mount -o remount,bind,ro "$1/usr"
mount --bind "$1/local" "$1/usr/local"
mount --bind /dev/null "$1/dev/null"
for d in bin sbin lib lib64; do if [ ! -L "$1/$d" ] && [ -d "/$d" ]; then mount --bind "/$d" "$1/$d"; mount -o remount,bind,ro "$1/$d"; fi; done
eval "$3"
umask "$2"
exec chroot "$1" /usr/bin/env -i LC_ALL=C HOME=/root USER=root LOGNAME=root PATH=/bin.fake:/bin.sh:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin /bin.sh/sh -s
`

// Options change the surroundings of one script.
type Options struct {
	Umask string // "022" when empty
	// Mounts is a shell script that runs before the root is entered, in its mount
	// namespace; $1 is the root.
	Mounts string
}

// Run feeds a script to the shell, as a connection does, and returns its exit status and
// what it wrote to standard error. The error is one of starting it, or the context's.
func (r *Root) Run(ctx context.Context, script []byte, stdout io.Writer) (code int, stderr []byte, err error) {
	return r.RunWith(ctx, Options{}, script, stdout)
}

// RunWith is Run in other surroundings.
func (r *Root) RunWith(ctx context.Context, o Options, script []byte, stdout io.Writer) (code int, stderr []byte, err error) {
	if o.Umask == "" {
		o.Umask = "022"
	}
	var errs bytes.Buffer
	cmd := exec.CommandContext(ctx, "unshare", "--mount", "--propagation", "private", "sh", "-c", enter, "sh", r.Dir, o.Umask, o.Mounts)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(script), stdout, &errs
	cmd.WaitDelay = 5 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err = cmd.Run()
	var exit *exec.ExitError
	if ctx.Err() == nil && errors.As(err, &exit) {
		return exit.ExitCode(), errs.Bytes(), nil
	}
	if err != nil {
		return -1, errs.Bytes(), fmt.Errorf("%s: %w", r.shell, errors.Join(ctx.Err(), err))
	}
	return 0, errs.Bytes(), nil
}

// check fails the test when something was asked of the system that it does not know.
func (r *Root) check() {
	if unknown := r.Read("/fake.state/unknown"); unknown != "" {
		r.tb.Errorf("unknown commands were run:\n%s", unknown)
	}
}
