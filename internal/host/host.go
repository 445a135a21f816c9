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
	// when ctx ended first. A script is never run twice; what becomes of one that is cut short is
	// for its kind to say.
	Run(ctx context.Context, script Script, stdout io.Writer) error

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

// Script is what a root shell is given to run.
type Script struct {
	// Text makes the text when a shell is there to read it, so that of many hosts that wait for one, none has
	// its text in memory. It is called once by a Run at most, by another goroutine, and maybe after a Run that was cut short.
	Text func() []byte
	Kind ScriptKind
}

// ScriptKind says how a script may be ended before its time.
type ScriptKind int

// The kinds of scripts.
const (
	// Look changes nothing. It is ended with its processes; when its connection is lost, by the
	// next Redial.
	Look ScriptKind = iota
	// Act changes the host, and ends by itself when its shell is sent TERM: between two steps. It
	// is given time for that, and ended like a Look when it takes longer. One whose connection is
	// lost goes on: Redial tells it to end, and does not wait for it.
	Act
	// Hold is a Look that is to last as long as the connection.
	Hold
)

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
	Connects   int64 // times that the connection came about: the first time, and with Redial
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
		Connects:   s.Connects + t.Connects,
		BytesIn:    s.BytesIn + t.BytesIn,
		BytesOut:   s.BytesOut + t.BytesOut,
	}
}
