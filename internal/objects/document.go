package objects

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"sigs.k8s.io/yaml"
)

// document is one of the documents of a stream.
type document struct {
	file string
	line int // of its first line in the file, from 1
	text []byte
}

// split finds the documents of a stream. They begin with a line of --- and end with one of ..., to
// which more may only be added after a space.
func split(file string, stream []byte) []document {
	stream = bytes.TrimPrefix(stream, []byte("\xef\xbb\xbf"))
	var all []document
	current := document{file: file, line: 1}
	number := 0
	for line := range bytes.Lines(stream) {
		number++
		switch {
		case marker(line, "---"):
			all = append(all, current)
			current = document{file: file, line: number}
		case marker(line, "..."):
			all = append(all, current)
			current = document{file: file, line: number + 1}
			continue
		}
		current.text = append(current.text, line...)
	}
	return append(all, current)
}

func marker(line []byte, text string) bool {
	rest, ok := bytes.CutPrefix(line, []byte(text))
	return ok && (len(rest) == 0 || bytes.IndexByte([]byte(" \t\r\n"), rest[0]) >= 0)
}

// content is the mapping that the document is; nil if it says nothing.
func (d document) content() (map[string]any, error) {
	asJSON, err := yaml.YAMLToJSONStrict(d.text)
	if err != nil {
		return nil, d.faults(err)
	}
	content, err := toMap(asJSON)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.begin(), err)
	}
	return content, nil
}

// begin is the place of the first line that says something.
func (d document) begin() string {
	line := d.line
	for text := range bytes.Lines(d.text) {
		text = bytes.TrimSpace(bytes.TrimPrefix(text, []byte("---")))
		if len(text) > 0 && text[0] != '#' {
			break
		}
		line++
	}
	return d.at(line)
}

func (d document) at(line int) string { return d.file + ":" + strconv.Itoa(line) }

// placed finds the places in the errors of the YAML library: "line 3: ...", counted in the document.
var placed = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`line (\d+): (.*)`) })

// faults gives the errors of the YAML library their places in the file.
func (d document) faults(err error) error {
	var bad []error
	for _, found := range placed().FindAllStringSubmatch(err.Error(), -1) {
		line, convErr := strconv.Atoi(found[1])
		if convErr != nil {
			continue
		}
		bad = append(bad, fmt.Errorf("%s: %s", d.at(d.line+line-1), d.explain(line, found[2])))
	}
	if len(bad) == 0 {
		message := err.Error()
		for _, prefix := range []string{"error converting YAML to JSON: ", "yaml: "} {
			message = strings.TrimPrefix(message, prefix)
		}
		return fmt.Errorf("%s: %s", d.begin(), message)
	}
	return errors.Join(bad...)
}

// explain says what to do about a tab, of which the library says that it "cannot start any token".
func (d document) explain(line int, message string) string {
	lines := bytes.Split(d.text, []byte("\n"))
	// The library counts from nought in some of its errors.
	for _, i := range []int{line - 1, line} {
		if i < len(lines) && bytes.HasPrefix(bytes.TrimLeft(lines[i], " "), []byte("\t")) {
			return message + " (a tab: YAML is indented with spaces)"
		}
	}
	return message
}
