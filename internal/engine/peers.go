package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"kubewright/internal/fault"
	"kubewright/internal/membership"
)

const (
	// etcdPeerPort is where a member listens as soon as it runs.
	etcdPeerPort = 2380
	// peerTimeout is how long a connection between two hosts may take.
	peerTimeout = 3 * time.Second
	// openPorts is what to do about hosts that do not reach each other.
	openPorts = "open the ports in the firewalls between them, on both hosts"
)

// peerWays is the condition that the member on a host and the others reach each other, in both
// directions. Etcd itself would let in one that only dials out: the others answer on its connections,
// until it is so far behind that one of them has to send it a snapshot.
type peerWays struct {
	session *Session
	member  *member
}

// String implements kube.Condition.
func (c peerWays) String() string {
	return "the member of etcd on " + c.member.Name + " and the others to reach each other"
}

// Check implements kube.Condition.
func (c peerWays) Check(ctx context.Context) (done bool, detail string, err error) {
	w := c.session.etcdWorld(ctx)
	if len(w.Voters()) == 0 {
		return false, "no majority of the members answers", nil
	}
	closed := tryWays(ctx, c.ways(w))
	return len(closed) == 0, strings.Join(closed, "; "), nil
}

// ways are those between the host and the others whose members vote and are well.
func (c peerWays) ways(w membership.World) []peerWay {
	var ways []peerWay
	for _, v := range w.Voters() {
		i := slices.IndexFunc(w.Hosts, func(h membership.Host) bool { return h.Seen && v.At(h.PeerURL) })
		if i < 0 || v.Healthy != membership.Yes || w.Hosts[i].Name == c.member.Name {
			continue
		}
		other := c.session.member(w.Hosts[i].Name)
		if !other.neighbour { // from where nothing can be tried
			ways = append(ways, peerWay{other, c.member})
		}
		ways = append(ways, peerWay{c.member, other})
	}
	return ways
}

// peerWay leads from a host to where the member on another listens.
type peerWay struct{ from, to *member }

// try connects.
func (w peerWay) try(ctx context.Context) error {
	conn, err := w.from.conn.Dial(ctx, "tcp", net.JoinHostPort(w.to.NodeIP.String(), strconv.Itoa(etcdPeerPort)))
	if err != nil {
		return err
	}
	return conn.Close()
}

// tryWays says which ways are closed, and how that shows.
func tryWays(ctx context.Context, ways []peerWay) []string {
	ctx, cancel := context.WithTimeout(ctx, peerTimeout)
	defer cancel()
	said := make([]string, len(ways))
	var wg sync.WaitGroup
	for i, w := range ways {
		wg.Go(func() {
			if reason := closedBy(w.try(ctx)); reason != "" {
				said[i] = fmt.Sprintf("%s cannot reach %s (%s) on %d/tcp (etcd peers): %s", w.from.Name, w.to.Name, w.to.NodeIP, etcdPeerPort, reason)
			}
		})
	}
	wg.Wait()
	return slices.DeleteFunc(said, func(text string) bool { return text == "" })
}

// closedBy is why a connection did not come about, "" for what says nothing of the way: that it did,
// that the connection to the host was lost, or that the host opens no tunnels to others.
func closedBy(err error) string {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, syscall.ETIMEDOUT) {
		return "timed out"
	}
	for _, reason := range []syscall.Errno{syscall.ECONNREFUSED, syscall.EHOSTUNREACH, syscall.ENETUNREACH} {
		if errors.Is(err, reason) {
			return reason.Error()
		}
	}
	return ""
}

// withClosed adds to an error the ways that are closed, if any.
func withClosed(err error, closed []string) error {
	if len(closed) == 0 {
		return err
	}
	return (&fault.Error{Err: fmt.Errorf("%w; %s", err, strings.Join(closed, "; "))}).WithHint(openPorts)
}
