package ssh

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"kubewright/internal/host"
	"kubewright/internal/ssh/sshtest"
)

func TestRun(t *testing.T) {
	noLeak(t)
	_, config := server(t, sshtest.Options{})
	client := connect(t, config)
	for name, test := range map[string]struct {
		script, out string
	}{
		"output":             {"echo hello; echo world", "hello\nworld\n"},
		"nothing":            {"", ""},
		"no last line break": {"printf end", "end"},
		"environment":        {`echo "$LC_ALL $HOME $USER $PATH"; env | wc -l | tr -d ' '`, "C /root root /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n6\n"},
		"no terminal":        {"test -t 0 || echo none", "none\n"},
		"binary":             {`printf '\000\377\r\n'`, "\x00\xff\r\n"},
		"stderr is apart":    {"echo noise >&2; echo out", "out\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if out := mustRun(t, client, test.script); out != test.out {
				t.Errorf("got %q, want %q", out, test.out)
			}
		})
	}
	if got := client.Stats(); got.Execs != 7 || got.Sessions != 7 || got.Handshakes != 1 || got.BytesIn == 0 || got.BytesOut == 0 {
		t.Errorf("stats %+v", got)
	}
}

// TestRunOneExec pins that a script costs one exec channel, and that the command line has the
// same shape for every script.
func TestRunOneExec(t *testing.T) {
	s, config := server(t, sshtest.Options{})
	client := connect(t, config)
	mustRun(t, client, "echo 'secret script text'")
	mustRun(t, client, strings.Repeat(": a longer script\n", 1000))
	lines := s.Commands()
	if len(lines) != 2 {
		t.Fatalf("%d execs for 2 scripts", len(lines))
	}
	const want = "exec env -i LC_ALL=C HOME=/root USER=root LOGNAME=root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin " +
		"sh -c 'read -r id 2>/dev/null </proc/$$/stat; echo; echo WORD $id; (echo; echo WORD $id) >&2; while read -r word; do case $word in WORD) exec sh -s;; esac; done; exit 1'"
	for _, line := range lines {
		word := "kubewright-ready-" + strings.SplitN(strings.SplitN(line, "kubewright-ready-", 2)[1], " ", 2)[0]
		if got := strings.ReplaceAll(line, word, "WORD"); got != want {
			t.Errorf("command line\n%s\nwant\n%s", got, want)
		}
	}
	if lines[0] == lines[1] {
		t.Error("the same word was used twice")
	}
}

func TestRunNoise(t *testing.T) {
	for name, prelude := range map[string]string{
		"lines":            "Welcome!\nhave a nice day\n",
		"no line break":    "loading...",
		"long":             strings.Repeat("noise ", 100_000),
		"looks like ready": "\nkubewright-ready-000000000000000000000000\n",
	} {
		t.Run(name, func(t *testing.T) {
			_, config := server(t, sshtest.Options{Prelude: prelude})
			if out := mustRun(t, connect(t, config), "echo out"); out != "out\n" {
				t.Errorf("got %q", out)
			}
		})
	}
}

func TestRunExit(t *testing.T) {
	_, config := server(t, sshtest.Options{})
	client := connect(t, config)

	out, err := run(t, client, "echo partial; echo first >&2; echo 'the reason' >&2; exit 7")
	exit := wantError[*host.ExitError](t, err, "cp1", "status 7", "the reason")
	if exit.Code != 7 || string(exit.Stderr) != "first\nthe reason\n" || exit.Truncated || out != "partial\n" {
		t.Errorf("%+v, output %q", exit, out)
	}

	_, err = run(t, client, "kill -TERM $$")
	exit = wantError[*host.ExitError](t, err, "signal TERM")
	if exit.Signal != "TERM" || exit.Code != 143 {
		t.Errorf("%+v", exit)
	}

	_, err = run(t, client, "if true; then echo ok") // syntax error
	if exit = wantError[*host.ExitError](t, err, "end of file"); exit.Code != 2 {
		t.Errorf("%+v", exit)
	}
}

