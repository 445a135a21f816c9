//go:build e2e

package e2e

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Exit codes that the tests expect; they are documented and never change.
const (
	exitDone         = 0
	exitPending      = 2
	exitBadInput     = 10
	exitUnreachable  = 11
	exitPreflight    = 12
	exitChangeFailed = 13
	exitUnhealthy    = 14
	exitLocked       = 15
	exitInterrupted  = 130
)

// toolTimeout bounds every run of the binary: a cluster from bare hosts included.
const toolTimeout = 8 * time.Minute

// result is what a user sees of a run of the binary.
type result struct {
	program        string // empty: kubewright
	args           []string
	code           int
	stdout, stderr string
	took           time.Duration
}

func (r result) String() string {
	return cmp.Or(r.program, "kubewright") + " " + strings.Join(r.args, " ") + ": exit code " + strconv.Itoa(r.code) + " after " +
		r.took.Round(time.Millisecond).String() + "\n--- stdout\n" + r.stdout + "--- stderr\n" + r.stderr
}

// want fails the test at once unless the run ended with the exit code.
func (r result) want(t testing.TB, code int) result {
	t.Helper()
	if r.code != code {
		t.Fatalf("want exit code %d\n%s", code, r)
	}
	return r
}

// says fails the test unless everything is mentioned on stdout or stderr.
func (r result) says(t testing.TB, texts ...string) result {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(r.stdout+r.stderr, text) {
			t.Errorf("nothing is said of %q\n%s", text, r)
		}
	}
	return r
}

// program is the path of the kubewright under test.
func program() (string, error) {
	path := os.Getenv("KUBEWRIGHT_E2E_BIN")
	if path == "" {
		path = filepath.Join("..", "bin", "kubewright")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	_, err = os.Stat(path)
	return path, err
}

// command prepares a run of the binary in a process group of its own, that a test can kill as a
// whole and that no interrupt of the terminal reaches.
func command(ctx context.Context, args ...string) (*exec.Cmd, error) {
	path, err := program()
	if err != nil {
		return nil, err
	}
	return inGroup(exec.CommandContext(ctx, path, args...)), nil
}

// inGroup has a command run in a process group of its own, and be killed with it.
func inGroup(cmd *exec.Cmd) *exec.Cmd {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// invoke runs the binary to its end. A run that was made is no error, whatever its exit code.
func invoke(ctx context.Context, args ...string) (result, error) {
	ctx, cancel := context.WithTimeout(ctx, toolTimeout)
	defer cancel()
	cmd, err := command(ctx, args...)
	if err != nil {
		return result{args: args}, err
	}
	return finish(ctx, cmd, result{args: args})
}

// finish runs a command to its end, and fills the result.
func finish(ctx context.Context, cmd *exec.Cmd, r result) (result, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	begun := time.Now()
	err := cmd.Run()
	r.took, r.stdout, r.stderr, r.code = time.Since(begun), stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		err = nil
	}
	transcript.add(r)
	if err != nil && ctx.Err() != nil {
		err = errors.Join(ctx.Err(), errors.New(r.String()))
	}
	return r, err
}

// kubewright runs the binary.
func kubewright(t testing.TB, args ...string) result {
	t.Helper()
	r, err := invoke(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("kubewright %s: exit code %d after %s", strings.Join(args, " "), r.code, r.took.Round(time.Millisecond))
	return r
}

// planDocument is what `plan -o json` prints, as a program that reads it would declare it.
type planDocument struct {
	Empty  bool   `json:"empty"`
	NewPKI bool   `json:"newPKI"`
	CA     string `json:"ca"`
	Hosts  []struct {
		Name    string       `json:"name"`
		Changes []planChange `json:"changes"`
	} `json:"hosts"`
	Objects []struct {
		Name  string `json:"name"`
		Phase string `json:"phase"`
	} `json:"objects"`
}

type planChange struct {
	ID     string `json:"id"`
	Phase  string `json:"phase"`
	Status string `json:"status"`
}

// plan reads the JSON on stdout.
func (r result) plan(t testing.TB) planDocument {
	t.Helper()
	var p planDocument
	if err := json.Unmarshal([]byte(r.stdout), &p); err != nil {
		t.Fatalf("stdout is no plan: %v\n%s", err, r)
	}
	return p
}

// cost is what --stats says a run cost on one host.
type cost struct{ execs, dials int }

var statsLine = regexp.MustCompile(`(?m)^(\S+) +(\d+) +(\d+) +(\d+) +(\d+) +(\d+)$`)

// stats reads the table of --stats: HOST EXECS SESSIONS DIALS SENT RECEIVED.
func (r result) stats(t testing.TB) map[string]cost {
	t.Helper()
	if !strings.Contains(r.stderr, "EXECS") {
		t.Fatalf("--stats prints no table\n%s", r)
	}
	costs := map[string]cost{}
	for _, m := range statsLine.FindAllStringSubmatch(r.stderr, -1) {
		execs, _ := strconv.Atoi(m[2])
		dials, _ := strconv.Atoi(m[4])
		costs[m[1]] = cost{execs: execs, dials: dials}
	}
	return costs
}
