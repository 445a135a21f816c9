// Package secret holds values that must not be seen: private keys, passwords, tokens.
//
// A value of these types prints, logs and encodes as "[redacted]". The only way to its content is
// Reveal, so a search for that word finds every place where a secret leaves the program.
//
// Three things the types cannot do. Package fmt does not call methods on unexported struct fields: a
// struct with an unexported secret field needs a Format method of its own. It calls none either where
// a verb does not fit what is inside a value, such as %s for a pointer to a struct: print values that
// are not text with %v, as vet says. And encoding/json does not call methods on string map keys:
// never use a secret as one.
package secret

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

// Redacted stands in every output where a secret would have been.
const Redacted = "[redacted]"

// Bytes is secret binary data, such as a PEM encoded private key.
type Bytes []byte

// String is secret text, such as a password. It is decoded from YAML and JSON like a plain string.
type String string

// Reveal returns the raw value. The slice is not a copy: do not change it.
func (b Bytes) Reveal() []byte { return []byte(b) }

// Reveal returns the raw value.
func (s String) Reveal() string { return string(s) }

// Equal reports whether both values are the same, in a time that does not depend on their content.
func (b Bytes) Equal(other Bytes) bool { return subtle.ConstantTimeCompare(b, other) == 1 }

// Equal reports whether both values are the same, in a time that does not depend on their content.
func (s String) Equal(other String) bool {
	return subtle.ConstantTimeCompare([]byte(s), []byte(other)) == 1
}

// String returns Redacted.
func (Bytes) String() string { return Redacted }

// String returns Redacted.
func (String) String() string { return Redacted }

// GoString returns Redacted.
func (Bytes) GoString() string { return Redacted }

// GoString returns Redacted.
func (String) GoString() string { return Redacted }

// Format writes Redacted, whatever the verb: without it %x and %d would print the content.
func (Bytes) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, Redacted) }

// Format writes Redacted, whatever the verb: without it %x and %q would print the content.
func (String) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, Redacted) }

// MarshalText returns Redacted; it covers XML and other text encodings.
func (Bytes) MarshalText() ([]byte, error) { return []byte(Redacted), nil }

// MarshalText returns Redacted; it covers XML and other text encodings.
func (String) MarshalText() ([]byte, error) { return []byte(Redacted), nil }

// MarshalBinary returns Redacted; it covers gob.
func (Bytes) MarshalBinary() ([]byte, error) { return []byte(Redacted), nil }

// MarshalBinary returns Redacted; it covers gob.
func (String) MarshalBinary() ([]byte, error) { return []byte(Redacted), nil }

// MarshalJSON returns Redacted as a JSON string.
func (Bytes) MarshalJSON() ([]byte, error) { return []byte(`"` + Redacted + `"`), nil }

// MarshalJSON returns Redacted as a JSON string.
func (String) MarshalJSON() ([]byte, error) { return []byte(`"` + Redacted + `"`), nil }

// MarshalYAML returns Redacted.
func (Bytes) MarshalYAML() (any, error) { return Redacted, nil }

// MarshalYAML returns Redacted.
func (String) MarshalYAML() (any, error) { return Redacted, nil }

// LogValue returns Redacted to every slog handler.
func (Bytes) LogValue() slog.Value { return slog.StringValue(Redacted) }

// LogValue returns Redacted to every slog handler.
func (String) LogValue() slog.Value { return slog.StringValue(Redacted) }
