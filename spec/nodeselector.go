package spec

import (
	"maps"
	"slices"
	"strconv"

	"k8s.io/apimachinery/pkg/util/validation"

	"kubewright/spec/strict"
)

// nodeSelector checks labels that nodes are chosen by.
func (v *validator) nodeSelector(where strict.Path, labels map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if problems := validation.IsQualifiedName(key); len(problems) > 0 {
			v.SuggestKey(where.Key(key), "", "%s is no key of a label: %s", strconv.Quote(key), problems[0])
		}
		if problems := validation.IsValidLabelValue(labels[key]); len(problems) > 0 {
			v.Refuse(where.Key(key), "%s is no value of a label: %s", strconv.Quote(labels[key]), problems[0])
		}
	}
}
