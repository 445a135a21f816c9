package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"kubewright/internal/check"
	"kubewright/internal/fault"
	"kubewright/internal/plan"
	"kubewright/internal/report"
	"kubewright/internal/resource"
)

func TestAsk(t *testing.T) {
	for _, tt := range []struct {
		typed string
		want  string // part of the error
	}{
		{"yes\n", ""},
		{"  yes \r\n", ""},
		{"yes", ""}, // and then the terminal is closed
		{"y\n", "not confirmed: nothing was changed"},
		{"YES\n", "not confirmed"},
		{"no\nyes\n", "not confirmed"},
		{"\n", "not confirmed"},
		{"", "no answer: nothing was changed"},
	} {
		var out strings.Builder
		err := prompt{in: strings.NewReader(tt.typed), out: &out}.ask(t.Context(), "Go on? ", "yes")
		if !strings.HasPrefix(out.String(), "Go on? ") {
			t.Errorf("%q: asked %q", tt.typed, out.String())
		}
		if tt.want == "" {
			if err != nil {
				t.Errorf("%q: %v", tt.typed, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) || fault.KindOf(err) != fault.Interrupted {
			t.Errorf("%q: %v, want %q", tt.typed, err, tt.want)
		}
	}
}

func TestAskIsEndedByASignal(t *testing.T) {
	in, typing, err := os.Pipe() // nobody types
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer typing.Close()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if err := (prompt{in: in, out: io.Discard}).ask(ctx, "? ", "yes"); !errors.Is(err, context.Canceled) || fault.KindOf(err) != fault.Interrupted {
		t.Errorf("error: %v", err)
	}
}

// smallPlan has one change, and warnings.
func smallPlan() *plan.Plan {
	return &plan.Plan{
		Cluster: "lab",
		Checks: []check.Result{
			{Check: "disk", Host: "cp1", Severity: check.Warn, Message: "nearly full", Remedy: "free some"},
			{Check: "disk", Host: "cp2", Severity: check.Warn, Message: "nearly full", Remedy: "free some"},
			{Check: "swap", Host: "cp1", Severity: check.Warn, Message: "is on", Ignored: true},
		},
		Hosts: []plan.Host{{Name: "cp1", Items: []plan.Item{{
			Status: plan.Drift, Change: resource.Change{ID: "sysctl:x", Fields: []resource.Field{{Name: "value", Old: "0", New: "1"}}},
		}}}},
	}
}

// atTerminal is a run with somebody who types, or who does not.
func atTerminal(typed string, interactive bool) (*run, *strings.Builder) {
	var screen strings.Builder
	return &run{
		prompt: prompt{in: strings.NewReader(typed), out: &screen, interactive: interactive},
		sink:   report.NewPlain(&screen), err: &screen, flags: &runFlags{},
	}, &screen
}

func TestConfirm(t *testing.T) {
	const question = "Apply this? Only yes is taken as yes: "
	for _, tt := range []struct {
		name        string
		typed       string
		interactive bool
		yes         bool
		stops       bool
		says, not   []string
	}{
		{"yes at a terminal", "yes\n", true, false, false, []string{"sysctl:x", "value: 0 -> 1", "1 change on 1 host.", question}, nil},
		{"no at a terminal", "no\n", true, false, true, []string{"sysctl:x", question}, nil},
		{"nothing at a terminal", "", true, false, true, []string{question}, nil},
		{"not asked", "no\n", true, true, false, []string{"1 change on 1 host.", "cp1, cp2: disk: nearly full; free some"}, []string{question, "sysctl:x", "swap"}},
		{"nobody there", "no\n", false, false, false, []string{"1 change on 1 host.", "warning: cp1, cp2"}, []string{question}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, screen := atTerminal(tt.typed, tt.interactive)
			if err := r.confirm(t.Context(), smallPlan(), tt.yes); (err != nil) != tt.stops {
				t.Errorf("error: %v", err)
			}
			for _, text := range tt.says {
				if !strings.Contains(screen.String(), text) {
					t.Errorf("does not say %q", text)
				}
			}
			for _, text := range tt.not {
				if strings.Contains(screen.String(), text) {
					t.Errorf("says %q", text)
				}
			}
			if t.Failed() {
				t.Log(screen)
			}
		})
	}
	r, screen := atTerminal("no\n", true)
	if err := r.confirm(t.Context(), &plan.Plan{}, false); err != nil || strings.Contains(screen.String(), question) {
		t.Errorf("an empty plan is asked about: %v\n%s", err, screen)
	}
}

// The question goes where the lines of the hosts were, which come back below it.
func TestConfirmTakesTheHostsOffTheScreen(t *testing.T) {
	r, screen := atTerminal("yes\n", true)
	r.terminal = report.NewTerminal(screen, func() int { return 80 })
	defer r.terminal.Close()
	r.terminal.Emit(report.Event{Time: time.Now(), Kind: report.PhaseStarted, Host: "cp1", Phase: "look"})
	if err := r.confirm(t.Context(), smallPlan(), false); err != nil {
		t.Fatal(err)
	}
	r.terminal.Close()
	above, rest, _ := strings.Cut(screen.String(), "warn ")
	plan, below, _ := strings.Cut(rest, "Apply this? Only yes is taken as yes: ")
	if !strings.Contains(above, "look") || !strings.HasSuffix(above, "\r\x1b[J") {
		t.Errorf("the line of the host was not taken off before the plan: %q", above)
	}
	if strings.Contains(plan, "\x1b") {
		t.Errorf("something is drawn into the plan: %q", plan)
	}
	if !strings.Contains(below, "look") {
		t.Errorf("the line of the host does not come back: %q", below)
	}
}

func TestConfirmReset(t *testing.T) {
	const question = "Type the name of the cluster (lab) to go on: "
	for _, tt := range []struct {
		name, typed string
		interactive bool
		yes         bool
		stops       bool
		asks        bool
	}{
		{"the name", "lab\n", true, false, false, true},
		{"the name, from a pipe", "lab\n", false, false, false, true},
		{"another name", "prod\n", true, false, true, true},
		{"yes is no name", "yes\n", true, false, true, true},
		{"nobody there", "", false, false, true, true},
		{"not asked", "", false, true, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, screen := atTerminal(tt.typed, tt.interactive)
			err := r.confirmReset(t.Context(), smallPlan(), tt.yes)
			if (err != nil) != tt.stops {
				t.Errorf("error: %v", err)
			}
			if strings.Contains(screen.String(), question) != tt.asks || !strings.Contains(screen.String(), "cp1") {
				t.Errorf("screen:\n%s", screen)
			}
		})
	}
	r, screen := atTerminal("", true)
	if err := r.confirmReset(t.Context(), &plan.Plan{Cluster: "lab"}, false); err != nil || screen.Len() > 0 {
		t.Errorf("there is nothing to remove: %v\n%s", err, screen)
	}
}
