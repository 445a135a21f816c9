package taint

import (
	"testing"
)

// A record that can be read is written the same way from then on: what we once said is ours
// stays ours.
func FuzzParseRecord(f *testing.F) {
	for _, seed := range []string{"", "k=v:NoSchedule", "b:NoExecute,a=1:NoSchedule", "a:NoSchedule,a:NoSchedule", "a:NoSchedule,", "x", "k=:NoSchedule", "k=a,b:NoSchedule"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, record string) {
		taints, err := ParseRecord(record)
		if err != nil {
			return
		}
		written := Record(taints)
		again, err := ParseRecord(written)
		if err != nil || Record(again) != written {
			t.Errorf("%q is written as %q, and then as %q: %v", record, written, Record(again), err)
		}
		for _, taint := range taints {
			if _, ok := find(again, taint); !ok {
				t.Errorf("%v of %q is lost", taint, record)
			}
		}
		if merged := Merge(taints, taints, nil); len(merged) > 0 {
			t.Errorf("all taints are ours and none is wanted, and %v stay", merged)
		}
	})
}
