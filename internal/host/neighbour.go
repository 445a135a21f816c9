package host

import (
	"context"
	"errors"
	"io"
	"net"
)

// Neighbour is another host of the cluster, seen from the machine that the program runs on and that joins
// without SSH: what listens there can be connected to, and nothing can be run there.
type Neighbour struct{ local *Local }

var _ Conn = Neighbour{}

// ErrNeighbour says that nothing is run on a host that is reached over the network only.
var ErrNeighbour = errors.New("it is reached over the network only, and nothing is run there")

// NewNeighbour returns a connection to another host under the name it has in the inventory. Nothing is
// connected to yet.
func NewNeighbour(name string) Neighbour { return Neighbour{NewLocal(name)} }

// Run implements Conn. It fails.
func (n Neighbour) Run(context.Context, Script, io.Writer) error { return ErrNeighbour }

// Upload implements Conn. It fails.
func (n Neighbour) Upload(context.Context, string, io.Reader, int64) error { return ErrNeighbour }

// Dial implements Conn, but for where the connection begins: on this machine.
func (n Neighbour) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return n.local.Dial(ctx, network, addr)
}

// Stats implements Conn.
func (n Neighbour) Stats() Stats { return n.local.Stats() }

// Close implements Conn.
func (n Neighbour) Close() error { return n.local.Close() }
