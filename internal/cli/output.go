package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// format is how a result is written: as text for people, or as one JSON document for
// programs. It is the value of --output.
type format string

const (
	formatText format = "text"
	formatJSON format = "json"
)

// outputFlag is the name of the flag that sets a format.
const outputFlag = "output"

// add gives a command the flag, with text as its default.
func (f *format) add(cmd *cobra.Command) {
	*f = formatText
	cmd.Flags().VarP(f, outputFlag, "o", "how the result is printed: text or json")
}

// Set implements pflag.Value.
func (f *format) Set(word string) error {
	if wanted := format(word); wanted == formatText || wanted == formatJSON {
		*f = wanted
		return nil
	}
	return errors.New("it can be text or json")
}

// String implements pflag.Value.
func (f *format) String() string { return string(*f) }

// Type implements pflag.Value; it is what help shows.
func (f *format) Type() string { return "format" }

// formatOf is what a command was told about its output.
func formatOf(cmd *cobra.Command) format {
	if flag := cmd.Flags().Lookup(outputFlag); flag != nil {
		return format(flag.Value.String())
	}
	return formatText
}

// result is what a command prints on stdout, in both of its forms.
type result struct {
	document any
	text     func(io.Writer) error
}

// write prints a result in one of its forms; the zero format is text.
func (f format) write(w io.Writer, r result) error {
	if f != formatJSON {
		return r.text(w)
	}
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r.document)
}

// table writes rows in columns.
func table(w io.Writer, rows [][]string) error {
	_, err := io.WriteString(w, aligned(rows))
	return err
}

// aligned pads the cells of rows so that they form columns. No line ends in blanks.
func aligned(rows [][]string) string {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	_ = t.Flush() // a strings.Builder does not fail
	var out strings.Builder
	for line := range strings.Lines(b.String()) {
		out.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return out.String()
}

// lines is the text form of results that are lines.
func lines(all []string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, strings.Join(append(all, ""), "\n"))
		return err
	}
}
