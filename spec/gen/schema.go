package main

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"kubewright/inventory"
	"kubewright/spec/strict"
)

// member is a key of a JSON object with its value.
type member struct {
	key   string
	value any
}

// object is a JSON object that keeps the order of its keys, which is the order editors offer.
type object []member

// MarshalJSON writes the members in their order.
func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		key, err := encode(m.key)
		if err != nil {
			return nil, err
		}
		value, err := encode(m.value)
		if err != nil {
			return nil, err
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// encode is json.Marshal that leaves <, > and & as they are.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// schemaWriter makes a JSON schema (draft 2020-12) from Go types.
type schemaWriter struct {
	docs comments
	defs object          // one for each struct type but the root
	done map[string]bool // names in defs
}

func schema(root reflect.Type, docs comments, title string) ([]byte, error) {
	w := &schemaWriter{docs: docs, done: map[string]bool{}}
	body, err := w.structure(root)
	if err != nil {
		return nil, err
	}
	whole := append(object{
		{"$schema", "https://json-schema.org/draft/2020-12/schema"},
		{"title", title},
	}, body...)
	whole = append(whole, member{"$defs", w.defs})
	compact, err := encode(whole)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, compact, "", "  "); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

func (w *schemaWriter) structure(t reflect.Type) (object, error) {
	var properties object
	var required []string
	for _, f := range strict.Fields(t) {
		body, err := w.value(f.Type, f.Rule)
		if err != nil {
			return nil, fmt.Errorf("%s.%s: %w", t, f.Name, err)
		}
		doc, err := w.docs.fieldDoc(t, t.FieldByIndex(f.Index), f.Name)
		if err != nil {
			return nil, err
		}
		properties = append(properties, member{f.Name, append(object{{"description", doc}}, body...)})
		if f.Rule.Required {
			required = append(required, f.Name)
		}
	}
	s := object{{"type", "object"}, {"additionalProperties", false}, {"properties", properties}}
	if required != nil {
		s = append(s, member{"required", required})
	}
	return s, nil
}

// value is the schema of a value of the type under the rule of its field.
func (w *schemaWriter) value(t reflect.Type, rule strict.Rule) (object, error) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if strict.EitherWay(t) {
		mapping := object{{"$ref", "#/$defs/" + publicName(t)}}
		return object{{"oneOf", []object{{{"type", "string"}}, mapping}}}, w.define(t)
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		pattern, err := pattern(t)
		return object{{"type", "string"}, {"pattern", pattern}}, err
	}
	switch t.Kind() {
	case reflect.String:
		return text(rule), nil
	case reflect.Bool:
		s := object{{"type", "boolean"}}
		if rule.Default != "" {
			s = append(s, member{"default", rule.Default == "true"})
		}
		return s, nil
	case reflect.Int:
		return integer(rule)
	case reflect.Interface:
		return object{}, nil
	case reflect.Struct:
		return object{{"$ref", "#/$defs/" + publicName(t)}}, w.define(t)
	case reflect.Slice:
		return w.container(t.Elem(), rule, container{"array", "items", "minItems"})
	case reflect.Map:
		return w.container(t.Elem(), rule, container{"object", "additionalProperties", "minProperties"})
	default:
		return nil, fmt.Errorf("a %s has no schema", t)
	}
}

// container holds the words of JSON schema for a list or a mapping.
type container struct{ kind, items, least string }

func (w *schemaWriter) container(item reflect.Type, rule strict.Rule, words container) (object, error) {
	s := object{{"type", words.kind}}
	inner := rule
	inner.Required, inner.Default = false, ""
	items, err := w.value(item, inner)
	if err != nil {
		return nil, err
	}
	if len(items) > 0 {
		s = append(s, member{words.items, items})
	}
	if rule.Required {
		s = append(s, member{words.least, 1})
	}
	return s, nil
}

// define adds the schema of a struct to the definitions, once.
func (w *schemaWriter) define(t reflect.Type) error {
	name := publicName(t)
	if w.done[name] {
		return nil
	}
	w.done[name] = true
	s, err := w.structure(t)
	w.defs = append(w.defs, member{name, s})
	return err
}

// publicName is what the reader calls a type: HostSpec is the Go name of what makes up a Host.
func publicName(t reflect.Type) string {
	if name := strings.TrimSuffix(t.Name(), "Spec"); name != "" {
		return name
	}
	return t.Name()
}

func text(rule strict.Rule) object {
	s := object{{"type", "string"}}
	if len(rule.Enum) > 0 {
		s = append(s, member{"enum", rule.Enum})
	}
	if rule.Default != "" {
		s = append(s, member{"default", rule.Default})
	}
	if rule.Required && len(rule.Enum) == 0 {
		s = append(s, member{"minLength", 1})
	}
	return s
}

func integer(rule strict.Rule) (object, error) {
	s := object{{"type", "integer"}}
	if rule.Min != nil {
		s = append(s, member{"minimum", *rule.Min})
	}
	if rule.Max != nil {
		s = append(s, member{"maximum", *rule.Max})
	}
	if rule.Default != "" {
		n, err := strconv.Atoi(rule.Default)
		if err != nil {
			return nil, err
		}
		s = append(s, member{"default", n})
	}
	return s, nil
}

// pattern is the form of a type that is decoded from text.
func pattern(t reflect.Type) (string, error) {
	switch t {
	case reflect.TypeFor[inventory.Ref]():
		return `^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$`, nil
	case reflect.TypeFor[inventory.Taint]():
		return `^[^=:\s]+(=[^=:\s]*)?:(NoSchedule|PreferNoSchedule|NoExecute)$`, nil
	default:
		return "", fmt.Errorf("the form of a %s is not known here", t)
	}
}
