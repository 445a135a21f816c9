package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Runner runs programs of the machine. Its user is this package; tests put an engine of their
// own behind it.
type Runner interface {
	// Run runs a command to its end and returns what it wrote to stdout. A command that ran and
	// failed returns a *CommandError.
	Run(ctx context.Context, argv []string, stdin io.Reader) (stdout []byte, err error)
	// LookPath returns the path of a program, or an error that is exec.ErrNotFound.
	LookPath(program string) (string, error)
}

// CommandError is a command that ran and failed.
type CommandError struct {
	Argv   []string
	Code   int // exit code; -1 when a signal ended it
	Stderr string
	Cause  error
}

// Error shows the beginning of the command, and the end of what it wrote to stderr, where the
// reason is.
func (e *CommandError) Error() string {
	const mostCommand, mostReason = 80, 600
	command := strings.Join(e.Argv, " ")
	if len(command) > mostCommand {
		command = command[:mostCommand] + "..."
	}
	why := strings.TrimSpace(e.Stderr)
	if len(why) > mostReason {
		why = "..." + why[len(why)-mostReason:]
	}
	if why == "" {
		why = e.Cause.Error()
	}
	return fmt.Sprintf("%s: %s", command, why)
}

// Unwrap returns the cause: the state the process ended in, or the context's error.
func (e *CommandError) Unwrap() error { return e.Cause }

// OSRunner runs commands as processes of this machine, in the C locale.
type OSRunner struct{}

// terminateGrace is how long a cancelled command gets to clean up before it is killed.
const terminateGrace = 10 * time.Second

// Run implements Runner. When ctx ends the process is asked to terminate, and killed if it does
// not.
func (OSRunner) Run(ctx context.Context, argv []string, stdin io.Reader) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = terminateGrace
	err := cmd.Run()
	if err == nil {
		return stdout.Bytes(), nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	code := -1
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	}
	if stderr.Len() == 0 {
		stderr = stdout // where some programs complain
	}
	return nil, &CommandError{Argv: argv, Code: code, Stderr: stderr.String(), Cause: err}
}

// LookPath implements Runner.
func (OSRunner) LookPath(program string) (string, error) { return exec.LookPath(program) }
