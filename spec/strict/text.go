package strict

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// checkBytes finds what makes a file not a text that YAML can be read from. It returns the text
// without a UTF-8 byte order mark.
func checkBytes(file string, data []byte) ([]byte, Faults) {
	refuse := func(offset int, message string) ([]byte, Faults) {
		line, column := lineAndColumn(data, offset)
		return nil, Faults{{File: file, Line: line, Column: column, Message: message}}
	}
	if bytes.HasPrefix(data, []byte{0xFF, 0xFE}) || bytes.HasPrefix(data, []byte{0xFE, 0xFF}) {
		return refuse(0, "the file is encoded in UTF-16; save it as UTF-8")
	}
	data = bytes.TrimPrefix(data, []byte("\xEF\xBB\xBF"))
	if i := bytes.IndexByte(data, 0); i >= 0 {
		return refuse(i, "the file has a NUL byte: it is no text file, or not in UTF-8; save it as UTF-8")
	}
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 {
			return refuse(i, fmt.Sprintf("byte 0x%02x is not UTF-8; save the file as UTF-8", data[i]))
		}
		if !yamlAllows(r) {
			return refuse(i, fmt.Sprintf("the invisible character U+%04X is not allowed in YAML; remove it", r))
		}
		i += size
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return refuse(0, "the file is empty")
	}
	return data, nil
}

// yamlAllows reports whether a character may stand in a YAML stream (YAML 1.2, c-printable).
func yamlAllows(r rune) bool {
	switch {
	case r == '\t', r == '\n', r == '\r', r == 0x85:
		return true
	case r < 0x20, r >= 0x7F && r < 0xA0, r == 0xFEFF, r == 0xFFFE, r == 0xFFFF:
		return false
	}
	return true
}

// lineAndColumn counts both from 1, the column in characters.
func lineAndColumn(data []byte, offset int) (line, column int) {
	before := data[:offset]
	line = bytes.Count(before, []byte("\n")) + 1
	return line, utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
}

// checkText refuses characters that do not show: they do not belong in a name, an address or a
// path, and would break the lines of whatever the text is written into.
func checkText(s string, multiline bool) error {
	for _, r := range s {
		switch {
		case multiline && (r == '\n' || r == '\t'):
		case r == '\n', r == '\r':
			return errors.New("line breaks are not allowed here; write it on one line")
		case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp), r == utf8.RuneError:
			return fmt.Errorf("the invisible or broken character U+%04X is not allowed here; remove it", r)
		}
	}
	return nil
}

// WithoutPassword cuts the password out of user:password@host, with or without a scheme before it,
// so that the rest can be shown. The last @ counts, for a password may hold others.
func WithoutPassword(text string) string {
	end := strings.LastIndex(text, "@")
	if end < 0 {
		return text
	}
	scheme := urlScheme().FindString(text[:end])
	user, _, _ := strings.Cut(text[len(scheme):end], ":")
	return scheme + user + text[end:]
}

var urlScheme = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://`) })

// quote shows a value in a message, shortened when it is long.
func quote(s string) string {
	const longest = 60
	if runes := []rune(s); len(runes) > longest {
		s = strings.TrimSpace(string(runes[:longest])) + "..."
	}
	return fmt.Sprintf("%q", s)
}
