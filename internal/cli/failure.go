package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"kubewright/internal/fault"
	"kubewright/internal/report"
	"kubewright/spec/strict"
)

// loggedError is the failure of a run that has left a debug log.
type loggedError struct {
	error
	log string
}

// Unwrap returns the failure.
func (e *loggedError) Unwrap() error { return e.error }

// interrupted is the error of a command that a signal ended, whatever else came of that.
func interrupted(ctx context.Context, err error) error {
	e := fault.New(fault.Interrupted, "%w", context.Cause(ctx))
	if err == nil {
		return e
	}
	return fault.Wrap(fault.Interrupted, errors.Join(
		e.WithHint("run the same command again: it looks where it was, and goes on from there"), err))
}

// printError says what happened and what to do next: a line a failure and each hint once,
// or one JSON object where results are JSON. Pending changes are a result, not a failure,
// and were shown already.
func printError(w io.Writer, f format, command string, err error) {
	if err == nil || fault.KindOf(err) == fault.Pending {
		return
	}
	var logged *loggedError
	if f == formatJSON {
		e := report.Event{Time: time.Now(), Kind: report.RunDone, Message: command, Err: err}
		if errors.As(err, &logged) {
			e.Attrs = map[string]string{"log": logged.log}
		}
		report.NewJSON(w).Emit(e)
		return
	}
	for _, message := range messages(err) {
		fmt.Fprintf(w, "error: %s\n", strings.ReplaceAll(message, "\n", "\n  "))
	}
	for _, hint := range fault.Hints(err) {
		fmt.Fprintf(w, "  hint: %s\n", report.Printable(hint))
	}
	if errors.As(err, &logged) {
		fmt.Fprintf(w, "debug log: %s\n", logged.log)
	}
}

// messages are the failures in an error, each once. Where something went wrong, what was
// merely stopped because of that is not told.
func messages(err error) []string {
	var told []string
	seen := map[string]bool{}
	all := failures(err)
	for i, e := range all {
		text := report.Printable(e.Error())
		if seen[text] || (i > 0 && errors.Is(e, context.Canceled)) {
			continue
		}
		seen[text] = true
		told = append(told, text)
	}
	return told
}

// failures takes apart what was joined.
func failures(err error) []error {
	switch e := err.(type) { //nolint:errorlint // looks at one level of the tree at a time
	case strict.Faults:
		var all []error
		for _, f := range e {
			all = append(all, f)
		}
		return all
	case *loggedError:
		return failures(e.error)
	case *fault.Error:
		if e.Host == "" && e.Op == "" && e.Err != nil {
			return failures(e.Err)
		}
	case interface{ Unwrap() []error }:
		var all []error
		var texts []string
		for _, cause := range e.Unwrap() {
			all = append(all, failures(cause)...)
			texts = append(texts, cause.Error())
		}
		if err.Error() == strings.Join(texts, "\n") { // it has nothing of its own to say
			return all
		}
	}
	return []error{err}
}
