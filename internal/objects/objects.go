// Package objects reads Kubernetes objects out of YAML and JSON, strictly: what kubectl would pass
// over (a key that is there twice) or the API server would refuse much later (no name) is an error
// with its place.
package objects

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/json"
)

// Located is an object with the place where it is written.
type Located struct {
	*unstructured.Unstructured

	// At is the place as file:line, of the beginning of the document.
	At string
}

// ID is what an object is one of its kind by: kind, API group, namespace and name. Versions of an API
// group are views of the same objects.
func (l Located) ID() string {
	return l.GroupVersionKind().GroupKind().String() + " " + strings.TrimPrefix(l.GetNamespace()+"/"+l.GetName(), "/")
}

// Decode reads a stream of YAML or JSON documents in its order, drops what only a server sets (the
// status, and those fields of the metadata), and takes lists apart. Documents that say nothing are
// passed over. All faults of the stream are in the error, one a line, each with its place; file is what
// the stream is called there. Numbers are int64 or float64.
func Decode(file string, stream []byte) ([]Located, error) {
	var all []Located
	var bad []error
	for _, d := range split(file, stream) {
		content, err := d.content()
		if err != nil {
			bad = append(bad, err)
			continue
		}
		if content == nil {
			continue
		}
		found, err := flatten(content, d.begin())
		bad = append(bad, err)
		all = append(all, found...)
	}
	if err := errors.Join(bad...); err != nil {
		return nil, err
	}
	return all, nil
}

// Mappings reads a stream of YAML that holds other things than objects, as strictly as Decode.
func Mappings(file string, stream []byte) ([]map[string]any, error) {
	var all []map[string]any
	var bad []error
	for _, d := range split(file, stream) {
		content, err := d.content()
		bad = append(bad, err)
		if content != nil {
			all = append(all, content)
		}
	}
	if err := errors.Join(bad...); err != nil {
		return nil, err
	}
	return all, nil
}

// Distinct reports objects that are there twice, with both places.
func Distinct(all []Located) error {
	var bad []error
	first := map[string]string{}
	for _, o := range all {
		if at, ok := first[o.ID()]; ok {
			bad = append(bad, fmt.Errorf("%s: %s is there twice, first at %s: remove one of them", o.At, o.ID(), at))
			continue
		}
		first[o.ID()] = o.At
	}
	return errors.Join(bad...)
}

// flatten makes the objects of a document: itself, or the items of a list.
func flatten(content map[string]any, at string) ([]Located, error) {
	kind, _ := content["kind"].(string)
	items, listed := content["items"].([]any)
	if item := strings.TrimSuffix(kind, "List"); item != kind && (listed || content["items"] == nil) {
		return flattenList(content, item, items, at)
	}
	o := &unstructured.Unstructured{Object: content}
	if err := check(o); err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	delete(content, "status")
	for _, field := range serverFields() {
		unstructured.RemoveNestedField(content, "metadata", field)
	}
	return []Located{{Unstructured: o, At: at}}, nil
}

func flattenList(list map[string]any, itemKind string, items []any, at string) ([]Located, error) {
	var all []Located
	var bad []error
	for i, item := range items {
		object, ok := item.(map[string]any)
		if !ok {
			bad = append(bad, fmt.Errorf("%s: item %d of the list is %s, not an object", at, i+1, describe(item)))
			continue
		}
		if itemKind != "" && object["kind"] == nil && object["apiVersion"] == nil { // as the API server lists them
			object["kind"], object["apiVersion"] = itemKind, list["apiVersion"]
		}
		found, err := flatten(object, at)
		if err != nil {
			err = fmt.Errorf("%w (item %d of the list)", err, i+1)
		}
		bad = append(bad, err)
		all = append(all, found...)
	}
	return all, errors.Join(bad...)
}

