// Package taint decides which taints a node should have. The list on a Node has many writers: the
// node lifecycle controllers, `kubectl cordon`, other users. So kubewright does not own the list:
// it records which taints it has set, and from that record, what is wanted and what is there it
// computes the list to write (a three-way merge). What others have set stays.
package taint

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"kubewright/inventory"
)

// Annotation is the annotation of a Node that records which of its taints kubewright has set, in
// the form of Record. A Node without it has none of ours; "" says the same of one that we have seen.
const Annotation = "kubewright.io/taints"

// Record renders taints as the annotation has them: sorted, joined by commas.
func Record(taints []inventory.Taint) string {
	texts := make([]string, len(taints))
	for i, t := range taints {
		texts[i] = t.String()
	}
	slices.Sort(texts)
	return strings.Join(slices.Compact(texts), ",")
}

// ParseRecord reads what Record has rendered.
func ParseRecord(record string) ([]inventory.Taint, error) {
	if record == "" {
		return nil, nil
	}
	var taints []inventory.Taint
	var faults []error
	for text := range strings.SplitSeq(record, ",") {
		var t inventory.Taint
		if err := t.UnmarshalText([]byte(text)); err != nil {
			faults = append(faults, fmt.Errorf("%q: %w", text, err))
			continue
		}
		taints = append(taints, t)
	}
	return taints, errors.Join(faults...)
}

// Entry spells a taint as the list of a Node has it.
func Entry(t inventory.Taint) map[string]any {
	entry := map[string]any{"key": t.Key, "effect": t.Effect}
	if t.Value != "" {
		entry["value"] = t.Value
	}
	return entry
}

// Merge returns the taints a node should have, given those that are there, those of them that are
// recorded as ours, and those wanted. Of what is there
//
//   - a wanted taint stays, with the wanted value, whoever set it;
//   - one of ours that is wanted no more goes, unless its value is not the one we gave it: then
//     somebody else has made it theirs;
//   - every other taint stays, in its place.
//
// Wanted taints that are not there are added at the end. As in the API, a node has at most one
// taint of a key and effect; of duplicates the first counts.
func Merge(live, owned, wanted []inventory.Taint) []inventory.Taint {
	var merged []inventory.Taint
	add := func(t inventory.Taint) {
		if _, twice := find(merged, t); !twice {
			merged = append(merged, t)
		}
	}
	for _, t := range live {
		want, isWanted := find(wanted, t)
		switch {
		case isWanted:
			add(want)
		case !slices.Contains(owned, t):
			add(t)
		}
	}
	for _, t := range wanted {
		add(t)
	}
	return merged
}

// find returns the first taint with the key and effect of t.
func find(taints []inventory.Taint, t inventory.Taint) (inventory.Taint, bool) {
	i := slices.IndexFunc(taints, func(o inventory.Taint) bool { return o.Key == t.Key && o.Effect == t.Effect })
	if i < 0 {
		return inventory.Taint{}, false
	}
	return taints[i], true
}
