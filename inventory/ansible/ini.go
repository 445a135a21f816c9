package ansible

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"kubewright/inventory"
	"kubewright/spec/strict"
)

// The kinds of sections; a section without a kind holds hosts.
const (
	sectionHosts    = "hosts"
	sectionChildren = "children"
	sectionVars     = "vars"
	sectionSkipped  = "" // of one whose heading was refused
)

var (
	sectionHeading = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^\[([^:\]\s]+)(?::(\w+))?\]\s*(?:#.*)?$`)
	})
	childName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^([^:\]\s]+)\s*(?:#.*)?$`) })
)

// iniReader is the state of one INI file.
type iniReader struct {
	*world
	file     string
	group    *group
	section  string
	declared map[string]bool          // groups with a section of hosts or children
	pending  map[string]strict.Origin // groups that were named only, by where
	headings map[string]strict.Origin // of sections [group:vars]
}

// readINI reads an inventory in Ansible's INI form.
func (w *world) readINI(file string, data []byte) {
	text, ok := w.plainText(file, data)
	if !ok {
		return
	}
	r := &iniReader{
		world: w, file: file, group: w.group(groupUngrouped, strict.Origin{File: file}), section: sectionHosts,
		declared: map[string]bool{groupAll: true, groupUngrouped: true}, pending: map[string]strict.Origin{}, headings: map[string]strict.Origin{},
	}
	number := 0
	for line := range strings.SplitSeq(text, "\n") {
		number++
		trimmed := strings.TrimSpace(line)
		if trimmed == "" || trimmed[0] == '#' || trimmed[0] == ';' {
			continue
		}
		before, _, _ := strings.Cut(line, trimmed)
		indent := utf8.RuneCountInString(before)
		r.line(trimmed, strict.Origin{File: file, Line: number, Column: indent + 1})
	}
	r.undeclared()
}

// plainText checks that a file is a text of UTF-8 without characters that do not show.
func (w *world) plainText(file string, data []byte) (string, bool) {
	text := strings.ReplaceAll(strings.TrimPrefix(string(data), "\uFEFF"), "\r\n", "\n")
	number := 0
	for line := range strings.SplitSeq(text, "\n") {
		number++
		for i, r := range line {
			broken := r == utf8.RuneError
			if broken || r != '\t' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
				what := fmt.Sprintf("the invisible character U+%04X is not allowed; remove it", r)
				if broken {
					what = "this is not UTF-8; save the file as UTF-8"
				}
				w.refuse(strict.Origin{File: file, Line: number, Column: utf8.RuneCountInString(line[:i]) + 1}, what, "")
				return "", false
			}
		}
	}
	return text, true
}

// line reads a line that is neither empty nor a comment.
func (r *iniReader) line(line string, o strict.Origin) {
	if line[0] == '[' && (strings.HasSuffix(line, "]") || sectionHeading().MatchString(line)) && !rangeAtStart(line) {
		r.heading(line, o)
		return
	}
	switch r.section {
	case sectionHosts:
		r.hostLine(line, o)
	case sectionChildren:
		m := childName().FindStringSubmatch(line)
		if m == nil {
			r.refuse(o, "expected the name of a group, alone in its line", "")
			return
		}
		r.child(r.group, m[1])
		if _, ok := r.groups[m[1]]; !ok {
			r.world.group(m[1], o)
			r.pending[m[1]] = o
		}
	case sectionVars:
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			r.refuse(o, "expected variable=value in the section ["+r.group.name+":vars]", "")
			return
		}
		trimmed := strings.TrimSpace(value)
		o.Column += utf8.RuneCountInString(line[:len(line)-len(strings.TrimLeft(value, " \t"))])
		r.group.vars.set(variable{strings.TrimSpace(name), r.group.name, o.File, literal(trimmed, o)})
		if _, _, comment := strings.Cut(trimmed, " #"); comment && !strings.ContainsAny(trimmed[:1], `"'`) && !isLiteral(trimmed) {
			o.Name = strings.TrimSpace(name)
			r.warn(o, "in a section of vars Ansible takes what follows # as a part of the value; put the comment into a line of its own")
		}
	}
}

