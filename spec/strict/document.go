package strict

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"gopkg.in/yaml.v3"
)

// Document is a file that was decoded: it knows where each value of the file stands, and which
// of them could not be understood.
type Document struct {
	file   string
	places map[string]place
	broken map[string]bool
	// elsewhere translates paths, see Elsewhere; nil leaves them as they are.
	elsewhere func(Path) Path
}

// place is where a value stands, and where its key does. A list item is its own key.
type place struct{ key, value position }

// position is a place in the document's own file, or in another one that file names; name is what
// the value is called there.
type position struct {
	line, column int
	file, name   string
}

// File is the name the document was decoded under.
func (d *Document) File() string { return d.file }

// Elsewhere returns a view of the document for values that were made of it, and for documents that
// nobody has as a file: show says where in the document the value of a path comes from, and faults
// name that place, without a line.
func (d *Document) Elsewhere(show func(Path) Path) *Document {
	return &Document{file: d.file, places: d.places, broken: d.broken, elsewhere: show}
}

// own is the path in the document itself.
func (d *Document) own(at Path) Path {
	if d.elsewhere == nil {
		return at
	}
	return d.elsewhere(at)
}

// Has reports whether the file says anything at the path, were it null.
func (d *Document) Has(at Path) bool {
	_, ok := d.places[d.own(at).String()]
	return ok
}

// Broken reports whether the value at the path, or one that holds it, could not be understood.
// A check of such a value would only repeat, wrongly, what was already said.
func (d *Document) Broken(at Path) bool {
	at = d.own(at)
	for {
		if d.broken[at.String()] {
			return true
		}
		up, ok := at.up()
		if !ok {
			return false
		}
		at = up
	}
}

// BrokenBelow reports whether the value at the path, one that holds it, or one within it could
// not be understood. A check of the value as a whole is then pointless.
func (d *Document) BrokenBelow(at Path) bool {
	if d.Broken(at) {
		return true
	}
	prefix := d.own(at).String()
	for path := range d.broken {
		rest, ok := strings.CutPrefix(path, prefix)
		if ok && (prefix == "" || strings.HasPrefix(rest, ".") || strings.HasPrefix(rest, "[")) {
			return true
		}
	}
	return false
}

// Fault returns a fault of the value at the path. Where the file says nothing there, it points
// to the key of the closest enclosing value.
func (d *Document) Fault(at Path, message, suggestion string) Fault {
	f := Fault{File: d.file, Path: d.own(at).shown(), Message: message, Suggestion: suggestion}
	if p, ok := d.places[at.String()]; ok && d.elsewhere == nil {
		return p.value.mark(f, "")
	}
	return d.placed(f, at)
}

// KeyFault is Fault, but points to the key rather than to the value.
func (d *Document) KeyFault(at Path, message, suggestion string) Fault {
	return d.placed(Fault{File: d.file, Path: d.own(at).shown(), Message: message, Suggestion: suggestion}, at)
}

// placed gives the fault the position of the key of the path, or of the closest path above it.
func (d *Document) placed(f Fault, at Path) Fault {
	if d.elsewhere != nil {
		return f
	}
	for missing := ""; ; {
		if p, ok := d.places[at.String()]; ok {
			return p.key.mark(f, missing)
		}
		missing = at.elem + missing
		up, ok := at.up()
		if !ok {
			return f
		}
		at = up
	}
}

// Parse reads the one YAML document of a file, without looking at what it says. Its faults are those
// of the syntax, among them that there is no document.
func Parse(file string, data []byte) (*yaml.Node, Faults) {
	text, faults := checkBytes(file, data)
	if faults != nil {
		return nil, faults
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var first, second yaml.Node
	if err := decoder.Decode(&first); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, Faults{{File: file, Line: 1, Column: 1, Message: "the file holds nothing but comments"}}
		}
		return nil, Faults{syntaxFault(file, text, err)}
	}
	switch err := decoder.Decode(&second); {
	case err == nil:
		return nil, Faults{{File: file, Line: second.Line, Column: second.Column,
			Message: "a second document begins here; a file holds one, so remove the --- or split the file"}}
	case !errors.Is(err, io.EOF):
		return nil, Faults{syntaxFault(file, text, err)}
	}
	if len(first.Content) != 1 || isNull(first.Content[0]) {
		return nil, Faults{{File: file, Line: 1, Column: 1, Message: "the file is empty"}}
	}
	return first.Content[0], nil
}
