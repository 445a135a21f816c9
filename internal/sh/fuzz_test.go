package sh_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"kubewright/internal/sh"
)

// harmless is what hostile text is compared with. It needs quotes too, so that both are quoted.
const harmless = "kw harmless"

// Whatever a name, a path, a URL or a value is, the script that acts differs from that of a
// harmless one in quoted words alone: no byte of it is read as shell.
func FuzzRenderTasks(f *testing.F) {
	for _, w := range words() {
		f.Add(w)
	}
	f.Fuzz(func(t *testing.T, hostile string) {
		if strings.Contains(hostile, "\x00") {
			t.Skip("a NUL byte cannot be part of a script")
		}
		compareScripts(t, hostile, func(s string) []byte {
			return sh.RenderTasks(marker, tasksNaming(s), sh.NewLook(probesNaming(s)))
		})
	})
}

// tasksNaming are all steps that carry text which the program did not choose itself.
func tasksNaming(s string) []sh.Task {
	p := "/opt/" + s
	sum := strings.Repeat("a", 64)
	return []sh.Task{{ID: s, Phase: s, Steps: []sh.Step{
		sh.WriteFile{Path: p, Mode: 0o600, Owner: s, Content: []byte("x")}, sh.MakeDir{Path: p, Mode: 0o700, Owner: s},
		sh.Symlink{Path: p, Target: s}, sh.SetAttributes{Path: p, Mode: 0o600, Owner: s}, sh.Remove{Path: p}, sh.ListForeign{Path: p},
		sh.RemoveDir{Path: p}, sh.RemoveDir{Path: p, Tree: true}, sh.KeepOriginal{Path: p}, sh.RestoreOriginal{Path: p},
		sh.Fetch{URL: s, SHA256: sum}, sh.TakeUpload{Path: p, SHA256: sum},
		sh.Install{Path: p, Mode: 0o755, Archive: sum}, sh.Install{Path: p, Mode: 0o755, Archive: sum, Member: "m" + s},
		sh.StartUnit{Name: s, Digest: s}, sh.ForgetStart{Name: s}, sh.EnableUnit{Name: s}, sh.StopUnit{Name: s},
		sh.SetSysctl{Key: s, Value: s}, sh.LoadModule{Name: s}, sh.Intend{ID: s}, sh.Record{ID: s, Digest: s}, sh.Forget{ID: s},
		sh.Unmount{Below: p}, sh.DeleteLinks{Prefixes: []string{s}}, sh.DeleteAddress{IP: s},
	}}}
}

// probesNaming are the questions about such text, one of a kind: their order is that of the names.
func probesNaming(s string) []sh.Probe {
	return []sh.Probe{
		sh.FileProbe{Path: "/opt/" + s, Want: s, Content: true, Secret: true, Stamped: true, Follow: true},
		sh.UnitProbe{Name: s}, sh.SysctlProbe{Key: s}, sh.ModuleProbe{Name: s}, sh.ReachProbe{URL: s},
	}
}

// Who holds a lock is one quoted line, whatever the operator's name and machine are called.
func FuzzRenderLock(f *testing.F) {
	for _, w := range words() {
		f.Add(w, true, false)
		f.Add(w, false, true)
	}
	f.Fuzz(func(t *testing.T, holder string, force, again bool) {
		if strings.Contains(holder, "\x00") {
			t.Skip("a NUL byte cannot be part of a script")
		}
		compareScripts(t, holder, func(s string) []byte {
			return sh.RenderLock(marker, sh.LockRequest{Holder: s, Force: force, Again: again})
		})
		line := strings.Join(strings.Fields(holder), " ")
		script := sh.RenderLock(marker, sh.LockRequest{Holder: holder, Force: force, Again: again})
		if !bytes.Contains(script, []byte("printf '%s\\n%s\\n' "+sh.Quote(line)+" $$")) {
			t.Errorf("%q is not noted as the one line %q", holder, line)
		}
	})
}

