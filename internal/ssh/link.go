package ssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
)

// errGone says that the connection ended; the link knows why.
var errGone = errors.New("connection closed")

// multiplexer is a connection as the library gives it, with what the server asks for.
type multiplexer struct {
	ssh.Conn
	channels <-chan ssh.NewChannel
	requests <-chan *ssh.Request
}

// link is one established connection. It ends once, for one reason, and everything that waits
// on it watches gone.
type link struct {
	mux   ssh.Conn
	conn  *meteredConn
	slots *slots

	gone chan struct{}
	end  sync.Once
	err  error // why it ended; read after gone is closed
}

func newLink(mux multiplexer, conn *meteredConn, c Config) *link {
	l := &link{mux: mux, conn: conn, slots: newSlots(c.MaxSessions), gone: make(chan struct{})}
	go l.serve(mux.channels, mux.requests)
	go l.keepalive(c.Timeouts.Keepalive, c.Timeouts.KeepaliveMisses)
	return l
}

// serve refuses what the server asks for until the connection ends. That is what ssh.Client does too, with a
// goroutine for each of these, which a run over many hosts has to hold the stacks of.
func (l *link) serve(channels <-chan ssh.NewChannel, requests <-chan *ssh.Request) {
	for channels != nil || requests != nil {
		select {
		case channel, ok := <-channels:
			if !ok {
				channels = nil
				continue
			}
			_ = channel.Reject(ssh.UnknownChannelType, "unknown channel type: "+channel.ChannelType())
		case request, ok := <-requests:
			if !ok {
				requests = nil
				continue
			}
			if request.WantReply {
				_ = request.Reply(false, nil)
			}
		}
	}
	err := l.mux.Wait()
	if err == nil || errors.Is(err, io.EOF) {
		err = errors.New("the server closed the connection")
	}
	l.close(err)
}

// close ends the link for a reason; only the first one counts.
func (l *link) close(reason error) {
	l.end.Do(func() {
		l.err = reason
		close(l.gone)
		_ = l.conn.Close()
	})
}

// alive reports whether the link has not ended.
func (l *link) alive() bool {
	select {
	case <-l.gone:
		return false
	default:
		return true
	}
}

// cause returns why the link ended.
func (l *link) cause() error {
	<-l.gone
	return l.err
}

// keepalive asks the server for a sign of life whenever the connection was silent for an
// interval, and ends the link after a number of silent intervals in a row. Anything received
// counts: an answer may have to queue behind a large upload.
func (l *link) keepalive(interval time.Duration, misses int) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	answered := make(chan struct{}, 1)
	asked, missed, seen := false, 0, l.conn.in.Load()
	for {
		select {
		case <-l.gone:
			return
		case <-answered:
			asked = false
			continue
		case <-tick.C:
		}
		now := l.conn.in.Load()
		switch {
		case now != seen:
			missed = 0
		case asked:
			missed++
		}
		seen = now
		if missed >= misses {
			l.close(fmt.Errorf("no answer for %v", interval*time.Duration(misses)))
			return
		}
		if !asked {
			asked = true
			go func() {
				_ = l.ping() // fails only when the connection ends, which is noticed anyway
				answered <- struct{}{}
			}()
		}
	}
}

// ping returns nil when the server answered, whatever it answered.
func (l *link) ping() error {
	_, _, err := l.mux.SendRequest("keepalive@openssh.com", true, nil)
	return err
}

// settle tells a connection that has just ended from one that lives on, for an operation whose
// channel closed unexpectedly: both look the same from the channel. It returns the cause of the
// end, or nil when the server still answers.
func (l *link) settle(ctx context.Context) error {
	answer := make(chan error, 1)
	go func() { answer <- l.ping() }()
	select {
	case err := <-answer:
		if err == nil {
			return nil
		}
		return l.cause() // the multiplexer has ended, so the link is about to
	case <-l.gone:
		return l.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// channel is an open SSH channel with its requests.
type channel struct {
	ssh.Channel
	requests <-chan *ssh.Request
}

// open opens a channel, giving up when ctx or the link ends. A channel that comes too late is
// closed.
func (l *link) open(ctx context.Context, kind string, data []byte) (channel, error) {
	type result struct {
		channel
		err error
	}
	done := make(chan result, 1)
	go func() {
		ch, requests, err := l.mux.OpenChannel(kind, data)
		done <- result{channel{ch, requests}, err}
	}()
	late := func() {
		if r := <-done; r.err == nil {
			go ssh.DiscardRequests(r.requests)
			_ = r.Close()
		}
	}
	select {
	case r := <-done:
		var refused *ssh.OpenChannelError
		if r.err != nil && !errors.As(r.err, &refused) {
			return channel{}, errGone
		}
		return r.channel, r.err
	case <-ctx.Done():
		go late()
		return channel{}, ctx.Err()
	case <-l.gone:
		go late()
		return channel{}, errGone
	}
}

// openSession opens a session channel and takes a slot for it. When the server refuses because
// it allows fewer sessions than we do, the bound goes down and the call waits for its turn; when
// there is no session of ours to wait for, one that was cancelled may still be dying on the
// host, and the call tries again until patience is over. When all that are open are held, the error
// is errHeld.
func (l *link) openSession(ctx context.Context, patience time.Duration, hold bool) (channel, error) {
	var deadline <-chan time.Time
	pause := 20 * time.Millisecond
	for {
		if err := l.slots.acquire(ctx, l.gone, hold); err != nil {
			return channel{}, err
		}
		ch, err := l.open(ctx, "session", nil)
		var refused *ssh.OpenChannelError
		switch {
		case err == nil:
			return ch, nil
		case !errors.As(err, &refused):
			l.slots.release(hold)
			return channel{}, err
		}
		if others := l.slots.refused(hold); others > 0 {
			continue
		}
		if deadline == nil {
			deadline = time.After(patience)
		}
		select {
		case <-time.After(pause):
			pause = min(2*pause, time.Second)
		case <-deadline:
			return channel{}, fmt.Errorf("the server opens no session (MaxSessions in sshd_config?): %w", refused)
		case <-ctx.Done():
			return channel{}, ctx.Err()
		case <-l.gone:
			return channel{}, errGone
		}
	}
}

// meteredConn counts bytes, for the link's signs of life and for all connections of a client.
type meteredConn struct {
	net.Conn
	in    atomic.Int64
	total *counters
}

// Read implements net.Conn.
func (c *meteredConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.in.Add(int64(n))
	c.total.bytesIn.Add(int64(n))
	return n, err
}

// Write implements net.Conn.
func (c *meteredConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.total.bytesOut.Add(int64(n))
	return n, err
}
