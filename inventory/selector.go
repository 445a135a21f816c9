package inventory

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

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

// ParseSelector reads the expression of --limit: terms separated by commas or colons, each the
// name of a host, a group or a role, or a glob of these (*, ?, [a-z]), or all. A host is picked
// that a term matches and no term with a leading ! does; with such terms only, every other host
// is. Letter case has no meaning. The error says which term is wrong.
func ParseSelector(expression string) (Selector, error) {
	terms, err := parseTerms(expression)
	if err != nil {
		return nil, err
	}
	onlyNot := !slices.ContainsFunc(terms, func(t term) bool { return !t.not })
	return func(h Host) bool {
		picked := onlyNot
		for _, t := range terms {
			if t.matches(h) {
				if t.not {
					return false
				}
				picked = true
			}
		}
		return picked
	}, nil
}

// Select returns the hosts that the expression picks, in their order. Beside the errors of
// ParseSelector it refuses a term that matches no host, which is more likely a mistake than a
// wish, and an expression that picks none.
func Select(hosts []Host, expression string) ([]Host, error) {
	pick, err := ParseSelector(expression)
	if err != nil {
		return nil, err
	}
	terms, err := parseTerms(expression)
	if err != nil {
		return nil, err
	}
	for _, t := range terms {
		if !slices.ContainsFunc(hosts, t.matches) {
			return nil, t.matchesNone(hosts)
		}
	}
	var picked []Host
	for _, h := range hosts {
		if pick(h) {
			picked = append(picked, h)
		}
	}
	if len(picked) == 0 {
		return nil, fmt.Errorf("the selector %q leaves no host", expression)
	}
	return picked, nil
}

// term is one part of a selector, in lower case.
type term struct {
	pattern string
	not     bool
}

func parseTerms(expression string) ([]term, error) {
	if strings.TrimSpace(expression) == "" {
		return nil, errors.New("the selector is empty: name hosts, groups or roles, such as worker1,worker2 or all:!control-plane")
	}
	var terms []term
	for part := range strings.FieldsFuncSeq(expression, func(r rune) bool { return r == ',' || r == ':' }) {
		pattern, not := strings.CutPrefix(strings.TrimSpace(part), "!")
		pattern = strings.ToLower(strings.TrimSpace(pattern))
		if pattern == "" {
			return nil, fmt.Errorf("the selector %q has an empty term", expression)
		}
		if _, err := path.Match(pattern, ""); err != nil || strings.ContainsAny(pattern, "!/\\ \t\n") {
			return nil, fmt.Errorf("the term %q of the selector %q is not the name or the glob of hosts, groups or roles", part, expression)
		}
		terms = append(terms, term{pattern: pattern, not: not})
	}
	if len(terms) == 0 {
		return nil, fmt.Errorf("the selector %q has no terms", expression)
	}
	return terms, nil
}

func (t term) matches(h Host) bool {
	return t.pattern == everyHost || slices.ContainsFunc(namesOf(h), func(name string) bool {
		// The pattern was tried when it was parsed.
		ok, err := path.Match(t.pattern, strings.ToLower(name))
		return ok && err == nil
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
	if near := strict.Nearest(t.pattern, known); near != "" {
		return fmt.Errorf("no host, group or role is called %q; did you mean %s?", t.pattern, near)
	}
	return fmt.Errorf("no host, group or role is called %q; there is %s", t.pattern, strings.Join(known, ", "))
}

// namesOf lists the words by which a host can be selected.
func namesOf(h Host) []string {
	return slices.Concat([]string{h.Name}, h.Groups, roleNames(h.Roles))
}