// compareScripts renders a script with hostile and with harmless text, and compares them token
// by token.
func compareScripts(t *testing.T, hostile string, render func(string) []byte) {
	t.Helper()
	got, want := tokens(string(render(hostile))), tokens(string(render(harmless)))
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] && (!got[i].word || !want[i].word) {
			t.Fatalf("%q is read as shell: %q where a harmless name has %q, after %v", hostile, got[i].text, want[i].text, got[max(0, i-20):i])
		}
		// Folders and kernel parameters change form; where the text stands whole, it is as it was.
		if strings.HasSuffix(want[i].text, " "+harmless) || want[i].text == harmless {
			whole := strings.TrimSuffix(want[i].text, harmless) + hostile
			if got[i].text != whole && got[i].text != strings.Join(strings.Fields(whole), " ") {
				t.Fatalf("%q has become %q", hostile, got[i].text)
			}
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%q makes a script of %d tokens, a harmless name one of %d", hostile, len(got), len(want))
	}
}

// token is a word of what Quote writes, decoded, or one byte of anything else.
type token struct {
	text string
	word bool
}

// tokens reads a script as a shell does, as far as quoting goes: what counts is where quotes
// begin and end, and that is told by the quotes, the expansions that nest in them and comments.
func tokens(script string) []token {
	var all []token
	var nested []byte // '"' within double quotes, '(' within a substitution
	var word strings.Builder
	inWord := false
	flush := func() {
		if inWord {
			all = append(all, token{word.String(), true})
			word.Reset()
			inWord = false
		}
	}
	for i := 0; i < len(script); i++ {
		c := script[i]
		quoted := len(nested) > 0 && nested[len(nested)-1] == '"'
		switch rest := script[i:]; {
		case quoted && c == '\\' && len(rest) > 1:
			all = append(all, token{rest[:2], false})
			i++
			continue
		case strings.HasPrefix(rest, "$("):
			nested = append(nested, '(')
		case c == '"' && quoted, c == ')' && len(nested) > 0 && !quoted:
			nested = nested[:len(nested)-1]
		case c == '"':
			nested = append(nested, '"')
		case quoted:
		case c == '\'':
			end := strings.IndexByte(rest[1:], '\'')
			if end < 0 {
				end = len(rest) - 1
			}
			word.WriteString(rest[1:min(len(rest), 1+end)])
			inWord = true
			i += end + 1
			continue
		case strings.HasPrefix(rest, `\'`):
			word.WriteByte('\'')
			inWord = true
			i++
			continue
		case c == '#' && !inWord && i > 0 && strings.IndexByte(" \n", script[i-1]) >= 0:
			line, _, _ := strings.Cut(rest, "\n")
			i += len(line) - 1
			continue
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-_./:@%+,", c) >= 0:
			word.WriteByte(c)
			inWord = true
			continue
		}
		flush()
		all = append(all, token{string(c), false})
	}
	flush()
	return all
}

