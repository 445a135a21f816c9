package sh_test

import (
	"bytes"
	"errors"
	"flag"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"kubewright/internal/sh"
	"kubewright/internal/sh/shtest"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

func golden(t *testing.T, name string, got []byte) []byte {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update && got != nil {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (run the test with -update)", err)
	}
	return want
}

// parseAnswers reads the whole output of a script.
func parseAnswers(marker string, l *sh.Look, out string) (*sh.Answers, error) {
	w := sh.NewWatcher(marker, l, nil)
	_, _ = w.Write([]byte(out)) // never fails
	return w.Answers()
}

// words are what a careless quoting gets wrong.
func words() []string {
	return []string{
		"", " ", "a", "a b", "'", "''", `"`, `\`, `\\`, `\'`, "$HOME", "$(id)", "`id`", "a\nb", "\n", "\t", "*", "?", "[a]", "~", "~root",
		"-n", "-rf", "--", "!", "!!", "#x", "a#b", ";id", "&", "|", "<", ">", "(", ")", "{a,b}", "a=b", "=", "%s", "%d%n", `\n`, `\c`, "é", "日本語", "\u2028",
		"\x01\x7f", "\xff\xfe", "KW_EOF", "a'b'c", "'$(id)'", "$'x'", "\r\n", strings.Repeat("'", 50),
	}
}

// Whatever the bytes are, a quoted word is one word with these bytes, in every shell.
func TestQuote(t *testing.T) {
	inShells(t, func(t *testing.T, shell shtest.Shell) {
		r := shtest.New(t, shell)
		random := rand.New(rand.NewPCG(1, 2))
		all := words()
		for range 500 {
			b := make([]byte, random.IntN(12))
			for i := range b {
				b[i] = []byte(" '\"\\$`!*?[]{}()<>|&;#~=%-\n\t\rab\x01\x80\xff")[random.IntN(31)]
			}
			all = append(all, string(b))
		}
		var script strings.Builder
		for _, w := range all {
			script.WriteString("printf '%s\\0' " + sh.Quote(w) + "\n")
		}
		code, out, stderr := run(t, r, []byte(script.String()))
		if code != 0 || stderr != "" {
			t.Fatalf("status %d: %s", code, stderr)
		}
		if diff := cmp.Diff(strings.Join(all, "\x00")+"\x00", out); diff != "" {
			t.Errorf("(-written +read):\n%s", diff)
		}
	})
}

func FuzzQuote(f *testing.F) {
	for _, w := range words() {
		f.Add(w)
	}
	f.Fuzz(func(t *testing.T, word string) {
		if strings.Contains(word, "\x00") {
			t.Skip("a NUL byte cannot be part of a word")
		}
		// Without a shell: the quoting is undone by the rules of POSIX for single quotes.
		if got := unquote(t, sh.Quote(word)); got != word {
			t.Errorf("Quote(%q) reads back as %q", word, got)
		}
	})
}

// unquote reads one word: plain characters, '...' and \'.
func unquote(t *testing.T, s string) string {
	t.Helper()
	var b strings.Builder
	for s != "" {
		switch {
		case s[0] == '\'':
			inside, rest, ok := strings.Cut(s[1:], "'")
			if !ok {
				t.Fatalf("%q has an open quote", s)
			}
			b.WriteString(inside)
			s = rest
		case strings.HasPrefix(s, `\'`):
			b.WriteByte('\'')
			s = s[2:]
		default:
			if strings.ContainsAny(s[:1], " \t\n\"\\$`!*?[]{}()<>|&;#~") {
				t.Fatalf("%q has a special character outside of quotes", s)
			}
			b.WriteByte(s[0])
			s = s[1:]
		}
	}
	return b.String()
}

// answer is the output of a look that asks everything once, and its questions.
func answer(t testing.TB) ([]byte, []sh.Probe) {
	t.Helper()
	out, err := os.ReadFile("testdata/look.txt")
	if err != nil {
		t.Fatal(err)
	}
	return out, recordedQuestions()
}

func recordedQuestions() []sh.Probe {
	return []sh.Probe{
		sh.FactsProbe{Script: "echo one 1; echo two 2"}, file("/etc/hostname"), file("/etc/absent"), sh.FileProbe{Path: "/etc/l"}, sh.FileProbe{Path: "/opt"},
		sh.FileProbe{Path: "/etc/dangling", Follow: true}, sh.FileProbe{Path: "/etc/other", Want: strings.Repeat("0", 64)},
		sh.FileProbe{Path: "/usr/local/bin/raw", Stamped: true}, sh.UnitProbe{Name: "a.service"}, sh.UnitProbe{Name: "b.service"},
		sh.SysctlProbe{Key: "net.ipv4.ip_forward"}, sh.SysctlProbe{Key: "net.none"}, sh.ModuleProbe{Name: "overlay"}, sh.ModuleProbe{Name: "none"}, sh.SwapProbe{},
	}
}

// record makes testdata/look.txt with -update, by a real shell.
func record(t *testing.T) {
	t.Helper()
	if !*update {
		return
	}
	r := shtest.New(t, shtest.Dash)
	for p, content := range map[string]string{
		"/etc/hostname": "host\n", "/etc/other": "other", "/usr/local/bin/raw": "RAW", "/proc/sys/net/ipv4/ip_forward": "1\n",
		"/proc/swaps": "Filename Type\n/dev/sda2 partition\n", "/etc/systemd/system/a.service": "[Service]\n", sh.UnitsDir + "/a.service": strings.Repeat("d", 64) + "\n",
		sh.ManifestPath: "file:/etc/hostname\tabc\nunit:a.service\t-\nfile:/gone\tx\nfile:/gone\t\n",
		sh.StampsPath:   "1 2 3 /usr/local/bin/raw " + strings.Repeat("e", 64) + " " + strings.Repeat("f", 64) + "\n",
	} {
		r.Write(p, content)
	}
	for p, target := range map[string]string{"/etc/l": "/dev/null", "/etc/dangling": "no where"} {
		if err := os.Symlink(target, r.Path(p)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(r.Path("/sys/module/overlay"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, out, _ := run(t, r, sh.RenderProbes(marker, sh.NewLook(recordedQuestions())))
	golden(t, "look.txt", []byte(out))
}

// An answer that is cut at any byte is incomplete, or says all that the whole one says.
func TestParseAnswersCut(t *testing.T) {
	record(t)
	out, probes := answer(t)
	whole, err := parseAnswers(marker, sh.NewLook(probes), string(out))
	if err != nil {
		t.Fatal(err)
	}
	if len(whole.Files) != 7 || len(whole.Units) != 2 || len(whole.Swaps) != 1 || len(whole.Manifest) != 2 || string(whole.Facts) != "one 1\ntwo 2\n" {
		t.Fatalf("the recorded answer reads as %+v", whole)
	}
	for i := range out {
		got, err := parseAnswers(marker, sh.NewLook(probes), string(out[:i]))
		if err == nil && !cmp.Equal(whole, got, cmpopts.IgnoreUnexported(sh.FileState{})) {
			t.Fatalf("cut after %d bytes (%q) it reads as something else", i, tail(out[:i]))
		}
		if err != nil && !errors.Is(err, sh.ErrIncomplete) {
			t.Fatalf("cut after %d bytes: %v, want ErrIncomplete", i, err)
		}
	}
}

func tail(b []byte) []byte { return b[max(0, len(b)-40):] }

// No line of an answer may be missing: silence is not absence.
func TestParseAnswersLineMissing(t *testing.T) {
	out, probes := answer(t)
	lines := bytes.SplitAfter(out, []byte("\n"))
	for i, line := range lines {
		without := bytes.Join(append(append([][]byte{}, lines[:i]...), lines[i+1:]...), nil)
		_, err := parseAnswers(marker, sh.NewLook(probes), string(without))
		// A record and a swap area are one of many, and a list of facts has an end of its own.
		optional := !bytes.HasPrefix(line, []byte(marker)) || bytes.Contains(line, []byte(" manifest ")) || bytes.Contains(line, []byte(" fact ")) ||
			bytes.Contains(line, []byte(" swap ")) || bytes.Contains(line, []byte(" stamp ")) || bytes.Contains(line, []byte(" started ")) ||
			bytes.Contains(line, []byte("NeedDaemonReload")) || bytes.Contains(line, []byte("UnitFileState")) || bytes.HasSuffix(line, []byte(" unit \n")) ||
			bytes.Contains(line, []byte(" body /etc/other ")) // was only to be shown
		if err == nil && !optional {
			t.Errorf("an answer without %q is taken for whole", line)
		}
		if err != nil && !errors.Is(err, sh.ErrIncomplete) {
			t.Errorf("without %q: %v, want ErrIncomplete", line, err)
		}
	}
}

// What others print changes nothing, whether it looks like ours or not.
func TestParseAnswersNoise(t *testing.T) {
	out, probes := answer(t)
	want, err := parseAnswers(marker, sh.NewLook(probes), string(out))
	if err != nil {
		t.Fatal(err)
	}
	noise := "Welcome to host!\nend\nkw00000000000000 absent /etc/hostname\nabsent /etc/hostname\n\x1b[2J\x00\xff\n\n  " + marker + " end\n"
	var noisy bytes.Buffer
	for line := range bytes.Lines(out) {
		noisy.WriteString(noise)
		noisy.Write(line)
	}
	noisy.WriteString(noise)
	got, err := parseAnswers(marker, sh.NewLook(probes), noisy.String())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(sh.FileState{})); diff != "" {
		t.Error(diff)
	}
}

func TestParseAnswersRefuses(t *testing.T) {
	m := marker + " "
	sum := strings.Repeat("a", 64)
	stat := m + "stat 81a4 0 0 1 2 3 /f\n"
	tests := map[string]struct {
		out    string
		probes []sh.Probe
	}{
		"nothing":                   {"", nil},
		"no manifest":               {m + "end\n", nil},
		"an unknown line":           {m + "nomanifest\n" + m + "hello x\n" + m + "end\n", nil},
		"another marker":            {"kwother nomanifest\nkwother end\n", nil},
		"a stat line of six words":  {m + "nomanifest\n" + m + "stat 81a4 0 0 1 2 3\n" + m + "end\n", nil},
		"a mode that is no number":  {m + "nomanifest\n" + m + "stat xyz 0 0 1 2 3 /f\n" + m + "end\n", nil},
		"an owner that is none":     {m + "nomanifest\n" + m + "stat 81a4 root 0 1 2 3 /f\n" + m + "end\n", nil},
		"a digest that is too long": {m + "nomanifest\n" + stat + m + "sum " + sum + "a /f\n" + m + "end\n", nil},
		"a digest of nothing":       {m + "nomanifest\n" + m + "sum " + sum + " /f\n" + m + "end\n", nil},
		"a link of nothing":         {m + "nomanifest\n" + m + "link /f target\n" + m + "end\n", nil},
		"content that is not":       {m + "nomanifest\n" + stat + m + "sum " + sum + " /f\n" + m + "body /f !!!\n" + m + "end\n", nil},
		"content of another digest": {m + "nomanifest\n" + stat + m + "sum " + sum + " /f\n" + m + "body /f YQ==\n" + m + "end\n", nil},
		"a file without digest":     {m + "nomanifest\n" + stat + m + "end\n", []sh.Probe{sh.FileProbe{Path: "/f"}}},
		"a file without content":    {m + "nomanifest\n" + stat + m + "sum " + sum + " /f\n" + m + "end\n", []sh.Probe{file("/f")}},
		"no facts":                  {m + "nomanifest\n" + m + "end\n", []sh.Probe{sh.FactsProbe{Script: "x"}}},
		"no word of a unit":         {m + "nomanifest\n" + m + "end\n", []sh.Probe{sh.UnitProbe{Name: "a"}}},
		"a unit without load state": {m + "nomanifest\n" + m + "unit Id=a\n" + m + "end\n", []sh.Probe{sh.UnitProbe{Name: "a"}}},
		"no word of a module":       {m + "nomanifest\n" + m + "end\n", []sh.Probe{sh.ModuleProbe{Name: "a"}}},
		"no word of a parameter":    {m + "nomanifest\n" + m + "end\n", []sh.Probe{sh.SysctlProbe{Key: "a.b"}}},
		"no word of swap":           {m + "nomanifest\n" + m + "end\n", []sh.Probe{sh.SwapProbe{}}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if a, err := parseAnswers(marker, sh.NewLook(tc.probes), tc.out); !errors.Is(err, sh.ErrIncomplete) {
				t.Errorf("%+v, %v; want ErrIncomplete", a, err)
			}
		})
	}
}

func FuzzParseAnswers(f *testing.F) {
	out, probes := answer(f)
	f.Add(out)
	for line := range bytes.Lines(out) {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := parseAnswers(marker, sh.NewLook(probes), string(data))
		switch {
		case err != nil && !errors.Is(err, sh.ErrIncomplete):
			t.Errorf("%v, want ErrIncomplete", err)
		case err == nil && len(a.Files) < 7:
			t.Errorf("an answer without an error says nothing of some files: %+v", a.Files)
		}
	})
}

// Asking for what was not probed is reported, not guessed.
func TestAnswersOfNothing(t *testing.T) {
	a := &sh.Answers{}
	if _, err := a.File("/x"); !errors.Is(err, sh.ErrIncomplete) {
		t.Errorf("File: %v, want ErrIncomplete", err)
	}
	if _, err := a.Unit("x"); !errors.Is(err, sh.ErrIncomplete) {
		t.Errorf("Unit: %v, want ErrIncomplete", err)
	}
	if !sh.Pending("-") || sh.Pending("") || sh.Pending(strings.Repeat("a", 64)) {
		t.Error("only the mark of a begun change is pending")
	}
}

func TestCovers(t *testing.T) {
	f := func(p sh.FileProbe) []sh.Probe { p.Path = "/f"; return []sh.Probe{p} }
	tests := map[string]struct {
		have, want []sh.Probe
		covers     bool
	}{
		"nothing":                     {nil, nil, true},
		"more than asked":             {[]sh.Probe{sh.SwapProbe{}, sh.UnitProbe{Name: "u"}}, nil, true},
		"the same":                    {f(sh.FileProbe{}), f(sh.FileProbe{}), true},
		"another file":                {f(sh.FileProbe{}), []sh.Probe{sh.FileProbe{Path: "/g"}}, false},
		"content not asked for":       {f(sh.FileProbe{}), f(sh.FileProbe{Content: true}), false},
		"content asked for elsewhere": {append(f(sh.FileProbe{}), f(sh.FileProbe{Content: true})...), f(sh.FileProbe{Content: true}), true},
		"link not followed":           {f(sh.FileProbe{}), f(sh.FileProbe{Follow: true}), false},
		"another digest wanted":       {f(sh.FileProbe{Want: "a"}), f(sh.FileProbe{Want: "b"}), true},
		"unit":                        {[]sh.Probe{sh.UnitProbe{Name: "a"}}, []sh.Probe{sh.UnitProbe{Name: "b"}}, false},
		"parameter":                   {[]sh.Probe{sh.SysctlProbe{Key: "a"}}, []sh.Probe{sh.SysctlProbe{Key: "b"}}, false},
		"module":                      {nil, []sh.Probe{sh.ModuleProbe{Name: "b"}}, false},
		"swap":                        {nil, []sh.Probe{sh.SwapProbe{}}, false},
		"facts once are enough":       {nil, []sh.Probe{sh.FactsProbe{Script: "x"}}, true},
	}
	for name, tc := range tests {
		if got := sh.NewLook(tc.have).Covers(tc.want); got != tc.covers {
			t.Errorf("%s: %v, want %v", name, got, tc.covers)
		}
	}
}

// Progress is reported as it comes, however the stream is cut into writes.
func TestWatcher(t *testing.T) {
	const stream = "noise\n" + marker + " start 0\n" + marker + " done 0\nnoise " + marker + " start 9\n" + marker + " start 1\n" + marker + " fail 1\n" +
		marker + " start x\n" + marker + " manifest a\tb\n" + marker + " start 2"
	want := []sh.Progress{{Index: 0, State: "start"}, {Index: 0, State: "done"}, {Index: 1, State: "start"}, {Index: 1, State: "fail"}}
	for size := 1; size <= len(stream); size++ {
		var got []sh.Progress
		w := sh.NewWatcher(marker, sh.NewLook(nil), func(p sh.Progress) { got = append(got, p) })
		for rest := []byte(stream); len(rest) > 0; {
			n := min(size, len(rest))
			if written, err := w.Write(rest[:n]); written != n || err != nil {
				t.Fatalf("Write = %d, %v", written, err)
			}
			rest = rest[n:]
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("in writes of %d bytes:\n%s", size, diff)
		}
	}
}

// The scripts as they are sent, to be read by people: a change of them is a diff.
func TestGoldenScripts(t *testing.T) {
	tasks := []sh.Task{{ID: "file:/etc/app.conf", Steps: []sh.Step{
		sh.KeepOriginal{Path: "/etc/app.conf"}, sh.Intend{ID: "file:/etc/app.conf"}, sh.ForgetStart{Name: "app.service"},
		sh.WriteFile{Path: "/etc/app.conf", Mode: 0o600, Owner: "root:root", Content: []byte("it's\n")},
		sh.Record{ID: "file:/etc/app.conf", Digest: "abc"},
	}}, {ID: "unit:app.service", Steps: []sh.Step{sh.DaemonReload{}, sh.StartUnit{Name: "app.service", Digest: "def"}}}}
	probes := []sh.Probe{
		sh.FileProbe{Path: "/etc/app.conf", Want: "abc"}, sh.FileProbe{Path: "/etc/pki/ca.key", Content: true, Secret: true}, sh.UnitProbe{Name: "app.service"},
		sh.SysctlProbe{Key: "net.ipv4.ip_forward"}, sh.ModuleProbe{Name: "br_netfilter"}, sh.SwapProbe{},
	}
	for name, script := range map[string][]byte{
		"act.sh": sh.RenderTasks(marker, tasks, sh.NewLook(probes)), "lock.sh": sh.RenderLock(marker, sh.LockRequest{Holder: "alice@laptop, apply\nsince 12:00"}),
	} {
		if diff := cmp.Diff(string(golden(t, name, script)), string(script)); diff != "" {
			t.Errorf("testdata/%s (-want +got; -update when this is meant):\n%s", name, diff)
		}
	}
	// Asked twice, in another order, the script is the same: a diff of two runs means something.
	reversed := []sh.Probe{}
	for i := len(probes) - 1; i >= 0; i-- {
		reversed = append(reversed, probes[i], probes[i])
	}
	if diff := cmp.Diff(string(sh.RenderProbes(marker, sh.NewLook(probes))), string(sh.RenderProbes(marker, sh.NewLook(reversed)))); diff != "" {
		t.Errorf("the order of the questions changes the script:\n%s", diff)
	}
}

// Special bits and types keep their meaning on the way from stat(2).
func TestModes(t *testing.T) {
	for hex, want := range map[string]fs.FileMode{
		"81a4": 0o644, "41ed": fs.ModeDir | 0o755, "a1ff": fs.ModeSymlink | 0o777, "43ff": fs.ModeDir | fs.ModeSticky | 0o777,
		"8de4": fs.ModeSetuid | fs.ModeSetgid | 0o744, "21b6": fs.ModeIrregular | 0o666, "c1ed": fs.ModeIrregular | 0o755,
	} {
		out := marker + " nomanifest\n" + marker + " stat " + hex + " 0 0 1 2 3 /f\n" + marker + " end\n"
		a, err := parseAnswers(marker, sh.NewLook(nil), out)
		if err != nil {
			t.Fatal(err)
		}
		if got := a.Files["/f"].Mode; got != want {
			t.Errorf("%s is %v, want %v", hex, got, want)
		}
	}
}
