package ssh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"kubewright/internal/host"
)

// Dial implements host.Conn: a direct-tcpip channel (RFC 4254, section 7.2).
func (c *Client) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if network != "tcp" && network != "tcp4" && network != "tcp6" {
		return nil, c.refusedDial(addr, net.UnknownNetworkError(network), "")
	}
	name, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, c.refusedDial(addr, err, "")
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, c.refusedDial(addr, fmt.Errorf("port %q is not a number", port), "")
	}
	limited, cancel := context.WithTimeout(ctx, c.config.Timeouts.Dial)
	defer cancel()
	l, _ := c.current()
	c.counters.dials.Add(1)
	ch, err := l.open(limited, "direct-tcpip", ssh.Marshal(struct {
		Host       string
		Port       uint32
		Origin     string
		OriginPort uint32
	}{name, uint32(number), "127.0.0.1", 0}))
	switch {
	case err == nil:
		go ssh.DiscardRequests(ch.requests)
		return newTunnel(ch, tunnelAddr(c.config.Host), tunnelAddr(addr)), nil
	case errors.Is(err, errGone):
		return nil, c.lost(l, "dial", false)
	case ctx.Err() != nil:
		return nil, c.wrap("dial "+addr, ctx.Err())
	case limited.Err() != nil:
		return nil, c.refusedDial(addr, os.ErrDeadlineExceeded,
			fmt.Sprintf("no answer in %v: check the address and the firewalls between the hosts", c.config.Timeouts.Dial))
	default:
		return nil, c.explainDial(addr, err)
	}
}

// explainDial turns the server's refusal of a tunnel into an error with its usual meaning.
func (c *Client) explainDial(addr string, err error) error {
	var refused *ssh.OpenChannelError
	if !errors.As(err, &refused) {
		return c.refusedDial(addr, err, "")
	}
	said := strings.ToLower(refused.Message)
	switch {
	case refused.Reason == ssh.Prohibited:
		return c.refusedDial(addr, err, "the server forbids tunnels: set AllowTcpForwarding yes (or local) in its sshd_config, "+
			"and look at DisableForwarding, PermitOpen and the options of the key in authorized_keys")
	case strings.Contains(said, "refused"):
		return c.refusedDial(addr, syscall.ECONNREFUSED, "nothing listens there")
	case strings.Contains(said, "timed out"):
		return c.refusedDial(addr, syscall.ETIMEDOUT, "check the address and the firewalls between the hosts")
	case strings.Contains(said, "not known"), strings.Contains(said, "resol"), strings.Contains(said, "no address associated"):
		// In the words of glibc's getaddrinfo, or of musl's.
		return c.refusedDial(addr, &net.DNSError{Err: refused.Message, Name: addr, IsNotFound: true}, "have the name resolved on the host, in DNS or in /etc/hosts")
	case strings.Contains(said, "no route"):
		return c.refusedDial(addr, syscall.EHOSTUNREACH, "")
	case strings.Contains(said, "network is unreachable"):
		return c.refusedDial(addr, syscall.ENETUNREACH, "")
	default:
		return c.refusedDial(addr, err, "")
	}
}

func (c *Client) refusedDial(addr string, err error, remedy string) error {
	return &host.DialError{Host: c.config.Host, Address: addr, Err: err, Remedy: remedy}
}

// tunnelAddr is an end of a tunnel: the host that it starts from, or the address dialled there.
type tunnelAddr string

// Network implements net.Addr.
func (tunnelAddr) Network() string { return "tcp" }

// String implements net.Addr.
func (a tunnelAddr) String() string { return string(a) }

// tunnel is a channel as a net.Conn. The channel knows no deadlines, and closing it interrupts
// nobody who waits on it before the server has agreed, so two goroutines do the waiting and the
// methods can leave.
type tunnel struct {
	ch            channel
	local, remote tunnelAddr
	done          chan struct{} // closed by Close
	closing       sync.Once

	reader, writer half
	readable       chan []byte   // what the read pump has got; closed at the end
	consumed       chan struct{} // the pump may reuse its buffer
	pending        []byte        // rest of the last readable
	readErr        error         // set before readable is closed
	writable       chan []byte   // what the write pump has to send
	written        chan error
	buffer         []byte // the write pump's, owned by Write between two rounds
}

// half is one direction: one caller at a time, up to a deadline.
type half struct {
	turn     chan struct{}
	deadline deadline
}

const tunnelBuffer = 32 << 10 // the largest packet of a channel

