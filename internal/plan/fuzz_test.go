package plan

import (
	"slices"
	"strings"
	"testing"
	"unicode"

	"kubewright/internal/resource"
)

// The lines that go are of the old text and the lines that come of the new one, in their order;
// and what the old text keeps is what the new text had already.
func FuzzLineDiff(f *testing.F) {
	for _, seed := range [][2]string{{"", ""}, {"a\nb\n", "a\nb"}, {"a\nb\nc\n", "a\nx\nc\n"}, {"a\nb\nc\nd", "a\nx\nc\ny"}, {"a\nb", "b\na"}, {"\n\n", "\n"}, {"- a\n+ b", "+ b\n  ..."}, {"", "x"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, before, after string) {
		old, want := splitLines(before), splitLines(after)
		diff := lineDiff(old, want)
		var gone, come []string
		for i, line := range diff {
			switch text := line[2:]; line[:2] {
			case "- ":
				gone = append(gone, text)
			case "+ ":
				come = append(come, text)
			default:
				if line != "  ..." || i == 0 || i == len(diff)-1 || diff[i-1] == line {
					t.Fatalf("%q in %q", line, diff)
				}
			}
		}
		pairs := commonLines(old, want)
		var keptOld, keptWant []string
		for i, p := range pairs {
			if i > 0 && (p[0] <= pairs[i-1][0] || p[1] <= pairs[i-1][1]) {
				t.Fatalf("the lines that stay are out of order: %v", pairs)
			}
			keptOld, keptWant = append(keptOld, old[p[0]]), append(keptWant, want[p[1]])
		}
		if !slices.Equal(keptOld, keptWant) {
			t.Fatalf("%q stays as %q", keptOld, keptWant)
		}
		if rest := without(old, pairs, 0); !slices.Equal(rest, gone) {
			t.Errorf("%q goes, want %q", gone, rest)
		}
		if rest := without(want, pairs, 1); !slices.Equal(rest, come) {
			t.Errorf("%q comes, want %q", come, rest)
		}
		if len(diff) == 0 && !slices.Equal(old, want) {
			t.Errorf("%q and %q differ, and nothing is said", old, want)
		}
		if len(old)*len(want) <= diffLimit && len(commonLines(want, old)) != len(pairs) {
			t.Errorf("seen from the other side %d lines stay, not %d", len(commonLines(want, old)), len(pairs))
		}
	})
}

// without are the lines that are in no pair; side says which of a pair is theirs.
func without(lines []string, pairs [][2]int, side int) []string {
	var rest []string
	for i, line := range lines {
		if !slices.ContainsFunc(pairs, func(p [2]int) bool { return p[side] == i }) {
			rest = append(rest, line)
		}
	}
	return rest
}

// Whatever is on a host, a plan that shows it moves no cursor and looks like no other part of
// the plan: it stays below the resource that it is about.
func FuzzText(f *testing.F) {
	for _, seed := range [][2]string{{"a", "b"}, {"a\nb", "a\nc"}, {"\x1b[2J", "\r\n"}, {"\u202e\u009b", "\xff\x00"}, {"x\n  + new  file:/etc/passwd", "y"}, {"", ""}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, old, want string) {
		change := resource.Change{ID: "file:/x", Fields: []resource.Field{{Name: "content", Old: old, New: want}}}
		var b strings.Builder
		p := Plan{Hosts: []Host{{Name: "h", Items: []Item{{Phase: "p", Status: Drift, Change: change}}}}, Unreached: map[string]error{}}
		if err := p.Text(&b); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
		if len(lines) < 4 || lines[1] != "h" || !strings.HasPrefix(lines[2], "  ~ ") {
			t.Fatalf("the plan is %q", lines)
		}
		for i, line := range lines {
			if strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%q holds what does not print", line)
			}
			if i > 2 && !strings.HasPrefix(line, "      ") {
				t.Errorf("%q looks like another part of the plan", line)
			}
		}
	})
}
