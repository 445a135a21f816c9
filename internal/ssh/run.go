package ssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"kubewright/internal/host"
)

// Run implements host.Conn. stdout must not block for ever: Run waits for a Write in progress.
// When ctx ends or stdout fails, what the script has started on the host is ended as well (see
// endScript), for which Run takes up to Timeouts.Stop longer, and before that Timeouts.Finish for
// an Act.
func (c *Client) Run(ctx context.Context, script host.Script, stdout io.Writer) error {
	l, ch, err := c.session(ctx, "run", script.Kind)
	if err != nil {
		return err
	}
	r := c.launch(l, ch, script.Kind, stdout)
	err = c.converse(ctx, r, script.Text)
	// A shell that is known is ended with its group: a signal from here may reach the shell alone, and
	// leave what it has started without anything to know it by.
	_, known := r.stdout.process()
	failed := r.stop(err != nil && !known)
	c.endScript(ctx, r, err)
	if failed != nil && err == nil {
		err = c.wrap("run", fmt.Errorf("write output: %w", failed))
	}
	return err
}

// runUrgent runs a script of our own that cannot wait for its turn: where the server allows no
// more sessions on the link, on a connection made for it. What it leaves behind when it fails is
// nobody's business.
func (c *Client) runUrgent(ctx context.Context, l *link, script []byte) error {
	ch, err := l.open(ctx, "session", nil)
	var refused *ssh.OpenChannelError
	if errors.As(err, &refused) {
		if l, err = c.connect(ctx); err != nil {
			return err
		}
		defer l.close(net.ErrClosed)
		ch, err = l.open(ctx, "session", nil)
	}
	if err != nil {
		return c.wrap("run", err)
	}
	l.slots.take()
	c.counters.sessions.Add(1)
	r := c.launch(l, ch, host.Look, nil)
	err = c.converse(ctx, r, func() []byte { return script })
	_ = r.stop(err != nil)
	return err
}

// launch asks for a root shell on a session.
func (c *Client) launch(l *link, ch channel, kind host.ScriptKind, stdout io.Writer) *running {
	c.counters.execs.Add(1)
	how := newLaunch(c.config.User, c.config.SudoPassword != "")
	how.kind = kind
	return newRunning(l, ch, how, stdout)
}

// running is a shell on the host and the goroutines that serve its channel. They end when the
// channel does: at the latest with the connection.
type running struct {
	link   *link
	ch     channel
	launch launch

	started chan error // answer to the exec request
	status  chan exit  // how the shell ended; closed when the channel was
	drained chan struct{}
	input   chan func() []byte // what to write, made when it is its turn
	given   bool               // the script was sent
	moved   atomic.Int64       // bytes of output so far
	busy    atomic.Int32       // copies that are inside a Write

	out    *gate
	stdout *preamble
	prompt *promptWatch
	stderr *preamble
	kept   *host.Bounded // the script's standard error
}

// exit is the end of a shell as SSH reports it (RFC 4254, section 6.10).
type exit struct {
	code   int
	signal string
}

func newRunning(l *link, ch channel, how launch, stdout io.Writer) *running {
	r := &running{
		link: l, ch: ch, launch: how,
		started: make(chan error, 1),
		status:  make(chan exit, 1),
		drained: make(chan struct{}),
		input:   make(chan func() []byte, 3), // password, ready word, script
		out:     newGate(stdout),
		kept:    host.NewBounded(host.StderrLimit),
	}
	r.stdout = newPreamble(how.ready, r.out)
	r.stderr = newPreamble(how.ready, r.kept)
	r.prompt = newPromptWatch(how.prompt, r.stderr)
	go r.start()
	go r.watch()
	go r.feed()
	go r.drain()
	return r
}

// start asks for the command.
func (r *running) start() {
	ok, err := r.ch.SendRequest("exec", true, ssh.Marshal(struct{ Command string }{r.launch.line}))
	if err == nil && !ok {
		err = errors.New("the server refuses to run commands (a forced command or ForceCommand internal-sftp?)")
	}
	r.started <- err
}

