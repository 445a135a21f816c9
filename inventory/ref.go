package inventory

import (
	"regexp"
	"strings"
	"sync"

	"kubewright/internal/secret"
	"kubewright/spec/strict"
)

// Ref names where a secret is kept; a secret itself is never written in a file of ours.
// The zero Ref means that there is no secret.
type Ref struct {
	// Source is RefEnv or RefFile.
	Source string
	// Name is the name of the environment variable, or the path of the file.
	Name string
}

// The places a secret can be kept in.
const (
	// RefEnv is an environment variable of the operator: env:NAME.
	RefEnv = "env"
	// RefFile is a file of the operator: file:PATH.
	RefFile = "file"
)

// SecretResolver fetches the secret a reference names. It is given by the caller, who has the
// environment and the files: an unset variable or an unreadable file is an error, which names
// the reference; one trailing line break of a file is not part of the secret; the zero Ref gives
// an empty secret. A leading ~/ of a path is the operator's home folder.
type SecretResolver func(Ref) (secret.String, error)

// IsZero reports whether the reference names nothing.
func (r Ref) IsZero() bool { return r == Ref{} }

// String renders the reference, which is no secret, as the user wrote it.
func (r Ref) String() string {
	if r.IsZero() {
		return ""
	}
	return r.Source + ":" + r.Name
}

// UnmarshalText reads env:NAME or file:PATH. Its error does not repeat the text, which may be
// the secret itself.
func (r *Ref) UnmarshalText(text []byte) error {
	source, name, _ := strings.Cut(string(text), ":")
	switch {
	case len(text) == 0:
		return &strict.ValueError{Message: "a reference to a secret must not be empty: write env:NAME or file:PATH"}
	case source == RefEnv && envName().MatchString(name):
	case source == RefEnv && envName().MatchString(strings.Trim(name, "${}")):
		return &strict.ValueError{Message: "env: takes the name of the variable alone", Suggestion: "env:" + strings.Trim(name, "${}")}
	case source == RefEnv:
		return &strict.ValueError{Message: "env: takes the name of an environment variable: letters, digits and _"}
	case source == RefFile && name == "":
		return &strict.ValueError{Message: "file: takes the path of the file that holds the secret"}
	case source == RefFile:
	default:
		return &strict.ValueError{Message: "a secret in plain text is refused: " +
			"put it into an environment variable or a file, and write env:NAME or file:PATH here"}
	}
	*r = Ref{Source: source, Name: name}
	return nil
}

// MarshalText is the inverse of UnmarshalText.
func (r Ref) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

var envName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
})