func TestRunStderrBounded(t *testing.T) {
	_, config := server(t, sshtest.Options{})
	client := connect(t, config)
	_, err := run(t, client, `echo BEGIN >&2; i=0; while [ $i -lt 3000 ]; do echo "line $i 0123456789012345678901234567890123456789" >&2; i=$((i+1)); done; echo END >&2; exit 1`)
	exit := wantError[*host.ExitError](t, err)
	if !exit.Truncated || len(exit.Stderr) > host.StderrLimit+16 {
		t.Errorf("truncated %v, %d bytes", exit.Truncated, len(exit.Stderr))
	}
	if !bytes.HasPrefix(exit.Stderr, []byte("BEGIN\n")) || !bytes.HasSuffix(exit.Stderr, []byte("line 2999 0123456789012345678901234567890123456789\nEND\n")) {
		t.Error("beginning or end is missing")
	}
}

// TestRunHugeOutput streams 100 MB with bounded memory.
func TestRunHugeOutput(t *testing.T) {
	const size = 100 << 20
	_, config := server(t, sshtest.Options{})
	client := connect(t, config)
	var peak uint64
	count := &countWriter{every: 8 << 20, call: func() {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		peak = max(peak, m.HeapAlloc)
	}}
	begin := time.Now()
	if err := client.Run(t.Context(), text(fmt.Sprintf("head -c %d /dev/zero", size)), count); err != nil {
		t.Fatal(err)
	}
	t.Logf("%.0f MB/s, peak heap %d MB (client and server)", float64(size)/1e6/time.Since(begin).Seconds(), peak>>20)
	if count.n != size {
		t.Errorf("%d bytes, want %d", count.n, size)
	}
	if peak > 40<<20 {
		t.Errorf("the heap grew to %d MB", peak>>20)
	}
}

type countWriter struct {
	n, next, every int
	call           func()
}

func (w *countWriter) Write(p []byte) (int, error) {
	if w.n += len(p); w.n >= w.next {
		w.next += w.every
		w.call()
	}
	return len(p), nil
}

// TestRunLargeScript sends 5 MB of script while as much comes back, which deadlocks a client
// that does one after the other.
func TestRunLargeScript(t *testing.T) {
	_, config := server(t, sshtest.Options{})
	client := connect(t, config)
	payload := strings.Repeat("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\n", 5<<20/64)
	sum := sha256.New()
	if err := client.Run(t.Context(), text("cat <<'EOF'\n"+payload+"EOF\n"), sum); err != nil {
		t.Fatal(err)
	}
	want := sha256.Sum256([]byte(payload))
	if !bytes.Equal(sum.Sum(nil), want[:]) {
		t.Error("the script did not arrive as it was sent: " + hex.EncodeToString(sum.Sum(nil)))
	}
}

// TestRunUnreadScript ends a script of which most was not read yet.
func TestRunUnreadScript(t *testing.T) {
	noLeak(t)
	_, config := server(t, sshtest.Options{})
	client := connect(t, config)
	_, err := run(t, client, "exit 3\n"+strings.Repeat("# filler\n", 1<<20))
	if exit := wantError[*host.ExitError](t, err); exit.Code != 3 {
		t.Errorf("%+v", exit)
	}
	mustRun(t, client, "true")
}

func TestRunCancel(t *testing.T) {
	noLeak(t)
	_, config := server(t, sshtest.Options{})
	client := connect(t, config)
	ctx, cancel := context.WithCancel(t.Context())
	began := make(chan struct{})
	var once sync.Once
	out := writerFunc(func(p []byte) (int, error) {
		once.Do(func() { close(began) })
		return len(p), nil
	})
	go func() {
		<-began
		cancel()
	}()
	begin := time.Now()
	err := client.Run(ctx, text("echo started; sleep 600"), out)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "cp1") {
		t.Errorf("error %v", err)
	}
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("took %v", took)
	}
	mustRun(t, client, "true") // the connection lives on
}

