package ansible

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"

	"gopkg.in/yaml.v3"

	"kubewright/spec/strict"
)

// value is a variable with what its template came to for one host.
type value struct {
	variable
	world    *world
	resolved *yaml.Node
	err      error // of the template
}

// at is where a part of the value stands; what a template has brought stands where the template does.
func (v value) at(n *yaml.Node) strict.Origin {
	if isTemplate(target(v.value)) {
		return v.origin()
	}
	return v.variable.at(n)
}

func (v value) node() (*yaml.Node, error) {
	if v.err == nil && v.resolved.Tag == tagVault {
		return nil, errVault
	}
	return v.resolved, v.err
}

// text returns a value that is text, or a number or boolean as it was written.
func (v value) text() (string, error) {
	n, err := v.node()
	if err != nil {
		return "", err
	}
	text, ok := plain(n)
	if !ok {
		return "", errors.New("expected text")
	}
	return text, nil
}

// integer returns a whole number, which may be written as text.
func (v value) integer() (*yaml.Node, error) {
	n, err := v.node()
	if err != nil {
		return nil, err
	}
	if _, ok := number(n); !ok {
		return nil, errors.New("expected a whole number")
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tagInt, Value: strings.TrimSpace(n.Value)}, nil
}

func (v value) boolean() (bool, error) {
	n, err := v.node()
	if err != nil {
		return false, err
	}
	b, ok := truth(n)
	if !ok {
		return false, errors.New("expected true or false")
	}
	return b, nil
}

// mapping returns the keys of a mapping; one that is written as text, as in an INI file, is read.
func (v value) mapping() ([]pair, error) {
	n, err := v.node()
	if err != nil {
		return nil, err
	}
	if n.Kind == yaml.ScalarNode && n.ShortTag() == tagText {
		if read, fault := readJSON("", []byte(n.Value)); fault == nil {
			o := v.origin()
			n = read
			for _, c := range n.Content {
				c.Line, c.Column = o.Line, o.Column
			}
		}
	}
	switch {
	case isNull(n):
		return nil, nil
	case n.Kind != yaml.MappingNode:
		return nil, errors.New("expected a mapping, such as {key: value}")
	}
	return v.world.entries(v.file, n), nil
}

// list returns the items of a list; text is a list of one.
func (v value) list() ([]*yaml.Node, error) {
	n, err := v.node()
	switch {
	case err != nil:
		return nil, err
	case isNull(n):
		return nil, nil
	case n.Kind == yaml.ScalarNode:
		return []*yaml.Node{n}, nil
	case n.Kind != yaml.SequenceNode:
		return nil, errors.New("expected a list")
	}
	return n.Content, nil
}

// lookup matches the two lookups that say where a secret is kept.
var lookup = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^\s*\{\{-?\s*lookup\(\s*['"](?:ansible\.builtin\.)?(env|file)['"]\s*,\s*['"]([^'"]+)['"]\s*\)\s*-?\}\}\s*$`)
})

// secret returns where a secret is kept, as a reference of ours. What it returns for plain text is
// that text, which the inventory then refuses like any other.
func (v value) secret() (string, error) {
	if m := lookup().FindStringSubmatch(target(v.value).Value); m != nil {
		return m[1] + ":" + m[2], nil
	}
	const instead = "write {{ lookup('env', 'NAME') }} or env:NAME, or the same with a file and its PATH"
	text, err := v.text()
	switch {
	case errors.Is(err, errVault):
		return "", fmt.Errorf("%w: %s", errVault, instead)
	case err != nil:
		return "", errors.New("it cannot be told where the secret is kept: " + instead)
	}
	return text, nil
}
