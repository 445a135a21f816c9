package ssh

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"kubewright/internal/host"
	"kubewright/internal/ssh/sshtest"
)

// signalWriter closes began at the first output.
func signalWriter() (out writerFunc, began chan struct{}) {
	began = make(chan struct{})
	var once sync.Once
	return func(p []byte) (int, error) {
		once.Do(func() { close(began) })
		return len(p), nil
	}, began
}

func TestLostMidRun(t *testing.T) {
	noLeak(t)
	s, config := server(t, sshtest.Options{})
	client := connect(t, config)
	out, began := signalWriter()
	go func() {
		<-began
		s.DropAll()
	}()
	ran := t.TempDir() + "/ran"
	err := client.Run(t.Context(), text("echo x >>"+ran+"; echo started; sleep 600"), out)
	if lost := wantError[*host.LostError](t, err, "cp1", "outcome is unknown"); !lost.Started {
		t.Error("the script had started")
	}

	// Nothing works until Redial, and nothing is repeated by it.
	_, err = run(t, client, "true")
	if lost := wantError[*host.LostError](t, err); lost.Started {
		t.Error("nothing was started on a dead connection")
	}
	_, err = client.Dial(t.Context(), "tcp", "127.0.0.1:1")
	wantError[*host.LostError](t, err, "dial")
	err = client.Upload(t.Context(), t.TempDir()+"/x", bytes.NewReader(nil), 0)
	wantError[*host.LostError](t, err, "upload")
	if err := client.Redial(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustRun(t, client, "true")
	if got := read(t, ran); got != "x\n" {
		t.Errorf("the script was repeated: %q", got)
	}
	if got := client.Stats(); got.Handshakes != 2 || got.Execs != 3 { // one ended what was left running
		t.Errorf("stats %+v", got)
	}
}

// TestLostStatus cuts the connection after the script has done its work and before its status
// arrives: the outcome is unknown, not success and not failure.
func TestLostStatus(t *testing.T) {
	_, config := server(t, sshtest.Options{LoseAfterExec: true})
	for range 5 {
		_, err := run(t, connect(t, config), "true")
		if lost := wantError[*host.LostError](t, err); !lost.Started {
			t.Error("the script had started")
		}
	}
}

func TestNoExitStatus(t *testing.T) {
	_, config := server(t, sshtest.Options{NoExitStatus: true})
	_, err := run(t, connect(t, config), "true")
	if lost := wantError[*host.LostError](t, err, "without an exit status"); !lost.Started {
		t.Error("the script had started")
	}
}

// TestKeepalive loses every packet without closing anything.
func TestKeepalive(t *testing.T) {
	noLeak(t)
	s, config := server(t, sshtest.Options{})
	proxy := sshtest.NewProxy(t, s.Endpoint())
	config.HostKey = s.HostKey()
	config.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, proxy.Endpoint())
	}
	config.Timeouts.Keepalive = 30 * time.Millisecond
	client := connect(t, config)

	// Alive and silent for many intervals.
	mustRun(t, client, "sleep 0.5")

	out, began := signalWriter()
	go func() {
		<-began
		proxy.Freeze()
	}()
	begin := time.Now()
	err := client.Run(t.Context(), text("echo started; sleep 600"), out)
	wantError[*host.LostError](t, err, "no answer for 90ms")
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("took %v", took)
	}

	// A host that stays away must not hold up Redial beyond its deadline.
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	wantError[*host.UnreachableError](t, client.Redial(ctx), "cp1")
	proxy.Thaw()
	if err := client.Redial(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustRun(t, client, "true")
}

func TestClose(t *testing.T) {
	noLeak(t)
	_, config := server(t, sshtest.Options{})
	client := connect(t, config)
	out, began := signalWriter()
	go func() {
		<-began
		_ = client.Close()
	}()
	err := client.Run(t.Context(), text("echo started; sleep 600"), out)
	wantError[*host.LostError](t, err)
	if !errors.Is(err, net.ErrClosed) {
		t.Errorf("error %v", err)
	}
	wantError[*host.LostError](t, client.Redial(t.Context()))
	if err := client.Close(); err != nil {
		t.Error(err)
	}
}

