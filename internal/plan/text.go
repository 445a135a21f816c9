package plan

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"kubewright/internal/check"
	"kubewright/internal/resource"
)

// Text writes a plan for people: what would change, why, and field by field. What is as
// wanted is not mentioned, and hosts with the same changes are shown together.
func (p Plan) Text(w io.Writer) error {
	t := &printer{}
	if p.NewPKI {
		t.line("A new cluster: its certificate authorities will be made.")
	}
	t.write(check.Text(p.worthSaying()))
	unreached := Reasons(p.Unreached)
	for _, name := range slices.Sorted(maps.Keys(unreached)) {
		t.line("not reached  %s: %s", name, unreached[name])
	}
	for _, name := range p.Orphans {
		t.line("not in the inventory  %s: a node of the cluster; it is left as it is", name)
	}
	t.hosts(p)
	t.actions(p.Actions)
	for _, o := range p.Objects {
		t.objects(o)
	}
	_, err := io.WriteString(w, t.String())
	return err
}

// Summary counts a plan in one line.
func (p Plan) Summary() string {
	switch {
	case p.Empty() && p.Absent != nil:
		return "Nothing to do on the hosts that were reached."
	case p.Empty():
		return "Nothing to do: everything is as wanted."
	}
	changes, hosts, objects, failed := 0, 0, 0, 0
	for _, h := range p.Hosts {
		if n := h.Count(); n > 0 {
			changes += n
			hosts++
		}
	}
	for _, o := range p.Objects {
		objects += len(o.Changes)
		if o.Failed != nil {
			failed++
		}
	}
	var parts []string
	if changes > 0 {
		parts = append(parts, counted(changes, "change")+" on "+counted(hosts, "host"))
	}
	if len(p.Actions) > 0 {
		parts = append(parts, counted(len(p.Actions), "change")+" of the members of etcd")
	}
	if objects > 0 {
		parts = append(parts, counted(objects, "API object"))
	}
	if failed > 0 {
		parts = append(parts, counted(failed, "addon")+" that could not be planned")
	}
	return strings.Join(parts, ", ") + "."
}

func counted(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return strconv.Itoa(n) + " " + what
}

// worthSaying leaves out, where nothing would be done, what preflight merely notes and what
// the user chose to ignore.
func (p Plan) worthSaying() []check.Result {
	if !p.Empty() {
		return p.Checks
	}
	return slices.DeleteFunc(slices.Clone(p.Checks), func(r check.Result) bool {
		return r.Ignored || r.Severity < check.Warn
	})
}

// printer collects lines.
type printer struct{ strings.Builder }

func (t *printer) line(format string, args ...any) { t.write(fmt.Sprintf(format, args...) + "\n") }

// write adds text in which nothing can move a terminal's cursor: some of it came from hosts.
func (t *printer) write(text string) {
	for _, r := range text {
		if r == '\n' || unicode.IsPrint(r) {
			t.WriteRune(r)
			continue
		}
		t.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
	}
}

// hosts shows the hosts that change, those of the same state with the same changes under one
// heading.
func (t *printer) hosts(p Plan) {
	type group struct{ state, text string }
	names := map[group][]string{}
	var order []group
	for _, h := range p.Hosts {
		g := group{text: changesText(h)}
		if g.text == "" {
			continue
		}
		if state, known := p.States[h.Name]; known {
			g.state = " (" + state.String() + ")"
		}
		if names[g] == nil {
			order = append(order, g)
		}
		names[g] = append(names[g], h.Name)
	}
	for _, g := range order {
		t.line("\n%s%s", strings.Join(names[g], ", "), g.state)
		t.WriteString(g.text)
	}
}

func changesText(h Host) string {
	t := &printer{}
	for _, it := range h.Changes() {
		t.line("  %s %-10s  %s%s%s", sign(it), it.Status, it.Change.ID, value(it.Change), restarts(it.Change))
		t.fields(shown(it))
	}
	return t.String()
}

func (t *printer) actions(actions []Action) {
	if len(actions) > 0 {
		t.line("\nmembers of etcd")
	}
	for _, a := range actions {
		t.line("  ~ %s  %s: %s", a.What, a.Host, a.Reason)
	}
}

func (t *printer) objects(o Objects) {
	if o.Failed != nil {
		t.line("\nnot planned  %s", o.Failed)
	}
	if len(o.Changes) == 0 {
		return
	}
	whose, note := "phase "+o.Phase, ""
	if o.Addon != "" {
		whose = "addon " + o.Addon
	}
	if o.Unknown != "" {
		note = " (" + o.Unknown + ")"
	}
	t.line("\nAPI objects of %s%s", whose, note)
	for _, c := range o.Changes {
		mark := "~"
		switch {
		case c.Create:
			mark = "+"
		case c.Delete:
			mark = "-"
		}
		t.line("  %s %s", mark, c.Name)
		t.fields(c.Fields)
	}
}

// shown are the fields worth a line. That an orphan is wanted no more is said by its status,
// and what something new consists of, by its name.
func shown(it Item) []resource.Field {
	if it.Status == Orphan || it.Change.Create {
		return nil
	}
	return it.Change.Fields
}

// value is the one thing to know of something new: the version of a binary, the target of a
// link. Digests are not worth knowing.
func value(c resource.Change) string {
	var values []string
	for _, f := range c.Fields {
		if f.Name != "type" && !strings.HasPrefix(f.New, "sha256:") {
			values = append(values, f.New)
		}
	}
	if !c.Create || c.Reason != "" || len(values) != 1 {
		return ""
	}
	return "  " + values[0]
}

// fields shows one line a field, or the lines of a text that differ.
func (t *printer) fields(fields []resource.Field) {
	for _, f := range fields {
		if !strings.Contains(f.Old+f.New, "\n") {
			t.line("      %s: %s -> %s", f.Name, cmp.Or(f.Old, "(none)"), cmp.Or(f.New, "(none)"))
			continue
		}
		t.line("      %s:", f.Name)
		for _, l := range lineDiff(splitLines(f.Old), splitLines(f.New)) {
			t.line("        %s", l)
		}
	}
}

func sign(it Item) string {
	switch {
	case it.Status == Orphan:
		return "-"
	case it.Change.Create:
		return "+"
	}
	return "~"
}

// restarts says what starts anew because of a change.
func restarts(c resource.Change) string {
	if c.Restarts == "" {
		return ""
	}
	return "  (starts " + c.Restarts + ")"
}
