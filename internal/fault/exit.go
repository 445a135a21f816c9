package fault

import (
	"context"
	"errors"
)

// ExitCode returns the exit code of the process for err: 0 for nil, otherwise the number of its
// kind, as [KindOf] finds it.
func ExitCode(err error) int { return int(KindOf(err)) }

// KindOf returns the kind of err, or 0 for nil.
//
// The outermost kind on a chain of wrapped errors holds. Of joined errors the most telling one
// does: the one that explains the others, or that has to be mended before the others can be. An
// error to which nobody gave a kind is Other.
//
// A chain that ends in context.Canceled is Interrupted whatever kind it was given on its way up,
// because the step did not fail, it was stopped. Among joined errors it gives way to every real
// failure: a run that stops the remaining hosts because one of them failed was not interrupted
// by anybody. Whoever knows that the user ended the run wraps the whole in Interrupted.
func KindOf(err error) Kind {
	if err == nil {
		return 0
	}
	kind := judge(err)
	if kind == 0 {
		return Other
	}
	if kind == cancelled {
		return Interrupted
	}
	return kind
}

// cancelled stands for a chain that ends in context.Canceled while it is compared with others.
const cancelled Kind = -1

// judge returns the kind of err, cancelled, or 0 when it has none.
func judge(err error) Kind {
	var kind Kind
	causes := unwrap(err)
	for _, cause := range causes {
		if k := judge(cause); rank(k) > rank(kind) {
			kind = k
		}
	}
	if len(causes) == 0 && errors.Is(err, context.Canceled) {
		return cancelled
	}
	e, ok := err.(*Error) //nolint:errorlint // judges one level of the tree at a time
	if !ok || e.Kind == 0 {
		return kind
	}
	if kind == cancelled && e.Kind != Interrupted {
		return cancelled
	}
	return e.Kind
}

// rank orders the kinds of failures that happened together: first what the user did, then what
// the user has to mend before anything else can work, then the hosts, and the health of the
// cluster last, since it mostly suffers from the others.
func rank(k Kind) int {
	switch k {
	case Interrupted:
		return 10
	case BadInput:
		return 9
	case Locked:
		return 8
	case Unreachable:
		return 7
	case Preflight:
		return 6
	case ChangeFailed:
		return 5
	case Unhealthy:
		return 4
	case Other:
		return 3
	case cancelled:
		return 2
	case Pending:
		return 1
	default:
		return 0
	}
}

// Hints returns every hint in the tree of err, from the outside in, each once.
func Hints(err error) []string {
	var hints []string
	seen := make(map[string]bool)
	var walk func(error)
	walk = func(err error) {
		e, ok := err.(*Error) //nolint:errorlint // visits one level of the tree at a time
		if ok && e.Hint != "" && !seen[e.Hint] {
			seen[e.Hint] = true
			hints = append(hints, e.Hint)
		}
		for _, cause := range unwrap(err) {
			walk(cause)
		}
	}
	walk(err)
	return hints
}

// unwrap returns the errors that err wraps directly, however it does.
func unwrap(err error) []error {
	switch e := err.(type) { //nolint:errorlint // one level of the tree
	case interface{ Unwrap() error }:
		if cause := e.Unwrap(); cause != nil {
			return []error{cause}
		}
	case interface{ Unwrap() []error }:
		causes := make([]error, 0, 2)
		for _, cause := range e.Unwrap() {
			if cause != nil {
				causes = append(causes, cause)
			}
		}
		return causes
	}
	return nil
}
