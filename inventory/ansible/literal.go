package ansible

import (
	"regexp"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"kubewright/spec/strict"
)

// The tags of scalars, as YAML calls them.
const (
	tagText  = "!!str"
	tagInt   = "!!int"
	tagFloat = "!!float"
	tagBool  = "!!bool"
	tagNull  = "!!null"
)

func scalar(tag, value string, o strict.Origin) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value, Line: o.Line, Column: o.Column}
}

// literal reads the value of a variable in an INI file: what is a literal of Python is what it says
// (a number, True, 'text', [...], {...}), anything else is the text as it stands.
func literal(text string, o strict.Origin) *yaml.Node {
	if n, ok := parseLiteral(text, o); ok {
		return n
	}
	return scalar(tagText, text, o)
}

func isLiteral(text string) bool {
	_, ok := parseLiteral(text, strict.Origin{})
	return ok
}

func parseLiteral(text string, o strict.Origin) (*yaml.Node, bool) {
	p := &literalParser{rest: text, origin: o}
	n, ok := p.value(0)
	p.blanks()
	if !ok || p.rest != "" && p.rest[0] != '#' { // Python takes # for a comment
		return nil, false
	}
	return n, true
}

// literalParser reads a literal of Python from the left.
type literalParser struct {
	rest   string
	origin strict.Origin
}

func (p *literalParser) advance(n int) {
	p.origin.Column += utf8.RuneCountInString(p.rest[:n])
	p.rest = p.rest[n:]
}

func (p *literalParser) blanks() {
	p.advance(len(p.rest) - len(strings.TrimLeft(p.rest, " \t")))
}

// take reads one character, if it is the next one.
func (p *literalParser) take(c string) bool {
	p.blanks()
	if !strings.HasPrefix(p.rest, c) {
		return false
	}
	p.advance(len(c))
	return true
}

// literalWord matches numbers and the words of Python, at the beginning of a text.
var literalWord = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(True|False|None|[+-]?(?:0[xX][0-9a-fA-F]+|0[oO]?0*|[1-9][0-9_]*|[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)(?:$|[^\w.])`)
})

// deepest bounds how far lists are nested in each other.
const deepest = 20

func (p *literalParser) value(depth int) (*yaml.Node, bool) {
	p.blanks()
	at := p.origin
	switch {
	case p.rest == "" || depth > deepest:
		return nil, false
	case p.rest[0] == '\'' || p.rest[0] == '"':
		text, ok := p.text()
		return scalar(tagText, text, at), ok
	case p.take("["):
		return p.items("]", depth, at)
	case p.take("("):
		return p.items(")", depth, at)
	case p.take("{"):
		return p.entries(depth, at)
	}
	m := literalWord().FindStringSubmatch(p.rest)
	if m == nil {
		return nil, false
	}
	p.advance(len(m[1]))
	switch m[1] {
	case "True", "False":
		return scalar(tagBool, strings.ToLower(m[1]), at), true
	case "None":
		return scalar(tagNull, "null", at), true
	}
	if _, err := strconv.ParseInt(m[1], 0, 64); err == nil {
		return scalar(tagInt, m[1], at), true
	}
	return scalar(tagFloat, m[1], at), true
}

// items reads a list or a tuple whose bracket was read.
func (p *literalParser) items(end string, depth int, at strict.Origin) (*yaml.Node, bool) {
	list := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Line: at.Line, Column: at.Column}
	for !p.take(end) {
		item, ok := p.value(depth + 1)
		if !ok {
			return nil, false
		}
		list.Content = append(list.Content, item)
		if !p.take(",") {
			return list, p.take(end) && (end == "]" || len(list.Content) != 1) // (1) is no tuple
		}
	}
	return list, true
}

// entries reads a dictionary whose brace was read.
func (p *literalParser) entries(depth int, at strict.Origin) (*yaml.Node, bool) {
	mapping := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: at.Line, Column: at.Column}
	for !p.take("}") {
		key, ok := p.value(depth + 1)
		if !ok || !p.take(":") {
			return nil, false
		}
		value, ok := p.value(depth + 1)
		if !ok {
			return nil, false
		}
		mapping.Content = append(mapping.Content, key, value)
		if !p.take(",") {
			return mapping, p.take("}")
		}
	}
	return mapping, true
}

// text reads a text in quotes.
func (p *literalParser) text() (string, bool) {
	quote := p.rest[0]
	for i := 1; i < len(p.rest); i++ {
		switch p.rest[i] {
		case '\\':
			i++
		case quote:
			text, ok := unescape(p.rest[1:i])
			p.advance(i + 1)
			return text, ok
		}
	}
	return "", false
}

// unescape resolves the backslashes of a text of Python; those it does not know stay, as in Python.
func unescape(text string) (string, bool) {
	if !strings.Contains(text, `\`) {
		return text, true
	}
	var b strings.Builder
	for text != "" {
		switch {
		case strings.HasPrefix(text, `\'`), strings.HasPrefix(text, `\"`), strings.HasPrefix(text, `\\`):
			b.WriteByte(text[1])
			text = text[2:]
		case strings.HasPrefix(text, `\n`), strings.HasPrefix(text, `\t`), strings.HasPrefix(text, `\r`),
			strings.HasPrefix(text, `\x`), strings.HasPrefix(text, `\u`), strings.HasPrefix(text, `\U`):
			r, _, rest, err := strconv.UnquoteChar(text, 0)
			if err != nil {
				return "", false
			}
			b.WriteRune(r)
			text = rest
		default:
			r, size := utf8.DecodeRuneInString(text)
			b.WriteRune(r)
			text = text[size:]
		}
	}
	return b.String(), true
}
