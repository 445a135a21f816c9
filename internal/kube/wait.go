package kube

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Condition is something about the cluster that can be waited for.
type Condition interface {
	// String says what is waited for, to be read after "waiting for".
	String() string
	// Check looks once. The detail says what is still missing; an error says why it could not be
	// looked at, which while a cluster comes up is a state like any other.
	Check(ctx context.Context) (done bool, detail string, err error)
}

// watcher is a Condition that can tell at once when something changes. It returns when the
// condition is met (nil) or when it cannot watch any longer (an error); ctx bounds it.
type watcher interface {
	watch(ctx context.Context, seen func(detail string)) error
}

// explainer is a Condition that knows where to look when it is not met in time.
type explainer interface {
	explain(ctx context.Context) string
}

const (
	// checkTimeout bounds a single look: a connection that hangs must not use up the whole wait.
	checkTimeout = 10 * time.Second
	// longestGlance bounds the pause between looks at what cannot be watched, such as whether an API server is
	// ready: on average half of it is lost. A look costs a request.
	longestGlance = 250 * time.Millisecond
	// explainTimeout bounds the search for a reason after a wait has failed.
	explainTimeout = 5 * time.Second
)

// Wait returns when the condition is met, or with the deadline of ctx, which it must have. Errors
// on the way (connection refused, unauthorized, a certificate that is not right yet) are reported to
// emit and waited out; the last one is part of the error. emit hears every new detail once, and may
// be nil.
func Wait(ctx context.Context, condition Condition, emit func(detail string)) error {
	if _, ok := ctx.Deadline(); !ok {
		return fmt.Errorf("waiting for %s: the wait has no deadline", condition)
	}
	begun := time.Now()
	state := waitState{emit: emit}
	pause := &backoff{next: firstPause, longest: longestGlance}
	for {
		done, detail, err := check(ctx, condition)
		if done {
			return nil
		}
		if ctx.Err() == nil {
			if state.see(detail, err) {
				pause.reset()
			}
			if it, ok := condition.(watcher); ok && err == nil {
				if watchErr := it.watch(ctx, func(detail string) { state.see(detail, nil) }); watchErr == nil {
					return nil
				}
				// A watch that ends early is followed by a fresh look.
			}
		}
		if pause.wait(ctx) != nil {
			return state.failure(ctx, condition, time.Since(begun))
		}
	}
}

func check(ctx context.Context, condition Condition) (bool, string, error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	done, detail, err := condition.Check(ctx)
	if err != nil && detail == "" {
		detail = explainError(err)
	}
	return done, detail, err
}

// waitState remembers what was seen last.
type waitState struct {
	emit   func(string)
	detail string
	err    error
}

// see records a look and reports whether it brought something new.
func (s *waitState) see(detail string, err error) bool {
	s.err = err
	if detail == s.detail {
		return false
	}
	s.detail = detail
	if s.emit != nil {
		s.emit(detail)
	}
	return true
}

func (s *waitState) failure(ctx context.Context, condition Condition, waited time.Duration) error {
	message := fmt.Sprintf("waited %s for %s", waited.Round(100*time.Millisecond), condition)
	if s.detail != "" {
		message += ": " + s.detail
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("%s: %w", message, ctx.Err())
	}
	if it, ok := condition.(explainer); ok {
		// The wait's own time is over; the reason is worth a few seconds more.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), explainTimeout)
		defer cancel()
		if reason := it.explain(ctx); reason != "" {
			message += " (" + reason + ")"
		}
	}
	return &WaitError{Condition: condition.String(), message: message, last: s.err}
}

// WaitError says that a condition was not met in time. It unwraps to context.DeadlineExceeded and
// to the error of the last look, if there was one.
type WaitError struct {
	// Condition is what was waited for.
	Condition string
	message   string
	last      error
}

// Error says how long was waited, for what, and what was seen last.
func (e *WaitError) Error() string { return e.message }

// Unwrap returns the deadline and the error of the last look.
func (e *WaitError) Unwrap() []error {
	if e.last == nil {
		return []error{context.DeadlineExceeded}
	}
	return []error{context.DeadlineExceeded, e.last}
}

// said is an error that is already in words for people; explainError does not look into it.
type said struct{ text string }

// Error returns the words.
func (s said) Error() string { return s.text }

// explainError puts an error in words that fit on a progress line.
func explainError(err error) string {
	var words said
	if errors.As(err, &words) {
		return err.Error()
	}
	var unknown x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var invalid x509.CertificateInvalidError
	var verification *tls.CertificateVerificationError
	var dns *net.DNSError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), strings.Contains(err.Error(), "connection refused"),
		strings.Contains(err.Error(), "Connection refused"):
		// An SSH server reports the refusal of a forwarded connection in words only.
		return "connection refused"
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return "connection closed by the server"
	case errors.As(err, &unknown):
		return "the server's certificate is not signed by the cluster's authority"
	case errors.As(err, &hostname):
		return "the server's certificate is for another name: " + hostname.Error()
	case errors.As(err, &invalid):
		return "the server's certificate is not valid: " + invalid.Error()
	case errors.As(err, &verification):
		return "the server's certificate cannot be verified: " + verification.Err.Error()
	case errors.As(err, &dns):
		return "cannot resolve " + dns.Name
	case apierrors.IsUnauthorized(err):
		return "unauthorized: the API server does not accept our client certificate"
	case apierrors.IsForbidden(err):
		return "forbidden: " + err.Error()
	default:
		return err.Error()
	}
}
