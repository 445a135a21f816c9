package host

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestLocalRun(t *testing.T) {
	l := NewLocal("cp1")
	var out bytes.Buffer
	err := l.Run(t.Context(), text("echo out $LC_ALL $HOME; echo reason >&2; exit 7"), &out)
	var exit *ExitError
	if !errors.As(err, &exit) || exit.Code != 7 || string(exit.Stderr) != "reason\n" || exit.Host != "cp1" || out.String() != "out C /root\n" {
		t.Errorf("%v, %q", err, out.String())
	}
	err = l.Run(t.Context(), text("kill -TERM $$"), nil)
	if !errors.As(err, &exit) || exit.Signal != "TERM" || exit.Code != 143 {
		t.Errorf("%+v", exit)
	}
	if err := l.Run(t.Context(), text("exit 0\n"+strings.Repeat("# unread\n", 1<<18)), nil); err != nil {
		t.Error(err)
	}
	full := errors.New("disk full")
	if err := l.Run(t.Context(), text("echo x"), failingWriter{full}); !errors.Is(err, full) {
		t.Errorf("error %v", err)
	}
	if l.Stats().Execs != 4 {
		t.Errorf("%+v", l.Stats())
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	var lost *LostError
	if err := l.Run(t.Context(), text("true"), nil); !errors.As(err, &lost) || lost.Started {
		t.Errorf("error %v", err)
	}
}

func text(s string) Script { return Script{Text: func() []byte { return []byte(s) }} }

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

// TestLocalRunCancel ends the script with its children.
func TestLocalRunCancel(t *testing.T) {
	pid := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancel(t.Context())
	out := &notify{call: cancel}
	begin := time.Now()
	err := NewLocal("cp1").Run(ctx, text("sh -c 'echo $$ >"+pid+"; echo started; sleep 600'; true"), out)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "cp1") || time.Since(begin) > 10*time.Second {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
	data, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := NewLocal("cp1").Run(t.Context(), text("i=0; while kill -0 "+strings.TrimSpace(string(data))+" 2>/dev/null; do i=$((i+1)); [ $i -lt 100 ] || exit 1; sleep 0.05; done"), nil); err != nil {
		t.Error("the child goes on")
	}
}

type notify struct{ call func() }

func (n *notify) Write(p []byte) (int, error) {
	n.call()
	return len(p), nil
}

// TestLocalRunDaemon leaves a child behind that holds the output open.
func TestLocalRunDaemon(t *testing.T) {
	var out bytes.Buffer
	begin := time.Now()
	if err := NewLocal("cp1").Run(t.Context(), text("sleep 30 & echo done"), &out); err != nil || out.String() != "done\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("waited %v for the child", took)
	}
}

func TestLocalUpload(t *testing.T) {
	l := NewLocal("cp1")
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path+".part", []byte("left over and longer"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := l.Upload(t.Context(), path, strings.NewReader("content"), 7); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	info, statErr := os.Stat(path)
	if err != nil || statErr != nil || string(data) != "content" || info.Mode().Perm() != 0o600 {
		t.Errorf("%q, %v, %v, %v", data, info.Mode(), err, statErr)
	}
	for name, source := range map[string]string{"short": "conten", "long": "content!"} {
		err := l.Upload(t.Context(), path, strings.NewReader(source), 7)
		if err == nil || !strings.Contains(err.Error(), "7 bytes announced") || !strings.Contains(err.Error(), "cp1") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(path + ".part"); !os.IsNotExist(err) {
			t.Errorf("%s: the part file is still there", name)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Upload(ctx, path, strings.NewReader("content"), 7); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if err := l.Upload(t.Context(), path+"/no/dir", strings.NewReader(""), 0); err == nil {
		t.Error("no error for a path that is not there")
	}
}

func TestLocalDial(t *testing.T) {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			_, _ = io.WriteString(conn, "hello")
			_ = conn.Close()
		}
	}()
	l := NewLocal("cp1")
	conn, err := l.Dial(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(conn); err != nil || string(data) != "hello" {
		t.Errorf("%q, %v", data, err)
	}
	_ = conn.Close()
	_ = listener.Close()
	_, err = l.Dial(t.Context(), "tcp", addr)
	var refused *DialError
	if !errors.As(err, &refused) || !errors.Is(err, syscall.ECONNREFUSED) || refused.Address != addr {
		t.Errorf("error %v", err)
	}
}
