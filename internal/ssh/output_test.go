package ssh

import (
	"bytes"
	"strings"
	"testing"
)

// feed writes s in pieces of n bytes.
func feed(t testing.TB, w interface{ Write([]byte) (int, error) }, s string, n int) {
	t.Helper()
	for s != "" {
		piece := s[:min(n, len(s))]
		if written, err := w.Write([]byte(piece)); err != nil || written != len(piece) {
			t.Fatalf("Write = %d, %v", written, err)
		}
		s = s[len(piece):]
	}
}

func TestPreamble(t *testing.T) {
	for name, test := range map[string]struct{ in, before, after string }{
		"clean":          {"\nREADY\nout", "", "out"},
		"noise":          {"hello\nworld\n\nREADY\nout\n", "hello\nworld\n", "out\n"},
		"no line break":  {"hello\nREADY\nout\nREADY\n", "hello", "out\nREADY\n"},
		"inside a line":  {"echo READY;\n+ READY\n\nREADY\n", "echo READY;\n+ READY\n", ""},
		"label":          {"\nREADY 12 (sh) S 1\nout", "", "out"},
		"never":          {"hello\nREADY", "hello\nREADY", ""},
		"repeated start": {"\n\n\nREAD\n\nREADY\nx", "\n\n\nREAD\n", "x"},
	} {
		for n := 1; n <= len(test.in); n++ {
			var after bytes.Buffer
			p := newPreamble("READY", &after)
			feed(t, p, test.in, n)
			if p.text() != test.before || after.String() != test.after {
				t.Errorf("%s in pieces of %d: %q and %q", name, n, p.text(), after.String())
			}
		}
	}
}

func TestPreambleBounded(t *testing.T) {
	var after bytes.Buffer
	p := newPreamble("READY", &after)
	feed(t, p, strings.Repeat("noise", 1<<20)+"\nREADY\nout", 4096)
	if len(p.text()) > preambleLimit+8 || after.String() != "out" {
		t.Errorf("%d bytes kept, %q", len(p.text()), after.String())
	}
}

func TestPromptWatch(t *testing.T) {
	for name, test := range map[string]struct {
		in   string
		want int
	}{
		"prompt":          {"PROMPT", 1},
		"after a lecture": {"lecture\n\nPROMPT", 1},
		"sudo-rs":         {"[sudo: PROMPT] Password: ", 1},
		"twice":           {"PROMPTSorry, try again.\nPROMPT", 2},
		"traced":          {"+ exec sudo -S -p PROMPT -- env\nPROMPT", 1},
		"none":            {"PROMP PROM", 0},
	} {
		for n := 1; n <= len(test.in); n++ {
			w := newPromptWatch("PROMPT", newPreamble("READY", new(bytes.Buffer)))
			feed(t, w, test.in, n)
			if got := len(w.seen); got != test.want {
				t.Errorf("%s in pieces of %d: %d prompts", name, n, got)
			}
		}
	}
}

// TestPromptAfterReady prints what looks like the prompt from the script itself.
func TestPromptAfterReady(t *testing.T) {
	w := newPromptWatch("PROMPT", newPreamble("READY", new(bytes.Buffer)))
	feed(t, w, "\nREADY\n", 100)
	feed(t, w, "PROMPT", 100)
	if len(w.seen) != 0 {
		t.Error("the script can ask for the password")
	}
}

func FuzzPreamble(f *testing.F) {
	f.Add("noise\nREADY\nout", 3)
	f.Fuzz(func(t *testing.T, in string, n int) {
		if n < 1 || len(in) > preambleLimit {
			t.Skip()
		}
		before, after, found := strings.Cut(in, "\nREADY")
		if found {
			_, after, found = strings.Cut(after, "\n")
		}
		if !found {
			before, after = in, ""
		}
		var out bytes.Buffer
		p := newPreamble("READY", &out)
		feed(t, p, in, n)
		if p.isReady() != found || p.text() != before || out.String() != after {
			t.Errorf("%q in pieces of %d: %q and %q", in, n, p.text(), out.String())
		}
	})
}
