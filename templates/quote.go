package templates

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// quote writes a string as a double-quoted scalar that YAML and TOML read alike: both know \",
// \\, \uXXXX and \UXXXXXXXX. Bytes that are not UTF-8 have no such form and are an error.
func quote(s string) (string, error) {
	if !utf8.ValidString(s) {
		return "", fmt.Errorf("%q is not valid UTF-8", s)
	}
	var out strings.Builder
	out.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			out.WriteByte('\\')
			out.WriteRune(r)
		case unicode.IsPrint(r):
			out.WriteRune(r)
		case r > 0xFFFF:
			fmt.Fprintf(&out, `\U%08X`, r)
		default:
			fmt.Fprintf(&out, `\u%04X`, r)
		}
	}
	out.WriteByte('"')
	return out.String(), nil
}

// quoteContainerArg quotes an element of a container's command. The kubelet expands $(NAME) there
// and reads $$ as $, so every $ is doubled to stay what it is.
func quoteContainerArg(s string) (string, error) {
	return quote(strings.ReplaceAll(s, "$", "$$"))
}

// quoteUnitWord writes one word of an ExecStart line. systemd expands $NAME and %x there and
// ends the command at a newline; a word with a control character is refused rather than escaped,
// because no flag of ours has one.
func quoteUnitWord(s string) (string, error) {
	if !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return "", fmt.Errorf("%q cannot be part of a systemd unit: it has control characters", s)
	}
	for _, special := range []struct{ char, escaped string }{{`\`, `\\`}, {`"`, `\"`}, {"%", "%%"}, {"$", "$$"}} {
		s = strings.ReplaceAll(s, special.char, special.escaped)
	}
	return `"` + s + `"`, nil
}
