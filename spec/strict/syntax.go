package strict

import (
	"bytes"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"sync"

	"gopkg.in/yaml.v3"
)

// syntaxFault says where a text stops being YAML. The parser's own words are used where they
// help; its line is right only for what its scanner finds, so the others are looked for here.
func syntaxFault(file string, text []byte, err error) Fault {
	message, line := splitSyntaxError(err)
	f := Fault{File: file, Column: 1, Message: "this is not YAML: " + message}
	switch {
	case strings.HasPrefix(message, "unknown anchor"):
		// Its name may be a password that begins with a star: it is not repeated.
		f.Message = "an alias (*name) refers to an anchor that is not there; text that begins with * needs quotes"
		name := strings.TrimSuffix(strings.TrimPrefix(message, "unknown anchor '"), "' referenced")
		line, _ = lineAndColumn(text, max(bytes.Index(text, []byte("*"+name)), 0))
	case strings.Contains(message, "',' or ']'"):
		f.Message = "this is not YAML: the list that begins with [ here is not closed, or lacks a comma"
		line++
	case strings.Contains(message, "',' or '}'"):
		f.Message = "this is not YAML: the mapping that begins with { here is not closed, or lacks a comma"
		line++
	case strings.HasPrefix(message, "mapping values are not allowed"):
		f.Message = "this is not YAML: a second colon in the line, or a wrong indent; text that holds ': ' needs quotes"
	case strings.HasPrefix(message, "found unexpected end of stream"):
		f.Message = "this is not YAML: a quote that opens in this line is not closed"
	case strings.HasPrefix(message, "found character that cannot start"):
		f.Message = "this is not YAML: text that begins with % @ or ` needs quotes"
	case strings.HasPrefix(message, "did not find expected"):
		f.Message = "this is not YAML: " + message + " in this line; is it indented like its neighbours?"
		line = firstBadLine(text, message)
	}
	lines := strings.Split(string(text), "\n")
	f.Line = min(max(line, 1), len(lines))
	full := lines[f.Line-1]
	body := strings.TrimLeft(full, " \t")
	f.Column = len(full) - len(body) + 1
	if i := strings.Index(full[:len(full)-len(body)], "\t"); i >= 0 {
		f.Column = i + 1
		f.Message = "a tab indents this line; YAML is indented with spaces"
	}
	return f
}

// firstBadLine finds the line with which the text begins to cause the error.
func firstBadLine(text []byte, message string) int {
	lines := bytes.SplitAfter(text, []byte("\n"))
	return 1 + sort.Search(len(lines)-1, func(i int) bool {
		var n yaml.Node
		err := yaml.Unmarshal(bytes.Join(lines[:i+1], nil), &n)
		if err == nil {
			return false
		}
		got, _ := splitSyntaxError(err)
		return got == message
	})
}

// splitSyntaxError takes the line, if there is one, off an error of the YAML parser.
func splitSyntaxError(err error) (message string, line int) {
	message = strings.TrimPrefix(err.Error(), "yaml: ")
	if m := syntaxErrorLine().FindStringSubmatch(message); m != nil {
		if line, err := strconv.Atoi(m[1]); err == nil {
			return m[2], line
		}
	}
	return message, 0
}

var syntaxErrorLine = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^line (\d+): (.*)$`)
})
