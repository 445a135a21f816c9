package ssh

import (
	"errors"
	"maps"
	"slices"
	"strings"
)

// sshSettings is what the file says of one host. Of every keyword the first value counts; key and
// certificate files add up.
type sshSettings struct {
	items map[string]configItem // by the keyword in lower case
	keys  []configItem
	certs []configItem
}

func (s sshSettings) has(keyword string) bool { _, ok := s.items[keyword]; return ok }

// value is the first value of a keyword, "" without any.
func (s sshSettings) value(keyword string) string {
	if item, ok := s.items[keyword]; ok {
		return item.args[0]
	}
	return ""
}

// settings finds what the file says of a host, which is called alias by whoever connects; user is who
// logs in where the file does not say, and wins over it when decided.
func (f *ClientConfig) settings(alias, user string, decided bool) (sshSettings, error) {
	s := sshSettings{items: map[string]configItem{}}
	active := map[*configBlock]bool{nil: true}
	for _, item := range f.items {
		lower := strings.ToLower(item.keyword)
		switch {
		case item.begins:
			matches := active[item.block.above]
			if matches {
				who := user
				if name := s.value("user"); name != "" && !decided {
					who = name
				}
				var err error
				if matches, err = f.matches(item, alias, s, who); err != nil {
					return s, err
				}
			}
			active[item.block] = matches
		case !active[item.block]:
		case lower == "identityfile":
			s.keys = append(s.keys, item)
		case lower == "certificatefile":
			s.certs = append(s.certs, item)
		case lower == "proxycommand" && s.has("proxyjump"), lower == "proxyjump" && s.has("proxycommand"), s.has(lower):
		default:
			s.items[lower] = item
		}
	}
	return s, f.refuse(s, alias)
}

// refuse looks for settings that kubewright cannot follow, where they apply to the host: without
// them it would reach another machine, or none, or trust a key that should not be.
func (f *ClientConfig) refuse(s sshSettings, alias string) error {
	var errs []error
	for _, keyword := range slices.Sorted(maps.Keys(s.items)) {
		why := refusedKeyword(keyword)
		if item := s.items[keyword]; why != "" && !strings.EqualFold(item.args[0], "none") && !strings.EqualFold(item.args[0], "no") {
			errs = append(errs, item.fault("is not supported, and holds for %q: %s", alias, why))
		}
	}
	return errors.Join(errs...)
}

// matches reports whether the line that begins a block does so for a host.
func (f *ClientConfig) matches(item configItem, alias string, s sshSettings, user string) (bool, error) {
	if !item.block.match {
		return matchList(item.args, alias), nil
	}
	target := alias
	if name := s.value("hostname"); name != "" {
		target = strings.NewReplacer("%%", "%", "%h", alias).Replace(name)
	}
	args := item.args
	for len(args) > 0 {
		written := args[0]
		criterion, negated := strings.CutPrefix(strings.ToLower(written), "!")
		args = args[1:]
		switch criterion {
		case "all":
			if negated || len(item.args) > 1 {
				return false, item.fault("all stands alone")
			}
			return true, nil
		case "canonical": // only after CanonicalizeHostname, which is refused
			if !negated {
				return false, nil
			}
			continue
		case "host", "originalhost", "user", "localuser":
		default:
			return false, item.fault("%s cannot be decided here (for %q); of its criteria all, host, originalhost, user and localuser are understood", written, alias)
		}
		if len(args) == 0 {
			return false, item.fault("%s has no pattern", written)
		}
		subject := map[string]string{"host": target, "originalhost": alias, "user": user, "localuser": f.env.User}[criterion]
		if matchList(strings.Split(args[0], ","), subject) == negated {
			return false, nil
		}
		args = args[1:]
	}
	return true, nil
}

// matchList reports whether one of the patterns matches and none that is negated does.
func matchList(patterns []string, name string) bool {
	matched := false
	for _, pattern := range patterns {
		rest, negated := strings.CutPrefix(pattern, "!")
		if matchPattern(rest, name) {
			if negated {
				return false
			}
			matched = true
		}
	}
	return matched
}

// yes reads a setting that is yes or no.
func (s sshSettings) yes(keyword string) (bool, error) {
	switch value := strings.ToLower(s.value(keyword)); value {
	case "", "no", "false":
		return false, nil
	case "yes", "true":
		return true, nil
	default:
		return false, s.items[keyword].fault("%q is neither yes nor no", value)
	}
}
