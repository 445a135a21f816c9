package secret_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

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

func TestFormattingHidesTheSecret(t *testing.T) {
	verbs := []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%b", "% x", "%#x", "%10s", "%t"}
	values := map[string]any{
		"String":  secret.String(raw),
		"Bytes":   secret.Bytes(raw),
		"pointer": func() any { s := secret.String(raw); return &s }(),
		"slice":   []secret.Bytes{secret.Bytes(raw)},
	}
	for name, value := range values {
		for _, verb := range verbs {
			if name == "pointer" && verb != "%v" && verb != "%s" {
				continue // other verbs print the address of a pointer
			}
			t.Run(name+" "+verb, func(t *testing.T) { assertHidden(t, fmt.Sprintf(verb, value)) })
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		t.Run("struct "+verb, func(t *testing.T) {
			h := newHolder()
			h.Nested = nil
			assertHidden(t, fmt.Sprintf(verb, h))
		})
	}
	assertHidden(t, secret.String(raw).String())
	assertHidden(t, secret.Bytes(raw).String())
	assertHidden(t, secret.String(raw).GoString())
	assertHidden(t, secret.Bytes(raw).GoString())
}

func TestEncodingHidesTheSecret(t *testing.T) {
	encoders := map[string]func(any) ([]byte, error){
		"json": json.Marshal,
		"yaml": yaml.Marshal,
		"slog text": func(v any) ([]byte, error) {
			var out bytes.Buffer
			slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
			return out.Bytes(), nil
		},
		"slog json": func(v any) ([]byte, error) {
			var out bytes.Buffer
			slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
			return out.Bytes(), nil
		},
	}
	for name, encode := range encoders {
		for kind, value := range map[string]any{
			"String": secret.String(raw), "Bytes": secret.Bytes(raw),
		} {
			t.Run(name+" "+kind, func(t *testing.T) {
				got, err := encode(value)
				if err != nil {
					t.Fatal(err)
				}
				assertHidden(t, string(got))
			})
		}
	}
	for _, name := range []string{"json", "yaml"} {
		t.Run(name+" struct", func(t *testing.T) {
			got, err := encoders[name](newHolder())
			if err != nil {
				t.Fatal(err)
			}
			assertHidden(t, string(got))
		})
	}
	t.Run("xml", func(t *testing.T) {
		type login struct{ Password secret.String }
		got, err := xml.Marshal(login{raw})
		if err != nil {
			t.Fatal(err)
		}
		assertHidden(t, string(got))
	})
	t.Run("wrapped in an error", func(t *testing.T) {
		err := errors.Join(fmt.Errorf("log in with %s: %w", secret.String(raw), errors.New("refused")))
		assertHidden(t, err.Error())
	})
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