func newTunnel(ch channel, local, remote tunnelAddr) *tunnel {
	t := &tunnel{
		ch: ch, local: local, remote: remote,
		done:     make(chan struct{}),
		reader:   half{turn: make(chan struct{}, 1), deadline: newDeadline()},
		writer:   half{turn: make(chan struct{}, 1), deadline: newDeadline()},
		readable: make(chan []byte), consumed: make(chan struct{}, 1),
		writable: make(chan []byte), written: make(chan error, 1),
		buffer: make([]byte, tunnelBuffer),
	}
	go t.pumpIn()
	go t.pumpOut()
	return t
}

func (t *tunnel) pumpIn() {
	defer close(t.readable)
	buffer := make([]byte, tunnelBuffer)
	for {
		n, err := t.ch.Read(buffer)
		if n > 0 {
			select {
			case t.readable <- buffer[:n]:
			case <-t.done:
				return
			}
			select {
			case <-t.consumed:
			case <-t.done:
				return
			}
		}
		if err != nil {
			t.readErr = err
			return
		}
	}
}

func (t *tunnel) pumpOut() {
	for {
		select {
		case data := <-t.writable:
			_, err := t.ch.Write(data)
			t.written <- err
		case <-t.done:
			return
		}
	}
}

// Read implements net.Conn.
func (t *tunnel) Read(p []byte) (int, error) {
	release, err := t.enter(&t.reader)
	if err != nil {
		return 0, err
	}
	defer release()
	if len(t.pending) == 0 {
		if len(p) == 0 {
			return 0, nil
		}
		select {
		case data, ok := <-t.readable:
			if !ok {
				return 0, t.readErr
			}
			t.pending = data
		case <-t.done:
			return 0, net.ErrClosed
		case <-t.reader.deadline.passed():
			return 0, os.ErrDeadlineExceeded
		}
	}
	n := copy(p, t.pending)
	if t.pending = t.pending[n:]; len(t.pending) == 0 {
		t.consumed <- struct{}{}
	}
	return n, nil
}

// Write implements net.Conn. When its deadline passes the connection is closed, since how much
// of p was sent is then unknown.
func (t *tunnel) Write(p []byte) (int, error) {
	release, err := t.enter(&t.writer)
	if err != nil {
		return 0, err
	}
	defer release()
	sent := 0
	for len(p) > 0 {
		n := copy(t.buffer, p)
		select {
		case t.writable <- t.buffer[:n]:
		case <-t.done:
			return sent, net.ErrClosed
		}
		select {
		case err := <-t.written:
			if err != nil {
				return sent, err
			}
		case <-t.done:
			return sent, net.ErrClosed
		case <-t.writer.deadline.passed():
			_ = t.Close()
			return sent, os.ErrDeadlineExceeded
		}
		sent += n
		p = p[n:]
	}
	return sent, nil
}

// enter waits for the caller's turn in a direction and returns the function that ends it.
func (t *tunnel) enter(h *half) (leave func(), err error) {
	select {
	case <-t.done:
		return nil, net.ErrClosed
	case <-h.deadline.passed():
		return nil, os.ErrDeadlineExceeded
	default:
	}
	select {
	case h.turn <- struct{}{}:
		return func() { <-h.turn }, nil
	case <-t.done:
		return nil, net.ErrClosed
	case <-h.deadline.passed():
		return nil, os.ErrDeadlineExceeded
	}
}

// CloseWrite tells the other end that nothing more will come.
func (t *tunnel) CloseWrite() error { return t.ch.CloseWrite() }

// Close implements net.Conn.
func (t *tunnel) Close() error {
	err := net.ErrClosed
	t.closing.Do(func() {
		close(t.done)
		_ = t.ch.Close() // fails only when the other end was first
		err = nil
	})
	return err
}

// LocalAddr implements net.Conn.
func (t *tunnel) LocalAddr() net.Addr { return t.local }

// RemoteAddr implements net.Conn.
func (t *tunnel) RemoteAddr() net.Addr { return t.remote }

// SetDeadline implements net.Conn.
func (t *tunnel) SetDeadline(at time.Time) error {
	t.reader.deadline.set(at)
	t.writer.deadline.set(at)
	return nil
}

// SetReadDeadline implements net.Conn.
func (t *tunnel) SetReadDeadline(at time.Time) error {
	t.reader.deadline.set(at)
	return nil
}

// SetWriteDeadline implements net.Conn.
func (t *tunnel) SetWriteDeadline(at time.Time) error {
	t.writer.deadline.set(at)
	return nil
}
