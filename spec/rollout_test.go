package spec

import (
	"strings"
	"testing"
)

func TestShareOf(t *testing.T) {
	tests := []struct {
		text      string
		all, want int
	}{
		{"25%", 1, 1}, {"25%", 3, 1}, {"25%", 4, 1}, {"25%", 7, 1}, {"25%", 8, 2}, {"25%", 11, 2}, {"25%", 100, 25},
		{"1%", 99, 1}, {"1%", 200, 2}, {"50%", 3, 1}, {"99%", 2, 1}, {"100%", 3, 3}, {"100%", 0, 1},
		{"1", 10, 1}, {"2", 10, 2}, {"20", 10, 20},
	}
	for _, tt := range tests {
		share, problem := ParseShare(tt.text)
		if problem != nil {
			t.Errorf("%q: %+v", tt.text, problem)
			continue
		}
		if got := share.Of(tt.all); got != tt.want {
			t.Errorf("%s of %d is %d, want %d", tt.text, tt.all, got, tt.want)
		}
	}
}

func TestParseRollout(t *testing.T) {
	const share, limit, none = "spec.rollout.workers.maxUnavailable: ", "spec.rollout.workers.drainTimeout: ", "neither a count"
	tests := []struct {
		yaml string
		want []string // what the one fault says; nil for a good file
	}{
		{`{maxUnavailable: 1%, drain: always, drainTimeout: 1s}`, nil},
		{`{maxUnavailable: "3", drain: never, drainTimeout: 1h30m}`, nil},
		{`{maxUnavailable: 100%}`, nil},
		{`{maxUnavailable: "", drain: "", drainTimeout: ""}`, nil}, // what is empty is not given
		{`null`, nil},
		{`{maxUnavailable: 2}`, []string{share, `the number 2; did you mean "2"?`}},
		{`{maxUnavailable: "0"}`, []string{share, `0 would let no host be changed`, `did you mean "1"?`}},
		{`{maxUnavailable: 0%}`, []string{share, "0% would let no host be changed: the least is 1%; did you mean 1%?"}},
		{`{maxUnavailable: "-1"}`, []string{share, "-1 would let no host"}},
		{`{maxUnavailable: -25%}`, []string{share, "-25% would let no host"}},
		{`{maxUnavailable: 101%}`, []string{share, "101% is more than all: the most is 100%; did you mean 100%?"}},
		{`{maxUnavailable: 25 %}`, []string{share, none, "did you mean 25%?"}},
		{`{maxUnavailable: "+2"}`, []string{share, none}},
		{`{maxUnavailable: 2.5%}`, []string{share, none}},
		{`{maxUnavailable: "%"}`, []string{share, none}},
		{`{maxUnavailable: a few}`, []string{share, none}},
		{`{maxUnavailable: "99999999999999999999"}`, []string{share, none}},
		{`{drain: sometimes}`, []string{"spec.rollout.workers.drain: unknown value", "auto, always, never"}},
		{`{drainTimeout: "90"}`, []string{limit, `"90" is no duration`, "did you mean 90s?"}},
		{`{drainTimeout: soon}`, []string{limit, `"soon" is no duration`}},
		{`{drainTimeout: 0s}`, []string{limit, "0s is no time to evict pods in", "drain: never"}},
		{`{drainTimeout: -5m}`, []string{limit, "-5m is no time"}},
		{`{drainTimeout: 10ms}`, []string{limit, "10ms is no time"}},
		{`{batch: 3}`, []string{"spec.rollout.workers.batch"}},
	}
	for _, tt := range tests {
		t.Run(tt.yaml, func(t *testing.T) {
			_, faults := Parse("cluster.yaml", []byte(smallest+"  rollout: {workers: "+tt.yaml+"}\n"))
			if len(faults) != min(len(tt.want), 1) {
				t.Fatalf("faults: %v, want %q", faults, tt.want)
			}
			for _, want := range tt.want {
				if !strings.Contains(faults[0].Error(), want) {
					t.Errorf("%s\ndoes not say %s", faults[0].Error(), want)
				}
			}
		})
	}
}
