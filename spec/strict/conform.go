package strict

import (
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Conform checks a value that was decoded into any against the Go type it will be decoded into
// later, elsewhere: keys that the type lacks, and values of another kind. It reads json tags.
func (c *Checker) Conform(at Path, value any, t reflect.Type) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if value == nil || t.Kind() == reflect.Interface || c.selfDecoding(at, value, t) {
		return
	}
	switch v := value.(type) {
	case map[string]any:
		c.conformMapping(at, v, t)
	case []any:
		if t.Kind() != reflect.Slice {
			c.Refuse(at, "expected %s, found a list", kindName(t))
			return
		}
		for i, item := range v {
			c.Conform(at.Index(i), item, t.Elem())
		}
	default:
		if !conforms(value, t) {
			c.Refuse(at, "expected %s, found %s", kindName(t), valueName(value, t))
		}
	}
}

// selfDecoding handles the types that decode themselves, such as durations.
func (c *Checker) selfDecoding(at Path, value any, t reflect.Type) bool {
	target, ok := reflect.New(t).Interface().(json.Unmarshaler)
	if !ok {
		return false
	}
	data, err := json.Marshal(value)
	if err == nil {
		err = target.UnmarshalJSON(data)
	}
	if err != nil {
		c.Refuse(at, "this is no %s: %v", t.Name(), err)
	}
	return true
}

func (c *Checker) conformMapping(at Path, m map[string]any, t reflect.Type) {
	switch t.Kind() {
	case reflect.Map:
		for key, value := range m {
			c.Conform(at.Key(key), value, t.Elem())
		}
	case reflect.Struct:
		fields := map[string]reflect.Type{}
		var names []string
		for _, f := range Fields(t) {
			fields[f.Name] = f.Type
			names = append(names, f.Name)
		}
		for key, value := range m {
			if !slices.Contains(names, key) {
				c.SuggestKey(at.Key(key), Nearest(key, names), "%s has no such field", t.Name())
				continue
			}
			c.Conform(at.Key(key), value, fields[key])
		}
	default:
		c.Refuse(at, "expected %s, found a mapping", kindName(t))
	}
}

func conforms(value any, t reflect.Type) bool {
	switch value.(type) {
	case string:
		bytes := t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8
		return t.Kind() == reflect.String || bytes
	case bool:
		return t.Kind() == reflect.Bool
	case int64:
		return t.Kind() >= reflect.Int && t.Kind() <= reflect.Float64
	case float64:
		return t.Kind() == reflect.Float32 || t.Kind() == reflect.Float64
	default:
		return false
	}
}

// kindName says what a Go type is called in a file.
func kindName(t reflect.Type) string {
	switch k := t.Kind(); {
	case k == reflect.Struct || k == reflect.Map:
		return "a mapping"
	case k == reflect.Slice:
		return "a list"
	case k == reflect.Bool:
		return "true or false"
	case k == reflect.Float32 || k == reflect.Float64:
		return "a number"
	case k >= reflect.Int && k <= reflect.Uint64:
		return "a whole number"
	default:
		return "text"
	}
}

// valueName says what a scalar is that should be of the type. Where a mapping or a list belongs it
// is not shown: it may be the secret that belongs into it.
func valueName(value any, t reflect.Type) string {
	shown := t.Kind() != reflect.Struct && t.Kind() != reflect.Map && t.Kind() != reflect.Slice
	switch v := value.(type) {
	case string:
		if shown {
			return "the text " + quote(v)
		}
		return "text"
	case bool:
		if shown {
			return strconv.FormatBool(v)
		}
		return "a boolean"
	default:
		if !shown {
			return "a number"
		}
		data, _ := json.Marshal(v)
		return strings.TrimSpace(string(data))
	}
}
