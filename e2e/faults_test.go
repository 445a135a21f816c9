//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// bareAgain returns the lab with nothing of a cluster on its hosts, whatever the test before left.
func (f *fixture) bareAgain(t testing.TB) *lab {
	t.Helper()
	l := f.hosts(t)
	l.tool(t, "reset", "--yes").want(t, exitDone)
	return l
}

// clusterAgain returns the lab with a cluster: that of an earlier test, or a new one.
func (f *fixture) clusterAgain(t testing.TB) *cluster {
	t.Helper()
	l := f.hosts(t)
	l.tool(t, "apply", "--yes").want(t, exitDone)
	return l.connect(t)
}

// operatorFiles are all that an operator keeps of a cluster. The digests are here because the lab's
// cluster.yaml names them.
var operatorFiles = []string{"cluster.yaml", "inventory.yaml", "digests.yaml", "id_ed25519", "known_hosts"}

// copied is the same lab seen from another folder, that of another operator. edits replace text in
// its files, alternating between old and new, and each of them has to be found.
func (l *lab) copied(t testing.TB, edits ...string) *lab {
	t.Helper()
	elsewhere := &lab{name: l.name, dir: t.TempDir()}
	copyFiles(t, l.dir, elsewhere.dir, append([]string{"state.json"}, operatorFiles...)...)
	for i := 0; i < len(edits); i += 2 {
		found := false
		for _, name := range []string{"cluster.yaml", "inventory.yaml", "known_hosts"} {
			path := filepath.Join(elsewhere.dir, name)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Contains(data, []byte(edits[i])) {
				continue
			}
			found = true
			if err := os.WriteFile(path, bytes.ReplaceAll(data, []byte(edits[i]), []byte(edits[i+1])), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if !found {
			t.Fatalf("no file of the lab has %q", edits[i])
		}
	}
	return elsewhere
}

// copyFiles copies files of a lab that has them: one on upstream's artifacts has no digests.
func copyFiles(t testing.TB, from, to string, names ...string) {
	t.Helper()
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(from, name))
		if errors.Is(err, os.ErrNotExist) && name == "digests.yaml" {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// kubewrightAs runs the binary as prepare has it: in another folder, environment or shell.
func kubewrightAs(t testing.TB, prepare func(*exec.Cmd), args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), toolTimeout)
	defer cancel()
	cmd, err := command(ctx, args...)
	if err != nil {
		t.Fatal(err)
	}
	prepare(cmd)
	r, err := finish(ctx, cmd, result{args: args})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// snapshotOfHost lists what a refused run must not touch: each file below /etc and /var/lib with
// type, mode, owner, size and digest, units and their states, the rules of the packet filter
// without their counters, and which script of ours has acted since the boot.
//
// Left out, because it changes by itself: systemd's random seed and stamps of timers, the state of
// the service that cleans /tmp, which a timer starts, mounts that are gone and that systemd
// remembers for a while, and /run/kubewright/lock, which is taken before a host is looked at and gone
// at the next boot; the file beside it is empty until a script acts, and names the last that did. On
// a host with a cluster more changes by itself: the data of etcd, images, pods with their
// interfaces, scopes (transient units) and mounts, and rules.
const snapshotOfHost = `
	ours=; [ ! -e /var/lib/kubewright/manifest ] || ours=y
	skip='-path /var/lib/systemd'
	[ -z "$ours" ] || skip="$skip -o -path /var/lib/containerd -o -path /var/lib/etcd -o -path /var/lib/kubelet/pods -o -path /var/lib/kubelet/*_state -o -path /var/lib/kubelet/plugins* -o -path /var/lib/calico -o -path /var/lib/cni"
	set -f
	find /etc /var/lib \( $skip \) -prune -o -printf '%p %y %m %u:%g %s %l\n' | awk '$2 == "d" { $5 = "" } { print }'
	find /etc /var/lib \( $skip \) -prune -o -type f -exec sha256sum {} +
	set +f
	systemctl list-unit-files --no-legend --plain | awk '$2 != "transient" { print "unit-file", $1, $2 }'
	systemctl list-units --all --no-legend --plain | awk '$1 ~ /[.]timer$/ { $4 = "" } $1 != "systemd-tmpfiles-clean.service" && ($3 != "inactive" || $1 !~ /[.]mount$/) { print "unit", $1, $2, $3, $4 }' |
		if [ -n "$ours" ]; then grep -Ev '^unit (cri-containerd-|run-|var-lib-kubelet-|kubepods|sys-devices-|sys-subsystem-)'; else cat; fi
	[ -n "$ours" ] || for table in filter nat; do
		iptables-save -t $table | sed "/^#/d; s/ \[[0-9:]*\]$//; s/^/rule $table /"
	done
	[ ! -d /run/kubewright ] || find /run/kubewright -type f ! -path /run/kubewright/lock ! -empty -exec sha256sum {} +
`

// snapshot is what is on a host, sorted.
func (l *lab) snapshot(ctx context.Context, host string) ([]string, error) {
	out, err := l.shell(ctx, host, snapshotOfHost)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if err == nil && len(lines) < 1000 {
		err = fmt.Errorf("%s tells too little of itself: %d lines", host, len(lines))
	}
	slices.Sort(lines)
	return lines, err
}

// snapshots are those of all hosts.
func (l *lab) snapshots(t testing.TB) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	var mu sync.Mutex
	err := l.each(t, func(host string) error {
		lines, err := l.snapshot(t.Context(), host)
		mu.Lock()
		defer mu.Unlock()
		all[host] = lines
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// wantUnchanged compares all hosts with what they were, and returns what they are.
func (l *lab) wantUnchanged(t testing.TB, before map[string][]string) map[string][]string {
	t.Helper()
	now := l.snapshots(t)
	for host, after := range now {
		if diff := changed(before[host], after); len(diff) > 0 {
			t.Errorf("%s is not as it was (- before, + after):\n%s", host, strings.Join(diff, "\n"))
		}
	}
	return now
}

// undone has a script run on a host at the end of the test, or before that when what it returns is called.
func (l *lab) undone(t testing.TB, host, script string) (now func()) {
	t.Helper()
	var once sync.Once
	undo := func(t testing.TB) { once.Do(func() { l.on(t, host, script) }) }
	afterwards(t, undo)
	return func() { undo(t) }
}

// process is a run of kubewright that a test watches, and meddles with, while it goes on.
type process struct {
	cmd   *exec.Cmd
	log   string
	args  []string
	ended chan struct{} // closed when result and err are there

	result result
	err    error
}

// begin starts a run on the lab's cluster with a debug log of its own.
func (l *lab) begin(t testing.TB, verb string, args ...string) *process {
	t.Helper()
	f, err := os.CreateTemp(logDir(t), "run-*.log")
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	p := &process{log: f.Name(), args: l.args(verb, append(args, "--log", f.Name())...), ended: make(chan struct{})}
	// Not of the test's context: it is killed, and waited for, when the test ends.
	ctx, cancel := context.WithTimeout(context.Background(), toolTimeout)
	if p.cmd, err = command(ctx, p.args...); err != nil {
		cancel()
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		defer cancel()
		p.result, p.err = finish(ctx, p.cmd, result{args: p.args})
	}()
	t.Cleanup(func() { cancel(); <-p.ended })
	return p
}

// meets waits until the debug log has a line that matches, and returns the match; "" when the run
// ends before. Some phases last for a few hundredths of a second, so it looks often, and at what is new.
func (p *process) meets(t testing.TB, pattern string) string {
	t.Helper()
	expression := regexp.MustCompile(pattern)
	log, err := os.Open(p.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	var met string
	var line []byte // the last one, as far as it is there
	err = wait.PollUntilContextTimeout(t.Context(), 2*time.Millisecond, toolTimeout, true, func(context.Context) (bool, error) {
		over := p.over() // before the log is read: it is whole then
		data, err := io.ReadAll(log)
		line = append(line, data...)
		whole := bytes.LastIndexByte(line, '\n') + 1
		met = string(expression.Find(line[:whole]))
		line = line[whole:]
		return met != "" || over, err
	})
	if err != nil {
		t.Fatalf("waiting for %q in the log: %v\n%s", pattern, err, p.kill())
	}
	return met
}

// reaches is meets for a run that must not end before.
func (p *process) reaches(t testing.TB, pattern string) {
	t.Helper()
	if p.meets(t, pattern) == "" {
		t.Fatalf("it ended before its log had %q\n%s", pattern, p.wait(t))
	}
}

// kill ends the run, if it has not ended, and returns what it said.
func (p *process) kill() result {
	if !p.over() && p.cmd.Process != nil {
		_ = p.cmd.Cancel() // its end is what is waited for next
	}
	<-p.ended
	return p.result
}

func (p *process) over() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// wait returns what the run said when it has ended.
func (p *process) wait(t testing.TB) result {
	t.Helper()
	<-p.ended
	if p.err != nil {
		t.Fatal(p.err)
	}
	return p.result
}

// each does something for all hosts at once, and joins what went wrong.
func (l *lab) each(t testing.TB, do func(host string) error) error {
	t.Helper()
	nodes := l.nodes(t)
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() { errs[i] = do(n.Name) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// wantSilence runs a script on all hosts, which succeeds and prints nothing where all is well.
func (l *lab) wantSilence(t testing.TB, what, script string) {
	t.Helper()
	err := l.each(t, func(host string) error {
		out, err := l.shell(t.Context(), host, script)
		if err == nil && strings.TrimSpace(out) != "" {
			err = fmt.Errorf("on %s:\n%s", host, out)
		}
		return err
	})
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
}
