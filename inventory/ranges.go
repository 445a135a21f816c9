package inventory

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ExpandRanges lists the names that a pattern of Ansible's such as node[01:20] or rack[a:c]-node[1:9:2]
// stands for, at most so many. problem says why it is none; it is "" for a good one.
func ExpandRanges(pattern string, most int) (names []string, problem string) {
	before, rest, ok := strings.Cut(pattern, "[")
	if !ok {
		if most < 1 {
			return nil, "there are too many hosts"
		}
		return []string{pattern}, ""
	}
	inner, after, ok := strings.Cut(rest, "]")
	if !ok {
		return nil, "the range that begins with [ is not closed; it is written as in node[01:20]"
	}
	middles, problem := expandRange(inner, most)
	if problem != "" {
		return nil, problem
	}
	tails, problem := ExpandRanges(after, most/len(middles))
	if problem != "" {
		return nil, problem
	}
	for _, middle := range middles {
		for _, tail := range tails {
			names = append(names, before+middle+tail)
		}
	}
	return names, ""
}

// expandRange lists first:last or first:last:step, both ends included, of numbers or of letters.
func expandRange(text string, most int) (items []string, problem string) {
	const howTo = "; a range is written as in node[01:20], node[1:9:2] or node[a:f]"
	parts := strings.Split(text, ":")
	if len(parts) < 2 || len(parts) > 3 {
		return nil, "a range has a first and a last value" + howTo
	}
	step := 1
	if len(parts) == 3 {
		n, err := strconv.Atoi(parts[2])
		if err != nil || n < 1 {
			return nil, "the step of a range is a whole number from 1" + howTo
		}
		step = n
	}
	first, last := parts[0], parts[1]
	if first == "" {
		first = "0"
	}
	format := strconv.Itoa
	from, err := strconv.Atoi(first)
	to, errTo := strconv.Atoi(last)
	switch {
	case err == nil && errTo == nil && from >= 0:
		if width := len(first); width > 1 && first[0] == '0' {
			if width != len(last) {
				return nil, "the first value of the range begins with 0, so both must have the same number of digits" + howTo
			}
			format = func(i int) string { return fmt.Sprintf("%0*d", width, i) }
		}
	case utf8.RuneCountInString(first) == 1 && utf8.RuneCountInString(last) == 1 && letterAt(first) >= 0 && letterAt(last) >= 0:
		from, to = letterAt(first), letterAt(last)
		format = func(i int) string { return letters[i : i+1] }
	default:
		return nil, "the ends of a range are two numbers or two letters" + howTo
	}
	if from > to {
		return nil, "the range ends before it begins" + howTo
	}
	if (to-from)/step >= most {
		return nil, "there are too many hosts"
	}
	for i := from; i <= to; i += step {
		items = append(items, format(i))
	}
	return items, ""
}

// letters in the order in which Ansible counts them.
const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

func letterAt(s string) int { return strings.Index(letters, s) }
