package facts

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// ErrTruncated says that the report of a host does not end where a report ends:
// what is missing is unknown, so nothing may be decided on it.
var ErrTruncated = errors.New("the host's report is cut short")

// formatVersion is the first record's value; the script and the parser change
// it together.
const formatVersion = "1"

// keyKind says how often a key may occur.
type keyKind int

const (
	required keyKind = iota + 1 // exactly once
	optional                    // once, or an unknown record in its place
	perhaps                     // at most once, silently absent
	many                        // any number of times
	manyBy                      // any number of times, but once for each first word
	aspect                      // never a key, only the subject of an unknown record
)

// keys returns every key that a report may hold.
var keys = sync.OnceValue(func() map[string]keyKind {
	return map[string]keyKind{
		"time": required, "hostname": required, "kernel": required, "machine": required,
		"uid": required, "capeff": required, "cpus-allowed": required, "memory-kb": required,

		"machine-id": optional, "product-uuid": optional, "systemd": optional, "virt": optional,
		"cgroup": optional, "selinux": optional, "cpus-online": optional,

		"marker": perhaps, "ca": perhaps, "apiserver-image": perhaps,
		"kubelet-server": perhaps, "kubelet-ca": perhaps, "kubelet-ca-file": perhaps,

		"os": many, "controllers": many, "swap": many, "mnt": many, "module": many,
		"route4": many, "route6": many, "socket": many, "process": many,
		"nameserver": many, "exists": many, "manifest": many, "cni": many,
		"active": many, "filters": many,
		"addr": many, "local4": many, "local6": many,

		"path": manyBy, "statfs": manyBy, "link": manyBy, "command": manyBy, "resolv-file": manyBy,

		"loadable": aspect, "ip": aspect, "tcp6": aspect, "udp6": aspect,
	}
})

// report holds the records of a host, not yet interpreted.
type report struct {
	values  map[string][]string
	unknown map[string]string
}

// one returns the value of a key that occurs at most once; "" when it is absent.
func (r report) one(key string) string {
	if v := r.values[key]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// has says whether a many-valued key has the value.
func (r report) has(key, value string) bool { return slices.Contains(r.values[key], value) }

// Parse reads what the script printed. It fails on a report that is cut
// ([ErrTruncated]), on unknown, repeated, missing or unreadable records, and on
// anything after the end: such a host is not known, and nothing may be
// concluded about it.
func Parse(data []byte) (Facts, error) {
	r, err := readRecords(string(data))
	if err != nil {
		return Facts{}, fmt.Errorf("facts: %w", err)
	}
	f, err := interpret(r)
	if err != nil {
		return Facts{}, fmt.Errorf("facts: %w", err)
	}
	return f, nil
}

// readRecords checks the frame of a report and sorts its records by key.
func readRecords(text string) (report, error) {
	r := report{values: map[string][]string{}, unknown: map[string]string{}}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	last := len(lines) - 1
	if lines[last] != fmt.Sprintf("end %d ok", last) {
		return r, fmt.Errorf("%w: %d lines, the last is %s", ErrTruncated, len(lines), quote(lines[last]))
	}
	if lines[0] != "facts "+formatVersion {
		return r, fmt.Errorf("the report begins with %s, not with %q", quote(lines[0]), "facts "+formatVersion)
	}
	kinds, seen := keys(), map[string]bool{}
	for i, line := range lines[1:last] {
		if err := r.add(line, kinds, seen); err != nil {
			return r, fmt.Errorf("line %d: %w", i+2, err)
		}
	}
	return r, r.complete(kinds)
}

// add puts one record into the report.
func (r report) add(line string, kinds map[string]keyKind, seen map[string]bool) error {
	key, value, found := strings.Cut(line, " ")
	value = clean(value)
	if !found || value == "" {
		return fmt.Errorf("%s is no record", quote(line))
	}
	if key == "unknown" {
		return r.addUnknown(value, kinds)
	}
	id := key
	switch kinds[key] {
	case required, optional, perhaps:
	case many:
		id = ""
	case manyBy:
		word, _, _ := strings.Cut(value, " ")
		id += " " + word
	default:
		return fmt.Errorf("unknown key %s", quote(key))
	}
	if id != "" {
		if seen[id] {
			return fmt.Errorf("%s occurs twice", quote(id))
		}
		seen[id] = true
	}
	r.values[key] = append(r.values[key], value)
	return nil
}

// addUnknown notes what the script could not find out.
func (r report) addUnknown(value string, kinds map[string]keyKind) error {
	key, reason, _ := strings.Cut(value, " ")
	if _, twice := r.unknown[key]; twice {
		return fmt.Errorf("unknown %s occurs twice", quote(key))
	}
	switch kinds[key] {
	case optional, manyBy, aspect, many:
		r.unknown[key] = reason
		return nil
	default:
		return fmt.Errorf("the host cannot tell %s: %s", quote(key), reason)
	}
}

// complete checks that every record that must be there is there.
func (r report) complete(kinds map[string]keyKind) error {
	var missing []string
	for key, kind := range kinds {
		_, unknown := r.unknown[key]
		n := len(r.values[key])
		switch {
		case kind == required && n == 0, kind == optional && n == 0 && !unknown:
			missing = append(missing, key)
		case kind == optional && n > 0 && unknown:
			return fmt.Errorf("%q is both known and unknown", key)
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return fmt.Errorf("the report lacks %s", strings.Join(missing, ", "))
	}
	return nil
}

// clean replaces what could forge or garble a line on the operator's terminal.
func clean(value string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c >= 0x80 && c <= 0x9f || c == '\uFFFD' {
			return '?'
		}
		return c
	}, value)
}

// quote makes a piece of a report fit for an error message.
func quote(s string) string {
	const longest = 80
	if len(s) > longest {
		s = s[:longest] + "..."
	}
	return strconv.Quote(s)
}
