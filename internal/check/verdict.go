package check

// Verdict is what one check says about all hosts together.
type Verdict struct {
	Check Check
	// Severity is the worst of Results, ignored ones left out; 0 when the check passes.
	Severity Severity
	// Results is what the check found, in the order of [Preflight].
	Results []Result
}

// String returns the verdict in a word: "ok", "info", "warn", "refuse", or "ignored" where only
// that the check is ignored lets it pass.
func (v Verdict) String() string {
	if v.Severity == 0 && len(v.Results) > 0 {
		return "ignored"
	}
	return v.Severity.String()
}

// Verdicts sorts the results of [Preflight] by check. Every check has a verdict, those that pass
// included, in the order of [Checks].
func Verdicts(results []Result) []Verdict {
	var verdicts []Verdict
	for _, c := range Checks() {
		v := Verdict{Check: c}
		for _, r := range results {
			if r.Check == c.Name {
				v.Results = append(v.Results, r)
			}
		}
		v.Severity = Worst(v.Results)
		verdicts = append(verdicts, v)
	}
	return verdicts
}

// Grouped makes one result of those that say the same about several hosts. Its Host names them
// all, separated by commas. The order is that of the first of each group.
func Grouped(results []Result) []Result {
	var groups []Result
	place := map[Result]int{}
	for _, r := range results {
		same := r
		same.Host = ""
		i, known := place[same]
		switch {
		case !known:
			place[same] = len(groups)
			groups = append(groups, r)
		case r.Host != "":
			groups[i].Host += ", " + r.Host
		}
	}
	return groups
}
