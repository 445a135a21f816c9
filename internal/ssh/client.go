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

	"kubewright/internal/host"
)

// Client is a connection to a host over SSH. It implements host.Conn and host.Redialer.
type Client struct {
	config     Config
	identities []identity
	counters   counters
	way        *bastion  // the last host on the way; nil: there is none
	ownWay     *Bastions // closed with the client; nil: the way is shared

	dialing chan struct{} // held while connecting, so that concurrent Redials make one connection

	mu     sync.Mutex
	link   *link   // the latest one; nil before the first
	spares []*link // beside it, for sessions that the server does not allow on it
	closed bool
	// orphans are shells that were cut off and may still be running, acts those of them that
	// end by themselves when they are told to.
	orphans, acts []process
}

// Format implements fmt.Formatter. Passwords are behind fields that fmt looks into without asking
// their types.
func (c *Client) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "SSH client of "+c.config.Host)
}

// counters are the running totals behind host.Stats.
type counters struct {
	execs, sessions, dials, handshakes, connects, bytesIn, bytesOut atomic.Int64
}

var (
	_ host.Conn     = (*Client)(nil)
	_ host.Redialer = (*Client)(nil)
)

// Dial connects to the host. While the server is too busy to talk (it accepts the connection
// and drops it before saying who it is) the attempt is repeated, until Timeouts.Connect or ctx
// ends. The error is *ConfigError, *host.UnreachableError, *host.HostKeyError, *host.AuthError
// or that of ctx; that of a host on the way names both.
func Dial(ctx context.Context, c Config) (*Client, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, err
	}
	identities, err := loadIdentities(c.Keys, c.Certificates)
	if err != nil {
		return nil, &ConfigError{Host: c.Host, Err: err}
	}
	client := &Client{config: c, identities: identities, dialing: make(chan struct{}, 1)}
	if len(c.Via) > 0 {
		bastions := c.Bastions
		if bastions == nil {
			bastions = NewBastions()
			client.ownWay = bastions
		}
		client.way = bastions.at(c.way())
	}
	if err := client.Redial(ctx); err != nil {
		_ = client.Close()
		return nil, err
	}
	return client, nil
}

// Redial connects again when the connection is lost, and does nothing when it is alive. Scripts
// that the loss cut off may still be running on the host: they are ended before Redial returns,
// and an Act is told to end after the step at work. Errors are those of Dial and of Run.
func (c *Client) Redial(ctx context.Context) error {
	select {
	case c.dialing <- struct{}{}:
		defer func() { <-c.dialing }()
	case <-ctx.Done():
		return c.interrupted(ctx)
	}
	if current, closed := c.current(); closed {
		return &host.LostError{Host: c.config.Host, Op: "connect", Err: net.ErrClosed}
	} else if current != nil && current.alive() {
		return c.endOrphans(ctx, current) // of spare links
	}
	c.dropSpares(errGone) // what runs there relies on what was held on the link that is lost
	l, err := c.connect(ctx)
	if err != nil {
		return err
	}
	if err := c.endOrphans(ctx, l); err != nil {
		l.close(err)
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		l.close(net.ErrClosed)
		return &host.LostError{Host: c.config.Host, Op: "connect", Err: net.ErrClosed}
	}
	c.link = l
	c.counters.connects.Add(1)
	return nil
}

// endOrphans ends the scripts that earlier connections left running.
func (c *Client) endOrphans(ctx context.Context, l *link) error {
	c.mu.Lock()
	orphans, acts := c.orphans, c.acts
	c.mu.Unlock()
	if len(orphans)+len(acts) == 0 {
		return nil
	}
	if err := c.reap(ctx, l, orphans, acts); err != nil {
		return fmt.Errorf("end the scripts that the lost connection left running: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.orphans, c.acts = c.orphans[len(orphans):], c.acts[len(acts):]
	return nil
}

// Close ends the connection for good. Pending calls fail with *host.LostError.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, l := range append(c.spares, c.link) {
		if l != nil {
			l.close(net.ErrClosed)
		}
	}
	if c.ownWay != nil {
		return c.ownWay.Close()
	}
	return nil
}

// Stats implements host.Conn.
func (c *Client) Stats() host.Stats {
	n := &c.counters
	return host.Stats{
		Execs:      n.execs.Load(),
		Sessions:   n.sessions.Load(),
		Dials:      n.dials.Load(),
		Handshakes: n.handshakes.Load(),
		Connects:   n.connects.Load(),
		BytesIn:    n.bytesIn.Load(),
		BytesOut:   n.bytesOut.Load(),
	}
}

func (c *Client) current() (l *link, closed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.link, c.closed
}

// session opens a session channel for op, on the connection or, where the server allows none that
// is not held already, on a spare one.
func (c *Client) session(ctx context.Context, op string, kind host.ScriptKind) (*link, channel, error) {
	l, _ := c.current()
	ch, err := c.sessionOn(ctx, l, op, kind)
	for i := 0; errors.Is(err, errHeld); i++ {
		if l, err = c.spare(ctx, i); err == nil {
			ch, err = c.sessionOn(ctx, l, op, kind)
		}
	}
	return l, ch, err
}

// sessionOn opens a session channel on l for op. It fails with errHeld when there can be none.
func (c *Client) sessionOn(ctx context.Context, l *link, op string, kind host.ScriptKind) (channel, error) {
	ch, err := l.openSession(ctx, c.config.Timeouts.Start, kind == host.Hold)
	switch {
	case errors.Is(err, errGone):
		return channel{}, c.lost(l, op, false)
	case err != nil:
		return channel{}, c.wrap(op, err)
	}
	c.counters.sessions.Add(1)
	return ch, nil
}

// spare returns the i-th link beside the connection, and makes it where there are no more.
func (c *Client) spare(ctx context.Context, i int) (*link, error) {
	select {
	case c.dialing <- struct{}{}:
		defer func() { <-c.dialing }()
	case <-ctx.Done():
		return nil, c.interrupted(ctx)
	}
	c.mu.Lock()
	c.spares = slices.DeleteFunc(c.spares, func(l *link) bool { return !l.alive() })
	spares, closed := c.spares, c.closed
	c.mu.Unlock()
	switch {
	case closed:
		return nil, &host.LostError{Host: c.config.Host, Op: "connect", Err: net.ErrClosed}
	case i < len(spares):
		return spares[i], nil
	}
	l, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		l.close(net.ErrClosed)
		return nil, &host.LostError{Host: c.config.Host, Op: "connect", Err: net.ErrClosed}
	}
	c.spares = append(c.spares, l)
	return l, nil
}

// dropSpares closes the links beside the connection.
func (c *Client) dropSpares(reason error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.spares {
		l.close(reason)
	}
	c.spares = nil
}

// lost builds the error for an operation that the end of the link cut short.
func (c *Client) lost(l *link, op string, started bool) error {
	return &host.LostError{Host: c.config.Host, Op: op, Started: started, Err: l.cause()}
}
