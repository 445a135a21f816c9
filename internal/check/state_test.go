package check

import (
	"testing"

	"kubewright/internal/facts"
)

func TestState(t *testing.T) {
	const ours = "lab 1234"
	applied := Traces{Applied: 3}
	foreign := facts.Foreign{KubeletConf: true, KubeletRunning: true}
	for _, tt := range []struct {
		name   string
		marker string
		traces Traces
		found  facts.Foreign
		change func(*World)
		want   State
	}{
		{name: "nothing", want: Clean},
		{name: "nothing but what is wanted", traces: Traces{Missing: 40}, want: Clean},
		{name: "an engine, which is no cluster", found: facts.Foreign{Containerd: true, Docker: true}, want: Clean},
		{name: "signs of a cluster", found: foreign, want: Foreign},

		{name: "marked and complete", marker: ours, traces: applied, found: foreign, want: Complete},
		{name: "something was begun", marker: ours, traces: Traces{Applied: 3, Begun: 1}, want: Unfinished},
		{name: "something is missing", marker: ours, traces: Traces{Applied: 3, Missing: 1}, want: Unfinished},
		{name: "the marker alone", marker: ours, want: Unfinished},
		{name: "the marker alone, beside signs of a cluster", marker: ours, found: foreign, want: Unfinished},
		{name: "cut before the marker", traces: Traces{Applied: 1, Missing: 39}, want: Unfinished},
		{name: "cut in the very first step", traces: Traces{Begun: 1, Missing: 40}, found: foreign, want: Unfinished},
		{name: "all but the marker", traces: applied, want: Unfinished},

		{name: "a marker that cannot be read", marker: "lab", traces: applied, want: Foreign},
		{name: "a marker with too much in it", marker: "lab 1234 x", traces: applied, want: Foreign},
		{name: "of another cluster", marker: "prod 1234", traces: applied, want: Foreign},
		{name: "of another cluster of the same name", marker: "lab 9", traces: applied, want: Foreign},
		{name: "an id while the cluster has none yet", marker: "lab 9", traces: applied, change: func(w *World) { w.ClusterID = "" }, want: Complete},
		{name: "another name while the cluster has no id yet", marker: "prod 9", traces: applied, change: func(w *World) { w.ClusterID = "" }, want: Foreign},

		{name: "our authority", marker: ours, traces: applied, found: facts.Foreign{CA: true, CAFingerprint: "sha256:ours", KubeletCA: "sha256:ours"}, want: Complete},
		{name: "another authority", marker: ours, traces: applied, found: facts.Foreign{CAFingerprint: "sha256:other"}, want: Foreign},
		{name: "another authority of the kubelet", marker: ours, traces: applied, found: facts.Foreign{KubeletCA: "sha256:other"}, want: Foreign},
		{name: "an authority that cannot be read", marker: ours, traces: applied, found: facts.Foreign{KubeletCA: facts.Unreadable}, want: Foreign},
		{name: "another authority on a host without marker", traces: applied, found: facts.Foreign{CAFingerprint: "sha256:other"}, want: Foreign},
		{name: "a draft of another authority", traces: Traces{Begun: 1, Missing: 9, Draft: true}, found: facts.Foreign{CAFingerprint: "sha256:other"}, want: Unfinished},
		{
			name: "an authority while the cluster has none yet", marker: ours, traces: applied,
			found: facts.Foreign{CAFingerprint: "sha256:other"}, change: func(w *World) { w.CAFingerprint = "" }, want: Complete,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := World{
				ClusterName: "lab", ClusterID: "1234", CAFingerprint: "sha256:ours",
				Facts: map[string]facts.Facts{"cp1": {OursMarker: tt.marker, Foreign: tt.found}}, Traces: map[string]Traces{"cp1": tt.traces},
			}
			if tt.change != nil {
				tt.change(&w)
			}
			if got := w.State("cp1"); got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
			if got, want := w.ours("cp1"), tt.want == Unfinished || tt.want == Complete; got != want {
				t.Errorf("ours: %v", got)
			}
		})
	}
}

func TestStateString(t *testing.T) {
	for state, want := range map[State]string{
		Clean: "clean", Unfinished: "unfinished", Complete: "complete", Foreign: "foreign", 0: "unknown",
	} {
		if got := state.String(); got != want {
			t.Errorf("%d is %q, want %q", state, got, want)
		}
	}
}

func authorityTable() map[string][]faulty {
	found := func(marker string, f facts.Foreign) func(World) World {
		return worker1(func(of *facts.Facts) { of.OursMarker, of.Foreign = marker, f })
	}
	return map[string][]faulty{
		"authority": {
			{"none", found("", facts.Foreign{}), nil},
			{"ours", found("lab 1234", facts.Foreign{CA: true, CAFingerprint: "sha256:ours", KubeletCA: "sha256:ours"}), nil},
			{"another on a host of ours", found("lab 1234", facts.Foreign{CA: true, CAFingerprint: "sha256:other"}), []string{"refuse worker1: /etc/kubernetes/pki/ca.crt holds another certificate authority (sha256:other) than the cluster (sha256:ours); restore the right file"}},
			{"another on a host of others", found("", facts.Foreign{KubeletConf: true, KubeletCA: "sha256:other"}), []string{"refuse worker1: /etc/kubernetes/kubelet.conf holds another"}},
			{"two others", found("", facts.Foreign{CAFingerprint: "sha256:a", KubeletCA: "sha256:b"}), []string{"refuse worker1: (sha256:a)", "refuse worker1: (sha256:b)"}},
			{"one that cannot be read", found("lab 1234", facts.Foreign{KubeletCA: facts.Unreadable}), []string{"refuse worker1: (unreadable)"}},
			{"a draft of ours", func(w World) World {
				w.Traces["worker1"] = Traces{Applied: 1, Draft: true}
				return found("", facts.Foreign{CA: true, CAFingerprint: "sha256:other"})(w)
			}, nil},
			{"one before the cluster has any", func(w World) World {
				w.CAFingerprint = ""
				return found("lab 1234", facts.Foreign{CA: true, CAFingerprint: "sha256:first"})(w)
			}, nil},
		},
	}
}

// TestForeignDoesNotIgnoreAuthority: who accepts what is on a host does not accept its authority.
func TestForeignDoesNotIgnoreAuthority(t *testing.T) {
	w := goodWorld().on("worker1", func(f *facts.Facts) {
		f.Foreign = facts.Foreign{CA: true, CAFingerprint: "sha256:other"}
	})
	w.Ignore = []string{"foreign"}
	results := must(t, w)
	if Worst(of("foreign", results)) != 0 || len(of("foreign", results)) == 0 {
		t.Errorf("foreign is not ignored:\n%s", Text(results))
	}
	if Worst(of("authority", results)) != Refuse {
		t.Errorf("the authority is accepted:\n%s", Text(results))
	}
}
