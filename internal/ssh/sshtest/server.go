// Package sshtest is an SSH server for tests. It speaks the real protocol, runs commands with a
// real shell, serves files and tunnels, and misbehaves on request in the ways that servers do.
package sshtest

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// Options say how a server behaves. The zero value accepts nobody.
type Options struct {
	HostKeys       []ssh.Signer    // default: one new Ed25519 key
	AuthorizedKeys []ssh.PublicKey // keys, or authorities of user certificates
	Password       string          // for the password method; empty: not offered
	Interactive    string          // password for keyboard-interactive; empty: not offered
	MaxAuthTries   int             // default 6

	Shell   string   // run as Shell -c COMMAND; default /bin/sh
	Env     []string // of commands; default PATH of the machine
	Prelude string   // printed on stdout before a command runs, as a noisy .bashrc does
	Forced  string   // run instead of every command, as a forced command in authorized_keys

	MaxSessions   int  // session channels at a time; 0: any number
	NoSFTP        bool // the subsystem is not there
	NoForwarding  bool // tunnels are prohibited
	RefuseExec    bool // exec requests fail
	DropPreAuth   int  // hang up on the first n connections before saying anything
	DropLogins    int  // hang up on everybody when the first n keys are offered
	DelayBanner   time.Duration
	NoExitStatus  bool // close sessions without an exit status
	LoseAfterExec bool // cut the connection when a command has ended, before its status is sent

	// Exec, when set, answers commands in place of the shell, and returns their exit status.
	Exec func(Command) int
	// Dial, when set, is where tunnels lead to.
	Dial func(address string) (net.Conn, error)
}

// Command is what one exec channel asks for.
type Command struct {
	// At is the address of the server that the client has connected to.
	At             net.Addr
	Line           string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Gone is closed when the client has closed the channel.
	Gone <-chan struct{}
}

// Server is a running server. Its counters may be read at any time.
type Server struct {
	options  Options
	config   *ssh.ServerConfig
	listener net.Listener
	done     sync.WaitGroup
	stopping sync.Once

	connections, logins, execs, running, peak atomic.Int64
	received, sent                            atomic.Int64

	mu       sync.Mutex
	conns    map[net.Conn]bool
	commands []string
	stop     chan struct{} // closed by Close
}

// Start runs a server on a loopback port until the test ends.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	if len(o.HostKeys) == 0 {
		key, _ := NewKey(t)
		o.HostKeys = []ssh.Signer{key}
	}
	s, err := Listen(t.Context(), "127.0.0.1:0", o)
	if err != nil {
		t.Fatalf("sshtest: %v", err)
	}
	t.Cleanup(s.Close)
	return s
}

// Listen runs a server on an address until it is closed. It needs at least one host key.
func Listen(ctx context.Context, address string, o Options) (*Server, error) {
	if o.Shell == "" {
		o.Shell = "/bin/sh"
	}
	s := &Server{options: o, conns: map[net.Conn]bool{}, stop: make(chan struct{})}
	s.config = s.serverConfig()
	for _, key := range o.HostKeys {
		s.config.AddHostKey(key)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	s.listener = listener
	s.done.Go(s.accept)
	return s, nil
}

// NewKey returns a new Ed25519 key as a signer and in the format of ssh-keygen.
func NewKey(t testing.TB) (ssh.Signer, []byte) {
	t.Helper()
	signer, text, err := GenerateKey()
	if err != nil {
		t.Fatalf("sshtest: %v", err)
	}
	return signer, text
}

// GenerateKey is NewKey outside of a test.
func GenerateKey() (ssh.Signer, []byte, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("generate key: %w", err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return nil, nil, err
	}
	block, err := ssh.MarshalPrivateKey(private, "test")
	return signer, pem.EncodeToMemory(block), err
}

// Address returns the address without the port.
func (s *Server) Address() string { return "127.0.0.1" }

// Port returns the port.
func (s *Server) Port() int {
	_, port, _ := net.SplitHostPort(s.listener.Addr().String())
	n, _ := strconv.Atoi(port)
	return n
}

// Endpoint returns address:port.
func (s *Server) Endpoint() string { return s.listener.Addr().String() }

// HostKey returns the first host key in the form of authorized_keys.
func (s *Server) HostKey() string {
	return string(ssh.MarshalAuthorizedKey(s.options.HostKeys[0].PublicKey()))
}

// KnownHostsLine returns the line of known_hosts for the first host key.
func (s *Server) KnownHostsLine() string {
	return knownhosts.Line([]string{s.Endpoint()}, s.options.HostKeys[0].PublicKey()) + "\n"
}

// Connections returns how many TCP connections were accepted.
func (s *Server) Connections() int { return int(s.connections.Load()) }

// Logins returns how many times credentials were offered: keys, passwords and answers.
func (s *Server) Logins() int { return int(s.logins.Load()) }

// Execs returns how many commands were started.
func (s *Server) Execs() int { return int(s.execs.Load()) }

// Traffic returns how many bytes the server has received and sent, those of the protocol included.
func (s *Server) Traffic() (received, sent int64) { return s.received.Load(), s.sent.Load() }

// PeakExecs returns the largest number of commands that ran at a time.
func (s *Server) PeakExecs() int { return int(s.peak.Load()) }

// Commands returns the command lines received, in order.
func (s *Server) Commands() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.commands...)
}

// DropAll cuts every connection at once, as a reboot or a firewall does.
func (s *Server) DropAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		_ = conn.Close()
	}
}

// Close stops the server, cuts its connections and waits for its goroutines.
func (s *Server) Close() {
	s.stopping.Do(func() { close(s.stop) })
	_ = s.listener.Close()
	s.DropAll()
	s.done.Wait()
}

func (s *Server) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		n := s.connections.Add(1)
		if n <= int64(s.options.DropPreAuth) {
			_ = conn.Close()
			continue
		}
		s.mu.Lock()
		s.conns[conn] = true
		s.mu.Unlock()
		select {
		case <-s.stop: // Close may have missed this one
			_ = conn.Close()
		default:
		}
		s.done.Go(func() {
			s.serve(conn)
			s.mu.Lock()
			delete(s.conns, conn)
			s.mu.Unlock()
		})
	}
}

// counted is a connection whose bytes are counted.
type counted struct {
	net.Conn
	server *Server
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.server.received.Add(int64(n))
	return n, err
}

func (c counted) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.server.sent.Add(int64(n))
	return n, err
}

// serve handles one connection until it ends.
func (s *Server) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	if d := s.options.DelayBanner; d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-s.stop:
			return
		}
	}
	server, channels, requests, err := ssh.NewServerConn(counted{conn, s}, s.config)
	if err != nil {
		return
	}
	var open sync.WaitGroup
	open.Go(func() {
		for request := range requests {
			if request.WantReply { // sshd refuses keepalives, which is an answer
				_ = request.Reply(false, nil)
			}
		}
	})
	var sessions atomic.Int64
	for channel := range channels {
		switch channel.ChannelType() {
		case "session":
			open.Go(func() { s.session(conn, channel, &sessions) })
		case "direct-tcpip":
			open.Go(func() { s.tunnel(channel) })
		default:
			_ = channel.Reject(ssh.UnknownChannelType, "unknown channel type")
		}
	}
	_ = server.Close()
	open.Wait()
}