// The tokens of a script are what a shell makes of it: without this, the comparison of two
// scripts would mean little.
func TestTokens(t *testing.T) {
	word := func(s string) token { return token{s, true} }
	code := func(s string) token { return token{s, false} }
	for script, want := range map[string][]token{
		`rm 'a b'`:                 {word("rm"), code(" "), word("a b")},
		`'it'\''s'.tmp;`:           {word("it's.tmp"), code(";")},
		`"'"x`:                     {code(`"`), code(`'`), code(`"`), word("x")},
		`"\""'$'`:                  {code(`"`), code(`\"`), code(`"`), word("$")},
		`"$(a 'b"c')"'d e'`:        {code(`"`), code(`$`), code(`(`), word("a"), code(" "), word(`b"c`), code(`)`), code(`"`), word("d e")},
		"a # it's\nb":              {word("a"), code(" "), code("\n"), word("b")},
		`$#'x'`:                    {code("$"), code("#"), word("x")},
		"case $x in a*) 'b' ;; *)": {word("case"), code(" "), code("$"), word("x"), code(" "), word("in"), code(" "), word("a"), code("*"), code(")"), code(" "), word("b"), code(" "), code(";"), code(";"), code(" "), code("*"), code(")")},
	} {
		if diff := cmp.Diff(want, tokens(script), cmp.AllowUnexported(token{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", script, diff)
		}
	}
}

// An answer of the lock script is one thing or the other, names its holder on one line, and
// stays what it was when more lines come after it.
func FuzzLockAnswer(f *testing.F) {
	for _, seed := range []string{
		"", "noise\n", marker + " locked\n", marker + " held bob since 12:00\n", marker + " held \n" + marker + " locked\n", "kwother locked\n",
		"x" + marker + " held x\n", marker + " held a\r\n", marker + " held\n" + marker + " held a\x1b[2Jb\n", marker + " locked",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, out []byte) {
		locked, holder := sh.LockAnswer(marker, out)
		switch {
		case locked && holder != "":
			t.Errorf("the lock is ours and %q has it", holder)
		case strings.Contains(holder, "\n"):
			t.Errorf("the holder %q is more than one line", holder)
		case holder != "" && !bytes.Contains(out, []byte(marker+" held "+holder)):
			t.Errorf("nobody said that the holder is %q", holder)
		case locked && !bytes.Contains(out, []byte(marker+" locked")):
			t.Error("nobody said that the lock is ours")
		}
		for i, b := range out {
			if b != '\n' {
				continue
			}
			first, by := sh.LockAnswer(marker, out[:i+1])
			if answered := first || by != ""; answered && (first != locked || by != holder) {
				t.Fatalf("after %d bytes the answer is %v %q, after all %v %q", i+1, first, by, locked, holder)
			}
		}
	})
}

// Progress and answers do not depend on how the stream is cut into writes.
func FuzzWatcher(f *testing.F) {
	f.Add([]byte(marker+" start 0\nnoise\n"+marker+" done 0\n"+marker+" fail 1\n"+marker+" start"), []byte{1, 7, 30})
	f.Add([]byte("x"+marker+" start 0\n"+marker+" start -1\n"+marker+" start 99999999999999999999\n"+marker+" start 1 2\n"), []byte{0})
	f.Add([]byte("\n\n\r\n"+marker+" done 3\r\n"), []byte{})
	f.Add([]byte(marker+" absent /a\n"+marker+" manifest a\tb\n"+marker+" fact x y\n"+marker+" swaps\n"+marker+" end"), []byte{3, 1})
	f.Fuzz(func(t *testing.T, stream, cuts []byte) {
		type outcome struct {
			Progress []sh.Progress
			Answers  *sh.Answers
			Err      string
		}
		watch := func(sizes []byte) (got outcome) {
			w := sh.NewWatcher(marker, sh.NewLook(nil), func(p sh.Progress) { got.Progress = append(got.Progress, p) })
			rest := stream
			for _, size := range sizes {
				n := min(int(size), len(rest))
				if written, err := w.Write(rest[:n]); written != n || err != nil {
					t.Fatalf("Write = %d, %v", written, err)
				}
				rest = rest[n:]
			}
			if written, err := w.Write(rest); written != len(rest) || err != nil {
				t.Fatalf("Write = %d, %v", written, err)
			}
			var err error
			if got.Answers, err = w.Answers(); err != nil {
				got.Err = err.Error()
			}
			return got
		}
		all := watch(nil)
		whole := all.Progress
		for _, sizes := range [][]byte{cuts, bytes.Repeat([]byte{1}, len(stream))} {
			if diff := cmp.Diff(all, watch(sizes), cmpopts.IgnoreUnexported(sh.FileState{})); diff != "" {
				t.Fatalf("in writes of %v bytes (-in one +so):\n%s", sizes, diff)
			}
		}
		if n := bytes.Count(stream, []byte("\n")); len(whole) > n {
			t.Errorf("%d lines report %d times", n, len(whole))
		}
	})
}