// watch receives the shell's end, and gives the slot back when the server has closed the
// channel: until then it counts towards MaxSessions there.
func (r *running) watch() {
	defer r.link.slots.release(r.launch.kind == host.Hold)
	defer close(r.status)
	done := false
	for request := range r.ch.requests {
		end, ok := parseExit(request)
		if request.WantReply {
			_ = request.Reply(false, nil)
		}
		if ok && !done {
			done = true
			r.status <- end
		}
	}
}

func parseExit(request *ssh.Request) (exit, bool) {
	switch request.Type {
	case "exit-status":
		var message struct{ Code uint32 }
		if ssh.Unmarshal(request.Payload, &message) == nil {
			return exit{code: int(message.Code)}, true
		}
	case "exit-signal":
		var message struct {
			Signal   string
			Dumped   bool
			Text     string
			Language string
		}
		if ssh.Unmarshal(request.Payload, &message) == nil {
			return exit{code: 128 + signalNumber(message.Signal), signal: message.Signal}, true
		}
	}
	return exit{}, false
}

// signalNumber returns the number of the signals that RFC 4254 names, the same on all Linux
// architectures we support; 0 for others.
func signalNumber(name string) int {
	numbers := map[string]int{"HUP": 1, "INT": 2, "QUIT": 3, "ILL": 4, "ABRT": 6, "FPE": 8,
		"KILL": 9, "USR1": 10, "SEGV": 11, "USR2": 12, "PIPE": 13, "ALRM": 14, "TERM": 15}
	return numbers[name]
}

// feed writes to the shell's standard input what it is given and then ends it. The shell may
// exit without having read everything; its exit status is then what counts.
func (r *running) feed() {
	const packet = 4 << 10 // the library keeps two buffers of the largest one that was sent
	failed := false
	for text := range r.input {
		for piece := range slices.Chunk(text(), packet) {
			if !failed {
				_, err := r.ch.Write(piece)
				failed = err != nil
			}
		}
	}
	_ = r.ch.CloseWrite()
}

// drain reads both outputs to their end.
func (r *running) drain() {
	defer close(r.drained)
	much, little := 8<<10, 2<<10 // as long as the script runs, on each host
	if r.launch.kind == host.Hold {
		much, little = 512, 512
	}
	var beside sync.WaitGroup
	beside.Go(func() { r.pass(r.ch.Stderr(), r.prompt, make([]byte, little)) })
	r.pass(r.ch, r.stdout, make([]byte, much))
	beside.Wait()
}

// pass writes to one what comes from another, until it ends.
func (r *running) pass(from io.Reader, to io.Writer, buffer []byte) {
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			r.busy.Add(1)
			_, _ = to.Write(buffer[:n]) // the gate never fails and keeps the error
			r.busy.Add(-1)
			r.moved.Add(int64(n))
		}
		if err != nil {
			return
		}
	}
}

// stop ends the conversation: the shell is told to end when it was cut short, and nothing more
// reaches the caller's writer. It returns the error of that writer.
func (r *running) stop(cutShort bool) error {
	if cutShort {
		// sshd passes the signal to the processes of the session that the user may signal.
		_, _ = r.ch.SendRequest("signal", false, ssh.Marshal(struct{ Name string }{"TERM"}))
	}
	_ = r.ch.Close() // an error means that the server was first
	return r.out.close()
}

// converse waits for the root shell, gives it the script and waits for its end.
func (c *Client) converse(ctx context.Context, r *running, script func() []byte) error {
	ended, err := c.awaitShell(ctx, r)
	if err != nil {
		close(r.input)
		return err
	}
	r.input <- func() []byte { return []byte(r.launch.ready + "\n") }
	r.input <- script
	r.given = true
	close(r.input)
	if ended == nil {
		if ended, err = c.awaitExit(ctx, r); err != nil {
			return err
		}
	}
	c.awaitOutput(ctx, r)
	if ended.code == 0 && ended.signal == "" {
		return nil
	}
	stderr, cut := r.kept.Content()
	return &host.ExitError{Host: c.config.Host, Code: ended.code, Signal: ended.signal,
		Stderr: []byte(c.hide(string(stderr))), Truncated: cut}
}

