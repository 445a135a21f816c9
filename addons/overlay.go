package addons

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"text/template"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// Edit changes one object of an upstream manifest. The target must exist: an edit that finds
// nothing means that upstream changed and the overlay no longer does what it says.
type Edit struct {
	Target Target `json:"target"`
	// Merge is a JSON merge patch over the object; its strings are templates over Params.
	Merge map[string]any `json:"merge"`
	// Env sets environment variables of a container, replacing those of the same name; the values
	// are templates over Params.
	Env map[string]string `json:"env"`
	// Container is the container, or init container, that Env is for.
	Container string `json:"container"`
	// RemoveInitContainers are taken out of the pods.
	RemoveInitContainers []string `json:"removeInitContainers"`
}

// Target is the object an Edit is for.
type Target struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

func (t Target) String() string { return t.Kind + " " + t.Namespace + "/" + t.Name }

func (e Edit) validate() error {
	if e.Target.Kind == "" || e.Target.Name == "" {
		return errors.New("the target needs a kind and a name")
	}
	if (len(e.Env) > 0) != (e.Container != "") {
		return errors.New("env and container belong together")
	}
	if len(e.Merge)+len(e.Env)+len(e.RemoveInitContainers) == 0 {
		return errors.New("it changes nothing")
	}
	return nil
}

func (e Edit) apply(objects []*unstructured.Unstructured, p Params) error {
	i := slices.IndexFunc(objects, func(o *unstructured.Unstructured) bool {
		return o.GetKind() == e.Target.Kind && o.GetNamespace() == e.Target.Namespace && o.GetName() == e.Target.Name
	})
	if i < 0 {
		return fmt.Errorf("%s: the manifest does not have it", e.Target)
	}
	object := objects[i].Object
	if err := e.merge(object, p); err != nil {
		return fmt.Errorf("%s: %w", e.Target, err)
	}
	if err := e.removeInitContainers(object); err != nil {
		return fmt.Errorf("%s: %w", e.Target, err)
	}
	if err := e.setEnv(object, p); err != nil {
		return fmt.Errorf("%s: %w", e.Target, err)
	}
	return nil
}

func (e Edit) merge(object map[string]any, p Params) error {
	if len(e.Merge) == 0 {
		return nil
	}
	filled, err := fillTree(e.Merge, p)
	if err != nil {
		return err
	}
	patch, err := jsonTree(filled)
	if err != nil {
		return err
	}
	mergeInto(object, patch)
	return nil
}

func (e Edit) removeInitContainers(object map[string]any) error {
	if len(e.RemoveInitContainers) == 0 {
		return nil
	}
	containers, _, err := unstructured.NestedSlice(object, podSpec("initContainers")...)
	if err != nil {
		return err
	}
	for _, name := range e.RemoveInitContainers {
		i := indexByName(containers, name)
		if i < 0 {
			return fmt.Errorf("there is no init container %q", name)
		}
		containers = slices.Delete(containers, i, i+1)
	}
	return unstructured.SetNestedSlice(object, containers, podSpec("initContainers")...)
}

// findContainer looks for a container of the pods, init containers included: the field it is
// listed in, that list, and its place there.
func findContainer(object map[string]any, name string) (field string, list []any, i int, err error) {
	for _, field := range []string{"containers", "initContainers"} {
		list, _, err := unstructured.NestedSlice(object, podSpec(field)...)
		if err != nil {
			return "", nil, 0, err
		}
		if i := indexByName(list, name); i >= 0 {
			return field, list, i, nil
		}
	}
	return "", nil, 0, fmt.Errorf("there is no container %q", name)
}

func (e Edit) setEnv(object map[string]any, p Params) error {
	if len(e.Env) == 0 {
		return nil
	}
	field, containers, i, err := findContainer(object, e.Container)
	if err != nil {
		return err
	}
	container, ok := containers[i].(map[string]any)
	if !ok {
		return fmt.Errorf("container %q is not an object", e.Container)
	}
	env, _, err := unstructured.NestedSlice(container, "env")
	if err != nil {
		return err
	}
	for _, name := range sortedKeys(e.Env) {
		value, err := fill(e.Env[name], p)
		if err != nil {
			return fmt.Errorf("env %s: %w", name, err)
		}
		variable := map[string]any{"name": name, "value": value}
		if at := indexByName(env, name); at >= 0 {
			env[at] = variable
		} else {
			env = append(env, variable)
		}
	}
	container["env"] = env
	return unstructured.SetNestedSlice(object, containers, podSpec(field)...)
}

func podSpec(field string) []string { return []string{"spec", "template", "spec", field} }

func indexByName(list []any, name string) int {
	return slices.IndexFunc(list, func(item any) bool {
		m, ok := item.(map[string]any)
		return ok && m["name"] == name
	})
}

// fill executes a string of an overlay as a template. The result stays one string in a decoded
// tree, so nothing in Params can become YAML.
func fill(text string, p Params) (string, error) {
	t, err := template.New("").Option("missingkey=error").Parse(text)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	if err := t.Execute(&out, p); err != nil {
		return "", err
	}
	return out.String(), nil
}

func fillTree(value any, p Params) (any, error) {
	switch value := value.(type) {
	case string:
		return fill(value, p)
	case map[string]any:
		filled := make(map[string]any, len(value))
		for key, inner := range value {
			v, err := fillTree(inner, p)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", key, err)
			}
			filled[key] = v
		}
		return filled, nil
	case []any:
		filled := make([]any, 0, len(value))
		for i, inner := range value {
			v, err := fillTree(inner, p)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", strconv.Itoa(i), err)
			}
			filled = append(filled, v)
		}
		return filled, nil
	}
	return value, nil
}

// jsonTree gives numbers the types that unstructured objects have: int64 and float64.
func jsonTree(value any) (map[string]any, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	var tree map[string]any
	err = utiljson.Unmarshal(data, &tree)
	return tree, err
}

// mergeInto is RFC 7386: objects merge, null removes, and everything else replaces.
func mergeInto(target, patch map[string]any) {
	for key, value := range patch {
		inner, isMap := value.(map[string]any)
		existing, hasMap := target[key].(map[string]any)
		switch {
		case value == nil:
			delete(target, key)
		case isMap && hasMap:
			mergeInto(existing, inner)
		default:
			target[key] = value
		}
	}
}
