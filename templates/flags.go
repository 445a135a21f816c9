package templates

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// option is one command-line flag of a component, without the leading dashes.
type option struct{ name, value string }

// flagSet is what a component is started with: our defaults, changed by what the user asks for.
type flagSet struct {
	component string
	defaults  []option
	extra     map[string]string
	// reserved flags are derived from the rest of the cluster (addresses, ports, certificates on
	// other hosts). Changing one alone breaks the cluster, so they say where to change it instead.
	reserved map[string]string
}

// args merges the flags into "--name=value", sorted by name: the same input always gives the same
// command line, and thereby the same digest.
func (s flagSet) args() ([]string, error) {
	merged := make(map[string]string, len(s.defaults)+len(s.extra))
	for _, f := range s.defaults {
		merged[f.name] = f.value
	}
	var bad []error
	for _, name := range slices.Sorted(maps.Keys(s.extra)) {
		if err := s.check(name); err != nil {
			bad = append(bad, err)
		}
		merged[name] = s.extra[name]
	}
	if len(bad) > 0 {
		return nil, errors.Join(bad...)
	}
	args := make([]string, 0, len(merged))
	for _, name := range slices.Sorted(maps.Keys(merged)) {
		args = append(args, "--"+name+"="+merged[name])
	}
	return args, nil
}

func (s flagSet) check(name string) error {
	if instead, ok := s.reserved[name]; ok {
		return fmt.Errorf("%s: extra argument %q is set by kubewright: %s", s.component, name, instead)
	}
	if strings.HasPrefix(name, "-") {
		return fmt.Errorf("%s: extra argument %q: write %q, without dashes",
			s.component, name, strings.TrimLeft(name, "-"))
	}
	if !regexp.MustCompile(`^[a-z][a-z0-9]*([.-][a-z0-9]+)*$`).MatchString(name) {
		return fmt.Errorf("%s: extra argument %q is not the name of a flag", s.component, name)
	}
	return nil
}

// value is what the flag will be: the user's, or else ours.
func (s flagSet) value(name string) string {
	if v, ok := s.extra[name]; ok {
		return v
	}
	for _, f := range s.defaults {
		if f.name == name {
			return f.value
		}
	}
	return ""
}
