package strict

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Fault is one thing wrong with a file, at the place where it is wrong.
type Fault struct {
	// File is the name the document was given when it was parsed.
	File string `json:"file"`
	// Line and Column start at 1; 0 means that no place in the file can be named.
	Line   int `json:"line"`
	Column int `json:"column"`
	// Path is the place in the document, such as spec.hosts[2].address.
	Path string `json:"path,omitempty"`
	// Message says what is wrong and, where no single value mends it, what to do.
	Message string `json:"message"`
	// Suggestion is the text to write instead, when one can be named.
	Suggestion string `json:"suggestion,omitempty"`
}

// Error renders the fault on one line: file:line:column: path: message; did you mean x?
func (f Fault) Error() string {
	var b strings.Builder
	b.WriteString(f.File)
	if f.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", f.Line, max(f.Column, 1))
	}
	if b.Len() > 0 {
		b.WriteString(": ")
	}
	if f.Path != "" {
		b.WriteString(f.Path + ": ")
	}
	b.WriteString(f.Message)
	if f.Suggestion != "" {
		b.WriteString("; did you mean " + f.Suggestion + "?")
	}
	return b.String()
}

// Faults is every fault of a run of validation; as an error it prints one fault a line.
type Faults []Fault

// Error renders all faults, one a line, in the order of the files.
func (fs Faults) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

// Err sorts the faults, drops repetitions, and returns them as an error; nil when there is none.
func (fs Faults) Err() error {
	if len(fs) == 0 {
		return nil
	}
	return fs.Sorted()
}

// Sorted returns the faults ordered by file, line, column, path and message, each of them once.
func (fs Faults) Sorted() Faults {
	sorted := slices.SortedFunc(slices.Values(fs), compare)
	return slices.Compact(sorted)
}

func compare(a, b Fault) int {
	return cmp.Or(
		cmp.Compare(a.File, b.File),
		cmp.Compare(a.Line, b.Line),
		cmp.Compare(a.Column, b.Column),
		cmp.Compare(a.Path, b.Path),
		cmp.Compare(a.Message, b.Message),
		cmp.Compare(a.Suggestion, b.Suggestion),
	)
}
