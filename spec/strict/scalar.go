package strict

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// ValueError is returned by an UnmarshalText that knows what should have been written.
type ValueError struct {
	// Message says what is wrong, without the value when the value may be a secret.
	Message string
	// Suggestion is the text to write instead; "" when none is known.
	Suggestion string
}

// Error returns the message and the suggestion.
func (e *ValueError) Error() string {
	return Fault{Message: e.Message, Suggestion: e.Suggestion}.Error()
}

// text decodes a string through the type's own UnmarshalText.
func (d *decoder) text(n *yaml.Node, target encoding.TextUnmarshaler, path Path, rule Rule) {
	if n.Kind == yaml.SequenceNode && EitherWay(reflect.TypeOf(target).Elem()) {
		d.refuse(n, path, "expected text or a mapping, found a list", "")
		return
	}
	s, ok := d.stringOf(n, path, rule)
	if !ok {
		return
	}
	err := target.UnmarshalText([]byte(s))
	if err == nil {
		return
	}
	var known *ValueError
	if errors.As(err, &known) {
		d.refuse(n, path, known.Message, known.Suggestion)
		return
	}
	d.refuse(n, path, err.Error(), "")
}

// scalar decodes a string, an integer or a boolean.
func (d *decoder) scalar(n *yaml.Node, v reflect.Value, path Path, rule Rule) {
	switch v.Kind() {
	case reflect.String:
		if s, ok := d.stringOf(n, path, rule); ok && d.allowed(n, s, path, rule) {
			v.SetString(s)
		}
	case reflect.Bool:
		if b, ok := d.boolean(n, path, rule); ok {
			v.SetBool(b)
		}
	case reflect.Int, reflect.Int32, reflect.Int64:
		d.integer(n, v, path, rule)
	default:
		d.refuse(n, path, "this value cannot be set from a file", "")
	}
}

// boolean reads true or false. A tag alone makes no boolean: !!bool yes would be false.
func (d *decoder) boolean(n *yaml.Node, path Path, rule Rule) (b, ok bool) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" || !isBoolean(n.Value) {
		d.refuse(n, path, "expected true or false, found "+describe(n, rule), truth(n.Value))
		return false, false
	}
	return strings.EqualFold(n.Value, "true"), true
}

func isBoolean(s string) bool { return strings.EqualFold(s, "true") || strings.EqualFold(s, "false") }

// noTags does not repeat the tag, which may be a password that begins with !.
const noTags = "a tag (!name) is not supported; remove it, or put quotes around text that begins with !"

// stringOf reads text. Numbers and booleans must be quoted to be text: what 1.10 or no become
// without quotes is not what was written.
func (d *decoder) stringOf(n *yaml.Node, path Path, rule Rule) (string, bool) {
	tag := n.ShortTag()
	switch {
	case n.Kind != yaml.ScalarNode:
		d.refuse(n, path, "expected text, found "+describe(n, rule), "")
		return "", false
	case tag == "!!str", tag == "!!timestamp":
	case tag == "!!int", tag == "!!float", tag == "!!bool" && isBoolean(n.Value):
		suggestion := strconv.Quote(n.Value)
		if rule.Secret {
			suggestion = ""
		}
		d.refuse(n, path, "expected text, found "+describe(n, rule), suggestion)
		return "", false
	default:
		d.refuse(n, path, noTags, "")
		return "", false
	}
	if err := checkText(n.Value, rule.Multiline); err != nil {
		d.refuse(n, path, err.Error(), "")
		return "", false
	}
	return n.Value, true
}

// allowed checks the value against the rule's enum; an empty value counts as missing.
func (d *decoder) allowed(n *yaml.Node, s string, path Path, rule Rule) bool {
	if len(rule.Enum) == 0 || s == "" || slices.Contains(rule.Enum, s) {
		return true
	}
	near := Nearest(s, rule.Enum)
	if len(rule.Enum) == 1 {
		near = rule.Enum[0]
	}
	message := "unknown value " + quote(s)
	if near == "" {
		message += choice(rule.Enum)
	}
	d.refuse(n, path, message, near)
	return false
}

func (d *decoder) integer(n *yaml.Node, v reflect.Value, path Path, rule Rule) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" {
		suggestion := ""
		if i, err := strconv.ParseInt(n.Value, 10, 64); err == nil && !rule.Secret {
			suggestion = strconv.FormatInt(i, 10) + " without quotes"
		}
		d.refuse(n, path, "expected a whole number, found "+describe(n, rule), suggestion)
		return
	}
	var i int64
	if err := n.Decode(&i); err != nil || v.OverflowInt(i) {
		d.refuse(n, path, "the number "+n.Value+" is too large", "")
		return
	}
	lowest, highest := int64(math.MinInt64), int64(math.MaxInt64)
	if rule.Min != nil {
		lowest = *rule.Min
	}
	if rule.Max != nil {
		highest = *rule.Max
	}
	switch {
	case i >= lowest && i <= highest:
		v.SetInt(i)
	case rule.Min != nil && rule.Max != nil:
		d.refuse(n, path, fmt.Sprintf("%d is out of range: write a number from %d to %d", i, lowest, highest), "")
	case i < lowest:
		d.refuse(n, path, fmt.Sprintf("%d is too small: the least is %d", i, lowest), "")
	default:
		d.refuse(n, path, fmt.Sprintf("%d is too large: the most is %d", i, highest), "")
	}
}

// freeScalar decodes a scalar of no declared type into what JSON can hold.
func (d *decoder) freeScalar(n *yaml.Node, path Path) (any, bool) {
	switch n.ShortTag() {
	case "!!str", "!!timestamp":
		if err := checkText(n.Value, true); err != nil {
			d.refuse(n, path, err.Error(), "")
			return nil, false
		}
		return n.Value, true
	case "!!bool":
		return d.boolean(n, path, Rule{})
	case "!!int":
		var i int64
		if err := n.Decode(&i); err != nil {
			d.refuse(n, path, "the number "+n.Value+" is too large", "")
			return nil, false
		}
		return i, true
	case "!!float":
		var f float64
		if err := n.Decode(&f); err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			d.refuse(n, path, n.Value+" is no finite number", strconv.Quote(n.Value))
			return nil, false
		}
		return f, true
	default:
		d.refuse(n, path, noTags, "")
		return nil, false
	}
}

// choice lists the values allowed, for a message.
func choice(enum []string) string {
	switch len(enum) {
	case 0:
		return ""
	case 1:
		return ": write " + enum[0]
	default:
		return ": write one of " + strings.Join(enum, ", ")
	}
}

// describe says what a node is, for a message; it shows no secret.
func describe(n *yaml.Node, rule Rule) string {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch tag := n.ShortTag(); {
	case tag == "!!null":
		return "nothing"
	case (tag == "!!int" || tag == "!!float") && rule.Secret:
		return "a number"
	case tag == "!!int" || tag == "!!float":
		return "the number " + n.Value
	case tag == "!!bool" && isBoolean(n.Value) && rule.Secret:
		return "a boolean"
	case tag == "!!bool" && isBoolean(n.Value):
		return n.Value
	case rule.Secret:
		return "text"
	default:
		return "the text " + quote(n.Value)
	}
}

// truth maps the words that are booleans in other dialects to the one meant.
func truth(word string) string {
	switch strings.ToLower(word) {
	case "yes", "on", "y", "true", "1":
		return "true"
	case "no", "off", "n", "false", "0":
		return "false"
	default:
		return ""
	}
}
