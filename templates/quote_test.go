package templates

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// hostile are values that break formats when they are pasted in unquoted.
func hostile() []string {
	return []string{
		``, ` `, `plain`, `"`, `'`, `\`, `a"b'c\d`, "two\nlines", "tab\tand\rreturn", "{{ .Image }}",
		"$(KUBERNETES_SERVICE_HOST)", "$$", "$", "${HOME}", "%n", "`id`", "# comment", ": - ? & * !",
		"yes", "null", "0x10", "1e3", "\x7f\u0085\u2028\ufeff", "\x00", "🎈", "- x\n  y: z", "---", "|", "end\\",
	}
}

func FuzzQuote(f *testing.F) {
	for _, s := range hostile() {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		quoted, err := quote(s)
		if !utf8.ValidString(s) {
			if err == nil {
				t.Fatalf("quote(%q) = %s, want an error", s, quoted)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		var fromYAML struct{ V string }
		if err := yaml.UnmarshalStrict([]byte("V: "+quoted+"\n"), &fromYAML); err != nil || fromYAML.V != s {
			t.Errorf("YAML reads %s as %q, %v; want %q", quoted, fromYAML.V, err, s)
		}
		var fromTOML struct{ V string }
		if err := toml.Unmarshal([]byte("V = "+quoted+"\n"), &fromTOML); err != nil || fromTOML.V != s {
			t.Errorf("TOML reads %s as %q, %v; want %q", quoted, fromTOML.V, err, s)
		}
	})
}

// expand is what the kubelet makes of an element of a command, for a container that has every
// variable: $(NAME) is replaced, $$ is $, and a $ before anything else stays.
func expand(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] != '$' || i+1 == len(s):
			out.WriteByte(s[i])
		case s[i+1] == '$':
			out.WriteByte('$')
			i++
		case s[i+1] == '(':
			end := strings.IndexByte(s[i:], ')')
			if end < 0 {
				out.WriteByte('$')
				continue
			}
			out.WriteString("EXPANDED")
			i += end
		default:
			out.WriteByte('$')
		}
	}
	return out.String()
}

func TestHostileArgumentsStayWhatTheyAre(t *testing.T) {
	for _, s := range hostile() {
		d := schedulerData()
		d.ExtraArgs = map[string]string{"profile": s}
		d.InputsDigest, d.Image = s, s
		out, err := KubeScheduler(d)
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		pod, _ := decodeStrict(t, out)["Pod kube-system/kube-scheduler"].(*corev1.Pod)
		command := pod.Spec.Containers[0].Command
		if got, want := expand(command[len(command)-1]), "--profile="+s; got != want {
			t.Errorf("the scheduler gets %q, want %q", got, want)
		}
		if got := pod.Annotations[InputsDigestAnnotation]; got != s {
			t.Errorf("annotation %q, want %q", got, s)
		}
		if got := pod.Spec.Containers[0].Image; got != s {
			t.Errorf("image %q, want %q", got, s)
		}
	}
	d := schedulerData()
	d.Image = "\xff"
	if out, err := KubeScheduler(d); err == nil {
		t.Errorf("an image that is not UTF-8 renders:\n%s", out)
	}
}

func TestUnitWords(t *testing.T) {
	for value, want := range map[string]string{
		`--a=b`:        `"--a=b"`,
		`--a=b c`:      `"--a=b c"`,
		`--a="x"\`:     `"--a=\"x\"\\"`,
		`--a=%i$HOME;`: `"--a=%%i$$HOME;"`,
	} {
		if got, err := quoteUnitWord(value); got != want || err != nil {
			t.Errorf("quoteUnitWord(%q) = %s, %v; want %s", value, got, err, want)
		}
	}
	for _, value := range []string{"a\nExecStartPre=/bin/sh", "a\x00", "\xff", "a\rb"} {
		_, err := KubeletUnit(KubeletUnitData{
			NodeName: "n", NodeIP: addr("10.0.0.1"), ExtraArgs: map[string]string{"v": value},
		})
		if err == nil {
			t.Errorf("a unit with %q renders", value)
		}
	}
}
