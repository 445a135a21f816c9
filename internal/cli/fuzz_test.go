package cli

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// What a failure shows moves no cursor, whatever a host has put into it; text that prints stays.
func FuzzPrintable(f *testing.F) {
	for _, s := range []string{"", "cp1: it failed\n  because", "\x1b[2J\x1b]0;x\x07", "\r\v\f\t", "\u009b\u202e\u2028\u0085", "\xff\x00\x7f", "日本語"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		shown := printable(s)
		if strings.ContainsFunc(shown, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) {
			t.Errorf("printable(%q) = %q", s, shown)
		}
		if again := printable(shown); again != shown {
			t.Errorf("%q becomes %q, and then %q", s, shown, again)
		}
		if strings.Count(shown, "\n") != strings.Count(s, "\n") {
			t.Errorf("%q has other lines than %q", shown, s)
		}
		if plain := strings.Map(visible, s); plain == s && utf8.ValidString(s) && shown != s {
			t.Errorf("%q becomes %q", s, shown)
		}
	})
}

// visible drops what does not print.
func visible(r rune) rune {
	if r == '\n' || unicode.IsPrint(r) {
		return r
	}
	return -1
}
