//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// streamTimeout bounds one look at all that a host has to be scanned.
const streamTimeout = 3 * time.Minute

// Nothing that a run says, logs, passes to a program or leaves where others can read it has a secret
// in it. This test comes last, so that it looks at what all others did; and it shows of each kind of
// place that a secret would have been found there.
func TestSecrets(t *testing.T) {
	if flag.Lookup("test.parallel").Value.String() == "1" { // the others would wait for this test, and it for them
		t.Fatal("this test waits for those that run beside it: run it with -parallel 2 or more")
	}
	t.Parallel() // otherwise it would come before those that are
	background.Wait()
	c := shared.cluster(t)
	p := &secrets{cluster: c, scanner: newScanner()}
	p.learnKeys(t)
	p.useThem(t)
	if len(transcript.passwords) == 0 {
		t.Fatal("no password is known that a run was given")
	}
	for password := range transcript.passwords {
		p.scanner.know("sudo password", password)
	}
	p.places = p.allPlaces()
	for name, scan := range p.places {
		t.Run("scan/"+name, func(t *testing.T) {
			if found := p.scan(t, scan); len(found) > 0 {
				t.Errorf("secrets were found:\n%s", lines(found))
			}
		})
	}
	t.Run("planted", p.testPlanted)
}

// secrets is what the test knows of the cluster.
type secrets struct {
	*cluster
	scanner *scanner
	argv    string // command lines that were seen on cp1 while kubewright was at work
	places  map[string]func(testing.TB, *scanner) error
}

// keyFiles prints every file of a host that may hold a private key.
const keyFiles = `find /etc/kubernetes /var/lib/kubelet/pki -type f \( -name '*.key' -o -name '*.pem' -o -name '*.conf' \) -exec cat {} +`

// learnKeys has the private keys of all nodes looked for, and that of the lab.
func (p *secrets) learnKeys(t testing.TB) {
	t.Helper()
	p.login(t, "root")
	for _, n := range p.nodes(t) {
		want := 2 // those that the kubelet serves and logs in with
		if n.Role != "worker" {
			want = 12
		}
		if keys := p.scanner.knowKeys([]byte(p.on(t, n.Name, keyFiles))); keys < want {
			t.Fatalf("%d private keys are known of %s, there should be %d at least", keys, n.Name, want)
		}
	}
	own, err := os.ReadFile(filepath.Join(p.dir, "id_ed25519"))
	if err != nil || p.scanner.knowKeys(own) != 1 {
		t.Fatalf("the key of the lab is not known: %v", err)
	}
}

// useThem runs what handles secrets, logged in with a password, while command lines are sampled.
// Files with secrets have drifted, so that there is something to plan and to make anew.
func (p *secrets) useThem(t *testing.T) {
	t.Helper()
	worker, foreign := p.workers(t)[0], rand.Text()
	p.scanner.know("password in a file of the host", foreign)
	for host, damage := range map[string]string{
		"cp1":  `echo '{ password: ` + foreign + `' >>/etc/kubernetes/admin.conf`,
		worker: `echo '# password = "` + foreign + `"' >>/etc/containerd/config.toml; rm /var/lib/kubelet/pki/kubelet.crt`,
	} {
		p.on(t, host, damage)
	}
	afterwards(t, func(t testing.TB) { p.login(t, "root") }) // also where the test ends in here
	p.login(t, "sudo-password")
	if _, err := p.shell(t.Context(), "cp1", "sudo -n true"); err == nil {
		t.Fatal("sudo asks for no password: then none is in play")
	}

	stop := p.sample(t, "cp1")
	p.tool(t, "plan", "--detailed-exitcode").want(t, exitPending)
	changes := changedOn(p.tool(t, "plan", "--detailed-exitcode", "-o", "json").want(t, exitPending).plan(t))
	p.tool(t, "status", "-o", "json").want(t, exitDone)
	p.tool(t, "apply", "--yes", "--stats").want(t, exitDone)
	p.tool(t, "kubeconfig", "--to", filepath.Join(t.TempDir(), "kubeconfig")).want(t, exitDone)
	p.tool(t, "verify", "--quick", "--patience", "1m").want(t, exitDone)
	kubewright(t, p.args("status")...).want(t, exitDone) // logs to the cache folder
	p.argv = stop()
	if !strings.Contains(p.argv, "sudo ") {
		t.Fatalf("no command line of a run was sampled:\n%s", p.argv)
	}
	p.login(t, "root")
	for host, id := range map[string]string{"cp1": "file:/etc/kubernetes/admin.conf", worker: "file:/etc/containerd/config.toml"} {
		if !slices.Contains(changes[host], id) {
			t.Errorf("%s of %s is in no plan, which has %v", id, host, changes)
		}
	}
}

// login changes how kubewright logs in to the nodes, unless it is so already.
func (p *secrets) login(t testing.TB, login string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(p.dir, "state.json"))
	if err != nil {
		t.Fatal(err)
	}
	var state struct{ Login string }
	if err := json.Unmarshal(data, &state); err != nil || state.Login == "" {
		t.Fatalf("the state of the lab: %v\n%s", err, data)
	}
	if state.Login != login {
		kubewright(t, "lab", "--dir", p.dir, "up", "--login", login).want(t, exitDone)
	}
}

// samples prints each command line of the host once, of every process that there is, twenty times a
// second for as long as the file is there.
const samples = `
	on=/dev/shm/kw-e2e-argv
	: >$on
	while [ -e $on ]; do
		head -v -c 65536 /proc/[0-9]*/cmdline 2>/dev/null || true
		sleep 0.05
	done | tr '\0' ' ' | awk '!/^==> .* <==$/ && !seen[$0]++'`