// awaitShell waits until the root shell says ready, answering sudo once on the way. It returns
// the shell's end when that came at the same time.
func (c *Client) awaitShell(ctx context.Context, r *running) (*exit, error) {
	timer := time.NewTimer(c.config.Timeouts.Start)
	defer timer.Stop()
	started, state := r.started, refusal{}
	for {
		select {
		case <-r.stdout.ready:
			return nil, nil
		case err := <-started:
			if started = nil; err != nil {
				return nil, c.notStarted(ctx, r, err)
			}
		case <-r.prompt.seen:
			if state.asked {
				state.askedAgain = true
				return nil, c.refused(r, state)
			}
			state.asked = true
			r.input <- func() []byte { return []byte(c.config.SudoPassword.Reveal() + "\n") }
		case end, ok := <-r.status:
			c.awaitOutput(ctx, r) // for the ready line, or for what is there instead
			switch {
			case !ok:
				return nil, c.notStarted(ctx, r, errors.New("the server closed the session"))
			case r.stdout.isReady():
				return &end, nil
			}
			state.code = end.code
			return nil, c.refused(r, state)
		case <-timer.C:
			state.silent = true
			return nil, c.refused(r, state)
		case <-r.link.gone:
			return nil, c.lost(r.link, "run", false)
		case <-ctx.Done():
			return nil, c.wrap("run", ctx.Err())
		}
	}
}

// refused explains a missing root shell from what came instead of it.
func (c *Client) refused(r *running, state refusal) error {
	state.stdout, state.stderr = r.stdout.text(), r.stderr.text()
	return c.explainRefusal(state)
}

// notStarted builds the error for a channel that ended before the shell said anything of its end.
func (c *Client) notStarted(ctx context.Context, r *running, cause error) error {
	if gone := r.link.settle(ctx); gone != nil {
		if ctx.Err() != nil {
			return c.wrap("run", ctx.Err())
		}
		return c.lost(r.link, "run", false)
	}
	return &host.ShellError{Host: c.config.Host, User: c.config.User, Code: -1,
		Output: c.hide(cause.Error() + "\n" + r.stdout.text() + r.stderr.text()),
		Remedy: "try: ssh HOST true"}
}

// awaitExit waits for the end of the script.
func (c *Client) awaitExit(ctx context.Context, r *running) (*exit, error) {
	select {
	case end, ok := <-r.status:
		if ok {
			return &end, nil
		}
		lost := &host.LostError{Host: c.config.Host, Op: "run", Started: true}
		if lost.Err = r.link.settle(ctx); lost.Err == nil {
			lost.Err = errors.New("the server closed the session without an exit status")
		}
		return nil, lost
	case <-r.link.gone:
		return nil, c.lost(r.link, "run", true)
	case <-r.out.failed:
		return nil, c.wrap("run", fmt.Errorf("write output: %w", r.out.close()))
	case <-ctx.Done():
		return nil, c.wrap("run", ctx.Err())
	}
}

// awaitOutput waits for the rest of the output after the shell has ended. A daemon that the
// script left behind may hold the outputs open for ever, so silence ends the wait.
func (c *Client) awaitOutput(ctx context.Context, r *running) {
	tick := time.NewTicker(c.config.Timeouts.Drain)
	defer tick.Stop()
	seen := r.moved.Load()
	for {
		select {
		case <-r.drained:
			return
		case <-tick.C:
			now := r.moved.Load()
			if now == seen && r.busy.Load() == 0 {
				return
			}
			seen = now
		case <-r.link.gone:
			return
		case <-ctx.Done():
			return
		}
	}
}
