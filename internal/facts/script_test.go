package facts

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// shells are the ones a host may have as /bin/sh.
func shells(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	for name, argv := range map[string][]string{
		"dash": {"dash", "-s"}, "bash": {"bash", "-s"}, "bash posix": {"bash", "--posix", "-s"},
		"busybox": {"busybox", "sh", "-s"},
	} {
		if _, err := exec.LookPath(argv[0]); err == nil {
			found[name] = argv
		}
	}
	if len(found) == 0 {
		t.Skip("no POSIX shell here")
	}
	return found
}

// run feeds a script to a shell on stdin, as a host gets it, and returns stdout.
func run(t *testing.T, argv []string, script string, env ...string) string {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin = strings.NewReader(script)
	cmd.Env = append(os.Environ(), env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %v\n%s", argv, err, stderr.String())
	}
	if stderr.Len() > 0 {
		t.Errorf("%v wrote to stderr:\n%s", argv, stderr.String())
	}
	return stdout.String()
}

// TestScriptReal runs the script on this machine in every shell and compares what
// it finds with what Go itself sees.
func TestScriptReal(t *testing.T) {
	hostname, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for name, argv := range shells(t) {
		t.Run(name, func(t *testing.T) {
			before := time.Now()
			out := run(t, argv, Script())
			f, err := Parse([]byte(out))
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if f.Hostname != hostname {
				t.Errorf("hostname %q, want %q", f.Hostname, hostname)
			}
			if f.UID != os.Getuid() {
				t.Errorf("uid %d, want %d", f.UID, os.Getuid())
			}
			if skew := f.Time.Sub(before); skew < -2*time.Second || skew > 10*time.Second {
				t.Errorf("time is off by %v", skew)
			}
			if f.CPUs < 1 || f.MemoryBytes < 64<<20 || f.Kernel == "" || f.Arch == "" {
				t.Errorf("implausible: %+v", f)
			}
			if m, ok := f.Mount("/var/lib/kubelet"); !ok || m.SizeBytes <= 0 || m.MountPoint == "" {
				t.Errorf("mount of /var/lib/kubelet: %+v", m)
			}
			if !f.Commands["awk"] || !f.Commands["cp"] {
				t.Errorf("commands: %v", f.Commands)
			}
			if _, ok := f.Interface(loopback()); !ok {
				t.Errorf("no interface has the loopback address: %+v", f.Interfaces)
			}
		})
	}
}

// TestScriptEmbedded proves that the script can live inside a function of a larger
// script: it leaves no variable, function, option or folder behind, ends no shell,
// reads nothing of stdin, and can be captured.
func TestScriptEmbedded(t *testing.T) {
	const around = `
set -eu
IFS=,
cd /
f_n=mine
look() {
SCRIPT
}
look >/dev/null
IFS= read -r rest
[ "$rest" = "rest of the stream" ] || echo "stdin is now $rest"
[ "$f_n" = mine ] || echo "f_n is now $f_n"
[ "$IFS" = , ] || echo "IFS is now $IFS"
[ "$PWD" = / ] || echo "folder is now $PWD"
[ "${LC_ALL-}" != C ] || echo "the locale is now C"
case $- in *e*u* | *u*e*) ;; *) echo "options are now $-" ;; esac
for name in f_v f_p f_d f_dirs f_rest f_ours f_release; do
	if (eval ": \"\$$name\"") 2>/dev/null; then echo "$name leaked"; fi
done
command -v f_put && echo "f_put leaked"
out=$(look)
printf '%s\n' "$out"
`
	script := strings.Replace(around, "SCRIPT\n", Script(), 1)
	for name, argv := range shells(t) {
		t.Run(name, func(t *testing.T) {
			argv[len(argv)-1] = "-c"
			out := run(t, append(argv, script), "rest of the stream\n", "LC_ALL=C.UTF-8")
			if _, err := Parse([]byte(out)); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// TestScriptWithoutTools takes away every tool that a host may lack: the rest of
// the report must come, and say what is unknown.
func TestScriptWithoutTools(t *testing.T) {
	for name, argv := range shells(t) {
		if name == "busybox" {
			continue // busybox sh finds its own applets without PATH
		}
		t.Run(name, func(t *testing.T) {
			shell, err := exec.LookPath(argv[0])
			if err != nil {
				t.Fatal(err)
			}
			argv = append([]string{shell}, argv[1:]...)
			bin := t.TempDir()
			link := func(tools ...string) {
				for _, tool := range tools {
					path, err := exec.LookPath(tool)
					if err != nil {
						t.Fatal(err)
					}
					if err := os.Symlink(path, filepath.Join(bin, tool)); err != nil {
						t.Fatal(err)
					}
				}
			}
			link("awk", "date", "uname")
			f, err := Parse([]byte(run(t, argv, Script(), "PATH="+bin)))
			if err != nil {
				t.Fatal(err)
			}
			for _, key := range []string{"ip", "statfs"} {
				if f.Unknown[key] == "" {
					t.Errorf("%s is not reported as unknown: %v", key, f.Unknown)
				}
			}
			if iface, ok := f.Interface(loopback()); !ok || iface.Name != "lo" {
				t.Errorf("loopback without ip: %+v", f.Interfaces)
			}
			if f.Commands["ip"] || f.Commands["mount"] || !f.Commands["date"] {
				t.Errorf("commands: %v", f.Commands)
			}

			if err := os.Remove(filepath.Join(bin, "awk")); err != nil {
				t.Fatal(err)
			}
			_, err = Parse([]byte(run(t, argv, Script(), "PATH="+bin)))
			if err == nil || !strings.Contains(err.Error(), "awk is missing") {
				t.Errorf("without awk: %v", err)
			}
		})
	}
}

// TestScriptFallbackAgrees compares addresses found with and without ip.
func TestScriptFallbackAgrees(t *testing.T) {
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("no ip here")
	}
	for name, argv := range shells(t) {
		t.Run(name, func(t *testing.T) {
			with, err := Parse([]byte(run(t, argv, Script())))
			if err != nil {
				t.Fatal(err)
			}
			without, err := Parse([]byte(run(t, argv, strings.ReplaceAll(Script(), "ip -o addr", "no-such-command"))))
			if err != nil {
				t.Fatal(err)
			}
			for _, iface := range with.Interfaces {
				if strings.HasPrefix(iface.Name, "veth") {
					continue // of somebody's container, which may come or go between the two looks
				}
				for _, p := range iface.Addrs {
					got, ok := without.Interface(p.Addr())
					if !ok || got.Name != iface.Name {
						t.Errorf("%v on %s: without ip it is on %q", p, iface.Name, got.Name)
					}
				}
			}
		})
	}
}
