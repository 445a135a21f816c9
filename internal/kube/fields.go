package kube

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// FieldChange is one value that differs. Old and New are JSON; empty when the field is absent. The
// values of a Secret are replaced by fingerprints.
type FieldChange struct {
	// Path is a JSON path, for example spec.template.spec.containers[name=coredns].image.
	Path     string
	Old, New string
}

// String returns the change as a plan prints it.
func (f FieldChange) String() string {
	show := func(value string) string {
		if value == "" {
			return "(none)"
		}
		return value
	}
	return f.Path + ": " + show(f.Old) + " -> " + show(f.New)
}

// digester fingerprints secret values. Its key is random and lives as long as the client: equal
// values are recognized within a run, and a fingerprint in a log is of no use for guessing them.
type digester struct{ key []byte }

func newDigester() (digester, error) {
	key := make([]byte, sha256.Size)
	if _, err := rand.Read(key); err != nil {
		return digester{}, fmt.Errorf("read randomness: %w", err)
	}
	return digester{key: key}, nil
}

func (d digester) fingerprint(value string) string {
	mac := hmac.New(sha256.New, d.key)
	mac.Write([]byte(value))
	return "(secret " + hex.EncodeToString(mac.Sum(nil))[:8] + ")"
}

// compare lists the fields in which two states of an object differ, noise left out.
func (d digester) compare(live, wanted Object) []FieldChange {
	var changes []FieldChange
	walk(nil, quiet(live), quiet(wanted), func(change FieldChange) { changes = append(changes, change) })
	if live.GetKind() == "Secret" && live.GroupVersionKind().Group == "" {
		for i := range changes {
			d.redact(&changes[i])
		}
	}
	return changes
}

// redact hides the values of a Secret. It lists what may be shown, not what may not: an annotation
// can hold a copy of the data.
func (d digester) redact(change *FieldChange) {
	for _, open := range []string{"metadata.labels", "metadata.finalizers", "metadata.ownerReferences", "type", "immutable"} {
		if strings.HasPrefix(change.Path, open) {
			return
		}
	}
	if change.Old != "" {
		change.Old = d.fingerprint(change.Old)
	}
	if change.New != "" {
		change.New = d.fingerprint(change.New)
	}
}

// quiet returns the content without what the API server and its controllers keep for themselves.
func quiet(object Object) map[string]any {
	content := object.DeepCopy().Object
	delete(content, "status")
	metadata, _ := content["metadata"].(map[string]any)
	for _, field := range []string{"managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink"} {
		delete(metadata, field)
	}
	annotations, _ := metadata["annotations"].(map[string]any)
	// Counters that the API server and controllers raise whenever something else has changed.
	delete(annotations, "deprecated.daemonset.template.generation")
	delete(annotations, "deployment.kubernetes.io/revision")
	if len(annotations) == 0 {
		delete(metadata, "annotations")
	}
	return content
}

// walk reports every leaf in which a and b differ.
func walk(path []string, a, b any, report func(FieldChange)) {
	if reflect.DeepEqual(a, b) {
		return
	}
	switch left := a.(type) {
	case map[string]any:
		if right, ok := b.(map[string]any); ok {
			walkMaps(path, left, right, report)
			return
		}
	case []any:
		if right, ok := b.([]any); ok && walkLists(path, left, right, report) {
			return
		}
	}
	report(FieldChange{Path: strings.Join(path, ""), Old: encode(a), New: encode(b)})
}

func walkMaps(path []string, a, b map[string]any, report func(FieldChange)) {
	keys := slices.Collect(maps.Keys(a))
	for key := range b {
		if _, ok := a[key]; !ok {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		walk(append(slices.Clip(path), step(path, key)), a[key], b[key], report)
	}
}

// walkLists compares element by element when it is clear which belong together: by name when all
// have one, else by position when there are as many. It reports false when that is not possible.
func walkLists(path []string, a, b []any, report func(FieldChange)) bool {
	left, right := byName(a), byName(b)
	if left != nil && right != nil {
		changed := false
		walkNamed(path, left, right, func(change FieldChange) { changed = true; report(change) })
		return changed // when nothing did, the order is what differs
	}
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		walk(append(slices.Clip(path), fmt.Sprintf("[%d]", i)), a[i], b[i], report)
	}
	return true
}

func walkNamed(path []string, a, b map[string]any, report func(FieldChange)) {
	names := slices.Collect(maps.Keys(a))
	for name := range b {
		if _, ok := a[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		walk(append(slices.Clip(path), "[name="+name+"]"), a[name], b[name], report)
	}
}

// byName indexes a list of maps by their name; nil when one has none or two have the same.
func byName(list []any) map[string]any {
	index := map[string]any{}
	for _, element := range list {
		fields, _ := element.(map[string]any)
		name, _ := fields["name"].(string)
		if _, twice := index[name]; name == "" || twice {
			return nil
		}
		index[name] = element
	}
	return index
}

// step spells a key as part of a JSON path; keys with dots or slashes are quoted.
func step(path []string, key string) string {
	if strings.ContainsAny(key, "./[]'\" ") || key == "" {
		return fmt.Sprintf("[%q]", key)
	}
	if len(path) == 0 {
		return key
	}
	return "." + key
}

func encode(value any) string {
	if value == nil {
		return ""
	}
	out, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprintf("%v", value)
	}
	return string(out)
}