// sample collects the command lines of a host until it is stopped.
func (p *secrets) sample(t testing.TB, host string) (stop func() string) {
	t.Helper()
	var seen []byte
	ended := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), toolTimeout)
	t.Cleanup(cancel)
	go func() {
		ended <- p.stream(ctx, host, samples, func(r io.Reader) (err error) {
			seen, err = io.ReadAll(r)
			return err
		})
	}()
	eventually(t, answerTimeout, "the sampling of command lines", func(ctx context.Context) error {
		_, err := p.shell(ctx, host, "test -e /dev/shm/kw-e2e-argv")
		return err
	})
	return func() string {
		t.Helper()
		p.on(t, host, "rm /dev/shm/kw-e2e-argv")
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		return string(seen)
	}
}

// stream runs a script on a host, and has its output read as it comes.
func (l *lab) stream(ctx context.Context, host, script string, read func(io.Reader) error) error {
	cmd, err := command(ctx, "lab", "--dir", l.dir, "ssh", host, "--", "sh", "-seu")
	if err != nil {
		return err
	}
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader(script), &stderr
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return err
	}
	err = read(stdout)
	_, _ = io.Copy(io.Discard, stdout) // or the script would wait for a reader
	if err := errors.Join(err, cmd.Wait()); err != nil {
		return fmt.Errorf("%s: %w\n%s%s", host, err, stderr.String(), script)
	}
	return nil
}

// written is a tar archive of what kubewright wrote on a host and others than root can read: what the
// manifest lists, and what is below folders that are ours; and of all that is in temporary folders.
// Binaries are left out, which are what was published, to the bit; so are the folders that containerd
// and pods fill, which are in the manifest to be removed.
const written = `
	{
		cut -f1 /var/lib/kubewright/manifest | sort -u | while IFS= read -r id; do
			path=${id#*:}
			case ${id%%:*} in
			file|pod|byproduct) find "$path" -maxdepth 0 -type f -size -4096k -perm /044 ;;
			cert) find "$path" "${path%.crt}.key" -maxdepth 0 -type f -perm /044 ;;
			tree)
				case $path in /etc/*|/var/lib/kubelet|/var/lib/etcd) find "$path" -xdev -type f -perm /044 ;; esac ;;
			esac 2>/dev/null || true
		done
		find /var/lib/kubewright -xdev -path /var/lib/kubewright/cache -prune -o -type f -perm /044 -print
		find /tmp /run/kubewright -xdev -type f
	} | sort -u | tar -cf - --no-recursion --ignore-failed-read -T - || test $? -eq 1`

// journal is all that a host has logged, with the command lines of those who did.
const journal = `journalctl --no-pager --quiet --all --output=export --output-fields=MESSAGE,_CMDLINE`

// allPlaces are where secrets must not be, each with how it is looked through.
func (p *secrets) allPlaces() map[string]func(testing.TB, *scanner) error {
	onNodes := func(t testing.TB, script string, read func(host string, r io.Reader) error) error {
		ctx, cancel := context.WithTimeout(t.Context(), streamTimeout)
		defer cancel()
		var errs []error
		for _, n := range p.nodes(t) {
			errs = append(errs, p.stream(ctx, n.Name, script, func(r io.Reader) error { return read(n.Name, r) }))
		}
		return errors.Join(errs...)
	}
	some := func(files, least int, err error) error {
		if err == nil && files < least {
			err = fmt.Errorf("only %d files were looked at, there should be %d", files, least)
		}
		return err
	}
	folder := func(s *scanner, dir string, least int, wanted func(fs.FileInfo) bool) error {
		files, err := s.folder(dir, wanted)
		return some(files, least, err)
	}
	return map[string]func(testing.TB, *scanner) error{
		"runs": func(_ testing.TB, s *scanner) error {
			return errors.Join(append(transcript.errs, folder(s, transcript.dir, 2, nil))...)
		},
		"logs": func(_ testing.TB, s *scanner) error { return folder(s, cachedLogs(), 0, nil) },
		"lab":  func(_ testing.TB, s *scanner) error { return folder(s, p.dir, 3, readable) },
		"argv": func(_ testing.TB, s *scanner) error { return s.read("argv", strings.NewReader(p.argv)) },
		"journals": func(t testing.TB, s *scanner) error {
			return onNodes(t, journal, func(host string, r io.Reader) error { return s.read(host+": journal", r) })
		},
		"files": func(t testing.TB, s *scanner) error {
			return onNodes(t, written, func(host string, r io.Reader) error {
				files, err := s.archive(host, r)
				return some(files, 10, err)
			})
		},
	}
}

// cachedLogs is the folder of the debug logs of runs that were not told where to log.
func cachedLogs() string {
	cache := os.Getenv("KUBEWRIGHT_CACHE")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		cache = filepath.Join(home, ".cache", "kubewright")
	}
	return filepath.Join(cache, "logs")
}

// scan looks through one kind of place, and says how much there was.
func (p *secrets) scan(t testing.TB, look func(testing.TB, *scanner) error) []match {
	t.Helper()
	s := &scanner{known: p.scanner.known}
	if err := look(t, s); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes, looked through for %d known secrets", s.bytes, len(s.known))
	if s.bytes == 0 {
		t.Error("there was nothing to look at")
	}
	return s.matches
}

func lines(found []match) string {
	var b strings.Builder
	for _, m := range found[:min(len(found), 20)] {
		fmt.Fprintln(&b, m)
	}
	return b.String()
}
