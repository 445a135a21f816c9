// Package fault classifies errors by what the caller can do about them. A [Kind] decides the exit
// code of the process, a hint is the next command to run or the setting to change.
//
// The package knows nothing of hosts, SSH or Kubernetes: whoever meets the failure says which
// kind it is, the process entry asks [ExitCode] and [Hints].
package fault

import (
	"fmt"
	"strings"
)

// Kind is the class of a failure. Its number is the exit code of the process.
type Kind int

// The kinds. Their numbers are documented and never change.
const (
	// Other is a failure that fits no other kind.
	Other Kind = 1
	// Pending is not a failure: a plan asked with --detailed-exitcode found changes.
	Pending Kind = 2
	// BadInput is a fault in a flag, the spec, the inventory or a file they name.
	BadInput Kind = 10
	// Unreachable is a host that does not answer, or that refuses the login.
	Unreachable Kind = 11
	// Preflight is a host that is not fit, or not safe, to change.
	Preflight Kind = 12
	// ChangeFailed is a step that failed on a host.
	ChangeFailed Kind = 13
	// Unhealthy is a cluster that did not become, or did not stay, healthy.
	Unhealthy Kind = 14
	// Locked is a host on which another run holds the lock.
	Locked Kind = 15
	// Interrupted is a run that the user ended.
	Interrupted Kind = 130
)

// String returns the name of the kind, as it is written in JSON output and documentation.
func (k Kind) String() string {
	switch k {
	case Other:
		return "other"
	case Pending:
		return "pending"
	case BadInput:
		return "bad-input"
	case Unreachable:
		return "unreachable"
	case Preflight:
		return "preflight"
	case ChangeFailed:
		return "change-failed"
	case Unhealthy:
		return "unhealthy"
	case Locked:
		return "locked"
	case Interrupted:
		return "interrupted"
	default:
		return fmt.Sprintf("kind(%d)", int(k))
	}
}

// Error is a failure with its kind, and, where they are known, the host it happened on, what was
// being done, and what to do next. Err is required, the rest is optional. A zero Kind leaves the
// kind to the wrapped error.
type Error struct {
	Kind Kind
	Host string
	Op   string
	Hint string
	Err  error
}

// New returns an error of the given kind. The message is formatted as by fmt.Errorf, %w included.
func New(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Err: fmt.Errorf(format, args...)}
}

// Wrap gives err a kind. It returns nil for a nil err, so that the result of a call can be
// wrapped as it is.
func Wrap(kind Kind, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Kind: kind, Err: err}
}

// Error returns "host: op: err"; the parts that are not set are left out. The hint is not part
// of the message: [Hints] collects those.
func (e *Error) Error() string {
	parts := make([]string, 0, 3)
	if e.Host != "" {
		parts = append(parts, e.Host)
	}
	if e.Op != "" {
		parts = append(parts, e.Op)
	}
	if e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	if len(parts) == 0 {
		return e.Kind.String()
	}
	return strings.Join(parts, ": ")
}

// Unwrap returns the wrapped error.
func (e *Error) Unwrap() error { return e.Err }

// WithHint returns a copy of the error that says what to do next.
func (e *Error) WithHint(format string, args ...any) *Error {
	c := *e
	c.Hint = fmt.Sprintf(format, args...)
	return &c
}

// On returns a copy of the error that names the host it happened on.
func (e *Error) On(host string) *Error {
	c := *e
	c.Host = host
	return &c
}

// During returns a copy of the error that says what was being done.
func (e *Error) During(op string) *Error {
	c := *e
	c.Op = op
	return &c
}
