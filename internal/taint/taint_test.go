package taint

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kubewright/inventory"
)

const (
	cordoned     = "node.kubernetes.io/unschedulable:NoSchedule"
	notReady     = "node.kubernetes.io/not-ready:NoExecute"
	controlPlane = "node-role.kubernetes.io/control-plane:NoSchedule"
)

// taints reads a list separated by spaces.
func taints(t *testing.T, list string) []inventory.Taint {
	t.Helper()
	var out []inventory.Taint
	for _, text := range strings.Fields(list) {
		var one inventory.Taint
		if err := one.UnmarshalText([]byte(text)); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		out = append(out, one)
	}
	return out
}

func TestMerge(t *testing.T) {
	tests := []struct {
		name                string
		live, owned, wanted string
		want                string
	}{
		{name: "none"},
		{name: "nothing to do", live: "a=1:NoSchedule", owned: "a=1:NoSchedule", wanted: "a=1:NoSchedule", want: "a=1:NoSchedule"},
		{name: "add to none", wanted: "b:NoSchedule a=1:NoExecute", want: "b:NoSchedule a=1:NoExecute"},
		{name: "add to others", live: notReady, wanted: "a:NoSchedule", want: notReady + " a:NoSchedule"},
		{name: "the same key with another effect is another taint", live: "a=1:NoSchedule", owned: "a=1:NoSchedule",
			wanted: "a=1:NoSchedule a=1:NoExecute", want: "a=1:NoSchedule a=1:NoExecute"},
		{name: "change the value", live: cordoned + " a=1:NoSchedule z:NoSchedule", owned: "a=1:NoSchedule",
			wanted: "a=2:NoSchedule", want: cordoned + " a=2:NoSchedule z:NoSchedule"},
		{name: "change the effect", live: "a=1:NoSchedule", owned: "a=1:NoSchedule", wanted: "a=1:NoExecute", want: "a=1:NoExecute"},
		{name: "drop the value", live: "a=1:NoSchedule", owned: "a=1:NoSchedule", wanted: "a:NoSchedule", want: "a:NoSchedule"},
		{name: "remove one of two", live: "a=1:NoSchedule b:NoExecute", owned: "a=1:NoSchedule b:NoExecute",
			wanted: "b:NoExecute", want: "b:NoExecute"},
		{name: "remove the last", live: "a=1:NoSchedule", owned: "a=1:NoSchedule"},
		{name: "removed by hand, wanted", owned: "a=1:NoSchedule", wanted: "a=1:NoSchedule", want: "a=1:NoSchedule"},
		{name: "removed by hand, wanted no more", live: "z:NoSchedule", owned: "a=1:NoSchedule", want: "z:NoSchedule"},
		{name: "changed by hand, wanted", live: "a=9:NoSchedule", owned: "a=1:NoSchedule", wanted: "a=1:NoSchedule", want: "a=1:NoSchedule"},
		{name: "changed by hand, wanted no more: not ours any longer", live: "a=9:NoSchedule", owned: "a=1:NoSchedule", want: "a=9:NoSchedule"},
		{name: "foreign taints are kept", live: "z=1:NoSchedule a:NoSchedule " + notReady, owned: "a:NoSchedule", want: "z=1:NoSchedule " + notReady},
		{name: "cordoned", live: "a=1:NoSchedule " + cordoned, owned: "a=1:NoSchedule", wanted: "a=1:NoSchedule", want: "a=1:NoSchedule " + cordoned},
		{name: "cordoned, the rest removed", live: "a=1:NoSchedule " + cordoned, owned: "a=1:NoSchedule", want: cordoned},
		{name: "registered by the kubelet with our taints, no record", live: notReady + " a=1:NoSchedule " + controlPlane,
			wanted: "a=1:NoSchedule " + controlPlane, want: notReady + " a=1:NoSchedule " + controlPlane},
		{name: "no record, wanted no more: nobody knows whose it is", live: "a=1:NoSchedule", want: "a=1:NoSchedule"},
		{name: "set by another, wanted", live: "a=9:NoSchedule", wanted: "a=1:NoSchedule", want: "a=1:NoSchedule"},
		{name: "a control plane becomes a worker too", live: controlPlane + " " + cordoned, owned: controlPlane, want: cordoned},
		{name: "a worker becomes a control plane only", live: "a:NoSchedule", owned: "a:NoSchedule", wanted: controlPlane + " a:NoSchedule",
			want: "a:NoSchedule " + controlPlane},
		{name: "duplicates wanted", wanted: "a=1:NoSchedule a=1:NoSchedule a=2:NoSchedule", want: "a=1:NoSchedule"},
		{name: "duplicates there", live: "z:NoSchedule z:NoSchedule a=1:NoSchedule a=3:NoSchedule", wanted: "a=2:NoSchedule", want: "z:NoSchedule a=2:NoSchedule"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			live, owned, wanted := taints(t, test.live), taints(t, test.owned), taints(t, test.wanted)
			got := Merge(live, owned, wanted)
			if diff := cmp.Diff(taints(t, test.want), got); diff != "" {
				t.Errorf("taints (-want +got):\n%s", diff)
			}
			// The law: once the list and the record are written, there is nothing left to do.
			if diff := cmp.Diff(got, Merge(got, wanted, wanted)); diff != "" {
				t.Errorf("a second merge differs (-first +second):\n%s", diff)
			}
		})
	}
}

func TestRecord(t *testing.T) {
	for list, want := range map[string]string{
		"":                              "",
		"b:NoExecute a=1:NoSchedule":    "a=1:NoSchedule,b:NoExecute",
		"a=1:NoSchedule a=1:NoSchedule": "a=1:NoSchedule",
		"a=1:NoSchedule a=1:NoExecute " + controlPlane: "a=1:NoExecute,a=1:NoSchedule," + controlPlane,
	} {
		got := Record(taints(t, list))
		if got != want {
			t.Errorf("%s: %q, want %q", list, got, want)
		}
		back, err := ParseRecord(got)
		if err != nil || Record(back) != want {
			t.Errorf("%s: reads back as %v, %v", got, back, err)
		}
	}
}

func TestParseRecordErrors(t *testing.T) {
	_, err := ParseRecord("a=1:NoSchedule,b,c:Never")
	if err == nil || !strings.Contains(err.Error(), `"b": `) || !strings.Contains(err.Error(), `"c:Never": `) {
		t.Errorf("error is %v, want both faults", err)
	}
	for _, record := range []string{",", "a:NoSchedule,", "[]"} {
		if _, err := ParseRecord(record); err == nil {
			t.Errorf("%q was read", record)
		}
	}
}