// serverFields are the fields of metadata that a server sets. Some of them would be refused, or make
// the API server look for an object that is not there any more: they come with what was read from a cluster.
func serverFields() []string {
	return []string{"creationTimestamp", "managedFields", "resourceVersion", "uid", "generation", "selfLink"}
}

// check finds what no API server would take.
func check(o *unstructured.Unstructured) error {
	kind := o.GetKind()
	switch {
	case kind == "":
		return errors.New("the document has no kind: an object has apiVersion, kind and metadata.name")
	case o.GetAPIVersion() == "":
		return fmt.Errorf("the %s has no apiVersion", kind)
	}
	if _, err := schema.ParseGroupVersion(o.GetAPIVersion()); err != nil {
		return fmt.Errorf("apiVersion %q of the %s is none: write version, or group/version", o.GetAPIVersion(), kind)
	}
	metadata, ok := o.Object["metadata"].(map[string]any)
	switch name := metadata["name"]; {
	case o.Object["metadata"] != nil && !ok:
		return fmt.Errorf("metadata of the %s is %s, not a mapping", kind, describe(o.Object["metadata"]))
	case o.GetName() != "":
	case name != nil && name != "":
		return fmt.Errorf("the %s has no name: metadata.name is %s, so quote it", kind, describe(name))
	case metadata["generateName"] != nil:
		return fmt.Errorf("the %s has no name, but generateName, which makes another object each time: give it metadata.name", kind)
	default:
		return fmt.Errorf("the %s has no name: give it metadata.name", kind)
	}
	if namespace, there := metadata["namespace"]; there && namespace != nil {
		if _, ok := namespace.(string); !ok {
			return fmt.Errorf("%s %s: metadata.namespace is %s, so quote it", kind, o.GetName(), describe(namespace))
		}
	}
	for _, field := range []string{"labels", "annotations"} {
		values, ok := metadata[field].(map[string]any)
		if !ok && metadata[field] != nil {
			return fmt.Errorf("%s %s: metadata.%s is %s, not a mapping", kind, o.GetName(), field, describe(metadata[field]))
		}
		for _, key := range slices.Sorted(maps.Keys(values)) {
			if values[key] == nil { // to the API server, an empty text
				values[key] = ""
			} else if _, ok := values[key].(string); !ok {
				return fmt.Errorf("%s %s: the value of %q in metadata.%s is %s, so quote it", kind, o.GetName(), key, field, describe(values[key]))
			}
		}
	}
	return checkSecret(o)
}

// checkSecret finds what is no text in a Secret. The API server would repeat it in its error.
func checkSecret(o *unstructured.Unstructured) error {
	if o.GroupVersionKind().GroupKind() != (schema.GroupKind{Kind: "Secret"}) {
		return nil
	}
	for _, field := range []string{"data", "stringData"} {
		values, ok := o.Object[field].(map[string]any)
		if !ok && o.Object[field] != nil {
			return fmt.Errorf("%s %s: %s is %s, not a mapping", o.GetKind(), o.GetName(), field, describe(o.Object[field]))
		}
		for _, key := range slices.Sorted(maps.Keys(values)) {
			if _, ok := values[key].(string); !ok && values[key] != nil {
				return fmt.Errorf("%s %s: the value of %q in %s is %s, so quote it", o.GetKind(), o.GetName(), key, field, describe(values[key]))
			}
		}
	}
	return nil
}

// describe says what a value is, and not its content, which may be secret.
func describe(value any) string {
	switch value.(type) {
	case nil:
		return "nothing"
	case string:
		return "a text"
	case bool:
		return "true or false"
	case []any:
		return "a list"
	case map[string]any:
		return "a mapping"
	default:
		return "a number"
	}
}

// toMap decodes a JSON object, with whole numbers as int64.
func toMap(data []byte) (map[string]any, error) {
	var value any
	if err := json.Unmarshal(data, &value); err != nil {
		return nil, err
	}
	if value == nil {
		return nil, nil
	}
	content, ok := value.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("the document is %s, not a mapping", describe(value))
	}
	return content, nil
}