func TestRunDeadline(t *testing.T) {
	_, config := server(t, sshtest.Options{})
	client := connect(t, config)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := client.Run(ctx, text("sleep 600"), nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestRunWriterFails(t *testing.T) {
	noLeak(t)
	_, config := server(t, sshtest.Options{})
	client := connect(t, config)
	full := errors.New("disk full")
	err := client.Run(t.Context(), text("yes"), writerFunc(func([]byte) (int, error) { return 0, full }))
	if !errors.Is(err, full) {
		t.Errorf("error %v", err)
	}
	err = client.Run(t.Context(), text("echo once"), writerFunc(func([]byte) (int, error) { return 0, full }))
	if !errors.Is(err, full) {
		t.Errorf("an error on the last write is lost: %v", err)
	}
}

// TestRunDaemon leaves a child behind that holds the outputs open.
func TestRunDaemon(t *testing.T) {
	_, config := server(t, sshtest.Options{})
	config.Timeouts.Drain = 100 * time.Millisecond
	client := connect(t, config)
	begin := time.Now()
	if out := mustRun(t, client, "sleep 10 & echo done"); out != "done\n" {
		t.Errorf("got %q", out)
	}
	if took := time.Since(begin); took > 9*time.Second {
		t.Errorf("waited %v for the child", took)
	}
}

// TestRunSlowReader has a caller that is slower than the script: nothing may be missing though
// the script has ended long before.
func TestRunSlowReader(t *testing.T) {
	_, config := server(t, sshtest.Options{})
	config.Timeouts.Drain = 50 * time.Millisecond
	client := connect(t, config)
	total := 0
	err := client.Run(t.Context(), text("head -c 300000 /dev/zero"), writerFunc(func(p []byte) (int, error) {
		total += len(p)
		<-time.After(120 * time.Millisecond)
		return len(p), nil
	}))
	if err != nil || total != 300000 {
		t.Errorf("%d bytes, %v", total, err)
	}
}

func TestRunNoShell(t *testing.T) {
	for name, test := range map[string]struct {
		options sshtest.Options
		want    []string
	}{
		"cloud image": {sshtest.Options{Forced: `echo 'Please login as the user "ubuntu" rather than the user "root".'; exit 142`},
			[]string{"142", `the user "ubuntu"`, "set ssh.user"}},
		"nologin":      {sshtest.Options{Forced: "echo 'This account is currently not available.'; exit 1"}, []string{"not available", "login shell"}},
		"swallows all": {sshtest.Options{Forced: "cat >/dev/null"}, []string{"said nothing in time"}},
		"exec refused": {sshtest.Options{RefuseExec: true}, []string{"refuses to run commands"}},
		"no status":    {sshtest.Options{Forced: "true", NoExitStatus: true}, []string{"closed the session"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, config := server(t, test.options)
			config.Timeouts.Start = 500 * time.Millisecond
			_, err := run(t, connect(t, config), "echo never")
			wantError[*host.ShellError](t, err, append(test.want, "cp1", "root")...)
		})
	}
}

func TestRunConcurrent(t *testing.T) {
	s, config := server(t, sshtest.Options{})
	config.MaxSessions = 3
	client := connect(t, config)
	var all sync.WaitGroup
	for i := range 30 {
		all.Go(func() {
			var out bytes.Buffer
			if err := client.Run(t.Context(), text(fmt.Sprintf("echo %d", i)), &out); err != nil || out.String() != fmt.Sprintln(i) {
				t.Errorf("%d: %q, %v", i, out.String(), err)
			}
		})
	}
	all.Wait()
	if peak := s.PeakExecs(); peak > 3 {
		t.Errorf("%d commands at a time, allowed 3", peak)
	}
}

// TestRunMaxSessions queues where the server allows fewer sessions than the client.
func TestRunMaxSessions(t *testing.T) {
	for _, limit := range []int{1, 2} {
		_, config := server(t, sshtest.Options{MaxSessions: limit})
		client := connect(t, config)
		var all sync.WaitGroup
		for range 12 {
			all.Go(func() {
				if err := client.Run(t.Context(), text("echo x"), io.Discard); err != nil {
					t.Errorf("MaxSessions %d: %v", limit, err)
				}
			})
		}
		all.Wait()
	}
}

// TestRunSessionAfterCancel opens a session while the cancelled one still counts on the server.
func TestRunSessionAfterCancel(t *testing.T) {
	_, config := server(t, sshtest.Options{MaxSessions: 1})
	client := connect(t, config)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := client.Run(ctx, text("trap '' TERM PIPE; sleep 1; sleep 0.2"), nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	mustRun(t, client, "true")
}
