package templates

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"sigs.k8s.io/yaml"
)

// patchDocument merges a user's patch over a YAML document and writes the result with sorted
// keys. Reserved top-level keys may not be patched, for the reason given.
func patchDocument(document []byte, patch map[string]any, reserved map[string]string) ([]byte, error) {
	var bad []error
	for _, key := range slices.Sorted(maps.Keys(patch)) {
		if why, ok := reserved[key]; ok {
			bad = append(bad, fmt.Errorf("%s cannot be changed: %s", strconv.Quote(key), why))
		}
		if key == "apiVersion" || key == "kind" {
			bad = append(bad, fmt.Errorf("%s cannot be changed", strconv.Quote(key)))
		}
	}
	if len(bad) > 0 {
		return nil, errors.Join(bad...)
	}
	var base map[string]any
	if err := yaml.Unmarshal(document, &base); err != nil {
		return nil, err
	}
	// Through JSON, so that both sides have the same types for numbers and maps, and nothing in
	// the user's map is shared with the result.
	plain, err := json.Marshal(patch)
	if err != nil {
		return nil, fmt.Errorf("patch: %w", err)
	}
	var changes map[string]any
	numbers := json.NewDecoder(bytes.NewReader(plain))
	numbers.UseNumber() // a float64 would round what is larger than 2^53
	if err := numbers.Decode(&changes); err != nil {
		return nil, fmt.Errorf("patch: %w", err)
	}
	if hasKey(changes, mergeKey) {
		return nil, fmt.Errorf("%s is no name of a field", strconv.Quote(mergeKey))
	}
	return yaml.Marshal(mergePatch(base, changes))
}

// mergeKey is what YAML takes for an instruction to merge another map, and its encoder does not quote.
const mergeKey = "<<"

// hasKey tells whether a map has a key, at any depth.
func hasKey(value any, key string) bool {
	switch value := value.(type) {
	case map[string]any:
		for k, inner := range value {
			if k == key || hasKey(inner, key) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(value, func(inner any) bool { return hasKey(inner, key) })
	}
	return false
}

// mergePatch is RFC 7386: objects merge, null removes, and everything else replaces.
func mergePatch(target, patch map[string]any) map[string]any {
	merged := maps.Clone(target)
	if merged == nil {
		merged = map[string]any{}
	}
	for key, value := range patch {
		switch value := value.(type) {
		case nil:
			delete(merged, key)
		case map[string]any:
			inner, _ := merged[key].(map[string]any)
			merged[key] = mergePatch(inner, value)
		default:
			merged[key] = value
		}
	}
	return merged
}
