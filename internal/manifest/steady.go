package manifest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"kubewright/internal/objects"
)

// steady renders twice, with the functions that give something else each time made to do so for sure, and refuses
// what differs: every plan would show it as a change, and every apply would make it. Passwords and
// certificates are the usual case. Helm keeps what an earlier installation made, by lookup; without a cluster,
// there is nothing to be kept.
func (r rendering) steady(ctx context.Context) ([]objects.Located, error) {
	first, err := quietly(func() ([]objects.Located, error) { return r.run(ctx, functions(0)) })
	if err != nil {
		return nil, err
	}
	second, err := quietly(func() ([]objects.Located, error) { return r.run(ctx, functions(1)) })
	if err != nil {
		return nil, err
	}
	const remedy = "set the value of the chart that gives it, or one by which it comes from a Secret of yours"
	var bad []error
	for i, o := range first {
		if i >= len(second) || o.ID() != second[i].ID() || o.At != second[i].At {
			bad = append(bad, fmt.Errorf("%s: %s is another object each time the chart is rendered (random names, or the time): %s",
				o.At, o.ID(), remedy))
			break
		}
		for _, field := range differing(o.Object, second[i].Object) {
			bad = append(bad, fmt.Errorf("%s: %s: %s is something else each time the chart is rendered (randomly made, or the time): %s",
				o.At, o.ID(), field, remedy))
		}
	}
	if len(bad) == 0 && len(second) != len(first) {
		bad = append(bad, fmt.Errorf("%s: %s is there only sometimes: %s", second[len(first)].At, second[len(first)].ID(), remedy))
	}
	if err := errors.Join(bad...); err != nil {
		return nil, r.error(err)
	}
	return first, nil
}

// functions are in place of those of templates that give something else each time. As
// results that depend on them are refused, they only have to differ between runs. Those that make keys,
// certificates and hashes always do. The order in which keys and values give theirs is
// that of Go's maps otherwise.
func functions(run int) map[string]any {
	now := func() time.Time { return time.Now().Add(time.Duration(run) * (400*24*time.Hour + 3661*time.Second)) }
	all := random(run)
	maps.Copy(all, dates(now))
	return all
}

// dates are the functions that know what time it is, be it in place of a date that they are not given.
func dates(now func() time.Time) map[string]any {
	at := func(date any) time.Time {
		switch date := date.(type) {
		case time.Time:
			return date
		case *time.Time:
			return *date
		case int64:
			return time.Unix(date, 0)
		case int:
			return time.Unix(int64(date), 0)
		case int32:
			return time.Unix(int64(date), 0)
		}
		return now()
	}
	inZone := func(layout string, date any, zone string) string {
		location, err := time.LoadLocation(zone)
		if err != nil {
			location = time.UTC
		}
		return at(date).In(location).Format(layout)
	}
	const local, day = "Local", "2006-01-02"
	return map[string]any{
		"now":            now,
		"date":           func(layout string, date any) string { return inZone(layout, date, local) },
		"dateInZone":     inZone,
		"date_in_zone":   inZone,
		"htmlDate":       func(date any) string { return inZone(day, date, local) },
		"htmlDateInZone": func(date any, zone string) string { return inZone(day, date, zone) },
		"ago":            func(date any) string { return now().Sub(at(date)).Round(time.Second).String() },
		"durationRound":  func(length any) string { return rounded(length, now) },
	}
}

// rounded is a duration, or the time since a date, in its largest unit.
func rounded(length any, now func() time.Time) string {
	var d time.Duration
	switch length := length.(type) {
	case string:
		d, _ = time.ParseDuration(length) // as the function of that name: what is none is 0
	case int64:
		d = time.Duration(length)
	case time.Time:
		d = now().Sub(length)
	}
	const day = 24 * time.Hour
	for _, unit := range []struct {
		name   string
		length time.Duration
	}{{"y", 365 * day}, {"mo", 30 * day}, {"d", day}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}} {
		if n := d.Abs(); n > unit.length {
			return strconv.FormatInt(int64(n/unit.length), 10) + unit.name
		}
	}
	return "0s"
}

// random are the functions that draw lots, and those that give what they have in any order.
func random(run int) map[string]any {
	letters := func(n int) string { return strings.Repeat(string(rune('a'+run)), max(0, n)) }
	return map[string]any{
		"randAlpha":    letters,
		"randAlphaNum": letters,
		"randAscii":    letters,
		"randBytes":    func(n int) (string, error) { return letters(n), nil },
		"randNumeric":  func(n int) string { return strings.Repeat(strconv.Itoa(1+run), max(0, n)) },
		"randInt":      func(low, high int) int { return low + run*max(0, high-low-1) },
		"uuidv4":       func() string { return fmt.Sprintf("%08d-0000-4000-8000-000000000000", run) },
		"shuffle": func(text string) string {
			letters := []rune(text)
			if run > 0 {
				slices.Reverse(letters)
			}
			return string(letters)
		},
		"keys": func(tables ...map[string]any) []string {
			var all []string
			for _, table := range tables {
				all = append(all, slices.Sorted(maps.Keys(table))...)
			}
			return all
		},
		"values": func(table map[string]any) []any {
			var all []any
			for _, key := range slices.Sorted(maps.Keys(table)) {
				all = append(all, table[key])
			}
			return all
		},
	}
}

// differing are the fields in which two values differ, sorted.
func differing(a, b any) []string {
	switch a := a.(type) {
	case map[string]any:
		other, ok := b.(map[string]any)
		if !ok {
			return []string{""}
		}
		every := maps.Clone(a)
		maps.Copy(every, other)
		var all []string
		for _, key := range slices.Sorted(maps.Keys(every)) {
			for _, field := range differing(a[key], other[key]) {
				all = append(all, strings.TrimSuffix(key+"."+field, "."))
			}
		}
		return all
	case []any:
		other, ok := b.([]any)
		if !ok || len(a) != len(other) {
			return []string{""}
		}
		var all []string
		for i := range a {
			for _, field := range differing(a[i], other[i]) {
				all = append(all, strings.TrimSuffix(strconv.Itoa(i)+"."+field, "."))
			}
		}
		return all
	default:
		if reflect.DeepEqual(a, b) {
			return nil
		}
		return []string{""}
	}
}
