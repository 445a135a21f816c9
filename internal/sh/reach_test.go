package sh_test

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kubewright/internal/sh"
)

// onMachine runs a script in a shell of this machine, whose network it is about.
func onMachine(ctx context.Context, shell string, script []byte, out *listener) error {
	cmd := exec.CommandContext(ctx, shell, "-s")
	if shell == "busybox" {
		cmd = exec.CommandContext(ctx, shell, "sh", "-s")
	}
	cmd.Stdin, cmd.Stdout = bytes.NewReader(script), out
	cmd.WaitDelay = time.Second
	return cmd.Run()
}

// freePort is a port of loopback on which nobody listens.
func freePort(t *testing.T, proto string) sh.Endpoint {
	t.Helper()
	var addr net.Addr
	if proto == "udp" {
		conn, err := new(net.ListenConfig).ListenPacket(t.Context(), proto, "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		addr = conn.LocalAddr()
	} else {
		l, err := new(net.ListenConfig).Listen(t.Context(), proto, "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		addr = l.Addr()
	}
	return sh.Endpoint{AddrPort: netip.MustParseAddrPort(addr.String()), Proto: proto}
}

// Ports that are listened on are open, others are closed with the reason, and datagrams arrive
// with the name of their sender.
func TestReach(t *testing.T) {
	for _, shell := range []string{"dash", "bash", "busybox"} {
		t.Run(shell, func(t *testing.T) {
			for _, command := range []string{shell, "systemd-socket-activate", "bash"} {
				if _, err := exec.LookPath(command); err != nil {
					t.Skip(err)
				}
			}
			a, b, udp, closed := freePort(t, "tcp"), freePort(t, "tcp"), freePort(t, "udp"), freePort(t, "tcp")
			nowhere := sh.Endpoint{AddrPort: netip.MustParseAddrPort("255.255.255.255:80"), Proto: "tcp"}
			heard := &listener{heard: make(chan struct{}, 100)}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- onMachine(ctx, shell, sh.RenderListen(marker, []sh.Endpoint{a, b, udp}, true), heard) }()
			await(t, heard, func(r sh.Reached) bool { return r.Listening })

			said := &listener{heard: make(chan struct{}, 100)}
			if err := onMachine(t.Context(), shell, sh.RenderReach(marker, "it's $(w1)", []sh.Endpoint{a, b, udp, closed, nowhere}), said); err != nil {
				t.Fatal(err)
			}
			got := sh.ParseReached(marker, said.bytes())
			if diff := cmp.Diff(map[netip.AddrPort]bool{a.AddrPort: true, b.AddrPort: true}, got.Open, cmp.Comparer(func(x, y netip.AddrPort) bool { return x == y })); diff != "" || !got.Ended {
				t.Errorf("open (-want +got):\n%s\n%s", diff, said.bytes())
			}
			if len(got.Closed) != 2 || got.Closed[closed.AddrPort] != "connection refused" || !strings.Contains(got.Closed[nowhere.AddrPort], "unreachable") {
				t.Errorf("closed: %v", got.Closed)
			}
			await(t, heard, func(r sh.Reached) bool { return len(r.Heard) > 0 })
			for _, names := range sh.ParseReached(marker, heard.bytes()).Heard {
				if !names["it's $(w1)"] {
					t.Errorf("heard %v", names)
				}
			}
			// It ends when nobody listens to it any more, and what it had started, too.
			heard.fail()
			<-ended
			cancel()
			for begin := time.Now(); ; {
				l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", a.String())
				if err == nil {
					_ = l.Close()
					break
				}
				if time.Since(begin) > 10*time.Second {
					t.Fatal(err)
				}
				<-time.After(20 * time.Millisecond)
			}
		})
	}
}

// await waits until what a script has said so far is enough.
func await(t *testing.T, out *listener, enough func(sh.Reached) bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for !enough(sh.ParseReached(marker, out.bytes())) {
		select {
		case <-out.heard:
		case <-deadline:
			t.Fatalf("not in time: %q", out.bytes())
		}
	}
}

// A host without the means says so.
func TestReachUnable(t *testing.T) {
	e := freePort(t, "tcp")
	out := &listener{heard: make(chan struct{}, 100)}
	if err := onMachine(t.Context(), "sh", append([]byte("PATH=/nowhere\n"), sh.RenderListen(marker, []sh.Endpoint{e}, true)...), out); err != nil {
		t.Fatal(err)
	}
	if r := sh.ParseReached(marker, out.bytes()); r.Unable != "bash is missing" || r.Listening {
		t.Errorf("%+v", r)
	}
}

// What was cut, or is not ours, says nothing.
func TestParseReached(t *testing.T) {
	for _, out := range []string{
		"", marker + " open 10.0.0.1:6443", marker + " open nonsense\n", "open 10.0.0.1:6443\n", marker + " heard 4789\n", marker + " closed x y\n",
	} {
		r := sh.ParseReached(marker, []byte(out))
		if len(r.Open)+len(r.Closed)+len(r.Heard) > 0 || r.Listening || r.Ended || r.Unable != "" {
			t.Errorf("%q: %+v", out, r)
		}
	}
}
