package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"kubewright/internal/fault"
)

func hostile() []string {
	return []string{
		"", " ", "plain text", "two\nlines\r\n", "\x1b[2J\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x1b", "\x1b[", "\u009b2J", "\u202eevil\u2066", "\u2028\u2029\u0085",
		"\x00\x7f\xff\xfe", "tab\tand\vmore", "日本語 é \u0301", strings.Repeat("x", 300), "\x1b\x1b[1;1Hx", "\b\b\b", `"quoted" and \escaped`, "{\"kind\":\"run-done\"}",
	}
}

// printable reports whether nothing of a text moves a cursor or hides.
func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// What a host prints becomes one line that only prints; plain words stay as they are.
func FuzzOneLine(f *testing.F) {
	for _, s := range hostile() {
		f.Add(s, 10)
	}
	f.Fuzz(func(t *testing.T, s string, width int) {
		line := OneLine(s)
		if !printable(line) || strings.TrimSpace(line) != line || strings.Contains(line, "  ") {
			t.Errorf("OneLine(%q) = %q", s, line)
		}
		if again := OneLine(line); again != line {
			t.Errorf("%q becomes %q, and then %q", s, line, again)
		}
		if plain := strings.Join(strings.Fields(s), " "); printable(plain) && utf8.ValidString(plain) && line != plain {
			t.Errorf("%q becomes %q", s, line)
		}
		width %= 1000
		if short := truncate(line, width); len([]rune(short)) > max(width, 0) || !printable(short) {
			t.Errorf("in %d columns %q becomes %q", width, line, short)
		}
	})
}

// Text of several lines moves no cursor, whatever a host has put into it; text that prints stays.
func FuzzPrintable(f *testing.F) {
	for _, s := range []string{"", "cp1: it failed\n  because", "\x1b[2J\x1b]0;x\x07", "\r\v\f\t", "\u009b\u202e\u2028\u0085", "\xff\x00\x7f", "日本語"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		shown := Printable(s)
		if !printable(strings.ReplaceAll(shown, "\n", "")) {
			t.Errorf("Printable(%q) = %q", s, shown)
		}
		if again := Printable(shown); again != shown {
			t.Errorf("%q becomes %q, and then %q", s, shown, again)
		}
		if strings.Count(shown, "\n") != strings.Count(s, "\n") {
			t.Errorf("%q has other lines than %q", shown, s)
		}
		if printable(strings.ReplaceAll(s, "\n", "")) && utf8.ValidString(s) && shown != s {
			t.Errorf("%q becomes %q", s, shown)
		}
	})
}

// Whatever hosts say, each sink keeps its form: one line an event that only prints, one object
// an event, and on a terminal no sequence but our own.
func FuzzSinks(f *testing.F) {
	for _, s := range hostile() {
		f.Add(s, s)
	}
	kinds := []Kind{RunStarted, HostConnected, PhaseStarted, ResourceChanged, Waiting, WaitDone, Notice, Warning, Exec, PhaseDone, HostFailed, RunDone}
	f.Fuzz(func(t *testing.T, message, failure string) {
		var plain, lines, log, screen bytes.Buffer
		terminal := newTerminal(&screen, func() int { return 60 })
		all := Multi(NewPlain(&plain), NewJSON(&lines), NewDebugLog(&log), terminal)
		for i, kind := range kinds {
			e := Event{Time: at(float64(i) * 20), Kind: kind, Message: message, Duration: seconds(2), Attrs: map[string]string{"said": failure}}
			if kind != RunStarted && kind != RunDone {
				e.Host, e.Phase, e.Resource = "cp1", "host", "file:/x"
			}
			if kind == WaitDone || kind == PhaseDone || kind == HostFailed || kind == Warning || kind == RunDone {
				e.Err = fault.New(fault.ChangeFailed, "it failed: %w", errors.New(failure)).On("cp1")
			}
			all.Emit(e)
		}
		terminal.Close()
		for name, out := range map[string]string{"plain": plain.String(), "debug log": log.String(), "terminal": withoutOurs(screen.String())} {
			for line := range strings.Lines(out) {
				if !printable(strings.TrimSuffix(line, "\n")) {
					t.Errorf("%s: %q", name, line)
				}
			}
		}
		if n := strings.Count(plain.String(), "\n"); n > len(kinds) {
			t.Errorf("%d events make %d plain lines:\n%s", len(kinds), n, plain.String())
		}
		if n := strings.Count(log.String(), "\n"); n != len(kinds) {
			t.Errorf("%d events make %d lines in the log:\n%s", len(kinds), n, log.String())
		}
		checkJSON(t, lines.Bytes(), message)
	})
}

// withoutOurs takes away the sequences that the terminal's board is drawn with.
func withoutOurs(screen string) string {
	screen = strings.ReplaceAll(screen, "\r\x1b[J", "")
	for up := range 100 {
		screen = strings.ReplaceAll(screen, "\x1b["+string(rune('0'+up/10))+string(rune('0'+up%10))+"A", "")
		screen = strings.ReplaceAll(screen, "\x1b["+string(rune('0'+up%10))+"A", "")
	}
	return screen
}

// checkJSON checks that each line is one event with the message as it was said.
func checkJSON(t *testing.T, data []byte, message string) {
	t.Helper()
	events := 0
	for line := range bytes.Lines(data) {
		var got jsonEvent
		decoder := json.NewDecoder(bytes.NewReader(line))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&got); err != nil {
			t.Fatalf("%v: %q", err, line)
		}
		if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
			t.Fatalf("more than an event: %q", line)
		}
		// What is not UTF-8 has no form in JSON.
		if want := strings.ToValidUTF8(message, "\ufffd"); strings.ToValidUTF8(got.Message, "") != got.Message || (want == message && got.Message != message) {
			t.Errorf("the message %q is read as %q", message, got.Message)
		}
		events++
	}
	if events != 11 { // all but Exec
		t.Errorf("%d events", events)
	}
}
