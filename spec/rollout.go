package spec

import (
	"strconv"
	"strings"
	"time"
)

const (
	// whole is all of something, in percent.
	whole = 100
	// shortestDrain is the least that a drain may take: it is told to the API server in seconds.
	shortestDrain = time.Second
)

// rollout checks how workers are changed.
func (v *validator) rollout() {
	workers := v.spec.Rollout.Workers
	if _, problem := ParseShare(workers.MaxUnavailable); problem != nil {
		v.Suggest(at("rollout", "workers", "maxUnavailable"), problem.Suggestion, "%s", problem.Message)
	}
	if why, suggestion := checkDrainTimeout(workers.DrainTimeout); why != "" {
		v.Suggest(at("rollout", "workers", "drainTimeout"), suggestion, "%s", why)
	}
}

// Share is a number of things, or a percentage of all of them; one of the two is positive.
type Share struct{ Count, Percent int }

// ShareProblem says why a text is no share.
type ShareProblem struct {
	Message string
	// Suggestion is the share that was likely meant, or "".
	Suggestion string
}

// ParseShare reads a count such as 2, or a percentage such as 25%. The problem is nil for a good one.
func ParseShare(text string) (Share, *ShareProblem) {
	digits, percent := strings.CutSuffix(text, "%")
	n, err := strconv.Atoi(digits)
	if err != nil || strings.HasPrefix(digits, "+") {
		problem := &ShareProblem{Message: strconv.Quote(text) + ` is neither a count such as "2" nor a percentage such as 25%`}
		if bare := strings.Join(strings.Fields(text), ""); bare != text {
			if _, worse := ParseShare(bare); worse == nil {
				problem.Suggestion = bare
			}
		}
		return Share{}, problem
	}
	unit := ""
	if percent {
		unit = "%"
	}
	switch {
	case n < 1:
		return Share{}, &ShareProblem{Message: text + " would let no host be changed: the least is 1" + unit, Suggestion: quoted("1", unit)}
	case percent && n > whole:
		return Share{}, &ShareProblem{Message: text + " is more than all: the most is 100%", Suggestion: "100%"}
	case percent:
		return Share{Percent: n}, nil
	}
	return Share{Count: n}, nil
}

// quoted writes a number as YAML has to have it to be text.
func quoted(number, unit string) string {
	if unit == "" {
		return strconv.Quote(number)
	}
	return number + unit
}

// Of is how many of all things the share is: a percentage is rounded down, but never to 0.
func (s Share) Of(all int) int {
	if s.Count > 0 {
		return s.Count
	}
	return max(all*s.Percent/whole, 1)
}

// checkDrainTimeout says why a text is no time limit of a drain, and what was likely meant; both are
// empty for a good one.
func checkDrainTimeout(text string) (why, suggestion string) {
	limit, err := time.ParseDuration(text)
	switch {
	case err != nil:
		if n, err := strconv.Atoi(text); err == nil && n > 0 {
			suggestion = text + "s"
		}
		return strconv.Quote(text) + " is no duration, which is a number and a unit, such as 90s, 5m or 1h", suggestion
	case limit < shortestDrain:
		return text + " is no time to evict pods in: the least is 1s; drain: never evicts none", ""
	}
	return "", ""
}
