package ssh

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"kubewright/internal/host"
)

// Bastions keeps one connection to each bastion, through which all the hosts behind it are
// reached: a login for each host would meet the bastion's MaxStartups, and what watches over its
// logins. Connections are made when the first host needs them, and again when they are lost.
type Bastions struct {
	closed  chan struct{} // at the end of all attempts, which outlive the host that asked first
	closing sync.Once

	mu  sync.Mutex
	all []*bastion
}

// NewBastions returns Bastions without any connection. Close ends those that come about.
func NewBastions() *Bastions {
	return &Bastions{closed: make(chan struct{})}
}

// Close ends all connections, and with them those to the hosts behind.
func (b *Bastions) Close() error {
	b.closing.Do(func() { close(b.closed) })
	b.mu.Lock()
	all := slices.Clone(b.all)
	b.mu.Unlock()
	for _, bastion := range slices.Backward(all) { // those that are behind others first
		bastion.close()
	}
	return nil
}

// at returns the last of the hosts on a way. Two ways are the same when every word about them is.
func (b *Bastions) at(way []Config) *bastion {
	last := way[len(way)-1]
	last.Via, last.Bastions = way[:len(way)-1:len(way)-1], b
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, known := range b.all {
		if reflect.DeepEqual(any(known.config), any(last)) { // no errors in it but behind b, which is the same
			return known
		}
	}
	added := &bastion{config: last, closed: b.closed}
	b.all = append(b.all, added)
	return added
}

// bastion is a host through which others are reached.
type bastion struct {
	config Config
	closed <-chan struct{} // no more attempts to connect

	mu     sync.Mutex
	client *Client  // nil before the first login
	trying *attempt // nil: nobody connects
	// refused is why a login failed in a way that the next one would too, and when that was.
	refused   error
	refusedAt time.Time
}

// attempt is one try to connect, whose outcome all hosts that wait for it share.
type attempt struct {
	done chan struct{} // closed at its end, after which err is set
	err  error
}

// refusalCounts is for how long a login is not repeated that a bastion refused which let us in before:
// it may be coming up. One that never did is not asked again: many refused logins in a row, one
// for each host behind it, get an account or an address locked.
const refusalCounts = 15 * time.Second

// connected returns the connection to the bastion, made if need be.
func (b *bastion) connected(ctx context.Context) (*Client, error) {
	b.mu.Lock()
	if b.client != nil {
		if l, closed := b.client.current(); closed || l.alive() {
			defer b.mu.Unlock()
			return b.client, nil
		}
	}
	if b.refused != nil && (b.client == nil || time.Since(b.refusedAt) < refusalCounts) {
		defer b.mu.Unlock()
		return nil, b.refused
	}
	if b.trying == nil {
		b.trying = &attempt{done: make(chan struct{})}
		go b.try(b.trying)
	}
	trying := b.trying
	b.mu.Unlock()
	select {
	case <-trying.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if trying.err != nil {
		return nil, trying.err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.client, nil
}

// try connects once.
func (b *bastion) try(a *attempt) {
	defer close(a.done)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-b.closed:
			cancel()
		case <-ctx.Done():
		}
	}()
	b.mu.Lock()
	client := b.client
	b.mu.Unlock()
	if client == nil {
		client, a.err = Dial(ctx, b.config)
	} else {
		a.err = client.Redial(ctx)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trying, b.refused = nil, nil
	var login *host.AuthError
	var key *host.HostKeyError
	switch {
	case a.err == nil:
		b.client = client
	case errors.As(a.err, &login) && !hungUp(login.Err), errors.As(a.err, &key): // not where the connection broke meanwhile
		b.refused, b.refusedAt = a.err, time.Now()
	}
	select {
	case <-b.closed: // meanwhile
		if b.client != nil {
			_ = b.client.Close()
		}
	default:
	}
}

func (b *bastion) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.client != nil {
		_ = b.client.Close()
	}
}

// through connects to the bastion before the host; nil is the direct way.
func (c *Client) through(ctx context.Context) (*Client, error) {
	if c.way == nil {
		return nil, nil
	}
	bastion, err := c.way.connected(ctx)
	switch {
	case err == nil:
		return bastion, nil
	case ctx.Err() != nil:
		return nil, c.interrupted(ctx)
	default:
		return nil, fmt.Errorf("%s: %w", c.config.Host, err)
	}
}

// door is what stands for the server in the limit of handshakes: behind two bastions one address may be
// two servers.
func (c *Client) door() string {
	if c.way == nil {
		return c.config.Address
	}
	return c.way.config.endpoint() + " " + c.config.Address
}
