package strict_test

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kubewright/spec/strict"
)

type disk struct {
	Path string `yaml:"path" rule:"required"`
	Size int    `yaml:"size" rule:"min=1,max=100"`
}

type machine struct {
	Name     string            `yaml:"name" rule:"required"`
	Kind     string            `yaml:"kind" rule:"enum=big|small,default=small"`
	Port     *int              `yaml:"port" rule:"default=22"`
	Agent    *bool             `yaml:"agent"`
	Password *token            `yaml:"password" rule:"secret"`
	Labels   map[string]string `yaml:"labels"`
	Notes    map[string]string `yaml:"notes" rule:"multiline"`
	Tags     []string          `yaml:"tags"`
	Roles    []string          `yaml:"roles" rule:"enum=reader|writer"`
	Disks    []disk            `yaml:"disks"`
	Extra    map[string]any    `yaml:"extra"`
	Network  struct {
		PodCIDR string `yaml:"podCIDR"`
	} `yaml:"network"`
	Shared `yaml:",inline"`
}

type Shared struct {
	Zone string `json:"zone"`
}

type token string

func (t *token) UnmarshalText(text []byte) error {
	if !strings.HasPrefix(string(text), "env:") {
		return &strict.ValueError{Message: "no plain text", Suggestion: "env:NAME"}
	}
	*t = token(text)
	return nil
}

// decode returns the faults of a document as lines.
func decode(t *testing.T, text string, into any) []string {
	t.Helper()
	_, faults := strict.Decode("m.yaml", []byte(text), into)
	var lines []string
	for _, f := range faults.Sorted() {
		if f.Line < 1 || f.Column < 1 {
			t.Errorf("fault without a place: %#v", f)
		}
		lines = append(lines, f.Error())
	}
	return lines
}

const noTags = "a tag (!name) is not supported; remove it, or put quotes around text that begins with !"