func TestRedialIsShared(t *testing.T) {
	s, config := server(t, sshtest.Options{})
	client := connect(t, config)
	if err := client.Redial(t.Context()); err != nil || s.Connections() != 1 {
		t.Errorf("a live connection was replaced (%v)", err)
	}
	s.DropAll()
	<-client.link.gone
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if err := client.Redial(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := s.Connections(); got != 2 {
		t.Errorf("%d connections, want 2", got)
	}
}

func TestUnreachable(t *testing.T) {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	_ = listener.Close()
	_, config := server(t, sshtest.Options{})
	config.Port = port
	_, err = Dial(t.Context(), config)
	wantError[*host.UnreachableError](t, err, "cp1", "127.0.0.1:", "refused", "sshd runs and listens")

	config.Address = "no-such-host.invalid"
	_, err = Dial(t.Context(), config)
	wantError[*host.UnreachableError](t, err, "check the address")
}

// TestSilentServer accepts the connection and says nothing.
func TestSilentServer(t *testing.T) {
	noLeak(t)
	_, config := server(t, sshtest.Options{DelayBanner: time.Minute})
	config.Timeouts.Handshake = 200 * time.Millisecond
	_, err := Dial(t.Context(), config)
	wantError[*host.UnreachableError](t, err, "no SSH server answered in 200ms")

	config.Timeouts.Handshake = time.Minute
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	if _, err = Dial(ctx, config); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestNotAnSSHServer(t *testing.T) {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("SSH-1.0-ancient\r\n"))
			_, _ = conn.Write(bytes.Repeat([]byte("x"), 4096))
		}
	}()
	_, config := server(t, sshtest.Options{})
	config.Port = listener.Addr().(*net.TCPAddr).Port
	_, err = Dial(t.Context(), config)
	wantError[*host.UnreachableError](t, err, "really sshd")
}

// TestMaxStartups drops the first connections before a word is said, as sshd does when too many
// are logging in.
func TestMaxStartups(t *testing.T) {
	s, config := server(t, sshtest.Options{DropPreAuth: 2})
	client := connect(t, config)
	mustRun(t, client, "true")
	if s.Connections() != 3 || client.Stats().Handshakes != 3 {
		t.Errorf("%d connections", s.Connections())
	}
}

func TestMaxStartupsForever(t *testing.T) {
	noLeak(t)
	s, config := server(t, sshtest.Options{DropPreAuth: 1000})
	config.Timeouts.Connect = time.Second
	_, err := Dial(t.Context(), config)
	wantError[*host.UnreachableError](t, err, "kept dropping connections", "MaxStartups", "attempts")
	if n := s.Connections(); n < 2 || n > 20 {
		t.Errorf("%d attempts in a second", n)
	}
	if s.Logins() != 0 {
		t.Error("credentials were sent")
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	config.Timeouts.Connect = time.Minute
	if _, err = Dial(ctx, config); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// TestLimiter shares one handshake at a time between many hosts.
func TestLimiter(t *testing.T) {
	limiter := NewLimiter(1)
	var mu sync.Mutex
	now, peak := 0, 0
	var all sync.WaitGroup
	for range 6 {
		_, config := server(t, sshtest.Options{})
		config.Limiter = limiter
		config.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			mu.Lock()
			now++
			peak = max(peak, now)
			mu.Unlock()
			defer func() {
				mu.Lock()
				now--
				mu.Unlock()
			}()
			_ = wait(ctx, 10*time.Millisecond)
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
		all.Go(func() {
			client, err := Dial(t.Context(), config)
			if err != nil {
				t.Error(err)
				return
			}
			_ = client.Close()
		})
	}
	all.Wait()
	if peak != 1 {
		t.Errorf("%d handshakes at a time", peak)
	}
	release, err := limiter.acquire(t.Context(), "192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := limiter.acquire(ctx, "192.0.2.1"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	other, err := limiter.acquire(t.Context(), "192.0.2.2") // is not held up by the first
	if err != nil {
		t.Fatal(err)
	}
	other()
}

func TestBackoff(t *testing.T) {
	for attempt := range 40 {
		if d := backoff(attempt); d < 60*time.Millisecond || d > 4*time.Second {
			t.Errorf("attempt %d: %v", attempt, d)
		}
	}
}
