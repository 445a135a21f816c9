package strict

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// Rule is what a struct field's `rule` tag says beyond its type: a comma-separated list of
// required, multiline, secret, enum=a|b, default=x, min=n and max=n. On a list or mapping, enum,
// min, max, multiline and secret hold for each item. The decoder enforces the rules; the JSON
// schema and the reference page show them.
type Rule struct {
	// Required refuses a missing, null or empty value.
	Required bool
	// Multiline allows line breaks and tabs in text.
	Multiline bool
	// Secret keeps the value out of messages.
	Secret bool
	// Enum lists the values allowed; empty allows all.
	Enum []string
	// Default is the value that Default fills in; "" means none.
	Default string
	// Min and Max bound a number; nil means no bound.
	Min, Max *int64
}

// ParseRule reads the text of a rule tag.
func ParseRule(tag string) (Rule, error) {
	var r Rule
	if tag == "" {
		return r, nil
	}
	for part := range strings.SplitSeq(tag, ",") {
		name, value, _ := strings.Cut(part, "=")
		switch name {
		case "required":
			r.Required = true
		case "multiline":
			r.Multiline = true
		case "secret":
			r.Secret = true
		case "enum":
			r.Enum = strings.Split(value, "|")
		case "default":
			r.Default = value
		case "min", "max":
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				return Rule{}, fmt.Errorf("rule %q: %s is not a number: %w", tag, name, err)
			}
			if name == "min" {
				r.Min = &n
			} else {
				r.Max = &n
			}
		default:
			return Rule{}, fmt.Errorf("rule %q: unknown word %q", tag, name)
		}
	}
	return r, nil
}

// Field is a struct field as it appears in a document.
type Field struct {
	// Name is the key in the document.
	Name string
	// Index finds the field, also through inlined structs, with reflect.Value.FieldByIndex.
	Index []int
	// Type is the Go type of the field.
	Type reflect.Type
	// Rule is what its tag demands.
	Rule Rule
}

// Fields lists the fields of a struct type that a document can set, in the order of declaration.
// The key is the name in the yaml tag or else in the json tag; embedded structs with a tag
// but no name contribute their own fields. Fields without a tag are not part of the document.
func Fields(t reflect.Type) []Field {
	var fields []Field
	for i := range t.NumField() {
		sf := t.Field(i)
		name, inline := keyOf(sf)
		switch {
		case !sf.IsExported():
		case inline:
			for _, f := range Fields(sf.Type) {
				f.Index = append([]int{i}, f.Index...)
				fields = append(fields, f)
			}
		case name != "":
			// A malformed tag is caught by the tests of the packages that declare the types.
			rule, _ := ParseRule(sf.Tag.Get("rule"))
			fields = append(fields, Field{Name: name, Index: []int{i}, Type: sf.Type, Rule: rule})
		}
	}
	return fields
}

func keyOf(sf reflect.StructField) (name string, inline bool) {
	for _, kind := range []string{"yaml", "json"} {
		tag, ok := sf.Tag.Lookup(kind)
		if !ok {
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		if name == "-" {
			return "", false
		}
		inline := sf.Anonymous || strings.Contains(options, "inline")
		return name, name == "" && inline && sf.Type.Kind() == reflect.Struct
	}
	return "", false
}

// Default fills every zero field that has a default rule, in structs nested in structs too, but
// not in lists and mappings. A nil pointer is filled with a pointer to the default. It returns an
// error for a default that does not fit its field.
func Default(into any) error {
	return fillDefaults(reflect.ValueOf(into).Elem())
}

func fillDefaults(v reflect.Value) error {
	for _, f := range Fields(v.Type()) {
		fv := v.FieldByIndex(f.Index)
		if fv.Kind() == reflect.Struct {
			if err := fillDefaults(fv); err != nil {
				return err
			}
			continue
		}
		if f.Rule.Default == "" || !fv.IsZero() {
			continue
		}
		if fv.Kind() == reflect.Pointer {
			fv.Set(reflect.New(fv.Type().Elem()))
			fv = fv.Elem()
		}
		if err := setText(fv, f.Rule.Default); err != nil {
			return fmt.Errorf("default of %s: %w", f.Name, err)
		}
	}
	return nil
}

func setText(v reflect.Value, text string) error {
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Int, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if err != nil {
			return err
		}
		v.SetInt(n)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return err
		}
		v.SetBool(b)
	default:
		return fmt.Errorf("a %s cannot have a default", v.Type())
	}
	return nil
}
