package ansible

import (
	"errors"
	"net/netip"
	"strings"
)

// word is a word of a host's line, without its quotes; column counts the characters before it.
type word struct {
	text   string
	column int
}

var errOpenQuote = errors.New("a quote is not closed")

// splitWords splits a line as Python's shlex does in POSIX mode: blanks separate, quotes and a
// backslash take blanks into a word, # begins a comment anywhere outside of quotes.
func splitWords(line string) ([]word, error) {
	var words []word
	var text strings.Builder
	inWord, start := false, 0
	var quote rune
	escaped := false
	column := -1
	end := func() {
		if inWord {
			words = append(words, word{text.String(), start})
		}
		text.Reset()
		inWord = false
	}
	for _, r := range line {
		column++
		if !inWord && r != ' ' && r != '\t' && r != '#' {
			inWord, start = true, column
		}
		switch {
		case escaped:
			if quote == '"' && r != '"' && r != '\\' {
				text.WriteRune('\\')
			}
			text.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			escaped = true
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			text.WriteRune(r)
		case r == '"' || r == '\'':
			quote = r
		case r == '#':
			end()
			return words, nil
		case r == ' ' || r == '\t':
			end()
		default:
			text.WriteRune(r)
		}
	}
	if quote != 0 || escaped {
		return nil, errOpenQuote
	}
	end()
	return words, nil
}

// cutPort cuts a port off the name of a host. A bare IPv6 address has none; one in brackets may.
func cutPort(pattern string) (name, port string) {
	if _, err := netip.ParseAddr(pattern); err == nil {
		return pattern, ""
	}
	if rest, ok := strings.CutPrefix(pattern, "["); ok {
		inner, after, _ := strings.Cut(rest, "]")
		if _, err := netip.ParseAddr(inner); err == nil {
			return inner, strings.TrimPrefix(after, ":")
		}
	}
	i := strings.LastIndex(pattern, ":")
	if i < 0 || strings.Contains(pattern[i:], "]") {
		return pattern, ""
	}
	return pattern[:i], pattern[i+1:]
}
