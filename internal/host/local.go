package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Local is the machine that the program runs on, for init and join. The program must run as
// root for scripts to do so.
type Local struct {
	name   string
	execs  atomic.Int64
	dials  atomic.Int64
	closed atomic.Bool
}

var _ Conn = (*Local)(nil)

// NewLocal returns a connection to this machine under the name it has in the inventory.
func NewLocal(name string) *Local { return &Local{name: name} }

// drainWait is how long output is awaited after a script has exited and left a child that holds
// it open.
const drainWait = 2 * time.Second

// finishWait is how long an Act whose context has ended may go on with the step at work.
const finishWait = 10 * time.Second

// Run implements Conn with the same environment that a remote script gets.
func (l *Local) Run(ctx context.Context, script Script, stdout io.Writer) error {
	if l.closed.Load() {
		return &LostError{Host: l.name, Op: "run", Err: net.ErrClosed}
	}
	l.execs.Add(1)
	stderr := NewBounded(StderrLimit)
	cmd := exec.CommandContext(ctx, "/bin/sh", "-s")
	cmd.Env = []string{"LC_ALL=C", "HOME=/root", "USER=root", "LOGNAME=root",
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.Stdin = bytes.NewReader(script.Text())
	cmd.Stdout = stdout
	cmd.Stderr = stderr
	cmd.WaitDelay = drainWait
	ended, end := context.WithCancel(context.Background())
	defer end()
	// A group of its own, so that a cancelled script takes its children with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	if script.Kind == Act {
		cmd.WaitDelay += finishWait
		cmd.Cancel = func() error {
			group := time.AfterFunc(finishWait, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) })
			context.AfterFunc(ended, func() { group.Stop() })
			return cmd.Process.Signal(syscall.SIGTERM)
		}
	}
	err := cmd.Run()
	if ctx.Err() != nil {
		return fmt.Errorf("%s: run: %w", l.name, ctx.Err())
	}
	var exited *exec.ExitError
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		return nil
	case errors.As(err, &exited):
		return l.exitError(exited, stderr)
	default:
		return fmt.Errorf("%s: run: %w", l.name, err)
	}
}

func (l *Local) exitError(exited *exec.ExitError, stderr *Bounded) error {
	err := &ExitError{Host: l.name, Code: exited.ExitCode()}
	err.Stderr, err.Truncated = stderr.Content()
	if status, ok := exited.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		err.Code = 128 + int(status.Signal())
		err.Signal = strings.TrimPrefix(unix.SignalName(status.Signal()), "SIG")
	}
	return err
}

// Upload implements Conn.
func (l *Local) Upload(ctx context.Context, path string, r io.Reader, size int64) error {
	part := path + ".part"
	if err := writeFile(ctx, part, r, size); err != nil {
		_ = os.Remove(part) // best effort: the next upload overwrites it
		return fmt.Errorf("%s: upload: %w", l.name, err)
	}
	if err := os.Rename(part, path); err != nil {
		return fmt.Errorf("%s: upload: %w", l.name, err)
	}
	return nil
}

func writeFile(ctx context.Context, path string, r io.Reader, size int64) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	if err := file.Chmod(0o600); err != nil { // it may have been there with another mode
		return err
	}
	// One byte more than announced tells a source that is too long.
	n, err := io.Copy(file, io.LimitReader(readerUntil(ctx, r), size+1))
	if err != nil {
		return err
	}
	if n != size {
		return fmt.Errorf("%s: the source does not have the %d bytes announced", path, size)
	}
	return file.Close()
}

// readerUntil reads from r until ctx ends.
func readerUntil(ctx context.Context, r io.Reader) io.Reader {
	return readerFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return r.Read(p)
	})
}

type readerFunc func([]byte) (int, error)

// Read implements io.Reader.
func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// Dial implements Conn.
func (l *Local) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	l.dials.Add(1)
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, &DialError{Host: l.name, Address: addr, Err: err}
	}
	return conn, nil
}

// Stats implements Conn. Nothing goes over a wire, so there are no bytes and no handshakes.
func (l *Local) Stats() Stats {
	return Stats{Execs: l.execs.Load(), Sessions: l.execs.Load(), Dials: l.dials.Load(), Connects: 1}
}

// Close implements Conn. Running scripts are left to their contexts.
func (l *Local) Close() error {
	l.closed.Store(true)
	return nil
}
