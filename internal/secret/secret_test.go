package secret_test

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"strings"
	"testing"
	"text/template"

	"gopkg.in/yaml.v3"
	k8syaml "sigs.k8s.io/yaml"

	"kubewright/internal/secret"
)

const raw = "hunter2-hunter2"

// holder is what a secret usually travels in.
type holder struct {
	Password secret.String           `json:"password" yaml:"password"`
	Key      secret.Bytes            `json:"key" yaml:"key"`
	Nested   *holder                 `json:"nested,omitempty" yaml:"nested,omitempty"`
	List     []secret.String         `json:"list,omitempty" yaml:"list,omitempty"`
	Map      map[string]secret.Bytes `json:"map,omitempty" yaml:"map,omitempty"`
}

func newHolder() holder {
	inner := holder{Password: raw, Key: secret.Bytes(raw)}
	return holder{
		Password: raw,
		Key:      secret.Bytes(raw),
		Nested:   &inner,
		List:     []secret.String{raw},
		Map:      map[string]secret.Bytes{"k": secret.Bytes(raw)},
	}
}

// assertHidden fails when any usual spelling of the secret is in the output.
func assertHidden(t *testing.T, got string) {
	t.Helper()
	decimal := strings.Trim(fmt.Sprint([]byte(raw)), "[]")
	hexGo := strings.Trim(fmt.Sprintf("%#v", []byte(raw[:3])), "[]byte{}")
	for _, form := range []string{
		raw, hex.EncodeToString([]byte(raw)), strings.ToUpper(hex.EncodeToString([]byte(raw))),
		base64.StdEncoding.EncodeToString([]byte(raw)), decimal, hexGo,
	} {
		if strings.Contains(got, form) {
			t.Errorf("output contains the secret as %q: %s", form, got)
		}
	}
	if !strings.Contains(got, secret.Redacted) {
		t.Errorf("output does not say %s: %s", secret.Redacted, got)
	}
}

// shapes are the ways in which a secret gets into a line of output.
func shapes() map[string]any {
	text, data := secret.String(raw), secret.Bytes(raw)
	full := newHolder()
	full.Nested = nil // see the documentation of the package for pointers inside of values
	return map[string]any{
		"String":              text,
		"Bytes":               data,
		"pointer to String":   &text,
		"pointer to Bytes":    &data,
		"slice of String":     []secret.String{text},
		"slice of Bytes":      []secret.Bytes{data},
		"array":               [1]secret.String{text},
		"map of String":       map[string]secret.String{"k": text},
		"map of Bytes":        map[string]secret.Bytes{"k": data},
		"struct":              full,
		"pointer to struct":   &full,
		"slice of structs":    []holder{full},
		"map of structs":      map[string]holder{"k": full},
		"slice of any":        []any{text, data},
		"struct with any":     struct{ V any }{data},
		"embedded":            struct{ *secret.Bytes }{&data},
		"nested in interface": any(fmt.Stringer(text)),
	}
}

func TestFormattingHidesTheSecret(t *testing.T) {
	verbs := []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%b", "%o", "%c", "%U", "% x", "%#x", "%10s", "%.3s", "%t", "%e"}
	for name, value := range shapes() {
		for _, verb := range verbs {
			t.Run(name+" "+verb, func(t *testing.T) { assertHidden(t, fmt.Sprintf(verb, value)) })
		}
		t.Run(name+" Sprint", func(t *testing.T) { assertHidden(t, fmt.Sprint(value)) })
		t.Run(name+" in an error", func(t *testing.T) {
			assertHidden(t, errors.Join(fmt.Errorf("log in with %v: %w", value, errors.New("refused"))).Error())
		})
		t.Run(name+" in a template", func(t *testing.T) {
			var out bytes.Buffer
			if err := template.Must(template.New("").Parse("{{ printf `%v` . }}")).Execute(&out, value); err != nil {
				t.Fatal(err)
			}
			assertHidden(t, out.String())
		})
	}
	assertHidden(t, secret.String(raw).String())
	assertHidden(t, secret.Bytes(raw).String())
	assertHidden(t, secret.String(raw).GoString())
	assertHidden(t, secret.Bytes(raw).GoString())
	assertHidden(t, secret.String(raw).LogValue().String())
	assertHidden(t, secret.Bytes(raw).LogValue().String())
}

