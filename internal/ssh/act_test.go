package ssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"kubewright/internal/host"
	"kubewright/internal/ssh/sshtest"
)

// act is a script of three steps, each of which takes a moment and is noted in dir when it is
// done. TERM ends it between two of them.
func act(dir string) host.Script {
	return host.Script{Kind: host.Act, Text: text(fmt.Sprintf(`trap 'stop=1' TERM; trap '' PIPE; stop=
for step in 1 2 3; do
[ -z "$stop" ] || exit 7
echo started
sleep 3 && echo $step >>%s/steps
done
`, dir)).Text}
}

// awaitSteps waits until dir has what the steps of act note, and then no more for a while.
func awaitSteps(t *testing.T, dir, want string) {
	t.Helper()
	for begin := time.Now(); read(t, dir+"/steps") != want; {
		if time.Since(begin) > 20*time.Second {
			t.Fatalf("steps %q, want %q", read(t, dir+"/steps"), want)
		}
		_ = wait(t.Context(), 20*time.Millisecond)
	}
	_ = wait(t.Context(), 3500*time.Millisecond)
	if got := read(t, dir+"/steps"); got != want {
		t.Errorf("it went on: steps %q, want %q", got, want)
	}
}

// TestCancelLetsAnActFinish has an act cancelled in the middle of a step: the step is done, the
// next one is not begun, and Run returns when that is so.
func TestCancelLetsAnActFinish(t *testing.T) {
	for name, lines := range map[string][]string{"": nil, "one session at a time": {"MaxSessions 1"}} {
		t.Run(name, func(t *testing.T) {
			noLeak(t)
			config, _ := openSSH(t, lines...)
			client := connect(t, config)
			dir := t.TempDir()
			ctx, cancel := context.WithCancel(t.Context())
			out, began := signalWriter()
			go func() {
				<-began
				cancel()
			}()
			if err := client.Run(ctx, act(dir), out); !errors.Is(err, context.Canceled) {
				t.Errorf("error %v", err)
			}
			if got := read(t, dir+"/steps"); got != "1\n" {
				t.Errorf("steps %q when Run returned", got)
			}
			awaitSteps(t, dir, "1\n")
		})
	}
}

// TestCancelEndsAnAct has a step that takes longer than the time to finish.
func TestCancelEndsAnAct(t *testing.T) {
	config, _ := openSSH(t)
	config.Timeouts.Finish = 200 * time.Millisecond
	client := connect(t, config)
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	out, began := signalWriter()
	go func() {
		<-began
		cancel()
	}()
	script := stubborn(dir, "")
	script.Kind = host.Act
	if err := client.Run(ctx, script, out); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if !still(t, dir) {
		t.Error("the script goes on after Run was cancelled")
	}
}

// TestRedialLetsAnActFinish loses the connection in the middle of a step.
func TestRedialLetsAnActFinish(t *testing.T) {
	config, _ := openSSH(t)
	client := connect(t, config)
	dir := t.TempDir()
	out, began := signalWriter()
	go func() {
		<-began
		client.link.close(errors.New("cut"))
	}()
	err := client.Run(t.Context(), act(dir), out)
	if lost := wantError[*host.LostError](t, err); !lost.Started {
		t.Error("the script had started")
	}
	begin := time.Now()
	if err := client.Redial(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 2900*time.Millisecond && read(t, dir+"/steps") != "" {
		t.Errorf("Redial waited %v for the step", took)
	}
	awaitSteps(t, dir, "1\n")
	if got := client.Stats(); got.Connects != 2 || len(client.acts) != 0 {
		t.Errorf("%+v, acts %v", got, client.acts)
	}
}

// TestHeldSession runs scripts beside ones that hold the only session which the server allows on a
// connection.
func TestHeldSession(t *testing.T) {
	noLeak(t)
	_, config := server(t, sshtest.Options{MaxSessions: 1})
	client := connect(t, config)
	ctx, release := context.WithCancel(t.Context())
	var holders sync.WaitGroup
	for range 2 {
		out, began := signalWriter()
		holders.Go(func() {
			script := host.Script{Kind: host.Hold, Text: text("echo held; sleep 600").Text}
			if err := client.Run(ctx, script, out); !errors.Is(err, context.Canceled) {
				t.Errorf("error %v", err)
			}
		})
		<-began
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if err := client.Run(t.Context(), text("true"), io.Discard); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	got := client.Stats()
	if got.Connects != 1 || got.Handshakes != 3 { // the connection, and two beside it
		t.Errorf("%+v", got)
	}
	release()
	holders.Wait()

	// The connections beside it end with it, and do not come back with it.
	client.link.close(errors.New("cut"))
	if err := client.Redial(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustRun(t, client, "true")
	if got := client.Stats(); got.Connects != 2 || len(client.spares) != 0 {
		t.Errorf("%+v, %d spare", got, len(client.spares))
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
}
