package kube

import (
	"context"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Ref names an object of any kind.
type Ref struct {
	schema.GroupVersionKind
	Namespace, Name string
}

// RefOf names an object.
func RefOf(object Object) Ref {
	return Ref{GroupVersionKind: object.GroupVersionKind(), Namespace: object.GetNamespace(), Name: object.GetName()}
}

// String says which object it is, as Name does.
func (r Ref) String() string { return Name(r.object()) }

func (r Ref) object() Object { return reference(r.GroupVersionKind, r.Namespace, r.Name) }

// same tells whether two names are of one object: the version of its kind may differ.
func (r Ref) same(other Ref) bool {
	return r.GroupKind() == other.GroupKind() && r.Namespace == other.Namespace && r.Name == other.Name
}

// Record is what a cluster remembers of objects that come and go together, so that those that are wanted no
// more can be found: a ConfigMap in kube-system, written before the objects are.
type Record struct {
	// Name is that of the set; Phase is the phase that keeps it.
	Name, Phase string
	// After names the sets that it came after.
	After []string
	// Objects are sorted.
	Objects []Ref
}

const (
	// RecordLabel is on every record, with the name of the set.
	RecordLabel  = "kubewright.io/record"
	recordPrefix = "kubewright-addon-"
)

// NewRecord makes the record of a set.
func NewRecord(name, phase string, after []string, objects []Object) Record {
	r := Record{Name: name, Phase: phase, After: slices.Clone(after)}
	for _, object := range objects {
		r.Objects = append(r.Objects, RefOf(object))
	}
	return r.sorted()
}

func (r Record) sorted() Record {
	slices.Sort(r.After)
	slices.SortFunc(r.Objects, func(a, b Ref) int { return strings.Compare(a.line(), b.line()) })
	return r
}

// Lacking are the objects of a record that another does not have.
func (r Record) Lacking(other Record) []Ref {
	return slices.DeleteFunc(slices.Clone(r.Objects), func(ref Ref) bool { return slices.ContainsFunc(other.Objects, ref.same) })
}

// With is the record with more objects.
func (r Record) With(more []Ref) Record {
	r.After, r.Objects = slices.Clone(r.After), slices.Concat(r.Objects, more)
	return r.sorted()
}

// Equal tells whether two records say the same.
func (r Record) Equal(other Record) bool {
	return r.Name == other.Name && r.Phase == other.Phase && slices.Equal(r.After, other.After) && slices.Equal(r.Objects, other.Objects)
}

// line is an object in a record: group/version, kind, namespace or -, and name.
func (r Ref) line() string {
	namespace := r.Namespace
	if namespace == "" {
		namespace = "-"
	}
	return strings.Join([]string{r.GroupVersion().String(), r.Kind, namespace, r.Name}, " ")
}

// Object is the ConfigMap that holds the record.
func (r Record) Object() Object {
	var lines strings.Builder
	for _, ref := range r.Objects {
		lines.WriteString(ref.line() + "\n")
	}
	object := reference(schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}, metav1.NamespaceSystem, recordPrefix+r.Name)
	object.SetLabels(map[string]string{RecordLabel: r.Name})
	data := map[string]any{"phase": r.Phase, "objects": lines.String()}
	if len(r.After) > 0 {
		data["after"] = strings.Join(r.After, " ")
	}
	object.Object["data"] = data
	return object
}

// parseRecord reads a record; what cannot be read is an error, for objects would be forgotten.
func parseRecord(object Object) (Record, error) {
	data, _ := object.Object["data"].(map[string]any)
	text := func(key string) string { s, _ := data[key].(string); return s }
	r := Record{Name: strings.TrimPrefix(object.GetName(), recordPrefix), Phase: text("phase"), After: strings.Fields(text("after"))}
	for line := range strings.Lines(text("objects")) {
		words := strings.Fields(line)
		const parts = 4
		if len(words) != parts {
			return Record{}, fmt.Errorf("%s: %q names no object", Name(object), strings.TrimSpace(line))
		}
		version, err := schema.ParseGroupVersion(words[0])
		if err != nil {
			return Record{}, fmt.Errorf("%s: %w", Name(object), err)
		}
		ref := Ref{GroupVersionKind: version.WithKind(words[1]), Namespace: words[2], Name: words[3]}
		if ref.Namespace == "-" {
			ref.Namespace = ""
		}
		r.Objects = append(r.Objects, ref)
	}
	return r.sorted(), nil
}

// Complete tells whether every object of a record is there.
func (c *Client) Complete(ctx context.Context, r Record) (bool, error) {
	for _, ref := range r.Objects {
		switch _, err := c.Get(ctx, ref.GroupVersionKind, ref.Namespace, ref.Name); {
		case Absent(err):
			return false, nil
		case err != nil:
			return false, fmt.Errorf("%s: %w", ref, err)
		}
	}
	return true, nil
}

// Records are the records of all sets, by name.
func (c *Client) Records(ctx context.Context) (map[string]Record, error) {
	found, err := c.List(ctx, schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}, metav1.NamespaceSystem, RecordLabel)
	if err != nil {
		return nil, err
	}
	records := map[string]Record{}
	for _, object := range found {
		r, err := parseRecord(object)
		if err != nil {
			return nil, err
		}
		records[r.Name] = r
	}
	return records, nil
}