// rangeAtStart tells a host that begins with a range or an IPv6 address in brackets from a heading.
func rangeAtStart(line string) bool {
	inner, _, _ := strings.Cut(line[1:], "]")
	first, second, ok := strings.Cut(inner, ":")
	if !ok {
		return false
	}
	return strings.Contains(second, ":") || isRangeEnd(first) && isRangeEnd(second)
}

func isRangeEnd(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == "" || len(s) == 1 && unicode.IsLetter(rune(s[0]))
}

func (r *iniReader) heading(line string, o strict.Origin) {
	r.section = sectionSkipped
	m := sectionHeading().FindStringSubmatch(line)
	if m == nil {
		r.refuse(o, "this is no heading of a section, which is [group], [group:children] or [group:vars], without blanks", "")
		return
	}
	name, kind := m[1], m[2]
	if kind == "" {
		kind = sectionHosts
	}
	kinds := []string{sectionHosts, sectionChildren, sectionVars}
	if !slices.Contains(kinds, kind) {
		suggestion := strict.Nearest(kind, kinds)
		if suggestion != "" {
			suggestion = "[" + name + ":" + suggestion + "]"
		}
		r.refuse(o, "a section is [group], [group:children] or [group:vars], not of the kind "+kind, suggestion)
		return
	}
	_, known := r.groups[name]
	r.group, r.section = r.world.group(name, o), kind
	switch {
	case kind != sectionVars:
		r.declared[name] = true
		if _, ok := r.pending[name]; ok {
			r.group.origin = o
			r.group.origin.Name = name
		}
		delete(r.pending, name)
	case !known:
		r.headings[name] = o
	}
}

// undeclared refuses groups that no section declares, which are likely misspelt.
func (r *iniReader) undeclared() {
	var known []string
	for name := range r.groups {
		_, child := r.pending[name]
		_, vars := r.headings[name]
		if r.declared[name] || !child && !vars {
			known = append(known, name)
		}
	}
	slices.Sort(known)
	for name, o := range r.pending {
		r.refuse(o, fmt.Sprintf("there is no group %q; declare it as [%s], were it empty", name, name), strict.Nearest(name, known))
	}
	for name, o := range r.headings {
		if _, twice := r.pending[name]; !r.declared[name] && !twice {
			r.refuse(o, fmt.Sprintf("the section sets variables of the group %q, which is declared nowhere; declare it as [%s]", name, name), strict.Nearest(name, known))
		}
	}
}

// hostLine reads a host, or a range of them, with its variables.
func (r *iniReader) hostLine(line string, o strict.Origin) {
	words, err := splitWords(line)
	if err != nil || len(words) == 0 {
		r.refuse(o, "a quote that opens in this line is not closed", "")
		return
	}
	names, port, ok := r.expand(words[0].text, o)
	if !ok {
		return
	}
	set := variables{}
	if port != "" {
		set.set(variable{"ansible_port", words[0].text, o.File, literal(port, o)})
	}
	for _, word := range words[1:] {
		at := o
		at.Column += word.column
		name, value, ok := strings.Cut(word.text, "=")
		if !ok || name == "" {
			// It may be the second half of a password with a blank: it is not repeated.
			r.refuse(at, "expected variable=value after the name of a host; a value with blanks needs quotes, and a comment begins with #", "")
			return
		}
		begin := word.column + utf8.RuneCountInString(name) + 1
		at.Column = o.Column + begin
		if runes := []rune(line); begin < len(runes) && (runes[begin] == '"' || runes[begin] == '\'') {
			at.Column++
		}
		set.set(variable{name, words[0].text, o.File, literal(value, at)})
	}
	for _, name := range names {
		h := r.host(name, r.group, o)
		for _, v := range set {
			v.scope = name
			h.vars.set(v)
		}
	}
}

// expand reads the first word of a host's line: a name, with ranges and a port if it has them.
func (w *world) expand(pattern string, o strict.Origin) (names []string, port string, ok bool) {
	pattern, port = cutPort(pattern)
	names, problem := inventory.ExpandRanges(pattern, mostHosts-len(w.hosts))
	if problem != "" {
		w.refuse(o, problem, "")
		return nil, "", false
	}
	return names, port, true
}
