package host

import (
	"fmt"
	"strings"
)

// UnreachableError says that no SSH conversation with the host came about: the name does not
// resolve, the port is closed, the network drops packets, or the server hung up before it
// said who it is.
type UnreachableError struct {
	Host    string // name of the host in the inventory
	Address string // host:port that was dialled
	Remedy  string
	Err     error
}

// Error implements error.
func (e *UnreachableError) Error() string {
	return sentence(e.Host, fmt.Sprintf("cannot reach %s: %v", e.Address, e.Err), e.Remedy)
}

// Unwrap returns the cause.
func (e *UnreachableError) Unwrap() error { return e.Err }

// AuthError says that the server is who it should be and did not let us in.
type AuthError struct {
	Host   string
	User   string
	Tried  []string // what was offered, e.g. "key /root/.ssh/id_ed25519", "agent (2 keys)"
	Remedy string
	Err    error
}

// Error implements error.
func (e *AuthError) Error() string {
	tried := "nothing"
	if len(e.Tried) > 0 {
		tried = strings.Join(e.Tried, ", ")
	}
	return sentence(e.Host, fmt.Sprintf("login as %q refused (tried %s): %v", e.User, tried, e.Err), e.Remedy)
}

// Unwrap returns the cause.
func (e *AuthError) Unwrap() error { return e.Err }

// HostKeyError says that the server's host key is not one we were told to trust. Nothing, no
// credential either, was sent to it.
type HostKeyError struct {
	Host        string
	Fingerprint string   // "SHA256:..." of the key the server showed
	Want        []string // what was expected, with where that is written; empty: the host is unknown
	Revoked     bool     // the key is listed as @revoked
	Remedy      string
	Err         error // further cause, such as an expired host certificate; may be nil
}

// Changed reports whether a different key was expected, as opposed to none being known.
func (e *HostKeyError) Changed() bool { return len(e.Want) > 0 }

// Error implements error.
func (e *HostKeyError) Error() string {
	what := "host key " + e.Fingerprint + " is not known"
	switch {
	case e.Revoked:
		what = "host key " + e.Fingerprint + " is marked @revoked"
	case e.Changed():
		what = "HOST KEY CHANGED: the server shows " + e.Fingerprint + ", expected " + strings.Join(e.Want, " or ")
	}
	if e.Err != nil {
		what += ": " + e.Err.Error()
	}
	return sentence(e.Host, what, e.Remedy)
}

// Unwrap returns the further cause, or nil.
func (e *HostKeyError) Unwrap() error { return e.Err }

// SudoError says that the login works and that root could not be had with sudo.
type SudoError struct {
	Host   string
	User   string
	Reason string // what sudo objected to, in a few words
	Stderr string // what sudo said, bounded
	Remedy string
}

// Error implements error.
func (e *SudoError) Error() string {
	what := fmt.Sprintf("user %q cannot become root: %s", e.User, e.Reason)
	if said := strings.TrimSpace(e.Stderr); said != "" {
		what += ": " + said
	}
	return sentence(e.Host, what, e.Remedy)
}

// ShellError says that the login works and that the account's login shell, or a forced command,
// did not start the shell asked for. Cloud images answer a root login this way.
type ShellError struct {
	Host   string
	User   string
	Output string // what came instead, bounded
	Code   int    // exit status, -1 when there was none
	Remedy string
}

// Error implements error.
func (e *ShellError) Error() string {
	what := fmt.Sprintf("the login shell of %q did not run sh (exit status %d)", e.User, e.Code)
	if said := strings.TrimSpace(e.Output); said != "" {
		what += ": " + said
	}
	return sentence(e.Host, what, e.Remedy)
}

// LostError says that the connection broke while Op was under way. What Op did on the host is
// unknown when Started is set: look again before repeating it.
type LostError struct {
	Host    string
	Op      string // "run", "upload", "dial"
	Started bool   // the operation may have had effects on the host
	Err     error
}

// Error implements error.
func (e *LostError) Error() string {
	what := fmt.Sprintf("connection lost before %s started: %v", e.Op, e.Err)
	if e.Started {
		what = fmt.Sprintf("connection lost during %s, its outcome is unknown: %v", e.Op, e.Err)
	}
	return sentence(e.Host, what, "")
}

// Unwrap returns the cause.
func (e *LostError) Unwrap() error { return e.Err }

// ExitError says that the script ran to an end other than exit status 0.
type ExitError struct {
	Host      string
	Code      int    // exit status; 128+n by convention when a signal ended it
	Signal    string // name without SIG when a signal ended the shell itself, else empty
	Stderr    []byte // standard error, whole up to a bound, then its beginning and its end
	Truncated bool   // the middle of Stderr is missing
}

// Error implements error. It shows the last lines of standard error; Stderr has the rest.
func (e *ExitError) Error() string {
	what := fmt.Sprintf("script exited with status %d", e.Code)
	if e.Signal != "" {
		what = "script was ended by signal " + e.Signal
	}
	if said := tail(string(e.Stderr), 5); said != "" {
		what += ": " + said
	}
	return sentence(e.Host, what, "")
}

// DialError says that the host is connected and could not open a connection to Address.
type DialError struct {
	Host    string
	Address string
	Remedy  string
	Err     error
}

// Error implements error.
func (e *DialError) Error() string {
	return sentence(e.Host, fmt.Sprintf("cannot connect from the host to %s: %v", e.Address, e.Err), e.Remedy)
}

// Unwrap returns the cause; a refused connection is syscall.ECONNREFUSED.
func (e *DialError) Unwrap() error { return e.Err }

// sentence joins the three parts of every message: which host, what happened, what to do.
func sentence(host, what, remedy string) string {
	s := what
	if host != "" {
		s = host + ": " + what
	}
	if remedy != "" {
		s += "; " + remedy
	}
	return s
}

// tail returns the last n non-empty lines of s on one line.
func tail(s string, n int) string {
	var lines []string
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	if len(lines) > n {
		lines = append([]string{"..."}, lines[len(lines)-n:]...)
	}
	return strings.Join(lines, " | ")
}
