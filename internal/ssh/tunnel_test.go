package ssh

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kubewright/internal/host"
	"kubewright/internal/ssh/sshtest"
)

// listen serves every connection to a loopback port with handle.
func listen(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				handle(conn)
				_ = conn.Close()
			}()
		}
	}()
	return listener.Addr().String()
}

func echo(conn net.Conn) { _, _ = io.Copy(conn, conn) }

func TestTunnel(t *testing.T) {
	noLeak(t)
	_, config := server(t, sshtest.Options{})
	client := connect(t, config)
	addr := listen(t, echo)
	conn, err := client.Dial(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if conn.RemoteAddr().String() != addr || conn.LocalAddr().String() != "cp1" {
		t.Errorf("%v to %v", conn.LocalAddr(), conn.RemoteAddr())
	}
	payload := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // 4 MB, twice the window
	go func() {
		if _, err := conn.Write(payload); err != nil {
			t.Error(err)
		}
		_ = conn.(*tunnel).CloseWrite()
	}()
	got, err := io.ReadAll(conn)
	if err != nil || !bytes.Equal(got, payload) {
		t.Errorf("%d bytes came back, %v", len(got), err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	if err := conn.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read after Close: %v", err)
	}
	if _, err := conn.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write after Close: %v", err)
	}
	if client.Stats().Dials != 1 {
		t.Errorf("%+v", client.Stats())
	}
}

func TestTunnelHTTP(t *testing.T) {
	_, config := server(t, sshtest.Options{})
	client := connect(t, config)
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	}))
	web.Config.ErrorLog = log.New(io.Discard, "", 0) // connections that were dialled and not needed
	web.StartTLS()
	t.Cleanup(web.Close)
	transport := web.Client().Transport.(*http.Transport).Clone()
	transport.DialContext = client.Dial
	defer transport.CloseIdleConnections()
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, web.URL, strings.NewReader("hello"))
			if err != nil {
				t.Error(err)
				return
			}
			response, err := (&http.Client{Transport: transport}).Do(request)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = response.Body.Close() }()
			if body, err := io.ReadAll(response.Body); err != nil || string(body) != "hello" {
				t.Errorf("%q, %v", body, err)
			}
		})
	}
	all.Wait()
}

func TestTunnelRefused(t *testing.T) {
	_, config := server(t, sshtest.Options{})
	client := connect(t, config)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := listener.Addr().String()
	_ = listener.Close()
	_, err = client.Dial(t.Context(), "tcp", closed)
	wantError[*host.DialError](t, err, "cp1", closed, "refused")
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("not recognised as refused: %v", err)
	}
	for _, bad := range [][2]string{{"udp", closed}, {"tcp", "no-port"}, {"tcp", "host:http"}, {"tcp", "host:70000"}} {
		_, err = client.Dial(t.Context(), bad[0], bad[1])
		wantError[*host.DialError](t, err, bad[1])
	}
	_, err = client.Dial(t.Context(), "tcp", "no-such-host.invalid:1")
	wantError[*host.DialError](t, err, "no-such-host.invalid:1")
	var unresolved *net.DNSError
	if !errors.As(err, &unresolved) {
		t.Errorf("a name that has no address is reported as %v", err)
	}
}

func TestTunnelForbidden(t *testing.T) {
	_, config := server(t, sshtest.Options{NoForwarding: true})
	_, err := connect(t, config).Dial(t.Context(), "tcp", "127.0.0.1:6443")
	wantError[*host.DialError](t, err, "cp1", "127.0.0.1:6443", "AllowTcpForwarding yes")
}

func TestTunnelDeadlines(t *testing.T) {
	noLeak(t)
	_, config := server(t, sshtest.Options{})
	client := connect(t, config)
	conn, err := client.Dial(t.Context(), "tcp", listen(t, echo))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	buffer := make([]byte, 16)

	_ = conn.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
	_, err = conn.Read(buffer)
	var timeout net.Error
	if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("error %v", err)
	}
	if _, err = conn.Read(buffer); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a passed deadline stays: %v", err)
	}

	// A read deadline loses nothing: the connection goes on.
	_ = conn.SetDeadline(time.Time{})
	if _, err = conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(buffer[:2]); err != nil || string(buffer[:n]) != "he" {
		t.Errorf("%q, %v", buffer[:n], err)
	}
	if n, err := io.ReadFull(conn, buffer[:3]); err != nil || string(buffer[:n]) != "llo" {
		t.Errorf("%q, %v", buffer[:n], err)
	}

	// A deadline set while somebody reads wakes him.
	woken := make(chan error, 1)
	go func() {
		_, err := conn.Read(make([]byte, 1))
		woken <- err
	}()
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if err := <-woken; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

// TestTunnelWriteBlocked writes to a peer that does not read, until a deadline and until Close.
func TestTunnelWriteBlocked(t *testing.T) {
	noLeak(t)
	_, config := server(t, sshtest.Options{})
	client := connect(t, config)
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	addr := listen(t, func(net.Conn) { <-release })
	fill := func(conn net.Conn) error {
		for {
			if _, err := conn.Write(make([]byte, 1<<20)); err != nil {
				return err
			}
		}
	}
	conn, err := client.Dial(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
	if err := fill(conn); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("error %v", err)
	}

	if conn, err = client.Dial(t.Context(), "tcp", addr); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(300*time.Millisecond, func() { _ = conn.Close() })
	if err := fill(conn); !errors.Is(err, net.ErrClosed) {
		t.Errorf("error %v", err)
	}
}

func TestTunnelLost(t *testing.T) {
	noLeak(t)
	s, config := server(t, sshtest.Options{})
	client := connect(t, config)
	conn, err := client.Dial(t.Context(), "tcp", listen(t, echo))
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(50*time.Millisecond, s.DropAll)
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("reading from a lost connection succeeded")
	}
	_ = conn.Close()
}

func TestTunnelCancel(t *testing.T) {
	noLeak(t)
	s, config := server(t, sshtest.Options{})
	proxy := sshtest.NewProxy(t, s.Endpoint())
	config.HostKey = s.HostKey()
	config.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, proxy.Endpoint())
	}
	config.Timeouts.Dial = time.Second
	client := connect(t, config)
	proxy.Freeze()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := client.Dial(ctx, "tcp", "127.0.0.1:1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	_, err := client.Dial(t.Context(), "tcp", "127.0.0.1:1")
	wantError[*host.DialError](t, err, "no answer in 1s")
}
