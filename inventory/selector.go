package inventory

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"kubewright/spec/strict"
)

// Selector picks hosts.
type Selector func(Host) bool

// everyHost is the word for every host in a selector.
const everyHost = "all"

// Everyone picks every host.
func Everyone(Host) bool { return true }

// ControlPlanes picks the hosts with the role control-plane.
func ControlPlanes(h Host) bool { return h.Has(RoleControlPlane) }

// Workers picks the hosts with the role worker.
func Workers(h Host) bool { return h.Has(RoleWorker) }

// EtcdMembers picks the hosts with the role etcd.
func EtcdMembers(h Host) bool { return h.Has(RoleEtcd) }

// Nodes picks the hosts that have a kubelet: all but those that are members of etcd alone.
func Nodes(h Host) bool { return h.Has(RoleControlPlane) || h.Has(RoleWorker) }

// ParseSelector reads a pattern of hosts as Ansible has them. Its terms, which commas or colons
// separate, are each the name of a host, a group or a role, a glob of these (*, ?, [a-z]), a range
// (node[01:20]), a regular expression after ~, or all. A host is picked that one of the terms
// matches, all terms with a leading & do, and none with a leading ! does; without terms of the first
// kind, every host is to begin with. Letter case has no meaning. The error says which term is wrong,
// as one is that picks by position (workers[0]), for which Select knows the hosts.
func ParseSelector(expression string) (Selector, error) {
	terms, err := parseTerms(expression)
	if err != nil {
		return nil, err
	}
	for _, t := range terms {
		if t.at != nil {
			return nil, fmt.Errorf("the term %q picks by position, for which all hosts must be known", t.written)
		}
	}
	return func(h Host) bool {
		return combine(terms, func(t term) bool { return t.matches(h) })
	}, nil
}

// Select returns the hosts that the expression picks, in their order. To what ParseSelector reads it
// adds positions, of what a term picks in the order of the hosts: workers[0], workers[-1], and
// workers[0:2] with both ends. Beside the errors of ParseSelector it refuses a term that matches no
// host, which is more likely a mistake than a wish, and an expression that picks none.
func Select(hosts []Host, expression string) ([]Host, error) {
	terms, err := parseTerms(expression)
	if err != nil {
		return nil, err
	}
	picks := make([][]bool, len(terms))
	for i, t := range terms {
		if picks[i], err = t.pick(hosts); err != nil {
			return nil, err
		}
		terms[i].index = i
	}
	var picked []Host
	for n, h := range hosts {
		if combine(terms, func(t term) bool { return picks[t.index][n] }) {
			picked = append(picked, h)
		}
	}
	if len(picked) == 0 {
		return nil, fmt.Errorf("the selector %q leaves no host", expression)
	}
	return picked, nil
}

// combine decides on a host, given what each term says of it.
func combine(terms []term, says func(term) bool) bool {
	picked := !slices.ContainsFunc(terms, func(t term) bool { return t.sign == 0 })
	for _, t := range terms {
		picked = picked || t.sign == 0 && says(t)
	}
	for _, t := range terms {
		if t.sign == '&' && !says(t) || t.sign == '!' && says(t) {
			return false
		}
	}
	return picked
}

// term is one part of a selector, in lower case.
type term struct {
	written string
	sign    byte           // !, & or 0
	names   []string       // globs; more than one where a range was expanded
	regex   *regexp.Regexp // instead of names
	at      *position      // that is picked, where its pattern matches a host
	index   int            // in the selector
}

// position is a place, or a stretch of places, among the hosts that a pattern matches.
type position struct {
	pattern    string
	first, end int  // of a stretch, end included; -1 is the last
	one        bool // first alone, which counts from the end when negative
}

