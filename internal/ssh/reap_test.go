package ssh

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"kubewright/internal/host"
	"kubewright/internal/ssh/sshtest"
)

func TestParseProcess(t *testing.T) {
	const tail = " S 1 4711 4711 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 98765 2600000 10"
	for stat, want := range map[string]process{
		"4711 (sh)" + tail:     {4711, 98765},
		"4711 (a b) c)" + tail: {4711, 98765},
		"":                     {},
		"4711 (sh) S 1 4711":   {},
		"x (sh)" + tail:        {},
		"1 (sh)" + tail:        {},
		"4711 (sh" + tail:      {},
		strings.Replace("4711 (sh)"+tail, "98765", "x", 1): {},
	} {
		got, ok := parseProcess(stat)
		if got != want || ok != (want != process{}) {
			t.Errorf("parseProcess(%q) = %+v, %v", stat, got, ok)
		}
	}
}

func FuzzParseProcess(f *testing.F) {
	f.Add("4711 (sh) S 1 4711 4711 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 98765 2600000 10")
	f.Fuzz(func(t *testing.T, stat string) {
		if p, ok := parseProcess(stat); ok && p.id <= 1 {
			t.Errorf("%q: %+v", stat, p)
		}
	})
}

// stubborn is a script that goes on when its outputs break and when it is asked to end.
func stubborn(dir, ignored string) host.Script {
	return text(fmt.Sprintf("trap '' PIPE %s; echo started; i=0; while [ $i -lt 600 ]; do i=$((i+1)); echo tick >>%s/ticks; sleep 0.05; done", ignored, dir))
}

// still reports whether the script of stubborn has ended.
func still(t *testing.T, dir string) bool {
	t.Helper()
	before := read(t, dir+"/ticks")
	_ = wait(t.Context(), 300*time.Millisecond)
	return before != "" && read(t, dir+"/ticks") == before
}

func TestCancelEndsTheScript(t *testing.T) {
	config, _ := openSSH(t)
	config.Timeouts.Stop = time.Minute
	for name, ignored := range map[string]string{"asked": "", "forced": "TERM"} {
		t.Run(name, func(t *testing.T) {
			client := connect(t, config)
			dir := t.TempDir()
			ctx, cancel := context.WithCancel(t.Context())
			out, began := signalWriter()
			go func() {
				<-began
				cancel()
			}()
			if err := client.Run(ctx, stubborn(dir, ignored), out); !errors.Is(err, context.Canceled) {
				t.Errorf("error %v", err)
			}
			if !still(t, dir) {
				t.Error("the script goes on after Run was cancelled")
			}
			mustRun(t, client, "true")
		})
	}
}

// TestRedialEndsTheScript loses the connection under a script that goes on without it.
func TestRedialEndsTheScript(t *testing.T) {
	config, _ := openSSH(t)
	client := connect(t, config)
	dir := t.TempDir()
	out, began := signalWriter()
	go func() {
		<-began
		client.link.close(errors.New("cut"))
	}()
	if err := client.Run(t.Context(), stubborn(dir, ""), out); err == nil {
		t.Fatal("Run succeeded")
	}
	if still(t, dir) {
		t.Fatal("the script has ended by itself, so this test tests nothing")
	}
	if err := client.Redial(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !still(t, dir) {
		t.Error("the script goes on after Redial")
	}
	if len(client.orphans) != 0 {
		t.Errorf("%v", client.orphans)
	}
}

// TestReapSparesOthers has a process whose ID was given to another one since.
func TestReapSparesOthers(t *testing.T) {
	_, config := server(t, sshtest.Options{})
	client := connect(t, config)
	out := mustRun(t, client, "sleep 5 >/dev/null 2>&1 & read -r stat </proc/$!/stat; echo \"$stat\"")
	other, ok := parseProcess(strings.TrimSpace(out))
	if !ok {
		t.Fatalf("stat %q", out)
	}
	alive := fmt.Sprintf("kill -0 %d", other.id)
	if err := client.reap(t.Context(), client.link, []process{{other.id, other.start + 1}, {1 << 30, 1}}, nil); err != nil {
		t.Fatal(err)
	}
	mustRun(t, client, alive)
}
