package sshtest

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// session serves one session channel. Like sshd, it counts a session until the channel is closed
// and its process has ended.
func (s *Server) session(conn net.Conn, offer ssh.NewChannel, sessions *atomic.Int64) {
	n := sessions.Add(1)
	defer sessions.Add(-1)
	if limit := int64(s.options.MaxSessions); limit > 0 && n > limit {
		_ = offer.Reject(ssh.ConnectionFailed, "open failed") // what sshd says above MaxSessions
		return
	}
	channel, requests, err := offer.Accept()
	if err != nil {
		return
	}
	defer func() { _ = channel.Close() }()
	var running sync.WaitGroup
	defer running.Wait()
	gone := make(chan struct{})
	defer close(gone)
	var process atomic.Pointer[os.Process]
	for request := range requests {
		switch request.Type {
		case "exec":
			var message struct{ Command string }
			_ = ssh.Unmarshal(request.Payload, &message)
			_ = request.Reply(!s.options.RefuseExec, nil)
			switch {
			case s.options.RefuseExec:
			case s.options.Exec != nil:
				running.Go(func() { s.answer(channel, Command{At: conn.LocalAddr(), Line: message.Command, Gone: gone}) })
			default:
				running.Go(func() { s.exec(conn, channel, message.Command, &process) })
			}
		case "subsystem":
			_ = request.Reply(!s.options.NoSFTP, nil)
			if !s.options.NoSFTP {
				running.Go(func() { serveFiles(channel) })
			}
		case "signal":
			if p := process.Load(); p != nil {
				_ = syscall.Kill(-p.Pid, syscall.SIGTERM)
			}
		default:
			if request.WantReply {
				_ = request.Reply(false, nil)
			}
		}
	}
	if p := process.Load(); p != nil { // the channel is closed; sshd sends HUP only to terminals
		_ = syscall.Kill(-p.Pid, syscall.SIGPIPE)
	}
}

func serveFiles(channel ssh.Channel) {
	server, err := sftp.NewServer(channel)
	if err == nil {
		_ = server.Serve()
	}
	_ = channel.Close()
}

// answer has a command answered by what the options give in place of the shell.
func (s *Server) answer(channel ssh.Channel, c Command) {
	s.execs.Add(1)
	c.Stdin, c.Stdout, c.Stderr = channel, channel, channel.Stderr()
	code := s.options.Exec(c)
	_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{uint32(code)}))
	_ = channel.CloseWrite()
	_ = channel.Close()
}

// exec runs a command as sshd does: the exit status is sent as soon as the shell has ended, the
// channel is closed when nothing holds its outputs open any more.
func (s *Server) exec(conn net.Conn, channel ssh.Channel, command string, process *atomic.Pointer[os.Process]) {
	s.execs.Add(1)
	n := s.running.Add(1)
	for peak := s.peak.Load(); n > peak && !s.peak.CompareAndSwap(peak, n); {
		peak = s.peak.Load()
	}
	s.mu.Lock()
	s.commands = append(s.commands, command)
	s.mu.Unlock()
	if s.options.Forced != "" {
		command = s.options.Forced
	}
	_, _ = io.WriteString(channel, s.options.Prelude)
	cmd := exec.Command(s.options.Shell, "-c", command) //nolint:noctx // ended with the channel
	cmd.Env = s.options.Env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, stdinErr := cmd.StdinPipe()
	outRead, outWrite, outErr := os.Pipe()
	errRead, errWrite, errErr := os.Pipe()
	if errors.Join(stdinErr, outErr, errErr) != nil {
		_ = channel.Close()
		return
	}
	cmd.Stdout, cmd.Stderr = outWrite, errWrite
	err := cmd.Start()
	_ = outWrite.Close()
	_ = errWrite.Close()
	if err != nil {
		_ = channel.Close()
		return
	}
	process.Store(cmd.Process)
	go func() { // ends with the channel
		_, _ = io.Copy(stdin, channel)
		_ = stdin.Close()
	}()
	var outputs sync.WaitGroup
	outputs.Go(func() { _, _ = io.Copy(channel, outRead); _ = outRead.Close() })
	outputs.Go(func() { _, _ = io.Copy(channel.Stderr(), errRead); _ = errRead.Close() })
	state, err := cmd.Process.Wait()
	process.Store(nil)
	s.running.Add(-1)
	if s.options.LoseAfterExec {
		_ = conn.Close()
	}
	if err == nil && !s.options.NoExitStatus {
		sendExit(channel, state)
	}
	outputs.Wait()
	_ = channel.CloseWrite()
	_ = channel.Close()
}

func sendExit(channel ssh.Channel, state *os.ProcessState) {
	status, ok := state.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() {
		names := map[syscall.Signal]string{syscall.SIGTERM: "TERM", syscall.SIGKILL: "KILL", syscall.SIGPIPE: "PIPE"}
		_, _ = channel.SendRequest("exit-signal", false, ssh.Marshal(struct {
			Signal   string
			Dumped   bool
			Text     string
			Language string
		}{Signal: names[status.Signal()]}))
		return
	}
	_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{uint32(state.ExitCode())}))
}

// tunnel serves one direct-tcpip channel.
func (s *Server) tunnel(offer ssh.NewChannel) {
	var message struct {
		Host       string
		Port       uint32
		Origin     string
		OriginPort uint32
	}
	if s.options.NoForwarding || ssh.Unmarshal(offer.ExtraData(), &message) != nil {
		_ = offer.Reject(ssh.Prohibited, "open failed") // what sshd says with AllowTcpForwarding no
		return
	}
	dial := s.options.Dial
	if dial == nil {
		dial = func(address string) (net.Conn, error) { return net.Dial("tcp", address) } //nolint:noctx // ends with the target
	}
	target, err := dial(net.JoinHostPort(message.Host, strconv.Itoa(int(message.Port))))
	if err != nil {
		text := "open failed"
		if errors.Is(err, syscall.ECONNREFUSED) {
			text = "Connection refused"
		}
		var unresolved *net.DNSError
		if errors.As(err, &unresolved) {
			text = "Name or service not known" // in glibc's words
		}
		_ = offer.Reject(ssh.ConnectionFailed, text)
		return
	}
	channel, requests, err := offer.Accept()
	if err != nil {
		_ = target.Close()
		return
	}
	go ssh.DiscardRequests(requests)
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(target, channel)
		if tcp, ok := target.(*net.TCPConn); ok {
			_ = tcp.CloseWrite()
		}
	})
	both.Go(func() { _, _ = io.Copy(channel, target); _ = channel.CloseWrite() })
	both.Wait()
	_ = target.Close()
	_ = channel.Close()
}