func TestFaults(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string
	}{
		{"good", "name: a\nkind: big\nport: 1\nroles: [reader]\ndisks: [{path: /x, size: 3}]\n", nil},
		{"crlf", "name: a\r\nkind: big\r\n", nil},
		{"byte order mark", "\uFEFFname: a\n", nil},
		{"utf-16", "\xFF\xFEn\x00a\x00", []string{"m.yaml:1:1: the file is encoded in UTF-16; save it as UTF-8"}},
		{"latin-1", "name: a\nkind: caf\xe9\n", []string{"m.yaml:2:10: byte 0xe9 is not UTF-8; save the file as UTF-8"}},
		{"nul", "name: \x00", []string{"m.yaml:1:7: the file has a NUL byte: it is no text file, or not in UTF-8; save it as UTF-8"}},
		{"escape character", "name: a\nkind: \x1b[0m", []string{"m.yaml:2:7: the invisible character U+001B is not allowed in YAML; remove it"}},
		{"empty", " \n", []string{"m.yaml:1:1: the file is empty"}},
		{"comments", "# nothing\n", []string{"m.yaml:1:1: the file holds nothing but comments"}},
		{"null", "---\n", []string{"m.yaml:1:1: the file is empty"}},
		{"list", "- name: a\n", []string{"m.yaml:1:1: expected a mapping, found a list"}},
		{"two documents", "name: a\n---\nname: b\n", []string{"m.yaml:2:1: a second document begins here; a file holds one, so remove the --- or split the file"}},
		{"tab", "name: a\nlabels:\n\tx: y\n", []string{"m.yaml:3:1: a tab indents this line; YAML is indented with spaces"}},
		{"syntax", "name: a\nlabels: [x\nkind: big\n", []string{"m.yaml:2:1: this is not YAML: the list that begins with [ here is not closed, or lacks a comma"}},
		{"indentation", "name: a\nlabels:\n  x: y\n z: y\nkind: big\n", []string{"m.yaml:4:2: this is not YAML: did not find expected key in this line; is it indented like its neighbours?"}},
		{"list among keys", "name: a\n- b\nkind: big\n", []string{"m.yaml:2:1: this is not YAML: did not find expected key in this line; is it indented like its neighbours?"}},
		{"no colon", "name: a\nlabels:\n  x: y\nkind\nport: 3\n", []string{"m.yaml:4:1: this is not YAML: could not find expected ':'"}},
		{"colon", "name: a\nkind: b: c\n", []string{"m.yaml:2:1: this is not YAML: a second colon in the line, or a wrong indent; text that holds ': ' needs quotes"}},
		{"open quote", "name: a\nkind: \"b\n", []string{"m.yaml:2:1: this is not YAML: a quote that opens in this line is not closed"}},
		{"percent", "name: a\nkind: %b\n", []string{"m.yaml:2:1: this is not YAML: text that begins with % @ or ` needs quotes"}},
		{"unknown anchor", "name: a\npassword: *hunter2\n", []string{"m.yaml:2:1: an alias (*name) refers to an anchor that is not there; text that begins with * needs quotes"}},
		{"missing", "kind: big\n", []string{"m.yaml:1:1: name: this key is required"}},
		{"required null", "name:\n", []string{"m.yaml:1:6: name: a value is required"}},
		{"required empty", "name: \"\"\n", []string{"m.yaml:1:7: name: must not be empty"}},
		{"unknown keys", "name: a\nnmae: b\nport_: 3\npodCIDR: x\nquux: 1\nnetwork: {pod-cidr: x}\n", []string{
			"m.yaml:2:1: nmae: unknown key; did you mean name?",
			"m.yaml:3:1: port_: unknown key; did you mean port?",
			"m.yaml:4:1: podCIDR: unknown key here; did you mean network.podCIDR?",
			"m.yaml:5:1: quux: unknown key; the top of the file can have agent, disks, extra, kind, labels, name, network, notes, password, port, roles, tags, zone",
			"m.yaml:6:11: network.pod-cidr: unknown key; did you mean podCIDR?",
		}},
		{"wrong types", "name: 12\nport: \"22\"\nagent: yes\ntags: a\nlabels: [a]\ndisks: {}\nextra: 3\n", []string{
			`m.yaml:1:7: name: expected text, found the number 12; did you mean "12"?`,
			`m.yaml:2:7: port: expected a whole number, found the text "22"; did you mean 22 without quotes?`,
			`m.yaml:3:8: agent: expected true or false, found the text "yes"; did you mean true?`,
			`m.yaml:4:7: tags: expected a list, found text; put the items between [ and ]`,
			`m.yaml:5:9: labels: expected a mapping, found a list`,
			`m.yaml:6:8: disks: expected a list, found a mapping`,
			`m.yaml:7:8: extra: expected a mapping, found a number`,
		}},
		{"label values", "name: a\nlabels: {a: true, b: 1.10, c: , d: x, 7: y, \"e\\nf\": g}\n", []string{
			`m.yaml:2:13: labels.a: expected text, found true; did you mean "true"?`,
			`m.yaml:2:22: labels.b: expected text, found the number 1.10; did you mean "1.10"?`,
			`m.yaml:2:31: labels.c: expected text, found nothing; did you mean ""?`,
			`m.yaml:2:39: labels: a key must be text, found the number 7; did you mean "7"?`,
			`m.yaml:2:45: labels["e\nf"]: line breaks are not allowed here; write it on one line`,
		}},
		{"duplicate keys", "name: a\nname: b\nextra: {x: 1, x: 2}\n", []string{
			"m.yaml:2:1: name: duplicate key; line 1 has it already",
			"m.yaml:3:15: extra.x: duplicate key; line 3 has it already",
		}},
		{"enum", "name: a\nkind: bigg\nroles: [reader, admin]\n", []string{
			`m.yaml:2:7: kind: unknown value "bigg"; did you mean big?`,
			`m.yaml:3:17: roles[1]: unknown value "admin": write one of reader, writer`,
		}},
		{"bounds", "name: a\ndisks: [{path: x, size: 0}, {size: 101}, {path: x, size: 99999999999999999999}, ~]\n", []string{
			"m.yaml:2:25: disks[0].size: 0 is out of range: write a number from 1 to 100",
			"m.yaml:2:29: disks[1].path: this key is required",
			"m.yaml:2:36: disks[1].size: 101 is out of range: write a number from 1 to 100",
			"m.yaml:2:58: disks[2].size: expected a whole number, found the number 99999999999999999999",
			"m.yaml:2:81: disks[3]: this item is empty; remove it or write a value",
		}},
		{"line breaks", "name: \"a\\nb\"\nnotes: {x: \"a\\nb\"}\nlabels: {x: \"a\\u202eb\"}\nextra: {x: \"a\\nb\\tc\", y: [\"a\\x7fb\"]}\n", []string{
			"m.yaml:1:7: name: line breaks are not allowed here; write it on one line",
			"m.yaml:3:13: labels.x: the invisible or broken character U+202E is not allowed here; remove it",
			"m.yaml:4:27: extra.y[0]: the invisible or broken character U+007F is not allowed here; remove it",
		}},
		{"secrets are not shown", "name: a\npassword: hunter2\n", []string{
			"m.yaml:2:11: password: no plain text; did you mean env:NAME?",
		}},
		{"secret numbers are not shown", "name: a\npassword: 31337\n", []string{
			"m.yaml:2:11: password: expected text, found a number",
		}},
		{"tags", "name: !!binary aGk=\nextra: {x: !foo y}\n", []string{
			"m.yaml:1:7: name: " + noTags,
			"m.yaml:2:12: extra.x: " + noTags,
		}},
		{"scalars where mappings and lists belong are not shown", "name: a\nnetwork: hunter2\nlabels: !hunter2\nextra: !!bool hunter2\ntags: hunter2\nroles: hunter2\ndisks: [hunter2, 5, true]\n", []string{
			"m.yaml:2:10: network: expected a mapping, found text",
			"m.yaml:3:9: labels: expected a mapping, found text",
			"m.yaml:4:8: extra: expected a mapping, found text",
			"m.yaml:5:7: tags: expected a list, found text; put the items between [ and ]",
			"m.yaml:6:8: roles: expected a list, found text; put the items between [ and ]",
			"m.yaml:7:9: disks[0]: expected a mapping, found text",
			"m.yaml:7:18: disks[1]: expected a mapping, found a number",
			"m.yaml:7:21: disks[2]: expected a mapping, found a boolean",
		}},
		{"list of one word", "name: a\nroles: reader\ndisks: x\n", []string{
			"m.yaml:2:8: roles: expected a list, found text; did you mean [reader]?",
			"m.yaml:3:8: disks: expected a list, found text",
		}},
		{"tags of secrets are not shown", "name: a\npassword: !hunter2\n", []string{"m.yaml:2:11: password: " + noTags}},
		{"long tags of secrets are not shown", "name: a\npassword: !!hunter2 x\n", []string{"m.yaml:2:11: password: " + noTags}},
		{"secret booleans are not shown", "name: a\npassword: true\n", []string{"m.yaml:2:11: password: expected text, found a boolean"}},
		{"a tag does not show a secret", "name: a\npassword: !!bool hunter2\n", []string{"m.yaml:2:11: password: " + noTags}},
		{"passwords in keys are not shown", "name: a\nlabels: {\"https://u:hunter2@x/y\": 1}\n", []string{
			`m.yaml:2:35: labels["https://u@x/y"]: expected text, found the number 1; did you mean "1"?`,
		}},
		{"booleans by tag", "name: a\nagent: !!bool yes\nextra: {x: !!bool on, y: !!bool \"false\"}\n", []string{
			`m.yaml:2:8: agent: expected true or false, found the text "yes"; did you mean true?`,
			`m.yaml:3:12: extra.x: expected true or false, found the text "on"; did you mean true?`,
		}},
		{"numbers JSON lacks", "name: a\nextra: {x: .inf, y: .nan}\n", []string{
			`m.yaml:2:12: extra.x: .inf is no finite number; did you mean ".inf"?`,
			`m.yaml:2:21: extra.y: .nan is no finite number; did you mean ".nan"?`,
		}},
		{"merge of a scalar", "name: a\n<<: 3\n", []string{"m.yaml:2:5: << merges a mapping, or a list of mappings, given as *alias"}},
		{"faults behind a merge", "name: a\nextra: &e {x: 1, x: 2}\nlabels:\n  <<: *e\n", []string{
			"m.yaml:2:15: labels.x: expected text, found the number 1; did you mean \"1\"?",
			"m.yaml:2:18: extra.x: duplicate key; line 2 has it already",
			"m.yaml:2:18: labels.x: duplicate key; line 2 has it already",
		}},
		{"alias within its anchor", "name: a\nextra: &e {x: *e}\n", []string{
			"m.yaml:2:15: extra.x: the alias *e stands within its own anchor",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var m machine
			if diff := cmp.Diff(tt.want, decode(t, tt.text, &m)); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodesValues(t *testing.T) {
	text := `
name: "12"
kind: big
port: 0x16
agent: true
password: env:PW
labels: &l {a: b, "c.d/e": ""}
notes:
  <<: *l
  a: |
    two
    lines
tags: [no, 2001-01-01, "~"]
extra:
  int: 3
  float: 1.5
  bool: false
  "null": null
  date: 2001-01-01
  list: [1, {a: b}]
  merged:
    <<: [{a: 1}, {a: 2, b: 3}]
    b: 4
zone: z
`
	var got machine
	if lines := decode(t, text, &got); lines != nil {
		t.Fatalf("faults: %v", lines)
	}
	port, agent, password := 22, true, token("env:PW")
	want := machine{
		Name: "12", Kind: "big", Port: &port, Agent: &agent, Password: &password,
		Labels: map[string]string{"a": "b", "c.d/e": ""},
		Notes:  map[string]string{"a": "two\nlines\n", "c.d/e": ""},
		Tags:   []string{"no", "2001-01-01", "~"},
		Extra: map[string]any{
			"int": int64(3), "float": 1.5, "bool": false, "null": nil, "date": "2001-01-01",
			"list":   []any{int64(1), map[string]any{"a": "b"}},
			"merged": map[string]any{"a": int64(1), "b": int64(4)},
		},
		Shared: Shared{Zone: "z"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAliasesCannotExplode(t *testing.T) {
	for name, line := range map[string]func(i int) string{
		"lists":  func(i int) string { return fmt.Sprintf("  a%d: &a%d [%s]\n", i, i, aliases(i-1)) },
		"merges": func(i int) string { return fmt.Sprintf("  a%d: &a%d {<<: [%s], k%d: 1}\n", i, i, aliases(i-1), i) },
	} {
		t.Run(name, func(t *testing.T) {
			text := "name: a\nextra:\n  a0: &a0 {x: 1}\n"
			for i := 1; i < 12; i++ {
				text += line(i)
			}
			var m machine
			lines := decode(t, text, &m)
			if len(lines) != 1 || !strings.Contains(lines[0], "too large") {
				t.Errorf("want one fault about the size, got %q", lines)
			}
		})
	}
}

func aliases(i int) string {
	return strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i), 10), ",")
}

func TestDocumentKnowsPlaces(t *testing.T) {
	text := "name: a\nlabels:\n  b.c/d: e\ndisks:\n- path: /x\n  size: big\nnetwork:\n  podCIDR: x\n"
	var m machine
	doc, _ := strict.Decode("m.yaml", []byte(text), &m)
	size := strict.At("disks").Index(0).Key("size")
	tests := []struct {
		fault strict.Fault
		want  string
	}{
		{doc.Fault(strict.At("labels", "b.c/d"), "m", ""), `m.yaml:3:10: labels["b.c/d"]: m`},
		{doc.KeyFault(strict.At("labels", "b.c/d"), "m", "s"), `m.yaml:3:3: labels["b.c/d"]: m; did you mean s?`},
		{doc.Fault(strict.At("disks").Index(0).Key("missing"), "m", ""), "m.yaml:5:3: disks[0].missing: m"},
		{doc.Fault(strict.At("network", "podCIDR"), "m", ""), "m.yaml:8:12: network.podCIDR: m"},
		{doc.Fault(strict.At("network", "x", "y"), "m", ""), "m.yaml:7:1: network.x.y: m"},
		{doc.Fault(strict.At("absent"), "m", ""), "m.yaml:1:1: absent: m"},
	}
	for _, tt := range tests {
		if got := tt.fault.Error(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
	for path, want := range map[strict.Path][2]bool{ // Broken, BrokenBelow
		size:                                    {true, true},
		size.Key("deeper"):                      {true, true},
		strict.At("disks").Index(0):             {false, true},
		strict.At("disks"):                      {false, true},
		strict.At("disk"):                       {false, false},
		strict.At():                             {false, true},
		strict.At("network"):                    {false, false},
		strict.At("disks").Index(0).Key("path"): {false, false},
	} {
		if got := [2]bool{doc.Broken(path), doc.BrokenBelow(path)}; got != want {
			t.Errorf("%q: Broken, BrokenBelow = %v, want %v", path, got, want)
		}
	}
	if !doc.Has(strict.At("labels")) || doc.Has(strict.At("tags")) {
		t.Error("Has does not tell what is in the file")
	}
}

func TestPathsOfFaultsShowNoPassword(t *testing.T) {
	var m machine
	doc, _ := strict.Decode("m.yaml", []byte("name: a\nlabels: {\"u:hunter2@x\": y}\n"), &m)
	at := strict.At("labels", "u:hunter2@x")
	for _, f := range []strict.Fault{doc.Fault(at, "m", ""), doc.KeyFault(at, "m", "")} {
		if f.Path != `labels["u@x"]` || f.Line != 2 {
			t.Errorf("%+v", f)
		}
	}
	if !doc.Has(at) {
		t.Error("the value is not found any more")
	}
}

func TestWithoutPassword(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "host": "host", "host:22": "host:22", "http://host/a:b": "http://host/a:b",
		"root@host": "root@host", "root:hunter2@host:22": "root@host:22", "ssh://root:hunter2@host": "ssh://root@host",
		"https://u:p/q@r://s@lb/x": "https://u@lb/x", "u:p://q@lb": "u@lb", ":hunter2@host": "@host", "u:a@x, v:b@y": "u@y",
	} {
		if got := strict.WithoutPassword(text); got != want {
			t.Errorf("WithoutPassword(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestConform(t *testing.T) {
	type header struct {
		Headers map[string][]string `json:"headers"`
		Nested  struct{}            `json:"nested"`
		List    []string            `json:"list"`
		On      bool                `json:"on"`
		Count   int                 `json:"count"`
	}
	var m machine
	doc, _ := strict.Decode("m.yaml", []byte("name: a\nextra: {headers: hunter2, nested: 31337, list: true, on: word, count: 1.5}\n"), &m)
	check := strict.Checker{Doc: doc}
	check.Conform(strict.At("extra"), m.Extra, reflect.TypeFor[header]())
	want := strings.Join([]string{
		"m.yaml:2:18: extra.headers: expected a mapping, found text",
		"m.yaml:2:35: extra.nested: expected a mapping, found a number",
		"m.yaml:2:48: extra.list: expected a list, found a boolean",
		`m.yaml:2:58: extra.on: expected true or false, found the text "word"`,
		"m.yaml:2:71: extra.count: expected a whole number, found 1.5",
	}, "\n")
	if got := check.Faults.Sorted().Error(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestDefault(t *testing.T) {
	port := 2222
	given := machine{Kind: "big", Port: &port}
	var none machine
	for _, m := range []*machine{&given, &none} {
		if err := strict.Default(m); err != nil {
			t.Fatal(err)
		}
	}
	if given.Kind != "big" || *given.Port != 2222 || none.Kind != "small" || *none.Port != 22 || none.Agent != nil {
		t.Errorf("given: %+v, none: %+v", given, none)
	}
	if err := strict.Default(&struct {
		N int `yaml:"n" rule:"default=x"`
	}{}); err == nil {
		t.Error("a default that does not fit is accepted")
	}
}

func TestParseRuleRefusesUnknownWords(t *testing.T) {
	for _, tag := range []string{"requierd", "min=x", "enum=a,b"} {
		if _, err := strict.ParseRule(tag); err == nil {
			t.Errorf("%q is accepted", tag)
		}
	}
}

func TestNearest(t *testing.T) {
	candidates := []string{"podCIDR", "serviceCIDR", "kubernetesVersion", "ssh", "pki"}
	for word, want := range map[string]string{
		"pod_cidr": "podCIDR", "PODCIDR": "podCIDR", "serviceCidr": "serviceCIDR", "kubernetesversoin": "kubernetesVersion",
		"shh": "ssh", "ssg": "ssh", "x": "", "cidr": "", "": "",
	} {
		if got := strict.Nearest(word, candidates); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		"name: a\n", "a: &a [*a]\n", "<<: {name: x}\n", "name: [\n", "? [a]\n: b\n", "--- a\n--- b\n",
		"disks: [{path: x, size: 1e3}]\n", "\tname: x", "extra: {a: !!float .inf}", "*", "%YAML 1.1\n---\nname: x\n",
		"labels: {\"\\u0000\": x}\n", "extra: {? : x}\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var m machine
		_, faults := strict.Decode("f.yaml", data, &m)
		lines := bytes.Count(data, []byte("\n")) + bytes.Count(data, []byte("\r")) + bytes.Count(data, []byte("\u0085")) +
			bytes.Count(data, []byte("\u2028")) + bytes.Count(data, []byte("\u2029")) + 1
		for _, fault := range faults {
			if fault.Line < 1 || fault.Line > lines || fault.Column < 1 || fault.Message == "" {
				t.Errorf("%#v is not within the file (%d lines)", fault, lines)
			}
			if text := fault.Error(); strings.ContainsAny(text, "\n\r\x1b\x00") {
				t.Errorf("fault on more than one line: %q", text)
			}
		}
		if len(faults) == 0 && m.Name == "" {
			t.Error("a document without its required key is accepted")
		}
	})
}

// path is text, or a mapping that says more.
type pathOrMore struct {
	Path string `yaml:"path"`
	Deep int    `yaml:"deep"`
}

func (p *pathOrMore) UnmarshalText(text []byte) error {
	p.Path = string(text)
	return nil
}

func TestEitherWay(t *testing.T) {
	type file struct {
		At pathOrMore `yaml:"at"`
	}
	for text, want := range map[string]pathOrMore{
		"at: a/b":                   {Path: "a/b"},
		"at: {path: a/b, deep: 2}":  {Path: "a/b", Deep: 2},
		"at:":                       {},
		"x: &x {deep: 3}\nat: *x\n": {Deep: 3},
	} {
		var f struct {
			At pathOrMore `yaml:"at"`
			X  any        `yaml:"x"`
		}
		if _, faults := strict.Decode("f", []byte(text), &f); faults != nil || f.At != want {
			t.Errorf("%s: %+v, %v", text, f.At, faults)
		}
	}
	for text, want := range map[string]string{
		"at: [a]":       "f:1:5: at: expected text or a mapping, found a list",
		"at: 7":         `f:1:5: at: expected text, found the number 7; did you mean "7"?`,
		"at: {pth: a}":  "f:1:6: at.pth: unknown key; did you mean path?",
		"at: {deep: a}": `f:1:12: at.deep: expected a whole number, found the text "a"`,
	} {
		var f file
		if _, faults := strict.Decode("f", []byte(text), &f); faults.Error() != want {
			t.Errorf("%s: %v, want %s", text, faults, want)
		}
	}
}

// A view of a document names the places that values come from, and no lines.
func TestElsewhere(t *testing.T) {
	var f struct {
		Names []string `yaml:"names"`
		Port  int      `yaml:"port"`
	}
	doc, _ := strict.Decode("f", []byte("names: [a, b]\nport: x\n"), &f)
	view := doc.Elsewhere(func(at strict.Path) strict.Path {
		switch at.String() {
		case "hosts[1].name":
			return strict.At("names").Index(1)
		case "hosts[1].port":
			return strict.At("port")
		}
		return at
	})
	name, port := strict.At("hosts").Index(1).Key("name"), strict.At("hosts").Index(1).Key("port")
	for got, want := range map[string]string{
		view.Fault(name, "is bad", "").Error():                       "f: names[1]: is bad",
		view.KeyFault(name, "is bad", "").Error():                    "f: names[1]: is bad",
		view.Fault(strict.At("x"), "is bad", "").Error():             "f: x: is bad",
		doc.Fault(strict.At("names").Index(1), "is bad", "").Error(): "f:1:12: names[1]: is bad",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if !view.Has(name) || view.Has(strict.At("x")) || view.Broken(name) || !view.Broken(port) || !view.BrokenBelow(port) {
		t.Error("the view does not know what the document knows")
	}
	if up, last, ok := name.Split(); !ok || up.String() != "hosts[1]" || last(strict.At("a")).String() != "a.name" {
		t.Errorf("split into %s and %s, %v", up, last(strict.At("a")), ok)
	}
	if _, _, ok := strict.At().Split(); ok {
		t.Error("the document itself is below something")
	}
}