// positionAt matches pattern[0], pattern[-1], pattern[0:2] and pattern[1:].
var positionAt = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(.+)\[(?:(-?\d{1,6})|(\d{1,6}):(\d{0,6}))\]$`)
})

// mostNames bounds the range of one term.
const mostNames = 10_000

func parseTerms(expression string) ([]term, error) {
	if strings.TrimSpace(expression) == "" {
		return nil, errors.New("the selector is empty: name hosts, groups or roles, such as worker1,worker2 or all:!control-plane")
	}
	var terms []term
	for _, part := range splitTerms(expression) {
		t, err := parseTerm(part, expression)
		if err != nil {
			return nil, err
		}
		terms = append(terms, t)
	}
	if len(terms) == 0 {
		return nil, fmt.Errorf("the selector %q has no terms", expression)
	}
	return terms, nil
}

// splitTerms splits at commas and colons outside of brackets; none is empty but for blanks.
func splitTerms(expression string) []string {
	depth := 0
	return strings.FieldsFunc(expression, func(r rune) bool {
		switch r {
		case '[':
			depth++
		case ']':
			depth--
		case ',', ':':
			return depth <= 0
		}
		return false
	})
}

func parseTerm(part, expression string) (term, error) {
	t := term{written: strings.TrimSpace(part)}
	pattern := t.written
	if strings.HasPrefix(pattern, "!") || strings.HasPrefix(pattern, "&") {
		t.sign, pattern = pattern[0], strings.TrimSpace(pattern[1:])
	}
	if pattern == "" {
		return t, fmt.Errorf("the selector %q has an empty term", expression)
	}
	if text, ok := strings.CutPrefix(pattern, "~"); ok {
		regex, err := regexp.Compile("(?i)^(?:" + text + ")")
		if err != nil {
			return t, fmt.Errorf("the term %q of the selector %q is no regular expression: %w", part, expression, err)
		}
		t.regex = regex
		return t, nil
	}
	pattern = strings.ToLower(pattern)
	refuse := fmt.Errorf("the term %q of the selector %q is not the name or the glob of hosts, groups or roles", part, expression)
	if strings.ContainsAny(pattern, "!&/\\ \t\n") {
		return t, refuse
	}
	if m := positionAt().FindStringSubmatch(pattern); m != nil {
		t.at = positionOf(m)
	}
	names := []string{pattern}
	if role, ok := strings.CutSuffix(pattern, "s"); ok && slices.Contains(roleNames(Roles()), role) {
		names = append(names, role) // workers, as everybody says
	}
	if strings.Contains(pattern, ":") {
		var problem string
		if names, problem = ExpandRanges(pattern, mostNames); problem != "" && t.at == nil {
			return t, fmt.Errorf("the term %q of the selector %q: %s", part, expression, problem)
		}
	}
	for _, name := range names {
		if _, err := path.Match(name, ""); err != nil && t.at == nil {
			return t, refuse
		} else if err != nil { // [-1] is a position, and no class of characters
			names = nil
		}
	}
	t.names = names
	return t, nil
}

// positionOf reads what positionAt matches.
func positionOf(m []string) *position {
	p := &position{pattern: m[1], end: -1}
	text := m[2]
	if p.one = text != ""; !p.one {
		text = m[3]
	}
	// The expression matches nothing else than short numbers.
	p.first, _ = strconv.Atoi(text)
	if m[4] != "" {
		p.end, _ = strconv.Atoi(m[4])
	}
	return p
}

// pick says of each host whether the term picks it.
func (t term) pick(hosts []Host) ([]bool, error) {
	if t.at != nil {
		base, err := parseTerm(t.at.pattern, t.written)
		if err == nil && slices.ContainsFunc(hosts, base.matches) {
			return t.at.pick(hosts, base, t.written)
		}
	}
	picks := make([]bool, len(hosts))
	for i, h := range hosts {
		picks[i] = t.matches(h)
	}
	if !slices.Contains(picks, true) {
		return nil, t.matchesNone(hosts)
	}
	return picks, nil
}

func (p position) pick(hosts []Host, base term, written string) ([]bool, error) {
	var matched []int
	for i, h := range hosts {
		if base.matches(h) {
			matched = append(matched, i)
		}
	}
	first, end := p.first, p.end
	switch {
	case p.one && first < 0:
		first += len(matched)
		end = first
	case p.one:
		end = first
	case end < 0:
		end = len(matched) - 1
	}
	picks := make([]bool, len(hosts))
	for n, i := range matched {
		picks[i] = n >= first && n <= end
	}
	if !slices.Contains(picks, true) {
		return nil, fmt.Errorf("the term %q picks none of the %d hosts of %s, which are counted from 0", written, len(matched), p.pattern)
	}
	return picks, nil
}

func (t term) matches(h Host) bool {
	return slices.ContainsFunc(namesOf(h), func(name string) bool {
		name = strings.ToLower(name)
		if t.regex != nil {
			return t.regex.MatchString(name)
		}
		return slices.ContainsFunc(t.names, func(pattern string) bool {
			if pattern == everyHost || pattern == name {
				return true
			}
			// The pattern was tried when it was parsed.
			ok, err := path.Match(pattern, name)
			return ok && err == nil
		})
	})
}

// matchesNone is the error of a term that matches no host.
func (t term) matchesNone(hosts []Host) error {
	var known []string
	for _, h := range hosts {
		known = append(known, namesOf(h)...)
	}
	slices.Sort(known)
	known = slices.Compact(known)
	if len(t.names) > 0 {
		if near := strict.Nearest(t.names[0], known); near != "" {
			return fmt.Errorf("no host, group or role is called %q; did you mean %s?", t.names[0], near)
		}
	}
	return fmt.Errorf("no host, group or role is called %q; there is %s", strings.TrimLeft(t.written, "!&"), strings.Join(known, ", "))
}

// namesOf lists the words by which a host can be selected.
func namesOf(h Host) []string {
	return slices.Concat([]string{h.Name}, h.Groups, roleNames(h.Roles))
}
