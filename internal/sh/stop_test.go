package sh_test

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"kubewright/internal/sh"
	"kubewright/internal/sh/shtest"
)

// slowAct is an act of two tasks, the first of which takes a moment.
type slowAct struct {
	root   *shtest.Root
	reader *os.File // of what it says; a pipe, as the server of a connection has it
	ended  chan int
}

// startSlowAct returns when the first task is at work.
func startSlowAct(t *testing.T, shell shtest.Shell) slowAct {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reader.Close() })
	a := slowAct{root: shtest.New(t, shell), reader: reader, ended: make(chan int, 1)}
	a.root.Command("modprobe", "#!/bin/sh\necho begin $1 >> /fake.state/log; sleep 1.5; echo noise; echo end $1 >> /fake.state/log\n")
	tasks := []sh.Task{{ID: "m", Steps: []sh.Step{sh.LoadModule{Name: "m"}}}, {ID: "n", Steps: []sh.Step{sh.LoadModule{Name: "n"}}}}
	go func() {
		code, stderr, err := a.root.Run(t.Context(), sh.RenderTasks(marker, tasks, sh.NewLook(nil)), writer)
		_ = writer.Close()
		if err != nil {
			t.Errorf("%v: %s", err, stderr)
		}
		a.ended <- code
	}()
	for begin := time.Now(); !strings.Contains(a.root.Read("/fake.state/log"), "begin m"); {
		if time.Since(begin) > 20*time.Second {
			t.Fatal("the act does not begin")
		}
		<-time.After(10 * time.Millisecond)
	}
	return a
}

// wantFirstOnly waits for the end of the act: its first task was done, and no other begun.
func (a slowAct) wantFirstOnly(t *testing.T) {
	t.Helper()
	select {
	case code := <-a.ended:
		if code != sh.StoppedStatus {
			t.Errorf("it ended with %d", code)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the act does not end")
	}
	if got := a.root.Read("/fake.state/log"); got != "begin m\nend m\n" {
		t.Errorf("it did %q", got)
	}
}

// An act that is told to end does so after the task at work.
func TestActStops(t *testing.T) {
	inShells(t, func(t *testing.T, shell shtest.Shell) {
		a := startSlowAct(t, shell)
		pid, err := strconv.Atoi(strings.TrimSpace(a.root.Read(sh.ActPath)))
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		a.wantFirstOnly(t)
	})
}

// An act whose connection is gone does the same, although its steps have something to say.
func TestActOutlivesItsReader(t *testing.T) {
	inShells(t, func(t *testing.T, shell shtest.Shell) {
		a := startSlowAct(t, shell)
		_ = a.reader.Close()
		a.wantFirstOnly(t)
	})
}

// Whoever takes the lock by force has the act of the other run end, and waits for that.
func TestForceEndsTheAct(t *testing.T) {
	inShells(t, func(t *testing.T, shell shtest.Shell) {
		a := startSlowAct(t, shell)
		out := &listener{heard: make(chan struct{}, 100)}
		k := &taker{out: out, ended: make(chan int, 1)}
		go func() {
			code, _, _ := a.root.Run(t.Context(), sh.RenderLock(marker, sh.LockRequest{Holder: "bob", Force: true}), out)
			k.ended <- code
		}()
		if holder := k.answer(t); holder != "" {
			t.Errorf("held by %q", holder)
		}
		a.wantFirstOnly(t)
		out.fail()
		k.wait(t)
	})
}
