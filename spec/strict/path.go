package strict

import (
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// Path is a place in a document, such as spec.hosts[2].labels["example.com/disk"]. The zero Path
// is the document itself. Paths are values: each method returns a longer one.
type Path struct {
	parent *Path
	elem   string
}

// At returns the path of nested keys below the document.
func At(keys ...string) Path { return Path{}.Key(keys...) }

// Key returns the path of a key below p, or of keys nested in each other.
func (p Path) Key(keys ...string) Path {
	for _, k := range keys {
		parent, elem := p, "."+k
		if !plainKey().MatchString(k) {
			elem = "[" + strconv.QuoteToASCII(k) + "]"
		}
		p = Path{parent: &parent, elem: elem}
	}
	return p
}

// Index returns the path of the i-th item of the list at p, counted from 0.
func (p Path) Index(i int) Path { return Path{parent: &p, elem: "[" + strconv.Itoa(i) + "]"} }

// String renders the path as it stands in the document; the document itself is "".
func (p Path) String() string { return p.render(func(elem string) string { return elem }) }

// shown renders the path for a message: a key that is a URL may hold a password.
func (p Path) shown() string {
	return p.render(func(elem string) string {
		key, err := strconv.Unquote(strings.Trim(elem, "[]"))
		if err != nil { // an index, or a key without quotes, which cannot hold an @
			return elem
		}
		return "[" + strconv.QuoteToASCII(WithoutPassword(key)) + "]"
	})
}

func (p Path) render(show func(elem string) string) string {
	var elems []string
	for at := p; at.parent != nil; at = *at.parent {
		elems = append(elems, show(at.elem))
	}
	var b strings.Builder
	for i := len(elems) - 1; i >= 0; i-- {
		b.WriteString(elems[i])
	}
	return strings.TrimPrefix(b.String(), ".")
}

// up returns the path one level higher; ok is false for the document itself.
func (p Path) up() (parent Path, ok bool) {
	if p.parent == nil {
		return Path{}, false
	}
	return *p.parent, true
}

// Split returns the path one level higher, and what leads from a path to the same key or index below
// it; ok is false for the document itself.
func (p Path) Split() (parent Path, last func(Path) Path, ok bool) {
	parent, ok = p.up()
	return parent, func(at Path) Path { return Path{parent: &at, elem: p.elem} }, ok
}

// plainKey matches the keys that need no quotes in a path.
var plainKey = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)
})
