package sshtest

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Proxy is a TCP relay in front of a server that can stop relaying without closing anything, as
// a network does that loses every packet.
type Proxy struct {
	listener net.Listener
	target   string

	mu     sync.Mutex
	thawed *sync.Cond
	frozen bool
	closed bool
	conns  []net.Conn
	done   sync.WaitGroup
}

// NewProxy relays from a new loopback port to target until the test ends.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("sshtest: %v", err)
	}
	p := &Proxy{listener: listener, target: target}
	p.thawed = sync.NewCond(&p.mu)
	p.done.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// Endpoint returns the address:port that is relayed.
func (p *Proxy) Endpoint() string { return p.listener.Addr().String() }

// Freeze swallows everything from now on, in both directions.
func (p *Proxy) Freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = true
}

// Thaw relays again, beginning with what was held back.
func (p *Proxy) Thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = false
	p.thawed.Broadcast()
}

func (p *Proxy) close() {
	p.mu.Lock()
	p.closed, p.frozen = true, false
	p.thawed.Broadcast()
	for _, conn := range p.conns {
		_ = conn.Close()
	}
	p.mu.Unlock()
	_ = p.listener.Close()
	p.done.Wait()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target) //nolint:noctx // loopback
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, server)
		closed := p.closed
		p.mu.Unlock()
		if closed {
			_ = client.Close()
			_ = server.Close()
			return
		}
		p.done.Go(func() { p.relay(server, client) })
		p.done.Go(func() { p.relay(client, server) })
	}
}

func (p *Proxy) relay(to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		p.mu.Lock()
		for p.frozen {
			p.thawed.Wait()
		}
		p.mu.Unlock()
		if _, writeErr := to.Write(buffer[:n]); writeErr != nil {
			err = io.ErrClosedPipe
		}
		if err != nil {
			_ = to.Close()
			_ = from.Close()
			return
		}
	}
}
