// Package host is what the rest of the program knows about a machine: a narrow connection
// that runs a script as root, takes a file and dials from the machine's own point of view.
//
// [Conn] is implemented by internal/ssh for remote machines and by [Local] for the machine the
// program runs on. The error types say which part of the way to the machine failed, because
// each has its own remedy; callers tell them apart with errors.As.
package host

import (
	"context"
	"io"
	"net"
)

// Conn is a connection to one host. All methods may be called concurrently.
type Conn interface {
	// Run starts one root shell on the host, gives it script on standard input and streams its
	// standard output to stdout (nil discards it). It returns nil when the shell exits with 0,
	// *ExitError when it exits with anything else, *LostError when the connection broke before
	// the exit status was known, *SudoError when root could not be had, and the context's error
	// when ctx ended first. A script is never run twice.
	Run(ctx context.Context, script []byte, stdout io.Writer) error

	// Upload writes size bytes of r to path+".part" as the login user with mode 0600, checks
	// the size and renames it to path. A path that exists is replaced.
	Upload(ctx context.Context, path string, r io.Reader, size int64) error

	// Dial opens a connection from the host to addr ("10.0.0.1:6443"); network is "tcp",
	// "tcp4" or "tcp6". The connection supports deadlines. A failure is *DialError, or
	// *LostError when the connection to the host itself is gone.
	Dial(ctx context.Context, network, addr string) (net.Conn, error)

	// Stats returns what was spent on the host so far.
	Stats() Stats

	// Close ends the connection; pending calls fail with *LostError.
	Close() error
}

// Redialer is a Conn that can be brought back after a *LostError. Redial does nothing when the
// connection is alive. It repeats no command: what a lost Run did is for the caller to look up.
type Redialer interface {
	Redial(ctx context.Context) error
}

// Stats counts what a connection has cost since it was made, reconnects included.
type Stats struct {
	Execs      int64 // scripts started with Run
	Sessions   int64 // session channels opened: scripts and uploads
	Dials      int64 // connections opened from the host with Dial
	Handshakes int64 // transport handshakes begun, the retried ones included
	BytesIn    int64 // bytes received from the host, as seen on the wire
	BytesOut   int64 // bytes sent to the host, as seen on the wire
}

// Add returns the sum of two counts, for totals over hosts.
func (s Stats) Add(t Stats) Stats {
	return Stats{
		Execs:      s.Execs + t.Execs,
		Sessions:   s.Sessions + t.Sessions,
		Dials:      s.Dials + t.Dials,
		Handshakes: s.Handshakes + t.Handshakes,
		BytesIn:    s.BytesIn + t.BytesIn,
		BytesOut:   s.BytesOut + t.BytesOut,
	}
}