func TestEncodingHidesTheSecret(t *testing.T) {
	logged := func(handler func(io.Writer) slog.Handler) func(any) ([]byte, error) {
		return func(v any) ([]byte, error) {
			var out bytes.Buffer
			log := slog.New(handler(&out))
			log.With("with", v).Debug("x", "v", v, slog.Group("g", slog.Any("v", v)))
			return out.Bytes(), nil
		}
	}
	everything := &slog.HandlerOptions{Level: slog.LevelDebug}
	encoders := map[string]func(any) ([]byte, error){
		"json":          json.Marshal,
		"json indented": func(v any) ([]byte, error) { return json.MarshalIndent(v, "", " ") },
		"yaml":          yaml.Marshal,
		"yaml of JSON":  k8syaml.Marshal,
		"slog text":     logged(func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, everything) }),
		"slog json":     logged(func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, everything) }),
		"log":           loggedPlainly,
	}
	for name, encode := range encoders {
		all := shapes()
		all["struct with a pointer"] = newHolder()
		for shape, value := range all {
			t.Run(name+" "+shape, func(t *testing.T) {
				got, err := encode(value)
				if err != nil {
					t.Fatal(err)
				}
				assertHidden(t, string(got))
			})
		}
	}
	type login struct {
		Password secret.String
		Key      secret.Bytes
	}
	for name, encode := range map[string]func(any) ([]byte, error){
		"xml": xml.Marshal,
		"gob": func(v any) ([]byte, error) {
			var out bytes.Buffer
			err := gob.NewEncoder(&out).Encode(v)
			return out.Bytes(), err
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := encode(login{raw, secret.Bytes(raw)})
			if err != nil {
				t.Fatal(err)
			}
			assertHidden(t, string(got))
		})
	}
}

// loggedPlainly is what the older package log writes.
func loggedPlainly(v any) ([]byte, error) {
	var out bytes.Buffer
	log.New(&out, "", 0).Println(v)
	return out.Bytes(), nil
}

func TestDecoding(t *testing.T) {
	var fromYAML holder
	if err := yaml.Unmarshal([]byte("password: "+raw+"\n"), &fromYAML); err != nil {
		t.Fatal(err)
	}
	if got := fromYAML.Password.Reveal(); got != raw {
		t.Errorf("YAML: got %q, want %q", got, raw)
	}
	var fromJSON holder
	if err := json.Unmarshal([]byte(`{"password":"`+raw+`","key":"aHVudGVyMi1odW50ZXIy"}`), &fromJSON); err != nil {
		t.Fatal(err)
	}
	if got := fromJSON.Password.Reveal(); got != raw {
		t.Errorf("JSON: got %q, want %q", got, raw)
	}
	if got := string(fromJSON.Key.Reveal()); got != raw {
		t.Errorf("JSON bytes: got %q, want %q", got, raw)
	}
}

func TestEqual(t *testing.T) {
	tests := []struct {
		a, b string
		want bool
	}{
		{"", "", true}, {raw, raw, true}, {raw, raw + "x", false}, {raw, "", false}, {"abc", "abd", false},
	}
	for _, test := range tests {
		if got := secret.String(test.a).Equal(secret.String(test.b)); got != test.want {
			t.Errorf("String(%q).Equal(%q) = %v", test.a, test.b, got)
		}
		if got := secret.Bytes(test.a).Equal(secret.Bytes(test.b)); got != test.want {
			t.Errorf("Bytes(%q).Equal(%q) = %v", test.a, test.b, got)
		}
	}
}
