package ssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"kubewright/internal/host"
)

// busyError says that the server dropped the connection before the key exchange was through, as
// sshd does above MaxStartups. Nothing was sent that counts against anybody: try again.
type busyError struct{ err error }

func (e *busyError) Error() string { return e.err.Error() }
func (e *busyError) Unwrap() error { return e.err }

// connect makes a link, repeating attempts that met a busy server.
func (c *Client) connect(ctx context.Context) (*link, error) {
	limited, cancel := context.WithTimeout(ctx, c.config.Timeouts.Connect)
	defer cancel()
	var busy *busyError
	for attempt := 0; ; attempt++ {
		l, err := c.attempt(limited)
		switch {
		case err == nil:
			return l, nil
		case errors.As(err, &busy):
			if wait(limited, backoff(attempt)) == nil {
				continue
			}
		case busy == nil || limited.Err() == nil:
			return nil, err
		}
		if errors.Is(ctx.Err(), context.Canceled) {
			return nil, c.interrupted(ctx)
		}
		// That the server was busy says more than that time is up.
		return nil, c.unreachable(busy.err, fmt.Sprintf("the server kept dropping connections (%d attempts): "+
			"look at MaxStartups and PerSourcePenalties in its sshd_config, and at fail2ban", attempt+1))
	}
}

// backoff returns how long to wait after a failed attempt: a random part of a bound that
// doubles up to 4 s, so that many clients do not come back together.
func backoff(attempt int) time.Duration {
	bound := 250 * time.Millisecond << min(attempt, 4)
	return bound/4 + rand.N(bound*3/4) //nolint:gosec // jitter, not a secret
}

// wait returns nil after d, or the error of ctx.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// attempt dials, verifies the host and logs in, once.
func (c *Client) attempt(ctx context.Context) (*link, error) {
	bastion, err := c.through(ctx) // before the limit, which the bastion may share
	if err != nil {
		return nil, err
	}
	release, err := c.config.Limiter.acquire(ctx, c.door())
	if err != nil {
		return nil, c.interrupted(ctx)
	}
	defer release()
	verify, err := newVerifier(c.config)
	if err != nil {
		return nil, err
	}
	conn, err := c.dialTransport(ctx, bastion)
	if err != nil {
		return nil, err
	}
	abort := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer abort()
	login, closeAgent := newLogin(ctx, c.config, c.identities)
	defer closeAgent()

	c.counters.handshakes.Add(1)
	// The deadline is on the connection, so it bounds reads that no context reaches.
	_ = conn.SetDeadline(time.Now().Add(c.config.Timeouts.Handshake))
	sshConn, channels, requests, err := ssh.NewClientConn(conn, c.config.endpoint(), &ssh.ClientConfig{
		User:              c.config.User,
		Auth:              login.methods(),
		AuthCallback:      login.observe,
		HostKeyCallback:   verify.check,
		HostKeyAlgorithms: verify.algorithms(),
	})
	if err != nil {
		return nil, c.explain(ctx, err, verify, login)
	}
	if !abort() { // ctx ended meanwhile, and the connection is being closed
		_ = sshConn.Close()
		return nil, c.interrupted(ctx)
	}
	_ = conn.SetDeadline(time.Time{})
	return newLink(multiplexer{sshConn, channels, requests}, conn, c.config), nil
}

// dialTransport connects to the host, through the bastion if there is one.
func (c *Client) dialTransport(ctx context.Context, bastion *Client) (*meteredConn, error) {
	dialCtx, cancel := context.WithTimeout(ctx, c.config.Timeouts.Dial)
	defer cancel()
	dial := c.config.DialContext
	if bastion != nil {
		dial = bastion.Dial
	}
	conn, err := dial(dialCtx, "tcp", c.config.endpoint())
	if err == nil {
		return &meteredConn{Conn: conn, total: &c.counters}, nil
	}
	var dns *net.DNSError
	var refused *host.DialError
	var lost *host.LostError
	switch {
	case ctx.Err() != nil:
		return nil, c.interrupted(ctx)
	case errors.As(err, &refused):
		return nil, c.unreachable(err, "") // the bastion's words have the remedy
	case errors.As(err, &lost): // the bastion's connection, just now: it is made again
		return nil, &busyError{c.unreachable(err, "")}
	case errors.As(err, &dns):
		return nil, c.unreachable(err, "check the address of the host")
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil, c.unreachable(err, fmt.Sprintf("check that sshd runs and listens on port %d", c.config.Port))
	default:
		return nil, c.unreachable(err, "check the address, that the host is up, and the firewalls in between")
	}
}

// explain turns the error of a failed handshake into one that says how far it came.
func (c *Client) explain(ctx context.Context, err error, v *verifier, l *login) error {
	var negotiation *ssh.AlgorithmNegotiationError
	called, refused := v.outcome()
	switch {
	case refused != nil:
		return refused // before ctx: a wrong host key is the news, whatever else ended
	case ctx.Err() != nil:
		return c.interrupted(ctx)
	case errors.Is(err, os.ErrDeadlineExceeded) && called:
		return c.unreachable(err, fmt.Sprintf("the login did not finish in %v: look at the server's log (a slow PAM module, DNS or directory service)", c.config.Timeouts.Handshake))
	case errors.Is(err, os.ErrDeadlineExceeded):
		return c.unreachable(err, fmt.Sprintf("no SSH server answered in %v: is port %d really sshd?", c.config.Timeouts.Handshake, c.config.Port))
	case errors.As(err, &negotiation):
		return c.unreachable(err, "the server is too old, or its host keys are of no type that can be verified")
	case called:
		return l.failed(err)
	case hungUp(err):
		return &busyError{c.unreachable(err, "")}
	default:
		return c.unreachable(err, fmt.Sprintf("is port %d really sshd?", c.config.Port))
	}
}

// hungUp reports whether the other side ended the connection.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		// The library formats some causes away.
		strings.Contains(err.Error(), "connection reset by peer") || strings.HasSuffix(err.Error(), "EOF")
}

func (c *Client) unreachable(err error, remedy string) error {
	var inner *host.UnreachableError
	if errors.As(err, &inner) {
		err = inner.Err
	}
	return &host.UnreachableError{Host: c.config.Host, Address: c.config.endpoint(), Err: err, Remedy: remedy}
}

// interrupted reports that ctx ended while connecting: a deadline means the host could not be
// reached in time, a cancellation is passed on.
func (c *Client) interrupted(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return c.wrap("connect", context.Cause(ctx))
	}
	return c.unreachable(ctx.Err(), "no connection came about in time")
}

// wrap adds the host and the operation to an error that has neither.
func (c *Client) wrap(op string, err error) error {
	return fmt.Errorf("%s: %s: %w", c.config.Host, op, err)
}
