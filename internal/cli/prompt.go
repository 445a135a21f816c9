package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"kubewright/internal/fault"
)

// prompt asks whoever runs a command.
type prompt struct {
	in  io.Reader
	out io.Writer
	// interactive says that the answers come from a terminal.
	interactive bool
}

func newPrompt(cmd *cobra.Command) prompt {
	p := prompt{in: cmd.InOrStdin(), out: cmd.ErrOrStderr()}
	if f, ok := p.in.(*os.File); ok {
		p.interactive = term.IsTerminal(int(f.Fd()))
	}
	return p
}

// ask stops unless the answer is the wanted word.
func (p prompt) ask(ctx context.Context, question, want string) error {
	fmt.Fprint(p.out, question)
	answers := make(chan string, 1)
	// A read from a terminal cannot be called off: when ctx ends, this is left behind, and
	// ends with the process.
	go func() {
		defer close(answers)
		if line, err := bufio.NewReader(p.in).ReadString('\n'); err == nil || line != "" {
			answers <- strings.TrimSpace(line)
		}
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(p.out)
		return fault.Wrap(fault.Interrupted, ctx.Err())
	case answer, ok := <-answers:
		switch {
		case !ok:
			fmt.Fprintln(p.out)
			return fault.New(fault.Interrupted, "no answer: nothing was changed").WithHint("--yes does without")
		case answer != want:
			return fault.New(fault.Interrupted, "not confirmed: nothing was changed")
		}
		return nil
	}
}
