package etcd

import (
	"context"
	"errors"
	"net"
	"sync"

	"google.golang.org/grpc/credentials"
)

// cause remembers why the last connection failed. gRPC retries in the background until the deadline
// and then says only that the deadline has passed.
type cause struct {
	mu  sync.Mutex
	err error
}

func (c *cause) set(err error) {
	if err == nil || errors.Is(err, net.ErrClosed) || errors.Is(err, context.Canceled) {
		return // what we ended ourselves
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
}

func (c *cause) get() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *cause) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = nil
}

// watchedTLS are TLS credentials that report failed handshakes and connections.
type watchedTLS struct {
	credentials.TransportCredentials
	cause *cause
}

// ClientHandshake implements credentials.TransportCredentials.
func (w watchedTLS) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := w.TransportCredentials.ClientHandshake(ctx, authority, raw)
	if err != nil {
		w.cause.set(err)
		return nil, nil, err
	}
	return watchedConn{conn, w.cause}, info, nil
}

// Clone implements credentials.TransportCredentials.
func (w watchedTLS) Clone() credentials.TransportCredentials {
	return watchedTLS{w.TransportCredentials.Clone(), w.cause}
}

// watchedConn reports failed reads: since TLS 1.3 that is where a server that refuses our
// certificate is noticed.
type watchedConn struct {
	net.Conn
	cause *cause
}

// Read implements net.Conn.
func (w watchedConn) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.cause.set(err)
	return n, err
}
